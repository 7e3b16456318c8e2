//! The connections of a sandbox: two sockets that its daemon dials.
//!
//! On the control socket the server is the HTTP/2 client. Each connection is one task that asks for
//! the daemon's health, is told by the driver task what to plan and from where to read, and then
//! reads the journal's stream until it ends:
//!
//! ```text
//! accepted ─ health ─► Linked ─ go ─► PUT /plan ─► GET /agent/events ─┬─► Entries ─ stored ─┐
//!                                                                     └─────────────────────┘
//! ```
//!
//! A batch is read only after the one before was stored: a server that is slow to store slows the
//! sandbox down through flow control instead of filling memory. The stream's blank lines are the
//! link's liveness: whoever reads the stream judges it, and three missing ones end the connection.
//!
//! A newer connection replaces the older one: the daemon dials only when it has lost the last.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;
use mistle_protocol::agent::{AgentEvent, JournalEntry, NoticeLevel};
use mistle_protocol::control::{CONTROL_SOCKET, EGRESS_SOCKET, EVENTS_KEEPALIVE_SECS, Health};
use mistle_protocol::plan::Plan;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::control::{Body, Control, ControlError};
use super::trouble::chain;

/// How long a new connection may take to show that a daemon is behind it.
const GREETING_WITHIN: Duration = Duration::from_secs(10);
/// Silence on the event stream after which the link is lost: three keep-alives.
const SILENCE: Duration = Duration::from_secs(3 * EVENTS_KEEPALIVE_SECS);
/// The longest line of the journal, in bytes. The largest honest event is a turn of edits or a
/// message of 1 MiB, escaped.
pub(super) const MAX_LINE: usize = 8 * 1024 * 1024;
/// Where a batch ends: what one transaction stores in some tens of milliseconds.
const MAX_BATCH_ENTRIES: usize = 256;
/// The same in bytes of lines.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Entries that may be stored without the daemon knowing, on a stream that is never quiet. On a
/// quiet one it is told with the next keep-alive.
const ACK_EVERY: u64 = 256;
/// What one stream may receive ahead, in bytes: a terminal at 20 MB/s never waits for the window.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// The same for a whole connection: all streams that the daemon allows together, so that readers
/// that stop, which keep their streams' windows full, hold up no keystroke.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
/// The largest frame that is read, in bytes: what the daemon reads at once from a port. Smaller ones
/// cost a large answer several times as many looks at the socket.
const FRAME_SIZE: u32 = 64 * 1024;
/// Streams at once, as the daemon allows them.
const MAX_STREAMS: u32 = 512;

/// What happens on the control socket.
pub(super) enum LinkEvent {
    /// A daemon is there and waits to be told what to be.
    Linked {
        connection: u64,
        control: Control,
        health: Health,
        go: oneshot::Sender<Go>,
    },
    /// Journal entries, to be stored. The answer is the last sequence number that is.
    Entries {
        connection: u64,
        entries: Vec<JournalEntry>,
        bytes: u64,
        stored: oneshot::Sender<u64>,
    },
    /// The daemon does what no daemon does; connecting again would not help.
    Broken { connection: u64, message: String },
    /// The connection is over.
    Lost { connection: u64 },
}

/// What a daemon that called is told.
pub(super) struct Go {
    pub(super) plan: Plan,
    /// The last journal entry that is stored.
    pub(super) after: u64,
}

/// Listens until it is dropped; connections end with it.
#[derive(Debug)]
pub(super) struct Listener {
    _control: AbortOnDropHandle<()>,
    _egress: AbortOnDropHandle<()>,
}

/// Serves one egress connection.
pub(super) type ServeEgress = Arc<dyn Fn(UnixStream) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

/// Listens on both sockets of a sandbox.
pub(super) fn listen(folder: &Path, events: mpsc::Sender<LinkEvent>, egress: ServeEgress) -> io::Result<Listener> {
    let control_socket = bind(&folder.join(CONTROL_SOCKET))?;
    let egress_socket = bind(&folder.join(EGRESS_SOCKET))?;
    let control = accept(control_socket, move |stream| {
        static CONNECTIONS: AtomicU64 = AtomicU64::new(1);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let events = events.clone();
        async move {
            run(connection, stream, &events).await;
            let _ = events.send(LinkEvent::Lost { connection }).await;
        }
        .boxed()
    });
    let egress = accept(egress_socket, move |stream| egress(stream));
    Ok(Listener {
        _control: AbortOnDropHandle::new(tokio::spawn(control)),
        _egress: AbortOnDropHandle::new(tokio::spawn(egress)),
    })
}

