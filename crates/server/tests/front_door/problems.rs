use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, is, problem};

#[tokio::test]
async fn whatever_can_not_be_read_is_a_problem_that_says_why() {
    let app = TestApp::start().await;
    let post = |path: &str, body: &str| {
        app.request(Method::POST, path)
            .header("content-type", "application/json")
            .body(body.to_owned())
    };
    let get = |path: &str| app.request(Method::GET, path);
    let cases = [
        (post("/tokens", "{"), is(400, "bad-request")),
        (post("/tokens", ""), is(400, "bad-request")),
        (post("/tokens", "{\"name\":\"a\"} x"), is(400, "bad-request")),
        (post("/tokens", "{\"name\":1}"), is(422, "invalid-field")),
        (
            post("/tokens", "{\"name\":\"a\",\"nme\":\"b\"}"),
            is(422, "invalid-field"),
        ),
        (post("/tokens", "{}"), is(422, "invalid-field")),
        (post("/tokens", "{\"name\":\"  \"}"), is(422, "token-name-invalid")),
        (
            post("/repositories/check", "{\"source\":\"/nonexistent\"}"),
            is(422, "repository-not-found"),
        ),
        (post("/tickets", "{\"purpose\":\"other\"}"), is(422, "invalid-field")),
        (
            app.request(Method::POST, "/tokens").body("name=a"),
            is(415, "unsupported-media-type"),
        ),
        (app.request(Method::PUT, "/tokens"), is(405, "method-not-allowed")),
        (get("/nothing"), is(404, "not-found")),
        (get("/sessions/ses_1"), is(404, "not-found")),
        (get("/tokens?limit=0"), is(400, "bad-request")),
        (get("/tokens?limit=201"), is(400, "bad-request")),
        (get("/tokens?limit=x"), is(400, "bad-request")),
        (get("/tokens?lmit=5"), is(400, "bad-request")),
        (get("/tokens?cursor=x"), is(400, "bad-request")),
        (get("/live"), is(401, "unauthenticated")),
        (app.http.get(app.url("/api/v2/sessions")), is(404, "not-found")),
        (app.http.get(app.url("/api")), is(404, "not-found")),
        (app.http.post(app.url("/")), is(405, "method-not-allowed")),
        (app.http.get(app.url("/unknown")), is(404, "not-found")),
    ];
    for (request, expected) in cases {
        let request = request.build().unwrap();
        let name = format!("{} {}", request.method(), request.url());
        let response = app.http.execute(request).await.unwrap();
        assert_eq!(problem(response).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_wrong_field_is_pointed_at() {
    let app = TestApp::start().await;
    let body = json!({ "task": "x", "repository": { "source": "/x", "brunch": "main" } });
    let response = app.request(Method::POST, "/sessions").json(&body).send().await.unwrap();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["pointer"], "/repository/brunch");
    assert!(
        problem["detail"].as_str().unwrap().contains("unknown field `brunch`"),
        "{problem}"
    );
}

#[tokio::test]
async fn what_is_too_large_is_answered_with_the_limit_and_not_with_a_broken_pipe() {
    let app = TestApp::start().await;
    for (path, limit) in [("/tokens", 64 * 1024), ("/sessions", 6 * 1024 * 1024 + 64 * 1024)] {
        let body = json!({ "task": "x".repeat(10 * 1024 * 1024) });
        let response = app.request(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["type"], "too-large");
        assert!(
            problem["detail"].as_str().unwrap().contains(&limit.to_string()),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_wrong_idempotency_key_is_refused() {
    let app = TestApp::start().await;
    for key in [String::new(), "x".repeat(129)] {
        let request = app
            .request(Method::POST, "/sessions")
            .header("idempotency-key", key)
            .json(&json!({ "task": "x" }));
        assert_eq!(problem(request.send().await.unwrap()).await, is(400, "bad-request"));
    }
}

#[tokio::test]
async fn every_answer_names_its_request_and_may_not_be_framed() {
    let app = TestApp::start().await;
    let mut seen = Vec::new();
    for path in ["/api/v1/openapi.json", "/api/v1/me", "/healthz", "/login", "/"] {
        let response = app.http.get(app.url(path)).send().await.unwrap();
        let headers = response.headers();
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.starts_with("req_") && !seen.contains(&id));
        seen.push(id);
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("script-src 'self' ") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
}
