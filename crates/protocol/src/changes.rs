//! The changes of a working tree against a base: what the Changes panel shows.
//!
//! Git runs in the sandbox only; these are its answers. Paths and contents are untrusted and need
//! not be UTF-8: a path carries its bytes where its text would lose them, lines of a diff are text
//! with replacement characters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{CommentId, MessageId, SessionId, UserId};
use crate::problem::Problem;

/// The most files that one answer lists. A tree of more changes is one that nobody reviews; the
/// end of the answer says how many there are.
pub const MAX_CHANGED_FILES: usize = 20_000;
/// The longest path, in bytes: Linux's own limit.
pub const MAX_PATH: usize = 4096;
/// The most lines of a file's diff that are sent without being asked for all of it.
pub const FOLDED_LINES: usize = 5_000;
/// The same in bytes of content.
pub const FOLDED_BYTES: usize = 512 * 1024;
/// The most lines of a file's diff that are ever sent.
pub const MAX_DIFF_LINES: usize = 100_000;
/// The same in bytes of content.
pub const MAX_DIFF_BYTES: usize = 4 * 1024 * 1024;
/// The longest line of a diff, in bytes; the rest is cut off.
pub const MAX_DIFF_LINE: usize = 16 * 1024;
/// The most lines of context around a hunk.
pub const MAX_CONTEXT: u32 = 10_000;
/// The longest line of a streamed answer, in bytes.
pub const MAX_STREAM_LINE: usize = 4 * 1024 * 1024;
/// The most files that a search answers.
pub const MAX_FOUND: u32 = 200;
/// The longest search, in bytes.
pub const MAX_SEARCH: usize = 256;
/// The longest text of a comment, in bytes.
pub const MAX_COMMENT: usize = 64 * 1024;
/// The longest quoted code of a comment, in bytes.
pub const MAX_QUOTE: usize = 64 * 1024;
/// The most lines of context that a comment keeps on each side.
pub const MAX_ANCHOR_CONTEXT: usize = 8;
/// The longest of them, in bytes.
pub const MAX_ANCHOR_LINE: usize = 4 * 1024;
/// The most comments of one session.
pub const MAX_COMMENTS: u32 = 1_000;
/// The most comments that leave with one message.
pub const MAX_MESSAGE_COMMENTS: usize = 100;
/// The most "viewed" marks that are kept of one person in one session.
pub const MAX_VIEWED: u32 = 20_000;

/// A path below the repository's folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepoPath {
    /// As text; what is not UTF-8 is replaced.
    pub text: String,
    /// Its bytes in base64, when `text` is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
}

impl RepoPath {
    /// The path of these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                text: text.to_owned(),
                bytes: None,
            },
            Err(_) => Self {
                text: String::from_utf8_lossy(bytes).into_owned(),
                bytes: Some(STANDARD.encode(bytes)),
            },
        }
    }

    /// Its bytes; none when it is no path below a folder: empty, too long, absolute, with `..`, `.`
    /// or empty parts, or not base64.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let bytes = match &self.bytes {
            Some(bytes) if bytes.len() <= 2 * MAX_PATH => STANDARD.decode(bytes).ok()?,
            Some(_) => return None,
            None => self.text.clone().into_bytes(),
        };
        let plain = !bytes.is_empty() && bytes.len() <= MAX_PATH && !bytes.contains(&0);
        let mut parts = bytes.split(|byte| *byte == b'/');
        let below = parts.all(|part| !matches!(part, b"" | b"." | b".."));
        (plain && below).then_some(bytes)
    }
}

/// What the working tree is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The merge base with the default branch: everything that the branch adds, committed or not.
    #[default]
    Branch,
    /// The last commit.
    Uncommitted,
    /// The working tree as it was when the last turn began.
    LastTurn,
}

impl Scope {
    /// As it is written in a query.
    pub fn name(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Uncommitted => "uncommitted",
            Self::LastTurn => "last_turn",
        }
    }
}

