//! One command in a session's sandbox.

use axum::extract::State;
use axum::extract::ws::Message;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream};
use futures::{FutureExt as _, StreamExt as _};
use mistle_protocol::api::{StreamMessage, TicketPurpose};
use mistle_protocol::control::Exec;
use mistle_protocol::frame::{Decoder, Frame, Kind};
use mistle_protocol::id::SessionId;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::extract::{Path, Query};
use super::problem::ApiResult;
use super::socket::Upgrade;
use super::terminals::{exited, failed};
use crate::app::App;
use crate::sessions::SessionError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecQuery {
    ticket: Option<SecretString>,
}

/// A WebSocket that runs one command. The first message is an `Exec` as JSON text. Binary messages
/// are frames (one kind byte, four bytes of length in big endian, the payload): standard input (0)
/// and its end (5) to the server; standard output (1) and error (2) from it. At the end the server
/// says `exit` or `error` as a `StreamMessage`.
#[utoipa::path(get, operation_id = "exec_run", path = "/sessions/{session_id}/exec", tag = "streams", params(("session_id" = SessionId, Path), ("ticket" = String, Query)), security(("ticket" = [])), responses((status = 101, body = StreamMessage)))]
pub(crate) async fn run(
    State(app): State<App>,
    Path(session_id): Path<SessionId>,
    upgrade: Upgrade,
    Query(query): Query<ExecQuery>,
) -> ApiResult<Response> {
    let admitted = upgrade.admit(&app, query.ticket.as_ref(), &TicketPurpose::Exec { session_id })?;
    let (sessions, ctx) = (app.sessions.clone(), admitted.caller.ctx.clone());
    Ok(admitted.run(&app, "exec", move |mut received| {
        async move {
            let started = async {
                let exec = command(received.recv().await)?;
                sessions.exec(&ctx, session_id, exec, stdin(received)).await
            };
            match started.await {
                Ok(output) => until_end(output).boxed(),
                Err(error) => stream::once(async { failed(error) }).boxed(),
            }
        }
        .boxed()
    }))
}

fn command(first: Option<Message>) -> Result<Exec, SessionError> {
    let invalid = |message: String| SessionError::Invalid {
        kind: "exec-invalid",
        pointer: "",
        message,
    };
    let Some(Message::Text(text)) = first else {
        return Err(invalid("The first message must be a command as JSON text.".to_owned()));
    };
    serde_json::from_str(&text).map_err(|error| invalid(format!("The command can't be read: {error}")))
}

/// Standard input, until its end is said or the peer is gone.
fn stdin(mut received: mpsc::Receiver<Message>) -> BoxStream<'static, Bytes> {
    async_stream::stream! {
        let mut decoder = Decoder::default();
        while let Some(message) = received.recv().await {
            let Message::Binary(bytes) = message else { continue };
            decoder.push(&bytes);
            loop {
                match decoder.next_frame() {
                    Ok(Some(Frame { kind: Kind::Data, payload })) => yield payload,
                    Ok(Some(Frame { kind: Kind::Eof, .. })) | Err(_) => return,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                }
            }
        }
    }
    .boxed()
}

fn until_end(mut output: BoxStream<'static, Result<Frame, SessionError>>) -> impl Stream<Item = Message> + Send {
    async_stream::stream! {
        while let Some(frame) = output.next().await {
            match frame {
                Ok(frame) if matches!(frame.kind, Kind::Stdout | Kind::Stderr) => yield Message::Binary(frame.encode()),
                Ok(frame) if frame.kind == Kind::Exit => {
                    yield exited(&frame.payload);
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    yield failed(error);
                    return;
                }
            }
        }
        yield failed(SessionError::Unavailable { message: "The connection to the sandbox ended before the command did.".to_owned() });
    }
}
