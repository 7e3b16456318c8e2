//! The one task that owns the runtime.
//!
//! ```text
//!            plan                    ready                     process gone
//! waiting ────────► getting ready ──────────► serving ────────────────────────► getting ready
//!    ▲                   │ failed                │ another plan      (runtime.exited, back-off)
//!    └───────────────────┘                       └──► getting ready
//! ```
//!
//! Commands are answered in every state, with *not ready* while that is the truth. Whatever a
//! runtime says goes through [`Driver::record`], which joins deltas; the journal's ledger drops
//! what it has. A turn is closed in the record when it ends, whoever ended it: nothing stays open
//! after its turn, and no turn stays open after its process.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mistle_protocol::agent::{
    AgentEvent, Approval, ConversationId, Item, ItemBody, ItemId, NoticeLevel, SetupStep, TurnId,
};
use mistle_protocol::commands::{CommandTaken, RunAgentCommand, RuntimeCommand};
use mistle_protocol::control::{Answer, Deliver, Delivered};
use mistle_protocol::plan::Plan;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::coalesce::Coalescer;
use super::codex::Codex;
use super::commands;
use super::journal::Journal;
use super::ledger::{ApprovalState, Ledger};
use super::repositories;
use super::runtime::{CallError, Interface, Lacking, Ready, Runtime, Sent, Start, StartError};
use super::steering::{Steered, Steering};

/// First and longest wait before a runtime that ended is started again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A runtime that has run for so long did not fail at its start.
const PROVEN: Duration = Duration::from_mins(1);
/// After so many starts in a row that came to nothing a person has to look at it.
const MAX_STARTS: u32 = 5;
/// How long an interrupted turn may take to end at shutdown.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(3);
/// Titles that wait to be said back.
const MAX_TOLD: usize = 64;
/// What the model is told when its process ended while a question waited.
const WHAT_WAITED: &str = "The program that you run in ended and was started again while your last tool call waited for a person's approval. That call was not carried out: nothing of it ran, whatever its output says. If it is still needed, make the same call again; the person is asked again. Repeat nothing that was completed.";
/// Lines of progress that wait to be recorded; more are dropped, the next one says more.
const PROGRESS_QUEUE: usize = 16;

/// What the daemon's API asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Deliver(Deliver, oneshot::Sender<Delivered>),
    Interrupt(Option<ConversationId>, oneshot::Sender<()>),
    Answer(String, Answer, oneshot::Sender<Answered>),
    Interface(ConversationId, oneshot::Sender<Shown>),
    Commands(String, oneshot::Sender<Listed>),
    Run(RunAgentCommand, oneshot::Sender<Ran>),
    /// Says that everything before it is done.
    Reached(oneshot::Sender<()>),
}

/// The runtime's own commands, or why they can't be had, for a person.
pub(crate) type Listed = Result<Vec<RuntimeCommand>, String>;
/// What became of a command of the runtime's own; an error is for a person.
pub(crate) type Ran = Result<CommandTaken, String>;

/// The runtime's own interface, or why it can't be had, for a person.
pub(crate) type Shown = Result<Interface, String>;

/// What became of an answer to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Done,
    Unknown,
    Already,
}

/// A plan, and how often it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Arc<Plan>,
    /// Grows with each request, so that the same plan again tries again.
    pub(crate) attempt: u64,
}

/// Whether two plans ask for the same. The conversation is no part of it: the server learns of it
/// later. Nor is the working directory, which a person changes while the runtime goes on.
pub(crate) fn same(one: &Plan, other: &Plan) -> bool {
    let without = |plan: &Plan| Plan {
        conversation_id: None,
        titles: BTreeMap::new(),
        cwd: String::new(),
        ..plan.clone()
    };
    without(one) == without(other)
}

/// The task's own state.
pub(crate) struct Driver {
    pub(crate) journal: Arc<Journal>,
    pub(crate) git: crate::git::Repositories,
    pub(crate) state_dir: PathBuf,
    pub(crate) workspaces: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) plans: watch::Receiver<Option<Planned>>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) coalescer: Coalescer,
    pub(crate) steering: Steering,
    /// Items that were open when the runtime was found again. What they said meanwhile is missing,
    /// so what they say next is left to their completion.
    pub(crate) stale: Vec<(ConversationId, ItemId)>,
    /// What the runtime was told that conversations are called, and has not said back yet.
    pub(crate) told: Vec<(ConversationId, String)>,
    /// What the runtime calls them as far as it was told.
    pub(crate) named: BTreeMap<ConversationId, String>,
    /// The commands that were taken last.
    pub(crate) taken: commands::Taken,
    /// Turns that were asked for here and did not show up yet: the tree is kept for them already.
    pub(crate) expected: BTreeSet<TurnId>,
}

