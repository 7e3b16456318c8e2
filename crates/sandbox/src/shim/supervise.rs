//! From the request to the exit status.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::pidfd_send_signal;

use super::rootfs::{BOX, EMPTY, NET_NAMESPACE, USER_NAMESPACE};
use super::{Doing, ShimError, causes, container, namespaces, rootfs, say};
use crate::cgroup::{self, Groups};
use crate::process::{self, ProcessRef};
use crate::request::{Answer, EXIT_FILE, LOCK_FILE, LOG_FILE, RUN_FILE, Run, StartRequest};
use crate::{Exit, sys};

/// What is kept of PID 1's output. The daemon says little there; everything beyond is read and
/// dropped, so that nothing inside can fill the host's disk or stall.
const MAX_LOG_BYTES: u64 = 256 * 1024;
/// What a pipe takes at once.
const PIPE_BYTES: usize = 4096;
/// Characters of an error that fit into it, however they are written.
const MAX_CAUSES: usize = 600;

/// Starts the sandbox in `dir` and stays until it has ended.
pub(super) fn run(dir: &Path, request: &StartRequest) -> Result<(), ShimError> {
    detach().doing("leave the server's session")?;
    let _lock = lock(dir)?;
    let own = ProcessRef::of(std::process::id().cast_signed()).doing("read the own status")?;
    write_json(
        dir,
        RUN_FILE,
        &Run {
            shim: own.clone(),
            init: None,
        },
    )?;

    let name = request.id.to_string();
    let init = match start(dir, request, &own) {
        Ok(init) => init,
        Err(error) => {
            // Whatever had begun ends here, so that the next start finds nothing in its way.
            let _ = cgroup::kill_and_remove(&name);
            let _ = fs::remove_file(dir.join(RUN_FILE));
            return Err(error);
        }
    };
    let supervised = supervise(request, init);
    let exit = Exit {
        code: supervised.as_ref().ok().copied(),
        out_of_memory: cgroup::out_of_memory(&name),
    };
    cgroup::kill_and_remove(&name).doing("remove the cgroups")?;
    rootfs::take_apart()?;
    let folder = Path::new(BOX);
    write_json(folder, EXIT_FILE, &exit)?;
    fs::remove_file(folder.join(RUN_FILE)).doing("remove the state file")?;
    supervised.map(|_| ())
}

/// Leaves the server's session and process group: its signals and its terminal are not ours.
fn detach() -> io::Result<()> {
    // Fails when this is a group's leader already, which is just as well.
    let _ = nix::unistd::setsid();
    // Otherwise it would be called `exe`, after the link that it was started by.
    rustix::thread::set_name(c"mistle-shim")?;
    sys::leave_session_keyring()?;
    std::env::set_current_dir("/")?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    Ok(())
}

/// Two shims on one disk would destroy it.
fn lock(dir: &Path) -> Result<Flock<File>, ShimError> {
    let file = File::create(dir.join(LOCK_FILE)).doing("open the lock")?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, error)| error)
        .doing("lock the sandbox, which seems to run already")
}

/// PID 1 of a container.
struct Init {
    pid: Pid,
    fd: OwnedFd,
    output: PipeReader,
}

fn start(dir: &Path, request: &StartRequest, own: &ProcessRef) -> Result<Init, ShimError> {
    container::set_limits()?;
    let mut namespaces = namespaces::begin(request.uid_base)?;
    rootfs::unshare_mounts()?;
    rootfs::assemble(dir, request, &namespaces.user)?;
    rootfs::bind_namespace(&namespaces.user, USER_NAMESPACE)?;
    let groups = Groups::create(&request.id.to_string()).doing("make the cgroups")?;
    rootfs::bind_namespace(&namespaces.net()?, NET_NAMESPACE)?;
    drop(namespaces);
    let (output, to_output) = io::pipe().doing("make a pipe")?;
    let (pid, creator) = create(request, &groups, to_output)?;
    groups.limit(&request.resources).doing("set the limits")?;
    let init = ProcessRef::of(pid).doing("read PID 1's status")?;
    let fd = process::open(pid).ok_or("it has ended").doing("watch PID 1")?;
    write_json(
        Path::new(BOX),
        RUN_FILE,
        &Run {
            shim: own.clone(),
            init: Some(init),
        },
    )?;
    // PID 1 becomes a child of this process with the end of its creator.
    waitpid(creator, None).doing("wait for the container's creator")?;
    Ok(Init {
        pid: Pid::from_raw(pid),
        fd,
        output,
    })
}

/// Has a child create the container and answers the numbers of PID 1 and of the child, which ends.
/// The child is in the sandbox's groups from the beginning, as this process must not be.
fn create(request: &StartRequest, groups: &Groups, output: PipeWriter) -> Result<(i32, Pid), ShimError> {
    // Whatever the child leaves behind comes here.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).doing("become the reaper")?;
    let unified = groups.unified().doing("open the cgroup")?;
    let (mut answer, mut answerer) = io::pipe().doing("make a pipe")?;
    let creator = sys::fork_into(unified.as_ref(), || {
        let created = create_in(request, groups, output)
            .map_err(|error| (error.doing.clone(), causes(&error).chars().take(MAX_CAUSES).collect()));
        u8::from(tell(&mut answerer, &created).is_err())
    })
    .doing("fork")?;
    let created = hear(&mut answer, creator).doing("hear of the container")?;
    match created {
        Ok(pid) => Ok((pid, creator)),
        Err((doing, causes)) => Err(ShimError {
            doing,
            source: causes.into(),
        }),
    }
}

