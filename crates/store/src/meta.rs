//! What the server remembers about itself, by name.

use crate::{Result, Store};

impl Store {
    /// A remembered value.
    pub async fn meta(&self, name: &str) -> Result<Option<String>> {
        let value = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(name.to_owned())
            .fetch_optional(&self.reader)
            .await?;
        Ok(value)
    }

    /// Remembers a value in place of the one before.
    pub async fn set_meta(&self, name: &str, value: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name.to_owned())
        .bind(value.to_owned())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Remembers a value unless there is one, and answers what is remembered.
    pub async fn meta_or_insert(&self, name: &str, value: &str) -> Result<String> {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name.to_owned())
            .bind(value.to_owned())
            .execute(&self.writer)
            .await?;
        Ok(self.meta(name).await?.unwrap_or_else(|| value.to_owned()))
    }
}
