//! Sessions: what the API, the live WebSockets and the CLI ask of them.
//!
//! One driver task owns each session; this facade only reads the store and sends commands to the
//! tasks.
//!
//! | module | what it does |
//! |---|---|
//! | `attachments` | files that go with messages |
//! | [`changes`] | what changed in the working tree |
//! | `comments` | comments on it |
//! | `commands` | the runtime's own commands |
//! | `conversations` | its conversations |
//! | `create` | checks a new session and writes it |
//! | `driver` | the task that owns a session |
//! | `link` | the sandbox's connections, and the reader of its journal |
//! | `control` | the client of the daemon's API |
//! | `record` | a change in the making |
//! | `live` | streams for readers |
//! | `plan` | what a sandbox is asked to be |
//! | `egress` | its way out |
//! | [`ports`] | what listens in it, and connections to that |
//! | `terminals` | its terminals as everyone sees them |
//! | `watched` | lists that the daemon tells as they change |
//! | `tui` | the runtime's own interface in a terminal |
//! | `warm` | sessions that are prepared while their task is typed |
//! | `workspaces` | which folder is the primary one |
//! | `trouble` | what is wrong, in words |
//!
//! A session at rest has no task until someone asks something of it. Terminals and commands go to
//! the daemon directly: their bytes never wait behind a session's changes.

