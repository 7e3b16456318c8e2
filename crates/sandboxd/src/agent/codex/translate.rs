//! From the app-server's notifications to events. No I/O; time is given.
//!
//! Every event may be said twice (a reconnect, a history read): the ledger drops repetitions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use mistle_protocol::agent::{
    AgentEvent, Approval, ApprovalId, ApprovalSubject, Conversation, Decision, FileChange, FileChangeKind, Item,
    ItemBody, ItemId, ItemStatus, MAX_ITEM_OUTPUT, ModelOption, NoticeLevel, PlanStep, PlanStepStatus, TurnId,
    TurnOutcome, Usage,
};
use serde_json::Value;

use super::failure::{self, Failure};
use super::shell;
use super::wire;

/// The longest text of a message or a thought, in bytes. Models end long before.
const MAX_TEXT: usize = 1024 * 1024;
/// The longest arguments, results, questions and labels, in bytes.
const MAX_DETAIL: usize = 64 * 1024;
/// The most files in one change that are shown.
const MAX_CHANGES: usize = 1000;
/// Answered requests that are remembered until the app-server confirms them.
const MAX_ANSWERED: usize = 1024;

/// Threads of others that are remembered.
const MAX_OTHERS: usize = 1024;
/// The longest name of a thread, in bytes.
const MAX_NAME: usize = 1024;

/// A thread that was not started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// A person started it in Codex' own interface.
    Persons,
    /// Codex started it for itself.
    Internal,
}

/// What has to be remembered between messages.
#[derive(Debug, Default)]
pub(super) struct Translator {
    /// Threads that were started or resumed here.
    threads: HashSet<String>,
    /// Threads of sub-agents, and the thread of the person who is asked for them.
    children: HashMap<String, String>,
    /// The running turn of each thread.
    turns: HashMap<String, TurnId>,
    /// The turn that works inside of a running one, as in a review.
    inner: HashMap<TurnId, TurnId>,
    /// How much output of running commands was passed on, in bytes.
    said: HashMap<(String, ItemId), usize>,
    /// What file changes are about, for their approvals.
    changes: HashMap<(String, ItemId), Vec<FileChange>>,
    /// Threads that others started or work with, with what the runtime said of them.
    others: HashMap<String, Other>,
    /// Of these, the ones in which something began.
    newcomers: Vec<String>,
    /// Of these, the ones that a person just started, wherever the interface was.
    strays: Vec<String>,
    /// How often each running turn said its plan.
    plans: HashMap<TurnId, u32>,
    /// Why the last request of each running turn is tried again.
    retries: HashMap<TurnId, wire::TurnError>,
    /// The app-server's requests that wait.
    requests: BTreeMap<ApprovalId, Value>,
    /// What was answered, by request.
    answered: HashMap<String, (ApprovalId, Decision)>,
}

impl Translator {
    /// A thread whose events are wanted.
    pub(super) fn adopt(&mut self, thread: &str) {
        self.threads.insert(thread.to_owned());
    }

    pub(super) fn has(&self, thread: &str) -> bool {
        self.threads.contains(thread)
    }

    /// The threads whose events are wanted.
    pub(super) fn threads(&self) -> Vec<String> {
        self.threads.iter().cloned().collect()
    }

    /// The turn that an interrupt has to name.
    pub(super) fn working_turn<'a>(&'a self, turn: &'a TurnId) -> &'a TurnId {
        self.inner.get(turn).unwrap_or(turn)
    }

