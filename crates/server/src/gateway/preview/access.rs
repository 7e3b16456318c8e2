//! Who may see a preview.
//!
//! ```text
//! control plane ── code, once, a minute ──► preview's origin ── pass, a week ──► every request
//! ```
//! The *code* is spent by whoever opens the address that carries it. The *pass* is the cookie that
//! the preview's origin sets for it: which preview, by whose credential and until when, signed with
//! a key that the data directory keeps. So it survives a restart of the server, opens nothing but its own
//! preview, and is worth as much as the credential: that is looked up again every [`RECHECK`], and
//! when it is revoked everything that is open ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use mistle_model::{OpContext, Role};
use mistle_protocol::id::{OrganizationId, RequestId, SessionId, TokenId, UserId};
use mistle_store::{Store, StoreError};
use ring::hmac;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::headers::COOKIES;
use super::site::Preview;
use crate::auth::caller::{self, Caller, Credential};
use crate::auth::tickets::Tickets;

/// How long a code waits to be spent: a page opens it at once.
const CODE: Duration = Duration::from_mins(1);
/// How long a pass is good for.
const PASS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a credential that was found good is taken to be so. Revoking one ends it at once all
/// the same.
const RECHECK: Duration = Duration::from_secs(30);
/// The most passes that are remembered to be good; others are looked up again.
const MAX_KNOWN: usize = 10_000;
/// The longest cookie that is looked at; a pass has some 400 bytes.
const MAX_PASS: usize = 1024;
/// Cookies of our name that are tried. An app may have set some with other paths.
const MAX_TRIES: usize = 4;
/// What else may be signed with the key must begin with something else.
const PURPOSE: &[u8] = b"mistle preview pass 1\n";

/// A cookie's SHA-256.
type Digested = [u8; 32];

/// Someone who may see a preview.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) caller: Caller,
    /// Cancelled when that is over.
    pub(super) revoked: CancellationToken,
}

/// What a pass says.
#[derive(Debug, Serialize, Deserialize)]
struct Pass {
    session: SessionId,
    port: u16,
    by: By,
    user: UserId,
    organization: OrganizationId,
    expires: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// The hash of its cookie, as the store has it. It opens nothing by itself.
    WebSession(String),
    Token(TokenId),
}

struct Known {
    preview: Preview,
    guest: Guest,
    expires: Timestamp,
    checked: Instant,
}

/// Codes, passes and the key.
pub(super) struct Access {
    cookie: &'static str,
    key: hmac::Key,
    codes: Tickets<Preview>,
    /// By the cookie's hash.
    known: Mutex<HashMap<Digested, Known>>,
}

impl Access {
    /// The key is any text that nobody can guess.
    pub(super) fn new(key: &[u8], https: bool) -> Self {
        Self {
            cookie: COOKIES[usize::from(https)],
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            codes: Tickets::new(CODE),
            known: Mutex::default(),
        }
    }

    /// A code for one opening. None when there are too many unspent ones.
    pub(super) fn issue(&self, caller: &Caller, preview: Preview, at: Instant) -> Option<SecretString> {
        self.codes.issue(caller, preview, at)
    }

    /// Spends a code. It is gone afterwards, even when it was for something else.
    pub(super) fn spend(&self, code: &str, preview: Preview, at: Instant) -> Option<Caller> {
        self.codes.spend(code, &preview, at)
    }

