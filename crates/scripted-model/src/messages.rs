//! Anthropic Messages.

use axum::response::Response;
use serde_json::{Value, json};

use crate::conversation::{Entry, Request, add_user_part};
use crate::script::{Answer, Fault};
use crate::server::fresh_id;
use crate::sse::{self, Event};
use crate::tools::{Call, Tools};

/// Reads a request.
pub(crate) fn read(body: &Value, bytes: usize) -> Request {
    let mut tools = Tools::default();
    tools.add(&body["tools"]);
    let mut entries = Vec::new();
    for message in body["messages"].as_array().into_iter().flatten() {
        let from_user = message["role"] == "user";
        match &message["content"] {
            Value::String(text) if from_user => add_user_part(&mut entries, text, None, false),
            Value::String(_) => entries.push(Entry::Assistant),
            blocks => {
                for (index, block) in blocks.as_array().into_iter().flatten().enumerate() {
                    read_block(&mut entries, block, from_user, index > 0);
                }
            }
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

fn read_block(entries: &mut Vec<Entry>, block: &Value, from_user: bool, continues: bool) {
    match block["type"].as_str().unwrap_or_default() {
        "text" if from_user => add_user_part(entries, block["text"].as_str().unwrap_or_default(), None, continues),
        "text" => entries.push(Entry::Assistant),
        "tool_use" => entries.push(Entry::Call),
        "tool_result" => entries.push(Entry::Output(result_text(&block["content"]))),
        _ => {}
    }
}

fn result_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        parts => parts
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| part["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// Writes an answer.
pub(crate) fn write(request: &Request, answer: &Answer) -> Response {
    match &answer.fault {
        Some(Fault::Status {
            status,
            message,
            retry_after_secs,
            ..
        }) => sse::refusal(*status, error(kind_of(*status), message), *retry_after_secs),
        Some(Fault::Failed { message, .. }) => sse::refusal(400, error("invalid_request_error", message), None),
        fault if request.stream => sse::stream(events(request, answer), fault.as_ref()),
        fault => {
            let blocks: Vec<Value> = blocks(answer).into_iter().map(|block| block.whole).collect();
            sse::whole(
                &message(request, answer, &blocks, Some(stop_reason(answer))),
                fault.as_ref(),
            )
        }
    }
}

/// An error in the words of Anthropic.
pub(crate) fn error(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message } })
}

fn kind_of(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

fn stop_reason(answer: &Answer) -> &'static str {
    if answer.calls.is_empty() {
        "end_turn"
    } else {
        "tool_use"
    }
}

fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    json!({
        "input_tokens": usage.input - usage.cached.min(usage.input),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    })
}

fn message(request: &Request, answer: &Answer, content: &[Value], stop_reason: Option<&str>) -> Value {
    json!({
        "id": fresh_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": usage(answer),
    })
}

/// A block of content: how it begins, how it grows and what it is in the end.
struct Block {
    start: Value,
    deltas: Vec<Value>,
    whole: Value,
}

fn blocks(answer: &Answer) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(text) = &answer.reasoning {
        let mut deltas: Vec<Value> = sse::chunks(text)
            .into_iter()
            .map(|chunk| json!({ "type": "thinking_delta", "thinking": chunk }))
            .collect();
        // Clients send it back and never look inside.
        deltas.push(json!({ "type": "signature_delta", "signature": "c2NyaXB0ZWQ=" }));
        let block =
            |text: &str, signature: &str| json!({ "type": "thinking", "thinking": text, "signature": signature });
        blocks.push(Block {
            start: block("", ""),
            deltas,
            whole: block(text, "c2NyaXB0ZWQ="),
        });
    }
    if let Some(text) = &answer.text {
        let deltas = sse::chunks(text)
            .into_iter()
            .map(|chunk| json!({ "type": "text_delta", "text": chunk }))
            .collect();
        let block = |text: &str| json!({ "type": "text", "text": text });
        blocks.push(Block {
            start: block(""),
            deltas,
            whole: block(text),
        });
    }
    blocks.extend(answer.calls.iter().map(tool_use));
    blocks
}

fn tool_use(call: &Call) -> Block {
    let (name, input) = match call {
        Call::Function { name, arguments } => (name, arguments.clone()),
        Call::Custom { name, input } => (name, json!({ "input": input })),
    };
    let id = fresh_id("toolu");
    let block = |input: &Value| json!({ "type": "tool_use", "id": id, "name": name, "input": input });
    Block {
        start: block(&json!({})),
        deltas: vec![json!({ "type": "input_json_delta", "partial_json": input.to_string() })],
        whole: block(&input),
    }
}

fn events(request: &Request, answer: &Answer) -> Vec<Event> {
    let mut events = vec![Event::named(
        &json!({ "type": "message_start", "message": message(request, answer, &[], None) }),
    )];
    events.push(Event::named(&json!({ "type": "ping" })));
    for (index, block) in blocks(answer).into_iter().enumerate() {
        events.push(Event::named(
            &json!({ "type": "content_block_start", "index": index, "content_block": block.start }),
        ));
        for delta in block.deltas {
            let event = Event::named(&json!({ "type": "content_block_delta", "index": index, "delta": delta }));
            let words = matches!(delta["type"].as_str(), Some("text_delta" | "thinking_delta"));
            events.push(if words { event.after(answer.chunk_delay) } else { event });
        }
        events.push(Event::named(&json!({ "type": "content_block_stop", "index": index })));
    }
    events.push(Event::named(&json!({ "type": "message_delta", "delta": { "stop_reason": stop_reason(answer), "stop_sequence": null }, "usage": { "output_tokens": answer.usage.output } })));
    events.push(Event::named(&json!({ "type": "message_stop" })));
    events
}
