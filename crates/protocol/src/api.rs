//! Requests and pages of the public API that are not resources themselves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{AttachmentId, CommentId, MessageId, OrganizationId, SessionId, TerminalId, TokenId, UserId};
use crate::profile::Repository;
use crate::session::{Delivery, Destination};

/// The longest text of a task or message, in bytes. Models take less; more belongs into a file.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// The most messages that wait in one session.
pub const MAX_QUEUED_MESSAGES: u32 = 100;
/// The most files of one message: more belong into a repository or an archive.
pub const MAX_MESSAGE_ATTACHMENTS: usize = 50;
/// The longest name of an attachment, in bytes: what file systems take, with room for the name of a
/// file that is being written.
pub const MAX_ATTACHMENT_NAME: usize = 200;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Give it as `cursor` for the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// What a person is told about a session, in one word: its state and its activity together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// An approval waits.
    NeedsYou,
    /// It starts, or its agent works.
    Running,
    /// Its agent waits for a message.
    Ready,
    /// It is stopped, or about to be.
    Stopped,
    /// Something failed.
    Failed,
}

/// What lists of sessions can be filtered by, the most used first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionFacets {
    /// Sources of repositories.
    pub repositories: Vec<SessionFacet>,
    /// Names of profiles.
    pub profiles: Vec<SessionFacet>,
}

/// A value and how many sessions have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionFacet {
    /// The value.
    pub value: String,
    /// How many sessions have it; those in the trash do not count.
    pub sessions: u64,
}

/// A session to create. `POST /sessions` takes an `Idempotency-Key` header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The profile's name; the only or the first one otherwise.
    #[serde(default)]
    pub profile: Option<String>,
    /// The repository to work in; none starts in an empty workspace.
    #[serde(default)]
    pub repository: Option<Repository>,
    /// More repositories to have beside it; without `repository`, the first one is the primary one.
    #[serde(default)]
    pub repositories: Vec<Repository>,
    /// Plain folders to have beside them, without git: names of 1 to 64 letters, digits, `-`, `_` and `.`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<String>,
    /// The name of the repository's folder or plain folder to start in; the first repository
    /// otherwise, or the first folder when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// What the agent should do. The first message.
    pub task: String,
    /// The title; the first line of the task otherwise.
    #[serde(default)]
    pub title: Option<String>,
    /// The model; the profile's otherwise.
    #[serde(default)]
    pub model: Option<String>,
    /// The reasoning effort; the profile's otherwise.
    #[serde(default)]
    pub effort: Option<String>,
    /// Files that go with the task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentId>,
}

/// A session that is prepared before its task is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WarmSession {
    /// Until when it waits for its task; none when the server prepares no sessions, or has no room.
    pub until: Option<Timestamp>,
}

/// Changes of a session. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionPatch {
    /// The title, 1 to 200 characters.
    #[serde(default)]
    pub title: Option<String>,
    /// The path of the workspace that becomes the primary one: where the next turn, new
    /// conversations, terminals and the TUI run. It never changes the conversation.
    #[serde(default)]
    pub cwd: Option<String>,
    /// The conversation that becomes the active one. Nothing that runs is touched.
    #[serde(default)]
    pub conversation_id: Option<crate::agent::ConversationId>,
}

/// Changes of a conversation. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationPatch {
    /// The title, 1 to 200 characters.
    #[serde(default)]
    pub title: Option<String>,
    /// Whether it is put aside. Not while a turn runs in it.
    #[serde(default)]
    pub archived: Option<bool>,
}

/// A message to send. `POST /sessions/{id}/messages` takes an `Idempotency-Key` header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The text.
    pub text: String,
    /// Whether it joins a running turn.
    #[serde(default)]
    pub delivery: Delivery,
    /// The model of this and later turns.
    #[serde(default)]
    pub model: Option<String>,
    /// The reasoning effort of this and later turns.
    #[serde(default)]
    pub effort: Option<String>,
    /// Comments that leave with it: drafts of the session. The text may be empty with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<CommentId>,
    /// The conversation that it goes to.
    #[serde(default)]
    pub destination: Destination,
    /// Files that go with it: uploaded and not sent, or of a message that was delivered in the session.
    /// The text may be empty with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentId>,
}

/// Changes of a queued message. What is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagePatch {
    /// What the person says. Comments that leave with the message stay in its text.
    #[serde(default)]
    pub text: Option<String>,
    /// Whether it joins a running turn. `steer` sends it now.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// Another place in the queue.
    #[serde(default)]
    pub place: Option<QueuePlace>,
}

