//! A session's conversations: which there are, which one is active, their titles.

use mistle_model::authorization::Action;
use mistle_model::{OpContext, conversations};
use mistle_protocol::agent::{AgentEvent, Conversation, ConversationId};
use mistle_protocol::api::ConversationPatch;
use mistle_protocol::control::Interrupt;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{ConversationSummary, Destination, EventBody, MAX_CONVERSATIONS, Session, SessionEvent};
use mistle_store::Store;

use super::driver::Command;
use super::{Result, SessionError, Sessions, create, internal};

/// The most starts of conversations that are looked up in a record.
const MAX_STARTED: u32 = 500;

pub(super) fn not_found() -> SessionError {
    SessionError::NotFound { what: "conversation" }
}

impl Sessions {
    /// The session's conversations, oldest first, archived ones included.
    pub async fn conversations(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<ConversationSummary>> {
        let mut session = self.row(ctx, id, Action::ReadSession).await?.session;
        adopt(&self.shared.needs.store, &mut session).await?;
        Ok(session.conversations)
    }

    /// Changes a conversation's title, puts it aside or brings it back.
    pub async fn patch_conversation(
        &self,
        ctx: &OpContext,
        id: SessionId,
        conversation: ConversationId,
        patch: ConversationPatch,
    ) -> Result<ConversationSummary> {
        let row = self.row(ctx, id, Action::UseSession).await?;
        let patch = ConversationPatch {
            title: patch.title.as_deref().map(create::title).transpose()?,
            ..patch
        };
        self.command(row, |reply| Command::ChangeConversation {
            id: conversation,
            patch,
            reply,
        })
        .await
    }

    /// Interrupts the turn that runs in a conversation, the active one unless named. Nothing running
    /// is fine.
    pub async fn interrupt(&self, ctx: &OpContext, id: SessionId, conversation: Option<ConversationId>) -> Result<()> {
        let (row, control) = self.control(ctx, id).await?;
        let conversation_id = match conversation {
            Some(wanted) => Some(self.known_conversation(id, wanted).await?),
            None => row.session.conversation_id,
        };
        Ok(control.interrupt(&Interrupt { conversation_id }).await?)
    }

    /// The conversation, when it is one of the session's.
    pub(super) async fn known_conversation(&self, id: SessionId, wanted: ConversationId) -> Result<ConversationId> {
        let known = started(&self.shared.needs.store, id).await?;
        if known.iter().any(|conversation| conversation.id == wanted) {
            Ok(wanted)
        } else {
            Err(not_found())
        }
    }
}

/// Takes over the conversation of a session that was stored before it could have several.
pub(super) async fn adopt(store: &Store, session: &mut Session) -> Result<()> {
    if session.conversations.is_empty() && session.conversation_id.is_some() {
        conversations::adopt(session, &started(store, session.id).await?);
    }
    Ok(())
}

/// Where a message may go as far as the session decides it.
pub(super) fn check_destination(session: &Session, wanted: &Destination) -> Result<Destination> {
    let wanted = match wanted {
        // What the runtime lost can't be continued: the message starts another one.
        Destination::Conversation { id } => match conversations::find(session, id) {
            None => {
                return Err(SessionError::Invalid {
                    kind: "conversation-not-found",
                    pointer: "/destination",
                    message: "The session has no such conversation.".to_owned(),
                });
            }
            Some(found) if found.lost => Destination::New,
            Some(_) => wanted.clone(),
        },
        _ => wanted.clone(),
    };
    if wanted == Destination::New && session.conversations.len() >= MAX_CONVERSATIONS {
        return Err(SessionError::Conflict {
            kind: "too-many-conversations",
            message: format!("A session has at most {MAX_CONVERSATIONS} conversations. Start a new session."),
        });
    }
    Ok(wanted)
}

async fn started(store: &Store, id: SessionId) -> Result<Vec<Conversation>> {
    let events = store
        .events_of_type(id, "conversation.started", MAX_STARTED)
        .await
        .map_err(internal)?;
    let conversation = |event: SessionEvent| match event.event {
        EventBody::Agent(AgentEvent::ConversationStarted { conversation, .. }) => Some(conversation),
        _ => None,
    };
    Ok(events.into_iter().filter_map(conversation).collect())
}
