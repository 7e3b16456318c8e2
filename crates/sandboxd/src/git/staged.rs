//! What is staged of a path, and taking it out of the index.
//!
//! This is the one place where something of a repository is written: its index, and at most one
//! object for lines that stay staged. Git's own lock (`index.lock`) is held from before the tree
//! changes until the new index takes the place of the old one, so either both change or neither
//! does. The index is made from a copy of it, by a git that knows none of the repository's programs.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;
use mistle_protocol::changes::RepoPath;
use serde::{Deserialize, Serialize};

use super::base::Compared;
use super::discard::Put;
use super::process::{GitError, collect, fields};
use super::repository::{Repository, Stamp, copy_index, copy_with_time, os};
use crate::problem::Refusal;

/// An entry of an index, as git lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    mode: String,
    object: String,
    /// 0, or a side of a conflict.
    stage: String,
}

/// What becomes of a path in the index: from what to what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Staging {
    path: RepoPath,
    before: Vec<Entry>,
    after: Vec<Entry>,
}

type Entries = HashMap<Vec<u8>, Vec<Entry>>;

/// An index that waits to take the place of the old one. Nobody else writes it meanwhile.
#[derive(Debug)]
#[must_use]
pub(crate) struct NewIndex {
    lock: PathBuf,
    index: PathBuf,
    committed: bool,
}

