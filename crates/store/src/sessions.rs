//! Sessions, and everything that changes with one.
//!
//! Each session has one writer, its driver task. A [`Change`] carries the session as it should be
//! together with the events and queue changes that go with it; all of it is stored in one
//! transaction or nothing is. The session's revision fences writers that did not see the last
//! change off, and under it sequence numbers are given out without gaps or doubles.

use jiff::Timestamp;
use mistle_protocol::id::{OrganizationId, SessionId, UserId};
use mistle_protocol::profile::Profile;
use mistle_protocol::session::{Session, SessionState};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use crate::events::EventRow;
use crate::idempotency::{Key, Outcome};
use crate::messages::MessageRow;
use crate::{
    Result, Store, StoreError, bigint, count, events, from_json, idempotency, messages, micros, parse_id,
    session_index, timestamp, to_json,
};

/// What [`session_row`] reads.
const COLUMNS: &str = "organization_id, created_by, revision, journal_seq, boot_floor, ready, has_disk,
    recorded_bytes, document, profile, warm_until";

/// A session as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// What the API shows.
    pub session: Session,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// Who created it.
    pub created_by: UserId,
    /// The profile as it was when the session was created.
    pub profile: Profile,
    /// Counts the changes.
    pub revision: u64,
    /// The last entry of the sandbox's journal that is stored.
    pub journal_seq: u64,
    /// Journal entries up to here belong to earlier runs of the sandbox; none until the daemon of
    /// this run called.
    pub boot_floor: Option<u64>,
    /// Whether the runtime was ready in this run.
    pub ready: bool,
    /// Whether the sandbox's disk was created. From then on a missing disk is a failure and never
    /// replaced by an empty one.
    pub has_disk: bool,
    /// Bytes of events that were stored so far.
    pub recorded_bytes: u64,
    /// How long a session that was prepared before anyone asked for it waits for that. Such a
    /// session is in no list.
    pub warm_until: Option<Timestamp>,
}

/// Everything that one transaction changes about a session.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The session as it should be. Its revision is one above the stored one.
    pub row: &'a SessionRow,
    /// New events; their numbers follow the stored `last_seq` and end at the row's.
    pub events: &'a [EventRow],
    /// Messages that are new or changed.
    pub messages: &'a [MessageRow],
}

impl Change<'_> {
    /// The text of its first message.
    fn task(&self) -> &str {
        self.messages.first().map_or("", |first| &first.entry.message.text)
    }
}

impl Store {
    /// Adds a session with its first events and messages. The row's revision is stored as it is.
    pub async fn create_session(&self, change: &Change<'_>, key: Option<&Key>) -> Result<Outcome> {
        let mut transaction = self.begin().await?;
        let row = change.row;
        if let Some(key) = key {
            let id = row.session.id.to_string();
            let outcome = idempotency::take(&mut transaction, key, &id, row.session.created_at).await?;
            if outcome != Outcome::Written {
                return Ok(outcome);
            }
        }
        insert(&mut transaction, row).await?;
        if row.warm_until.is_none() {
            session_index::insert(&mut transaction, row, change.task()).await?;
        }
        write_rest(&mut transaction, change).await?;
        transaction.commit().await?;
        Ok(Outcome::Written)
    }

    /// Carries a change out. [`StoreError::Stale`] when the stored session is not the one that the
    /// change was made from.
    pub async fn commit(&self, change: &Change<'_>) -> Result<()> {
        let outcome = self.commit_once(change, None).await?;
        debug_assert_eq!(outcome, Outcome::Written);
        Ok(())
    }

    /// Carries a change out that a request under a key asks for and that makes `resource`.
    pub async fn commit_once(&self, change: &Change<'_>, key: Option<(&Key, &str, Timestamp)>) -> Result<Outcome> {
        self.write(change, key, false).await
    }

    /// The same for a change that gives a warm session its task: from then on it is listed.
    pub async fn adopt_session(&self, change: &Change<'_>, key: Option<(&Key, &str, Timestamp)>) -> Result<Outcome> {
        self.write(change, key, true).await
    }

    async fn write(&self, change: &Change<'_>, key: Option<(&Key, &str, Timestamp)>, adopts: bool) -> Result<Outcome> {
        let mut transaction = self.begin().await?;
        if let Some((key, resource, now)) = key {
            let outcome = idempotency::take(&mut transaction, key, resource, now).await?;
            if outcome != Outcome::Written {
                return Ok(outcome);
            }
        }
        update(&mut transaction, change.row).await?;
        if adopts {
            session_index::insert(&mut transaction, change.row, change.task()).await?;
        }
        write_rest(&mut transaction, change).await?;
        transaction.commit().await?;
        Ok(Outcome::Written)
    }

