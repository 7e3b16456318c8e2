//! Sessions: what the API, the live WebSockets and the CLI ask of them.
//!
//! One driver task owns each session; this facade only reads the store and sends commands to the
//! tasks.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use mistle_model::OpContext;
use mistle_protocol::agent::{Approval, Conversation};
use mistle_protocol::api::{MessagePatch, NewMessage, NewSession, NewTerminal, Page, SessionPatch};
use mistle_protocol::control::{Answer, Exec, TerminalInfo};
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::frame::Frame;
use mistle_protocol::id::{MessageId, SessionId, TerminalId};
use mistle_protocol::session::{LiveMessage, QueuedMessage, Session, SessionEvent};

/// Everything that sessions need from the rest of the server.
pub struct Needs {
    /// The database.
    pub store: mistle_store::Store,
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
    /// The session's state does not allow it.
    #[error("{message}")]
    Conflict {
        /// Stable name, such as `session-stopped`, `approval-answered`.
        kind: &'static str,
        /// Why, and what to do.
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
    #[expect(dead_code, reason = "skeleton")]
    needs: Arc<Needs>,
}

/// A terminal's output from some byte on.
pub struct Attached {
    /// The byte that `output` begins with.
    pub offset: u64,
    /// Frames: data, and one exit at the end.
    pub output: BoxStream<'static, Result<Frame>>,
}

type Result<T> = std::result::Result<T, SessionError>;

#[expect(clippy::unused_async, clippy::unimplemented, unused_variables, missing_docs, reason = "skeleton")]
impl Sessions {
    /// Takes up every session where the store left it.
    pub async fn open(needs: Needs) -> Result<Self> {
        unimplemented!()
    }
    pub async fn create(&self, ctx: &OpContext, new: NewSession, idempotency_key: Option<&str>) -> Result<Session> {
        unimplemented!()
    }
    pub async fn list(&self, ctx: &OpContext, cursor: Option<&str>, limit: u32) -> Result<Page<Session>> {
        unimplemented!()
    }
    pub async fn get(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        unimplemented!()
    }
    pub async fn patch(&self, ctx: &OpContext, id: SessionId, patch: SessionPatch) -> Result<Session> {
        unimplemented!()
    }
    /// Begins to start it and answers at once; starting one that starts or runs is fine.
    pub async fn start(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        unimplemented!()
    }
    /// Begins to stop it and answers at once; stopping one that stops or is stopped is fine.
    pub async fn stop(&self, ctx: &OpContext, id: SessionId) -> Result<Session> {
        unimplemented!()
    }
    /// Deletes it with its disk.
    pub async fn delete(&self, ctx: &OpContext, id: SessionId) -> Result<()> {
        unimplemented!()
    }
    pub async fn interrupt(&self, ctx: &OpContext, id: SessionId) -> Result<()> {
        unimplemented!()
    }
    /// Stored events after a sequence number, oldest first.
    pub async fn events(&self, ctx: &OpContext, id: SessionId, after: u64, limit: u32) -> Result<Page<SessionEvent>> {
        unimplemented!()
    }
    /// Session, queue, stored events after a sequence number, `CaughtUp`, then live.
    pub async fn live(&self, ctx: &OpContext, id: SessionId, after: u64) -> Result<BoxStream<'static, LiveMessage>> {
        unimplemented!()
    }
    /// Every change of any session that the actor may see.
    pub async fn live_all(&self, ctx: &OpContext) -> Result<BoxStream<'static, LiveMessage>> {
        unimplemented!()
    }
    pub async fn conversations(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<Conversation>> {
        unimplemented!()
    }
    pub async fn queue(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<QueuedMessage>> {
        unimplemented!()
    }
    pub async fn send(&self, ctx: &OpContext, id: SessionId, new: NewMessage, idempotency_key: Option<&str>) -> Result<QueuedMessage> {
        unimplemented!()
    }
    pub async fn patch_message(&self, ctx: &OpContext, id: SessionId, message: MessageId, patch: MessagePatch) -> Result<QueuedMessage> {
        unimplemented!()
    }
    pub async fn remove_message(&self, ctx: &OpContext, id: SessionId, message: MessageId) -> Result<()> {
        unimplemented!()
    }
    pub async fn approvals(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<Approval>> {
        unimplemented!()
    }
    pub async fn answer(&self, ctx: &OpContext, id: SessionId, approval: &str, answer: Answer) -> Result<()> {
        unimplemented!()
    }
    pub async fn terminals(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<TerminalInfo>> {
        unimplemented!()
    }
    pub async fn open_terminal(&self, ctx: &OpContext, id: SessionId, new: NewTerminal) -> Result<TerminalInfo> {
        unimplemented!()
    }
    /// `input`: frames of kind data (keys) and control (`TerminalSize`).
    pub async fn attach(&self, ctx: &OpContext, id: SessionId, terminal: TerminalId, offset: u64, input: BoxStream<'static, Frame>) -> Result<Attached> {
        unimplemented!()
    }
    pub async fn close_terminal(&self, ctx: &OpContext, id: SessionId, terminal: TerminalId) -> Result<()> {
        unimplemented!()
    }
    /// Output frames, the last of kind exit.
    pub async fn exec(&self, ctx: &OpContext, id: SessionId, exec: Exec, stdin: BoxStream<'static, Bytes>) -> Result<BoxStream<'static, Result<Frame>>> {
        unimplemented!()
    }
    pub async fn egress(&self, ctx: &OpContext, id: SessionId, cursor: Option<&str>, limit: u32) -> Result<Page<EgressRecord>> {
        unimplemented!()
    }
    /// Lets every driver task finish what it is storing. Sandboxes keep running.
    pub async fn shutdown(&self) {}
}