impl NewIndex {
    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.lock, &self.index)?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for NewIndex {
    fn drop(&mut self) {
        if !self.committed {
            // One that stays is named by whoever finds the index locked.
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// What has to become of the index so that nothing of a change that is taken back stays staged.
/// `scratch` is a folder for what is needed on the way.
pub(crate) async fn unstaging(
    repository: &Repository,
    compared: &Compared,
    puts: &[Put],
    scratch: &Path,
) -> Result<Vec<Staging>, Refusal> {
    let paths: Vec<&[u8]> = puts.iter().map(|put| put.path.as_slice()).collect();
    let index = in_index(repository, &paths).await?;
    let commit = in_tree(repository, compared.head.commit.as_deref(), &paths).await?;
    let base = in_tree(repository, compared.treeish(repository).as_deref(), &paths).await?;
    let of = |entries: &Entries, path: &[u8]| entries.get(path).cloned().unwrap_or_default();
    let mut all = Vec::new();
    for put in puts {
        let before = of(&index, &put.path);
        let committed = of(&commit, &put.path);
        if before == committed {
            continue;
        }
        let after = match &put.lines_of {
            // What was staged before the turn that is taken back.
            None if before == of(&base, &put.path) => continue,
            None => committed,
            Some(content) => without_lines(repository, &before, put, content, scratch)
                .await?
                .map_or(committed, |entry| vec![entry]),
        };
        if before != after {
            all.push(Staging {
                path: RepoPath::from_bytes(&put.path),
                before,
                after,
            });
        }
    }
    Ok(all)
}

/// The other way round, where the index is as it was left and git still has what was staged.
pub(crate) async fn staging_again(repository: &Repository, done: Vec<Staging>) -> Result<Vec<Staging>, Refusal> {
    let paths: Vec<Vec<u8>> = done.iter().filter_map(|staging| staging.path.to_bytes()).collect();
    let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let index = in_index(repository, &paths).await?;
    let missing = missing_objects(repository, &done).await?;
    let is_left = |staging: &Staging| {
        let path = staging.path.to_bytes()?;
        let left = index.get(&path).map_or(&[][..], Vec::as_slice);
        Some(left == staging.after)
    };
    let is_whole = |staging: &Staging| !staging.before.iter().any(|entry| missing.contains(&entry.object));
    let again = done
        .into_iter()
        .filter(|staging| is_left(staging) == Some(true) && is_whole(staging));
    Ok(again
        .map(|Staging { path, before, after }| Staging {
            path,
            before: after,
            after: before,
        })
        .collect())
}

/// Makes the new index, and holds git's lock for it. `seen` is the index that the changes were found
/// in; none of them needs no index.
pub(crate) async fn new_index(
    repository: &Repository,
    changes: &[Staging],
    seen: &Stamp,
    scratch: &Path,
) -> Result<Option<NewIndex>, Refusal> {
    if changes.is_empty() {
        return Ok(None);
    }
    let index = repository.index();
    let permissions = match fs::symlink_metadata(&index) {
        Ok(own) if own.is_file() => Some(own.permissions()),
        Ok(_) => return Err(failed("it is no file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let (new, mut file) = lock(&index)?;
    if Stamp::of(&index) != *seen {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "file-changed",
            "Something was staged meanwhile. Look at the file again first.",
        ));
    }
    let copy = scratch.join("index");
    copy_index(&index, &copy).map_err(failed)?;
    let mut write = repository.on_contents(&copy);
    // The shadow's own settings are for looking: this index is for the repository, whole and with
    // its marks and checksum.
    write.args(["-c", "core.splitIndex=false", "-c", "core.sparseCheckout=false"]);
    write.args(["-c", "index.skipHash=false", "update-index", "-z", "--index-info"]);
    collect(write, Some(index_info(repository, changes))).await?;
    copy_with_time(&mut fs::File::open(&copy).map_err(failed)?, &mut file).map_err(failed)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions).map_err(failed)?;
    }
    fs::remove_file(&copy).map_err(failed)?;
    Ok(Some(new))
}

fn failed(why: impl std::fmt::Display) -> Refusal {
    let detail = format!("The repository's index can't be changed: {why}. Nothing else was.");
    Refusal::new(StatusCode::CONFLICT, "index-not-writable", detail)
}

fn lock(index: &Path) -> Result<(NewIndex, fs::File), Refusal> {
    let lock = index.with_extension("lock");
    match fs::File::create_new(&lock) {
        Ok(file) => Ok((
            NewIndex {
                lock,
                index: index.to_owned(),
                committed: false,
            },
            file,
        )),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let detail = format!(
                "Another git is changing what is staged, so nothing was done. Try again when it has ended; if none \
                 runs, remove {}.",
                lock.display()
            );
            Err(Refusal::new(StatusCode::CONFLICT, "index-locked", detail))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Changes as `update-index --index-info` reads them: all of a path goes before something comes.
fn index_info(repository: &Repository, changes: &[Staging]) -> Vec<u8> {
    let nothing = "0".repeat(repository.empty_tree().len());
    let mut input = Vec::new();
    for staging in changes {
        let Some(path) = staging.path.to_bytes() else { continue };
        let gone = format!("0 {nothing}");
        let entries = staging.after.iter();
        let lines = entries.map(|entry| format!("{} {} {}", entry.mode, entry.object, entry.stage));
        for line in std::iter::once(gone).chain(lines) {
            input.extend_from_slice(line.as_bytes());
            input.push(b'\t');
            input.extend_from_slice(&path);
            input.push(0);
        }
    }
    input
}

async fn in_index(repository: &Repository, paths: &[&[u8]]) -> Result<Entries, GitError> {
    let mut list = repository.on_index()?;
    list.args(["ls-files", "--stage", "-z", "--"])
        .args(paths.iter().map(|path| os(path)));
    let output = collect(list, None).await?;
    let mut all = Entries::new();
    for (words, path) in fields(&output).filter_map(listed) {
        if let [mode, object, stage] = words[..] {
            let (mode, object, stage) = (mode.to_owned(), object.to_owned(), stage.to_owned());
            all.entry(path.to_vec())
                .or_default()
                .push(Entry { mode, object, stage });
        }
    }
    all.retain(|path, _| paths.contains(&path.as_slice()));
    Ok(all)
}

/// The files of a commit or tree, as they are in an index that is like it.
async fn in_tree(repository: &Repository, tree: Option<&str>, paths: &[&[u8]]) -> Result<Entries, GitError> {
    let Some(tree) = tree else {
        return Ok(Entries::new());
    };
    let mut list = repository.on_contents(&repository.index_a());
    list.args(["ls-tree", "--full-tree", "-z", tree, "--"])
        .args(paths.iter().map(|path| os(path)));
    let output = collect(list, None).await?;
    let entry = |(words, path): (Vec<&str>, &[u8])| match words[..] {
        // A folder has no entry.
        [mode, "blob" | "commit", object] => {
            let (mode, object, stage) = (mode.to_owned(), object.to_owned(), "0".to_owned());
            Some((path.to_vec(), vec![Entry { mode, object, stage }]))
        }
        _ => None,
    };
    Ok(fields(&output).filter_map(listed).filter_map(entry).collect())
}

/// Words, a tab, the path.
fn listed(field: &[u8]) -> Option<(Vec<&str>, &[u8])> {
    let tab = field.iter().position(|byte| *byte == b'\t')?;
    let words = std::str::from_utf8(&field[..tab]).ok()?;
    Some((words.split(' ').collect(), &field[tab + 1..]))
}

/// What is staged without the lines that are taken back: what turns the file from what it was into
/// what it becomes is done to what is staged. None when that can't be told apart.
async fn without_lines(
    repository: &Repository,
    before: &[Entry],
    put: &Put,
    content: &[u8],
    scratch: &Path,
) -> Result<Option<Entry>, Refusal> {
    let ([staged], Some((becomes, _))) = (before, &put.content) else {
        return Ok(None);
    };
    if staged.stage != "0" || !staged.mode.starts_with("100") {
        return Ok(None);
    }
    let mut read = repository.on_contents(&repository.index_a());
    read.args(["cat-file", "blob", &staged.object]);
    let own = collect(read, None).await?;
    // With the line ends that git stores.
    let was = stored(repository, &put.path, content, scratch).await?;
    let becomes = stored(repository, &put.path, becomes, scratch).await?;
    for (name, content) in [("staged", &own), ("was", &was), ("becomes", &becomes)] {
        fs::write(scratch.join(name), content).map_err(GitError::from)?;
    }
    let mut merge = repository.on_contents(&repository.index_a());
    merge
        .args(["merge-file", "-p", "-q"])
        .args(["staged", "was", "becomes"].map(|name| scratch.join(name)));
    let merged = match collect(merge, None).await {
        Ok(merged) => merged,
        // So it ends when both changed the same lines.
        Err(GitError::Failed(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Where the repository finds it, whatever the snapshot of a turn has.
    let mut write = repository.on_own_objects();
    write.args(["hash-object", "-w", "--stdin"]);
    let object = collect(write, Some(merged)).await?;
    Ok(Some(Entry {
        object: String::from_utf8_lossy(&object).trim().to_owned(),
        ..staged.clone()
    }))
}

/// A content of the tree as git stores it.
async fn stored(repository: &Repository, path: &[u8], content: &[u8], scratch: &Path) -> Result<Vec<u8>, GitError> {
    let objects = scratch.join("objects");
    fs::create_dir_all(&objects)?;
    let git = || {
        let mut command = repository.on_contents(&repository.index());
        command.env("GIT_OBJECT_DIRECTORY", &objects);
        command
    };
    let mut write = git();
    write.args(["hash-object", "-w", "--stdin", "--path"]).arg(os(path));
    let object = collect(write, Some(content.to_vec())).await?;
    let mut read = git();
    read.args(["cat-file", "blob", String::from_utf8_lossy(&object).trim()]);
    collect(read, None).await
}

/// What was staged and is not there any more: git clears up what nothing names.
async fn missing_objects(repository: &Repository, done: &[Staging]) -> Result<Vec<String>, GitError> {
    let entries = done.iter().flat_map(|staging| &staging.before);
    // The commit of a repository in the repository is not in this one.
    let blobs = entries.filter(|entry| entry.mode != "160000");
    let input: String = blobs.flat_map(|entry| [entry.object.as_str(), "\n"]).collect();
    let mut ask = repository.on_own_objects();
    ask.args(["cat-file", "--batch-check=%(objectname)"]);
    let output = collect(ask, Some(input.into_bytes())).await?;
    let output = String::from_utf8_lossy(&output).into_owned();
    let missing = output.lines().filter_map(|line| line.strip_suffix(" missing"));
    Ok(missing.map(str::to_owned).collect())
}
