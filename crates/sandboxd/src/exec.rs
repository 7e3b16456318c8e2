//! Single commands, for the server: run without a terminal, streams kept apart.
//!
//! The answer begins at once; frames of standard output and error follow as they come, and one exit
//! frame at the end. What the caller sends is the command's standard input. A slow caller slows the
//! command, through the pipe. When the caller goes away the command is killed with its whole
//! process group.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use http::StatusCode;
use mistle_protocol::control::{Exec, Exit};
use mistle_protocol::frame::{Decoder, Frame, Kind};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::environment::Surroundings;
use crate::problem::Refusal;
use crate::terminals::{checked_argv, json_frame};

/// Commands at once.
pub const MAX_COMMANDS: usize = 64;
/// How long the caller may take to say what to run.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read from the command at once.
const READ: usize = 32 * 1024;
/// Frames that wait for the caller before the command has to.
const QUEUE: usize = 4;
/// How long its streams may be silent after the command's end before the end is told. Usually they
/// end with it; programs left in the background keep them open.
const DRAIN: Duration = Duration::from_millis(200);
/// The command was found and could not be run, as the shells say it …
const EXIT_NOT_RUN: i32 = 126;
/// … or was not found.
const EXIT_NOT_FOUND: i32 = 127;

/// Runs commands.
#[derive(Debug)]
pub struct Commands {
    surroundings: Surroundings,
    slots: Arc<Semaphore>,
}

/// The exit code; 128 plus the signal's number when one ended it.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

impl Commands {
    /// None runs yet.
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            slots: Arc::new(Semaphore::new(MAX_COMMANDS)),
        }
    }

    /// Runs the command that `input` begins with. Answers its frames; dropping them kills it.
    pub async fn run<I, B, E>(&self, input: I) -> Result<impl Stream<Item = Bytes> + Send + use<I, B, E>, Refusal>
    where
        I: Stream<Item = Result<B, E>> + Send + Unpin + 'static,
        B: AsRef<[u8]> + Send + 'static,
        E: Send + 'static,
    {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| {
            Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-commands",
                format!("a sandbox runs at most {MAX_COMMANDS} commands at once"),
            )
        })?;
        let mut frames = Frames {
            input,
            decoder: Decoder::default(),
        };
        let request = read_request(&mut frames).await?;
        let argv = checked_argv(&request.argv)?;
        let environment = checked_environment(&request.environment)?;
        let cwd = self.surroundings.directory(request.cwd.as_deref())?;
        let mut command = Command::new(&argv[0]);
        command
            .args(&argv[1..])
            .current_dir(cwd)
            .env_clear()
            .envs(self.surroundings.environment())
            .envs(environment);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let running = AbortOnDropHandle::new(tokio::spawn(run(command, frames, sender, slot)));
        // The task goes with the receiver: when nobody reads any more it is aborted.
        Ok(futures::stream::unfold(
            (receiver, running),
            |(mut receiver, running)| async { receiver.recv().await.map(|frame| (frame, (receiver, running))) },
        ))
    }
}

async fn read_request<I, B, E>(frames: &mut Frames<I>) -> Result<Exec, Refusal>
where
    I: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    let wrong = |detail: String| Refusal::new(StatusCode::BAD_REQUEST, "invalid-exec", detail);
    let first = tokio::time::timeout(REQUEST_TIMEOUT, frames.next())
        .await
        .map_err(|_| wrong("no command came in time".to_owned()))?;
    match first {
        Some(frame) if frame.kind == Kind::Control => serde_json::from_slice(&frame.payload)
            .map_err(|error| wrong(format!("the first frame is no command: {error}"))),
        _ => Err(wrong(
            "the first frame must be of kind control and hold the command".to_owned(),
        )),
    }
}

fn checked_environment(environment: &BTreeMap<String, String>) -> Result<&BTreeMap<String, String>, Refusal> {
    let valid =
        |(name, value): (&String, &String)| !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
    if environment.iter().all(valid) {
        return Ok(environment);
    }
    Err(Refusal::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid-environment",
        "a variable's name or value is not valid",
    )
    .at("/environment"))
}

