//! Terminals: a program on a PTY each, whose output is kept and shown to any number of viewers.
//!
//! A terminal belongs to the sandbox, not to a page or a connection: viewers come and go, with the
//! offset up to which they have the output. One task per terminal, its *pump*, reads the PTY into
//! [`output::Output`] and waits for the program's end. Each viewer takes from there at its own
//! pace; `output` says who waits for whom, and who first gets the screen as it was where its output
//! begins. Nothing is delayed to gather more of it.
//!
//! An ended terminal keeps its output and exit code until it is closed or its place is needed.

mod output;
mod screen;
mod title;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use http::StatusCode;
use mistle_protocol::agent::ConversationId;
use mistle_protocol::control::{
    Exit, OpenTerminal, OpenTui, TerminalInfo, TerminalKind, TerminalSize, TerminalSkipped,
};
use mistle_protocol::frame::{Decoder, Frame, Kind};
use mistle_protocol::id::TerminalId;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pty_process::{OwnedReadPty, OwnedWritePty};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcgetpgrp, tcsetattr, tcsetwinsize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::agent::runtime::Interface;
use crate::environment::{Account, Surroundings};
use crate::exec::exit_code;
use crate::problem::Refusal;
use output::{Output, Take, ViewerId};
use title::TitleScanner;

/// Terminals at once, ended ones among them.
pub const MAX_TERMINALS: usize = 32;
/// Columns and rows, at most.
pub const MAX_SIZE: u16 = 1000;
/// Bytes read from a PTY at once; the kernel holds about as many.
const READ: usize = 8 * 1024;
/// Reads in a row before other tasks have their turn, so that a flood delays nobody's keystroke.
const READS_IN_A_ROW: usize = 8;
/// When viewers take nothing for this long, the program no longer waits for them.
const VIEWER_PATIENCE: Duration = Duration::from_secs(5);
/// How long output may be silent after the program's end before the end is told. Usually the PTY
/// says itself that nothing more can come; programs left in the background keep it open.
const DRAIN: Duration = Duration::from_millis(100);
/// How much output is read after the program's end: more than the kernel holds.
const MAX_DRAINED: u64 = 1024 * 1024;
/// How long a closed terminal's programs have to end before they are killed.
const HANGUP_GRACE: Duration = Duration::from_secs(2);
/// The longest name, in characters.
const MAX_NAME: usize = 40;
/// The shortest time between two lists: a program may change its title with every write.
const LIST_PACE: Duration = Duration::from_millis(50);
/// How long an interface may take until it listens for another size, and how often it is looked at.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
const LISTENS_PACE: Duration = Duration::from_millis(50);
/// Arguments of a terminal's program, in bytes, all together.
const MAX_ARGUMENTS: usize = 64 * 1024;

/// All terminals of the sandbox.
#[derive(Debug)]
pub struct Terminals {
    surroundings: Surroundings,
    open: Mutex<BTreeMap<TerminalId, Arc<Terminal>>>,
    /// Sent whenever the list says something else.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Terminal {
    id: TerminalId,
    /// That of all terminals.
    changed: watch::Sender<()>,
    /// The conversation that it shows, when it is the runtime's own interface.
    shows: Option<ConversationId>,
    state: Mutex<State>,
    /// Sent whenever there is more output, and at the end.
    grown: watch::Sender<()>,
    /// Told whenever a viewer took something or left.
    taken: Notify,
    /// The terminal is to end.
    closed: CancellationToken,
    /// The program.
    pid: Option<Pid>,
    /// Whether the program, which did not listen yet, is told of another size once it does.
    untold: AtomicBool,
}

#[derive(Debug)]
struct State {
    output: Output,
    scanner: TitleScanner,
    title: String,
    name: Option<String>,
    size: TerminalSize,
    /// None when the program has ended and its output is complete.
    pty: Option<Arc<Pty>>,
    exit: Option<i32>,
}

/// What is done with a PTY besides reading it.
#[derive(Debug)]
struct Pty {
    /// For its size and its foreground process group.
    control: OwnedFd,
    /// For input, one frame at a time.
    writer: tokio::sync::Mutex<OwnedWritePty>,
}

