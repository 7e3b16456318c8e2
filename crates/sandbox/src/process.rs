//! Processes that are found again after a restart.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// One process, told from a later one with the same number by its start time and the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRef {
    pid: i32,
    started_ticks: u64,
    boot: String,
}

impl ProcessRef {
    /// The process that has this number.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        Ok(Self {
            pid,
            started_ticks: started_ticks(pid)?,
            boot: boot()?.to_owned(),
        })
    }

    /// A descriptor of it; none when it has ended.
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let fd = rustix::process::pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Asked after opening: from here on the descriptor can't come to mean another process.
        (Self::of(self.pid).ok()? == *self).then_some(fd)
    }
}

/// The process that has this number at the moment.
pub(crate) fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Kills a process and waits until it has ended. A dead PID 1 has taken its whole sandbox along.
pub(crate) fn kill_and_wait(process: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(process, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut ended, None) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn boot() -> io::Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| text.trim().to_owned()))
}

fn started_ticks(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets and may hold anything, so fields are
    // counted from the last bracket: the start time is field 22, the 20th after it.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(19))
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other("unreadable process status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_until_it_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = ProcessRef::of(child.id().cast_signed()).unwrap();
        let fd = found.open().expect("it runs");
        kill_and_wait(&fd).unwrap();
        child.wait().unwrap();
        assert!(found.open().is_none());
    }

    #[test]
    fn another_process_with_the_number_is_not_it() {
        let mut me = ProcessRef::of(std::process::id().cast_signed()).unwrap();
        me.started_ticks += 1;
        assert!(me.open().is_none());
    }
}
