//! The Mistle server.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | one file, parsed whole |
//! | [`server`] | starts everything in order and ends it in order |
//! | [`front_door`] | accepts connections |
//! | [`api`] | the public API and its WebSockets |
//! | [`auth`] | who is asking |
//! | [`sessions`] | sessions, one driver task each |
//! | [`web`] | the embedded page |
//! | [`runtimes`] | which agents there are, and fetching them |
//! | [`doctor`] | says what is in force |
//! | [`cli`] | the command line |

pub mod api;
pub mod app;
pub mod auth;
pub mod config;
pub mod front_door;
pub mod metrics;
pub mod profiles;
pub mod repositories;
pub mod runtimes;
pub mod sessions;
mod web;
