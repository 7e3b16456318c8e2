//! Terminals beside a bare PTY and beside others that a browser reaches: the same shell, driven the
//! same way, in turns. The peers are ttyd, and terminado, which is Jupyter's.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use mistle_protocol::api::{NewTerminal, StreamMessage, Ticket, TicketPurpose};
use mistle_protocol::control::TerminalInfo;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::SessionState;
use mistle_testkit::{Api, TestServer, repository};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::browser;
use crate::figures::{Budget, Report};
use crate::peers::{self, Peer};

/// Rounds, in each of which every terminal has its turn.
const TURNS: usize = 3;
/// Keys of a turn whose echo is awaited. Fewer than the 4,095 that a terminal's line takes.
const KEYS: usize = 200;
/// Output of a turn, in bytes, before the terminal adds its carriage returns.
const BULK: usize = 64 * 1024 * 1024;
/// How long anything may take that has to come.
const LIMIT: Duration = Duration::from_mins(1);
const SIZE: (u16, u16) = (80, 24);
/// How soon a person expects an answer to a key, in milliseconds.
const AT_ONCE_MS: f64 = 50.0;
/// A program that prints all it can.
const FLOOD: &str = "yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678";
/// Jupyter's server of terminals by itself, a shell for each connection.
const TERMINADO: &str = "import sys, tornado.ioloop, tornado.web, terminado
manager = terminado.UniqueTermManager(shell_command=['sh'])
app = tornado.web.Application([('/ws', terminado.TermSocket, {'term_manager': manager})])
app.listen(int(sys.argv[1]), '127.0.0.1')
tornado.ioloop.IOLoop.current().start()";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Measures the echo and the throughput of each, and what the page makes of them.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("project");
    repository(&source, &[("README.md", "# Project\n")])?;
    let session = server.api.new_session(&source.to_string_lossy(), "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    live.state(SessionState::Running).await?;
    live.turn_end().await?;

    let mut places = vec![Place::Bare, Place::Ours(server.api.clone(), session.id)];
    let mut running = Vec::new();
    for peer in [ttyd().await?, terminado().await?] {
        match peer {
            Ok((peer, place)) => {
                running.push(peer);
                places.push(place);
            }
            Err(absent) => report.note(absent),
        }
    }
    let measured = apart(in_turns(places)).await?;
    drop(running);
    show(report, &measured);
    in_the_page(report, &server, session.id).await
}

fn show(report: &mut Report, measured: &[Measured]) {
    let (mut bare_ms, mut medians) = (0.0, Vec::new());
    for Measured { name, echo, bulk, .. } in measured {
        let ms = report.times(&format!("{name}, echo of a key"), None, echo);
        if *name == BARE {
            bare_ms = ms;
        } else {
            let most = (*name == OURS).then_some(Budget::AtMost(2.0));
            report.add(
                &format!("{name}, echo added over a bare PTY"),
                "ms",
                most,
                &[ms - bare_ms],
            );
        }
        let least = (*name == OURS).then_some(Budget::AtLeast(20.0));
        let rate = report.add(&format!("{name}, output"), "MB/s", least, bulk);
        medians.push((*name, ms, rate));
    }
    for Measured { name, flooded, .. } in measured.iter().filter(|measured| measured.name != BARE) {
        let what = format!("{name}, echo of a key while another one prints all it can");
        report.times(&what, (*name == OURS).then_some(AT_ONCE_MS), flooded);
    }
    compare(report, &medians);
}

/// Ours beside each peer.
fn compare(report: &mut Report, medians: &[(&str, f64, f64)]) {
    let Some((_, ms, rate)) = medians.iter().find(|(name, ..)| *name == OURS) else {
        return;
    };
    for (peer, peer_ms, peer_rate) in medians.iter().filter(|(name, ..)| name.starts_with("peer")) {
        report.add(&format!("terminal ÷ {peer}: echo of a key"), "×", None, &[ms / peer_ms]);
        report.add(&format!("terminal ÷ {peer}: output"), "×", None, &[rate / peer_rate]);
    }
}

/// What the browser answers: milliseconds, and megabytes a second.
#[derive(Deserialize)]
struct Page {
    rates: Vec<f64>,
    frames: Vec<f64>,
    keys: Vec<f64>,
    composer: Vec<f64>,
}

