//! Tries what isolation rests on, on this machine, in the process that would need it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Doing, ShimError, chain, namespaces, rootfs};
use crate::cgroup;
use crate::report::{Controller, Support};
use crate::request::{DISK_DIR, Lower, Overlay, StartRequest, WORK_DIR};

/// Number of `CAP_SYS_ADMIN` in the kernel's bit sets.
const CAP_SYS_ADMIN: u32 = 21;

/// Tries everything. `dir` is an empty folder on the file system that holds the disks.
pub(super) fn run(dir: &Path, uid_base: u32) -> (Vec<Support>, Vec<Controller>) {
    let mut required = Vec::new();
    let mut check = |name: &str, advice: &str, result: Result<(), ShimError>| {
        let missing = result.err().map(|error| chain(&error));
        required.push(Support {
            name: name.to_owned(),
            missing,
            advice: advice.to_owned(),
        });
    };
    check(
        "root with CAP_SYS_ADMIN",
        "Run the server as root, for example with sudo or as a system service; sandboxes for ordinary users are not there yet.",
        privileged(),
    );
    let namespaces = namespaces::begin(uid_base).and_then(|mut namespaces| {
        namespaces.net()?;
        Ok(namespaces.user)
    });
    let (owners, failure) = match namespaces {
        Ok(owners) => (Some(owners), Ok(())),
        Err(error) => (None, Err(error)),
    };
    check(
        "user and network namespaces",
        "Enable them in the kernel (CONFIG_USER_NS, CONFIG_NET_NS) and set user.max_user_namespaces above 0; inside a container, run it privileged.",
        failure,
    );
    check(
        "mount namespaces",
        "Inside a container, run it privileged.",
        rootfs::unshare_mounts(),
    );
    check(
        "cgroups that can be written",
        "Mount them at /sys/fs/cgroup writable; inside a container, run it privileged with its own cgroup namespace.",
        cgroup::writable().doing("make a cgroup"),
    );
    check(
        "overlay with idmapped layers",
        "Use Linux 5.19 or later with CONFIG_OVERLAY_FS, and keep the data folder and the system on ext4, xfs or btrfs.",
        match &owners {
            Some(owners) => overlay(dir, uid_base, owners),
            None => Err("there is no user namespace").doing("shift owners"),
        },
    );
    (required, cgroup::controllers().unwrap_or_default())
}

fn privileged() -> Result<(), ShimError> {
    if !rustix::process::geteuid().is_root() {
        return Err("it runs as another user").doing("act as root");
    }
    let status = fs::read_to_string("/proc/self/status").doing("read the own capabilities")?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or_default();
    if effective & (1 << CAP_SYS_ADMIN) == 0 {
        return Err("the capability is dropped").doing("act with CAP_SYS_ADMIN");
    }
    Ok(())
}

/// Mounts a small overlay whose lower layer belongs to root and looks at an owner through it.
fn overlay(dir: &Path, uid_base: u32, owners: &OwnedFd) -> Result<(), ShimError> {
    let lower = dir.join("lower");
    for folder in [
        &lower,
        &dir.join(DISK_DIR).join("root"),
        &dir.join(WORK_DIR).join("root"),
    ] {
        fs::create_dir_all(folder).doing("make a folder")?;
    }
    fs::write(lower.join("file"), "").doing("write a file")?;
    let request = StartRequest {
        id: mistle_protocol::id::SessionId::new(),
        uid_base,
        overlays: vec![
            Overlay {
                name: "root".to_owned(),
                target: "/".into(),
                lowers: vec![Lower {
                    path: lower,
                    uid_base: 0,
                }],
            },
            // The host's own programs, which the `host` image needs to shift as well.
            Overlay {
                name: "usr".to_owned(),
                target: "/usr".into(),
                lowers: vec![Lower {
                    path: "/usr".into(),
                    uid_base: 0,
                }],
            },
        ],
        binds: Vec::new(),
        resources: mistle_protocol::profile::Resources::default(),
        hostname: String::new(),
        argv: Vec::new(),
    };
    fs::create_dir_all(dir.join(DISK_DIR).join("usr")).doing("make a folder")?;
    fs::create_dir_all(dir.join(WORK_DIR).join("usr")).doing("make a folder")?;
    rootfs::assemble(dir, &request, owners)?;
    for (path, expected) in [("file", uid_base), ("usr/bin", uid_base)] {
        let owner = fs::metadata(Path::new(rootfs::ROOT).join(path))
            .doing("look through the overlay")?
            .uid();
        if owner != expected {
            return Err(format!("owner {owner} instead of {expected}")).doing("shift owners");
        }
    }
    rootfs::take_apart()
}
