//! Sessions that are prepared while their task is being typed.
//!
//! A warm session is an ordinary one that nobody asked for yet: no message, no title, and
//! `warm_until` on its row. It is in no list and answers to nobody; whoever made it and asks for a
//! session of the same kind in time adopts it, in the transaction that stores the task. Each person
//! has one at most. It goes when another is prepared, when it fails, or at its deadline, which is
//! stored, so that whichever server runs then sees to it.
//!
//! What can't be adopted is no error: the session is created as if there had been none.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mistle_model::OpContext;
use mistle_model::queue::Queue;
use mistle_model::session::{Machine, Request};
use mistle_protocol::api::NewSession;
use mistle_protocol::profile::Profile;
use mistle_protocol::session::{QueuedMessage, Workspace};
use mistle_store::idempotency::{Key, Outcome};
use mistle_store::sessions::SessionRow;
use tokio::sync::oneshot;

use super::driver::{Adoption, Command};
use super::record::Draft;
use super::{Result, Sessions, Shared, create, internal, of_store};
use crate::repositories;

/// How long one waits: longer than a task takes to be typed and thought over, and short enough that
/// one that was left costs little.
const WARM_FOR: SignedDuration = SignedDuration::from_mins(10);

impl Sessions {
    /// Prepares a session of this kind for who asks, or leaves the one be that is prepared already.
    /// Its task and title don't matter. Answers until when it waits; none when this server prepares
    /// no sessions or has no room for another one.
    pub async fn warm(&self, ctx: &OpContext, new: NewSession) -> Result<Option<Timestamp>> {
        let shared = &self.shared;
        if !shared.needs.config.sessions.warm {
            return Ok(None);
        }
        let now = Timestamp::now();
        let wanted = create::chosen(shared, ctx, now, new).await;
        let _one = shared.warming.lock().await;
        let store = &shared.needs.store;
        let mut kept = None;
        for earlier in store
            .warm_sessions(ctx.organization_id, ctx.user_id)
            .await
            .map_err(internal)?
        {
            match &wanted {
                Ok(wanted) if kept.is_none() && serves(&earlier, wanted).await => kept = earlier.warm_until,
                _ => dismiss(shared, earlier).await,
            }
        }
        let wanted = wanted?;
        let room = shared.needs.config.limits.running_sessions as usize;
        if kept.is_some() || shared.running(|_| true) >= room {
            return Ok(kept);
        }
        begin(shared, wanted, now).await.map(Some)
    }
}

async fn begin(shared: &Arc<Shared>, mut row: SessionRow, now: Timestamp) -> Result<Timestamp> {
    let until = now.saturating_add(WARM_FOR).unwrap_or(Timestamp::MAX);
    let mut machine = Machine::new_warm(now, until);
    machine.request(now, Request::Start).map_err(internal)?;
    row.warm_until = Some(until);
    let mut draft = Draft::of(&row);
    draft.state(&machine);
    let stored = shared.needs.store.create_session(&draft.change(), None).await;
    let Outcome::Written = stored.map_err(of_store)? else {
        return Ok(until);
    };
    let (row, events) = draft.into_parts();
    tracing::info!(session = %row.session.id, "a session is prepared while its task is typed");
    shared.begin(row, Queue::default(), events);
    Ok(until)
}

/// Gives the task to the session that was prepared for it, if there is one.
pub(super) async fn adopt(
    shared: &Arc<Shared>,
    wanted: &SessionRow,
    title: &str,
    task: &QueuedMessage,
    key: Option<&Key>,
) -> Result<Adoption> {
    let store = &shared.needs.store;
    for row in store
        .warm_sessions(wanted.organization_id, wanted.created_by)
        .await
        .map_err(internal)?
    {
        if !serves(&row, wanted).await {
            continue;
        }
        let (title, task, key) = (title.to_owned(), Box::new(task.clone()), key.cloned());
        let adoption = command(shared, row, |reply| Command::Adopt {
            title,
            task,
            key,
            reply,
        })
        .await;
        match adoption {
            Some(Ok(Adoption::Gone)) | None => {}
            Some(outcome) => return outcome,
        }
    }
    Ok(Adoption::Gone)
}

async fn dismiss(shared: &Arc<Shared>, row: SessionRow) {
    let id = row.session.id;
    if let Some(Err(error)) = command(shared, row, |reply| Command::Request(Request::Delete, reply)).await {
        // Its deadline sees to it.
        tracing::warn!(session = %id, %error, "a warm session can't be dismissed");
    }
}

/// Asks the session's task; none when it has ended.
async fn command<T>(
    shared: &Arc<Shared>,
    row: SessionRow,
    command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
) -> Option<Result<T>> {
    let handle = shared.handles().get(&row.session.id).cloned()?;
    let (reply, answer) = oneshot::channel();
    handle.commands.send(command(reply)).await.ok()?;
    answer.await.ok()
}

/// Whether one that was prepared is what is wanted now: of the same kind, and of repositories that
/// did not change since.
async fn serves(warm: &SessionRow, wanted: &SessionRow) -> bool {
    if kind(warm) != kind(wanted) {
        return false;
    }
    let since = warm.session.created_at;
    let sources: Vec<_> = warm
        .session
        .workspaces
        .iter()
        .filter_map(|workspace| workspace.repository.clone())
        .collect();
    let changed = move || sources.iter().any(|source| repositories::changed_since(source, since));
    tokio::task::spawn_blocking(changed).await.is_ok_and(|changed| !changed)
}

type Kind<'a> = (&'a Profile, &'a [Workspace], &'a str, Option<&'a str>, Option<&'a str>);

/// What has to be the same.
fn kind(row: &SessionRow) -> Kind<'_> {
    let session = &row.session;
    (
        &row.profile,
        &session.workspaces,
        &session.cwd,
        session.model.as_deref(),
        session.effort.as_deref(),
    )
}
