//! A repository as it is found in the sandbox, and the *shadow* through which it is read.
//!
//! A repository's configuration names programs: filters, text conversion, external diffs, file
//! system monitors, hooks. They can't be switched off one by one, because their names are the
//! repository's own. So git never works on contents with that configuration. It works with a
//! folder of the daemon's, the shadow, which stands in for `.git`:
//!
//! | in the shadow | is |
//! |---|---|
//! | `config` | a few harmless settings of the repository (line ends, ignore file), and nothing else |
//! | `objects/info/alternates` | the repository's objects |
//! | `info/exclude`, `info/attributes` | links to the repository's own |
//! | `index.a` | a copy of the index, with fresh file times |
//! | `index.b` | the same with every untracked file in it, so that one diff shows all |
//! | `turns/N/objects` | what the snapshot of the last turn added |
//! | `undo/TOKEN` | what was discarded |
//!
//! Attributes of the repository keep their meaning where git itself carries it out (`text`, `eol`,
//! `binary`); those that name a driver find none. The repository's refs are never written, and its
//! index only when something is discarded that is staged ([`staged`](super::staged)).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::process::{GitError, Surrounding, collect, fields};
use super::search::Paths;

/// The most untracked files that are compared. More is a folder that somebody forgot to ignore.
pub(crate) const MAX_UNTRACKED: usize = 20_000;
/// The longest `.git` file, `HEAD` and the like, in bytes.
const MAX_SMALL_FILE: u64 = 64 * 1024;
/// The settings of a repository that are asked for. All are taken over but the folder of the hooks:
/// none of the others names a program.
const SETTINGS: &str = r"^(core\.(autocrlf|eol|excludesfile|filemode|symlinks|ignorecase|precomposeunicode|hookspath)|init\.defaultbranch|extensions\.objectformat)$";
/// Files beyond this many bytes are compared as binary: reading them whole takes memory.
pub(crate) const BIG_FILE: u64 = 32 * 1024 * 1024;
/// For how long the index with the untracked files serves requests about single files. The list
/// of changes never uses an old one.
const FRESH: Duration = Duration::from_secs(1);

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    /// The working tree's folder.
    pub(crate) top: PathBuf,
    /// Its own git folder.
    pub(crate) git_dir: PathBuf,
    /// The one that it shares with other working trees.
    pub(crate) common_dir: PathBuf,
}

impl Location {
    /// The repository that a folder is in.
    pub(crate) fn discover(cwd: &Path) -> Option<Self> {
        cwd.ancestors().find_map(Self::at)
    }

    fn at(top: &Path) -> Option<Self> {
        let dot_git = top.join(".git");
        let kind = fs::metadata(&dot_git).ok()?;
        let git_dir = if kind.is_dir() {
            dot_git
        } else {
            let text = read_small(&dot_git)?;
            top.join(path_of(text.strip_prefix(b"gitdir: ")?))
        };
        if !git_dir.join("HEAD").is_file() {
            return None;
        }
        let common_dir =
            read_small(&git_dir.join("commondir")).map_or_else(|| git_dir.clone(), |text| git_dir.join(path_of(&text)));
        Some(Self {
            top: top.to_owned(),
            git_dir,
            common_dir,
        })
    }
}

fn path_of(line: &[u8]) -> PathBuf {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    PathBuf::from(OsStr::from_bytes(line))
}

/// Reads a small file without waiting for anybody, as a pipe in its place would.
pub(crate) fn read_small(path: &Path) -> Option<Vec<u8>> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_SMALL_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Tells whether a file is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    pub(crate) fn of(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path).ok();
        Self(metadata.map(|m| (m.ino(), m.size(), m.mtime(), m.mtime_nsec())))
    }
}

/// A repository.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) location: Location,
    /// The shadow's folder.
    pub(crate) shadow: PathBuf,
    surrounding: Surrounding,
    /// One preparation at a time; what the last one found.
    prepared: Mutex<Prepared>,
    /// The last view, and the index that it was made from.
    last: std::sync::Mutex<Option<(Stamp, View)>>,
    /// Where the configuration says that hooks are, as it was read last.
    hooks: std::sync::Mutex<Option<PathBuf>>,
}

