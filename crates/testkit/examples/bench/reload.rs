//! The reload of a session with a long record, in Chromium, against the real server.
//!
//! The record begins as a real session's: Codex runs some turns. Ten thousand events would take it
//! many minutes, so its turns are then repeated, with identifiers of their own, through the store's
//! API while the server is down.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use mistle_protocol::agent::AgentEvent;
use mistle_protocol::id::{MessageId, SessionId};
use mistle_protocol::session::{Delivery, EventBody, SessionEvent};
use mistle_store::Store;
use mistle_store::events::EventRow;
use mistle_store::sessions::Change;
use mistle_testkit::{TestServer, repository};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::browser;
use crate::figures::{Budget, Report};

/// Events in the record.
const EVENTS: usize = 10_000;
/// Reloads that count.
const ROUNDS: usize = 15;
/// What Codex really does, a turn each: commands, edits, reasoning and text of every kind.
const TURNS: [&str; 6] = [
    "run 24 times: ls -la / | head -20",
    "markdown",
    "edit README.md",
    "think: about the next step",
    "create notes.txt: some notes",
    "run 8 times: cat README.md",
];
/// What the agent says last. The page is there when it is seen.
const LAST: &str = "That was the last of ten thousand";

/// What the browser answers, in milliseconds.
#[derive(Deserialize)]
struct Reloads {
    first: f64,
    rounds: Vec<f64>,
    long_tasks: Vec<f64>,
}

/// Measures it, if there is a browser.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    if let Some(why) = browser::missing() {
        report.note(format!("reload with {EVENTS} events: not measured ({why})"));
        return Ok(());
    }
    let mut server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("project");
    repository(&source, &[("README.md", "# Project\n\nA line.\nAnother line.\n")])?;
    let id = real_session(&server, &source.to_string_lossy()).await?;
    server.kill().await?;
    let (real, all) = lengthen(&server, id).await?;
    server.start_again().await?;
    say(&server, id, &format!("say: {LAST}")).await?;

    let job = json!({
        "job": "reload",
        "login": server.login_link,
        "url": format!("{}/s/{id}", server.api.url()),
        "last": LAST,
        "rounds": ROUNDS,
    });
    let measured: Reloads = browser::measure(&job).await?;
    let what = format!("reload of a session with {all} events → interactive, Chromium");
    report.add(&what, "ms", Some(Budget::AtMost(1000.0)), &measured.rounds);
    report.add(
        "of which tasks that block the page, each over 50 ms",
        "ms",
        None,
        &measured.long_tasks,
    );
    report.add("the same, first visit of a browser", "ms", None, &[measured.first]);
    report.note(format!(
        "Reload: {real} of the {all} events were made by Codex; its turns were then repeated in the record through the store."
    ));
    Ok(())
}

async fn real_session(server: &TestServer, source: &str) -> Result<SessionId> {
    let session = server.api.new_session(source, "say: hello").await?;
    server.api.live(session.id, 0).await?.turn_end().await?;
    for turn in TURNS {
        say(server, session.id, turn).await?;
    }
    Ok(session.id)
}

/// Sends a message and waits until its turn is over.
async fn say(server: &TestServer, id: SessionId, text: &str) -> Result<()> {
    let after = server.api.session(id).await?.last_seq;
    server.api.send(id, text, Delivery::Queue).await?;
    server.api.live(id, after).await?.turn_end().await?;
    Ok(())
}

/// Repeats the session's turns until the record is long enough. Answers how many events there were,
/// and how many there are.
async fn lengthen(server: &TestServer, id: SessionId) -> Result<(usize, usize)> {
    let store = Store::connect(&format!("sqlite://{}", server.data_dir().join("mistle.db").display())).await?;
    let mut row = store.session(id).await?.context("the session")?;
    let events = store.events(id, 0, u32::MAX).await?;
    let first = events
        .iter()
        .position(|event| matches!(event.event, EventBody::Agent(AgentEvent::TurnStarted { .. })))
        .context("a turn")?;
    let turns = &events[first..];
    let mut rows = Vec::new();
    for copy in 0.. {
        if events.len() + rows.len() >= EVENTS {
            break;
        }
        for event in again(turns, copy)? {
            row.session.last_seq += 1;
            rows.push(EventRow {
                event: SessionEvent {
                    seq: row.session.last_seq,
                    ..event
                },
                journal_seq: None,
            });
        }
    }
    row.revision += 1;
    store
        .commit(&Change {
            row: &row,
            events: &rows,
            messages: &[],
        })
        .await?;
    store.close().await;
    Ok((events.len(), events.len() + rows.len()))
}

/// The same events with identifiers of their own.
fn again(events: &[SessionEvent], copy: usize) -> Result<Vec<SessionEvent>> {
    let values: Vec<Value> = events.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let (mut names, mut messages) = (BTreeSet::new(), BTreeSet::new());
    identifiers(&Value::Array(values.clone()), &mut names, &mut messages);
    let mut text = serde_json::to_string(&values)?;
    for name in names {
        text = text.replace(&format!("\"{name}\""), &format!("\"{name}-{copy}\""));
    }
    for message in messages {
        text = text.replace(&message, &MessageId::new().to_string());
    }
    let copies: Vec<SessionEvent> = serde_json::from_str(&text)?;
    if copies.len() != events.len() {
        bail!("some events were lost");
    }
    Ok(copies)
}

/// Collects the names of turns and items, and the ids of messages.
fn identifiers(value: &Value, names: &mut BTreeSet<String>, messages: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| identifiers(value, names, messages)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("message_id", Value::String(id)) => drop(messages.insert(id.clone())),
                    ("turn_id" | "item_id" | "id", Value::String(id)) => drop(names.insert(id.clone())),
                    _ => identifiers(value, names, messages),
                }
            }
        }
        _ => {}
    }
}
