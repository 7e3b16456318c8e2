//! Runs git so that a repository can't make it run anything else.
//!
//! Arguments never go through a shell, the environment holds nothing but the path and the home
//! directory, output is bounded, time is limited, and a reader that goes away ends the process.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::problem::Refusal;

/// How long git may take. A panel that waits longer has lost its reader.
pub(crate) const GIT_LIMIT: Duration = Duration::from_mins(2);
/// The most that is collected of an answer that is not streamed: the paths of a huge tree.
pub(crate) const MAX_COLLECTED: usize = 64 * 1024 * 1024;
/// Bytes read at once.
const READ: usize = 64 * 1024;
/// Bytes of git's last words that are kept.
const MAX_WORDS: usize = 2048;
/// What of the environment git gets: where it is, and where a person's ignore file is.
const PASSED: [&str; 3] = ["PATH", "HOME", "XDG_CONFIG_HOME"];

/// Why git did not do it.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("The sandbox has no git. Use an image that has it.")]
    Missing,
    /// It does not start, or its pipes fail.
    #[error("Git does not run: {0}.")]
    Io(#[source] io::Error),
    /// It says no.
    #[error("Git says: {0}")]
    Failed(String),
    /// It takes too long.
    #[error("Git takes longer than {} s. The repository may be too large, or a file in it blocks.", GIT_LIMIT.as_secs())]
    TimedOut,
    /// It says too much.
    #[error("The repository has more files than can be listed.")]
    TooMuch,
}

impl From<io::Error> for GitError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<GitError> for Refusal {
    fn from(error: GitError) -> Self {
        Self::new(StatusCode::CONFLICT, "git-failed", error.to_string())
    }
}

/// What git is started in.
#[derive(Clone, Debug)]
pub(crate) struct Surrounding(BTreeMap<String, String>);

impl Surrounding {
    pub(crate) fn new(environment: &BTreeMap<String, String>) -> Self {
        let kept = environment.iter().filter(|(name, _)| PASSED.contains(&name.as_str()));
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The home directory, where there is one.
    pub(crate) fn home(&self) -> &Path {
        Path::new(self.0.get("HOME").map_or("/", String::as_str))
    }

    /// Git on a repository's own folder: its refs and its configuration are read, and nothing else.
    pub(crate) fn command(&self, git_dir: &Path) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(&self.0)
            .env("LC_ALL", "C")
            .env("GIT_DIR", git_dir)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            // A partial clone fetches what is missing with a program that its configuration names.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_TERMINAL_PROMPT", "0")
            .args(["--no-pager", "--literal-pathspecs"])
            .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// Starts git.
pub(crate) fn spawn(mut command: Command) -> Result<Child, GitError> {
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GitError::Missing,
        _ => GitError::Io(error),
    })
}

/// A git that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    words: AbortOnDropHandle<Vec<u8>>,
    deadline: Instant,
}

impl Running {
    pub(crate) fn start(mut command: Command, input: Option<Vec<u8>>) -> Result<Self, GitError> {
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = spawn(command)?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // Git that ends early says why by itself.
            tokio::spawn(async move { stdin.write_all(&input).await });
        }
        let stdout = child.stdout.take();
        let mut stderr = child.stderr.take();
        let words = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut last = VecDeque::new();
            let mut buffer = [0; 1024];
            while let Some(stream) = &mut stderr
                && let Ok(count @ 1..) = stream.read(&mut buffer).await
            {
                last.extend(&buffer[..count]);
                let excess = last.len().saturating_sub(MAX_WORDS);
                last.drain(..excess);
            }
            last.into()
        }));
        Ok(Self {
            child,
            stdout,
            words,
            deadline: Instant::now() + GIT_LIMIT,
        })
    }

    /// What comes next; none when it has ended well.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, GitError> {
        tokio::time::timeout_at(self.deadline, async {
            if let Some(stdout) = &mut self.stdout {
                let mut buffer = BytesMut::with_capacity(READ);
                if stdout.read_buf(&mut buffer).await? > 0 {
                    return Ok(Some(buffer.freeze()));
                }
                self.stdout = None;
            }
            let status = self.child.wait().await?;
            if status.success() {
                return Ok(None);
            }
            let words = (&mut self.words).await.unwrap_or_default();
            Err(GitError::Failed(readable(&words)))
        })
        .await
        .map_err(|_| GitError::TimedOut)?
    }
}

/// Runs git to its end; answers what it says.
pub(crate) async fn collect(command: Command, input: Option<Vec<u8>>) -> Result<Vec<u8>, GitError> {
    let mut running = Running::start(command, input)?;
    let mut output = Vec::new();
    while let Some(bytes) = running.next().await? {
        if output.len() + bytes.len() > MAX_COLLECTED {
            return Err(GitError::TooMuch);
        }
        output.extend_from_slice(&bytes);
    }
    Ok(output)
}

/// The first complaint among git's last words.
fn readable(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let line = text
        .lines()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
        .or(text.lines().last())
        .unwrap_or("nothing");
    let plain: String = line.chars().filter(|c| !c.is_control()).collect();
    plain
        .trim_start_matches("fatal: ")
        .trim_start_matches("error: ")
        .to_owned()
}

/// The parts of an output with NUL behind each.
pub(crate) fn fields(output: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    output.split(|byte| *byte == 0).filter(|field| !field.is_empty())
}