/// One line of a streamed answer: one head, files in the order of their paths, and an end or a
/// failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChangesLine {
    /// What is compared.
    Head {
        /// The head.
        head: ChangesHead,
    },
    /// Some files.
    Files {
        /// The files.
        files: Vec<ChangedFile>,
    },
    /// That was all.
    End {
        /// The totals.
        totals: ChangesTotals,
    },
    /// It can't go on. What was sent is right but not everything.
    Failed {
        /// Why, and what to do.
        problem: Problem,
    },
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangesHead {
    /// The repository's folder in the sandbox; none when the working directory is in none, and then
    /// there is nothing to compare.
    pub repository: Option<String>,
    /// What was asked for.
    pub scope: Scope,
    /// The branch that is checked out; during a rebase the one that is rebased; none when detached.
    pub branch: Option<String>,
    /// The commit that is checked out; none in an empty repository.
    pub commit: Option<String>,
    /// The default branch, such as `origin/main`; none when there is none that can be told.
    pub default_branch: Option<String>,
    /// What the tree is compared with.
    pub base: Base,
    /// What the repository is in the middle of.
    pub state: RepositoryState,
}

/// What the tree is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Base {
    /// The merge base with the default branch.
    MergeBase {
        /// The commit.
        commit: String,
    },
    /// The last commit: as asked, or for want of a default branch or a merge base with it.
    Head {
        /// The commit.
        commit: String,
    },
    /// Nothing: there is no commit yet.
    Empty,
    /// The working tree when the last turn began.
    Turn {
        /// When that was.
        at: Timestamp,
    },
    /// There is nothing to compare with: no repository, or no turn has begun yet.
    None,
}

/// What a repository is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// Nothing.
    Normal,
    /// No commit is there yet.
    Empty,
    /// A commit and no branch is checked out.
    Detached,
    /// A rebase.
    Rebasing,
    /// A merge.
    Merging,
    /// Picking commits.
    CherryPicking,
    /// Reverting commits.
    Reverting,
    /// A bisection.
    Bisecting,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangedFile {
    /// Its path; for a deleted one the path that it had.
    pub path: RepoPath,
    /// The path that it had, when it was renamed or copied.
    pub old_path: Option<RepoPath>,
    /// What happened to it.
    pub status: FileStatus,
    /// Whether git does not know it: it was never added. A renamed file can be untracked too.
    pub untracked: bool,
    /// Its mode before, in octal; 0 when it was not there.
    pub old_mode: u32,
    /// Its mode; 0 when it is not there.
    pub new_mode: u32,
    /// Lines added; none when they are not counted (binary, too large, a submodule).
    pub added: Option<u64>,
    /// Lines removed; none when they are not counted.
    pub removed: Option<u64>,
    /// Whether git takes it for binary.
    pub binary: bool,
    /// Its size in bytes; none when it is not there or no file.
    pub size: Option<u64>,
    /// Whether a program wrote it: by its name and folder (lock files, bundles, vendored code), and
    /// by the `linguist-generated` and `linguist-vendored` attributes and its first lines. The latter
    /// two are looked at in the list for large changes alone, and for every file in its own diff.
    pub generated: bool,
    /// What runs it by itself, under its path or, when it was renamed, under the one that it had.
    pub self_running: Option<SelfRunning>,
    /// Stands for its content on both sides: another one means that its diff is another.
    pub fingerprint: String,
}

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// It is new, and git knows it.
    Added,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another path, and perhaps another content.
    Renamed,
    /// It is a copy of another, and perhaps changed.
    Copied,
    /// It was a file and is a link, or the other way round.
    TypeChanged,
    /// It is new, and git does not know it.
    Untracked,
    /// A repository in the repository is at another commit.
    Submodule,
    /// Only whether it can be executed changed.
    ModeChanged,
    /// It waits for somebody who resolves a conflict.
    Conflicted,
}

/// What runs a file by itself, so that its change deserves a second look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SelfRunning {
    /// Git, at a commit or checkout.
    GitHook,
    /// Git, whenever the command comes up that its configuration names a program for. Such a
    /// configuration is listed as `.git/config`, and its lines are the settings that name programs.
    GitConfig,
    /// Continuous integration.
    Ci,
    /// An editor that opens the folder.
    EditorTask,
    /// A coding agent that starts in the folder.
    AgentConfig,
    /// A package manager, at an install or build.
    PackageScript,
    /// A shell that enters the folder.
    ShellHook,
}

