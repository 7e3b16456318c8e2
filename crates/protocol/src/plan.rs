//! What the server tells a sandbox to be. Carries no secret: whoever reads it learns placeholders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::ConversationId;
use crate::id::SessionId;

/// Everything the daemon needs to get a session ready. Sent whole at each connect
/// (`PUT /plan`); the same plan twice changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The session.
    pub session_id: SessionId,
    /// Repositories to have below [`WORKSPACES`]. Fetched unless their folder is there.
    pub repositories: Vec<RepositoryPlan>,
    /// Plain folders to have below [`WORKSPACES`], by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<String>,
    /// Working directory of new conversations and terminals.
    pub cwd: String,
    /// Environment of everything that runs in the sandbox.
    pub environment: BTreeMap<String, String>,
    /// The runtime.
    pub runtime: RuntimePlan,
    /// The conversation to continue, as the server's record knows it.
    pub conversation_id: Option<ConversationId>,
    /// Titles that the runtime's own interface should show too.
    #[serde(default)]
    pub titles: BTreeMap<ConversationId, String>,
}

/// The folder that holds repositories and plain workspaces.
pub const WORKSPACES: &str = "/workspace";

/// A repository to fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryPlan {
    /// Folder name below [`WORKSPACES`].
    pub name: String,
    /// What `git clone` is given: a URL, or a path in the sandbox where the server mounted a
    /// repository of its own disk read-only.
    pub source: String,
    /// What `origin` is set to when it is not `source`.
    pub origin: Option<String>,
    /// Branch or tag to check out; the default branch otherwise.
    pub branch: Option<String>,
}

/// The runtime and how it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimePlan {
    /// Which driver: `codex`.
    pub name: String,
    /// Path of its program in the sandbox.
    pub program: String,
    /// When it asks.
    pub approval_policy: ApprovalPolicy,
    /// Where its model requests go.
    pub provider: ProviderPlan,
    /// The model that is used unless a message names another.
    pub model: Option<String>,
    /// The reasoning effort that is used unless a message names another.
    pub effort: Option<String>,
}

/// Where model requests go: a name that only the egress gateway resolves, which adds the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderPlan {
    /// Short name, used in the runtime's configuration.
    pub name: String,
    /// For a person.
    pub label: String,
    /// Such as `http://demo.model.mistle.internal/v1`.
    pub base_url: String,
}

/// When an agent asks a person before it acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalPolicy {
    /// Before every command and every edit.
    #[default]
    AskEveryTime,
    /// When the runtime thinks that it is risky.
    AskWhenRisky,
    /// Never.
    Autonomous,
}