#[derive(Debug, Default)]
struct Prepared {
    config: Vec<u8>,
    /// The index that `index.a` is a copy of.
    index: Option<Stamp>,
    untracked: Untracked,
    unmerged: Arc<HashSet<Vec<u8>>>,
    at: Option<Instant>,
    /// Whether `index.b` is made from `index.a` as it is.
    filled: bool,
    /// Counts the indexes that were written.
    round: u64,
}

/// What git does not know and does not ignore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Untracked {
    /// Files, sorted, the first [`MAX_UNTRACKED`].
    pub(crate) files: Vec<Vec<u8>>,
    /// Files of more than [`BIG_FILE`], which git never sees: it would read them whole each time.
    pub(crate) big: Vec<Vec<u8>>,
    /// Repositories in the repository.
    pub(crate) nested: Vec<Vec<u8>>,
    /// How many more files there are.
    pub(crate) more: u64,
}

/// What a diff needs.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The index with every untracked file.
    pub(crate) index: PathBuf,
    pub(crate) untracked: Untracked,
    /// Paths with a conflict.
    pub(crate) unmerged: Arc<HashSet<Vec<u8>>>,
    /// Views of the same round have the same index.
    pub(crate) round: u64,
}

/// What the diff of one file needs. Its index goes with it.
#[derive(Debug)]
pub(crate) struct SmallView {
    pub(crate) index: PathBuf,
    pub(crate) untracked: HashSet<Vec<u8>>,
    pub(crate) unmerged: HashSet<Vec<u8>>,
    /// Whether the file is too large for git.
    pub(crate) big: bool,
}

impl SmallView {
    fn new(shadow: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("index.one.{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self {
            index: shadow.join(name),
            untracked: HashSet::new(),
            unmerged: HashSet::new(),
            big: false,
        }
    }
}

impl Drop for SmallView {
    fn drop(&mut self) {
        // One that stays is written over after the next start.
        let _ = fs::remove_file(&self.index);
    }
}

/// What an index says about a path: the part before the tab.
fn entry_of<'a>(field: &'a [u8], path: &[u8]) -> Option<&'a [u8]> {
    let tab = field.iter().position(|byte| *byte == b'\t')?;
    (&field[tab + 1..] == path).then_some(&field[..tab])
}

impl Repository {
    pub(crate) fn new(location: Location, state_dir: &Path, surrounding: Surrounding) -> Self {
        let digest = Sha256::digest(location.git_dir.as_os_str().as_bytes());
        let name = format!("{digest:x}");
        Self {
            shadow: state_dir.join("git").join(&name[..32]),
            location,
            surrounding,
            prepared: Mutex::default(),
            last: std::sync::Mutex::default(),
            hooks: std::sync::Mutex::default(),
        }
    }

    /// Git that reads the repository's refs and configuration.
    pub(crate) fn on_refs(&self) -> Command {
        let mut command = self.surrounding.command(&self.location.git_dir);
        command.current_dir(&self.location.top);
        command
    }

    /// Git that reads contents, through the shadow.
    pub(crate) fn on_contents(&self, index: &Path) -> Command {
        let mut command = self.surrounding.command(&self.shadow);
        command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_WORK_TREE", &self.location.top)
            .env("GIT_INDEX_FILE", index)
            .current_dir(&self.location.top);
        let shallow = self.location.common_dir.join("shallow");
        if shallow.is_file() {
            command.env("GIT_SHALLOW_FILE", shallow);
        }
        if let Some(objects) = self.turn_objects() {
            command.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
        }
        command
    }

    /// Git that reads and writes the repository's objects, and sees no others.
    pub(crate) fn on_own_objects(&self) -> Command {
        let mut command = self.on_contents(&self.index_a());
        command
            .env("GIT_OBJECT_DIRECTORY", self.location.common_dir.join("objects"))
            .env_remove("GIT_ALTERNATE_OBJECT_DIRECTORIES");
        command
    }

