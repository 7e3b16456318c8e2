//! Who is asking.
//!
//! | credential | where it comes from | where it is checked |
//! |---|---|---|
//! | login code, 15 minutes, once | printed by `mistle serve` and `mistle login-link` | `GET /login?code=…` |
//! | cookie, 30 days, renewed by use | a login code | [`caller::authenticate`], with the [origin](origin) for methods that change something |
//! | bearer token, until revoked | `POST /api/v1/tokens` | [`caller::authenticate`] |
//! | ticket, 30 seconds, once | `POST /api/v1/tickets` | every WebSocket upgrade, with the origin |
//!
//! All four are 256 random bits. The store holds SHA-256 hashes, so a copy of it opens nothing; and
//! since a secret is looked up by its hash, the time of a look-up says nothing about the secret.
//!
//! Previews have a code and a pass of their own ([`crate::gateway::preview`]), which open nothing
//! else and end with the credential that they were made for.

pub mod caller;
pub mod login;
pub(crate) mod next;
pub mod origin;
pub mod secret;
pub mod tickets;
