//! The three APIs as their clients read them: over TCP, event by event.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::time::{Duration, Instant};

use mistle_scripted_model::{Scenarios, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;

struct Server {
    url: String,
    client: reqwest::Client,
}

impl Server {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, Scenarios::builtin()));
        Self {
            url,
            client: reqwest::Client::new(),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.client
            .post(format!("{}/{path}", self.url))
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn json(&self, path: &str, body: &Value) -> Value {
        self.post(path, body).await.json().await.unwrap()
    }

    /// The events of a stream: name, if any, and data.
    async fn events(&self, path: &str, body: &Value) -> Vec<(String, Value)> {
        let response = self.post(path, body).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        parse(&response.text().await.unwrap())
    }
}

fn parse(stream: &str) -> Vec<(String, Value)> {
    let event = |block: &str| {
        let field = |name: &str| {
            block
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
                .to_owned()
        };
        let data = field("data: ");
        (
            field("event: "),
            serde_json::from_str(&data).unwrap_or(Value::String(data)),
        )
    };
    stream.split_terminator("\n\n").map(event).collect()
}

fn joined<'a>(events: &'a [(String, Value)], name: &str, pointer: &str) -> String {
    let found = |(event, data): &'a (String, Value)| (event == name).then(|| data.pointer(pointer)?.as_str()).flatten();
    events.iter().filter_map(found).collect()
}

fn exec_command() -> Value {
    json!([{ "type": "function", "name": "exec_command", "parameters": { "type": "object" } }])
}

