//! Against what Codex 0.169.0 really said (`../recorded`): a command and a patch that were
//! approved, a declined command, a steered and an interrupted turn, and three failures.

use mistle_protocol::agent::AgentEvent;
use serde_json::json;

use super::super::wire::{Message, Params};
use super::*;

const RECORDED: &str = include_str!("../recorded/turns.ndjson");
const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn replay(translator: &mut Translator) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    for line in RECORDED.lines() {
        let message: Message = serde_json::from_str(line).expect("a recorded message");
        let method = message.method.expect("a method");
        let params: Params = serde_json::from_value(message.params).expect("known parameters");
        if let Some(thread) = params.thread.as_ref().filter(|_| method == "thread/started") {
            translator.adopt(&thread.id);
        }
        match message.id {
            Some(id) => {
                let event = translator.request(&id, &method, params, AT).expect("a question");
                if let AgentEvent::ApprovalRequested { approval } = &event {
                    let decision = if id == json!(2) {
                        Decision::Decline
                    } else {
                        Decision::Accept
                    };
                    assert_eq!(translator.answer(&approval.id, decision), Some(id));
                    assert_eq!(translator.answer(&approval.id, decision), None, "it was answered");
                }
                events.push(event);
            }
            None => events.extend(translator.notification(&method, params, AT)),
        }
    }
    events
}

