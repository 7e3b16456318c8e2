//! Errors as clients see them: RFC 9457 problems with a stable `type`.
//!
//! Everything that can go wrong in a handler becomes an [`ApiError`]. What is ours to know (a
//! database's words, a path) goes to the log with its whole chain, and never into the answer.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use mistle_protocol::problem::{CONTENT_TYPE, Problem};

use crate::sessions::SessionError;

/// A problem on its way to a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: Option<String>,
    pointer: Option<String>,
    retry_after_secs: Option<u64>,
}

/// What handlers answer.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Self {
            status,
            kind,
            title,
            detail: None,
            pointer: None,
            retry_after_secs: None,
        }
    }

    fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The request's syntax is wrong: no JSON, a header or query value that can't be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request can't be read").with_detail(detail)
    }

    /// A field has a value that can't be used.
    pub fn invalid(kind: &'static str, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, "A field can't be used").with_detail(detail);
        error.pointer = Some(pointer.into());
        error
    }

    /// Nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Sign in first").with_detail(
            "Open a sign-in link (`mistle login-link` prints one), or send `Authorization: Bearer …` with a token.",
        )
    }

    /// A token was given, and it is none.
    pub fn token_unknown() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Sign in first").with_detail(
            "This token is unknown or was revoked. `mistle token create` makes one on the server's machine.",
        )
    }

    /// The request came from another site, or without the ticket that it needs.
    pub fn forbidden(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, kind, "Not allowed").with_detail(detail)
    }

    /// There is no such thing, or not one that the actor may see.
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found").with_detail(format!("There is no such {what}."))
    }

    /// The path exists and the method does not.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "This method is not offered here",
        )
    }

    /// The body is over its limit, in bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large").with_detail(format!(
            "The body may have at most {limit} bytes. Attach long texts as files."
        ))
    }

    /// The same, for what has a limit of its own.
    pub fn payload_too_large(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, kind, "The file is too large").with_detail(detail)
    }

    /// What there is already does not allow it.
    pub fn conflict(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, "Not possible in this state").with_detail(detail)
    }

    /// There is no room for it on the server's disk.
    pub fn disk_full(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk-full", "The disk is full").with_detail(detail)
    }

    /// The body is not JSON by its own account.
    pub fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body must be JSON",
        )
        .with_detail("Send `Content-Type: application/json`.")
    }

    /// Too often.
    pub fn rate_limited(retry_after_secs: u64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "Too many attempts")
            .with_detail(format!("Try again in {retry_after_secs} s."));
        error.retry_after_secs = Some(retry_after_secs);
        error
    }

    /// Ours. The chain goes to the log.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        let chain = std::iter::successors(error.source(), |cause| cause.source())
            .fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        tracing::error!(error = %chain, "request failed");
        if is_disk_full(error) {
            return Self::disk_full(
                "The disk of the server's data directory is full, so this could not be stored. Free some space on it, then try again.",
            );
        }
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Something went wrong on the server",
        )
        .with_detail("The server's log says more under this request id.")
    }

    /// A handler did not end in time.
    pub fn timed_out() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timed-out", "The server took too long")
            .with_detail("It may be overloaded, or a sandbox does not answer. Try again.")
    }

    /// Its body.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: self.kind.to_owned(),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            pointer: self.pointer.clone(),
            request_id: super::layers::request_id().map(|id| id.to_string()),
        }
    }
}

/// Whether the database said no because there is no room for more.
fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<mistle_store::StoreError>())
        .any(mistle_store::StoreError::is_disk_full)
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound { what } => Self::not_found(what),
            SessionError::Invalid { kind, pointer, message } => Self::invalid(kind, pointer, message),
            SessionError::InvalidRow {
                kind,
                list,
                row,
                field,
                message,
            } => Self::invalid(kind, format!("{list}/{row}{field}"), message),
            SessionError::Conflict { kind, message } => {
                Self::new(StatusCode::CONFLICT, kind, "Not possible in this state").with_detail(message)
            }
            SessionError::Forbidden { kind, message } => Self::forbidden(kind, message),
            SessionError::Unavailable { message } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "sandbox-unavailable",
                "The sandbox does not answer",
            )
            .with_detail(message),
            SessionError::Internal(source) => Self::internal(source.as_ref()),
        }
    }
}

impl From<mistle_store::StoreError> for ApiError {
    fn from(error: mistle_store::StoreError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
