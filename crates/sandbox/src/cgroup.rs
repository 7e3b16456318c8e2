//! The host's cgroup hierarchies. libcontainer creates a sandbox's groups and sets the limits;
//! this finds, reads and removes them, on version 1, version 2 and hosts that mix both.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::process;
use crate::report::Controller;

/// Group that holds the groups of all sandboxes, in each hierarchy.
pub(crate) const PARENT: &str = "mistle";
/// The controllers that a sandbox's limits rest on.
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];

struct Hierarchy {
    path: PathBuf,
    version: u8,
    controllers: Vec<String>,
}

fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    Ok(parse(&fs::read_to_string("/proc/self/mountinfo")?)
        .map(|(path, version, options)| {
            let controllers = if version == 2 {
                fs::read_to_string(path.join("cgroup.controllers"))
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect()
            } else {
                options.split(',').map(str::to_owned).collect()
            };
            Hierarchy {
                path,
                version,
                controllers,
            }
        })
        .collect())
}

/// Mount point, version and options of the cgroup mounts in a `mountinfo` text.
fn parse(mountinfo: &str) -> impl Iterator<Item = (PathBuf, u8, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let version = match right.next()? {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        Some((PathBuf::from(left.split(' ').nth(4)?), version, right.nth(1)?))
    })
}

/// In which hierarchy each needed controller is.
pub(crate) fn controllers() -> io::Result<Vec<Controller>> {
    let hierarchies = hierarchies()?;
    Ok(NEEDED
        .iter()
        .map(|name| Controller {
            name: (*name).to_owned(),
            version: hierarchies
                .iter()
                .find(|h| h.controllers.iter().any(|c| c == name))
                .map(|h| h.version),
        })
        .collect())
}

/// Whether a group can be made below the group of all sandboxes, in each hierarchy.
pub(crate) fn writable() -> io::Result<()> {
    for hierarchy in hierarchies()? {
        fs::create_dir_all(hierarchy.path.join(PARENT))?;
    }
    Ok(())
}

/// Has the kernel get ready to move processes between groups, which it does behind a lock that
/// takes it a grace period of RCU, some 10 ms, to close after a while without use. Called while
/// a sandbox is being put together, so that its first process need not wait for that.
///
/// Moves this process to the group that it is in, which changes nothing.
pub(crate) fn close_lock() {
    let Ok(own) = fs::read_to_string("/proc/self/cgroup") else {
        return;
    };
    // One is enough: the lock is the same for every hierarchy. That it can't be closed ahead of
    // time only costs time.
    let _ = hierarchies().map(|hierarchies| {
        hierarchies.iter().find_map(|hierarchy| {
            let group = hierarchy.path.join(own_group(&own, hierarchy)?.trim_start_matches('/'));
            fs::write(group.join("cgroup.procs"), std::process::id().to_string()).ok()
        })
    });
}

/// The group of this process in a hierarchy, by its `/proc/self/cgroup`.
fn own_group<'a>(own: &'a str, hierarchy: &Hierarchy) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let is_its = match hierarchy.version {
            2 => controllers.is_empty(),
            _ => controllers
                .split(',')
                .all(|name| hierarchy.controllers.iter().any(|own| own == name)),
        };
        is_its.then_some(group)
    })
}

/// Whether swap can be limited: on version 1 the kernel may be told not to account for it.
pub(crate) fn limits_swap() -> io::Result<bool> {
    Ok(hierarchies()?
        .iter()
        .filter(|h| h.controllers.iter().any(|c| c == "memory"))
        .any(|h| h.version == 2 || h.path.join("memory.memsw.limit_in_bytes").exists()))
}

/// Whether the kernel killed a process of this group because its memory limit was reached.
pub(crate) fn out_of_memory(name: &str) -> bool {
    let Ok(hierarchies) = hierarchies() else { return false };
    hierarchies.iter().any(|hierarchy| {
        let file = if hierarchy.version == 2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        fs::read_to_string(hierarchy.path.join(PARENT).join(name).join(file)).is_ok_and(|text| {
            text.lines()
                .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
        })
    })
}

/// Kills every process of a group, waits until they have ended, and removes the group from each
/// hierarchy. One that is not there is fine.
pub(crate) fn kill_and_remove(name: &str) -> io::Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.path.join(PARENT).join(name);
        kill(&group)?;
        remove(&group)?;
    }
    Ok(())
}

fn kill(group: &Path) -> io::Result<()> {
    // A process may fork while the list is read, so it is read until it is empty. The kernel
    // counts a killed one out before its descriptor says that it has ended, so this makes way.
    loop {
        let members = match fs::read_to_string(group.join("cgroup.procs")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut alive = members
            .lines()
            .filter_map(|pid| process::open(pid.parse().ok()?))
            .peekable();
        if alive.peek().is_none() {
            return Ok(());
        }
        for process in alive {
            process::kill_and_wait(&process)?;
        }
    }
}

fn remove(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_both_versions_are_found() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
        let found: Vec<_> = parse(text).collect();
        assert_eq!(
            found,
            [
                (PathBuf::from("/sys/fs/cgroup/memory"), 1, "rw,memory"),
                (PathBuf::from("/sys/fs/cgroup/unified"), 2, "rw,nsdelegate"),
            ]
        );
    }

    #[test]
    fn the_own_group_is_found_in_either_version() {
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/d\n";
        let group = |version, controllers: &[&str]| {
            let hierarchy = Hierarchy {
                path: PathBuf::from("/sys/fs/cgroup"),
                version,
                controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            };
            own_group(own, &hierarchy)
        };
        assert_eq!(group(1, &["rw", "memory"]), Some("/a/b"));
        assert_eq!(group(1, &["rw", "cpu", "cpuacct"]), Some("/c"));
        assert_eq!(group(1, &["rw", "pids"]), None);
        assert_eq!(group(2, &["memory", "pids"]), Some("/d"));
    }
}
