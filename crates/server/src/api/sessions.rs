//! Sessions.

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::api::{NewSession, Page, SessionPatch};
use mistle_protocol::id::SessionId;
use mistle_protocol::session::Session;

use super::extract::{IdempotencyKey, Json, MAX_MESSAGE_BODY, PageQuery, Path, Query};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The organization's sessions, newest first.
#[utoipa::path(get, operation_id = "sessions_list", path = "/sessions", tag = "sessions", params(PageQuery), responses((status = 200, body = Page<Session>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<Session>>> {
    let limit = page.limit()?;
    Ok(Json(
        app.sessions.list(&caller.ctx, page.cursor.as_deref(), limit).await?,
    ))
}

/// Creates a session and begins to start it. The same `Idempotency-Key` again answers the same
/// session.
#[utoipa::path(post, operation_id = "sessions_create", path = "/sessions", tag = "sessions", params(("Idempotency-Key" = Option<String>, Header, max_length = 128)), request_body = NewSession, responses((status = 201, body = Session)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Json(new): Json<NewSession, MAX_MESSAGE_BODY>,
) -> ApiResult<(StatusCode, Json<Session>)> {
    let session = app.sessions.create(&caller.ctx, new, key.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(session)))
}

/// A session.
#[utoipa::path(get, operation_id = "sessions_show", path = "/sessions/{session_id}", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 200, body = Session)))]
pub(crate) async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Session>> {
    Ok(Json(app.sessions.get(&caller.ctx, id).await?))
}

/// Changes a session's title.
#[utoipa::path(patch, operation_id = "sessions_change", path = "/sessions/{session_id}", tag = "sessions", params(("session_id" = SessionId, Path)), request_body = SessionPatch, responses((status = 200, body = Session)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(patch): Json<SessionPatch>,
) -> ApiResult<Json<Session>> {
    Ok(Json(app.sessions.patch(&caller.ctx, id, patch).await?))
}

/// Deletes a session with its sandbox's disk. Can't be undone.
#[utoipa::path(delete, operation_id = "sessions_delete", path = "/sessions/{session_id}", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 204)))]
pub(crate) async fn delete(State(app): State<App>, caller: Caller, Path(id): Path<SessionId>) -> ApiResult<StatusCode> {
    app.sessions.delete(&caller.ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Begins to start a session. Starting one that starts or runs changes nothing.
#[utoipa::path(post, operation_id = "sessions_start", path = "/sessions/{session_id}/start", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 202, body = Session)))]
pub(crate) async fn start(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<(StatusCode, Json<Session>)> {
    Ok((StatusCode::ACCEPTED, Json(app.sessions.start(&caller.ctx, id).await?)))
}

/// Begins to stop a session; its disk is kept. Stopping one that stops or is stopped changes
/// nothing.
#[utoipa::path(post, operation_id = "sessions_stop", path = "/sessions/{session_id}/stop", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 202, body = Session)))]
pub(crate) async fn stop(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<(StatusCode, Json<Session>)> {
    Ok((StatusCode::ACCEPTED, Json(app.sessions.stop(&caller.ctx, id).await?)))
}

/// Interrupts the running turn. Nothing running is fine.
#[utoipa::path(post, operation_id = "sessions_interrupt", path = "/sessions/{session_id}/interrupt", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 204)))]
pub(crate) async fn interrupt(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<StatusCode> {
    app.sessions.interrupt(&caller.ctx, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
