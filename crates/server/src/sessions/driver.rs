//! The task that owns a session.
//!
//! It alone changes the session: it holds the state machine and the queue, carries their effects
//! out, and stores every change before anyone hears of it. What takes time (starting a sandbox,
//! delivering a message) runs in tasks of its own that report back.
//!
//! ```text
//! facade ── Command ─────►┐                      ┌─► store (one transaction a change)
//! link ──── LinkEvent ───►│ driver task          ├─► readers (after the commit)
//! operations ─ Happening ►│ machine, queue, row  ├─► operations (start, stop, destroy, deliver)
//! deadline ───────────────┘                      └─► the daemon (plan, place in the journal)
//! ```
//!
//! A database that fails for a while holds the task up and loses nothing: requests of people are
//! answered with the error, everything else is tried again until it is stored.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mistle_model::queue::{self, Queue};
use mistle_model::session::{self as machine, Admitted, Effect, Machine, Operation, Stored};
use mistle_model::{conversations as summarized, summary};
use mistle_protocol::agent::{AgentEvent, ConversationId, JournalEntry, ModelOption};
use mistle_protocol::api::{ConversationPatch, MessagePatch};
use mistle_protocol::control::{Deliver, Delivered, Health};
use mistle_protocol::id::{MessageId, SessionId};
use mistle_protocol::session::{
    ConversationSummary, Delivery, Destination, QueuedMessage, Session, SessionEvent, SessionState, Trouble, Workspace,
};
use mistle_sandbox::Exit;
use mistle_store::StoreError;
use mistle_store::idempotency::{Key, Outcome};
use mistle_store::messages::MessageState;
use mistle_store::sessions::SessionRow;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::control::{Control, ControlError};
use super::link::{self, Go, LinkEvent, Listener};
use super::live::{MAX_BEHIND, Update};
use super::record::{Draft, is_at_rest};
use super::{SessionError, Shared, attachments, conversations, egress, plan, trouble};
use crate::profiles;

/// Requests that wait for the task; more wait in their handlers.
const MAX_COMMANDS: usize = 64;
/// Reports that wait for the task.
const MAX_REPORTS: usize = 16;
/// How long processes have to end by themselves: a runtime writes its files, the daemon its
/// journal.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long the daemon's last words may take to arrive after its process has ended.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// The first and the longest wait before a change is given to a failing database again.
const STORE_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The most that the record of one session takes, in bytes of journal. Years of honest work; what
/// is more is a sandbox that tries to fill the server's disk.
const MAX_RECORD_BYTES: u64 = 4 * 1024 * 1024 * 1024;

type Reply<T> = oneshot::Sender<Result<T, SessionError>>;

/// What people ask.
pub(super) enum Command {
    Request(machine::Request, Reply<Session>),
    Rename(String, Reply<Session>),
    /// Another workspace becomes the primary one.
    Relocate(Workspace, Reply<Session>),
    /// Another conversation becomes the active one.
    Activate(ConversationId, Reply<Session>),
    ChangeConversation {
        id: ConversationId,
        patch: ConversationPatch,
        reply: Reply<ConversationSummary>,
    },
    /// A warm session becomes someone's.
    Adopt {
        title: String,
        /// Boxed like that of `Send`.
        task: Box<QueuedMessage>,
        key: Option<Key>,
        reply: Reply<Adoption>,
    },
    Send {
        /// Boxed, for it is much larger than what else is asked.
        message: Box<QueuedMessage>,
        key: Option<Key>,
        reply: Reply<QueuedMessage>,
    },
    EditMessage {
        id: MessageId,
        patch: MessagePatch,
        reply: Reply<QueuedMessage>,
    },
    RemoveMessage(MessageId, Reply<()>),
}

/// What became of a wish to adopt.
#[derive(Debug)]
pub(super) enum Adoption {
    /// It is the session, and has its task.
    Adopted(Box<Session>),
    /// An earlier request under the same key made this session.
    Repeated(String),
    /// It is on its way out, or someone's already.
    Gone,
}

/// What the task's own helpers report.
enum Happening {
    /// The disk exists; the processes are started when that is stored.
    DiskCreated(oneshot::Sender<()>),
    Started(Result<Listener, Trouble>),
    Stopped(Result<(), Trouble>),
    Destroyed(Result<(), Trouble>),
    /// The processes of that run ended.
    Exited {
        run: u64,
        trouble: Trouble,
    },
    Delivered {
        connection: u64,
        id: MessageId,
        outcome: Result<Delivered, ControlError>,
    },
}

enum Incoming {
    Command(Box<Command>),
    Link(LinkEvent),
    Happening(Happening),
    Tick,
}

/// What others may see of a session without asking its task.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) state: SessionState,
    /// The folder of the primary workspace.
    pub(super) cwd: String,
    pub(super) control: Option<Control>,
    /// Whether it waits to be adopted.
    pub(super) warm: bool,
}

/// How others reach a session's task.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) updates: broadcast::Sender<Arc<Update>>,
    pub(super) view: watch::Receiver<View>,
}

struct Link {
    connection: u64,
    control: Control,
}

struct Task {
    shared: Arc<Shared>,
    row: SessionRow,
    queue: Queue,
    machine: Machine,
    commands: mpsc::Receiver<Command>,
    links: mpsc::Receiver<LinkEvent>,
    links_sender: mpsc::Sender<LinkEvent>,
    happenings: mpsc::Receiver<Happening>,
    happenings_sender: mpsc::Sender<Happening>,
    updates: broadcast::Sender<Arc<Update>>,
    view: watch::Sender<View>,
    listener: Option<Listener>,
    link: Option<Link>,
    /// The message that was given to the daemon on this connection, until its fate is known. That
    /// the runtime has it is known when the journal says so.
    flight: Option<MessageId>,
    /// Whether the runtime accepts messages, as the daemon said last.
    runtime_ready: bool,
    /// The runtime counts as ready once the journal is stored up to here.
    ready_at: Option<u64>,
    /// Counts the starts of processes, so that the end of earlier ones is told apart.
    run: u64,
    watcher: Option<AbortOnDropHandle<()>>,
    purged: bool,
}

