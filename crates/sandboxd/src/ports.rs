//! What listens in the sandbox, and connections to it.
//!
//! Linux has no event for a socket that begins to listen, short of privileges that a sandbox does
//! not have. So the listeners are asked for again and again, and that is made cheap:
//!
//! - only while the server watches, which is while a page shows the session;
//! - one look is two netlink requests (some 20 µs) and a link for each port; processes are searched
//!   only for a socket that was not there before ([`owners`]);
//! - often ([`BUSY`]) only while something happens: a listener came or went, or a process or thread
//!   was started within [`BUSY_FOR`]. That is where servers come from, whether the agent, a
//!   terminal or a command starts them, and the kernel tells it in one small file. Else the pause
//!   is the longest that still finds a port within a second ([`IDLE`]).

mod owners;
mod sockets;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use mistle_protocol::ports::{Port, PortAddress, bounded};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use self::owners::Owners;
use self::sockets::{Listener, Sockets};
use crate::problem::Refusal;

/// Between two looks while something happens.
const BUSY: Duration = Duration::from_millis(250);
/// Between two looks while nothing does: a second, less the look and the way to the page.
const IDLE: Duration = Duration::from_millis(900);
/// How long after the last sign of life looks are often. Servers compile before they listen.
const BUSY_FOR: Duration = Duration::from_secs(20);
/// Connections at once. Below the link's limit of streams, so that terminals always find room.
pub const MAX_CONNECTIONS: usize = 256;
/// How long a program may take to accept: one whose queue is full makes the kernel wait.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Bytes read at once from a program: four frames of the link.
const READ: usize = 64 * 1024;
/// How long a program that has said everything may take for what is still sent to it.
const LINGER: Duration = Duration::from_secs(30);

/// The sandbox's ports.
#[derive(Debug)]
pub struct Ports {
    scanner: Arc<Mutex<Scanner>>,
    /// The daemon's own port, which nobody needs to see or reach.
    own: u16,
    slots: Arc<Semaphore>,
}