/// A viewer's two halves.
pub struct Attachment {
    /// Where the output begins.
    pub offset: u64,
    /// Frames for the viewer. Dropping it detaches the viewer.
    pub frames: std::pin::Pin<Box<dyn Stream<Item = Bytes> + Send>>,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment")
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Terminals {
    /// None yet.
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            open: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The list, and again whenever one is opened, closed, renamed, retitled or has ended.
    pub fn watch(self: Arc<Self>) -> impl Stream<Item = Vec<TerminalInfo>> + Send {
        async_stream::stream! {
            let mut changed = self.changed.subscribe();
            loop {
                changed.mark_unchanged();
                yield self.list();
                tokio::time::sleep(LIST_PACE).await;
                if changed.changed().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Gives a terminal a name; an empty one takes it away.
    pub fn rename(&self, id: TerminalId, name: &str) -> Result<TerminalInfo, Refusal> {
        let terminal = self.get(id)?;
        let name = title::sanitize(name);
        if name.chars().count() > MAX_NAME {
            return Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-name",
                format!("a terminal's name has at most {MAX_NAME} characters"),
            )
            .at("/name"));
        }
        terminal.state().name = Some(name).filter(|name| !name.is_empty());
        self.changed.send_replace(());
        Ok(terminal.info())
    }

    /// All of them, in the order of their ids.
    pub fn list(&self) -> Vec<TerminalInfo> {
        lock(&self.open).values().map(|terminal| terminal.info()).collect()
    }

    /// Starts a terminal, or answers the one that has this id; or the first, when that is enough.
    pub fn open(&self, request: &OpenTerminal) -> Result<TerminalInfo, Refusal> {
        let mut terminals = lock(&self.open);
        if let Some(terminal) = terminals.get(&request.id) {
            return Ok(terminal.info());
        }
        let first = terminals.values().find(|terminal| terminal.shows.is_none());
        if let Some(first) = first.filter(|_| request.if_none) {
            return Ok(first.info());
        }
        let size = checked_size(request.cols, request.rows)?;
        let argv = match &request.argv {
            Some(argv) => checked_argv(argv)?,
            None => vec![login_shell(&Account::current())],
        };
        let cwd = self.surroundings.directory(request.cwd.as_deref())?;
        make_room(&mut terminals)?;
        let launch = Launch {
            argv,
            cwd,
            environment: self.surroundings.environment(),
            shows: None,
        };
        let terminal = start(request.id, launch, size, self.changed.clone())?;
        let info = terminal.info();
        terminals.insert(request.id, terminal);
        self.changed.send_replace(());
        Ok(info)
    }

    /// The terminal with the runtime's own interface on a conversation, if one runs.
    pub(crate) fn showing(&self, conversation: &str) -> Option<TerminalInfo> {
        showing(&lock(&self.open), conversation)
    }

    /// Starts the runtime's own interface, or answers the one that runs on this conversation. Ended
    /// ones on it make place.
    pub(crate) fn show(&self, request: &OpenTui, interface: Interface) -> Result<TerminalInfo, Refusal> {
        let mut terminals = lock(&self.open);
        if let Some(running) = showing(&terminals, &request.conversation_id) {
            return Ok(running);
        }
        terminals.retain(|_, terminal| terminal.shows.as_ref() != Some(&request.conversation_id));
        if terminals.contains_key(&request.id) {
            return Err(
                Refusal::new(StatusCode::CONFLICT, "terminal-exists", "another terminal has this id").at("/id"),
            );
        }
        let size = checked_size(request.cols, request.rows)?;
        let launch = Launch {
            argv: checked_argv(&interface.argv)?,
            cwd: self.surroundings.directory(Some(&interface.cwd))?,
            environment: interface.environment,
            shows: Some(request.conversation_id.clone()),
        };
        make_room(&mut terminals)?;
        let terminal = start(request.id, launch, size, self.changed.clone())?;
        let info = terminal.info();
        terminals.insert(request.id, terminal);
        self.changed.send_replace(());
        Ok(info)
    }

    /// Shows a terminal's output from `offset` on. What comes in `input` goes to its program.
    pub fn attach<I, B, E>(&self, id: TerminalId, offset: u64, input: I) -> Result<Attachment, Refusal>
    where
        I: Stream<Item = Result<B, E>> + Send + Unpin + 'static,
        B: AsRef<[u8]> + Send + 'static,
        E: Send + 'static,
    {
        let terminal = self.get(id)?;
        let (viewer, offset) = terminal.state().output.attach(offset).ok_or_else(|| {
            Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-viewers",
                format!("a terminal has at most {} viewers; close one", output::MAX_VIEWERS),
            )
        })?;
        let typing = AbortOnDropHandle::new(tokio::spawn(type_in(Arc::downgrade(&terminal), input)));
        let viewer = Viewer {
            grown: terminal.grown.subscribe(),
            terminal,
            id: viewer,
            _typing: typing,
            ended: false,
        };
        let frames = futures::stream::unfold(viewer, |mut viewer| async {
            viewer.next().await.map(|frame| (frame, viewer))
        });
        Ok(Attachment {
            offset,
            frames: frames.boxed(),
        })
    }

    /// Ends a terminal and forgets it.
    pub fn close(&self, id: TerminalId) -> Result<(), Refusal> {
        let terminal = self.get(id)?;
        lock(&self.open).remove(&id);
        terminal.closed.cancel();
        self.changed.send_replace(());
        Ok(())
    }

    /// Ends all terminals and waits until their programs are gone, which is bounded.
    pub async fn shutdown(&self) {
        let all = std::mem::take(&mut *lock(&self.open));
        for terminal in all.values() {
            terminal.closed.cancel();
        }
        for terminal in all.into_values() {
            let mut grown = terminal.grown.subscribe();
            while terminal.state().pty.is_some() && grown.changed().await.is_ok() {}
        }
    }

    fn get(&self, id: TerminalId) -> Result<Arc<Terminal>, Refusal> {
        let terminal = lock(&self.open).get(&id).cloned();
        terminal.ok_or_else(|| {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "terminal-not-found",
                format!("there is no terminal {id}; it was closed, or the sandbox was started again"),
            )
        })
    }
}

