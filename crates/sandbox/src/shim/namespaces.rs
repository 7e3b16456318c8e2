//! The user and network namespace of a sandbox, made ready before anything runs in them.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::{Doing, ShimError};
use crate::request::IDS;
use crate::sys;

/// The namespaces of a sandbox, while a child that is in them makes them. The second takes the
/// kernel a while, in which the first can be used.
pub(super) struct Namespaces {
    child: Child,
    /// Root in it is an ordinary user of the host. No further user namespace can be made in it:
    /// they would open much of the kernel to whoever is inside.
    pub(super) user: OwnedFd,
}

/// Begins to make the namespaces of a sandbox whose ids begin at `uid_base`.
pub(super) fn begin(uid_base: u32) -> Result<Namespaces, ShimError> {
    let begin = || {
        let child = Child::new(uid_base, 0, prepare_sandbox)?;
        let user = child.namespace("user")?;
        Ok::<_, io::Error>(Namespaces { child, user })
    };
    begin().doing("make a user namespace")
}

impl Namespaces {
    /// Waits for the network namespace. It belongs to the user namespace and holds a loopback
    /// interface that is up, and nothing else.
    pub(super) fn net(&mut self) -> Result<OwnedFd, ShimError> {
        let mut net = || {
            expect_ok(&mut self.child.from)?;
            self.child.namespace("net")
        };
        net().doing("make a network namespace")
    }
}

/// A user namespace that only serves as a mapping: owners from `from` on appear as from `to` on.
pub(super) fn mapping(from: u32, to: u32) -> Result<OwnedFd, ShimError> {
    let make = || Child::new(to, from, || Ok(()))?.namespace("user");
    make().doing("make a user namespace for a layer's owners")
}

/// Runs in the child, in the new user namespace with all capabilities over it.
fn prepare_sandbox() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    sys::raise_loopback()?;
    // The file shows the limits of the namespace of whoever opens it.
    fs::write("/proc/sys/user/max_user_namespaces", "0")
}

/// A process in a user namespace of its own, until it is dropped.
struct Child {
    pid: Pid,
    from: PipeReader,
    to: PipeWriter,
}

impl Child {
    /// Forks a child into a user namespace in which `inside` and the following ids are the host's
    /// `outside` and following, and lets it `prepare`.
    fn new(outside: u32, inside: u32, prepare: impl FnOnce() -> io::Result<()>) -> io::Result<Self> {
        let (from, to_parent) = io::pipe()?;
        let (from_parent, to) = io::pipe()?;
        let pid = sys::fork(|| u8::from(run_child(to_parent, from_parent, prepare).is_err()))?;
        let mut child = Self { pid, from, to };
        expect_ok(&mut child.from)?;
        let map = format!("{inside} {outside} {IDS}");
        fs::write(format!("/proc/{pid}/uid_map"), &map)?;
        fs::write(format!("/proc/{pid}/gid_map"), &map)?;
        child.to.write_all(b"k")?;
        Ok(child)
    }

    fn namespace(&self, kind: &str) -> io::Result<OwnedFd> {
        Ok(File::open(format!("/proc/{}/ns/{kind}", self.pid))?.into())
    }
}

impl Drop for Child {
    /// Ends of pipes that are still open let a child that waits for its parent wait for ever.
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

fn run_child(
    mut to_parent: PipeWriter,
    mut from_parent: PipeReader,
    prepare: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut tell = |result: io::Result<()>| match result {
        Ok(()) => to_parent.write_all(b"k"),
        Err(error) => {
            to_parent.write_all(error.to_string().as_bytes())?;
            Err(error)
        }
    };
    tell(unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from))?;
    from_parent.read_exact(&mut [0])?;
    tell(prepare())?;
    // Stays until the parent has what it wants and kills it.
    from_parent.read_exact(&mut [0])
}

/// Reads the child's "k", or the error that it sent instead.
fn expect_ok(from_child: &mut PipeReader) -> io::Result<()> {
    let mut answer = [0; 256];
    match from_child.read(&mut answer)? {
        0 => Err(io::Error::other("the child ended")),
        1 if answer[0] == b'k' => Ok(()),
        length => Err(io::Error::other(
            String::from_utf8_lossy(&answer[..length]).into_owned(),
        )),
    }
}
