//! What a failed model request means, for a person.

use serde_json::Value;

use super::wire::TurnError;

/// The longest detail in a message, in bytes: an error page is no message.
const MAX_DETAIL: usize = 500;

/// A stable name and a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Why a turn failed. `retried` is why its last request was tried again before.
pub(super) fn explain(error: Option<&TurnError>, retried: Option<&TurnError>) -> Failure {
    let Some(error) = error else {
        return Failure {
            code: "other",
            message: "The turn failed and Codex does not say why.".to_owned(),
        };
    };
    let detail = detail(error);
    let code = code(error).or_else(|| retried.and_then(code)).unwrap_or("other");
    Failure {
        code,
        message: text(code, &detail),
    }
}

/// What to say while a request is tried again.
pub(super) fn retrying(error: &TurnError) -> String {
    let count = error.message.strip_prefix("Reconnecting... ").unwrap_or_default();
    let cause = error
        .additional_details
        .as_deref()
        .map_or_else(|| detail(error), shorten);
    let attempt = count
        .split_once('/')
        .map(|(this, all)| format!(" (attempt {this} of {all})"))
        .unwrap_or_default();
    format!("The model request failed: {cause}. Trying again{attempt}.")
}

fn code(error: &TurnError) -> Option<&'static str> {
    let (name, status) = kind(&error.codex_error_info);
    let said = format!(
        "{} {}",
        error.message,
        error.additional_details.as_deref().unwrap_or_default()
    );
    let code = match (name, status) {
        ("contextWindowExceeded", _) => "context_full",
        ("usageLimitExceeded" | "sessionBudgetExceeded" | "rateLimitExceeded", _) | (_, Some(429)) => "usage_limit",
        ("unauthorized", _) | (_, Some(401 | 403)) => "model_unauthorized",
        _ if said.contains("error sending request") => "model_unreachable",
        ("responseStreamDisconnected", None) => "model_stream_cut",
        _ if said.contains("stream disconnected") || said.contains("stream closed before") => "model_stream_cut",
        (
            "internalServerError"
            | "serverOverloaded"
            | "httpConnectionFailed"
            | "responseStreamConnectionFailed"
            | "responseTooManyFailedAttempts",
            _,
        ) => "model_unreachable",
        _ => return None,
    };
    Some(code)
}

/// The name and the HTTP status in `codexErrorInfo`.
fn kind(info: &Value) -> (&str, Option<u64>) {
    match info {
        Value::String(name) => (name, None),
        Value::Object(object) => object.iter().next().map_or(("", None), |(name, value)| {
            (name, value.get("httpStatusCode").and_then(Value::as_u64))
        }),
        _ => ("", None),
    }
}

fn text(code: &str, detail: &str) -> String {
    match code {
        "context_full" => format!(
            "The conversation no longer fits into the model's context ({detail}). Start a new session, or choose a model with a larger context."
        ),
        "usage_limit" => format!(
            "The model's provider refuses more requests for now ({detail}). Wait, or raise the limit there, then send the message again."
        ),
        "model_unauthorized" => format!(
            "The model's provider refuses the key ({detail}). Check the provider's key in the server's configuration, then send the message again."
        ),
        "model_unreachable" => format!(
            "The model can't be reached ({detail}). Check the provider's address in the server's configuration, then send the message again."
        ),
        "model_stream_cut" => {
            format!("The model stopped in the middle of its answer ({detail}). Send the message again.")
        }
        _ => format!("The turn failed: {detail}."),
    }
}

/// What the provider said: of a JSON error its message.
fn detail(error: &TurnError) -> String {
    let body: Option<Value> = serde_json::from_str(&error.message).ok();
    let message = body.as_ref().and_then(|body| {
        body.pointer("/error/message")
            .or_else(|| body.get("detail"))
            .or_else(|| body.get("message"))
    });
    shorten(message.and_then(Value::as_str).unwrap_or(&error.message))
}

fn shorten(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    if text.len() <= MAX_DETAIL {
        text.to_owned()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(MAX_DETAIL)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(message: &str, info: &Value) -> TurnError {
        serde_json::from_value(json!({ "message": message, "codexErrorInfo": info })).unwrap()
    }

    #[test]
    fn every_failure_has_a_name() {
        for (message, info, code) in [
            (
                "unexpected status 401 Unauthorized: bad key",
                json!({ "httpConnectionFailed": { "httpStatusCode": 401 } }),
                "model_unauthorized",
            ),
            (
                "exceeded retry limit",
                json!({ "responseTooManyFailedAttempts": { "httpStatusCode": 429 } }),
                "usage_limit",
            ),
            ("high demand", json!("internalServerError"), "model_unreachable"),
            (
                "stream disconnected before completion: error sending request for url",
                json!("other"),
                "model_unreachable",
            ),
            (
                "stream disconnected before completion: stream closed before response.completed",
                json!("other"),
                "model_stream_cut",
            ),
            ("too long", json!("contextWindowExceeded"), "context_full"),
            ("policy", json!({ "somethingOfTomorrow": null }), "other"),
            ("", Value::Null, "other"),
        ] {
            assert_eq!(explain(Some(&error(message, &info)), None).code, code, "{message}");
        }
        assert_eq!(explain(None, None).code, "other");
    }

    #[test]
    fn a_person_reads_the_message_of_a_json_error() {
        let failure = explain(
            Some(&error(r#"{"error":{"message":"model not found"}}"#, &json!("other"))),
            None,
        );
        assert_eq!(failure.message, "The turn failed: model not found.");
    }

    #[test]
    fn a_retry_says_why_and_how_often() {
        let mut retry = error("Reconnecting... 2/5", &Value::Null);
        retry.additional_details = Some("stream closed.".to_owned());
        assert_eq!(
            retrying(&retry),
            "The model request failed: stream closed. Trying again (attempt 2 of 5)."
        );
    }
}
