//! A session's conversations.

use axum::extract::State;
use mistle_protocol::api::ConversationPatch;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::ConversationSummary;

use super::extract::{Json, Path};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The runtime's threads in this session, oldest first, archived ones included. A message with the
/// destination `new` starts another one.
#[utoipa::path(get, operation_id = "conversations_list", path = "/sessions/{session_id}/conversations", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<ConversationSummary>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<ConversationSummary>>> {
    Ok(Json(app.sessions.conversations(&caller.ctx, id).await?))
}

/// Names a conversation, puts it aside or brings it back. One in which a turn runs can't be put
/// aside.
#[utoipa::path(patch, operation_id = "conversations_change", path = "/sessions/{session_id}/conversations/{conversation_id}", tag = "sessions", params(("session_id" = SessionId, Path), ("conversation_id" = String, Path)), request_body = ConversationPatch, responses((status = 200, body = ConversationSummary)))]
pub(crate) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path((id, conversation)): Path<(SessionId, String)>,
    Json(patch): Json<ConversationPatch>,
) -> ApiResult<Json<ConversationSummary>> {
    Ok(Json(
        app.sessions
            .patch_conversation(&caller.ctx, id, conversation, patch)
            .await?,
    ))
}
