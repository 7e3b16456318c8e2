//! What the driver asks of a shim, and what the shim answers. Both are the same program, so these
//! types need no compatibility between versions, except [`Run`] and [`Exit`](crate::Exit), which a
//! newer server reads from an older shim.

use std::path::PathBuf;

use mistle_protocol::id::SessionId;
use mistle_protocol::profile::Resources;
use serde::{Deserialize, Serialize};

use crate::process::ProcessRef;
use crate::report::{Controller, Support};

/// File with the [`Request`], in the folder that the shim is given.
pub(crate) const REQUEST_FILE: &str = "request.json";
/// File with the [`Run`] while a sandbox runs.
pub(crate) const RUN_FILE: &str = "run.json";
/// File with the [`Exit`](crate::Exit) of the last run, once it has ended.
pub(crate) const EXIT_FILE: &str = "exit.json";
/// File that a shim has locked as long as it lives.
pub(crate) const LOCK_FILE: &str = "lock";
/// What the shim itself had to say.
pub(crate) const SHIM_LOG_FILE: &str = "shim.log";
/// What PID 1 wrote to its standard output and error.
pub(crate) const LOG_FILE: &str = "init.log";
/// Folder with the writable folder of each overlay.
pub(crate) const DISK_DIR: &str = "disk";
/// Folder with the overlays' own working folders, beside the disk because the kernel wants both
/// on one mount.
pub(crate) const WORK_DIR: &str = "work";

/// How many user ids each sandbox has: what programs inside take for granted.
pub(crate) const IDS: u32 = 65_536;

/// What a shim is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Say what this machine can give.
    Probe {
        /// First id of a range that may be used to try.
        uid_base: u32,
    },
    /// Start the sandbox whose folder this is.
    Start(Box<StartRequest>),
}

/// Everything that a shim needs to start a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) id: SessionId,
    /// First host id of the sandbox's range.
    pub(crate) uid_base: u32,
    /// The writable file systems; the first one is the root.
    pub(crate) overlays: Vec<Overlay>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) resources: Resources,
    pub(crate) hostname: String,
    pub(crate) argv: Vec<String>,
}

/// One writable file system of a sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Overlay {
    /// Name of its folder on the disk and in layers.
    pub(crate) name: String,
    /// Where it is mounted in the sandbox.
    pub(crate) target: PathBuf,
    /// What is below the disk, lowest first.
    pub(crate) lowers: Vec<Lower>,
}

/// A read-only folder below an overlay's disk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lower {
    pub(crate) path: PathBuf,
    /// First id of the range that its files' owners are in.
    pub(crate) uid_base: u32,
}

/// A read-only file or folder of the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    /// Whether it is an error when the file system cannot shift owners. Otherwise files belong to
    /// nobody then, and what is not readable for everyone can't be read.
    pub(crate) shift_required: bool,
}

/// What a shim says on its standard output, one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answer {
    /// PID 1 runs.
    Started,
    /// It does not.
    Failed {
        /// Why, the causes joined by colons.
        message: String,
        /// Whether the disk has no room, which a person can do something about.
        disk_full: bool,
    },
    /// What this machine can give.
    Probed {
        required: Vec<Support>,
        controllers: Vec<Controller>,
    },
}

/// The processes of a sandbox that runs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) shim: ProcessRef,
    /// None until the container is created.
    pub(crate) init: Option<ProcessRef>,
}
