//! The actor itself.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use mistle_protocol::api::Me;

use super::extract::Json;
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::{Caller, Credential};

/// Who is asking.
#[utoipa::path(get, operation_id = "me_show", path = "/me", tag = "account", responses((status = 200, body = Me)))]
pub(crate) async fn show(State(app): State<App>, caller: Caller) -> ApiResult<Json<Me>> {
    let member = app
        .store
        .member(&caller.ctx)
        .await?
        .ok_or_else(ApiError::unauthenticated)?;
    Ok(Json(Me {
        user_id: member.user_id,
        organization_id: member.organization_id,
        name: member.name,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    }))
}

/// Ends the web session whose cookie is sent, with the streams that it opened. With a token it
/// does nothing: tokens are revoked by id.
#[utoipa::path(post, operation_id = "me_logout", path = "/logout", tag = "account", responses((status = 204)))]
pub(crate) async fn logout(State(app): State<App>, caller: Caller) -> ApiResult<Response> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Credential::WebSession(hash) = &caller.credential {
        app.store.remove_web_session(hash).await?;
        app.revoke(&caller.credential);
        response.headers_mut().append(header::SET_COOKIE, app.cookie.clear());
    }
    Ok(response)
}