mod attachments;
pub mod changes;
mod commands;
mod comments;
mod control;
mod conversations;
mod create;
mod driver;
mod egress;
mod link;
mod live;
mod plan;
pub mod ports;
mod record;
mod terminals;
#[cfg(test)]
mod tests;
mod trouble;
mod tui;
mod warm;
mod watched;
mod workspaces;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use mistle_model::authorization::{self, Action, Denied, Ownership};
use mistle_model::queue::{self, Queue};
use mistle_model::{OpContext, session as machine};
use mistle_protocol::agent::Approval;
use mistle_protocol::api::{MessagePatch, NewMessage, NewSession, NewTerminal, Page, SessionFacets, SessionPatch};
use mistle_protocol::control::{Answer, Exec, OpenTerminal, TerminalInfo};
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::frame::Frame;
use mistle_protocol::id::{MessageId, SessionId, TerminalId};
use mistle_protocol::ports::Port;
use mistle_protocol::session::{LiveMessage, QueuedMessage, Session, SessionEvent, SessionState};
use mistle_store::StoreError;
use mistle_store::idempotency::Key;
use mistle_store::session_index::SessionFilter;
use mistle_store::sessions::SessionRow;
use sha2::{Digest as _, Sha256};
use tokio::sync::{broadcast, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::control::{Control, ControlError};
use self::driver::{Command, Handle, View};
use self::live::{MAX_BEHIND_ALL, Update};
use self::watched::Watches;

/// The longest title, in characters.
const MAX_TITLE: usize = 200;
/// The longest name of a model or a reasoning effort, in bytes.
const MAX_NAME: usize = 128;
/// The largest terminal, in columns or rows.
const MAX_TERMINAL: u16 = 1000;

/// Everything that sessions need from the rest of the server.
pub struct Needs {
    /// The database.
    pub store: mistle_store::Store,
    /// Files that go with messages.
    pub attachments: crate::attachments::Attachments,
    /// Starts sandboxes.
    pub driver: Arc<dyn mistle_sandbox::Driver>,
    /// Outgoing traffic.
    pub egress: mistle_egress::Gateway,
    /// Profiles, providers, runtimes and limits.
    pub config: Arc<crate::config::Config>,
}

/// Why a request about a session was not carried out. `api::problem` gives each its status.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such session, message, approval or terminal (or not one that the actor may see).
    #[error("{what} not found")]
    NotFound {
        /// What was looked for: "session", "message", …
        what: &'static str,
    },
    /// A field of the request is wrong.
    #[error("{message}")]
    Invalid {
        /// Stable name, such as `repository-not-found`, `task-empty`.
        kind: &'static str,
        /// JSON pointer to the field.
        pointer: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// A row of a list in the request is wrong.
    #[error("{message}")]
    InvalidRow {
        /// Stable name, such as `repository-not-found`.
        kind: &'static str,
        /// JSON pointer to the list.
        list: &'static str,
        /// Which row, counted from 0.
        row: usize,
        /// The row's field, such as `/source`; empty for the row.
        field: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The session's state does not allow it.
    #[error("{message}")]
    Conflict {
        /// Stable name, such as `session-stopped`, `approval-answered`.
        kind: &'static str,
        /// Why, and what to do.
        message: String,
    },
    /// The actor sees it and may not do this to it.
    #[error("{message}")]
    Forbidden {
        /// Stable name: `role-needed`.
        kind: &'static str,
        /// Who may.
        message: String,
    },
    /// The sandbox does not answer.
    #[error("{message}")]
    Unavailable {
        /// Why, and what is being done.
        message: String,
    },
    /// Ours.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The facade. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

/// A terminal's output from some byte on.
pub struct Attached {
    /// The byte that `output` begins with.
    pub offset: u64,
    /// Frames: data, and one exit at the end.
    pub output: BoxStream<'static, Result<Frame>>,
}

type Result<T> = std::result::Result<T, SessionError>;

/// What the driver tasks share.
struct Shared {
    needs: Needs,
    /// The record of outgoing connections.
    egress: egress::Records,
    /// The tasks that run.
    handles: Mutex<HashMap<SessionId, Handle>>,
    /// Every change of any session.
    updates: broadcast::Sender<Arc<Update>>,
    /// The sessions whose ports somebody reads.
    ports: Watches<Port>,
    /// The sessions whose terminals somebody reads.
    terminals: Watches<TerminalInfo>,
    /// Held by whoever prepares a session, so that each person has one.
    warming: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shared {
    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, id: SessionId) {
        self.handles().remove(&id);
    }

    /// The session's task, which takes it up if there is none.
    fn handle(self: &Arc<Self>, row: SessionRow, entries: Vec<queue::Entry>, running: bool) -> Handle {
        let id = row.session.id;
        self.handles()
            .entry(id)
            .or_insert_with(|| {
                let queue = driver::restored(&row, entries);
                driver::spawn(self, row, queue, running)
            })
            .clone()
    }

    /// Takes up a session that was just stored, and tells of it.
    fn begin(self: &Arc<Self>, row: SessionRow, queue: Queue, events: Vec<SessionEvent>) -> Session {
        let session = row.session.clone();
        let update = Update {
            organization_id: row.organization_id,
            revision: row.revision,
            session: Some(session.clone()),
            queue: Some(queue.messages()),
            events,
            comments: false,
        };
        let listed = row.warm_until.is_none();
        self.handles()
            .insert(session.id, driver::spawn(self, row, queue, false));
        if listed {
            let _ = self.updates.send(Arc::new(update));
        }
        session
    }

    /// How many sessions of some kind have processes.
    fn running(&self, counts: impl Fn(&View) -> bool) -> usize {
        let runs = |handle: &&Handle| {
            let view = handle.view.borrow();
            !record::is_at_rest(view.state) && view.state != SessionState::Deleted && counts(&view)
        };
        self.handles().values().filter(runs).count()
    }
}

impl Sessions {
    /// Takes up every session where the store left it.
    pub async fn open(needs: Needs) -> Result<Self> {
        let records = egress::Records::open(needs.store.clone(), &needs.config.data_dir).await;
        let shared = Arc::new(Shared {
            needs,
            egress: records.map_err(internal)?,
            handles: Mutex::default(),
            updates: broadcast::channel(MAX_BEHIND_ALL).0,
            ports: Watches::default(),
            terminals: Watches::default(),
            warming: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        let store = &shared.needs.store;
        for (state, count) in store.count_sessions().await.map_err(internal)? {
            driver::count_state(state, count as f64);
        }
        let sandboxes = shared.needs.driver.list().await.map_err(internal)?;
        let running: HashSet<SessionId> = sandboxes
            .iter()
            .filter(|info| info.running)
            .map(|info| info.id)
            .collect();
        let unsettled = store.unsettled_sessions().await.map_err(internal)?;
        let all: HashSet<SessionId> = unsettled.into_iter().chain(running.iter().copied()).collect();
        for id in all {
            let Some(row) = store.session(id).await.map_err(internal)? else {
                // Perhaps another server's with the same data directory: not ours to end.
                tracing::warn!(session = %id, "a sandbox runs that no session knows");
                continue;
            };
            let entries = store.queue(id).await.map_err(internal)?;
            shared.handle(row, entries, running.contains(&id));
        }
        Ok(Self { shared })
    }

    /// Creates a session and begins to start it. Answers as soon as it is stored.
    pub async fn create(&self, ctx: &OpContext, new: NewSession, idempotency_key: Option<&str>) -> Result<Session> {
        let key = key(ctx, "session.create", idempotency_key, &new);
        create::create(&self.shared, ctx, new, key).await
    }

    /// The organization's sessions that a filter lets through, newest first.
    pub async fn list(
        &self,
        ctx: &OpContext,
        filter: &SessionFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<Session>> {
        let before = parse_cursor(cursor)?;
        let data = self
            .shared
            .needs
            .store
            .sessions(ctx.organization_id, filter, before, limit)
            .await
            .map_err(internal)?;
        let full = data.len() as u64 >= u64::from(limit);
        let next_cursor = data.last().filter(|_| full).map(|session| session.id.to_string());
        Ok(Page { data, next_cursor })
    }

    /// What the organization's sessions can be filtered by.
    pub async fn facets(&self, ctx: &OpContext) -> Result<SessionFacets> {
        let store = &self.shared.needs.store;
        store.session_facets(ctx.organization_id).await.map_err(internal)
    }

    /// A session.
    pub async fn get(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        Ok(self.row(ctx, id, Action::ReadSession).await?.session)
    }

    /// Changes a session's title or its primary workspace.
    pub async fn patch(&self, ctx: &OpContext, id: SessionId, patch: SessionPatch) -> Result<Session> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        let title = patch.title.as_deref().map(create::title).transpose()?;
        let workspace = patch
            .cwd
            .map(|cwd| workspaces::find(&row.session, &cwd, "/cwd"))
            .transpose()?;
        let mut session = row.session.clone();
        if let Some(title) = title {
            session = self.command(row.clone(), |reply| Command::Rename(title, reply)).await?;
        }
        if let Some(workspace) = workspace {
            session = self
                .command(row.clone(), |reply| Command::Relocate(workspace, reply))
                .await?;
        }
        if let Some(conversation) = patch.conversation_id {
            session = self
                .command(row, |reply| Command::Activate(conversation, reply))
                .await?;
        }
        Ok(session)
    }

    /// Begins to start it and answers at once; starting one that starts or runs is fine.
    pub async fn start(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        if record::is_at_rest(row.session.state) {
            create::check_room(&self.shared)?;
        }
        self.command(row, |reply| Command::Request(machine::Request::Start, reply))
            .await
    }

    /// Begins to stop it and answers at once; stopping one that stops or is stopped is fine.
    pub async fn stop(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        self.command(row, |reply| Command::Request(machine::Request::Stop, reply))
            .await
    }

    /// Puts it into the trash: it stops, and its disk is kept for the configured time. With `now`,
    /// or when that time is zero, it is destroyed instead. Answers as soon as the wish is stored;
    /// the rest goes on in the background. What is in the trash stays as it is, so that a request
    /// that is repeated destroys nothing.
    pub async fn delete(&self, ctx: &OpContext, id: SessionId, now: bool) -> Result<Session> {
        let row = self.row(ctx, id, Action::DeleteSession).await?;
        let keep = self.shared.needs.config.sessions.keep_deleted;
        let request = if now || keep.is_zero() {
            machine::Request::Delete
        } else {
            machine::Request::Trash { keep }
        };
        self.command(row, |reply| Command::Request(request, reply)).await
    }

    /// Takes it out of the trash, stopped. What is not in the trash stays as it is.
    pub async fn restore_session(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        let row = self.row(ctx, id, Action::DeleteSession).await?;
        self.command(row, |reply| Command::Request(machine::Request::Restore, reply))
            .await
    }

    /// Stored events after a sequence number, oldest first. The cursor is the last sequence number.
    pub async fn events(&self, ctx: &OpContext, id: SessionId, after: u64, limit: u32) -> Result<Page<SessionEvent>> {
        let row = self.row(ctx, id, Action::ReadSession).await?;
        let data = self
            .shared
            .needs
            .store
            .events(id, after, limit)
            .await
            .map_err(internal)?;
        let more = data
            .last()
            .map(|event| event.seq)
            .filter(|seq| *seq < row.session.last_seq);
        Ok(Page {
            data,
            next_cursor: more.map(|seq| seq.to_string()),
        })
    }

    /// Session, queue, stored events after a sequence number, `CaughtUp`, then live.
    pub async fn live(&self, ctx: &OpContext, id: SessionId, after: u64) -> Result<BoxStream<'static, LiveMessage>> {
        let row = self.row(ctx, id, Action::ReadSession).await?;
        let handle = self.handle(row).await?;
        let updates = handle.updates.subscribe();
        let messages = live::of_session(self.shared.needs.store.clone(), id, after, updates);
        let messages = changes::beside(messages, handle.view.clone());
        let messages = watched::beside(messages, self.shared.ports.watch(id, handle.view.clone()));
        Ok(watched::beside(messages, self.shared.terminals.watch(id, handle.view)))
    }

    #[expect(clippy::unused_async, reason = "a facade of one kind")]
    /// Every session of the organization that has processes, then every change of one. The others
    /// are read as pages: there may be thousands.
    pub async fn live_all(&self, ctx: &OpContext) -> Result<BoxStream<'static, LiveMessage>> {
        let updates = self.shared.updates.subscribe();
        Ok(live::of_organization(
            self.shared.needs.store.clone(),
            ctx.organization_id,
            updates,
        ))
    }

    /// The messages that wait, oldest first.
    pub async fn queue(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<QueuedMessage>> {
        self.row(ctx, id, Action::ReadSession).await?;
        let entries = self.shared.needs.store.queue(id).await.map_err(internal)?;
        Ok(entries.into_iter().map(|entry| entry.message).collect())
    }

    /// Queues a message. It is stored when this answers, and delivered when its turn comes; a
    /// session that is stopped keeps it until it is started.
    pub async fn send(
        &self,
        ctx: &OpContext,
        id: SessionId,
        new: NewMessage,
        idempotency_key: Option<&str>,
    ) -> Result<QueuedMessage> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        let key = key(ctx, &format!("message.send {id}"), idempotency_key, &new);
        create::check_name("model-invalid", "/model", new.model.as_deref())?;
        create::check_name("effort-invalid", "/effort", new.effort.as_deref())?;
        let mut message = queue::compose(new.text, new.delivery, new.model, new.effort, jiff::Timestamp::now());
        message.destination = new.destination;
        self.with_comments(ctx, id, &mut message, new.comments, key.as_ref())
            .await?;
        self.with_attachments(ctx, id, &mut message, &new.attachments, key.as_ref())
            .await?;
        let message = Box::new(message);
        self.command(row, |reply| Command::Send { message, key, reply }).await
    }

    /// Changes a message that waits.
    pub async fn patch_message(
        &self,
        ctx: &OpContext,
        id: SessionId,
        message: MessageId,
        patch: MessagePatch,
    ) -> Result<QueuedMessage> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        self.command(row, |reply| Command::EditMessage {
            id: message,
            patch,
            reply,
        })
        .await
    }

    /// Takes a message that waits out of the queue.
    pub async fn remove_message(&self, ctx: &OpContext, id: SessionId, message: MessageId) -> Result<()> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        self.command(row, |reply| Command::RemoveMessage(message, reply)).await
    }

    /// The approvals that wait.
    pub async fn approvals(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<Approval>> {
        Ok(self.row(ctx, id, Action::ReadSession).await?.session.approvals)
    }

    /// Answers an approval. The first answer counts.
    pub async fn answer(&self, ctx: &OpContext, id: SessionId, approval: &str, answer: Answer) -> Result<()> {
        let answered = || SessionError::Conflict {
            kind: "approval-answered",
            message: "The approval was answered already, or the agent withdrew it.".to_owned(),
        };
        if answer
            .message
            .as_ref()
            .is_some_and(|message| message.len() > mistle_protocol::api::MAX_MESSAGE_BYTES)
        {
            return Err(denied_length("/message"));
        }
        let (row, control) = self.control(ctx, id).await?;
        match control.answer(approval, &answer).await {
            Ok(()) => Ok(()),
            Err(ControlError::Problem { status, .. }) if status == http::StatusCode::CONFLICT => Err(answered()),
            Err(ControlError::Problem { status, .. }) if status == http::StatusCode::NOT_FOUND => {
                let waits = row.session.approvals.iter().any(|known| known.id == approval);
                Err(if waits {
                    answered()
                } else {
                    SessionError::NotFound { what: "approval" }
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The sandbox's terminals.
    pub async fn terminals(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<TerminalInfo>> {
        Ok(self.control(ctx, id).await?.1.terminals().await?)
    }

    /// Opens a terminal with a login shell.
    pub async fn open_terminal(&self, ctx: &OpContext, id: SessionId, new: NewTerminal) -> Result<TerminalInfo> {
        check_size(new.cols, new.rows)?;
        let (_, control) = self.control(ctx, id).await?;
        let open = OpenTerminal {
            id: new.id.unwrap_or_else(TerminalId::new),
            cols: new.cols,
            rows: new.rows,
            cwd: None,
            argv: None,
            if_none: new.if_none,
        };
        Ok(control.open_terminal(&open).await?)
    }

    /// `input`: frames of kind data (keys) and control (`TerminalSize`).
    pub async fn attach(
        &self,
        ctx: &OpContext,
        id: SessionId,
        terminal: TerminalId,
        offset: u64,
        input: BoxStream<'static, Frame>,
    ) -> Result<Attached> {
        let (_, control) = self.control(ctx, id).await?;
        let (offset, output) = control.attach(terminal, offset, input).await.map_err(of_terminal)?;
        Ok(Attached {
            offset,
            output: output.map(|frame| Ok(frame?)).boxed(),
        })
    }

    /// Ends a terminal.
    pub async fn close_terminal(&self, ctx: &OpContext, id: SessionId, terminal: TerminalId) -> Result<()> {
        let (_, control) = self.control(ctx, id).await?;
        control.close_terminal(terminal).await.map_err(of_terminal)
    }

    /// Output frames, the last of kind exit.
    pub async fn exec(
        &self,
        ctx: &OpContext,
        id: SessionId,
        exec: Exec,
        stdin: BoxStream<'static, Bytes>,
    ) -> Result<BoxStream<'static, Result<Frame>>> {
        let (_, control) = self.control(ctx, id).await?;
        let output = control.exec(&exec, stdin).await?;
        Ok(output.map(|frame| Ok(frame?)).boxed())
    }

    /// The sandbox's outgoing connections, newest first.
    pub async fn egress(
        &self,
        ctx: &OpContext,
        id: SessionId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Page<EgressRecord>> {
        self.row(ctx, id, Action::ReadSession).await?;
        let data = self
            .shared
            .needs
            .store
            .egress(id, parse_cursor(cursor)?, limit)
            .await
            .map_err(internal)?;
        let full = data.len() as u64 >= u64::from(limit);
        let next_cursor = data.last().filter(|_| full).map(|record| record.id.to_string());
        Ok(Page { data, next_cursor })
    }

    /// Files that go with messages.
    pub fn attachments(&self) -> crate::attachments::Attachments {
        self.shared.needs.attachments.clone()
    }

    /// Lets every driver task finish what it is storing. Sandboxes keep running.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.needs.egress.shutdown().await;
        self.shared.egress.shutdown().await;
        self.shared.tasks.wait().await;
    }

    /// A session that the actor may do this to.
    async fn row(&self, ctx: &OpContext, id: SessionId, action: Action) -> Result<SessionRow> {
        let row = self.shared.needs.store.session(id).await.map_err(internal)?;
        let row = row.filter(|row| row.session.state != SessionState::Deleted && row.warm_until.is_none());
        let row = row.ok_or(SessionError::NotFound { what: "session" })?;
        let thing = Ownership {
            organization_id: row.organization_id,
            created_by: row.created_by,
        };
        match authorization::authorize(ctx, action, thing) {
            Ok(()) if action == Action::UseSession && row.session.deletion.is_some() => Err(trashed()),
            Ok(()) => Ok(row),
            Err(Denied::Invisible) => Err(SessionError::NotFound { what: "session" }),
            Err(Denied::Role(role)) => {
                let role = role.name();
                let message =
                    format!("Only the person who made the session, or someone with the role {role}, may do this.");
                Err(SessionError::Forbidden {
                    kind: "role-needed",
                    message,
                })
            }
        }
    }

    async fn handle(&self, row: SessionRow) -> Result<Handle> {
        let running = self.shared.handles().get(&row.session.id).cloned();
        if let Some(handle) = running {
            return Ok(handle);
        }
        // At rest, or it would have a task; so nobody else changes it meanwhile.
        let entries = self.shared.needs.store.queue(row.session.id).await.map_err(internal)?;
        Ok(self.shared.handle(row, entries, false))
    }

    async fn command<T>(
        &self,
        row: SessionRow,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        let handle = self.handle(row).await?;
        let (reply, answer) = oneshot::channel();
        let ending = || SessionError::Unavailable {
            message: "The server is ending. Try again in a moment.".to_owned(),
        };
        handle.commands.send(command(reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }

    /// The daemon of a session that the actor may use.
    async fn control(&self, ctx: &OpContext, id: SessionId) -> Result<(SessionRow, Control)> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        let view = self.shared.handles().get(&id).map(|handle| handle.view.clone());
        if let Some(view) = view
            && let Some(control) = linked(view).await
        {
            return Ok((row, control));
        }
        Err(match row.session.state {
            SessionState::Created | SessionState::Stopped | SessionState::Failed => SessionError::Conflict {
                kind: "session-stopped",
                message: "The session is not running. Start it first.".to_owned(),
            },
            SessionState::Stopping | SessionState::Deleted => SessionError::Conflict {
                kind: "session-stopping",
                message: "The session is stopping. Start it when it has stopped.".to_owned(),
            },
            SessionState::Starting => SessionError::Unavailable {
                message: "The sandbox is starting. Try again in a moment.".to_owned(),
            },
            SessionState::Running | SessionState::Disconnected => SessionError::Unavailable {
                message: "The sandbox does not answer. Mistle connects again by itself; try again then.".to_owned(),
            },
        })
    }
}

/// The link to a daemon. To a server that was just started it comes in a moment, and nobody who acts meanwhile
/// has to know of that.
async fn linked(mut view: watch::Receiver<View>) -> Option<Control> {
    let settled = |view: &View| view.control.is_some() || view.state != SessionState::Running;
    let waited = tokio::time::timeout(machine::LINK_GRACE.unsigned_abs(), view.wait_for(settled)).await;
    waited.ok()?.ok()?.control.clone()
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions")
            .field("tasks", &self.shared.tasks.len())
            .finish_non_exhaustive()
    }
}

fn trashed() -> SessionError {
    SessionError::Conflict {
        kind: "session-deleted",
        message: "The session is deleted. Restore it first.".to_owned(),
    }
}

fn check_size(cols: u16, rows: u16) -> Result<()> {
    for (pointer, size) in [("/cols", cols), ("/rows", rows)] {
        if !(1..=MAX_TERMINAL).contains(&size) {
            let message = format!("A terminal has 1 to {MAX_TERMINAL} columns and rows.");
            return Err(SessionError::Invalid {
                kind: "terminal-size",
                pointer,
                message,
            });
        }
    }
    Ok(())
}

fn of_terminal(error: ControlError) -> SessionError {
    match error {
        ControlError::Problem { status, .. } if status == http::StatusCode::NOT_FOUND => {
            SessionError::NotFound { what: "terminal" }
        }
        error => error.into(),
    }
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> SessionError {
    SessionError::Internal(Box::new(error))
}

fn of_store(error: StoreError) -> SessionError {
    match error {
        StoreError::KeyReused => key_reused(),
        StoreError::AttachmentTaken => attachments::taken(),
        error => internal(error),
    }
}

fn key_reused() -> SessionError {
    SessionError::Conflict {
        kind: "idempotency-key-reused",
        message: "This Idempotency-Key was used for another request. Use a new one.".to_owned(),
    }
}

fn denied_length(pointer: &'static str) -> SessionError {
    SessionError::Invalid {
        kind: "message-too-long",
        pointer,
        message: queue::Denied::TooLong.to_string(),
    }
}

fn parse_cursor<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>> {
    cursor.map(str::parse).transpose().map_err(|_| SessionError::Invalid {
        kind: "cursor-invalid",
        pointer: "",
        message: "This cursor is not from this list. Begin again without one.".to_owned(),
    })
}

/// A request under the client's key, with the digest that tells it from another.
fn key(ctx: &OpContext, operation: &str, name: Option<&str>, request: &impl serde::Serialize) -> Option<Key> {
    let request = serde_json::to_vec(request).ok()?;
    Some(Key {
        organization_id: ctx.organization_id,
        operation: operation.to_owned(),
        name: name?.to_owned(),
        fingerprint: format!("{:x}", Sha256::digest(request)),
    })
}
