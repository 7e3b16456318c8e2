//! Sessions, end to end through the API.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mistle_protocol::agent::{AgentEvent, SetupStep};
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{EventBody, LiveMessage, Session, SessionEvent, SessionState};
use mistle_testkit::{Api, TestServer, agent_event, repository};

use crate::figures::Report;
use crate::memory::{Daemons, daemons, resident};

/// Sessions that are created one after the other.
const SEQUENTIAL: usize = 30;
/// Stops and starts of one session.
const RESTARTS: usize = 15;
/// Kills of the server.
const SERVER_KILLS: usize = 10;
/// Sessions that are created at once.
const AT_ONCE: usize = 20;

/// Measures everything that is about sessions.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let mut server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("project");
    repository(&source, &[("README.md", "# Project\n")])?;
    let source = source.to_string_lossy().into_owned();

    report.sizes(
        "server, idle, resident",
        Some(60.0),
        &[resident(server.pid().context("the server's pid")?)?],
    );
    creation(report, &server.api, &source).await?;
    restarts(report, &server.api, &source).await?;
    server_kills(report, &mut server, &source).await?;
    at_once(report, &server, &source).await
}

async fn creation(report: &mut Report, api: &Api, source: &str) -> Result<()> {
    let (mut accepted, mut answered, mut runtime) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SEQUENTIAL {
        let begin = Instant::now();
        let session = api.new_session(source, "say: hello").await?;
        answered.push(begin.elapsed());
        let mut live = api.live(session.id, 0).await?;
        live.until(delivered).await?;
        accepted.push(begin.elapsed());
        live.turn_end().await?;
        runtime.push(runtime_start(&api.events(session.id).await?).context("the runtime's start is in the record")?);
        delete(api, session.id).await?;
    }
    report.times("session create → API answers", None, &answered);
    report.times("session create → runtime accepts the prompt", Some(500.0), &accepted);
    report.p99("the same, p99", 1500.0, &accepted);
    report.times("of which Codex itself starts", None, &runtime);
    Ok(())
}

async fn restarts(report: &mut Report, api: &Api, source: &str) -> Result<()> {
    let session = api.new_session(source, "say: hello").await?;
    let mut live = api.live(session.id, 0).await?;
    live.turn_end().await?;
    let mut resumed = Vec::new();
    for _ in 0..RESTARTS {
        let begin = Instant::now();
        api.act(session.id, "stop").await?;
        live.state(SessionState::Stopped).await?;
        api.act(session.id, "start").await?;
        live.state(SessionState::Running).await?;
        resumed.push(begin.elapsed());
    }
    report.times("stop → start → thread resumed", Some(700.0), &resumed);
    delete(api, session.id).await
}

async fn server_kills(report: &mut Report, server: &mut TestServer, source: &str) -> Result<()> {
    let session = server.api.new_session(source, "say: hello").await?;
    server.api.live(session.id, 0).await?.turn_end().await?;
    let (mut started, mut back) = (Vec::new(), Vec::new());
    for _ in 0..SERVER_KILLS {
        server.kill().await?;
        let begin = Instant::now();
        server.start_again().await?;
        started.push(begin.elapsed());
        let mut live = server.api.live(session.id, 0).await?;
        live.state(SessionState::Running).await?;
        back.push(begin.elapsed());
    }
    report.times("server started → login link printed", None, &started);
    report.times(
        "server killed with -9, started again → daemon back",
        Some(1000.0),
        &back,
    );
    delete(&server.api, session.id).await
}

async fn at_once(report: &mut Report, server: &TestServer, source: &str) -> Result<()> {
    let pid = server.pid().context("the server's pid")?;
    let before = resident(pid)?;
    let begin = Instant::now();
    let sessions: Vec<Session> =
        futures::future::try_join_all((0..AT_ONCE).map(|_| server.api.new_session(source, "say: hello"))).await?;
    futures::future::try_join_all(sessions.iter().map(|session| ready(&server.api, session.id))).await?;
    report.times(
        &format!("{AT_ONCE} sessions at once → all accepted the prompt"),
        Some(10_000.0),
        &[begin.elapsed()],
    );
    futures::future::try_join_all(sessions.iter().map(|session| idle(&server.api, session.id))).await?;
    let grown = resident(pid)?.saturating_sub(before);
    report.sizes(
        "server, per idle session, resident",
        Some(1.0),
        &[grown / AT_ONCE as u64],
    );
    let daemons = daemons(server.data_dir())?;
    let sizes = |part: fn(&Daemons) -> u64| daemons.iter().map(part).collect::<Vec<_>>();
    report.sizes(
        "sandboxd (init and daemon), resident, pages of both counted once",
        Some(10.0),
        &sizes(|daemons| daemons.together),
    );
    report.sizes("of which is not the program", None, &sizes(|daemons| daemons.own));
    for session in sessions {
        delete(&server.api, session.id).await?;
    }
    Ok(())
}

async fn ready(api: &Api, id: SessionId) -> Result<()> {
    api.live(id, 0).await?.until(delivered).await
}

async fn idle(api: &Api, id: SessionId) -> Result<()> {
    api.live(id, 0).await?.turn_end().await?;
    Ok(())
}

async fn delete(api: &Api, id: SessionId) -> Result<()> {
    api.request::<serde_json::Value>(reqwest::Method::DELETE, &format!("/sessions/{id}"), None::<&()>)
        .await
        .map(drop)
}

fn delivered(message: &LiveMessage) -> Option<()> {
    agent_event(message)
        .filter(|event| matches!(event, AgentEvent::MessageDelivered { .. }))
        .map(drop)
}

/// From "starting the runtime" to "the runtime is ready", by the sandbox's clock.
fn runtime_start(events: &[SessionEvent]) -> Option<Duration> {
    let at = |wanted: fn(&AgentEvent) -> bool| {
        events
            .iter()
            .find(|event| matches!(&event.event, EventBody::Agent(agent) if wanted(agent)))
            .map(|event| event.at)
    };
    let begin = at(|event| {
        matches!(
            event,
            AgentEvent::SetupProgress {
                step: SetupStep::Runtime,
                ..
            }
        )
    })?;
    let end = at(|event| matches!(event, AgentEvent::RuntimeReady { .. }))?;
    Duration::try_from(end.duration_since(begin)).ok()
}
