//! The database: queries per noun, on SQLite and PostgreSQL alike. The only user of sqlx.

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {}
