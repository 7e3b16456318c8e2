//! The working tree as it was when a turn began.
//!
//! A tree object, made from a copy of the index and kept with what it adds in a folder of the
//! shadow. As long as the repository's index is the same, the next one goes on in that folder, with
//! that copy: only what changed since is read again, so that a turn does not wait for the thousands
//! of files that were changed before. Neither the repository's index nor its objects or refs are
//! touched.
//!
//! Large files are not copied: their place and time are noted, and as long as these are the same,
//! so is the file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::process::{GitError, collect, fields};
use super::repository::{Repository, Stamp, View, copy_index, os, read_small, replace};
use mistle_protocol::changes::RepoPath;

/// Files beyond this many bytes are noted and not copied.
const BIG: u64 = 8 * 1024 * 1024;
/// The most large files that are noted.
const MAX_BIG: usize = 256;
/// Where the last one is written down.
const FILE: &str = "turn.json";
/// What is written into one folder before another one is begun: what the snapshots before needed is
/// not cleared up in it.
const MAX_WRITTEN: u64 = 512 * 1024 * 1024;

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Counts them.
    number: u64,
    /// When it was made.
    pub(crate) at: Timestamp,
    /// Its tree.
    pub(crate) tree: String,
    /// Files that were too large.
    big: Vec<(RepoPath, Mark)>,
    /// The folder's number: that of the first snapshot in it.
    #[serde(default)]
    folder: u64,
    /// The repository's index that the folder's is a copy of.
    #[serde(default)]
    index: Option<Stamp>,
    /// Bytes of contents that were written into the folder.
    #[serde(default)]
    written: u64,
    /// The settings that name programs; none when nobody looked.
    #[serde(default)]
    pub(crate) programs: Option<Vec<String>>,
}

/// Tells whether a large file is the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    size: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Mark {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            inode: metadata.ino(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Turn {
    /// The last one.
    pub(crate) fn read(repository: &Repository) -> Option<Self> {
        let text = read_small(&repository.shadow.join(FILE))?;
        serde_json::from_slice(&text).ok()
    }

    /// The folder of what it added to the repository's objects.
    pub(crate) fn objects(&self, repository: &Repository) -> PathBuf {
        folder(repository, self.folder).join("objects")
    }

    /// The large files that are as they were.
    pub(crate) fn unchanged(&self, repository: &Repository) -> BTreeSet<Vec<u8>> {
        let same = |(path, mark): &(RepoPath, Mark)| {
            let bytes = path.to_bytes()?;
            let metadata = fs::symlink_metadata(repository.location.top.join(os(&bytes))).ok()?;
            (Mark::of(&metadata) == *mark).then_some(bytes)
        };
        self.big.iter().filter_map(same).collect()
    }
}

fn folder(repository: &Repository, number: u64) -> PathBuf {
    repository.shadow.join("turns").join(number.to_string())
}

/// A folder in which a snapshot is made.
struct Place {
    number: u64,
    folder: PathBuf,
    /// Files in its index that git does not know, sorted.
    untracked: Vec<Vec<u8>>,
    /// Files that git knows and that are not in its index, because they were gone.
    gone: Vec<Vec<u8>>,
    written: u64,
}

impl Place {
    /// The last one's, if it may go on there.
    fn again(repository: &Repository, last: &Turn, index: &Stamp) -> Option<Self> {
        let folder = folder(repository, last.folder);
        if last.index.as_ref() != Some(index) || last.written > MAX_WRITTEN || !folder.join("index").is_file() {
            return None;
        }
        let paths_in = |name: &str| {
            let paths = fs::read(folder.join(name)).ok()?;
            Some(fields(&paths).map(<[u8]>::to_vec).collect())
        };
        Some(Self {
            number: last.folder,
            untracked: paths_in("untracked")?,
            gone: paths_in("gone")?,
            written: last.written,
            folder,
        })
    }

    /// A new one, with a copy of the index.
    fn new(repository: &Repository, number: u64) -> io::Result<Self> {
        let folder = folder(repository, number);
        clear(&folder)?;
        fs::create_dir_all(folder.join("objects"))?;
        copy_index(&repository.index_a(), &folder.join("index"))?;
        Ok(Self {
            number,
            folder,
            untracked: Vec::new(),
            gone: Vec::new(),
            written: 0,
        })
    }

