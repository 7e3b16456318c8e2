//! The two connections to the server, dialled for as long as the daemon lives.
//!
//! The server owns both sockets and may go away at any time: it restarts, it is upgraded, it
//! crashes. Then streams end, and everything else goes on. Each link is one task:
//!
//! ```text
//!            connected                       socket appears, or back-off over
//! dialling ─────────────► linked ─ lost ─► waiting ──────────────────────────► dialling
//! ```
//!
//! The back-off is the protocol's; a watch on the folder cuts it short, so that a server that is
//! back is found within milliseconds.
//!
//! On the *control* link the daemon serves HTTP/2 although it dialled; on the *egress* link it is
//! the client, and each outgoing TCP connection is one `CONNECT` stream. A stalled stream holds at
//! most its own window: the window of the whole connection is larger than all of them together, so
//! that one reader that stopped never holds up the others.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mistle_protocol::control::{CONTROL_SOCKET, EGRESS_SOCKET, REDIAL_MS};
use rustix::fs::inotify;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// What one stream may send ahead, in bytes: enough for 20 MB/s at 50 ms.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// What all streams of a connection may send ahead, in bytes: [`STREAM_WINDOW`] for each of
/// [`MAX_STREAMS`].
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS;
/// Streams at once on one connection.
const MAX_STREAMS: u32 = 512;
/// Bytes of one stream that wait for the socket. Small: what waits here is late already.
const SEND_BUFFER: usize = 128 * 1024;
/// The largest HTTP/2 frame that is read, in bytes.
const FRAME_SIZE: u32 = 64 * 1024;
/// Headers of one request, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// A quiet connection is asked whether it lives this often …
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// … and is lost when no answer comes for this long. A host under load may pause for seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that lasted this long was a good one: the next wait is the shortest again.
const GOOD_CONNECTION: Duration = Duration::from_secs(1);
/// How long answers in flight have when the daemon ends.
const GRACE: Duration = Duration::from_millis(500);
/// How long the server may take to answer a `CONNECT`: it resolves and connects meanwhile.
const CONNECT_TIMEOUT: Duration = Duration::from_mins(1);
/// How many links one `CONNECT` may outlive.
const MAX_ATTEMPTS: usize = 5;
/// How long a stream that failed waits for the failure of its connection, which explains its own. On a
/// host under load the two may be seen apart.
const LOSS_SEEN_WITHIN: Duration = Duration::from_secs(2);

/// How long to wait before the next attempt. Doubles from the first of [`REDIAL_MS`] to its second.
#[derive(Debug)]
struct Backoff {
    next: Duration,
}

impl Backoff {
    fn new() -> Self {
        Self {
            next: Duration::from_millis(REDIAL_MS.0),
        }
    }

    /// The wait before the next attempt. `jitter` is from 0 to 1 and takes up to a quarter off, so
    /// that many sandboxes don't dial in step.
    fn wait(&mut self, jitter: f64) -> Duration {
        let wait = self.next.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0);
        self.next = (self.next * 2).min(Duration::from_millis(REDIAL_MS.1));
        wait
    }

    fn reset(&mut self) {
        *self = Self::new();
    }
}

/// From 0 to 1. Needs to be different, not unpredictable.
fn jitter() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

/// Dials one socket again and again.
struct Dialer {
    folder: PathBuf,
    socket: PathBuf,
    backoff: Backoff,
}

