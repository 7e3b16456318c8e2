//! The host's cgroup hierarchies, and the groups of sandboxes in them, on version 1, version 2 and
//! hosts that mix both.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mistle_protocol::profile::Resources;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::process;
use crate::report::Controller;

/// Group that holds the groups of all sandboxes, in each hierarchy.
pub(crate) const PARENT: &str = "mistle";
/// The controllers that a sandbox's limits rest on.
const NEEDED: [&str; 3] = ["memory", "cpu", "pids"];
/// Where hosts mount the hierarchies.
const USUAL_PLACE: &str = "/sys/fs/cgroup";

/// Accounting period of the processor limit. A whole period's share may be used at once, so a
/// longer one makes a busy sandbox stall noticeably.
const CPU_PERIOD_US: u64 = 100_000;
/// The files that limit swap, of version 1 and 2.
const SWAP: [&str; 2] = ["memory.memsw.limit_in_bytes", "memory.swap.max"];
/// The devices that the OCI runtime specification gives every container, as version 1 takes them.
/// Making a node is allowed, for the capability to do so is not given.
const DEVICES: [&str; 12] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 5:0 rwm",
    "c 1:9 rwm",
    "c 1:8 rwm",
    "c *:* m",
    "b *:* m",
    "c 5:1 rwm",
    "c 136:* rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
];

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

/// The groups of a sandbox, one in each hierarchy.
///
/// Moving a process from outside into a group takes a lock that every fork on the machine passes,
/// and that the kernel takes a grace period of RCU, some 10 ms, to close. So nothing is moved from
/// outside: on version 2 a process is created in its group ([`Groups::unified`]), on version 1 it
/// moves itself, as its only thread ([`Groups::join`]). Neither takes the lock.
pub(crate) struct Groups(Vec<Group>);

struct Group {
    hierarchy: Hierarchy,
    path: PathBuf,
}

impl Groups {
    /// Makes the groups of `name`.
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let groups = hierarchies()?
            .into_iter()
            .filter(Hierarchy::has_controllers)
            .map(|hierarchy| {
                let path = hierarchy.make(name)?;
                Ok::<_, io::Error>(Group { hierarchy, path })
            });
        groups.collect::<io::Result<_>>().map(Self)
    }

    /// The group of version 2, if the machine has that.
    pub(crate) fn unified(&self) -> io::Result<Option<OwnedFd>> {
        let group = self.0.iter().find(|group| group.hierarchy.version == 2);
        group.map(|group| Ok(File::open(&group.path)?.into())).transpose()
    }

    /// Moves this process into the groups of version 1. It must have a single thread.
    pub(crate) fn join(&self) -> io::Result<()> {
        let mut groups = self.0.iter().filter(|group| group.hierarchy.version == 1);
        groups.try_for_each(|group| write(&group.path.join("tasks"), "0"))
    }

    /// Sets the limits of everything in the groups.
    pub(crate) fn limit(&self, resources: &Resources) -> io::Result<()> {
        for Group { hierarchy, path } in &self.0 {
            for (file, value) in hierarchy.limits(resources) {
                let path = path.join(file);
                // A kernel that does not count swap has no such file.
                if !SWAP.contains(&file) || path.exists() {
                    write(&path, &value)?;
                }
            }
        }
        Ok(())
    }
}

