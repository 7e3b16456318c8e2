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
//! | [`hooks`] | what git runs by itself |
//! | [`patch`] | reads git's answers |
//! | [`classify`] | what a path says about its file |
//! | [`watch`] | tells when a tree changed |
//! | [`search`] | finds files by their path |
//! | [`discard`] | takes changes back, with undo |
//! | [`snapshot`] | the tree when the last turn began |

mod api;
mod base;
mod changes;
mod classify;
mod discard;
mod file;
mod hooks;
mod patch;
mod process;
mod repository;
mod search;
mod snapshot;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mistle_protocol::changes::FoundFiles;
use tokio::time::Instant;

pub use self::api::routes;
use self::base::MergeBases;
pub use self::process::GitError;
use self::process::Surrounding;
use self::repository::{Location, Repository};
use self::search::Paths;
use self::watch::Watcher;

/// Repositories that are remembered. More are forgotten and found again.
const MAX_REPOSITORIES: usize = 64;
/// For how long the paths of a tree are kept that nobody searches.
const SEARCH_IDLE: Duration = Duration::from_mins(2);
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
    watchers: Mutex<BTreeMap<PathBuf, Weak<Watcher>>>,
    searched: Mutex<Option<Searched>>,
}

/// The paths that were searched last.
#[derive(Debug)]
struct Searched {
    root: PathBuf,
    /// Tells whether the paths are still all of them.
    watcher: Arc<Watcher>,
    generation: u64,
    paths: Arc<Paths>,
    used: Instant,
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
                watchers: Mutex::default(),
                searched: Mutex::default(),
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

    /// The watcher of the tree that a folder is in, which everybody who watches it shares.
    fn watch(&self, cwd: &Path) -> Arc<Watcher> {
        let repository = self.at(cwd);
        let root = repository
            .as_ref()
            .map_or_else(|| cwd.to_owned(), |found| found.location.top.clone());
        let mut watchers = self.shared.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|_, watcher| watcher.strong_count() > 0);
        if let Some(watcher) = watchers.get(&root).and_then(Weak::upgrade) {
            return watcher;
        }
        let watcher = Arc::new(Watcher::start(root.clone(), repository));
        watchers.insert(root, Arc::downgrade(&watcher));
        watcher
    }

    /// Files of the tree that a folder is in, best match first.
    async fn search(&self, cwd: &Path, search: String, limit: usize) -> Result<FoundFiles, GitError> {
        let repository = self.at(cwd);
        let root = repository
            .as_ref()
            .map_or_else(|| cwd.to_owned(), |found| found.location.top.clone());
        let paths = match self.known_paths(&root) {
            Some(paths) => paths,
            None => self.list_paths(cwd, root.clone(), repository).await?,
        };
        let found = tokio::task::spawn_blocking(move || {
            let exists = |path: &[u8]| root.join(repository::os(path)).symlink_metadata().is_ok();
            paths.search(&search, limit, exists)
        });
        found.await.map_err(|error| GitError::Io(std::io::Error::other(error)))
    }

    fn known_paths(&self, root: &Path) -> Option<Arc<Paths>> {
        let mut searched = self.shared.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let known = searched.as_mut().filter(|known| known.root == root)?;
        let seen = *known.watcher.seen().borrow();
        known.used = Instant::now();
        (seen.mode.is_some() && seen.generation == known.generation).then(|| known.paths.clone())
    }

    async fn list_paths(
        &self,
        cwd: &Path,
        root: PathBuf,
        repository: Option<Arc<Repository>>,
    ) -> Result<Arc<Paths>, GitError> {
        let watcher = self.watch(cwd);
        // What changes while they are listed makes them out of date.
        let generation = watcher.seen().borrow().generation;
        let paths = match repository {
            Some(repository) => repository.paths().await?,
            None => tokio::task::spawn_blocking({
                let root = root.clone();
                move || search::walk(&root)
            })
            .await
            .map_err(|error| GitError::Io(std::io::Error::other(error)))?,
        };
        let paths = Arc::new(paths);
        let used = Instant::now();
        *self.shared.searched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Searched {
            root,
            watcher,
            generation,
            paths: paths.clone(),
            used,
        });
        self.forget_paths_later();
        Ok(paths)
    }

    /// Gives the memory and the watcher back when nobody searches any more.
    fn forget_paths_later(&self) {
        let shared = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SEARCH_IDLE).await;
                let Some(shared) = shared.upgrade() else { return };
                let mut searched = shared.searched.lock().unwrap_or_else(PoisonError::into_inner);
                if searched
                    .as_ref()
                    .is_none_or(|known| known.used.elapsed() >= SEARCH_IDLE)
                {
                    *searched = None;
                    return;
                }
            }
        });
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