/// Why serving ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exited,
    DiskFull,
    Replanned,
    Shutdown,
}

/// Why getting ready ended without a runtime.
enum Unready {
    /// A person has to do something. It was recorded.
    Failed,
    Replanned,
    Shutdown,
}

impl Driver {
    /// Runs until the shutdown.
    pub(crate) async fn run(mut self) {
        let mut failed_at = None;
        loop {
            let Some(planned) = self.next_plan(failed_at).await else {
                break;
            };
            match self.live(&planned).await {
                Unready::Failed => failed_at = Some(planned.attempt),
                Unready::Replanned => failed_at = None,
                Unready::Shutdown => break,
            }
        }
        self.record_all(Vec::new()).await;
    }

    /// Waits for a plan that was not tried yet. None at shutdown.
    async fn next_plan(&mut self, failed_at: Option<u64>) -> Option<Planned> {
        loop {
            let planned = self.plans.borrow_and_update().clone();
            if let Some(planned) = planned.filter(|planned| failed_at.is_none_or(|attempt| planned.attempt > attempt)) {
                return Some(planned);
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                changed = self.plans.changed() => changed.ok()?,
                Some(command) = self.commands.recv() => self.not_ready(command),
            }
        }
    }

    /// Lives with one plan: gets ready, serves, starts the runtime again when it ended.
    async fn live(&mut self, planned: &Planned) -> Unready {
        let mut plan = Arc::clone(&planned.plan);
        let mut starts = 0;
        let mut wait = BACK_OFF.0;
        loop {
            starts += 1;
            plan = self.latest(plan);
            let runtime = match self.get_ready(&plan, starts).await {
                Ok(runtime) => runtime,
                Err(unready) => return unready,
            };
            let Some((runtime, notices)) = runtime else {
                // A start that might work in a moment.
                if let ControlFlow::Break(unready) = self.pause(&mut wait).await {
                    return unready;
                }
                continue;
            };
            let since = Instant::now();
            let (runtime, end) = Box::pin(self.serve(&plan, runtime, notices)).await;
            self.ready.send_replace(false);
            match end {
                End::Shutdown => {
                    runtime.stop().await;
                    self.close_turns().await;
                    return Unready::Shutdown;
                }
                End::Replanned => {
                    runtime.stop().await;
                    self.close_turns().await;
                    return Unready::Replanned;
                }
                End::DiskFull => {
                    runtime.stop().await;
                    self.close_turns().await;
                    let (step, message) = (SetupStep::Conversation, repositories::disk_full());
                    self.record(AgentEvent::SetupFailed { step, message }).await;
                    return Unready::Failed;
                }
                End::Exited => {
                    let message = runtime.bury().await;
                    self.record(AgentEvent::RuntimeExited { message }).await;
                    self.close_turns_but(Ledger::asks).await;
                }
            }
            if since.elapsed() >= PROVEN {
                (starts, wait) = (0, BACK_OFF.0);
            }
            if let ControlFlow::Break(unready) = self.pause(&mut wait).await {
                return unready;
            }
        }
    }

    /// The plan as it is, when it is the same but for what may change beside a runtime.
    fn latest(&self, plan: Arc<Plan>) -> Arc<Plan> {
        let latest = self.plans.borrow().as_ref().map(|planned| Arc::clone(&planned.plan));
        latest.filter(|latest| same(latest, &plan)).unwrap_or(plan)
    }

