//! A session's whole life: what each command says to a person, and to a program with `--json`.

use anyhow::Result;
use serde_json::Value;

use crate::world::{World, redacted};

fn shown(value: Value) -> String {
    serde_json::to_string_pretty(&redacted(value)).unwrap()
}

#[tokio::test]
async fn every_command_answers_a_program() -> Result<()> {
    let world = World::start("autonomous").await?;
    let created = world
        .json(&["session", "new", "say: hello", "--title", "A greeting"])
        .await?;
    let id: mistle_protocol::id::SessionId = serde_json::from_value(created["id"].clone())?;
    let session = id.to_string();
    insta::assert_snapshot!("json_new", shown(created));
    let mut live = world.server.api.live(id, 0).await?;
    live.turn_end().await?;

    insta::assert_snapshot!("json_show", shown(world.json(&["session", "show", &session]).await?));
    insta::assert_snapshot!("json_list", shown(world.json(&["session", "list", "greeting"]).await?));
    assert_eq!(
        world.json(&["session", "list", "nothing like it"]).await?,
        Value::Array(Vec::new())
    );
    insta::assert_snapshot!(
        "json_conversations",
        shown(world.json(&["session", "conversations", &session]).await?)
    );
    let record = world.run(&["--json", "session", "events", &session]).await?;
    let events: Vec<Value> = record
        .out
        .lines()
        .map(|line| serde_json::from_str(line).map(redacted))
        .collect::<Result<_, _>>()?;
    insta::assert_snapshot!("json_events", serde_json::to_string_pretty(&events)?);
    let last = record
        .out
        .lines()
        .last()
        .and_then(|line| serde_json::from_str::<Value>(line).ok());
    let last = last.unwrap_or_default()["seq"].to_string();
    let after = world
        .run(&["--json", "session", "events", &session, "--after", &last])
        .await?;
    assert_eq!((after.code, after.out.as_str()), (Some(0), ""));

    insta::assert_snapshot!("json_stop", shown(world.json(&["session", "stop", &session]).await?));
    live.state(mistle_protocol::session::SessionState::Stopped).await?;
    insta::assert_snapshot!(
        "json_send",
        shown(
            world
                .json(&["session", "send", &session, "say: later", "--queue"])
                .await?
        )
    );
    let deleted = world.json(&["session", "delete", &session]).await?;
    assert_eq!(
        (deleted["state"].as_str(), deleted["deletion"].is_object()),
        (Some("stopped"), true)
    );
    let listed = world.json(&["session", "list", "--deleted"]).await?;
    assert_eq!(listed[0]["id"], session.as_str());
    let restored = world.json(&["session", "restore", &session]).await?;
    assert_eq!(
        (restored["state"].as_str(), restored.get("deletion")),
        (Some("stopped"), None)
    );
    insta::assert_snapshot!("json_start", shown(world.json(&["session", "start", &session]).await?));
    live.turn_end().await?;
    let destroyed = world.json(&["session", "delete", &session, "--now", "--yes"]).await?;
    assert_eq!(destroyed["state"], "deleted");
    Ok(())
}

#[tokio::test]
async fn every_command_answers_a_person() -> Result<()> {
    let world = World::start("autonomous").await?;
    let created = world
        .run(&["session", "new", "say: hello", "--title", "A greeting"])
        .await?;
    let id: mistle_protocol::id::SessionId = created.out.trim().parse()?;
    let session = id.to_string();
    let mut live = world.server.api.live(id, 0).await?;
    live.turn_end().await?;

    insta::assert_snapshot!("events", world.run(&["session", "events", &session]).await?.shown());
    let show = world.run(&["session", "show", &session]).await?;
    let names: Vec<&str> = show
        .out
        .lines()
        .map(|line| line.split_whitespace().next().unwrap_or(""))
        .collect();
    assert_eq!(
        names,
        ["A", "id", "state", "profile", "model", "folder", "tokens", "queued"],
        "{show:?}"
    );
    let list = world.run(&["session", "list"]).await?;
    let (head, row) = list.out.split_once('\n').unwrap_or_default();
    assert!(
        head.starts_with("ID ") && row.contains("ready") && row.ends_with("A greeting\n"),
        "{list:?}"
    );
    let none = world.run(&["session", "list", "nothing like it"]).await?;
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "There is none.\n"));
    let conversations = world.run(&["session", "conversations", &session]).await?;
    assert_eq!(
        conversations.out.lines().filter(|line| line.starts_with('*')).count(),
        1
    );

    assert_eq!(world.run(&["session", "stop", &session]).await?.out, "stopping\n");
    let stopped = world.run(&["session", "stop", &session, "--wait"]).await?;
    assert_eq!(
        (stopped.code, stopped.err.lines().last()),
        (Some(0), Some("stopped")),
        "{stopped:?}"
    );
    let sent = world.run(&["session", "send", &session, "say: later"]).await?;
    insta::assert_snapshot!("sent_while_stopped", sent.shown());
    assert_eq!(world.run(&["session", "start", &session]).await?.out, "starting\n");
    live.turn_end().await?;

    insta::assert_snapshot!("deleted", world.run(&["session", "delete", &session]).await?.shown());
    let unsure = world.run(&["session", "delete", &session, "--now"]).await?;
    assert_eq!(unsure.code, Some(1));
    assert_eq!(
        unsure.err,
        "mistle: destroying takes the session's disk with it; say --yes\n"
    );
    let restored = world.run(&["session", "restore", &session]).await?;
    assert!(restored.out.starts_with("restored; stop"), "{restored:?}");
    let destroyed = world.run(&["session", "delete", &session, "--now", "--yes"]).await?;
    assert_eq!(destroyed.out, "destroyed\n");
    Ok(())
}
