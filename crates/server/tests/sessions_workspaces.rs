//! Several repositories in one session, and which of them is the primary one.

use anyhow::{Context, Result, bail};
use mistle_protocol::agent::{AgentEvent, ItemBody, TurnOutcome};
use mistle_protocol::api::{NewSession, NewTerminal, SessionPatch};
use mistle_protocol::control::TerminalInfo;
use mistle_protocol::id::SessionId;
use mistle_protocol::profile::Repository;
use mistle_protocol::session::{Delivery, EventBody, LiveMessage, Session};
use mistle_testkit::{Api, Live, Refused, Setup, TestServer};
use reqwest::Method;

/// Waits for the end of a turn; answers what its last command printed.
async fn printed(live: &mut Live) -> Result<String> {
    let mut last = String::new();
    let outcome = live
        .until(|message| {
            let LiveMessage::Event { event } = message else {
                return None;
            };
            match &event.event {
                EventBody::Agent(AgentEvent::ItemCompleted { item }) => {
                    if let ItemBody::Command { output, .. } = &item.body {
                        last.clone_from(output);
                    }
                    None
                }
                EventBody::Agent(AgentEvent::TurnCompleted { outcome, .. }) => Some(outcome.clone()),
                _ => None,
            }
        })
        .await?;
    if outcome != TurnOutcome::Completed {
        bail!("{outcome:?}");
    }
    Ok(last)
}

async fn patch(api: &Api, id: SessionId, cwd: &str) -> Result<Session> {
    let patch = SessionPatch {
        cwd: Some(cwd.to_owned()),
        ..SessionPatch::default()
    };
    api.request(Method::PATCH, &format!("/sessions/{id}"), Some(&patch))
        .await
}

fn repository(source: &std::path::Path, name: &str) -> Repository {
    Repository {
        name: Some(name.to_owned()),
        source: source.display().to_string(),
        branch: None,
    }
}

#[tokio::test]
async fn the_primary_repository_is_chosen() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let sources = tempfile::tempdir()?;
    for name in ["api", "page"] {
        let notes = format!("Mention the {name} in every answer.\n");
        mistle_testkit::repository(&sources.path().join(name), &[("AGENTS.md", &notes)])?;
    }
    let mut new = NewSession {
        repository: Some(repository(&sources.path().join("api"), "api")),
        repositories: vec![repository(&sources.path().join("page"), "api")],
        task: "run: pwd".to_owned(),
        ..NewSession::default()
    };
    let error = api
        .post::<Session>("/sessions", &new)
        .await
        .expect_err("one name twice");
    let Refused(problem) = error.downcast_ref().context("a problem")?;
    assert_eq!(problem.kind, "repository-name-taken");

    new.repositories = vec![repository(&sources.path().join("page"), "page")];
    let session: Session = api.post("/sessions", &new).await?;
    let folders: Vec<_> = session
        .workspaces
        .iter()
        .map(|workspace| (workspace.name.as_str(), workspace.path.as_str()))
        .collect();
    assert_eq!(folders, [("api", "/workspace/api"), ("page", "/workspace/page")]);
    assert_eq!(session.cwd, "/workspace/api");
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(printed(&mut live).await?, "/workspace/api\n");
    let conversation = api.session(session.id).await?.conversation_id;

    // Another folder is where the next turn and terminals are; the conversation goes on.
    let moved = patch(api, session.id, "/workspace/page").await?;
    assert_eq!(moved.cwd, "/workspace/page");
    let primary = moved.repository.and_then(|repository| repository.name);
    assert_eq!(primary.as_deref(), Some("page"));
    let size = NewTerminal {
        id: None,
        cols: 100,
        rows: 30,
        if_none: false,
    };
    let terminal: TerminalInfo = api.post(&format!("/sessions/{}/terminals", session.id), &size).await?;
    let mut shell = api.attach(session.id, terminal.id).await?;
    shell.type_in("echo at-$PWD-\r").await?;
    shell.until("at-/workspace/page-").await?;
    api.send(session.id, "run: pwd && cat AGENTS.md", Delivery::Steer)
        .await?;
    assert_eq!(
        printed(&mut live).await?,
        "/workspace/page\nMention the page in every answer.\n"
    );
    let after = api.session(session.id).await?;
    assert_eq!(after.conversation_id, conversation);
    assert_eq!((after.cwd.as_str(), after.state), ("/workspace/page", moved.state));

    // The runtime was not started again for it.
    let ready = |events: &[mistle_protocol::session::SessionEvent]| {
        let of_runtime = |event: &&mistle_protocol::session::SessionEvent| {
            matches!(event.event, EventBody::Agent(AgentEvent::RuntimeReady { .. }))
        };
        events.iter().filter(of_runtime).count()
    };
    assert_eq!(ready(&api.events(session.id).await?), 1);

    let error = patch(api, session.id, "/workspace/elsewhere")
        .await
        .expect_err("no such folder");
    let Refused(problem) = error.downcast_ref().context("a problem")?;
    assert_eq!(
        (problem.kind.as_str(), problem.pointer.as_deref()),
        ("workspace-not-found", Some("/cwd"))
    );
    Ok(())
}

#[tokio::test]
async fn folders_without_a_repository_are_workspaces_too() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let sources = tempfile::tempdir()?;
    for name in ["one/api", "two/api"] {
        mistle_testkit::repository(&sources.path().join(name), &[("README.md", "x\n")])?;
    }
    let source = |name: &str| Repository {
        name: None,
        source: sources.path().join(name).display().to_string(),
        branch: None,
    };
    let new = NewSession {
        repositories: vec![source("one/api"), source("two/api")],
        workspaces: vec!["notes".to_owned(), "scratch".to_owned()],
        primary: Some("notes".to_owned()),
        task: "run: pwd && ls /workspace".to_owned(),
        ..NewSession::default()
    };
    for (wrong, pointer) in [
        (
            NewSession {
                repositories: vec![source("one/api"), source("nowhere")],
                ..new.clone()
            },
            "/repositories/1/source",
        ),
        (
            NewSession {
                workspaces: vec!["notes".to_owned(), "../etc".to_owned()],
                ..new.clone()
            },
            "/workspaces/1",
        ),
        (
            NewSession {
                workspaces: vec!["api".to_owned()],
                primary: None,
                ..new.clone()
            },
            "/workspaces/0",
        ),
        (
            NewSession {
                primary: Some("elsewhere".to_owned()),
                ..new.clone()
            },
            "/primary",
        ),
    ] {
        let error = api.post::<Session>("/sessions", &wrong).await.expect_err("refused");
        let Refused(problem) = error.downcast_ref().context("a problem")?;
        assert_eq!(problem.pointer.as_deref(), Some(pointer), "{}", problem.kind);
    }
    let session: Session = api.post("/sessions", &new).await?;
    let paths: Vec<_> = session
        .workspaces
        .iter()
        .map(|workspace| workspace.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "/workspace/api",
            "/workspace/api-2",
            "/workspace/notes",
            "/workspace/scratch"
        ]
    );
    assert_eq!((session.cwd.as_str(), session.repository), ("/workspace/notes", None));
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(
        printed(&mut live).await?,
        "/workspace/notes\napi\napi-2\nnotes\nscratch\n"
    );

    // What the runtime offers is known to the next one who starts a session.
    let profiles: Vec<mistle_protocol::profile::ProfileSummary> = api.get("/profiles").await?;
    assert!(profiles[0].models.iter().any(|model| model.is_default));
    Ok(())
}
