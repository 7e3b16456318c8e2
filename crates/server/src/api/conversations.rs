//! A session's conversations.

use axum::extract::State;
use mistle_protocol::agent::Conversation;
use mistle_protocol::id::SessionId;

use super::extract::{Json, Path};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The runtime's threads in this session, oldest first.
#[utoipa::path(get, operation_id = "conversations_list", path = "/sessions/{session_id}/conversations", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<Conversation>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<Conversation>>> {
    Ok(Json(app.sessions.conversations(&caller.ctx, id).await?))
}
