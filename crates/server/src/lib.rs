//! The Mistle server.

pub mod config;
pub mod sessions;
