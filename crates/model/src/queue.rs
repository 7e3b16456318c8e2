//! The messages that wait for the runtime, and which one goes next.
//!
//! ```text
//!            edit, remove            delivered
//! queued ◄──────────────► sending ──────────────► (gone from the queue)
//!    ▲  take                 │ │
//!    └──── refused for now ──┘ └─ refused for good ─► queued with an error, until it is edited
//! ```
//!
//! One message is on its way at a time. A message that is *sending* stays so through anything, a
//! restart of the server too, until the runtime's answer is known: it is sent again under the same
//! id, and the daemon gives each id to the runtime once.
//!
//! Order is kept in each conversation, and a message that waits in one holds up no other. The oldest
//! message whose conversation lets it go is next:
//!
//! | its conversation is | goes |
//! |---|---|
//! | any, and the runtime is not ready | nothing |
//! | idle | the oldest; it begins a turn |
//! | working | the oldest that steers; what is queued waits for the end of the turn |
//! | one that it starts | at once |
//! | one that an earlier message starts | when that one was delivered |
//!
//! Where a message goes is settled when it is accepted, so that making another conversation active
//! redirects nothing. *Active* becomes the active conversation, or, while that waits to be started,
//! the one that its *starter* starts; with neither the message is a starter itself. When a starter is
//! removed or refused for good, the next message of its conversation starts it instead and the
//! refused one follows that one: nobody is stranded.

use std::collections::BTreeSet;

use jiff::Timestamp;
use mistle_protocol::agent::ConversationId;
use mistle_protocol::api::{MAX_MESSAGE_BYTES, MAX_QUEUED_MESSAGES};
use mistle_protocol::id::MessageId;
use mistle_protocol::session::{Delivery, Destination, QueuedMessage};

use crate::comments;

/// What the runtime is doing, as far as the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// It can't take a message.
    NotReady,
    /// It takes messages.
    Ready {
        /// The conversations in which a turn runs.
        working: BTreeSet<ConversationId>,
    },
}

/// What order is kept in: a conversation, or the one that a message starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Conversation(ConversationId),
    StartedBy(MessageId),
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
    /// The message that starts the active conversation.
    starter: Option<MessageId>,
    /// Where the runtime refused a message for now: nothing goes there until something changes.
    blocked: BTreeSet<Place>,
    /// Whether something changed since the message on its way was taken, where it goes. Its
    /// refusal is then out of date.
    stirred: bool,
    /// Entries that were given another destination, until they are stored.
    moved: Vec<Entry>,
}

impl Queue {
    /// A queue as the store left it, in any order, with the active conversation and the message
    /// that starts it.
    pub fn restore(mut entries: Vec<Entry>, active: Option<&str>, starter: Option<MessageId>) -> Self {
        entries.sort_by_key(|entry| entry.position);
        let mut queue = Self {
            entries: Vec::with_capacity(entries.len()),
            starter: starter.filter(|id| entries.iter().any(|entry| entry.message.id == *id)),
            ..Self::default()
        };
        for mut entry in entries {
            // Only messages from before there were destinations are not settled yet.
            if entry.message.destination == Destination::Active {
                entry.message.destination = queue.settle(&Destination::Active, active).unwrap_or_default();
                queue.note_starter(&entry.message);
            }
            queue.entries.push(entry);
        }
        queue
    }

    /// Where a message goes that is accepted now. `active` is the active conversation.
    pub fn settle(&self, wanted: &Destination, active: Option<&str>) -> Result<Destination, Denied> {
        match wanted {
            Destination::New | Destination::Conversation { .. } => Ok(wanted.clone()),
            Destination::Active => match (self.starter, active) {
                (Some(message_id), _) => self.settle(&Destination::StartedBy { message_id }, active),
                (None, Some(id)) => Ok(Destination::Conversation { id: id.to_owned() }),
                (None, None) => Ok(Destination::New),
            },
            Destination::StartedBy { message_id } => {
                let starter = self.message(*message_id).ok_or(Denied::NotFound)?;
                Ok(match &starter.destination {
                    Destination::New | Destination::Active => wanted.clone(),
                    settled => settled.clone(),
                })
            }
        }
    }

