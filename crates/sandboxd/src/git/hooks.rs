//! Hooks of a repository, which git runs by itself and no diff shows.
//!
//! They are listed beside the changed files, because whoever reviews a change has to know what runs
//! at the next commit. A fresh clone has none. They are where git looks for them: in the folder that
//! the working trees of a repository share, or where `core.hooksPath` says. A hook outside of the
//! tree is listed below `.git/hooks`, whatever its folder is; in the tree only those are listed here
//! that git ignores, because the others are listed anyway.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use mistle_protocol::changes::{
    ChangedFile, DiffLine, FileDiff, FileStatus, Hunk, HunkRange, LineKind, MAX_DIFF_LINE, RepoPath, SelfRunning,
};

use super::base::Compared;
use super::process::{GitError, collect, fields};
use super::repository::{Repository, os, read_small};

/// How hooks outside of the tree are named.
const OUTSIDE: &[u8] = b".git/hooks/";
/// The most that are listed: git knows about thirty.
const MAX_HOOKS: usize = 64;
/// The most files of a folder that are looked at.
const MAX_ENTRIES: usize = 4_096;

/// Where hooks are.
struct Folder {
    place: PathBuf,
    /// How they are named here, before their own name.
    name: Vec<u8>,
    in_tree: bool,
}

impl Folder {
    fn of(repository: &Repository) -> Self {
        let place = repository.hooks_folder();
        let below = place.strip_prefix(&repository.location.top).ok();
        let plain = |below: &&Path| {
            let mut parts = below.components().peekable();
            parts.peek().is_some_and(|first| first.as_os_str() != ".git")
                && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        let parts = below.filter(plain).map(|below| below.components().collect::<PathBuf>());
        match parts {
            Some(below) => Self {
                name: [below.as_os_str().as_bytes(), b"/"].concat(),
                place,
                in_tree: true,
            },
            None => Self {
                name: OUTSIDE.to_vec(),
                place,
                in_tree: false,
            },
        }
    }

    /// The files in it that are listed anyway.
    async fn listed(&self, repository: &Repository) -> Result<HashSet<Vec<u8>>, GitError> {
        if !self.in_tree {
            return Ok(HashSet::new());
        }
        let mut list = repository.on_index()?;
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"])
            .arg(os(self.name.strip_suffix(b"/").unwrap_or(&self.name)));
        Ok(fields(&collect(list, None).await?).map(<[u8]>::to_vec).collect())
    }
}

/// Whether git takes a file of the tree for a hook, or for something beside one.
pub(crate) fn has(repository: &Repository, path: &[u8]) -> bool {
    let folder = repository.configured_hooks().map(|_| Folder::of(repository));
    folder.is_some_and(|folder| folder.in_tree && path.starts_with(&folder.name))
}

/// The folder of a hook that is not where its name says, be it through a link.
pub(crate) fn elsewhere(repository: &Repository, path: &[u8]) -> Option<PathBuf> {
    let folder = Folder::of(repository);
    if !path.starts_with(&folder.name) {
        return None;
    }
    let top = &repository.location.top;
    let named = fs::canonicalize(top)
        .unwrap_or_else(|_| top.clone())
        .join(os(&folder.name));
    let place = fs::canonicalize(&folder.place).unwrap_or(folder.place);
    (place != named).then_some(place)
}

/// Those that git would run and that changed since the base was made.
pub(crate) async fn list(repository: &Repository, compared: &Compared) -> Result<Vec<ChangedFile>, GitError> {
    let folder = Folder::of(repository);
    let entries = fs::read_dir(&folder.place).into_iter().flatten().flatten();
    let mut paths: Vec<Vec<u8>> = entries
        .take(MAX_ENTRIES)
        .map(|entry| [&folder.name, entry.file_name().as_bytes()].concat())
        .collect();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let listed = folder.listed(repository).await?;
    paths.sort_unstable();
    let unlisted = paths.iter().filter(|path| !listed.contains(*path));
    let found = unlisted.filter_map(|path| find(&folder, compared, path));
    Ok(found.map(|(file, _)| file).take(MAX_HOOKS).collect())
}

/// The diff of a path, if it is a hook that is listed here.
pub(crate) async fn diff(
    repository: &Repository,
    compared: &Compared,
    path: &[u8],
) -> Result<Option<FileDiff>, GitError> {
    let folder = Folder::of(repository);
    let Some((file, content)) = find(&folder, compared, path) else {
        return Ok(None);
    };
    if folder.listed(repository).await?.contains(path) {
        return Ok(None);
    }
    let lines: Vec<DiffLine> = content
        .split_inclusive(|byte| *byte == b'\n')
        .zip(1..)
        .map(|(line, number)| {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            DiffLine {
                kind: LineKind::Added,
                old_no: None,
                new_no: Some(number),
                text: String::from_utf8_lossy(&text[..text.len().min(MAX_DIFF_LINE)]).into_owned(),
                no_newline: line == text,
                cut: text.len() > MAX_DIFF_LINE,
            }
        })
        .collect();
    let range = HunkRange {
        old_start: 0,
        old_lines: 0,
        new_start: 1,
        new_lines: lines.len() as u64,
    };
    let hunk = Hunk {
        range,
        section: String::new(),
        lines,
    };
    Ok(Some(FileDiff {
        hunks: if hunk.lines.is_empty() || file.binary {
            Vec::new()
        } else {
            vec![hunk]
        },
        file: Some(file),
        image: None,
        submodule: None,
        folded: None,
        truncated: false,
    }))
}

/// A hook and its content.
fn find(folder: &Folder, compared: &Compared, path: &[u8]) -> Option<(ChangedFile, Vec<u8>)> {
    let name = path.strip_prefix(folder.name.as_slice())?;
    if name.is_empty() || name.contains(&b'/') || name.ends_with(b".sample") {
        return None;
    }
    let place = folder.place.join(os(name));
    let own = fs::symlink_metadata(&place).ok()?;
    // Git runs what can be executed, through links as well.
    let runs = fs::metadata(&place).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
    let since = compared.turn.as_ref().map_or(i64::MIN, |turn| turn.at.as_second());
    if !runs || own.ctime() < since {
        return None;
    }
    let content = if own.is_symlink() {
        fs::read_link(&place).ok()?.as_os_str().as_bytes().to_vec()
    } else {
        read_small(&place)?
    };
    let binary = content.contains(&0);
    let file = ChangedFile {
        path: RepoPath::from_bytes(path),
        old_path: None,
        status: FileStatus::Untracked,
        untracked: true,
        old_mode: 0,
        new_mode: if own.is_symlink() { 0o120_000 } else { 0o100_755 },
        added: (!binary).then(|| content.split_inclusive(|byte| *byte == b'\n').count() as u64),
        removed: (!binary).then_some(0),
        binary,
        size: own.is_file().then(|| own.size()),
        generated: false,
        self_running: Some(SelfRunning::GitHook),
        fingerprint: format!("{:x}-{:x}-{:x}", own.ino(), own.ctime(), own.ctime_nsec()),
    };
    Some((file, content))
}
