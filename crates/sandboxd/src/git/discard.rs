//! Takes a change back, and brings it back again.
//!
//! The working tree changes, and with it what of the change is staged ([`staged`](super::staged)):
//! what is discarded is in no commit that follows. What was there moves into a folder of the shadow
//! under a token; bringing it back needs the file to be as the discard left it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use http::StatusCode;
use mistle_protocol::changes::{ChangedFile, FileStatus, HunkRange, RepoPath};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::base::Compared;
use super::file::{AskedFile, Current, file_diff, open_current, open_parent};
use super::process::{GitError, collect};
use super::repository::{Repository, Stamp, os, replace};
use super::staged::{self, NewIndex, Staging};
use crate::problem::Refusal;

/// The bits of a mode that tell kinds of files apart, and those of a symbolic link.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
/// Files beyond this many bytes are not edited hunk by hunk.
const MAX_EDITED: u64 = 32 * 1024 * 1024;
/// Letters of a token.
const TOKEN: usize = 32;
/// Discards that can be undone; the oldest are forgotten.
const MAX_UNDO: usize = 100;

/// Where a token's folder says what to bring back: in the tree, and in the index.
const STEPS: &str = "steps.json";
const STAGED: &str = "staged.json";

/// What a path becomes.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) path: Vec<u8>,
    /// The content and its mode; none when nothing is there.
    pub(crate) content: Option<(Vec<u8>, u32)>,
    /// The content that some lines go back in; none when all of it does.
    pub(crate) lines_of: Option<Vec<u8>>,
}

/// What a discard did to one path.
#[derive(Debug, Serialize, Deserialize)]
struct Step {
    path: RepoPath,
    /// What was there.
    before: Kept,
    /// The digest of what is there since; none when nothing is.
    after: Option<String>,
}

/// What was at a path.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kept {
    Absent,
    /// The file of this name in the token's folder.
    File {
        name: String,
    },
    Link {
        target: RepoPathBytes,
    },
}

/// A link's target, which need not be a path below the folder.
#[derive(Debug, Serialize, Deserialize)]
struct RepoPathBytes(Vec<u8>);

fn refused(kind: &str, detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, kind, detail)
}

fn failed(error: &io::Error) -> Refusal {
    refused("discard-failed", format!("The file can't be changed: {error}."))
}

/// Takes the change of a file, or one hunk of it, back. Answers the token that undoes it.
pub(crate) async fn discard(
    repository: &Repository,
    compared: &Compared,
    path: &[u8],
    hunk: Option<HunkRange>,
    fingerprint: &str,
) -> Result<String, Refusal> {
    let file = changed(repository, compared, path).await?;
    if file.fingerprint != fingerprint {
        return Err(refused(
            "file-changed",
            "The file changed meanwhile. Look at it again first.",
        ));
    }
    check(repository, &file, path)?;
    let puts = puts(repository, compared, &file, path, hunk).await?;
    let token = new_token();
    let mut undo = Undo::create(repository, &token).map_err(|error| failed(&error))?;
    let index = undo.unstage(compared, &puts).await.inspect_err(|_| undo.forget())?;
    undo.carry_out(puts)?;
    if let Some(Err(error)) = index.map(NewIndex::commit) {
        undo.roll_back();
        return Err(failed(&error));
    }
    forget_old(repository);
    Ok(token)
}

/// Whether a change can be taken back from here.
fn check(repository: &Repository, file: &ChangedFile, path: &[u8]) -> Result<(), Refusal> {
    let elsewhere = super::hooks::elsewhere(repository, path);
    let why = if file.status == FileStatus::Submodule {
        "A repository in the repository is not changed from here.".to_owned()
    } else if path == super::programs::PATH {
        "Git's configuration is not changed from here. Take a setting away with “git config --unset”.".to_owned()
    } else if let Some(folder) = elsewhere {
        format!(
            "The hook is in {}, which may be others' too. Remove it there.",
            folder.display()
        )
    } else {
        return Ok(());
    };
    Err(refused("not-discardable", why))
}

