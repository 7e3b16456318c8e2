//! Messages that a runtime accepted and has not shown to have.
//!
//! A runtime accepts a message before it writes it down: one that is steered into a running turn is
//! forgotten when the turn ends before the model reads it, and one that starts a turn when the
//! process dies at that moment. Such a message was accepted, so it is the daemon's to send again; it
//! is kept on disk until its item shows that the runtime has it.

use std::path::{Path, PathBuf};

use mistle_protocol::agent::{ConversationId, TurnId, TurnOutcome};
use mistle_protocol::control::Deliver;
use mistle_protocol::id::MessageId;
use serde::{Deserialize, Serialize};

/// How often a message is sent. A runtime that dies of it each time must not do so for ever.
const MAX_SENDS: u32 = 3;

/// One message on its way into a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steered {
    pub(crate) deliver: Deliver,
    pub(crate) conversation_id: ConversationId,
    pub(crate) turn_id: TurnId,
    /// Whether the turn began with it. Its `TurnStarted` may be still to come.
    #[serde(default)]
    began: bool,
    /// Whether the turn that began with it was cut.
    #[serde(default)]
    cut: bool,
    /// How often it was sent.
    #[serde(default)]
    sends: u32,
}

impl Steered {
    /// Whether it was sent often enough.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.sends >= MAX_SENDS
    }
}

/// Messages on their way.
#[derive(Debug)]
pub(crate) struct Steering {
    file: PathBuf,
    waiting: Vec<Steered>,
}

impl Steering {
    /// Reads what was on its way when the daemon ended.
    pub(crate) fn open(state_dir: &Path) -> Self {
        let file = state_dir.join("steering.json");
        let waiting = std::fs::read(&file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self { file, waiting }
    }

    /// Keeps a message before it is sent into a running turn.
    pub(crate) async fn add(&mut self, deliver: Deliver, conversation_id: ConversationId, turn_id: TurnId) {
        self.keep(deliver, conversation_id, turn_id, false).await;
    }

    /// Keeps a message that began a turn.
    pub(crate) async fn began(&mut self, deliver: Deliver, conversation_id: ConversationId, turn_id: TurnId) {
        self.keep(deliver, conversation_id, turn_id, true).await;
    }

    async fn keep(&mut self, deliver: Deliver, conversation_id: ConversationId, turn_id: TurnId, began: bool) {
        let same = |steered: &Steered| steered.deliver.message_id == deliver.message_id;
        let before = self.waiting.iter().position(same).map(|at| self.waiting.remove(at));
        self.waiting.push(Steered {
            deliver,
            conversation_id,
            turn_id,
            began,
            cut: false,
            sends: before.map_or(0, |before| before.sends) + 1,
        });
        self.write().await;
    }

    /// Forgets a message.
    pub(crate) async fn seen(&mut self, message: MessageId) {
        let before = self.waiting.len();
        self.waiting.retain(|steered| steered.deliver.message_id != message);
        if self.waiting.len() != before {
            self.write().await;
        }
    }

    /// Takes a turn's end into account. One that came to its end had the message that it began with,
    /// whatever became of it.
    pub(crate) async fn ended(&mut self, turn: &TurnId, outcome: &TurnOutcome) {
        let is_its = |steered: &Steered| steered.began && steered.turn_id == *turn;
        if !self.waiting.iter().any(is_its) {
            return;
        }
        if *outcome == TurnOutcome::Interrupted {
            self.waiting
                .iter_mut()
                .filter(|steered| is_its(steered))
                .for_each(|steered| steered.cut = true);
        } else {
            self.waiting.retain(|steered| !is_its(steered));
        }
        self.write().await;
    }

    /// Messages whose turn is over. A `fresh` runtime has told which turns run, so that one it did
    /// not name is over too.
    pub(crate) fn forgotten(&self, running: &[(ConversationId, TurnId)], fresh: bool) -> Vec<Steered> {
        let over = |steered: &&Steered| {
            let runs = running
                .iter()
                .any(|(conversation, turn)| *conversation == steered.conversation_id && *turn == steered.turn_id);
            !runs && (fresh || steered.cut || !steered.began)
        };
        self.waiting.iter().filter(over).cloned().collect()
    }

    /// Most messages are here for a moment only, and each would wait for the disk twice.
    async fn write(&self) {
        let text = serde_json::to_vec(&self.waiting).unwrap_or_default();
        let written = if self.waiting.iter().all(|steered| steered.began) {
            super::files::replace_soon(&self.file, &text).await
        } else {
            super::files::replace(&self.file, &text).await
        };
        if let Err(error) = written {
            tracing::warn!(%error, "messages on their way can't be kept; they are in memory only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVERSATION: &str = "c";

    fn deliver() -> Deliver {
        Deliver {
            message_id: MessageId::new(),
            conversation_id: None,
            text: "hello".to_owned(),
            attachments: Vec::new(),
            cwd: None,
            steer: false,
            model: None,
            effort: None,
        }
    }

    async fn with_first_message() -> (tempfile::TempDir, Steering, Deliver) {
        let dir = tempfile::tempdir().unwrap();
        let mut steering = Steering::open(dir.path());
        let deliver = deliver();
        steering.began(deliver.clone(), CONVERSATION.into(), "t".into()).await;
        (dir, steering, deliver)
    }

    #[tokio::test]
    async fn a_message_whose_turn_was_not_announced_yet_is_not_forgotten() {
        let (_dir, steering, _) = with_first_message().await;
        assert_eq!(steering.forgotten(&[], false), []);
    }

    #[tokio::test]
    async fn a_message_that_was_never_shown_is_sent_again_when_its_turn_was_cut() {
        let (dir, mut steering, deliver) = with_first_message().await;
        steering.ended(&"t".into(), &TurnOutcome::Interrupted).await;
        let forgotten = steering.forgotten(&[], false);
        assert_eq!(
            forgotten.iter().map(|steered| &steered.deliver).collect::<Vec<_>>(),
            [&deliver]
        );
        assert_eq!(Steering::open(dir.path()).forgotten(&[], false), forgotten);
    }

    #[tokio::test]
    async fn a_runtime_that_was_started_again_does_not_know_what_it_was_not_running() {
        let (_dir, mut steering, deliver) = with_first_message().await;
        let running = [(CONVERSATION.to_owned(), "t".to_owned())];
        assert_eq!(steering.forgotten(&running, true), []);
        assert_eq!(steering.forgotten(&[], true).len(), 1);
        steering.seen(deliver.message_id).await;
        assert_eq!(steering.forgotten(&[], true), []);
    }

    #[tokio::test]
    async fn a_turn_that_came_to_its_end_had_its_message() {
        let (_dir, mut steering, _) = with_first_message().await;
        steering.ended(&"t".into(), &TurnOutcome::Completed).await;
        assert_eq!(steering.forgotten(&[], true), []);
    }

    #[tokio::test]
    async fn a_message_that_kills_the_runtime_is_given_up() {
        let (_dir, mut steering, deliver) = with_first_message().await;
        for turn in 1..MAX_SENDS {
            assert!(!steering.forgotten(&[], true)[0].is_hopeless());
            steering
                .began(deliver.clone(), CONVERSATION.into(), format!("t{turn}"))
                .await;
        }
        assert!(steering.forgotten(&[], true)[0].is_hopeless());
    }
}
