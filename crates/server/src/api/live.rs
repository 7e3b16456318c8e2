//! What happens, as it happens.

use axum::extract::State;
use axum::response::Response;
use futures::{FutureExt as _, StreamExt as _};
use mistle_protocol::api::TicketPurpose;
use mistle_protocol::id::SessionId;
use secrecy::SecretString;
use serde::Deserialize;

use super::extract::{Path, Query};
use super::problem::ApiResult;
use super::socket::{Upgrade, text};
use crate::app::App;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveQuery {
    ticket: Option<SecretString>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionLiveQuery {
    #[serde(default)]
    after: u64,
    ticket: Option<SecretString>,
}

/// A WebSocket with every change of the organization's sessions: `LiveMessage`s as JSON text.
#[utoipa::path(get, operation_id = "live_all", path = "/live", tag = "streams", params(("ticket" = String, Query)), security(("ticket" = [])), responses((status = 101, body = mistle_protocol::session::LiveMessage)))]
pub(crate) async fn all(
    State(app): State<App>,
    upgrade: Upgrade,
    Query(query): Query<LiveQuery>,
) -> ApiResult<Response> {
    let admitted = upgrade.admit(&app, query.ticket.as_ref(), &TicketPurpose::Live)?;
    let messages = app.sessions.live_all(&admitted.caller.ctx).await?;
    Ok(admitted.run(&app, "live", |_| {
        async { messages.map(|message| text(&message)).boxed() }.boxed()
    }))
}

/// A WebSocket with a session, its queue, its record after a sequence number, and what follows:
/// `LiveMessage`s as JSON text.
#[utoipa::path(get, operation_id = "live_session", path = "/sessions/{session_id}/live", tag = "streams", params(("session_id" = SessionId, Path), ("after" = Option<u64>, Query, description = "The last sequence number that the reader has."), ("ticket" = String, Query)), security(("ticket" = [])), responses((status = 101, body = mistle_protocol::session::LiveMessage)))]
pub(crate) async fn session(
    State(app): State<App>,
    Path(session_id): Path<SessionId>,
    upgrade: Upgrade,
    Query(query): Query<SessionLiveQuery>,
) -> ApiResult<Response> {
    let admitted = upgrade.admit(&app, query.ticket.as_ref(), &TicketPurpose::SessionLive { session_id })?;
    let messages = app.sessions.live(&admitted.caller.ctx, session_id, query.after).await?;
    Ok(admitted.run(&app, "session", |_| {
        async { messages.map(|message| text(&message)).boxed() }.boxed()
    }))
}
