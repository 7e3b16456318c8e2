//! The way to a model: against the scripted model, and against servers that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::sandbox::{PATIENCE, Sandbox, canned, policy, prompted, provider, unused};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use mistle_protocol::egress::EgressDecision;
use mistle_scripted_model::{Scenarios, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

const HOST: &str = "demo.model.mistle.internal";

async fn scripted() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Scenarios::builtin()));
    address
}

async fn sandbox(address: SocketAddr) -> Sandbox {
    Sandbox::new(&[], Arc::default(), policy(&[], Some(provider(address, "sk-real")))).await
}

fn post(path: &str, body: &Value) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header("host", HOST)
        .header("authorization", "Bearer placeholder");
    request
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap()
}

fn message(text: &str) -> Value {
    json!({ "model": "gpt-5.5", "stream": true, "input": text })
}

async fn ask(sandbox: &Sandbox, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let mut sender = sandbox.model(HOST).await;
    tokio::time::timeout(PATIENCE, sender.send_request(request))
        .await
        .unwrap()
        .unwrap()
}

async fn json_of(response: Response<Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn an_answer_streams_event_by_event() {
    const EVENT: &str = "event: response.output_text.delta\ndata: {}\n\n";
    let (address, prompt) = prompted().await;
    let mut sandbox = sandbox(address).await;
    let request = message("say: five words");
    let response = ask(&sandbox, post("/v1/responses?api-version=secret", &request)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for _ in 0..5 {
        // The provider says the next one only when this one has arrived.
        prompt.send(EVENT).await.unwrap();
        let mut arrived = Vec::new();
        while arrived.len() < EVENT.len() {
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
            arrived.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(arrived, EVENT.as_bytes());
    }
    drop(prompt);
    assert!(body.frame().await.is_none(), "the answer ends with the provider's");
    let record = sandbox.record().await;
    assert_eq!(
        (record.host.as_str(), record.port, record.decision, record.rule.as_str()),
        (HOST, 80, EgressDecision::Intercept, "model")
    );
    assert_eq!(
        (record.method.as_deref(), record.path.as_deref(), record.status),
        (Some("POST"), Some("/v1/responses"), Some(200))
    );
    assert_eq!(
        (record.bytes_out, record.bytes_in),
        (request.to_string().len() as u64, 5 * EVENT.len() as u64)
    );
}

#[tokio::test]
async fn the_record_says_how_long_an_answer_took() {
    let mut sandbox = sandbox(scripted().await).await;
    let response = ask(&sandbox, post("/v1/responses", &message("slow stream 5 every 100ms"))).await;
    response.into_body().collect().await.unwrap();
    let record = sandbox.record().await;
    assert!(record.duration_ms >= Some(400), "{:?}", record.duration_ms);
}

#[tokio::test]
async fn a_connection_carries_request_after_request() {
    let mut sandbox = sandbox(scripted().await).await;
    let mut sender = sandbox.model(HOST).await;
    for _ in 0..3 {
        sender.ready().await.unwrap();
        let response = sender
            .send_request(post("/v1/responses", &message("say: hello")))
            .await
            .unwrap();
        let text = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.contains("response.completed"));
        sandbox.record().await;
    }
}

#[tokio::test]
async fn the_provider_gets_its_key_and_the_client_no_cookie() {
    let answer = "HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nalt-svc: h3=\":443\"\r\nx-request-id: 7\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\r\n{}";
    let (address, mut requests) = canned(answer).await;
    let sandbox = sandbox(address).await;
    let mut request = post("/v1/responses", &json!({}));
    request.headers_mut().insert("cookie", "a=b".parse().unwrap());
    request
        .headers_mut()
        .insert("x-api-key", "placeholder".parse().unwrap());
    let response = ask(&sandbox, request).await;
    for (name, expected) in [
        ("set-cookie", None),
        ("alt-svc", None),
        ("x-hop", None),
        ("x-request-id", Some("7")),
    ] {
        assert_eq!(
            response.headers().get(name).map(|value| value.to_str().unwrap()),
            expected,
            "{name}"
        );
    }
    let head = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /v1/responses HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("authorization: Bearer sk-real\r\n") && head.contains(&format!("host: {address}\r\n")),
        "{head}"
    );
    assert!(
        head.contains("content-length: 2\r\n"),
        "the length is known, so it is not sent in chunks: {head}"
    );
    assert!(!head.contains("placeholder") && !head.contains("cookie"), "{head}");
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let (elsewhere, mut stolen) = canned("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let answer: &'static str = Box::leak(
        format!("HTTP/1.1 307 Moved\r\nlocation: http://{elsewhere}/v1/x\r\ncontent-length: 0\r\n\r\n")
            .into_boxed_str(),
    );
    let (address, _requests) = canned(answer).await;
    let response = ask(&sandbox(address).await, post("/v1/responses", &json!({}))).await;
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert!(stolen.try_recv().is_err());
}

#[tokio::test]
async fn an_unreachable_provider_is_explained() {
    let (address, _reserved) = unused();
    let mut sandbox = sandbox(address).await;
    let response = ask(&sandbox, post("/v1/responses", &json!({}))).await;
    assert_eq!(response.status(), 502);
    let error = json_of(response).await;
    assert_eq!(error["error"]["code"], "model_unreachable");
    let message = error["error"]["message"].as_str().unwrap();
    for part in ["“demo”", &address.to_string(), "refused", "[providers.demo]"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("sk-real"));
    let record = sandbox.record().await;
    assert_eq!((record.decision, record.status), (EgressDecision::Intercept, Some(502)));
}

#[tokio::test]
async fn a_stream_that_is_cut_looks_cut() {
    let mut sandbox = sandbox(scripted().await).await;
    let mut body = ask(&sandbox, post("/v1/responses", &message("cut 4")))
        .await
        .into_body();
    while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap() {
        if frame.is_err() {
            assert!(sandbox.record().await.bytes_in > 0);
            return;
        }
    }
    panic!("the answer ended as if it were whole");
}

#[tokio::test]
async fn an_agent_that_goes_away_ends_the_providers_work() {
    let mut sandbox = sandbox(scripted().await).await;
    let mut sender = sandbox.model(HOST).await;
    let mut response = sender
        .send_request(post("/v1/responses", &message("stall 3")))
        .await
        .unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    drop((response, sender));
    assert_eq!(sandbox.record().await.status, Some(200));
}

#[tokio::test]
async fn a_refusal_of_the_provider_passes() {
    let mut sandbox = sandbox(scripted().await).await;
    let response = ask(&sandbox, post("/v1/responses", &message("rate limit 9"))).await;
    assert_eq!(
        (response.status(), response.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "9")
    );
    assert_eq!(json_of(response).await["error"]["code"], "rate_limit_exceeded");
    assert_eq!(sandbox.record().await.status, Some(429));
}

#[tokio::test]
async fn requests_for_another_host_or_path_are_refused() {
    let (address, mut requests) = canned("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut sandbox = sandbox(address).await;
    let with_host = |path: &str, host: &str| {
        let mut request = post(path, &json!({}));
        request.headers_mut().insert("host", host.parse().unwrap());
        request
    };
    for (request, status, code) in [
        (with_host("/v1/responses", "api.openai.com"), 421, "misdirected_request"),
        (
            with_host("/v1/responses", "other.model.mistle.internal"),
            421,
            "misdirected_request",
        ),
        (
            with_host("http://api.openai.com/v1/responses", HOST),
            421,
            "misdirected_request",
        ),
        (with_host("/v1/../admin", HOST), 403, "path_not_allowed"),
        (with_host("/", HOST), 403, "path_not_allowed"),
    ] {
        let response = ask(&sandbox, request).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(json_of(response).await["error"]["code"], code);
        let record = sandbox.record().await;
        assert_eq!((record.decision, record.status), (EgressDecision::Deny, Some(status)));
    }
    assert!(requests.try_recv().is_err(), "nothing was forwarded");
}

#[tokio::test]
async fn another_provider_takes_over_between_two_requests() {
    let (first, second) = (
        scripted().await,
        canned("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await,
    );
    let sandbox = sandbox(first).await;
    let mut sender = sandbox.model(HOST).await;
    let response = sender
        .send_request(post("/v1/responses", &message("say: one")))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    sandbox
        .policy
        .send(policy(&[], Some(provider(second.0, "sk-new"))))
        .unwrap();
    sender.ready().await.unwrap();
    assert_eq!(
        sender
            .send_request(post("/v1/responses", &message("say: two")))
            .await
            .unwrap()
            .status(),
        404
    );
    sandbox.policy.send(policy(&[], None)).unwrap();
    sender.ready().await.unwrap();
    let gone = sender
        .send_request(post("/v1/responses", &message("say: three")))
        .await
        .unwrap();
    assert_eq!(gone.status(), 403);
    assert_eq!(json_of(gone).await["error"]["code"], "model_not_allowed");
}

#[tokio::test]
async fn a_key_that_a_provider_repeats_does_not_come_back() {
    const KEY: &str = "sk-proj-0123456789-abcdef";
    let (address, mut requests) = canned(concat!(
        "HTTP/1.1 401 Unauthorized\r\nx-echo: Bearer sk-proj-0123456789-abcdef\r\ncontent-length: 44\r\n\r\n",
        "wrong key sk-proj-0123456789-abcdef, sk-proj"
    ))
    .await;
    let sandbox = Sandbox::new(&[], Arc::default(), policy(&[], Some(provider(address, KEY)))).await;
    let mut request = post("/v1/responses", &message("say: hello"));
    request
        .headers_mut()
        .insert("accept-encoding", http::HeaderValue::from_static("gzip"));
    let response = ask(&sandbox, request).await;
    let sent = requests.recv().await.unwrap();
    assert!(sent.contains(KEY) && !sent.contains("gzip"), "{sent}");
    assert_eq!(response.status(), 401);
    let mask = "*".repeat(KEY.len());
    assert_eq!(response.headers()["x-echo"], format!("Bearer {mask}").as_str());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("wrong key {mask}, sk-proj"));
}
