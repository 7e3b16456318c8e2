//! What a working tree is compared with.
//!
//! The default branch is what the remote's `HEAD` names. Without it: a branch of the usual name on
//! a remote, the configured one, or a local branch of the usual name. Without any, or without a
//! commit in common, the tree is compared with the last commit, and the answer says so.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use mistle_protocol::changes::{Base, ChangesHead, RepositoryState, Scope};

use super::process::{GitError, collect};
use super::repository::{Repository, read_small};
use super::snapshot::Turn;

/// Branches that are the default where nobody says, best first.
const USUAL: [&str; 5] = ["main", "master", "trunk", "develop", "default"];
/// Merge bases that are remembered. Commits don't change, so neither do these.
const MAX_REMEMBERED: usize = 64;

/// Merge bases by both commits.
#[derive(Debug, Default)]
pub(crate) struct MergeBases(Mutex<BTreeMap<(String, String), Option<String>>>);

/// What is compared, for a page and for git.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) head: ChangesHead,
    /// The tree or commit; none when there is nothing to compare with.
    pub(crate) base: Option<String>,
    /// The turn's snapshot, when that is the base.
    pub(crate) turn: Option<Turn>,
}

/// Where `HEAD` and the branches are.
#[derive(Debug, Default)]
struct Refs {
    branch: Option<String>,
    commit: Option<String>,
    default: Option<(String, String)>,
}

/// Finds what a repository is compared with.
pub(crate) async fn resolve(repository: &Repository, scope: Scope, known: &MergeBases) -> Result<Compared, GitError> {
    let refs = refs(repository).await?;
    let state = state(&repository.location.git_dir, &refs);
    let mut head = ChangesHead {
        repository: Some(repository.location.top.to_string_lossy().into_owned()),
        scope,
        branch: refs.branch.clone().or_else(|| rebased(&repository.location.git_dir)),
        commit: refs.commit.clone(),
        default_branch: refs.default.as_ref().map(|(name, _)| name.clone()),
        base: Base::None,
        state,
    };
    if scope == Scope::LastTurn {
        let turn = Turn::read(repository);
        head.base = turn.as_ref().map_or(Base::None, |turn| Base::Turn { at: turn.at });
        let base = turn.as_ref().map(|turn| turn.tree.clone());
        return Ok(Compared { head, base, turn });
    }
    let merge_base = match (&refs.commit, &refs.default, scope) {
        (Some(commit), Some((_, default)), Scope::Branch) => merge_base(repository, commit, default, known).await?,
        _ => None,
    };
    head.base = match (merge_base, refs.commit) {
        (Some(commit), _) => Base::MergeBase { commit },
        (None, Some(commit)) => Base::Head { commit },
        (None, None) => Base::Empty,
    };
    let base = match &head.base {
        Base::MergeBase { commit } | Base::Head { commit } => commit.clone(),
        _ => EMPTY.to_owned(),
    };
    Ok(Compared {
        head,
        base: Some(base),
        turn: None,
    })
}

/// Stands for the empty tree, whose name depends on the repository's format.
pub(crate) const EMPTY: &str = "empty";

impl Compared {
    /// The base as git takes it.
    pub(crate) fn treeish(&self, repository: &Repository) -> Option<String> {
        let base = self.base.as_deref()?;
        Some(if base == EMPTY {
            repository.empty_tree().to_owned()
        } else {
            base.to_owned()
        })
    }
}

async fn refs(repository: &Repository) -> Result<Refs, GitError> {
    let head = read_small(&repository.location.git_dir.join("HEAD")).unwrap_or_default();
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    let symbolic = head.strip_prefix("ref: ").map(|name| name.trim().to_owned());
    let mut list = repository.on_refs();
    list.args([
        "for-each-ref",
        "--format=%(refname)%00%(objectname)%00%(symref)",
        "refs/remotes/*/HEAD",
    ]);
    for name in USUAL {
        list.arg(format!("refs/remotes/*/{name}"))
            .arg(format!("refs/heads/{name}"));
    }
    let own = match &symbolic {
        // How the reftable format says that the answer is elsewhere.
        Some(name) if name == "refs/heads/.invalid" => {
            let mut ask = repository.on_refs();
            ask.args(["symbolic-ref", "-q", "HEAD"]);
            let name = collect(ask, None).await.unwrap_or_default();
            Some(String::from_utf8_lossy(&name).trim().to_owned()).filter(|name| !name.is_empty())
        }
        other => other.clone(),
    };
    if let Some(name) = &own {
        list.arg(name);
    }
    let output = collect(list, None).await?;
    let output = String::from_utf8_lossy(&output).into_owned();
    let all: Vec<[&str; 3]> = output
        .lines()
        .filter_map(|line| line.splitn(3, '\0').collect::<Vec<_>>().try_into().ok())
        .collect();
    let oid = |name: &str| {
        all.iter()
            .find(|entry| entry[0] == name)
            .map(|entry| entry[1].to_owned())
    };
    let commit = match &own {
        Some(name) => oid(name),
        None if is_oid(&head) => Some(head),
        None => resolve_head(repository).await,
    };
    Ok(Refs {
        branch: own.map(|name| name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned()),
        commit,
        default: default_branch(&all),
    })
}