/// A panic elsewhere must not take all terminals along.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checked_size(cols: u16, rows: u16) -> Result<TerminalSize, Refusal> {
    let wrong = |field: &str| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-size",
            format!("{field} must be 1 to {MAX_SIZE}"),
        )
        .at(&format!("/{field}"))
    };
    let fits = |length: u16| (1..=MAX_SIZE).contains(&length);
    if !fits(cols) {
        return Err(wrong("cols"));
    }
    if !fits(rows) {
        return Err(wrong("rows"));
    }
    Ok(TerminalSize { cols, rows })
}

/// Arguments that the kernel can be given.
pub(crate) fn checked_argv(argv: &[String]) -> Result<Vec<String>, Refusal> {
    let wrong = |why: &str| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-argv", why).at("/argv"));
    if argv.first().is_none_or(String::is_empty) {
        return wrong("the program is missing");
    }
    if argv.iter().any(|argument| argument.contains('\0')) {
        return wrong("arguments can't hold a zero byte");
    }
    if argv.iter().map(String::len).sum::<usize>() > MAX_ARGUMENTS {
        return wrong("the arguments are too long");
    }
    Ok(argv.to_vec())
}

/// The account's shell, if it is one; the best that there is otherwise.
fn login_shell(account: &Account) -> String {
    let usable = |shell: &Path| {
        !matches!(
            shell.file_name().and_then(|name| name.to_str()),
            Some("nologin" | "false" | "true")
        ) && rustix::fs::access(shell, rustix::fs::Access::EXEC_OK).is_ok()
    };
    let candidates = account.shell.clone().into_iter().chain([PathBuf::from("/bin/bash")]);
    candidates
        .into_iter()
        .find(|shell| usable(shell))
        .unwrap_or_else(|| PathBuf::from("/bin/sh"))
        .to_string_lossy()
        .into_owned()
}

/// Takes the place of an ended terminal that nobody looks at when all are taken.
fn make_room(terminals: &mut BTreeMap<TerminalId, Arc<Terminal>>) -> Result<(), Refusal> {
    if terminals.len() < MAX_TERMINALS {
        return Ok(());
    }
    let ended = terminals.values().find(|terminal| {
        let state = terminal.state();
        state.exit.is_some() && !state.output.is_viewed()
    });
    let id = ended.map(|terminal| terminal.id).ok_or_else(|| {
        Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-terminals",
            format!("a sandbox has at most {MAX_TERMINALS} terminals; close one"),
        )
    })?;
    terminals.remove(&id);
    Ok(())
}

fn showing(terminals: &BTreeMap<TerminalId, Arc<Terminal>>, conversation: &str) -> Option<TerminalInfo> {
    terminals
        .values()
        .filter(|terminal| terminal.shows.as_deref() == Some(conversation))
        .map(|terminal| terminal.info())
        .find(|info| info.exit_code.is_none())
}