/// What becomes of which path, in this order.
async fn puts(
    repository: &Repository,
    compared: &Compared,
    file: &ChangedFile,
    path: &[u8],
    hunk: Option<HunkRange>,
) -> Result<Vec<Put>, Refusal> {
    let whole = |path: &[u8], content| Put {
        path: path.to_vec(),
        content,
        lines_of: None,
    };
    if file.old_mode == 0 {
        // All of a new file is the one hunk.
        return Ok(vec![whole(path, None)]);
    }
    let base = compared.treeish(repository).unwrap_or_default();
    let old_path = file.old_path.as_ref().and_then(RepoPath::to_bytes);
    let old_path = old_path.as_deref().unwrap_or(path);
    let old = old_content(repository, &base, old_path).await?;
    // So it is with one that is gone, and what links to a name has no lines.
    let is_link = |mode: u32| mode & KIND == LINK;
    let in_one = file.status == FileStatus::Deleted || is_link(file.old_mode) || is_link(file.new_mode);
    if let Some(range) = hunk.filter(|_| !in_one) {
        let (content, mode) = edited(repository, path)?;
        let changed = reverted(&old, &content, range)?;
        return Ok(vec![Put {
            path: path.to_vec(),
            content: Some((changed, mode)),
            lines_of: Some(content),
        }]);
    }
    Ok(match file.status {
        FileStatus::Copied => vec![whole(path, None)],
        FileStatus::Renamed => vec![whole(path, None), whole(old_path, Some((old, file.old_mode)))],
        _ => vec![whole(path, Some((old, file.old_mode)))],
    })
}

/// A file that is edited, and its mode.
fn edited(repository: &Repository, path: &[u8]) -> Result<(Vec<u8>, u32), Refusal> {
    let current = open_current(repository, path).map_err(|error| failed(&error))?;
    let Current::File(file) = current else {
        return Err(refused(
            "not-discardable",
            "Only a file has lines that can be taken back one by one.",
        ));
    };
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if metadata.size() > MAX_EDITED {
        return Err(refused(
            "not-discardable",
            "The file is too large to take single lines back.",
        ));
    }
    let mut content = Vec::new();
    file.take(MAX_EDITED)
        .read_to_end(&mut content)
        .map_err(|error| failed(&error))?;
    Ok((content, metadata.mode()))
}

async fn changed(repository: &Repository, compared: &Compared, path: &[u8]) -> Result<ChangedFile, Refusal> {
    let mut asked = AskedFile {
        path: path.to_vec(),
        old_path: None,
        ignore_whitespace: false,
        context: 0,
        full: false,
    };
    let mut found = file_diff(repository, compared, &asked).await?.file;
    if found
        .as_ref()
        .is_some_and(|file| matches!(file.status, FileStatus::Added | FileStatus::Untracked))
    {
        // Perhaps it is the new name of another, which the list of all files tells.
        asked.old_path = renamed_from(repository, compared, path).await?;
        if asked.old_path.is_some() {
            found = file_diff(repository, compared, &asked).await?.file;
        }
    }
    found.ok_or_else(|| refused("file-changed", "The file is not changed any more."))
}

async fn renamed_from(repository: &Repository, compared: &Compared, path: &[u8]) -> Result<Option<Vec<u8>>, GitError> {
    let Some(base) = compared.treeish(repository) else {
        return Ok(None);
    };
    let view = repository.recent_view().await?;
    let mut list = repository.on_contents(&view.index);
    list.args([
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--ignore-submodules=dirty",
        "--find-copies",
        "-l400",
    ])
    .args(["--raw", "--no-abbrev", "-z", &base, "--"]);
    let output = collect(list, None).await?;
    let mut reader = super::patch::Reader::default();
    reader.push(&output);
    reader.end();
    while let Some(event) = reader.next().map_err(super::changes::unreadable)? {
        if let super::patch::Event::Raw(raw) = event
            && raw.new == path
        {
            return Ok((raw.old != raw.new).then_some(raw.old));
        }
    }
    Ok(None)
}

/// The content at the base, with the line ends that it has in the tree.
async fn old_content(repository: &Repository, base: &str, path: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut name = format!("{base}:").into_bytes();
    name.extend_from_slice(path);
    let mut command = repository.on_index().map_err(GitError::from)?;
    command.args(["cat-file", "--filters"]).arg(os(&name));
    Ok(collect(command, None).await?)
}

/// A content with one hunk as it was.
fn reverted(old: &[u8], new: &[u8], range: HunkRange) -> Result<Vec<u8>, Refusal> {
    let (old, new) = (lines(old), lines(new));
    // A side without lines is told by the line before it.
    let side = |start: u64, count: u64| -> Option<std::ops::Range<usize>> {
        let first = usize::try_from(if count == 0 { start } else { start.checked_sub(1)? }).ok()?;
        Some(first..first.checked_add(usize::try_from(count).ok()?)?)
    };
    let ranges = side(range.old_start, range.old_lines).zip(side(range.new_start, range.new_lines));
    let fitting = ranges.filter(|(before, after)| before.end <= old.len() && after.end <= new.len());
    let (before, after) = fitting.ok_or_else(|| refused("file-changed", "The file has no such lines."))?;
    Ok([&new[..after.start], &old[before], &new[after.end..]].concat().concat())
}

