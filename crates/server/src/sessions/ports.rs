//! A session's ports: the list as it changes, and connections to them.
//!
//! The list is [`watched`](super::watched); it is a sandbox's word and is bounded before anybody
//! sees it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::{Stream as _, StreamExt as _};
use http::{Method, StatusCode};
use http_body_util::{BodyDataStream, BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use mistle_model::OpContext;
use mistle_protocol::id::SessionId;
use mistle_protocol::ports::{Port, bounded};
use mistle_protocol::session::LiveMessage;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;

use super::control::{ANSWER_WITHIN, Control, ControlError, successful, within};
use super::watched::Watchable;
use super::{Result, SessionError, Sessions};

/// How long a program may take to accept a connection. Above the daemon's own limit, for its answer
/// says more.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);
/// Bytes written at once, and how many such pieces wait for the link. Small: what waits here is
/// late already.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 2;

impl Sessions {
    /// What listens in the sandbox, the lowest port first.
    pub async fn ports(&self, ctx: &OpContext, id: SessionId) -> Result<Vec<Port>> {
        let (_, control) = self.control(ctx, id).await?;
        let ports = control.ask(Method::GET, "/ports", None::<&()>, ANSWER_WITHIN).await?;
        Ok(bounded(ports))
    }

    /// A connection to a port of the sandbox. "Port not found" when nothing listens there.
    pub async fn connect_port(&self, ctx: &OpContext, id: SessionId, port: u16) -> Result<PortStream> {
        let (_, control) = self.control(ctx, id).await?;
        PortStream::open(&control, port).await.map_err(|error| match error {
            ControlError::Problem { status, .. } if status == StatusCode::NOT_FOUND => {
                SessionError::NotFound { what: "port" }
            }
            error => error.into(),
        })
    }
}

/// A connection to a program in a sandbox. The end of one direction leaves the other open; dropped,
/// the connection is over.
pub struct PortStream {
    /// None once everything was said.
    input: Option<PollSender<Bytes>>,
    output: BodyDataStream<Incoming>,
    /// What came and was not read yet.
    left: Bytes,
    /// How it ended, which is told after everything that came before.
    failed: Option<io::Error>,
}

impl PortStream {
    async fn open(control: &Control, port: u16) -> std::result::Result<Self, ControlError> {
        let (input, pieces) = mpsc::channel(PIECES);
        let body = ReceiverStream::new(pieces).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        let path = format!("/ports/{port}/connect");
        let sent = control.send(Method::POST, &path, StreamBody::new(body).boxed_unsync());
        let response = successful(within(CONNECT_WITHIN, sent).await?).await?;
        Ok(Self {
            input: Some(PollSender::new(input)),
            output: response.into_body().into_data_stream(),
            left: Bytes::new(),
            failed: None,
        })
    }
}

impl std::fmt::Debug for PortStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortStream").finish_non_exhaustive()
    }
}

impl AsyncRead for PortStream {
    /// As much as is there and fits: a large answer is handed on in few large pieces.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let begin = buffer.filled().len();
        while buffer.remaining() > 0 && self.failed.is_none() {
            if self.left.is_empty() {
                match Pin::new(&mut self.output).poll_next(cx) {
                    Poll::Ready(Some(Ok(bytes))) => self.left = bytes,
                    Poll::Ready(Some(Err(error))) => {
                        self.failed = Some(io::Error::new(io::ErrorKind::ConnectionReset, error));
                    }
                    Poll::Pending if buffer.filled().len() == begin => return Poll::Pending,
                    // The end, or nothing more for now.
                    Poll::Ready(None) | Poll::Pending => return Poll::Ready(Ok(())),
                }
            }
            let length = self.left.len().min(buffer.remaining());
            buffer.put_slice(&self.left[..length]);
            self.left.advance(length);
        }
        match self.failed.take_if(|_| buffer.filled().len() == begin) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for PortStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        // Peers take empty pieces that end nothing for an attack.
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Some(input) = &mut self.input else {
            return Poll::Ready(Err(gone()));
        };
        if ready!(input.poll_reserve(cx)).is_err() {
            return Poll::Ready(Err(gone()));
        }
        let length = bytes.len().min(PIECE);
        let sent = input.send_item(Bytes::copy_from_slice(&bytes[..length]));
        Poll::Ready(sent.map(|()| length).map_err(|_| gone()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input = None;
        Poll::Ready(Ok(()))
    }
}

impl Watchable for Port {
    const PATH: &'static str = "/ports/watch";

    fn bounded(ports: Vec<Self>) -> Vec<Self> {
        bounded(ports)
    }

    fn message(ports: Vec<Self>) -> LiveMessage {
        LiveMessage::Ports { ports }
    }
}