impl Ports {
    /// Nothing is looked at until somebody asks. `own` is the port of the daemon's proxy.
    pub fn new(own: u16) -> Self {
        Self {
            scanner: Arc::default(),
            own,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }

    /// What listens, the lowest port first.
    pub async fn list(&self) -> io::Result<Vec<Port>> {
        let mut scanner = self.scanner.clone().lock_owned().await;
        let (listeners, search) = scanner.look(self.own)?;
        if search {
            // Reads of thousands of links must not hold up a keystroke.
            let searched = tokio::task::spawn_blocking(move || {
                scanner.search(&listeners);
                scanner.list(&listeners)
            });
            return searched.await.map_err(io::Error::other);
        }
        Ok(scanner.list(&listeners))
    }

    /// What listens, and again at each change. Ends only with a failure.
    pub fn watch(self: Arc<Self>) -> impl Stream<Item = io::Result<Vec<Port>>> + Send {
        async_stream::try_stream! {
            let mut shown = None;
            let mut pace = Pace::default();
            loop {
                let ports = self.list().await?;
                let changed = shown.as_ref() != Some(&ports);
                let pause = pace.next(last_process(), changed, Instant::now());
                if changed {
                    yield ports.clone();
                    shown = Some(ports);
                }
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Connects to a port. What the program says is the answer; `input` is said to it. The end of
    /// one direction leaves the other open.
    pub async fn connect<I, B, E>(
        &self,
        port: u16,
        input: I,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<I, B, E>, Refusal>
    where
        I: Stream<Item = Result<B, E>> + Send + Unpin + 'static,
        B: AsRef<[u8]> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| {
            Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-connections",
                format!("a sandbox takes at most {MAX_CONNECTIONS} connections at once"),
            )
        })?;
        let program = self.dial(port).await?;
        // What a person types, or a page asks for, must not wait for the answer to what came before.
        if let Err(error) = program.set_nodelay(true) {
            debug!("can't set TCP_NODELAY: {error}");
        }
        let (read, write) = program.into_split();
        let saying = AbortOnDropHandle::new(tokio::spawn(say(input, write, slot)));
        Ok(hear(read, saying))
    }

    async fn dial(&self, port: u16) -> Result<TcpStream, Refusal> {
        let closed = || {
            let detail = format!("nothing listens on port {port}");
            Refusal::new(StatusCode::NOT_FOUND, "port-closed", detail)
        };
        if port == 0 || port == self.own {
            return Err(closed());
        }
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let mut failure = None;
        for address in loopback {
            match dial(SocketAddr::new(address, port)).await {
                Ok(program) => return Ok(program),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => failure = Some(error),
                Err(_) => {}
            }
        }
        if let Some(error) = failure {
            let detail = format!("the program on port {port} does not accept connections: {error}");
            return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "port-silent", detail));
        }
        // Rarely a program takes another address of 127.0.0.0/8.
        let listeners = self.scanner.lock().await.sockets.listeners().unwrap_or_default();
        let elsewhere = listeners
            .iter()
            .map(|listener| listener.address)
            .find(|address| address.port() == port && address.ip().is_loopback());
        let address = elsewhere.ok_or_else(closed)?;
        dial(address).await.map_err(|_| closed())
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await?
}

/// Gives the program what is sent to it.
async fn say<I, B, E>(mut input: I, mut program: OwnedWriteHalf, slot: OwnedSemaphorePermit)
where
    I: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
    E: std::fmt::Display,
{
    while let Some(bytes) = input.next().await {
        let written = match bytes {
            Ok(bytes) => program.write_all(bytes.as_ref()).await,
            Err(error) => {
                debug!("a connection to a port was cut off: {error}");
                break;
            }
        };
        if let Err(error) = written {
            debug!("a program takes no more: {error}");
            break;
        }
    }
    // One that is gone is what is wanted.
    let _ = program.shutdown().await;
    drop(slot);
}

/// What the program says. Dropped before its end, the connection is over.
fn hear(program: OwnedReadHalf, saying: AbortOnDropHandle<()>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    async_stream::try_stream! {
        let mut said = ReaderStream::with_capacity(program, READ);
        while let Some(bytes) = said.next().await {
            yield bytes?;
        }
        tokio::spawn(tokio::time::timeout(LINGER, saying));
    }
}

/// How long to pause between looks.
#[derive(Debug, Default)]
struct Pace {
    last_process: Option<u32>,
    busy_until: Option<Instant>,
}

impl Pace {
    fn next(&mut self, last_process: Option<u32>, changed: bool, now: Instant) -> Duration {
        if changed || last_process != self.last_process {
            self.last_process = last_process;
            self.busy_until = Some(now + BUSY_FOR);
        }
        match self.busy_until {
            Some(until) if now < until => BUSY,
            _ => IDLE,
        }
    }
}

/// The number of the process or thread that was started last in the sandbox.
fn last_process() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(4)?.parse().ok()
}

#[derive(Debug, Default)]
struct Scanner {
    sockets: Sockets,
    owners: Owners,
    first_seen: BTreeMap<u16, Timestamp>,
}

impl Scanner {
    /// The listeners, and whether the owner of one is to be searched for.
    fn look(&mut self, own: u16) -> io::Result<(Vec<Listener>, bool)> {
        let mut listeners = self.sockets.listeners()?;
        listeners.retain(|listener| listener.address.port() != own);
        let search = self.owners.check(&inodes(&listeners));
        Ok((listeners, search))
    }

    fn search(&mut self, listeners: &[Listener]) {
        self.owners.search(&inodes(listeners));
    }

    fn list(&mut self, listeners: &[Listener]) -> Vec<Port> {
        let open: HashSet<u16> = listeners.iter().map(|listener| listener.address.port()).collect();
        self.first_seen.retain(|port, _| open.contains(port));
        let mut ports: BTreeMap<u16, Port> = BTreeMap::new();
        for listener in listeners {
            let number = listener.address.port();
            let first_seen = *self.first_seen.entry(number).or_insert_with(Timestamp::now);
            let port = describe(listener, &self.owners, first_seen);
            match ports.get_mut(&number) {
                Some(known) => join(known, port),
                None => drop(ports.insert(number, port)),
            }
        }
        bounded(ports.into_values().collect())
    }
}

fn inodes(listeners: &[Listener]) -> HashSet<u64> {
    listeners.iter().map(|listener| listener.inode).collect()
}

