//! The approvals that wait in a session.

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::agent::Approval;
use mistle_protocol::control::Answer;
use mistle_protocol::id::SessionId;

use super::extract::{Json, Path};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The approvals that wait, oldest first.
#[utoipa::path(get, operation_id = "approvals_list", path = "/sessions/{session_id}/approvals", tag = "approvals", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<Approval>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<Approval>>> {
    Ok(Json(app.sessions.approvals(&caller.ctx, id).await?))
}

/// Answers an approval. The first answer counts.
#[utoipa::path(post, operation_id = "approvals_answer", path = "/sessions/{session_id}/approvals/{approval_id}", tag = "approvals", params(("session_id" = SessionId, Path), ("approval_id" = String, Path)), request_body = Answer, responses((status = 204)))]
pub(crate) async fn answer(
    State(app): State<App>,
    caller: Caller,
    Path((id, approval)): Path<(SessionId, String)>,
    Json(answer): Json<Answer>,
) -> ApiResult<StatusCode> {
    app.sessions.answer(&caller.ctx, id, &approval, answer).await?;
    Ok(StatusCode::NO_CONTENT)
}
