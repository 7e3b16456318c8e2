//! RFC 9457 problem details: how every error of an HTTP API here looks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`Problem`].
pub const CONTENT_TYPE: &str = "application/problem+json";

/// What was wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Stable name, such as `repository-not-found`. Relative to the API's base.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this type, for a person.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// This occurrence, for a person: what was wrong and what to do.
    pub detail: Option<String>,
    /// The field of the request that was wrong, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The request, as the server's log names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}
