//! Reading requests, with problems for everything that can't be read.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use http::header;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{ApiError, ApiResult};

/// The largest body of a request that carries no message.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// The largest body of a request with a message: JSON writes one byte of text as up to six
/// (`\u001b`).
pub(crate) const MAX_MESSAGE_BODY: usize = 6 * mistle_protocol::api::MAX_MESSAGE_BYTES + MAX_BODY;
/// How much of an oversized body is read and thrown away before the answer. A client that still
/// writes when the connection closes sees a broken pipe and not the problem.
const DRAINED: usize = 64 * 1024 * 1024;
/// The longest `Idempotency-Key`.
const MAX_IDEMPOTENCY_KEY: usize = 128;
/// The largest page, and the page unless told.
pub(crate) const PAGE: (u32, u32) = (200, 50);

/// A JSON body of at most `LIMIT` bytes; as an answer, JSON.
#[derive(Debug)]
pub(crate) struct Json<T, const LIMIT: usize = MAX_BODY>(pub(crate) T);

impl<T: serde::Serialize, const LIMIT: usize> IntoResponse for Json<T, LIMIT> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Sync, T: DeserializeOwned, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(ApiError::unsupported_media_type());
        }
        parse_json(&read_body(request, LIMIT).await?).map(Self)
    }
}

async fn read_body(request: Request, limit: usize) -> ApiResult<Vec<u8>> {
    let mut body = Vec::new();
    let mut length = 0;
    let mut stream = request.into_body().into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("The body ended early."))?;
        length += chunk.len();
        if length > DRAINED {
            break;
        }
        if length <= limit {
            body.extend_from_slice(&chunk);
        }
    }
    if length > limit {
        Err(ApiError::too_large(limit))
    } else {
        Ok(body)
    }
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> ApiResult<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        if inner.is_data() {
            ApiError::invalid("invalid-field", pointer, inner.to_string())
        } else {
            ApiError::bad_request(format!("The body is not valid JSON: {inner}"))
        }
    })?;
    deserializer
        .end()
        .map_err(|error| ApiError::bad_request(format!("The body is not valid JSON: {error}")))?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                Some(format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            Segment::Unknown => None,
        })
        .collect()
}

/// Ids in the path. What is no id names nothing, so it is not found.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| ApiError::not_found("object"))
    }
}

/// The query.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|error| ApiError::bad_request(error.body_text()))
    }
}

/// Which page of a list.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `next_cursor` of the page before; the first page otherwise.
    pub(crate) cursor: Option<String>,
    /// How many rows, 1 to 200; 50 otherwise.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

impl PageQuery {
    pub(crate) fn limit(&self) -> ApiResult<u32> {
        limit(self.limit, PAGE)
    }
}

/// A page size within `(most, default)`.
pub(crate) fn limit(asked: Option<u32>, (most, default): (u32, u32)) -> ApiResult<u32> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::bad_request(format!("`limit` must be 1 to {most}."))),
    }
}

/// The `Idempotency-Key` header.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let Some(value) = parts.headers.get("idempotency-key") else {
            return Ok(Self(None));
        };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > MAX_IDEMPOTENCY_KEY {
            let detail = format!("`Idempotency-Key` must have 1 to {MAX_IDEMPOTENCY_KEY} ASCII characters.");
            return Err(ApiError::bad_request(detail));
        }
        Ok(Self(Some(key.to_owned())))
    }
}
