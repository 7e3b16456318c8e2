//! Outgoing connections of sandboxes.

use mistle_protocol::egress::EgressRecord;
use mistle_protocol::id::{EgressId, SessionId};
use sqlx::Row;

use crate::{Result, Store, from_json, micros, to_json};

/// The most records that a session keeps; the oldest go first. A program in a sandbox can make
/// thousands a second.
pub const MAX_RECORDS: u32 = 10_000;

impl Store {
    /// Adds records, or replaces those that are there, all of them or none. Those of sessions that are
    /// gone are left out.
    pub async fn add_egress(&self, records: impl IntoIterator<Item = &EgressRecord>) -> Result<()> {
        let mut transaction = self.begin().await?;
        for record in records {
            sqlx::query(
                "INSERT INTO egress_records (id, session_id, at, document)
                 SELECT $1, id, $3, $4 FROM sessions WHERE id = $2 ON CONFLICT (id) DO UPDATE SET document = excluded.document",
            )
            .bind(record.id.to_string())
            .bind(record.session_id.to_string())
            .bind(micros(record.at))
            .bind(to_json(record, "egress_records")?)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Drops a session's records over [`MAX_RECORDS`], oldest first.
    pub async fn trim_egress(&self, session: SessionId) -> Result<u64> {
        let gone = sqlx::query(
            "DELETE FROM egress_records WHERE session_id = $1 AND id <= (
                 SELECT id FROM egress_records WHERE session_id = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
        )
        .bind(session.to_string())
        .bind(i64::from(MAX_RECORDS))
        .execute(&self.writer)
        .await?;
        Ok(gone.rows_affected())
    }

    /// A session's records, newest first, before `before` if given.
    pub async fn egress(&self, session: SessionId, before: Option<EgressId>, limit: u32) -> Result<Vec<EgressRecord>> {
        // "egs" sorts behind every id of this kind.
        let before = before.map_or_else(|| "egs".to_owned(), |id| id.to_string());
        let rows = sqlx::query(
            "SELECT document FROM egress_records WHERE session_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(session.to_string())
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| from_json(&row.try_get::<String, _>("document")?, "egress_records"))
            .collect()
    }
}