/// Takes a session up where the store left it. `running` says whether the driver knows of
/// processes.
pub(super) fn spawn(shared: &Arc<Shared>, row: SessionRow, queue: Queue, running: bool) -> Handle {
    let (commands_sender, commands) = mpsc::channel(MAX_COMMANDS);
    let (links_sender, links) = mpsc::channel(MAX_REPORTS);
    let (happenings_sender, happenings) = mpsc::channel(MAX_REPORTS);
    let updates = broadcast::channel(MAX_BEHIND).0;
    let (view, viewed) = watch::channel(View {
        state: row.session.state,
        cwd: row.session.cwd.clone(),
        control: None,
        warm: row.warm_until.is_some(),
    });
    let handle = Handle {
        commands: commands_sender,
        updates: updates.clone(),
        view: viewed,
    };
    let stored = stored(&row);
    let (machine, effects) = Machine::restore(stored, running, Timestamp::now());
    let task = Task {
        shared: shared.clone(),
        row,
        queue,
        machine,
        commands,
        links,
        links_sender,
        happenings,
        happenings_sender,
        updates,
        view,
        listener: None,
        link: None,
        flight: None,
        runtime_ready: false,
        ready_at: None,
        run: 0,
        watcher: None,
        purged: false,
    };
    shared.tasks.spawn(task.run(effects));
    handle
}

/// The queue as the store left it.
pub(super) fn restored(row: &SessionRow, entries: Vec<queue::Entry>) -> Queue {
    let session = &row.session;
    Queue::restore(entries, session.conversation_id.as_deref(), session.starter_id)
}

fn stored(row: &SessionRow) -> Stored {
    let session = &row.session;
    // Otherwise the trouble is the agent's and not the sandbox's.
    let of_sandbox = matches!(session.state, SessionState::Failed | SessionState::Disconnected);
    Stored {
        state: session.state,
        since: session.state_since,
        trouble: session.trouble.clone().filter(|_| of_sandbox),
        trash: session.deletion,
        warm: row.warm_until,
        ready: row.ready,
    }
}

impl Task {
    fn id(&self) -> SessionId {
        self.row.session.id
    }

    fn is_warm(&self) -> bool {
        self.row.warm_until.is_some()
    }

