//! How soon a reader of a session's live stream is told of what happens in the sandbox: a file is
//! written, a program listens. A page draws both at once when it is told.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mistle_protocol::id::SessionId;
use mistle_protocol::session::LiveMessage;
use mistle_testkit::{Live, TestServer, built, repository};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::figures::Report;

/// How soon a reader is told, in milliseconds.
const SOON_MS: Option<f64> = Some(1000.0);
/// Writes, and programs that listen.
const ROUNDS: usize = 15;
/// Programs that listen after the sandbox was at rest, which takes half a minute each.
const ROUNDS_AT_REST: usize = 3;
/// A stream that says nothing for this long has told everything: above the longest that a change waits.
const QUIET: Duration = Duration::from_millis(1500);
/// A sandbox in which no process began for this long is looked at less often.
const AT_REST: Duration = Duration::from_secs(25);
/// How long anything may take that has to come. Far above what it takes.
const LIMIT: Duration = Duration::from_secs(30);
/// The first port.
const FIRST_PORT: u16 = 4100;
/// Writes the files that it is told to.
const WRITES: &str = "echo ready; while read -r name; do echo text > \"$name\"; done";
/// Listens on the ports that it is told to.
const LISTENS: &str = "console.log('ready')
require('readline').createInterface({ input: process.stdin })
  .on('line', (port) => require('http').createServer().listen(Number(port), '127.0.0.1'))";

/// Measures both.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("project");
    repository(&source, &[("README.md", "# Project\n")])?;
    let session = server.api.new_session(&source.to_string_lossy(), "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    live.turn_end().await?;
    writes(report, &server, session.id, &mut live).await?;
    listens(report, &server, session.id, &mut live).await
}

async fn writes(report: &mut Report, server: &TestServer, id: SessionId, live: &mut Live) -> Result<()> {
    let mut program = Program::start(server, id, &["sh", "-c", WRITES]).await?;
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        quiet(live).await?;
        let begin = Instant::now();
        program.tell(&format!("written{round}.txt")).await?;
        within(live.until(|message| matches!(message, LiveMessage::Changes { .. }).then_some(()))).await?;
        told.push(begin.elapsed());
    }
    report.times(
        "a file is written in the sandbox → the live stream tells of changes",
        SOON_MS,
        &told,
    );
    Ok(())
}

async fn listens(report: &mut Report, server: &TestServer, id: SessionId, live: &mut Live) -> Result<()> {
    let mut program = Program::start(server, id, &["node", "-e", LISTENS]).await?;
    let mut ports = FIRST_PORT..;
    let mut told = Vec::new();
    for port in ports.by_ref().take(ROUNDS) {
        quiet(live).await?;
        told.push(program.listens(live, port).await?);
    }
    report.times("a program listens → the live stream tells of its port", SOON_MS, &told);
    let mut told = Vec::new();
    for port in ports.take(ROUNDS_AT_REST) {
        tokio::time::sleep(AT_REST).await;
        quiet(live).await?;
        told.push(program.listens(live, port).await?);
    }
    report.times(
        "the same in a sandbox where nothing was started for a while",
        SOON_MS,
        &told,
    );
    Ok(())
}

/// Reads until the stream has nothing more to say, so that the next message belongs to what is done next.
async fn quiet(live: &mut Live) -> Result<()> {
    while let Ok(message) = tokio::time::timeout(QUIET, live.next()).await {
        message?.context("the live stream ended")?;
    }
    Ok(())
}

async fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LIMIT, work)
        .await
        .context("the live stream does not tell")?
}

/// A program in the sandbox that does what it is told, a line each; ends with this value.
struct Program {
    stdin: ChildStdin,
    _stdout: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Program {
    async fn start(server: &TestServer, id: SessionId, argv: &[&str]) -> Result<Self> {
        let mut child = Command::new(built(crate::PROFILE, "mistle"))
            .args(["session", "exec", &id.to_string(), "--"])
            .args(argv)
            .env("MISTLE_DATA_DIR", server.data_dir())
            .env("MISTLE_URL", server.api.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("standard input")?;
        let mut stdout = BufReader::new(child.stdout.take().context("standard output")?).lines();
        if stdout.next_line().await?.is_none() {
            bail!("{argv:?} ended before it was ready");
        }
        Ok(Self {
            stdin,
            _stdout: stdout,
            _child: child,
        })
    }

    async fn tell(&mut self, words: &str) -> Result<()> {
        self.stdin.write_all(format!("{words}\n").as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }

    /// From the word to the stream's.
    async fn listens(&mut self, live: &mut Live, port: u16) -> Result<Duration> {
        let begin = Instant::now();
        self.tell(&port.to_string()).await?;
        let told = live.until(|message| match message {
            LiveMessage::Ports { ports } => ports.iter().any(|listening| listening.port == port).then_some(()),
            _ => None,
        });
        within(told).await?;
        Ok(begin.elapsed())
    }
}