impl Dialer {
    fn new(folder: &Path, socket: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            socket: folder.join(socket),
            backoff: Backoff::new(),
        }
    }

    /// Connects, however long it takes.
    async fn dial(&mut self) -> UnixStream {
        // The watch comes before the attempt, so that no socket appears unseen between them.
        let mut watch = FolderWatch::new(&self.folder).ok();
        loop {
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return stream,
                Err(error) => debug!("{}: {error}", self.socket.display()),
            }
            let wait = self.backoff.wait(jitter());
            watch = self
                .wait(wait, watch)
                .await
                .or_else(|| FolderWatch::new(&self.folder).ok());
        }
    }

    /// Sleeps for `wait`, or until something is put into the folder. Answers the watch unless it
    /// broke.
    async fn wait(&mut self, wait: Duration, watch: Option<FolderWatch>) -> Option<FolderWatch> {
        let sleep = tokio::time::sleep(wait);
        let Some(mut watch) = watch else {
            sleep.await;
            return None;
        };
        tokio::select! {
            () = sleep => Some(watch),
            changed = watch.changed() => {
                changed.ok()?;
                self.backoff.reset();
                Some(watch)
            }
        }
    }

    /// Takes note of a connection that was lost, and waits when it was a short one: a server that
    /// hangs up at once must not be dialled in a tight loop.
    async fn lost(&mut self, since: Instant) {
        if since.elapsed() >= GOOD_CONNECTION {
            self.backoff.reset();
        } else {
            tokio::time::sleep(self.backoff.wait(jitter())).await;
        }
    }
}

/// Tells when something is put into a folder.
struct FolderWatch {
    /// A descriptor that is read like a pipe, which is all that the type is taken for.
    inotify: pipe::Receiver,
}

impl FolderWatch {
    fn new(folder: &Path) -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(
            &inotify,
            folder,
            inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR,
        )?;
        Ok(Self {
            inotify: pipe::Receiver::from_owned_fd_unchecked(inotify)?,
        })
    }

    /// Returns when something was put in. What it was does not matter.
    async fn changed(&mut self) -> io::Result<()> {
        let mut events = [0; 4096];
        self.inotify.read(&mut events).await.map(|_| ())
    }
}

/// Serves `router` on the control link until `stop`.
pub async fn serve_control(folder: PathBuf, router: Router, stop: CancellationToken) {
    let mut dialer = Dialer::new(&folder, CONTROL_SOCKET);
    while let Some(stream) = stop.run_until_cancelled(dialer.dial()).await {
        info!("control link up");
        let since = Instant::now();
        serve_connection(stream, router.clone(), &stop).await;
        if stop.is_cancelled() {
            return;
        }
        stop.run_until_cancelled(dialer.lost(since)).await;
    }
}

async fn serve_connection(stream: UnixStream, router: Router, stop: &CancellationToken) {
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // The events end with the record. What else is open, such as a watch of ports, does not.
            tokio::time::timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    match ended {
        Ok(()) => info!("control link closed"),
        Err(error) => info!("control link lost: {:#}", anyhow::Error::new(error)),
    }
}

type Link = SendRequest<Empty<Bytes>>;

