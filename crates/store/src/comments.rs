//! Comments on the changes of a session, and what people have viewed of them.
//!
//! A comment is marked as sent in the transaction that stores the message it leaves with, and is a
//! draft again when that message is taken out of the queue, see [`messages`](crate::messages).

use jiff::Timestamp;
use mistle_protocol::changes::{Comment, CommentState, MAX_COMMENTS, MAX_VIEWED, RepoPath, Viewed};
use mistle_protocol::id::{CommentId, MessageId, SessionId, UserId};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use crate::{Result, Store, from_json, micros, parse_id, to_json};

/// Whether a comment could be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Added {
    /// It was.
    Written,
    /// The session has [`MAX_COMMENTS`] already.
    Full,
}

impl Store {
    /// The comments of a session, oldest first.
    pub async fn comments(&self, session: SessionId) -> Result<Vec<Comment>> {
        let rows = sqlx::query("SELECT state, message_id, document FROM comments WHERE session_id = $1 ORDER BY id")
            .bind(session.to_string())
            .fetch_all(&self.reader)
            .await?;
        rows.iter().map(comment).collect()
    }

    /// A comment of a session.
    pub async fn comment(&self, session: SessionId, id: CommentId) -> Result<Option<Comment>> {
        let row = sqlx::query("SELECT state, message_id, document FROM comments WHERE session_id = $1 AND id = $2")
            .bind(session.to_string())
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(comment).transpose()
    }

    /// Adds a draft.
    pub async fn add_comment(&self, comment: &Comment) -> Result<Added> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query("SELECT COUNT(*) AS many FROM comments WHERE session_id = $1")
            .bind(comment.session_id.to_string())
            .fetch_one(&mut *transaction)
            .await?;
        if row.try_get::<i64, _>("many")? >= i64::from(MAX_COMMENTS) {
            return Ok(Added::Full);
        }
        sqlx::query(
            "INSERT INTO comments (id, session_id, state, message_id, document) VALUES ($1, $2, 'draft', NULL, $3)",
        )
        .bind(comment.id.to_string())
        .bind(comment.session_id.to_string())
        .bind(to_json(comment, "comments")?)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Added::Written)
    }

    /// Changes a draft; whether there was one.
    pub async fn change_comment(&self, comment: &Comment) -> Result<bool> {
        let done =
            sqlx::query("UPDATE comments SET document = $3 WHERE session_id = $1 AND id = $2 AND state = 'draft'")
                .bind(comment.session_id.to_string())
                .bind(comment.id.to_string())
                .bind(to_json(comment, "comments")?)
                .execute(&self.writer)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes a comment; whether there was one.
    pub async fn delete_comment(&self, session: SessionId, id: CommentId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM comments WHERE session_id = $1 AND id = $2")
            .bind(session.to_string())
            .bind(id.to_string())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// What a user has viewed in a session.
    pub async fn viewed(&self, session: SessionId, user: UserId) -> Result<Vec<Viewed>> {
        let rows = sqlx::query(
            "SELECT path, fingerprint FROM viewed_files WHERE session_id = $1 AND user_id = $2 ORDER BY path",
        )
        .bind(session.to_string())
        .bind(user.to_string())
        .fetch_all(&self.reader)
        .await?;
        let viewed = |row: &AnyRow| {
            Ok(Viewed {
                path: from_json(&row.try_get::<String, _>("path")?, "viewed_files")?,
                fingerprint: row.try_get("fingerprint")?,
            })
        };
        rows.iter().map(viewed).collect()
    }

    /// Sets or takes away a mark. Beyond [`MAX_VIEWED`] the oldest marks are forgotten.
    pub async fn mark_viewed(
        &self,
        session: SessionId,
        user: UserId,
        path: &RepoPath,
        fingerprint: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let path = to_json(path, "viewed_files")?;
        let Some(fingerprint) = fingerprint else {
            sqlx::query("DELETE FROM viewed_files WHERE session_id = $1 AND user_id = $2 AND path = $3")
                .bind(session.to_string())
                .bind(user.to_string())
                .bind(path)
                .execute(&self.writer)
                .await?;
            return Ok(());
        };
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO viewed_files (session_id, user_id, path, fingerprint, viewed_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (session_id, user_id, path) DO UPDATE SET fingerprint = excluded.fingerprint, viewed_at = excluded.viewed_at",
        )
        .bind(session.to_string())
        .bind(user.to_string())
        .bind(path)
        .bind(fingerprint.to_owned())
        .bind(micros(now))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM viewed_files WHERE session_id = $1 AND user_id = $2 AND viewed_at <
             (SELECT viewed_at FROM viewed_files WHERE session_id = $1 AND user_id = $2
              ORDER BY viewed_at DESC LIMIT 1 OFFSET $3)",
        )
        .bind(session.to_string())
        .bind(user.to_string())
        .bind(i64::from(MAX_VIEWED))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}

/// Marks the comments that leave with a message.
pub(crate) async fn send(
    transaction: &mut Transaction<'static, Any>,
    session: SessionId,
    message: MessageId,
    comments: &[CommentId],
) -> Result<()> {
    for id in comments {
        sqlx::query(
            "UPDATE comments SET state = 'sent', message_id = $3 WHERE session_id = $1 AND id = $2 AND state = 'draft'",
        )
        .bind(session.to_string())
        .bind(id.to_string())
        .bind(message.to_string())
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Makes the comments of a message that does not leave drafts again.
pub(crate) async fn keep(
    transaction: &mut Transaction<'static, Any>,
    session: SessionId,
    message: MessageId,
) -> Result<()> {
    sqlx::query("UPDATE comments SET state = 'draft', message_id = NULL WHERE session_id = $1 AND message_id = $2")
        .bind(session.to_string())
        .bind(message.to_string())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn comment(row: &AnyRow) -> Result<Comment> {
    let mut comment: Comment = from_json(&row.try_get::<String, _>("document")?, "comments")?;
    comment.state = match row.try_get::<String, _>("state")?.as_str() {
        "sent" => CommentState::Sent,
        _ => CommentState::Draft,
    };
    let message: Option<String> = row.try_get("message_id")?;
    comment.message_id = message.map(|id| parse_id(&id, "comments")).transpose()?;
    Ok(comment)
}
