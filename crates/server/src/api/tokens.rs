//! Bearer tokens.

use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use mistle_protocol::api::{CreatedToken, NewToken, Page, Token};
use mistle_protocol::id::TokenId;
use secrecy::ExposeSecret as _;

use super::extract::{Json, PageQuery, Path, Query};
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::{Caller, Credential, TOKEN_PREFIX};
use crate::auth::secret;

/// The longest name of a token, in characters.
const MAX_NAME: usize = 100;

/// The actor's tokens, newest first, without their secrets.
#[utoipa::path(get, operation_id = "tokens_list", path = "/tokens", tag = "account", params(PageQuery), responses((status = 200, body = Page<Token>)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> ApiResult<Json<Page<Token>>> {
    let limit = page.limit()?;
    let before = match &page.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| ApiError::bad_request("`cursor` is none that this list gave."))?,
        ),
        None => None,
    };
    Ok(Json(app.store.list_tokens(&caller.ctx, before, limit).await?))
}

/// Creates a token. Its secret is in this answer only.
#[utoipa::path(post, operation_id = "tokens_create", path = "/tokens", tag = "account", request_body = NewToken, responses((status = 201, body = CreatedToken)))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewToken>,
) -> ApiResult<(StatusCode, Json<CreatedToken>)> {
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(ApiError::invalid(
            "token-name-invalid",
            "/name",
            format!("A token's name has 1 to {MAX_NAME} characters."),
        ));
    }
    let secret = secret::generate(TOKEN_PREFIX);
    let token = app
        .store
        .add_token(&caller.ctx, name, &secret::hash_of(&secret), Timestamp::now())
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(CreatedToken {
            token,
            secret: secret.expose_secret().to_owned(),
        }),
    ))
}

/// Revokes a token, with the streams that it opened.
#[utoipa::path(delete, operation_id = "tokens_revoke", path = "/tokens/{token_id}", tag = "account", params(("token_id" = TokenId, Path)), responses((status = 204)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(token_id): Path<TokenId>,
) -> ApiResult<StatusCode> {
    if !app.store.revoke_token(&caller.ctx, token_id).await? {
        return Err(ApiError::not_found("token"));
    }
    app.revoke(&Credential::Token(token_id));
    Ok(StatusCode::NO_CONTENT)
}
