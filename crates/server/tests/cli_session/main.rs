//! `mistle session`, as a person and as a script use it: the real program against a real server with
//! real sandboxes. Needs what `cargo xtask test` prepares.

mod approvals;
mod doctor;
mod exec;
mod json;
mod outcomes;
mod world;
mod wrong;