/// A place in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueuePlace {
    /// The message that comes next; none is the end.
    #[serde(default)]
    pub before: Option<MessageId>,
}

/// A terminal to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTerminal {
    /// Chosen by the caller, so that a repeated request opens one; the server's choice otherwise.
    #[serde(default)]
    pub id: Option<TerminalId>,
    /// Columns, 1 to 1,000.
    pub cols: u16,
    /// Rows, 1 to 1,000.
    pub rows: u16,
    /// Only when the session has no shell yet: the answer is the first of them otherwise.
    #[serde(default)]
    pub if_none: bool,
}

/// The runtime's own interface to open in a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTui {
    /// Chosen by the caller; the server's choice otherwise. One that runs already is answered whatever its id.
    #[serde(default)]
    pub id: Option<TerminalId>,
    /// Columns, 1 to 1,000.
    pub cols: u16,
    /// Rows, 1 to 1,000.
    pub rows: u16,
    /// The conversation; the session's active one otherwise.
    #[serde(default)]
    pub conversation_id: Option<crate::agent::ConversationId>,
}

/// What a repository's source is, as far as the server can tell without running git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepositoryCheck {
    /// The name its folder would have.
    pub name: String,
    /// Branches, the checked-out one first; empty for a URL.
    pub branches: Vec<String>,
}

/// Which WebSocket a ticket opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "purpose", rename_all = "snake_case", deny_unknown_fields)]
pub enum TicketPurpose {
    /// `GET /live`.
    Live,
    /// `GET /sessions/{id}/live`.
    SessionLive {
        /// The session.
        session_id: SessionId,
    },
    /// `GET /sessions/{id}/terminals/{terminal}/io`.
    Terminal {
        /// The session.
        session_id: SessionId,
        /// The terminal.
        terminal_id: TerminalId,
    },
    /// `GET /sessions/{id}/exec`.
    Exec {
        /// The session.
        session_id: SessionId,
    },
}

/// What the server says as text on a terminal's or a command's WebSocket. Output is binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum StreamMessage {
    /// Output follows. Only for terminals, and first.
    Attached {
        /// The byte of the terminal's output that the first binary message begins with.
        offset: u64,
    },
    /// The reader was overtaken and output is lost to it: the next binary message begins here. Only
    /// for terminals.
    Skipped {
        /// The byte of the terminal's output.
        offset: u64,
    },
    /// The next binary message is no output: it makes any terminal's screen look as it did at the byte
    /// where the output goes on, for a reader that does not have all that came before. It counts
    /// nothing. Only for terminals.
    Screen,
    /// The program ended. The last message.
    Exit {
        /// Exit code; 128 plus the signal's number when one ended it.
        code: i32,
        /// Why it could not be started, for a person.
        error: Option<String>,
    },
    /// It can't go on. The last message.
    Error {
        /// Why, and what to do.
        problem: crate::problem::Problem,
    },
}

/// What a reader may say as text on a terminal's WebSocket. Keys are binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TerminalInput {
    /// The terminal has another size.
    Resize {
        /// Columns, 1 to 1,000.
        cols: u16,
        /// Rows, 1 to 1,000.
        rows: u16,
    },
    /// The reader has dealt with the output before this byte. One that named a window is sent no
    /// more than that beyond it, because a browser can't stop reading.
    Taken {
        /// The byte of the terminal's output.
        offset: u64,
    },
}

/// The server, as everyone who is signed in may know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerInfo {
    /// Its version.
    pub version: String,
    /// Its address for browsers.
    pub public_url: String,
    /// The longest task or message, in bytes.
    pub max_message_bytes: u64,
    /// The most messages that wait in one session.
    pub max_queued_messages: u32,
    /// The largest attachment, in bytes.
    pub max_attachment_bytes: u64,
    /// The most attachments of one message.
    pub max_message_attachments: u32,
}

/// A one-use ticket for a WebSocket upgrade, valid for 30 seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// Give it as `ticket` in the upgrade's query.
    pub ticket: String,
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The user.
    pub user_id: UserId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The user's name.
    pub name: String,
    /// The server's version.
    pub server_version: String,
}

/// A token to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for, 1 to 100 characters.
    pub name: String,
}

/// A bearer token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A new bearer token. The only answer that ever carries the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// Give it as `Authorization: Bearer …`.
    pub secret: String,
}