fn responses(message: &str) -> Value {
    let input = json!([{ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": message }] }]);
    json!({ "model": "gpt-5.5", "stream": true, "input": input, "tools": exec_command() })
}

#[tokio::test]
async fn responses_stream_every_event_of_a_message() {
    let server = Server::start().await;
    let events = server.events("responses", &responses("think: carefully")).await;
    let names: Vec<&str> = events
        .iter()
        .map(|(name, _)| name.strip_prefix("response.").unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed"
        ]
    );
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(
            (data["type"].as_str(), data["sequence_number"].as_u64()),
            (Some(name.as_str()), Some(number as u64))
        );
    }
    assert_eq!(
        joined(&events, "response.reasoning_summary_text.delta", "/delta"),
        "carefully"
    );
    assert_eq!(
        joined(&events, "response.output_text.delta", "/delta"),
        "I thought about it."
    );
    let response = &events.last().unwrap().1["response"];
    assert_eq!(response["status"], "completed");
    assert_eq!(response["output"].as_array().unwrap().len(), 2);
    assert!(response["usage"]["output_tokens"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn responses_stream_a_call() {
    let server = Server::start().await;
    let events = server.events("responses", &responses("run: echo hi")).await;
    let item = &events
        .iter()
        .find(|(name, _)| name == "response.output_item.done")
        .unwrap()
        .1["item"];
    assert_eq!(
        (item["type"].as_str(), item["name"].as_str()),
        (Some("function_call"), Some("exec_command"))
    );
    assert_eq!(item["arguments"], r#"{"cmd":"echo hi"}"#);
    assert_eq!(
        joined(&events, "response.function_call_arguments.delta", "/delta"),
        r#"{"cmd":"echo hi"}"#
    );
}

#[tokio::test]
async fn chat_completions_answer_whole_and_streamed() {
    let server = Server::start().await;
    let tools = json!([{ "type": "function", "function": { "name": "bash", "parameters": { "required": ["command", "description"] } } }]);
    let mut body = json!({ "model": "demo", "messages": [{ "role": "user", "content": "run: ls" }], "tools": tools });
    let whole = server.json("chat/completions", &body).await;
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(
        whole["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        "bash"
    );

    body["stream"] = json!(true);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "1" }] }));
    messages.push(json!({ "role": "tool", "tool_call_id": "1", "content": "README.md" }));
    let events = server.events("chat/completions", &body).await;
    assert!(joined(&events, "", "/choices/0/delta/content").contains("README.md"));
    assert_eq!(joined(&events, "", "/choices/0/finish_reason"), "stop");
    assert_eq!(events.last().unwrap().1, "[DONE]");
}

#[tokio::test]
async fn messages_answer_whole_and_streamed() {
    let server = Server::start().await;
    let tools = json!([{ "name": "Bash", "input_schema": { "type": "object" } }]);
    let content = json!([{ "type": "text", "text": "<system-reminder>x</system-reminder>" }, { "type": "text", "text": "run: ls" }]);
    let mut body = json!({ "model": "demo", "max_tokens": 9, "messages": [{ "role": "user", "content": content }], "tools": tools });
    let whole = server.json("messages", &body).await;
    assert_eq!(whole["stop_reason"], "tool_use");
    assert_eq!(whole["content"][0]["input"], json!({ "command": "ls" }));

    body["stream"] = json!(true);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({ "role": "assistant", "content": [whole["content"][0]] }));
    messages.push(
        json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": "README.md" }] }),
    );
    let events = server.events("messages", &body).await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(&names[..3], ["message_start", "ping", "content_block_start"]);
    assert_eq!(
        &names[names.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    assert!(joined(&events, "content_block_delta", "/delta/text").contains("README.md"));
}

#[tokio::test]
async fn refusals_speak_the_words_of_their_api() {
    let server = Server::start().await;
    let refused = server.post("responses", &responses("rate limit 7")).await;
    assert_eq!(
        (
            refused.status().as_u16(),
            refused.headers()["retry-after"].to_str().unwrap()
        ),
        (429, "7")
    );
    assert_eq!(
        refused.json::<Value>().await.unwrap()["error"]["code"],
        "rate_limit_exceeded"
    );
    let anthropic = server
        .post(
            "messages",
            &json!({ "messages": [{ "role": "user", "content": "fail 401" }] }),
        )
        .await;
    assert_eq!(anthropic.status().as_u16(), 401);
    assert_eq!(
        anthropic.json::<Value>().await.unwrap()["error"]["type"],
        "authentication_error"
    );
    let nonsense = server
        .client
        .post(format!("{}/responses", server.url))
        .body("nonsense")
        .send()
        .await
        .unwrap();
    assert_eq!(nonsense.status().as_u16(), 400);
}

#[tokio::test]
async fn a_cut_stream_has_no_end() {
    let server = Server::start().await;
    let mut response = server.post("responses", &responses("cut 4")).await;
    let mut text = String::new();
    let error = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode() || error.is_request(), "{error:?}");
    assert_eq!(parse(&text).len(), 4);
}

#[tokio::test]
async fn a_stalled_stream_stays_open() {
    let server = Server::start().await;
    let mut response = server.post("responses", &responses("stall 2")).await;
    let mut text = String::new();
    while parse(&text).len() < 2 {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(
        tokio::time::timeout(Duration::from_millis(300), response.chunk())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_slow_stream_comes_line_by_line() {
    let server = Server::start().await;
    let started = Instant::now();
    let mut response = server.post("responses", &responses("slow stream 5 every 60 ms")).await;
    let mut arrivals = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        let text = String::from_utf8_lossy(&chunk);
        arrivals.extend(
            text.matches("event: response.output_text.delta")
                .map(|_| started.elapsed()),
        );
    }
    assert_eq!(arrivals.len(), 5, "{arrivals:?}");
    // There is a pause before each, so none can come earlier than all pauses before it; a machine that is
    // busy makes it later.
    for (arrival, pauses) in arrivals.iter().zip(1_u32..) {
        assert!(*arrival >= pauses * Duration::from_millis(60), "{arrivals:?}");
    }
}

#[tokio::test]
async fn models_are_listed() {
    let server = Server::start().await;
    let list: Value = server
        .client
        .get(format!("{}/models", server.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(list["data"][0]["id"], mistle_scripted_model::MODEL);
}
