//! Sessions.

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::api::{NewSession, Page, SessionFacets, SessionPatch, SessionStatus, WarmSession};
use mistle_protocol::id::SessionId;
use mistle_protocol::session::Session;

use mistle_store::session_index::SessionFilter;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;

use super::extract::{IdempotencyKey, Json, MAX_MESSAGE_BODY, PAGE, Path, Query, limit};
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::Caller;

/// The longest text that is searched for, in characters.
const MAX_SEARCH: usize = 200;

/// Which sessions.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// `next_cursor` of the page before; the first page otherwise.
    cursor: Option<String>,
    /// How many rows, 1 to 200; 50 otherwise.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Words that must all be in the title, the task, a repository or the id, in any case.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Any of `needs_you`, `running`, `ready`, `stopped`, `failed`, with commas between them.
    status: Option<String>,
    /// The source of one of its repositories.
    repository: Option<String>,
    /// The name of its profile.
    profile: Option<String>,
    /// Those that were deleted and can be restored, instead of the others.
    #[serde(default)]
    deleted: bool,
}

impl ListQuery {
    fn filter(self) -> ApiResult<SessionFilter> {
        let text = self.q.filter(|text| !text.trim().is_empty());
        if text.as_ref().is_some_and(|text| text.chars().count() > MAX_SEARCH) {
            return Err(ApiError::bad_request(format!(
                "`q` may have at most {MAX_SEARCH} characters."
            )));
        }
        Ok(SessionFilter {
            text,
            status: statuses(self.status.as_deref().unwrap_or_default())?,
            repository: self.repository,
            profile: self.profile,
            deleted: self.deleted,
        })
    }
}

fn statuses(list: &str) -> ApiResult<Vec<SessionStatus>> {
    let status = |name: &str| {
        SessionStatus::deserialize(name.into_deserializer())
            .map_err(|error: serde::de::value::Error| ApiError::bad_request(format!("`status`: {error}.")))
    };
    list.split(',').filter(|name| !name.is_empty()).map(status).collect()
}

/// The organization's sessions, newest first.
#[utoipa::path(get, operation_id = "sessions_list", path = "/sessions", tag = "sessions", params(ListQuery), responses((status = 200, body = Page<Session>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> ApiResult<Json<Page<Session>>> {
    let limit = limit(query.limit, PAGE)?;
    let cursor = query.cursor.clone();
    let filter = query.filter()?;
    let page = app.sessions.list(&caller.ctx, &filter, cursor.as_deref(), limit);
    Ok(Json(page.await?))
}

/// The repositories and profiles that the organization's sessions have, to filter by.
#[utoipa::path(get, operation_id = "sessions_facets", path = "/session-facets", tag = "sessions", responses((status = 200, body = SessionFacets)))]
pub(crate) async fn facets(State(app): State<App>, caller: Caller) -> ApiResult<Json<SessionFacets>> {
    Ok(Json(app.sessions.facets(&caller.ctx).await?))
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

/// Prepares a session while its task is being typed. Creating one of the same kind in time, with
/// the same profile, repositories, folders, model and effort, then gives the task to it; nothing
/// else tells of it. Each person has one: another kind replaces it. `task` may be empty.
#[utoipa::path(post, operation_id = "sessions_warm", path = "/sessions/warm", tag = "sessions", request_body = NewSession, responses((status = 200, body = WarmSession)))]
pub(crate) async fn warm(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewSession, MAX_MESSAGE_BODY>,
) -> ApiResult<Json<WarmSession>> {
    let until = app.sessions.warm(&caller.ctx, new).await?;
    Ok(Json(WarmSession { until }))
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

/// Changes a session's title, its primary workspace or its active conversation.
#[utoipa::path(patch, operation_id = "sessions_change", path = "/sessions/{session_id}", tag = "sessions", params(("session_id" = SessionId, Path)), request_body = SessionPatch, responses((status = 200, body = Session)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(patch): Json<SessionPatch>,
) -> ApiResult<Json<Session>> {
    Ok(Json(app.sessions.patch(&caller.ctx, id, patch).await?))
}

/// How a session is deleted.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Destroy it with its disk at once, whether it was deleted before or not. Can't be undone.
    #[serde(default)]
    now: bool,
}

/// Deletes a session: it stops, leaves the lists, and can be restored until `deletion.until`; then
/// it is destroyed with its sandbox's disk. Deleting one that is deleted changes nothing, except
/// with `now`. The answer is the session as it is then: with its `deletion`, or in the state
/// `deleted` when nothing can bring it back.
#[utoipa::path(delete, operation_id = "sessions_delete", path = "/sessions/{session_id}", tag = "sessions", params(("session_id" = SessionId, Path), DeleteQuery), responses((status = 200, body = Session)))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<DeleteQuery>,
) -> ApiResult<Json<Session>> {
    Ok(Json(app.sessions.delete(&caller.ctx, id, query.now).await?))
}

/// Brings a deleted session back, stopped. Restoring one that is not deleted changes nothing.
#[utoipa::path(post, operation_id = "sessions_restore", path = "/sessions/{session_id}/restore", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 200, body = Session)))]
pub(crate) async fn restore(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Session>> {
    Ok(Json(app.sessions.restore_session(&caller.ctx, id).await?))
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

/// Which turn to interrupt.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct InterruptQuery {
    /// The conversation in which it runs; the active one otherwise.
    pub(crate) conversation: Option<String>,
}

/// Interrupts the turn that runs in a conversation. Nothing running is fine.
#[utoipa::path(post, operation_id = "sessions_interrupt", path = "/sessions/{session_id}/interrupt", tag = "sessions", params(("session_id" = SessionId, Path), InterruptQuery), responses((status = 204)))]
pub(crate) async fn interrupt(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(InterruptQuery { conversation }): Query<InterruptQuery>,
) -> ApiResult<StatusCode> {
    app.sessions.interrupt(&caller.ctx, id, conversation).await?;
    Ok(StatusCode::NO_CONTENT)
}
