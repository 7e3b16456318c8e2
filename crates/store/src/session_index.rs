//! Lists of sessions: what they are searched and filtered by, and the trash.
//!
//! The index is written in the transaction that writes the session, and only when what it holds
//! changes: most changes of a session are a few more words of an answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mistle_protocol::api::{SessionFacet, SessionFacets, SessionStatus};
use mistle_protocol::id::{OrganizationId, SessionId};
use mistle_protocol::session::Session;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use crate::sessions::{SessionRow, session_row, state_name};
use crate::{Result, Store, count, from_json, micros, to_json};

/// The most of a task that is searched, in characters: what it is about is said at its beginning.
const MAX_TASK: usize = 4096;
/// The most words of a search that count. Each is one more look at every session.
pub const MAX_WORDS: usize = 8;
/// Sessions that are taken into the index at once.
const PAGE: i64 = 200;
/// The most different lists of repositories that are looked at for the facets.
const MAX_FACET_ROWS: i64 = 1000;

/// Which sessions are listed. The default is all that are not in the trash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Words that must all be in the title, the task, a repository or the id, in any case.
    pub text: Option<String>,
    /// Any of these; all when empty.
    pub status: Vec<SessionStatus>,
    /// The source of one of its repositories.
    pub repository: Option<String>,
    /// The name of its profile.
    pub profile: Option<String>,
    /// Those in the trash instead.
    pub deleted: bool,
}

enum Value {
    Text(String),
    Number(i64),
}

/// Conditions with the values that they name.
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn bind(&mut self, value: Value) -> usize {
        self.values.push(value);
        self.values.len()
    }

    fn and(&mut self, condition: &str) {
        let _ = write!(self.sql, " AND ({condition})");
    }

    fn of(organization: OrganizationId, filter: &SessionFilter, before: Option<SessionId>) -> Self {
        let mut conditions = Self {
            sql: "i.organization_id = $1 AND i.session_id < $2 AND i.state <> 'deleted'".to_owned(),
            // "set" sorts behind every id of this kind.
            values: vec![
                Value::Text(organization.to_string()),
                Value::Text(before.map_or_else(|| "set".to_owned(), |id| id.to_string())),
            ],
        };
        conditions.and(if filter.deleted {
            "i.purge_at > 0"
        } else {
            "i.purge_at = 0"
        });
        let words = plain(&filter.text.as_deref().unwrap_or_default().to_lowercase());
        for word in words.split_whitespace().take(MAX_WORDS) {
            let number = conditions.bind(Value::Text(pattern(word)));
            conditions.and(&format!(
                "i.about LIKE ${number} ESCAPE '!' OR i.task LIKE ${number} ESCAPE '!'"
            ));
        }
        if !filter.status.is_empty() {
            let any: Vec<_> = filter.status.iter().map(|status| of_status(*status)).collect();
            conditions.and(&any.join(" OR "));
        }
        if let Some(source) = &filter.repository {
            // Unlike LIKE, this minds case on both databases.
            let number = conditions.bind(Value::Text(format!("\n{}\n", plain(source))));
            conditions.and(&format!("replace(i.repositories, ${number}, '') <> i.repositories"));
        }
        if let Some(profile) = &filter.profile {
            let number = conditions.bind(Value::Text(plain(profile)));
            conditions.and(&format!("i.profile = ${number}"));
        }
        conditions
    }
}

fn of_status(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::NeedsYou => "i.state = 'running' AND i.activity = 'needs_you'",
        SessionStatus::Running => {
            "i.state IN ('created', 'starting', 'disconnected') OR (i.state = 'running' AND i.activity = 'working')"
        }
        SessionStatus::Ready => "i.state = 'running' AND i.activity = 'idle'",
        SessionStatus::Stopped => "i.state IN ('stopping', 'stopped')",
        SessionStatus::Failed => "i.state = 'failed'",
    }
}

/// Without the one character that PostgreSQL takes in no text.
fn plain(text: &str) -> String {
    text.replace('\0', "")
}

/// A pattern that finds a word anywhere.
fn pattern(word: &str) -> String {
    let mut pattern = String::from("%");
    for character in word.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn bound<'q>(sql: &'q str, values: &'q [Value]) -> Query<'q, Any, AnyArguments> {
    values
        .iter()
        .fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
            Value::Text(text) => query.bind(text.as_str()),
            Value::Number(number) => query.bind(*number),
        })
}

