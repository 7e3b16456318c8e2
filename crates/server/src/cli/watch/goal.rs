//! What a watcher waits for. Pure: messages of the live stream in; the end and its exit code out.
//!
//! ```text
//!                   delivered                 turn ends
//! which turn is it? ─────────► the turn runs ───────────► the turn's outcome
//!        │                          │
//!        └─ rejected ─► failed      └─ session fails, stops, is deleted ─► that
//! ```
//!
//! The stream begins with the session's record, so a turn may have ended before it is known to be the
//! one. Approvals wait in the order in which they were asked; those of other conversations are not ours.

use std::collections::{HashMap, VecDeque};

use mistle_protocol::agent::{AgentEvent, Approval, ConversationId, TurnId, TurnOutcome};
use mistle_protocol::id::MessageId;
use mistle_protocol::session::{EventBody, LiveMessage, QueuedMessage, Session, SessionState};

use crate::cli::output::plain;
use crate::cli::session::state;
use crate::cli::{FAILED, INTERRUPTED};

/// When watching ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Goal {
    /// When the turn of this message ends; without one, of the session's first.
    Turn(Option<MessageId>),
    /// When the session runs.
    Running,
    /// When it is stopped.
    Stopped,
    /// Never.
    Never,
}

/// The end of watching.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// The exit code.
    pub(super) code: u8,
    /// What a person is told beside the record.
    pub(super) said: Vec<String>,
}

impl Ended {
    fn with(code: u8) -> Self {
        Self { code, said: Vec::new() }
    }

    fn saying(code: u8, said: impl Into<String>) -> Self {
        Self {
            code,
            said: vec![said.into()],
        }
    }
}

/// How far it is.
#[derive(Debug)]
pub(super) struct Progress {
    goal: Goal,
    turn: Option<TurnId>,
    /// Where the turn is, once that is known.
    conversation: Option<ConversationId>,
    /// How turns ended while it was not known which one it is.
    ended: HashMap<TurnId, u8>,
    pending: VecDeque<Approval>,
}

impl Progress {
    /// At the beginning; `asked` are questions that waited before.
    pub(super) fn new(goal: Goal, asked: Vec<Approval>) -> Self {
        Self {
            goal,
            turn: None,
            conversation: None,
            ended: HashMap::new(),
            pending: asked.into(),
        }
    }

    /// What a message means for the goal.
    pub(super) fn hear(&mut self, message: &LiveMessage) -> Option<Ended> {
        match message {
            LiveMessage::Event { event } => match &event.event {
                EventBody::Agent(event) => self.event(event).map(Ended::with),
                EventBody::Server(_) => None,
            },
            LiveMessage::Session { session } => self.session(session),
            LiveMessage::Deleted { .. } => Some(Ended::saying(INTERRUPTED, "The session was deleted.")),
            LiveMessage::Queue { messages } => self.queue(messages),
            // Events come one by one here.
            LiveMessage::Events { .. }
            | LiveMessage::CaughtUp { .. }
            | LiveMessage::Lagged
            | LiveMessage::Changes { .. }
            | LiveMessage::Ports { .. }
            | LiveMessage::Terminals { .. }
            | LiveMessage::Comments => None,
        }
    }

    /// Whether an event is about another conversation than the one that is waited for.
    pub(super) fn is_elsewhere(&self, event: &EventBody) -> bool {
        let EventBody::Agent(event) = event else { return false };
        let of = match event {
            AgentEvent::ItemStarted { item } | AgentEvent::ItemCompleted { item } => &item.conversation_id,
            AgentEvent::ItemDelta { conversation_id, .. } | AgentEvent::TurnCompleted { conversation_id, .. } => {
                conversation_id
            }
            AgentEvent::ApprovalRequested { approval } => &approval.conversation_id,
            _ => return false,
        };
        self.conversation.as_ref().is_some_and(|own| own != of)
    }

    /// The question that waits longest.
    pub(super) fn question(&self) -> Option<&Approval> {
        self.pending.front()
    }

    /// A question is answered, or withdrawn.
    pub(super) fn settle(&mut self, approval: &str) {
        self.pending.retain(|waiting| waiting.id != approval);
    }

    fn event(&mut self, event: &AgentEvent) -> Option<u8> {
        match event {
            AgentEvent::MessageDelivered {
                message_id,
                turn_id,
                conversation_id,
            } => self.delivered(*message_id, turn_id, conversation_id),
            AgentEvent::MessageRejected { message_id, .. } => match self.goal {
                Goal::Turn(wanted) if wanted.is_none_or(|wanted| wanted == *message_id) => Some(FAILED),
                _ => None,
            },
            AgentEvent::TurnCompleted { turn_id, outcome, .. } => self.turn_ended(turn_id, outcome),
            AgentEvent::ApprovalRequested { approval } => {
                self.ask(approval);
                None
            }
            AgentEvent::ApprovalResolved { approval_id, .. } => {
                self.settle(approval_id);
                None
            }
            _ => None,
        }
    }

    fn delivered(&mut self, message: MessageId, turn: &TurnId, conversation: &ConversationId) -> Option<u8> {
        let Goal::Turn(wanted) = self.goal else { return None };
        if !wanted.map_or(self.turn.is_none(), |wanted| wanted == message) {
            return None;
        }
        self.pending
            .retain(|approval| approval.conversation_id == *conversation);
        self.conversation = Some(conversation.clone());
        self.turn = Some(turn.clone());
        std::mem::take(&mut self.ended).remove(turn)
    }

    fn turn_ended(&mut self, turn: &TurnId, outcome: &TurnOutcome) -> Option<u8> {
        let Goal::Turn(_) = self.goal else { return None };
        let code = match outcome {
            TurnOutcome::Completed => 0,
            TurnOutcome::Interrupted => INTERRUPTED,
            TurnOutcome::Failed { .. } => FAILED,
        };
        if let Some(own) = &self.turn {
            return (own == turn).then_some(code);
        }
        self.ended.insert(turn.clone(), code);
        None
    }

    /// What another conversation asks is not answered here.
    fn ask(&mut self, approval: &Approval) {
        let ours = |own: &ConversationId| *own == approval.conversation_id;
        let is_known = self.pending.iter().any(|known| known.id == approval.id);
        if !is_known && self.conversation.as_ref().is_none_or(ours) {
            self.pending.push_back(approval.clone());
        }
    }

    fn session(&self, session: &Session) -> Option<Ended> {
        match (self.goal, session.state) {
            (Goal::Never, _) => None,
            (Goal::Running, SessionState::Running) | (Goal::Stopped, SessionState::Stopped) => {
                Some(Ended::saying(0, state(session)))
            }
            (_, SessionState::Failed) => Some(failed(session)),
            (_, SessionState::Stopped | SessionState::Deleted) => {
                Some(Ended::saying(INTERRUPTED, "The session is stopped."))
            }
            _ => None,
        }
    }

    fn queue(&self, messages: &[QueuedMessage]) -> Option<Ended> {
        let Goal::Turn(Some(id)) = self.goal else { return None };
        let error = messages.iter().find(|message| message.id == id)?.error.as_ref()?;
        Some(Ended::saying(
            FAILED,
            format!("The message was refused: {}", plain(error)),
        ))
    }
}

fn failed(session: &Session) -> Ended {
    let said = session.trouble.iter().flat_map(|trouble| {
        let hint = trouble.hint.as_ref().map(|hint| plain(hint));
        std::iter::once(format!("The session failed: {}", plain(&trouble.message))).chain(hint)
    });
    Ended {
        code: FAILED,
        said: said.collect(),
    }
}