/// The way out: opens connections through the server, whichever connection to it there is.
#[derive(Clone, Debug)]
pub struct Egress {
    current: watch::Receiver<Option<Link>>,
    /// How long a new connection waits for a link that is away.
    patience: Duration,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The link was away for too long.
    #[error("the way out is not available: the server did not come back within {} seconds", .0.as_secs())]
    Away(Duration),
    /// The gateway said no, or could not connect. Its answer says why.
    #[error("the gateway answered {}", .0.status())]
    Refused(Box<Response<Incoming>>),
    /// The gateway did not answer.
    #[error("the gateway did not answer within {} seconds", .0.as_secs())]
    Silent(Duration),
    /// The stream failed.
    #[error("the connection to the gateway failed")]
    Failed(#[source] hyper::Error),
    /// The target can't be asked for.
    #[error("not a target")]
    Target(#[source] http::Error),
}

/// Dials the egress link until `stop`.
pub fn dial_egress(folder: PathBuf, patience: Duration, stop: CancellationToken) -> Egress {
    let (sender, current) = watch::channel(None);
    tokio::spawn(async move {
        stop.run_until_cancelled(keep_egress(folder, sender)).await;
    });
    Egress { current, patience }
}

async fn keep_egress(folder: PathBuf, current: watch::Sender<Option<Link>>) {
    let mut dialer = Dialer::new(&folder, EGRESS_SOCKET);
    loop {
        let stream = dialer.dial().await;
        let since = Instant::now();
        match run_egress(stream, &current).await {
            Ok(()) => info!("egress link closed"),
            Err(error) => info!("egress link lost: {:#}", anyhow::Error::new(error)),
        }
        current.send_replace(None);
        dialer.lost(since).await;
    }
}

async fn run_egress(stream: UnixStream, current: &watch::Sender<Option<Link>>) -> hyper::Result<()> {
    let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await?;
    info!("egress link up");
    current.send_replace(Some(sender));
    connection.await
}

impl Egress {
    /// Opens a connection to `target`. Waits while the link is away.
    ///
    /// A request that a dying link took along is sent again on the next one: nothing was connected
    /// for it that anybody could have seen.
    pub async fn connect(&self, target: &Authority) -> Result<Upgraded, EgressError> {
        let deadline = tokio::time::Instant::now() + self.patience;
        let mut current = self.current.clone();
        let mut attempts = 1..=MAX_ATTEMPTS;
        loop {
            let attempt = attempts.next();
            let mut link = live_link(&mut current, deadline)
                .await
                .ok_or(EgressError::Away(self.patience))?;
            match tokio::time::timeout(CONNECT_TIMEOUT, link.send_request(connect_request(target)?)).await {
                Err(_) => return Err(EgressError::Silent(CONNECT_TIMEOUT)),
                Ok(Ok(response)) if response.status() == StatusCode::OK => {
                    return hyper::upgrade::on(response).await.map_err(EgressError::Failed);
                }
                Ok(Ok(response)) => return Err(EgressError::Refused(Box::new(response))),
                Ok(Err(error)) => {
                    if attempt.is_none() || !lost_with_its_link(&link, &mut current, &error).await {
                        return Err(EgressError::Failed(error));
                    }
                    debug!("the egress link was lost under {target}: {error}");
                }
            }
        }
    }
}

/// The link, as soon as there is one, or none at the deadline.
async fn live_link(current: &mut watch::Receiver<Option<Link>>, deadline: tokio::time::Instant) -> Option<Link> {
    let live = |link: &Option<Link>| link.as_ref().is_some_and(|link| !link.is_closed());
    tokio::time::timeout_at(deadline, current.wait_for(live))
        .await
        .ok()?
        .ok()?
        .clone()
}

fn connect_request(target: &Authority) -> Result<Request<Empty<Bytes>>, EgressError> {
    Request::connect(target.as_str())
        .body(Empty::new())
        .map_err(EgressError::Target)
}

/// The failure of a stream may be seen a moment before that of its connection, whose end is told.
async fn lost_with_its_link(link: &Link, current: &mut watch::Receiver<Option<Link>>, error: &hyper::Error) -> bool {
    if error.is_canceled() || error.is_closed() {
        return true;
    }
    let closed = async { while !link.is_closed() && current.changed().await.is_ok() {} };
    tokio::time::timeout(LOSS_SEEN_WITHIN, closed).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..7).map(|_| backoff.wait(0.0).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(backoff.wait(1.0).as_millis(), 375);
        backoff.reset();
        assert_eq!(backoff.wait(0.0).as_millis(), 20);
    }

    #[tokio::test]
    async fn a_socket_that_appears_cuts_the_wait_short() {
        let folder = tempfile::tempdir().unwrap();
        let mut dialer = Dialer::new(folder.path(), CONTROL_SOCKET);
        dialer.backoff.wait(0.0);
        let watch = FolderWatch::new(folder.path()).unwrap();
        let _socket = tokio::net::UnixListener::bind(folder.path().join(CONTROL_SOCKET)).unwrap();
        let cut_short = dialer.wait(Duration::from_hours(1), Some(watch));
        let watch = tokio::time::timeout(Duration::from_mins(1), cut_short).await.unwrap();
        assert!(watch.is_some());
        assert_eq!(dialer.backoff.wait(0.0).as_millis(), 20);
    }

    #[test]
    fn jitter_is_a_fraction() {
        assert!((0..1000).map(|_| jitter()).all(|jitter| (0.0..=1.0).contains(&jitter)));
    }
}