#[test]
fn a_recorded_conversation() {
    let events = replay(&mut Translator::default());
    let lines: Vec<String> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn threads_that_nobody_asked_for_are_silent() {
    let mut translator = Translator::default();
    let params = json!({ "threadId": "x", "turn": { "id": "t", "status": "inProgress" } });
    assert_eq!(
        translator.notification("turn/started", serde_json::from_value(params).unwrap(), AT),
        vec![]
    );
}

#[test]
fn a_sub_agent_asks_the_person_of_its_parent() {
    let mut translator = Translator::default();
    translator.adopt("root");
    let mut tell =
        |method: &str, params: Value| translator.notification(method, serde_json::from_value(params).unwrap(), AT);
    tell("turn/started", json!({ "threadId": "root", "turn": { "id": "turn" } }));
    tell(
        "thread/started",
        json!({ "thread": { "id": "child", "parentThreadId": "root" } }),
    );
    let asked = json!({ "threadId": "child", "turnId": "its-own", "itemId": "i", "command": "ls", "cwd": "/" });
    let event = translator.request(
        &json!(7),
        "item/commandExecution/requestApproval",
        serde_json::from_value(asked).unwrap(),
        AT,
    );
    let Some(AgentEvent::ApprovalRequested { approval }) = event else {
        panic!("no question")
    };
    assert_eq!(
        (approval.conversation_id.as_str(), approval.turn_id.as_str()),
        ("root", "turn")
    );
}

#[test]
fn the_same_question_has_the_same_name_after_a_reconnect() {
    let asked = json!({ "threadId": "c", "turnId": "t", "itemId": "i", "startedAtMs": 5, "command": "ls" });
    let name = |request: i32| {
        let event = Translator::default().request(
            &json!(request),
            "item/commandExecution/requestApproval",
            serde_json::from_value(asked.clone()).unwrap(),
            AT,
        );
        let Some(AgentEvent::ApprovalRequested { approval }) = event else {
            panic!("no question")
        };
        approval.id
    };
    assert_eq!(name(0), name(9));
}

#[test]
fn other_questions_are_not_for_a_person() {
    let mut translator = Translator::default();
    assert_eq!(
        translator.request(&json!(1), "item/tool/call", Params::default(), AT),
        None
    );
}

#[test]
fn a_question_that_was_answered_elsewhere_is_withdrawn() {
    let mut translator = Translator::default();
    translator.adopt("c");
    let asked = json!({ "threadId": "c", "turnId": "t", "itemId": "i" });
    let event = translator.request(
        &json!(4),
        "item/fileChange/requestApproval",
        serde_json::from_value(asked).unwrap(),
        AT,
    );
    let Some(AgentEvent::ApprovalRequested { approval }) = event else {
        panic!("no question")
    };
    let resolved = json!({ "threadId": "c", "requestId": 4 });
    assert_eq!(
        translator.notification("serverRequest/resolved", serde_json::from_value(resolved).unwrap(), AT),
        vec![AgentEvent::ApprovalResolved {
            approval_id: approval.id,
            decision: None
        }]
    );
}

fn body_of(item: Value) -> ItemBody {
    body(serde_json::from_value(item).unwrap())
}

#[test]
fn long_output_keeps_its_beginning_and_its_end() {
    let output = format!("begin{}ende", "ä".repeat(MAX_ITEM_OUTPUT));
    let item =
        json!({ "type": "commandExecution", "id": "i", "command": "yes", "cwd": "/", "aggregatedOutput": output });
    let ItemBody::Command {
        output,
        output_truncated,
        ..
    } = body_of(item)
    else {
        panic!("no command")
    };
    assert!(output_truncated);
    assert!(output.len() <= MAX_ITEM_OUTPUT);
    assert!(output.starts_with("begin") && output.ends_with("ende"));
}

#[test]
fn output_is_passed_on_until_it_is_more_than_an_item_carries() {
    let mut translator = Translator::default();
    translator.adopt("c");
    let mut said = 0;
    for _ in 0..40 {
        let delta = json!({ "threadId": "c", "turnId": "t", "itemId": "i", "delta": "x".repeat(10_000) });
        for event in translator.notification(
            "item/commandExecution/outputDelta",
            serde_json::from_value(delta).unwrap(),
            AT,
        ) {
            let AgentEvent::ItemDelta { text, .. } = event else {
                panic!("no delta")
            };
            said += text.len();
        }
    }
    assert_eq!(said, 26 * 10_000);
}

#[test]
fn items_of_every_kind() {
    let items = [
        json!({ "type": "reasoning", "id": "i", "summary": ["**One**", "Two"], "content": [] }),
        json!({ "type": "mcpToolCall", "id": "i", "server": "files", "tool": "read", "status": "completed", "arguments": { "path": "a" }, "result": { "content": [{ "type": "text", "text": "hello" }] } }),
        json!({ "type": "mcpToolCall", "id": "i", "server": "files", "tool": "read", "status": "failed", "arguments": {}, "error": { "message": "no such file" } }),
        json!({ "type": "dynamicToolCall", "id": "i", "namespace": null, "tool": "clock", "arguments": null, "contentItems": [{ "type": "inputText", "text": "noon" }] }),
        json!({ "type": "webSearch", "id": "i", "query": "herons" }),
        json!({ "type": "contextCompaction", "id": "i" }),
        json!({ "type": "imageView", "id": "i", "path": "/a.png" }),
        json!({ "type": "collabAgentToolCall", "id": "i", "tool": "spawn", "prompt": "look" }),
        json!({ "type": "somethingOfTomorrow", "id": "i", "surprise": {} }),
        json!({ "type": "userMessage", "id": "i", "clientId": "not ours", "content": [{ "type": "text", "text": "a" }, { "type": "image", "url": "data:" }] }),
        json!({ "type": "fileChange", "id": "i", "changes": [
            { "path": "/new", "kind": { "type": "add" }, "diff": "one\ntwo" },
            { "path": "/old", "kind": { "type": "delete" }, "diff": "gone\n" },
            { "path": "/a", "kind": { "type": "update", "move_path": "/b" }, "diff": "@@ -1 +1 @@\n-x\n+y\n\n\nMoved to: /b" },
            { "path": "/h", "kind": { "type": "update" }, "diff": "--- a/h\n+++ b/h\n@@ -1 +1 @@\n-x\n+y\n" },
        ] }),
    ];
    let lines: Vec<String> = items
        .into_iter()
        .map(|item| serde_json::to_string(&body_of(item)).unwrap())
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn plans_follow_each_other() {
    let mut translator = Translator::default();
    translator.adopt("c");
    let mut update = |status: &str| {
        let params = json!({ "threadId": "c", "turnId": "t", "plan": [{ "step": "look", "status": status }] });
        translator.notification("turn/plan/updated", serde_json::from_value(params).unwrap(), AT)
    };
    let ids: Vec<String> = [update("inProgress"), update("completed")]
        .into_iter()
        .flatten()
        .filter_map(|event| match event {
            AgentEvent::ItemCompleted { item } => Some(item.id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, ["plan-t-1", "plan-t-2"]);
}

proptest::proptest! {
    /// Whatever a broken or hostile app-server sends is taken without a panic.
    #[test]
    fn any_text_is_cut_at_whole_characters(text in ".{0,200}", limit in 0usize..250) {
        let cut = clip(text.clone(), limit);
        proptest::prop_assert!(cut.len() <= limit + '…'.len_utf8());
        proptest::prop_assert!(text.starts_with(cut.trim_end_matches('…')) || text == cut);
    }
}
