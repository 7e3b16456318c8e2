//! The server itself.

use axum::extract::State;
use mistle_protocol::api::{MAX_MESSAGE_ATTACHMENTS, MAX_MESSAGE_BYTES, MAX_QUEUED_MESSAGES, ServerInfo};

use super::extract::Json;
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// The server's version and limits.
#[utoipa::path(get, operation_id = "server_show", path = "/server", tag = "server", responses((status = 200, body = ServerInfo)))]
pub(crate) async fn show(State(app): State<App>, _: Caller) -> ApiResult<Json<ServerInfo>> {
    Ok(Json(ServerInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        public_url: app.public_url.origin().ascii_serialization(),
        max_message_bytes: MAX_MESSAGE_BYTES as u64,
        max_queued_messages: MAX_QUEUED_MESSAGES,
        max_attachment_bytes: app.config.limits.attachment_bytes,
        max_message_attachments: MAX_MESSAGE_ATTACHMENTS as u32,
    }))
}
