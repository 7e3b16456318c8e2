//! Whole streams in; the end, or the text, out.

use mistle_protocol::id::MessageId;
use mistle_protocol::session::{LiveMessage, SessionEvent};
use serde_json::{Value, json};

use super::goal::{Ended, Goal, Progress};
use super::printer::Printer;
use crate::cli::output::Output;
use crate::cli::{FAILED, INTERRUPTED};

const AT: &str = "2026-01-01T00:00:00Z";

fn record(event: &Value) -> SessionEvent {
    serde_json::from_value(json!({ "seq": 1, "at": AT, "event": event })).unwrap()
}

fn event(event: &Value) -> LiveMessage {
    LiveMessage::Event {
        event: Box::new(record(event)),
    }
}

fn delivered(message: MessageId, turn: &str) -> LiveMessage {
    event(&json!({ "type": "message.delivered", "message_id": message, "conversation_id": "c1", "turn_id": turn }))
}

fn ended(turn: &str, outcome: &Value) -> LiveMessage {
    event(&json!({ "type": "turn.completed", "conversation_id": "c1", "turn_id": turn, "outcome": outcome }))
}

fn completed() -> Value {
    json!({ "status": "completed" })
}

fn approval(id: &str, conversation: &str) -> Value {
    json!({
        "id": id, "conversation_id": conversation, "turn_id": "t1", "item_id": "i1", "requested_at": AT,
        "reason": "It needs the network.", "subject": { "kind": "command", "command": "ls", "cwd": "/w" },
        "decisions": ["accept", "decline"],
    })
}

fn asks(id: &str, conversation: &str) -> LiveMessage {
    event(&json!({ "type": "approval.requested", "approval": approval(id, conversation) }))
}

fn session(state: &str, trouble: &Value) -> LiveMessage {
    let session = json!({
        "id": "ses_00000000000000000000000000000000", "title": "A task", "state": state, "state_since": AT,
        "activity": "idle", "trouble": trouble, "profile": { "name": "default", "version": 1 },
        "provider_label": "Demo", "scripted": true, "runtime": "codex", "repository": null, "cwd": "/w",
        "conversation_id": "c1", "turn_id": null, "model": null, "effort": null, "models": [], "usage": null,
        "approvals": [], "queued": 0, "last_seq": 1, "created_at": AT, "updated_at": AT,
    });
    serde_json::from_value(json!({ "type": "session", "session": session })).unwrap()
}

/// What the first message that ends it says, if one does.
fn heard(goal: Goal, messages: &[LiveMessage]) -> Option<Ended> {
    let mut progress = Progress::new(goal, Vec::new());
    messages.iter().find_map(|message| progress.hear(message))
}

fn code(goal: Goal, messages: &[LiveMessage]) -> Option<u8> {
    heard(goal, messages).map(|ended| ended.code)
}

#[test]
fn the_end_of_a_turn_is_its_outcome() {
    let message = MessageId::new();
    let failed = json!({ "status": "failed", "message": "no", "code": "other" });
    let outcomes = [
        (completed(), 0),
        (json!({ "status": "interrupted" }), INTERRUPTED),
        (failed, FAILED),
    ];
    for (outcome, wanted) in outcomes {
        for goal in [Goal::Turn(None), Goal::Turn(Some(message))] {
            let stream = [delivered(message, "t1"), ended("t1", &outcome)];
            assert_eq!(code(goal, &stream), Some(wanted));
            // The record may tell the end before it tells whose turn it was.
            let swapped = [ended("t1", &outcome), delivered(message, "t1")];
            assert_eq!(code(goal, &swapped), Some(wanted));
        }
        let other = [delivered(message, "t1"), ended("t2", &outcome)];
        assert_eq!(code(Goal::Turn(None), &other), None);
        assert_eq!(code(Goal::Turn(Some(MessageId::new())), &other), None);
        for goal in [Goal::Never, Goal::Running, Goal::Stopped] {
            assert_eq!(code(goal, &[delivered(message, "t1"), ended("t1", &outcome)]), None);
        }
    }
}

#[test]
fn the_first_turn_is_not_taken_for_a_later_one() {
    let stream = [
        delivered(MessageId::new(), "t1"),
        delivered(MessageId::new(), "t2"),
        ended("t2", &completed()),
    ];
    assert_eq!(code(Goal::Turn(None), &stream), None);
}