async fn resolve_head(repository: &Repository) -> Option<String> {
    let mut ask = repository.on_refs();
    ask.args(["rev-parse", "-q", "--verify", "HEAD"]);
    let answer = collect(ask, None).await.ok()?;
    let oid = String::from_utf8_lossy(&answer).trim().to_owned();
    is_oid(&oid).then_some(oid)
}

fn is_oid(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The default branch's short name and commit.
fn default_branch(all: &[[&str; 3]]) -> Option<(String, String)> {
    let short = |name: &str| {
        let name = name
            .strip_prefix("refs/remotes/")
            .or_else(|| name.strip_prefix("refs/heads/"));
        name.unwrap_or_default().to_owned()
    };
    let named = |name: &str| all.iter().find(|entry| entry[0] == name && is_oid(entry[1]));
    let answer = |entry: &[&str; 3]| (short(entry[0]), entry[1].to_owned());
    let pointed = all
        .iter()
        .filter(|entry| entry[0].starts_with("refs/remotes/") && entry[0].ends_with("/HEAD") && !entry[2].is_empty());
    // `origin` first: a fork's own remote is seldom what a branch goes to.
    let heads = pointed
        .clone()
        .find(|entry| entry[0] == "refs/remotes/origin/HEAD")
        .or_else(|| pointed.clone().min_by_key(|entry| entry[0]));
    if let Some([_, oid, target]) = heads.filter(|entry| is_oid(entry[1])) {
        return Some((short(target), (*oid).to_owned()));
    }
    let origin = USUAL
        .iter()
        .find_map(|name| named(&format!("refs/remotes/origin/{name}")));
    let any_remote = || {
        USUAL.iter().find_map(|name| {
            all.iter()
                .find(|entry| entry[0].starts_with("refs/remotes/") && entry[0].ends_with(&format!("/{name}")))
        })
    };
    let local = || USUAL.iter().find_map(|name| named(&format!("refs/heads/{name}")));
    origin.or_else(any_remote).or_else(local).map(answer)
}

async fn merge_base(
    repository: &Repository,
    commit: &str,
    default: &str,
    known: &MergeBases,
) -> Result<Option<String>, GitError> {
    if commit == default {
        return Ok(Some(commit.to_owned()));
    }
    let key = (commit.to_owned(), default.to_owned());
    let remembered = known
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&key)
        .cloned();
    if let Some(base) = remembered {
        return Ok(base);
    }
    let mut ask = repository.on_refs();
    ask.args(["merge-base", commit, default]);
    let base = match collect(ask, None).await {
        Ok(answer) => Some(String::from_utf8_lossy(&answer).trim().to_owned()).filter(|oid| is_oid(oid)),
        // No commit in common, or not in a shallow clone.
        Err(GitError::Failed(_)) => None,
        Err(error) => return Err(error),
    };
    let mut known = known.0.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_REMEMBERED {
        known.clear();
    }
    known.insert(key, base.clone());
    Ok(base)
}

fn state(git_dir: &Path, refs: &Refs) -> RepositoryState {
    let has = |name: &str| git_dir.join(name).exists();
    if has("rebase-merge") || has("rebase-apply") {
        RepositoryState::Rebasing
    } else if has("MERGE_HEAD") {
        RepositoryState::Merging
    } else if has("CHERRY_PICK_HEAD") {
        RepositoryState::CherryPicking
    } else if has("REVERT_HEAD") {
        RepositoryState::Reverting
    } else if has("BISECT_LOG") {
        RepositoryState::Bisecting
    } else if refs.commit.is_none() {
        RepositoryState::Empty
    } else if refs.branch.is_none() {
        RepositoryState::Detached
    } else {
        RepositoryState::Normal
    }
}

/// The branch that a rebase works on.
fn rebased(git_dir: &Path) -> Option<String> {
    let name = ["rebase-merge/head-name", "rebase-apply/head-name"]
        .iter()
        .find_map(|file| read_small(&git_dir.join(file)))?;
    let name = String::from_utf8_lossy(&name).trim().to_owned();
    name.strip_prefix("refs/heads/").map(str::to_owned)
}