    /// The message that starts the active conversation.
    pub fn starter(&self) -> Option<MessageId> {
        self.starter
    }

    /// A person chose a conversation: whatever is started later is not the active one.
    pub fn activated(&mut self) {
        self.starter = None;
    }

    /// Entries that were given another destination since this was asked last.
    pub fn take_moved(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.moved)
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
        check_text(&message.text, !message.attachments.is_empty())?;
        if self.len() >= MAX_QUEUED_MESSAGES {
            return Err(Denied::Full);
        }
        let position = self.entries.last().map_or(1, |last| last.position + 1);
        self.note_starter(&message);
        let followed = match message.destination {
            Destination::StartedBy { message_id } => Some(message_id),
            _ => None,
        };
        let id = message.id;
        self.entries.push(Entry { position, message });
        // One that was refused starts nothing by itself.
        if let Some(starter) = followed
            && self.message(starter).is_some_and(|message| message.error.is_some())
        {
            self.hand_over(starter);
            self.moved.retain(|entry| entry.message.id != id);
        }
        self.find(id).map(|entry| entry.clone()).ok_or(Denied::NotFound)
    }

    /// Changes a message that is not on its way. One that was refused is tried again.
    pub fn edit(&mut self, id: MessageId, text: Option<String>, delivery: Option<Delivery>) -> Result<Entry, Denied> {
        let entry = self.changeable(id)?;
        if let Some(mut text) = text {
            if !entry.message.comments.is_empty() {
                text = comments::retell(&entry.message.text, &text);
            }
            check_text(&text, !entry.message.attachments.is_empty())?;
            entry.message.text = text;
        }
        if let Some(delivery) = delivery {
            entry.message.delivery = delivery;
        }
        entry.message.error = None;
        Ok(entry.clone())
    }

    /// Puts a message that is not on its way before another one, or at the end. Of several that wait
    /// for one conversation to start, the first one starts it.
    pub fn rearrange(&mut self, id: MessageId, before: Option<MessageId>) -> Result<Entry, Denied> {
        self.changeable(id)?;
        if let Some(next) = before {
            self.changeable(next)?;
        }
        if before != Some(id)
            && let Some(entry) = self.take_out(id)
        {
            let at = before.and_then(|next| self.entries.iter().position(|entry| entry.message.id == next));
            // Places stay what they are; who has which one changes.
            let mut places: Vec<u64> = self.entries.iter().map(|entry| entry.position).collect();
            places.push(entry.position);
            places.sort_unstable();
            self.entries.insert(at.unwrap_or(self.entries.len()), entry);
            for (entry, position) in self.entries.iter_mut().zip(places) {
                if entry.position != position {
                    entry.position = position;
                    note(&mut self.moved, entry);
                }
            }
            self.lead();
        }
        self.moved.retain(|entry| entry.message.id != id);
        self.find(id).map(|entry| entry.clone()).ok_or(Denied::NotFound)
    }

    /// Lets the first of those that wait for one conversation start it.
    fn lead(&mut self) {
        let starters: Vec<MessageId> = self
            .entries
            .iter()
            .map(|entry| &entry.message)
            .filter(|message| place(message) == Place::StartedBy(message.id) && !message.sending)
            .map(|message| message.id)
            .collect();
        for starter in starters {
            let group = Place::StartedBy(starter);
            let of_group = |entry: &&mut Entry| place(&entry.message) == group;
            let Some(first) = self
                .entries
                .iter()
                .find(|entry| place(&entry.message) == group && entry.message.error.is_none())
                .map(|entry| entry.message.id)
                .filter(|first| *first != starter)
            else {
                continue;
            };
            for entry in self.entries.iter_mut().filter(of_group) {
                entry.message.destination = if entry.message.id == first {
                    Destination::New
                } else {
                    Destination::StartedBy { message_id: first }
                };
                note(&mut self.moved, entry);
            }
            if self.starter == Some(starter) {
                self.starter = Some(first);
            }
        }
    }

    /// Takes a message out that is not on its way.
    pub fn remove(&mut self, id: MessageId) -> Result<Entry, Denied> {
        self.changeable(id)?;
        self.hand_over(id);
        if self.starter == Some(id) {
            self.starter = None;
        }
        self.moved.retain(|entry| entry.message.id != id);
        self.take_out(id).ok_or(Denied::NotFound)
    }

    /// The message that should go now.
    pub fn next(&self, runtime: &Runtime) -> Option<MessageId> {
        let Runtime::Ready { working } = runtime else {
            return None;
        };
        if self.in_flight().is_some() {
            return None;
        }
        let goes = |message: &&QueuedMessage| {
            let place = place(message);
            let free = match &place {
                Place::Conversation(id) => !working.contains(id) || message.delivery == Delivery::Steer,
                Place::StartedBy(starter) => *starter == message.id,
            };
            free && message.error.is_none() && !self.blocked.contains(&place)
        };
        self.entries
            .iter()
            .map(|entry| &entry.message)
            .find(goes)
            .map(|message| message.id)
    }

    /// A message's conversation exists: that is where the message and its followers go.
    pub fn started(&mut self, starter: MessageId, conversation: &str) {
        for entry in &mut self.entries {
            if place(&entry.message) == Place::StartedBy(starter) {
                entry.message.destination = Destination::Conversation {
                    id: conversation.to_owned(),
                };
                note(&mut self.moved, entry);
            }
        }
        self.starter.take_if(|id| *id == starter);
    }

    /// The runtime lost a conversation: the next message to it starts another one, where the others
    /// follow. `was_active` says whether that one is the active one too.
    pub fn lost(&mut self, conversation: &str, was_active: bool) {
        let lost = Place::Conversation(conversation.to_owned());
        let mut starter = None;
        for entry in &mut self.entries {
            if place(&entry.message) != lost {
                continue;
            }
            entry.message.destination = match starter {
                None => Destination::New,
                Some(message_id) => Destination::StartedBy { message_id },
            };
            starter = starter.or(Some(entry.message.id));
            note(&mut self.moved, entry);
        }
        if was_active && self.starter.is_none() {
            self.starter = starter;
        }
    }

    /// Marks a message as on its way.
    pub fn sending(&mut self, id: MessageId) -> Option<Entry> {
        self.stirred = false;
        self.moved.retain(|entry| entry.message.id != id);
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
        if !stirred {
            self.blocked.insert(place(&entry.message));
        }
        Some(entry)
    }

    /// The runtime refused it for good. It stays, with the reason, until a person edits or removes
    /// it, and holds nobody up.
    pub fn rejected(&mut self, id: MessageId, why: String) -> Option<Entry> {
        let entry = self.find(id)?;
        entry.message.sending = false;
        entry.message.error = Some(why);
        self.hand_over(id);
        self.moved.retain(|entry| entry.message.id != id);
        self.find(id).map(|entry| entry.clone())
    }

    /// Something changed in the runtime: a turn began or ended in a conversation, or, without one, it
    /// became ready.
    pub fn stir(&mut self, conversation: Option<&str>) {
        let Some(conversation) = conversation else {
            self.blocked.clear();
            self.stirred = true;
            return;
        };
        let stirred = Place::Conversation(conversation.to_owned());
        self.blocked.remove(&stirred);
        self.stirred |= self.in_flight().is_some_and(|message| place(message) == stirred);
    }

    fn note_starter(&mut self, message: &QueuedMessage) {
        if message.destination == Destination::New {
            self.starter = Some(message.id);
        }
    }

    /// The first follower of a message starts their conversation in its place; the message itself
    /// follows it from then on.
    fn hand_over(&mut self, starter: MessageId) {
        let follows = |message: &QueuedMessage| message.destination == Destination::StartedBy { message_id: starter };
        let followers = || {
            self.entries
                .iter()
                .map(|entry| &entry.message)
                .filter(|message| follows(message))
        };
        let heir = followers()
            .find(|message| message.error.is_none())
            .or_else(|| followers().next());
        let Some(heir) = heir.map(|message| message.id) else {
            return;
        };
        for entry in &mut self.entries {
            let id = entry.message.id;
            if id == heir {
                entry.message.destination = Destination::New;
            } else if id == starter || follows(&entry.message) {
                entry.message.destination = Destination::StartedBy { message_id: heir };
            } else {
                continue;
            }
            note(&mut self.moved, entry);
        }
        if self.starter == Some(starter) {
            self.starter = Some(heir);
        }
    }

    fn message(&self, id: MessageId) -> Option<&QueuedMessage> {
        self.entries
            .iter()
            .map(|entry| &entry.message)
            .find(|message| message.id == id)
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
        destination: Destination::Active,
        attachments: Vec::new(),
        error: None,
        created_at: now,
    }
}