    /// What a notification says.
    pub(super) fn notification(&mut self, method: &str, params: wire::Params, at: Timestamp) -> Vec<AgentEvent> {
        if method == "thread/started" {
            if let Some(thread) = params.thread {
                self.thread_started(thread);
            }
            return Vec::new();
        }
        let Some(thread) = params.thread_id.clone() else {
            return unbound(method, &params);
        };
        if method == "serverRequest/resolved" {
            return self.resolved(params.request_id.as_ref()).into_iter().collect();
        }
        if !self.threads.contains(&thread) {
            if method == "thread/status/changed" && params.status.is_some_and(|status| status.kind == "active") {
                self.other_works(thread);
            }
            return Vec::new();
        }
        match method {
            "turn/started" => self.turn_started(thread, params).into_iter().collect(),
            "turn/completed" => self.turn_completed(thread, params).into_iter().collect(),
            "item/started" => self.item(thread, params, at, false),
            "item/completed" => self.item(thread, params, at, true),
            "item/agentMessage/delta" | "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" => {
                delta(thread, params.item_id, params.delta).into_iter().collect()
            }
            "item/reasoning/summaryPartAdded" if params.summary_index.unwrap_or(0) > 0 => {
                delta(thread, params.item_id, Some("\n\n".to_owned()))
                    .into_iter()
                    .collect()
            }
            "item/commandExecution/outputDelta" => self.output(thread, params).into_iter().collect(),
            "turn/plan/updated" => self.plan(thread, params, at),
            "thread/tokenUsage/updated" => params
                .token_usage
                .map(|usage| AgentEvent::UsageUpdated {
                    conversation_id: thread,
                    usage: self::usage(&usage),
                })
                .into_iter()
                .collect(),
            "thread/name/updated" => params
                .thread_name
                .filter(|name| !name.trim().is_empty())
                .map(|name| AgentEvent::ConversationRenamed {
                    conversation_id: thread,
                    title: clip(name, MAX_NAME),
                })
                .into_iter()
                .collect(),
            "error" => self.error(params).into_iter().collect(),
            _ => unbound(method, &params),
        }
    }

    fn thread_started(&mut self, thread: wire::Thread) {
        if let Some(parent) = thread.parent_thread_id {
            let root = self.children.get(&parent).cloned().unwrap_or(parent);
            self.children.insert(thread.id, root);
            return;
        }
        if self.others.len() >= MAX_OTHERS {
            self.others.clear();
        }
        // Codex uses threads that are not kept for itself, such as for a title.
        let other = if thread.ephemeral {
            Other::Internal
        } else {
            if !self.threads.contains(&thread.id) {
                self.strays.push(thread.id.clone());
            }
            Other::Persons
        };
        self.others.insert(thread.id, other);
    }

    /// A turn runs in a thread that was not started here: in Codex' own interface, by a person.
    fn other_works(&mut self, thread: String) {
        let is_persons = self.others.get(&thread) != Some(&Other::Internal) && !self.children.contains_key(&thread);
        if is_persons && !self.newcomers.contains(&thread) {
            self.newcomers.push(thread);
        }
    }

    /// A thread that a person started and that was not moved to the folder to work in.
    pub(super) fn stray(&self) -> Option<&str> {
        self.strays.first().map(String::as_str)
    }

    pub(super) fn moved(&mut self, thread: &str) {
        self.strays.retain(|stray| stray != thread);
    }

    pub(super) fn has_newcomers(&self) -> bool {
        !self.newcomers.is_empty()
    }