/// Only the owner may connect, which root in the sandbox is mapped to.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(
    listener: UnixListener,
    mut serve: impl FnMut(UnixStream) -> futures::future::BoxFuture<'static, ()> + Send,
) {
    let mut current: Option<AbortOnDropHandle<()>> = None;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(current.replace(AbortOnDropHandle::new(tokio::spawn(serve(stream))))),
            Err(error) => {
                // Out of descriptors: those in use have to end first.
                tracing::warn!(%error, "cannot accept a sandbox's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn run(connection: u64, stream: UnixStream, events: &mpsc::Sender<LinkEvent>) {
    match converse(connection, stream, events).await {
        Ok(()) => tracing::debug!(connection, "control link closed"),
        Err(error) => tracing::info!(connection, error = %chain(&error), "control link lost"),
    }
}

async fn converse(connection: u64, stream: UnixStream, events: &mpsc::Sender<LinkEvent>) -> Result<(), ControlError> {
    let lost = |error: hyper::Error| ControlError::Lost(error.into());
    let (stream, _hang_up) = HangUp::new(stream).map_err(|error| ControlError::Lost(error.into()))?;
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .handshake::<_, Body>(TokioIo::new(stream));
    let (sender, task) = tokio::time::timeout(GREETING_WITHIN, handshake)
        .await
        .map_err(|elapsed| ControlError::Lost(elapsed.into()))?
        .map_err(lost)?;
    let _task = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = task.await {
            tracing::debug!(connection, %error, "control connection ended");
        }
    }));
    let control = Control::new(sender);
    let hung_up = control.hung_up();
    let conversation = converse_on(connection, control, events);
    hung_up.run_until_cancelled(conversation).await.unwrap_or(Ok(()))
}

/// Ends a connection when its conversation is over, in whatever way. HTTP/2 would wait for every stream
/// that is open, and whoever reads a terminal holds one; the daemon would not dial again meanwhile.
struct HangUp(std::os::unix::net::UnixStream);

impl HangUp {
    fn new(stream: UnixStream) -> io::Result<(UnixStream, Self)> {
        let stream = stream.into_std()?;
        let hang_up = Self(stream.try_clone()?);
        Ok((UnixStream::from_std(stream)?, hang_up))
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        // It fails when the other side has ended it already.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

async fn converse_on(connection: u64, control: Control, events: &mpsc::Sender<LinkEvent>) -> Result<(), ControlError> {
    let health = control.health().await?;
    let (go, told) = oneshot::channel();
    let linked = LinkEvent::Linked {
        connection,
        control: control.clone(),
        health,
        go,
    };
    // Whoever does not answer does not want this connection.
    let (Ok(()), Ok(Go { plan, after })) = (events.send(linked).await, told.await) else {
        return Ok(());
    };
    match control.put_plan(&plan).await {
        Err(ControlError::Problem { detail, .. }) => {
            let _ = events
                .send(LinkEvent::Broken {
                    connection,
                    message: detail,
                })
                .await;
            return Ok(());
        }
        planned => planned?,
    }
    let body = control.events(after).await?;
    Reader {
        connection,
        control,
        events,
        acked: after,
        stored: after,
    }
    .read(body)
    .await
}

struct Reader<'a> {
    connection: u64,
    control: Control,
    events: &'a mpsc::Sender<LinkEvent>,
    acked: u64,
    stored: u64,
}

impl Reader<'_> {
    async fn read(&mut self, mut body: Incoming) -> Result<(), ControlError> {
        let mut lines = Lines::default();
        loop {
            let silent = |elapsed: tokio::time::error::Elapsed| ControlError::Lost(elapsed.into());
            let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(silent)? else {
                return Ok(());
            };
            let mut frame = frame.map_err(|error| ControlError::Lost(error.into()))?;
            // Whatever has arrived goes into one transaction.
            loop {
                if let Ok(data) = frame.into_data() {
                    lines.push(&data);
                }
                if lines.is_full() {
                    break;
                }
                match body.frame().now_or_never() {
                    Some(Some(Ok(more))) => frame = more,
                    Some(Some(Err(error))) => {
                        self.store(&mut lines).await?;
                        return Err(ControlError::Lost(error.into()));
                    }
                    Some(None) => {
                        self.store(&mut lines).await?;
                        return Ok(());
                    }
                    None => break,
                }
            }
            self.store(&mut lines).await?;
        }
    }

    /// Has everything stored that is whole.
    async fn store(&mut self, lines: &mut Lines) -> Result<(), ControlError> {
        let mut quiet = false;
        loop {
            let batch = match lines.batch() {
                Ok(batch) => batch,
                Err(message) => {
                    let broken = LinkEvent::Broken {
                        connection: self.connection,
                        message,
                    };
                    let _ = self.events.send(broken).await;
                    return Err(ControlError::Unreadable("the journal".into()));
                }
            };
            quiet |= batch.quiet;
            if batch.entries.is_empty() {
                break;
            }
            let (stored, answer) = oneshot::channel();
            let Batch { entries, bytes, .. } = batch;
            let event = LinkEvent::Entries {
                connection: self.connection,
                entries,
                bytes,
                stored,
            };
            let (Ok(()), Ok(seq)) = (self.events.send(event).await, answer.await) else {
                return Err(ControlError::Lost("the session does not store".into()));
            };
            self.stored = seq;
        }
        if self.stored > self.acked && (quiet || self.stored - self.acked >= ACK_EVERY) {
            self.control.ack(self.stored).await?;
            self.acked = self.stored;
        }
        Ok(())
    }
}

