//! A session's record.

use axum::extract::State;
use mistle_protocol::api::Page;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::SessionEvent;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{self, Json, Path, Query};
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::Caller;

/// The largest page, and the page unless told: events are small and a record has thousands.
const PAGE: (u32, u32) = (1000, 200);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Events after this sequence number; from the beginning otherwise.
    after: Option<u64>,
    /// `next_cursor` of the page before; goes before `after`.
    cursor: Option<String>,
    /// How many, 1 to 1,000; 200 otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A session's events, oldest first.
#[utoipa::path(get, operation_id = "events_list", path = "/sessions/{session_id}/events", tag = "sessions", params(("session_id" = SessionId, Path), EventsQuery), responses((status = 200, body = Page<SessionEvent>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<EventsQuery>,
) -> ApiResult<Json<Page<SessionEvent>>> {
    let limit = extract::limit(query.limit, PAGE)?;
    let after = match &query.cursor {
        Some(cursor) => cursor
            .parse()
            .map_err(|_| ApiError::bad_request("`cursor` is none that this list gave."))?,
        None => query.after.unwrap_or(0),
    };
    Ok(Json(app.sessions.events(&caller.ctx, id, after, limit).await?))
}