fn place(message: &QueuedMessage) -> Place {
    match &message.destination {
        Destination::Conversation { id } => Place::Conversation(id.clone()),
        Destination::StartedBy { message_id } => Place::StartedBy(*message_id),
        Destination::New | Destination::Active => Place::StartedBy(message.id),
    }
}

fn note(moved: &mut Vec<Entry>, entry: &Entry) {
    moved.retain(|known| known.message.id != entry.message.id);
    moved.push(entry.clone());
}

/// A message with files may say nothing.
fn check_text(text: &str, has_files: bool) -> Result<(), Denied> {
    if text.trim().is_empty() && !has_files {
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

    use mistle_protocol::id::CommentId;
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str, delivery: Delivery) -> QueuedMessage {
        compose(text.to_owned(), delivery, None, None, Timestamp::UNIX_EPOCH)
    }

    /// The conversations of these tests have one letter.
    const NAMES: [&str; 3] = ["a", "b", "c"];

    fn to(destination: Destination, delivery: Delivery) -> QueuedMessage {
        QueuedMessage {
            destination,
            ..message("x", delivery)
        }
    }

    fn conversation(id: &str) -> Destination {
        Destination::Conversation { id: id.to_owned() }
    }

    fn ready(working: &[&str]) -> Runtime {
        Runtime::Ready {
            working: working.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// To one of the three, a new one, or the one that an earlier message starts.
        Push(usize, Delivery),
        Edit(prop::sample::Index, Delivery),
        Remove(prop::sample::Index),
        /// The first before the second, or at the end when it is the same.
        Rearrange(prop::sample::Index, prop::sample::Index),
        /// Take the next one and lose the answer.
        SendAndCrash,
        /// Take the next one, or the one on its way, and hear the answer.
        Send,
        /// The runtime refuses the next one for good.
        Refuse,
        TurnEnds(usize),
        Lose(usize),
        RuntimeRestarts,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let delivery = prop_oneof![Just(Delivery::Steer), Just(Delivery::Queue)];
        let step = prop_oneof![
            4 => (0..5_usize, delivery.clone()).prop_map(|(place, delivery)| Step::Push(place, delivery)),
            1 => (any::<prop::sample::Index>(), delivery).prop_map(|(index, delivery)| Step::Edit(index, delivery)),
            1 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
                .prop_map(|(index, next)| Step::Rearrange(index, next)),
            2 => Just(Step::SendAndCrash),
            6 => Just(Step::Send),
            1 => Just(Step::Refuse),
            3 => (0..3_usize).prop_map(Step::TurnEnds),
            1 => (0..3_usize).prop_map(Step::Lose),
            1 => Just(Step::RuntimeRestarts),
        ];
        prop::collection::vec(step, 0..80)
    }

    /// A daemon: remembers ids, starts conversations, refuses what does not fit.
    #[derive(Default)]
    struct Daemon {
        working: BTreeSet<ConversationId>,
        given: BTreeMap<MessageId, ConversationId>,
        order: Vec<MessageId>,
    }

    impl Daemon {
        /// Where it went; nothing when a turn runs there that it may not join.
        fn deliver(&mut self, message: &QueuedMessage) -> Option<ConversationId> {
            if let Some(place) = self.given.get(&message.id) {
                return Some(place.clone());
            }
            let place = match &message.destination {
                Destination::Conversation { id } => id.clone(),
                Destination::New => format!("new {}", message.id),
                other => panic!("sent without a place: {other:?}"),
            };
            if self.working.contains(&place) && message.delivery == Delivery::Queue {
                return None;
            }
            self.given.insert(message.id, place.clone());
            self.order.push(message.id);
            self.working.insert(place.clone());
            Some(place)
        }

        fn runtime(&self) -> Runtime {
            Runtime::Ready {
                working: self.working.clone(),
            }
        }
    }

    fn crash(queue: &Queue) -> Queue {
        let mut entries = queue.entries.clone();
        entries.reverse();
        Queue::restore(entries, None, queue.starter)
    }

    fn take(queue: &mut Queue, daemon: &Daemon) -> Option<QueuedMessage> {
        let on_its_way = queue.in_flight().map(|message| message.id);
        let id = on_its_way.or_else(|| queue.next(&daemon.runtime()))?;
        queue.sending(id).map(|entry| entry.message)
    }

    fn send(queue: &mut Queue, daemon: &mut Daemon) -> bool {
        let Some(message) = take(queue, daemon) else {
            return false;
        };
        match daemon.deliver(&message) {
            Some(place) => {
                queue.started(message.id, &place);
                queue.delivered(message.id).unwrap();
            }
            None => {
                queue.deferred(message.id).unwrap();
            }
        }
        true
    }

    fn push(queue: &mut Queue, place: usize, delivery: Delivery) -> Option<MessageId> {
        let wanted = match place {
            0..3 => conversation(NAMES[place]),
            3 => Destination::New,
            _ => Destination::Active,
        };
        let destination = queue.settle(&wanted, None).unwrap();
        queue.push(to(destination, delivery)).ok().map(|entry| entry.message.id)
    }

    /// Nobody waits for a message that is not there, or that starts nothing.
    fn nobody_is_stranded(queue: &Queue) -> bool {
        let starts = |id: MessageId| {
            queue
                .message(id)
                .is_some_and(|message| message.destination == Destination::New)
        };
        queue.entries.iter().all(|entry| match entry.message.destination {
            Destination::StartedBy { message_id } => starts(message_id),
            Destination::Active => false,
            _ => true,
        }) && queue.starter.is_none_or(starts)
    }

    proptest! {
        #[test]
        fn every_message_goes_once_and_nobody_is_stranded(steps in steps()) {
            let mut queue = Queue::default();
            let mut daemon = Daemon::default();
            let mut written = Vec::new();
            let mut removed = Vec::new();
            for step in steps {
                match step {
                    Step::Push(place, delivery) => written.extend(push(&mut queue, place, delivery)),
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
                    Step::Rearrange(index, next) if !queue.is_empty() => {
                        let before = queue.messages();
                        let (target, next) = (index.get(&before), next.get(&before));
                        let wanted = (target.id != next.id).then_some(next.id);
                        let moved = queue.rearrange(target.id, wanted);
                        prop_assert_eq!(moved.is_err(), target.sending || wanted.is_some() && next.sending);
                        let after: Vec<MessageId> = queue.messages().iter().map(|message| message.id).collect();
                        if moved.is_ok() {
                            let at = after.iter().position(|id| *id == target.id).unwrap();
                            prop_assert_eq!(after.get(at + 1).copied(), wanted);
                        }
                        // Everybody else is in the order of before, and so it is stored.
                        let others = |ids: &[MessageId]| ids.iter().copied().filter(|id| *id != target.id).collect::<Vec<_>>();
                        let ids: Vec<MessageId> = before.iter().map(|message| message.id).collect();
                        prop_assert_eq!(others(&after), others(&ids));
                        prop_assert!(queue.entries.is_sorted_by(|one, other| one.position < other.position));
                    }
                    Step::SendAndCrash => {
                        if let Some(message) = take(&mut queue, &daemon) {
                            daemon.deliver(&message);
                        }
                        queue = crash(&queue);
                    }
                    Step::Send => {
                        send(&mut queue, &mut daemon);
                    }
                    Step::Refuse => {
                        let fresh = take(&mut queue, &daemon).filter(|message| !daemon.given.contains_key(&message.id));
                        if let Some(message) = fresh {
                            queue.rejected(message.id, "no".to_owned());
                        }
                    }
                    Step::TurnEnds(place) => {
                        daemon.working.remove(NAMES[place]);
                        queue.stir(Some(NAMES[place]));
                    }
                    Step::Lose(place) if queue.in_flight().is_none() => {
                        daemon.working.remove(NAMES[place]);
                        queue.lost(NAMES[place], place == 0);
                    }
                    Step::Edit(..) | Step::Remove(_) | Step::Rearrange(..) | Step::Lose(_) => {}
                    Step::RuntimeRestarts => {
                        daemon.working.clear();
                        queue = crash(&queue);
                    }
                }
                prop_assert!(queue.messages().iter().filter(|message| message.sending).count() <= 1);
                prop_assert!(nobody_is_stranded(&queue), "{:#?}", queue);
            }
            // When the agent works everything off, everything that was written has been given once.
            let refused: Vec<MessageId> = queue.messages().iter().filter(|message| message.error.is_some()).map(|message| message.id).collect();
            for id in refused {
                queue.edit(id, Some("better".to_owned()), None).unwrap();
            }
            for _ in 0..2 * written.len() + 2 {
                daemon.working.clear();
                queue.stir(None);
                send(&mut queue, &mut daemon);
            }
            prop_assert!(queue.is_empty());
            let mut given = daemon.order.clone();
            given.sort_unstable();
            written.retain(|id| !removed.contains(id));
            prop_assert_eq!(given, written);
        }

        /// In one conversation, what only steers never overtakes, and what only queues neither.
        #[test]
        fn order_holds_in_each_conversation(pushed in prop::collection::vec((0..3_usize, any::<bool>()), 0..40), turns in prop::collection::vec(any::<[bool; 3]>(), 80)) {
            let mut queue = Queue::default();
            for (place, steer) in &pushed {
                push(&mut queue, *place, if *steer { Delivery::Steer } else { Delivery::Queue }).unwrap();
            }
            let written = queue.messages();
            let mut gone = Vec::new();
            for working in turns.into_iter().chain(std::iter::repeat_n([false; 3], pushed.len())) {
                let working: Vec<&str> = NAMES.into_iter().zip(working).filter(|(_, works)| *works).map(|(name, _)| name).collect();
                let Some(id) = queue.next(&ready(&working)) else { continue };
                queue.sending(id);
                gone.push(queue.delivered(id).unwrap().message);
            }
            for place in NAMES {
                for kind in [Delivery::Steer, Delivery::Queue] {
                    let of_kind = |messages: &[QueuedMessage]| -> Vec<MessageId> {
                        let alike = |message: &&QueuedMessage| message.delivery == kind && message.destination == conversation(place);
                        messages.iter().filter(alike).map(|message| message.id).collect()
                    };
                    prop_assert_eq!(of_kind(&written), of_kind(&gone));
                }
            }
        }

        /// An idle conversation gets its messages whatever the others do.
        #[test]
        fn nobody_waits_for_another_conversation(waiting in prop::collection::vec(0..2_usize, 0..20)) {
            let mut queue = Queue::default();
            for place in waiting {
                let id = push(&mut queue, place, Delivery::Queue).unwrap();
                queue.sending(id);
                queue.deferred(id);
            }
            let mine = push(&mut queue, 2, Delivery::Queue).unwrap();
            prop_assert_eq!(queue.next(&ready(&["a", "b"])), Some(mine));
        }
    }

    #[test]
    fn a_working_agent_gets_what_steers_first() {
        let mut queue = Queue::default();
        let later = push(&mut queue, 0, Delivery::Queue).unwrap();
        let soon = push(&mut queue, 0, Delivery::Steer).unwrap();
        assert_eq!(queue.next(&Runtime::NotReady), None);
        assert_eq!(queue.next(&ready(&["a"])), Some(soon));
        assert_eq!(queue.next(&ready(&["b"])), Some(later));
        queue.edit(later, None, Some(Delivery::Steer)).unwrap();
        assert_eq!(queue.next(&ready(&["a"])), Some(later));
    }

    #[test]
    fn a_refusal_waits_for_a_change_there_unless_it_came_already() {
        let mut queue = Queue::default();
        let id = push(&mut queue, 0, Delivery::Queue).unwrap();
        queue.sending(id);
        queue.deferred(id);
        assert_eq!(queue.next(&ready(&[])), None);
        queue.stir(Some("b"));
        assert_eq!(queue.next(&ready(&[])), None);
        queue.stir(Some("a"));
        assert_eq!(queue.next(&ready(&[])), Some(id));
        queue.sending(id);
        queue.stir(Some("a"));
        queue.deferred(id);
        assert_eq!(queue.next(&ready(&[])), Some(id));
    }

    #[test]
    fn a_rejected_message_stays_and_holds_nobody_up() {
        let mut queue = Queue::default();
        let first = push(&mut queue, 0, Delivery::Steer).unwrap();
        let second = push(&mut queue, 0, Delivery::Steer).unwrap();
        queue.sending(first);
        queue.rejected(first, "no".to_owned());
        assert_eq!(queue.next(&ready(&[])), Some(second));
        queue.edit(first, Some("better".to_owned()), None).unwrap();
        assert_eq!(queue.next(&ready(&[])), Some(first));
    }

    #[test]
    fn another_text_leaves_the_comments_in_a_message() {
        let mut queue = Queue::default();
        let told = "Look.\n\nComments on the changes:\n\n`a.rs`, line 1 (after the change):\n";
        let with_comments = QueuedMessage {
            comments: vec![CommentId::new()],
            ..message(told, Delivery::Queue)
        };
        let id = queue.push(with_comments).unwrap().message.id;
        let edited = queue.edit(id, Some("Look again.".to_owned()), None).unwrap();
        assert_eq!(edited.message.text, told.replacen("Look.", "Look again.", 1));
        // The comments alone say enough.
        assert!(queue.edit(id, Some(String::new()), None).is_ok());

        let plain = push(&mut queue, 0, Delivery::Queue).unwrap();
        let edited = queue.edit(plain, Some(told.to_owned()), None).unwrap();
        assert_eq!(edited.message.text, told);
    }

    #[test]
    fn where_a_message_goes_is_settled_when_it_is_accepted() {
        let mut queue = Queue::default();
        let settle = |queue: &Queue, active| queue.settle(&Destination::Active, active).unwrap();
        assert_eq!(settle(&queue, Some("a")), conversation("a"));
        assert_eq!(settle(&queue, None), Destination::New);
        let first = queue.push(to(Destination::New, Delivery::Steer)).unwrap().message.id;
        let follows = Destination::StartedBy { message_id: first };
        assert_eq!(
            (queue.starter(), settle(&queue, Some("a"))),
            (Some(first), follows.clone())
        );
        let second = queue.push(to(follows, Delivery::Steer)).unwrap().message.id;
        // The follower waits for its starter and for nobody else.
        queue.sending(first);
        assert_eq!(queue.next(&ready(&[])), None);
        queue.started(first, "n");
        assert_eq!(queue.take_moved().len(), 2);
        queue.delivered(first);
        assert_eq!((queue.next(&ready(&["n"])), queue.starter()), (Some(second), None));
        let unknown = Destination::StartedBy { message_id: first };
        assert_eq!(queue.settle(&unknown, None), Err(Denied::NotFound));
        // A person who chose another conversation meanwhile stays there.
        queue.push(to(Destination::New, Delivery::Steer)).unwrap();
        queue.activated();
        assert_eq!(settle(&queue, Some("a")), conversation("a"));
    }

    #[test]
    fn a_starter_that_is_refused_or_removed_hands_over() {
        for refused in [true, false] {
            let mut queue = Queue::default();
            let first = queue.push(to(Destination::New, Delivery::Steer)).unwrap().message.id;
            let follows = Destination::StartedBy { message_id: first };
            let second = queue.push(to(follows.clone(), Delivery::Steer)).unwrap().message.id;
            let third = queue.push(to(follows, Delivery::Steer)).unwrap().message.id;
            if refused {
                queue.sending(first);
                queue.rejected(first, "no".to_owned());
            } else {
                queue.remove(first).unwrap();
            }
            assert_eq!((queue.starter(), queue.next(&ready(&[]))), (Some(second), Some(second)));
            let behind = Destination::StartedBy { message_id: second };
            assert_eq!(queue.message(third).unwrap().destination, behind);
            let moved: Vec<MessageId> = queue.take_moved().iter().map(|entry| entry.message.id).collect();
            assert_eq!(moved, [second, third]);
        }
        // With nobody behind it, it still starts the conversation, unless somebody else comes first.
        let mut queue = Queue::default();
        let first = queue.push(to(Destination::New, Delivery::Steer)).unwrap().message.id;
        queue.sending(first);
        queue.rejected(first, "no".to_owned());
        let destination = queue.settle(&Destination::Active, None).unwrap();
        let second = queue.push(to(destination, Delivery::Steer)).unwrap().message;
        assert_eq!(
            (second.destination.clone(), queue.starter()),
            (Destination::New, Some(second.id))
        );
        queue.edit(first, Some("better".to_owned()), None).unwrap();
        assert_eq!(queue.next(&ready(&[])), Some(second.id));
    }

    #[test]
    fn messages_to_a_lost_conversation_start_one_together() {
        let mut queue = Queue::default();
        let first = push(&mut queue, 0, Delivery::Steer).unwrap();
        let second = push(&mut queue, 0, Delivery::Queue).unwrap();
        let other = push(&mut queue, 1, Delivery::Queue).unwrap();
        queue.lost("a", true);
        let places: Vec<Destination> = queue
            .messages()
            .into_iter()
            .map(|message| message.destination)
            .collect();
        assert_eq!(
            places,
            [
                Destination::New,
                Destination::StartedBy { message_id: first },
                conversation("b")
            ]
        );
        assert_eq!(queue.starter(), Some(first));
        queue.started(first, "n");
        queue.delivered(first);
        assert_eq!(queue.next(&ready(&["b"])), Some(second));
        assert_eq!(queue.next(&ready(&["n"])), Some(other));
    }

    #[test]
    fn messages_from_before_there_were_destinations_are_settled() {
        let old = |position| Entry {
            position,
            message: message("x", Delivery::Queue),
        };
        let known = Queue::restore(vec![old(1)], Some("a"), None);
        assert_eq!(known.messages()[0].destination, conversation("a"));
        let entries = vec![old(1), old(2)];
        let first = entries[0].message.id;
        let unknown = Queue::restore(entries, None, None);
        assert_eq!(unknown.starter(), Some(first));
        assert_eq!(
            unknown.messages()[1].destination,
            Destination::StartedBy { message_id: first }
        );
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
