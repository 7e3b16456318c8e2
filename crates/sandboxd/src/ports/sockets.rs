//! What listens, as the kernel has it.
//!
//! Asked over netlink (`sock_diag`), the kernel walks its table of listeners alone. The text of
//! `/proc/net/tcp` costs two hundred times as much, because each read walks the table of all
//! connections of the machine too; it is the way where the kernel has no `sock_diag`, as under
//! gVisor.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket};
use nix::sys::time::TimeVal;

/// Listeners that are looked at. A sandbox that opens more hides the rest from itself.
const MAX_LISTENERS: usize = 4096;
/// The kernel writes answers of up to 32 KiB at once.
const ANSWER: usize = 64 * 1024;
/// The kernel answers at once; one that does not must not hold the daemon up.
const ANSWER_WITHIN_SECS: i64 = 1;
/// How much is read of each file in `/proc/net`, in bytes: some 7,000 sockets.
const MAX_TEXT: u64 = 1024 * 1024;

/// State 10 of the kernel's TCP sockets.
const LISTEN: u8 = 10;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// What names the socket in `/proc/PID/fd`.
    pub(super) inode: u64,
}

/// Where listeners are read from.
#[derive(Debug, Default)]
pub(super) enum Sockets {
    #[default]
    Unopened,
    Netlink(OwnedFd),
    /// The kernel has no `sock_diag`.
    ProcNet,
}

impl Sockets {
    /// Every TCP socket of this network namespace that listens.
    pub(super) fn listeners(&mut self) -> io::Result<Vec<Listener>> {
        if let Self::Unopened = self {
            *self = open().map_or(Self::ProcNet, Self::Netlink);
        }
        if let Self::Netlink(netlink) = self {
            match ask(netlink) {
                Ok(listeners) => return Ok(listeners),
                // What is left of a broken answer would be taken for the next one.
                Err(error) => {
                    tracing::debug!("sock_diag: {error}");
                    *self = if error.kind() == io::ErrorKind::NotFound {
                        Self::ProcNet
                    } else {
                        Self::Unopened
                    };
                }
            }
        }
        read_proc_net()
    }
}

fn open() -> nix::Result<OwnedFd> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::new(ANSWER_WITHIN_SECS, 0))?;
    Ok(netlink)
}

fn ask(netlink: &OwnedFd) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    let mut buffer = vec![0; ANSWER];
    for family in [AF_INET, AF_INET6] {
        send(netlink.as_raw_fd(), &request(family), MsgFlags::empty())?;
        loop {
            let length = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            if read_answer(&buffer[..length], &mut listeners)? {
                break;
            }
        }
    }
    Ok(listeners)
}

fn request(family: u8) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    let length = (HEADER + REQUEST) as u32;
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER] = family;
    bytes[HEADER + 1] = IPPROTO_TCP;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&(1u32 << LISTEN).to_ne_bytes());
    bytes
}

/// Reads one datagram of an answer. True when it was the last.
fn read_answer(mut bytes: &[u8], listeners: &mut Vec<Listener>) -> io::Result<bool> {
    while bytes.len() >= HEADER {
        let length = word(bytes, 0) as usize;
        if length < HEADER || length > bytes.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is cut off"));
        }
        let payload = &bytes[HEADER..length];
        match u16::from_ne_bytes([bytes[4], bytes[5]]) {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR if payload.len() >= 4 => {
                return Err(io::Error::from_raw_os_error(
                    word(payload, 0).cast_signed().wrapping_neg(),
                ));
            }
            NLMSG_ERROR => return Err(io::ErrorKind::InvalidData.into()),
            _ if listeners.len() < MAX_LISTENERS => listeners.extend(listener(payload)),
            _ => {}
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn listener(message: &[u8]) -> Option<Listener> {
    if message.len() < MESSAGE || message[1] != LISTEN {
        return None;
    }
    let port = u16::from_be_bytes([message[4], message[5]]);
    let address: IpAddr = match message[0] {
        AF_INET => <[u8; 4]>::try_from(&message[8..12]).ok()?.into(),
        AF_INET6 => <[u8; 16]>::try_from(&message[8..24]).ok()?.into(),
        _ => return None,
    };
    Some(Listener {
        address: SocketAddr::new(address, port),
        inode: word(message, 68).into(),
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_proc_net() -> io::Result<Vec<Listener>> {
    let mut listeners = read_table("/proc/net/tcp")?;
    // A kernel without IPv6 has no such file.
    listeners.extend(read_table("/proc/net/tcp6").unwrap_or_default());
    listeners.truncate(MAX_LISTENERS);
    Ok(listeners)
}

fn read_table(path: &str) -> io::Result<Vec<Listener>> {
    let mut text = String::new();
    File::open(path)?.take(MAX_TEXT).read_to_string(&mut text)?;
    Ok(text.lines().filter_map(table_line).collect())
}

/// `0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4242 …`
fn table_line(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().take(10).collect();
    let [_, local, _, state, .., inode] = fields[..] else {
        return None;
    };
    if u8::from_str_radix(state, 16) != Ok(LISTEN) {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    Some(Listener {
        address: SocketAddr::new(table_address(address)?, u16::from_str_radix(port, 16).ok()?),
        inode: inode.parse().ok()?,
    })
}

/// Words of 32 bits in the machine's order, whose bytes are the address.
fn table_address(hex: &str) -> Option<IpAddr> {
    if !hex.is_ascii() || !hex.len().is_multiple_of(8) {
        return None;
    }
    let words: Vec<u8> = hex
        .as_bytes()
        .chunks(8)
        .map(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    match words.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn both_sources_see_the_same_listeners() {
        let opened: Vec<TcpListener> = ["127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0", "[::1]:0", "[::]:0"]
            .iter()
            .map(|address| TcpListener::bind(address).unwrap())
            .collect();
        let mut sockets = Sockets::default();
        let asked = sockets.listeners().unwrap();
        assert!(matches!(sockets, Sockets::Netlink(_)), "{sockets:?}");
        let read = read_proc_net().unwrap();
        for listener in &opened {
            let address = listener.local_addr().unwrap();
            let found = asked.iter().find(|listener| listener.address == address).unwrap();
            assert!(found.inode > 0 && read.contains(found), "{address} in {read:?}");
        }
        let closed = opened[0].local_addr().unwrap();
        drop(opened);
        let asked = sockets.listeners().unwrap();
        assert!(asked.iter().all(|listener| listener.address != closed));
    }

    #[test]
    fn connections_and_nonsense_are_no_listeners() {
        let line =
            "  1: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 4242 1 0 100 0 0 10 0";
        assert_eq!(
            table_line(line),
            Some(Listener {
                address: "127.0.0.1:3000".parse().unwrap(),
                inode: 4242
            })
        );
        for wrong in [
            "",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            &line.replace(" 0A ", " 01 "),
            &line.replace("0100007F", "0100"),
            &line.replace("0BB8", "F0BB8"),
            &line.replace("0100007F", "é00007F"),
        ] {
            assert_eq!(table_line(wrong), None, "{wrong}");
        }
        let mut listeners = Vec::new();
        assert!(!read_answer(&[0; 8], &mut listeners).unwrap());
        assert!(read_answer(&[255; 32], &mut listeners).is_err());
        assert_eq!(listeners, []);
    }
}
