//! `mistle session`, as a person and as a script use it: the real program against a real server with
//! real sandboxes. Needs what `cargo xtask test` prepares.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails in a test's own preparation fails the test"
)]

mod approvals;
mod doctor;
mod exec;
mod json;
mod outcomes;
mod world;
mod wrong;