    /// The sessions that wait to be adopted by a person.
    pub async fn warm_sessions(&self, organization: OrganizationId, user: UserId) -> Result<Vec<SessionRow>> {
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM sessions
             WHERE created_by = $1 AND organization_id = $2 AND warm_until IS NOT NULL AND state <> 'deleted' ORDER BY id"
        )))
        .bind(user.to_string())
        .bind(organization.to_string())
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(session_row).collect()
    }

    /// A session, deleted ones included.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRow>> {
        let row = sqlx::query(AssertSqlSafe(format!("SELECT {COLUMNS} FROM sessions WHERE id = $1")))
            .bind(id.to_string())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(session_row).transpose()
    }

    /// The sessions for which the server has something to do: all but those at rest, and those that
    /// have to go in time: the trash, and what nobody adopted.
    pub async fn unsettled_sessions(&self) -> Result<Vec<SessionId>> {
        let rows = sqlx::query(
            "SELECT id FROM sessions WHERE state NOT IN ('created', 'stopped', 'failed') OR warm_until IS NOT NULL
             OR id IN (SELECT session_id FROM session_index WHERE purge_at > 0) ORDER BY id",
        )
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| parse_id(&row.try_get::<String, _>("id")?, "sessions"))
            .collect()
    }

    /// How many sessions of people are in each state.
    pub async fn count_sessions(&self) -> Result<Vec<(SessionState, u64)>> {
        let rows = sqlx::query(
            "SELECT state, COUNT(*) AS sessions FROM sessions WHERE warm_until IS NULL GROUP BY state ORDER BY state",
        )
        .fetch_all(&self.reader)
        .await?;
        rows.iter()
            .map(|row| {
                let state: String = row.try_get("state")?;
                Ok((
                    from_json(&format!("\"{state}\""), "sessions")?,
                    count(row.try_get("sessions")?),
                ))
            })
            .collect()
    }

    /// Forgets that journal entries after `seq` were stored, because the sandbox numbers others with
    /// the same numbers. What they said stays in the record.
    pub async fn rewind_journal(&self, row: &SessionRow) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE session_events SET journal_seq = NULL WHERE session_id = $1 AND journal_seq > $2")
            .bind(row.session.id.to_string())
            .bind(bigint(row.journal_seq))
            .execute(&mut *transaction)
            .await?;
        update(&mut transaction, row).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Drops a session with everything that belongs to it.
    pub async fn purge_session(&self, id: SessionId) -> Result<()> {
        sqlx::query("DELETE FROM sessions WHERE id = $1")
            .bind(id.to_string())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

async fn insert(transaction: &mut Transaction<'static, Any>, row: &SessionRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO sessions (id, organization_id, created_by, revision, state, journal_seq, boot_floor, ready,
                               has_disk, recorded_bytes, created_at, updated_at, document, profile, warm_until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(row.session.id.to_string())
    .bind(row.organization_id.to_string())
    .bind(row.created_by.to_string())
    .bind(bigint(row.revision))
    .bind(state_name(row.session.state)?)
    .bind(bigint(row.journal_seq))
    .bind(row.boot_floor.map(bigint))
    .bind(i64::from(row.ready))
    .bind(i64::from(row.has_disk))
    .bind(bigint(row.recorded_bytes))
    .bind(micros(row.session.created_at))
    .bind(micros(row.session.updated_at))
    .bind(to_json(&row.session, "sessions")?)
    .bind(to_json(&row.profile, "sessions")?)
    .bind(row.warm_until.map(micros))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn update(transaction: &mut Transaction<'static, Any>, row: &SessionRow) -> Result<()> {
    let updated = sqlx::query(
        "UPDATE sessions SET revision = $2, state = $3, journal_seq = $4, boot_floor = $5, ready = $6,
                             has_disk = $7, recorded_bytes = $8, updated_at = $9, document = $10, warm_until = $11
         WHERE id = $1 AND revision = $2 - 1",
    )
    .bind(row.session.id.to_string())
    .bind(bigint(row.revision))
    .bind(state_name(row.session.state)?)
    .bind(bigint(row.journal_seq))
    .bind(row.boot_floor.map(bigint))
    .bind(i64::from(row.ready))
    .bind(i64::from(row.has_disk))
    .bind(bigint(row.recorded_bytes))
    .bind(micros(row.session.updated_at))
    .bind(to_json(&row.session, "sessions")?)
    .bind(row.warm_until.map(micros))
    .execute(&mut **transaction)
    .await?;
    if updated.rows_affected() != 1 {
        return Err(StoreError::Stale);
    }
    session_index::update(transaction, &row.session).await
}

async fn write_rest(transaction: &mut Transaction<'static, Any>, change: &Change<'_>) -> Result<()> {
    let id = change.row.session.id;
    events::write(transaction, id, change.events).await?;
    for message in change.messages {
        messages::write(transaction, id, message).await?;
    }
    Ok(())
}

pub(crate) fn state_name(state: SessionState) -> Result<String> {
    Ok(to_json(&state, "sessions")?.trim_matches('"').to_owned())
}

pub(crate) fn session_row(row: &AnyRow) -> Result<SessionRow> {
    let document: String = row.try_get("document")?;
    let profile: String = row.try_get("profile")?;
    let organization: String = row.try_get("organization_id")?;
    let created_by: String = row.try_get("created_by")?;
    Ok(SessionRow {
        session: from_json(&document, "sessions")?,
        organization_id: parse_id(&organization, "sessions")?,
        created_by: parse_id(&created_by, "sessions")?,
        profile: from_json(&profile, "sessions")?,
        revision: count(row.try_get("revision")?),
        journal_seq: count(row.try_get("journal_seq")?),
        boot_floor: row.try_get::<Option<i64>, _>("boot_floor")?.map(count),
        ready: row.try_get::<i64, _>("ready")? != 0,
        has_disk: row.try_get::<i64, _>("has_disk")? != 0,
        recorded_bytes: count(row.try_get("recorded_bytes")?),
        warm_until: row.try_get::<Option<i64>, _>("warm_until")?.map(timestamp),
    })
}
