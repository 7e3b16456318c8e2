//! What a program in a real session can see, reach and change, and what of the server's secrets is
//! anywhere near it: the real server, real sandboxes, the real daemon and runtime. Needs what
//! `cargo xtask test` prepares.

#[path = "../provider/mod.rs"]
mod provider;

mod daemon;
mod link;
mod neighbours;
mod probe;
mod secrets;
