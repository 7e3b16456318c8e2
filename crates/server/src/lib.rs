//! The Mistle server.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | one file, parsed whole |
//! | [`server`] | starts everything in order and ends it in order |
//! | [`front_door`] | accepts connections |
//! | [`api`] | the public API and its WebSockets |
//! | [`auth`] | who is asking |
//! | [`gateway`] | the web pages of sandboxes |
//! | [`sessions`] | sessions, one driver task each |
//! | [`web`] | the embedded page |
//! | [`runtimes`] | which agents there are, and fetching them |
//! | [`doctor`] | says what is in force |
//! | [`cli`] | the command line |

pub mod api;
pub mod app;
pub mod attachments;
pub mod auth;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod doctor;
pub mod front_door;
pub mod gateway;
pub mod metrics;
pub mod models;
pub mod profiles;
pub mod repositories;
pub mod runtimes;
pub mod server;
pub mod sessions;
mod web;

/// Chooses the TLS implementation, once a process.
pub(crate) fn install_crypto() {
    // Someone else's choice is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An HTTP client of ours, to be finished by whoever uses it.
pub(crate) fn http_client() -> reqwest::ClientBuilder {
    install_crypto();
    reqwest::Client::builder().user_agent(concat!("mistle/", env!("CARGO_PKG_VERSION")))
}
