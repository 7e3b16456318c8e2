//! A session's terminals.

use axum::extract::State;
use axum::extract::ws::Message;
use axum::response::Response;
use futures::stream::{self, BoxStream, Stream};
use futures::{FutureExt as _, StreamExt as _};
use http::StatusCode;
use mistle_protocol::api::{NewTerminal, StreamMessage, TerminalInput, TicketPurpose};
use mistle_protocol::control::{Exit, RenameTerminal, TerminalInfo, TerminalSize, TerminalSkipped};
use mistle_protocol::frame::{Frame, Kind};
use mistle_protocol::id::{SessionId, TerminalId};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
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

/// Gives a terminal a name that every page shows; an empty one takes it away.
#[utoipa::path(patch, operation_id = "terminals_rename", path = "/sessions/{session_id}/terminals/{terminal_id}", tag = "terminals", params(("session_id" = SessionId, Path), ("terminal_id" = TerminalId, Path)), request_body = RenameTerminal, responses((status = 200, body = TerminalInfo)))]
pub(crate) async fn rename(
    State(app): State<App>,
    caller: Caller,
    Path((id, terminal)): Path<(SessionId, TerminalId)>,
    Json(rename): Json<RenameTerminal>,
) -> ApiResult<Json<TerminalInfo>> {
    let renamed = app.sessions.rename_terminal(&caller.ctx, id, terminal, &rename);
    Ok(Json(renamed.await?))
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
    window: Option<u64>,
    ticket: Option<SecretString>,
}

/// A WebSocket to a terminal. Binary messages are its bytes, both ways. Text from the server is a
/// `StreamMessage`: first `attached`, at the end `exit` or `error`. Text to it is a
/// `TerminalInput`.
#[utoipa::path(get, operation_id = "terminals_io", path = "/sessions/{session_id}/terminals/{terminal_id}/io", tag = "streams", params(("session_id" = SessionId, Path), ("terminal_id" = TerminalId, Path), ("offset" = Option<u64>, Query, description = "How many bytes of output the reader has."), ("window" = Option<u64>, Query, description = "How many bytes the reader accepts before it says that it has taken them; any number otherwise."), ("ticket" = String, Query)), security(("ticket" = [])), responses((status = 101, body = StreamMessage)))]
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
            let (taken, window) = (watch::Sender::new(0), query.window);
            let pace = Pace {
                taken: taken.subscribe(),
                window,
            };
            match sessions
                .attach(&ctx, session_id, terminal_id, query.offset, keys(received, taken))
                .await
            {
                Ok(attached) => {
                    let offset = attached.offset;
                    let first = text(&StreamMessage::Attached { offset });
                    stream::once(async { first })
                        .chain(until_end(attached.output, offset, pace))
                        .boxed()
                }
                Err(error) => stream::once(async { failed(error) }).boxed(),
            }
        }
        .boxed()
    }))
}

/// What a reader says, as frames; what it says of its own progress goes to `taken`. Text that is
/// no `TerminalInput` is ignored.
fn keys(received: mpsc::Receiver<Message>, taken: watch::Sender<u64>) -> BoxStream<'static, Frame> {
    ReceiverStream::new(received)
        .filter_map(move |message| std::future::ready(heard(message, &taken)))
        .boxed()
}

fn heard(message: Message, taken: &watch::Sender<u64>) -> Option<Frame> {
    match message {
        Message::Binary(bytes) => Some(Frame::new(Kind::Data, bytes)),
        Message::Text(text) => match serde_json::from_str(&text).ok()? {
            TerminalInput::Resize { cols, rows } => serde_json::to_vec(&TerminalSize { cols, rows })
                .ok()
                .map(|size| Frame::new(Kind::Control, size)),
            TerminalInput::Taken { offset } => {
                taken.send_replace(offset);
                None
            }
        },
        _ => None,
    }
}

/// How far output may go ahead of its reader. Output that is not read here waits in the sandbox.
struct Pace {
    taken: watch::Receiver<u64>,
    window: Option<u64>,
}

impl Pace {
    /// Returns when a reader that was sent the output before `sent` may be sent more.
    async fn room(&mut self, sent: u64, attached: u64) {
        let Some(window) = self.window else { return };
        let fits = |taken: &u64| sent < (*taken).max(attached).saturating_add(window.max(1));
        // Nobody can say any more what was taken once the program has ended. Its last output is
        // no more than the connection's own window.
        let _ = self.taken.wait_for(fits).await;
    }
}

/// Frames as messages, up to the exit or the first failure.
fn until_end(
    mut output: BoxStream<'static, Result<Frame, SessionError>>,
    attached: u64,
    mut pace: Pace,
) -> impl Stream<Item = Message> + Send {
    async_stream::stream! {
        let mut sent = attached;
        loop {
            pace.room(sent, attached).await;
            let Some(frame) = output.next().await else { break };
            if let Ok(Frame { kind: Kind::Screen, payload }) = frame {
                yield text(&StreamMessage::Screen);
                yield Message::Binary(payload);
                continue;
            }
            let Some(message) = message(frame, &mut sent) else { continue };
            let last = matches!(message, Said::Last(_));
            let (Said::More(message) | Said::Last(message)) = message;
            yield message;
            if last {
                break;
            }
        }
    }
}

enum Said {
    More(Message),
    Last(Message),
}

/// A frame as a message; `sent` follows the terminal's output.
fn message(frame: Result<Frame, SessionError>, sent: &mut u64) -> Option<Said> {
    match frame {
        Ok(Frame {
            kind: Kind::Data | Kind::Stdout | Kind::Stderr,
            payload,
        }) => {
            *sent += payload.len() as u64;
            Some(Said::More(Message::Binary(payload)))
        }
        Ok(Frame {
            kind: Kind::Control,
            payload,
        }) => {
            let TerminalSkipped { offset } = serde_json::from_slice(&payload).ok()?;
            *sent = offset;
            Some(Said::More(text(&StreamMessage::Skipped { offset })))
        }
        Ok(Frame {
            kind: Kind::Exit,
            payload,
        }) => Some(Said::Last(exited(&payload))),
        Ok(_) => None,
        Err(error) => Some(Said::Last(failed(error))),
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
