//! The runtime's own interface, in a terminal of the sandbox.
//!
//! The agent's task says how it is started, once the conversation is live in the runtime's process;
//! the terminals run it like any other program. There is one for each conversation.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use mistle_protocol::control::{OpenTui, TerminalInfo};

use crate::agent::Agent;
use crate::problem::{Body, Refusal};
use crate::terminals::Terminals;

/// `/tui`.
pub fn routes(agent: Arc<Agent>, terminals: Arc<Terminals>) -> Router {
    Router::new().route("/tui", post(open)).with_state((agent, terminals))
}

async fn open(
    State((agent, terminals)): State<(Arc<Agent>, Arc<Terminals>)>,
    Body(request): Body<OpenTui>,
) -> Result<Json<TerminalInfo>, Refusal> {
    if let Some(running) = terminals.showing(&request.conversation_id) {
        return Ok(Json(running));
    }
    let interface = agent
        .interface(request.conversation_id.clone())
        .await
        .map_err(|why| Refusal::new(StatusCode::CONFLICT, "tui-unavailable", why))?;
    terminals.show(&request, interface).map(Json)
}