    /// Threads of a person that have to be followed from here on.
    pub(super) fn take_newcomers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.newcomers)
    }

    /// What a request asks a person; none when this is no question for a person.
    pub(super) fn request(
        &mut self,
        id: &Value,
        method: &str,
        params: wire::Params,
        at: Timestamp,
    ) -> Option<AgentEvent> {
        let command = match method {
            "item/commandExecution/requestApproval" => true,
            "item/fileChange/requestApproval" => false,
            _ => return None,
        };
        let thread = params.thread_id?;
        let asker = self.children.get(&thread).cloned();
        let turn = params.turn_id?;
        let item_id = params.item_id?;
        let approval_id = approval_id(
            &thread,
            &turn,
            &item_id,
            params.approval_id.as_deref(),
            params.started_at_ms,
        );
        let subject = if command {
            ApprovalSubject::Command {
                command: clip(shell::typed(&params.command.unwrap_or_default()), MAX_DETAIL),
                cwd: params.cwd.unwrap_or_default(),
            }
        } else {
            ApprovalSubject::FileChange {
                changes: self
                    .changes
                    .get(&(thread.clone(), item_id.clone()))
                    .cloned()
                    .unwrap_or_default(),
            }
        };
        self.requests.insert(approval_id.clone(), id.clone());
        let (conversation_id, turn_id) = match asker {
            // A sub-agent asks the person of the thread that it works for.
            Some(root) => {
                let turn = self.turns.get(&root).cloned().unwrap_or(turn);
                (root, turn)
            }
            None => (thread, turn),
        };
        Some(AgentEvent::ApprovalRequested {
            approval: Approval {
                id: approval_id,
                conversation_id,
                turn_id,
                item_id,
                requested_at: params
                    .started_at_ms
                    .and_then(|ms| Timestamp::from_millisecond(ms).ok())
                    .unwrap_or(at),
                reason: params.reason.map(|reason| clip(reason, MAX_DETAIL)),
                subject,
                decisions: decisions(params.available_decisions.as_deref()),
            },
        })
    }

    /// The request behind an approval that waits. From then on it does not wait.
    pub(super) fn answer(&mut self, approval: &str, decision: Decision) -> Option<Value> {
        let request = self.requests.remove(approval)?;
        if self.answered.len() >= MAX_ANSWERED {
            self.answered.clear();
        }
        self.answered
            .insert(request.to_string(), (approval.to_owned(), decision));
        Some(request)
    }

    fn resolved(&mut self, request: Option<&Value>) -> Option<AgentEvent> {
        let request = request?;
        if let Some((approval_id, decision)) = self.answered.remove(&request.to_string()) {
            return Some(AgentEvent::ApprovalResolved {
                approval_id,
                decision: Some(decision),
            });
        }
        let approval_id = self
            .requests
            .iter()
            .find(|(_, waiting)| *waiting == request)
            .map(|(id, _)| id.clone())?;
        self.requests.remove(&approval_id);
        Some(AgentEvent::ApprovalResolved {
            approval_id,
            decision: None,
        })
    }

    /// What the record may lack of turns, oldest first.
    pub(super) fn history(&mut self, thread: &str, turns: Vec<wire::Turn>, at: Timestamp) -> Vec<AgentEvent> {
        let mut events = Vec::new();
        for mut turn in turns {
            let (turn_id, over) = (turn.id.clone(), turn.status != "inProgress");
            events.push(AgentEvent::TurnStarted {
                conversation_id: thread.to_owned(),
                turn_id: turn_id.clone(),
            });
            for item in std::mem::take(&mut turn.items) {
                let done = over || item.completed_at_ms.is_some();
                let params = wire::Params {
                    turn_id: Some(turn_id.clone()),
                    item: Some(item),
                    ..wire::Params::default()
                };
                events.extend(self.item(thread.to_owned(), params, at, done));
            }
            let params = wire::Params {
                turn: Some(turn),
                ..wire::Params::default()
            };
            if over {
                events.extend(self.turn_completed(thread.to_owned(), params));
            } else {
                self.turns.insert(thread.to_owned(), turn_id);
            }
        }
        events
    }

    fn turn_started(&mut self, thread: String, params: wire::Params) -> Option<AgentEvent> {
        let turn = params.turn?;
        // Items and the end carry the outer turn's id.
        let turn_id = turn.root_turn_id.unwrap_or_else(|| turn.id.clone());
        if turn_id != turn.id {
            self.inner.insert(turn_id.clone(), turn.id);
        }
        self.turns.insert(thread.clone(), turn_id.clone());
        Some(AgentEvent::TurnStarted {
            conversation_id: thread,
            turn_id,
        })
    }

    fn turn_completed(&mut self, thread: String, params: wire::Params) -> Option<AgentEvent> {
        let turn = params.turn?;
        self.turns.remove(&thread);
        self.inner.remove(&turn.id);
        self.plans.remove(&turn.id);
        self.said.retain(|(of, _), _| *of != thread);
        self.changes.retain(|(of, _), _| *of != thread);
        let retried = self.retries.remove(&turn.id);
        let outcome = match turn.status.as_str() {
            "completed" => TurnOutcome::Completed,
            "interrupted" => TurnOutcome::Interrupted,
            _ => {
                let Failure { code, message } = failure::explain(turn.error.as_ref(), retried.as_ref());
                TurnOutcome::Failed {
                    message,
                    code: code.to_owned(),
                }
            }
        };
        Some(AgentEvent::TurnCompleted {
            conversation_id: thread,
            turn_id: turn.id,
            outcome,
        })
    }

    fn item(&mut self, thread: String, params: wire::Params, at: Timestamp, completed: bool) -> Vec<AgentEvent> {
        let (Some(item), Some(turn_id)) = (params.item, params.turn_id) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        let started_at = item.started_at_ms.or(params.started_at_ms);
        let time = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(at);
        let event_item = Item {
            id: item.id.clone(),
            conversation_id: thread.clone(),
            turn_id: turn_id.clone(),
            status: status(&item, completed),
            started_at: time(started_at),
            completed_at: completed.then(|| time(item.completed_at_ms)),
            body: body(item),
        };
        match &event_item.body {
            ItemBody::UserMessage {
                message_id: Some(message_id),
                ..
            } => {
                events.push(AgentEvent::MessageDelivered {
                    message_id: *message_id,
                    conversation_id: thread,
                    turn_id,
                });
            }
            ItemBody::FileChange { changes } if !completed => {
                self.changes.insert((thread, event_item.id.clone()), changes.clone());
            }
            _ => {}
        }
        if completed {
            self.said
                .remove(&(event_item.conversation_id.clone(), event_item.id.clone()));
            events.push(AgentEvent::ItemCompleted { item: event_item });
        } else {
            events.push(AgentEvent::ItemStarted { item: event_item });
        }
        events
    }

    /// Output of a command, until it is more than an item carries: the rest comes with its end.
    fn output(&mut self, thread: String, params: wire::Params) -> Option<AgentEvent> {
        let said = self.said.entry((thread.clone(), params.item_id.clone()?)).or_default();
        let more = params.delta?;
        *said = said.saturating_add(more.len());
        if *said > MAX_ITEM_OUTPUT {
            None
        } else {
            delta(thread, params.item_id, Some(more))
        }
    }

    fn plan(&mut self, thread: String, params: wire::Params, at: Timestamp) -> Vec<AgentEvent> {
        let Some(turn_id) = params.turn_id else {
            return Vec::new();
        };
        let count = self.plans.entry(turn_id.clone()).or_default();
        *count += 1;
        let step = |step: wire::PlanStep| PlanStep {
            text: clip(step.step, MAX_DETAIL),
            status: match step.status.as_str() {
                "completed" => PlanStepStatus::Completed,
                "inProgress" => PlanStepStatus::InProgress,
                _ => PlanStepStatus::Pending,
            },
        };
        let item = Item {
            id: format!("plan-{turn_id}-{count}"),
            conversation_id: thread,
            turn_id,
            status: ItemStatus::Completed,
            started_at: at,
            completed_at: Some(at),
            body: ItemBody::Plan {
                steps: params.plan.into_iter().take(MAX_CHANGES).map(step).collect(),
            },
        };
        vec![
            AgentEvent::ItemStarted { item: item.clone() },
            AgentEvent::ItemCompleted { item },
        ]
    }

    fn error(&mut self, params: wire::Params) -> Option<AgentEvent> {
        // The last one comes again with the turn's end.
        let error = params.error.filter(|_| params.will_retry)?;
        let message = failure::retrying(&error);
        if let Some(turn) = params.turn_id {
            self.retries.insert(turn, error);
        }
        Some(AgentEvent::Notice {
            level: NoticeLevel::Warning,
            code: "retrying".to_owned(),
            conversation_id: params.thread_id,
            message,
        })
    }
}

