//! Sandboxes: the trait [`Driver`] and the drivers.
//!
//! A sandbox is a *disk* and, while it is started, *processes*. The disk outlives the processes;
//! only [`Driver::delete`] ends it.

mod cgroup;
pub mod embedded;
mod error;
mod process;
mod report;
mod request;
pub mod shim;
mod spec;
mod sys;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use mistle_protocol::id::{LayerId, SessionId};
use serde::{Deserialize, Serialize};

pub use embedded::{Embedded, EmbeddedConfig, ShimProgram};
pub use error::SandboxError;
pub use report::{Controller, IsolationReport, Support};
pub use spec::{DAEMON_PATH, Image, ParseImageError, RUNTIMES_DIR, ReadOnlyMount, SandboxSpec};

/// What a driver's operations return, so that the trait is dyn-compatible.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Starts and stops sandboxes.
///
/// Operations on one sandbox are carried out one after the other; a start of one that runs
/// answers at once. Dropping a future does not undo or tear what it had begun.
pub trait Driver: Send + Sync {
    /// Creates the disk. One that exists is left as it is.
    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>>;

    /// Starts the processes and answers when PID 1 runs. Fails when there is no disk: a lost disk
    /// is never replaced by an empty one.
    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>>;

    /// Ends the processes: SIGTERM to PID 1, and after `grace` SIGKILL to everything. Answers when
    /// they have ended and the disk is unmounted. One that does not run answers at once.
    fn stop(&self, id: SessionId, grace: Duration) -> BoxFuture<'_, Result<(), SandboxError>>;

    /// Kills the processes and gives up the disk. One that does not exist is fine.
    fn delete(&self, id: SessionId) -> BoxFuture<'_, Result<(), SandboxError>>;

    /// Makes what a stopped sandbox has written an immutable layer, on which it and others
    /// can be started.
    fn freeze(&self, id: SessionId) -> BoxFuture<'_, Result<LayerId, SandboxError>>;

    /// Gives up a layer. Refused while a disk is stacked on it; one that does not exist is fine.
    fn delete_layer(&self, id: LayerId) -> BoxFuture<'_, Result<(), SandboxError>>;

    /// Every sandbox that has a disk.
    fn list(&self) -> BoxFuture<'_, Result<Vec<SandboxInfo>, SandboxError>>;

    /// Resolves when the processes have ended; at once for one that does not run.
    fn wait(&self, id: SessionId) -> BoxFuture<'_, Result<Exit, SandboxError>>;

    /// The host's folder that the sandbox sees as `/run/mistle`, read-only. The server listens
    /// there on `control.sock` and `egress.sock`, at any time before or after a start; whoever owns
    /// a socket, root in the sandbox may connect to it when its owner may write to it. Exists from
    /// [`Driver::create`] on; short enough for a socket address.
    fn link_dir(&self, id: SessionId) -> Result<PathBuf, SandboxError>;
}

/// A sandbox, in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxInfo {
    /// Its session.
    pub id: SessionId,
    /// Whether its processes run.
    pub running: bool,
}

/// How a sandbox's processes ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code of PID 1; 128 plus the signal's number when one ended it. None when it is not
    /// known: never started, or the machine or the shim went down with it.
    pub code: Option<i32>,
    /// Whether the kernel killed a process of it because the memory limit was reached.
    pub out_of_memory: bool,
}
