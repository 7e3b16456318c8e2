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
//! | [`programs`] | what the configuration has it run |
//! | [`attributes`] | what the repository says about a file |
//! | [`patch`] | reads git's answers |
//! | [`classify`] | what a path says about its file |
//! | [`watch`] | tells when a tree changed |
//! | [`search`] | finds files by their path |
//! | [`discard`] | takes changes back, with undo |
//! | [`staged`] | takes them out of the index |
//! | [`snapshot`] | the tree when the last turn began |

mod api;
mod attributes;
mod base;
mod changes;
mod classify;
mod discard;
mod file;
mod hooks;
mod patch;
mod process;
mod programs;
mod repository;
mod search;
mod snapshot;
mod staged;
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
/// For how long after a search the next one is taken for more letters of it.
const TYPING: Duration = Duration::from_secs(3);
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
    /// The most folders of a tree that the kernel watches.
    most_watched: usize,
    searched: Mutex<Option<Searched>>,
    /// Held by whoever lists the paths.
    listing: tokio::sync::Mutex<()>,
}

/// The paths that were searched last.
#[derive(Debug)]
struct Searched {
    root: PathBuf,
    /// Tells whether the paths are still all of them; none when they never were.
    watched: Option<(Arc<Watcher>, u64)>,
    paths: Arc<Paths>,
    used: Instant,
}

/// Paths that are known.
struct KnownPaths {
    paths: Arc<Paths>,
    /// Whether they are all that there are.
    fresh: bool,
    /// Whether they were, and somebody searches in them letter by letter.
    typing: bool,
}

impl KnownPaths {
    /// Whether an answer is good enough while the paths are listed again: it would be no longer
    /// otherwise, or the next letter is on its way.
    fn suffice(&self, found: &FoundFiles, limit: usize) -> bool {
        self.fresh || found.files.len() >= limit || (self.typing && !found.files.is_empty())
    }
}

impl Repositories {
    /// `state_dir` holds the shadows; of `environment` git gets where it is and whose home it has.
    pub fn new(state_dir: &Path, environment: &BTreeMap<String, String>) -> Self {
        Self::watching(state_dir, environment, watch::MAX_FOLDERS)
    }

    /// The same, where a tree of more folders than `most_watched` is looked at again and again.
    pub fn watching(state_dir: &Path, environment: &BTreeMap<String, String>, most_watched: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                state_dir: state_dir.to_owned(),
                surrounding: Surrounding::new(environment),
                known: Mutex::default(),
                merge_bases: MergeBases::default(),
                watchers: Mutex::default(),
                most_watched,
                searched: Mutex::default(),
                listing: tokio::sync::Mutex::default(),
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
        let watcher = Arc::new(Watcher::start(root.clone(), repository, self.shared.most_watched));
        watchers.insert(root, Arc::downgrade(&watcher));
        watcher
    }

    /// Files of the tree that a folder is in, best match first. A list that is not the newest is
    /// good for letters on the way: it is made again meanwhile.
    async fn search(&self, cwd: &Path, search: String, limit: usize) -> Result<FoundFiles, GitError> {
        let repository = self.at(cwd);
        let root = repository
            .as_ref()
            .map_or_else(|| cwd.to_owned(), |found| found.location.top.clone());
        let search: Arc<str> = search.into();
        let known = match (self.known_paths(&root), &repository) {
            (Some(known), _) => Some(known),
            (None, Some(repository)) => Some(self.list_tracked(&root, repository).await?),
            (None, None) => None,
        };
        if let Some(known) = known {
            let found = find(known.paths.clone(), root.clone(), search.clone(), limit).await?;
            if known.suffice(&found, limit) {
                if !known.fresh && self.shared.listing.try_lock().is_ok() {
                    let (this, cwd) = (self.clone(), cwd.to_owned());
                    tokio::spawn(async move { this.list_paths(&cwd, root, repository).await });
                }
                return Ok(found);
            }
        }
        let paths = self.list_paths(cwd, root.clone(), repository).await?;
        find(paths, root, search, limit).await
    }

    fn known_paths(&self, root: &Path) -> Option<KnownPaths> {
        let mut searched = self.shared.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let known = searched.as_mut().filter(|known| known.root == root)?;
        let fresh = known.watched.as_ref().is_some_and(|(watcher, generation)| {
            let seen = *watcher.seen().borrow();
            seen.mode.is_some() && seen.generation == *generation
        });
        let typing = known.watched.is_some() && known.used.elapsed() < TYPING;
        known.used = Instant::now();
        Some(KnownPaths {
            paths: known.paths.clone(),
            fresh,
            typing,
        })
    }

    /// The files that git knows, which are listed in no time. Those that it does not know follow.
    async fn list_tracked(&self, root: &Path, repository: &Repository) -> Result<KnownPaths, GitError> {
        let paths = Arc::new(repository.tracked_paths().await?);
        self.keep_paths(root.to_owned(), None, paths.clone());
        Ok(KnownPaths {
            paths,
            fresh: false,
            typing: false,
        })
    }

    async fn list_paths(
        &self,
        cwd: &Path,
        root: PathBuf,
        repository: Option<Arc<Repository>>,
    ) -> Result<Arc<Paths>, GitError> {
        let _listing = self.shared.listing.lock().await;
        if let Some(known) = self.known_paths(&root).filter(|known| known.fresh) {
            return Ok(known.paths);
        }
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
        self.keep_paths(root, Some((watcher, generation)), paths.clone());
        Ok(paths)
    }

    fn keep_paths(&self, root: PathBuf, watched: Option<(Arc<Watcher>, u64)>, paths: Arc<Paths>) {
        let searched = Searched {
            root,
            watched,
            paths,
            used: Instant::now(),
        };
        let mut kept = self.shared.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = kept.replace(searched).is_none();
        drop(kept);
        if is_first {
            self.forget_paths_later();
        }
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

/// Searches apart from everything that must not wait.
async fn find(paths: Arc<Paths>, root: PathBuf, search: Arc<str>, limit: usize) -> Result<FoundFiles, GitError> {
    let found = tokio::task::spawn_blocking(move || {
        let exists = |path: &[u8]| root.join(repository::os(path)).symlink_metadata().is_ok();
        paths.search(&search, limit, exists)
    });
    found.await.map_err(|error| GitError::Io(std::io::Error::other(error)))
}
