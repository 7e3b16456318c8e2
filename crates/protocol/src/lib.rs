//! The types that the server, the in-sandbox daemon and the browser share.
//!
//! What `mistle-sandboxd` says, what the server stores and what the browser reads are the same
//! types, so there is no conversion layer between them. They serialise with serde and carry their
//! OpenAPI schema. No I/O lives here.
//!
//! | module | what it describes |
//! |---|---|
//! | [`id`] | identifiers, shown with a prefix (`ses_…`) |
//! | [`agent`] | a runtime's conversations: turns, items, approvals, and the events that carry them |
//! | [`plan`] | what the server tells a sandbox to be |
//! | [`control`] | the daemon's HTTP API, served over the control connection |
//! | [`frame`] | the framing of byte streams (terminals, exec) |
//! | [`profile`] | sandbox profiles |
//! | [`session`] | sessions, their queue and their event record |
//! | [`commands`] | what a runtime can be told besides messages |
//! | [`changes`] | what changed in a working tree, and comments on it |
//! | [`ports`] | what listens in a sandbox |
//! | [`egress`] | the record of outgoing connections |
//! | [`headers`] | what a relay of HTTP must not pass on |
//! | [`api`] | requests and pages of the public API |
//! | [`problem`] | RFC 9457 problems |

pub mod agent;
pub mod api;
pub mod changes;
pub mod commands;
pub mod control;
pub mod egress;
pub mod frame;
pub mod headers;
pub mod id;
pub mod plan;
pub mod ports;
pub mod problem;
pub mod profile;
pub mod session;
