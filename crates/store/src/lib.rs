//! The database: queries per noun, on SQLite and PostgreSQL alike. The only user of sqlx.
//!
//! | module | noun |
//! |---|---|
//! | [`sessions`] | sessions and everything that changes with one in the same transaction |
//! | [`session_index`] | lists of them: search, filters, the trash |
//! | [`events`] | the record of a session |
//! | [`messages`] | its queue |
//! | [`attachments`] | files that go with messages |
//! | [`comments`] | comments on its changes, and what was viewed |
//! | [`idempotency`] | requests that are repeated under a key |
//! | [`egress`] | outgoing connections |
//! | [`accounts`] | organizations, users, and what lets them in |
//! | [`meta`] | what the server remembers about itself |
//!
//! One SQL text serves both databases: parameters are `$1`, columns are text, bigint, double or
//! blob, and only what both understand is used (`ON CONFLICT`, partial indexes).
//!
//! # What an answer promises
//!
//! When a write returns, it is on the disk. SQLite runs in WAL mode with `synchronous = FULL`: one
//! `fsync` for each transaction buys that even a power cut takes nothing that was acknowledged.
//! `NORMAL` would survive a killed process but not that, and the daemon drops journal entries once
//! they are acknowledged, so a transaction that vanished afterwards would be gone for good. Events
//! are stored in batches, which keeps the price low.
//!
//! SQLite has one writer, in the process (a pool of one connection) and between processes (`BEGIN
//! IMMEDIATE` waits for the other, [`BUSY_TIMEOUT_MS`] at most). Readers never wait.

pub mod accounts;
pub mod attachments;
pub mod comments;
pub mod egress;
pub mod events;
pub mod idempotency;
pub mod messages;
pub mod meta;
mod migrations;
pub mod session_index;
pub mod sessions;

use std::time::Duration;

use jiff::Timestamp;
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor, Transaction};

/// How long a SQLite connection waits for another process (the CLI, a backup) to finish writing.
pub const BUSY_TIMEOUT_MS: u32 = 5_000;
/// Connections that read. Reads are short; more would only wait for the two to eight cores.
const READERS: u32 = 8;
/// How long a caller waits for a connection before the database counts as out of reach.
const ACQUIRE_WITHIN: Duration = Duration::from_secs(10);
/// What SQLite says of a full disk.
const SQLITE_FULL: &str = "13";
/// What PostgreSQL says of it.
const POSTGRES_DISK_FULL: &str = "53100";

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no database that is understood.
    #[error("{url:?} is not a database URL: it must begin with sqlite: or postgres:")]
    Url {
        /// The URL, without its password.
        url: String,
    },
    /// It is not there, or lets nobody in.
    #[error("could not open the database")]
    Open(#[source] sqlx::Error),
    /// Its tables could not be brought up to date. An older program refuses a newer database.
    #[error("could not bring the database's tables up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A query failed.
    #[error("a database query failed")]
    Query(#[from] sqlx::Error),
    /// Someone else changed the session, or it is gone.
    #[error("the session was changed by someone else")]
    Stale,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A file that a message should carry is gone, or another message carries it.
    #[error("an attachment is gone or goes with another message")]
    AttachmentTaken,
    /// A row holds what this program does not understand.
    #[error("a row of {table} can't be read")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// Whether the database's disk is full: nothing was stored, and the same works once there is room.
    pub fn is_disk_full(&self) -> bool {
        let Self::Query(sqlx::Error::Database(error)) = self else {
            return false;
        };
        error
            .code()
            .is_some_and(|code| code == SQLITE_FULL || code == POSTGRES_DISK_FULL)
    }
}

/// What a store call answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    reader: AnyPool,
    writer: AnyPool,
    kind: Kind,
}

impl Store {
    /// Opens a database and brings its tables up to date. `sqlite:/path/to/file` is created when it
    /// is missing; `postgres://user@host/name` must exist.
    pub async fn connect(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let store = match url.split_once(':') {
            Some(("sqlite", _)) => Self::sqlite(url).await?,
            Some(("postgres" | "postgresql", _)) => Self::postgres(url).await?,
            _ => {
                return Err(StoreError::Url {
                    url: without_password(url),
                });
            }
        };
        migrations::run(&store).await?;
        store.index_sessions().await?;
        Ok(store)
    }

