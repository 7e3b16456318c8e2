//! Configuration, parsed whole before any port is bound.

/// The server's configuration.
#[derive(Debug)]
pub struct Config {}
