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
        AgentEvent::MessageDelivered {
            conversation_id,
            turn_id,
            ..
        } => {
            session.conversation_id.get_or_insert_with(|| conversation_id.clone());
            // The turn runs from here on: what waits for its end must not slip in before the
            // runtime says that it began.
            if is_own(session, conversation_id) {
                session.turn_id = Some(turn_id.clone());
            }
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

#[cfg(test)]
mod tests {
    use mistle_protocol::agent::{ApprovalSubject, Usage};
    use mistle_protocol::id::{MessageId, SessionId};
    use mistle_protocol::profile::ProfileRef;
    use mistle_protocol::session::SessionState;

    use super::*;

    fn session() -> Session {
        let at = Timestamp::UNIX_EPOCH;
        Session {
            id: SessionId::new(),
            title: "x".to_owned(),
            state: SessionState::Running,
            state_since: at,
            activity: Activity::Idle,
            trouble: None,
            profile: ProfileRef {
                name: "default".to_owned(),
                version: 1,
            },
            provider_label: "x".to_owned(),
            scripted: true,
            runtime: "codex".to_owned(),
            repository: None,
            cwd: "/workspace".to_owned(),
            conversation_id: None,
            turn_id: None,
            model: None,
            effort: None,
            models: Vec::new(),
            usage: None,
            workspaces: Vec::new(),
            approvals: Vec::new(),
            queued: 0,
            last_seq: 0,
            created_at: at,
            updated_at: at,
        }
    }

    fn after(events: &[AgentEvent]) -> Session {
        let mut session = session();
        for event in events {
            apply(&mut session, event, Timestamp::UNIX_EPOCH);
        }
        session
    }

    fn delivered() -> AgentEvent {
        AgentEvent::MessageDelivered {
            message_id: MessageId::new(),
            conversation_id: "c".into(),
            turn_id: "t".into(),
        }
    }

    fn completed(outcome: TurnOutcome) -> AgentEvent {
        AgentEvent::TurnCompleted {
            conversation_id: "c".into(),
            turn_id: "t".into(),
            outcome,
        }
    }

    fn asked(id: &str) -> AgentEvent {
        let approval = Approval {
            id: id.to_owned(),
            conversation_id: "c".into(),
            turn_id: "t".into(),
            item_id: "i".into(),
            requested_at: Timestamp::UNIX_EPOCH,
            reason: None,
            subject: ApprovalSubject::Other {
                question: "?".to_owned(),
            },
            decisions: Vec::new(),
        };
        AgentEvent::ApprovalRequested { approval }
    }

    #[test]
    fn a_delivered_message_means_a_running_turn() {
        let session = after(&[delivered()]);
        assert_eq!(
            (session.activity, runtime(&session, true)),
            (Activity::Working, Runtime::Working)
        );
        assert_eq!(session.conversation_id.as_deref(), Some("c"));
        assert_eq!(runtime(&session, false), Runtime::NotReady);
        let session = after(&[delivered(), completed(TurnOutcome::Completed)]);
        assert_eq!(
            (session.activity, runtime(&session, true)),
            (Activity::Idle, Runtime::Idle)
        );
    }

    #[test]
    fn approvals_count_once_and_go_with_their_turn() {
        let session = after(&[delivered(), asked("a"), asked("a"), asked("b")]);
        assert_eq!((session.activity, session.approvals.len()), (Activity::NeedsYou, 2));
        let resolved = AgentEvent::ApprovalResolved {
            approval_id: "a".into(),
            decision: None,
        };
        let session = after(&[delivered(), asked("a"), resolved]);
        assert_eq!((session.activity, session.approvals.len()), (Activity::Working, 0));
        let session = after(&[delivered(), asked("a"), completed(TurnOutcome::Interrupted)]);
        assert_eq!((session.activity, session.approvals.len()), (Activity::Idle, 0));
        let many: Vec<AgentEvent> = (0..MAX_APPROVALS + 5)
            .map(|number| asked(&number.to_string()))
            .collect();
        assert_eq!(after(&many).approvals.len(), MAX_APPROVALS);
    }

    #[test]
    fn a_failed_turn_says_what_to_do_until_the_next() {
        let failed = TurnOutcome::Failed {
            message: "no".to_owned(),
            code: "model_unauthorized".to_owned(),
        };
        let session = after(&[delivered(), completed(failed.clone())]);
        let trouble = session.trouble.unwrap();
        assert_eq!(
            (trouble.code.as_str(), trouble.hint.as_deref()),
            ("model_unauthorized", hint("model_unauthorized"))
        );
        let next = AgentEvent::TurnStarted {
            conversation_id: "c".into(),
            turn_id: "u".into(),
        };
        assert_eq!(after(&[delivered(), completed(failed), next]).trouble, None);
    }

    #[test]
    fn other_conversations_are_not_the_session() {
        let other = AgentEvent::TurnStarted {
            conversation_id: "helper".into(),
            turn_id: "u".into(),
        };
        let usage = Usage {
            input_tokens: 1,
            cached_input_tokens: 0,
            output_tokens: 1,
            context_tokens: 1,
            context_window: None,
        };
        let used = AgentEvent::UsageUpdated {
            conversation_id: "helper".into(),
            usage,
        };
        let session = after(&[delivered(), completed(TurnOutcome::Completed), other, used]);
        assert_eq!((session.turn_id, session.usage), (None, None));
    }

    #[test]
    fn a_lost_conversation_is_followed_by_another() {
        let lost = AgentEvent::ConversationLost {
            conversation_id: "c".into(),
            message: "gone".to_owned(),
        };
        assert_eq!(after(&[delivered(), lost]).conversation_id, None);
    }
}
