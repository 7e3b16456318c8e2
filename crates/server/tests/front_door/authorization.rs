//! Every operation of the OpenAPI document is tried without credentials and by a stranger. One
//! that nobody thought of fails here.

use http::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, is, problem};

/// Operations that answer a stranger about nothing but itself.
const OWN: [&str; 9] = [
    "me_show",
    "me_logout",
    "server_show",
    "profiles_list",
    "repositories_check",
    "sessions_list",
    "sessions_facets",
    "tokens_list",
    "tickets_create",
];
/// Operations that create something of the stranger's own.
const CREATING: [&str; 4] = [
    "sessions_create",
    "sessions_warm",
    "tokens_create",
    "attachments_create",
];
/// WebSockets: a ticket is needed, and a stranger gets none for our objects.
const STREAMS: [&str; 4] = ["live_all", "live_session", "terminals_io", "exec_run"];

/// A body that gets past parsing, so that the object is what is refused.
fn body(operation: &str) -> Option<Value> {
    let path = json!({ "text": "src/main.rs" });
    Some(match operation {
        "sessions_change" | "conversations_change" => json!({ "title": "x" }),
        "messages_send" | "messages_change" | "comments_change" => json!({ "text": "x" }),
        "approvals_answer" => json!({ "decision": "accept", "message": null }),
        "terminals_open" | "tui_open" => json!({ "cols": 80, "rows": 24 }),
        "changes_discard" | "viewed_mark" => json!({ "path": path, "fingerprint": "x" }),
        "commands_run" => json!({ "name": "compact" }),
        "terminals_rename" => json!({ "name": "x" }),
        "changes_restore" => json!({ "undo": "x" }),
        "comments_create" => {
            let anchor = json!({ "path": path, "side": "new", "start_line": 1, "end_line": 1, "quote": ["x"] });
            json!({ "anchor": anchor, "text": "x" })
        }
        _ => return None,
    })
}

#[tokio::test]
async fn no_operation_answers_without_credentials_or_about_what_belongs_to_others() {
    let app = TestApp::with_sessions().await;
    let stranger = app.stranger().await;
    let session = app.post("/sessions", &json!({ "task": "say: hello" })).await;
    let session_id = session["id"].as_str().unwrap();
    let token = app.post("/tokens", &json!({ "name": "x" })).await;
    let document: Value = serde_json::from_str(&mistle_server::api::openapi_json()).unwrap();

    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(name) = operation["operationId"].as_str() else {
                continue;
            };
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path
                .replace("{session_id}", session_id)
                .replace("{token_id}", token["token"]["id"].as_str().unwrap())
                .replace("{message_id}", "msg_00000000000000000000000000000000")
                .replace("{terminal_id}", "trm_00000000000000000000000000000000")
                .replace("{comment_id}", "cmt_00000000000000000000000000000000")
                .replace("{attachment_id}", "att_00000000000000000000000000000000")
                .replace("{conversation_id}", "con")
                .replace("{port}", "3000")
                .replace("{approval_id}", "apr");
            assert!(!path.contains('{'), "{path} has an object that this test does not know");
            let request = || {
                let request = app
                    .http
                    .request(method.clone(), app.url(&path))
                    .header("origin", app.origin());
                body(name).iter().fold(request, reqwest::RequestBuilder::json)
            };
            assert_eq!(
                problem(request().send().await.unwrap()).await,
                is(401, "unauthenticated"),
                "{name}"
            );
            tried += 1;
            if STREAMS.contains(&name) || OWN.contains(&name) || CREATING.contains(&name) {
                continue;
            }
            let response = request().bearer_auth(&stranger).send().await.unwrap();
            assert_eq!(problem(response).await, is(404, "not-found"), "{name} for a stranger");
        }
    }
    assert!(tried > 30, "{tried}");

    for purpose in ["session_live", "exec"] {
        let ticket = json!({ "purpose": purpose, "session_id": session_id });
        let response = app
            .http
            .post(app.api("/tickets"))
            .bearer_auth(&stranger)
            .json(&ticket)
            .send()
            .await
            .unwrap();
        assert_eq!(problem(response).await, is(404, "not-found"), "{purpose}");
    }
    let listed: Value = app
        .http
        .get(app.api("/sessions"))
        .bearer_auth(&stranger)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(listed["data"], json!([]));
}
