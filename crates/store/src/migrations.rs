//! The tables, brought up to date step by step. A step that was released never changes.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::{Kind, Result, Store, StoreError};

/// Version, name, and the text for SQLite and for PostgreSQL.
type Step = (i64, &'static str, &'static str, &'static str);

macro_rules! step {
    ($version:literal, $name:literal) => {
        (
            $version,
            $name,
            include_str!(concat!("../migrations/sqlite/", $name, ".sql")),
            include_str!(concat!("../migrations/postgres/", $name, ".sql")),
        )
    };
}

const STEPS: &[Step] = &[
    step!(1, "0001_sessions"),
    step!(2, "0002_accounts"),
    step!(3, "0003_comments"),
    step!(4, "0004_attachments"),
    step!(5, "0005_session_index"),
    step!(6, "0006_warm_sessions"),
];

pub(crate) async fn run(store: &Store) -> Result<()> {
    let migrations = STEPS.iter().map(|(version, name, sqlite, postgres)| {
        let text = match store.kind {
            Kind::Sqlite => *sqlite,
            Kind::Postgres => *postgres,
        };
        Migration::new(
            *version,
            (*name).into(),
            MigrationType::Simple,
            text.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
        .run(&store.writer)
        .await
        .map_err(StoreError::Migrate)
}
