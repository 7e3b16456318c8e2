//! Sessions: their state, their queue of messages and the record of what happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::{AgentEvent, Approval, ConversationId, ModelOption, TurnId, Usage};
use crate::changes::WatchMode;
use crate::control::TerminalInfo;
use crate::id::{AttachmentId, CommentId, MessageId, SessionId};
use crate::ports::Port;
use crate::profile::{ProfileRef, Repository};

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Its title: the first line of the task until a person changes it.
    pub title: String,
    /// Where its sandbox is.
    pub state: SessionState,
    /// Since when.
    pub state_since: Timestamp,
    /// What its agent does.
    pub activity: Activity,
    /// Why it failed or is delayed, with what can be done; cleared when it is over.
    pub trouble: Option<Trouble>,
    /// What it was started from.
    pub profile: ProfileRef,
    /// The provider's name for a person.
    pub provider_label: String,
    /// Whether the model is the scripted demo model.
    pub scripted: bool,
    /// The runtime: `codex`.
    pub runtime: String,
    /// The primary repository, if there is one.
    pub repository: Option<Repository>,
    /// The working directory in the sandbox: the path of the primary workspace.
    pub cwd: String,
    /// The folders to work in; more than one when the session has several repositories.
    #[serde(default)]
    pub workspaces: Vec<Workspace>,
    /// The active conversation: where messages go that name none.
    pub conversation_id: Option<ConversationId>,
    /// The message that starts the active conversation, while it waits; `conversation_id` is then
    /// the one that was active before.
    #[serde(default)]
    pub starter_id: Option<MessageId>,
    /// Its conversations, oldest first; at most [`MAX_CONVERSATIONS`].
    #[serde(default)]
    pub conversations: Vec<ConversationSummary>,
    /// The turn that runs in the active conversation.
    pub turn_id: Option<TurnId>,
    /// The model of the next message unless it names another.
    pub model: Option<String>,
    /// The reasoning effort of the next message unless it names another.
    pub effort: Option<String>,
    /// What the runtime offers; empty when it exposes none or is not ready yet.
    pub models: Vec<ModelOption>,
    /// Tokens used by the active conversation.
    pub usage: Option<Usage>,
    /// The approvals that wait, in any conversation.
    pub approvals: Vec<Approval>,
    /// How many messages wait.
    pub queued: u32,
    /// Set while it is in the trash: stopped, out of the lists, and whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// The last sequence number of its event record.
    pub last_seq: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When something last happened.
    pub updated_at: Timestamp,
}

/// Since when a session is in the trash, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deletion {
    /// When it was deleted.
    pub at: Timestamp,
    /// When it is destroyed with its disk. Until then it can be restored.
    pub until: Timestamp,
}

/// The most conversations of one session. A person keeps a handful; the limit keeps a session's row
/// small.
pub const MAX_CONVERSATIONS: usize = 100;

/// A conversation as its session shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConversationSummary {
    /// The runtime's name for it.
    pub id: ConversationId,
    /// The first line of its first message until a person or the runtime gives another; empty before.
    pub title: String,
    /// Whether a person or the runtime gave the title.
    pub named: bool,
    /// The folder that it was started in.
    pub cwd: String,
    /// Whether a person put it aside. A message to it brings it back.
    pub archived: bool,
    /// Whether the runtime can't continue it. The next message to it starts another one.
    pub lost: bool,
    /// The turn that runs.
    pub turn_id: Option<TurnId>,
    /// How many approvals wait in it.
    pub approvals: u32,
    /// Tokens used.
    pub usage: Option<Usage>,
    /// When it began.
    pub created_at: Timestamp,
    /// When something last happened in it.
    pub updated_at: Timestamp,
}

/// A folder to work in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workspace {
    /// For a person; unique in its session.
    pub name: String,
    /// Its path in the sandbox.
    pub path: String,
    /// The repository that was cloned there; none for a plain folder.
    pub repository: Option<Repository>,
    /// The branch or tag that was asked for.
    pub branch: Option<String>,
}

/// Where a session's sandbox is. `model::session` draws the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// The row exists.
    Created,
    /// The sandbox is being started and made ready.
    Starting,
    /// The runtime accepts messages.
    Running,
    /// The sandbox runs, as far as is known, and does not answer.
    Disconnected,
    /// Processes are being ended.
    Stopping,
    /// No process; the disk is kept.
    Stopped,
    /// Something failed; the disk is kept. Can be started again.
    Failed,
    /// Gone, disk included.
    Deleted,
}

/// What a session's agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Nothing; ready for a message.
    Idle,
    /// A turn runs.
    Working,
    /// An approval waits.
    NeedsYou,
}

