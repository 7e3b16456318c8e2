//! The one parser of where a connection goes.
//!
//! Everything that could be read in two ways is refused instead of repaired, because whoever reads
//! it next (a resolver, a TLS library, a log) might repair it otherwise. What is accepted has one
//! spelling.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest name of the DNS, without the dot at its end.
const MAX_NAME: usize = 253;
/// The longest label of a name.
const MAX_LABEL: usize = 63;
/// The longest text that is looked at: a name, its dot, a colon and a port.
const MAX_TEXT: usize = MAX_NAME + 1 + 1 + 5;

/// Where a connection goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port; never 0.
    pub port: u16,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name: lower-case letters, digits, dashes and underscores in labels, without a dot at its
    /// end. Never something that could be read as an address.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text says no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Longer than any target.
    #[error("it is too long")]
    TooLong,
    /// No port, or not a decimal number from 1 to 65535 without leading zeros.
    #[error("its port is missing or not a plain number from 1 to 65535")]
    Port,
    /// A character that no host has: a space, a control character, `@`, `%` and so on.
    #[error("its host has a character that no host name has; international names must be in their xn-- form")]
    Character,
    /// No host, an empty label, or one that is too long or begins or ends with a dash.
    #[error("its host is no name: a label is empty, too long or begins or ends with a dash")]
    Label,
    /// A number that some programs read as an address: octal, hexadecimal, or with fewer parts.
    #[error("its host is an address in an unusual notation; write IPv4 addresses as four decimal numbers")]
    AmbiguousAddress,
    /// Not an IPv6 address in brackets, or one that carries an IPv4 address or a zone.
    #[error("its host is no plain IPv6 address in brackets")]
    Ipv6,
}

impl Target {
    /// Reads `host:port`, as in the authority of a `CONNECT` request.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > MAX_TEXT {
            return Err(TargetError::TooLong);
        }
        let (host, port) = text.rsplit_once(':').ok_or(TargetError::Port)?;
        Ok(Self {
            port: parse_port(port)?,
            host: Host::parse(host)?,
        })
    }
}

