//! JSON-RPC over a WebSocket over a Unix socket.
//!
//! A call reads until its answer comes and keeps what it meets on the way for later, so messages
//! are handled in the order in which they were sent and there is one reader.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;

use super::super::runtime::CallError;
use super::wire::Message;

/// The longest that the app-server may take to answer. It answers from memory or its own disk;
/// model requests are not waited for. Twenty of them starting on two cores need the slack.
const CALL_LIMIT: Duration = Duration::from_mins(1);
/// What may arrive during one call.
const MAX_BACKLOG: usize = 100_000;

/// What the app-server says on its own.
#[derive(Debug)]
pub(super) enum Incoming {
    Notification { method: String, params: Value },
    Request { id: Value, method: String, params: Value },
}

/// A client's side of the connection.
#[derive(Debug)]
pub(super) struct Connection {
    socket: WebSocketStream<UnixStream>,
    next_id: u64,
    backlog: VecDeque<Incoming>,
}

fn gone(why: impl std::fmt::Display) -> CallError {
    CallError::Gone(why.to_string())
}

/// What the app-server's no means.
fn refused(message: String) -> CallError {
    if ["No space left on device", "Disk quota exceeded"]
        .iter()
        .any(|full| message.contains(full))
    {
        CallError::DiskFull
    } else {
        CallError::Refused(message)
    }
}

impl Connection {
    /// Upgrades a connected socket.
    pub(super) async fn upgrade(stream: UnixStream) -> Result<Self, CallError> {
        // The host is not looked at on a Unix socket.
        let upgrade = tokio_tungstenite::client_async("ws://localhost/", stream);
        let (socket, _) = tokio::time::timeout(CALL_LIMIT, upgrade)
            .await
            .map_err(gone)?
            .map_err(gone)?;
        Ok(Self {
            socket,
            next_id: 0,
            backlog: VecDeque::new(),
        })
    }

    /// Calls a method and waits for its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: impl Serialize,
    ) -> Result<T, CallError> {
        self.next_id += 1;
        let id = self.next_id;
        self.write(json!({ "id": id, "method": method, "params": params }))
            .await?;
        let answer = tokio::time::timeout(CALL_LIMIT, self.answer_to(id))
            .await
            .map_err(|_| gone(format!("{method} got no answer within {} s", CALL_LIMIT.as_secs())))??;
        serde_json::from_value(answer)
            .map_err(|error| CallError::Refused(format!("{method} answered something unknown: {error}")))
    }

    /// Says something that needs no answer.
    pub(super) async fn notify(&mut self, method: &str) -> Result<(), CallError> {
        self.write(json!({ "method": method })).await
    }

    /// Answers a request.
    pub(super) async fn respond(&mut self, id: &Value, result: Value) -> Result<(), CallError> {
        self.write(json!({ "id": id, "result": result })).await
    }

    /// Refuses a request that this client does not know.
    pub(super) async fn refuse(&mut self, id: &Value, method: &str) -> Result<(), CallError> {
        const METHOD_NOT_FOUND: i32 = -32601;
        self.write(
            json!({ "id": id, "error": { "code": METHOD_NOT_FOUND, "message": format!("{method} is not supported") } }),
        )
        .await
    }

    /// What comes next. None when the connection is over.
    pub(super) async fn next(&mut self) -> Option<Incoming> {
        if let Some(incoming) = self.backlog.pop_front() {
            return Some(incoming);
        }
        loop {
            match self.read().await {
                Ok((incoming, _)) if incoming.is_some() => return incoming,
                // The answer to a call that was given up.
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// What was said while calls were waiting for their answers.
    pub(super) fn take_backlog(&mut self) -> VecDeque<Incoming> {
        std::mem::take(&mut self.backlog)
    }

    async fn answer_to(&mut self, id: u64) -> Result<Value, CallError> {
        loop {
            match self.read().await? {
                (Some(incoming), _) if self.backlog.len() < MAX_BACKLOG => self.backlog.push_back(incoming),
                (Some(_), _) => return Err(gone("it talks without end")),
                (None, Some(message)) if message.id.as_ref().and_then(Value::as_u64) == Some(id) => {
                    return match message.error {
                        Some(error) => Err(refused(error.message)),
                        None => Ok(message.result.unwrap_or_default()),
                    };
                }
                (None, _) => {}
            }
        }
    }

    /// One message: something said on its own, or an answer.
    async fn read(&mut self) -> Result<(Option<Incoming>, Option<Message>), CallError> {
        loop {
            let frame = self
                .socket
                .next()
                .await
                .ok_or_else(|| gone("the connection ended"))?
                .map_err(gone)?;
            let text = match frame {
                Frame::Text(text) => text,
                Frame::Close(_) => return Err(gone("the connection was closed")),
                _ => continue,
            };
            let message: Message = match serde_json::from_str(&text) {
                Ok(message) => message,
                Err(error) => {
                    tracing::warn!(%error, "the app-server said something that is no JSON-RPC");
                    continue;
                }
            };
            return Ok(match (message.method.clone(), message.id.clone()) {
                (Some(method), Some(id)) => (
                    Some(Incoming::Request {
                        id,
                        method,
                        params: message.params,
                    }),
                    None,
                ),
                (Some(method), None) => (
                    Some(Incoming::Notification {
                        method,
                        params: message.params,
                    }),
                    None,
                ),
                (None, _) => (None, Some(message)),
            });
        }
    }

    async fn write(&mut self, message: Value) -> Result<(), CallError> {
        let send = self.socket.send(Frame::text(message.to_string()));
        tokio::time::timeout(CALL_LIMIT, send)
            .await
            .map_err(gone)?
            .map_err(gone)
    }
}
