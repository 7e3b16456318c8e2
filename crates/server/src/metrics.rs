//! Prometheus metrics.
//!
//! | metric | type | labels | what it counts |
//! |---|---|---|---|
//! | `mistle_http_requests_total` | counter | method, route, status | answered requests |
//! | `mistle_http_request_seconds` | histogram | method, route | how long they took |
//! | `mistle_connections` | gauge | kind | open connections |
//! | `mistle_streams` | gauge | kind | open WebSockets |
//! | `mistle_sessions` | gauge | state | sessions that are in a state |
//! | `mistle_sessions_created_total` | counter | | sessions that were created |
//! | `mistle_session_start_seconds` | histogram | | from the request for one, or to start it again, until its runtime was ready |
//! | `mistle_session_events_total` | counter | | events of sandboxes that were stored |
//! | `mistle_attachment_bytes_total` | counter | | bytes of files that were uploaded |
//!
//! Counters are of this process: they begin anew when the server does. A metric is there once it has counted.

use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::api::problem::ApiError;
use crate::app::App;
use crate::front_door::Peer;

/// Upper bounds of the latency histogram, in seconds: from a cached read to a sandbox's start.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// The process's recorder. A process has one, however many servers its tests start.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = match builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS) {
                Ok(builder) => builder,
                Err(error) => {
                    tracing::warn!(%error, "metrics have no histogram buckets");
                    PrometheusBuilder::new()
                }
            };
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics stays empty");
            }
            handle
        })
        .clone()
}

/// Notes an answered request.
pub(crate) fn answered(method: &http::Method, route: &str, status: u16, took: Duration) {
    let (method, route) = (method.as_str().to_owned(), route.to_owned());
    metrics::counter!("mistle_http_requests_total", "method" => method.clone(), "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    metrics::histogram!("mistle_http_request_seconds", "method" => method, "route" => route).record(took.as_secs_f64());
}

/// Counts something while it lives.
#[derive(Debug)]
pub(crate) struct Gauge(&'static str, &'static str);

impl Gauge {
    pub(crate) fn stream(kind: &'static str) -> Self {
        metrics::gauge!("mistle_streams", "kind" => kind).increment(1.0);
        Self("mistle_streams", kind)
    }

    pub(crate) fn connection() -> Self {
        metrics::gauge!("mistle_connections", "kind" => "http").increment(1.0);
        Self("mistle_connections", "http")
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        metrics::gauge!(self.0, "kind" => self.1).decrement(1.0);
    }
}

/// `GET /metrics`: for a scraper on this machine, or one with a token.
///
/// A page of another site can reach loopback through a name of its own that resolves there, so a
/// request without a token must also address the machine by a loopback name.
pub(crate) async fn show(State(app): State<App>, peer: Peer, headers: HeaderMap) -> Result<Response, ApiError> {
    let forwarded = headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED);
    if forwarded || !peer.ip().is_loopback() || !names_loopback(&headers) {
        crate::auth::caller::by_bearer(&app, &headers)
            .await?
            .ok_or_else(ApiError::unauthenticated)?;
    }
    app.metrics.run_upkeep();
    Ok((
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        app.metrics.render(),
    )
        .into_response())
}

fn names_loopback(headers: &HeaderMap) -> bool {
    headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<http::uri::Authority>().ok())
        .is_some_and(|host| matches!(host.host(), "localhost" | "127.0.0.1" | "[::1]"))
}
