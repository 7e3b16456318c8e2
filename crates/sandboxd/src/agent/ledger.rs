//! What the journal says is open: turns, items, approvals, and the messages that were delivered.
//!
//! A fold over the journal's events, without I/O. It answers three questions: whether an event is
//! new ([`Ledger::admits`]), what must be closed when a turn or its process ends
//! ([`Ledger::close_turn`]), and whether a message was delivered already ([`Ledger::delivered`]).
//! Runtimes repeat themselves after a reconnect; the record does not.
//!
//! The fold up to the beginning of each segment is stored in that segment, so opening a journal
//! reads one segment only, and older ones can go.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use mistle_protocol::agent::{
    AgentEvent, Approval, ApprovalId, Conversation, ConversationId, Item, ItemBody, ItemId, ItemStatus,
    MAX_ITEM_OUTPUT, TurnId, TurnOutcome,
};
use mistle_protocol::id::MessageId;
use serde::{Deserialize, Serialize};

/// Messages and answered approvals that are remembered. A server repeats what it has no answer
/// for, which is never older than a few.
const REMEMBERED: usize = 1024;
/// Conversations that are remembered: far more than one session has.
const MAX_CONVERSATIONS: usize = 256;

/// What is open, and what was done already.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    conversations: BTreeMap<ConversationId, ConversationState>,
    /// The conversation that was used last.
    current: Option<ConversationId>,
    approvals: BTreeMap<ApprovalId, Approval>,
    resolved: VecDeque<ApprovalId>,
    messages: VecDeque<DeliveredMessage>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ConversationState {
    conversation: Conversation,
    /// The message that it was started for.
    #[serde(default)]
    started_for: Option<MessageId>,
    turn: Option<TurnState>,
}

/// The last turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TurnState {
    id: TurnId,
    running: bool,
    /// None is an item that is over.
    items: BTreeMap<ItemId, Option<Box<Item>>>,
}

/// Where a message went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeliveredMessage {
    pub(crate) id: MessageId,
    pub(crate) conversation: ConversationId,
    pub(crate) turn: TurnId,
}

/// What is known of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApprovalState {
    Unknown,
    Pending,
    Resolved,
}

impl Ledger {
    /// Whether the record lacks this event. False for what a runtime says again.
    pub(crate) fn admits(&self, event: &AgentEvent) -> bool {
        match event {
            AgentEvent::ConversationStarted { conversation, .. } => !self.conversations.contains_key(&conversation.id),
            // What the server itself asked the runtime to call it is no news.
            AgentEvent::ConversationRenamed { conversation_id, title } => self
                .conversations
                .get(conversation_id)
                .is_some_and(|state| state.conversation.title.as_ref() != Some(title)),
            AgentEvent::MessageDelivered { message_id, .. } => self.delivered(*message_id).is_none(),
            AgentEvent::TurnStarted {
                conversation_id,
                turn_id,
            } => self.turn(conversation_id).is_none_or(|turn| turn.id != *turn_id),
            AgentEvent::TurnCompleted {
                conversation_id,
                turn_id,
                ..
            } => self
                .turn(conversation_id)
                .is_some_and(|turn| turn.id == *turn_id && turn.running),
            AgentEvent::ItemStarted { item } => self.item(item).is_none(),
            AgentEvent::ItemCompleted { item } => !matches!(self.item(item), Some(None)),
            AgentEvent::ItemDelta {
                conversation_id,
                item_id,
                ..
            } => self
                .turn(conversation_id)
                .is_some_and(|turn| matches!(turn.items.get(item_id), Some(Some(_)))),
            AgentEvent::ApprovalRequested { approval } => self.approval(&approval.id) == ApprovalState::Unknown,
            AgentEvent::ApprovalResolved { approval_id, .. } => self.approvals.contains_key(approval_id),
            AgentEvent::SetupProgress { .. }
            | AgentEvent::SetupFailed { .. }
            | AgentEvent::RuntimeReady { .. }
            | AgentEvent::RuntimeExited { .. }
            | AgentEvent::ConversationResumed { .. }
            | AgentEvent::ConversationLost { .. }
            | AgentEvent::MessageRejected { .. }
            | AgentEvent::UsageUpdated { .. }
            | AgentEvent::Notice { .. } => true,
        }
    }