/// Reads what the creator tells. Not until the pipe's end: PID 1 has the other one open, until it is let go.
fn hear(answer: &mut PipeReader, creator: Pid) -> io::Result<Created> {
    let ended = process::open(creator.as_raw());
    let mut events = vec![PollFd::new(&*answer, PollFlags::IN)];
    events.extend(ended.as_ref().map(|ended| PollFd::new(ended, PollFlags::IN)));
    while let Err(error) = poll(&mut events, None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    let told = events[0].revents().contains(PollFlags::IN);
    drop(events);
    if !told {
        return Err(io::Error::other("its creator ended without a word"));
    }
    let mut said = vec![0; PIPE_BYTES];
    let length = answer.read(&mut said)?;
    Ok(serde_json::from_slice(&said[..length])?)
}

/// The number of PID 1, or what could not be done and why.
type Created = Result<i32, (String, String)>;

fn tell(answerer: &mut PipeWriter, created: &Created) -> io::Result<()> {
    answerer.write_all(&serde_json::to_vec(created)?)
}

/// Runs in the child.
fn create_in(request: &StartRequest, groups: &Groups, output: PipeWriter) -> Result<i32, ShimError> {
    groups.join().doing("join the cgroups")?;
    rootfs::unshare_mounts()?;
    cgroup::hide(EMPTY).doing("hide the cgroups")?;
    sys::broken_pipe_kills(true).doing("reset a signal")?;
    container::create(request, output)
}

/// Lets PID 1 go and waits until it has ended. Answers its exit code.
fn supervise(request: &StartRequest, init: Init) -> Result<i32, ShimError> {
    let Init { pid, fd: init, output } = init;
    // Blocked only here: PID 1 was forked before and must not inherit it.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGUSR1);
    signals.thread_block().doing("block signals")?;
    let signals =
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("await signals")?;

    if let Err(error) = container::start(request) {
        process::kill_and_wait(&init).doing("kill the container")?;
        let _ = waitpid(pid, None);
        return Err(error);
    }
    say(&Answer::Started);
    release_stdout();
    let mut log = Log::open(output)?;
    loop {
        let mut events = vec![
            PollFd::new(&init, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        if let Some(output) = &log.output {
            events.push(PollFd::new(output, PollFlags::IN));
        }
        match poll(&mut events, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait for PID 1"),
        }
        let ready: Vec<bool> = events.iter().map(|event| !event.revents().is_empty()).collect();
        if ready.get(2) == Some(&true) {
            log.copy();
        }
        if ready[1] {
            forward(&signals, &init);
        }
        if ready[0] {
            break;
        }
    }
    log.copy_rest();
    match waitpid(pid, None).doing("learn how PID 1 ended")? {
        WaitStatus::Exited(_, code) => Ok(code),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as i32),
        other => Err(format!("{other:?}")).doing("learn how PID 1 ended"),
    }
}

/// SIGTERM is passed on; SIGUSR1 asks for the end without delay.
fn forward(signals: &SignalFd, init: &OwnedFd) {
    while let Ok(Some(signal)) = signals.read_signal() {
        let kill = signal.ssi_signo == Signal::SIGUSR1 as u32;
        let signal = if kill {
            rustix::process::Signal::KILL
        } else {
            rustix::process::Signal::TERM
        };
        // That it has ended already is what is wanted.
        let _ = pidfd_send_signal(init, signal);
    }
}

/// The driver reads the answer until the pipe's end.
fn release_stdout() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

/// PID 1's output, kept up to a limit.
struct Log {
    output: Option<PipeReader>,
    file: File,
    left: u64,
}

impl Log {
    fn open(output: PipeReader) -> Result<Self, ShimError> {
        let file = File::create(Path::new(BOX).join(LOG_FILE)).doing("open the log")?;
        Ok(Self {
            output: Some(output),
            file,
            left: MAX_LOG_BYTES,
        })
    }

    /// Copies what was written before the end. Does not wait for the pipe's end: a descriptor of
    /// it may have been passed out of the sandbox.
    fn copy_rest(&mut self) {
        while let Some(output) = &self.output {
            let ready = poll(
                &mut [PollFd::new(output, PollFlags::IN)],
                Some(&rustix::event::Timespec::default()),
            );
            if !matches!(ready, Ok(1..)) {
                return;
            }
            self.copy();
        }
    }

    /// Copies what is there. Called when something is, so it does not block.
    fn copy(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut buffer = [0; 8192];
        match output.read(&mut buffer) {
            Ok(0) | Err(_) => self.output = None,
            Ok(read) => {
                let kept = (read as u64).min(self.left);
                // A full disk of the host must not end the sandbox.
                let _ = self.file.write_all(&buffer[..kept as usize]);
                self.left -= kept;
            }
        }
    }
}

/// Replaces a state file at once.
fn write_json(dir: &Path, name: &str, value: &impl serde::Serialize) -> Result<(), ShimError> {
    let text = serde_json::to_vec(value).doing(format!("write {name}"))?;
    let temporary = dir.join(format!("{name}.new"));
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, dir.join(name)))
        .doing(format!("write {name}"))
}
