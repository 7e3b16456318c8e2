//! The gateway over real connections: a sandbox's HTTP/2 on one side, sockets on the other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails the test"
)]

mod models;
mod sandbox;
mod secrets;
mod tunnels;
