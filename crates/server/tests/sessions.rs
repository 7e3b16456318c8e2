//! Sessions end to end: the real server in a process of its own, real sandboxes, the real Codex, and
//! the scripted model. Needs what `cargo xtask test` prepares.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use mistle_protocol::agent::{AgentEvent, ApprovalSubject, Decision, ItemBody, SetupStep, TurnOutcome};
use mistle_protocol::api::{MessagePatch, NewSession, Page};
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{
    Activity, Delivery, EventBody, LiveMessage, QueuedMessage, ServerEvent, Session, SessionEvent, SessionState,
};
use mistle_testkit::{Api, Refused, Setup, TestServer, agent_event, event, eventually, sandbox_processes};
use reqwest::Method;

async fn autonomous() -> Result<TestServer> {
    TestServer::start(Setup::policy("autonomous")).await
}

/// What was said in a session, in order, from its record.
async fn said(api: &Api, id: SessionId) -> Result<Vec<String>> {
    let events = api.events(id).await?;
    let mut said = Vec::new();
    for event in events {
        let EventBody::Agent(AgentEvent::ItemCompleted { item }) = event.event else {
            continue;
        };
        match item.body {
            ItemBody::UserMessage { text, .. } => said.push(format!("person: {text}")),
            ItemBody::AgentMessage { text } => said.push(format!("agent: {text}")),
            _ => {}
        }
    }
    Ok(said)
}

fn persons(said: &[String]) -> Vec<&str> {
    said.iter().filter_map(|line| line.strip_prefix("person: ")).collect()
}

/// No sequence number comes twice, and they grow.
fn check_order(events: &[SessionEvent]) {
    for pair in events.windows(2) {
        assert!(pair[0].seq < pair[1].seq, "{} before {}", pair[0].seq, pair[1].seq);
    }
}

fn problem(error: &anyhow::Error) -> (u16, String, Option<String>) {
    let Refused(problem) = error.downcast_ref().unwrap_or_else(|| panic!("{error:?}"));
    (problem.status, problem.kind.clone(), problem.pointer.clone())
}

