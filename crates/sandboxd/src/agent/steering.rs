//! Steered messages that the model has not taken yet.
//!
//! A runtime accepts a message into a running turn before the model reads it, and forgets it when
//! the turn ends first. Such a message was accepted, so it is the daemon's to send again; it is
//! kept on disk until its item shows that the model has it.

use std::path::{Path, PathBuf};

use mistle_protocol::agent::{ConversationId, TurnId};
use mistle_protocol::control::Deliver;
use mistle_protocol::id::MessageId;
use serde::{Deserialize, Serialize};

/// One message on its way into a turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steered {
    pub(crate) deliver: Deliver,
    pub(crate) conversation_id: ConversationId,
    pub(crate) turn_id: TurnId,
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

    /// Keeps a message before it is sent.
    pub(crate) async fn add(&mut self, deliver: Deliver, conversation_id: ConversationId, turn_id: TurnId) {
        self.waiting.push(Steered {
            deliver,
            conversation_id,
            turn_id,
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

    /// Messages whose turn is over.
    pub(crate) fn forgotten(&self, running: &[(ConversationId, TurnId)]) -> Vec<Steered> {
        let over = |steered: &&Steered| {
            !running
                .iter()
                .any(|(conversation, turn)| *conversation == steered.conversation_id && *turn == steered.turn_id)
        };
        self.waiting.iter().filter(over).cloned().collect()
    }

    async fn write(&self) {
        let text = serde_json::to_vec(&self.waiting).unwrap_or_default();
        if let Err(error) = super::files::replace(&self.file, &text).await {
            tracing::warn!(%error, "steered messages can't be kept; they are in memory only");
        }
    }
}