    /// Waits before the next start, answering commands.
    async fn pause(&mut self, wait: &mut Duration) -> ControlFlow<Unready> {
        let until = Instant::now() + *wait;
        *wait = (*wait * 2).min(BACK_OFF.1);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return ControlFlow::Continue(()),
                () = self.shutdown.cancelled() => return ControlFlow::Break(Unready::Shutdown),
                Some(command) = self.commands.recv() => self.not_ready(command),
            }
        }
    }

    /// Fetches the repositories and starts the runtime. No runtime means: try again.
    async fn get_ready(&mut self, plan: &Arc<Plan>, starts: u32) -> Result<Option<(Codex, Ready)>, Unready> {
        let setup = Setup {
            plan: Arc::clone(plan),
            journal: Arc::clone(&self.journal),
            state_dir: self.state_dir.clone(),
            workspaces: self.workspaces.clone(),
            environment: self.environment_with(plan),
        };
        let mut work = Box::pin(setup.run());
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = self.shutdown.cancelled() => return Err(Unready::Shutdown),
                Some(command) = self.commands.recv() => self.not_ready(command),
                Ok(()) = self.plans.changed() => {
                    let other = self.plans.borrow_and_update().as_ref().is_some_and(|planned| !same(&planned.plan, plan));
                    if other {
                        return Err(Unready::Replanned);
                    }
                }
            }
        };
        drop(work);
        match outcome {
            Ok(runtime) => Ok(Some(runtime)),
            Err((
                SetupStep::Runtime,
                StartError {
                    message,
                    transient: true,
                },
            )) if starts < MAX_STARTS => {
                tracing::warn!(message, starts, "the runtime did not start");
                Ok(None)
            }
            Err((step, StartError { message, .. })) => {
                self.close_turns().await;
                self.record(AgentEvent::SetupFailed { step, message }).await;
                Err(Unready::Failed)
            }
        }
    }

    fn environment_with(&self, plan: &Plan) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        environment.extend(plan.environment.clone());
        environment
    }

    fn not_ready(&self, command: Command) {
        match command {
            Command::Deliver(deliver, reply) => {
                let _ = reply.send(self.delivered(&deliver).unwrap_or(Delivered::NotReady));
            }
            Command::Interrupt(_, reply) | Command::Reached(reply) => {
                let _ = reply.send(());
            }
            Command::Interface(_, reply) => {
                let _ = reply.send(Err("The agent is not ready yet. Try again in a moment.".to_owned()));
            }
            Command::Commands(_, reply) => {
                let _ = reply.send(Err(commands::not_ready()));
            }
            Command::Run(_, reply) => {
                let _ = reply.send(Err(commands::not_ready()));
            }
            Command::Answer(id, _, reply) => {
                let known = self.journal.ledger(|ledger| ledger.approval(&id));
                let _ = reply.send(if known == ApprovalState::Unknown {
                    Answered::Unknown
                } else {
                    Answered::Already
                });
            }
        }
    }

    /// What was answered before.
    fn delivered(&self, deliver: &Deliver) -> Option<Delivered> {
        self.journal.ledger(|ledger| {
            ledger
                .delivered(deliver.message_id)
                .map(|delivered| Delivered::Accepted {
                    conversation_id: delivered.conversation.clone(),
                    turn_id: delivered.turn.clone(),
                })
        })
    }

    /// Serves until the runtime or the plan ends.
    async fn serve<R: Runtime>(&mut self, plan: &Arc<Plan>, mut runtime: R, ready: Ready) -> (R, End) {
        let mut plan = self.latest(Arc::clone(plan));
        if let Err(trouble) = self.go_on_with(&plan, &mut runtime).await {
            return (runtime, trouble.into());
        }
        self.record_all(ready.notices).await;
        self.record(AgentEvent::RuntimeReady {
            version: ready.version,
            models: ready.models,
        })
        .await;
        self.ready.send_replace(true);
        let mut work = self.send_again(&plan, &mut runtime, true).await;
        loop {
            if let Err(trouble) = work {
                return (runtime, trouble.into());
            }
            let due = self.coalescer.due();
            // In this order: who was told that the plan is changed is served by it, and neither people nor
            // what is due wait for a runtime that talks without end.
            work = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {
                    self.interrupt_all(&mut runtime).await;
                    return (runtime, End::Shutdown);
                }
                Ok(()) = self.plans.changed() => {
                    let other = self.plans.borrow_and_update().as_ref().is_some_and(|planned| !same(&planned.plan, &plan));
                    if other {
                        self.interrupt_all(&mut runtime).await;
                        return (runtime, End::Replanned);
                    }
                    plan = self.latest(plan);
                    self.adjust(&plan, &mut runtime).await
                }
                () = sleep_until(due) => {
                    for event in self.coalescer.take_due(Instant::now()) {
                        self.journal.record(event).await;
                    }
                    Ok(())
                }
                Some(command) = self.commands.recv() => self.obey(&plan, &mut runtime, command).await,
                events = runtime.next() => match events {
                    Some(events) => {
                        self.keep_trees(&plan, &events).await;
                        self.record_all(events).await;
                        match self.follow(&plan, &mut runtime).await {
                            Ok(()) => self.send_again(&plan, &mut runtime, false).await,
                            gone => gone,
                        }
                    }
                    None => return (runtime, End::Exited),
                },
            };
        }
    }

    async fn go_on_with<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R) -> Result<(), Trouble> {
        self.expected.clear();
        runtime.relocate(&plan.cwd).await?;
        self.resume_all(plan, runtime).await
    }

    /// Does what of a plan may change beside a runtime.
    async fn adjust<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R) -> Result<(), Trouble> {
        runtime.relocate(&plan.cwd).await?;
        self.name_all(plan, runtime).await
    }

    /// Keeps the tree for turns that nobody asked for here: they were typed in the runtime's own
    /// interface. That is a moment into the turn, before the model can have answered, and before
    /// anything of it is recorded.
    async fn keep_trees(&mut self, plan: &Plan, events: &[AgentEvent]) {
        for event in events {
            let AgentEvent::TurnStarted {
                conversation_id,
                turn_id,
            } = event
            else {
                continue;
            };
            let runs = self
                .journal
                .ledger(|ledger| ledger.running(conversation_id) == Some(turn_id));
            if !self.expected.remove(turn_id) && !runs {
                self.git.snapshot(Path::new(&plan.cwd)).await;
            }
        }
    }

    /// Continues the conversation of the plan, or the record's own, and every one with an open
    /// turn. Closes the turns that are over.
    async fn resume_all<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R) -> Result<(), Trouble> {
        let mut conversations: Vec<ConversationId> = self.journal.ledger(|ledger| {
            ledger
                .all_running()
                .into_iter()
                .map(|(conversation, _)| conversation)
                .collect()
        });
        let main = plan
            .conversation_id
            .clone()
            .or_else(|| self.journal.ledger(|ledger| ledger.current().cloned()));
        conversations.extend(main);
        conversations.sort();
        conversations.dedup();
        if !conversations.is_empty() {
            self.record(AgentEvent::SetupProgress {
                step: SetupStep::Conversation,
                detail: None,
            })
            .await;
        }
        for conversation in conversations {
            self.resume(plan, runtime, &conversation).await?;
        }
        self.close_turns_except(runtime).await;
        Ok(())
    }

    /// Continues one conversation; one that is lost is recorded as such. False then.
    async fn resume<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        conversation: &ConversationId,
    ) -> Result<bool, Trouble> {
        let (lacking, asked) = self
            .journal
            .ledger(|ledger| (lacking(ledger, conversation), ledger.asks(conversation)));
        match runtime.resume(plan, conversation, &lacking).await {
            Ok(resumed) => {
                let open = self.journal.ledger(|ledger| ledger.open_items(conversation));
                self.stale
                    .extend(open.into_iter().map(|item| (conversation.clone(), item)));
                self.record_all(resumed.missed).await;
                let recorded = self.journal.ledger(|ledger| ledger.running(conversation).cloned());
                if recorded.is_some() && recorded != resumed.running {
                    let close = self
                        .journal
                        .ledger(|ledger| ledger.close_turn(conversation, Timestamp::now()));
                    self.record_all(close).await;
                }
                self.record(AgentEvent::ConversationResumed {
                    conversation_id: conversation.clone(),
                })
                .await;
                if asked && resumed.running.is_none() {
                    self.ask_again(runtime, conversation).await?;
                }
                self.name(plan, runtime, conversation).await?;
                Ok(true)
            }
            Err(CallError::Refused(why)) => {
                let close = self
                    .journal
                    .ledger(|ledger| ledger.close_turn(conversation, Timestamp::now()));
                self.record_all(close).await;
                let message = format!(
                    "The agent could not continue this conversation and does not remember it ({why}). The next message starts a new one."
                );
                self.record(AgentEvent::ConversationLost {
                    conversation_id: conversation.clone(),
                    message,
                })
                .await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The process ended while a question waited, and what was asked about never began. The model is
    /// asked to go on from there; the runtime then asks again.
    async fn ask_again<R: Runtime>(&mut self, runtime: &mut R, conversation: &ConversationId) -> Result<(), Trouble> {
        let notice = |level, code: &str, message: &str| AgentEvent::Notice {
            level,
            code: code.to_owned(),
            message: message.to_owned(),
            conversation_id: Some(conversation.clone()),
        };
        let goes_on = "The agent's process ended while it waited for your answer. What it asked about was not done. It goes on from there and asks again.";
        self.record(notice(NoticeLevel::Info, "question_asked_again", goes_on))
            .await;
        match runtime.go_on(conversation, WHAT_WAITED).await {
            Ok(turn) => {
                // What it did before it was cut belongs to it.
                self.expected.insert(turn);
                Ok(())
            }
            Err(error @ CallError::Gone(_)) => Err(error.into()),
            Err(error) => {
                let message = format!("The agent can't go on by itself ({error}). Send a message to go on.");
                self.record(notice(NoticeLevel::Warning, "question_lost", &message))
                    .await;
                Ok(())
            }
        }
    }

    /// Tells the runtime what a person calls a conversation, once.
    async fn name<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        conversation: &ConversationId,
    ) -> Result<(), Trouble> {
        let Some(title) = plan.titles.get(conversation) else {
            return Ok(());
        };
        if self.named.get(conversation) == Some(title) || !runtime.has(conversation) {
            return Ok(());
        }
        if self.told.len() >= MAX_TOLD {
            self.told.remove(0);
        }
        self.told.push((conversation.clone(), title.clone()));
        let told = runtime.name(conversation, title).await;
        if !matches!(told, Err(CallError::Gone(_))) {
            self.named.insert(conversation.clone(), title.clone());
        }
        match told {
            Ok(()) => Ok(()),
            Err(error @ CallError::Gone(_)) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, conversation, "the runtime does not take a title");
                Ok(())
            }
        }
    }

    async fn name_all<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R) -> Result<(), Trouble> {
        for conversation in plan.titles.keys() {
            self.name(plan, runtime, conversation).await?;
        }
        Ok(())
    }

    /// Follows what a person started in the runtime's own interface.
    async fn follow<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R) -> Result<(), Trouble> {
        for conversation in runtime.take_newcomers() {
            if runtime.has(&conversation) {
                continue;
            }
            self.git.snapshot(Path::new(&plan.cwd)).await;
            if self.journal.ledger(|ledger| ledger.knows(&conversation)) {
                self.resume(plan, runtime, &conversation).await?;
                continue;
            }
            match runtime.resume(plan, &conversation, &Lacking::All).await {
                Ok(resumed) => {
                    self.record(AgentEvent::ConversationStarted {
                        conversation: resumed.conversation,
                        message_id: None,
                    })
                    .await;
                    self.record_all(resumed.missed).await;
                }
                Err(error @ CallError::Gone(_)) => return Err(error.into()),
                Err(error) => tracing::warn!(%error, conversation, "a conversation of the runtime can't be followed"),
            }
        }
        Ok(())
    }

    async fn obey<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R, command: Command) -> Result<(), Trouble> {
        match command {
            Command::Deliver(deliver, reply) => {
                let delivered = self.deliver(plan, runtime, &deliver).await;
                // Whoever asked may have gone; it asks again and gets the same answer.
                let _ = match &delivered {
                    Ok(delivered) => reply.send(delivered.clone()),
                    Err(_) => reply.send(Delivered::NotReady),
                };
                delivered.map(drop)
            }
            Command::Interrupt(conversation, reply) => {
                let running = self.journal.ledger(Ledger::all_running);
                for (id, turn) in running
                    .into_iter()
                    .filter(|(id, _)| conversation.as_ref().is_none_or(|wanted| wanted == id))
                {
                    runtime.interrupt(&id, &turn).await?;
                }
                let _ = reply.send(());
                Ok(())
            }
            Command::Interface(conversation, reply) => {
                let shown = if self.has(plan, runtime, &conversation).await? {
                    Ok(runtime.interface(plan, &conversation))
                } else {
                    Err("The agent does not have this conversation any more.".to_owned())
                };
                let _ = reply.send(shown);
                Ok(())
            }
            Command::Commands(cwd, reply) => {
                let listed = commands::heard(runtime.commands(&cwd).await)?;
                let _ = reply.send(listed);
                Ok(())
            }
            Command::Reached(reply) => {
                let _ = reply.send(());
                Ok(())
            }
            Command::Run(command, reply) => {
                let ran = self.run_command(plan, runtime, &command).await?;
                let _ = reply.send(ran);
                Ok(())
            }
            Command::Answer(id, answer, reply) => {
                let (state, pending) = self
                    .journal
                    .ledger(|ledger| (ledger.approval(&id), ledger.pending(&id).cloned()));
                let answered = match (state, pending) {
                    (ApprovalState::Pending, Some(approval)) => give_answer(runtime, &approval, &answer).await?,
                    (ApprovalState::Unknown, _) => Answered::Unknown,
                    _ => Answered::Already,
                };
                let _ = reply.send(answered);
                Ok(())
            }
        }
    }

    async fn deliver<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        deliver: &Deliver,
    ) -> Result<Delivered, Trouble> {
        if let Some(before) = self.delivered(deliver) {
            return Ok(before);
        }
        if deliver.text.trim().is_empty() && deliver.attachments.is_empty() {
            return Ok(self.reject(deliver, "The message is empty.".to_owned()).await);
        }
        let conversation_id = match self.conversation_for(plan, runtime, deliver).await? {
            Ok(conversation_id) => conversation_id,
            Err(why) => {
                return Ok(self
                    .reject(deliver, format!("The agent starts no conversation: {why}"))
                    .await);
            }
        };
        let running = self.journal.ledger(|ledger| ledger.running(&conversation_id).cloned());
        if running.is_some() && !deliver.steer {
            return Ok(Delivered::Busy);
        }
        if let Some(turn) = &running {
            self.steering
                .add(deliver.clone(), conversation_id.clone(), turn.clone())
                .await;
        }
        if running.is_none() {
            let cwd = deliver.cwd.as_deref().unwrap_or(&plan.cwd);
            runtime.relocate(cwd).await?;
            // Before the runtime can change anything.
            self.git.snapshot(Path::new(cwd)).await;
        }
        let sent = runtime.send(&conversation_id, running.as_ref(), deliver).await;
        match &sent {
            Ok(Sent::Turn(turn)) if Some(turn) == running.as_ref() => {}
            Ok(Sent::Turn(turn)) => {
                self.expected.insert(turn.clone());
                self.steering
                    .began(deliver.clone(), conversation_id.clone(), turn.clone())
                    .await;
            }
            Err(CallError::Gone(_)) => {}
            // It went nowhere: nothing that could be forgotten.
            _ => self.steering.seen(deliver.message_id).await,
        }
        match sent {
            Ok(Sent::Turn(turn_id)) => {
                self.record(AgentEvent::MessageDelivered {
                    message_id: deliver.message_id,
                    conversation_id: conversation_id.clone(),
                    turn_id: turn_id.clone(),
                })
                .await;
                Ok(Delivered::Accepted {
                    conversation_id,
                    turn_id,
                })
            }
            Ok(Sent::Busy) => Ok(Delivered::Busy),
            Err(error @ CallError::Gone(_)) => Err(error.into()),
            Err(error) => Ok(self
                .reject(deliver, format!("The agent refused the message: {error}"))
                .await),
        }
    }

    async fn reject(&mut self, deliver: &Deliver, message: String) -> Delivered {
        self.record(AgentEvent::MessageRejected {
            message_id: deliver.message_id,
            message: message.clone(),
        })
        .await;
        Delivered::Rejected { message }
    }

    /// The conversation that a message goes to: its own, or a new one when it has none or its own
    /// is lost. An error is the runtime's reason to start none.
    async fn conversation_for<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        deliver: &Deliver,
    ) -> Result<Result<ConversationId, String>, Trouble> {
        // One that was started for the message before the daemon ended counts.
        let started = self
            .journal
            .ledger(|ledger| ledger.started_for(deliver.message_id).cloned());
        if let Some(conversation) = deliver.conversation_id.as_ref().or(started.as_ref()) {
            match self.has(plan, runtime, conversation).await {
                Ok(true) => return Ok(Ok(conversation.clone())),
                Ok(false) => {}
                Err(Trouble::DiskFull) => return Ok(Err(repositories::disk_full())),
                Err(gone) => return Err(gone),
            }
        }
        let cwd = deliver.cwd.as_deref().unwrap_or(&plan.cwd);
        runtime.relocate(cwd).await?;
        match runtime.converse(plan, cwd).await {
            Ok(conversation) => {
                let id = conversation.id.clone();
                self.record(AgentEvent::ConversationStarted {
                    conversation,
                    message_id: Some(deliver.message_id),
                })
                .await;
                Ok(Ok(id))
            }
            Err(CallError::DiskFull) => Ok(Err(repositories::disk_full())),
            Err(CallError::Refused(why)) => Ok(Err(why)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the runtime has a conversation, after it was asked to continue it.
    pub(super) async fn has<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        conversation: &ConversationId,
    ) -> Result<bool, Trouble> {
        if runtime.has(conversation) {
            Ok(true)
        } else {
            self.resume(plan, runtime, conversation).await
        }
    }

    /// Sends messages again whose turn ended before the runtime showed that it has them.
    async fn send_again<R: Runtime>(&mut self, plan: &Plan, runtime: &mut R, fresh: bool) -> Result<(), Trouble> {
        for steered in self.forgotten(fresh) {
            let message_id = steered.deliver.message_id;
            if self.journal.ledger(|ledger| ledger.delivered(message_id).is_none()) {
                // It was not answered for, so the server sends it again itself.
                self.steering.seen(message_id).await;
                continue;
            }
            let has = self.has(plan, runtime, &steered.conversation_id).await?;
            // A conversation that is continued tells what it has.
            if !self.forgotten(fresh).contains(&steered) {
                continue;
            }
            let deliver = Deliver {
                conversation_id: Some(steered.conversation_id.clone()),
                ..steered.deliver.clone()
            };
            let refused = if steered.is_hopeless() {
                Some("The agent's process ended each time that it was given this message.".to_owned())
            } else if has {
                match runtime.send(&steered.conversation_id, None, &deliver).await {
                    Ok(Sent::Busy) => continue,
                    Ok(Sent::Turn(turn)) => {
                        self.steering.began(deliver, steered.conversation_id, turn).await;
                        continue;
                    }
                    Err(error @ CallError::Gone(_)) => return Err(error.into()),
                    Err(error) => Some(format!("The agent refused the message: {error}")),
                }
            } else {
                Some("Its conversation is lost.".to_owned())
            };
            if let Some(why) = refused {
                self.reject(&deliver, why).await;
            }
            self.steering.seen(message_id).await;
        }
        Ok(())
    }

    fn forgotten(&self, fresh: bool) -> Vec<Steered> {
        let running = self.journal.ledger(Ledger::all_running);
        self.steering.forgotten(&running, fresh)
    }

    async fn interrupt_all<R: Runtime>(&mut self, runtime: &mut R) {
        let running = self.journal.ledger(Ledger::all_running);
        for (conversation, turn) in &running {
            if runtime.interrupt(conversation, turn).await.is_err() {
                return;
            }
        }
        let deadline = Instant::now() + INTERRUPT_LIMIT;
        while !self.journal.ledger(Ledger::all_running).is_empty() {
            match tokio::time::timeout_at(deadline, runtime.next()).await {
                Ok(Some(events)) => self.record_all(events).await,
                _ => return,
            }
        }
    }

    async fn close_turns(&mut self) {
        self.close_turns_but(|_, _| false).await;
    }

    /// Closes the turns but those of some conversations: one that waits for an answer stays open
    /// until its conversation is continued, so that the question is known whoever dies meanwhile.
    async fn close_turns_but(&mut self, stays: impl Fn(&Ledger, &str) -> bool) {
        let running = self.journal.ledger(Ledger::all_running);
        for (conversation, _) in running {
            if self.journal.ledger(|ledger| stays(ledger, &conversation)) {
                continue;
            }
            let close = self
                .journal
                .ledger(|ledger| ledger.close_turn(&conversation, Timestamp::now()));
            self.record_all(close).await;
        }
        let rest = self.coalescer.take_all();
        self.record_all(rest).await;
        self.stale.clear();
    }

    /// Closes the turns of conversations that the runtime does not have.
    async fn close_turns_except<R: Runtime>(&mut self, runtime: &R) {
        let running = self.journal.ledger(Ledger::all_running);
        for (conversation, _) in running
            .into_iter()
            .filter(|(conversation, _)| !runtime.has(conversation))
        {
            let close = self
                .journal
                .ledger(|ledger| ledger.close_turn(&conversation, Timestamp::now()));
            self.record_all(close).await;
        }
    }

    async fn record_all(&mut self, events: Vec<AgentEvent>) {
        for event in events {
            self.record(event).await;
        }
    }

    /// Records an event; deltas wait for more of their item.
    pub(super) async fn record(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::ConversationRenamed {
                ref conversation_id,
                ref title,
            } => {
                let known =
                    |(conversation, told): &(ConversationId, String)| conversation == conversation_id && told == title;
                if let Some(place) = self.told.iter().position(known) {
                    self.told.remove(place);
                    return;
                }
                self.named.insert(conversation_id.clone(), title.clone());
            }
            AgentEvent::ItemDelta {
                conversation_id,
                item_id,
                text,
            } => {
                let stale = self
                    .stale
                    .iter()
                    .any(|(conversation, item)| *conversation == conversation_id && *item == item_id);
                if !stale && let Some(joined) = self.coalescer.push(&conversation_id, &item_id, &text, Instant::now()) {
                    self.journal.record(joined).await;
                }
                return;
            }
            AgentEvent::ItemCompleted { ref item } => {
                self.coalescer.forget(&item.conversation_id, &item.id);
                self.stale
                    .retain(|(conversation, id)| *conversation != item.conversation_id || *id != item.id);
                self.see(item).await;
            }
            AgentEvent::ItemStarted { ref item } => {
                self.close_sayings(item).await;
                self.see(item).await;
            }
            AgentEvent::ApprovalRequested {
                approval:
                    Approval {
                        ref conversation_id,
                        ref item_id,
                        ..
                    },
            } => {
                if let Some(waiting) = self.coalescer.take(conversation_id, item_id) {
                    self.journal.record(waiting).await;
                }
            }
            AgentEvent::TurnCompleted {
                ref conversation_id,
                ref turn_id,
                ref outcome,
            } => {
                self.close_items(conversation_id, turn_id).await;
                self.steering.ended(turn_id, outcome).await;
            }
            _ => {}
        }
        self.journal.record(event).await;
    }

    /// A message of a person cuts what the model was saying.
    async fn close_sayings(&mut self, item: &Item) {
        if !matches!(item.body, ItemBody::UserMessage { .. }) {
            return;
        }
        for waiting in self.coalescer.take_all() {
            self.journal.record(waiting).await;
        }
        for event in self
            .journal
            .ledger(|ledger| ledger.close_sayings(&item.conversation_id, Timestamp::now()))
        {
            self.journal.record(event).await;
        }
    }

    /// A steered message whose item is there was taken by the model.
    async fn see(&mut self, item: &Item) {
        if let ItemBody::UserMessage {
            message_id: Some(message_id),
            ..
        } = &item.body
        {
            self.steering.seen(*message_id).await;
        }
    }

    async fn close_items(&mut self, conversation: &str, turn: &TurnId) {
        for waiting in self.coalescer.take_all() {
            self.journal.record(waiting).await;
        }
        let close = self.journal.ledger(|ledger| match ledger.running(conversation) {
            Some(running) if running == turn => ledger.close_items(conversation, Timestamp::now()),
            _ => Vec::new(),
        });
        for event in close {
            self.journal.record(event).await;
        }
    }
}