fn describe(listener: &Listener, owners: &Owners, first_seen: Timestamp) -> Port {
    let owner = owners.get(listener.inode);
    Port {
        port: listener.address.port(),
        address: match listener.address.ip().to_canonical() {
            ip if ip.is_unspecified() => PortAddress::Any,
            IpAddr::V4(_) => PortAddress::LoopbackV4,
            IpAddr::V6(_) => PortAddress::LoopbackV6,
        },
        pid: owner.map(|owner| owner.pid),
        process: owner.and_then(|owner| owner.process.clone()),
        command: owner.and_then(|owner| owner.command.clone()),
        first_seen,
    }
}

/// The same port on another address: the widest is shown, with the process that is known.
fn join(known: &mut Port, other: Port) {
    let rank = |address| match address {
        PortAddress::Any => 0,
        PortAddress::LoopbackV4 => 1,
        PortAddress::LoopbackV6 => 2,
    };
    if rank(other.address) < rank(known.address) {
        known.address = other.address;
    }
    if known.pid.is_none() {
        (known.pid, known.process, known.command) = (other.pid, other.process, other.command);
    }
}

/// `/ports*` of the control API.
pub fn routes(ports: Arc<Ports>) -> Router {
    Router::new()
        .route("/ports", get(list))
        .route("/ports/watch", get(watch))
        .route("/ports/{port}/connect", post(connect))
        .with_state(ports)
}

async fn list(State(ports): State<Arc<Ports>>) -> Result<Json<Vec<Port>>, Refusal> {
    let unavailable = |error| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ports-unavailable",
            format!("the kernel does not tell what listens: {error}"),
        )
    };
    ports.list().await.map(Json).map_err(unavailable)
}

async fn watch(State(ports): State<Arc<Ports>>) -> Response<Body> {
    let lines = ports.watch().map(|ports| {
        let mut line = serde_json::to_vec(&ports?)?;
        line.push(b'\n');
        Ok::<_, io::Error>(line)
    });
    stream(Body::from_stream(lines), "application/x-ndjson")
}

async fn connect(
    State(ports): State<Arc<Ports>>,
    port: Result<Path<u16>, PathRejection>,
    input: Body,
) -> Result<Response<Body>, Refusal> {
    let Path(port) = port.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "invalid-port", error.body_text()))?;
    let said = ports.connect(port, input.into_data_stream()).await?;
    Ok(stream(Body::from_stream(said), "application/octet-stream"))
}

fn stream(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_often_only_while_something_happens() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.next(Some(1), true, start), BUSY, "the first look");
        assert_eq!(pace.next(Some(1), false, at(19)), BUSY);
        assert_eq!(pace.next(Some(1), false, at(20)), IDLE);
        assert_eq!(pace.next(Some(2), false, at(30)), BUSY, "a process was started");
        assert_eq!(pace.next(Some(2), true, at(60)), BUSY, "a port came or went");
        assert_eq!(pace.next(Some(2), false, at(80)), IDLE);
        assert!(IDLE < Duration::from_secs(1), "a port is found within a second");
        assert!(last_process().is_some());
    }

    #[tokio::test]
    async fn a_port_is_told_once_with_its_process_and_keeps_its_time() {
        let ports = Ports::new(0);
        let four = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = four.local_addr().unwrap().port();
        let find = |list: Vec<Port>| list.into_iter().find(|port| port.port == number);
        let first = find(ports.list().await.unwrap()).unwrap();
        assert_eq!(
            (first.address, first.pid),
            (PortAddress::LoopbackV4, Some(std::process::id()))
        );
        let six = std::net::TcpListener::bind(("::1", number)).unwrap();
        assert_eq!(find(ports.list().await.unwrap()), Some(first.clone()));
        drop(four);
        let second = find(ports.list().await.unwrap()).unwrap();
        assert_eq!(
            (second.address, second.first_seen),
            (PortAddress::LoopbackV6, first.first_seen)
        );
        drop(six);
        assert_eq!(find(ports.list().await.unwrap()), None);
        let hidden = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = Ports::new(hidden.local_addr().unwrap().port());
        assert!(own.list().await.unwrap().iter().all(|port| port.port != own.own));
    }
}
