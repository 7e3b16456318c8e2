//! Which process has a socket open.
//!
//! The kernel tells that only the slow way: every descriptor of every process is a link that names
//! what is open. So a socket that was found once is only looked at where it was found.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use mistle_protocol::ports::MAX_COMMAND;

/// Descriptors that one search looks at; a sandbox can open millions. Some 100 ms.
const MAX_DESCRIPTORS: usize = 100_000;
/// How often a socket is searched for that no process seems to have: its process may belong to an
/// account that the daemon may not look into.
const MAX_SEARCHES: u8 = 3;
/// Bytes of a command line that are read: characters may take four.
const MAX_READ: u64 = 4 * MAX_COMMAND as u64;

/// A process, as it was when its socket was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    pub(super) process: Option<String>,
    pub(super) command: Option<String>,
    /// The link that names the socket.
    link: PathBuf,
}

#[derive(Debug)]
enum Found {
    Owner(Owner),
    Nobody { searches: u8 },
}

/// The owners of sockets, by inode.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_inode: HashMap<u64, Found>,
}

impl Owners {
    /// Forgets sockets that are gone, and owners that have theirs no more. Says whether a search
    /// is due.
    pub(super) fn check(&mut self, inodes: &HashSet<u64>) -> bool {
        self.by_inode.retain(|inode, found| {
            inodes.contains(inode)
                && match found {
                    Found::Owner(owner) => names(&owner.link) == Some(*inode),
                    Found::Nobody { .. } => true,
                }
        });
        inodes.iter().any(|inode| self.is_wanted(*inode))
    }

    fn is_wanted(&self, inode: u64) -> bool {
        match self.by_inode.get(&inode) {
            None => true,
            Some(Found::Nobody { searches }) => *searches < MAX_SEARCHES,
            Some(Found::Owner(_)) => false,
        }
    }

    /// Searches all processes, the oldest first: of several that share a socket, the one that
    /// opened it is the one that a person knows. Takes milliseconds and more.
    pub(super) fn search(&mut self, inodes: &HashSet<u64>) {
        let mut wanted: HashSet<u64> = inodes.iter().copied().filter(|inode| self.is_wanted(*inode)).collect();
        let mut left = MAX_DESCRIPTORS;
        for pid in processes() {
            if wanted.is_empty() || left == 0 {
                break;
            }
            for (inode, link) in sockets_of(pid, &mut left) {
                if wanted.remove(&inode) {
                    self.by_inode.insert(inode, Found::Owner(owner(pid, link)));
                }
            }
        }
        for inode in wanted {
            let found = self.by_inode.entry(inode).or_insert(Found::Nobody { searches: 0 });
            if let Found::Nobody { searches } = found {
                *searches += 1;
            }
        }
    }

    pub(super) fn get(&self, inode: u64) -> Option<&Owner> {
        match self.by_inode.get(&inode)? {
            Found::Owner(owner) => Some(owner),
            Found::Nobody { .. } => None,
        }
    }
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// Counts down what it looks at. A process that may not be looked into has none.
fn sockets_of(pid: u32, left: &mut usize) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut sockets = Vec::new();
    for entry in entries {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let link = entry.path();
        sockets.extend(names(&link).map(|inode| (inode, link)));
    }
    sockets
}

/// The inode of `socket:[4242]`.
fn names(link: &std::path::Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    let number = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    number.parse().ok()
}

fn owner(pid: u32, link: PathBuf) -> Owner {
    Owner {
        pid,
        process: read(&format!("/proc/{pid}/comm")),
        command: read(&format!("/proc/{pid}/cmdline")),
        link,
    }
}

/// Text with arguments apart by spaces; none when there is none.
fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_READ).read_to_end(&mut bytes).ok()?;
    let text = OsStr::from_bytes(&bytes).to_string_lossy().replace('\0', " ");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn inode(listener: &TcpListener) -> u64 {
        use std::os::fd::AsRawFd as _;
        fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd()))
            .unwrap()
            .ino()
    }

    #[test]
    fn an_owner_is_found_and_kept_until_it_closes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inodes = HashSet::from([inode(&listener)]);
        let mut owners = Owners::default();
        assert!(owners.check(&inodes), "unknown");
        owners.search(&inodes);
        let owner = owners.get(inode(&listener)).unwrap();
        assert_eq!(owner.pid, std::process::id());
        assert!(owner.process.is_some());
        assert!(owner.command.as_ref().unwrap().contains("sandboxd"));
        assert!(!owners.check(&inodes), "known");
        drop(listener);
        assert!(owners.check(&inodes), "its descriptor is gone");
    }

    #[test]
    fn a_search_for_nobodys_socket_ends() {
        let inodes = HashSet::from([u64::MAX]);
        let mut owners = Owners::default();
        for _ in 0..MAX_SEARCHES {
            assert!(owners.check(&inodes));
            owners.search(&inodes);
        }
        assert!(!owners.check(&inodes));
        assert_eq!(owners.get(u64::MAX), None);
    }
}