impl Store {
    /// An organization's sessions that a filter lets through, newest first, before `before` if
    /// given.
    pub async fn sessions(
        &self,
        organization: OrganizationId,
        filter: &SessionFilter,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>> {
        let mut conditions = Conditions::of(organization, filter, before);
        let limit = conditions.bind(Value::Number(i64::from(limit)));
        let sql = format!(
            "SELECT s.document FROM session_index i JOIN sessions s ON s.id = i.session_id
             WHERE {} ORDER BY i.session_id DESC LIMIT ${limit}",
            conditions.sql
        );
        let rows = bound(&sql, &conditions.values).fetch_all(&self.reader).await?;
        rows.iter()
            .map(|row| from_json(&row.try_get::<String, _>("document")?, "sessions"))
            .collect()
    }

    /// The repositories and profiles of an organization's sessions, the most used first.
    pub async fn session_facets(&self, organization: OrganizationId) -> Result<SessionFacets> {
        let rows = sqlx::query(
            "SELECT repositories, profile, COUNT(*) AS sessions FROM session_index
             WHERE organization_id = $1 AND purge_at = 0 AND state <> 'deleted'
             GROUP BY repositories, profile ORDER BY sessions DESC LIMIT $2",
        )
        .bind(organization.to_string())
        .bind(MAX_FACET_ROWS)
        .fetch_all(&self.reader)
        .await?;
        let (mut repositories, mut profiles) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            let sessions = count(row.try_get("sessions")?);
            let sources: String = row.try_get("repositories")?;
            for source in sources.split('\n').filter(|source| !source.is_empty()) {
                *repositories.entry(source.to_owned()).or_insert(0) += sessions;
            }
            *profiles.entry(row.try_get("profile")?).or_insert(0) += sessions;
        }
        Ok(SessionFacets {
            repositories: ranked(repositories),
            profiles: ranked(profiles),
        })
    }

    /// Takes sessions into the index that were stored before there was one.
    pub(crate) async fn index_sessions(&self) -> Result<()> {
        loop {
            let rows = sqlx::query(
                "SELECT s.id, s.organization_id, s.created_by, s.revision, s.journal_seq, s.boot_floor, s.ready, s.has_disk,
                        s.recorded_bytes, s.document, s.profile, s.warm_until
                 FROM sessions s LEFT JOIN session_index i ON i.session_id = s.id
                 WHERE i.session_id IS NULL AND s.warm_until IS NULL LIMIT $1",
            )
            .bind(PAGE)
            .fetch_all(&self.writer)
            .await?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut transaction = self.begin().await?;
            for row in rows {
                let row = session_row(&row)?;
                let first =
                    sqlx::query("SELECT document FROM messages WHERE session_id = $1 ORDER BY position LIMIT 1")
                        .bind(row.session.id.to_string())
                        .fetch_optional(&mut *transaction)
                        .await?;
                let task = match first {
                    Some(first) => {
                        let document: String = first.try_get("document")?;
                        from_json::<mistle_protocol::session::QueuedMessage>(&document, "messages")?.text
                    }
                    None => String::new(),
                };
                insert(&mut transaction, &row, &task).await?;
            }
            transaction.commit().await?;
        }
    }
}

fn ranked(counts: BTreeMap<String, u64>) -> Vec<SessionFacet> {
    let mut facets: Vec<_> = counts
        .into_iter()
        .map(|(value, sessions)| SessionFacet { value, sessions })
        .collect();
    facets.sort_by_key(|facet| std::cmp::Reverse(facet.sessions));
    facets
}

/// The sources of all repositories, each between line breaks.
fn sources(session: &Session) -> String {
    let mut sources = String::new();
    let of_workspaces = session
        .workspaces
        .iter()
        .filter_map(|workspace| workspace.repository.as_ref());
    for repository in of_workspaces.chain(session.repository.as_ref().filter(|_| session.workspaces.is_empty())) {
        let _ = write!(sources, "\n{}\n", plain(&repository.source));
    }
    sources
}

fn about(session: &Session) -> String {
    let text = format!("{}\n{}\n{}", session.title, sources(session), session.id);
    plain(&text.to_lowercase())
}

fn purge_at(session: &Session) -> i64 {
    session.deletion.map_or(0, |deletion| micros(deletion.until).max(1))
}

fn activity(session: &Session) -> Result<String> {
    Ok(to_json(&session.activity, "session_index")?
        .trim_matches('"')
        .to_owned())
}

pub(crate) async fn insert(transaction: &mut Transaction<'static, Any>, row: &SessionRow, task: &str) -> Result<()> {
    let session = &row.session;
    sqlx::query(
        "INSERT INTO session_index (session_id, organization_id, state, activity, purge_at, profile, repositories, about, task)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(session.id.to_string())
    .bind(row.organization_id.to_string())
    .bind(state_name(session.state)?)
    .bind(activity(session)?)
    .bind(purge_at(session))
    .bind(session.profile.name.as_str())
    .bind(sources(session))
    .bind(about(session))
    .bind(plain(&task.chars().take(MAX_TASK).collect::<String>().to_lowercase()))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(crate) async fn update(transaction: &mut Transaction<'static, Any>, session: &Session) -> Result<()> {
    sqlx::query(
        "UPDATE session_index SET state = $2, activity = $3, purge_at = $4, repositories = $5, about = $6
         WHERE session_id = $1
         AND (state <> $2 OR activity <> $3 OR purge_at <> $4 OR repositories <> $5 OR about <> $6)",
    )
    .bind(session.id.to_string())
    .bind(state_name(session.state)?)
    .bind(activity(session)?)
    .bind(purge_at(session))
    .bind(sources(session))
    .bind(about(session))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