    /// Takes an event into account.
    pub(crate) fn apply(&mut self, event: &AgentEvent) {
        match event {
            AgentEvent::ConversationStarted {
                conversation,
                message_id,
            } => {
                if self.conversations.len() >= MAX_CONVERSATIONS {
                    self.conversations.pop_first();
                }
                self.current = Some(conversation.id.clone());
                self.conversations.insert(
                    conversation.id.clone(),
                    ConversationState {
                        conversation: conversation.clone(),
                        started_for: *message_id,
                        turn: None,
                    },
                );
            }
            AgentEvent::ConversationRenamed { conversation_id, title } => {
                if let Some(state) = self.conversations.get_mut(conversation_id) {
                    state.conversation.title = Some(title.clone());
                }
            }
            AgentEvent::ConversationLost { conversation_id, .. } => {
                self.conversations.remove(conversation_id);
                if self.current.as_ref() == Some(conversation_id) {
                    self.current = None;
                }
            }
            AgentEvent::MessageDelivered {
                message_id,
                conversation_id,
                turn_id,
            } => {
                self.current = Some(conversation_id.clone());
                remember(
                    &mut self.messages,
                    DeliveredMessage {
                        id: *message_id,
                        conversation: conversation_id.clone(),
                        turn: turn_id.clone(),
                    },
                );
            }
            AgentEvent::TurnStarted {
                conversation_id,
                turn_id,
            } => {
                if let Some(state) = self.conversations.get_mut(conversation_id) {
                    state.turn = Some(TurnState {
                        id: turn_id.clone(),
                        running: true,
                        items: BTreeMap::new(),
                    });
                }
            }
            AgentEvent::TurnCompleted { conversation_id, .. } => {
                if let Some(turn) = self.turn_mut(conversation_id) {
                    turn.running = false;
                }
            }
            AgentEvent::ItemStarted { item } => self.set_item(item, Some(Box::new(item.clone()))),
            AgentEvent::ItemCompleted { item } => self.set_item(item, None),
            AgentEvent::ItemDelta {
                conversation_id,
                item_id,
                text,
            } => {
                let turn = self.turn_mut(conversation_id);
                if let Some(Some(item)) = turn.and_then(|turn| turn.items.get_mut(item_id)) {
                    grow(&mut item.body, text);
                }
            }
            AgentEvent::ApprovalRequested { approval } => {
                self.approvals.insert(approval.id.clone(), approval.clone());
            }
            AgentEvent::ApprovalResolved { approval_id, .. } => {
                self.approvals.remove(approval_id);
                remember(&mut self.resolved, approval_id.clone());
            }
            AgentEvent::SetupProgress { .. }
            | AgentEvent::SetupFailed { .. }
            | AgentEvent::RuntimeReady { .. }
            | AgentEvent::RuntimeExited { .. }
            | AgentEvent::ConversationResumed { .. }
            | AgentEvent::MessageRejected { .. }
            | AgentEvent::UsageUpdated { .. }
            | AgentEvent::Notice { .. } => {}
        }
    }

    /// The conversation that was used last.
    pub(crate) fn current(&self) -> Option<&ConversationId> {
        self.current.as_ref()
    }

    /// Whether the record has this conversation.
    pub(crate) fn knows(&self, conversation: &str) -> bool {
        self.conversations.contains_key(conversation)
    }

    /// The turn that runs in a conversation.
    pub(crate) fn running(&self, conversation: &str) -> Option<&TurnId> {
        self.turn(conversation).filter(|turn| turn.running).map(|turn| &turn.id)
    }

    /// Every turn that runs.
    pub(crate) fn all_running(&self) -> Vec<(ConversationId, TurnId)> {
        let running = |(id, state): (&ConversationId, &ConversationState)| {
            state
                .turn
                .as_ref()
                .filter(|turn| turn.running)
                .map(|turn| (id.clone(), turn.id.clone()))
        };
        self.conversations.iter().filter_map(running).collect()
    }

    /// The last turn of a conversation, running or not.
    pub(crate) fn last_turn(&self, conversation: &str) -> Option<&TurnId> {
        self.turn(conversation).map(|turn| &turn.id)
    }

    /// The conversation that was started for a message.
    pub(crate) fn started_for(&self, message: MessageId) -> Option<&ConversationId> {
        let started = |state: &&ConversationState| state.started_for == Some(message);
        self.conversations
            .values()
            .find(started)
            .map(|state| &state.conversation.id)
    }