fn lines(content: &[u8]) -> Vec<&[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').collect()
}

/// A discard that is being done.
struct Undo<'a> {
    repository: &'a Repository,
    folder: PathBuf,
    steps: Vec<Step>,
}

impl<'a> Undo<'a> {
    fn create(repository: &'a Repository, token: &str) -> io::Result<Self> {
        let folder = repository.shadow.join("undo").join(token);
        fs::create_dir_all(&folder)?;
        Ok(Self {
            repository,
            folder,
            steps: Vec::new(),
        })
    }

    /// Makes the index in which nothing of the change is staged.
    async fn unstage(&self, compared: &Compared, puts: &[Put]) -> Result<Option<NewIndex>, Refusal> {
        let seen = Stamp::of(&self.repository.index());
        let staging = staged::unstaging(self.repository, compared, puts, &self.folder).await?;
        let index = staged::new_index(self.repository, &staging, &seen, &self.folder).await?;
        self.note(STAGED, &staging).map_err(|error| failed(&error))?;
        Ok(index)
    }

    /// Leaves nothing of a discard that did nothing.
    fn forget(&self) {
        // What stays is forgotten with the old ones.
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// Writes down what is needed to bring it back.
    fn note(&self, name: &str, what: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(what).map_err(io::Error::from)?;
        replace(&self.folder.join(name), &text)
    }

    /// Does all of it, or nothing.
    fn carry_out(&mut self, puts: Vec<Put>) -> Result<(), Refusal> {
        self.prepare_and_put(puts).map_err(|error| {
            self.roll_back();
            failed(&error)
        })
    }

    /// What is needed to bring it back is written down before anything is changed.
    fn prepare_and_put(&mut self, puts: Vec<Put>) -> io::Result<()> {
        let steps = puts.iter().enumerate().map(|(at, put)| self.step(at, put));
        let steps = steps.collect::<io::Result<Vec<_>>>()?;
        self.note(STEPS, &steps)?;
        for (at, (put, step)) in puts.into_iter().zip(steps).enumerate() {
            self.put(at, put, &step)?;
            self.steps.push(step);
        }
        Ok(())
    }

    fn step(&self, at: usize, put: &Put) -> io::Result<Step> {
        let before = match open_current(self.repository, &put.path)? {
            Current::Absent => Kept::Absent,
            Current::Link(target) => Kept::Link {
                target: RepoPathBytes(target),
            },
            Current::File(_) => Kept::File { name: at.to_string() },
        };
        Ok(Step {
            path: RepoPath::from_bytes(&put.path),
            before,
            after: put.content.as_ref().map(|(content, _)| digest(content)),
        })
    }

    /// Puts a content of a mode, or nothing, in the place of what is there, in one move: whoever opens the
    /// file finds one of the two, and what is written there meanwhile is kept.
    fn put(&self, at: usize, put: Put, step: &Step) -> io::Result<()> {
        let kept = self.folder.join(at.to_string());
        let is_there = !matches!(step.before, Kept::Absent);
        match put.content {
            Some((content, mode)) => {
                create(rustix::fs::CWD, &kept, &content, mode)?;
                make_way(self.repository, &put.path)?;
                let how = if is_there {
                    RenameFlags::EXCHANGE
                } else {
                    RenameFlags::NOREPLACE
                };
                into_tree(self.repository, &kept, &put.path, how)
            }
            None if is_there => out_of_tree(self.repository, &put.path, &kept),
            None => Ok(()),
        }
    }

    /// Brings back what was moved already.
    fn roll_back(&self) {
        for step in self.steps.iter().rev() {
            let Some(path) = step.path.to_bytes() else { continue };
            if let Err(error) = put_back(self.repository, &self.folder, &path, &step.before) {
                tracing::warn!(%error, path = step.path.text, "what was half discarded stays in the shadow");
            }
        }
    }
}

/// Moves a file of the shadow to a path of the tree; with `EXCHANGE`, what is there comes into the shadow.
fn into_tree(repository: &Repository, shadow: &Path, path: &[u8], how: RenameFlags) -> io::Result<()> {
    let (folder, name) = open_parent(repository, path)?;
    match rustix::fs::renameat_with(rustix::fs::CWD, shadow, &folder, &name[..], how) {
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {}
        done => return Ok(done?),
    }
    // A repository on another file system: by way of a copy beside it, of a name that nothing else has.
    let token = shadow.parent().and_then(Path::file_name).unwrap_or_default();
    let beside = [b".", token.as_bytes()].concat();
    into_tree_by_copy(shadow, &folder, &beside, &name, how).inspect_err(|_| {
        // The failure itself is what is told.
        let _ = rustix::fs::unlinkat(&folder, &beside[..], AtFlags::empty());
    })
}

fn into_tree_by_copy(shadow: &Path, folder: &OwnedFd, beside: &[u8], name: &[u8], how: RenameFlags) -> io::Result<()> {
    copy(rustix::fs::CWD, shadow, folder, beside)?;
    fs::remove_file(shadow)?;
    if how == RenameFlags::EXCHANGE {
        copy(folder, name, rustix::fs::CWD, shadow)?;
    }
    let over = how.difference(RenameFlags::EXCHANGE);
    Ok(rustix::fs::renameat_with(folder, beside, folder, name, over)?)
}

/// Moves a file of the tree into the shadow.
fn out_of_tree(repository: &Repository, path: &[u8], shadow: &Path) -> io::Result<()> {
    let (folder, name) = open_parent(repository, path)?;
    match rustix::fs::renameat(&folder, &name[..], rustix::fs::CWD, shadow) {
        Err(Errno::XDEV) => {
            copy(&folder, &name[..], rustix::fs::CWD, shadow)?;
            rustix::fs::unlinkat(&folder, &name[..], AtFlags::empty())?;
        }
        moved => moved?,
    }
    remove_empty_folders(repository, path);
    Ok(())
}

/// Copies a file or a link to a name that is free.
fn copy(from: impl AsFd, name: impl Arg + Copy, to: impl AsFd, new_name: impl Arg) -> io::Result<()> {
    if let Ok(target) = rustix::fs::readlinkat(&from, name, Vec::new()) {
        return Ok(rustix::fs::symlinkat(target, to, new_name)?);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut source = fs::File::from(rustix::fs::openat(from, name, flags, Mode::empty())?);
    let mut target = create_file(to, new_name)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(source.metadata()?.permissions())
}

/// Removes the folders of a path that have nothing in them, as git does.
fn remove_empty_folders(repository: &Repository, path: &[u8]) {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    for (at, _) in ends.rev() {
        let removed = open_parent(repository, &path[..at])
            .and_then(|(folder, name)| Ok(rustix::fs::unlinkat(&folder, &name[..], AtFlags::REMOVEDIR)?));
        // One with something in it ends it, as do those above.
        if removed.is_err() {
            return;
        }
    }
}

/// Makes the folders that a path needs. Git knows no empty folder, so one that has its name goes.
fn make_way(repository: &Repository, path: &[u8]) -> io::Result<()> {
    for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let (folder, name) = open_parent(repository, &path[..at])?;
        match rustix::fs::mkdirat(&folder, &name[..], Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (folder, name) = open_parent(repository, path)?;
    match rustix::fs::unlinkat(&folder, &name[..], AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY) => Err(io::Error::other("a folder with files in it has its name")),
        // Nothing, or a file: what is moved here takes its place.
        _ => Ok(()),
    }
}

/// Writes a file, or a link, of a name that is free.
fn create(folder: impl AsFd, name: impl Arg, content: &[u8], mode: u32) -> io::Result<()> {
    if mode & KIND == LINK {
        return Ok(rustix::fs::symlinkat(content, folder, name)?);
    }
    let mut file = create_file(folder, name)?;
    file.write_all(content)?;
    let own = file.metadata()?.mode();
    let executable = if mode & 0o111 == 0 {
        own & !0o111
    } else {
        own | ((own & 0o444) >> 2)
    };
    file.set_permissions(fs::Permissions::from_mode(executable & 0o7777))
}

fn create_file(folder: impl AsFd, name: impl Arg) -> io::Result<fs::File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o666))?.into())
}

