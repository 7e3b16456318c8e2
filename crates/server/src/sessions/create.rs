//! A new session: everything that can be wrong with it is said before it exists.

use std::sync::Arc;

use jiff::Timestamp;
use mistle_model::OpContext;
use mistle_model::queue::{self, Queue};
use mistle_model::session::{Machine, Request};
use mistle_protocol::api::{MAX_MESSAGE_BYTES, NewSession};
use mistle_protocol::id::SessionId;
use mistle_protocol::profile::{Profile, ProfileRef, Repository};
use mistle_protocol::session::{Activity, Delivery, Destination, Session, SessionState, Workspace};
use mistle_store::idempotency::{Key, Outcome};
use mistle_store::messages::MessageState;
use mistle_store::sessions::SessionRow;

use super::driver::Adoption;
use super::record::Draft;
use super::{MAX_NAME, MAX_TITLE, Result, SessionError, Shared, attachments, driver, internal, of_store, plan, warm};
use crate::profiles;
use crate::repositories::{self, RepositoryError};

/// The most repositories beside the primary one: each is a clone at the first start.
const MAX_REPOSITORIES: usize = 20;
/// The most plain folders.
const MAX_PLAIN: usize = 20;

pub(super) async fn create(
    shared: &Arc<Shared>,
    ctx: &OpContext,
    new: NewSession,
    key: Option<Key>,
) -> Result<Session> {
    let store = &shared.needs.store;
    let now = Timestamp::now();
    if let Some(key) = &key
        && let Some(earlier) = store.earlier(key, now).await.map_err(of_store)?
    {
        return repeated(shared, &earlier).await;
    }
    let attachments = attachments::found(shared, ctx, None, &new.attachments, false).await?;
    check_task(&new.task, !attachments.is_empty())?;
    let title = match &new.title {
        Some(given) => title(given)?,
        None => Some(title_of(&new.task))
            .filter(|title| !title.is_empty())
            .unwrap_or_else(|| attachments.first().map_or_else(String::new, |file| file.name.clone())),
    };
    let mut task = queue::compose(new.task.clone(), Delivery::Steer, None, None, now);
    task.destination = Destination::New;
    task.attachments = attachments;
    let mut row = chosen(shared, ctx, now, new).await?;
    check_room(shared)?;
    match warm::adopt(shared, &row, &title, &task, key.as_ref()).await? {
        Adoption::Adopted(session) => return Ok(*session),
        Adoption::Repeated(resource) => return repeated(shared, &resource).await,
        Adoption::Gone => {}
    }

    row.session.title = title;
    let mut queue = Queue::default();
    let task = queue
        .push(task)
        .map_err(|denied| invalid("task-invalid", "/task", denied.to_string()))?;

    let mut machine = Machine::new(now);
    machine.request(now, Request::Start).map_err(internal)?;
    let mut draft = Draft::of(&row);
    draft.state(&machine);
    draft.row.session.queued = queue.len();
    draft.row.session.starter_id = queue.starter();
    draft.message(task, MessageState::Queued);
    match store
        .create_session(&draft.change(), key.as_ref())
        .await
        .map_err(of_store)?
    {
        Outcome::Repeated { resource } => repeated(shared, &resource).await,
        Outcome::Written => {
            driver::count_state(SessionState::Starting, 1.0);
            metrics::counter!("mistle_sessions_created_total").increment(1);
            let (row, events) = draft.into_parts();
            Ok(shared.begin(row, queue, events))
        }
    }
}

/// A session as a request chooses it, without a title and a task.
pub(super) async fn chosen(shared: &Shared, ctx: &OpContext, now: Timestamp, new: NewSession) -> Result<SessionRow> {
    check_name("model-invalid", "/model", new.model.as_deref())?;
    check_name("effort-invalid", "/effort", new.effort.as_deref())?;
    let profile = profile(shared, new.profile.as_deref())?;
    let repositories = check_repositories(shared, new.repository, new.repositories).await?;
    let workspaces = plan::workspaces(repositories, check_plain(new.workspaces)?);
    check_names(&workspaces)?;
    let primary = primary(&workspaces, new.primary.as_deref())?;
    Ok(row(
        shared, ctx, now, profile, workspaces, &primary, new.model, new.effort,
    ))
}

/// A session that an earlier request under the same key made.
async fn repeated(shared: &Arc<Shared>, resource: &str) -> Result<Session> {
    let gone = SessionError::NotFound { what: "session" };
    let Ok(id) = resource.parse() else { return Err(gone) };
    let row = shared.needs.store.session(id).await.map_err(internal)?;
    row.filter(|row| row.session.state != SessionState::Deleted)
        .map(|row| row.session)
        .ok_or(gone)
}