    /// The objects that the snapshot of the last turn added.
    fn turn_objects(&self) -> Option<PathBuf> {
        super::snapshot::Turn::read(self).map(|turn| turn.objects(self))
    }

    /// The repository's own index.
    pub(crate) fn index(&self) -> PathBuf {
        self.location.git_dir.join("index")
    }

    /// Where a copy of the index is; for commands that read the paths that git knows.
    pub(crate) fn index_a(&self) -> PathBuf {
        self.shadow.join("index.a")
    }

    /// Where git looks for hooks, as the configuration said when it was read last.
    pub(crate) fn hooks_folder(&self) -> PathBuf {
        self.configured_hooks()
            .unwrap_or_else(|| self.location.common_dir.join("hooks"))
    }

    /// The same, where the configuration says it.
    pub(crate) fn configured_hooks(&self) -> Option<PathBuf> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the configuration again.
    async fn reconfigure(&self) -> Result<(), GitError> {
        let mut prepared = self.prepared.lock().await;
        self.shape(&mut prepared).await
    }

    /// The same, unless somebody looks at the whole tree just now, which may take long and begins with it.
    pub(crate) async fn reconfigure_unless_busy(&self) -> Result<(), GitError> {
        match self.prepared.try_lock() {
            Ok(mut prepared) => self.shape(&mut prepared).await,
            Err(_) if self.is_shaped() => Ok(()),
            Err(_) => self.reconfigure().await,
        }
    }

    fn is_shaped(&self) -> bool {
        self.shadow.join("config").is_file()
    }

    /// Brings the shadow up to date with the tree.
    pub(crate) async fn view(&self) -> Result<View, GitError> {
        let mut prepared = self.prepared.lock().await;
        self.prepare(&mut prepared).await
    }

    /// The same, unless that was done just now.
    pub(crate) async fn recent_view(&self) -> Result<View, GitError> {
        let mut prepared = self.prepared.lock().await;
        let index = Stamp::of(&self.index());
        if prepared.at.is_some_and(|at| at.elapsed() < FRESH) && prepared.index == Some(index) {
            return Ok(View {
                index: self.index_b(&prepared.untracked),
                untracked: prepared.untracked.clone(),
                unmerged: prepared.unmerged.clone(),
                round: prepared.round,
            });
        }
        self.prepare(&mut prepared).await
    }

