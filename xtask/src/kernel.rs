//! Whether this kernel can isolate sandboxes, as far as files tell.
//!
//! The server tries it, and `mistle doctor` says what it found; but the server has to be built first,
//! which takes minutes. What is missing for certain is said before that. What files can't tell passes.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

/// Number of `CAP_SYS_ADMIN` in the kernel's bit sets.
const CAP_SYS_ADMIN: u32 = 21;
/// The first kernel that shifts the owners of an overlay's layers.
const OLDEST: (u32, u32) = (5, 19);
/// The cgroup controllers that limits rest on.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// What a sandbox has of its own.
const NAMESPACES: [&str; 6] = ["user", "mnt", "pid", "net", "ipc", "uts"];
/// What the filter of system calls answers with.
const SECCOMP_ACTIONS: [&str; 2] = ["errno", "kill_process"];

/// Something that is not there, and what to do about it.
type Missing = (String, &'static str);

/// Fails with everything that is missing for certain.
pub(crate) fn check() -> Result<()> {
    let missing = missing(Path::new("/"));
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = missing
        .iter()
        .map(|(what, advice)| format!("  {what}\n    {advice}"))
        .collect();
    bail!("sandboxes can't run here:\n{}", list.join("\n"))
}

fn missing(root: &Path) -> Vec<Missing> {
    let checks: [fn(&Path) -> Option<Missing>; 6] = [privilege, release, namespaces, overlay, cgroups, seccomp];
    checks.iter().filter_map(|check| check(root)).collect()
}

fn read(root: &Path, file: &str) -> Option<String> {
    fs::read_to_string(root.join(file)).ok()
}

fn privilege(root: &Path) -> Option<Missing> {
    let status = read(root, "proc/self/status")?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let set = u64::from_str_radix(set.trim(), 16).ok()?;
    (set & (1 << CAP_SYS_ADMIN) == 0).then(|| {
        let what = "root has no CAP_SYS_ADMIN".to_owned();
        (what, "Inside a container, run it privileged.")
    })
}

fn release(root: &Path) -> Option<Missing> {
    let text = read(root, "proc/sys/kernel/osrelease")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return None;
    };
    ((major, minor) < OLDEST).then(|| {
        let what = format!(
            "the kernel is Linux {}, which mounts no overlay with shifted owners",
            text.trim()
        );
        (what, "Use Linux 5.19 or later.")
    })
}

fn namespaces(root: &Path) -> Option<Missing> {
    let folder = root.join("proc/self/ns");
    let lacking: Vec<_> = NAMESPACES
        .into_iter()
        .filter(|name| folder.is_dir() && folder.join(name).symlink_metadata().is_err())
        .collect();
    if !lacking.is_empty() {
        let what = format!("the kernel has no namespaces of this kind: {}", lacking.join(", "));
        return Some((what, "Use a kernel with CONFIG_NAMESPACES and CONFIG_USER_NS."));
    }
    let most = read(root, "proc/sys/user/max_user_namespaces")?;
    (most.trim() == "0").then(|| {
        let what = "user namespaces are switched off: user.max_user_namespaces is 0".to_owned();
        (what, "Run `sysctl -w user.max_user_namespaces=15000`.")
    })
}

/// The module may be loaded when it is first used; without a list of modules nobody knows.
fn overlay(root: &Path) -> Option<Missing> {
    let has = |text: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == "overlay")
    };
    if has(&read(root, "proc/filesystems")?) {
        return None;
    }
    let release = read(root, "proc/sys/kernel/osrelease")?;
    let modules = format!("lib/modules/{}", release.trim());
    let builtin = read(root, &format!("{modules}/modules.builtin")).unwrap_or_default();
    let loadable = read(root, &format!("{modules}/modules.dep"))?;
    (!has(&builtin) && !has(&loadable)).then(|| {
        let what = "the kernel has no overlay file system".to_owned();
        (what, "Use a kernel with CONFIG_OVERLAY_FS.")
    })
}

