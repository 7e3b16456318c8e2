//! What waiting for a turn shows, and the exit code that it ends with.

use anyhow::Result;
use mistle_protocol::session::SessionState;

use crate::world::{Ended, World};

/// Longer than what is done to it takes.
const LONG: &str = "slow stream 300 every 100ms";

#[tokio::test]
async fn new_with_wait_shows_the_work_and_ends_with_the_turns_outcome() -> Result<()> {
    let world = World::start("autonomous").await?;
    let done = world.run(&["session", "new", "run: echo hello", "--wait"]).await?;
    insta::assert_snapshot!("done", done.shown());
    let failed = world.run(&["session", "new", "fail 400: not today", "--wait"]).await?;
    insta::assert_snapshot!("failed", failed.shown());

    // What was there before a message is not shown again.
    let id = world.newest().await?.to_string();
    let sent = world.run(&["session", "send", &id, "say: and now?", "--wait"]).await?;
    insta::assert_snapshot!("sent", sent.shown());
    let from_stdin = world
        .run_with(
            &["session", "send", &id, "-", "--wait"],
            b"say: from a pipe\nand its second line\n",
        )
        .await?;
    assert!(
        from_stdin.out.contains("> say: from a pipe\n> and its second line\n") && from_stdin.code == Some(0),
        "{from_stdin:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_interrupt_a_stop_and_a_deletion_end_with_3() -> Result<()> {
    let world = World::start("autonomous").await?;
    let mut watched = world.begin(&["session", "new", LONG, "--wait"])?;
    watched.until("Line 3 of 300.").await?;
    let id = world.newest().await?.to_string();
    let interrupt = world.run(&["session", "interrupt", &id]).await?;
    assert_eq!((interrupt.code, interrupt.out.as_str()), (Some(0), ""));
    let interrupted = watched.end().await?;
    assert_eq!(interrupted.code, Some(3), "{interrupted:?}");
    assert!(interrupted.out.ends_with("! interrupted\n"), "{interrupted:?}");

    let mut watched = world.begin(&["session", "send", &id, LONG, "--wait"])?;
    watched.until("Line 3 of 300.").await?;
    let stop = world.run(&["session", "stop", &id, "--wait"]).await?;
    assert_eq!(stop.code, Some(0), "{stop:?}");
    assert_eq!(watched.end().await?.code, Some(3));

    let start = world.run(&["session", "start", &id, "--wait"]).await?;
    assert_eq!(start.code, Some(0), "{start:?}");
    let mut watched = world.begin(&["session", "send", &id, LONG, "--wait"])?;
    watched.until("Line 3 of 300.").await?;
    let delete = world.run(&["session", "delete", &id, "--now", "--yes"]).await?;
    assert_eq!((delete.code, delete.out.as_str()), (Some(0), "destroyed\n"));
    assert_eq!(watched.end().await?.code, Some(3));
    Ok(())
}

#[tokio::test]
async fn a_session_that_fails_ends_with_1_and_says_why() -> Result<()> {
    let world = World::start("autonomous").await?;
    let repository = "https://repository.invalid/project.git";
    let failed = world
        .run(&["session", "new", "say: hello", "--repository", repository, "--wait"])
        .await?;
    // How often git tells of its progress depends on the machine.
    let out = String::new();
    insta::assert_snapshot!("session_failed", Ended { out, ..failed }.shown());
    let id = world.newest().await?;
    assert_eq!(world.server.api.session(id).await?.state, SessionState::Failed);
    // A message waits for a session that runs, and its sender is told at once.
    let waits = world
        .run(&["session", "send", &id.to_string(), "say: hello?", "--wait"])
        .await?;
    assert_eq!(waits.code, Some(1), "{waits:?}");
    assert!(
        waits.err.contains(&format!("`mistle session start {id}` starts it")),
        "{waits:?}"
    );
    Ok(())
}

#[tokio::test]
async fn waiting_outlives_the_server() -> Result<()> {
    let mut world = World::start("autonomous").await?;
    // The model goes down with the server; a command goes on.
    let task = "run: for n in $(seq 50); do echo line $n; sleep 0.1; done";
    let mut watched = world.begin(&["session", "new", task, "--wait"])?;
    watched.until("line 3\n").await?;
    world.server.kill().await?;
    world.server.start_again().await?;
    let ended = watched.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Every line once, although the stream was opened twice.
    let (work, _) = ended.out.split_once("The command ended.").unwrap_or_default();
    for n in 1..=50 {
        assert_eq!(work.matches(&format!("line {n}\n")).count(), 1, "{n}: {work}");
    }
    Ok(())
}