    async fn sqlite(url: &str) -> Result<Self> {
        let url = if url.contains('?') {
            url.to_owned()
        } else {
            format!("{url}?mode=rwc")
        };
        // The writer comes first: switching a new file to WAL needs it alone.
        let writer = sqlite_pool(&url, 1).await?;
        let reader = sqlite_pool(&url, READERS).await?;
        Ok(Self {
            reader,
            writer,
            kind: Kind::Sqlite,
        })
    }

    async fn postgres(url: &str) -> Result<Self> {
        // A pool only says that it waited; one connection says why it can't be had.
        if let Ok(tried) = tokio::time::timeout(ACQUIRE_WITHIN, AnyConnection::connect(url)).await {
            tried
                .map_err(StoreError::Open)?
                .close()
                .await
                .map_err(StoreError::Open)?;
        }
        let options = AnyPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_WITHIN);
        let pool = options.connect(url).await.map_err(StoreError::Open)?;
        Ok(Self {
            reader: pool.clone(),
            writer: pool,
            kind: Kind::Postgres,
        })
    }

    /// Which database it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Ends every connection; calls after it fail.
    pub async fn close(&self) {
        self.writer.close().await;
        self.reader.close().await;
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.reader).await?;
        Ok(())
    }

    async fn begin(&self) -> Result<Transaction<'static, Any>> {
        let statement = match self.kind {
            // A deferred transaction that turns into a writer is refused at once, busy timeout or
            // not, when another process wrote meanwhile.
            Kind::Sqlite => "BEGIN IMMEDIATE",
            Kind::Postgres => "BEGIN",
        };
        Ok(self.writer.begin_with(statement).await?)
    }
}

async fn sqlite_pool(url: &str, connections: u32) -> Result<AnyPool> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_WITHIN)
        // After some errors, a full disk's among them, SQLite has rolled back by itself. sqlx then
        // believes for ever that a transaction is open, and the only writer could begin none.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .after_connect(|connection, _| {
            Box::pin(async move {
                let busy = format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}");
                connection.execute(sqlx::AssertSqlSafe(busy)).await?;
                connection.execute("PRAGMA journal_mode = WAL").await?;
                connection.execute("PRAGMA synchronous = FULL").await?;
                connection.execute("PRAGMA foreign_keys = ON").await?;
                Ok(())
            })
        })
        .connect(url)
        .await
        .map_err(StoreError::Open)
}

fn without_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}***{}", &url[..scheme + 3], &url[at..]),
        _ => url.to_owned(),
    }
}

/// A time as it is stored.
fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// A count as it is stored. Sequence numbers stay far below; what does not fit comes from a sandbox
/// that lies, and is refused before it gets here.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn to_json(value: &impl serde::Serialize, table: &'static str) -> Result<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Unreadable {
        table,
        source: source.into(),
    })
}

fn from_json<T: serde::de::DeserializeOwned>(text: &str, table: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| StoreError::Unreadable {
        table,
        source: source.into(),
    })
}

fn parse_id<T: std::str::FromStr>(text: &str, table: &'static str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|source: T::Err| StoreError::Unreadable {
        table,
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_told() {
        assert_eq!(without_password("mysql://me:secret@host/name"), "mysql://***@host/name");
        assert_eq!(without_password("file"), "file");
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_gave_up_does_not_block_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", folder.path().join("db").display()))
            .await
            .unwrap();
        let mut given_up = store.begin().await.unwrap();
        // What SQLite does by itself when the disk is full.
        (&mut *given_up).execute("ROLLBACK").await.unwrap();
        given_up.commit().await.unwrap_err();
        store.begin().await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_database_out_of_reach_says_why() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = Store::connect(&format!("postgres://me:secret@{address}/name"))
            .await
            .unwrap_err();
        let StoreError::Open(sqlx::Error::Io(why)) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(why.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_full_disk_is_known_and_passes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::connect(&format!("sqlite:{}", folder.path().join("db").display()))
            .await
            .unwrap();
        // Kept, so that the limit is that of the writer's connection.
        let mut writer = store.writer.acquire().await.unwrap();
        writer.execute("PRAGMA max_page_count = 1").await.unwrap();
        let fill = "CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) SELECT i, hex(randomblob(99)) FROM n";
        let error = StoreError::from(writer.execute(fill).await.unwrap_err());
        assert!(error.is_disk_full(), "{error:?}");
        writer.execute("PRAGMA max_page_count = 100000").await.unwrap();
        writer.execute(fill).await.unwrap();
    }
}
