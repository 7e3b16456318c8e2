//! The gateway for outgoing traffic of sandboxes.
//!
//! A sandbox has no way out but this. Its daemon opens one HTTP/2 `CONNECT host:port` stream for
//! each outgoing TCP connection, on a connection that itself says which sandbox it is; no token
//! travels. For each stream:
//!
//! ```text
//! CONNECT text ─► Target ─► Policy::decide ─┬─► denied: 403 and a problem that names the rule
//!                (one parser)  (pure)       ├─► tunnel: resolve once, refuse addresses that are
//!                                           │           not public, connect to what was resolved
//!                                           └─► model: the gateway is the HTTP server, sets the
//!                                                      provider's key and forwards
//! ```
//!
//! **Invariants.** The `CONNECT` target alone decides policy, upstream and credential. A name is
//! resolved once, and the connection goes to an address that was checked. What a client sends as
//! its authorization is dropped, what it gets is never the real one, not even when a provider repeats
//! it. Every connection leaves one [`EgressRecord`](mistle_protocol::egress::EgressRecord), without
//! header values and bodies, which is kept before anything of the connection leaves the gateway.
//! No credential appears in `Debug` output, errors, logs or answers.
//!
//! | module | what it holds |
//! |---|---|
//! | [`target`] | the one parser of `host:port` |
//! | [`policy`] | allow-lists, model routes and the decision |
//! | [`address`] | which addresses are public, and which others the operator permits |
//! | [`record`] | where the record of connections goes |
//! | `redact` | takes a key out of what comes back |
//! | [`gateway`] | the HTTP/2 side |
//! | `tunnel`, `model` | the two ways out |

pub mod address;
pub mod gateway;
mod model;
pub mod policy;
pub mod record;
mod redact;
pub mod target;
mod tunnel;

pub use address::{PermittedAddresses, PermittedError};
pub use gateway::{Gateway, GatewayConfig, GatewayError, SandboxEgress, ServeError};
pub use policy::{AllowList, Credential, Decision, Denial, MODEL_DOMAIN, Policy, ProviderRoute, RouteError, RuleError};
pub use record::{NotRecorded, Recorder};
pub use target::{Host, Target, TargetError};
pub use tunnel::Resolve;
