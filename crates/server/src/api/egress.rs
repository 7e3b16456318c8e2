//! The record of a session's outgoing connections.

use axum::extract::State;
use mistle_protocol::api::Page;
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::id::SessionId;

use super::extract::{Json, PageQuery, Path, Query};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// A session's outgoing connections, newest first.
#[utoipa::path(get, operation_id = "egress_list", path = "/sessions/{session_id}/egress", tag = "sessions", params(("session_id" = SessionId, Path), PageQuery), responses((status = 200, body = Page<EgressRecord>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<EgressRecord>>> {
    let limit = page.limit()?;
    Ok(Json(
        app.sessions
            .egress(&caller.ctx, id, page.cursor.as_deref(), limit)
            .await?,
    ))
}