    async fn run(mut self, effects: Vec<Effect>) {
        let stop = self.shared.stop.clone();
        if matches!(self.machine.state(), SessionState::Running | SessionState::Disconnected) {
            self.listen();
        }
        if effects.contains(&Effect::Record) {
            let mut draft = Draft::of(&self.row);
            draft.state(&self.machine);
            self.commit_surely(draft).await;
        }
        self.adopt_conversations().await;
        self.carry_out(effects).await;
        while !self.purged {
            self.deliver_next().await;
            let deadline = self.machine.deadline();
            let incoming = tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = self.commands.recv() => Incoming::Command(Box::new(command)),
                Some(event) = self.links.recv() => Incoming::Link(event),
                Some(happening) = self.happenings.recv() => Incoming::Happening(happening),
                () = until(deadline), if deadline.is_some() => Incoming::Tick,
            };
            match incoming {
                Incoming::Command(command) => self.command(*command).await,
                Incoming::Link(event) => self.linked(event).await,
                Incoming::Happening(happening) => self.happened(happening).await,
                Incoming::Tick => self.feed(machine::Event::Tick).await,
            }
        }
        if self.purged {
            self.shared.forget(self.id());
        }
    }

    async fn adopt_conversations(&mut self) {
        let mut draft = Draft::of(&self.row);
        match conversations::adopt(&self.shared.needs.store, &mut draft.row.session).await {
            Ok(()) if draft.row.session.conversations != self.row.session.conversations => {
                self.commit_surely(draft).await;
            }
            Ok(()) => {}
            Err(error) => {
                tracing::error!(session = %self.id(), error = %trouble::chain(&error), "cannot read the conversations");
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Request(request, reply) => {
                let answer = self.request(request).await;
                let _ = reply.send(answer);
            }
            Command::Rename(title, reply) => {
                let mut draft = Draft::of(&self.row);
                draft.row.session.title = title;
                let answer = self.commit(draft, None).await.map(|_| self.row.session.clone());
                let _ = reply.send(answer);
            }
            Command::Relocate(workspace, reply) => self.relocate(workspace, reply).await,
            Command::Activate(id, reply) => {
                let _ = reply.send(self.activate(&id).await);
            }
            Command::ChangeConversation { id, patch, reply } => {
                let _ = reply.send(self.change_conversation(&id, patch).await);
            }
            Command::Adopt {
                title,
                task,
                key,
                reply,
            } => {
                let _ = reply.send(self.adopt(title, *task, key).await);
            }
            Command::Send { message, key, reply } => {
                let answer = self.send(*message, key).await;
                let _ = reply.send(answer);
            }
            Command::EditMessage { id, patch, reply } => {
                let before = self.queue.clone();
                let edited = match patch.place {
                    None => self.queue.edit(id, patch.text, patch.delivery),
                    Some(place) if patch.text.is_none() && patch.delivery.is_none() => {
                        self.queue.rearrange(id, place.before)
                    }
                    Some(place) => {
                        let edited = self.queue.edit(id, patch.text, patch.delivery);
                        edited.and_then(|_| self.queue.rearrange(id, place.before))
                    }
                };
                if edited.is_err() {
                    self.queue = before.clone();
                }
                let answer = self.requeued(edited, MessageState::Queued, before).await;
                let _ = reply.send(answer);
            }
            Command::RemoveMessage(id, reply) => {
                let before = self.queue.clone();
                let removed = self.queue.remove(id);
                let answer = self.requeued(removed, MessageState::Removed, before).await;
                let _ = reply.send(answer.map(drop));
            }
        }
    }

    /// Stores which workspace is the primary one and tells the daemon before it answers, so that
    /// what is opened next is opened there.
    async fn relocate(&mut self, workspace: Workspace, reply: Reply<Session>) {
        let mut draft = Draft::of(&self.row);
        draft.row.session.cwd = workspace.path;
        draft.row.session.repository = workspace.repository;
        if let Err(error) = self.commit(draft, None).await {
            let _ = reply.send(Err(error));
            return;
        }
        self.publish_view();
        let session = self.row.session.clone();
        let told = self.tell_plan();
        self.help(async move {
            if let Some(told) = told {
                told.await;
            }
            let _ = reply.send(Ok(session));
        });
    }

    async fn activate(&mut self, id: &str) -> Result<Session, SessionError> {
        if summarized::find(&self.row.session, id).is_none() {
            return Err(conversations::not_found());
        }
        let before = self.queue.clone();
        self.queue.activated();
        let mut draft = Draft::of(&self.row);
        summarized::activate(&mut draft.row.session, id);
        self.commit_queue(draft, None, before).await.map(drop)?;
        Ok(self.row.session.clone())
    }

    async fn change_conversation(
        &mut self,
        id: &str,
        patch: ConversationPatch,
    ) -> Result<ConversationSummary, SessionError> {
        let mut draft = Draft::of(&self.row);
        let session = &mut draft.row.session;
        if let Some(title) = &patch.title {
            summarized::rename(session, id, title);
        }
        if let Some(archived) = patch.archived {
            summarized::archive(session, id, archived).map_err(|working| SessionError::Conflict {
                kind: "conversation-working",
                message: working.to_string(),
            })?;
        }
        let changed = summarized::find(session, id)
            .cloned()
            .ok_or_else(conversations::not_found)?;
        self.commit(draft, None).await.map(drop)?;
        if patch.title.is_some()
            && let Some(told) = self.tell_plan()
        {
            self.help(told);
        }
        Ok(changed)
    }

    /// Gives the daemon the plan as it is, if one is there to hear it. The next connection brings
    /// it along otherwise.
    fn tell_plan(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let control = self.link.as_ref()?.control.clone();
        let plan = plan::plan(&self.shared.needs.config, &self.row).ok()?;
        let id = self.id();
        Some(async move {
            if let Err(error) = control.put_plan(&plan).await {
                tracing::warn!(session = %id, error = %trouble::chain(&error), "the sandbox was not told of its plan");
            }
        })
    }

    /// Where a message goes that is accepted now.
    async fn settle(&self, wanted: &Destination) -> Result<Destination, SessionError> {
        let session = &self.row.session;
        let mut wanted = conversations::check_destination(session, wanted)?;
        if let Destination::StartedBy { message_id } = wanted
            && self.queue.messages().iter().all(|message| message.id != message_id)
        {
            // It was delivered, or taken out of the queue.
            let earlier = self.shared.needs.store.message(self.id(), message_id).await;
            let earlier = earlier.map_err(super::internal)?.map(|message| message.destination);
            wanted = match earlier {
                Some(Destination::Conversation { id }) => {
                    conversations::check_destination(session, &Destination::Conversation { id })?
                }
                _ => return Err(denied_message(queue::Denied::NotFound, "/destination")),
            };
        }
        self.queue
            .settle(&wanted, session.conversation_id.as_deref())
            .map_err(|denied| denied_message(denied, "/destination"))
    }

    async fn request(&mut self, request: machine::Request) -> Result<Session, SessionError> {
        let before = self.machine.clone();
        let effects = match self.machine.request(Timestamp::now(), request) {
            Ok(Admitted::Joined) => return Ok(self.row.session.clone()),
            Ok(Admitted::Begun(effects)) => effects,
            Err(machine::Denied::Stopping) => {
                let message = "The session is stopping. Start it when it has stopped.".to_owned();
                return Err(SessionError::Conflict {
                    kind: "session-stopping",
                    message,
                });
            }
            Err(machine::Denied::Trashed) => return Err(super::trashed()),
            Err(machine::Denied::Deleted) => return Err(SessionError::NotFound { what: "session" }),
        };
        let mut draft = Draft::of(&self.row);
        draft.state(&self.machine);
        if let Err(error) = self.commit(draft, None).await {
            self.machine = before;
            return Err(error);
        }
        self.carry_out(effects).await;
        Ok(self.row.session.clone())
    }

    /// Gives a warm session its task, in one transaction with that it is someone's.
    async fn adopt(&mut self, title: String, task: QueuedMessage, key: Option<Key>) -> Result<Adoption, SessionError> {
        let (machine, before) = (self.machine.clone(), self.queue.clone());
        if !self.machine.adopt() {
            return Ok(Adoption::Gone);
        }
        let mut draft = Draft::of(&self.row);
        draft.adopted(title, &self.machine);
        let outcome = match self.queue.push(task) {
            Ok(entry) => {
                draft.message(entry, MessageState::Queued);
                let key = key.map(|key| (key, self.id().to_string()));
                self.commit_queue(draft, key, before).await
            }
            Err(denied) => Err(denied_message(denied, "/task")),
        };
        if self.is_warm() {
            self.machine = machine;
        }
        Ok(match outcome? {
            Outcome::Repeated { resource } => Adoption::Repeated(resource),
            Outcome::Written => {
                metrics::counter!("mistle_sessions_created_total").increment(1);
                tracing::info!(session = %self.id(), state = ?self.row.session.state, "a warm session was adopted");
                Adoption::Adopted(Box::new(self.row.session.clone()))
            }
        })
    }

    async fn send(&mut self, mut message: QueuedMessage, key: Option<Key>) -> Result<QueuedMessage, SessionError> {
        let id = message.id;
        let before = self.queue.clone();
        message.destination = self.settle(&message.destination).await?;
        let entry = self
            .queue
            .push(message.clone())
            .map_err(|denied| denied_message(denied, "/text"))?;
        let mut draft = Draft::of(&self.row);
        draft.message(entry, MessageState::Queued);
        match self
            .commit_queue(draft, key.map(|key| (key, id.to_string())), before)
            .await?
        {
            Outcome::Written => Ok(message),
            Outcome::Repeated { resource } => self.earlier_message(&resource).await,
        }
    }

    async fn earlier_message(&self, resource: &str) -> Result<QueuedMessage, SessionError> {
        let message = match resource.parse() {
            Ok(id) => self
                .shared
                .needs
                .store
                .message(self.id(), id)
                .await
                .map_err(super::internal)?,
            Err(_) => None,
        };
        message.ok_or(SessionError::NotFound { what: "message" })
    }

    /// Stores a change of the queue that was made in memory, or was denied.
    async fn requeued(
        &mut self,
        changed: Result<queue::Entry, queue::Denied>,
        state: MessageState,
        before: Queue,
    ) -> Result<QueuedMessage, SessionError> {
        let entry = changed.map_err(|denied| denied_message(denied, "/text"))?;
        let mut draft = Draft::of(&self.row);
        draft.message(entry.clone(), state);
        self.commit_queue(draft, None, before).await.map(|_| entry.message)
    }

    /// Stores a change of the queue, or undoes it.
    async fn commit_queue(
        &mut self,
        draft: Draft,
        key: Option<(Key, String)>,
        before: Queue,
    ) -> Result<Outcome, SessionError> {
        let stored = self.row.revision;
        let outcome = self.commit(draft, key).await;
        if !matches!(outcome, Ok(Outcome::Written)) && self.row.revision == stored {
            self.queue = before;
        }
        outcome
    }

    async fn happened(&mut self, happening: Happening) {
        let now = Timestamp::now();
        match happening {
            Happening::DiskCreated(go) => {
                let mut draft = Draft::of(&self.row);
                draft.row.has_disk = true;
                self.commit_surely(draft).await;
                let _ = go.send(());
            }
            Happening::Started(Ok(listener)) => {
                self.listener = Some(listener);
                self.feed(machine::Event::Done(Operation::Start)).await;
            }
            Happening::Started(Err(trouble)) => {
                self.hang_up().await;
                self.feed(machine::Event::OperationFailed(Operation::Start, trouble))
                    .await;
            }
            Happening::Stopped(outcome) => {
                self.hang_up().await;
                self.feed(finished(Operation::Stop, outcome)).await;
            }
            Happening::Destroyed(outcome) => {
                self.hang_up().await;
                self.feed(finished(Operation::Destroy, outcome)).await;
            }
            Happening::Exited { run, trouble } if run == self.run => {
                let trouble = Trouble { since: now, ..trouble };
                self.feed(machine::Event::Exited(trouble)).await;
            }
            Happening::Exited { .. } => {}
            Happening::Delivered {
                connection,
                id,
                outcome,
            } => self.delivered(connection, id, outcome).await,
        }
    }

    async fn linked(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Linked {
                connection,
                control,
                health,
                go,
            } => self.link_up(connection, control, &health, go).await,
            LinkEvent::Entries {
                connection,
                entries,
                bytes,
                stored,
            } => {
                if self.link.as_ref().is_some_and(|link| link.connection == connection) {
                    self.ingest(entries, bytes).await;
                    let _ = stored.send(self.row.journal_seq);
                }
            }
            LinkEvent::Broken { connection, message } => {
                tracing::warn!(session = %self.id(), connection, message, "a sandbox's daemon is broken");
                self.feed(machine::Event::Broken(trouble::broken(
                    Timestamp::now(),
                    trouble::short(&message),
                )))
                .await;
            }
            LinkEvent::Lost { connection } => {
                if self.link.as_ref().is_some_and(|link| connection >= link.connection) {
                    self.drop_link().await;
                }
            }
        }
    }

    async fn link_up(&mut self, connection: u64, control: Control, health: &Health, go: oneshot::Sender<Go>) {
        if !self.machine.expects_link() {
            return;
        }
        // A link that was replaced may have taken a message along.
        self.flight = None;
        if health.journal_seq < self.row.journal_seq {
            self.rewind(health.journal_seq).await;
        }
        let plan = match plan::plan(&self.shared.needs.config, &self.row) {
            Ok(plan) => plan,
            Err(trouble) => return self.feed(machine::Event::Broken(trouble)).await,
        };
        if self.row.boot_floor.is_none() {
            // Stored before the daemon is told anything: what it does from here on is this run's.
            let mut draft = Draft::of(&self.row);
            draft.row.boot_floor = Some(health.journal_seq);
            self.commit_surely(draft).await;
        }
        self.link = Some(Link {
            connection,
            control: control.clone(),
        });
        self.ready_at = health.runtime_ready.then_some(health.journal_seq);
        self.feed(machine::Event::LinkUp).await;
        self.publish_view();
        tracing::info!(session = %self.id(), connection, journal_seq = health.journal_seq, ready = health.runtime_ready, "sandbox linked");
        if go
            .send(Go {
                plan,
                after: self.row.journal_seq,
            })
            .is_err()
        {
            return self.drop_link().await;
        }
        self.ready_if_due().await;
    }

    /// The sandbox's journal is shorter than what was read of it: the machine lost power before its
    /// last entries were on the disk. The record keeps them. (The daemon keeps the highest number
    /// that it showed apart from the journal, so this takes a power cut within milliseconds.)
    async fn rewind(&mut self, journal_seq: u64) {
        tracing::warn!(session = %self.id(), stored = self.row.journal_seq, journal_seq, "the sandbox's journal went back");
        let mut draft = Draft::of(&self.row);
        draft.row.journal_seq = journal_seq;
        if let Some(floor) = &mut draft.row.boot_floor {
            *floor = (*floor).min(journal_seq);
        }
        match self.shared.needs.store.rewind_journal(&draft.row).await {
            Ok(()) => self.row = draft.row,
            Err(error) => {
                tracing::error!(session = %self.id(), error = %trouble::chain(&error), "cannot rewind the journal");
                self.reload().await;
            }
        }
    }

    async fn ingest(&mut self, mut entries: Vec<JournalEntry>, bytes: u64) {
        let now = Timestamp::now();
        attachments::tell(&self.shared, self.id(), &self.queue.messages(), &mut entries).await;
        let mut draft = Draft::of(&self.row);
        let mut effects = Vec::new();
        let mut count = 0_u64;
        draft.row.recorded_bytes += bytes;
        for entry in entries {
            if entry.seq <= draft.row.journal_seq {
                continue;
            }
            if entry.seq > i64::MAX as u64 {
                let trouble = trouble::broken(now, "The sandbox's journal can't be read: a number is out of range.");
                effects.extend(self.fold(&mut draft, machine::Event::Broken(trouble)));
                break;
            }
            count += 1;
            let current = draft.row.boot_floor.is_some_and(|floor| entry.seq > floor);
            let event = current.then(|| machine_event(&entry, now)).flatten();
            self.take_in(&mut draft, &entry, current);
            draft.entry(entry);
            effects.extend(
                event
                    .into_iter()
                    .flat_map(|event| self.fold(&mut draft, event))
                    .collect::<Vec<_>>(),
            );
        }
        if draft.row.recorded_bytes > MAX_RECORD_BYTES {
            let hint = "Start a new session. What was recorded is kept.";
            let full = trouble::trouble(now, "record_full", "The session's record has reached its limit.", hint);
            effects.extend(self.fold(&mut draft, machine::Event::Broken(full)));
        }
        if count == 0 && effects.is_empty() {
            return;
        }
        self.commit_surely(draft).await;
        metrics::counter!("mistle_session_events_total").increment(count);
        self.carry_out(effects).await;
        self.ready_if_due().await;
    }

    /// What an entry means for the queue and for the runtime's readiness.
    fn take_in(&mut self, draft: &mut Draft, entry: &JournalEntry, current: bool) {
        // What the entry starts is the active conversation when this is its message.
        draft.row.session.starter_id = self.queue.starter();
        match &entry.event {
            AgentEvent::MessageDelivered {
                message_id,
                conversation_id,
                ..
            } => {
                self.flight.take_if(|id| *id == *message_id);
                self.queue.started(*message_id, conversation_id);
                if let Some(entry) = self.queue.delivered(*message_id) {
                    let session = &mut draft.row.session;
                    session.model = entry.message.model.clone().or(session.model.take());
                    session.effort = entry.message.effort.clone().or(session.effort.take());
                    draft.message(entry, MessageState::Delivered);
                }
            }
            AgentEvent::MessageRejected { message_id, message } => {
                self.flight.take_if(|id| *id == *message_id);
                if let Some(entry) = self.queue.rejected(*message_id, trouble::short(message)) {
                    draft.message(entry, MessageState::Queued);
                }
            }
            AgentEvent::TurnStarted { conversation_id, .. } | AgentEvent::TurnCompleted { conversation_id, .. } => {
                self.queue.stir(Some(conversation_id));
            }
            AgentEvent::ConversationStarted {
                conversation,
                message_id: Some(message_id),
            } => self.queue.started(*message_id, &conversation.id),
            AgentEvent::ConversationLost { conversation_id, .. } => {
                let was_active = draft.row.session.conversation_id.as_ref() == Some(conversation_id);
                self.queue.lost(conversation_id, was_active);
            }
            AgentEvent::RuntimeReady { models, .. } if current => {
                self.remember(summary::offered(models));
                self.runtime_ready = true;
                self.queue.stir(None);
            }
            AgentEvent::RuntimeExited { .. } if current => self.runtime_ready = false,
            _ => {}
        }
    }

    fn remember(&self, models: Vec<ModelOption>) {
        let shared = self.shared.clone();
        let (organization, profile) = (self.row.organization_id, self.row.profile.clone());
        self.help(async move {
            let needs = &shared.needs;
            profiles::remember_models(&needs.config, &needs.store, organization, &profile, &models).await;
        });
    }

    /// A daemon that was ready when it called counts as ready once everything it had said is known.
    async fn ready_if_due(&mut self) {
        if self.ready_at.take_if(|seq| *seq <= self.row.journal_seq).is_some() {
            self.runtime_ready = true;
            self.queue.stir(None);
            self.feed(machine::Event::Ready).await;
        }
    }

    async fn drop_link(&mut self) {
        self.link = None;
        self.flight = None;
        self.runtime_ready = false;
        self.ready_at = None;
        self.publish_view();
        self.feed(machine::Event::LinkLost).await;
    }

    /// Ends the connections of a sandbox that ended.
    async fn hang_up(&mut self) {
        self.listener = None;
        if self.link.is_some() {
            self.drop_link().await;
        }
    }

    fn listen(&mut self) {
        let listener = self
            .shared
            .needs
            .driver
            .link_dir(self.id())
            .map_err(|error| error.to_string())
            .and_then(|folder| {
                let egress = egress::serve(&self.shared, &self.row);
                link::listen(&folder, self.links_sender.clone(), egress).map_err(|error| error.to_string())
            });
        match listener {
            Ok(listener) => self.listener = Some(listener),
            // The sandbox is not there; its end is reported by the watcher.
            Err(error) => tracing::warn!(session = %self.id(), error, "cannot listen for the sandbox"),
        }
    }

    async fn delivered(&mut self, connection: u64, id: MessageId, outcome: Result<Delivered, ControlError>) {
        let is_current = self.link.as_ref().is_some_and(|link| link.connection == connection);
        if !is_current || self.flight != Some(id) {
            return;
        }
        let changed = match outcome {
            Ok(Delivered::Accepted { .. }) => return,
            Ok(Delivered::Busy | Delivered::NotReady) => self.queue.deferred(id),
            Ok(Delivered::Rejected { message }) => self.queue.rejected(id, trouble::short(&message)),
            Err(ControlError::Problem { status, detail }) => {
                tracing::warn!(session = %self.id(), %id, %status, detail, "a message was refused");
                self.queue.rejected(id, trouble::short(&detail))
            }
            Err(error) => {
                tracing::warn!(session = %self.id(), %id, error = %trouble::chain(&error), "a message's fate is unknown");
                // It stays on its way, and the next connection asks again.
                if let Some(link) = &self.link {
                    link.control.hang_up();
                }
                return;
            }
        };
        self.flight = None;
        if let Some(entry) = changed {
            let mut draft = Draft::of(&self.row);
            draft.message(entry, MessageState::Queued);
            self.commit_surely(draft).await;
        }
    }

    /// Gives the next message to the daemon, if there is one and it can go.
    async fn deliver_next(&mut self) {
        let Some(link) = self.link.as_ref().filter(|_| self.flight.is_none()) else {
            return;
        };
        let (connection, control) = (link.connection, link.control.clone());
        let ready = self.runtime_ready && self.machine.state() == SessionState::Running;
        let message = match self.queue.in_flight() {
            // Its fate was not heard: the daemon knows it by its id.
            Some(message) if ready => message.clone(),
            Some(_) => return,
            None => {
                let Some(id) = self.queue.next(&summary::runtime(&self.row.session, ready)) else {
                    return;
                };
                let Some(entry) = self.queue.sending(id) else { return };
                let message = entry.message.clone();
                let mut draft = Draft::of(&self.row);
                draft.message(entry, MessageState::Queued);
                self.commit_surely(draft).await;
                message
            }
        };
        let session = &self.row.session;
        let files = message.attachments;
        let deliver = Deliver {
            message_id: message.id,
            conversation_id: match &message.destination {
                Destination::Conversation { id } => Some(id.clone()),
                _ => None,
            },
            cwd: Some(session.cwd.clone()),
            steer: message.delivery == Delivery::Steer,
            model: message.model.or_else(|| session.model.clone()),
            effort: message.effort.or_else(|| session.effort.clone()),
            text: message.text,
            attachments: Vec::new(),
        };
        self.flight = Some(deliver.message_id);
        let happenings = self.happenings_sender.clone();
        let stored = self.shared.needs.attachments.clone();
        self.help(async move {
            let id = deliver.message_id;
            let outcome = attachments::deliver(&stored, &control, deliver, files).await;
            let _ = happenings
                .send(Happening::Delivered {
                    connection,
                    id,
                    outcome,
                })
                .await;
        });
    }

    /// Gives the machine an event, stores what it changes and carries its effects out.
    async fn feed(&mut self, event: machine::Event) {
        let mut draft = Draft::of(&self.row);
        let effects = self.fold(&mut draft, event);
        if effects.contains(&Effect::Record) {
            self.commit_surely(draft).await;
        }
        self.carry_out(effects).await;
    }

    /// Gives the machine an event in the middle of a change.
    fn fold(&mut self, draft: &mut Draft, event: machine::Event) -> Vec<Effect> {
        let effects = self.machine.handle(Timestamp::now(), event);
        draft.row.ready = self.machine.ready();
        if effects.contains(&Effect::Record) {
            draft.state(&self.machine);
        }
        effects
    }

    async fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record => {}
                Effect::Begin(Operation::Start) => self.begin_start(),
                Effect::Begin(Operation::Stop) => self.begin_stop(),
                Effect::Begin(Operation::Destroy) => self.begin_destroy(),
                Effect::Watch => self.watch(),
                Effect::Purge => self.purge().await,
            }
        }
    }

    /// Does what takes time beside the task. The end of the server cuts it off: what a sandbox had
    /// begun goes on, and the next server finds out.
    fn help(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.shared.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    fn begin_start(&mut self) {
        self.run += 1;
        self.runtime_ready = false;
        let (shared, row) = (self.shared.clone(), self.row.clone());
        let (links, happenings) = (self.links_sender.clone(), self.happenings_sender.clone());
        self.help(async move {
            let outcome = start(&shared, &row, links, &happenings).await;
            let _ = happenings.send(Happening::Started(outcome)).await;
        });
    }

    fn begin_stop(&mut self) {
        let (shared, id, happenings) = (self.shared.clone(), self.id(), self.happenings_sender.clone());
        let (control, mut view) = (
            self.link.as_ref().map(|link| link.control.clone()),
            self.view.subscribe(),
        );
        self.help(async move {
            if let Some(control) = control {
                // Asked first, for its order is better; the signal that follows says the same.
                let _ = tokio::time::timeout(DRAIN_WITHIN, control.shutdown()).await;
            }
            let stopped = shared.needs.driver.stop(id, STOP_GRACE).await;
            let outcome = match stopped {
                Ok(()) | Err(mistle_sandbox::SandboxError::NotFound(_)) => Ok(()),
                Err(error) => Err(trouble::of_sandbox(Timestamp::now(), &error)),
            };
            // The end of the connection comes behind the last entry.
            let _ = tokio::time::timeout(DRAIN_WITHIN, view.wait_for(|view| view.control.is_none())).await;
            let _ = happenings.send(Happening::Stopped(outcome)).await;
        });
    }

    fn begin_destroy(&mut self) {
        self.listener = None;
        let (shared, id, happenings) = (self.shared.clone(), self.id(), self.happenings_sender.clone());
        self.help(async move {
            let deleted = shared.needs.driver.delete(id).await;
            let outcome = deleted.map_err(|error| trouble::of_sandbox(Timestamp::now(), &error));
            let _ = happenings.send(Happening::Destroyed(outcome)).await;
        });
    }

    fn watch(&mut self) {
        let (shared, id, run, happenings) = (self.shared.clone(), self.id(), self.run, self.happenings_sender.clone());
        self.watcher = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let now = Timestamp::now();
            let trouble = match shared.needs.driver.wait(id).await {
                Ok(exit) => trouble::exited(now, &exit),
                Err(mistle_sandbox::SandboxError::NotFound(_)) => trouble::exited(
                    now,
                    &Exit {
                        code: None,
                        out_of_memory: false,
                    },
                ),
                Err(error) => trouble::of_sandbox(now, &error),
            };
            let _ = happenings.send(Happening::Exited { run, trouble }).await;
        })));
    }

    async fn purge(&mut self) {
        let store = self.shared.needs.store.clone();
        let id = self.id();
        let purged = self.persist(move || {
            let store = store.clone();
            async move { store.purge_session(id).await }
        });
        if purged.await.is_ok() {
            self.shared.needs.attachments.sweep_soon();
            self.count(-1.0);
            self.purged = true;
        }
    }

    /// Stores a change that someone waits for. On an error nothing has changed.
    async fn commit(&mut self, draft: Draft, key: Option<(Key, String)>) -> Result<Outcome, SessionError> {
        let key = key
            .as_ref()
            .map(|(key, resource)| (key, resource.as_str(), draft.row.session.updated_at));
        let draft = self.counted(draft);
        let store = &self.shared.needs.store;
        let stored = if draft.adopts {
            store.adopt_session(&draft.change(), key).await
        } else {
            store.commit_once(&draft.change(), key).await
        };
        match stored {
            Ok(Outcome::Written) => {
                self.committed(draft);
                Ok(Outcome::Written)
            }
            Ok(repeated) => Ok(repeated),
            Err(StoreError::KeyReused) => {
                self.reload().await;
                Err(super::key_reused())
            }
            Err(error) => {
                let revision = draft.row.revision;
                self.reload().await;
                if self.row.revision == revision {
                    // The answer was lost and not the change.
                    self.announce(Vec::new(), true, true);
                    return Ok(Outcome::Written);
                }
                Err(super::of_store(error))
            }
        }
    }

    /// Stores a change that nobody waits for, however long it takes. Only the end of the server
    /// gives it up: it follows again from what is stored and from the sandbox's journal.
    async fn commit_surely(&mut self, draft: Draft) {
        let draft = self.counted(draft);
        let store = self.shared.needs.store.clone();
        let attempt = || async {
            match store.commit(&draft.change()).await {
                // An earlier attempt may have been stored although its answer was lost.
                Err(StoreError::Stale) => match store.session(draft.row.session.id).await? {
                    Some(stored) if stored.revision == draft.row.revision => Ok(()),
                    _ => Err(StoreError::Stale),
                },
                other => other,
            }
        };
        match self.persist(attempt).await {
            Ok(()) => self.committed(draft),
            Err(StoreError::Stale) => {
                tracing::error!(session = %self.id(), "another server changed the session; taking it up from there");
                self.reload().await;
            }
            Err(error) => {
                tracing::error!(session = %self.id(), error = %trouble::chain(&error), "a change was not stored");
            }
        }
    }

    /// Tries until it succeeds, is refused for good, or the server ends.
    async fn persist<F: Future<Output = Result<(), StoreError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<(), StoreError> {
        let mut wait = STORE_RETRY.0;
        loop {
            let error = match attempt().await {
                Ok(()) => return Ok(()),
                Err(error @ (StoreError::Stale | StoreError::AttachmentTaken | StoreError::Unreadable { .. })) => {
                    return Err(error);
                }
                Err(error) => error,
            };
            tracing::error!(session = %self.id(), error = %trouble::chain(&error), "cannot store; trying again");
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(error),
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(STORE_RETRY.1),
            }
        }
    }

    fn counted(&mut self, mut draft: Draft) -> Draft {
        for entry in self.queue.take_moved() {
            draft.also(entry);
        }
        draft.row.session.queued = self.queue.len();
        draft.row.session.starter_id = self.queue.starter();
        draft
    }

    fn committed(&mut self, draft: Draft) {
        let queue_changed = draft.changes_queue();
        let (row, events) = draft.into_parts();
        let (before, since) = (self.row.session.state, self.row.session.state_since);
        let after = row.session.state;
        let looks_different = looks_different(&self.row.session, &row.session);
        let moved = before != after || self.row.warm_until != row.warm_until;
        if moved {
            self.count(-1.0);
        }
        self.row = row;
        if moved {
            self.count(1.0);
            self.publish_view();
        }
        if before != after {
            tracing::info!(session = %self.id(), from = ?before, to = ?after, "session state");
            if (before, after) == (SessionState::Starting, SessionState::Running) {
                let took = self.row.session.state_since.duration_since(since);
                metrics::histogram!("mistle_session_start_seconds").record(took.as_secs_f64());
            }
            if is_at_rest(after) {
                self.watcher = None;
            }
        }
        self.announce(events, queue_changed, looks_different);
    }

    /// Keeps `mistle_sessions` in step, of which a warm session is no part.
    fn count(&self, by: f64) {
        if !self.is_warm() {
            count_state(self.row.session.state, by);
        }
    }

    fn announce(&self, events: Vec<SessionEvent>, queue_changed: bool, looks_different: bool) {
        let update = Arc::new(Update {
            organization_id: self.row.organization_id,
            revision: self.row.revision,
            session: looks_different.then(|| self.row.session.clone()),
            queue: queue_changed.then(|| self.queue.messages()),
            events,
            comments: false,
        });
        if looks_different && !self.is_warm() {
            let _ = self.shared.updates.send(update.clone());
        }
        // Nobody listening is fine.
        let _ = self.updates.send(update);
    }

    fn publish_view(&self) {
        let control = self.link.as_ref().map(|link| link.control.clone());
        self.view.send_replace(View {
            state: self.row.session.state,
            cwd: self.row.session.cwd.clone(),
            control,
            warm: self.is_warm(),
        });
    }

    /// Takes the stored session and queue for true again.
    async fn reload(&mut self) {
        let store = &self.shared.needs.store;
        let loaded = async { Ok::<_, StoreError>((store.session(self.id()).await?, store.queue(self.id()).await?)) };
        match loaded.await {
            Ok((Some(row), entries)) => {
                self.row = row;
                self.queue = restored(&self.row, entries);
            }
            Ok((None, _)) => tracing::error!(session = %self.id(), "the session is gone from the database"),
            Err(error) => {
                tracing::error!(session = %self.id(), error = %trouble::chain(&error), "cannot read the session");
            }
        }
    }
}