    /// Where a message went, if it was delivered.
    pub(crate) fn delivered(&self, message: MessageId) -> Option<&DeliveredMessage> {
        self.messages.iter().rev().find(|delivered| delivered.id == message)
    }

    /// What is known of an approval.
    pub(crate) fn approval(&self, id: &str) -> ApprovalState {
        if self.approvals.contains_key(id) {
            ApprovalState::Pending
        } else if self.resolved.iter().any(|resolved| resolved == id) {
            ApprovalState::Resolved
        } else {
            ApprovalState::Unknown
        }
    }

    /// A pending approval.
    pub(crate) fn pending(&self, id: &str) -> Option<&Approval> {
        self.approvals.get(id)
    }

    /// Whether a question waits in a conversation's running turn.
    pub(crate) fn asks(&self, conversation: &str) -> bool {
        let Some(turn) = self.running(conversation) else {
            return false;
        };
        self.approvals
            .values()
            .any(|approval| approval.conversation_id == conversation && approval.turn_id == *turn)
    }

    /// The items of a conversation that are open.
    pub(crate) fn open_items(&self, conversation: &str) -> Vec<ItemId> {
        self.open(conversation).map(|item| item.id.clone()).collect()
    }

    /// What has to be recorded when a steering message reaches the model: whatever it was saying
    /// is cut, and the runtime does not come back to it.
    pub(crate) fn close_sayings(&self, conversation: &str, at: Timestamp) -> Vec<AgentEvent> {
        let said = |item: &&Item| matches!(item.body, ItemBody::AgentMessage { .. } | ItemBody::Reasoning { .. });
        self.open(conversation).filter(said).map(|item| cut(item, at)).collect()
    }

    /// What has to be recorded before a conversation's turn ends, so that nothing stays open in it.
    pub(crate) fn close_items(&self, conversation: &str, at: Timestamp) -> Vec<AgentEvent> {
        let approvals = self
            .approvals
            .values()
            .filter(|approval| approval.conversation_id == conversation)
            .map(|approval| AgentEvent::ApprovalResolved {
                approval_id: approval.id.clone(),
                decision: None,
            });
        let items = self.open(conversation).map(|item| cut(item, at));
        approvals.chain(items).collect()
    }

    /// What has to be recorded when a conversation's turn was cut off.
    pub(crate) fn close_turn(&self, conversation: &str, at: Timestamp) -> Vec<AgentEvent> {
        let Some(turn_id) = self.running(conversation).cloned() else {
            return Vec::new();
        };
        let mut events = self.close_items(conversation, at);
        events.push(AgentEvent::TurnCompleted {
            conversation_id: conversation.to_owned(),
            turn_id,
            outcome: TurnOutcome::Interrupted,
        });
        events
    }

    fn open(&self, conversation: &str) -> impl Iterator<Item = &Item> {
        self.turn(conversation)
            .into_iter()
            .flat_map(|turn| turn.items.values().flatten())
            .map(|item| &**item)
    }

    fn turn(&self, conversation: &str) -> Option<&TurnState> {
        self.conversations.get(conversation)?.turn.as_ref()
    }

    fn turn_mut(&mut self, conversation: &str) -> Option<&mut TurnState> {
        self.conversations.get_mut(conversation)?.turn.as_mut()
    }

    fn item(&self, item: &Item) -> Option<&Option<Box<Item>>> {
        self.turn(&item.conversation_id)
            .filter(|turn| turn.id == item.turn_id)?
            .items
            .get(&item.id)
    }

    fn set_item(&mut self, item: &Item, state: Option<Box<Item>>) {
        if let Some(turn) = self
            .turn_mut(&item.conversation_id)
            .filter(|turn| turn.id == item.turn_id)
        {
            turn.items.insert(item.id.clone(), state);
        }
    }
}

fn remember<T>(list: &mut VecDeque<T>, value: T) {
    if list.len() >= REMEMBERED {
        list.pop_front();
    }
    list.push_back(value);
}

fn cut(item: &Item, at: Timestamp) -> AgentEvent {
    let mut item = item.clone();
    item.status = ItemStatus::Failed;
    item.completed_at = Some(at);
    AgentEvent::ItemCompleted { item }
}

