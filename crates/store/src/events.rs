//! The record of a session. Written together with the session, see [`Change`](crate::sessions::Change).
//!
//! The deltas of an item are dropped in the transaction that stores the completed item, which says
//! everything they said.

use std::collections::HashSet;
use std::fmt::Write as _;

use futures::TryStreamExt;
use mistle_protocol::agent::AgentEvent;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{EventBody, SessionEvent};
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use crate::{Result, Store, bigint, count, from_json, micros, timestamp, to_json};

/// Where a page of events ends even when it is not full, in bytes of JSON. One event may be larger.
pub const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Events in one statement. PostgreSQL is a round trip away, and each number of rows is a prepared
/// statement of its own.
const ROWS_AT_ONCE: usize = 32;

/// An event of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// The event.
    pub event: SessionEvent,
    /// Its number in the sandbox's journal; none for what happened in the server.
    pub journal_seq: Option<u64>,
}

impl Store {
    /// Events after a sequence number, oldest first: at most `limit`, and about
    /// [`MAX_PAGE_BYTES`]. An empty page means that there are no more.
    pub async fn events(&self, session: SessionId, after: u64, limit: u32) -> Result<Vec<SessionEvent>> {
        let mut rows = sqlx::query(
            "SELECT seq, at, body FROM session_events WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        )
        .bind(session.to_string())
        .bind(bigint(after))
        .bind(i64::from(limit))
        .fetch(&self.reader);
        let mut events = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await? {
            let body: String = row.try_get("body")?;
            bytes += body.len();
            events.push(event(&row, &body)?);
            if bytes >= MAX_PAGE_BYTES {
                break;
            }
        }
        Ok(events)
    }

    /// A session's events of one type (`conversation.started`), oldest first.
    pub async fn events_of_type(&self, session: SessionId, kind: &str, limit: u32) -> Result<Vec<SessionEvent>> {
        let rows = sqlx::query(
            "SELECT seq, at, body FROM session_events WHERE session_id = $1 AND body LIKE $2 ORDER BY seq LIMIT $3",
        )
        .bind(session.to_string())
        .bind(format!("{{\"type\":\"{kind}\"%"))
        .bind(i64::from(limit))
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| event(row, &row.try_get::<String, _>("body")?))
            .collect()
    }
}

pub(crate) async fn write(
    transaction: &mut Transaction<'static, Any>,
    session: SessionId,
    rows: &[EventRow],
) -> Result<()> {
    let completed: HashSet<String> = rows.iter().filter_map(|row| completed_item(&row.event.event)).collect();
    for item in &completed {
        sqlx::query("DELETE FROM session_events WHERE session_id = $1 AND delta_of = $2")
            .bind(session.to_string())
            .bind(item.clone())
            .execute(&mut **transaction)
            .await?;
    }
    let kept: Vec<(&EventRow, Option<String>)> = rows
        .iter()
        .map(|row| (row, delta_of(&row.event.event)))
        .filter(|(_, delta_of)| delta_of.as_ref().is_none_or(|item| !completed.contains(item)))
        .collect();
    for some in kept.chunks(ROWS_AT_ONCE) {
        insert(transaction, session, some).await?;
    }
    Ok(())
}

async fn insert(
    transaction: &mut Transaction<'static, Any>,
    session: SessionId,
    rows: &[(&EventRow, Option<String>)],
) -> Result<()> {
    let mut query = sqlx::query(AssertSqlSafe(insert_text(rows.len()))).bind(session.to_string());
    for (row, delta_of) in rows {
        query = query
            .bind(bigint(row.event.seq))
            .bind(row.journal_seq.map(bigint))
            .bind(delta_of.clone())
            .bind(micros(row.event.at))
            .bind(to_json(&row.event.event, "session_events")?);
    }
    query.execute(&mut **transaction).await?;
    Ok(())
}

fn insert_text(rows: usize) -> String {
    let mut text = "INSERT INTO session_events (session_id, seq, journal_seq, delta_of, at, body) VALUES ".to_owned();
    for row in 0..rows {
        let first = 2 + row * 5;
        let separator = if row == 0 { "" } else { ", " };
        let _ = write!(
            text,
            "{separator}($1, ${}, ${}, ${}, ${}, ${})",
            first,
            first + 1,
            first + 2,
            first + 3,
            first + 4
        );
    }
    text
}

fn delta_of(event: &EventBody) -> Option<String> {
    match event {
        EventBody::Agent(AgentEvent::ItemDelta {
            conversation_id,
            item_id,
            ..
        }) => Some(item_key(conversation_id, item_id)),
        _ => None,
    }
}

fn completed_item(event: &EventBody) -> Option<String> {
    match event {
        EventBody::Agent(AgentEvent::ItemCompleted { item }) => Some(item_key(&item.conversation_id, &item.id)),
        _ => None,
    }
}

/// Names come from the sandbox, of any length and with any character; their digest fits an index.
fn item_key(conversation: &str, item: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(bigint(conversation.len() as u64).to_be_bytes());
    digest.update(conversation);
    digest.update(item);
    format!("{:x}", digest.finalize())
}

fn event(row: &AnyRow, body: &str) -> Result<SessionEvent> {
    Ok(SessionEvent {
        seq: count(row.try_get("seq")?),
        at: timestamp(row.try_get("at")?),
        event: from_json(body, "session_events")?,
    })
}