    /// The header that gives the browser its pass.
    pub(super) fn admit(&self, caller: &Caller, preview: Preview, now: Timestamp) -> HeaderValue {
        let by = match &caller.credential {
            Credential::WebSession(hash) => By::WebSession(hash.clone()),
            Credential::Token(id) => By::Token(*id),
        };
        let pass = self.sign(&Pass {
            session: preview.session,
            port: preview.port,
            by,
            user: caller.ctx.user_id,
            organization: caller.ctx.organization_id,
            expires: now + PASS,
        });
        let secure = if self.cookie.starts_with("__Host-") {
            "; Secure"
        } else {
            ""
        };
        let text = format!(
            "{}={pass}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.cookie,
            PASS.as_secs()
        );
        let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// Whom a request's cookie lets in.
    pub(super) async fn check(
        &self,
        store: &Store,
        headers: &HeaderMap,
        preview: Preview,
    ) -> Result<Option<Guest>, StoreError> {
        let now = Timestamp::now();
        for text in self.cookies(headers) {
            let name = Sha256::digest(text).into();
            if let Some(guest) = self.known(&name, preview, now) {
                return Ok(Some(guest));
            }
            let Some(pass) = self.verify(text, preview, now) else {
                continue;
            };
            if let Some(caller) = find(store, &pass, now).await? {
                return Ok(Some(self.remember(name, caller, preview, pass.expires)));
            }
        }
        Ok(None)
    }

    fn cookies<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> + use<'a> {
        let cookie = self.cookie;
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(move |(name, value)| *name == cookie && value.len() <= MAX_PASS)
            .map(|(_, value)| value)
            .take(MAX_TRIES)
    }

    fn known(&self, name: &Digested, preview: Preview, now: Timestamp) -> Option<Guest> {
        let known = lock(&self.known);
        let known = known.get(name)?;
        let fresh = known.preview == preview && known.expires > now && known.checked.elapsed() < RECHECK;
        fresh.then(|| known.guest.clone())
    }

    /// Streams that were opened by an earlier look-up stay with it: they end together.
    fn remember(&self, name: Digested, caller: Caller, preview: Preview, expires: Timestamp) -> Guest {
        let mut known = lock(&self.known);
        if known.len() >= MAX_KNOWN {
            known.retain(|_, known| known.checked.elapsed() < RECHECK);
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let revoked = known
            .get(&name)
            .map(|known| known.guest.revoked.clone())
            .unwrap_or_default();
        let guest = Guest { caller, revoked };
        known.insert(
            name,
            Known {
                preview,
                guest: guest.clone(),
                expires,
                checked: Instant::now(),
            },
        );
        guest
    }

    /// Ends what a credential opened; without one, everything.
    pub(super) fn revoke(&self, credential: Option<&Credential>) {
        let concerned = |caller: &Caller| credential.is_none_or(|credential| caller.credential == *credential);
        self.codes.revoke(credential);
        lock(&self.known).retain(|_, known| {
            let concerned = concerned(&known.guest.caller);
            if concerned {
                known.guest.revoked.cancel();
            }
            !concerned
        });
    }

    fn sign(&self, pass: &Pass) -> String {
        let payload = serde_json::to_vec(pass).unwrap_or_default();
        let tag = hmac::sign(&self.key, &[PURPOSE, &payload].concat());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(tag))
    }

    fn verify(&self, text: &str, preview: Preview, now: Timestamp) -> Option<Pass> {
        let (payload, tag) = text.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, &[PURPOSE, &payload].concat(), &tag).ok()?;
        let pass: Pass = serde_json::from_slice(&payload).ok()?;
        (pass.session == preview.session && pass.port == preview.port && pass.expires > now).then_some(pass)
    }
}

/// The caller behind a pass, while the credential is good.
async fn find(store: &Store, pass: &Pass, now: Timestamp) -> Result<Option<Caller>, StoreError> {
    let (member, credential) = match &pass.by {
        By::WebSession(hash) => {
            let found = store.web_session(hash, now).await?;
            (found.map(|found| found.member), Credential::WebSession(hash.clone()))
        }
        By::Token(id) => {
            let ctx = OpContext {
                user_id: pass.user,
                organization_id: pass.organization,
                role: Role::Member,
                request_id: RequestId::new(),
            };
            let member = if has_token(store, &ctx, *id).await? {
                store.member(&ctx).await?
            } else {
                None
            };
            (member, Credential::Token(*id))
        }
    };
    Ok(member.map(|member| Caller {
        ctx: caller::context(&member),
        credential,
    }))
}