/// A flood in the page: what it takes, how long it ever stands still, and keys beside it.
async fn in_the_page(report: &mut Report, server: &TestServer, id: SessionId) -> Result<()> {
    if let Some(why) = browser::missing() {
        report.note(format!("a terminal in the page: not measured ({why})"));
        return Ok(());
    }
    let job = json!({
        "job": "flood",
        "login": server.login_link,
        "url": format!("{}/s/{id}", server.api.url()),
        "flood": FLOOD,
        "rounds": TURNS,
    });
    let page: Page = browser::measure(&job).await?;
    let what = "output that a page takes, Chromium without a graphics card";
    report.add(what, "MB/s", None, &page.rates);
    let what = "a page that shows a flood: between two frames";
    report.add(what, "ms", None, &page.frames);
    let what = "a page that shows a flood: a key in the message → seen";
    report.add(what, "ms", Some(Budget::AtMost(AT_ONCE_MS)), &page.composer);
    let what = "a page with a flood in one tab: a key in another tab → its echo seen";
    report.add(what, "ms", Some(Budget::AtMost(AT_ONCE_MS)), &page.keys);
    Ok(())
}

/// A peer that runs and where, or why there is none.
type Found = std::result::Result<(Peer, Place), &'static str>;

async fn ttyd() -> Result<Found> {
    if peers::find("ttyd").is_none() {
        return Ok(Err(
            "peer ttyd: absent. Debian 11 and 13 have it, Debian 12 does not; the peer that it has is terminado, Jupyter's.",
        ));
    }
    let port = peers::free_port()?;
    let mut command = Command::new("ttyd");
    // Versions before 1.7 have no such flag and let everyone write.
    if can_say_writable() {
        command.arg("--writable");
    }
    command.args(["--interface", "127.0.0.1", "--port", &port.to_string(), "sh"]);
    Ok(Ok((Peer::start(&mut command, port).await?, Place::Ttyd(port))))
}

async fn terminado() -> Result<Found> {
    let python = "/usr/bin/python3";
    let import = Command::new(python).args(["-c", "import terminado"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        return Ok(Err("peer terminado: absent"));
    }
    let port = peers::free_port()?;
    let peer = Peer::start(Command::new(python).args(["-c", TERMINADO, &port.to_string()]), port).await?;
    Ok(Ok((peer, Place::Terminado(port))))
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

async fn within<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(LIMIT, work).await;
    done.with_context(|| format!("{what} took too long"))?
        .with_context(|| what.to_owned())
}

/// What was measured of a terminal.
struct Measured {
    name: &'static str,
    echo: Vec<Duration>,
    bulk: Vec<f64>,
    flooded: Vec<Duration>,
}

async fn in_turns(places: Vec<Place>) -> Result<Vec<Measured>> {
    let mut shells = Vec::new();
    for place in places {
        let measured = Measured {
            name: place.name(),
            echo: Vec::new(),
            bulk: Vec::new(),
            flooded: Vec::new(),
        };
        shells.push((place.open().await.context(place.name())?, place, measured));
    }
    for _ in 0..TURNS {
        for (shell, _, measured) in &mut shells {
            measured.echo.extend(within(measured.name, shell.echo()).await?);
            measured.bulk.push(within(measured.name, shell.bulk()).await?);
        }
    }
    for (shell, place, measured) in shells.iter_mut().filter(|(_, place, _)| !matches!(place, Place::Bare)) {
        let mut other = place.open().await.context(measured.name)?;
        other.type_in(&format!("{FLOOD}\n")).await?;
        measured.flooded = within(measured.name, beside(shell.echo(), other.drain())).await?;
    }
    Ok(shells.into_iter().map(|(_, _, measured)| measured).collect())
}

/// Does the one while the other goes on.
async fn beside<T>(work: impl Future<Output = Result<T>>, other: impl Future<Output = Result<()>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        ended = other => {
            ended?;
            bail!("the flood ended")
        }
    }
}

const BARE: &str = "bare PTY";
const OURS: &str = "terminal";

/// Where a shell is.
enum Place {
    /// Here, without anything between.
    Bare,
    Ours(Api, SessionId),
    Ttyd(u16),
    Terminado(u16),
}

impl Place {
    fn name(&self) -> &'static str {
        match self {
            Self::Bare => BARE,
            Self::Ours(..) => OURS,
            Self::Ttyd(_) => "peer: ttyd",
            Self::Terminado(_) => "peer: terminado",
        }
    }

    async fn open(&self) -> Result<Shell> {
        match self {
            Self::Bare => bare(),
            Self::Ours(api, id) => Ok(Shell::Web(Box::new(ours(api, *id).await?), Language::Ours)),
            Self::Ttyd(port) => Ok(Shell::Web(Box::new(connect_ttyd(*port).await?), Language::Ttyd)),
            Self::Terminado(port) => {
                let (mut socket, _) = connect_async(format!("ws://127.0.0.1:{port}/ws")).await?;
                socket
                    .send(Message::text(json!(["set_size", SIZE.1, SIZE.0]).to_string()))
                    .await?;
                Ok(Shell::Web(Box::new(socket), Language::Terminado))
            }
        }
    }
}

