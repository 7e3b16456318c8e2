//! Terminals beside a bare PTY and beside ttyd: the same shell, driven the same way.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use mistle_protocol::api::{NewTerminal, StreamMessage, Ticket, TicketPurpose};
use mistle_protocol::control::TerminalInfo;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::SessionState;
use mistle_testkit::{Api, repository};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::figures::{Budget, Report};
use crate::peers::{self, Peer};

/// Keys whose echo is awaited. Fewer than the 4,095 that a terminal's line takes.
const KEYS: usize = 500;
/// Output of the throughput test, in bytes, before the terminal adds its carriage returns.
const BULK: usize = 64 * 1024 * 1024;
/// Runs of the throughput test.
const BULKS: usize = 3;
/// How long anything may take that has to come.
const LIMIT: Duration = Duration::from_mins(1);
const SIZE: (u16, u16) = (80, 24);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Measures the echo and the throughput of each.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("project");
    repository(&source, &[("README.md", "# Project\n")])?;
    let session = server.api.new_session(&source.to_string_lossy(), "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    live.state(SessionState::Running).await?;

    let (bare_echo, bare_bulk) = apart(async { both(Shell::bare()?).await })
        .await
        .context("the bare PTY")?;
    let (api, id) = (server.api.clone(), session.id);
    let (echo, bulk) = apart(async move { both(Shell::ours(&api, id).await?).await }).await?;
    let bare_ms = report.times("bare PTY, echo of a key", None, &bare_echo);
    let ours_ms = report.times("terminal, echo of a key", None, &echo);
    report.add(
        "terminal, echo added over a bare PTY",
        "ms",
        Some(Budget::AtMost(2.0)),
        &[ours_ms - bare_ms],
    );
    report.add("bare PTY, output", "MB/s", None, &bare_bulk);
    report.add("terminal, output", "MB/s", Some(Budget::AtLeast(20.0)), &bulk);
    if peers::find("ttyd").is_none() {
        report.note("peer ttyd: absent");
        return Ok(());
    }
    let port = peers::free_port()?;
    let mut command = Command::new("ttyd");
    // Versions before 1.7 have no such flag and let everyone write.
    if can_say_writable() {
        command.arg("--writable");
    }
    command.args(["--interface", "127.0.0.1", "--port", &port.to_string(), "sh"]);
    let _ttyd = Peer::start(&mut command, port).await?;
    let (echo, bulk) = apart(async move { both(Shell::ttyd(port).await?).await })
        .await
        .context("ttyd")?;
    let ttyd_ms = report.times("peer: ttyd, echo of a key", None, &echo);
    report.add(
        "peer: ttyd, echo added over a bare PTY",
        "ms",
        None,
        &[ttyd_ms - bare_ms],
    );
    report.add("peer: ttyd, output", "MB/s", None, &bulk);
    Ok(())
}

fn can_say_writable() -> bool {
    let output = Command::new("ttyd").arg("--help").output();
    output.is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains("--writable")
    })
}

/// Runs the driving side on a thread of its own, so that no other one has to be woken for a key.
async fn apart<T: Send + 'static>(drive: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let drive = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(drive)
    };
    tokio::task::spawn_blocking(drive).await?
}

async fn both(mut shell: Shell) -> Result<(Vec<Duration>, Vec<f64>)> {
    let echo = tokio::time::timeout(LIMIT, shell.echo())
        .await
        .context("the echo took too long")??;
    let mut bulks = Vec::new();
    for _ in 0..BULKS {
        bulks.push(
            tokio::time::timeout(LIMIT, shell.bulk())
                .await
                .context("the output took too long")??,
        );
    }
    Ok((echo, bulks))
}

/// A shell, and the way to it.
enum Shell {
    Bare(
        pty_process::Pty,
        #[expect(dead_code, reason = "it ends with this")] Box<tokio::process::Child>,
    ),
    Ours(Box<Socket>),
    Ttyd(Box<Socket>),
}

impl Shell {
    /// Without anything between.
    fn bare() -> Result<Self> {
        let (pty, pts) = pty_process::open()?;
        pty.resize(pty_process::Size::new(SIZE.1, SIZE.0))?;
        let child = pty_process::Command::new("sh").kill_on_drop(true).spawn(pts)?;
        Ok(Self::Bare(pty, Box::new(child)))
    }

