//! The HTTP server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::conversation::Request;
use crate::script::{self, Answer};
use crate::{Scenarios, chat, messages, responses};

/// The longest request, in bytes: a long conversation with a few pictures.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;
/// Model names that are listed. Others are answered too.
const MODELS: [&str; 2] = [crate::MODEL, "demo"];

/// One of the APIs: how it is read, written and how it says that a request is none.
struct Api {
    read: fn(&Value, usize) -> Request,
    write: fn(&Request, &Answer) -> Response,
    error: fn(&str, &str) -> Value,
}

const RESPONSES: Api = Api {
    read: responses::read,
    write: responses::write,
    error: responses::error,
};
const CHAT: Api = Api {
    read: chat::read,
    write: chat::write,
    error: responses::error,
};
const MESSAGES: Api = Api {
    read: messages::read,
    write: messages::write,
    error: messages::error,
};

/// The three APIs below `/v1`.
pub fn router(scenarios: Scenarios) -> Router {
    let answer = |api: &'static Api| {
        post(move |State(scenarios): State<Arc<Scenarios>>, body: Bytes| async move { answer(api, &scenarios, &body) })
    };
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/responses", answer(&RESPONSES))
        .route("/v1/chat/completions", answer(&CHAT))
        .route("/v1/messages", answer(&MESSAGES))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(Arc::new(scenarios))
}

/// Serves until the future is dropped or the listener fails.
pub async fn serve(listener: TcpListener, scenarios: Scenarios) -> std::io::Result<()> {
    use axum::serve::ListenerExt as _;
    // Small events must leave at once.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    axum::serve(listener, router(scenarios)).await
}

fn answer(api: &Api, scenarios: &Scenarios, body: &[u8]) -> Response {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if value.is_object() => {
            let request = (api.read)(&value, body.len());
            (api.write)(&request, &script::answer(scenarios, &request))
        }
        _ => crate::sse::refusal(
            400,
            (api.error)("invalid_request_error", "The body is not a JSON object."),
            None,
        ),
    }
}

async fn models() -> impl IntoResponse {
    let data: Vec<Value> = MODELS.iter().map(|id| json!({ "id": id, "object": "model", "created": 0, "owned_by": "mistle", "display_name": crate::LABEL, "type": "model" })).collect();
    Json(json!({ "object": "list", "data": data, "has_more": false }))
}

async fn count_tokens(body: Bytes) -> impl IntoResponse {
    Json(json!({ "input_tokens": body.len() / 4 + 1 }))
}

/// An id that no other answer has, in this process or another.
pub(crate) fn fresh_id(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos() as u64);
    format!("{prefix}_{nanos:016x}{:08x}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs())
}