/// Brings back what a discard took, when nothing else changed there since.
pub(crate) async fn restore(repository: &Repository, token: &str) -> Result<(), Refusal> {
    let unknown = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "undo-not-found",
            "This can't be undone any more.",
        )
    };
    if token.len() != TOKEN || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let folder = repository.shadow.join("undo").join(token);
    let text = fs::read(folder.join(STEPS)).map_err(|_| unknown())?;
    let steps: Vec<Step> = serde_json::from_slice(&text).map_err(|_| unknown())?;
    // One of an earlier daemon has none.
    let staged: Vec<Staging> = fs::read(folder.join(STAGED))
        .map_or_else(|_| Ok(Vec::new()), |text| serde_json::from_slice(&text))
        .map_err(|_| unknown())?;
    for step in &steps {
        let path = step.path.to_bytes().ok_or_else(unknown)?;
        if is_back(repository, &folder, &path, &step.before).map_err(|error| failed(&error))? {
            continue;
        }
        if current_digest(repository, &path).map_err(|error| failed(&error))? != step.after {
            return Err(refused(
                "file-changed",
                format!("{} changed since, so it is left as it is.", step.path.text),
            ));
        }
    }
    let seen = Stamp::of(&repository.index());
    let staging = staged::staging_again(repository, staged).await?;
    let index = staged::new_index(repository, &staging, &seen, &folder).await?;
    for step in steps.iter().rev() {
        let path = step.path.to_bytes().ok_or_else(unknown)?;
        put_back(repository, &folder, &path, &step.before).map_err(|error| failed(&error))?;
    }
    if let Some(index) = index {
        index.commit().map_err(|error| failed(&error))?;
    }
    fs::remove_dir_all(&folder).map_err(|error| failed(&error))
}