/// Creates the disk unless it was, listens, and starts the processes.
async fn start(
    shared: &Arc<Shared>,
    row: &SessionRow,
    links: mpsc::Sender<LinkEvent>,
    happenings: &mpsc::Sender<Happening>,
) -> Result<Listener, Trouble> {
    let (config, spec_row) = (shared.needs.config.clone(), row.clone());
    let now = Timestamp::now();
    let spec = tokio::task::spawn_blocking(move || plan::sandbox(&config, &spec_row)).await;
    let spec = spec.map_err(|error| trouble::broken(now, error.to_string()))??;
    let driver = &shared.needs.driver;
    let of_sandbox = |error| trouble::of_sandbox(Timestamp::now(), &error);
    if !row.has_disk {
        driver.create(&spec).await.map_err(of_sandbox)?;
        let (go, stored) = oneshot::channel();
        let asked = happenings.send(Happening::DiskCreated(go)).await;
        if asked.is_err() || stored.await.is_err() {
            return Err(trouble::broken(now, "The server is ending."));
        }
    }
    let folder = driver.link_dir(spec.id).map_err(of_sandbox)?;
    let listener = link::listen(&folder, links, egress::serve(shared, row)).map_err(|error| {
        let message = format!("The server cannot listen in {}: {error}.", folder.display());
        trouble::trouble(now, "sandbox_failed", message, "The server's log says more.")
    })?;
    driver.start(&spec).await.map_err(of_sandbox)?;
    Ok(listener)
}

