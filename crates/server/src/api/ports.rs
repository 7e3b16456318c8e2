//! A session's ports, and the way to their pages.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use mistle_protocol::id::SessionId;
use mistle_protocol::ports::{OpenedPort, Port};
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::{self, Caller};

/// When there are too many addresses that nobody opened: until the oldest expire.
const RETRY_SECS: u64 = 60;

/// What listens in the session's sandbox, the lowest port first.
#[utoipa::path(get, operation_id = "ports_list", path = "/sessions/{session_id}/ports", tag = "ports", params(("session_id" = SessionId, Path)), responses((status = 200, body = Vec<Port>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
) -> ApiResult<Json<Vec<Port>>> {
    Ok(Json(app.sessions.ports(&caller.ctx, id).await?))
}

/// An address that opens a port's page, on an origin of its own, once and within a minute. The port
/// need not listen yet.
#[utoipa::path(post, operation_id = "ports_open", path = "/sessions/{session_id}/ports/{port}/open", tag = "ports", params(("session_id" = SessionId, Path), ("port" = u16, Path)), responses((status = 201, body = OpenedPort)))]
pub(crate) async fn open(
    State(app): State<App>,
    caller: Caller,
    Path((id, port)): Path<(SessionId, u16)>,
) -> ApiResult<(StatusCode, Json<OpenedPort>)> {
    let url = address(&app, &caller, id, port, None).await?;
    Ok((StatusCode::CREATED, Json(OpenedPort { url })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenQuery {
    to: Option<String>,
}

/// `GET /open/{session_id}/{port}?to=…`: the same as a link, for browsers. What a preview's own
/// pages lead to when the browser has no permission for it (any more).
pub(crate) async fn follow(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Path((id, port)): Path<(SessionId, u16)>,
    Query(query): Query<OpenQuery>,
) -> ApiResult<Response> {
    let Some((caller, renewed)) = caller::by_cookie(&app, &headers).await? else {
        return Ok(crate::web::sign_in_first(&app, &uri));
    };
    let purpose = headers.get("sec-purpose").and_then(|value| value.to_str().ok());
    if method == Method::HEAD || purpose.is_some_and(|purpose| purpose.contains("prefetch")) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let url = address(&app, &caller, id, port, query.to.as_deref()).await?;
    let mut response = ([(header::CACHE_CONTROL, "no-store")], Redirect::to(&url)).into_response();
    if let Some(cookie) = renewed {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn address(app: &App, caller: &Caller, id: SessionId, port: u16, path: Option<&str>) -> ApiResult<String> {
    app.sessions.get(&caller.ctx, id).await?;
    if port == 0 {
        return Err(ApiError::not_found("port"));
    }
    app.previews
        .address(caller, id, port, path)
        .ok_or_else(|| ApiError::rate_limited(RETRY_SECS))
}
