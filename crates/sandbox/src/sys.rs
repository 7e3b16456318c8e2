//! The system calls that no safe wrapper offers. All unsafe code of the project is here.

#![expect(
    unsafe_code,
    reason = "each function is one system call or fork, made safe by its checks"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::signal::{SigHandler, Signal};
use nix::unistd::{ForkResult, Pid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's flag; the C library's number of it is cut off.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Attributes of a mount that is not attached yet.
#[derive(Clone, Copy, Default)]
pub(crate) struct MountAttributes<'a> {
    /// Nothing can be changed through it.
    pub(crate) read_only: bool,
    /// Shifts the owners of its files by the mapping of this user namespace.
    pub(crate) owners: Option<&'a OwnedFd>,
}

/// Sets the attributes of a detached mount. Set-user-id bits and device files never count in it.
pub(crate) fn set_mount_attributes(mount: &OwnedFd, attributes: MountAttributes<'_>) -> io::Result<()> {
    let mut set = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if attributes.read_only {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    let mut userns_fd = 0;
    if let Some(namespace) = attributes.owners {
        set |= libc::MOUNT_ATTR_IDMAP;
        userns_fd = namespace.as_raw_fd() as u64;
    }
    let attr = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd,
    };
    // SAFETY: the path is a nul-terminated constant, `attr` lives through the call and its size is
    // the one that is passed; both descriptors are borrowed from owners that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Forks a child that runs `child` and exits with what it answers.
///
/// Refused in a process with other threads: their locks would stay locked in the child for ever.
pub(crate) fn fork(child: impl FnOnce() -> u8) -> io::Result<Pid> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with threads cannot fork safely"));
    }
    // SAFETY: this is the only thread, so the child's copy of memory holds no lock that another
    // thread had taken, and the child may allocate and use the standard library.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            let code = child();
            // SAFETY: ends the process at once; handlers that the parent registered must not run
            // a second time in the child.
            unsafe { libc::_exit(i32::from(code)) }
        }
    }
}

/// The same in a cgroup of version 2 from the child's first moment on. Without one like [`fork`].
pub(crate) fn fork_into(cgroup: Option<&OwnedFd>, child: impl FnOnce() -> u8) -> io::Result<Pid> {
    let Some(cgroup) = cgroup else { return fork(child) };
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("a process with threads cannot fork safely"));
    }
    // SAFETY: `clone_args` is plain data for which all zeroes is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: without a stack and shared memory this is a fork, for which the same holds as above;
    // the arguments live through the call and their size is the one that is passed.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match pid {
        ..0 => Err(io::Error::last_os_error()),
        0 => {
            let code = child();
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(code)) }
        }
        pid => Ok(Pid::from_raw(pid as i32)),
    }
}

/// Whether a write to a closed pipe ends the process, as programs expect that were not written in
/// Rust, or is an error. A program keeps what was set when it was started.
pub(crate) fn broken_pipe_kills(kills: bool) -> io::Result<()> {
    let handler = if kills { SigHandler::SigDfl } else { SigHandler::SigIgn };
    // SAFETY: neither disposition runs code of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, handler) }?;
    Ok(())
}

/// Watches for a descriptor to become readable. A process's does when the process has ended.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open, answers the same number each time, and is closed only
    // by being dropped, which `AsyncFd` does after it has left the reactor.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Leaves the session keyring that was inherited: whoever has it may use the keys in it, whatever
/// namespace it is in. A kernel without keyrings has none to leave.
pub(crate) fn leave_session_keyring() -> io::Result<()> {
    // SAFETY: the operation takes one pointer, and null means a new keyring without a name.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    let error = io::Error::last_os_error();
    if result >= 0 || error.raw_os_error() == Some(libc::ENOSYS) {
        Ok(())
    } else {
        Err(error)
    }
}

/// Brings up the loopback interface of this thread's network namespace.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `ifreq` is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = (*from).cast_signed();
    }
    // SAFETY: the request is an `ifreq` with a nul-terminated name; the kernel writes only to it.
    if unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has filled in the flags, so that is the union's live field.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: as above; the kernel only reads the request.
    if unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
