//! Changes of working trees, with real git.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod discarding;
mod hostile;
mod listing;
mod self_running;
mod staging;
mod turns;
mod watching;
mod world;
