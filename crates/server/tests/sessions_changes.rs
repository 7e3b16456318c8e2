//! The changes of a session, through the whole chain: server, sandbox, daemon, git and Codex.

use anyhow::Result;
use mistle_protocol::agent::{AgentEvent, ItemBody, TurnOutcome};
use mistle_protocol::api::NewMessage;
use mistle_protocol::changes::{
    Comment, CommentAnchor, CommentState, Discard, Discarded, FileDiff, FileStatus, FoundFiles, MarkViewed, NewComment,
    Placement, Restore, Scope, Side, Viewed,
};
use mistle_protocol::session::{Delivery, EventBody, LiveMessage, QueuedMessage, SessionState};
use mistle_testkit::{Refused, Setup, TestServer, agent_event, repository};
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
