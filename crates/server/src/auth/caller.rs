//! From a request's credential to the [`OpContext`] that every domain call begins with.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use mistle_model::OpContext;
use mistle_protocol::id::{RequestId, TokenId};
use mistle_store::accounts::Member;
use secrecy::{ExposeSecret, SecretString};

use super::{origin, secret};
use crate::api::problem::{ApiError, ApiResult};
use crate::app::App;

/// How long a cookie lasts without being used.
pub const WEB_SESSION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A cookie in use is renewed once it is older than this: a write a day and not one a request.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// A token's last use is written at most this often.
const TOUCH_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// What tokens begin with.
pub const TOKEN_PREFIX: &str = "mst_";

/// Who is asking, and by what.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For domain calls.
    pub ctx: OpContext,
    /// The credential, so that what hangs on it ends when it is revoked.
    pub credential: Credential,
}

/// What a request was let in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A cookie, as its hash.
    WebSession(String),
    /// A bearer token.
    Token(TokenId),
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    /// What [`authenticate`] found. A route outside of it has no caller, and so lets nobody in.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        parts.extensions.get().cloned().ok_or_else(ApiError::unauthenticated)
    }
}

/// Lets a request through that carries a valid credential.
pub async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let (caller, cookie) = if let Some(caller) = by_bearer(&app, request.headers()).await? {
        (caller, None)
    } else {
        let (caller, cookie) = by_cookie(&app, request.headers())
            .await?
            .ok_or_else(ApiError::unauthenticated)?;
        if !origin::is_safe(request.method()) && !app.origins.allow(request.headers()) {
            return Err(ApiError::forbidden(
                "foreign-origin",
                "The request does not come from this server's own page.",
            ));
        }
        (caller, cookie)
    };
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn bearer(headers: &HeaderMap) -> ApiResult<Option<SecretString>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(ApiError::unauthenticated)?;
    Ok(Some(token.into()))
}

/// The caller whom an `Authorization` header names; none without one. A wrong one is an error and
/// no reason to look for a cookie.
pub async fn by_bearer(app: &App, headers: &HeaderMap) -> ApiResult<Option<Caller>> {
    let Some(token) = bearer(headers)? else {
        return Ok(None);
    };
    let hash = secret::hash(token.expose_secret()).ok_or_else(ApiError::token_unknown)?;
    let found = app
        .store
        .token_by_hash(&hash)
        .await?
        .ok_or_else(ApiError::token_unknown)?;
    let now = Timestamp::now();
    if found
        .last_used_at
        .is_none_or(|last| now.duration_since(last) > TOUCH_EVERY)
    {
        // A convenience: on a full disk one can still look, and stop what fills it.
        if let Err(error) = app.store.touch_token(found.id, now).await {
            tracing::warn!(%error, "the last use of a token was not stored");
        }
    }
    Ok(Some(Caller {
        ctx: context(&found.member),
        credential: Credential::Token(found.id),
    }))
}

/// The caller whom a cookie names, and the cookie to set when it was renewed.
pub async fn by_cookie(app: &App, headers: &HeaderMap) -> ApiResult<Option<(Caller, Option<HeaderValue>)>> {
    let Some(value) = app.cookie.read(headers) else {
        return Ok(None);
    };
    let Some(hash) = secret::hash(value.expose_secret()) else {
        return Ok(None);
    };
    let now = Timestamp::now();
    let Some(found) = app.store.web_session(&hash, now).await? else {
        return Ok(None);
    };
    let mut renewed = None;
    if now + WEB_SESSION - RENEW_AFTER > found.expires_at {
        match app.store.extend_web_session(&hash, now + WEB_SESSION).await {
            Ok(()) => renewed = Some(app.cookie.set(&value)),
            Err(error) => tracing::warn!(%error, "a sign-in was not extended"),
        }
    }
    let caller = Caller {
        ctx: context(&found.member),
        credential: Credential::WebSession(hash),
    };
    Ok(Some((caller, renewed)))
}

/// What domain calls are told about a member who asks.
pub fn context(member: &Member) -> OpContext {
    OpContext {
        user_id: member.user_id,
        organization_id: member.organization_id,
        role: member.role,
        request_id: crate::api::layers::request_id().unwrap_or_else(RequestId::new),
    }
}

/// The cookie that holds a web session.
#[derive(Clone, Debug)]
pub struct Cookie {
    name: &'static str,
    secure: bool,
}

impl Cookie {
    /// Over HTTPS the `__Host-` prefix binds it to exactly this host. Plain HTTP, which is for a
    /// server on one's own machine, can't have that.
    pub fn new(https: bool) -> Self {
        Self {
            name: if https { "__Host-mistle" } else { "mistle" },
            secure: https,
        }
    }

    /// Whether browsers send it over HTTPS only.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    fn read(&self, headers: &HeaderMap) -> Option<SecretString> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.name)
            .map(|(_, value)| value.into())
    }

    /// The header that sets it.
    pub fn set(&self, value: &SecretString) -> HeaderValue {
        self.header(value.expose_secret(), WEB_SESSION.as_secs())
    }

    /// The header that removes it.
    pub fn clear(&self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age: i64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}",
            self.name
        );
        let mut header = HeaderValue::try_from(text)
            .unwrap_or_else(|_: http::header::InvalidHeaderValue| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}
