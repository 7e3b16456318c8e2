//! A server, and the command line on its machine.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mistle_protocol::id::SessionId;
use mistle_testkit::{Setup, TestServer};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

pub(crate) const MISTLE: &str = env!("CARGO_BIN_EXE_mistle");

/// Nothing here takes this long unless it hangs.
const LIMIT: Duration = Duration::from_mins(3);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("takes too long")
}

/// The program, with nothing of this process' environment but where the server is.
pub(crate) fn mistle(data_dir: &Path) -> Command {
    let mut command = Command::new(MISTLE);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .env("MISTLE_DATA_DIR", data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn new(status: ExitStatus, out: &[u8], err: &[u8]) -> Self {
        Self {
            code: status.code(),
            out: String::from_utf8_lossy(out).into_owned(),
            err: String::from_utf8_lossy(err).into_owned(),
        }
    }

    /// Both, with what differs from run to run replaced.
    pub(crate) fn shown(&self) -> String {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        let text = format!("exit code {code}\n--- output\n{}--- beside it\n{}", self.out, self.err);
        redacted_text(&text)
    }
}

/// Text with what differs from run to run replaced.
fn redacted_text(text: &str) -> String {
    let ends_word = |c: char| c.is_whitespace() || "`,;()".contains(c);
    let words = text.split_inclusive(ends_word);
    let plain = words.map(|word| {
        let bare = word.trim_end_matches(ends_word);
        kind_of(bare).map_or_else(|| word.to_owned(), |kind| word.replacen(bare, kind, 1))
    });
    plain.collect()
}

/// What kind of id, date or time a word is, if it is one.
fn kind_of(word: &str) -> Option<&'static str> {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    match shape.as_str() {
        "0000-00-00" => return Some("[date]"),
        "00:00" => return Some("[time]"),
        _ => {}
    }
    let is_hex = |id: &str| id.len() >= 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-_".contains(&byte));
    let kinds = [("ses_", "[session]"), ("msg_", "[message]"), ("apr_", "[approval]")];
    let kind = kinds
        .into_iter()
        .find(|(prefix, _)| word.strip_prefix(prefix).is_some_and(is_hex));
    match kind {
        Some((_, kind)) => Some(kind),
        None if word.len() == 36 && is_hex(word) => Some("[runtime's id]"),
        None => None,
    }
}

/// JSON with what differs from run to run replaced: ids, times, and numbers that a clock made.
pub(crate) fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => "[time]".into(),
        Value::String(text) => redacted_text(&text).into(),
        Value::Array(list) => list.into_iter().map(redacted).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(key, value)| redacted_field(key, value))
            .collect(),
        other => other,
    }
}

fn redacted_field(key: String, value: Value) -> (String, Value) {
    let is_there = !value.is_null();
    let value = match key.as_str() {
        // Deltas are joined by time, so how many events there are differs.
        "seq" | "last_seq" => "[number]".into(),
        // Codex' own, which its next version changes.
        "usage" | "models" | "version" | "item_id" | "turn_id" if is_there => "[the runtime's]".into(),
        _ => redacted(value),
    };
    (key, value)
}

pub(crate) struct World {
    pub(crate) server: TestServer,
}

impl World {
    /// A server whose profile asks as `approval_policy` says.
    pub(crate) async fn start(approval_policy: &str) -> Result<Self> {
        let setup = Setup {
            program: MISTLE.into(),
            ..Setup::policy(approval_policy)
        };
        let server = TestServer::start(setup).await?;
        Ok(Self { server })
    }

    pub(crate) fn mistle(&self, arguments: &[&str]) -> Command {
        let mut command = mistle(self.server.data_dir());
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = soon(self.mistle(arguments).output()).await?;
        Ok(Ended::new(output.status, &output.stdout, &output.stderr))
    }

    /// Runs a command that says what it is given.
    pub(crate) async fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Result<Ended> {
        let mut child = self.mistle(arguments).stdin(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().context("standard input")?;
        // A program may end before it has read everything.
        let write = async move { drop(input.write_all(stdin).await) };
        let ((), output) = soon(futures::future::join(write, child.wait_with_output())).await;
        let output = output?;
        Ok(Ended::new(output.status, &output.stdout, &output.stderr))
    }

    /// Runs a command that has to go well and answers with JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.run(&[&["--json"], arguments].concat()).await?;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        serde_json::from_str(&ended.out).with_context(|| format!("{arguments:?}: {ended:?}"))
    }

    /// Creates a session, which the command line answers with its id.
    pub(crate) async fn new_session(&self, task: &str) -> Result<SessionId> {
        let ended = self.run(&["session", "new", task]).await?;
        ended.out.trim().parse().with_context(|| format!("{ended:?}"))
    }

    /// Creates a session and waits until its first turn is over.
    pub(crate) async fn finished(&self, task: &str) -> Result<SessionId> {
        let id = self.new_session(task).await?;
        self.server.api.live(id, 0).await?.turn_end().await?;
        Ok(id)
    }

    /// The session that was created last.
    pub(crate) async fn newest(&self) -> Result<SessionId> {
        let sessions = self.json(&["session", "list", "--limit", "1"]).await?;
        serde_json::from_value(sessions[0]["id"].clone()).context("no session")
    }

    /// Begins a command that goes on, and reads what it prints.
    pub(crate) fn begin(&self, arguments: &[&str]) -> Result<Watched> {
        let mut child = self.mistle(arguments).stdin(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("standard output")?;
        Ok(Watched {
            child,
            out,
            read: String::new(),
        })
    }
}

/// A command that goes on.
pub(crate) struct Watched {
    pub(crate) child: Child,
    out: tokio::process::ChildStdout,
    read: String,
}

impl Watched {
    /// Reads until it has printed some words.
    pub(crate) async fn until(&mut self, words: &str) -> Result<()> {
        while !self.read.contains(words) {
            let mut buffer = [0; 4096];
            let read = soon(self.out.read(&mut buffer)).await?;
            anyhow::ensure!(read > 0, "{words:?} was not said: {}", self.read);
            self.read.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        Ok(())
    }

    /// Reads the rest.
    pub(crate) async fn end(mut self) -> Result<Ended> {
        let mut rest = Vec::new();
        let mut err = Vec::new();
        let mut beside = self.child.stderr.take().context("standard error")?;
        let both = futures::future::try_join(self.out.read_to_end(&mut rest), beside.read_to_end(&mut err));
        soon(both).await?;
        self.read.push_str(&String::from_utf8_lossy(&rest));
        let status = self.child.wait().await?;
        Ok(Ended::new(status, self.read.as_bytes(), &err))
    }
}
