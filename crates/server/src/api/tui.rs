//! The runtime's own interface.

use axum::extract::State;
use mistle_protocol::api::NewTui;
use mistle_protocol::control::TerminalInfo;
use mistle_protocol::id::SessionId;

use super::extract::{Json, Path};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// Opens the runtime's own interface on a conversation's live thread, in a terminal of kind `tui`;
/// the one that runs already is answered instead. It is attached and closed like any terminal.
#[utoipa::path(post, operation_id = "tui_open", path = "/sessions/{session_id}/tui", tag = "terminals", params(("session_id" = SessionId, Path)), request_body = NewTui, responses((status = 200, body = TerminalInfo)))]
pub(crate) async fn open(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(new): Json<NewTui>,
) -> ApiResult<Json<TerminalInfo>> {
    Ok(Json(app.sessions.open_tui(&caller.ctx, id, new).await?))
}
