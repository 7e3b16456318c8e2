//! Requests that are repeated under a key are carried out once.
//!
//! The key is stored in the transaction that carries the request out, so there is no moment in
//! which one exists without the other.

use jiff::{SignedDuration, Timestamp};
use mistle_protocol::id::OrganizationId;
use sqlx::{Any, Row, Transaction};

use crate::{Result, Store, StoreError, micros};

/// How long a key is remembered: longer than any client retries.
pub const KEYS_LIVE: SignedDuration = SignedDuration::from_hours(24);

/// A request under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whose key it is.
    pub organization_id: OrganizationId,
    /// What is asked, such as `session.create`. The same key may be used for another operation.
    pub operation: String,
    /// The key, as the client chose it.
    pub name: String,
    /// A digest of the request: the same key with another request is an error.
    pub fingerprint: String,
}

/// Whether a write was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It was.
    Written,
    /// It was carried out earlier under the same key, and nothing changed.
    Repeated {
        /// What it made then.
        resource: String,
    },
}

impl Store {
    /// What a request under this key made earlier.
    pub async fn earlier(&self, key: &Key, now: Timestamp) -> Result<Option<String>> {
        let row = sqlx::query(SELECT)
            .bind(key.organization_id.to_string())
            .bind(key.operation.clone())
            .bind(key.name.clone())
            .bind(micros(oldest(now)))
            .fetch_optional(&self.reader)
            .await?;
        row.map(|row| resource(&row, key)).transpose()
    }
}

const SELECT: &str = "SELECT fingerprint, resource FROM idempotency_keys
    WHERE organization_id = $1 AND operation = $2 AND name = $3 AND created_at >= $4";

/// Takes the key for `resource`, or answers what it stands for already. The transaction must then
/// be given up.
pub(crate) async fn take(
    transaction: &mut Transaction<'static, Any>,
    key: &Key,
    resource_id: &str,
    now: Timestamp,
) -> Result<Outcome> {
    sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1")
        .bind(micros(oldest(now)))
        .execute(&mut **transaction)
        .await?;
    let taken = sqlx::query(
        "INSERT INTO idempotency_keys (organization_id, operation, name, fingerprint, resource, created_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(key.organization_id.to_string())
    .bind(key.operation.clone())
    .bind(key.name.clone())
    .bind(key.fingerprint.clone())
    .bind(resource_id.to_owned())
    .bind(micros(now))
    .execute(&mut **transaction)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(Outcome::Written);
    }
    let row = sqlx::query(SELECT)
        .bind(key.organization_id.to_string())
        .bind(key.operation.clone())
        .bind(key.name.clone())
        .bind(micros(oldest(now)))
        .fetch_one(&mut **transaction)
        .await?;
    Ok(Outcome::Repeated {
        resource: resource(&row, key)?,
    })
}

fn oldest(now: Timestamp) -> Timestamp {
    now.saturating_sub(KEYS_LIVE).unwrap_or(Timestamp::MIN)
}

fn resource(row: &sqlx::any::AnyRow, key: &Key) -> Result<String> {
    let fingerprint: String = row.try_get("fingerprint")?;
    if fingerprint != key.fingerprint {
        return Err(StoreError::KeyReused);
    }
    Ok(row.try_get("resource")?)
}
