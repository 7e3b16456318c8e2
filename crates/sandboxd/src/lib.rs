//! The daemon of a sandbox.
//!
//! One static program with two faces. `mistle-sandboxd init` is PID 1: it confines itself, starts
//! the daemon, reaps orphans and forwards signals ([`init`]). `mistle-sandboxd daemon` does the
//! work: it dials the server ([`link`]), serves the control API ([`api`]) and gives programs in
//! the sandbox their only way out ([`relay`]). Two processes, so that PID 1 may wait for any child
//! without taking the daemon's away from tokio, and so that a crash of the daemon does not end the
//! sandbox.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`confine`] | seccomp, capabilities, no-new-privileges, before anything else |
//! | [`init`] | PID 1 |
//! | [`daemon`] | puts the parts together |
//! | [`link`] | the control and egress connections, dialled again for ever |
//! | [`api`] | the control API |
//! | [`agent`] | journal, repositories and the runtime |
//! | [`attachments`] | files that a person gives to the agent |
//! | [`git`] | changes of working trees |
//! | [`ports`] | what listens in the sandbox, and connections to it |
//! | [`problem`] | how it says no |
//! | [`relay`] | HTTP proxy on loopback, over the egress connection |
//! | [`terminals`] | PTYs with a ring of output each |
//! | [`tui`] | the runtime's own interface in a terminal |
//! | [`exec`] | single commands |
//! | [`environment`] | the environment of everything that is started |
//!
//! Everything in the sandbox may be hostile, to the daemon as well: what programs say is bounded
//! and never trusted, and nothing here is a secret.

pub mod agent;
pub mod api;
pub mod attachments;
pub mod cli;
pub mod confine;
pub mod daemon;
pub mod environment;
pub mod exec;
pub mod git;
pub mod init;
pub mod link;
pub mod ports;
pub mod problem;
pub mod relay;
pub mod terminals;
pub mod tui;
