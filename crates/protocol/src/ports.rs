//! Ports that programs in a sandbox listen on.
//!
//! Names and command lines are a sandbox's word: whoever takes a list from one passes it through
//! [`bounded`] first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most ports that are told of; the lowest ones. More is a scan in reverse and no work.
pub const MAX_PORTS: usize = 256;
/// The longest name of a process, in characters. The kernel's own limit is 15 bytes.
pub const MAX_PROCESS: usize = 32;
/// The longest command line that is told, in characters: enough to know the program again.
pub const MAX_COMMAND: usize = 512;

/// A TCP port that a program in the sandbox listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Port {
    /// Its number, 1 to 65,535. One entry a number, however many addresses it is open on.
    pub port: u16,
    /// Where it listens.
    pub address: PortAddress,
    /// The process in the sandbox; the first of several that share it. None when it can't be told.
    pub pid: Option<u32>,
    /// The process' name. Untrusted text without control characters.
    pub process: Option<String>,
    /// Its command line, cut to 512 characters. Untrusted text without control characters.
    pub command: Option<String>,
    /// When it was first seen to listen.
    pub first_seen: Timestamp,
}

/// Where a program listens. A sandbox has no network but its loopback, so all of these are reached
/// the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortAddress {
    /// An address of 127.0.0.0/8.
    LoopbackV4,
    /// `::1`.
    LoopbackV6,
    /// Every address: 0.0.0.0 or `::`.
    Any,
}

/// A preview that may be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenedPort {
    /// Opens the port's own origin, once, within a minute.
    pub url: String,
}

/// The list as others may see it: sorted, one entry a number, no longer than its limits, and texts
/// without control characters or marks that change the direction of what follows.
pub fn bounded(mut ports: Vec<Port>) -> Vec<Port> {
    ports.retain(|port| port.port != 0);
    ports.sort_by_key(|port| port.port);
    ports.dedup_by_key(|port| port.port);
    ports.truncate(MAX_PORTS);
    for port in &mut ports {
        port.process = port.process.take().map(|text| printable(&text, MAX_PROCESS));
        port.command = port.command.take().map(|text| printable(&text, MAX_COMMAND));
    }
    ports
}

/// At most `limit` characters of a text, each control character and direction mark as a space.
fn printable(text: &str, limit: usize) -> String {
    let marks =
        |c| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars()
        .map(|c| if c.is_control() || marks(c) { ' ' } else { c })
        .take(limit)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(port: u16, command: &str) -> Port {
        Port {
            port,
            address: PortAddress::Any,
            pid: Some(7),
            process: Some("node\n".to_owned()),
            command: Some(command.to_owned()),
            first_seen: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_a_sandbox_says_is_bounded() {
        let mut said: Vec<Port> = (0..=1000).rev().map(|number| port(number, "x")).collect();
        said.push(port(3000, "y"));
        let ports = bounded(said);
        assert_eq!(ports.len(), MAX_PORTS);
        assert!(ports.windows(2).all(|pair| pair[0].port < pair[1].port));
        assert_eq!(ports[0].port, 1);
    }

    #[test]
    fn texts_carry_no_controls() {
        let long = format!("\u{1b}]0;x\u{7}\u{202e}{}", "é".repeat(2000));
        let ports = bounded(vec![port(1, &long)]);
        assert_eq!(ports[0].process.as_deref(), Some("node"));
        let command = ports[0].command.as_deref().unwrap();
        assert!(command.chars().count() <= MAX_COMMAND);
        assert!(command.starts_with("]0;x"), "{command}");
        assert!(!command.contains(|c: char| c.is_control() || c == '\u{202e}'));
    }
}
