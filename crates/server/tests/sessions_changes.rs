//! The changes of a session, through the whole chain: server, sandbox, daemon, git and Codex.

use anyhow::{Context as _, Result};
use mistle_protocol::agent::{AgentEvent, ItemBody, TurnOutcome};
use mistle_protocol::api::NewMessage;
use mistle_protocol::changes::{
    Comment, CommentAnchor, CommentState, Discard, Discarded, FileDiff, FileStatus, FoundFiles, MarkViewed, NewComment,
    Placement, RepoPath, Restore, Scope, Side, Viewed, WatchMode,
};
use mistle_protocol::id::CommentId;
use mistle_protocol::session::{Delivery, EventBody, LiveMessage, QueuedMessage, SessionState};
use mistle_testkit::{Api, Refused, Setup, TestServer, agent_event, repository};
use reqwest::Method;

#[tokio::test]
async fn a_change_is_reviewed() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let outside = tempfile::tempdir()?;
    let folder = outside.path().join("library");
    repository(
        &folder,
        &[("a.txt", "one\ntwo\nthree\n"), ("src/main.rs", "fn main() {}\n")],
    )?;
    let session = api
        .new_session(&folder.display().to_string(), "run: sed -i s/two/2/ a.txt")
        .await?;
    let base = format!("/sessions/{}", session.id);
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    let diff = |scope: Scope| format!("{base}/changes/diff?path=a.txt&scope={}", scope.name());
    for scope in [Scope::Branch, Scope::Uncommitted, Scope::LastTurn] {
        let diff: FileDiff = api.get(&diff(scope)).await?;
        let file = diff.file.expect("it changed");
        assert_eq!(
            (file.status, file.added, file.removed),
            (FileStatus::Modified, Some(1), Some(1)),
            "{scope:?}"
        );
    }
    let found: FoundFiles = api.get(&format!("{base}/files?q=main")).await?;
    assert_eq!(found.files[0].path.text, "src/main.rs");

    let file = api
        .get::<FileDiff>(&diff(Scope::Branch))
        .await?
        .file
        .expect("it changed");
    let mark = MarkViewed {
        path: file.path.clone(),
        fingerprint: Some(file.fingerprint.clone()),
    };
    api.request::<()>(Method::PUT, &format!("{base}/changes/viewed"), Some(&mark))
        .await?;
    let viewed: Vec<Viewed> = api.get(&format!("{base}/changes/viewed")).await?;
    assert_eq!(viewed[0].fingerprint, file.fingerprint);

    let comment = NewComment {
        anchor: CommentAnchor {
            workspace: None,
            path: file.path.clone(),
            old_path: None,
            side: Side::New,
            scope: Scope::Branch,
            start_line: 2,
            end_line: 2,
            quote: vec!["2".to_owned()],
            before: vec!["one".to_owned()],
            after: vec!["three".to_owned()],
        },
        text: "Why a digit?".to_owned(),
    };
    let comment: Comment = api.post(&format!("{base}/comments"), &comment).await?;

    // A change from outside of the conversation is told, and the comment moves with its lines.
    let exec = api
        .send(session.id, "run: sed -i 1i\\\\zero a.txt", Delivery::Queue)
        .await?;
    assert!(exec.comments.is_empty());
    let (mut told, mut ended) = (false, false);
    live.until(|message| {
        told |= matches!(message, LiveMessage::Changes { .. });
        ended |= matches!(agent_event(message), Some(AgentEvent::TurnCompleted { .. }));
        (told && ended).then_some(())
    })
    .await?;
    let comments: Vec<Comment> = api.get(&format!("{base}/comments")).await?;
    assert_eq!(
        comments[0].placement,
        Some(Placement::Located {
            start_line: 3,
            end_line: 3,
            path: None
        })
    );

    let message = NewMessage {
        text: "say: seen".to_owned(),
        delivery: Delivery::Queue,
        comments: vec![comment.id],
        ..NewMessage::default()
    };
    let sent: QueuedMessage = api.post(&format!("{base}/messages"), &message).await?;
    assert_eq!(sent.comments, [comment.id]);
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let said = api
        .events(session.id)
        .await?
        .into_iter()
        .any(|event| match event.event {
            EventBody::Agent(AgentEvent::ItemCompleted { item }) => match item.body {
                ItemBody::UserMessage { text, .. } => {
                    text.contains("`a.txt`, line 3 (after the change):\n```\n2\n```\nWhy a digit?")
                }
                _ => false,
            },
            _ => false,
        });
    assert!(said, "the comment was not told");
    let comments: Vec<Comment> = api.get(&format!("{base}/comments")).await?;
    assert_eq!(
        (comments[0].state, comments[0].message_id),
        (CommentState::Sent, Some(sent.id))
    );
    let again = api
        .post::<QueuedMessage>(&format!("{base}/messages"), &message)
        .await
        .unwrap_err();
    assert_eq!(again.downcast::<Refused>()?.0.kind, "comment-sent");

    let file = api
        .get::<FileDiff>(&diff(Scope::Branch))
        .await?
        .file
        .expect("it changed");
    let discard = Discard {
        path: file.path,
        scope: Scope::Branch,
        hunk: None,
        fingerprint: file.fingerprint,
    };
    let done: Discarded = api.post(&format!("{base}/changes/discard"), &discard).await?;
    assert_eq!(api.get::<FileDiff>(&diff(Scope::Branch)).await?.file, None);
    api.post::<()>(&format!("{base}/changes/restore"), &Restore { undo: done.undo })
        .await?;
    assert!(api.get::<FileDiff>(&diff(Scope::Branch)).await?.file.is_some());

    api.act(session.id, "stop").await?;
    live.until(|message| match message {
        LiveMessage::Session { session } => (session.state == SessionState::Stopped).then_some(()),
        _ => None,
    })
    .await?;
    let stopped = api.get::<FileDiff>(&diff(Scope::Branch)).await.unwrap_err();
    assert_eq!(stopped.downcast::<Refused>()?.0.kind, "session-stopped");
    assert_eq!(
        api.get::<Vec<Comment>>(&format!("{base}/comments")).await?[0].placement,
        None
    );
    Ok(())
}

