//! The working tree as it was when a turn began.
//!
//! A tree object, made from a copy of the index and kept with what it adds in a folder of the
//! shadow. Each one stands alone, so the folder of the one before is simply removed. Neither the
//! repository's index nor its objects or refs are touched.
//!
//! Large files are not copied: their place and time are noted, and as long as these are the same,
//! so is the file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::process::{GitError, collect, fields};
use super::repository::{Repository, os, read_small, replace};
use mistle_protocol::changes::RepoPath;

/// Files beyond this many bytes are noted and not copied.
const BIG: u64 = 8 * 1024 * 1024;
/// The most large files that are noted.
const MAX_BIG: usize = 256;
/// Where the last one is written down.
const FILE: &str = "turn.json";

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
        folder(repository, self.number).join("objects")
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

/// Makes the snapshot of a turn that begins.
pub(crate) async fn take(repository: &Repository) -> Result<(), GitError> {
    let view = repository.view().await?;
    let number = Turn::read(repository).map_or(1, |turn| turn.number + 1);
    let folder = folder(repository, number);
    clear(&folder)?;
    let objects = folder.join("objects");
    fs::create_dir_all(&objects)?;
    let index = folder.join("index");
    match fs::copy(repository.index_a(), &index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        copied => drop(copied?),
    }
    let git = |arguments: &[&str]| {
        let mut command = repository.on_contents(&index);
        command
            .env("GIT_OBJECT_DIRECTORY", &objects)
            .env(
                "GIT_ALTERNATE_OBJECT_DIRECTORIES",
                repository.location.common_dir.join("objects"),
            )
            .args(arguments);
        command
    };
    let changed = collect(
        git(&["diff-files", "--name-only", "--ignore-submodules=dirty", "-z"]),
        None,
    )
    .await?;
    let mut input = Vec::new();
    let mut big = Vec::new();
    for path in fields(&changed).chain(
        view.untracked
            .files
            .iter()
            .chain(&view.untracked.big)
            .map(Vec::as_slice),
    ) {
        let metadata = fs::symlink_metadata(repository.location.top.join(os(path))).ok();
        match metadata {
            Some(metadata) if metadata.is_file() && metadata.size() > BIG => {
                if big.len() < MAX_BIG {
                    big.push((RepoPath::from_bytes(path), Mark::of(&metadata)));
                }
            }
            Some(metadata) if !(metadata.is_file() || metadata.is_symlink() || metadata.is_dir()) => {}
            _ => {
                input.extend_from_slice(path);
                input.push(0);
            }
        }
    }
    if !input.is_empty() {
        let update = git(&["update-index", "-z", "--add", "--remove", "--replace", "--stdin"]);
        collect(update, Some(input)).await?;
    }
    let tree = collect(git(&["write-tree"]), None).await?;
    let turn = Turn {
        number,
        at: Timestamp::now(),
        tree: String::from_utf8_lossy(&tree).trim().to_owned(),
        big,
    };
    let text = serde_json::to_vec(&turn).map_err(io::Error::from)?;
    fs::remove_file(&index).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    replace(&repository.shadow.join(FILE), &text)?;
    // A reader of the one before may still need it; the next turn is far away.
    if let Some(old) = number.checked_sub(2) {
        clear(&super::snapshot::folder(repository, old))?;
    }
    Ok(())
}

fn clear(folder: &std::path::Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
