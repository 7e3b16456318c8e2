//! The messages that wait for the runtime, and which one goes next.
//!
//! ```text
//!            edit, remove            delivered
//! queued ◄──────────────► sending ──────────────► (gone from the queue)
//!    ▲  take                 │ │
//!    └──── refused for now ──┘ └─ refused for good ─► queued with an error, until it is edited
//! ```
//!
//! One message is on its way at a time, so order holds. A message that is *sending* stays so
//! through anything, a restart of the server too, until the runtime's answer is known: it is sent
//! again under the same id, and the daemon gives each id to the runtime once.
//!
//! | the runtime is | goes next |
//! |---|---|
//! | not ready | nothing |
//! | idle | the oldest; it begins a turn |
//! | working | the oldest that steers; what is queued waits for the end of the turn |

use jiff::Timestamp;
use mistle_protocol::api::{MAX_MESSAGE_BYTES, MAX_QUEUED_MESSAGES};
use mistle_protocol::id::MessageId;
use mistle_protocol::session::{Delivery, QueuedMessage};

/// What the runtime is doing, as far as the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// It can't take a message.
    NotReady,
    /// No turn runs.
    Idle,
    /// A turn runs.
    Working,
}

/// A message in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place: lower goes first.
    pub position: u64,
    /// The message.
    pub message: QueuedMessage,
}

/// Why a message can't be added or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Too many wait.
    #[error("{MAX_QUEUED_MESSAGES} messages wait already; remove one or wait until the agent took some")]
    Full,
    /// Nothing is in it.
    #[error("the message is empty")]
    Empty,
    /// It is too long.
    #[error("the message is longer than {} KiB; put long text into a file", MAX_MESSAGE_BYTES / 1024)]
    TooLong,
    /// It waits no more.
    #[error("no such message waits")]
    NotFound,
    /// It is on its way.
    #[error("the message is on its way to the agent and can't be changed any more")]
    Sending,
}

/// The queue. What a change leaves to store is returned by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    entries: Vec<Entry>,
    /// The runtime refused the next message for now: nothing goes until something changes in it.
    blocked: bool,
    /// Whether something changed in the runtime since the message on its way was taken. Its
    /// refusal is then out of date.
    stirred: bool,
}

impl Queue {
    /// A queue as the store left it, in any order.
    pub fn restore(mut entries: Vec<Entry>) -> Self {
        entries.sort_by_key(|entry| entry.position);
        Self {
            entries,
            blocked: false,
            stirred: false,
        }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> Vec<QueuedMessage> {
        self.entries.iter().map(|entry| entry.message.clone()).collect()
    }

    /// How many wait, those on their way included.
    pub fn len(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The message on its way to the runtime.
    pub fn in_flight(&self) -> Option<&QueuedMessage> {
        self.entries
            .iter()
            .map(|entry| &entry.message)
            .find(|message| message.sending)
    }

    /// Adds a message at the end.
    pub fn push(&mut self, message: QueuedMessage) -> Result<Entry, Denied> {
        check_text(&message.text)?;
        if self.len() >= MAX_QUEUED_MESSAGES {
            return Err(Denied::Full);
        }
        let position = self.entries.last().map_or(1, |last| last.position + 1);
        let entry = Entry { position, message };
        self.entries.push(entry.clone());
        Ok(entry)
    }

    /// Changes a message that is not on its way. One that was refused is tried again.
    pub fn edit(&mut self, id: MessageId, text: Option<String>, delivery: Option<Delivery>) -> Result<Entry, Denied> {
        if let Some(text) = &text {
            check_text(text)?;
        }
        let entry = self.changeable(id)?;
        if let Some(text) = text {
            entry.message.text = text;
        }
        if let Some(delivery) = delivery {
            entry.message.delivery = delivery;
        }
        entry.message.error = None;
        Ok(entry.clone())
    }

    /// Takes a message out that is not on its way.
    pub fn remove(&mut self, id: MessageId) -> Result<Entry, Denied> {
        self.changeable(id)?;
        self.take_out(id).ok_or(Denied::NotFound)
    }

    /// The message that should go now.
    pub fn next(&self, runtime: Runtime) -> Option<MessageId> {
        if self.blocked || self.in_flight().is_some() {
            return None;
        }
        let goes = |message: &&QueuedMessage| match runtime {
            Runtime::NotReady => false,
            Runtime::Idle => message.error.is_none(),
            Runtime::Working => message.error.is_none() && message.delivery == Delivery::Steer,
        };
        self.entries
            .iter()
            .map(|entry| &entry.message)
            .find(goes)
            .map(|message| message.id)
    }

    /// Marks a message as on its way.
    pub fn sending(&mut self, id: MessageId) -> Option<Entry> {
        self.stirred = false;
        let entry = self.find(id)?;
        entry.message.sending = true;
        Some(entry.clone())
    }

    /// The runtime has it: it leaves the queue.
    pub fn delivered(&mut self, id: MessageId) -> Option<Entry> {
        self.take_out(id)
    }

    /// The runtime refused it for now (busy, not ready). It goes again when the runtime's state
    /// changes, or at once when it has changed meanwhile.
    pub fn deferred(&mut self, id: MessageId) -> Option<Entry> {
        let stirred = self.stirred;
        let entry = self.find(id).filter(|entry| entry.message.sending)?;
        entry.message.sending = false;
        let entry = entry.clone();
        self.blocked = !stirred;
        Some(entry)
    }

    /// The runtime refused it for good. It stays, with the reason, until a person edits or removes
    /// it, and holds nobody up.
    pub fn rejected(&mut self, id: MessageId, why: String) -> Option<Entry> {
        let entry = self.find(id)?;
        entry.message.sending = false;
        entry.message.error = Some(why);
        Some(entry.clone())
    }

    /// The runtime's state changed: it became ready, or a turn began or ended.
    pub fn stir(&mut self) {
        self.blocked = false;
        self.stirred = true;
    }

    fn find(&mut self, id: MessageId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.message.id == id)
    }

    fn changeable(&mut self, id: MessageId) -> Result<&mut Entry, Denied> {
        let entry = self.find(id).ok_or(Denied::NotFound)?;
        if entry.message.sending {
            Err(Denied::Sending)
        } else {
            Ok(entry)
        }
    }

    fn take_out(&mut self, id: MessageId) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.message.id == id)?;
        Some(self.entries.remove(index))
    }
}