    async fn git(
        &self,
        repository: &Repository,
        arguments: &[&str],
        input: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, GitError> {
        let mut command = repository.on_contents(&self.folder.join("index"));
        command
            .env("GIT_OBJECT_DIRECTORY", self.folder.join("objects"))
            .env(
                "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                repository.location.common_dir.join("objects"),
            )
            .args(arguments);
        collect(command, input).await
    }

    /// Brings the index up to date with the tree. Answers the files that are too large for it.
    async fn update(&mut self, repository: &Repository, view: &View) -> Result<Vec<(RepoPath, Mark)>, GitError> {
        let now = &view.untracked.files;
        // Ignored meanwhile, or gone.
        let left = self.untracked.iter().filter(|path| now.binary_search(path).is_err());
        let left = joined(left.map(Vec::as_slice));
        if !left.is_empty() {
            let arguments = ["update-index", "-z", "--force-remove", "--stdin"];
            self.git(repository, &arguments, Some(left)).await?;
        }
        let arguments = ["diff-files", "--name-only", "--ignore-submodules=dirty", "-z"];
        let changed = self.git(repository, &arguments, None).await?;
        let found = now.iter().filter(|path| self.untracked.binary_search(path).is_err());
        let (mut input, mut gone) = (Vec::new(), Vec::new());
        for path in fields(&changed).chain(found.chain(&self.gone).map(Vec::as_slice)) {
            match fs::symlink_metadata(repository.location.top.join(os(path))) {
                Ok(metadata) if metadata.is_file() && metadata.size() > BIG => continue,
                Ok(metadata) if metadata.is_file() => self.written += metadata.size(),
                Ok(metadata) if !(metadata.is_symlink() || metadata.is_dir()) => continue,
                Ok(_) => {}
                Err(_) => gone.push(path),
            }
            input.push(path);
        }
        let gone = joined(gone.into_iter());
        let input = joined(input.into_iter());
        if !input.is_empty() {
            let arguments = ["update-index", "-z", "--add", "--remove", "--replace", "--stdin"];
            self.git(repository, &arguments, Some(input)).await?;
        }
        let untracked = joined(now.iter().map(Vec::as_slice));
        replace(&self.folder.join("untracked"), &untracked)?;
        replace(&self.folder.join("gone"), &gone)?;
        let large = fields(&changed).chain(now.iter().chain(&view.untracked.big).map(Vec::as_slice));
        Ok(large.filter_map(|path| mark(repository, path)).take(MAX_BIG).collect())
    }
}

/// Notes a file that is too large.
fn mark(repository: &Repository, path: &[u8]) -> Option<(RepoPath, Mark)> {
    let metadata = fs::symlink_metadata(repository.location.top.join(os(path))).ok()?;
    let large = metadata.is_file() && metadata.size() > BIG;
    large.then(|| (RepoPath::from_bytes(path), Mark::of(&metadata)))
}

fn joined<'a>(paths: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    paths.fold(Vec::new(), |mut all, path| {
        all.extend_from_slice(path);
        all.push(0);
        all
    })
}

/// Makes the snapshot of a turn that begins.
pub(crate) async fn take(repository: &Repository) -> Result<(), GitError> {
    // Before it is read: a newer one is another one.
    let index = Stamp::of(&repository.location.git_dir.join("index"));
    let view = repository.view().await?;
    let last = Turn::read(repository);
    let number = last.as_ref().map_or(1, |turn| turn.number + 1);
    let again = last.as_ref().and_then(|last| Place::again(repository, last, &index));
    let mut place = match again {
        Some(place) => place,
        None => Place::new(repository, number)?,
    };
    let big = place.update(repository, &view).await?;
    let tree = place.git(repository, &["write-tree"], None).await?;
    let turn = Turn {
        number,
        at: Timestamp::now(),
        tree: String::from_utf8_lossy(&tree).trim().to_owned(),
        big,
        folder: place.number,
        index: Some(index),
        written: place.written,
        programs: super::programs::named(repository).await.ok(),
    };
    let text = serde_json::to_vec(&turn).map_err(io::Error::from)?;
    replace(&repository.shadow.join(FILE), &text)?;
    // A reader of the one before may still need it; the next turn is far away.
    let kept = [Some(turn.folder), last.map(|last| last.folder)];
    for entry in fs::read_dir(repository.shadow.join("turns"))?.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if !kept.contains(&number) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