/// What runs in a terminal.
struct Launch {
    argv: Vec<String>,
    cwd: PathBuf,
    environment: BTreeMap<String, String>,
    shows: Option<ConversationId>,
}

fn start(
    id: TerminalId,
    launch: Launch,
    size: TerminalSize,
    changed: watch::Sender<()>,
) -> Result<Arc<Terminal>, Refusal> {
    let Launch {
        argv,
        cwd,
        environment,
        shows,
    } = launch;
    let unavailable = |what: &str, error: &dyn std::fmt::Display| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "terminal-failed",
            format!("{what}: {error}"),
        )
    };
    let (pty, pts) = pty_process::open().map_err(|error| unavailable("no PTY can be had", &error))?;
    let control = rustix::io::fcntl_dupfd_cloexec(&pty, 0).map_err(|error| unavailable("no PTY can be had", &error))?;
    tcsetwinsize(&control, winsize(size)).map_err(|error| unavailable("the PTY's size can't be set", &error))?;
    set_utf8(&control).map_err(|error| unavailable("the PTY can't be set up", &error))?;
    let program = argv[0].clone();
    let child = pty_process::Command::new(&program)
        .args(&argv[1..])
        .current_dir(&cwd)
        .env_clear()
        .envs(&environment)
        .env("SHELL", login_shell(&Account::current()))
        .env("TERM", "xterm-256color")
        .env("COLORTERM", "truecolor")
        .spawn(pts)
        .map_err(|error| {
            Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "program-not-started",
                format!("can't run {program}: {error}"),
            )
            .at("/argv")
        })?;
    let (reader, writer) = pty.into_split();
    let pty = Arc::new(Pty {
        control,
        writer: tokio::sync::Mutex::new(writer),
    });
    let title = title::sanitize(&Path::new(&program).file_name().unwrap_or_default().to_string_lossy());
    let terminal = Arc::new(Terminal {
        id,
        changed,
        shows,
        state: Mutex::new(State {
            output: Output::new(size),
            scanner: TitleScanner::default(),
            title,
            name: None,
            size,
            pty: Some(pty.clone()),
            exit: None,
        }),
        grown: watch::Sender::new(()),
        taken: Notify::new(),
        closed: CancellationToken::new(),
        pid: child.id().map(|pid| Pid::from_raw(pid.cast_signed())),
        untold: AtomicBool::new(false),
    });
    tokio::spawn(pump(terminal.clone(), reader, child));
    Ok(terminal)
}

fn winsize(size: TerminalSize) -> Winsize {
    Winsize {
        ws_col: size.cols,
        ws_row: size.rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Makes the kernel's line editing erase whole characters.
fn set_utf8(pty: &OwnedFd) -> rustix::io::Result<()> {
    let mut modes = tcgetattr(pty)?;
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(pty, OptionalActions::Now, &modes)
}

impl Terminal {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn info(&self) -> TerminalInfo {
        let state = self.state();
        TerminalInfo {
            id: self.id,
            title: state.title.clone(),
            name: state.name.clone(),
            cols: state.size.cols,
            rows: state.size.rows,
            offset: state.output.end(),
            exit_code: state.exit,
            kind: self.shows.as_ref().map_or(TerminalKind::Shell, |_| TerminalKind::Tui),
            conversation_id: self.shows.clone(),
        }
    }

    fn append(&self, bytes: &[u8]) {
        let retitled = {
            let mut state = self.state();
            state.output.append(bytes);
            let title = state.scanner.scan(bytes).filter(|title| *title != state.title);
            title.map(|title| state.title = title).is_some()
        };
        self.grown.send_replace(());
        if retitled {
            self.changed.send_replace(());
        }
    }

    /// Returns when the program's output should be read: at once, when the first viewer has taken
    /// enough, or when viewers took nothing for too long.
    async fn room(&self) {
        loop {
            let mut taken = std::pin::pin!(self.taken.notified());
            taken.as_mut().enable();
            if self.state().output.wants_more() {
                return;
            }
            if tokio::time::timeout(VIEWER_PATIENCE, taken).await.is_err() {
                self.state().output.give_up();
            }
        }
    }

    /// The last writer wins. Sizes out of range are brought into it.
    fn resize(self: &Arc<Self>, size: TerminalSize) {
        let size = TerminalSize {
            cols: size.cols.clamp(1, MAX_SIZE),
            rows: size.rows.clamp(1, MAX_SIZE),
        };
        let mut state = self.state();
        if let Some(pty) = &state.pty {
            if let Err(error) = tcsetwinsize(&pty.control, winsize(size)) {
                debug!("can't resize {}: {error}", self.id);
            }
            state.size = size;
            state.output.resize(size);
        }
        drop(state);
        self.tell_size_later();
    }

    /// The kernel tells of another size by a signal. An interface that has read the size and does not
    /// listen yet would draw for the old one for ever (Codex 0.169.0, in its first moments): it is told
    /// once more when it listens.
    fn tell_size_later(self: &Arc<Self>) {
        let Some(pid) = self.pid.filter(|_| self.shows.is_some()) else {
            return;
        };
        if listens(pid) || self.untold.swap(true, Ordering::Relaxed) {
            return;
        }
        let terminal = self.clone();
        tokio::spawn(async move {
            let started = tokio::time::Instant::now();
            while terminal.state().pty.is_some() && started.elapsed() < LISTENS_WITHIN {
                if listens(pid) {
                    let _ = killpg(pid, Signal::SIGWINCH);
                    break;
                }
                tokio::time::sleep(LISTENS_PACE).await;
            }
            terminal.untold.store(false, Ordering::Relaxed);
        });
    }
}

/// Whether a program has a handler for `SIGWINCH`: `SigCgt` of proc(5) has a bit for each signal.
fn listens(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (Signal::SIGWINCH as i32 - 1)) != 0)
}