#[expect(clippy::too_many_arguments, reason = "everything that a session is made of, once")]
fn row(
    shared: &Shared,
    ctx: &OpContext,
    now: Timestamp,
    profile: Profile,
    workspaces: Vec<Workspace>,
    primary: &Workspace,
    model: Option<String>,
    effort: Option<String>,
) -> SessionRow {
    let summary = profiles::summary(&shared.needs.config, &profile);
    let session = Session {
        id: SessionId::new(),
        title: String::new(),
        state: SessionState::Created,
        state_since: now,
        activity: Activity::Idle,
        trouble: None,
        profile: ProfileRef {
            name: profile.name.clone(),
            version: profile.version,
        },
        provider_label: summary.provider_label,
        scripted: summary.scripted,
        runtime: profile.runtime.clone(),
        cwd: primary.path.clone(),
        repository: primary.repository.clone(),
        workspaces,
        conversation_id: None,
        starter_id: None,
        conversations: Vec::new(),
        turn_id: None,
        model: model.or_else(|| profile.model.clone()),
        effort: effort.or_else(|| profile.effort.clone()),
        models: Vec::new(),
        usage: None,
        approvals: Vec::new(),
        queued: 0,
        deletion: None,
        last_seq: 0,
        created_at: now,
        updated_at: now,
    };
    SessionRow {
        session,
        organization_id: ctx.organization_id,
        created_by: ctx.user_id,
        profile,
        revision: 0,
        journal_seq: 0,
        boot_floor: None,
        ready: false,
        has_disk: false,
        recorded_bytes: 0,
        warm_until: None,
    }
}

fn profile(shared: &Shared, name: Option<&str>) -> Result<Profile> {
    let config = &shared.needs.config;
    let profile = config.profile(name).ok_or_else(|| {
        let offered: Vec<&str> = config.profiles.iter().map(|profile| profile.name.as_str()).collect();
        invalid(
            "profile-not-found",
            "/profile",
            format!("There is no such profile. There are: {}.", offered.join(", ")),
        )
    })?;
    match profiles::unavailable(config, profile) {
        None => Ok(profile.clone()),
        Some(message) => Err(SessionError::Conflict {
            kind: "profile-unavailable",
            message,
        }),
    }
}

/// All repositories with the names of their folders, the primary one first.
async fn check_repositories(
    shared: &Shared,
    primary: Option<Repository>,
    more: Vec<Repository>,
) -> Result<Vec<Repository>> {
    let mut checked: Vec<Repository> = Vec::new();
    if let Some(repository) = primary {
        checked.push(check_repository(shared, repository, None).await?);
    }
    if more.len() > MAX_REPOSITORIES {
        let message = format!("A session has at most {MAX_REPOSITORIES} repositories.");
        return Err(invalid("too-many-repositories", "/repositories", message));
    }
    for (row, repository) in more.into_iter().enumerate() {
        let named = repository.name.is_some();
        let mut found = check_repository(shared, repository, Some(row)).await?;
        let taken = |name: &Option<String>| checked.iter().any(|other| other.name == *name);
        if taken(&found.name) {
            let name = found.name.take().unwrap_or_default();
            if named {
                let message = format!("Two repositories would have the folder {name}. Give one of them another name.");
                return Err(SessionError::InvalidRow {
                    kind: "repository-name-taken",
                    list: "/repositories",
                    row,
                    field: "/name",
                    message,
                });
            }
            found.name = (2..=MAX_REPOSITORIES + 2)
                .map(|number| Some(format!("{name}-{number}")))
                .find(|name| !taken(name))
                .flatten();
        }
        checked.push(found);
    }
    Ok(checked)
}

fn check_plain(names: Vec<String>) -> Result<Vec<String>> {
    if names.len() > MAX_PLAIN {
        let message = format!("A session has at most {MAX_PLAIN} plain folders.");
        return Err(invalid("too-many-workspaces", "/workspaces", message));
    }
    match names.iter().position(|name| !repositories::is_folder_name(name)) {
        None => Ok(names),
        Some(row) => Err(SessionError::InvalidRow {
            kind: "workspace-name-invalid",
            list: "/workspaces",
            row,
            field: "",
            message: "A folder's name has 1 to 64 letters, digits, dots, dashes and underscores, and begins with none of “.” and “-”.".to_owned(),
        }),
    }
}

/// Repositories come first and have names of their own, so what is there twice is a plain folder.
fn check_names(workspaces: &[Workspace]) -> Result<()> {
    let plain = workspaces.iter().filter(|workspace| workspace.repository.is_none());
    for (row, folder) in plain.enumerate() {
        if workspaces.iter().filter(|other| other.name == folder.name).count() > 1 {
            return Err(SessionError::InvalidRow {
                kind: "workspace-name-taken",
                list: "/workspaces",
                row,
                field: "",
                message: format!(
                    "Two folders would be called {}. Give one of them another name.",
                    folder.name
                ),
            });
        }
    }
    Ok(())
}

