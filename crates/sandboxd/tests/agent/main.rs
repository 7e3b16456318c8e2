//! The agent of a sandbox, with the real Codex, a scripted model and real git.
//!
//! Codex' program is `MISTLE_CODEX`, or the one that `cargo xtask up` fetched.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper of a test that can't go on fails the test"
)]

mod approvals;
mod commands;
mod conversations;
mod failures;
mod recovery;
mod repositories;
mod turns;
mod workspaces;
mod world;
