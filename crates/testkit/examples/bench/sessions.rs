//! Sessions, end to end through the API.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mistle_protocol::agent::{AgentEvent, Item, ItemBody, JournalEntry, SetupStep};
use mistle_protocol::api::Page;
use mistle_protocol::control::TerminalInfo;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{Delivery, EventBody, LiveMessage, Session, SessionEvent, SessionState};
use mistle_testkit::{Api, TestServer, agent_event, event, repository};
use serde::Deserialize;
use serde_json::json;

use crate::browser;
use crate::figures::Report;
use crate::memory::{Daemons, daemons, resident, root_of};

/// Sessions that are created one after the other.
const SEQUENTIAL: usize = 30;
/// Sessions that are created in a browser.
const PAGES: usize = 15;
/// Stops and starts of one session.
const RESTARTS: usize = 15;
/// Kills of the server.
const SERVER_KILLS: usize = 10;
/// What a server that was killed may take until everything is as it was, in milliseconds.
const BACK_MS: Option<f64> = Some(1000.0);
/// A command that ends when it is told to.
const WAIT_FOR_GO: &str = "run: until [ -e go ]; do sleep 0.01; done; rm go";
/// How often the journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long the command may take to end. Far above what it takes.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
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
    typing(report, &server).await?;
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

/// What the browser answers, in milliseconds.
#[derive(Deserialize)]
struct Pages {
    rounds: Vec<f64>,
}

async fn typing(report: &mut Report, server: &TestServer) -> Result<()> {
    let what = "Enter creates a session → its page takes text, Chromium";
    if let Some(why) = browser::missing() {
        report.note(format!("{what}: not measured ({why})"));
        return Ok(());
    }
    let job = json!({
        "job": "create",
        "login": server.login_link,
        "url": format!("{}/new", server.api.url()),
        "rounds": PAGES,
    });
    let pages: Pages = browser::measure(&job).await?;
    report.add(what, "ms", None, &pages.rounds);
    let sessions: Page<Session> = server.api.get("/sessions").await?;
    for session in sessions.data {
        idle(&server.api, session.id).await?;
        delete(&server.api, session.id).await?;
    }
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

/// What each kill of the server took.
#[derive(Default)]
struct Kills {
    printed: Vec<Duration>,
    redialled: Vec<Duration>,
    told: Vec<Duration>,
    whole: Vec<Duration>,
}

async fn server_kills(report: &mut Report, server: &mut TestServer, source: &str) -> Result<()> {
    let session = server.api.new_session(source, "say: hello").await?;
    server.api.live(session.id, 0).await?.turn_end().await?;
    let sandbox = Inside {
        journal: root_of(session.id)?.join("var/lib/mistle/journal"),
        folder: root_of(session.id)?.join(session.cwd.trim_start_matches('/')),
    };
    let mut kills = Kills::default();
    for _ in 0..SERVER_KILLS {
        kill(server, session.id, &sandbox, &mut kills).await?;
    }
    report.times("server started → login link printed", None, &kills.printed);
    report.times(
        "server started after kill -9 → daemon back, as an answer of it shows",
        BACK_MS,
        &kills.redialled,
    );
    report.times(
        "server started after kill -9 → what happened meanwhile is on the live stream",
        BACK_MS,
        &kills.told,
    );
    report.times(
        "kill -9, a command ends, server started → that is on the live stream",
        BACK_MS,
        &kills.whole,
    );
    delete(&server.api, session.id).await
}

/// A sandbox's files, seen from outside.
struct Inside {
    journal: PathBuf,
    folder: PathBuf,
}

impl Inside {
    /// Waits until the journal holds the end of an item. There is no server that could tell.
    async fn journals_end(&self, item: &str) -> Result<()> {
        let begin = Instant::now();
        while !self.holds_end(item)? {
            if begin.elapsed() > ENDS_WITHIN {
                bail!("the command did not end while the server was away");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn holds_end(&self, item: &str) -> Result<bool> {
        for segment in fs::read_dir(&self.journal)?.flatten() {
            let text = fs::read_to_string(segment.path())?;
            let mut entries = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            if entries.any(|entry: JournalEntry| command_end(&entry.event) == Some(item)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Kills the server and starts it again when something has happened meanwhile. A stored session's row says from
/// the beginning that it runs; only what the database can't know shows that its daemon is back.
async fn kill(server: &mut TestServer, id: SessionId, sandbox: &Inside, kills: &mut Kills) -> Result<()> {
    let seen = server.api.session(id).await?.last_seq;
    let mut live = server.api.live(id, seen).await?;
    server.api.send(id, WAIT_FOR_GO, Delivery::Steer).await?;
    let waits = |message: &LiveMessage| Some((event(message)?.seq, command_start(agent_event(message)?)?.to_owned()));
    let (seen, command) = live.until(waits).await?;

    let killed = Instant::now();
    server.kill().await?;
    fs::write(sandbox.folder.join("go"), "")?;
    sandbox.journals_end(&command).await?;
    let begin = Instant::now();
    server.start_again().await?;
    kills.printed.push(begin.elapsed());
    let answered = async {
        let path = format!("/sessions/{id}/terminals");
        server.api.get::<Vec<TerminalInfo>>(&path).await?;
        anyhow::Ok(begin.elapsed())
    };
    let told = async {
        let mut live = server.api.live(id, seen).await?;
        let ended = |message: &LiveMessage| (command_end(agent_event(message)?)? == command).then_some(());
        live.until(ended).await?;
        let took = (begin.elapsed(), killed.elapsed());
        live.turn_end().await?;
        anyhow::Ok(took)
    };
    let (redialled, (told, whole)) = futures::future::try_join(answered, told).await?;
    kills.redialled.push(redialled);
    kills.told.push(told);
    kills.whole.push(whole);
    Ok(())
}

/// The command that begins with this event.
fn command_start(event: &AgentEvent) -> Option<&str> {
    match event {
        AgentEvent::ItemStarted { item } => command_id(item),
        _ => None,
    }
}

/// The command that ends with this event.
fn command_end(event: &AgentEvent) -> Option<&str> {
    match event {
        AgentEvent::ItemCompleted { item } => command_id(item),
        _ => None,
    }
}

fn command_id(item: &Item) -> Option<&str> {
    matches!(item.body, ItemBody::Command { .. }).then_some(&item.id)
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