/// The caller's frames.
struct Frames<I> {
    input: I,
    decoder: Decoder,
}

impl<I, B, E> Frames<I>
where
    I: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    /// The next frame; none at the end, which a broken frame is too.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => self.decoder.push(self.input.next().await?.ok()?.as_ref()),
                Err(error) => {
                    debug!("input that is no frame: {error}");
                    return None;
                }
            }
        }
    }
}

/// Kills a command's process group, unless it was waited for.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // One that is gone is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn run<I, B, E>(mut command: Command, frames: Frames<I>, output: mpsc::Sender<Bytes>, slot: OwnedSemaphorePermit)
where
    I: Stream<Item = Result<B, E>> + Send + Unpin + 'static,
    B: AsRef<[u8]> + Send + 'static,
    E: Send + 'static,
{
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let exit = match spawned {
        Ok(child) => supervise(child, frames, &output).await,
        Err(error) => {
            let code = if error.kind() == std::io::ErrorKind::NotFound {
                EXIT_NOT_FOUND
            } else {
                EXIT_NOT_RUN
            };
            Exit {
                code,
                error: Some(format!(
                    "can't run {}: {error}",
                    command.as_std().get_program().display()
                )),
            }
        }
    };
    drop(slot);
    // Nobody left to tell is fine.
    let _ = output.send(json_frame(Kind::Exit, &exit)).await;
}

async fn supervise<I, B, E>(mut child: Child, frames: Frames<I>, output: &mpsc::Sender<Bytes>) -> Exit
where
    I: Stream<Item = Result<B, E>> + Send + Unpin + 'static,
    B: AsRef<[u8]> + Send + 'static,
    E: Send + 'static,
{
    let mut group = Group(child.id().map(|pid| Pid::from_raw(pid.cast_signed())));
    let _feeding = child
        .stdin
        .take()
        .map(|stdin| AbortOnDropHandle::new(tokio::spawn(feed(stdin, frames))));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut copying = std::pin::pin!(async {
        tokio::join!(copy(stdout, Kind::Stdout, output), copy(stderr, Kind::Stderr, output));
    });
    let mut copied = false;
    let status = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            () = &mut copying, if !copied => copied = true,
        }
    };
    // From here on its number may be another's.
    group.0 = None;
    if !copied {
        drain(copying, output).await;
    }
    match status {
        Ok(status) => Exit {
            code: exit_code(status),
            error: None,
        },
        Err(error) => Exit {
            code: -1,
            error: Some(format!("can't wait for the command: {error}")),
        },
    }
}

/// Goes on copying until both streams end or are silent: silent means that the caller has taken
/// everything and nothing came meanwhile.
async fn drain(mut copying: std::pin::Pin<&mut impl Future<Output = ()>>, output: &mpsc::Sender<Bytes>) {
    while tokio::time::timeout(DRAIN, &mut copying).await.is_err() {
        if output.capacity() == output.max_capacity() {
            return;
        }
    }
}

async fn copy(stream: Option<impl AsyncRead + Unpin>, kind: Kind, output: &mpsc::Sender<Bytes>) {
    let Some(mut stream) = stream else { return };
    loop {
        // Given back when it is sent, so that an idle command holds none.
        let mut buffer = BytesMut::with_capacity(READ);
        match stream.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        if output.send(Frame::new(kind, buffer.freeze()).encode()).await.is_err() {
            return;
        }
    }
}

/// A command that does not read its input, or has ended, ends the feeding alone.
async fn feed<I, B, E>(mut stdin: ChildStdin, mut frames: Frames<I>)
where
    I: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    while let Some(frame) = frames.next().await {
        match frame.kind {
            Kind::Data => {
                if let Err(error) = stdin.write_all(&frame.payload).await {
                    debug!("standard input: {error}");
                    return;
                }
            }
            Kind::Eof => return,
            _ => {}
        }
    }
}