/// What the app-server says about itself rather than about a thread.
fn unbound(method: &str, params: &wire::Params) -> Vec<AgentEvent> {
    let (level, code, message) = match method {
        "warning" => (NoticeLevel::Warning, "runtime_warning", params.message.clone()),
        "model/rerouted" => {
            let model = |name: &Option<String>| name.clone().unwrap_or_else(|| "another model".to_owned());
            let message = format!(
                "{} answers instead of {}.",
                model(&params.to_model),
                model(&params.from_model)
            );
            (NoticeLevel::Warning, "model_rerouted", Some(message))
        }
        _ => return Vec::new(),
    };
    let notice = |message| AgentEvent::Notice {
        level,
        code: code.to_owned(),
        conversation_id: params.thread_id.clone(),
        message: clip(message, MAX_DETAIL),
    };
    message.map(notice).into_iter().collect()
}

fn delta(thread: String, item: Option<ItemId>, text: Option<String>) -> Option<AgentEvent> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(AgentEvent::ItemDelta {
        conversation_id: thread,
        item_id: item?,
        text: clip(text, MAX_ITEM_OUTPUT),
    })
}

/// The same question has the same name, however often it is asked.
fn approval_id(thread: &str, turn: &str, item: &str, callback: Option<&str>, started_at_ms: Option<i64>) -> ApprovalId {
    let mut hasher = DefaultHasher::new();
    (thread, turn, item, callback).hash(&mut hasher);
    format!("apr_{:x}_{:016x}", started_at_ms.unwrap_or(0).max(0), hasher.finish())
}

