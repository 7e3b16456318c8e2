//! The runtime of a sandbox: its journal, its repositories and the drivers that speak with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The agent of a sandbox.
#[derive(Debug)]
pub struct Agent {}

impl Agent {
    /// Opens the journal below `state_dir`. `environment` is what everything in the sandbox is
    /// started with (the daemon's own and the proxy variables); the plan's comes on top of it.
    pub async fn open(state_dir: &Path, environment: BTreeMap<String, String>) -> anyhow::Result<Arc<Self>> {
        let _ = (state_dir, environment);
        Ok(Arc::new(Self {}))
    }

    /// The plan's environment; empty until there is a plan.
    pub fn plan_environment(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The plan's working directory.
    pub fn cwd(&self) -> Option<PathBuf> {
        None
    }

    /// The last journal sequence number; 0 when there is none.
    pub fn journal_seq(&self) -> u64 {
        0
    }

    /// Whether the runtime accepts messages.
    pub fn runtime_ready(&self) -> bool {
        false
    }

    /// Interrupts, ends the runtime and flushes the journal.
    pub async fn shutdown(&self) {}
}

/// `/plan` and `/agent/*`.
pub fn routes(agent: Arc<Agent>) -> axum::Router {
    let _ = agent;
    axum::Router::new()
}
