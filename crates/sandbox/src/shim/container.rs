//! The container, as an OCI bundle that libcontainer runs.

use std::fs::{self, File};
use std::io::PipeWriter;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::notify_socket::{NOTIFY_FILE, NotifySocket};
use libcontainer::syscall::syscall::SyscallType;
use serde_json::{Value, json};

use super::rootfs::{BUNDLE, CONTAINERS, NET_NAMESPACE, ROOT, USER_NAMESPACE};
use super::{Doing, ShimError};
use crate::cgroup;
use crate::request::{IDS, StartRequest};

/// What root in the sandbox may do, over the sandbox's own files and processes only, because its
/// user namespace owns nothing else:
///
/// - `CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP`: package managers unpack files of any owner, mode
///   and capability.
/// - `SETUID SETGID SETPCAP`: they and daemons change to users with fewer rights.
/// - `KILL`: ends the processes of those users.
/// - `SYS_CHROOT`: builds of images and packages.
/// - `NET_BIND_SERVICE`: servers on ports below 1024 of the sandbox's own loopback.
/// - `AUDIT_WRITE`: login tools take its absence for a failure.
///
/// Not given: everything that reaches the kernel beyond the namespaces' own files. `SYS_ADMIN`
/// (mounts), `NET_ADMIN` and `NET_RAW`, `SYS_PTRACE`, `MKNOD`, `SYS_RESOURCE`, `BPF`, …
const CAPABILITIES: [&str; 12] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What tells about the host, its hardware or its kernel's memory, or acts on them.
const MASKED: [&str; 28] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/cmdline",
    "/proc/driver",
    "/proc/interrupts",
    "/proc/iomem",
    "/proc/ioports",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/modules",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
    "/sys/class/dmi",
    "/sys/devices/virtual/dmi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 4] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"];

/// Open files: enough for watchers of big trees. Not more, because some programs close every
/// possible descriptor when they start.
const OPEN_FILES: u64 = 65_536;
/// Makes the kernel prefer a sandbox's processes to the host's when the machine is out of memory.
const OOM_SCORE: i32 = 500;
/// A core file would be written by the host's handler, as the host's root, on content that the
/// sandbox chose. A limit of exactly 1 is the value that the kernel's pipe handlers leave alone.
const CORE_SIZE: u64 = 1;

/// Creates the container in the groups that this process is in, and answers the number of PID 1,
/// which waits for [`start`].
///
/// libcontainer finds no hierarchies ([`cgroup::hide`]) and leaves cgroups alone: its way to join
/// takes the kernel's lock ([`cgroup::Groups`]).
pub(super) fn create(request: &StartRequest, output: PipeWriter) -> Result<i32, ShimError> {
    let spec = serde_json::to_vec(&spec(request)).doing("write the container's specification")?;
    fs::write(format!("{BUNDLE}/config.json"), spec).doing("write the container's specification")?;
    let errors = output.try_clone().doing("prepare the container's output")?;
    let container = ContainerBuilder::new(request.id.to_string(), SyscallType::default())
        .with_root_path(CONTAINERS)
        .doing("prepare the container")?
        .with_stdin(File::open("/dev/null").doing("open /dev/null")?)
        .with_stdout(output)
        .with_stderr(errors)
        .as_init(BUNDLE)
        .with_systemd(false)
        .build()
        .doing("create the container")?;
    let pid = container.pid().ok_or("it has no PID 1").doing("find the container")?;
    Ok(pid.as_raw())
}

/// Lets PID 1 go.
pub(super) fn start(request: &StartRequest) -> Result<(), ShimError> {
    NotifySocket::new(format!("{CONTAINERS}/{}/{NOTIFY_FILE}", request.id))
        .notify_container_start()
        .doing("start the container")
}

/// The container's specification of the OCI runtime spec.
fn spec(request: &StartRequest) -> Value {
    let ids = json!([{ "containerID": 0, "hostID": request.uid_base, "size": IDS }]);
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": ROOT },
        "hostname": request.hostname,
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0, "umask": 0o022 },
            "args": request.argv,
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "USER=root",
                "LANG=C.UTF-8",
            ],
            "cwd": "/",
            "noNewPrivileges": true,
            "oomScoreAdj": OOM_SCORE,
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES,
                "inheritable": [],
                "ambient": [],
            },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "mode=755", "size=64k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=512m"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "uidMappings": ids,
            "gidMappings": ids,
            "namespaces": [
                { "type": "user", "path": USER_NAMESPACE },
                { "type": "network", "path": NET_NAMESPACE },
                { "type": "mount" },
                { "type": "pid" },
                { "type": "ipc" },
                { "type": "uts" },
                { "type": "cgroup" },
            ],
            "cgroupsPath": format!("/{}/{}", cgroup::PARENT, request.id),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

/// Limits of this process, which the container inherits: in its user namespace it may no longer
/// raise them. Nor may this process everywhere, so a lower limit of the host stays.
pub(super) fn set_limits() -> Result<(), ShimError> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    for (resource, limit) in [
        (Resource::RLIMIT_CORE, CORE_SIZE),
        (Resource::RLIMIT_NOFILE, OPEN_FILES),
    ] {
        let (_, hard) = getrlimit(resource).doing("read the limits")?;
        let limit = limit.min(hard);
        setrlimit(resource, limit, limit).doing(format!("set {resource:?}"))?;
    }
    Ok(())
}
