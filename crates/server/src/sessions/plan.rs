//! What a session's sandbox is asked to be: the driver's specification and the daemon's plan.
//!
//! Both follow from the session's row and the configuration alone, so that they are the same at
//! every start and every connection.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mistle_protocol::agent::ConversationId;
use mistle_protocol::plan::{Plan, ProviderPlan, RepositoryPlan, RuntimePlan, WORKSPACES};
use mistle_protocol::profile::Repository;
use mistle_protocol::session::{Session, Trouble, Workspace};
use mistle_sandbox::{Image, RUNTIMES_DIR, ReadOnlyMount, SandboxSpec};
use mistle_store::sessions::SessionRow;

use super::{egress, trouble};
use crate::config::Config;
use crate::repositories;

/// Folder in the sandbox that holds the server's own repositories, read-only.
const REPOSITORIES_DIR: &str = "/opt/mistle/repositories";

/// The working directory of a session.
pub(super) fn cwd(repository: Option<&Repository>) -> String {
    match repository.and_then(|repository| repository.name.as_deref()) {
        Some(name) => format!("{WORKSPACES}/{name}"),
        None => WORKSPACES.to_owned(),
    }
}

/// What the daemon is told.
pub(super) fn plan(config: &Config, row: &SessionRow) -> Result<Plan, Trouble> {
    let session = &row.session;
    let profile = &row.profile;
    let now = Timestamp::now();
    let provider = config
        .providers
        .get(&profile.provider)
        .ok_or_else(|| trouble::provider_missing(now, &profile.provider))?;
    let route = egress::route(config, &profile.provider)?;
    let runtime = config
        .runtimes
        .get(&profile.runtime)
        .ok_or_else(|| trouble::runtime_missing(now, &profile.runtime))?;
    let program = Path::new(RUNTIMES_DIR).join(&profile.runtime).join(&runtime.program);
    Ok(Plan {
        session_id: session.id,
        repositories: cloned(session).filter_map(repository_plan).collect(),
        workspaces: plain(session),
        cwd: session.cwd.clone(),
        environment: profile.environment.clone(),
        runtime: RuntimePlan {
            name: profile.runtime.clone(),
            program: program.display().to_string(),
            approval_policy: profile.approval_policy,
            provider: ProviderPlan {
                name: profile.provider.clone(),
                label: provider.label.clone(),
                base_url: route.sandbox_base_url(),
            },
            model: session.model.clone().or_else(|| profile.model.clone()),
            effort: session.effort.clone().or_else(|| profile.effort.clone()),
        },
        conversation_id: session.conversation_id.clone(),
        titles: titles(session),
    })
}

/// The titles that people gave, of the conversations that the runtime may be asked for.
fn titles(session: &Session) -> BTreeMap<ConversationId, String> {
    let named = session.conversations.iter();
    let named = named.filter(|conversation| conversation.named && !conversation.lost);
    named
        .map(|conversation| (conversation.id.clone(), conversation.title.clone()))
        .collect()
}

/// The folders of a session: one a repository, then the plain ones, or the empty one.
pub(super) fn workspaces(repositories: Vec<Repository>, plain: Vec<String>) -> Vec<Workspace> {
    if repositories.is_empty() && plain.is_empty() {
        return vec![Workspace {
            name: "workspace".to_owned(),
            path: WORKSPACES.to_owned(),
            repository: None,
            branch: None,
        }];
    }
    let workspace = |repository: Repository| Workspace {
        name: repository.name.clone().unwrap_or_default(),
        path: cwd(Some(&repository)),
        branch: repository.branch.clone(),
        repository: Some(repository),
    };
    let folder = |name: String| Workspace {
        path: format!("{WORKSPACES}/{name}"),
        name,
        repository: None,
        branch: None,
    };
    repositories
        .into_iter()
        .map(workspace)
        .chain(plain.into_iter().map(folder))
        .collect()
}

/// The names of the plain folders; the one that holds all others has none.
fn plain(session: &Session) -> Vec<String> {
    let below = |workspace: &&Workspace| workspace.repository.is_none() && workspace.path != WORKSPACES;
    session
        .workspaces
        .iter()
        .filter(below)
        .map(|workspace| workspace.name.clone())
        .collect()
}

fn cloned(session: &Session) -> impl Iterator<Item = &Repository> {
    // Sessions of before there were workspaces have one repository or none.
    let alone = session.repository.iter().filter(|_| session.workspaces.is_empty());
    session
        .workspaces
        .iter()
        .filter_map(|workspace| workspace.repository.as_ref())
        .chain(alone)
}

fn repository_plan(repository: &Repository) -> Option<RepositoryPlan> {
    let name = repository.name.clone()?;
    let local = is_local(repository);
    Some(RepositoryPlan {
        source: if local {
            mounted_at(&name)
        } else {
            repository.source.clone()
        },
        // Where it came from is the server's business: a path of its disk means nothing inside.
        origin: None,
        branch: repository.branch.clone(),
        name,
    })
}

/// What the driver is told. Reads the disk.
pub(super) fn sandbox(config: &Config, row: &SessionRow) -> Result<SandboxSpec, Trouble> {
    let now = Timestamp::now();
    let profile = &row.profile;
    let runtime = config
        .runtimes
        .get(&profile.runtime)
        .filter(|runtime| runtime.is_installed());
    let runtime = runtime.ok_or_else(|| trouble::runtime_missing(now, &profile.runtime))?;
    let mut mounts = vec![ReadOnlyMount {
        source: runtime.folder.clone(),
        target: Path::new(RUNTIMES_DIR).join(&profile.runtime),
    }];
    for repository in cloned(&row.session).filter(|repository| is_local(repository)) {
        match local_repository(config, repository) {
            Ok(mount) => mounts.extend(mount),
            // Once it was cloned the session does without.
            Err(_) if row.session.conversation_id.is_some() => {}
            Err(why) => return Err(trouble::repository_gone(now, &why)),
        }
    }
    let mut image: Image = profile
        .image
        .parse()
        .map_err(|error: mistle_sandbox::ParseImageError| {
            trouble::trouble(
                now,
                "sandbox_invalid",
                error.to_string(),
                "Correct the profile's image.",
            )
        })?;
    if let Image::Host { include } = &mut image {
        include.clone_from(&config.host_image.include);
    }
    Ok(SandboxSpec {
        id: row.session.id,
        image,
        layers: Vec::new(),
        mounts,
        resources: profile.resources,
        hostname: hostname(row),
        daemon: config.sandboxd.clone(),
        argv: None,
    })
}

/// Looked at again at each start: what a path leads to can change.
fn local_repository(config: &Config, repository: &Repository) -> Result<Option<ReadOnlyMount>, String> {
    let unbranched = Repository {
        branch: None,
        ..repository.clone()
    };
    repositories::check(&unbranched, &config.data_dir).map_err(|error| error.to_string())?;
    let source = PathBuf::from(&repository.source)
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let target = repository.name.as_deref().map(mounted_at);
    Ok(target.map(|target| ReadOnlyMount {
        source,
        target: target.into(),
    }))
}

fn is_local(repository: &Repository) -> bool {
    repository.source.starts_with('/')
}

fn mounted_at(name: &str) -> String {
    format!("{REPOSITORIES_DIR}/{name}")
}

/// Short and the session's own, so that a prompt in a terminal says where one is.
fn hostname(row: &SessionRow) -> String {
    let id = row.session.id.uuid().simple().to_string();
    format!("mistle-{}", &id[id.len() - 8..])
}