/// Codex lists what its own TUI offers. It takes `decline` always; a yes for the session wherever
/// it proposes to remember the command.
fn decisions(available: Option<&[Value]>) -> Vec<Decision> {
    let remembers =
        |decision: &Value| decision == "acceptForSession" || decision.get("acceptWithExecpolicyAmendment").is_some();
    if available.is_none_or(|available| available.iter().any(remembers)) {
        vec![Decision::Accept, Decision::AcceptForSession, Decision::Decline]
    } else {
        vec![Decision::Accept, Decision::Decline]
    }
}

/// Codex' name of a decision.
pub(super) fn decision_name(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "accept",
        Decision::AcceptForSession => "acceptForSession",
        Decision::Decline => "decline",
    }
}

fn status(item: &wire::Item, completed: bool) -> ItemStatus {
    match item.status.as_str() {
        Some("completed") => ItemStatus::Completed,
        Some("failed") => ItemStatus::Failed,
        Some("declined") => ItemStatus::Declined,
        // A command that was running when its turn was cut.
        Some("inProgress") if completed => ItemStatus::Failed,
        _ if completed => ItemStatus::Completed,
        _ => ItemStatus::InProgress,
    }
}

fn body(item: wire::Item) -> ItemBody {
    match item.kind.as_str() {
        "userMessage" => ItemBody::UserMessage {
            text: clip(input_text(&item.content), MAX_TEXT),
            message_id: item.client_id.and_then(|id| id.parse().ok()),
            attachments: Vec::new(),
        },
        "agentMessage" => ItemBody::AgentMessage {
            text: clip(item.text.unwrap_or_default(), MAX_TEXT),
        },
        "reasoning" => {
            let summary = texts(&item.summary);
            let parts = if summary.is_empty() {
                texts(&item.content)
            } else {
                summary
            };
            ItemBody::Reasoning {
                text: clip(parts.join("\n\n"), MAX_TEXT),
            }
        }
        "commandExecution" => {
            let (output, output_truncated) = without_middle(item.aggregated_output.unwrap_or_default());
            ItemBody::Command {
                command: clip(shell::typed(&item.command.unwrap_or_default()), MAX_DETAIL),
                cwd: item.cwd.unwrap_or_default(),
                output,
                output_truncated,
                exit_code: item.exit_code,
            }
        }
        "fileChange" => ItemBody::FileChange {
            changes: item.changes.into_iter().take(MAX_CHANGES).map(file_change).collect(),
        },
        "mcpToolCall" => tool_call(item.server.as_deref(), &item),
        "dynamicToolCall" => tool_call(item.namespace.as_deref(), &item),
        "webSearch" => ItemBody::WebSearch {
            query: clip(item.query.unwrap_or_default(), MAX_DETAIL),
        },
        "contextCompaction" => other("Context compacted", None),
        "plan" => other("Plan", item.text),
        "imageView" => other("Looked at an image", item.path),
        "imageGeneration" => other("Made an image", None),
        "collabAgentToolCall" | "subAgentActivity" => other("Sub-agent", item.prompt),
        "enteredReviewMode" => other("Review began", item.review),
        "exitedReviewMode" => other("Review ended", item.review),
        "hookPrompt" => other("Hook", None),
        "sleep" => other("Waited", None),
        "functionCallOutput" => other("Tool output", item.name),
        kind => other(&clip(kind.to_owned(), MAX_ITEM_LABEL), item.text),
    }
}

/// The longest label, in bytes.
const MAX_ITEM_LABEL: usize = 100;

fn other(label: &str, detail: Option<String>) -> ItemBody {
    ItemBody::Other {
        label: label.to_owned(),
        detail: detail.map(|detail| clip(detail, MAX_DETAIL)),
    }
}

fn tool_call(server: Option<&str>, item: &wire::Item) -> ItemBody {
    let tool = item.tool.as_str().unwrap_or_default();
    let result = [&item.error, &item.result, &item.content_items]
        .into_iter()
        .find(|value| !value.is_null())
        .map(result_text);
    ItemBody::ToolCall {
        tool: clip(
            server.map_or_else(|| tool.to_owned(), |server| format!("{server}.{tool}")),
            MAX_ITEM_LABEL * 2,
        ),
        arguments: clip(item.arguments.to_string(), MAX_DETAIL),
        result: result.map(|result| clip(result, MAX_DETAIL)),
    }
}