/// The totals of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangesTotals {
    /// Changed files, listed or not.
    pub files: u64,
    /// Lines added, as far as counted.
    pub added: u64,
    /// Lines removed, as far as counted.
    pub removed: u64,
    /// Whether only the first [`MAX_CHANGED_FILES`] are listed.
    pub truncated: bool,
    /// How many of the changed files run by themselves, listed or not.
    #[serde(default)]
    pub self_running: u64,
}

/// The diff of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDiff {
    /// The file, as the list has it; none when it is not changed (any more).
    pub file: Option<ChangedFile>,
    /// Its hunks; empty for binary files, images, pure renames and when `folded`.
    pub hunks: Vec<Hunk>,
    /// Which sides of it are images that a page can show.
    pub image: Option<ImageSides>,
    /// The commits of a submodule.
    pub submodule: Option<SubmoduleChange>,
    /// Set when it is not sent because it is large; ask for it with `full=1`.
    pub folded: Option<FoldedDiff>,
    /// Whether the end is missing, even with `full=1`.
    pub truncated: bool,
}

/// A diff that is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoldedDiff {
    /// Lines added and removed, as far as counted.
    pub lines: u64,
    /// Bytes of the diff, as far as counted.
    pub bytes: u64,
}

/// Which sides are images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageSides {
    /// The old one.
    pub old: bool,
    /// The new one.
    pub new: bool,
}

/// The commits of a submodule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubmoduleChange {
    /// The commit before; none when it is new.
    pub old: Option<String>,
    /// The commit; none when it is gone.
    pub new: Option<String>,
}

/// Some lines of a diff that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hunk {
    /// Where it is.
    pub range: HunkRange,
    /// What it is in, as far as git can tell: a function's head.
    pub section: String,
    /// Its lines.
    pub lines: Vec<DiffLine>,
}

/// Where a hunk is. Lines count from 1; a side without lines has the line before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HunkRange {
    /// First line in the old file.
    pub old_start: u64,
    /// Lines in the old file.
    pub old_lines: u64,
    /// First line in the new file.
    pub new_start: u64,
    /// Lines in the new file.
    pub new_lines: u64,
}

/// A line of a diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffLine {
    /// Whether it is there before, after, or both.
    pub kind: LineKind,
    /// Its number before.
    pub old_no: Option<u64>,
    /// Its number after.
    pub new_no: Option<u64>,
    /// Its text, without the end of line; a carriage return before it stays.
    pub text: String,
    /// Whether the file ends here without an end of line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_newline: bool,
    /// Whether `text` lost its end for its length.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// Before and after.
    Context,
    /// After.
    Added,
    /// Before.
    Removed,
}

/// One side of a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Before.
    Old,
    /// After.
    New,
}

impl Side {
    /// As it is written in a query.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

/// What to discard: a file's change, or one hunk of it. The working tree changes, and what of it is
/// staged does not stay staged: a file goes back to what the last commit has of it, and of a hunk
/// the same lines are taken back. What cannot be told apart is not staged any more either; it stays
/// in the tree. While another git holds the index nothing is done (`index-locked`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Discard {
    /// The file.
    pub path: RepoPath,
    /// What it goes back to.
    #[serde(default)]
    pub scope: Scope,
    /// The hunk, as the diff had it; the whole file otherwise.
    #[serde(default)]
    pub hunk: Option<HunkRange>,
    /// The file's fingerprint: one that changed meanwhile is left alone.
    pub fingerprint: String,
}

/// What was discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discarded {
    /// Give it to `restore` to undo it.
    pub undo: String,
}

/// What to bring back: the files, and what was staged of them, unless something else was staged
/// since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// What `discard` answered.
    pub undo: String,
}

/// A line of the stream of changes in a working tree. Blank lines keep it alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WatchLine {
    /// How the tree is watched: first, and again when that changes. What changes from here on is
    /// told, so whoever looked before looks once more.
    Watching {
        /// How.
        mode: WatchMode,
    },
    /// The tree may look different from what was read before.
    Changed,
}

