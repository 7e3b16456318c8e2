//! A runtime's work: conversations made of turns, turns made of items, and what happens in them.
//!
//! Every runtime driver translates its protocol into [`AgentEvent`]s. The daemon journals them on
//! the sandbox disk with a sequence number; the server stores them and is the record.
//!
//! An item is *started* once, grows by *deltas*, and is *completed* once with its whole content, so
//! that whoever has the completed item needs none of its deltas.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::MessageId;
use crate::session::Attachment;

/// The runtime's own name for a thread. Opaque.
pub type ConversationId = String;
/// The runtime's own name for a turn. Opaque.
pub type TurnId = String;
/// The runtime's own name for an item; unique in its conversation. Opaque.
pub type ItemId = String;
/// The daemon's name for an approval; unique in its session. Opaque.
pub type ApprovalId = String;

/// The longest command output that an item carries, in bytes. What is longer keeps its beginning
/// and its end. A page stays light with it, and whole logs belong into files.
pub const MAX_ITEM_OUTPUT: usize = 256 * 1024;

/// One line of the daemon's journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalEntry {
    /// Counts from 1 on each sandbox disk, without gaps.
    pub seq: u64,
    /// When it happened, by the sandbox's clock.
    pub at: Timestamp,
    /// What happened.
    pub event: AgentEvent,
}

/// Something that happened in a sandbox's runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum AgentEvent {
    /// The sandbox works on getting ready.
    #[serde(rename = "setup.progress")]
    SetupProgress {
        /// What is being done.
        step: SetupStep,
        /// Detail for a person, such as git's last progress line.
        detail: Option<String>,
    },
    /// Getting ready failed. The session is failed with this text.
    #[serde(rename = "setup.failed")]
    SetupFailed {
        /// What was being done.
        step: SetupStep,
        /// What went wrong and what to do, for a person.
        message: String,
    },
    /// The runtime accepts messages.
    #[serde(rename = "runtime.ready")]
    RuntimeReady {
        /// The runtime's version.
        version: String,
        /// The models that it offers; empty when it exposes none.
        models: Vec<ModelOption>,
    },
    /// The runtime's process ended by itself. The daemon starts it again.
    #[serde(rename = "runtime.exited")]
    RuntimeExited {
        /// Its last words, for a person.
        message: String,
    },
    /// A conversation exists.
    #[serde(rename = "conversation.started")]
    ConversationStarted {
        /// The conversation.
        conversation: Conversation,
        /// The message that it was started for; none for one that was started in the runtime's own
        /// interface.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<MessageId>,
    },
    /// A conversation has another title, given in the runtime's own interface or by the runtime.
    #[serde(rename = "conversation.renamed")]
    ConversationRenamed {
        /// The conversation.
        conversation_id: ConversationId,
        /// The title.
        title: String,
    },
    /// A conversation goes on after its runtime was started again.
    #[serde(rename = "conversation.resumed")]
    ConversationResumed {
        /// The conversation.
        conversation_id: ConversationId,
    },
    /// The runtime could not continue a conversation; what was said before is not in its memory.
    #[serde(rename = "conversation.lost")]
    ConversationLost {
        /// The conversation.
        conversation_id: ConversationId,
        /// Why, for a person.
        message: String,
    },
    /// The runtime accepted a message.
    #[serde(rename = "message.delivered")]
    MessageDelivered {
        /// The message.
        message_id: MessageId,
        /// Where it went.
        conversation_id: ConversationId,
        /// The turn that it started or steered.
        turn_id: TurnId,
    },
    /// The runtime refused a message for good.
    #[serde(rename = "message.rejected")]
    MessageRejected {
        /// The message.
        message_id: MessageId,
        /// Why, for a person.
        message: String,
    },
    /// A turn began.
    #[serde(rename = "turn.started")]
    TurnStarted {
        /// The conversation.
        conversation_id: ConversationId,
        /// The turn.
        turn_id: TurnId,
    },
    /// A turn ended.
    #[serde(rename = "turn.completed")]
    TurnCompleted {
        /// The conversation.
        conversation_id: ConversationId,
        /// The turn.
        turn_id: TurnId,
        /// How.
        outcome: TurnOutcome,
    },
    /// An item began.
    #[serde(rename = "item.started")]
    ItemStarted {
        /// The item so far.
        item: Item,
    },
    /// An item grew.
    #[serde(rename = "item.delta")]
    ItemDelta {
        /// The conversation.
        conversation_id: ConversationId,
        /// The item.
        item_id: ItemId,
        /// What is appended to the item's text (messages, reasoning) or output (commands).
        text: String,
    },
    /// An item ended. Carries everything its deltas said.
    #[serde(rename = "item.completed")]
    ItemCompleted {
        /// The whole item.
        item: Item,
    },
    /// The runtime waits for a person.
    #[serde(rename = "approval.requested")]
    ApprovalRequested {
        /// What it asks.
        approval: Approval,
    },
    /// An approval no longer waits.
    #[serde(rename = "approval.resolved")]
    ApprovalResolved {
        /// The approval.
        approval_id: ApprovalId,
        /// The decision; none when the runtime withdrew the question (interrupt, end of turn).
        decision: Option<Decision>,
    },
    /// Tokens used.
    #[serde(rename = "usage.updated")]
    UsageUpdated {
        /// The conversation.
        conversation_id: ConversationId,
        /// The totals.
        usage: Usage,
    },
    /// Something that a person should know and that is no item.
    #[serde(rename = "notice")]
    Notice {
        /// How bad it is.
        level: NoticeLevel,
        /// Stable name, such as `disk_full`, `model_unreachable`.
        code: String,
        /// For a person.
        message: String,
        /// The conversation that it is about; none for the session as a whole.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conversation_id: Option<ConversationId>,
    },
}

