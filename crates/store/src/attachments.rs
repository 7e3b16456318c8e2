//! Files that people give to agents: what is known of them. Their bytes are elsewhere.
//!
//! ```text
//! uploaded ──► free ◄─────────────────► carried by a message ──► gone with its session
//!                │     message removed
//!                └─ deleted, or free for too long
//! ```
//!
//! A message takes its files in the transaction that stores it, and each file has one message at
//! most that carries it. One that was delivered carries its files until the session goes, so later
//! messages of that session may name them again. A row is deleted before its bytes are, and only in
//! a state in which nobody can take it any more; bytes without a row are found and deleted later.

use jiff::Timestamp;
use mistle_protocol::id::{AttachmentId, MessageId, OrganizationId, SessionId, UserId};
use mistle_protocol::session::Attachment;
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::{Result, Store, StoreError, bigint, count, micros, parse_id, timestamp};

const COLUMNS: &str = "SELECT id, organization_id, created_by, name, media_type, size, created_at, session_id, message_id FROM attachments";

/// A file as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentRow {
    /// What the API shows.
    pub attachment: Attachment,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Who uploaded it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The session and the message that carry it.
    pub carrier: Option<(SessionId, MessageId)>,
}

/// What a person has uploaded and not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Adds a file that no message carries yet.
    pub async fn add_attachment(&self, row: &AttachmentRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO attachments (id, organization_id, created_by, name, media_type, size, created_at, free_since)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        )
        .bind(row.attachment.id.to_string())
        .bind(row.organization_id.to_string())
        .bind(row.created_by.to_string())
        .bind(row.attachment.name.clone())
        .bind(row.attachment.media_type.clone())
        .bind(bigint(row.attachment.size))
        .bind(micros(row.created_at))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// A file.
    pub async fn attachment(&self, id: AttachmentId) -> Result<Option<AttachmentRow>> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(attachment_row).transpose()
    }

    /// What a person has uploaded and not sent.
    pub async fn unsent_attachments(&self, organization: OrganizationId, user: UserId) -> Result<Unsent> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS files, CAST(COALESCE(SUM(size), 0) AS bigint) AS bytes FROM attachments
             WHERE created_by = $1 AND organization_id = $2 AND message_id IS NULL",
        )
        .bind(user.to_string())
        .bind(organization.to_string())
        .fetch_one(&self.reader)
        .await?;
        Ok(Unsent {
            files: count(row.try_get("files")?),
            bytes: count(row.try_get("bytes")?),
        })
    }

    /// Forgets a file that no message carries; whether there was one.
    pub async fn delete_free_attachment(&self, id: AttachmentId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM attachments WHERE id = $1 AND message_id IS NULL")
            .bind(id.to_string())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Files that nobody needs: free since before a time, or of a session that is gone. The oldest
    /// first.
    pub async fn needless_attachments(&self, free_before: Timestamp, limit: u32) -> Result<Vec<AttachmentId>> {
        let rows = sqlx::query(
            "SELECT id FROM attachments WHERE (message_id IS NULL AND free_since < $1)
             OR (session_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = attachments.session_id))
             ORDER BY id LIMIT $2",
        )
        .bind(micros(free_before))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| parse_id(&row.try_get::<String, _>("id")?, "attachments"))
            .collect()
    }

    /// Forgets a file if nobody needs it still; whether it was forgotten.
    pub async fn delete_needless_attachment(&self, id: AttachmentId, free_before: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM attachments WHERE id = $1 AND ((message_id IS NULL AND free_since < $2)
             OR (session_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.id = attachments.session_id)))",
        )
        .bind(id.to_string())
        .bind(micros(free_before))
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

/// Gives files to a message. [`StoreError::AttachmentTaken`] when one is gone or another message's
/// that was not delivered in the same session: only that one keeps its files.
pub(crate) async fn take(
    transaction: &mut Transaction<'static, Any>,
    session: SessionId,
    message: MessageId,
    attachments: &[Attachment],
) -> Result<()> {
    for attachment in attachments {
        let done = sqlx::query(
            "UPDATE attachments SET session_id = $2, message_id = COALESCE(message_id, $3)
             WHERE id = $1 AND (message_id IS NULL OR message_id = $3 OR message_id IN
                (SELECT messages.id FROM messages WHERE messages.session_id = $2 AND messages.state = 'delivered'))",
        )
        .bind(attachment.id.to_string())
        .bind(session.to_string())
        .bind(message.to_string())
        .execute(&mut **transaction)
        .await?;
        if done.rows_affected() != 1 {
            return Err(StoreError::AttachmentTaken);
        }
    }
    Ok(())
}

/// Frees the files of a message that does not leave.
pub(crate) async fn free(
    transaction: &mut Transaction<'static, Any>,
    message: MessageId,
    now: Timestamp,
) -> Result<()> {
    sqlx::query("UPDATE attachments SET session_id = NULL, message_id = NULL, free_since = $2 WHERE message_id = $1")
        .bind(message.to_string())
        .bind(micros(now))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn attachment_row(row: &AnyRow) -> Result<AttachmentRow> {
    const TABLE: &str = "attachments";
    let text = |column: &str| row.try_get::<String, _>(column);
    let session: Option<String> = row.try_get("session_id")?;
    let message: Option<String> = row.try_get("message_id")?;
    let carrier = match (session, message) {
        (Some(session), Some(message)) => Some((parse_id(&session, TABLE)?, parse_id(&message, TABLE)?)),
        _ => None,
    };
    Ok(AttachmentRow {
        attachment: Attachment {
            id: parse_id(&text("id")?, TABLE)?,
            name: text("name")?,
            media_type: text("media_type")?,
            size: count(row.try_get("size")?),
        },
        organization_id: parse_id(&text("organization_id")?, TABLE)?,
        created_by: parse_id(&text("created_by")?, TABLE)?,
        created_at: timestamp(row.try_get("created_at")?),
        carrier,
    })
}
