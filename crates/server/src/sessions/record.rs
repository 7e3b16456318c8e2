//! A change of a session in the making: what the next transaction stores.

use jiff::Timestamp;
use mistle_model::queue::Entry;
use mistle_model::session::Machine;
use mistle_model::summary;
use mistle_protocol::agent::JournalEntry;
use mistle_protocol::session::{EventBody, ServerEvent, SessionEvent, SessionState};
use mistle_store::events::EventRow;
use mistle_store::messages::{MessageRow, MessageState};
use mistle_store::sessions::{Change, SessionRow};

/// A change in the making. What is not committed never was.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) row: SessionRow,
    events: Vec<EventRow>,
    messages: Vec<MessageRow>,
    /// Whether it makes a warm session someone's.
    pub(super) adopts: bool,
}

impl Draft {
    /// A change of what is stored.
    pub(super) fn of(row: &SessionRow) -> Self {
        let mut row = row.clone();
        row.revision += 1;
        row.session.updated_at = Timestamp::now();
        Self {
            row,
            events: Vec::new(),
            messages: Vec::new(),
            adopts: false,
        }
    }

    /// Takes over where the machine is, and puts it on the record.
    pub(super) fn state(&mut self, machine: &Machine) {
        let session = &mut self.row.session;
        let state = machine.state();
        if state == SessionState::Starting && is_at_rest(session.state) {
            self.row.boot_floor = None;
        }
        if is_at_rest(state) || state == SessionState::Deleted {
            summary::processes_ended(session);
        }
        session.deletion = machine.trash();
        self.row.ready = machine.ready();
        self.row.warm_until = machine.warm_until();
        if state == session.state && machine.since() == session.state_since {
            return;
        }
        session.state = state;
        session.state_since = machine.since();
        session.trouble = machine.trouble().cloned();
        let body = EventBody::Server(ServerEvent::State {
            state,
            trouble: machine.trouble().cloned(),
        });
        self.event(machine.since(), body, None);
    }

    /// Takes over that a warm session is someone's, who calls it by a title.
    pub(super) fn adopted(&mut self, title: String, machine: &Machine) {
        self.adopts = true;
        self.row.session.title = title;
        self.row.session.created_at = self.row.session.updated_at;
        self.state(machine);
    }

    /// Takes over a journal entry.
    pub(super) fn entry(&mut self, entry: JournalEntry) {
        summary::apply(&mut self.row.session, &entry.event, entry.at);
        if is_at_rest(self.row.session.state) {
            // The last words of processes that have ended.
            summary::processes_ended(&mut self.row.session);
        }
        self.row.journal_seq = entry.seq;
        self.event(entry.at, EventBody::Agent(entry.event), Some(entry.seq));
    }

    /// Takes over a message that is new or changed.
    pub(super) fn message(&mut self, entry: Entry, state: MessageState) {
        self.messages.retain(|row| row.entry.message.id != entry.message.id);
        self.messages.push(MessageRow { entry, state });
    }

    /// Takes over that a waiting message goes elsewhere, unless the change says more of it.
    pub(super) fn also(&mut self, entry: Entry) {
        if self.messages.iter().all(|row| row.entry.message.id != entry.message.id) {
            self.message(entry, MessageState::Queued);
        }
    }

    /// Whether it changes the queue.
    pub(super) fn changes_queue(&self) -> bool {
        !self.messages.is_empty()
    }

    /// For the store.
    pub(super) fn change(&self) -> Change<'_> {
        Change {
            row: &self.row,
            events: &self.events,
            messages: &self.messages,
        }
    }

    /// What was stored.
    pub(super) fn into_parts(self) -> (SessionRow, Vec<SessionEvent>) {
        (self.row, self.events.into_iter().map(|row| row.event).collect())
    }

    fn event(&mut self, at: Timestamp, event: EventBody, journal_seq: Option<u64>) {
        self.row.session.last_seq += 1;
        let event = SessionEvent {
            seq: self.row.session.last_seq,
            at,
            event,
        };
        self.events.push(EventRow { event, journal_seq });
    }
}

/// Whether no processes belong to the state.
pub(super) fn is_at_rest(state: SessionState) -> bool {
    matches!(
        state,
        SessionState::Created | SessionState::Stopped | SessionState::Failed
    )
}