fn put_back(repository: &Repository, kept: &Path, path: &[u8], before: &Kept) -> io::Result<()> {
    if is_back(repository, kept, path, before)? {
        return Ok(());
    }
    match before {
        Kept::Absent => {
            let (folder, name) = open_parent(repository, path)?;
            rustix::fs::unlinkat(&folder, &name[..], AtFlags::empty())?;
            remove_empty_folders(repository, path);
            Ok(())
        }
        Kept::Link { target } => {
            let link = kept.join("link");
            create(rustix::fs::CWD, &link, &target.0, LINK)?;
            make_way(repository, path)?;
            into_tree(repository, &link, path, RenameFlags::empty())
        }
        Kept::File { name } => {
            make_way(repository, path)?;
            into_tree(repository, &kept.join(name), path, RenameFlags::empty())
        }
    }
}

/// Whether it was brought back already, before the daemon was stopped in the middle.
fn is_back(repository: &Repository, kept: &Path, path: &[u8], before: &Kept) -> io::Result<bool> {
    Ok(match (before, open_current(repository, path)?) {
        (Kept::Absent, current) => matches!(current, Current::Absent),
        (Kept::Link { target }, Current::Link(current)) => current == target.0,
        (Kept::Link { .. }, _) => false,
        (Kept::File { name }, _) => fs::symlink_metadata(kept.join(name)).is_err(),
    })
}

fn digest(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

fn current_digest(repository: &Repository, path: &[u8]) -> io::Result<Option<String>> {
    Ok(match open_current(repository, path)? {
        Current::Absent => None,
        Current::Link(target) => Some(digest(&target)),
        Current::File(mut file) => {
            let mut hasher = Sha256::new();
            io::copy(&mut file, &mut hasher)?;
            Some(format!("{:x}", hasher.finalize()))
        }
    })
}

fn forget_old(repository: &Repository) {
    let Ok(entries) = fs::read_dir(repository.shadow.join("undo")) else {
        return;
    };
    let mut tokens: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    tokens.sort();
    let excess = tokens.len().saturating_sub(MAX_UNDO);
    for (_, folder) in tokens.drain(..excess) {
        // One that stays is tried again with the next discard.
        let _ = fs::remove_dir_all(folder);
    }
}

/// A name of its own for each discard. It need not be secret: whoever may undo may do more.
fn new_token() -> String {
    let now = jiff::Timestamp::now().as_nanosecond().to_le_bytes();
    let mut digest = digest(&now);
    digest.truncate(TOKEN);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(old_start: u64, old_lines: u64, new_start: u64, new_lines: u64) -> HunkRange {
        HunkRange {
            old_start,
            old_lines,
            new_start,
            new_lines,
        }
    }

    #[test]
    fn a_hunk_goes_back_alone() {
        let old = b"a\nb\nc\nd\n";
        for (new, hunk, after) in [
            (&b"A\nb\nc\nD\n"[..], range(1, 1, 1, 1), &b"a\nb\nc\nD\n"[..]),
            (b"b\nc\nD\n", range(1, 1, 0, 0), b"a\nb\nc\nD\n"),
            (b"a\nx\nb\nc\nd", range(1, 0, 2, 1), b"a\nb\nc\nd"),
            (b"a\nb\nc\nd", range(4, 1, 4, 1), b"a\nb\nc\nd\n"),
        ] {
            assert_eq!(reverted(old, new, hunk).unwrap(), after);
        }
    }

    #[test]
    fn lines_that_are_not_there_are_refused() {
        for hunk in [
            range(1, 9, 1, 1),
            range(1, 1, 9, 1),
            range(u64::MAX, u64::MAX, 1, 1),
            range(0, 1, 1, 1),
        ] {
            assert!(reverted(b"a\n", b"b\n", hunk).is_err());
        }
    }
}
