//! Event streams: their framing, their pace and their faults.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;

use crate::script::Fault;

/// How long a stalled stream stays open. Longer than any client waits, and not for ever.
const STALL: Duration = Duration::from_mins(15);
/// Words in one chunk of text: small enough to look typed.
const WORDS_PER_CHUNK: usize = 4;

/// One event and the pause before it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) delay: Duration,
    pub(crate) text: String,
}

impl Event {
    /// An event with a name line, as the Responses and Messages APIs send.
    pub(crate) fn named(data: &Value) -> Self {
        let name = data["type"].as_str().unwrap_or_default();
        Self {
            delay: Duration::ZERO,
            text: format!("event: {name}\ndata: {data}\n\n"),
        }
    }

    /// An event without a name, as Chat Completions sends.
    pub(crate) fn bare(data: impl std::fmt::Display) -> Self {
        Self {
            delay: Duration::ZERO,
            text: format!("data: {data}\n\n"),
        }
    }

    /// The same event after a pause.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// A text in the pieces in which it is streamed: a few words, and never more than a line.
pub(crate) fn chunks(text: &str) -> Vec<&str> {
    let mut chunks = Vec::new();
    for line in text.split_inclusive('\n') {
        let (mut start, mut words) = (0, 0);
        for (at, _) in line.match_indices(' ') {
            words += 1;
            if words == WORDS_PER_CHUNK {
                chunks.push(&line[start..=at]);
                (start, words) = (at + 1, 0);
            }
        }
        if start < line.len() {
            chunks.push(&line[start..]);
        }
    }
    chunks
}

/// The stream of the events, cut or stalled as the fault says.
pub(crate) fn stream(events: Vec<Event>, fault: Option<&Fault>) -> Response {
    let (limit, stalls) = match fault {
        Some(Fault::Cut { after_events }) => (Some(*after_events), false),
        Some(Fault::Stall { after_events }) => (Some(*after_events), true),
        _ => (None, false),
    };
    let body = async_stream::stream! {
        for event in events.into_iter().take(limit.unwrap_or(usize::MAX)) {
            if !event.delay.is_zero() {
                tokio::time::sleep(event.delay).await;
            }
            yield Ok(Bytes::from(event.text));
        }
        if stalls {
            tokio::time::sleep(STALL).await;
        }
        if limit.is_some() {
            // What was said is sent only when nothing more is at hand.
            tokio::task::yield_now().await;
            // An error drops the connection without the end that HTTP would give a body.
            yield Err(std::io::Error::other("cut by the scenario"));
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// A whole answer as JSON, or nothing at all when the connection is to be cut or to stall.
pub(crate) fn whole(body: &Value, fault: Option<&Fault>) -> Response {
    match fault {
        Some(Fault::Cut { .. } | Fault::Stall { .. }) => stream(Vec::new(), fault),
        _ => axum::Json(body).into_response(),
    }
}

/// A refusal.
pub(crate) fn refusal(status: u16, body: Value, retry_after_secs: Option<u64>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(secs) = retry_after_secs {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_short_and_lose_nothing() {
        for text in [
            "",
            "one",
            "one two three four five six seven",
            "a b\n\nc d e f g\n",
            "    indented code here and more\n",
        ] {
            let chunks = chunks(text);
            assert_eq!(chunks.concat(), text);
            assert!(
                chunks
                    .iter()
                    .all(|chunk| chunk.matches(' ').count() <= WORDS_PER_CHUNK && !chunk.is_empty()),
                "{chunks:?}"
            );
        }
    }
}