/// Reads the program's output until its end.
async fn pump(terminal: Arc<Terminal>, mut reader: OwnedReadPty, mut child: Child) {
    let pid = terminal.pid;
    let mut reading = true;
    let mut kill_at = None;
    let status = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            open = read_next(&terminal, &mut reader), if reading => reading = open,
            () = terminal.closed.cancelled(), if kill_at.is_none() => {
                signal_groups(pid, &terminal, Signal::SIGHUP);
                kill_at = Some(tokio::time::Instant::now() + HANGUP_GRACE);
            }
            () = wait_until(kill_at), if kill_at.is_some() => {
                signal_groups(pid, &terminal, Signal::SIGKILL);
                kill_at = Some(tokio::time::Instant::now() + HANGUP_GRACE);
            }
        }
    };
    let last = terminal.state().output.end() + MAX_DRAINED;
    while reading && !terminal.closed.is_cancelled() && terminal.state().output.end() < last {
        terminal.room().await;
        reading = tokio::time::timeout(DRAIN, read_now(&terminal, &mut reader))
            .await
            .unwrap_or(false);
    }
    let code = status.map_or_else(
        |error| {
            warn!("can't wait for the program of {}: {error}", terminal.id);
            -1
        },
        exit_code,
    );
    {
        let mut state = terminal.state();
        state.exit = Some(code);
        state.pty = None;
    }
    terminal.grown.send_replace(());
    terminal.changed.send_replace(());
}

async fn wait_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The program's own process group, and the one that is in the foreground.
fn signal_groups(pid: Option<Pid>, terminal: &Terminal, signal: Signal) {
    let pty = terminal.state().pty.clone();
    let foreground = pty
        .and_then(|pty| tcgetpgrp(&pty.control).ok())
        .map(|group| Pid::from_raw(group.as_raw_nonzero().get()));
    // A group that is gone is what is wanted. The program was not waited for, so its number is its
    // own still.
    for group in [pid, foreground.filter(|group| Some(*group) != pid)]
        .into_iter()
        .flatten()
    {
        let _ = killpg(group, signal);
        // A stopped program sees a hangup only when it goes on.
        let _ = killpg(group, Signal::SIGCONT);
    }
}

async fn read_next(terminal: &Terminal, reader: &mut OwnedReadPty) -> bool {
    terminal.room().await;
    read_now(terminal, reader).await
}

/// Reads what there is, or the next that comes. False when nothing more can come.
async fn read_now(terminal: &Terminal, reader: &mut OwnedReadPty) -> bool {
    let mut buffer = [0; READ];
    let mut read = Some(reader.read(&mut buffer).await);
    let mut reads = 1;
    loop {
        match read {
            None => return true,
            Some(Ok(length @ 1..)) => terminal.append(&buffer[..length]),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // EIO: the last program that had the terminal open is gone.
            Some(Ok(0) | Err(_)) => return false,
        }
        if reads == READS_IN_A_ROW || !terminal.state().output.wants_more() {
            break;
        }
        reads += 1;
        read = reader.read(&mut buffer).now_or_never();
    }
    tokio::task::yield_now().await;
    true
}