impl Host {
    /// Reads a host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.starts_with('[') {
            return parse_ipv6(text);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME {
            return Err(TargetError::TooLong);
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        {
            return Err(TargetError::Character);
        }
        if !name.split('.').all(is_label) {
            return Err(TargetError::Label);
        }
        if ends_in_number(name) {
            return name
                .parse::<Ipv4Addr>()
                .map(|address| Self::Address(address.into()))
                .map_err(|_| TargetError::AmbiguousAddress);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }

    /// Whether this is a name strictly below a domain, which is given in lower case.
    pub(crate) fn is_below(&self, domain: &str) -> bool {
        match self {
            Self::Name(name) => name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            Self::Address(_) => false,
        }
    }
}

fn parse_port(text: &str) -> Result<u16, TargetError> {
    let plain =
        !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten().ok_or(TargetError::Port)
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= MAX_LABEL && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether a URL parser or `inet_aton` could take the name for an IPv4 address: they do when its
/// last label is a number in any base.
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last
        .strip_prefix("0x")
        .or(last.strip_prefix("0X"))
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_ipv6(text: &str) -> Result<Host, TargetError> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or(TargetError::Ipv6)?;
    let address: Ipv6Addr = inner.parse().map_err(|_| TargetError::Ipv6)?;
    // An IPv4 address in disguise has a plain spelling of its own.
    let disguised = address.to_ipv4_mapped().is_some() || inner.contains('.');
    if disguised {
        Err(TargetError::Ipv6)
    } else {
        Ok(Host::Address(address.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_comes_out() {
        for (text, expected) in [
            ("github.com:443", "github.com:443"),
            ("GitHub.COM:443", "github.com:443"),
            ("github.com.:443", "github.com:443"),
            ("xn--bcher-kva.example:80", "xn--bcher-kva.example:80"),
            ("_dmarc.example.org:1", "_dmarc.example.org:1"),
            ("localhost:65535", "localhost:65535"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("1.2.3.4.:80", "1.2.3.4:80"),
            ("1.2.3.4.example:80", "1.2.3.4.example:80"),
            ("[2606:4700:0:0::1111]:443", "[2606:4700::1111]:443"),
        ] {
            assert_eq!(
                Target::parse(text).map(|target| target.to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use TargetError::{AmbiguousAddress, Character, Ipv6, Label, Port, TooLong};
        let long_label = format!("{}.com:443", "a".repeat(64));
        let long_name = format!("{}com:443", "a.".repeat(126));
        let endless = "a".repeat(100_000);
        for (text, expected) in [
            ("github.com", Port),
            ("github.com:", Port),
            ("github.com:0", Port),
            ("github.com:0443", Port),
            ("github.com:+443", Port),
            ("github.com:65536", Port),
            ("github.com:443 ", Port),
            ("github.com:443\r\nx: y", Port),
            ("github.com:443:443", Character),
            ("evil.com\0.github.com:443", Character),
            ("evil.com%00.github.com:443", Character),
            ("github.com \t:443", Character),
            ("user@github.com:443", Character),
            ("user:pw@github.com:443", Character),
            ("github.com/:443", Character),
            ("github.com#x:443", Character),
            ("github.com\\x:443", Character),
            ("bücher.example:443", Character),
            ("gıthub.com:443", Character),
            ("github。com:443", Character),
            ("::1:443", Character),
            (":443", Label),
            (".:443", Label),
            ("github.com..:443", Label),
            (".github.com:443", Label),
            ("-a.github.com:443", Label),
            (&long_label, Label),
            (&long_name, TooLong),
            (&endless, TooLong),
            ("127.1:80", AmbiguousAddress),
            ("2130706433:80", AmbiguousAddress),
            ("017700000001:80", AmbiguousAddress),
            ("0177.0.0.1:80", AmbiguousAddress),
            ("0x7f.0.0.1:80", AmbiguousAddress),
            ("0x7f000001:80", AmbiguousAddress),
            ("0X7F000001:80", AmbiguousAddress),
            ("127.0.0.0x1:80", AmbiguousAddress),
            ("127.0.0.0x:80", AmbiguousAddress),
            ("127.0.0.01:80", AmbiguousAddress),
            ("1.2.3.4.5:80", AmbiguousAddress),
            ("1.2.3.256:80", AmbiguousAddress),
            ("[::ffff:127.0.0.1]:80", Ipv6),
            ("[::ffff:7f00:1]:80", Ipv6),
            ("[64:ff9b::127.0.0.1]:80", Ipv6),
            ("[fe80::1%eth0]:80", Ipv6),
            ("[::1:80", Ipv6),
            ("[1.2.3.4]:80", Ipv6),
            ("[]:80", Ipv6),
        ] {
            assert_eq!(Target::parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_reading_settles(text in "\\PC{0,80}") {
            if let Ok(target) = Target::parse(&text) {
                prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
            }
        }

        #[test]
        fn a_url_parser_agrees(host in "[0-9a-zA-Zx.\\-_]{1,20}") {
            let Ok(parsed) = Host::parse(&host) else { return Ok(()) };
            // A parser of URLs must find the same name or the same address, never another.
            if let Ok(other) = url::Host::parse(&host) {
                let other = other.to_string();
                prop_assert_eq!(parsed.to_string(), other.strip_suffix('.').unwrap_or(&other));
            }
        }

        #[test]
        fn numbers_are_addresses_or_nothing(host in "(0x|0|)[0-9a-f]{1,10}(\\.(0x|0|)[0-9]{1,4}){0,4}") {
            // Whatever the system's resolver takes for an address without asking the DNS.
            let numeric = host.rsplit('.').next().is_some_and(|last| last.parse::<u32>().is_ok());
            if numeric && let Ok(parsed) = Host::parse(&host) {
                prop_assert!(matches!(parsed, Host::Address(_)));
                prop_assert_eq!(parsed.to_string(), host);
            }
        }

        #[test]
        fn any_address_survives(address in any::<std::net::Ipv4Addr>(), port in 1u16..) {
            let target = Target { host: Host::Address(address.into()), port };
            prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
        }
    }
}
