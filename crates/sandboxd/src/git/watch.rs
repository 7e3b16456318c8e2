//! Tells when a working tree may look different.
//!
//! The kernel watches folders, so every folder of the tree is named to it, except those that git
//! ignores as a whole: that is where builds and packages live, and nothing of them is shown. Of the
//! git folder only what a comparison depends on is watched: the index, `HEAD`, refs, and what says
//! that a merge or rebase is under way. Where there are more folders than can be watched the tree is
//! looked at again and again, and readers are told so.
//!
//! Changes that follow each other closely are told once. A folder that appears is watched before its
//! appearance is told, so what is written into it meanwhile is found by whoever looks then.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mistle_protocol::changes::WatchMode;
use rustix::fs::inotify;
use sha2::{Digest as _, Sha256};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::process::{GitError, collect, fields};
use super::repository::{Repository, Stamp, os};

/// How long a tree has to be quiet before its change is told.
const QUIET: Duration = Duration::from_millis(200);
/// The longest that a change of a tree that is never quiet waits.
const LATEST: Duration = Duration::from_millis(800);
/// The most folders that are watched: each takes about a kibibyte of the kernel's memory, and all
/// sandboxes share its limit.
pub(crate) const MAX_FOLDERS: usize = 16_384;
/// The most folders of refs that are watched.
const MAX_REF_FOLDERS: usize = 1_024;
/// How often a tree with more folders is looked at.
const RESCAN: Duration = Duration::from_secs(3);
/// The most changed paths that are asked about, whether git ignores them. With more, some count.
const MAX_ASKED: usize = 512;
/// Bytes of events read at once.
const EVENTS: usize = 16 * 1024;

/// What is known of a tree's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Grows with each change.
    pub(crate) generation: u64,
    /// How it is watched; none until it is.
    pub(crate) mode: Option<WatchMode>,
}

/// Watches a tree until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    seen: watch::Receiver<Seen>,
    _task: AbortOnDropHandle<()>,
}

impl Watcher {
    /// Begins to watch the tree of a repository, or a folder that is in none, as long as it has at
    /// most so many folders.
    pub(crate) fn start(root: PathBuf, repository: Option<Arc<Repository>>, most: usize) -> Self {
        let (sender, seen) = watch::channel(Seen {
            generation: 0,
            mode: None,
        });
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            Task {
                root,
                repository,
                most,
                seen: sender,
            }
            .run()
            .await;
        }));
        Self { seen, _task: task }
    }

    /// What is known, and what follows.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }
}

struct Task {
    root: PathBuf,
    repository: Option<Arc<Repository>>,
    /// The most folders that the kernel watches.
    most: usize,
    seen: watch::Sender<Seen>,
}

/// Why the kernel does not watch the tree.
#[derive(Debug, thiserror::Error)]
enum Unwatched {
    #[error("the tree has more than {0} folders")]
    TooMany(usize),
    #[error("the kernel watches no more folders")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Task {
    async fn run(self) {
        if let Err(error) = self.listen().await {
            tracing::info!(%error, root = %self.root.display(), "the tree is looked at again and again");
        }
        self.rescan().await;
    }

    fn tell(&self) {
        self.seen.send_modify(|seen| seen.generation += 1);
    }

    fn set_mode(&self, mode: WatchMode) {
        self.seen.send_modify(|seen| {
            seen.generation += 1;
            seen.mode = Some(mode);
        });
    }

    async fn listen(&self) -> Result<(), Unwatched> {
        let kernel =
            inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut kernel = wait_on(kernel)?;
        let mut folders = Folders {
            most: self.most,
            watched: HashMap::new(),
        };
        self.cover(&kernel, &mut folders).await?;
        self.set_mode(WatchMode::Events);
        loop {
            let mut batch = Batch::default();
            read(&mut kernel, &mut folders, &mut batch).await?;
            let latest = Instant::now() + LATEST;
            while !batch.is_empty() {
                let quiet = (Instant::now() + QUIET).min(latest);
                match tokio::time::timeout_at(quiet, read(&mut kernel, &mut folders, &mut batch)).await {
                    Ok(more) => more?,
                    Err(_) => break,
                }
                if Instant::now() >= latest {
                    break;
                }
            }
            if batch.folders_changed || batch.overflowed {
                self.cover(&kernel, &mut folders).await?;
            }
            if self.matters(&batch).await {
                self.tell();
            }
        }
    }

    /// Watches every folder that is not watched yet.
    async fn cover(&self, kernel: &AsyncFd<OwnedFd>, folders: &mut Folders) -> Result<(), Unwatched> {
        let ignored = match &self.repository {
            Some(repository) => ignored_folders(repository).await?,
            None => HashSet::new(),
        };
        let (root, most) = (self.root.clone(), self.most);
        let found = tokio::task::spawn_blocking(move || walk(&root, &ignored, most))
            .await
            .map_err(io::Error::other)??;
        for folder in found {
            folders.add(
                kernel.get_ref(),
                Place::Tree(folder.clone()),
                &self.root.join(os(&folder)),
            )?;
        }
        if let Some(repository) = &self.repository {
            for (place, path) in git_folders(repository) {
                folders.add(kernel.get_ref(), place, &path)?;
            }
        }
        Ok(())
    }

