//! The front door, with a real server on a real database: who gets in, what is refused and how.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's own preparation fails the test"
)]

mod app;
mod attachments;
mod authorization;
mod pages;
mod problems;
mod sign_in;
mod starting;
mod streams;
