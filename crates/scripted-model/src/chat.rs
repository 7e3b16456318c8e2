//! `OpenAI` Chat Completions.

use axum::response::Response;
use serde_json::{Value, json};

use crate::conversation::{Entry, Request, add_user_part};
use crate::responses::error;
use crate::script::{Answer, Fault};
use crate::server::{fresh_id, unix_seconds};
use crate::sse::{self, Event};
use crate::tools::{Call, Tools};

/// Reads a request.
pub(crate) fn read(body: &Value, bytes: usize) -> Request {
    let mut tools = Tools::default();
    tools.add(&body["tools"]);
    let mut entries = Vec::new();
    for message in body["messages"].as_array().into_iter().flatten() {
        match message["role"].as_str().unwrap_or_default() {
            "user" => {
                for (index, text) in texts(&message["content"]).into_iter().enumerate() {
                    add_user_part(&mut entries, text, None, index > 0);
                }
            }
            "assistant" => {
                if texts(&message["content"]).iter().any(|text| !text.is_empty()) {
                    entries.push(Entry::Assistant);
                }
                entries.extend(
                    message["tool_calls"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(|_| Entry::Call),
                );
            }
            "tool" => entries.push(Entry::Output(texts(&message["content"]).join("\n"))),
            _ => {}
        }
    }
    Request {
        model: body["model"].as_str().unwrap_or(crate::MODEL).to_owned(),
        stream: body["stream"].as_bool().unwrap_or(false),
        entries,
        tools,
        turn_began_ms: None,
        bytes,
    }
}

fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        parts => parts
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| part["text"].as_str())
            .collect(),
    }
}

/// Writes an answer.
pub(crate) fn write(request: &Request, answer: &Answer) -> Response {
    match &answer.fault {
        Some(Fault::Status {
            status,
            code,
            message,
            retry_after_secs,
        }) => sse::refusal(*status, error(code, message), *retry_after_secs),
        Some(Fault::Failed { code, message }) => sse::refusal(400, error(code, message), None),
        fault if request.stream => sse::stream(events(request, answer), fault.as_ref()),
        fault => sse::whole(&completion(request, answer), fault.as_ref()),
    }
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    })
}

fn tool_call(call: &Call) -> Value {
    match call {
        Call::Function { name, arguments } => {
            json!({ "id": fresh_id("call"), "type": "function", "function": { "name": name, "arguments": arguments.to_string() } })
        }
        Call::Custom { name, input } => {
            json!({ "id": fresh_id("call"), "type": "custom", "custom": { "name": name, "input": input } })
        }
    }
}

fn completion(request: &Request, answer: &Answer) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
    if let Some(reasoning) = &answer.reasoning {
        message["reasoning_content"] = json!(reasoning);
    }
    if !answer.calls.is_empty() {
        message["tool_calls"] = answer.calls.iter().map(tool_call).collect();
    }
    json!({
        "id": fresh_id("chatcmpl"),
        "object": "chat.completion",
        "created": unix_seconds(),
        "model": request.model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(answer) }],
        "usage": usage(answer),
    })
}

fn events(request: &Request, answer: &Answer) -> Vec<Event> {
    let (id, created) = (fresh_id("chatcmpl"), unix_seconds());
    let chunk = |choices: Value| json!({ "id": id, "object": "chat.completion.chunk", "created": created, "model": request.model, "choices": choices });
    let delta = |delta: Value| Event::bare(chunk(json!([{ "index": 0, "delta": delta, "finish_reason": null }])));
    let mut events = vec![delta(json!({ "role": "assistant", "content": "" }))];
    for (key, text) in [("reasoning_content", &answer.reasoning), ("content", &answer.text)] {
        for part in sse::chunks(text.as_deref().unwrap_or_default()) {
            events.push(delta(json!({ key: part })).after(answer.chunk_delay));
        }
    }
    for (index, call) in answer.calls.iter().enumerate() {
        let mut call = tool_call(call);
        call["index"] = json!(index);
        events.push(delta(json!({ "tool_calls": [call] })));
    }
    events.push(Event::bare(chunk(
        json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason(answer) }]),
    )));
    // Real servers send this on request only; clients that did not ask ignore an empty choice.
    let mut last = chunk(json!([]));
    last["usage"] = usage(answer);
    events.push(Event::bare(last));
    events.push(Event::bare("[DONE]"));
    events
}