impl Hierarchy {
    /// Not one that only names groups, as systemd's.
    fn has_controllers(&self) -> bool {
        self.version == 2 || !self.controllers.iter().any(|name| name.starts_with("name="))
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Makes a group below the group of all sandboxes and answers its path.
    fn make(&self, name: &str) -> io::Result<PathBuf> {
        let mut above = self.path.clone();
        for name in [PARENT, name] {
            let path = above.join(name);
            if self.version == 2 {
                self.enable_below(&above)?;
            }
            match fs::create_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(&path, &error)),
                _ => {}
            }
            if self.version == 1 && self.has("cpuset") {
                inherit(&above, &path, "cpuset.cpus")?;
                inherit(&above, &path, "cpuset.mems")?;
            }
            above = path;
        }
        Ok(above)
    }

    /// Has the needed controllers count in the groups right below one of version 2.
    fn enable_below(&self, group: &Path) -> io::Result<()> {
        let file = group.join("cgroup.subtree_control");
        let enabled = read(&file)?;
        let missing = NEEDED
            .iter()
            .filter(|name| self.has(name) && !enabled.split_whitespace().any(|enabled| enabled == **name));
        for name in missing {
            write(&file, &format!("+{name}"))?;
        }
        Ok(())
    }

    /// The files that set the limits, in order, and what is written to them.
    fn limits(&self, resources: &Resources) -> Vec<(&'static str, String)> {
        let memory = resources
            .memory_mib
            .saturating_mul(1024 * 1024)
            .min(i64::MAX as u64)
            .to_string();
        let quota = (resources.cpus * CPU_PERIOD_US as f64).round() as i64;
        let pids = resources.pids.to_string();
        let mut limits = Vec::new();
        let mut set = |controller: &str, version: u8, file, value| {
            if self.version == version && self.has(controller) {
                limits.push((file, value));
            }
        };
        set("memory", 1, "memory.limit_in_bytes", memory.clone());
        // Memory and swap together: none of it may be swap.
        set("memory", 1, SWAP[0], memory.clone());
        set("memory", 2, SWAP[1], "0".to_owned());
        set("memory", 2, "memory.max", memory);
        set("cpu", 1, "cpu.cfs_period_us", CPU_PERIOD_US.to_string());
        set("cpu", 1, "cpu.cfs_quota_us", quota.to_string());
        set("cpu", 2, "cpu.max", format!("{quota} {CPU_PERIOD_US}"));
        set("pids", 1, "pids.max", pids.clone());
        set("pids", 2, "pids.max", pids);
        set("devices", 1, "devices.deny", "a *:* rwm".to_owned());
        for device in DEVICES {
            set("devices", 1, "devices.allow", device.to_owned());
        }
        limits
    }
}

/// A group of version 1 without processors or memory of its own can hold no process.
fn inherit(above: &Path, group: &Path, file: &str) -> io::Result<()> {
    let own = group.join(file);
    if read(&own)?.trim().is_empty() {
        write(&own, &read(&above.join(file))?)?;
    }
    Ok(())
}

fn read(file: &Path) -> io::Result<String> {
    fs::read_to_string(file).map_err(|error| named(file, &error))
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::write(file, text).map_err(|error| named(file, &error))
}

fn named(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Takes the hierarchies out of this process's mount namespace, which must be its own, and leaves an
/// empty folder at their usual place.
pub(crate) fn hide(empty: &str) -> io::Result<()> {
    let unmount = |path: &Path| match umount2(path, MntFlags::MNT_DETACH) {
        // It is no mount, or has gone with the one that it was in.
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => Ok(()),
        Err(error) => Err(named(path, &error.into())),
    };
    let mounted = hierarchies()?;
    unmount(Path::new(USUAL_PLACE))?;
    mounted.iter().try_for_each(|hierarchy| unmount(&hierarchy.path))?;
    mount(Some(empty), USUAL_PLACE, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|error| named(Path::new(USUAL_PLACE), &error.into()))
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
    fn limits_are_set_wherever_their_controllers_are() {
        let limits = |version, controllers: &[&str]| {
            let hierarchy = Hierarchy {
                path: PathBuf::from("/sys/fs/cgroup"),
                version,
                controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            };
            let resources = Resources {
                memory_mib: 1,
                cpus: 0.5,
                pids: 7,
            };
            let limits = hierarchy.limits(&resources);
            limits
                .into_iter()
                .map(|(file, value)| format!("{file} {value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            limits(1, &["rw", "memory"]),
            ["memory.limit_in_bytes 1048576", "memory.memsw.limit_in_bytes 1048576"]
        );
        assert_eq!(
            limits(1, &["rw", "cpu", "cpuacct"]),
            ["cpu.cfs_period_us 100000", "cpu.cfs_quota_us 50000"]
        );
        assert_eq!(
            limits(2, &["cpu", "memory", "pids"]),
            [
                "memory.swap.max 0",
                "memory.max 1048576",
                "cpu.max 50000 100000",
                "pids.max 7"
            ]
        );
        assert_eq!(limits(2, &["hugetlb"]), Vec::<String>::new());
    }
}