/// The texts in a tool's answer; the whole answer as JSON when there are none.
fn result_text(result: &Value) -> String {
    if let Some(message) = result.get("message").and_then(Value::as_str) {
        return message.to_owned();
    }
    let content = result.get("content").unwrap_or(result);
    let parts: Vec<&str> = content
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part.get("text")?.as_str())
        .collect();
    if parts.is_empty() {
        result.to_string()
    } else {
        parts.join("\n")
    }
}

fn input_text(content: &Value) -> String {
    let part = |part: &Value| match part.get("type").and_then(Value::as_str) {
        Some("text") => part.get("text").and_then(Value::as_str).map(str::to_owned),
        Some("image" | "localImage") => Some("[image]".to_owned()),
        Some("mention" | "skill") => part.get("name").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let parts: Vec<String> = content.as_array().into_iter().flatten().filter_map(part).collect();
    parts.join("\n")
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn file_change(change: wire::Change) -> FileChange {
    let (kind, diff) = match change.kind.name.as_str() {
        "add" => (FileChangeKind::Add, prefixed(&change.diff, '+')),
        "delete" => (FileChangeKind::Delete, prefixed(&change.diff, '-')),
        _ => (
            FileChangeKind::Update {
                moved_to: change.kind.move_path,
            },
            hunks(&change.diff),
        ),
    };
    let starting = |sign: char| {
        diff.lines()
            .filter(|line| line.starts_with(sign))
            .count()
            .try_into()
            .unwrap_or(u32::MAX)
    };
    let (added, removed) = (starting('+'), starting('-'));
    FileChange {
        path: change.path,
        change: kind,
        diff: clip(diff, MAX_ITEM_OUTPUT),
        added,
        removed,
    }
}

/// For a new or deleted file Codex gives its bare content.
fn prefixed(content: &str, sign: char) -> String {
    let mut lines = String::with_capacity(content.len() + 16);
    for line in content.lines() {
        lines.push(sign);
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// A unified diff without its header.
fn hunks(diff: &str) -> String {
    let body = diff.find("@@").filter(|at| {
        diff[..*at]
            .lines()
            .all(|line| line.starts_with("---") || line.starts_with("+++") || line.starts_with("diff "))
    });
    // Codex adds a line for a rename, which the change's kind says already.
    let body = &diff[body.unwrap_or(0)..];
    body.split_once("\n\nMoved to: ")
        .map_or(body, |(hunks, _)| hunks)
        .to_owned()
}

fn usage(usage: &wire::TokenUsage) -> Usage {
    Usage {
        input_tokens: usage.total.input,
        cached_input_tokens: usage.total.cached_input,
        output_tokens: usage.total.output,
        context_tokens: usage.last.total,
        context_window: usage.model_context_window,
    }
}

/// A conversation.
pub(super) fn conversation(thread: wire::Thread, at: Timestamp) -> Conversation {
    Conversation {
        created_at: Timestamp::from_second(thread.created_at)
            .ok()
            .filter(|_| thread.created_at > 0)
            .unwrap_or(at),
        id: thread.id,
        cwd: thread.cwd,
        title: thread.name,
    }
}

/// A model.
pub(super) fn model(model: wire::Model) -> ModelOption {
    ModelOption {
        name: Some(model.display_name)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| model.id.clone()),
        id: model.id,
        description: Some(model.description).filter(|text| !text.is_empty()),
        efforts: model
            .supported_reasoning_efforts
            .into_iter()
            .map(|effort| effort.reasoning_effort)
            .collect(),
        default_effort: model.default_reasoning_effort,
        images: model.input_modalities.iter().any(|modality| modality == "image"),
        is_default: model.is_default,
    }
}

/// At most so many bytes of a text, whole characters, its beginning.
fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = text.floor_char_boundary(limit);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A command's output with at most [`MAX_ITEM_OUTPUT`] bytes, and whether it lost its middle.
fn without_middle(output: String) -> (String, bool) {
    /// Room for the line that says what is missing.
    const REMARK: usize = 64;
    if output.len() <= MAX_ITEM_OUTPUT {
        return (output, false);
    }
    let half = (MAX_ITEM_OUTPUT - REMARK) / 2;
    let head = &output[..output.floor_char_boundary(half)];
    let tail = &output[output.ceil_char_boundary(output.len() - half)..];
    let left_out = output.len() - head.len() - tail.len();
    (format!("{head}\n… {left_out} bytes left out …\n{tail}"), true)
}

#[cfg(test)]
mod tests;