/// Why a runtime can't be served any more.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is gone or useless and has to be started again.
    Gone(String),
    /// It can't continue a conversation until there is space on the disk.
    DiskFull,
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        match error {
            CallError::DiskFull => Self::DiskFull,
            CallError::Gone(why) | CallError::Refused(why) => Self::Gone(why),
        }
    }
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Gone(why) => {
                tracing::warn!(why, "the runtime is given up");
                Self::Exited
            }
            Trouble::DiskFull => Self::DiskFull,
        }
    }
}

async fn give_answer<R: Runtime>(runtime: &mut R, approval: &Approval, answer: &Answer) -> Result<Answered, Trouble> {
    match runtime
        .answer(approval, answer.decision, answer.message.as_deref())
        .await
    {
        Ok(true) => Ok(Answered::Done),
        Ok(false) => Ok(Answered::Already),
        Err(error) => Err(error.into()),
    }
}

fn lacking(ledger: &Ledger, conversation: &str) -> Lacking {
    match ledger.last_turn(conversation) {
        Some(turn) => Lacking::From(turn.clone()),
        None if ledger.knows(conversation) => Lacking::All,
        None => Lacking::Nothing,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Getting ready, apart from the task that answers commands meanwhile.
struct Setup {
    plan: Arc<Plan>,
    journal: Arc<Journal>,
    state_dir: PathBuf,
    workspaces: PathBuf,
    environment: BTreeMap<String, String>,
}

impl Setup {
    async fn run(self) -> Result<(Codex, Ready), (SetupStep, StartError)> {
        self.repositories().await.map_err(|message| {
            (
                SetupStep::Repository,
                StartError {
                    message,
                    transient: false,
                },
            )
        })?;
        self.progress(SetupStep::Runtime, None).await;
        let name = &self.plan.runtime.name;
        if name != "codex" {
            let message = format!("This version does not know the runtime “{name}”. Choose codex in the profile.");
            return Err((
                SetupStep::Runtime,
                StartError {
                    message,
                    transient: false,
                },
            ));
        }
        let home = self.state_dir.join("codex");
        let start = Start {
            plan: &self.plan,
            workspaces: &self.workspaces,
            home: &home,
            environment: &self.environment,
        };
        Codex::start(start).await.map_err(|error| (SetupStep::Runtime, error))
    }

    async fn repositories(&self) -> Result<(), String> {
        let (lines, mut heard) = mpsc::channel(PROGRESS_QUEUE);
        let say = move |line: String| {
            // Full means that the last lines are not recorded yet; the next one says more.
            let _ = lines.try_send(line);
        };
        let work = async {
            let prepared = repositories::prepare(&self.plan, &self.workspaces, &self.environment, &say).await;
            drop(say);
            prepared
        };
        let record = async {
            while let Some(line) = heard.recv().await {
                self.progress(SetupStep::Repository, Some(line)).await;
            }
        };
        tokio::join!(work, record).0
    }

    async fn progress(&self, step: SetupStep, detail: Option<String>) {
        self.journal.record(AgentEvent::SetupProgress { step, detail }).await;
    }
}
