//! Comments on a session's changes, and what the caller has viewed of them.

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::changes::{Comment, CommentPatch, MarkViewed, NewComment, Scope, Viewed};
use mistle_protocol::id::{CommentId, SessionId};
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The largest body of a request with a comment: text, quoted code and context, escaped.
const MAX_COMMENT_BODY: usize = 1024 * 1024;

/// Where comments are looked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommentsQuery {
    /// The scope that is shown, whose base has the lines of the old side; each comment's own
    /// otherwise.
    #[param(inline)]
    scope: Option<Scope>,
}

/// The session's comments, oldest first, each with its place in the tree as it is while the
/// session runs.
#[utoipa::path(get, operation_id = "comments_list", path = "/sessions/{session_id}/comments", tag = "changes", params(("session_id" = SessionId, Path), CommentsQuery), responses((status = 200, body = Vec<Comment>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<CommentsQuery>,
) -> ApiResult<Json<Vec<Comment>>> {
    Ok(Json(app.sessions.comments(&caller.ctx, id, query.scope).await?))
}

/// Writes a draft. It leaves with a message that names it.
#[utoipa::path(post, operation_id = "comments_create", path = "/sessions/{session_id}/comments", tag = "changes", params(("session_id" = SessionId, Path)), request_body = NewComment, responses((status = 201, body = Comment)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(new): Json<NewComment, MAX_COMMENT_BODY>,
) -> ApiResult<(StatusCode, Json<Comment>)> {
    let comment = app.sessions.add_comment(&caller.ctx, id, new).await?;
    Ok((StatusCode::CREATED, Json(comment)))
}

/// Changes a draft.
#[utoipa::path(patch, operation_id = "comments_change", path = "/sessions/{session_id}/comments/{comment_id}", tag = "changes", params(("session_id" = SessionId, Path), ("comment_id" = CommentId, Path)), request_body = CommentPatch, responses((status = 200, body = Comment)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path((id, comment)): Path<(SessionId, CommentId)>,
    Json(patch): Json<CommentPatch, MAX_COMMENT_BODY>,
) -> ApiResult<Json<Comment>> {
    Ok(Json(
        app.sessions.change_comment(&caller.ctx, id, comment, patch).await?,
    ))
}

/// Deletes a comment. What was said with a message stays in the conversation.
#[utoipa::path(delete, operation_id = "comments_delete", path = "/sessions/{session_id}/comments/{comment_id}", tag = "changes", params(("session_id" = SessionId, Path), ("comment_id" = CommentId, Path)), responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path((id, comment)): Path<(SessionId, CommentId)>,
) -> ApiResult<StatusCode> {
    app.sessions.delete_comment(&caller.ctx, id, comment).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the caller has viewed. A file with another fingerprint is not viewed.
#[utoipa::path(get, operation_id = "viewed_list", path = "/sessions/{session_id}/changes/viewed", tag = "changes", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<Viewed>)))]
pub(crate) async fn viewed(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<Viewed>>> {
    Ok(Json(app.sessions.viewed(&caller.ctx, id).await?))
}

/// Sets one of the caller's marks, or takes it away.
#[utoipa::path(put, operation_id = "viewed_mark", path = "/sessions/{session_id}/changes/viewed", tag = "changes", params(("session_id" = SessionId, Path)), request_body = MarkViewed, responses((status = 204)))]
pub(crate) async fn mark(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(mark): Json<MarkViewed>,
) -> ApiResult<StatusCode> {
    app.sessions.mark_viewed(&caller.ctx, id, &mark).await?;
    Ok(StatusCode::NO_CONTENT)
}
