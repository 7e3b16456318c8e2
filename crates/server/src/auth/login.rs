//! Signing in with a one-time link.
//!
//! The link is printed where only the server's operator reads: the terminal. Opening it spends its
//! code and sets the cookie.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use mistle_store::accounts::Member;
use mistle_store::{Store, StoreError};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::caller::WEB_SESSION;
use super::{next, secret};
use crate::api::extract::Query;
use crate::api::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::front_door::Peer;

/// How long a link works.
pub const LINK_LIFETIME: SignedDuration = SignedDuration::from_mins(15);
/// What the organization and its owner are called until a person changes it.
const FIRST_NAMES: (&str, &str) = ("Mistle", "Owner");
/// Wrong codes from one address before it has to wait. A code can't be guessed at any rate; this
/// keeps a scanner from making the database work.
const MAX_FAILURES: u32 = 10;
/// How long it waits then.
const WINDOW: Duration = Duration::from_mins(1);
/// The most addresses that are remembered.
const MAX_ADDRESSES: usize = 4096;

/// The organization's owner; creates both on the first call.
pub async fn owner(store: &Store) -> Result<Member, StoreError> {
    store.first_owner(FIRST_NAMES.0, FIRST_NAMES.1, Timestamp::now()).await
}

/// A new one-time link for the owner, which leads to a page of this server: `next` is its path, or
/// none for the first page.
pub async fn new_link(store: &Store, public_url: &Url, next: Option<&str>) -> Result<SecretString, StoreError> {
    let member = owner(store).await?;
    let code = secret::generate("");
    let now = Timestamp::now();
    store.remove_expired_logins(now).await?;
    store
        .add_login_code(&secret::hash_of(&code), &member, now, now + LINK_LIFETIME)
        .await?;
    let mut url = public_url.clone();
    url.set_path("/login");
    let mut query = url.query_pairs_mut();
    query.clear().append_pair("code", code.expose_secret());
    if let Some(next) = next {
        query.append_pair("next", next);
    }
    drop(query);
    Ok(url.to_string().into())
}

/// Failed attempts by address.
#[derive(Clone, Debug, Default)]
pub struct LoginLimit {
    failures: Arc<Mutex<HashMap<IpAddr, (Instant, u32)>>>,
}

impl LoginLimit {
    /// Whether this address may try; if not, for how many seconds not.
    pub fn check(&self, address: IpAddr, at: Instant) -> Result<(), u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.get(&address) {
            Some((since, count)) if *count >= MAX_FAILURES && at < *since + WINDOW => {
                Err((*since + WINDOW).duration_since(at).as_secs() + 1)
            }
            _ => Ok(()),
        }
    }

    /// Notes a wrong code.
    pub fn failed(&self, address: IpAddr, at: Instant) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, (since, _)| at < *since + WINDOW);
        }
        if failures.len() >= MAX_ADDRESSES && !failures.contains_key(&address) {
            return;
        }
        let entry = failures.entry(address).or_insert((at, 0));
        if at >= entry.0 + WINDOW {
            *entry = (at, 0);
        }
        entry.1 += 1;
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct LoginQuery {
    code: Option<SecretString>,
    next: Option<String>,
}

/// `GET /login?code=…&next=…`
pub(crate) async fn login(
    State(app): State<App>,
    method: Method,
    peer: Peer,
    headers: HeaderMap,
    Query(query): Query<LoginQuery>,
) -> ApiResult<Response> {
    let Some(code) = query.code else {
        return Ok(crate::web::sign_in_page(StatusCode::OK, None));
    };
    // A look ahead by a browser or a chat program is not a person; the link stays fresh.
    let purpose = headers.get("sec-purpose").and_then(|value| value.to_str().ok());
    if method == Method::HEAD || purpose.is_some_and(|purpose| purpose.contains("prefetch")) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let now = Instant::now();
    app.login_limit.check(peer.ip(), now).map_err(ApiError::rate_limited)?;
    let member = match secret::hash(code.expose_secret()) {
        Some(hash) => app.store.take_login_code(&hash, Timestamp::now()).await?,
        None => None,
    };
    let Some(member) = member else {
        app.login_limit.failed(peer.ip(), now);
        return Ok(crate::web::sign_in_page(
            StatusCode::UNAUTHORIZED,
            Some("This link was used already, or is older than 15 minutes."),
        ));
    };
    let cookie = secret::generate("");
    let at = Timestamp::now();
    app.store
        .add_web_session(&secret::hash_of(&cookie), &member, at, at + WEB_SESSION)
        .await?;
    tracing::info!(user_id = %member.user_id, "signed in with a link");
    let asked = query.next.as_deref().and_then(next::own_page).map(str::to_owned);
    let kept = next::kept(&headers);
    let forget = kept.as_ref().and_then(|_| next::forget(app.cookie.is_secure()));
    let to = asked.or(kept).unwrap_or_else(|| "/".to_owned());
    let mut response = Redirect::to(&to).into_response();
    let cookies = [Some(app.cookie.set(&cookie)), forget];
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_ten_failures_and_others_do_not() {
        let (limit, start) = (LoginLimit::default(), Instant::now());
        let (bad, good) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..MAX_FAILURES {
            assert_eq!(limit.check(bad, start), Ok(()));
            limit.failed(bad, start);
        }
        assert_eq!(limit.check(bad, start), Err(WINDOW.as_secs() + 1));
        assert_eq!(limit.check(good, start), Ok(()));
        assert_eq!(limit.check(bad, start + WINDOW), Ok(()));
        limit.failed(bad, start + WINDOW);
        assert_eq!(limit.check(bad, start + WINDOW), Ok(()), "the count begins again");
    }
}
