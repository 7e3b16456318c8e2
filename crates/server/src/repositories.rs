//! What can be said about a repository without running git.
//!
//! A repository is somebody else's input: its configuration can name programs that git runs. So the
//! server reads a few plain files of it and nothing more; git itself runs in the sandbox.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use mistle_protocol::api::RepositoryCheck;
use mistle_protocol::profile::Repository;
use url::Url;

/// The most branches that are listed.
const MAX_BRANCHES: usize = 1000;
/// The most entries of `refs/heads` that are looked at, folders included.
const MAX_ENTRIES: usize = 10_000;
/// The most of `packed-refs` that is read.
const MAX_PACKED_REFS: u64 = 16 * 1024 * 1024;
/// How much earlier than the clock a file's time may be: the kernel counts that in ticks.
const CLOCK_TICK: Duration = Duration::from_millis(10);
/// The longest source.
const MAX_SOURCE: usize = 2048;
/// The longest branch name.
const MAX_BRANCH: usize = 255;

/// Why a repository can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RepositoryError {
    /// Neither a clone URL nor an absolute path.
    #[error("Give an `https://` clone URL, or an absolute path on the server's disk.")]
    Source,
    /// The URL holds a name or password.
    #[error("A clone URL must not hold a user name or password: everything in the sandbox could read it.")]
    Credentials,
    /// Nothing there.
    #[error("There is no folder {path} on the server's disk.")]
    NotFound {
        /// As it was given.
        path: String,
    },
    /// A working tree whose git data is elsewhere.
    #[error(
        "{path} is a linked worktree or a submodule: its git data is in {git}, outside of it. Name the repository that has it, and this one's branch."
    )]
    Linked {
        /// As it was given.
        path: String,
        /// Where its `.git` points.
        git: String,
    },
    /// Something there, and no repository.
    #[error("{path} is not a git repository. Run `git init` in it, or name another folder.")]
    NotARepository {
        /// As it was given.
        path: String,
    },
    /// In the server's own data.
    #[error("{path} belongs to the server's own data.")]
    Private {
        /// As it was given.
        path: String,
    },
    /// No such branch.
    #[error("There is no branch {branch} in this repository.")]
    NoBranch {
        /// As it was given.
        branch: String,
    },
}

impl RepositoryError {
    /// Stable name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source => "repository-source-invalid",
            Self::Credentials => "repository-credentials",
            Self::NotFound { .. } => "repository-not-found",
            Self::Linked { .. } => "repository-linked",
            Self::NotARepository { .. } => "repository-not-git",
            Self::Private { .. } => "repository-private",
            Self::NoBranch { .. } => "branch-not-found",
        }
    }
}

/// Looks at a repository. Blocks: it reads files.
pub fn check(repository: &Repository, data_dir: &Path) -> Result<RepositoryCheck, RepositoryError> {
    check_source(repository)?;
    if repository.source.starts_with('/') {
        check_path(repository, data_dir)
    } else {
        check_url(repository)
    }
}

/// Whether it could be a repository, without looking for it.
pub fn check_source(repository: &Repository) -> Result<(), RepositoryError> {
    let source = repository.source.as_str();
    if source.len() > MAX_SOURCE || source.chars().any(char::is_control) {
        return Err(RepositoryError::Source);
    }
    if repository.branch.as_ref().is_some_and(|branch| !is_branch(branch)) {
        return Err(RepositoryError::NoBranch {
            branch: repository.branch.clone().unwrap_or_default(),
        });
    }
    if source.starts_with('/') {
        Ok(())
    } else {
        check_url(repository).map(drop)
    }
}

fn check_url(repository: &Repository) -> Result<RepositoryCheck, RepositoryError> {
    let url = Url::parse(&repository.source).map_err(|_| RepositoryError::Source)?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() || url.path().len() < 2 {
        return Err(RepositoryError::Source);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RepositoryError::Credentials);
    }
    let last = url
        .path_segments()
        .and_then(|segments| segments.rev().find(|segment| !segment.is_empty()));
    Ok(RepositoryCheck {
        name: folder_name(repository, last.unwrap_or_default()),
        branches: Vec::new(),
    })
}

fn check_path(repository: &Repository, data_dir: &Path) -> Result<RepositoryCheck, RepositoryError> {
    let path = || repository.source.clone();
    let folder = Path::new(&repository.source)
        .canonicalize()
        .map_err(|_| RepositoryError::NotFound { path: path() })?;
    if !folder.is_dir() {
        return Err(RepositoryError::NotFound { path: path() });
    }
    let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.to_owned());
    let demo = data_dir.join(crate::config::DEMO_REPOSITORY);
    if (folder.starts_with(&data_dir) && folder != demo) || data_dir.starts_with(&folder) {
        return Err(RepositoryError::Private { path: path() });
    }
    let git = git_dir(&folder).ok_or_else(|| match linked_to(&folder) {
        Some(git) => RepositoryError::Linked { path: path(), git },
        None => RepositoryError::NotARepository { path: path() },
    })?;
    let branches = branches(&git);
    if let Some(branch) = &repository.branch
        && !branches.contains(branch)
        && !has_tag(&git, branch)
    {
        return Err(RepositoryError::NoBranch { branch: branch.clone() });
    }
    let last = folder
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(RepositoryCheck {
        name: folder_name(repository, &last),
        branches,
    })
}

