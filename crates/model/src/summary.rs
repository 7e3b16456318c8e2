//! How a runtime's events change what a session looks like.
//!
//! The record of a session is its events; what a list or a header shows of it (activity, approvals,
//! usage) is folded from them here, in the transaction that stores them.

use jiff::Timestamp;
use mistle_protocol::agent::{AgentEvent, Approval, Item, ItemBody, ModelOption, NoticeLevel, TurnOutcome};
use mistle_protocol::session::{Activity, Session, Trouble};

use crate::conversations;
use crate::queue::Runtime;

/// The most approvals that a session shows. A runtime asks for a handful at once; more is an agent
/// gone wild, and each is in the record anyway.
pub const MAX_APPROVALS: usize = 32;
/// The most models that a session offers.
pub const MAX_MODELS: usize = 200;
/// The longest text from a sandbox in a session's summary, in characters.
pub const MAX_TEXT: usize = 2000;

/// A runtime's models, as many and as long as are shown.
pub fn offered(models: &[ModelOption]) -> Vec<ModelOption> {
    models.iter().take(MAX_MODELS).map(short_model).collect()
}

/// Takes an event into a session's summary.
pub fn apply(session: &mut Session, event: &AgentEvent, at: Timestamp) {
    match event {
        AgentEvent::RuntimeReady { models, .. } => {
            session.models = offered(models);
        }
        AgentEvent::RuntimeExited { .. } => no_turn(session),
        AgentEvent::ConversationLost { conversation_id, .. } => {
            if let Some(conversation) = conversations::find_mut(session, conversation_id) {
                conversation.lost = true;
                conversation.turn_id = None;
            }
            session.conversation_id.take_if(|id| id == conversation_id);
        }
        AgentEvent::ConversationStarted {
            conversation,
            message_id,
        } => {
            conversations::begin(session, conversation, at);
            let starts_active = message_id.is_some() && session.starter_id == *message_id;
            if starts_active || (session.conversation_id.is_none() && session.starter_id.is_none()) {
                conversations::activate(session, &conversation.id);
            }
        }
        AgentEvent::ConversationRenamed { conversation_id, title } => {
            let title = conversations::first_line(title);
            if !title.is_empty() {
                conversations::rename(session, conversation_id, &title);
            }
        }
        AgentEvent::MessageDelivered {
            message_id,
            conversation_id,
            turn_id,
        } => {
            if let Some(conversation) = conversations::known(session, conversation_id, at) {
                // The turn runs from here on: what waits for its end must not slip in before the
                // runtime says that it began.
                conversation.turn_id = Some(turn_id.clone());
                conversation.archived = false;
                conversation.updated_at = at;
            }
            let starts_active = session.starter_id == Some(*message_id);
            if starts_active || (session.conversation_id.is_none() && session.starter_id.is_none()) {
                conversations::activate(session, conversation_id);
            }
        }
        AgentEvent::TurnStarted {
            conversation_id,
            turn_id,
        } if is_own(session, conversation_id) => {
            if let Some(conversation) = conversations::find_mut(session, conversation_id) {
                conversation.turn_id = Some(turn_id.clone());
                conversation.archived = false;
                conversation.updated_at = at;
            }
            session.trouble = None;
        }
        AgentEvent::TurnCompleted {
            conversation_id,
            outcome,
            ..
        } if is_own(session, conversation_id) => {
            if let Some(conversation) = conversations::find_mut(session, conversation_id) {
                conversation.turn_id = None;
                conversation.updated_at = at;
            }
            session
                .approvals
                .retain(|approval| approval.conversation_id != *conversation_id);
            session.trouble = match outcome {
                TurnOutcome::Failed { message, code } => Some(turn_failed(code, message, at)),
                TurnOutcome::Completed | TurnOutcome::Interrupted => None,
            };
        }
        AgentEvent::ItemStarted { item } => name_from(session, item),
        // What works again needs no warning.
        AgentEvent::ItemCompleted { item } => {
            session.trouble.take_if(|trouble| trouble.code != "disk_full");
            name_from(session, item);
        }
        AgentEvent::ApprovalRequested { approval } => add_approval(session, approval),
        AgentEvent::ApprovalResolved { approval_id, .. } => {
            session.approvals.retain(|approval| approval.id != *approval_id);
        }
        AgentEvent::UsageUpdated { conversation_id, usage } => {
            conversations::set_usage(session, conversation_id, *usage);
        }
        AgentEvent::Notice {
            level: NoticeLevel::Warning | NoticeLevel::Error,
            code,
            message,
            ..
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
        | AgentEvent::ItemDelta { .. }
        | AgentEvent::Notice {
            level: NoticeLevel::Info,
            ..
        } => {}
    }
    conversations::settle(session);
    session.activity = activity(session);
}

/// Forgets what ended with the sandbox's processes: the running turn and the open approvals.
pub fn processes_ended(session: &mut Session) {
    no_turn(session);
    conversations::settle(session);
    session.activity = activity(session);
}

/// What the runtime is doing, given whether it is ready.
pub fn runtime(session: &Session, ready: bool) -> Runtime {
    if !ready {
        return Runtime::NotReady;
    }
    let working = conversations::working(session).map(|conversation| conversation.id.clone());
    Runtime::Ready {
        working: working.collect(),
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

/// Whether it is one of the session's conversations. A runtime may have others, such as those of its
/// helpers.
fn is_own(session: &Session, conversation: &str) -> bool {
    conversations::find(session, conversation).is_some()
}

fn name_from(session: &mut Session, item: &Item) {
    if let ItemBody::UserMessage { text, .. } = &item.body
        && let Some(conversation) = conversations::find_mut(session, &item.conversation_id)
    {
        conversations::title_from(conversation, text);
    }
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
    for conversation in &mut session.conversations {
        conversation.turn_id = None;
    }
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
    } else if conversations::working(session).next().is_some() {
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
pub(crate) mod tests {
    use mistle_protocol::agent::{ApprovalSubject, Usage};
    use mistle_protocol::id::{MessageId, SessionId};
    use mistle_protocol::profile::ProfileRef;
    use mistle_protocol::session::SessionState;

    use super::*;

    pub(crate) fn session() -> Session {
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
            starter_id: None,
            conversations: Vec::new(),
            turn_id: None,
            model: None,
            effort: None,
            models: Vec::new(),
            usage: None,
            workspaces: Vec::new(),
            approvals: Vec::new(),
            queued: 0,
            deletion: None,
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

    fn ready(working: &[&str]) -> Runtime {
        Runtime::Ready {
            working: working.iter().map(|id| (*id).to_owned()).collect(),
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
            (Activity::Working, ready(&["c"]))
        );
        assert_eq!(session.conversation_id.as_deref(), Some("c"));
        assert_eq!(runtime(&session, false), Runtime::NotReady);
        let session = after(&[delivered(), completed(TurnOutcome::Completed)]);
        assert_eq!(
            (session.activity, runtime(&session, true)),
            (Activity::Idle, ready(&[]))
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
