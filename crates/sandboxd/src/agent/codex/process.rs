//! The app-server's process.
//!
//! It is a process group of its own and may outlive the daemon: one that is started again finds it
//! by the file that names it and goes on where the last one was, pending approvals included. It is
//! ended when the daemon shuts down in order, when its configuration changed, and when it does not
//! answer. Everything that it started carries a mark in its environment; when it died by itself,
//! what it left running is ended too, because the record calls it ended.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::super::repositories;
use super::super::runtime::StartError;

/// The longest until it listens. Half a second alone; twenty at once on two cores need the slack.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How often a connection is tried meanwhile: nothing announces the socket.
const TRY_EVERY: Duration = Duration::from_millis(5);
/// How long it may take to end after it was asked to.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Of its last words, so many bytes are shown.
const LAST_WORDS: usize = 600;
/// In the environment of everything that it starts.
const MARK: &str = "MISTLE_RUNTIME_HOME";

/// A running app-server.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    /// None when an earlier daemon started it.
    child: Option<Child>,
    home: PathBuf,
}

/// The file that names the process.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    pid: i32,
    /// Clock ticks since boot: another process may have the same id later.
    started: u64,
    /// What it was started with.
    fingerprint: u64,
}

/// A mark of everything that a process is started with.
pub(super) fn fingerprint(program: &str, configuration: &str, environment: &BTreeMap<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (program, configuration, environment).hash(&mut hasher);
    hasher.finish()
}

fn socket(home: &Path) -> PathBuf {
    home.join("app-server.sock")
}

/// The socket's address, as Codex takes it for its server and its clients.
pub(super) fn endpoint(home: &Path) -> String {
    format!("unix://{}", socket(home).display())
}

