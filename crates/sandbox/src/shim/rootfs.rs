//! A sandbox's root file system, put together in the shim's mount namespace.
//!
//! Everything that is needed of the host is opened first, as detached mounts with their owners
//! shifted. Then a small tmpfs is laid over `/run` of this namespace and everything is attached
//! below it, for three reasons: root in the sandbox, as which libcontainer goes on, can get
//! there, while it can't pass the server's private folders; the short paths let a hundred layers
//! fit into the 4 KiB of mount options, on every kernel; and it all goes away with the shim.
//!
//! The disk is hostile: it may hold a symbolic link wherever something is to be mounted. Targets
//! are therefore looked up with the sandbox's root as `/` and mounted through descriptors.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::namespaces;
use super::{Doing, ShimError};
use crate::request::{Bind, DISK_DIR, Lower, Overlay, StartRequest, WORK_DIR};
use crate::sys::{MountAttributes, set_mount_attributes};

/// Exists on every Linux and nothing below it is needed once everything is opened.
const SCRATCH: &str = "/run";
/// The sandbox's folder, in the shim's mount namespace.
pub(super) const BOX: &str = "/run/box";
/// The sandbox's root file system.
pub(super) const ROOT: &str = "/run/root";
/// The bundle that libcontainer reads.
pub(super) const BUNDLE: &str = "/run/bundle";
/// libcontainer's own state.
pub(super) const CONTAINERS: &str = "/run/containers";
/// The user namespace to enter.
pub(super) const USER_NAMESPACE: &str = "/run/user-namespace";
/// The network namespace to enter.
pub(super) const NET_NAMESPACE: &str = "/run/net-namespace";
/// A folder in which nothing is.
pub(super) const EMPTY: &str = "/run/empty";
const LOWERS: &str = "/run/lower";

/// Beyond it a lookup costs too much and the mount options come near their limit.
pub(crate) const MAX_LOWERS: usize = 200;
/// Of the scratch tmpfs: a bundle, some state and empty folders.
const SCRATCH_OPTIONS: &str = "mode=755,size=4m,nr_inodes=4096";
/// Sockets and pid files; counted against the sandbox's memory limit as well.
const RUN_SIZE: &str = "64m";

/// Gives this process a mount namespace of its own, from which nothing gets out.
pub(super) fn unshare_mounts() -> Result<(), ShimError> {
    unshare(CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .doing("make the mounts private")
}

/// Puts the root file system together at [`ROOT`]. The owners of the host's files are shifted by the
/// user namespace `owners`.
pub(super) fn assemble(dir: &Path, request: &StartRequest, owners: &OwnedFd) -> Result<(), ShimError> {
    let folder = open_tree(
        CWD,
        dir,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .doing("open the sandbox's folder")?;
    let mut lowers = Vec::new();
    for overlay in &request.overlays {
        let opened: Result<Vec<_>, _> = overlay
            .lowers
            .iter()
            .map(|lower| open_lower(lower, request, owners))
            .collect();
        lowers.push(opened?);
    }
    let binds: Result<Vec<_>, _> = request.binds.iter().map(|bind| open_bind(bind, owners)).collect();

    mount_tmpfs(Path::new(SCRATCH), SCRATCH_OPTIONS).doing("mount a tmpfs to work in")?;
    for path in [BOX, ROOT, BUNDLE, CONTAINERS, LOWERS, EMPTY] {
        fs::create_dir(path).doing(format!("make {path}"))?;
    }
    attach(&folder, Path::new(BOX)).doing("attach the sandbox's folder")?;

    let mut root = None;
    for (overlay, lowers) in request.overlays.iter().zip(&lowers) {
        let target = match &root {
            None => open_path(Path::new(ROOT)).doing("open the root's folder")?,
            Some(root) => target(root, &overlay.target, FileType::Directory, request.uid_base)?,
        };
        mount_overlay(overlay, lowers, &target)?;
        if root.is_none() {
            root = Some(open_path(Path::new(ROOT)).doing("open the root")?);
        }
    }
    let root = root.ok_or("no overlay was asked for").doing("find the root")?;

    let run = target(&root, Path::new("/run"), FileType::Directory, request.uid_base)?;
    let options = format!("mode=755,size={RUN_SIZE},uid={0},gid={0}", request.uid_base);
    mount_tmpfs(&by_descriptor(&run), &options).doing("mount the sandbox's /run")?;
    for (bind, (mount, kind)) in request.binds.iter().zip(binds?) {
        let target = target(&root, &bind.target, kind, request.uid_base)?;
        move_mount(
            &mount,
            "",
            &target,
            "",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
        )
        .doing(format!("mount {} at {}", bind.source.display(), bind.target.display()))?;
    }
    Ok(())
}

/// Takes the root file system apart, so that the disk is unmounted when this returns.
pub(super) fn take_apart() -> Result<(), ShimError> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").doing("read the mounts")?;
    let mut points: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(Path::new)
        .filter(|point| point.starts_with(ROOT))
        .collect();
    // What lies below another goes first.
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    for point in points {
        match umount2(point, MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // The kernel escapes some characters in paths, and a bind's target may have been
            // renamed. The rest goes all the same, when this process ends and with it the namespace.
            Err(nix::Error::ENOENT | nix::Error::EINVAL) => {
                return umount2(ROOT, MntFlags::MNT_DETACH).doing("unmount the root");
            }
            Err(error) => return Err(error).doing(format!("unmount {}", point.display())),
        }
    }
    Ok(())
}

fn open_lower(lower: &Lower, request: &StartRequest, owners: &OwnedFd) -> Result<OwnedFd, ShimError> {
    let mapped;
    let owners = match lower.uid_base {
        0 => Some(owners),
        base if base == request.uid_base => None,
        base => {
            mapped = namespaces::mapping(base, request.uid_base)?;
            Some(&mapped)
        }
    };
    open_detached(&lower.path, owners).doing(format!("open {} with shifted owners", lower.path.display()))
}

fn open_bind(bind: &Bind, owners: &OwnedFd) -> Result<(OwnedFd, FileType), ShimError> {
    let opened = match open_detached(&bind.source, Some(owners)) {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) && !bind.shift_required => {
            open_detached(&bind.source, None)
        }
        other => other,
    };
    let mount = opened.doing(format!("open {} with shifted owners", bind.source.display()))?;
    let stat = rustix::fs::fstat(&mount).doing(format!("examine {}", bind.source.display()))?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileType::Directory,
        _ => FileType::RegularFile,
    };
    Ok((mount, kind))
}

