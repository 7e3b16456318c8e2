//! The runtime's own interface: the real Codex in a terminal of a real sandbox, on the thread that
//! the chat is on.

use std::time::Duration;

use anyhow::Result;
use mistle_protocol::agent::{AgentEvent, Decision, ItemBody, TurnOutcome};
use mistle_protocol::api::{NewSession, NewTui, SessionPatch};
use mistle_protocol::changes::{ChangesLine, Scope};
use mistle_protocol::control::{TerminalInfo, TerminalKind};
use mistle_protocol::id::SessionId;
use mistle_protocol::profile::Repository;
use mistle_protocol::session::{Activity, Delivery, EventBody, LiveMessage, Session, SessionState};
use mistle_testkit::{Api, Live, Refused, Setup, Terminal, TestServer, agent_event, repository};
use reqwest::Method;

async fn open(api: &Api, id: SessionId) -> Result<TerminalInfo> {
    let new = NewTui {
        id: None,
        cols: 110,
        rows: 40,
        conversation_id: None,
    };
    api.post(&format!("/sessions/{id}/tui"), &new).await
}

/// What was said, by whom; a message with an id of ours came through the queue.
async fn said(api: &Api, id: SessionId) -> Result<Vec<String>> {
    let events = api.events(id).await?.into_iter();
    let line = |event| match event {
        EventBody::Agent(AgentEvent::ItemCompleted { item }) => match item.body {
            ItemBody::UserMessage { text, message_id, .. } => {
                Some(format!("{}: {text}", message_id.map_or("typed", |_| "queued")))
            }
            ItemBody::AgentMessage { text } => Some(format!("agent: {text}")),
            _ => None,
        },
        _ => None,
    };
    Ok(events.filter_map(|event| line(event.event)).collect())
}

#[tokio::test]
async fn the_runtimes_own_interface_is_on_the_same_thread() -> Result<()> {
    let server = TestServer::start(Setup::policy("ask_every_time")).await?;
    let api = &server.api;
    let session = api.new_session("", "say: from the chat").await?;
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    // What was said is there, and nothing stands before it.
    let info = open(api, session.id).await?;
    assert_eq!(info.kind, TerminalKind::Tui);
    assert_eq!(info.conversation_id, api.session(session.id).await?.conversation_id);
    let mut tui = api.attach(session.id, info.id).await?;
    tui.until("› Ask Codex to do anything").await?;
    tui.until("• from the chat").await?;

    // Typed here, it is a turn of the record.
    tui.type_in("say: from the terminal").await?;
    tui.until("say: from the terminal").await?;
    tui.type_in("\r").await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    // Sent there, it shows here.
    api.send(session.id, "say: and back", Delivery::Steer).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    tui.until("• and back").await?;
    assert_eq!(
        said(api, session.id).await?,
        [
            "queued: say: from the chat",
            "agent: from the chat",
            "typed: say: from the terminal",
            "agent: from the terminal",
            "queued: say: and back",
            "agent: and back",
        ]
    );

    // A question that waits is answered in either place.
    api.send(session.id, "run: echo one", Delivery::Steer).await?;
    live.approval().await?;
    approve_in(&mut tui, &mut live).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    tui.type_in("run: echo two").await?;
    tui.until("run: echo two").await?;
    tui.type_in("\r").await?;
    let asked = live.approval().await?;
    tui.until("Would you like to run the following command?").await?;
    api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(api.session(session.id).await?.activity, Activity::Idle);

    // There is one of them, it is told from the shells, and the end of the page does not end it.
    drop(tui);
    assert_eq!(open(api, session.id).await?.id, info.id);
    let listed: Vec<TerminalInfo> = api.get(&format!("/sessions/{}/terminals", session.id)).await?;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].kind, listed[0].id), (TerminalKind::Tui, info.id));

    // Leaving it interrupts nothing: the turn waits for its answer and ends well.
    api.send(session.id, "run: echo three", Delivery::Steer).await?;
    let asked = live.approval().await?;
    api.request::<()>(
        Method::DELETE,
        &format!("/sessions/{}/terminals/{}", session.id, info.id),
        None::<&()>,
    )
    .await?;
    api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    // Opened while a question waits, it shows the question.
    api.send(session.id, "run: echo four", Delivery::Steer).await?;
    live.approval().await?;
    let again = open(api, session.id).await?;
    assert_ne!(again.id, info.id);
    let mut tui = api.attach(session.id, again.id).await?;
    approve_in(&mut tui, &mut live).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(())
}