fn finished(operation: Operation, outcome: Result<(), Trouble>) -> machine::Event {
    match outcome {
        Ok(()) => machine::Event::Done(operation),
        Err(trouble) => machine::Event::OperationFailed(operation, trouble),
    }
}

fn machine_event(entry: &JournalEntry, now: Timestamp) -> Option<machine::Event> {
    match &entry.event {
        AgentEvent::SetupProgress { .. } => Some(machine::Event::Progress),
        AgentEvent::SetupFailed { step, message } => {
            Some(machine::Event::Broken(trouble::setup_failed(now, *step, message)))
        }
        AgentEvent::RuntimeReady { .. } => Some(machine::Event::Ready),
        _ => None,
    }
}

fn denied_message(denied: queue::Denied, pointer: &'static str) -> SessionError {
    let message = denied.to_string();
    match denied {
        queue::Denied::Empty => SessionError::Invalid {
            kind: "message-empty",
            pointer,
            message,
        },
        queue::Denied::TooLong => SessionError::Invalid {
            kind: "message-too-long",
            pointer,
            message,
        },
        queue::Denied::NotFound => SessionError::NotFound { what: "message" },
        queue::Denied::Full => SessionError::Conflict {
            kind: "queue-full",
            message,
        },
        queue::Denied::Sending => SessionError::Conflict {
            kind: "message-sending",
            message,
        },
    }
}

/// Whether a reader who has the events needs the session again. Most changes are a few more words of
/// an answer, and a session with its models is a hundred times as long.
fn looks_different(before: &Session, after: &Session) -> bool {
    let same_place = Session {
        last_seq: after.last_seq,
        updated_at: after.updated_at,
        ..before.clone()
    };
    same_place != *after
}

/// Resolves at a time by the wall clock; the caller looks at the clock again.
async fn until(deadline: Option<Timestamp>) {
    let Some(deadline) = deadline else {
        return std::future::pending().await;
    };
    let left = Timestamp::now().duration_until(deadline);
    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
}

/// Keeps `mistle_sessions` in step.
pub(super) fn count_state(state: SessionState, by: f64) {
    metrics::gauge!("mistle_sessions", "state" => state_name(state)).increment(by);
}

fn state_name(state: SessionState) -> &'static str {
    match state {
        SessionState::Created => "created",
        SessionState::Starting => "starting",
        SessionState::Running => "running",
        SessionState::Disconnected => "disconnected",
        SessionState::Stopping => "stopping",
        SessionState::Stopped => "stopped",
        SessionState::Failed => "failed",
        SessionState::Deleted => "deleted",
    }
}
