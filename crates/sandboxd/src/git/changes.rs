//! The list of changed files, as git finds them.
//!
//! One `git diff` makes the list, the counts and the fingerprints: it names every file first, and
//! its patch without context follows. A file leaves as soon as its patch was seen.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use futures::Stream;
use mistle_protocol::changes::{
    ChangedFile, ChangesTotals, FileStatus, LineKind, MAX_CHANGED_FILES, RepoPath, SelfRunning,
};
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use super::attributes::Judge;
use super::base::Compared;
use super::classify::{is_generated, self_running};
use super::patch::{Event, Raw, Reader};
use super::process::{GitError, Running};
use super::repository::{Repository, SmallView, View, os};

/// Letters of a content's name that stand for it.
const FINGERPRINT: usize = 24;
/// The modes of a repository in the repository and of a link, and the bits that tell kinds of files
/// apart.
const GITLINK: u32 = 0o160_000;
const LINK: u32 = 0o120_000;
const KIND: u32 = 0o170_000;

/// What is asked of a diff.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) ignore_whitespace: bool,
    pub(crate) context: u32,
}

/// `git diff` against a base, with an empty list of paths.
pub(crate) fn diff(repository: &Repository, index: &Path, base: &str, asked: Asked) -> Command {
    let mut command = repository.on_contents(index);
    command
        .args(["diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative"])
        .args(["--src-prefix=a/", "--dst-prefix=b/", "--full-index", "--no-abbrev"])
        // A look into a submodule would run git there, with the submodule's own configuration.
        .args([
            "--ignore-submodules=dirty",
            "--submodule=short",
            "--find-copies",
            "-l400",
        ])
        .args(["--diff-algorithm=histogram", "--raw", "--patch", "-z"])
        .arg(format!("--unified={}", asked.context));
    if asked.ignore_whitespace {
        command.arg("--ignore-all-space");
    }
    command.arg(base).arg("--");
    command
}

/// A file whose patch is being read.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) raw: Raw,
    pub(crate) patched: bool,
    pub(crate) binary: bool,
    pub(crate) added: u64,
    pub(crate) removed: u64,
}

impl Draft {
    fn new(raw: Raw) -> Self {
        Self {
            raw,
            patched: false,
            binary: false,
            added: 0,
            removed: 0,
        }
    }

    /// Takes in what its patch says.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::File(_) => self.patched = true,
            Event::Index { old, new } => {
                if is_null(&self.raw.old_oid) {
                    self.raw.old_oid.clone_from(old);
                }
                if is_null(&self.raw.new_oid) || self.raw.status == b'T' {
                    self.raw.new_oid.clone_from(new);
                }
            }
            Event::Binary => self.binary = true,
            Event::Line { kind, .. } => match kind {
                LineKind::Added => self.added += 1,
                LineKind::Removed => self.removed += 1,
                LineKind::Context => {}
            },
            _ => {}
        }
    }

    fn is_submodule(&self) -> bool {
        self.raw.old_mode & KIND == GITLINK || self.raw.new_mode & KIND == GITLINK
    }

    fn status(&self, untracked: bool, conflicted: bool) -> FileStatus {
        let raw = &self.raw;
        match raw.status {
            _ if conflicted || raw.status == b'U' => FileStatus::Conflicted,
            _ if self.is_submodule() => FileStatus::Submodule,
            b'A' if untracked => FileStatus::Untracked,
            b'A' => FileStatus::Added,
            b'D' => FileStatus::Deleted,
            b'R' => FileStatus::Renamed,
            b'C' => FileStatus::Copied,
            b'T' => FileStatus::TypeChanged,
            _ if raw.old_mode != raw.new_mode && !self.binary && self.added + self.removed == 0 => {
                FileStatus::ModeChanged
            }
            _ => FileStatus::Modified,
        }
    }

    /// What runs it under its name, or ran it under the one that it had.
    fn self_running(&self, repository: &Repository) -> Option<SelfRunning> {
        let raw = &self.raw;
        let stands_for_folder = |mode: u32| matches!(mode & KIND, GITLINK | LINK);
        let of = |path: &[u8], mode: u32| {
            let hook = || super::hooks::has(repository, path).then_some(SelfRunning::GitHook);
            self_running(path, stands_for_folder(mode)).or_else(hook)
        };
        let is_other = raw.old != raw.new || stands_for_folder(raw.old_mode) != stands_for_folder(raw.new_mode);
        let left = || (is_other && raw.status != b'C').then(|| of(&raw.old, raw.old_mode));
        of(&raw.new, raw.new_mode).or_else(|| left().flatten())
    }

    /// The file; none when only white space changed and that does not count.
    pub(crate) fn finish(self, repository: &Repository, known: &Known, ignore_whitespace: bool) -> Option<ChangedFile> {
        let untracked = known.untracked.contains(&self.raw.new);
        let status = self.status(untracked, known.unmerged.contains(&self.raw.new));
        if ignore_whitespace && status == FileStatus::Modified && !self.patched {
            return None;
        }
        let raw = &self.raw;
        let metadata = fs::symlink_metadata(repository.location.top.join(os(&raw.new))).ok();
        let counted = !self.binary && !self.is_submodule();
        let named = |oid: &str| oid[..oid.len().min(FINGERPRINT)].to_owned();
        // Without a line that names it, its content is the one that it had.
        let is_same = is_null(&raw.new_oid) && raw.new_mode != 0;
        let new_oid = if is_same { &raw.old_oid } else { &raw.new_oid };
        Some(ChangedFile {
            path: RepoPath::from_bytes(&raw.new),
            old_path: (raw.old != raw.new).then(|| RepoPath::from_bytes(&raw.old)),
            status,
            untracked,
            old_mode: raw.old_mode,
            new_mode: raw.new_mode,
            added: counted.then_some(self.added),
            removed: counted.then_some(self.removed),
            binary: self.binary,
            size: metadata
                .filter(fs::Metadata::is_file)
                .map(|metadata| MetadataExt::size(&metadata)),
            generated: is_generated(&raw.new),
            self_running: self.self_running(repository),
            // Both sides: seen against one base is not seen against another.
            fingerprint: format!("{:o}-{}-{}", raw.new_mode, named(new_oid), named(&raw.old_oid)),
        })
    }
}

