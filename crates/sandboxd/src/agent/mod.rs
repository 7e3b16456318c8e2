//! The runtime of a sandbox: its journal, its repositories and the driver that speaks with it.
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | `/plan` and `/agent/*` |
//! | [`driver`] | the one task: gets ready, serves, starts again |
//! | [`repositories`] | clones |
//! | [`runtime`] | what a runtime driver does |
//! | [`codex`] | the Codex driver |
//! | [`commands`] | the runtime's own commands |
//! | [`steering`] | steered messages that the model has not taken |
//! | [`coalesce`] | joins deltas |
//! | [`journal`] | the durable record, and the buffer before the server's |
//! | [`ledger`] | what the record says is open; drops repetitions |
//!
//! The plan is kept on the sandbox's disk: a daemon that is started again goes on before the
//! server is back.

mod api;
mod coalesce;
mod codex;
mod commands;
mod driver;
mod files;
mod journal;
mod ledger;
mod repositories;
pub(crate) mod runtime;
mod steering;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use mistle_protocol::agent::ConversationId;
use mistle_protocol::control::{Answer, Deliver, Delivered};
use mistle_protocol::plan::{Plan, WORKSPACES};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::api::routes;
use self::coalesce::Coalescer;
use self::driver::{Answered, Command, Driver, Planned, Shown};
use self::journal::{Journal, Limits};
use self::steering::Steering;
use crate::git::Repositories;

/// Requests that wait for the driver task. The server sends one message at a time; a person's
/// clicks are few.
const COMMAND_QUEUE: usize = 64;

