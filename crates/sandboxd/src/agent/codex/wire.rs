//! The app-server's messages: only the fields that are read, every unknown one ignored.
//!
//! One JSON-RPC message a WebSocket text frame, without a `jsonrpc` member. `codex app-server
//! generate-json-schema` prints the whole schema of a version.

use serde::Deserialize;
use serde_json::Value;

/// Anything that the app-server sends.
#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) id: Option<Value>,
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Value,
    pub(super) result: Option<Value>,
    pub(super) error: Option<RpcError>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RpcError {
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialized {
    #[serde(default)]
    pub(super) user_agent: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ThreadAnswer {
    pub(super) thread: Thread,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Thread {
    pub(super) id: String,
    #[serde(default)]
    pub(super) cwd: String,
    pub(super) name: Option<String>,
    pub(super) parent_thread_id: Option<String>,
    #[serde(default)]
    pub(super) ephemeral: bool,
    /// Seconds.
    #[serde(default)]
    pub(super) created_at: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct TurnAnswer {
    pub(super) turn: Turn,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SteerAnswer {
    pub(super) turn_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnsPage {
    #[serde(default)]
    pub(super) data: Vec<Turn>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Turn {
    pub(super) id: String,
    /// The turn that this one is a part of: a review's own for the one that it works in.
    #[serde(default, rename = "rootTurnId")]
    pub(super) root_turn_id: Option<String>,
    #[serde(default)]
    pub(super) status: String,
    pub(super) error: Option<TurnError>,
    #[serde(default)]
    pub(super) items: Vec<Item>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnError {
    #[serde(default)]
    pub(super) message: String,
    /// A name, or an object with one name as its key.
    #[serde(default)]
    pub(super) codex_error_info: Value,
    pub(super) additional_details: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelsPage {
    #[serde(default)]
    pub(super) data: Vec<Model>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Model {
    /// What a turn is started with.
    #[serde(rename = "model")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) display_name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) hidden: bool,
    /// The model that Codex would rather have used.
    pub(super) upgrade: Option<String>,
    #[serde(default)]
    pub(super) supported_reasoning_efforts: Vec<Effort>,
    pub(super) default_reasoning_effort: Option<String>,
    #[serde(default)]
    pub(super) input_modalities: Vec<String>,
    #[serde(default)]
    pub(super) is_default: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Effort {
    pub(super) reasoning_effort: String,
}

/// An item of any type: the union of their fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    #[serde(default)]
    pub(super) id: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) started_at_ms: Option<i64>,
    #[serde(default)]
    pub(super) completed_at_ms: Option<i64>,
    #[serde(default)]
    pub(super) status: Value,
    #[serde(default)]
    pub(super) client_id: Option<String>,
    #[serde(default)]
    pub(super) text: Option<String>,
    /// Of a user message a list of inputs, of reasoning a list of texts.
    #[serde(default)]
    pub(super) content: Value,
    #[serde(default)]
    pub(super) summary: Value,
    #[serde(default)]
    pub(super) command: Option<String>,
    #[serde(default)]
    pub(super) cwd: Option<String>,
    #[serde(default)]
    pub(super) aggregated_output: Option<String>,
    #[serde(default)]
    pub(super) exit_code: Option<i32>,
    #[serde(default)]
    pub(super) changes: Vec<Change>,
    #[serde(default)]
    pub(super) server: Option<String>,
    #[serde(default)]
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) tool: Value,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) arguments: Value,
    #[serde(default)]
    pub(super) result: Value,
    #[serde(default)]
    pub(super) content_items: Value,
    #[serde(default)]
    pub(super) error: Value,
    #[serde(default)]
    pub(super) query: Option<String>,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) review: Option<String>,
    #[serde(default)]
    pub(super) prompt: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) kind: ChangeKind,
    #[serde(default)]
    pub(super) diff: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ChangeKind {
    #[serde(rename = "type")]
    pub(super) name: String,
    pub(super) move_path: Option<String>,
}

/// The parameters of every notification and request: the union of their fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Params {
    pub(super) thread_id: Option<String>,
    pub(super) turn_id: Option<String>,
    pub(super) item_id: Option<String>,
    pub(super) thread: Option<Thread>,
    pub(super) turn: Option<Turn>,
    pub(super) item: Option<Item>,
    pub(super) delta: Option<String>,
    pub(super) summary_index: Option<i64>,
    pub(super) plan: Vec<PlanStep>,
    pub(super) token_usage: Option<TokenUsage>,
    pub(super) error: Option<TurnError>,
    pub(super) will_retry: bool,
    pub(super) message: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) request_id: Option<Value>,
    pub(super) started_at_ms: Option<i64>,
    pub(super) approval_id: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) command: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) available_decisions: Option<Vec<Value>>,
    pub(super) from_model: Option<String>,
    pub(super) to_model: Option<String>,
    pub(super) thread_name: Option<String>,
    pub(super) status: Option<ThreadStatus>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ThreadStatus {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct PlanStep {
    #[serde(default)]
    pub(super) step: String,
    #[serde(default)]
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUsage {
    pub(super) total: Tokens,
    pub(super) last: Tokens,
    pub(super) model_context_window: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    #[serde(rename = "totalTokens")]
    pub(super) total: u64,
    #[serde(rename = "inputTokens")]
    pub(super) input: u64,
    #[serde(rename = "cachedInputTokens")]
    pub(super) cached_input: u64,
    #[serde(rename = "outputTokens")]
    pub(super) output: u64,
}

/// Answer of `skills/list`.
#[derive(Debug, Deserialize)]
pub(super) struct SkillsAnswer {
    #[serde(default)]
    pub(super) data: Vec<FolderSkills>,
}

/// The skills that are found from a folder.
#[derive(Debug, Deserialize)]
pub(super) struct FolderSkills {
    #[serde(default)]
    pub(super) skills: Vec<Skill>,
}

/// A skill.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Skill {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) short_description: Option<String>,
    #[serde(default)]
    pub(super) interface: Option<SkillInterface>,
    #[serde(default)]
    pub(super) scope: String,
    #[serde(default)]
    pub(super) enabled: bool,
}

/// What a skill says about itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SkillInterface {
    #[serde(default)]
    pub(super) short_description: Option<String>,
}