    /// Whether somebody who looks at the tree may see the changes.
    async fn matters(&self, batch: &Batch) -> bool {
        if batch.git || batch.overflowed || batch.paths.len() >= MAX_ASKED {
            return true;
        }
        if batch.paths.is_empty() {
            return false;
        }
        let Some(repository) = &self.repository else {
            return true;
        };
        let mut input = Vec::new();
        for path in &batch.paths {
            // Where paths can't be taken literally, this says that they are paths.
            input.extend_from_slice(b"./");
            input.extend_from_slice(path);
            input.push(0);
        }
        let mut ask = repository.on_contents(&repository.index_a());
        ask.args(["--no-literal-pathspecs", "check-ignore", "-z", "--stdin"]);
        // Without any it ends with 1.
        let ignored = collect(ask, Some(input)).await.unwrap_or_default();
        fields(&ignored).count() < batch.paths.len()
    }

    async fn rescan(&self) {
        let interval_ms = u64::try_from(RESCAN.as_millis()).unwrap_or_default();
        // Before it is told how the tree is watched: what changes from then on has to differ.
        let mut last = self.look().await;
        self.set_mode(WatchMode::Rescan { interval_ms });
        loop {
            tokio::time::sleep(RESCAN).await;
            let seen = self.look().await;
            if seen != last {
                self.tell();
            }
            last = seen;
        }
    }

    /// Stands for what is there; none without git, when nothing is compared.
    async fn look(&self) -> Option<Vec<u8>> {
        digest(self.repository.as_ref()?).await.ok()
    }
}

/// Where a watched folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In the tree, below its root.
    Tree(Vec<u8>),
    /// A folder of git's, of which only some files matter.
    Git,
    /// Refs.
    Refs,
}

/// The folders that the kernel watches.
#[derive(Debug)]
struct Folders {
    most: usize,
    watched: HashMap<i32, Place>,
}

impl Folders {
    fn add(&mut self, kernel: &OwnedFd, place: Place, path: &Path) -> Result<(), Unwatched> {
        use inotify::WatchFlags as W;
        let what =
            W::MODIFY | W::ATTRIB | W::CREATE | W::DELETE | W::MOVE | W::ONLYDIR | W::DONT_FOLLOW | W::EXCL_UNLINK;
        if self.watched.len() >= self.most {
            return Err(Unwatched::TooMany(self.most));
        }
        match inotify::add_watch(kernel, path, what) {
            Ok(number) => {
                self.watched.insert(number, place);
                Ok(())
            }
            // Gone meanwhile, or not readable: nothing of it is shown either.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ACCESS) => Ok(()),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }
}

/// Changes that are told together.
#[derive(Debug, Default)]
struct Batch {
    /// Paths in the tree.
    paths: BTreeSet<Vec<u8>>,
    /// Whether git's own files changed.
    git: bool,
    /// Whether folders appeared.
    folders_changed: bool,
    /// Whether the kernel lost some.
    overflowed: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.git && !self.overflowed
    }

    fn hear(&mut self, place: &Place, name: &[u8], flags: inotify::ReadFlags) {
        use inotify::ReadFlags as R;
        let lock = name.ends_with(b".lock");
        match place {
            Place::Tree(_) if name == b".git" => {}
            Place::Tree(folder) => {
                if flags.contains(R::ISDIR) && flags.intersects(R::CREATE | R::MOVED_TO) {
                    self.folders_changed = true;
                }
                if self.paths.len() < MAX_ASKED {
                    let path = if folder.is_empty() {
                        name.to_vec()
                    } else {
                        [folder, &b"/"[..], name].concat()
                    };
                    self.paths.insert(path);
                }
            }
            Place::Git => self.git |= !lock && is_compared(name),
            Place::Refs => {
                self.git |= !lock;
                self.folders_changed |= flags.contains(R::ISDIR) && flags.intersects(R::CREATE | R::MOVED_TO);
            }
        }
    }
}

/// Whether a file of the git folder says something about the comparison.
fn is_compared(name: &[u8]) -> bool {
    matches!(
        name,
        b"HEAD"
            | b"index"
            | b"packed-refs"
            | b"MERGE_HEAD"
            | b"CHERRY_PICK_HEAD"
            | b"REVERT_HEAD"
            | b"BISECT_LOG"
            | b"rebase-merge"
            | b"rebase-apply"
            | b"config"
            | b"shallow"
    )
}

#[expect(
    deprecated,
    reason = "its replacement is unsafe for kinds of descriptors that may be closed elsewhere, which an owned one is not"
)]
fn wait_on(kernel: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(kernel)
}

