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

/// Namespaces of a sandbox.
pub(super) struct Namespaces {
    /// Root in it is an ordinary user of the host. No further user namespace can be made in it:
    /// they would open much of the kernel to whoever is inside.
    pub(super) user: OwnedFd,
    /// Belongs to the user namespace; holds a loopback interface that is up, and nothing else.
    pub(super) net: OwnedFd,
}

/// Makes the namespaces of a sandbox whose ids begin at `uid_base`.
pub(super) fn create(uid_base: u32) -> Result<Namespaces, ShimError> {
    with_child(uid_base, 0, prepare_sandbox, |pid| {
        Ok(Namespaces {
            user: open(pid, "user")?,
            net: open(pid, "net")?,
        })
    })
    .doing("make the user and network namespaces")
}

/// A user namespace that only serves as a mapping: owners from `from` on appear as from `to` on.
pub(super) fn mapping(from: u32, to: u32) -> Result<OwnedFd, ShimError> {
    with_child(to, from, || Ok(()), |pid| open(pid, "user")).doing("make a user namespace for a layer's owners")
}

/// Runs in the child, in the new user namespace with all capabilities over it.
fn prepare_sandbox() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    sys::raise_loopback()?;
    // The file shows the limits of the namespace of whoever opens it.
    fs::write("/proc/sys/user/max_user_namespaces", "0")
}

/// Forks a child into a user namespace in which `inside` and the following ids are the host's
/// `outside` and following, lets it `prepare`, and calls `take` while it is still there.
fn with_child<T>(
    outside: u32,
    inside: u32,
    prepare: impl FnOnce() -> io::Result<()>,
    take: impl FnOnce(Pid) -> io::Result<T>,
) -> io::Result<T> {
    let (mut from_child, to_parent) = io::pipe()?;
    let (from_parent, mut to_child) = io::pipe()?;
    let child = sys::fork(|| u8::from(run_child(to_parent, from_parent, prepare).is_err()))?;
    let result = (|| {
        expect_ok(&mut from_child)?;
        let map = format!("{inside} {outside} {IDS}");
        fs::write(format!("/proc/{child}/uid_map"), &map)?;
        fs::write(format!("/proc/{child}/gid_map"), &map)?;
        to_child.write_all(b"k")?;
        expect_ok(&mut from_child)?;
        take(child)
    })();
    // Ends of pipes that are still open let a child that waits for the parent wait for ever.
    let _ = kill(child, Signal::SIGKILL);
    waitpid(child, None)?;
    result
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

fn open(pid: Pid, kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/{kind}"))?.into())
}
