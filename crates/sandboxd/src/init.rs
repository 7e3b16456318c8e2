//! PID 1 of a sandbox: small, single-threaded, without a runtime.
//!
//! It starts the daemon and then only waits, for a child's end, a signal or a deadline, all of them
//! through one `poll`. What to do is decided by the pure [`Supervisor`]; this module has the system
//! calls. Because it waits for *any* child it reaps whatever the sandbox orphans; the daemon's own
//! children stay the daemon's.
//!
//! When the daemon has ended in order, everything else is told to (`SIGTERM`), given
//! [`TERMINATE_GRACE`], and then ended (`SIGKILL`); the exit code is the daemon's.

mod processes;
mod supervisor;

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, error, info, warn};

pub use supervisor::{Effect, Ended, Event, MAX_FAST_DEATHS, Supervisor};

/// How long everything in the sandbox has to end after `SIGTERM`.
pub const TERMINATE_GRACE: Duration = Duration::from_secs(3);
/// How long is waited for what was killed; the kernel ends the rest with PID 1.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// Supervises the daemon, started from this very program with `arguments`, until it ends in order
/// or for good. Answers the exit code.
pub fn run(arguments: &[OsString]) -> anyhow::Result<u8> {
    Init::new(arguments)?.run()
}

struct Init<'a> {
    arguments: &'a [OsString],
    signals: SignalFd,
    supervisor: Supervisor,
    daemon: Option<Daemon>,
    /// When the supervisor wants to be woken.
    deadline: Option<Instant>,
}

struct Daemon {
    pid: Pid,
    since: Instant,
}

impl<'a> Init<'a> {
    fn new(arguments: &'a [OsString]) -> anyhow::Result<Self> {
        // Outside a PID namespace, orphans come here all the same.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("can't become the reaper of orphans")?;
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            mask.add(signal);
        }
        mask.thread_block().context("can't block signals")?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("can't receive signals")?;
        Ok(Self {
            arguments,
            signals,
            supervisor: Supervisor::default(),
            daemon: None,
            deadline: None,
        })
    }

    fn run(mut self) -> anyhow::Result<u8> {
        let mut code = self.start();
        while code.is_none() {
            self.wait(self.deadline)?;
            code = self.take_signals()?;
            code = code.or_else(|| self.reap());
            if code.is_none() && self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.deadline = None;
                code = self.feed(Event::DeadlineReached);
            }
        }
        self.end_everything()?;
        Ok(code.unwrap_or_default())
    }

    /// Sleeps until a signal arrives or `until` is reached.
    fn wait(&self, until: Option<Instant>) -> anyhow::Result<()> {
        let timeout = until.and_then(|until| Timespec::try_from(until.saturating_duration_since(Instant::now())).ok());
        match poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("can't wait for signals"),
        }
    }

    fn take_signals(&mut self) -> anyhow::Result<Option<u8>> {
        while let Some(received) = self.signals.read_signal().context("can't read signals")? {
            let signal = i32::try_from(received.ssi_signo)
                .ok()
                .and_then(|number| Signal::try_from(number).ok());
            if let Some(signal @ (Signal::SIGTERM | Signal::SIGINT)) = signal {
                info!("{signal}: ending the sandbox");
                if let Some(code) = self.feed(Event::StopRequested(signal)) {
                    return Ok(Some(code));
                }
            }
        }
        Ok(None)
    }

    /// Collects every child that has ended.
    fn reap(&mut self) -> Option<u8> {
        loop {
            let (pid, ended) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Ended::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Ended::Killed(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return None,
                Ok(_) | Err(nix::Error::EINTR) => continue,
                Err(error) => {
                    warn!("can't wait for children: {error}");
                    return None;
                }
            };
            let Some(daemon) = self.daemon.take_if(|daemon| daemon.pid == pid) else {
                debug!("reaped {pid} ({ended})");
                continue;
            };
            let ran_for = daemon.since.elapsed();
            info!("the daemon ended ({ended}) after {ran_for:.1?}");
            if let Some(code) = self.feed(Event::DaemonEnded { ended, ran_for }) {
                return Some(code);
            }
        }
    }

    fn feed(&mut self, event: Event) -> Option<u8> {
        match self.supervisor.on(event)? {
            Effect::Start => self.start(),
            Effect::WakeIn(delay) => {
                self.deadline = Some(Instant::now() + delay);
                None
            }
            Effect::ForwardAndWakeIn(signal, delay) => {
                self.deadline = Some(Instant::now() + delay);
                self.signal_daemon(signal);
                None
            }
            Effect::KillDaemon => {
                warn!("the daemon did not end in time");
                self.signal_daemon(Signal::SIGKILL);
                None
            }
            Effect::Finish { code, gave_up } => {
                if gave_up {
                    error!("giving up: the daemon died {MAX_FAST_DEATHS} times in a row soon after its start");
                }
                Some(code)
            }
        }
    }

    /// A daemon that can't be started counts as one that died at once.
    fn start(&mut self) -> Option<u8> {
        let spawned = std::env::current_exe()
            .and_then(|program| Command::new(program).args(self.arguments).stdin(Stdio::null()).spawn());
        match spawned {
            Ok(child) => {
                let pid = Pid::from_raw(child.id().cast_signed());
                self.daemon = Some(Daemon {
                    pid,
                    since: Instant::now(),
                });
                None
            }
            Err(error) => {
                error!("can't start the daemon: {error}");
                self.feed(Event::DaemonEnded {
                    ended: Ended::Exited(i32::from(crate::cli::EXIT_FAILED)),
                    ran_for: Duration::ZERO,
                })
            }
        }
    }

    fn signal_daemon(&self, signal: Signal) {
        if let Some(daemon) = &self.daemon {
            // It is a child that was not waited for, so its number is still its own.
            let sent = kill(daemon.pid, signal);
            debug!("sent {signal} to the daemon: {sent:?}");
        }
    }

    fn end_everything(&mut self) -> anyhow::Result<()> {
        if !self.end_others(Signal::SIGTERM, TERMINATE_GRACE)? {
            self.end_others(Signal::SIGKILL, KILL_GRACE)?;
        }
        Ok(())
    }

    /// Signals every other process once and waits until there is none. False when `grace` is over.
    fn end_others(&mut self, signal: Signal, grace: Duration) -> anyhow::Result<bool> {
        let deadline = Instant::now() + grace;
        let mut told = std::collections::BTreeSet::new();
        loop {
            while self.signals.read_signal().context("can't read signals")?.is_some() {}
            self.reap();
            let others = processes::others().context("can't list processes")?;
            if others.is_empty() {
                return Ok(true);
            }
            if deadline <= Instant::now() {
                return Ok(false);
            }
            for pid in others {
                if told.insert(pid) {
                    // It may have ended in between, which is what is wanted.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            self.wait(Some(deadline))?;
        }
    }
}
