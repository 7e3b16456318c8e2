//! The `OpenAI` Responses API.

use axum::response::Response;
use serde_json::{Value, json};

use crate::conversation::{Entry, Request, add_images, add_user_part, uuid_v7_ms};
use crate::image;
use crate::script::{Answer, Fault};
use crate::server::fresh_id;
use crate::sse::{self, Event};
use crate::tools::{Call, Tools};

/// Reads a request.
pub(crate) fn read(body: &Value, bytes: usize) -> Request {
    let mut tools = Tools::default();
    tools.add(&body["tools"]);
    let mut entries = Vec::new();
    match &body["input"] {
        Value::String(text) => add_user_part(&mut entries, text, None, false),
        input => {
            for item in input.as_array().into_iter().flatten() {
                read_item(&mut entries, &mut tools, item);
            }
        }
    }
    Request {
        model: body["model"].as_str().unwrap_or(crate::MODEL).to_owned(),
        stream: body["stream"].as_bool().unwrap_or(false),
        entries,
        tools,
        turn_began_ms: body["client_metadata"]["turn_id"].as_str().and_then(uuid_v7_ms),
        bytes,
    }
}

fn read_item(entries: &mut Vec<Entry>, tools: &mut Tools, item: &Value) {
    match item["type"].as_str().unwrap_or("message") {
        "message" if item["role"] == "user" => {
            let at = item["id"].as_str().and_then(uuid_v7_ms);
            let images = images(&item["content"]);
            for (index, text) in texts(&item["content"]).into_iter().enumerate() {
                add_user_part(entries, text, at, index > 0);
            }
            add_images(entries, &images, at);
        }
        "message" if item["role"] == "assistant" => entries.push(Entry::Assistant),
        "function_call" | "custom_tool_call" | "local_shell_call" => entries.push(Entry::Call),
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
            entries.push(Entry::Output(texts(&item["output"]).join("\n")));
        }
        "additional_tools" => tools.add(&item["tools"]),
        _ => {}
    }
}

/// The texts of a content, which is a text or a list of parts.
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

/// The images of a content, in words.
fn images(content: &Value) -> Vec<String> {
    content
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["image_url"].as_str())
        .map(image::describe)
        .collect()
}

/// Writes an answer.
pub(crate) fn write(request: &Request, answer: &Answer) -> Response {
    if let Some(Fault::Status {
        status,
        code,
        message,
        retry_after_secs,
    }) = &answer.fault
    {
        return sse::refusal(*status, error(code, message), *retry_after_secs);
    }
    let writer = Writer::new(request, answer);
    if request.stream {
        return sse::stream(writer.events(), answer.fault.as_ref());
    }
    match &answer.fault {
        Some(Fault::Failed { code, message }) => sse::refusal(400, error(code, message), None),
        fault => {
            let items: Vec<Value> = writer.items().iter().map(|item| item.done.clone()).collect();
            sse::whole(&writer.response("completed", &items), fault.as_ref())
        }
    }
}

/// An error in the words of `OpenAI`.
pub(crate) fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "message": message, "type": code, "param": null, "code": code } })
}

/// One item of the output: how it begins, how it grows and what it is in the end.
struct Item {
    added: Value,
    deltas: Vec<Value>,
    done: Value,
}

struct Writer<'a> {
    id: String,
    request: &'a Request,
    answer: &'a Answer,
}

impl<'a> Writer<'a> {
    fn new(request: &'a Request, answer: &'a Answer) -> Self {
        Self {
            id: fresh_id("resp"),
            request,
            answer,
        }
    }

    fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        items.extend(
            self.answer
                .reasoning
                .as_deref()
                .map(|text| reasoning(text, items.len())),
        );
        items.extend(self.answer.text.as_deref().map(|text| message(text, items.len())));
        for call in &self.answer.calls {
            items.push(self::call(call, items.len()));
        }
        items
    }

    fn response(&self, status: &str, output: &[Value]) -> Value {
        let usage = &self.answer.usage;
        let usage = (status == "completed").then(|| {
            json!({
                "input_tokens": usage.input,
                "input_tokens_details": { "cached_tokens": usage.cached },
                "output_tokens": usage.output,
                "output_tokens_details": { "reasoning_tokens": usage.reasoning },
                "total_tokens": usage.input + usage.output,
            })
        });
        json!({
            "id": self.id,
            "object": "response",
            "created_at": crate::server::unix_seconds(),
            "status": status,
            "error": null,
            "incomplete_details": null,
            "model": self.request.model,
            "output": output,
            "parallel_tool_calls": false,
            "store": false,
            "tool_choice": "auto",
            "usage": usage,
        })
    }

    fn events(&self) -> Vec<Event> {
        let mut sequence = 0;
        let mut numbered = |mut data: Value| {
            data["sequence_number"] = json!(sequence);
            sequence += 1;
            Event::named(&data)
        };
        let mut events = Vec::new();
        for name in ["created", "in_progress"] {
            events.push(numbered(
                json!({ "type": format!("response.{name}"), "response": self.response("in_progress", &[]) }),
            ));
        }
        if let Some(Fault::Failed { code, message }) = &self.answer.fault {
            let mut response = self.response("failed", &[]);
            response["error"] = json!({ "code": code, "message": message });
            events.push(numbered(json!({ "type": "response.failed", "response": response })));
            return events;
        }
        let items = self.items();
        for (index, item) in items.iter().enumerate() {
            events.push(numbered(
                json!({ "type": "response.output_item.added", "output_index": index, "item": item.added }),
            ));
            for delta in &item.deltas {
                let pause = delta["type"].as_str().is_some_and(|name| name.ends_with("text.delta"));
                let event = numbered(delta.clone());
                events.push(if pause {
                    event.after(self.answer.chunk_delay)
                } else {
                    event
                });
            }
            events.push(numbered(
                json!({ "type": "response.output_item.done", "output_index": index, "item": item.done }),
            ));
        }
        let done: Vec<Value> = items.into_iter().map(|item| item.done).collect();
        events.push(numbered(
            json!({ "type": "response.completed", "response": self.response("completed", &done) }),
        ));
        events
    }
}

fn reasoning(text: &str, index: usize) -> Item {
    let id = fresh_id("rs");
    let part = |text: &str| json!({ "type": "summary_text", "text": text });
    let about = |name: &str, key: &str, value: Value| json!({ "type": format!("response.reasoning_summary_{name}"), "item_id": id, "output_index": index, "summary_index": 0, key: value });
    let mut deltas = vec![about("part.added", "part", part(""))];
    deltas.extend(
        sse::chunks(text)
            .into_iter()
            .map(|chunk| about("text.delta", "delta", json!(chunk))),
    );
    deltas.push(about("text.done", "text", json!(text)));
    deltas.push(about("part.done", "part", part(text)));
    let item =
        |summary: Vec<Value>| json!({ "id": id, "type": "reasoning", "summary": summary, "encrypted_content": null });
    Item {
        added: item(vec![]),
        done: item(vec![part(text)]),
        deltas,
    }
}

fn message(text: &str, index: usize) -> Item {
    let id = fresh_id("msg");
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
    let about = |name: &str, key: &str, value: Value| json!({ "type": format!("response.{name}"), "item_id": id, "output_index": index, "content_index": 0, key: value });
    let mut deltas = vec![about("content_part.added", "part", part(""))];
    deltas.extend(
        sse::chunks(text)
            .into_iter()
            .map(|chunk| about("output_text.delta", "delta", json!(chunk))),
    );
    deltas.push(about("output_text.done", "text", json!(text)));
    deltas.push(about("content_part.done", "part", part(text)));
    let item = |status: &str, content: Vec<Value>| json!({ "id": id, "type": "message", "role": "assistant", "status": status, "content": content });
    Item {
        added: item("in_progress", vec![]),
        done: item("completed", vec![part(text)]),
        deltas,
    }
}

fn call(call: &Call, index: usize) -> Item {
    let (kind, name, key, input, event) = match call {
        Call::Function { name, arguments } => (
            "function_call",
            name,
            "arguments",
            arguments.to_string(),
            "function_call_arguments",
        ),
        Call::Custom { name, input } => (
            "custom_tool_call",
            name,
            "input",
            input.clone(),
            "custom_tool_call_input",
        ),
    };
    let id = fresh_id("fc");
    let call_id = fresh_id("call");
    let about = |step: &str, key: &str| json!({ "type": format!("response.{event}.{step}"), "item_id": id, "output_index": index, key: input });
    let item = |status: &str, input: &str| json!({ "id": id, "type": kind, "status": status, "call_id": call_id, "name": name, key: input });
    Item {
        added: item("in_progress", ""),
        deltas: vec![about("delta", "delta"), about("done", key)],
        done: item("completed", &input),
    }
}
