//! The queue of a session. Written together with the session, see [`Change`](crate::sessions::Change).
//!
//! A message's row stays when it leaves the queue, so that a repeated request can still be answered
//! with it.

use jiff::Timestamp;
use mistle_model::queue::Entry;
use mistle_protocol::id::{MessageId, SessionId};
use mistle_protocol::session::QueuedMessage;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::{Result, Store, attachments, bigint, comments, count, from_json, to_json};

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// In the queue, on its way included.
    Queued,
    /// The runtime has it.
    Delivered,
    /// A person took it out.
    Removed,
}

impl MessageState {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Removed => "removed",
        }
    }
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// The message in its place.
    pub entry: Entry,
    /// Where it is.
    pub state: MessageState,
}

impl Store {
    /// The queue of a session, oldest first.
    pub async fn queue(&self, session: SessionId) -> Result<Vec<Entry>> {
        let rows = sqlx::query(
            "SELECT position, document FROM messages WHERE session_id = $1 AND state = 'queued' ORDER BY position",
        )
        .bind(session.to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(entry).collect()
    }

    /// A message of a session, wherever it is.
    pub async fn message(&self, session: SessionId, id: MessageId) -> Result<Option<QueuedMessage>> {
        let row = sqlx::query("SELECT position, document FROM messages WHERE session_id = $1 AND id = $2")
            .bind(session.to_string())
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await?;
        Ok(row.as_ref().map(entry).transpose()?.map(|entry| entry.message))
    }
}

pub(crate) async fn write(
    transaction: &mut Transaction<'static, Any>,
    session: SessionId,
    row: &MessageRow,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO messages (id, session_id, position, state, document) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET position = excluded.position, state = excluded.state, document = excluded.document",
    )
    .bind(row.entry.message.id.to_string())
    .bind(session.to_string())
    .bind(bigint(row.entry.position))
    .bind(row.state.name())
    .bind(to_json(&row.entry.message, "messages")?)
    .execute(&mut **transaction)
    .await?;
    let message = &row.entry.message;
    if row.state == MessageState::Removed {
        comments::keep(transaction, session, message.id).await?;
        attachments::free(transaction, message.id, Timestamp::now()).await
    } else {
        comments::send(transaction, session, message.id, &message.comments).await?;
        attachments::take(transaction, session, message.id, &message.attachments).await
    }
}

fn entry(row: &AnyRow) -> Result<Entry> {
    let document: String = row.try_get("document")?;
    Ok(Entry {
        position: count(row.try_get("position")?),
        message: from_json(&document, "messages")?,
    })
}
