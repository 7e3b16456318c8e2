//! How a runtime's events change what a session looks like.
//!
//! The record of a session is its events; what a list or a header shows of it (activity, approvals,
//! usage) is folded from them here, in the transaction that stores them.

use jiff::Timestamp;
use mistle_protocol::agent::{AgentEvent, Approval, ModelOption, NoticeLevel, TurnOutcome};
use mistle_protocol::session::{Activity, Session, Trouble};

use crate::queue::Runtime;

/// The most approvals that a session shows. A runtime asks for a handful at once; more is an agent
/// gone wild, and each is in the record anyway.
pub const MAX_APPROVALS: usize = 32;
/// The most models that a session offers.
pub const MAX_MODELS: usize = 200;
/// The longest text from a sandbox in a session's summary, in characters.
pub const MAX_TEXT: usize = 2000;

/// Takes an event into a session's summary.
pub fn apply(session: &mut Session, event: &AgentEvent, at: Timestamp) {
    match event {
        AgentEvent::RuntimeReady { models, .. } => {
            session.models = models.iter().take(MAX_MODELS).map(short_model).collect();
        }
        AgentEvent::RuntimeExited { .. } => no_turn(session),
        AgentEvent::ConversationLost { conversation_id, .. } => {
            session.conversation_id.take_if(|id| id == conversation_id);
        }
        AgentEvent::ConversationStarted { conversation } => {
            session.conversation_id.get_or_insert_with(|| conversation.id.clone());
        }
        AgentEvent::MessageDelivered { conversation_id, .. } => {
            session.conversation_id.get_or_insert_with(|| conversation_id.clone());
        }
        AgentEvent::TurnStarted {
            conversation_id,
            turn_id,
        } if is_own(session, conversation_id) => {
            session.turn_id = Some(turn_id.clone());
            session.trouble = None;
        }
        AgentEvent::TurnCompleted {
            conversation_id,
            outcome,
            ..
        } if is_own(session, conversation_id) => {
            no_turn(session);
            session.trouble = match outcome {
                TurnOutcome::Failed { message, code } => Some(turn_failed(code, message, at)),
                TurnOutcome::Completed | TurnOutcome::Interrupted => None,
            };
        }
        // What works again needs no warning.
        AgentEvent::ItemCompleted { .. } => {
            session.trouble.take_if(|trouble| trouble.code != "disk_full");
        }
        AgentEvent::ApprovalRequested { approval } => add_approval(session, approval),
        AgentEvent::ApprovalResolved { approval_id, .. } => {
            session.approvals.retain(|approval| approval.id != *approval_id);
        }
        AgentEvent::UsageUpdated { conversation_id, usage }
            if session.conversation_id.as_ref() == Some(conversation_id) =>
        {
            session.usage = Some(*usage);
        }
        AgentEvent::Notice {
            level: NoticeLevel::Warning | NoticeLevel::Error,
            code,
            message,
        } => {
            session.trouble = Some(Trouble {
                code: short(code),
                message: short(message),
                hint: hint(code).map(str::to_owned),
                since: at,
            });
        }
        AgentEvent::SetupProgress { .. }
        | AgentEvent::SetupFailed { .. }
        | AgentEvent::ConversationResumed { .. }
        | AgentEvent::MessageRejected { .. }
        | AgentEvent::TurnStarted { .. }
        | AgentEvent::TurnCompleted { .. }
        | AgentEvent::ItemStarted { .. }
        | AgentEvent::ItemDelta { .. }
        | AgentEvent::UsageUpdated { .. }
        | AgentEvent::Notice {
            level: NoticeLevel::Info,
            ..
        } => {}
    }
    session.activity = activity(session);
}

/// Forgets what ended with the sandbox's processes: the running turn and the open approvals.
pub fn processes_ended(session: &mut Session) {
    no_turn(session);
    session.activity = activity(session);
}

/// What the runtime is doing, given whether it is ready.
pub fn runtime(session: &Session, ready: bool) -> Runtime {
    match (ready, &session.turn_id) {
        (false, _) => Runtime::NotReady,
        (true, None) => Runtime::Idle,
        (true, Some(_)) => Runtime::Working,
    }
}

/// What to do about a trouble that a sandbox reports, for a person.
pub fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "disk_full" => "Free space in the sandbox (a terminal works) or on the server's data disk.",
        "model_unreachable" => {
            "Check the provider's address in the server's configuration, and that the server reaches it. Then send a message to go on."
        }
        "model_unauthorized" => "Check the provider's key in the server's configuration. Then send a message to go on.",
        "model_stream_cut" => "The model's answer broke off. Send a message to go on.",
        "context_full" => {
            "The conversation has reached the model's limit. Start a new session, or ask for less at once."
        }
        "usage_limit" => "The provider refuses more for now. Try again later or use another model.",
        _ => return None,
    })
}

/// Whether it is the conversation that messages go to. A runtime may have others, such as those of
/// its helpers.
fn is_own(session: &Session, conversation: &str) -> bool {
    session.conversation_id.as_deref().is_none_or(|own| own == conversation)
}

fn turn_failed(code: &str, message: &str, at: Timestamp) -> Trouble {
    let hint = hint(code).unwrap_or("Send a message to try again.");
    Trouble {
        code: short(code),
        message: short(message),
        hint: Some(hint.to_owned()),
        since: at,
    }
}

fn no_turn(session: &mut Session) {
    session.turn_id = None;
    session.approvals.clear();
}

fn add_approval(session: &mut Session, approval: &Approval) {
    session.approvals.retain(|known| known.id != approval.id);
    if session.approvals.len() < MAX_APPROVALS {
        session.approvals.push(approval.clone());
    }
}

fn activity(session: &Session) -> Activity {
    if !session.approvals.is_empty() {
        Activity::NeedsYou
    } else if session.turn_id.is_some() {
        Activity::Working
    } else {
        Activity::Idle
    }
}

fn short_model(model: &ModelOption) -> ModelOption {
    ModelOption {
        id: short(&model.id),
        name: short(&model.name),
        description: model.description.as_deref().map(short),
        efforts: model
            .efforts
            .iter()
            .take(MAX_MODELS)
            .map(|effort| short(effort))
            .collect(),
        default_effort: model.default_effort.as_deref().map(short),
        images: model.images,
        is_default: model.is_default,
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