/// The agent of a sandbox. A handle: the work is done by one task.
#[derive(Debug)]
pub struct Agent {
    journal: Arc<Journal>,
    git: Repositories,
    plan_file: PathBuf,
    plans: watch::Sender<Option<Planned>>,
    commands: mpsc::Sender<Command>,
    ready: watch::Receiver<bool>,
    shutdown: CancellationToken,
    /// Readers of the record go once they have all of it.
    dismissed: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Agent {
    /// Opens the journal below `state_dir` and goes on with the plan that is kept there.
    /// `environment` is what everything in the sandbox is started with (the daemon's own and the
    /// proxy variables); the plan's comes on top of it.
    pub async fn open(state_dir: &Path, environment: BTreeMap<String, String>) -> anyhow::Result<Arc<Self>> {
        Self::open_with(state_dir, Path::new(WORKSPACES), environment).await
    }

    /// The same with repositories in another folder than [`WORKSPACES`].
    pub async fn open_with(
        state_dir: &Path,
        workspaces: &Path,
        environment: BTreeMap<String, String>,
    ) -> anyhow::Result<Arc<Self>> {
        tokio::fs::create_dir_all(state_dir)
            .await
            .with_context(|| format!("making {}", state_dir.display()))?;
        let dir = state_dir.join("journal");
        let journal = Arc::new(
            Journal::open(&dir, Limits::default())
                .with_context(|| format!("opening the journal in {}", dir.display()))?,
        );
        let plan_file = state_dir.join("plan.json");
        let kept = read_plan(&plan_file).await.map(|plan| Planned {
            plan: Arc::new(plan),
            attempt: 0,
        });
        let (plans, planned) = watch::channel(kept);
        let (commands, orders) = mpsc::channel(COMMAND_QUEUE);
        let (ready, is_ready) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let git = Repositories::new(state_dir, &environment);
        let driver = Driver {
            journal: Arc::clone(&journal),
            git: git.clone(),
            state_dir: state_dir.to_owned(),
            workspaces: workspaces.to_owned(),
            environment,
            plans: planned,
            commands: orders,
            ready,
            shutdown: shutdown.clone(),
            coalescer: Coalescer::default(),
            steering: Steering::open(state_dir),
            stale: Vec::new(),
            told: Vec::new(),
            named: BTreeMap::new(),
            taken: commands::Taken::default(),
            expected: BTreeSet::new(),
        };
        let task = tokio::spawn(driver.run());
        Ok(Arc::new(Self {
            journal,
            git,
            plan_file,
            plans,
            commands,
            ready: is_ready,
            shutdown,
            dismissed: CancellationToken::new(),
            task: Mutex::new(Some(task)),
        }))
    }

    /// The sandbox's working trees.
    pub fn git(&self) -> Repositories {
        self.git.clone()
    }

    /// The plan's environment; empty until there is a plan.
    pub fn plan_environment(&self) -> BTreeMap<String, String> {
        self.plan().map(|plan| plan.environment.clone()).unwrap_or_default()
    }

    /// The plan's working directory.
    pub fn cwd(&self) -> Option<PathBuf> {
        self.plan().map(|plan| PathBuf::from(&plan.cwd))
    }

    /// The last journal sequence number; 0 when there is none.
    pub fn journal_seq(&self) -> u64 {
        self.journal.seq()
    }

    /// Whether the runtime accepts messages.
    pub fn runtime_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Interrupts, ends the runtime and flushes the journal.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the agent's task failed");
        }
        self.journal.close().await;
    }

    /// Ends the streams of events, each when its reader has everything. For after the shutdown:
    /// without it they never end, and whoever waits for them waits in vain.
    pub fn dismiss_readers(&self) {
        self.dismissed.cancel();
    }

    fn plan(&self) -> Option<Arc<Plan>> {
        self.plans.borrow().as_ref().map(|planned| Arc::clone(&planned.plan))
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes a plan. The same one again tries again what failed, and otherwise changes nothing. A folder
    /// that a running runtime is to work in is told to it before this ends: what a person types into its own
    /// interface next does not come by here, and runs there.
    async fn set_plan(&self, plan: Plan) -> Result<(), String> {
        check(&plan)?;
        let kept = match serde_json::to_vec(&plan) {
            Ok(text) => files::replace(&self.plan_file, &text).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = kept {
            // It is in memory, and the server sends it again at the next connection.
            tracing::warn!(%error, "the plan can't be kept on disk");
        }
        let moves = self
            .plan()
            .is_some_and(|before| before.cwd != plan.cwd && driver::same(&before, &plan));
        self.plans.send_modify(|planned| {
            let attempt = planned.as_ref().map_or(1, |planned| planned.attempt + 1);
            *planned = Some(Planned {
                plan: Arc::new(plan),
                attempt,
            });
        });
        if moves {
            // Without an answer the runtime is gone; the next one is started in the folder.
            let _ = self.ask(Command::Reached).await;
        }
        Ok(())
    }

    /// Asks the driver's task; one that ended answers nothing.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    async fn deliver(&self, deliver: Deliver) -> Delivered {
        let answer = self.ask(|reply| Command::Deliver(deliver, reply)).await;
        answer.unwrap_or(Delivered::NotReady)
    }

    async fn interrupt(&self, conversation: Option<ConversationId>) {
        // Without an answer the runtime is gone, and its turn with it.
        let _ = self.ask(|reply| Command::Interrupt(conversation, reply)).await;
    }

    /// The runtime's own interface for a conversation, or why it can't be had.
    pub(crate) async fn interface(&self, conversation: ConversationId) -> Shown {
        let shown = self.ask(|reply| Command::Interface(conversation, reply)).await;
        shown.unwrap_or_else(|| Err("The agent ended. It is started again; try then.".to_owned()))
    }

    async fn answer(&self, approval: String, answer: Answer) -> Answered {
        let answered = self.ask(|reply| Command::Answer(approval, answer, reply)).await;
        answered.unwrap_or(Answered::Already)
    }
}

impl Drop for Agent {
    /// Without a shutdown, the runtime goes on and the next daemon finds it.
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

async fn read_plan(file: &Path) -> Option<Plan> {
    let text = tokio::fs::read(file).await.ok()?;
    serde_json::from_slice(&text)
        .inspect_err(|error| tracing::warn!(%error, "the kept plan is not readable; the server sends it again"))
        .ok()
}

fn check(plan: &Plan) -> Result<(), String> {
    if !plan.cwd.starts_with('/') {
        return Err(format!("The working directory “{}” is not absolute.", plan.cwd));
    }
    if !plan.runtime.program.starts_with('/') {
        return Err(format!(
            "The runtime's program “{}” is not absolute.",
            plan.runtime.program
        ));
    }
    let valid =
        |(name, value): (&String, &String)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
    if !plan.environment.iter().all(valid) {
        return Err("The environment has a name or value that no program can get.".to_owned());
    }
    Ok(())
}