#[test]
fn a_message_that_is_refused_ends_it() {
    let message = MessageId::new();
    let rejected = [event(
        &json!({ "type": "message.rejected", "message_id": message, "message": "no" }),
    )];
    assert_eq!(code(Goal::Turn(None), &rejected), Some(FAILED));
    assert_eq!(code(Goal::Turn(Some(message)), &rejected), Some(FAILED));
    assert_eq!(code(Goal::Turn(Some(MessageId::new())), &rejected), None);
    assert_eq!(code(Goal::Never, &rejected), None);

    let queued = json!({
        "id": message, "text": "do it", "delivery": "queue", "sending": false, "model": null, "effort": null,
        "error": "too\u{1b}[31m long", "created_at": AT,
    });
    let queue: LiveMessage = serde_json::from_value(json!({ "type": "queue", "messages": [queued] })).unwrap();
    let refused = heard(Goal::Turn(Some(message)), std::slice::from_ref(&queue)).unwrap();
    assert_eq!(refused.code, FAILED);
    assert_eq!(refused.said, ["The message was refused: too[31m long"]);
    assert_eq!(code(Goal::Turn(Some(MessageId::new())), &[queue]), None);
}

#[test]
fn a_session_that_ends_ends_it() {
    let trouble = json!({ "code": "disk_full", "message": "The disk is full.", "hint": "Make room.", "since": AT });
    let cases = [
        (Goal::Running, session("running", &Value::Null), Some(0)),
        (Goal::Running, session("starting", &Value::Null), None),
        (Goal::Running, session("stopped", &Value::Null), Some(INTERRUPTED)),
        (Goal::Stopped, session("stopped", &Value::Null), Some(0)),
        (Goal::Stopped, session("stopping", &Value::Null), None),
        (Goal::Turn(None), session("running", &Value::Null), None),
        (Goal::Turn(None), session("disconnected", &Value::Null), None),
        (Goal::Turn(None), session("stopped", &Value::Null), Some(INTERRUPTED)),
        (Goal::Turn(None), session("failed", &trouble), Some(FAILED)),
        (Goal::Never, session("failed", &trouble), None),
    ];
    for (goal, message, wanted) in cases {
        assert_eq!(
            code(goal, std::slice::from_ref(&message)),
            wanted,
            "{goal:?} {message:?}"
        );
    }
    let failed = heard(Goal::Running, &[session("failed", &trouble)]).unwrap();
    assert_eq!(failed.said, ["The session failed: The disk is full.", "Make room."]);
    let id = "ses_00000000000000000000000000000000";
    let deleted: LiveMessage = serde_json::from_value(json!({ "type": "deleted", "session_id": id })).unwrap();
    assert_eq!(code(Goal::Never, &[deleted]), Some(INTERRUPTED));
}

#[test]
fn questions_wait_in_their_order_and_those_of_others_do_not() {
    let message = MessageId::new();
    let mut progress = Progress::new(Goal::Turn(Some(message)), Vec::new());
    let first = |progress: &Progress| progress.question().map(|approval| approval.id.clone());
    for said in [asks("a1", "c2"), asks("a2", "c1"), asks("a2", "c1"), asks("a3", "c1")] {
        assert_eq!(progress.hear(&said), None);
    }
    assert_eq!(
        first(&progress).as_deref(),
        Some("a1"),
        "it may be ours, as far as is known"
    );
    progress.hear(&delivered(message, "t1"));
    assert_eq!(first(&progress).as_deref(), Some("a2"));
    progress.settle("a2");
    assert_eq!(first(&progress).as_deref(), Some("a3"), "asked twice, it waits once");
    progress.hear(&event(
        &json!({ "type": "approval.resolved", "approval_id": "a3", "decision": "accept" }),
    ));
    progress.hear(&asks("a4", "c2"));
    assert_eq!(first(&progress), None);
    let elsewhere = record(&json!({ "type": "approval.requested", "approval": approval("a4", "c2") }));
    assert!(progress.is_elsewhere(&elsewhere.event));
}

