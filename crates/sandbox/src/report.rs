//! The isolation in force on this machine.

use serde::{Deserialize, Serialize};

/// What isolates sandboxes on this machine, for `mistle doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationReport {
    /// The driver's name.
    pub driver: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Each thing that isolation rests on. One that is missing means that nothing starts.
    pub required: Vec<Support>,
    /// Each cgroup controller that enforces a limit.
    pub controllers: Vec<Controller>,
    /// How many sandboxes can have a disk at once: each has a range of user ids of its own.
    pub capacity: u32,
}

impl IsolationReport {
    /// Whether sandboxes can be started.
    pub fn usable(&self) -> bool {
        self.required.iter().all(|support| support.missing.is_none())
            && self.controllers.iter().all(|controller| controller.version.is_some())
    }
}

/// One thing that isolation rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// What it is, for a person.
    pub name: String,
    /// Why it is not there; none when it is.
    pub missing: Option<String>,
    /// What to do when it is missing, a sentence.
    pub advice: String,
}

/// A cgroup controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// `memory`, `cpu`, `pids` or `devices`.
    pub name: String,
    /// Version of the hierarchy that it is in, 1 or 2; none when it is missing.
    pub version: Option<u8>,
}
