//! A session's terminals.

use axum::extract::State;
use axum::extract::ws::Message;
use axum::response::Response;
use futures::stream::{self, BoxStream, Stream};
use futures::{FutureExt as _, StreamExt as _};
use http::StatusCode;
use mistle_protocol::api::{NewTerminal, StreamMessage, TerminalInput, TicketPurpose};
use mistle_protocol::control::{Exit, TerminalInfo, TerminalSize};
use mistle_protocol::frame::{Frame, Kind};
use mistle_protocol::id::{SessionId, TerminalId};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::extract::{Json, Path, Query};
use super::problem::{ApiError, ApiResult};
use super::socket::{Upgrade, text};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::sessions::SessionError;

/// The session's terminals, oldest first.
#[utoipa::path(get, operation_id = "terminals_list", path = "/sessions/{session_id}/terminals", tag = "terminals", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<TerminalInfo>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<TerminalInfo>>> {
    Ok(Json(app.sessions.terminals(&caller.ctx, id).await?))
}

/// Opens a terminal with a login shell. It lives in the sandbox until it is closed.
#[utoipa::path(post, operation_id = "terminals_open", path = "/sessions/{session_id}/terminals", tag = "terminals", params(("session_id" = SessionId, Path)), request_body = NewTerminal, responses((status = 201, body = TerminalInfo)))]
pub(crate) async fn open(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Json(new): Json<NewTerminal>,
) -> ApiResult<(StatusCode, Json<TerminalInfo>)> {
    Ok((
        StatusCode::CREATED,
        Json(app.sessions.open_terminal(&caller.ctx, id, new).await?),
    ))
}

/// Ends a terminal.
#[utoipa::path(delete, operation_id = "terminals_close", path = "/sessions/{session_id}/terminals/{terminal_id}", tag = "terminals", params(("session_id" = SessionId, Path), ("terminal_id" = TerminalId, Path)), responses((status = 204)))]
pub(crate) async fn close(
    State(app): State<App>,
    caller: Caller,
    Path((id, terminal)): Path<(SessionId, TerminalId)>,
) -> ApiResult<StatusCode> {
    app.sessions.close_terminal(&caller.ctx, id, terminal).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IoQuery {
    #[serde(default)]
    offset: u64,
    ticket: Option<SecretString>,
}

/// A WebSocket to a terminal. Binary messages are its bytes, both ways. Text from the server is a
/// `StreamMessage`: first `attached`, at the end `exit` or `error`. Text to it is a
/// `TerminalInput`.
#[utoipa::path(get, operation_id = "terminals_io", path = "/sessions/{session_id}/terminals/{terminal_id}/io", tag = "streams", params(("session_id" = SessionId, Path), ("terminal_id" = TerminalId, Path), ("offset" = Option<u64>, Query, description = "How many bytes of output the reader has."), ("ticket" = String, Query)), security(("ticket" = [])), responses((status = 101, body = StreamMessage)))]
pub(crate) async fn io(
    State(app): State<App>,
    Path((session_id, terminal_id)): Path<(SessionId, TerminalId)>,
    upgrade: Upgrade,
    Query(query): Query<IoQuery>,
) -> ApiResult<Response> {
    let admitted = upgrade.admit(
        &app,
        query.ticket.as_ref(),
        &TicketPurpose::Terminal {
            session_id,
            terminal_id,
        },
    )?;
    let (sessions, ctx) = (app.sessions.clone(), admitted.caller.ctx.clone());
    Ok(admitted.run(&app, "terminal", move |received| {
        async move {
            // Attached after the upgrade: a browser can't read why an upgrade failed.
            match sessions
                .attach(&ctx, session_id, terminal_id, query.offset, keys(received))
                .await
            {
                Ok(attached) => {
                    let first = text(&StreamMessage::Attached {
                        offset: attached.offset,
                    });
                    stream::once(async { first }).chain(until_end(attached.output)).boxed()
                }
                Err(error) => stream::once(async { failed(error) }).boxed(),
            }
        }
        .boxed()
    }))
}

/// What a reader says, as frames. Text that is no `TerminalInput` is ignored.
fn keys(received: mpsc::Receiver<Message>) -> BoxStream<'static, Frame> {
    ReceiverStream::new(received)
        .filter_map(async |message| match message {
            Message::Binary(bytes) => Some(Frame::new(Kind::Data, bytes)),
            Message::Text(text) => {
                let TerminalInput::Resize { cols, rows } = serde_json::from_str(&text).ok()?;
                serde_json::to_vec(&TerminalSize { cols, rows })
                    .ok()
                    .map(|size| Frame::new(Kind::Control, size))
            }
            _ => None,
        })
        .boxed()
}

/// Frames as messages, up to the exit or the first failure.
fn until_end(mut output: BoxStream<'static, Result<Frame, SessionError>>) -> impl Stream<Item = Message> + Send {
    async_stream::stream! {
        while let Some(frame) = output.next().await {
            let Some(message) = message(frame) else { continue };
            let more = matches!(message, Message::Binary(_));
            yield message;
            if !more {
                break;
            }
        }
    }
}

fn message(frame: Result<Frame, SessionError>) -> Option<Message> {
    match frame {
        Ok(Frame {
            kind: Kind::Data | Kind::Stdout | Kind::Stderr,
            payload,
        }) => Some(Message::Binary(payload)),
        Ok(Frame {
            kind: Kind::Exit,
            payload,
        }) => Some(exited(&payload)),
        Ok(_) => None,
        Err(error) => Some(failed(error)),
    }
}

/// The last message of a program that ended.
pub(super) fn exited(payload: &[u8]) -> Message {
    match serde_json::from_slice::<Exit>(payload) {
        Ok(Exit { code, error }) => text(&StreamMessage::Exit { code, error }),
        Err(error) => failed(SessionError::Internal(Box::new(error))),
    }
}

/// The last message of a stream that can't go on.
pub(super) fn failed(error: SessionError) -> Message {
    let error = ApiError::from(error);
    text(&StreamMessage::Error {
        problem: error.problem(),
    })
}
