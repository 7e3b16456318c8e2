//! The record of outgoing connections.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{EgressId, SessionId};

/// One outgoing connection of a sandbox. Never a header value or a body. There from the moment at which
/// it was decided about, and completed at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EgressRecord {
    /// Its id.
    pub id: EgressId,
    /// The session.
    pub session_id: SessionId,
    /// When it was asked for.
    pub at: Timestamp,
    /// The host that was asked for, normalised.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Method, for requests that the gateway makes itself.
    pub method: Option<String>,
    /// Path without its query, for requests that the gateway makes itself.
    pub path: Option<String>,
    /// What was decided.
    pub decision: EgressDecision,
    /// The rule that decided, for a person: an entry of the allow-list, `model`, or why not.
    pub rule: String,
    /// HTTP status, for requests that the gateway makes itself.
    pub status: Option<u16>,
    /// Bytes to the outside.
    pub bytes_out: u64,
    /// Bytes from the outside.
    pub bytes_in: u64,
    /// How long it lasted, in milliseconds. None as long as it is open, and for good when the server
    /// was killed before it ended: then the bytes were not counted either.
    pub duration_ms: Option<u64>,
}

/// What was decided about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EgressDecision {
    /// No connection was made.
    Deny,
    /// Bytes pass untouched.
    Tunnel,
    /// The gateway made the request, with its credential.
    Intercept,
}
