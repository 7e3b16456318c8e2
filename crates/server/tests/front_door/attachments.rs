//! Who may upload, see and delete a file.

use http::Method;
use mistle_protocol::id::AttachmentId;
use serde_json::{Value, json};

use crate::app::{TestApp, is, problem};

#[tokio::test]
async fn a_file_that_was_not_sent_is_its_makers_alone() {
    let app = TestApp::with_sessions().await;
    let stranger = app.stranger().await;
    let upload = app.request(Method::POST, "/attachments?name=a.txt").body("hello");
    let file: Value = upload.send().await.unwrap().json().await.unwrap();
    let id = file["id"].as_str().unwrap();
    for (method, path) in [
        (Method::GET, format!("/attachments/{id}")),
        (Method::GET, format!("/attachments/{id}/content")),
        (Method::DELETE, format!("/attachments/{id}")),
    ] {
        let request = |token: &str| app.http.request(method.clone(), app.api(&path)).bearer_auth(token);
        let refused = request(&stranger).send().await.unwrap();
        assert_eq!(problem(refused).await, is(404, "not-found"), "{method} {path}");
        assert!(request(app.token()).send().await.unwrap().status().is_success());
    }
    // Nor can a stranger send it.
    let upload = app.request(Method::POST, "/attachments?name=b.txt").body("hello");
    let file: Value = upload.send().await.unwrap().json().await.unwrap();
    let theirs = json!({ "task": "x", "attachments": [file["id"]] });
    let create = |token: &str| app.http.post(app.api("/sessions")).bearer_auth(token).json(&theirs);
    let refused = create(&stranger).send().await.unwrap();
    assert_eq!(problem(refused).await, is(422, "attachment-not-found"));
    assert_eq!(create(app.token()).send().await.unwrap().status(), 201);
    let again = create(app.token()).send().await.unwrap();
    let body: Value = again.json().await.unwrap();
    assert_eq!(
        (&body["status"], &body["pointer"]),
        (&json!(422), &json!("/attachments"))
    );
}

#[tokio::test]
async fn a_foreign_file_in_a_message_is_one_that_does_not_exist() {
    let app = TestApp::with_sessions().await;
    let stranger = app.stranger().await;
    let upload = app.request(Method::POST, "/attachments?name=a.txt").body("hello");
    let file: Value = upload.send().await.unwrap().json().await.unwrap();
    let post = |path: &str, body: &Value| {
        let request = app.http.post(app.api(path)).bearer_auth(&stranger).json(body);
        async move { request.send().await.unwrap() }
    };
    let own: Value = post("/sessions", &json!({ "task": "say: hello" }))
        .await
        .json()
        .await
        .unwrap();
    let messages = format!("/sessions/{}/messages", own["id"].as_str().unwrap());
    let mut refused = Vec::new();
    for id in [file["id"].as_str().unwrap().to_owned(), AttachmentId::new().to_string()] {
        let named = json!({ "text": "read it", "attachments": [id] });
        let answer: Value = post(&messages, &named).await.json().await.unwrap();
        assert_eq!(
            (&answer["status"], &answer["type"], &answer["pointer"]),
            (&json!(422), &json!("attachment-not-found"), &json!("/attachments"))
        );
        refused.push(answer["detail"].as_str().unwrap().replace(&id, ""));
    }
    // Nothing tells that one of them is there.
    assert_eq!(refused[0], refused[1]);
    // Its maker still has it to send.
    let sent = json!({ "task": "x", "attachments": [file["id"]] });
    let kept = app.http.post(app.api("/sessions")).bearer_auth(app.token()).json(&sent);
    assert_eq!(kept.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn an_upload_comes_from_our_own_page_or_with_a_token() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    let upload = || {
        let request = app.http.post(app.api("/attachments?name=a"));
        request.header("cookie", &cookie).body("x")
    };
    assert_eq!(problem(upload().send().await.unwrap()).await, is(403, "foreign-origin"));
    let foreign = upload().header("origin", "https://evil.example");
    assert_eq!(problem(foreign.send().await.unwrap()).await, is(403, "foreign-origin"));
    let ours = upload().header("origin", app.origin()).send().await.unwrap();
    assert_eq!(ours.status(), 201);
    let nobody = app.http.post(app.api("/attachments?name=a")).body("x");
    assert_eq!(problem(nobody.send().await.unwrap()).await, is(401, "unauthenticated"));
    let nameless = app.request(Method::POST, "/attachments").body("x");
    assert_eq!(problem(nameless.send().await.unwrap()).await, is(400, "bad-request"));
    let unknown = format!("/attachments/{}", AttachmentId::new());
    let missing = app.request(Method::GET, &unknown).send().await.unwrap();
    assert_eq!(problem(missing).await, is(404, "not-found"));
}
