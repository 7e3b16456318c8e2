//! The daemon's HTTP API. The daemon dials the server; on that *control* connection the server is
//! the HTTP/2 client. Bodies are JSON unless a row says otherwise.
//!
//! | request | body → answer | what it does |
//! |---|---|---|
//! | `GET /health` | → [`Health`] | says that the daemon is alive and what it runs |
//! | `PUT /plan` | [`Plan`](crate::plan::Plan) → 204 | sets the plan and begins to get ready; the same plan again does nothing |
//! | `GET /agent/events?after=N` | → endless stream of [`JournalEntry`](crate::agent::JournalEntry) lines (`application/x-ndjson`) | everything after journal sequence N, then live. A blank line every [`EVENTS_KEEPALIVE_SECS`] |
//! | `POST /agent/ack` | [`Ack`] → 204 | the server stored everything up to N; older segments may be dropped |
//! | `POST /agent/messages` | [`Deliver`] → [`Delivered`] | gives a message to the runtime, once per message id |
//! | `GET /attachments/{id}?name&size` | → [`Placed`], 404 not there | where a file is that was placed |
//! | `PUT /attachments/{id}?name&size` | bytes → [`Placed`], 507 disk full | places a file of that many bytes; whole or not at all |
//! | `POST /agent/interrupt` | [`Interrupt`] → 204 | interrupts the running turn; nothing running is fine |
//! | `POST /agent/approvals/{id}` | [`Answer`] → 204, 404 unknown, 409 answered already | answers an approval |
//! | `GET /agent/commands?cwd` | → [`RuntimeCommand`](crate::commands::RuntimeCommand) list | the runtime's own commands, with the skills that it finds from the folder |
//! | `POST /agent/commands` | [`RunAgentCommand`](crate::commands::RunAgentCommand) → [`CommandTaken`](crate::commands::CommandTaken), 409 not here or not yet | runs one |
//! | `GET /terminals` | → [`TerminalInfo`] list | |
//! | `POST /terminals` | [`OpenTerminal`] → [`TerminalInfo`] | starts a shell on a PTY; the same id again answers the same terminal |
//! | `POST /tui` | [`OpenTui`] → [`TerminalInfo`] | starts the runtime's own interface on a PTY; the one of this conversation that runs is answered instead |
//! | `POST /terminals/{id}/attach?offset=N` | frames ⇄ frames, full duplex | output from byte N (or from where the ring begins; the answer's `mistle-offset` header says from where), then live. Input frames: data, resize. Output frames: data, exit, [`TerminalSkipped`] as control for a viewer that was overtaken, and screen before the first data of a viewer that does not have what came before |
//! | `GET /terminals/watch` | → endless stream of whole lists (`application/x-ndjson`) | the list as it is, then when one is opened, closed, renamed, retitled or ended; output alone is no change |
//! | `PATCH /terminals/{id}` | [`RenameTerminal`] → [`TerminalInfo`] | gives it a name |
//! | `DELETE /terminals/{id}` | → 204 | ends it |
//! | `POST /exec` | first frame [`Exec`] as [`Kind::Control`](crate::frame::Kind::Control), then stdin ⇄ frames | runs one command |
//! | `GET /ports` | → [`Port`](crate::ports::Port) list | what listens |
//! | `GET /ports/watch` | → endless stream of whole lists (`application/x-ndjson`) | the list as it is, then at each change, within a second of it |
//! | `POST /ports/{port}/connect` | bytes ⇄ bytes, full duplex → 404 nothing listens | a connection to the port on loopback; the end of either body is the end of that direction alone |
//! | `GET /git/changes?cwd&scope&ignore_whitespace` | → [`ChangesLine`](crate::changes::ChangesLine) lines | a head at once, files as they are found, an end or a failure |
//! | `GET /git/diff?cwd&scope&ignore_whitespace&path&old_path&context&full` | → [`FileDiff`](crate::changes::FileDiff) | one file; paths that are not UTF-8 as `path_bytes`, `old_path_bytes` in base64 |
//! | `GET /git/blob?cwd&scope&path&old_path&side` | → bytes | one side of a file, with an image's type |
//! | `GET /git/patch?cwd&scope` | → `text/x-diff` | everything as `git apply` takes it |
//! | `POST /git/discard?cwd` | [`Discard`](crate::changes::Discard) → [`Discarded`](crate::changes::Discarded) | takes a change back |
//! | `POST /git/restore?cwd` | [`Restore`](crate::changes::Restore) → 204 | undoes that |
//! | `GET /git/watch?cwd` | → endless [`WatchLine`](crate::changes::WatchLine) lines | tells when the tree may look different; a blank line keeps it alive |
//! | `GET /files/search?cwd&q&limit` | → [`FoundFiles`](crate::changes::FoundFiles) | fuzzy, best first |
//! | `POST /shutdown` | → 202 | ends everything in order: interrupt, flush the journal, terminate, exit |
//!
//! Errors are [`Problem`](crate::problem::Problem)s.
//!
//! The *egress* connection is another one, on which the daemon is the HTTP/2 client and opens one
//! `CONNECT host:port` stream for each outgoing TCP connection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::{ConversationId, Decision, TurnId};
use crate::id::{MessageId, TerminalId};
use crate::session::Attachment;

