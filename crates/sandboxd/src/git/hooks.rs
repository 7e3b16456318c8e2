//! Hooks of a repository, which git runs by itself and no diff shows.
//!
//! They are listed beside the changed files, because whoever reviews a change has to know what runs
//! at the next commit. A fresh clone has none. Those of another folder (`core.hooksPath`) are
//! ordinary files of the tree.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use mistle_protocol::changes::{
    ChangedFile, DiffLine, FileDiff, FileStatus, Hunk, HunkRange, LineKind, MAX_DIFF_LINE, RepoPath, SelfRunning,
};

use super::base::Compared;
use super::repository::{Repository, os, read_small};

/// Where they are, below the repository's folder.
const FOLDER: &[u8] = b".git/hooks/";
/// The most that are listed: git knows about thirty.
const MAX_HOOKS: usize = 64;

/// Those that git would run and that changed since the base was made.
pub(crate) fn list(repository: &Repository, compared: &Compared) -> Vec<ChangedFile> {
    let folder = repository.location.top.join(os(FOLDER));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<Vec<u8>> = entries
        .map(|entry| [FOLDER, entry.file_name().as_bytes()].concat())
        .collect();
    paths.sort_unstable();
    paths
        .iter()
        .filter_map(|path| find(repository, compared, path))
        .map(|(file, _)| file)
        .take(MAX_HOOKS)
        .collect()
}

/// The diff of a path, if it is a hook.
pub(crate) fn diff(repository: &Repository, compared: &Compared, path: &[u8]) -> Option<FileDiff> {
    let (file, content) = find(repository, compared, path)?;
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
    Some(FileDiff {
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
    })
}

/// A hook and its content.
fn find(repository: &Repository, compared: &Compared, path: &[u8]) -> Option<(ChangedFile, Vec<u8>)> {
    let name = path.strip_prefix(FOLDER)?;
    if name.is_empty() || name.contains(&b'/') || name.ends_with(b".sample") {
        return None;
    }
    let place: PathBuf = repository.location.top.join(os(path));
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