#[tokio::test]
async fn a_task_is_done_with_approval() -> Result<()> {
    let server = TestServer::start(Setup::policy("ask_every_time")).await?;
    let repository = server
        .data_dir()
        .join("../")
        .canonicalize()?
        .join(format!("repo-{}", std::process::id()));
    mistle_testkit::repository(&repository, &[("README.md", "# A project\n")])?;
    let session = server
        .api
        .new_session(&repository.display().to_string(), "run: cat README.md")
        .await?;
    assert_eq!((session.state, session.queued), (SessionState::Starting, 1));
    assert_eq!(session.title, "run: cat README.md");

    let mut live = server.api.live(session.id, 0).await?;
    let asked = live.approval().await?;
    let name = repository.file_name().context("name")?.to_string_lossy().into_owned();
    let ApprovalSubject::Command { command, cwd } = &asked.subject else {
        bail!("{asked:?}")
    };
    assert_eq!(
        (command.as_str(), cwd.as_str()),
        ("cat README.md", format!("/workspace/{name}").as_str())
    );
    let waiting = server.api.session(session.id).await?;
    assert_eq!(
        (waiting.activity, waiting.approvals.len(), waiting.queued),
        (Activity::NeedsYou, 1, 0)
    );

    server.api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let again = server.api.answer(session.id, &asked.id, Decision::Accept, None).await;
    assert_eq!(
        problem(&again.unwrap_err()),
        (409, "approval-answered".to_owned(), None)
    );

    let events = server.api.events(session.id).await?;
    check_order(&events);
    let output = events.iter().find_map(|event| match &event.event {
        EventBody::Agent(AgentEvent::ItemCompleted { item }) => match &item.body {
            ItemBody::Command { output, exit_code, .. } => Some((output.clone(), *exit_code)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(output, Some(("# A project\n".to_owned(), Some(0))));
    let idle = server.api.session(session.id).await?;
    assert_eq!(
        (idle.activity, idle.approvals.len(), idle.turn_id),
        (Activity::Idle, 0, None)
    );
    assert!(idle.usage.is_some() && !idle.models.is_empty());

    // What a reader of the stream saw is what is stored; one that comes later sees the same.
    let streamed: Vec<u64> = live.seen.iter().filter_map(event).map(|event| event.seq).collect();
    assert!(streamed.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{streamed:?}");
    let mut late = server.api.live(session.id, 3).await?;
    late.until(|message| matches!(message, LiveMessage::CaughtUp { .. }).then_some(()))
        .await?;
    let replayed: Vec<&SessionEvent> = late.seen.iter().filter_map(event).collect();
    let stored: Vec<&SessionEvent> = events.iter().filter(|event| event.seq > 3).collect();
    assert_eq!(replayed[..stored.len()], stored[..]);
    std::fs::remove_dir_all(&repository)?;

    // A record is written beside the answer that it tells of.
    let mut egress = Vec::new();
    eventually("a record of the way out", async || {
        let page: Page<EgressRecord> = server.api.get(&format!("/sessions/{}/egress", session.id)).await?;
        egress = page.data;
        Ok(!egress.is_empty())
    })
    .await?;
    assert!(
        egress.iter().all(|record| record.host == "demo.model.mistle.internal"),
        "{egress:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_server_loses_and_doubles_nothing() -> Result<()> {
    let mut server = autonomous().await?;
    // It lasts for longer than the server is away, so what is queued behind it waits all the time.
    let session = server.api.new_session("", "slow stream 150 every 100ms").await?;
    let mut live = server.api.live(session.id, 0).await?;
    let mut deltas = 0;
    live.until(|message| {
        deltas += usize::from(matches!(agent_event(message), Some(AgentEvent::ItemDelta { .. })));
        (deltas >= 3).then_some(())
    })
    .await?;
    let queued = server
        .api
        .send(session.id, "say: after the restart", Delivery::Queue)
        .await?;
    let seen = live
        .seen
        .iter()
        .filter_map(event)
        .map(|event| event.seq)
        .max()
        .context("no event")?;

    server.kill().await?;
    server.start_again().await?;

    // Nothing that was acknowledged is gone.
    let after = server.api.session(session.id).await?;
    assert!(after.last_seq >= seen && after.queued == 1, "{after:?}");
    let mut live = server.api.live(session.id, seen).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let first = live.seen.iter().find_map(event).context("no event")?;
    assert!(first.seq > seen);
    check_order(&live.seen.iter().filter_map(event).cloned().collect::<Vec<_>>());

    let said = said(&server.api, session.id).await?;
    assert_eq!(persons(&said), ["slow stream 150 every 100ms", queued.text.as_str()]);
    let slow = said
        .iter()
        .find(|line| line.starts_with("agent: "))
        .context("no answer")?;
    assert!(slow.lines().count() >= 150, "{slow}");
    assert_eq!(said.last().map(String::as_str), Some("agent: after the restart"));
    assert_eq!(server.api.session(session.id).await?.state, SessionState::Running);
    Ok(())
}

#[tokio::test]
async fn an_approval_survives_the_server() -> Result<()> {
    let mut server = TestServer::start(Setup::policy("ask_every_time")).await?;
    let session = server.api.new_session("", "run: echo it ran").await?;
    let asked = server.api.live(session.id, 0).await?.approval().await?;
    server.kill().await?;
    server.start_again().await?;
    let waiting = server.api.session(session.id).await?;
    assert_eq!((waiting.activity, waiting.approvals.len()), (Activity::NeedsYou, 1));
    let mut live = server.api.live(session.id, waiting.last_seq).await?;
    // At once, although the daemon may not be back yet.
    server.api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(())
}

#[tokio::test]
async fn messages_go_once_and_in_order_through_kills() -> Result<()> {
    let mut server = autonomous().await?;
    let session = server.api.new_session("", "slow stream 12 every 100ms").await?;
    let texts: Vec<String> = (1..=6).map(|number| format!("say: number {number}")).collect();
    for text in &texts[..3] {
        server.api.send(session.id, text, Delivery::Queue).await?;
    }
    server.kill().await?;
    server.start_again().await?;
    for text in &texts[3..] {
        server.api.send(session.id, text, Delivery::Queue).await?;
    }
    let mut live = server.api.live(session.id, 0).await?;
    live.until(|message| {
        let delivered = matches!(agent_event(message), Some(AgentEvent::MessageDelivered { .. }));
        delivered.then_some(())
    })
    .await?;
    server.kill().await?;
    server.start_again().await?;
    eventually("every message is worked off", async || {
        let now = server.api.session(session.id).await?;
        Ok(now.queued == 0 && now.activity == Activity::Idle && now.state == SessionState::Running)
    })
    .await?;
    let said = said(&server.api, session.id).await?;
    let mut expected = vec!["slow stream 12 every 100ms"];
    expected.extend(texts.iter().map(String::as_str));
    assert_eq!(persons(&said), expected);
    Ok(())
}

#[tokio::test]
async fn the_queue_can_be_changed_and_steers() -> Result<()> {
    let server = autonomous().await?;
    let session = server.api.new_session("", "slow stream 300 every 100ms").await?;
    let mut live = server.api.live(session.id, 0).await?;
    live.until(|message| matches!(agent_event(message), Some(AgentEvent::ItemDelta { .. })).then_some(()))
        .await?;
    let path = format!("/sessions/{}/messages", session.id);
    let later = server.api.send(session.id, "say: later", Delivery::Queue).await?;
    let never = server.api.send(session.id, "say: never", Delivery::Queue).await?;
    let edit = MessagePatch {
        text: Some("say: edited".to_owned()),
        ..MessagePatch::default()
    };
    let edited: QueuedMessage = server
        .api
        .request(Method::PATCH, &format!("{path}/{}", later.id), Some(&edit))
        .await?;
    assert_eq!(edited.text, "say: edited");
    server
        .api
        .request::<()>(Method::DELETE, &format!("{path}/{}", never.id), None::<&()>)
        .await?;
    let queue: Vec<QueuedMessage> = server.api.get(&path).await?;
    assert_eq!(queue.iter().map(|message| message.id).collect::<Vec<_>>(), [later.id]);

    // What steers goes into the running turn, before what was queued earlier.
    let steered = server.api.send(session.id, "be brief", Delivery::Steer).await?;
    let turn = live
        .until(|message| match agent_event(message)? {
            AgentEvent::MessageDelivered {
                message_id, turn_id, ..
            } if *message_id == steered.id => Some(turn_id.clone()),
            _ => None,
        })
        .await?;
    assert_eq!(server.api.session(session.id).await?.turn_id, Some(turn));
    server.api.act(session.id, "interrupt").await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Interrupted);
    live.until(|message| match agent_event(message)? {
        AgentEvent::MessageDelivered { message_id, .. } if *message_id == later.id => Some(()),
        _ => None,
    })
    .await?;
    let gone = server
        .api
        .request::<()>(Method::DELETE, &format!("{path}/{}", later.id), None::<&()>)
        .await;
    assert_eq!(problem(&gone.unwrap_err()).0, 404);
    Ok(())
}

#[tokio::test]
async fn stop_and_start_remember() -> Result<()> {
    let server = autonomous().await?;
    let session = server.api.new_session("", "remember the blue door").await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    server
        .api
        .send(session.id, "run: echo kept > /workspace/note", Delivery::Steer)
        .await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    server.api.act(session.id, "stop").await?;
    server.api.act(session.id, "stop").await?;
    live.state(SessionState::Stopped).await?;
    // Readable when stopped, and what is said meanwhile waits.
    assert!(said(&server.api, session.id).await?.len() >= 2);
    server
        .api
        .send(session.id, "what did I ask you to remember", Delivery::Steer)
        .await?;
    server
        .api
        .send(session.id, "run: cat /workspace/note", Delivery::Queue)
        .await?;
    assert_eq!(server.api.session(session.id).await?.queued, 2);

    // Two at once are one.
    let (one, two) = tokio::join!(server.api.act(session.id, "start"), server.api.act(session.id, "start"));
    one.and(two)?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let said = said(&server.api, session.id).await?;
    assert!(
        said.iter()
            .any(|line| line.starts_with("agent: ") && line.contains("the blue door")),
        "{said:?}"
    );
    assert!(said.last().is_some_and(|line| line.contains("kept")), "{said:?}");
    let events = server.api.events(session.id).await?;
    let starts = events.iter().filter(|event| {
        matches!(
            event.event,
            EventBody::Server(ServerEvent::State {
                state: SessionState::Starting,
                ..
            })
        )
    });
    assert_eq!(starts.count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_killed_sandbox_is_told_and_starts_again() -> Result<()> {
    let server = autonomous().await?;
    let session = server.api.new_session("", "slow stream 100 every 100ms").await?;
    let mut live = server.api.live(session.id, 0).await?;
    live.until(|message| matches!(agent_event(message), Some(AgentEvent::ItemDelta { .. })).then_some(()))
        .await?;
    let pids = sandbox_processes(session.id);
    assert!(!pids.is_empty(), "no process of the sandbox found");
    for pid in pids {
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()?;
    }
    let failed = live.state(SessionState::Failed).await?;
    let trouble = failed.trouble.context("no trouble")?;
    assert_eq!(trouble.code, "sandbox_exited");
    assert!(trouble.hint.is_some());
    assert_eq!((failed.activity, failed.turn_id), (Activity::Idle, None));

    server.api.act(session.id, "start").await?;
    let running = live.state(SessionState::Running).await?;
    assert_eq!(running.trouble, None);
    server.api.send(session.id, "say: alive", Delivery::Queue).await?;
    live.until(|message| match agent_event(message)? {
        AgentEvent::ItemCompleted { item } => match &item.body {
            ItemBody::AgentMessage { text } if text == "alive" => Some(()),
            _ => None,
        },
        _ => None,
    })
    .await?;
    let said = said(&server.api, session.id).await?;
    assert_eq!(persons(&said), ["slow stream 100 every 100ms", "say: alive"]);
    Ok(())
}

#[tokio::test]
async fn a_deleted_session_leaves_nothing() -> Result<()> {
    let server = autonomous().await?;
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    live.turn_end().await?;
    let disks = server.data_dir().join("embedded/sandboxes");
    assert!(names(&disks, session.id) && !sandbox_processes(session.id).is_empty());
    let path = format!("/sessions/{}?now=true", session.id);
    let deleted: Session = server.api.request(Method::DELETE, &path, None::<&()>).await?;
    assert_eq!(deleted.state, SessionState::Deleted);
    live.until(|message| matches!(message, LiveMessage::Deleted { .. }).then_some(()))
        .await?;
    assert_eq!(problem(&server.api.session(session.id).await.unwrap_err()).0, 404);
    let list: Page<Session> = server.api.get("/sessions").await?;
    assert_eq!(list.data, []);
    eventually("its disk and processes are gone", async || {
        let trash = server.data_dir().join("embedded/trash").read_dir()?.count();
        Ok(sandbox_processes(session.id).is_empty() && !names(&disks, session.id) && trash == 0)
    })
    .await
}

fn names(folder: &Path, id: SessionId) -> bool {
    folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains(&id.to_string()))
}

#[tokio::test]
async fn a_server_killed_in_the_middle_of_a_start_goes_on() -> Result<()> {
    let mut server = autonomous().await?;
    let mut ids = Vec::new();
    for number in 0..2 {
        ids.push(server.api.new_session("", &format!("say: number {number}")).await?.id);
    }
    // At different moments of the start: the runtime is being started, the sandbox is, the row exists.
    let reached: [fn(&LiveMessage) -> Option<()>; 2] = [
        |message| {
            let is_it = |event: &AgentEvent| {
                matches!(
                    event,
                    AgentEvent::SetupProgress {
                        step: SetupStep::Runtime,
                        ..
                    }
                )
            };
            agent_event(message).filter(|event| is_it(event)).map(drop)
        },
        |message| match &event(message)?.event {
            EventBody::Server(ServerEvent::State { state, .. }) => (*state == SessionState::Starting).then_some(()),
            EventBody::Agent(_) => None,
        },
    ];
    for (id, reached) in ids.iter().zip(reached) {
        server.api.live(*id, 0).await?.until(reached).await?;
    }
    ids.push(server.api.new_session("", "say: number 2").await?.id);
    server.kill().await?;
    server.start_again().await?;
    for (number, id) in ids.into_iter().enumerate() {
        let mut live = server.api.live(id, 0).await?;
        assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
        let said = said(&server.api, id).await?;
        assert_eq!(
            said,
            [
                format!("person: say: number {number}"),
                format!("agent: number {number}")
            ]
        );
    }
    Ok(())
}

#[tokio::test]
async fn twenty_at_once_become_ready() -> Result<()> {
    let server = autonomous().await?;
    let created = futures::future::try_join_all((0..20).map(|number| {
        let api = server.api.clone();
        async move { api.new_session("", &format!("say: number {number}")).await }
    }))
    .await?;
    let ended = futures::future::join_all(created.iter().map(|session| {
        let (api, id) = (server.api.clone(), session.id);
        async move {
            let mut live = api.live(id, 0).await?;
            live.turn_end().await
        }
    }))
    .await;
    for outcome in ended {
        assert_eq!(outcome?, TurnOutcome::Completed);
    }
    for (number, session) in created.iter().enumerate() {
        assert_eq!(
            said(&server.api, session.id).await?.last(),
            Some(&format!("agent: number {number}"))
        );
    }
    Ok(())
}

#[tokio::test]
async fn wrong_input_is_named() -> Result<()> {
    let server = autonomous().await?;
    let no_repository = server.data_dir().with_file_name("nothing-here");
    let plain = tempfile::tempdir()?;
    let new = |task: &str| NewSession {
        task: task.to_owned(),
        ..NewSession::default()
    };
    let from = |source: &str, branch: Option<&str>| {
        let branch = branch.map(str::to_owned);
        let source = source.to_owned();
        NewSession {
            repository: Some(mistle_protocol::profile::Repository {
                name: None,
                source,
                branch,
            }),
            ..new("say: x")
        }
    };
    let long = "x".repeat(mistle_protocol::api::MAX_MESSAGE_BYTES + 1);
    let cases = [
        (new(" "), "task-empty", "/task"),
        (new(&long), "task-too-long", "/task"),
        (
            NewSession {
                profile: Some("none".to_owned()),
                ..new("x")
            },
            "profile-not-found",
            "/profile",
        ),
        (
            NewSession {
                model: Some("a\nb".to_owned()),
                ..new("x")
            },
            "model-invalid",
            "/model",
        ),
        (
            NewSession {
                title: Some(String::new()),
                ..new("x")
            },
            "title-invalid",
            "/title",
        ),
        (
            from(&no_repository.display().to_string(), None),
            "repository-not-found",
            "/repository/source",
        ),
        (
            from(&plain.path().display().to_string(), None),
            "repository-not-git",
            "/repository/source",
        ),
        (
            from("ssh://example.org/x", None),
            "repository-source-invalid",
            "/repository/source",
        ),
        (
            from("https://example.org/x", Some("-x")),
            "branch-not-found",
            "/repository/branch",
        ),
    ];
    for (request, kind, pointer) in cases {
        let refused = server.api.post::<Session>("/sessions", &request).await.unwrap_err();
        assert_eq!(problem(&refused), (422, kind.to_owned(), Some(pointer.to_owned())));
    }
    let list: Page<Session> = server.api.get("/sessions").await?;
    assert_eq!(list.data, []);
    assert_eq!(problem(&server.api.session(SessionId::new()).await.unwrap_err()).0, 404);
    Ok(())
}

#[tokio::test]
async fn a_repeated_request_makes_one_session() -> Result<()> {
    let server = autonomous().await?;
    let token = std::fs::read_to_string(server.data_dir().join("cli-token"))?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let create = async |task: &str| {
        let body = HashMap::from([("task", task)]);
        let request = http
            .post(format!("{}/api/v1/sessions", server.api.url()))
            .bearer_auth(token.trim());
        anyhow::Ok(request.header("Idempotency-Key", "one").json(&body).send().await?)
    };
    let (one, two) = tokio::join!(create("say: once"), create("say: once"));
    let (one, two): (Session, Session) = (one?.json().await?, two?.json().await?);
    assert_eq!(one.id, two.id);
    assert_eq!(create("say: another").await?.status(), 409);
    let list: Page<Session> = server.api.get("/sessions").await?;
    assert_eq!(list.data.len(), 1);
    Ok(())
}
