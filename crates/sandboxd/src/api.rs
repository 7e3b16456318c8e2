//! The control API, as `mistle_protocol::control` has it. Handlers unwrap the request, call one
//! function, wrap its answer.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::middleware::map_response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use mistle_protocol::control::{Health, OpenTerminal, RenameTerminal, TerminalInfo};
use mistle_protocol::id::TerminalId;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::agent::{self, Agent};
use crate::exec::Commands;
use crate::problem::{self, Refusal};
use crate::terminals::Terminals;

/// The header of an attachment's answer that says from which offset its output begins.
pub const OFFSET_HEADER: &str = "mistle-offset";
/// JSON bodies of terminals: a command line and little else.
const MAX_BODY: usize = 256 * 1024;

/// What the handlers work on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The agent.
    pub agent: Arc<Agent>,
    /// Terminals.
    pub terminals: Arc<Terminals>,
    /// Commands.
    pub commands: Arc<Commands>,
    /// Cancelled when the daemon is asked to end.
    pub stop: CancellationToken,
}

/// The whole API.
pub fn router(parts: Parts) -> Router {
    let agent = parts.agent.clone();
    Router::new()
        .route("/health", get(health))
        .route("/terminals", get(list_terminals).post(open_terminal))
        .route("/terminals/watch", get(watch_terminals))
        .route("/terminals/{id}", delete(close_terminal).patch(rename_terminal))
        .route("/terminals/{id}/attach", post(attach_terminal))
        .route("/exec", post(exec))
        .route("/shutdown", post(shutdown))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(parts)
        .merge(agent::routes(agent))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "not-found", "the control API has no such path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "this path takes other methods",
            )
        })
}

/// Routes whose streams end with `end` at the latest. For those that have no end of their own, such as
/// lists that are told as they change: the daemon's last connection waits for what is open.
pub fn ending(routes: Router, end: &CancellationToken) -> Router {
    let end = end.clone();
    routes.layer(map_response(move |response: Response<Body>| {
        let end = end.clone();
        async move {
            if response.body().size_hint().exact().is_some() {
                return response;
            }
            response.map(|body| Body::from_stream(body.into_data_stream().take_until(end.cancelled_owned())))
        }
    }))
}

async fn health(State(parts): State<Parts>) -> Json<Health> {
    Json(Health {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal_seq: parts.agent.journal_seq(),
        runtime_ready: parts.agent.runtime_ready(),
        resident_bytes: resident_bytes().unwrap_or_default(),
    })
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kibibytes * 1024)
}

async fn list_terminals(State(parts): State<Parts>) -> Json<Vec<TerminalInfo>> {
    Json(parts.terminals.list())
}

async fn open_terminal(
    State(parts): State<Parts>,
    problem::Body(request): problem::Body<OpenTerminal>,
) -> Result<Json<TerminalInfo>, Refusal> {
    parts.terminals.open(&request).map(Json)
}

async fn watch_terminals(State(parts): State<Parts>) -> Response<Body> {
    let lines = parts.terminals.watch().map(|terminals| {
        let mut line = serde_json::to_vec(&terminals)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(line)
    });
    let lines = lines.take_until(parts.stop.cancelled_owned());
    Response::builder()
        .header(http::header::CONTENT_TYPE, "application/x-ndjson")
        .body(Body::from_stream(lines))
        .unwrap_or_default()
}

async fn rename_terminal(
    State(parts): State<Parts>,
    id: Result<Path<TerminalId>, PathRejection>,
    problem::Body(request): problem::Body<RenameTerminal>,
) -> Result<Json<TerminalInfo>, Refusal> {
    parts.terminals.rename(terminal_id(id)?, &request.name).map(Json)
}

async fn close_terminal(
    State(parts): State<Parts>,
    id: Result<Path<TerminalId>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    parts.terminals.close(terminal_id(id)?)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Attach {
    #[serde(default)]
    offset: u64,
}

async fn attach_terminal(
    State(parts): State<Parts>,
    id: Result<Path<TerminalId>, PathRejection>,
    query: Result<Query<Attach>, QueryRejection>,
    input: Body,
) -> Result<Response<Body>, Refusal> {
    let Query(Attach { offset }) =
        query.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "invalid-query", error.body_text()))?;
    let attachment = parts
        .terminals
        .attach(terminal_id(id)?, offset, input.into_data_stream())?;
    let mut response = stream(attachment.frames);
    response
        .headers_mut()
        .insert(OFFSET_HEADER, HeaderValue::from(attachment.offset));
    Ok(response)
}

async fn exec(State(parts): State<Parts>, input: Body) -> Result<Response<Body>, Refusal> {
    parts.commands.run(input.into_data_stream()).await.map(stream)
}

async fn shutdown(State(parts): State<Parts>) -> StatusCode {
    parts.stop.cancel();
    StatusCode::ACCEPTED
}

fn terminal_id(id: Result<Path<TerminalId>, PathRejection>) -> Result<TerminalId, Refusal> {
    id.map(|Path(id)| id)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "invalid-id", error.body_text()))
}

fn stream(frames: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(frames.map(Ok::<_, std::convert::Infallible>)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}
