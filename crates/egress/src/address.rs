//! Which addresses are public, and which others the operator permits.
//!
//! A sandbox shares the server's network, and with it everything that trusts whoever is near: the
//! server itself, the cloud's metadata service, the office. So only addresses that anyone in the
//! world could reach are connected to, and what a name resolves to is judged, not the name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::target::{Host, Target, TargetError};

/// Networks of IPv4 that are not public, and what they are.
const IPV4: [(Ipv4Addr, u8, &str); 18] = [
    (Ipv4Addr::UNSPECIFIED, 8, "an address of this host"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's private address"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local or metadata address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "a protocol assignment"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "a special-purpose address"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "a special-purpose address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "a documentation address"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved or broadcast address"),
];

/// Networks inside the public range of IPv6 that are not public, or that carry an IPv4 address
/// which would be reached through a translator.
const IPV6: [(Ipv6Addr, u8, &str); 6] = [
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "a protocol assignment or Teredo address",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "a documentation address",
    ),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "a 6to4 address"),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, "a retired test address"),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0),
        48,
        "a special-purpose address",
    ),
];

/// The public range of IPv6; everything outside it is loopback, link-local, unique local,
/// multicast, mapped, translated or unassigned.
const IPV6_PUBLIC: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Why an address is not public; none when it is.
pub fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => IPV4
            .iter()
            .find(|(network, prefix, _)| in_network(address.into(), (*network).into(), *prefix))
            .map(|(.., what)| *what),
        IpAddr::V6(address) => not_public_ipv6(address),
    }
}

fn not_public_ipv6(address: Ipv6Addr) -> Option<&'static str> {
    if address.to_ipv4_mapped().is_some() {
        return Some("an IPv4 address in disguise");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    let (public, prefix) = IPV6_PUBLIC;
    if !in_network(address.into(), public.into(), prefix) {
        return Some("a private, link-local, translated or reserved address");
    }
    IPV6.iter()
        .find(|(network, prefix, _)| in_network(address.into(), (*network).into(), *prefix))
        .map(|(.., what)| *what)
}

/// Whether an address is in a network. Addresses of different families never are.
fn in_network(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

/// The addresses that are not public and that the operator permits all the same. They still have
/// to be on a profile's allow-list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermittedAddresses {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Network(IpAddr, u8),
    Endpoint(Target),
}

/// Why an entry of `allow_private` is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermittedError {
    /// Neither a network nor `host:port`.
    #[error("`{entry}` is neither an address, a network such as `10.1.0.0/16`, nor `host:port`")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with it as `host:port`.
        #[source]
        source: TargetError,
    },
    /// A network whose prefix is longer than its address, or not a number.
    #[error("`{entry}`: the part behind the slash is not a length that this network can have")]
    Prefix {
        /// The entry.
        entry: String,
    },
}

impl PermittedAddresses {
    /// Reads the entries of the configuration: addresses, networks in CIDR notation, or
    /// `host:port`.
    pub fn parse(entries: &[String]) -> Result<Self, PermittedError> {
        entries
            .iter()
            .map(|entry| parse_entry(entry))
            .collect::<Result<_, _>>()
            .map(|entries| Self { entries })
    }

    /// Why a target must not be reached at an address that it resolved to; none when it may.
    pub fn refuses(&self, target: &Target, address: IpAddr) -> Option<&'static str> {
        let why = not_public(address)?;
        let permitted = self.entries.iter().any(|entry| match entry {
            Entry::Network(network, prefix) => in_network(address, *network, *prefix),
            Entry::Endpoint(endpoint) => endpoint == target,
        });
        (!permitted).then_some(why)
    }
}

fn parse_entry(entry: &str) -> Result<Entry, PermittedError> {
    let (address, prefix) = entry
        .split_once('/')
        .map_or((entry, None), |(address, prefix)| (address, Some(prefix)));
    let Ok(address) = address.parse::<IpAddr>() else {
        let target = Target::parse(entry).map_err(|source| PermittedError::Entry {
            entry: entry.to_owned(),
            source,
        })?;
        return Ok(Entry::Endpoint(target));
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix
        .map_or(Ok(longest), str::parse)
        .ok()
        .filter(|prefix| *prefix <= longest);
    prefix
        .map(|prefix| Entry::Network(address, prefix))
        .ok_or_else(|| PermittedError::Prefix {
            entry: entry.to_owned(),
        })
}

impl Target {
    /// The address that the target itself says, if it does.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Address(address) => Some(*address),
            Host::Name(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_world_can_reach_is_public() {
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(not_public(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert_eq!(not_public(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn the_operator_permits_networks_and_endpoints() {
        let permitted = PermittedAddresses::parse(&[
            "10.1.0.0/16".into(),
            "192.168.1.5".into(),
            "models.lan:11434".into(),
            "fd00::/8".into(),
        ])
        .unwrap();
        let refused = |target: &str, address: &str| {
            permitted
                .refuses(&target.parse().unwrap(), address.parse().unwrap())
                .is_some()
        };
        assert!(!refused("a.lan:80", "10.1.255.1"));
        assert!(refused("a.lan:80", "10.2.0.1"));
        assert!(!refused("a.lan:80", "192.168.1.5"));
        assert!(refused("a.lan:80", "192.168.1.6"));
        assert!(!refused("models.lan:11434", "127.0.0.1"));
        assert!(refused("models.lan:11435", "127.0.0.1"));
        assert!(!refused("a.lan:80", "fd12::1"));
        assert!(!refused("a.lan:80", "1.1.1.1"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(
            PermittedAddresses::parse(&["10.0.0.0/33".into()]),
            Err(PermittedError::Prefix { .. })
        ));
        assert!(matches!(
            PermittedAddresses::parse(&["10.0.0.0/".into()]),
            Err(PermittedError::Prefix { .. })
        ));
        assert!(matches!(
            PermittedAddresses::parse(&["nonsense".into()]),
            Err(PermittedError::Entry { .. })
        ));
        assert!(matches!(
            PermittedAddresses::parse(&["10.0.0/8".into()]),
            Err(PermittedError::Entry { .. })
        ));
        assert!(PermittedAddresses::parse(&["0.0.0.0/0".into()]).is_ok());
    }
}