    async fn ours(api: &Api, id: SessionId) -> Result<Self> {
        let (cols, rows) = SIZE;
        let terminal: TerminalInfo = api
            .post(&format!("/sessions/{id}/terminals"), &NewTerminal { cols, rows })
            .await?;
        let purpose = TicketPurpose::Terminal {
            session_id: id,
            terminal_id: terminal.id,
        };
        let ticket: Ticket = api.post("/tickets", &purpose).await?;
        let address = format!(
            "{}/api/v1/sessions/{id}/terminals/{}/io?ticket={}",
            api.url().replacen("http", "ws", 1),
            terminal.id,
            ticket.ticket
        );
        let mut request = address.into_client_request()?;
        request.headers_mut().insert("origin", api.url().parse()?);
        Ok(Self::Ours(Box::new(connect_async(request).await?.0)))
    }

    async fn ttyd(port: u16) -> Result<Self> {
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "tty".parse()?);
        let (mut socket, _) = connect_async(request).await.context("ttyd")?;
        let hello = format!("{{\"AuthToken\":\"\",\"columns\":{},\"rows\":{}}}", SIZE.0, SIZE.1);
        socket.send(Message::binary(hello.into_bytes())).await?;
        Ok(Self::Ttyd(Box::new(socket)))
    }

    async fn type_in(&mut self, keys: &str) -> Result<()> {
        match self {
            Self::Bare(pty, _) => Ok(pty.write_all(keys.as_bytes()).await?),
            Self::Ours(socket) => Ok(socket.send(Message::binary(keys.as_bytes().to_vec())).await?),
            // Its first byte says what a message is; 0 is input, and output the other way.
            Self::Ttyd(socket) => Ok(socket.send(Message::binary(format!("0{keys}").into_bytes())).await?),
        }
    }

    /// Some output.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        loop {
            let socket = match self {
                Self::Bare(pty, _) => {
                    buffer.resize(64 * 1024, 0);
                    let read = pty.read(buffer).await?;
                    buffer.truncate(read);
                    return Ok(());
                }
                Self::Ours(socket) | Self::Ttyd(socket) => socket,
            };
            let message = socket.next().await.context("the terminal ended")??;
            match (&mut *self, message) {
                (Self::Ours(_), Message::Binary(bytes)) => {
                    buffer.extend_from_slice(&bytes);
                    return Ok(());
                }
                (Self::Ours(_), Message::Text(text)) => match serde_json::from_str(&text)? {
                    StreamMessage::Attached { .. } => {}
                    other => bail!("the terminal said {other:?}"),
                },
                (Self::Ttyd(_), Message::Binary(bytes)) if bytes.first() == Some(&b'0') => {
                    buffer.extend_from_slice(&bytes[1..]);
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// Reads until the words come; answers how many bytes came with and before them.
    async fn until(&mut self, words: &[u8]) -> Result<usize> {
        let (mut buffer, mut tail, mut total) = (Vec::new(), Vec::new(), 0);
        loop {
            self.read(&mut buffer).await?;
            total += buffer.len();
            tail.extend_from_slice(&buffer[buffer.len().saturating_sub(2 * words.len())..]);
            if buffer
                .windows(words.len())
                .chain(tail.windows(words.len()))
                .any(|seen| seen == words)
            {
                return Ok(total);
            }
            tail.drain(..tail.len().saturating_sub(words.len()));
        }
    }

    /// From a key to its echo, which the kernel's terminal makes.
    async fn echo(&mut self) -> Result<Vec<Duration>> {
        // A shell that does not edit lines itself, so that keys typed ahead are never dropped.
        self.type_in("exec sh\n").await?;
        // Cut in two where it is typed, so that the echo of the command is not taken for its output.
        self.type_in("echo RE''ADY; cat > /dev/null\n").await?;
        self.until(b"READY\r\n").await?;
        let mut times = Vec::with_capacity(KEYS);
        let mut buffer = Vec::new();
        for _ in 0..KEYS {
            let begin = Instant::now();
            self.type_in("x").await?;
            loop {
                self.read(&mut buffer).await?;
                if buffer.contains(&b'x') {
                    break;
                }
            }
            times.push(begin.elapsed());
        }
        // The line's end, and the end of the input.
        self.type_in("\n\x04").await?;
        Ok(times)
    }

    /// Megabytes a second of a program's output.
    async fn bulk(&mut self) -> Result<f64> {
        let line = "0123456789".repeat(8);
        self.type_in(&format!(
            "echo BE''GIN; yes {} | head -c {BULK}; echo EN''D\n",
            &line[1..]
        ))
        .await?;
        self.until(b"BEGIN\r\n").await?;
        let begin = Instant::now();
        let bytes = self.until(b"END\r\n").await?;
        Ok(bytes as f64 / 1e6 / begin.elapsed().as_secs_f64())
    }
}
