//! The runtime's own commands: listed and run by the driver's task, between messages.
//!
//! A command is not delivered like a message: nobody keeps it, and one that can't run is refused
//! with the reason. What it does comes back as events like everything else. Who asks again because
//! no answer came names the request, and what was taken is not run again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use mistle_protocol::agent::{AgentEvent, ConversationId};
use mistle_protocol::commands::{CommandTaken, RunAgentCommand, RuntimeCommand};
use mistle_protocol::plan::Plan;
use serde::Deserialize;

use super::Agent;
use super::driver::{Command, Driver, Ran, Trouble};
use super::repositories;
use super::runtime::{CallError, Runtime};
use crate::problem::{Body, Refusal};

/// How many commands are remembered, so that a request that is repeated runs nothing again. Who heard
/// no answer asks again soon, and a person runs few of them.
const MAX_REMEMBERED: usize = 32;

/// The commands that were taken last, by the names of their requests.
#[derive(Debug, Default)]
pub(crate) struct Taken(VecDeque<(String, CommandTaken)>);

impl Taken {
    fn before(&self, id: Option<&str>) -> Option<CommandTaken> {
        let known = self.0.iter().find(|(known, _)| Some(known.as_str()) == id)?;
        Some(known.1.clone())
    }

    fn remember(&mut self, id: Option<&str>, taken: &CommandTaken) {
        let Some(id) = id else { return };
        if self.0.len() == MAX_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((id.to_owned(), taken.clone()));
    }
}

/// `/agent/commands`.
pub(super) fn routes(agent: Arc<Agent>) -> Router {
    Router::new()
        .route("/agent/commands", get(list).post(run))
        .with_state(agent)
}

#[derive(Deserialize)]
struct Folder {
    cwd: String,
}

async fn list(
    State(agent): State<Arc<Agent>>,
    Query(Folder { cwd }): Query<Folder>,
) -> Result<Json<Vec<RuntimeCommand>>, Refusal> {
    let listed = agent.ask(|reply| Command::Commands(cwd, reply)).await;
    listed.unwrap_or_else(|| Err(not_ready())).map(Json).map_err(refused)
}

async fn run(
    State(agent): State<Arc<Agent>>,
    Body(command): Body<RunAgentCommand>,
) -> Result<Json<CommandTaken>, Refusal> {
    let ran = agent.ask(|reply| Command::Run(command, reply)).await;
    ran.unwrap_or_else(|| Err(not_ready())).map(Json).map_err(refused)
}

fn refused(why: String) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "command-refused", why)
}

/// What is said while no runtime runs.
pub(super) fn not_ready() -> String {
    "The agent is not ready yet. Try again in a moment.".to_owned()
}

/// What the runtime answered, as far as a person hears of it.
pub(super) fn heard<T>(answer: Result<T, CallError>) -> Result<Result<T, String>, Trouble> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(CallError::Refused(why)) => Ok(Err(why)),
        Err(CallError::DiskFull) => Ok(Err(repositories::disk_full())),
        Err(gone @ CallError::Gone(_)) => Err(gone.into()),
    }
}

impl Driver {
    /// Runs a command in its conversation, or in a new one when it has none.
    pub(super) async fn run_command<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        command: &RunAgentCommand,
    ) -> Result<Ran, Trouble> {
        if let Some(before) = self.taken.before(command.id.as_deref()) {
            return Ok(Ok(before));
        }
        let conversation_id = match self.conversation_of(plan, runtime, command).await? {
            Ok(conversation) => conversation,
            Err(why) => return Ok(Err(why)),
        };
        let running = self.journal.ledger(|ledger| ledger.running(&conversation_id).cloned());
        if running.is_none() {
            runtime.relocate(&command.cwd).await?;
            // Before the runtime can change anything.
            self.git.snapshot(Path::new(&command.cwd)).await;
        }
        let taken = heard(runtime.command(&conversation_id, running.as_ref(), command).await)?;
        Ok(taken.map(|turn_id| {
            self.expected.extend(turn_id.clone());
            let taken = CommandTaken {
                conversation_id,
                turn_id,
            };
            self.taken.remember(command.id.as_deref(), &taken);
            taken
        }))
    }

    async fn conversation_of<R: Runtime>(
        &mut self,
        plan: &Plan,
        runtime: &mut R,
        command: &RunAgentCommand,
    ) -> Result<Result<ConversationId, String>, Trouble> {
        if let Some(wanted) = &command.conversation_id {
            if self.has(plan, runtime, wanted).await? {
                return Ok(Ok(wanted.clone()));
            }
            let why = "The agent does not have this conversation any more. Send a message to begin another.";
            return Ok(Err(why.to_owned()));
        }
        let begun = match heard(runtime.converse(plan, &plan.cwd).await)? {
            Ok(conversation) => conversation,
            Err(why) => return Ok(Err(why)),
        };
        let id = begun.id.clone();
        self.record(AgentEvent::ConversationStarted {
            conversation: begun,
            message_id: None,
        })
        .await;
        Ok(Ok(id))
    }
}