/// The workspace of that name; the first one when no name is given.
fn primary(workspaces: &[Workspace], name: Option<&str>) -> Result<Workspace> {
    let found = match name {
        None => workspaces.first(),
        Some(name) => workspaces.iter().find(|workspace| workspace.name == name),
    };
    found.cloned().ok_or_else(|| {
        let offered: Vec<&str> = workspaces.iter().map(|workspace| workspace.name.as_str()).collect();
        invalid(
            "workspace-not-found",
            "/primary",
            format!(
                "The session would have no such folder. It would have: {}.",
                offered.join(", ")
            ),
        )
    })
}

/// The repository with the name of its folder. `row` says which one of the list it is; it is the
/// request's `repository` otherwise.
async fn check_repository(shared: &Shared, repository: Repository, row: Option<usize>) -> Result<Repository> {
    let data_dir = shared.needs.config.data_dir.clone();
    let given = repository.clone();
    let checked = tokio::task::spawn_blocking(move || repositories::check(&given, &data_dir))
        .await
        .map_err(internal)?;
    let found = checked.map_err(|error| {
        let of_branch = matches!(error, RepositoryError::NoBranch { .. });
        match (row, of_branch) {
            (None, false) => invalid(error.kind(), "/repository/source", error.to_string()),
            (None, true) => invalid(error.kind(), "/repository/branch", error.to_string()),
            (Some(row), _) => SessionError::InvalidRow {
                kind: error.kind(),
                list: "/repositories",
                row,
                field: if of_branch { "/branch" } else { "/source" },
                message: error.to_string(),
            },
        }
    })?;
    Ok(Repository {
        name: Some(found.name),
        ..repository
    })
}

/// Whether one more session may run. One that is warm takes nobody's place.
pub(super) fn check_room(shared: &Shared) -> Result<()> {
    let limit = shared.needs.config.limits.running_sessions;
    if shared.running(|view| !view.warm) < limit as usize {
        return Ok(());
    }
    let message = format!("{limit} sessions run already, which is this server's limit. Stop one first.");
    Err(SessionError::Conflict {
        kind: "too-many-running",
        message,
    })
}

fn check_task(task: &str, has_files: bool) -> Result<()> {
    if task.trim().is_empty() && !has_files {
        return Err(invalid(
            "task-empty",
            "/task",
            "Say what the agent should do.".to_owned(),
        ));
    }
    if task.len() > MAX_MESSAGE_BYTES {
        let limit = MAX_MESSAGE_BYTES / 1024;
        let message = format!("The task is longer than {limit} KiB. Put long text into a file of the repository.");
        return Err(invalid("task-too-long", "/task", message));
    }
    Ok(())
}

/// A title as a person gives it.
pub(super) fn title(title: &str) -> Result<String> {
    let title = title.trim();
    if title.is_empty() || title.chars().count() > MAX_TITLE || title.chars().any(char::is_control) {
        let message = format!("A title has 1 to {MAX_TITLE} characters on one line.");
        return Err(invalid("title-invalid", "/title", message));
    }
    Ok(title.to_owned())
}

/// The name of a model or effort, if one is given.
pub(super) fn check_name(kind: &'static str, pointer: &'static str, name: Option<&str>) -> Result<()> {
    let fits = |name: &str| (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    if name.is_none_or(fits) {
        return Ok(());
    }
    Err(invalid(
        kind,
        pointer,
        format!("This name must have 1 to {MAX_NAME} characters, without control characters."),
    ))
}

/// The first line of the task that says something.
fn title_of(task: &str) -> String {
    let line = task
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    line.chars()
        .filter(|character| !character.is_control())
        .take(MAX_TITLE)
        .collect()
}

fn invalid(kind: &'static str, pointer: &'static str, message: String) -> SessionError {
    SessionError::Invalid { kind, pointer, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_the_first_line_that_says_something() {
        assert_eq!(title_of("\n\n  Fix the test\nIt fails."), "Fix the test");
        assert_eq!(title_of(&"ä".repeat(MAX_TITLE + 1)).chars().count(), MAX_TITLE);
    }

    #[test]
    fn wrong_fields_are_named() {
        let kind = |result: Result<()>| match result {
            Err(SessionError::Invalid { kind, .. }) => kind,
            _ => "",
        };
        assert_eq!(kind(check_task(" \n", false)), "task-empty");
        assert_eq!(
            kind(check_task(&"x".repeat(MAX_MESSAGE_BYTES + 1), true)),
            "task-too-long"
        );
        assert_eq!(kind(check_name("model-invalid", "/model", Some(""))), "model-invalid");
        assert_eq!(kind(title("a\nb").map(drop)), "title-invalid");
    }
}