    /// The last view, when the index is still the one that it was made from. Most often the next
    /// one is the same, and what was begun with this one need not be begun again.
    pub(crate) fn likely_view(&self) -> Option<View> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (stamp, view) = last.as_ref()?;
        (*stamp == Stamp::of(&self.index())).then(|| view.clone())
    }

    /// An index of a few paths alone, for the diff of one file: fast in a tree of any size, as new as
    /// the file, and without waiting for anybody who looks at the whole tree. After a reading of the
    /// configuration.
    pub(crate) async fn view_of(&self, paths: &[&[u8]]) -> Result<SmallView, GitError> {
        let mut ask = self.on_index()?;
        ask.args(["ls-files", "--stage", "-z", "--"])
            .args(paths.iter().map(|path| os(path)));
        let output = collect(ask, None).await?;
        let mut small = SmallView::new(&self.shadow);
        let mut input = Vec::new();
        for path in paths {
            let entry = fields(&output).find_map(|field| entry_of(field, path));
            match entry {
                // `mode object stage`
                Some(entry) => {
                    let mode = entry.split(|byte| *byte == b' ').next().unwrap_or_default();
                    let object = entry.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
                    if !entry.ends_with(b" 0") {
                        small.unmerged.insert(path.to_vec());
                    }
                    input.extend([mode, b" ", object].concat());
                }
                None if self.is_big(path) => {
                    small.big = true;
                    continue;
                }
                None if fs::symlink_metadata(self.location.top.join(os(path))).is_ok_and(|found| !found.is_dir()) => {
                    small.untracked.insert(path.to_vec());
                    input.extend_from_slice(format!("100644 {}", self.empty_blob()).as_bytes());
                }
                None => continue,
            }
            input.push(b'\t');
            input.extend_from_slice(path);
            input.push(0);
        }
        let mut fill = self.on_contents(&small.index);
        fill.args(["update-index", "-z", "--index-info"]);
        collect(fill, Some(input)).await?;
        Ok(small)
    }

    async fn prepare(&self, prepared: &mut Prepared) -> Result<View, GitError> {
        self.shape(prepared).await?;
        self.copy_index(prepared).await?;
        let untracked = self.list_untracked().await?;
        let index = self.index_b(&untracked);
        if !prepared.filled || untracked.files != prepared.untracked.files {
            prepared.filled = false;
            prepared.round += 1;
            if !untracked.files.is_empty() {
                self.fill(&untracked, &index).await?;
            }
        }
        prepared.filled = true;
        prepared.untracked = untracked.clone();
        prepared.at = Some(Instant::now());
        let view = View {
            index,
            untracked,
            unmerged: prepared.unmerged.clone(),
            round: prepared.round,
        };
        let last = prepared.index.clone().map(|stamp| (stamp, view.clone()));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        Ok(view)
    }

    fn index_b(&self, untracked: &Untracked) -> PathBuf {
        if untracked.files.is_empty() {
            self.index_a()
        } else {
            self.shadow.join("index.b")
        }
    }

    /// Makes the shadow's folders and its configuration.
    async fn shape(&self, prepared: &mut Prepared) -> Result<(), GitError> {
        let mut ask = self.on_refs();
        ask.args(["config", "-z", "--get-regexp", SETTINGS]);
        // Without any such setting git ends with 1.
        let settings = collect(ask, None).await.unwrap_or_default();
        let hooks = configured_hooks(&settings).map(|value| match value.strip_prefix("~/") {
            Ok(rest) => self.surrounding.home().join(rest),
            Err(_) => self.location.top.join(value),
        });
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = hooks;
        let config = config(&settings);
        if prepared.config == config {
            return Ok(());
        }
        let (shadow, location) = (&self.shadow, &self.location);
        for folder in ["objects/info", "info", "refs", "turns", "undo"] {
            fs::create_dir_all(shadow.join(folder))?;
        }
        replace(&shadow.join("HEAD"), b"ref: refs/heads/none\n")?;
        let objects = location.common_dir.join("objects");
        let objects = fs::canonicalize(&objects).unwrap_or(objects);
        replace(&shadow.join("objects/info/alternates"), &quoted_line(&objects))?;
        for name in ["info/exclude", "info/attributes"] {
            link(&location.common_dir.join(name), &shadow.join(name))?;
        }
        replace(&shadow.join("config"), &config)?;
        prepared.config = config;
        prepared.index = None;
        Ok(())
    }

    /// Copies the index when it is another one, and looks at every file that it claims to know.
    async fn copy_index(&self, prepared: &mut Prepared) -> Result<(), GitError> {
        let source = self.index();
        let stamp = Stamp::of(&source);
        if prepared.index.as_ref() == Some(&stamp) {
            return Ok(());
        }
        prepared.index = None;
        prepared.filled = false;
        self.link_shared_indexes()?;
        let target = self.index_a();
        copy_index(&source, &target)?;
        // A file that is marked as unchanged is looked at all the same: a mark hides no change.
        let mut refresh = self.on_contents(&target);
        refresh.args(["update-index", "-q", "--really-refresh"]);
        match collect(refresh, None).await {
            // It says so when files differ, which is no failure.
            Ok(_) | Err(GitError::Failed(_)) => {}
            Err(error) => return Err(error),
        }
        prepared.unmerged = Arc::new(self.list_unmerged().await.map_err(|error| match error {
            // A person knows the index that this one is a copy of.
            GitError::Failed(words) => {
                GitError::Failed(words.replace(&*target.to_string_lossy(), &source.to_string_lossy()))
            }
            other => other,
        })?);
        prepared.index = Some(stamp);
        Ok(())
    }

    async fn list_unmerged(&self) -> Result<HashSet<Vec<u8>>, GitError> {
        let mut list = self.on_contents(&self.index_a());
        list.args(["ls-files", "--unmerged", "-z"]);
        let output = collect(list, None).await?;
        // `mode object stage`, a tab, the path.
        let path = |field: &[u8]| Some(field[field.iter().position(|byte| *byte == b'\t')? + 1..].to_vec());
        Ok(fields(&output).filter_map(path).collect())
    }

    /// Every file that git knows or does not ignore, sorted.
    pub(crate) async fn paths(&self) -> Result<Paths, GitError> {
        let tracked = self.names(&[]);
        let others = self.names(&["--others", "--exclude-standard"]);
        let (tracked, others) = tokio::try_join!(tracked, others)?;
        // A repository in the repository is a folder.
        let files = fields(&others).filter(|path| !path.ends_with(b"/"));
        let mut all: Vec<&[u8]> = fields(&tracked).chain(files).collect();
        all.sort_unstable();
        Ok(Paths::collect(all.into_iter()))
    }

    /// Every file that git knows, sorted.
    pub(crate) async fn tracked_paths(&self) -> Result<Paths, GitError> {
        Ok(Paths::collect(fields(&self.names(&[]).await?)))
    }

    /// Names of files, without a look at the files, and without waiting for anybody who does.
    async fn names(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        if !self.is_shaped() {
            self.reconfigure().await?;
        }
        let mut list = self.on_index()?;
        list.arg("ls-files").args(arguments).arg("-z");
        collect(list, None).await
    }

    /// Git that reads the repository's own index, for commands that only read it.
    pub(crate) fn on_index(&self) -> io::Result<Command> {
        self.link_shared_indexes()?;
        Ok(self.on_contents(&self.index()))
    }

    /// A split index names the rest of it by a file beside it.
    fn link_shared_indexes(&self) -> io::Result<()> {
        const MAX_SHARED: usize = 16;
        let entries = fs::read_dir(&self.location.git_dir)?.flatten();
        let shared = entries.filter(|entry| entry.file_name().as_bytes().starts_with(b"sharedindex."));
        for entry in shared.take(MAX_SHARED) {
            link(&entry.path(), &self.shadow.join(entry.file_name()))?;
        }
        Ok(())
    }

    async fn list_untracked(&self) -> Result<Untracked, GitError> {
        let mut list = self.on_contents(&self.index_a());
        list.args(["ls-files", "--others", "--exclude-standard", "-z"]);
        let output = collect(list, None).await?;
        let mut untracked = Untracked::default();
        for path in fields(&output) {
            match path.strip_suffix(b"/") {
                Some(folder) => untracked.nested.push(folder.to_vec()),
                None if self.is_big(path) => untracked.big.push(path.to_vec()),
                None if untracked.files.len() < MAX_UNTRACKED => untracked.files.push(path.to_vec()),
                None => untracked.more += 1,
            }
        }
        untracked.files.sort_unstable();
        Ok(untracked)
    }

    fn is_big(&self, path: &[u8]) -> bool {
        let metadata = fs::symlink_metadata(self.location.top.join(os(path)));
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.size() > BIG_FILE)
    }

    /// Writes an index that claims to know the untracked files. Their entries have no file times,
    /// so git looks at the files themselves.
    async fn fill(&self, untracked: &Untracked, index: &Path) -> Result<(), GitError> {
        let half = self.shadow.join("index.half");
        copy_index(&self.index_a(), &half)?;
        let empty = self.empty_blob();
        let mut input = Vec::new();
        for path in &untracked.files {
            input.extend_from_slice(format!("100644 {empty}\t").as_bytes());
            input.extend_from_slice(path);
            input.push(0);
        }
        let mut fill = self.on_contents(&half);
        fill.args(["update-index", "-z", "--index-info"]);
        collect(fill, Some(input)).await?;
        Ok(fs::rename(&half, index)?)
    }

    /// Whether objects have names of 64 digits.
    pub(crate) fn is_sha256(&self) -> bool {
        fs::read(self.shadow.join("config")).is_ok_and(|config| {
            String::from_utf8_lossy(&config)
                .to_ascii_lowercase()
                .contains("objectformat = \"sha256\"")
        })
    }

    fn empty_blob(&self) -> &'static str {
        if self.is_sha256() {
            "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"
        } else {
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        }
    }

    /// The tree without files. Git knows it without having it.
    pub(crate) fn empty_tree(&self) -> &'static str {
        if self.is_sha256() {
            "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
        } else {
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        }
    }
}