/// One viewer of a terminal.
struct Viewer {
    terminal: Arc<Terminal>,
    id: ViewerId,
    grown: watch::Receiver<()>,
    _typing: AbortOnDropHandle<()>,
    ended: bool,
}

impl Viewer {
    /// The next frame; none after the exit.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            self.grown.borrow_and_update();
            let (take, exit) = {
                let mut state = self.terminal.state();
                (state.output.take(self.id), state.exit)
            };
            self.terminal.taken.notify_one();
            match (take, exit) {
                (Take::Screen(bytes), _) => return Some(Frame::new(Kind::Screen, bytes).encode()),
                (Take::Data(bytes), _) => return Some(Frame::new(Kind::Data, bytes).encode()),
                (Take::Skipped(offset), _) => return Some(json_frame(Kind::Control, &TerminalSkipped { offset })),
                (Take::UpToDate, Some(code)) => {
                    self.ended = true;
                    return Some(json_frame(Kind::Exit, &Exit { code, error: None }));
                }
                // The sender lives as long as the terminal, which is held here.
                (Take::UpToDate, None) => self.grown.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.terminal.state().output.detach(self.id);
        self.terminal.taken.notify_one();
    }
}

/// A frame whose payload is JSON.
pub(crate) fn json_frame(kind: Kind, value: &impl serde::Serialize) -> Bytes {
    Frame::new(kind, serde_json::to_vec(value).unwrap_or_default()).encode()
}

/// Gives a viewer's input to the program, until the viewer has no more or the terminal is gone.
async fn type_in<I, B, E>(terminal: Weak<Terminal>, mut input: I)
where
    I: Stream<Item = Result<B, E>> + Unpin,
    B: AsRef<[u8]>,
{
    let mut decoder = Decoder::default();
    while let Some(Ok(bytes)) = input.next().await {
        decoder.push(bytes.as_ref());
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    let Some(terminal) = terminal.upgrade() else { return };
                    take_input(&terminal, &frame).await;
                }
                Ok(None) => break,
                Err(error) => {
                    debug!("input that is no frame: {error}");
                    return;
                }
            }
        }
    }
}

async fn take_input(terminal: &Arc<Terminal>, frame: &Frame) {
    match frame.kind {
        Kind::Data => {
            let Some(pty) = terminal.state().pty.clone() else {
                return;
            };
            let writing = async { pty.writer.lock().await.write_all(&frame.payload).await };
            // A program that reads nothing holds up its input, until the terminal is closed.
            if let Some(Err(error)) = terminal.closed.run_until_cancelled(writing).await {
                debug!("input for {}: {error}", terminal.id);
            }
        }
        Kind::Control => match serde_json::from_slice(&frame.payload) {
            Ok(size) => terminal.resize(size),
            Err(error) => debug!("a control frame that is no size: {error}"),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until it has said so.
    async fn said(terminal: &Terminal, viewer: ViewerId, all: &mut String, wanted: &str) {
        let mut grown = terminal.grown.subscribe();
        while !all.contains(wanted) {
            let take = terminal.state().output.take(viewer);
            match take {
                Take::Data(bytes) => all.push_str(&String::from_utf8_lossy(&bytes)),
                _ => grown.changed().await.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn an_interface_that_listens_late_is_told_its_size() {
        let script = r"stty size; read _; trap 'stty size; exit' WINCH; echo listens; sleep 60 & wait";
        let launch = Launch {
            argv: ["bash", "-c", script].map(str::to_owned).into(),
            cwd: PathBuf::from("/"),
            environment: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]),
            shows: Some("thread".into()),
        };
        let size = |cols, rows| TerminalSize { cols, rows };
        let terminal = start(TerminalId::new(), launch, size(80, 24), watch::Sender::new(())).unwrap();
        let (viewer, _) = terminal.state().output.attach(0).unwrap();
        let mut all = String::new();
        said(&terminal, viewer, &mut all, "24 80").await;
        terminal.resize(size(100, 30));
        let pty = terminal.state().pty.clone().unwrap();
        pty.writer.lock().await.write_all(b"\n").await.unwrap();
        said(&terminal, viewer, &mut all, "30 100").await;
        terminal.closed.cancel();
    }
}
