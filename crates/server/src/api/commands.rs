//! The runtime's own commands.

use axum::extract::State;
use http::StatusCode;
use mistle_protocol::commands::{CommandTaken, RunCommand, RuntimeCommand};
use mistle_protocol::id::SessionId;

use super::extract::{IdempotencyKey, Json, Path};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;

/// What the runtime can be told besides messages, with the skills that it finds from the primary
/// workspace.
#[utoipa::path(get, operation_id = "commands_list", path = "/sessions/{session_id}/commands", tag = "sessions", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<RuntimeCommand>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<RuntimeCommand>>> {
    Ok(Json(app.sessions.commands(&caller.ctx, id).await?))
}

/// Runs a command. It is not queued: one that can't run is refused. What it does is in the record.
/// The same `Idempotency-Key` again answers as before and runs nothing again.
#[utoipa::path(post, operation_id = "commands_run", path = "/sessions/{session_id}/commands", tag = "sessions", params(("session_id" = SessionId, Path), ("Idempotency-Key" = Option<String>, Header, max_length = 128)), request_body = RunCommand, responses((status = 202, body = CommandTaken)))]
pub(crate) async fn run(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    IdempotencyKey(key): IdempotencyKey,
    Json(command): Json<RunCommand>,
) -> ApiResult<(StatusCode, Json<CommandTaken>)> {
    let taken = app
        .sessions
        .run_command(&caller.ctx, id, command, key.as_deref())
        .await?;
    Ok((StatusCode::ACCEPTED, Json(taken)))
}
