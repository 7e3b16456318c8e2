//! The messages that wait in a session.

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::api::{MessagePatch, NewMessage};
use mistle_protocol::id::{MessageId, SessionId};
use mistle_protocol::session::QueuedMessage;

use super::extract::{IdempotencyKey, Json, MAX_MESSAGE_BODY, Path};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The queue, oldest first. What was delivered is in the record and no longer here.
#[utoipa::path(get, operation_id = "messages_list", path = "/sessions/{session_id}/messages", tag = "messages", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<QueuedMessage>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<QueuedMessage>>> {
    Ok(Json(app.sessions.queue(&caller.ctx, id).await?))
}

/// Puts a message into the queue. The same `Idempotency-Key` again answers the same message.
#[utoipa::path(post, operation_id = "messages_send", path = "/sessions/{session_id}/messages", tag = "messages", params(("session_id" = SessionId, Path), ("Idempotency-Key" = Option<String>, Header, max_length = 128)), request_body = NewMessage, responses((status = 201, body = QueuedMessage)))]
pub(crate) async fn send(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(new): Json<NewMessage, MAX_MESSAGE_BODY>,
) -> ApiResult<(StatusCode, Json<QueuedMessage>)> {
    let message = app.sessions.send(&caller.ctx, id, new, key.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(message)))
}

/// Changes a message that still waits.
#[utoipa::path(patch, operation_id = "messages_change", path = "/sessions/{session_id}/messages/{message_id}", tag = "messages", params(("session_id" = SessionId, Path), ("message_id" = MessageId, Path)), request_body = MessagePatch, responses((status = 200, body = QueuedMessage)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path((id, message)): Path<(SessionId, MessageId)>,
    Json(patch): Json<MessagePatch, MAX_MESSAGE_BODY>,
) -> ApiResult<Json<QueuedMessage>> {
    Ok(Json(app.sessions.patch_message(&caller.ctx, id, message, patch).await?))
}

/// Removes a message that still waits.
#[utoipa::path(delete, operation_id = "messages_remove", path = "/sessions/{session_id}/messages/{message_id}", tag = "messages", params(("session_id" = SessionId, Path), ("message_id" = MessageId, Path)), responses((status = 204)))]
pub(crate) async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path((id, message)): Path<(SessionId, MessageId)>,
) -> ApiResult<StatusCode> {
    app.sessions.remove_message(&caller.ctx, id, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
