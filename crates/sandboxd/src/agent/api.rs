//! `/plan` and `/agent/*` of the control API.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use mistle_protocol::control::{Ack, Answer, Deliver, Delivered, EVENTS_KEEPALIVE_SECS, Interrupt};
use mistle_protocol::plan::Plan;
use serde::Deserialize;

use super::driver::Answered;
use super::journal::Place;
use super::{Agent, commands};
use crate::problem::{Body, Refusal};

/// The largest body: a plan or a message. The server bounds what a person may send far below.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// `/plan` and `/agent/*`.
pub fn routes(agent: Arc<Agent>) -> Router {
    Router::new()
        .route("/plan", put(set_plan))
        .route("/agent/events", get(events))
        .route("/agent/ack", post(ack))
        .route("/agent/messages", post(deliver))
        .route("/agent/interrupt", post(interrupt))
        .route("/agent/approvals/{id}", post(answer))
        .with_state(Arc::clone(&agent))
        .merge(commands::routes(agent))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn set_plan(State(agent): State<Arc<Agent>>, Body(plan): Body<Plan>) -> Response {
    match agent.set_plan(plan).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(message) => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-plan", message).into_response(),
    }
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn events(State(agent): State<Arc<Agent>>, Query(After { after }): Query<After>) -> Response {
    let stream = async_stream::stream! {
        let mut visible = agent.journal().visible();
        let (mut reached, mut place) = (after, Place::default());
        loop {
            visible.mark_unchanged();
            let dismissed = agent.dismissed.is_cancelled();
            match agent.journal().read(reached, &mut place).await {
                Ok(Some((lines, last))) => {
                    reached = last;
                    yield Ok(lines);
                    continue;
                }
                Ok(None) if dismissed => return,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "the journal can't be read");
                    yield Err(error);
                    return;
                }
            }
            tokio::select! {
                () = agent.dismissed.cancelled() => {}
                changed = visible.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(Duration::from_secs(EVENTS_KEEPALIVE_SECS)) => yield Ok(Bytes::from_static(b"\n")),
            }
        }
    };
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        axum::body::Body::from_stream(stream),
    )
        .into_response()
}

async fn ack(State(agent): State<Arc<Agent>>, Body(Ack { seq }): Body<Ack>) -> StatusCode {
    agent.journal().ack(seq);
    StatusCode::NO_CONTENT
}

async fn deliver(State(agent): State<Arc<Agent>>, Body(deliver): Body<Deliver>) -> Json<Delivered> {
    Json(agent.deliver(deliver).await)
}

async fn interrupt(State(agent): State<Arc<Agent>>, Body(interrupt): Body<Interrupt>) -> StatusCode {
    agent.interrupt(interrupt.conversation_id).await;
    StatusCode::NO_CONTENT
}

async fn answer(State(agent): State<Arc<Agent>>, Path(id): Path<String>, Body(answer): Body<Answer>) -> Response {
    match agent.answer(id, answer).await {
        Answered::Done => StatusCode::NO_CONTENT.into_response(),
        Answered::Unknown => Refusal::new(
            StatusCode::NOT_FOUND,
            "approval-not-found",
            "There is no such approval.",
        )
        .into_response(),
        Answered::Already => Refusal::new(
            StatusCode::CONFLICT,
            "approval-answered",
            "The approval does not wait any more.",
        )
        .into_response(),
    }
}