/// Cuts the stream into journal entries.
#[derive(Default)]
struct Lines {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of line.
    searched: usize,
}

/// What can be stored at once.
#[derive(Debug, Default, PartialEq)]
struct Batch {
    entries: Vec<JournalEntry>,
    bytes: u64,
    /// Whether a keep-alive was among the lines: nothing else waits to be sent.
    quiet: bool,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn is_full(&self) -> bool {
        self.buffer.len() >= MAX_BATCH_BYTES
    }

    fn batch(&mut self) -> Result<Batch, String> {
        let mut batch = Batch::default();
        while batch.entries.len() < MAX_BATCH_ENTRIES && batch.bytes < MAX_BATCH_BYTES as u64 {
            let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.buffer.len() > MAX_LINE {
                    return Err(format!(
                        "The sandbox's journal has a line of more than {MAX_LINE} bytes."
                    ));
                }
                break;
            };
            let length = self.searched + length;
            self.searched = 0;
            let line = self.buffer.split_to(length);
            self.buffer.advance(1);
            if line.is_empty() {
                batch.quiet = true;
                continue;
            }
            batch.bytes += length as u64;
            batch.entries.push(parse(&line)?);
        }
        Ok(batch)
    }
}

/// What every line has, whatever its event.
#[derive(Deserialize)]
struct Envelope {
    seq: u64,
    at: Timestamp,
    #[serde(rename = "event")]
    _event: IgnoredAny,
}

/// A daemon of another version may say what this server does not understand. Its place in the
/// journal is kept, and a person is told.
fn parse(line: &[u8]) -> Result<JournalEntry, String> {
    let entry = serde_json::from_slice::<JournalEntry>(line).or_else(|error| {
        let Envelope { seq, at, .. } = serde_json::from_slice(line)?;
        tracing::warn!(seq, %error, "a journal entry is not understood");
        let message = "The sandbox reported something that this version of Mistle does not understand.".to_owned();
        let event = AgentEvent::Notice {
            level: NoticeLevel::Info,
            code: "event_unreadable".to_owned(),
            conversation_id: None,
            message,
        };
        Ok::<_, serde_json::Error>(JournalEntry { seq, at, event })
    });
    entry.map_err(|error| format!("The sandbox's journal can't be read: {error}."))
}

#[cfg(test)]
mod tests {
    use mistle_protocol::agent::AgentEvent;

    use super::*;

    fn line(seq: u64) -> String {
        format!(
            "{{\"seq\":{seq},\"at\":\"2026-01-01T00:00:00Z\",\"event\":{{\"type\":\"runtime.exited\",\"message\":\"x\"}}}}\n"
        )
    }

    #[test]
    fn lines_survive_any_cut() {
        let text = format!("{}\n{}", line(1), line(2));
        for cut in 0..=text.len() {
            let mut lines = Lines::default();
            let mut seqs = Vec::new();
            let mut quiet = false;
            for part in [&text[..cut], &text[cut..]] {
                lines.push(part.as_bytes());
                let batch = lines.batch().unwrap();
                quiet |= batch.quiet;
                seqs.extend(batch.entries.into_iter().map(|entry| entry.seq));
            }
            assert_eq!((seqs, quiet), (vec![1, 2], true));
        }
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut lines = Lines::default();
        for seq in 1..=600 {
            lines.push(line(seq).as_bytes());
        }
        let sizes: Vec<usize> = (0..4).map(|_| lines.batch().unwrap().entries.len()).collect();
        assert_eq!(sizes, [256, 256, 88, 0]);
    }

    #[test]
    fn an_unknown_event_keeps_its_place() {
        let entry =
            parse(br#"{"seq":7,"at":"2026-01-01T00:00:00Z","event":{"type":"from.the.future","x":1}}"#).unwrap();
        assert_eq!(entry.seq, 7);
        assert!(matches!(entry.event, AgentEvent::Notice { code, .. } if code == "event_unreadable"));
    }

    #[test]
    fn nonsense_breaks_the_link() {
        for nonsense in ["x\n".to_owned(), "x".repeat(MAX_LINE + 1)] {
            let mut lines = Lines::default();
            lines.push(nonsense.as_bytes());
            assert!(lines.batch().is_err());
        }
    }
}