/// Where a folder's git data is: `.git`, or the folder itself when it is bare. A worktree, whose
/// `.git` is a file that points elsewhere, is none: its data is outside of the folder.
fn git_dir(folder: &Path) -> Option<PathBuf> {
    [folder.join(".git"), folder.to_owned()]
        .into_iter()
        .find(|git| git.join("HEAD").is_file() && git.join("objects").is_dir() && git.join("refs").is_dir())
}

/// Where the `.git` file of a worktree or submodule says that the git data is.
fn linked_to(folder: &Path) -> Option<String> {
    let file = folder.join(".git");
    let is_file = std::fs::symlink_metadata(&file).is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return None;
    }
    let mut text = String::new();
    let opened = std::fs::File::open(file).ok()?;
    opened.take(MAX_SOURCE as u64).read_to_string(&mut text).ok()?;
    let git = text.lines().next()?.strip_prefix("gitdir:")?.trim();
    (!git.is_empty() && !git.chars().any(char::is_control)).then(|| git.to_owned())
}

/// The checked-out branch first, then the others by name.
fn branches(git: &Path) -> Vec<String> {
    let mut names: BTreeSet<String> = packed(git, "refs/heads/").into_iter().collect();
    loose(&git.join("refs/heads"), &mut names);
    let head = read_head(git);
    let mut branches: Vec<String> = head.iter().filter(|head| names.contains(*head)).cloned().collect();
    branches.extend(names.into_iter().filter(|name| Some(name) != head.as_ref()));
    branches.truncate(MAX_BRANCHES);
    branches
}

/// Whether a repository on this disk may have got commits, or another branch checked out, since
/// then. Blocks: it looks at files. Of one elsewhere nothing is known, and the answer is no.
pub fn changed_since(repository: &Repository, since: Timestamp) -> bool {
    let folder = Path::new(&repository.source);
    if !folder.is_absolute() {
        return false;
    }
    let Some(git) = folder.canonicalize().ok().as_deref().and_then(git_dir) else {
        return true;
    };
    let branch = repository.branch.clone().or_else(|| read_head(&git));
    let branch = branch.map(|branch| git.join("refs/heads").join(branch));
    let fixed = ["HEAD", "packed-refs", "reftable/tables.list"].map(|file| git.join(file));
    let since = SystemTime::from(since) - CLOCK_TICK;
    fixed.into_iter().chain(branch).any(|file| {
        let changed = std::fs::symlink_metadata(file).and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| changed >= since)
    })
}

fn read_head(git: &Path) -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(git.join("HEAD"))
        .ok()?
        .take(1024)
        .read_to_string(&mut text)
        .ok()?;
    let branch = text.trim().strip_prefix("ref: refs/heads/")?;
    is_branch(branch).then(|| branch.to_owned())
}

fn packed(git: &Path, prefix: &str) -> Vec<String> {
    let mut text = String::new();
    let read =
        std::fs::File::open(git.join("packed-refs")).map(|file| file.take(MAX_PACKED_REFS).read_to_string(&mut text));
    if !matches!(read, Ok(Ok(_))) {
        return Vec::new();
    }
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(_, name)| name.strip_prefix(prefix))
        .filter(|name| is_branch(name))
        .map(str::to_owned)
        .collect()
}

fn loose(heads: &Path, names: &mut BTreeSet<String>) {
    let mut seen = 0;
    let mut folders = vec![heads.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MAX_ENTRIES {
                return;
            }
            // Links are not followed: they may lead anywhere.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Some(name) = entry.path().strip_prefix(heads).ok().and_then(Path::to_str)
                && is_branch(name)
            {
                names.insert(name.to_owned());
            }
        }
    }
}

fn has_tag(git: &Path, name: &str) -> bool {
    git.join("refs/tags").join(name).is_file() || packed(git, "refs/tags/").iter().any(|tag| tag == name)
}

/// What git takes for a branch's name, as far as it matters to arguments and paths.
fn is_branch(name: &str) -> bool {
    (1..=MAX_BRANCH).contains(&name.len())
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name.to_ascii_lowercase().ends_with(".lock")
        && !name.contains("..")
        && !name.contains("//")
        && !name.contains("@{")
        && !name
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
}

/// The longest name of a plain folder.
const MAX_FOLDER_NAME: usize = 64;