fn cgroups(root: &Path) -> Option<Missing> {
    let mounts = read(root, "proc/self/mountinfo")?;
    let mut found = String::new();
    for line in mounts.lines() {
        let (left, right) = line.split_once(" - ")?;
        let place = left.split(' ').nth(4)?;
        let mut right = right.split(' ');
        match right.next()? {
            "cgroup" => found.push_str(right.nth(1).unwrap_or_default()),
            "cgroup2" => {
                let controllers = Path::new(place).join("cgroup.controllers");
                let inside = controllers.strip_prefix("/").unwrap_or(&controllers);
                found.push_str(&read(root, &inside.to_string_lossy()).unwrap_or_default());
            }
            _ => continue,
        }
        found.push(' ');
    }
    let has = |name: &str| found.split([' ', ',', '\n']).any(|word| word == name);
    let lacking: Vec<_> = CONTROLLERS.into_iter().filter(|name| !has(name)).collect();
    (!lacking.is_empty()).then(|| {
        let what = format!(
            "no mounted cgroup hierarchy has these controllers: {}",
            lacking.join(", ")
        );
        (
            what,
            "Mount them below /sys/fs/cgroup; inside a container, run it privileged.",
        )
    })
}

fn seccomp(root: &Path) -> Option<Missing> {
    let folder = root.join("proc/sys/kernel");
    let actions = read(root, "proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let has = |action: &&str| actions.split_whitespace().any(|known| known == *action);
    (folder.is_dir() && !SECCOMP_ACTIONS.iter().all(has)).then(|| {
        let what = "the kernel can't filter system calls".to_owned();
        (what, "Use a kernel with CONFIG_SECCOMP_FILTER.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that lacks nothing, but for what these files say.
    fn machine(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let good = [
            ("proc/self/status", "CapEff:\t000001ffffffffff\n"),
            ("proc/sys/kernel/osrelease", "6.1.0-49-amd64\n"),
            (
                "proc/sys/kernel/seccomp/actions_avail",
                "kill_process kill_thread errno allow\n",
            ),
            ("proc/sys/user/max_user_namespaces", "15000\n"),
            ("proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n"),
            (
                "proc/self/mountinfo",
                "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
        ];
        for (name, text) in good.iter().chain(files) {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for name in NAMESPACES {
            let path = folder.path().join("proc/self/ns").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        missing(folder.path()).into_iter().map(|(what, _)| what).collect()
    }

    #[test]
    fn a_machine_that_can_isolate_lacks_nothing() {
        assert_eq!(machine(&[]), [""; 0]);
        let first = "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                     32 23 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        assert_eq!(machine(&[("proc/self/mountinfo", first)]), [""; 0]);
        let loadable = [
            ("proc/filesystems", "nodev\tproc\n"),
            (
                "lib/modules/6.1.0-49-amd64/modules.dep",
                "kernel/fs/overlayfs/overlay.ko:\n",
            ),
        ];
        assert_eq!(machine(&loadable), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_missing_is_named() {
        let cases = [
            (
                &[("proc/self/status", "CapEff:\t00000000a80425fb\n")][..],
                "CAP_SYS_ADMIN",
            ),
            (
                &[("proc/sys/kernel/osrelease", "5.10.0-49-amd64\n")],
                "Linux 5.10.0-49-amd64",
            ),
            (
                &[("proc/sys/user/max_user_namespaces", "0\n")],
                "user.max_user_namespaces is 0",
            ),
            (
                &[("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io\n")],
                "controllers: memory, pids",
            ),
            (&[("proc/self/mountinfo", "")], "controllers: memory, cpu, pids"),
            (
                &[("proc/sys/kernel/seccomp/actions_avail", "\n")],
                "filter system calls",
            ),
            (
                &[
                    ("proc/filesystems", "nodev\tproc\n"),
                    ("lib/modules/6.1.0-49-amd64/modules.dep", "kernel/fs/fuse/fuse.ko:\n"),
                ],
                "no overlay file system",
            ),
        ];
        for (files, wanted) in cases {
            let missing = machine(files);
            assert!(
                missing.len() == 1 && missing[0].contains(wanted),
                "{wanted}: {missing:?}"
            );
        }
    }

    #[test]
    fn this_machine_runs_the_tests_of_sandboxes() {
        assert_eq!(missing(Path::new("/")), Vec::new());
    }
}