const HOOKS: &[u8] = b"core.hookspath\n";

/// Where a repository's own settings say that hooks are. The last one is what keeps git here from
/// running any.
fn configured_hooks(settings: &[u8]) -> Option<&Path> {
    let mut values = fields(settings).filter_map(|setting| setting.strip_prefix(HOOKS));
    values.next_back()?;
    values
        .next_back()
        .filter(|value| !value.is_empty())
        .map(|value| Path::new(OsStr::from_bytes(value)))
}

/// The shadow's configuration: what is taken over and what is always so.
fn config(settings: &[u8]) -> Vec<u8> {
    let mut text = Vec::from(&b"[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tpreloadIndex = true\n\tquotePath = false\n\tattributesFile = /dev/null\n\tlogAllRefUpdates = false\n"[..]);
    // With it git looks whether files are there that the index calls absent; without it an index
    // could hide them.
    text.extend_from_slice(b"\tsparseCheckout = true\n");
    text.extend_from_slice(
        format!("\tbigFileThreshold = {BIG_FILE}\n[index]\n\tskipHash = true\n[diff]\n\trenameLimit = 400\n")
            .as_bytes(),
    );
    for setting in fields(settings).filter(|setting| !setting.starts_with(HOOKS)) {
        let (key, value) = match setting.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&setting[..at], &setting[at + 1..]),
            None => (setting, &b"true"[..]),
        };
        let key = String::from_utf8_lossy(key);
        let Some((section, name)) = key.split_once('.') else {
            continue;
        };
        text.extend_from_slice(format!("[{section}]\n\t{name} = \"").as_bytes());
        for byte in value {
            match byte {
                b'"' | b'\\' => text.extend_from_slice(&[b'\\', *byte]),
                b'\n' => text.extend_from_slice(b"\\n"),
                _ => text.push(*byte),
            }
        }
        text.extend_from_slice(b"\"\n");
    }
    text
}