/// A line that is commented on.
struct On<'a> {
    path: &'a str,
    old_path: Option<&'a str>,
    side: Side,
    scope: Scope,
    line: u64,
    quote: &'a str,
}

async fn comment(api: &Api, base: &str, on: On<'_>) -> Result<CommentId> {
    let path = |path: &str| RepoPath::from_bytes(path.as_bytes());
    let anchor = CommentAnchor {
        workspace: None,
        path: path(on.path),
        old_path: on.old_path.map(path),
        side: on.side,
        scope: on.scope,
        start_line: on.line,
        end_line: on.line,
        quote: vec![on.quote.to_owned()],
        before: Vec::new(),
        after: Vec::new(),
    };
    let text = "Why?".to_owned();
    let made: Comment = api
        .post(&format!("{base}/comments"), &NewComment { anchor, text })
        .await?;
    Ok(made.id)
}

/// Where a comment is, in a scope or in its own.
async fn placed(api: &Api, base: &str, id: CommentId, scope: Option<Scope>) -> Result<Placement> {
    let query = scope
        .map(|scope| format!("?scope={}", scope.name()))
        .unwrap_or_default();
    let all: Vec<Comment> = api.get(&format!("{base}/comments{query}")).await?;
    let found = all.into_iter().find(|comment| comment.id == id);
    found.and_then(|comment| comment.placement).context("a placement")
}

fn located(line: u64, path: Option<&str>) -> Placement {
    Placement::Located {
        start_line: line,
        end_line: line,
        path: path.map(|path| RepoPath::from_bytes(path.as_bytes())),
    }
}