fn is_null(oid: &str) -> bool {
    oid.bytes().all(|byte| byte == b'0')
}

/// What the index says about paths.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Those that it does not have.
    untracked: HashSet<Vec<u8>>,
    /// Those with a conflict.
    unmerged: Arc<HashSet<Vec<u8>>>,
}

impl Known {
    pub(crate) fn of(view: &View) -> Self {
        Self {
            untracked: view.untracked.files.iter().cloned().collect(),
            unmerged: view.unmerged.clone(),
        }
    }

    pub(crate) fn of_one(view: &SmallView) -> Self {
        Self {
            untracked: view.untracked.clone(),
            unmerged: Arc::new(view.unmerged.clone()),
        }
    }
}

/// Pairs entries with their patches.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    waiting: VecDeque<Draft>,
    current: Option<Draft>,
}

impl Pairing {
    /// Takes in an event; answers the files that are complete with it.
    pub(crate) fn hear(&mut self, event: &Event) -> Vec<Draft> {
        match event {
            Event::Raw(raw) => {
                // A conflict may be named apart from what is in the tree.
                if self
                    .waiting
                    .back()
                    .is_some_and(|last| last.raw.status == b'U' && last.raw.new == raw.new)
                {
                    self.waiting.pop_back();
                }
                self.waiting.push_back(Draft::new(raw.clone()));
                Vec::new()
            }
            Event::File(header) => {
                let mut complete = Vec::new();
                if self
                    .current
                    .as_ref()
                    .is_none_or(|current| current.raw.header() != *header)
                {
                    complete.extend(self.current.take());
                    // Entries before it have no patch. One that is not found belongs to none.
                    if let Some(place) = self.waiting.iter().position(|draft| draft.raw.header() == *header) {
                        complete.extend(self.waiting.drain(..place));
                        self.current = self.waiting.pop_front();
                    }
                }
                if let Some(current) = &mut self.current {
                    current.hear(event);
                }
                complete
            }
            _ => {
                if let Some(current) = &mut self.current {
                    current.hear(event);
                }
                Vec::new()
            }
        }
    }

    /// What is left at the end.
    pub(crate) fn end(&mut self) -> Vec<Draft> {
        self.current.take().into_iter().chain(self.waiting.drain(..)).collect()
    }

    /// The file that is being read.
    pub(crate) fn current(&self) -> Option<&Draft> {
        self.current.as_ref()
    }
}

/// A piece of the list.
#[derive(Debug)]
pub(crate) enum Piece {
    Files(Vec<ChangedFile>),
    End(ChangesTotals),
}

