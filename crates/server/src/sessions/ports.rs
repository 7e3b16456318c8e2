//! A session's ports: the list as it changes, and connections to them.
//!
//! However many pages show a session, its daemon is watched once, and only while somebody reads:
//! watching costs the sandbox a little, always. A list is a sandbox's word and is bounded before
//! anybody sees it; one that changes faster than [`PACE`] is read that slowly.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream as _, StreamExt as _, TryStreamExt as _};
use http::{Method, StatusCode};
use http_body_util::{BodyDataStream, BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use mistle_model::OpContext;
use mistle_protocol::id::SessionId;
use mistle_protocol::ports::{Port, bounded};
use mistle_protocol::session::{LiveMessage, SessionState};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;

use super::control::{ANSWER_WITHIN, Control, ControlError, empty, successful, within};
use super::driver::View;
use super::{Result, SessionError, Sessions};

/// The longest list, in bytes: as many ports as there may be, each text at its limit and escaped.
const MAX_LIST: usize = 1024 * 1024;
/// The shortest time between two lists.
const PACE: Duration = Duration::from_millis(50);
/// The first and the longest wait before a daemon that does not tell its ports is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
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
        })
    }
}

impl std::fmt::Debug for PortStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortStream").finish_non_exhaustive()
    }
}

impl AsyncRead for PortStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(Pin::new(&mut self.output).poll_next(cx)) {
                Some(Ok(bytes)) => self.left = bytes,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.left.len().min(buffer.remaining());
        buffer.put_slice(&self.left[..length]);
        self.left.advance(length);
        Poll::Ready(Ok(()))
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

/// The sessions whose ports somebody reads.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_session: Mutex<HashMap<SessionId, Weak<Watched>>>,
}

/// One session's ports. Watched until the last of its readers drops it.
#[derive(Debug)]
pub(super) struct Watched {
    /// None until they are known.
    lists: watch::Receiver<Option<Vec<Port>>>,
    _task: AbortOnDropHandle<()>,
}

impl Watches {
    pub(super) fn watch(&self, id: SessionId, view: watch::Receiver<View>) -> Arc<Watched> {
        let mut by_session = self.by_session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = by_session.get(&id).and_then(Weak::upgrade) {
            return watched;
        }
        by_session.retain(|_, watched| watched.strong_count() > 0);
        let (sender, lists) = watch::channel(None);
        let watched = Arc::new(Watched {
            lists,
            _task: AbortOnDropHandle::new(tokio::spawn(follow(id, view, sender))),
        });
        by_session.insert(id, Arc::downgrade(&watched));
        watched
    }
}

/// A session's messages, with its ports beside them once the reader has caught up.
pub(super) fn beside(
    mut messages: BoxStream<'static, LiveMessage>,
    watched: Arc<Watched>,
) -> BoxStream<'static, LiveMessage> {
    async_stream::stream! {
        let mut lists = watched.lists.clone();
        lists.mark_changed();
        let mut caught_up = false;
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    caught_up |= matches!(message, LiveMessage::CaughtUp { .. });
                    yield message;
                }
                Ok(()) = lists.changed(), if caught_up => {
                    let ports = lists.borrow_and_update().clone();
                    if let Some(ports) = ports {
                        yield LiveMessage::Ports { ports };
                    }
                }
            }
        }
    }
    .boxed()
}

/// Reads the ports from whichever connection there is to the daemon.
async fn follow(id: SessionId, mut view: watch::Receiver<View>, lists: watch::Sender<Option<Vec<Port>>>) {
    let mut wait = RETRY.0;
    loop {
        let View { state, control } = view.borrow_and_update().clone();
        let Some(control) = control else {
            // A link that is lost for a moment says nothing about what listens.
            if state != SessionState::Disconnected {
                show(&lists, Vec::new());
            }
            if view.changed().await.is_err() {
                return;
            }
            continue;
        };
        let outcome = read(&control, &lists, &mut wait).await;
        tracing::debug!(session = %id, ?outcome, "the ports are told no more");
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY.1),
        }
    }
}

fn show(lists: &watch::Sender<Option<Vec<Port>>>, ports: Vec<Port>) {
    lists.send_if_modified(|shown| {
        let differs = shown.as_ref() != Some(&ports);
        if differs {
            *shown = Some(ports);
        }
        differs
    });
}

async fn read(
    control: &Control,
    lists: &watch::Sender<Option<Vec<Port>>>,
    wait: &mut Duration,
) -> std::result::Result<(), ControlError> {
    let asked = within(ANSWER_WITHIN, control.send(Method::GET, "/ports/watch", empty())).await?;
    let mut data = successful(asked).await?.into_body().into_data_stream();
    let mut buffer = BytesMut::new();
    while let Some(bytes) = data
        .try_next()
        .await
        .map_err(|error| ControlError::Lost(error.into()))?
    {
        if let Some(line) = last_line(&mut buffer, &bytes)? {
            let ports = serde_json::from_slice(&line).map_err(|error| ControlError::Unreadable(error.into()))?;
            show(lists, bounded(ports));
            *wait = RETRY.0;
            tokio::time::sleep(PACE).await;
        }
    }
    Ok(())
}

/// Takes all whole lines out of the buffer; the last one counts.
fn last_line(buffer: &mut BytesMut, bytes: &[u8]) -> std::result::Result<Option<Bytes>, ControlError> {
    let before = buffer.len();
    buffer.extend_from_slice(bytes);
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
        if buffer.len() > MAX_LIST {
            return Err(ControlError::Unreadable("the list of ports is too long".into()));
        }
        return Ok(None);
    };
    let mut lines = buffer.split_to(before + end);
    buffer.advance(1);
    let begin = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    lines.advance(begin);
    Ok(Some(lines.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_line_counts() {
        let mut buffer = BytesMut::new();
        let mut push = |bytes: &[u8]| last_line(&mut buffer, bytes).unwrap();
        assert_eq!(push(b"[1"), None);
        assert_eq!(push(b"]\n[2]\n[3"), Some(Bytes::from("[2]")));
        assert_eq!(push(b"]\n"), Some(Bytes::from("[3]")));
        assert_eq!(push(b""), None);
        assert!(last_line(&mut buffer, &vec![b'x'; MAX_LIST + 1]).is_err());
    }
}
