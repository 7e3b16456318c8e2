//! Joins a token stream into few rows.
//!
//! A model says a word at a time; a journal row, a database row and a browser message for each
//! would be waste. Pieces of one item within [`WINDOW`] become one. Pure: time is given.

use std::collections::BTreeMap;
use std::time::Duration;

use mistle_protocol::agent::{AgentEvent, ConversationId, ItemId};
use tokio::time::Instant;

/// How long pieces are collected: below what an eye sees as a pause.
pub(crate) const WINDOW: Duration = Duration::from_millis(40);
/// A piece of this size is passed on at once, in bytes.
const MAX_BYTES: usize = 32 * 1024;

/// Pieces that wait.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    /// By conversation and item: a name is unique in its conversation only.
    waiting: BTreeMap<Key, Piece>,
}

type Key = (ConversationId, ItemId);

#[derive(Debug)]
struct Piece {
    text: String,
    due: Instant,
}

impl Coalescer {
    /// Adds a piece; answers what is large enough to go now.
    pub(crate) fn push(&mut self, conversation_id: &str, item_id: &str, text: &str, at: Instant) -> Option<AgentEvent> {
        let piece = self
            .waiting
            .entry(key(conversation_id, item_id))
            .or_insert_with(|| Piece {
                text: String::new(),
                due: at + WINDOW,
            });
        piece.text.push_str(text);
        if piece.text.len() < MAX_BYTES {
            return None;
        }
        self.take(conversation_id, item_id)
    }

    /// When the next piece has waited long enough.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting.values().map(|piece| piece.due).min()
    }

    /// What has waited long enough.
    pub(crate) fn take_due(&mut self, at: Instant) -> Vec<AgentEvent> {
        let due: Vec<Key> = self
            .waiting
            .iter()
            .filter(|(_, piece)| piece.due <= at)
            .map(|(id, _)| id.clone())
            .collect();
        due.iter()
            .filter_map(|(conversation, item)| self.take(conversation, item))
            .collect()
    }

    /// What waits for one item.
    pub(crate) fn take(&mut self, conversation_id: &str, item_id: &str) -> Option<AgentEvent> {
        let ((conversation_id, item_id), piece) = self.waiting.remove_entry(&key(conversation_id, item_id))?;
        Some(AgentEvent::ItemDelta {
            conversation_id,
            item_id,
            text: piece.text,
        })
    }

    /// Forgets what waits for one item: its completion says it all.
    pub(crate) fn forget(&mut self, conversation_id: &str, item_id: &str) {
        self.waiting.remove(&key(conversation_id, item_id));
    }

    /// Everything that waits.
    pub(crate) fn take_all(&mut self) -> Vec<AgentEvent> {
        let all: Vec<Key> = self.waiting.keys().cloned().collect();
        all.iter()
            .filter_map(|(conversation, item)| self.take(conversation, item))
            .collect()
    }
}

fn key(conversation_id: &str, item_id: &str) -> Key {
    (conversation_id.to_owned(), item_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(item: &str, text: &str) -> AgentEvent {
        AgentEvent::ItemDelta {
            conversation_id: "c".into(),
            item_id: item.into(),
            text: text.into(),
        }
    }

    #[test]
    fn pieces_of_one_window_become_one() {
        let mut coalescer = Coalescer::default();
        let start = Instant::now();
        assert_eq!(coalescer.push("c", "a", "one ", start), None);
        assert_eq!(coalescer.push("c", "b", "other", start + WINDOW / 2), None);
        assert_eq!(coalescer.push("c", "a", "two", start + WINDOW / 2), None);
        assert_eq!(coalescer.due(), Some(start + WINDOW));
        assert_eq!(coalescer.take_due(start + WINDOW), vec![delta("a", "one two")]);
        assert_eq!(coalescer.take_all(), vec![delta("b", "other")]);
        assert_eq!(coalescer.due(), None);
    }

    #[test]
    fn items_of_two_conversations_may_have_one_name() {
        let mut coalescer = Coalescer::default();
        let start = Instant::now();
        coalescer.push("c", "a", "one", start);
        coalescer.push("d", "a", "two", start);
        coalescer.forget("c", "a");
        assert_eq!(coalescer.take("c", "a"), None);
        assert!(coalescer.take("d", "a").is_some());
    }

    #[test]
    fn a_large_piece_does_not_wait() {
        let mut coalescer = Coalescer::default();
        let large = "x".repeat(MAX_BYTES);
        assert_eq!(
            coalescer.push("c", "a", &large, Instant::now()),
            Some(delta("a", &large))
        );
    }
}