/// The changed files, in the order of their paths. `viewing` brings the shadow up to date, and has
/// begun already.
pub(crate) fn list(
    repository: Arc<Repository>,
    compared: Compared,
    viewing: impl Future<Output = Result<View, GitError>> + Send,
    ignore_whitespace: bool,
) -> impl Stream<Item = Result<Piece, GitError>> + Send {
    async_stream::try_stream! {
        let mut totals = ChangesTotals::default();
        let Some(base) = compared.treeish(&repository) else {
            viewing.await?;
            yield Piece::End(totals);
            return;
        };
        let asked = Asked { ignore_whitespace, context: 0 };
        let start = |view: &View| Running::start(diff(&repository, &view.index, &base, asked), None);
        let mut programs = AbortOnDropHandle::new(tokio::spawn({
            let repository = repository.clone();
            async move { super::programs::named(&repository).await }
        }));
        // Beside the look for files that git does not know, which takes about as long.
        let early = repository.likely_view().map(|view| (view.round, start(&view)));
        let view = viewing.await?;
        let unchanged = compared.turn.as_ref().map_or_else(BTreeSet::new, |turn| turn.unchanged(&repository));
        let known = Known::of(&view);
        let mut running = match early {
            Some((round, running)) if round == view.round => running?,
            _ => start(&view)?,
        };
        let mut reader = Reader::default();
        let mut pairing = Pairing::default();
        let mut judge = Judge::default();
        let mut ended = false;
        while !ended {
            if let Some(bytes) = running.next().await? {
                reader.push(&bytes);
            } else {
                reader.end();
                ended = true;
            }
            let mut files = Vec::new();
            while let Some(event) = reader.next().map_err(unreadable)? {
                let complete = pairing.hear(&event);
                take(&repository, &known, &unchanged, ignore_whitespace, complete, &mut files, &mut totals);
            }
            if ended {
                take(&repository, &known, &unchanged, ignore_whitespace, pairing.end(), &mut files, &mut totals);
                let big = view.untracked.big.iter().filter(|path| !unchanged.contains(*path));
                let apart = big.map(|path| big_file(&repository, path)).chain(view.untracked.nested.iter().map(|path| nested(path)));
                let hooks = super::hooks::list(&repository, &compared).await?;
                let programs = (&mut programs).await.map_err(|error| GitError::Io(std::io::Error::other(error)))??;
                let programs = super::programs::diff(&compared, &programs).and_then(|diff| diff.file);
                for file in apart.chain(hooks).chain(programs).take(MAX_CHANGED_FILES) {
                    totals.files += 1;
                    totals.self_running += u64::from(file.self_running.is_some());
                    files.push(file);
                }
            }
            if !files.is_empty() {
                judge.large(&repository, &view.index, &mut files).await;
                yield Piece::Files(files);
            }
        }
        totals.files += view.untracked.more;
        totals.truncated |= view.untracked.more > 0;
        yield Piece::End(totals);
    }
}

pub(crate) fn unreadable(error: super::patch::Unreadable) -> GitError {
    GitError::Failed(error.to_string())
}

fn take(
    repository: &Repository,
    known: &Known,
    unchanged: &BTreeSet<Vec<u8>>,
    ignore_whitespace: bool,
    drafts: Vec<Draft>,
    files: &mut Vec<ChangedFile>,
    totals: &mut ChangesTotals,
) {
    for draft in drafts {
        if unchanged.contains(&draft.raw.new) {
            continue;
        }
        let Some(file) = draft.finish(repository, known, ignore_whitespace) else {
            continue;
        };
        totals.files += 1;
        totals.added += file.added.unwrap_or_default();
        totals.removed += file.removed.unwrap_or_default();
        totals.self_running += u64::from(file.self_running.is_some());
        if totals.files <= MAX_CHANGED_FILES as u64 {
            files.push(file);
        } else {
            totals.truncated = true;
        }
    }
}

/// A file that git does not know and that is too large for it.
pub(crate) fn big_file(repository: &Repository, path: &[u8]) -> ChangedFile {
    let metadata = fs::symlink_metadata(repository.location.top.join(os(path))).ok();
    let stamp = metadata
        .as_ref()
        .map_or((0, 0, 0), |m| (m.size(), m.mtime(), m.mtime_nsec()));
    ChangedFile {
        status: FileStatus::Untracked,
        new_mode: metadata.as_ref().map_or(0, MetadataExt::mode),
        binary: true,
        size: metadata.map(|metadata| metadata.size()),
        generated: is_generated(path),
        self_running: self_running(path, false),
        fingerprint: format!("{:x}-{:x}-{:x}", stamp.0, stamp.1, stamp.2),
        ..nested(path)
    }
}

/// A repository in the repository that git does not know.
fn nested(path: &[u8]) -> ChangedFile {
    ChangedFile {
        path: RepoPath::from_bytes(path),
        old_path: None,
        status: FileStatus::Submodule,
        untracked: true,
        old_mode: 0,
        new_mode: GITLINK,
        added: None,
        removed: None,
        binary: false,
        size: None,
        generated: false,
        self_running: self_running(path, true),
        fingerprint: "nested".to_owned(),
    }
}