#[tokio::test]
async fn a_comment_follows_its_file_and_keeps_to_its_base() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let outside = tempfile::tempdir()?;
    let folder = outside.path().join("library");
    let lines = (1..=30).fold(String::new(), |text, n| text + &format!("line {n} of the file\n"));
    repository(&folder, &[("a.txt", &lines)])?;
    let session = api.new_session(&folder.display().to_string(), "say: ready").await?;
    let base = format!("/sessions/{}", session.id);
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let shell = async |script: &str| -> Result<()> {
        let ran = api.shell(session.id, script).await?;
        anyhow::ensure!(ran.code == 0, "{script}: {ran:?}");
        Ok(())
    };
    // The branch has another first line and another second one; what is not committed another ninth.
    shell(
        "git checkout -q -b work && sed -i -e 's/^line 2 .*/the second/' -e '1i the first' a.txt && \
         git commit -q -a -m work && sed -i 's/^line 9 .*/the ninth/' a.txt",
    )
    .await?;
    let on = |side, scope, line, quote| On {
        path: "a.txt",
        old_path: None,
        side,
        scope,
        line,
        quote,
    };
    let uncommitted = |line, quote| on(Side::Old, Scope::Uncommitted, line, quote);
    let ninth = comment(api, &base, uncommitted(10, "line 9 of the file")).await?;
    let second = comment(api, &base, uncommitted(3, "the second")).await?;
    let new = comment(api, &base, on(Side::New, Scope::Branch, 10, "the ninth")).await?;
    let at = async |id, scope| placed(api, &base, id, scope).await;
    assert_eq!(at(ninth, None).await?, located(10, None));
    assert_eq!(at(ninth, Some(Scope::Branch)).await?, located(9, None));
    assert_eq!(at(second, None).await?, located(3, None));
    let elsewhere = |path: Option<&str>| Placement::OtherScope {
        scope: Scope::Uncommitted,
        start_line: 3,
        end_line: 3,
        path: path.map(|path| RepoPath::from_bytes(path.as_bytes())),
    };
    assert_eq!(at(second, Some(Scope::Branch)).await?, elsewhere(None));
    assert_eq!(at(new, Some(Scope::Uncommitted)).await?, located(10, None));

    // The file gets another name, and git need not know.
    shell("mv a.txt b.txt").await?;
    assert_eq!(at(new, None).await?, located(10, Some("b.txt")));
    assert_eq!(at(ninth, None).await?, located(10, Some("b.txt")));
    assert_eq!(at(ninth, Some(Scope::Branch)).await?, located(9, Some("b.txt")));
    assert_eq!(at(second, Some(Scope::Branch)).await?, elsewhere(Some("b.txt")));
    // What is commented on under that name, told or not what it was.
    let renamed = |old_path| On {
        path: "b.txt",
        old_path,
        ..on(Side::Old, Scope::Branch, 9, "line 9 of the file")
    };
    let told = comment(api, &base, renamed(Some("a.txt"))).await?;
    let untold = comment(api, &base, renamed(None)).await?;
    assert_eq!(at(told, None).await?, located(9, None));
    assert_eq!(at(untold, None).await?, located(9, None));
    // And once more, in another folder and committed.
    shell("mkdir c && mv b.txt c/d.txt && git add -A && git commit -q -m moved").await?;
    assert_eq!(at(told, None).await?, located(9, Some("c/d.txt")));
    assert_eq!(at(new, None).await?, located(10, Some("c/d.txt")));

    // A file that the base does not have moves in a turn.
    shell("seq 100 140 > fresh.txt").await?;
    let fresh = On {
        path: "fresh.txt",
        ..on(Side::New, Scope::Branch, 5, "104")
    };
    let fresh = comment(api, &base, fresh).await?;
    api.send(session.id, "run: mv fresh.txt moved.txt", Delivery::Queue)
        .await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(at(fresh, None).await?, located(5, Some("moved.txt")));
    // Its message names the file as it is.
    let message = NewMessage {
        text: "say: seen".to_owned(),
        delivery: Delivery::Queue,
        comments: vec![fresh],
        ..NewMessage::default()
    };
    let sent: QueuedMessage = api.post(&format!("{base}/messages"), &message).await?;
    assert!(
        sent.text.contains("`moved.txt`, line 5 (after the change):"),
        "{}",
        sent.text
    );

    shell("rm c/d.txt").await?;
    assert_eq!(at(new, None).await?, Placement::Outdated);
    assert_eq!(at(told, None).await?, located(9, Some("a.txt")));
    Ok(())
}

#[tokio::test]
async fn a_tree_of_very_many_folders_is_said_to_be_looked_at_now_and_then() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let api = &server.api;
    let outside = tempfile::tempdir()?;
    let folder = outside.path().join("library");
    repository(&folder, &[("a.txt", "one\n")])?;
    let session = api.new_session(&folder.display().to_string(), "say: ready").await?;
    let mut live = api.live(session.id, 0).await?;
    let watched = |message: &LiveMessage| match message {
        LiveMessage::Changes { watch } => *watch,
        _ => None,
    };
    assert_eq!(live.until(watched).await?, WatchMode::Events);
    // More than are watched.
    let made = api
        .shell(session.id, "mkdir many && cd many && seq 17000 | xargs mkdir")
        .await?;
    assert_eq!(made.code, 0, "{made:?}");
    let rescan = live.until(watched).await?;
    assert!(matches!(rescan, WatchMode::Rescan { interval_ms: 1.. }), "{rescan:?}");
    // A change is told all the same, and who comes later learns how it is watched.
    api.shell(session.id, "echo two > many/17000/new.txt").await?;
    live.until(|message| matches!(message, LiveMessage::Changes { .. }).then_some(()))
        .await?;
    let mut late = api.live(session.id, 0).await?;
    assert_eq!(late.until(watched).await?, rescan);
    Ok(())
}
