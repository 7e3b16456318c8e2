//! WebSockets: letting them in, and moving messages both ways.
//!
//! Both ways run on their own, so that a reader who does not read can't stop what it sends from
//! being read, and every wait has an end: a peer that does not take a message, or says nothing for
//! three pings, is gone.

use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures::stream::BoxStream;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use http::HeaderMap;
use http::request::Parts;
use mistle_protocol::api::TicketPurpose;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{broadcast, mpsc};

use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::{Caller, Credential};
use crate::metrics::Gauge;

/// Between pings: below the idle limits of the usual proxies (60 s).
const PING: Duration = Duration::from_secs(20);
/// A peer that says nothing for this long, pongs included, is gone.
const SILENCE: Duration = Duration::from_secs(65);
/// How long a peer may take to accept what is sent at once.
const SEND: Duration = Duration::from_secs(30);
/// Messages that are sent at once when they are there.
const MAX_AT_ONCE: usize = 256;
/// The largest message from a peer.
pub(super) const MAX_MESSAGE: usize = mistle_protocol::frame::MAX_PAYLOAD;
/// What may wait to be written to a slow peer, in bytes; beyond it, the sender waits.
const MAX_WRITE_BUFFER: usize = 4 * 1024 * 1024;

/// How long a peer may take to say goodbye.
const CLOSING: Duration = Duration::from_secs(2);

/// Everything was said.
const CLOSE_NORMAL: u16 = 1000;
/// The server goes away; connect again.
const CLOSE_AWAY: u16 = 1001;
/// The credential was revoked; signing in again is needed.
const CLOSE_REVOKED: u16 = 4401;

/// A request for a WebSocket, not yet let in.
pub(super) struct Upgrade {
    headers: HeaderMap,
    socket: Result<WebSocketUpgrade, ApiError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let headers = parts.headers.clone();
        let socket = WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::bad_request(format!("This is a WebSocket: {}", error.body_text())));
        Ok(Self { headers, socket })
    }
}

/// A WebSocket that was let in.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    socket: WebSocketUpgrade,
    revoked: broadcast::Receiver<Credential>,
}

impl Upgrade {
    /// Checks the origin and spends the ticket.
    pub(super) fn admit(
        self,
        app: &App,
        ticket: Option<&SecretString>,
        purpose: &TicketPurpose,
    ) -> ApiResult<Admitted> {
        let ticket = ticket.ok_or_else(ApiError::unauthenticated)?;
        if !app.origins.allow(&self.headers) {
            return Err(ApiError::forbidden(
                "foreign-origin",
                "WebSockets open from this server's own page only.",
            ));
        }
        // Before the ticket is spent, so that no revocation falls between.
        let revoked = app.revoked.subscribe();
        let caller = app.tickets.spend(ticket.expose_secret(), purpose, Instant::now()).ok_or_else(|| {
            ApiError::forbidden(
                "ticket-invalid",
                "The ticket was used already, is older than 30 seconds, or is for something else. Ask for another one.",
            )
        })?;
        Ok(Admitted {
            caller,
            socket: self.socket?,
            revoked,
        })
    }
}

impl Admitted {
    /// Answers the upgrade and runs the socket: `outgoing` is sent until it ends; what the peer
    /// says goes to `incoming`.
    pub(super) fn run<F, Fut>(self, app: &App, kind: &'static str, serve: F) -> Response
    where
        F: FnOnce(mpsc::Receiver<Message>) -> Fut + Send + 'static,
        Fut: Future<Output = BoxStream<'static, Message>> + Send + 'static,
    {
        let Self {
            caller,
            socket,
            revoked,
        } = self;
        let (shutdown, streams) = (app.shutdown.clone(), app.streams.clone());
        socket
            .max_message_size(MAX_MESSAGE)
            .max_frame_size(MAX_MESSAGE)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .on_upgrade(move |socket| {
                streams.track_future(async move {
                    let _open = Gauge::stream(kind);
                    // One message waits while another is handled; more wait in the peer's window.
                    let (incoming, received) = mpsc::channel(1);
                    let ended = async {
                        tokio::select! {
                            () = shutdown.cancelled() => CLOSE_AWAY,
                            () = until_revoked(revoked, &caller.credential) => CLOSE_REVOKED,
                        }
                    };
                    pump(socket, serve(received), incoming, ended).await;
                })
            })
    }
}

async fn until_revoked(mut revoked: broadcast::Receiver<Credential>, own: &Credential) {
    loop {
        match revoked.recv().await {
            Ok(credential) if credential != *own => {}
            // Ours; or some were missed, and ours may be among them.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn pump(
    socket: WebSocket,
    outgoing: impl Future<Output = BoxStream<'static, Message>>,
    incoming: mpsc::Sender<Message>,
    ended: impl Future<Output = u16>,
) {
    let (mut sink, mut source) = socket.split();

    let write = async {
        let mut outgoing = outgoing.await;
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        loop {
            let message = tokio::select! {
                message = outgoing.next() => match message {
                    Some(message) => message,
                    None => return Some(CLOSE_NORMAL),
                },
                _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
            };
            let send = async {
                sink.feed(message).await?;
                // What else is there goes along: a long record is not ten thousand small packets.
                let mut more = true;
                for _ in 1..MAX_AT_ONCE {
                    match outgoing.next().now_or_never() {
                        Some(Some(message)) => sink.feed(message).await?,
                        Some(None) => {
                            more = false;
                            break;
                        }
                        None => break,
                    }
                }
                sink.flush().await.map(|()| more)
            };
            match tokio::time::timeout(SEND, send).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Some(CLOSE_NORMAL),
                _ => return None,
            }
        }
    };
    let read = async {
        loop {
            match tokio::time::timeout(SILENCE, source.next()).await {
                Ok(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => {
                    // Nobody listens on a live stream; what a peer says there is ignored.
                    let _ = incoming.send(message).await;
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return None,
            }
        }
    };
    let code = tokio::select! {
        code = write => code,
        code = read => code,
        code = ended => Some(code),
    };
    if let Some(code) = code {
        let close = Message::Close(Some(CloseFrame {
            code,
            reason: "".into(),
        }));
        let _ = tokio::time::timeout(CLOSING, sink.send(close)).await;
        // The peer's own close frame, so that nothing that was sent is cut off.
        let _ = tokio::time::timeout(CLOSING, async { while let Some(Ok(_)) = source.next().await {} }).await;
    }
}

/// A message as JSON text.
pub(super) fn text<T: serde::Serialize>(message: &T) -> Message {
    Message::Text(serde_json::to_string(message).unwrap_or_default().into())
}
