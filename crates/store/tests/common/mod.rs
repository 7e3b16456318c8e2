//! Runs a test on both databases: a SQLite file and a PostgreSQL cluster of the test's own.

#![expect(clippy::unwrap_used, reason = "a test that can't have its database fails here")]

use std::sync::Arc;

use mistle_store::{Kind, Store};
use mistle_testkit::Postgres;

/// A database that is gone when this is dropped.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) url: String,
    _file: Option<tempfile::TempDir>,
    _cluster: Option<Arc<Postgres>>,
}

/// An empty database of each kind.
pub(crate) async fn databases() -> Vec<Database> {
    vec![sqlite().await, postgres().await]
}

async fn sqlite() -> Database {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("mistle.db").display());
    let store = Store::connect(&url).await.unwrap();
    assert_eq!(store.kind(), Kind::Sqlite);
    Database {
        store,
        url,
        _file: Some(folder),
        _cluster: None,
    }
}

async fn postgres() -> Database {
    let cluster = Postgres::shared().unwrap();
    let url = cluster.create_database().unwrap();
    let store = Store::connect(&url).await.unwrap();
    assert_eq!(store.kind(), Kind::Postgres);
    Database {
        store,
        url,
        _file: None,
        _cluster: Some(cluster),
    }
}
