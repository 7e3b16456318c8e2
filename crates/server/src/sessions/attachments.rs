//! Files that go with a session's messages: whose they are, their way into the sandbox, and their
//! place in the record.
//!
//! A file is placed before its message is delivered. Placing it again changes nothing, so after a
//! crash anywhere in between everything is done once more and nothing is doubled.

use std::time::Duration;

use mistle_model::OpContext;
use mistle_model::authorization::Action;
use mistle_protocol::agent::{AgentEvent, ItemBody, JournalEntry};
use mistle_protocol::api::MAX_MESSAGE_ATTACHMENTS;
use mistle_protocol::control::{Deliver, Delivered, Placed, PlacedAttachment};
use mistle_protocol::id::{AttachmentId, SessionId};
use mistle_protocol::session::{Attachment, QueuedMessage};
use mistle_store::attachments::AttachmentRow;
use mistle_store::idempotency::Key;

use super::control::{Control, ControlError};
use super::{Result, SessionError, Sessions, Shared, internal, trouble};
use crate::attachments::Attachments;

/// The slowest that a sandbox's disk may be, in bytes a second, beside what any answer may take.
const SLOWEST: u64 = 1024 * 1024;
/// The longest path that is believed, in bytes.
const MAX_PATH: usize = 4096;

impl Sessions {
    /// A file that the actor may see: their own as long as no message carries it, and then whoever
    /// may read the session.
    pub async fn attachment(&self, ctx: &OpContext, id: AttachmentId) -> Result<AttachmentRow> {
        let missing = || SessionError::NotFound { what: "attachment" };
        let row = self.shared.needs.store.attachment(id).await.map_err(internal)?;
        let row = row.ok_or_else(missing)?;
        match row.carrier {
            None if is_own(ctx, &row) => {}
            None => return Err(missing()),
            Some((session, _)) => match self.row(ctx, session, Action::ReadSession).await {
                Err(SessionError::NotFound { .. }) => return Err(missing()),
                seen => drop(seen?),
            },
        }
        Ok(row)
    }

    /// Puts files into a message of a session that the actor may use. They are taken in the
    /// transaction that stores it.
    pub(super) async fn with_attachments(
        &self,
        ctx: &OpContext,
        session: SessionId,
        message: &mut QueuedMessage,
        ids: &[AttachmentId],
        key: Option<&Key>,
    ) -> Result<()> {
        let repeated = !ids.is_empty() && self.is_repeated(key).await?;
        message.attachments = found(&self.shared, ctx, Some(session), ids, repeated).await?;
        Ok(())
    }
}

/// The files of a message, each once: free ones of the actor, and those that an earlier message of
/// its session took along. A `repeated` request is answered as it was, whatever became of its files.
pub(super) async fn found(
    shared: &Shared,
    ctx: &OpContext,
    session: Option<SessionId>,
    ids: &[AttachmentId],
    repeated: bool,
) -> Result<Vec<Attachment>> {
    if ids.len() > MAX_MESSAGE_ATTACHMENTS {
        let message = format!("A message takes at most {MAX_MESSAGE_ATTACHMENTS} files. Put more into an archive.");
        return Err(invalid("too-many-attachments", message));
    }
    let mut attachments: Vec<Attachment> = Vec::with_capacity(ids.len());
    for id in ids {
        if attachments.iter().any(|other| other.id == *id) {
            continue;
        }
        let row = shared.needs.store.attachment(*id).await.map_err(internal)?;
        let usable = row.filter(|row| match row.carrier {
            // Whether that message was delivered is decided where this one is stored.
            Some((carrier, _)) if Some(carrier) == session => true,
            Some(_) => repeated && is_own(ctx, row),
            None => is_own(ctx, row),
        });
        let Some(row) = usable else {
            let message = format!(
                "There is no file {id} to send: it goes with another message, or was deleted after a day. Upload it again."
            );
            return Err(invalid("attachment-not-found", message));
        };
        attachments.push(row.attachment);
    }
    Ok(attachments)
}

fn is_own(ctx: &OpContext, row: &AttachmentRow) -> bool {
    (row.organization_id, row.created_by) == (ctx.organization_id, ctx.user_id)
}

fn invalid(kind: &'static str, message: String) -> SessionError {
    SessionError::Invalid {
        kind,
        pointer: "/attachments",
        message,
    }
}

/// A file that another message took between the look and the write.
pub(super) fn taken() -> SessionError {
    invalid(
        "attachment-not-found",
        "A file of the message was sent already, or deleted. Upload it again.".to_owned(),
    )
}

/// Puts a message's files into the sandbox, then gives it to the daemon.
pub(super) async fn deliver(
    attachments: &Attachments,
    control: &Control,
    mut message: Deliver,
    files: Vec<Attachment>,
) -> std::result::Result<Delivered, ControlError> {
    for attachment in files {
        match place(attachments, control, &attachment).await {
            Ok(path) => message.attachments.push(PlacedAttachment { attachment, path }),
            Err(ControlError::Problem { status, detail }) => {
                tracing::warn!(id = %attachment.id, %status, detail, "a file could not be placed");
                let message = format!("{} could not be put into the sandbox: {detail}", attachment.name);
                return Ok(Delivered::Rejected { message });
            }
            Err(error) => return Err(error),
        }
    }
    control.deliver(&message).await
}

/// Where a file is in the sandbox, after it was put there unless it was.
async fn place(
    attachments: &Attachments,
    control: &Control,
    attachment: &Attachment,
) -> std::result::Result<String, ControlError> {
    let placed = match control.placed(attachment).await {
        Err(ControlError::Problem { status, .. }) if status == http::StatusCode::NOT_FOUND => {
            let within = super::control::ANSWER_WITHIN + Duration::from_secs(attachment.size / SLOWEST);
            control.place(attachment, attachments.read(attachment), within).await?
        }
        known => known?,
    };
    let Placed { path } = placed;
    if path.starts_with('/') && path.len() <= MAX_PATH && !path.contains(char::is_control) {
        Ok(path)
    } else {
        Err(ControlError::Unreadable("a path".into()))
    }
}

/// Tells what a person said as the server knows it: their own words, and the files beside them.
/// The runtime was told of the files in its own way.
pub(super) async fn tell(shared: &Shared, session: SessionId, queue: &[QueuedMessage], entries: &mut [JournalEntry]) {
    for entry in entries {
        let (AgentEvent::ItemStarted { item } | AgentEvent::ItemCompleted { item }) = &mut entry.event else {
            continue;
        };
        let ItemBody::UserMessage {
            text,
            message_id,
            attachments,
        } = &mut item.body
        else {
            continue;
        };
        // A sandbox names no files.
        attachments.clear();
        let Some(id) = *message_id else { continue };
        let queued = queue.iter().find(|message| message.id == id).cloned();
        let message = match queued {
            Some(message) => Some(message),
            None => shared.needs.store.message(session, id).await.unwrap_or_else(|error| {
                tracing::warn!(%session, %id, error = %trouble::chain(&error), "a message's files are not known");
                None
            }),
        };
        if let Some(message) = message.filter(|message| !message.attachments.is_empty()) {
            *text = message.text;
            *attachments = message.attachments;
        }
    }
}
