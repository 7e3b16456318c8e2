//! What every request passes: its id, the log line, the time limit, and problems for what no
//! handler answered.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue};
use mistle_protocol::id::RequestId;
use tracing::Instrument as _;

use super::problem::ApiError;
use crate::metrics;

/// The header that names a request, on every answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a handler may take. Above what sessions wait for a sandbox, so that their clearer
/// answer comes first.
const HANDLER: Duration = Duration::from_mins(1);

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The request that is being answered.
pub(crate) fn request_id() -> Option<RequestId> {
    CURRENT.try_with(|id| *id).ok()
}

/// Names the request, logs it, counts it.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let method = request.method().clone();
    // The path without its query: a query may hold a ticket or a login code.
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(none)", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", request_id = %id, %method, path);
    let began = Instant::now();
    let mut response = CURRENT.scope(id, next.run(request)).instrument(span.clone()).await;
    let took = began.elapsed();
    let status = response.status().as_u16();
    metrics::answered(&method, &route, status, took);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status, took_ms, "answered"));
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Ends a handler that takes too long.
pub(crate) async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(HANDLER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timed_out().into_response(),
    }
}

/// Answers for a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    ApiError::internal(&std::io::Error::other(format!(
        "handler panicked: {}",
        said.unwrap_or("no message")
    )))
    .into_response()
}