fn printed(events: &[Value]) -> String {
    let mut printer = Printer::new(Output::unstyled());
    events.iter().map(|event| printer.event(&record(event))).collect()
}

fn item(kind: &str, status: &str, body: &Value) -> Value {
    let item = json!({
        "id": "i1", "conversation_id": "c1", "turn_id": "t1", "status": status, "started_at": AT,
        "completed_at": null, "body": body,
    });
    json!({ "type": kind, "item": item })
}

fn command(output: &str, exit_code: &Value) -> Value {
    json!({
        "kind": "command", "command": "make", "cwd": "/w", "output": output, "output_truncated": false,
        "exit_code": exit_code,
    })
}

fn delta(text: &str) -> Value {
    json!({ "type": "item.delta", "conversation_id": "c1", "item_id": "i1", "text": text })
}

#[test]
fn what_grew_is_not_shown_twice() {
    let started = item("item.started", "in_progress", &command("", &Value::Null));
    let ended = |output: &str| item("item.completed", "completed", &command(output, &json!(0)));
    assert_eq!(printed(&[started.clone(), ended("one\ntwo\n")]), "$ make\none\ntwo\n");
    assert_eq!(
        printed(&[started.clone(), delta("one\n"), delta("tw"), ended("one\ntwo\n")]),
        "$ make\none\ntwo\n"
    );
    assert_eq!(printed(&[ended("one")]), "$ make\none\n", "the record keeps no deltas");
    assert_eq!(
        printed(&[started.clone(), delta("two\n"), ended("one\ntwo\nthree\n")]),
        "$ make\ntwo\n· before that: one\nthree\n"
    );
    assert_eq!(
        printed(&[started, delta("lost in the middle"), ended("one\n")]),
        "$ make\nlost in the middle\n"
    );
    assert_eq!(printed(&[delta("of nothing that began")]), "");
}

#[test]
fn a_command_that_did_not_end_well_says_so() {
    let failed = item("item.completed", "failed", &command("no rule\n", &json!(2)));
    assert_eq!(printed(&[failed]), "$ make\nno rule\n! exit code 2\n");
    let declined = item("item.completed", "declined", &command("", &Value::Null));
    assert_eq!(printed(&[declined]), "$ make\n! declined\n");
}

#[test]
fn a_line_begins_where_the_last_text_ended() {
    let said = |text: &str| json!({ "kind": "agent_message", "text": text });
    let outcome = json!({ "type": "turn.completed", "conversation_id": "c1", "turn_id": "t1", "outcome": completed() });
    let stream = [
        item("item.started", "in_progress", &said("")),
        delta("Wait"),
        json!({ "type": "approval.requested", "approval": approval("a1", "c1") }),
        json!({ "type": "approval.resolved", "approval_id": "a1", "decision": "decline" }),
        item("item.completed", "completed", &said("Wait a moment")),
        outcome,
    ];
    assert_eq!(
        printed(&stream),
        "\nWait\n? ls in /w\n  It needs the network.\n  approval a1\n· declined\n a moment\n· done\n"
    );
}

#[test]
fn edits_and_messages_are_shown_whole_and_plain() {
    let change = json!({
        "path": "src/a\u{1b}[2J.rs", "change": { "kind": "update", "moved_to": null }, "diff": "-old\n+new\n", "added": 1,
        "removed": 1,
    });
    let edit = item(
        "item.completed",
        "completed",
        &json!({ "kind": "file_change", "changes": [change] }),
    );
    assert_eq!(printed(&[edit]), "M src/a[2J.rs +1 −1\n    -old\n    +new\n");
    let file = json!({
        "id": "att_00000000000000000000000000000000", "name": "notes.txt", "media_type": "text/plain", "size": 1,
    });
    let message = json!({ "kind": "user_message", "text": "two\nlines", "message_id": null, "attachments": [file] });
    assert_eq!(
        printed(&[item("item.completed", "completed", &message)]),
        "> two\n> lines\n> [notes.txt]\n"
    );
    let steps = json!([{ "text": "look", "status": "completed" }, { "text": "act", "status": "pending" }]);
    let plan = item(
        "item.completed",
        "completed",
        &json!({ "kind": "plan", "steps": steps }),
    );
    assert_eq!(printed(&[plan]), "[x] look\n[ ] act\n");
}