/// How a working tree is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WatchMode {
    /// The kernel tells.
    Events,
    /// It has more folders than can be watched: it is looked at again and again.
    Rescan {
        /// How often, in milliseconds.
        interval_ms: u64,
    },
}

/// Files that match a search, best first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundFiles {
    /// The best ones.
    pub files: Vec<FoundFile>,
    /// How many match.
    pub total: u64,
    /// Whether there are more files than are searched.
    pub truncated: bool,
}

/// A file that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoundFile {
    /// Its path below the repository's folder, or below the working directory where there is none.
    pub path: RepoPath,
    /// Which characters of the path's text match, counted from 0.
    pub matches: Vec<u32>,
}

/// A comment on lines of a diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// The session.
    pub session_id: SessionId,
    /// Who wrote it.
    pub created_by: UserId,
    /// Where it was written.
    pub anchor: CommentAnchor,
    /// The text, in markdown.
    pub text: String,
    /// Whether it was sent.
    pub state: CommentState,
    /// The message that it left with.
    pub message_id: Option<MessageId>,
    /// Where it is in the tree as it is; none when nobody looked, as in a session that is stopped.
    pub placement: Option<Placement>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Where a comment was written, with what is needed to find the place again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentAnchor {
    /// The workspace's folder; none for a session that has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The file.
    pub path: RepoPath,
    /// The path that it had in the base, when the diff showed it as renamed or copied: where the
    /// lines of the old side are. Found out by the server when it is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<RepoPath>,
    /// Which side of the diff.
    pub side: Side,
    /// What the diff was against.
    #[serde(default)]
    pub scope: Scope,
    /// First line, counted from 1.
    pub start_line: u64,
    /// Last line.
    pub end_line: u64,
    /// These lines.
    pub quote: Vec<String>,
    /// Up to [`MAX_ANCHOR_CONTEXT`] lines before them.
    #[serde(default)]
    pub before: Vec<String>,
    /// Up to [`MAX_ANCHOR_CONTEXT`] lines after them.
    #[serde(default)]
    pub after: Vec<String>,
}

/// Whether a comment was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommentState {
    /// It leaves with a message.
    Draft,
    /// It left.
    Sent,
}

/// Where a comment's lines are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Placement {
    /// Here.
    Located {
        /// First line, counted from 1.
        start_line: u64,
        /// Last line.
        end_line: u64,
        /// The file that the lines are shown with, when it is not the anchor's: it was renamed
        /// since. For both sides it is the path that the list of changes has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<RepoPath>,
    },
    /// Not in the scope that was asked for: the comment is about the old side, and its lines are in
    /// the base of the scope that it was written in.
    OtherScope {
        /// The scope that it was written in.
        scope: Scope,
        /// First line there, counted from 1.
        start_line: u64,
        /// Last line there.
        end_line: u64,
        /// As in `located`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<RepoPath>,
    },
    /// Gone: the comment speaks about an earlier state.
    Outdated,
}

/// A comment to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewComment {
    /// Where.
    pub anchor: CommentAnchor,
    /// The text, in markdown.
    pub text: String,
}

/// A change of a comment that was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CommentPatch {
    /// The text.
    pub text: String,
}

/// That somebody has viewed a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Viewed {
    /// The file.
    pub path: RepoPath,
    /// The fingerprints of the diffs that were viewed, the latest first, with spaces between.
    pub fingerprint: String,
}

/// A mark to set or take away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkViewed {
    /// The file.
    pub path: RepoPath,
    /// The fingerprints of the diffs that were viewed, with spaces between; none takes the mark away.
    pub fingerprint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_bytes() {
        for bytes in [&b"a/b.rs"[..], b"caf\xe9/x", "ä".as_bytes()] {
            assert_eq!(RepoPath::from_bytes(bytes).to_bytes().as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_leaves_the_folder_is_no_path() {
        for wrong in ["", "/etc/passwd", "a/../b", "..", "a//b", "./a", "a/", "a\0b"] {
            assert_eq!(RepoPath::from_bytes(wrong.as_bytes()).to_bytes(), None, "{wrong:?}");
        }
        let long = "a".repeat(MAX_PATH + 1);
        assert_eq!(RepoPath::from_bytes(long.as_bytes()).to_bytes(), None);
    }
}