fn grow(body: &mut ItemBody, more: &str) {
    let text = match body {
        ItemBody::AgentMessage { text } | ItemBody::Reasoning { text } => text,
        ItemBody::Command {
            output,
            output_truncated,
            ..
        } => {
            if output.len() + more.len() > MAX_ITEM_OUTPUT {
                *output_truncated = true;
                return;
            }
            output
        }
        _ => return,
    };
    text.push_str(more);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn conversation(id: &str) -> Conversation {
        Conversation {
            id: id.to_owned(),
            cwd: "/workspace".to_owned(),
            title: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    pub(crate) fn message(conversation: &str, turn: &str, id: &str, text: &str) -> Item {
        Item {
            id: id.to_owned(),
            conversation_id: conversation.to_owned(),
            turn_id: turn.to_owned(),
            status: ItemStatus::InProgress,
            started_at: Timestamp::UNIX_EPOCH,
            completed_at: None,
            body: ItemBody::AgentMessage { text: text.to_owned() },
        }
    }

    fn record(ledger: &mut Ledger, event: &AgentEvent) -> bool {
        let admitted = ledger.admits(event);
        if admitted {
            ledger.apply(event);
        }
        admitted
    }

    fn with_open_message() -> Ledger {
        let mut ledger = Ledger::default();
        for event in [
            AgentEvent::ConversationStarted {
                conversation: conversation("c"),
                message_id: None,
            },
            AgentEvent::TurnStarted {
                conversation_id: "c".into(),
                turn_id: "t".into(),
            },
            AgentEvent::ItemStarted {
                item: message("c", "t", "i", ""),
            },
            AgentEvent::ItemDelta {
                conversation_id: "c".into(),
                item_id: "i".into(),
                text: "half a sen".into(),
            },
        ] {
            assert!(record(&mut ledger, &event));
        }
        ledger
    }

    #[test]
    fn a_cut_turn_closes_with_what_it_had() {
        let ledger = with_open_message();
        let at = Timestamp::from_second(7).unwrap();
        let mut cut = message("c", "t", "i", "half a sen");
        cut.status = ItemStatus::Failed;
        cut.completed_at = Some(at);
        assert_eq!(
            ledger.close_turn("c", at),
            vec![
                AgentEvent::ItemCompleted { item: cut },
                AgentEvent::TurnCompleted {
                    conversation_id: "c".into(),
                    turn_id: "t".into(),
                    outcome: TurnOutcome::Interrupted
                },
            ]
        );
    }

    #[test]
    fn what_was_said_is_not_recorded_again() {
        let mut ledger = with_open_message();
        assert!(!record(
            &mut ledger,
            &AgentEvent::TurnStarted {
                conversation_id: "c".into(),
                turn_id: "t".into()
            }
        ));
        assert!(!record(
            &mut ledger,
            &AgentEvent::ItemStarted {
                item: message("c", "t", "i", "")
            }
        ));
        assert!(record(
            &mut ledger,
            &AgentEvent::ItemCompleted {
                item: message("c", "t", "i", "whole")
            }
        ));
        assert!(!record(
            &mut ledger,
            &AgentEvent::ItemCompleted {
                item: message("c", "t", "i", "whole")
            }
        ));
        assert!(!record(
            &mut ledger,
            &AgentEvent::ItemDelta {
                conversation_id: "c".into(),
                item_id: "i".into(),
                text: "late".into()
            }
        ));
        let end = AgentEvent::TurnCompleted {
            conversation_id: "c".into(),
            turn_id: "t".into(),
            outcome: TurnOutcome::Completed,
        };
        assert!(record(&mut ledger, &end));
        assert!(!record(&mut ledger, &end));
        assert_eq!(ledger.all_running(), vec![]);
    }

    #[test]
    fn the_memory_of_messages_is_bounded_and_keeps_the_latest() {
        let mut ledger = Ledger::default();
        let ids: Vec<MessageId> = std::iter::repeat_with(MessageId::new).take(REMEMBERED + 1).collect();
        for id in &ids {
            record(
                &mut ledger,
                &AgentEvent::MessageDelivered {
                    message_id: *id,
                    conversation_id: "c".into(),
                    turn_id: "t".into(),
                },
            );
        }
        assert!(ledger.delivered(ids[0]).is_none());
        assert!(ledger.delivered(ids[REMEMBERED]).is_some());
    }
}