async fn has_token(store: &Store, ctx: &OpContext, id: TokenId) -> Result<bool, StoreError> {
    const PAGE: u32 = 200;
    let mut before = None;
    loop {
        let page = store.list_tokens(ctx, before, PAGE).await?;
        if page.data.iter().any(|token| token.id == id) {
            return Ok(true);
        }
        before = page.data.last().map(|token| token.id);
        if page.next_cursor.is_none() || before.is_none() {
            return Ok(false);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends what is revoked, until the server ends.
pub(super) async fn follow(
    access: Arc<Access>,
    mut revoked: tokio::sync::broadcast::Receiver<Credential>,
    shutdown: CancellationToken,
) {
    use tokio::sync::broadcast::error::RecvError;
    shutdown
        .run_until_cancelled(async {
            loop {
                match revoked.recv().await {
                    Ok(credential) => access.revoke(Some(&credential)),
                    // Some were missed, and any may be among them.
                    Err(RecvError::Lagged(_)) => access.revoke(None),
                    Err(RecvError::Closed) => return,
                }
            }
        })
        .await;
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn someone() -> Caller {
        Caller {
            ctx: OpContext {
                user_id: UserId::new(),
                organization_id: OrganizationId::new(),
                role: Role::Owner,
                request_id: RequestId::new(),
            },
            credential: Credential::WebSession("hash".to_owned()),
        }
    }

    fn preview(port: u16) -> Preview {
        Preview {
            session: SessionId::new(),
            port,
        }
    }

    #[test]
    fn a_code_opens_its_preview_once_and_in_time() {
        let (access, start, preview) = (Access::new(b"key", false), Instant::now(), preview(3000));
        let issue = || access.issue(&someone(), preview, start).unwrap();
        let code = issue();
        assert!(access.spend(code.expose_secret(), preview, start).is_some());
        assert!(access.spend(code.expose_secret(), preview, start).is_none(), "twice");
        let code = issue();
        let other = Preview { port: 8000, ..preview };
        assert!(
            access.spend(code.expose_secret(), other, start).is_none(),
            "another port"
        );
        assert!(
            access.spend(code.expose_secret(), preview, start).is_none(),
            "a try spends it"
        );
        assert!(
            access.spend(issue().expose_secret(), preview, start + CODE).is_none(),
            "late"
        );
        for nonsense in ["", "x", &"x".repeat(5000)] {
            assert!(access.spend(nonsense, preview, start).is_none());
        }
        let code = issue();
        access.revoke(Some(&someone().credential));
        assert!(access.spend(code.expose_secret(), preview, start).is_none(), "revoked");
    }

    #[test]
    fn a_pass_is_for_one_preview_by_one_key_for_a_while() {
        let (access, preview, now) = (Access::new(b"key", false), preview(3000), Timestamp::now());
        let header = access.admit(&someone(), preview, now);
        let header = header.to_str().unwrap();
        let (pass, attributes) = header
            .strip_prefix("mistle-preview=")
            .unwrap()
            .split_once("; ")
            .unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=604800");
        assert!(pass.len() < MAX_PASS * 2 / 3);
        assert!(access.verify(pass, preview, now).is_some());
        assert!(access.verify(pass, preview, now + PASS).is_none(), "late");
        assert!(access.verify(pass, Preview { port: 1, ..preview }, now).is_none());
        let other = Preview {
            session: SessionId::new(),
            ..preview
        };
        assert!(access.verify(pass, other, now).is_none());
        assert!(Access::new(b"other", false).verify(pass, preview, now).is_none());
        for at in 0..pass.len() {
            let mut forged = pass.to_owned().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last digit of base64 has bits that mean nothing, and are refused.
            assert!(access.verify(&forged, preview, now).is_none(), "{at}");
        }
        let https = Access::new(b"key", true).admit(&someone(), preview, now);
        let https = https.to_str().unwrap();
        assert!(https.starts_with("__Host-mistle-preview=") && https.ends_with("; Secure"));
    }
}
