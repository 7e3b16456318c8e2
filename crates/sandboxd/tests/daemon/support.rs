//! A daemon in a folder of its own, and what the server is to it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame as BodyFrame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mistle_protocol::control::{CONTROL_SOCKET, Exec, Exit, OpenTerminal, TerminalInfo, TerminalSize, TerminalSkipped};
use mistle_protocol::frame::{Decoder, Frame, Kind};
use mistle_protocol::id::TerminalId;
use mistle_protocol::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mistle-sandboxd");
/// Nothing here takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

type RequestBody = StreamBody<ReceiverStream<Result<BodyFrame<Bytes>, std::convert::Infallible>>>;

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("takes too long")
}

/// A daemon, outside of any sandbox.
pub(crate) struct Daemon {
    pub(crate) folder: TempDir,
    pub(crate) process: Child,
    control: Option<UnixListener>,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        Self::start_as("daemon")
    }

    pub(crate) fn start_as(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Some(UnixListener::bind(folder.path().join(CONTROL_SOCKET)).unwrap());
        let process = Command::new(PROGRAM)
            .arg(command)
            .args(options(folder.path()))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            folder,
            process,
            control,
        }
    }

    /// The next control connection.
    pub(crate) async fn connect(&self) -> Control {
        Control::accept(self.control.as_ref().unwrap()).await
    }

    /// Lets the next connection come to nothing.
    pub(crate) async fn refuse(&self) {
        soon(self.control.as_ref().unwrap().accept()).await.unwrap();
    }

    /// Takes the socket away, as a server does that ends.
    pub(crate) fn hang_up(&mut self) {
        self.control = None;
        std::fs::remove_file(self.folder.path().join(CONTROL_SOCKET)).unwrap();
    }

    /// Is there again.
    pub(crate) fn resume(&mut self) {
        self.control = Some(UnixListener::bind(self.folder.path().join(CONTROL_SOCKET)).unwrap());
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

/// Outside a PID namespace nothing else ends what PID 1 started.
impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(pid) = self.process.id() else { return };
        for child in children(pid.cast_signed()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// The processes whose parent `pid` is.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Options of a daemon that finds and keeps everything in `folder`.
pub(crate) fn options(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    [
        "--link-dir",
        folder,
        "--state-dir",
        &format!("{folder}/state"),
        "--proxy-port",
        "0",
        "--unconfined",
    ]
    .map(str::to_owned)
    .into()
}

/// The server's side of a control connection.
pub(crate) struct Control {
    sender: SendRequest<RequestBody>,
    socket: std::os::unix::net::UnixStream,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Control {
    /// The next connection on `listener`.
    pub(crate) async fn accept(listener: &UnixListener) -> Self {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        // Cut when this is dropped, whatever still uses it.
        let stream = stream.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        Self {
            sender,
            socket,
            _connection: AbortOnDropHandle::new(tokio::spawn(connection)),
        }
    }

    /// Sends a request whose body is what comes through the sender.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
    ) -> (
        mpsc::Sender<Result<BodyFrame<Bytes>, std::convert::Infallible>>,
        Response<Incoming>,
    ) {
        let (input, body) = mpsc::channel(16);
        let response = self
            .send(method, path, StreamBody::new(ReceiverStream::new(body)))
            .await;
        (input, response)
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: RequestBody) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://sandbox{path}"))
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        soon(self.sender.clone().send_request(request)).await.unwrap()
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let (input, receiver) = mpsc::channel(1);
        let body = body.into();
        // Peers take empty data frames that end nothing for an attack.
        if !body.is_empty() {
            input.try_send(Ok(BodyFrame::data(body))).unwrap();
        }
        drop(input);
        let response = self
            .send(method, path, StreamBody::new(ReceiverStream::new(receiver)))
            .await;
        let status = response.status();
        (status, soon(response.into_body().collect()).await.unwrap().to_bytes())
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.request(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &impl Serialize) -> (StatusCode, Bytes) {
        self.request(Method::POST, path, serde_json::to_vec(body).unwrap())
            .await
    }

    /// The problem that a request is answered with.
    pub(crate) async fn problem(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Problem {
        let (status, body) = self.request(method, path, body).await;
        let problem: Problem = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
        assert_eq!(problem.status, status.as_u16());
        problem
    }

    pub(crate) async fn open(&self, argv: &[&str]) -> TerminalInfo {
        self.open_as(&terminal(argv)).await
    }

    pub(crate) async fn open_as(&self, request: &OpenTerminal) -> TerminalInfo {
        let (status, body) = self.post("/terminals", request).await;
        assert_eq!(status, StatusCode::OK, "{body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    pub(crate) async fn attach(&self, id: TerminalId, offset: u64) -> Streams {
        let (input, response) = self
            .stream(Method::POST, &format!("/terminals/{id}/attach?offset={offset}"))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let offset = response.headers()["mistle-offset"].to_str().unwrap().parse().unwrap();
        Streams::new(input, response, offset)
    }

    pub(crate) async fn exec(&self, argv: &[&str]) -> Streams {
        let exec = Exec {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            cwd: None,
            environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
        };
        let (input, body) = mpsc::channel(16);
        let first = Frame::new(Kind::Control, serde_json::to_vec(&exec).unwrap()).encode();
        input.send(Ok(BodyFrame::data(first))).await.unwrap();
        let response = self
            .send(Method::POST, "/exec", StreamBody::new(ReceiverStream::new(body)))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        Streams::new(input, response, 0)
    }

    /// What a command says, and how it ends.
    pub(crate) async fn output_of(&self, argv: &[&str]) -> (String, i32) {
        let mut streams = self.exec(argv).await;
        streams.input = None;
        let output = streams.rest().await;
        (
            String::from_utf8(output.data).unwrap(),
            output.exit.expect("an exit").code,
        )
    }
}

pub(crate) fn terminal(argv: &[&str]) -> OpenTerminal {
    OpenTerminal {
        id: TerminalId::new(),
        cols: 80,
        rows: 24,
        cwd: None,
        argv: (!argv.is_empty()).then(|| argv.iter().map(|&word| word.to_owned()).collect()),
        if_none: false,
    }
}

/// A full-duplex stream of frames.
pub(crate) struct Streams {
    input: Option<mpsc::Sender<Result<BodyFrame<Bytes>, std::convert::Infallible>>>,
    output: http_body_util::BodyDataStream<Incoming>,
    decoder: Decoder,
    /// Offset of the next byte.
    pub(crate) offset: u64,
    /// What came and was not asked for yet.
    pending: Vec<u8>,
}

/// The input of a stream alone.
pub(crate) struct Input(mpsc::Sender<Result<BodyFrame<Bytes>, std::convert::Infallible>>);

impl Input {
    pub(crate) async fn send(&self, kind: Kind, payload: impl Into<Bytes>) {
        self.0
            .send(Ok(BodyFrame::data(Frame::new(kind, payload).encode())))
            .await
            .unwrap();
    }
}

/// Everything until the end.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) data: Vec<u8>,
    /// The same with the screens that came between: what a terminal draws.
    pub(crate) drawn: Vec<u8>,
    pub(crate) errors: Vec<u8>,
    pub(crate) skipped: Vec<u64>,
    pub(crate) exit: Option<Exit>,
}

impl Streams {
    fn new(
        input: mpsc::Sender<Result<BodyFrame<Bytes>, std::convert::Infallible>>,
        response: Response<Incoming>,
        offset: u64,
    ) -> Self {
        Self {
            input: Some(input),
            output: response.into_body().into_data_stream(),
            decoder: Decoder::default(),
            offset,
            pending: Vec::new(),
        }
    }

    pub(crate) async fn send(&self, kind: Kind, payload: impl Into<Bytes>) {
        self.input
            .as_ref()
            .unwrap()
            .send(Ok(BodyFrame::data(Frame::new(kind, payload).encode())))
            .await
            .unwrap();
    }

    pub(crate) async fn type_in(&self, text: &str) {
        self.send(Kind::Data, text.to_owned()).await;
    }

    pub(crate) async fn resize(&self, cols: u16, rows: u16) {
        self.send(Kind::Control, serde_json::to_vec(&TerminalSize { cols, rows }).unwrap())
            .await;
    }

    /// Input and output for two tasks at once.
    pub(crate) fn split(&mut self) -> (Input, impl Future<Output = Rest>) {
        (Input(self.input.take().unwrap()), self.rest())
    }

    /// The next frame; none at the end, however it comes.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            self.decoder.push(&soon(self.output.next()).await?.ok()?);
        }
    }

    /// Everything up to and with `text`, which must come.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = find(&self.pending, text.as_bytes()) {
                let rest = self.pending.split_off(at + text.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.pending, rest)).into_owned();
            }
            let frame = self.frame().await.unwrap_or_else(|| {
                panic!(
                    "{text:?} did not come, but {:?}",
                    String::from_utf8_lossy(&self.pending)
                )
            });
            assert!(
                matches!(frame.kind, Kind::Data | Kind::Stdout),
                "{frame:?} before {text:?}"
            );
            self.offset += frame.payload.len() as u64;
            self.pending.extend_from_slice(&frame.payload);
        }
    }

    pub(crate) async fn rest(&mut self) -> Rest {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = Rest {
            drawn: pending.clone(),
            data: pending,
            ..Rest::default()
        };
        while let Some(frame) = self.frame().await {
            assert_eq!(rest.exit, None, "the exit is the last frame");
            match frame.kind {
                Kind::Data | Kind::Stdout => {
                    rest.data.extend_from_slice(&frame.payload);
                    rest.drawn.extend_from_slice(&frame.payload);
                }
                Kind::Screen => rest.drawn.extend_from_slice(&frame.payload),
                Kind::Stderr => rest.errors.extend_from_slice(&frame.payload),
                Kind::Control => rest.skipped.push(
                    serde_json::from_slice::<TerminalSkipped>(&frame.payload)
                        .unwrap()
                        .offset,
                ),
                Kind::Exit => rest.exit = Some(serde_json::from_slice(&frame.payload).unwrap()),
                Kind::Eof => panic!("end of input as output"),
            }
        }
        rest
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Whether a process is there and not only its remains.
pub(crate) fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.starts_with(" Z"))
}

/// Ends a process that a test left on purpose.
pub(crate) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Waits until `done`; for what happens in other processes and has no event that a test could see.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