/// Something wrong with a session, with what can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// Stable name, such as `repository_unreachable`, `sandbox_exited`, `start_timed_out`,
    /// `runtime_failed`, `isolation_unavailable`, `disk_full`.
    pub code: String,
    /// What went wrong, for a person.
    pub message: String,
    /// What to do about it, for a person.
    pub hint: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// A message that a person wrote and the runtime does not have yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuedMessage {
    /// Its id.
    pub id: MessageId,
    /// The text, in markdown.
    pub text: String,
    /// Whether it joins a running turn or waits for the next one.
    pub delivery: Delivery,
    /// Whether it is on its way to the runtime, and so can't be changed any more.
    pub sending: bool,
    /// The model, when it names one.
    pub model: Option<String>,
    /// The reasoning effort, when it names one.
    pub effort: Option<String>,
    /// The comments that leave with it; they are in the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comments: Vec<CommentId>,
    /// The conversation that it goes to.
    #[serde(default)]
    pub destination: Destination,
    /// Files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Why it was not delivered, when the runtime refused it.
    pub error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
}

/// When a message is given to the runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// At once, into the running turn if there is one.
    #[default]
    Steer,
    /// When no turn runs.
    Queue,
}

/// The conversation that a message goes to. It is settled when the message is accepted, so that
/// making another one active later redirects nothing: a queued message never has `active`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Destination {
    /// The session's active one; the first message of a session starts it.
    #[default]
    Active,
    /// A new one, in the primary workspace. It becomes the active one.
    New,
    /// This one.
    Conversation {
        /// Its id.
        id: ConversationId,
    },
    /// The one that an earlier message starts, which may not exist yet.
    StartedBy {
        /// That message.
        message_id: MessageId,
    },
}

/// A file that a person gives to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// Its name, without folders or control characters.
    pub name: String,
    /// What it is, such as `image/png`, found from its content; `application/octet-stream` when unknown.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}

/// One entry of a session's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionEvent {
    /// Grows by one for each event of the session. Deltas of completed items are dropped from the
    /// record, so a reader may see gaps.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: EventBody,
}

/// What happened: in the sandbox, or to the session itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum EventBody {
    /// In the server.
    Server(ServerEvent),
    /// In the sandbox.
    Agent(AgentEvent),
}

/// Something that happened to a session in the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum ServerEvent {
    /// The session came into another state.
    #[serde(rename = "session.state")]
    State {
        /// The state.
        state: SessionState,
        /// Why, when something is wrong.
        trouble: Option<Trouble>,
    },
}

/// What the server says on `GET /api/v1/sessions/{id}/live` and `GET /api/v1/live`, one JSON text
/// message each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveMessage {
    /// Stored events that the reader does not have, in order and as many as make a message of a
    /// sensible size. Only on the session's own stream.
    Events {
        /// The events.
        events: Vec<SessionEvent>,
    },
    /// An event that was just stored. Only on the session's own stream.
    Event {
        /// The event.
        event: Box<SessionEvent>,
    },
    /// Every stored event was sent; what follows is live. Only on the session's own stream.
    CaughtUp {
        /// The last sequence number.
        seq: u64,
    },
    /// A session as it is now; one in the trash has its `deletion`.
    Session {
        /// The session.
        session: Box<Session>,
    },
    /// A session is gone.
    Deleted {
        /// The session.
        session_id: SessionId,
    },
    /// The whole queue as it is now, oldest first. Only on the session's own stream.
    Queue {
        /// The messages.
        messages: Vec<QueuedMessage>,
    },
    /// The working tree may look different from what was read before. Only on the session's own
    /// stream.
    Changes {
        /// How the tree is watched: first, and again when that changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        watch: Option<WatchMode>,
    },
    /// The comments on the changes are others than they were. Only on the session's own stream.
    Comments,
    /// The terminals as they are now, the oldest first; none while there are no processes. Told when
    /// one is opened, closed, renamed, retitled or ended. Only on the session's own stream.
    Terminals {
        /// Every terminal.
        terminals: Vec<TerminalInfo>,
    },
    /// What listens in the sandbox as it is now; nothing while there are no processes. Only on the
    /// session's own stream.
    Ports {
        /// Every port, the lowest first.
        ports: Vec<Port>,
    },
    /// The reader was too slow and must connect again with the last sequence number that it has.
    Lagged,
}

impl LiveMessage {
    /// The same with events one by one, for readers that draw nothing.
    pub fn one_by_one(self) -> Vec<Self> {
        match self {
            Self::Events { events } => events
                .into_iter()
                .map(|event| Self::Event { event: Box::new(event) })
                .collect(),
            other => vec![other],
        }
    }
}