fn bare() -> Result<Shell> {
    let (pty, pts) = pty_process::open()?;
    pty.resize(pty_process::Size::new(SIZE.1, SIZE.0))?;
    let child = pty_process::Command::new("sh").kill_on_drop(true).spawn(pts)?;
    Ok(Shell::Bare(pty, Box::new(child)))
}

async fn ours(api: &Api, id: SessionId) -> Result<Socket> {
    let (cols, rows) = SIZE;
    let terminal: TerminalInfo = api
        .post(
            &format!("/sessions/{id}/terminals"),
            &NewTerminal {
                id: None,
                cols,
                rows,
                if_none: false,
            },
        )
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
    Ok(connect_async(request).await?.0)
}

async fn connect_ttyd(port: u16) -> Result<Socket> {
    let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "tty".parse()?);
    let (mut socket, _) = connect_async(request).await?;
    let hello = format!("{{\"AuthToken\":\"\",\"columns\":{},\"rows\":{}}}", SIZE.0, SIZE.1);
    socket.send(Message::binary(hello.into_bytes())).await?;
    Ok(socket)
}

/// How keys and output are said on a socket.
#[derive(Clone, Copy)]
enum Language {
    /// As they are.
    Ours,
    /// A byte before them says what they are; 0 is input, and output the other way.
    Ttyd,
    /// A list of two words in JSON.
    Terminado,
}

impl Language {
    fn keys(self, keys: &str) -> Message {
        match self {
            Self::Ours => Message::binary(keys.as_bytes().to_vec()),
            Self::Ttyd => Message::binary(format!("0{keys}").into_bytes()),
            Self::Terminado => Message::text(json!(["stdin", keys]).to_string()),
        }
    }

    /// Adds the output that a message has; false when it has none.
    fn hear(self, message: Message, output: &mut Vec<u8>) -> Result<bool> {
        match (self, message) {
            (Self::Ours, Message::Binary(bytes)) => output.extend_from_slice(&bytes),
            (Self::Ours, Message::Text(text)) => match serde_json::from_str(&text)? {
                StreamMessage::Attached { .. } => return Ok(false),
                other => bail!("the terminal said {other:?}"),
            },
            (Self::Ttyd, Message::Binary(bytes)) if bytes.first() == Some(&b'0') => {
                output.extend_from_slice(&bytes[1..]);
            }
            (Self::Terminado, Message::Text(text)) => match serde_json::from_str::<(String, Value)>(&text)? {
                (kind, Value::String(words)) if kind == "stdout" => output.extend_from_slice(words.as_bytes()),
                _ => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A shell, and the way to it.
enum Shell {
    Bare(
        pty_process::Pty,
        #[expect(dead_code, reason = "it ends with this")] Box<tokio::process::Child>,
    ),
    Web(Box<Socket>, Language),
}

impl Shell {
    async fn type_in(&mut self, keys: &str) -> Result<()> {
        match self {
            Self::Bare(pty, _) => Ok(pty.write_all(keys.as_bytes()).await?),
            Self::Web(socket, language) => Ok(socket.send(language.keys(keys)).await?),
        }
    }

    /// Some output.
    async fn read(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        match self {
            Self::Bare(pty, _) => {
                buffer.resize(64 * 1024, 0);
                let read = pty.read(buffer).await?;
                buffer.truncate(read);
                Ok(())
            }
            Self::Web(socket, language) => loop {
                let message = socket.next().await.context("the terminal ended")??;
                if language.hear(message, buffer)? {
                    return Ok(());
                }
            },
        }
    }

    /// Reads for ever.
    async fn drain(&mut self) -> Result<()> {
        let mut buffer = Vec::new();
        loop {
            self.read(&mut buffer).await?;
        }
    }

    /// Reads until the words come; answers how many bytes came with and before them.
    async fn until(&mut self, words: &[u8]) -> Result<usize> {
        let (mut buffer, mut tail, mut total) = (Vec::new(), Vec::new(), 0);
        loop {
            self.read(&mut buffer).await?;
            total += buffer.len();
            tail.extend_from_slice(&buffer[buffer.len().saturating_sub(2 * words.len())..]);
            // Its first byte is in no line of the bulk, so that the search costs next to nothing.
            let may_end = buffer.contains(&words[0]) || tail.contains(&words[0]);
            if may_end && [&buffer, &tail].iter().any(|seen| contains(seen, words)) {
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

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|seen| seen == words)
}