/// The steps of getting ready, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetupStep {
    /// Fetching the repositories.
    Repository,
    /// Starting the runtime.
    Runtime,
    /// Continuing the conversation of an earlier run.
    Conversation,
}

/// A runtime's thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conversation {
    /// The runtime's name for it.
    pub id: ConversationId,
    /// Its working directory in the sandbox.
    pub cwd: String,
    /// A short title, when the runtime or a person gave one.
    pub title: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum TurnOutcome {
    /// The agent finished.
    Completed,
    /// A person, or the end of the runtime's process, interrupted it.
    Interrupted,
    /// It failed.
    Failed {
        /// What went wrong, for a person.
        message: String,
        /// Stable name: `model_unreachable`, `model_unauthorized`, `model_stream_cut`,
        /// `context_full`, `usage_limit`, `other`.
        code: String,
    },
}

/// One thing in a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    /// Unique in its conversation.
    pub id: ItemId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The turn.
    pub turn_id: TurnId,
    /// How far it is.
    pub status: ItemStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// What it is.
    pub body: ItemBody,
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It goes on.
    InProgress,
    /// It ended well.
    Completed,
    /// It ended badly (a command's exit code other than 0, a patch that did not apply).
    Failed,
    /// A person declined it.
    Declined,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ItemBody {
    /// What a person said.
    UserMessage {
        /// The text.
        text: String,
        /// Our message, when it came through the queue; none when typed into the TUI.
        message_id: Option<MessageId>,
        /// Files that went with it. Filled in by the server, which knows them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// What the agent said, in markdown.
    AgentMessage {
        /// The text.
        text: String,
    },
    /// What the agent thought, in markdown, as far as the model shows it.
    Reasoning {
        /// The text.
        text: String,
    },
    /// A command.
    Command {
        /// As a person would type it.
        command: String,
        /// Working directory.
        cwd: String,
        /// Standard output and error together, at most [`MAX_ITEM_OUTPUT`] bytes.
        output: String,
        /// Whether `output` lost its middle.
        output_truncated: bool,
        /// None while it runs or when it was not started.
        exit_code: Option<i32>,
    },
    /// Edits of files.
    FileChange {
        /// One a file.
        changes: Vec<FileChange>,
    },
    /// A call of another tool.
    ToolCall {
        /// The tool, with its server before a dot where it has one.
        tool: String,
        /// Its arguments as JSON text.
        arguments: String,
        /// What it answered.
        result: Option<String>,
    },
    /// A search of the web.
    WebSearch {
        /// What was searched for.
        query: String,
    },
    /// The agent's plan.
    Plan {
        /// Its steps.
        steps: Vec<PlanStep>,
    },
    /// Anything else that a runtime shows.
    Other {
        /// What it is, for a person ("Context compacted").
        label: String,
        /// More, for a person.
        detail: Option<String>,
    },
}

/// An edit of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileChange {
    /// Path as the runtime named it.
    pub path: String,
    /// What happened to it.
    pub change: FileChangeKind,
    /// Hunks of a unified diff (no `---`/`+++` header); for an added or deleted file its lines,
    /// each behind `+` or `-`.
    pub diff: String,
    /// Lines added.
    pub added: u32,
    /// Lines removed.
    pub removed: u32,
}

/// What happened to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FileChangeKind {
    /// It is new.
    Add,
    /// It is gone.
    Delete,
    /// Its content changed.
    Update {
        /// Its new path, when it was renamed too.
        moved_to: Option<String>,
    },
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanStep {
    /// What it is.
    pub text: String,
    /// How far it is.
    pub status: PlanStepStatus,
}

/// How far a step of a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanStepStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Completed,
}

/// A question to a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Unique in its session.
    pub id: ApprovalId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The turn.
    pub turn_id: TurnId,
    /// The item that waits for it.
    pub item_id: ItemId,
    /// When it was asked.
    pub requested_at: Timestamp,
    /// Why, when the runtime says so.
    pub reason: Option<String>,
    /// What is asked.
    pub subject: ApprovalSubject,
    /// The answers that the runtime understands.
    pub decisions: Vec<Decision>,
}

/// What an approval is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ApprovalSubject {
    /// Running a command.
    Command {
        /// As a person would type it.
        command: String,
        /// Working directory.
        cwd: String,
    },
    /// Editing files.
    FileChange {
        /// One a file.
        changes: Vec<FileChange>,
    },
    /// Anything else.
    Other {
        /// The question, for a person.
        question: String,
    },
}

/// A person's answer to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes, this once.
    Accept,
    /// Yes, and the same for the rest of the session.
    AcceptForSession,
    /// No; the agent goes on.
    Decline,
}

/// A model that a runtime offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelOption {
    /// What is sent to the runtime.
    pub id: String,
    /// For a person.
    pub name: String,
    /// For a person.
    pub description: Option<String>,
    /// Reasoning efforts, weakest first; empty when it has none.
    pub efforts: Vec<String>,
    /// The effort that is used unless told.
    pub default_effort: Option<String>,
    /// Whether it takes images.
    pub images: bool,
    /// Whether it is used unless told.
    pub is_default: bool,
}

/// Tokens used by a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Input tokens over the conversation's life, cached ones included.
    pub input_tokens: u64,
    /// Of these, read from the provider's cache.
    pub cached_input_tokens: u64,
    /// Output tokens over the conversation's life.
    pub output_tokens: u64,
    /// Tokens in the context of the last request.
    pub context_tokens: u64,
    /// How many fit.
    pub context_window: Option<u64>,
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Something is wrong and is being dealt with ("retrying in 4 s").
    Warning,
    /// Something failed.
    Error,
}
