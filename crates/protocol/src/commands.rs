//! A runtime's own commands: what it can be told besides messages, such as `/compact`, and the
//! skills that it found.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::{ConversationId, TurnId};

/// The most commands that are listed.
pub const MAX_COMMANDS: usize = 500;
/// The longest name of a command, in bytes.
pub const MAX_COMMAND_NAME: usize = 128;
/// The longest description of a command, in characters.
pub const MAX_COMMAND_DESCRIPTION: usize = 500;
/// The longest arguments of a command, in bytes.
pub const MAX_COMMAND_ARGUMENTS: usize = 64 * 1024;

/// Something that a runtime can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuntimeCommand {
    /// Its name, without a slash. Unique in its list.
    pub name: String,
    /// What it does, for a person. Of a skill: text from the repository, without control characters.
    pub description: String,
    /// What may be written behind it, for a person, such as `branch NAME`; none when it takes nothing.
    pub arguments: Option<String>,
    /// What it is.
    pub kind: RuntimeCommandKind,
}

/// What a command is, and so how it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RuntimeCommandKind {
    /// The runtime does it: `POST /sessions/{id}/commands`.
    Action,
    /// Instructions that the runtime reads when a message mentions them.
    Skill {
        /// What a message says to mention it.
        mention: String,
        /// Where it is from.
        origin: SkillOrigin,
    },
}

/// Where a skill is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkillOrigin {
    /// The folder that was asked about.
    Repository,
    /// The sandbox.
    User,
    /// The runtime itself.
    Runtime,
}

/// A command to run. Commands are not queued: one that can't run is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCommand {
    /// Its name, without a slash.
    pub name: String,
    /// What was written behind it.
    #[serde(default)]
    pub arguments: String,
    /// The conversation; the session's active one otherwise.
    #[serde(default)]
    pub conversation_id: Option<ConversationId>,
    /// Whether it begins a conversation, whichever is active.
    #[serde(default)]
    pub new_conversation: bool,
}

/// A command for the daemon to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunAgentCommand {
    /// Names the request: the same one again is answered as it was, and nothing is run twice.
    #[serde(default)]
    pub id: Option<String>,
    /// Its name, without a slash.
    pub name: String,
    /// What was written behind it.
    pub arguments: String,
    /// None starts a conversation.
    pub conversation_id: Option<ConversationId>,
    /// Where its turn works.
    pub cwd: String,
}

/// A command that the runtime took. What it does is in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandTaken {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The turn, when the runtime told which one already.
    pub turn_id: Option<TurnId>,
}
