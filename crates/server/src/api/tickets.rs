//! Tickets for WebSocket upgrades.

use std::time::Instant;

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::api::{Ticket, TicketPurpose};
use secrecy::ExposeSecret as _;

use super::extract::Json;
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::Caller;

/// When there are too many unspent tickets: until the oldest expire.
const RETRY_SECS: u64 = 30;

/// A one-use ticket, valid for 30 seconds.
#[utoipa::path(post, operation_id = "tickets_create", path = "/tickets", tag = "streams", request_body = TicketPurpose, responses((status = 201, body = Ticket)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(purpose): Json<TicketPurpose>,
) -> ApiResult<(StatusCode, Json<Ticket>)> {
    // A browser can't read why an upgrade was refused; here it can.
    match &purpose {
        TicketPurpose::Live => {}
        TicketPurpose::SessionLive { session_id }
        | TicketPurpose::Terminal { session_id, .. }
        | TicketPurpose::Exec { session_id } => {
            app.sessions.get(&caller.ctx, *session_id).await?;
        }
    }
    let ticket = app
        .tickets
        .issue(&caller, purpose, Instant::now())
        .ok_or_else(|| ApiError::rate_limited(RETRY_SECS))?;
    Ok((
        StatusCode::CREATED,
        Json(Ticket {
            ticket: ticket.expose_secret().to_owned(),
        }),
    ))
}