fn open_detached(path: &Path, owners: Option<&OwnedFd>) -> io::Result<OwnedFd> {
    let mount = open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )?;
    set_mount_attributes(
        &mount,
        MountAttributes {
            read_only: true,
            owners,
        },
    )?;
    Ok(mount)
}

fn attach(mount: &OwnedFd, at: &Path) -> io::Result<()> {
    Ok(move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Gives a namespace a path, because libcontainer opens it as root of the sandbox, to which
/// `/proc` denies the descriptors of this process.
pub(super) fn bind_namespace(namespace: &OwnedFd, at: &str) -> Result<(), ShimError> {
    fs::write(at, "").doing(format!("make {at}"))?;
    mount(
        Some(&by_descriptor(namespace)),
        at,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .doing(format!("attach {at}"))
}

fn mount_tmpfs(at: &Path, options: &str) -> nix::Result<()> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options),
    )
}

fn mount_overlay(overlay: &Overlay, lowers: &[OwnedFd], target: &OwnedFd) -> Result<(), ShimError> {
    let mut paths = Vec::with_capacity(lowers.len());
    for (index, lower) in lowers.iter().enumerate() {
        let path = format!("{LOWERS}/{}{index}", overlay.name);
        fs::create_dir(&path).doing(format!("make {path}"))?;
        attach(lower, Path::new(&path)).doing(format!("attach a layer of {}", overlay.target.display()))?;
        paths.push(path);
    }
    paths.reverse();
    // The two features would put attributes into the disk that only this kernel understands.
    let options = format!(
        "lowerdir={},upperdir={BOX}/{DISK_DIR}/{1},workdir={BOX}/{WORK_DIR}/{1},redirect_dir=off,metacopy=off",
        paths.join(":"),
        overlay.name,
    );
    mount(
        Some("overlay"),
        &by_descriptor(target),
        Some("overlay"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some(options.as_str()),
    )
    .doing(format!("mount the overlay of {}", overlay.target.display()))
}

/// The mount target at `path` of the sandbox. What is missing is made and belongs to its root.
fn target(root: &OwnedFd, path: &Path, kind: FileType, owner: u32) -> Result<OwnedFd, ShimError> {
    find_or_make(root, path, kind, owner).doing(format!("prepare {} in the sandbox", path.display()))
}

fn find_or_make(root: &OwnedFd, path: &Path, kind: FileType, owner: u32) -> io::Result<OwnedFd> {
    let mut at = PathBuf::from("/");
    let mut parent = lookup(root, &at)?;
    let mut names = path.components().peekable();
    while let Some(component) = names.next() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(io::Error::other("the path must be absolute and plain")),
        };
        at.push(name);
        let wanted = if names.peek().is_some() {
            FileType::Directory
        } else {
            kind
        };
        let found = match lookup(root, &at) {
            Err(Errno::NOENT) => {
                make(&parent, name.as_ref(), wanted, owner)?;
                lookup(root, &at)?
            }
            other => other?,
        };
        let is_dir = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory;
        if is_dir != (wanted == FileType::Directory) {
            return Err(io::Error::other(format!(
                "something else is at {} on the disk",
                at.display()
            )));
        }
        parent = found;
    }
    Ok(parent)
}

fn lookup(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn make(parent: &OwnedFd, name: &Path, kind: FileType, owner: u32) -> io::Result<()> {
    if kind == FileType::Directory {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    }
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
    Ok(rustix::fs::chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A path that leads to what the descriptor has open.
fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