/// Says yes to the question on the screen. Codex overlooks keys in the first moment of a question, lest one
/// answers what one has not read, so a person presses again what was not heard.
async fn approve_in(tui: &mut Terminal, live: &mut Live) -> Result<()> {
    tui.until("Would you like to run the following command?").await?;
    let insist = async {
        loop {
            tui.type_in("y").await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    let resolved = live.until(|message| match agent_event(message)? {
        AgentEvent::ApprovalResolved { .. } => Some(()),
        _ => None,
    });
    tokio::select! {
        resolved = resolved => resolved,
        failed = insist => failed,
    }
}

#[tokio::test]
async fn it_says_why_it_can_not_be_opened() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let session = api.new_session("", "say: hello").await?;
    let mut live = api.live(session.id, 0).await?;
    live.turn_end().await?;
    let kind = async |new: &serde_json::Value| -> Result<(u16, String)> {
        let answer = api
            .post::<TerminalInfo>(&format!("/sessions/{}/tui", session.id), new)
            .await;
        let error = answer.expect_err("a refusal");
        let Refused(problem) = error.downcast_ref().expect("a problem");
        Ok((problem.status, problem.kind.clone()))
    };
    let new = serde_json::json!({ "cols": 0, "rows": 24 });
    assert_eq!(kind(&new).await?, (422, "terminal-size".to_owned()));
    let new = serde_json::json!({ "cols": 80, "rows": 24, "conversation_id": "another" });
    assert_eq!(kind(&new).await?, (404, "not-found".to_owned()));
    api.act(session.id, "stop").await?;
    live.until(|message| match message {
        LiveMessage::Session { session } if session.state == SessionState::Stopped => Some(()),
        _ => None,
    })
    .await?;
    let new = serde_json::json!({ "cols": 80, "rows": 24 });
    assert_eq!(kind(&new).await?, (409, "session-stopped".to_owned()));
    Ok(())
}

/// Types a line and presses Enter once its last word is there: pasted with it, the key would be a line break. What
/// comes before may be drawn in pieces.
async fn enter(tui: &mut Terminal, line: &str) -> Result<()> {
    tui.type_in(line).await?;
    tui.until(line.rsplit(' ').next().unwrap_or(line)).await?;
    tui.type_in("\r").await
}

/// What the last command printed.
async fn printed(api: &Api, id: SessionId) -> Result<String> {
    let mut outputs = api
        .events(id)
        .await?
        .into_iter()
        .rev()
        .filter_map(|event| match event.event {
            EventBody::Agent(AgentEvent::ItemCompleted { item }) => match item.body {
                ItemBody::Command { output, .. } => Some(output),
                _ => None,
            },
            _ => None,
        });
    Ok(outputs.next().unwrap_or_default())
}

#[tokio::test]
async fn it_follows_the_primary_repository() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let sources = tempfile::tempdir()?;
    for name in ["api", "page"] {
        let notes = format!("Mention the {name} in every answer.\n");
        repository(&sources.path().join(name), &[("AGENTS.md", &notes)])?;
    }
    let source = |name: &str| Repository {
        name: None,
        source: sources.path().join(name).display().to_string(),
        branch: None,
    };
    let new = NewSession {
        repositories: vec![source("api"), source("page")],
        task: "say: hello".to_owned(),
        ..NewSession::default()
    };
    let session: Session = api.post("/sessions", &new).await?;
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let info = open(api, session.id).await?;
    let mut tui = api.attach(session.id, info.id).await?;
    tui.until("• hello").await?;
    enter(&mut tui, "run: pwd").await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(printed(api, session.id).await?, "/workspace/api\n");

    // Half a line is typed when another repository becomes the primary one, and stays.
    tui.type_in("run: pwd &&").await?;
    tui.until("run: pwd &&").await?;
    let patch = SessionPatch {
        cwd: Some("/workspace/page".to_owned()),
        ..SessionPatch::default()
    };
    let _: Session = api
        .request(Method::PATCH, &format!("/sessions/{}", session.id), Some(&patch))
        .await?;
    // Codex has it now, and tells its own interface, which says where its next turn runs: the letters that change.
    tui.until("page").await?;
    enter(&mut tui, " cat AGENTS.md").await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let there = "/workspace/page\nMention the page in every answer.\n";
    assert_eq!(printed(api, session.id).await?, there);
    assert_eq!(open(api, session.id).await?.id, info.id);

    // A conversation that is begun in it is there too, although it was started elsewhere.
    enter(&mut tui, "/new").await?;
    tui.until("› Ask Codex to do anything").await?;
    enter(&mut tui, "run: pwd && echo new").await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(printed(api, session.id).await?, "/workspace/page\nnew\n");
    Ok(())
}

/// The files that changed since the last turn.
async fn since_the_last_turn(api: &Api, id: SessionId) -> Result<Vec<String>> {
    let path = format!("/sessions/{id}/changes?scope={}", Scope::LastTurn.name());
    let lines = api.stream(&path).await?.text().await?;
    let mut files = Vec::new();
    for line in lines.lines() {
        if let ChangesLine::Files { files: some } = serde_json::from_str(line)? {
            files.extend(some.into_iter().map(|file| file.path.text));
        }
    }
    Ok(files)
}

#[tokio::test]
async fn since_the_last_turn_begins_with_what_was_typed_there() -> Result<()> {
    let server = TestServer::start(Setup::policy("ask_every_time")).await?;
    let api = &server.api;
    let sources = tempfile::tempdir()?;
    repository(sources.path(), &[("README.md", "x\n")])?;
    let session = api
        .new_session(&sources.path().display().to_string(), "create first.txt: by the chat")
        .await?;
    let mut live = api.live(session.id, 0).await?;
    let asked = live.approval().await?;
    api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(since_the_last_turn(api, session.id).await?, ["first.txt"]);

    let info = open(api, session.id).await?;
    let mut tui = api.attach(session.id, info.id).await?;
    tui.until("› Ask Codex to do anything").await?;
    enter(&mut tui, "create second.txt: by the interface").await?;
    let asked = live.approval().await?;
    api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(since_the_last_turn(api, session.id).await?, ["second.txt"]);
    Ok(())
}