/// Whether a plain folder in the sandbox can have this name.
pub fn is_folder_name(name: &str) -> bool {
    (1..=MAX_FOLDER_NAME).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// A name for the folder in the sandbox: what was asked for, or made from the source's last part.
fn folder_name(repository: &Repository, last: &str) -> String {
    let wanted = repository.name.as_deref().unwrap_or(last);
    let name: String = wanted
        .trim_end_matches(".git")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(100)
        .collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() {
        "repository".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn repository(source: &str) -> Repository {
        Repository {
            name: None,
            source: source.to_owned(),
            branch: None,
        }
    }

    fn with_branch(source: &str, branch: &str) -> Repository {
        Repository {
            branch: Some(branch.to_owned()),
            ..repository(source)
        }
    }

    /// A real repository with branches main (checked out), feature/one and packed, and a tag.
    fn real(folder: &Path) {
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git")
                .args([
                    "-c",
                    "user.name=T",
                    "-c",
                    "user.email=t@example.com",
                    "-c",
                    "init.defaultBranch=main",
                ])
                .args(arguments)
                .current_dir(folder)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        git(&["init", "-q"]);
        git(&["commit", "-q", "--allow-empty", "-m", "one"]);
        git(&["branch", "packed"]);
        git(&["tag", "v1"]);
        git(&["pack-refs", "--all"]);
        git(&["branch", "feature/one"]);
    }

    #[test]
    fn a_real_repository_is_read_without_git() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("my project.git");
        fs::create_dir(&project).unwrap();
        real(&project);
        let source = project.to_str().unwrap();
        let elsewhere = folder.path().join("data");
        assert_eq!(
            check(&repository(source), &elsewhere),
            Ok(RepositoryCheck {
                name: "my-project".to_owned(),
                branches: vec!["main".to_owned(), "feature/one".to_owned(), "packed".to_owned()],
            })
        );
        assert!(check(&with_branch(source, "feature/one"), &elsewhere).is_ok());
        assert!(check(&with_branch(source, "v1"), &elsewhere).is_ok());
        for wrong in ["other", "--upload-pack=sh", "../../etc", ""] {
            let expected = Err(RepositoryError::NoBranch {
                branch: wrong.to_owned(),
            });
            assert_eq!(check(&with_branch(source, wrong), &elsewhere), expected, "{wrong}");
        }
    }

    #[test]
    fn what_changed_in_a_repository_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        real(folder.path());
        let source = folder.path().to_str().unwrap();
        let touch = |file: &str, at: SystemTime| {
            let file = fs::File::open(folder.path().join(".git").join(file)).unwrap();
            file.set_modified(at).unwrap();
        };
        let now = SystemTime::now();
        let (before, after) = (now - Duration::from_mins(1), now + Duration::from_mins(1));
        for file in ["HEAD", "packed-refs", "refs/heads/main", "refs/heads/feature/one"] {
            if folder.path().join(".git").join(file).exists() {
                touch(file, before);
            }
        }
        let since = Timestamp::try_from(now).unwrap();
        let changed = |repository: &Repository| changed_since(repository, since);
        assert!(!changed(&repository(source)));
        // Only what is cloned counts.
        touch("refs/heads/feature/one", after);
        assert!(!changed(&repository(source)));
        assert!(changed(&with_branch(source, "feature/one")));
        touch("HEAD", after);
        assert!(changed(&repository(source)));
        assert!(changed(&repository("/there/is/none")));
        assert!(!changed(&repository("https://example.com/x.git")));
    }

    #[test]
    fn what_is_no_repository_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::create_dir(folder.path().join("plain")).unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let kind = |source: &str| check(&repository(source), &data).map_err(|error| error.kind());
        assert_eq!(kind(&at("missing")), Err("repository-not-found"));
        assert_eq!(kind(&at("plain")), Err("repository-not-git"));
        assert_eq!(kind(&at("data")), Err("repository-private"));
        assert_eq!(
            kind(&at("")),
            Err("repository-private"),
            "a folder around the data holds it too"
        );
        assert_eq!(kind("relative/path"), Err("repository-source-invalid"));
        assert_eq!(kind("ext::sh -c true"), Err("repository-source-invalid"));
        assert_eq!(kind("file:///etc"), Err("repository-source-invalid"));
        assert_eq!(kind("https://user:secret@example.com/a"), Err("repository-credentials"));
    }

    #[test]
    fn a_linked_worktree_names_where_its_data_is() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let found = |text: &str| {
            fs::write(tree.join(".git"), text).unwrap();
            check(&repository(tree.to_str().unwrap()), &data)
        };
        assert_eq!(
            found("gitdir: /src/project/.git/worktrees/tree\n"),
            Err(RepositoryError::Linked {
                path: tree.to_str().unwrap().to_owned(),
                git: "/src/project/.git/worktrees/tree".to_owned(),
            })
        );
        for other in ["", "gitdir:", "gitdir: \u{1b}[2J", "root:x:0:0"] {
            let kind = found(other).map_err(|error| error.kind());
            assert_eq!(kind, Err("repository-not-git"), "{other:?}");
        }
    }

    #[test]
    fn a_url_has_a_name_and_no_branches() {
        for (source, name) in [
            ("https://github.com/example/project", "project"),
            ("https://github.com/example/project.git", "project"),
            ("https://example.com/a/b/", "b"),
        ] {
            let found = check(&repository(source), Path::new("/nowhere"));
            let expected = RepositoryCheck {
                name: name.to_owned(),
                branches: Vec::new(),
            };
            assert_eq!(found, Ok(expected), "{source}");
        }
    }
}