/// Folder in the sandbox, given by the server, that holds the sockets the daemon dials.
pub const LINK_DIR: &str = "/run/mistle";
/// Socket of the control connection, in [`LINK_DIR`].
pub const CONTROL_SOCKET: &str = "control.sock";
/// Socket of the egress connection, in [`LINK_DIR`].
pub const EGRESS_SOCKET: &str = "egress.sock";
/// Where the daemon keeps its journal and the runtimes' state, on the sandbox's disk.
pub const STATE_DIR: &str = "/var/lib/mistle";
/// Port on the sandbox's loopback where the daemon offers an HTTP proxy.
pub const PROXY_PORT: u16 = 3128;
/// Seconds between blank lines on a quiet event stream. The reader calls the link lost after
/// three of them: liveness has a stream of its own and its receiver judges.
pub const EVENTS_KEEPALIVE_SECS: u64 = 2;
/// First and longest wait between two attempts to dial, in milliseconds. Doubling, so that a
/// server that is back within a second is found within a second.
pub const REDIAL_MS: (u64, u64) = (20, 500);

/// That the daemon is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The daemon's version.
    pub version: String,
    /// The last journal sequence number; 0 when there is none.
    pub journal_seq: u64,
    /// Whether the runtime accepts messages.
    pub runtime_ready: bool,
    /// Resident memory of the daemon, in bytes.
    pub resident_bytes: u64,
}

/// That the server stored events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Everything up to this journal sequence number.
    pub seq: u64,
}

/// A message for the runtime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// Delivered once: a second time answers what the first did.
    pub message_id: MessageId,
    /// None starts a conversation.
    pub conversation_id: Option<ConversationId>,
    /// The text.
    pub text: String,
    /// Files in the sandbox that go with it: images reach the model as images, others as paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<PlacedAttachment>,
    /// Where the turn that it starts runs; the plan's working directory otherwise.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Whether it may join a running turn; otherwise it is refused while one runs.
    pub steer: bool,
    /// The model of this and later turns.
    pub model: Option<String>,
    /// The reasoning effort of this and later turns.
    pub effort: Option<String>,
}

/// A person's file that is in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedAttachment {
    /// What it is.
    pub attachment: Attachment,
    /// Where it is in the sandbox.
    pub path: String,
}

/// Where a file was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Its absolute path in the sandbox.
    pub path: String,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Delivered {
    /// The runtime has it.
    Accepted {
        /// Where.
        conversation_id: ConversationId,
        /// The turn that it started or joined.
        turn_id: TurnId,
    },
    /// A turn runs and the message may not join it. Send it again when the turn is over.
    Busy,
    /// The runtime is not ready. Send it again when it is.
    NotReady,
    /// The runtime refused it for good.
    Rejected {
        /// Why, for a person.
        message: String,
    },
}

/// Which turn to interrupt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// None means the conversation that is running.
    pub conversation_id: Option<ConversationId>,
}

/// A person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// The decision.
    pub decision: Decision,
    /// What to tell the agent with it; said to the runtime as a message that steers the turn.
    pub message: Option<String>,
}

/// A terminal to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTerminal {
    /// Chosen by the caller, so that a repeated request opens one.
    pub id: TerminalId,
    /// Columns, 1 to 1,000.
    pub cols: u16,
    /// Rows, 1 to 1,000.
    pub rows: u16,
    /// Working directory; the plan's otherwise.
    pub cwd: Option<String>,
    /// Program and arguments; the login shell otherwise.
    pub argv: Option<Vec<String>>,
    /// Only when there is no shell yet: the answer is the first of them otherwise.
    #[serde(default)]
    pub if_none: bool,
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalInfo {
    /// Its id.
    pub id: TerminalId,
    /// Its title, from its program or its name. Untrusted text without control characters.
    pub title: String,
    /// What a person calls it, instead of its title.
    #[serde(default)]
    pub name: Option<String>,
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// How many bytes of output it has produced.
    pub offset: u64,
    /// Set when its program has ended.
    pub exit_code: Option<i32>,
    /// What it is for.
    #[serde(default)]
    pub kind: TerminalKind,
    /// The conversation that a terminal of kind `tui` shows.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
}

/// A name for a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameTerminal {
    /// The name, at most 40 characters without control characters; empty for none.
    pub name: String,
}

/// What a terminal is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TerminalKind {
    /// A person's shell.
    #[default]
    Shell,
    /// The runtime's own interface.
    Tui,
}

/// The runtime's own interface to open, on the live thread of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTui {
    /// Chosen by the caller. The one that runs already is answered whatever its id.
    pub id: TerminalId,
    /// Columns, 1 to 1,000.
    pub cols: u16,
    /// Rows, 1 to 1,000.
    pub rows: u16,
    /// The conversation.
    pub conversation_id: ConversationId,
}

/// A terminal's size, in an input frame of kind control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalSize {
    /// Columns, 1 to 1,000.
    pub cols: u16,
    /// Rows, 1 to 1,000.
    pub rows: u16,
}

/// That a viewer was too slow and output is lost to it, in an output frame of kind control. Data
/// that follows begins at the new offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalSkipped {
    /// Offset of the next byte.
    pub offset: u64,
}

/// One command to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exec {
    /// Program and arguments; never through a shell.
    pub argv: Vec<String>,
    /// Working directory; the plan's otherwise.
    pub cwd: Option<String>,
    /// Added to the plan's environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// How a command or terminal ended, in a frame of kind exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// Exit code; 128 plus the signal's number when one ended it.
    pub code: i32,
    /// Why it could not be started, for a person.
    pub error: Option<String>,
}