/// What Codex adds to the environment.
pub(super) fn environment(home: &Path, base: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = [
        ("CODEX_HOME", home.to_string_lossy().into_owned()),
        (super::config::KEY_VARIABLE, super::config::KEY_PLACEHOLDER.to_owned()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    base.clone().into_iter().chain(own).collect()
}

fn name_file(home: &Path) -> PathBuf {
    home.join("app-server.json")
}

fn log_file(home: &Path) -> PathBuf {
    home.join("app-server.log")
}

fn fail(message: impl Into<String>, transient: bool) -> StartError {
    StartError {
        message: message.into(),
        transient,
    }
}

impl Process {
    /// The process that an earlier daemon started the same way. Any other one is ended.
    pub(super) async fn find(home: &Path, fingerprint: u64) -> Option<(Self, UnixStream)> {
        let named: Named = serde_json::from_slice(&fs::read(name_file(home)).ok()?).ok()?;
        let pid = Pid::from_raw(named.pid)?;
        if started(pid) != Some(named.started) {
            end_marked(home);
            return None;
        }
        let process = Self {
            pid,
            child: None,
            home: home.to_owned(),
        };
        if named.fingerprint == fingerprint
            && let Ok(stream) = UnixStream::connect(socket(home)).await
        {
            return Some((process, stream));
        }
        process.end().await;
        None
    }

    /// Starts it and waits until it listens.
    pub(super) async fn spawn(
        program: &str,
        home: &Path,
        cwd: &str,
        environment: &BTreeMap<String, String>,
        fingerprint: u64,
    ) -> Result<(Self, UnixStream), StartError> {
        let socket = socket(home);
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(fail(format!("{} can't be removed: {error}.", socket.display()), false));
            }
            _ => {}
        }
        let log = fs::File::create(log_file(home))
            .map_err(|error| fail(format!("Codex' log can't be made: {error}."), false))?;
        let log_too = log
            .try_clone()
            .map_err(|error| fail(format!("Codex' log can't be shared: {error}."), true))?;
        let mut command = Command::new(program);
        command
            .args(["app-server", "--listen", &endpoint(home)])
            .current_dir(cwd)
            .env_clear()
            .envs(self::environment(home, environment))
            .env(MARK, home)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .process_group(0);
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => fail(
                format!("There is no Codex at {program}. Install the runtime on the server and start again."),
                false,
            ),
            _ => fail(format!("Codex does not start: {error}."), true),
        })?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| fail("Codex ended at once.", true))?;
        let mut process = Self {
            pid,
            child: Some(child),
            home: home.to_owned(),
        };
        process.write_name(fingerprint);
        match process.connect(&socket).await {
            Ok(stream) => Ok((process, stream)),
            Err(why) => {
                let words = process.bury().await;
                if no_space(home) {
                    return Err(fail(repositories::disk_full(), false));
                }
                Err(fail(format!("Codex does not start: {why}. {words}"), true))
            }
        }
    }

    fn write_name(&self, fingerprint: u64) {
        let named = Named {
            pid: self.pid.as_raw_nonzero().get(),
            started: started(self.pid).unwrap_or(0),
            fingerprint,
        };
        let written = serde_json::to_vec(&named)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(name_file(&self.home), text));
        if let Err(error) = written {
            tracing::warn!(%error, "Codex' process can't be named; a daemon that is started again will not find it");
        }
    }

    async fn connect(&mut self, socket: &Path) -> Result<UnixStream, String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Ok(stream) = UnixStream::connect(socket).await {
                return Ok(stream);
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(format!("it ended with {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("it does not listen after {} s", START_LIMIT.as_secs()));
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// Makes sure that nothing is left of it; answers its last words.
    pub(super) async fn bury(self) -> String {
        let home = self.home.clone();
        let status = self.end_with(Signal::KILL).await;
        end_marked(&home);
        let words = last_words(&home);
        match (status, words.is_empty()) {
            (Some(status), true) => format!("Codex ended with {status}."),
            (Some(status), false) => format!("Codex ended with {status}: {words}"),
            (None, true) => "Codex ended.".to_owned(),
            (None, false) => format!("Codex ended: {words}"),
        }
    }

    /// Ends it and what it started.
    pub(super) async fn end(self) {
        let home = self.home.clone();
        self.end_with(Signal::TERM).await;
        end_marked(&home);
    }

    async fn end_with(mut self, signal: Signal) -> Option<std::process::ExitStatus> {
        // A child that ended by itself says how; only then is there nothing to signal.
        if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
            let _ = fs::remove_file(name_file(&self.home));
            return Some(status);
        }
        let _ = rustix::process::kill_process_group(self.pid, signal);
        let mut status = None;
        if tokio::time::timeout(END_LIMIT, self.wait(&mut status)).await.is_err() {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _ = tokio::time::timeout(END_LIMIT, self.wait(&mut status)).await;
        }
        let _ = fs::remove_file(name_file(&self.home));
        status
    }

    async fn wait(&mut self, status: &mut Option<std::process::ExitStatus>) {
        if let Some(child) = &mut self.child {
            *status = child.wait().await.ok();
        } else {
            // Not a child of this daemon, so nobody tells; its end is seen, not heard.
            while started(self.pid).is_some() {
                tokio::time::sleep(TRY_EVERY).await;
            }
        }
    }
}

/// When a process started; none when there is none, or only its remains.
fn started(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before this may hold anything, parentheses and spaces included.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// Kills every process that carries the mark of this runtime.
fn end_marked(home: &Path) {
    let mark = format!("{MARK}={}", home.display());
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for entry in processes.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Whether there is no room for what Codex writes at its start. It can't say so itself: its log is
/// on the same disk.
fn no_space(home: &Path) -> bool {
    const LEAST: u64 = 256 * 1024;
    rustix::fs::statvfs(home).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < LEAST)
}

/// The end of its log, without control characters.
fn last_words(home: &Path) -> String {
    let log = fs::read(log_file(home)).unwrap_or_default();
    let end = String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS)..]).into_owned();
    let text = without_escapes(&end);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains("PATH aliases"))
        .collect();
    lines.join("\n")
}

/// Text without terminal escapes and other control characters, newlines aside.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next() == Some('[') => {
                chars.by_ref().find(char::is_ascii_alphabetic);
            }
            '\n' => plain.push(c),
            c if !c.is_control() => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_one_with_its_id() {
        let own = rustix::process::getpid();
        assert!(started(own).is_some());
        assert_eq!(started(own), started(own));
        assert_eq!(started(Pid::from_raw(i32::MAX - 1).unwrap()), None);
    }

    #[test]
    fn last_words_lose_their_colours() {
        assert_eq!(
            without_escapes("\u{1b}[2mtime\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m bell\u{7}\nnext"),
            "time ERROR bell\nnext"
        );
    }
}
