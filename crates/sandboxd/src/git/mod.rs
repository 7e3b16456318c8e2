//! Changes of working trees: what differs from a base, and how it is taken back.
//!
//! The repository may be hostile. Git runs only here, in the sandbox, and works on contents only
//! through a shadow of the repository that knows none of its programs ([`repository`]).
//!
//! | module | what it does |
//! |---|---|
//! | [`api`] | `/git/*` and `/files/search` |
//! | [`process`] | runs git, bounded |
//! | [`repository`] | finds a repository and keeps its shadow |
//! | [`base`] | what the tree is compared with |
//! | [`changes`] | the list of changed files |
//! | [`file`] | the diff of one file |
//! | [`patch`] | reads git's answers |
//! | [`classify`] | what a path says about its file |
//! | [`discard`] | takes changes back, with undo |
//! | [`snapshot`] | the tree when the last turn began |

mod api;
mod base;
mod changes;
mod classify;
mod discard;
mod file;
mod patch;
mod process;
mod repository;
mod snapshot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use self::api::routes;
use self::base::MergeBases;
pub use self::process::GitError;
use self::process::Surrounding;
use self::repository::{Location, Repository};

/// Repositories that are remembered. More are forgotten and found again.
const MAX_REPOSITORIES: usize = 64;
/// How long the beginning of a turn may wait for its snapshot. A tree that takes longer gets it
/// a moment into the turn.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(2);

/// The repositories of a sandbox. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repositories {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state_dir: PathBuf,
    surrounding: Surrounding,
    known: Mutex<BTreeMap<PathBuf, Arc<Repository>>>,
    merge_bases: MergeBases,
}

impl Repositories {
    /// `state_dir` holds the shadows; of `environment` git gets where it is and whose home it has.
    pub fn new(state_dir: &Path, environment: &BTreeMap<String, String>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state_dir: state_dir.to_owned(),
                surrounding: Surrounding::new(environment),
                known: Mutex::default(),
                merge_bases: MergeBases::default(),
            }),
        }
    }

    /// The repository that a folder is in.
    fn at(&self, cwd: &Path) -> Option<Arc<Repository>> {
        let location = Location::discover(cwd)?;
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repository) = known.get(&location.top).filter(|known| known.location == location) {
            return Some(repository.clone());
        }
        if known.len() >= MAX_REPOSITORIES {
            known.clear();
        }
        let surrounding = self.shared.surrounding.clone();
        let repository = Arc::new(Repository::new(location.clone(), &self.shared.state_dir, surrounding));
        known.insert(location.top, repository.clone());
        Some(repository)
    }

    /// Keeps the tree as it is, for what changed since the last turn. Called when a turn begins;
    /// answers when it is done, or when the turn should not wait any longer. Without a repository
    /// there is nothing to do.
    pub async fn snapshot(&self, cwd: &Path) {
        let Some(repository) = self.at(cwd) else { return };
        let making = tokio::spawn(async move {
            if let Err(error) = snapshot::take(&repository).await {
                tracing::warn!(%error, "the tree could not be kept for “since the last turn”");
            }
        });
        let _ = tokio::time::timeout(SNAPSHOT_PATIENCE, making).await;
    }
}
