//! How the daemon says no: RFC 9457 problems, for its API and for its proxy.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use mistle_protocol::problem::{self, Problem};
use serde::de::DeserializeOwned;

/// A problem as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Box<Problem>);

impl Refusal {
    /// A problem of the stable name `kind`; `detail` says for a person what was wrong this time
    /// and what to do.
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            kind: kind.to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: Some(detail.into()),
            pointer: None,
            request_id: None,
        }))
    }

    /// The same, about one field of the request, named by its JSON pointer.
    #[must_use]
    pub fn at(mut self, pointer: &str) -> Self {
        self.0.pointer = Some(pointer.to_owned());
        self
    }

    /// Its JSON.
    pub fn body(&self) -> String {
        serde_json::to_string(&*self.0).unwrap_or_default()
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (
            self.status(),
            [(CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE))],
            self.body(),
        )
            .into_response()
    }
}

/// A JSON body, whose refusal is a problem.
#[derive(Clone, Copy, Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refuse(&rejection)),
        }
    }
}

fn refuse(rejection: &JsonRejection) -> Refusal {
    let kind = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "body-too-large",
        _ => "invalid-body",
    };
    Refusal::new(rejection.status(), kind, rejection.body_text())
}