/// A path as a line of `alternates`: quoted when it would not be one line.
fn quoted_line(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let mut line = if bytes.iter().any(|byte| byte.is_ascii_control() || *byte == b'"') {
        super::patch::quoted(b"", bytes)
    } else {
        bytes.to_vec()
    };
    line.push(b'\n');
    line
}

/// Replaces a file in one step.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut half = OsString::from(path);
    half.push(".half");
    fs::write(&half, content)?;
    fs::rename(&half, path)
}

/// Copies an index, or removes the copy of one that is not there any more. The copy is as old as the
/// index: git looks into files that are not older than their index, because such a file may have
/// changed in the moment after it was listed and have the same size and time. A copy that seems
/// newer would hide that change (`Documentation/technical/racy-git.txt`).
pub(crate) fn copy_index(source: &Path, target: &Path) -> io::Result<()> {
    match fs::File::open(source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => remove(target),
        index => copy_with_time(&mut index?, &mut fs::File::create(target)?),
    }
}

/// Copies what an index says, and its time.
pub(crate) fn copy_with_time(source: &mut fs::File, target: &mut fs::File) -> io::Result<()> {
    let written = source.metadata()?.modified()?;
    io::copy(source, target)?;
    target.set_modified(written)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn link(target: &Path, link: &Path) -> io::Result<()> {
    // One that is right is not missing for a moment: somebody may be reading through it.
    if fs::read_link(link).is_ok_and(|known| known == target) {
        return Ok(());
    }
    remove(link)?;
    std::os::unix::fs::symlink(target, link)
}

/// A path below the repository's folder, for a command line.
pub(crate) fn os(path: &[u8]) -> OsString {
    OsString::from_vec(path.to_vec())
}