/// A message as a person writes it.
pub fn compose(
    text: String,
    delivery: Delivery,
    model: Option<String>,
    effort: Option<String>,
    now: Timestamp,
) -> QueuedMessage {
    QueuedMessage {
        id: MessageId::new(),
        text,
        delivery,
        sending: false,
        model,
        effort,
        comments: Vec::new(),
        error: None,
        created_at: now,
    }
}

fn check_text(text: &str) -> Result<(), Denied> {
    if text.trim().is_empty() {
        return Err(Denied::Empty);
    }
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(Denied::TooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn message(text: &str, delivery: Delivery) -> QueuedMessage {
        compose(text.to_owned(), delivery, None, None, Timestamp::UNIX_EPOCH)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Delivery),
        Edit(prop::sample::Index, Delivery),
        Remove(prop::sample::Index),
        /// Take the next one and lose the answer.
        SendAndCrash,
        /// Take the next one, or the one on its way, and hear the answer.
        Send,
        TurnEnds,
        RuntimeRestarts,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let delivery = prop_oneof![Just(Delivery::Steer), Just(Delivery::Queue)];
        let step = prop_oneof![
            4 => delivery.clone().prop_map(Step::Push),
            1 => (any::<prop::sample::Index>(), delivery).prop_map(|(index, delivery)| Step::Edit(index, delivery)),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
            2 => Just(Step::SendAndCrash),
            6 => Just(Step::Send),
            3 => Just(Step::TurnEnds),
            1 => Just(Step::RuntimeRestarts),
        ];
        prop::collection::vec(step, 0..80)
    }

    /// A daemon: remembers ids, refuses what does not fit.
    #[derive(Default)]
    struct Daemon {
        turn: bool,
        given: BTreeMap<MessageId, bool>,
        order: Vec<MessageId>,
    }

    impl Daemon {
        fn deliver(&mut self, message: &QueuedMessage) -> bool {
            if self.given.contains_key(&message.id) {
                return true;
            }
            if self.turn && message.delivery == Delivery::Queue {
                return false;
            }
            self.given.insert(message.id, self.turn);
            self.order.push(message.id);
            self.turn = true;
            true
        }
    }

    fn crash(queue: &Queue) -> Queue {
        let mut entries = queue.entries.clone();
        entries.reverse();
        Queue::restore(entries)
    }

    proptest! {
        #[test]
        fn every_message_goes_once_and_in_order(steps in steps()) {
            let mut queue = Queue::default();
            let mut daemon = Daemon::default();
            let mut written = Vec::new();
            let mut removed = Vec::new();
            let send = |queue: &mut Queue, daemon: &mut Daemon, believed: Runtime| {
                let id = queue.in_flight().map(|message| message.id).or_else(|| queue.next(believed));
                let Some(id) = id else { return false };
                let entry = queue.sending(id).unwrap();
                if daemon.deliver(&entry.message) {
                    queue.delivered(id).unwrap();
                } else {
                    queue.deferred(id).unwrap();
                }
                true
            };
            for step in steps {
                let believed = if daemon.turn { Runtime::Working } else { Runtime::Idle };
                match step {
                    Step::Push(delivery) => {
                        if let Ok(entry) = queue.push(message("x", delivery)) {
                            written.push(entry.message.id);
                        }
                    }
                    Step::Edit(index, delivery) if !queue.is_empty() => {
                        let before = queue.messages();
                        let target = index.get(&before);
                        let edited = queue.edit(target.id, None, Some(delivery));
                        prop_assert_eq!(edited.is_err(), target.sending);
                    }
                    Step::Remove(index) if !queue.is_empty() => {
                        let before = queue.messages();
                        let target = index.get(&before);
                        match queue.remove(target.id) {
                            Ok(entry) => removed.push(entry.message.id),
                            Err(why) => prop_assert_eq!((why, target.sending), (Denied::Sending, true)),
                        }
                    }
                    Step::Edit(..) | Step::Remove(_) => {}
                    Step::SendAndCrash => {
                        let id = queue.in_flight().map(|message| message.id).or_else(|| queue.next(believed));
                        if let Some(entry) = id.and_then(|id| queue.sending(id)) {
                            daemon.deliver(&entry.message);
                        }
                        queue = crash(&queue);
                    }
                    Step::Send => {
                        send(&mut queue, &mut daemon, believed);
                    }
                    Step::TurnEnds => {
                        daemon.turn = false;
                        queue.stir();
                    }
                    Step::RuntimeRestarts => {
                        daemon.turn = false;
                        queue = crash(&queue);
                    }
                }
                prop_assert!(queue.messages().iter().filter(|message| message.sending).count() <= 1);
            }
            // When the agent works everything off, everything that was written has been given once.
            for _ in 0..2 * written.len() + 2 {
                daemon.turn = false;
                queue.stir();
                send(&mut queue, &mut daemon, Runtime::Idle);
            }
            prop_assert!(queue.is_empty());
            let mut given = daemon.order.clone();
            given.sort_unstable();
            written.retain(|id| !removed.contains(id));
            prop_assert_eq!(given, written);
        }

        /// What only steers never overtakes; what only queues neither.
        #[test]
        fn messages_of_one_kind_keep_their_order(kinds in prop::collection::vec(any::<bool>(), 0..40), turns in prop::collection::vec(any::<bool>(), 80)) {
            let mut queue = Queue::default();
            for steer in &kinds {
                queue.push(message("x", if *steer { Delivery::Steer } else { Delivery::Queue })).unwrap();
            }
            let written = queue.messages();
            let mut gone = Vec::new();
            for working in turns.into_iter().chain(std::iter::repeat_n(false, kinds.len())) {
                let Some(id) = queue.next(if working { Runtime::Working } else { Runtime::Idle }) else { continue };
                queue.sending(id);
                gone.push(queue.delivered(id).unwrap().message);
            }
            for kind in [Delivery::Steer, Delivery::Queue] {
                let of_kind = |messages: &[QueuedMessage]| -> Vec<MessageId> {
                    messages.iter().filter(|message| message.delivery == kind).map(|message| message.id).collect()
                };
                prop_assert_eq!(of_kind(&written), of_kind(&gone));
            }
        }
    }

    #[test]
    fn a_working_agent_gets_what_steers_first() {
        let mut queue = Queue::default();
        let later = queue.push(message("later", Delivery::Queue)).unwrap().message.id;
        let soon = queue.push(message("soon", Delivery::Steer)).unwrap().message.id;
        assert_eq!(queue.next(Runtime::NotReady), None);
        assert_eq!(queue.next(Runtime::Working), Some(soon));
        assert_eq!(queue.next(Runtime::Idle), Some(later));
        queue.edit(later, None, Some(Delivery::Steer)).unwrap();
        assert_eq!(queue.next(Runtime::Working), Some(later));
    }

    #[test]
    fn a_refusal_waits_for_a_change_unless_it_came_already() {
        let mut queue = Queue::default();
        let id = queue.push(message("x", Delivery::Queue)).unwrap().message.id;
        queue.sending(id);
        queue.deferred(id);
        assert_eq!(queue.next(Runtime::Idle), None);
        queue.stir();
        assert_eq!(queue.next(Runtime::Idle), Some(id));
        queue.sending(id);
        queue.stir();
        queue.deferred(id);
        assert_eq!(queue.next(Runtime::Idle), Some(id));
    }

    #[test]
    fn a_rejected_message_stays_and_holds_nobody_up() {
        let mut queue = Queue::default();
        let first = queue.push(message("bad", Delivery::Steer)).unwrap().message.id;
        let second = queue.push(message("good", Delivery::Steer)).unwrap().message.id;
        queue.sending(first);
        queue.rejected(first, "no".to_owned());
        assert_eq!(queue.next(Runtime::Idle), Some(second));
        queue.edit(first, Some("better".to_owned()), None).unwrap();
        assert_eq!(queue.next(Runtime::Idle), Some(first));
    }

    #[test]
    fn limits_hold() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(message(" \n", Delivery::Steer)), Err(Denied::Empty));
        assert_eq!(
            queue.push(message(&"x".repeat(MAX_MESSAGE_BYTES + 1), Delivery::Steer)),
            Err(Denied::TooLong)
        );
        for _ in 0..MAX_QUEUED_MESSAGES {
            queue.push(message("x", Delivery::Steer)).unwrap();
        }
        assert_eq!(queue.push(message("x", Delivery::Steer)), Err(Denied::Full));
        assert_eq!(queue.remove(MessageId::new()), Err(Denied::NotFound));
    }
}