/// Waits for changes and takes them in.
async fn read(kernel: &mut AsyncFd<OwnedFd>, folders: &mut Folders, batch: &mut Batch) -> io::Result<()> {
    let mut ready = kernel.readable().await?;
    let mut buffer = [MaybeUninit::uninit(); EVENTS];
    let mut events = inotify::Reader::new(ready.get_inner(), &mut buffer);
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(rustix::io::Errno::WOULDBLOCK) => {
                ready.clear_ready();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let flags = event.events();
        if flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
            batch.overflowed = true;
        } else if flags.contains(inotify::ReadFlags::IGNORED) {
            folders.watched.remove(&event.wd());
        } else if let (Some(place), Some(name)) = (folders.watched.get(&event.wd()), event.file_name()) {
            batch.hear(place, name.to_bytes(), flags);
        }
    }
}

/// The folders that git ignores as a whole, below the root.
async fn ignored_folders(repository: &Repository) -> Result<HashSet<Vec<u8>>, GitError> {
    repository.recent_view().await?;
    let mut list = repository.on_contents(&repository.index_a());
    list.args([
        "ls-files",
        "--others",
        "--ignored",
        "--exclude-standard",
        "--directory",
        "-z",
    ]);
    let output = collect(list, None).await?;
    Ok(fields(&output)
        .filter_map(|path| path.strip_suffix(b"/"))
        .map(<[u8]>::to_vec)
        .collect())
}

/// Every folder below a root, the root too, except ignored ones and repositories.
fn walk(root: &Path, ignored: &HashSet<Vec<u8>>, most: usize) -> Result<Vec<Vec<u8>>, Unwatched> {
    let mut found = vec![Vec::new()];
    let mut next = 0;
    while next < found.len() {
        let folder = found[next].clone();
        next += 1;
        // One that is gone or can't be read has nothing to show.
        let Ok(entries) = fs::read_dir(root.join(os(&folder))) else {
            continue;
        };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || entry.file_name() == ".git" {
                continue;
            }
            let name = entry.file_name();
            let path = if folder.is_empty() {
                name.as_bytes().to_vec()
            } else {
                [&folder, &b"/"[..], name.as_bytes()].concat()
            };
            if ignored.contains(&path) {
                continue;
            }
            if found.len() >= most {
                return Err(Unwatched::TooMany(most));
            }
            found.push(path);
        }
    }
    Ok(found)
}

/// What of the git folders is watched.
fn git_folders(repository: &Repository) -> Vec<(Place, PathBuf)> {
    let location = &repository.location;
    let mut folders = vec![(Place::Git, location.git_dir.clone())];
    if location.common_dir != location.git_dir {
        folders.push((Place::Git, location.common_dir.clone()));
    }
    let hooks = repository.hooks_folder();
    if hooks.is_dir() {
        folders.push((Place::Refs, hooks));
    }
    let mut refs = vec![location.common_dir.join("refs")];
    let mut next = 0;
    while next < refs.len() && refs.len() < MAX_REF_FOLDERS {
        let entries = fs::read_dir(&refs[next]).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
        refs.extend(below);
        next += 1;
    }
    folders.extend(refs.into_iter().take(MAX_REF_FOLDERS).map(|path| (Place::Refs, path)));
    folders
}

/// Stands for everything that a comparison shows.
async fn digest(repository: &Repository) -> Result<Vec<u8>, GitError> {
    let view = repository.view().await?;
    let mut list = repository.on_contents(&view.index);
    list.args([
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--ignore-submodules=dirty",
        "--no-renames",
        "--name-only",
        "-z",
    ])
    .args([repository.empty_tree(), "--"]);
    // Against the empty tree every file is listed, whatever is committed.
    let all = collect(list, None).await?;
    let mut hasher = Sha256::new();
    for path in fields(&all) {
        let stamp = Stamp::of(&repository.location.top.join(os(path)));
        hasher.update(path);
        hasher.update(format!("{stamp:?}"));
    }
    for name in ["HEAD", "index", "MERGE_HEAD", "rebase-merge"] {
        hasher.update(format!("{:?}", Stamp::of(&repository.location.git_dir.join(name))));
    }
    for path in [repository.location.common_dir.join("config"), repository.hooks_folder()] {
        hasher.update(format!("{:?}", Stamp::of(&path)));
    }
    Ok(hasher.finalize().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_works_without_being_noticed() {
        let mut batch = Batch::default();
        let flags = inotify::ReadFlags::CREATE;
        for name in [
            &b"index.lock"[..],
            b"HEAD.lock",
            b"ORIG_HEAD",
            b"FETCH_HEAD",
            b"COMMIT_EDITMSG",
            b"objects",
            b"logs",
        ] {
            batch.hear(&Place::Git, name, flags);
        }
        batch.hear(&Place::Refs, b"main.lock", flags);
        batch.hear(&Place::Tree(Vec::new()), b".git", flags);
        assert!(batch.is_empty());
        batch.hear(&Place::Git, b"index", flags);
        assert!(batch.git);
    }
}
