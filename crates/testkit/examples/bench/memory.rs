//! How much memory processes hold.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mistle_protocol::id::SessionId;
use mistle_testkit::sandbox_processes;

/// Size of a page, in bytes.
const PAGE: u64 = 4096;
/// In an entry of `pagemap`: the page is in memory.
const PRESENT: u64 = 1 << 63;
/// The daemon's program, as its command line names it in a sandbox.
const DAEMON: &[u8] = b"/opt/mistle/bin/mistle-sandboxd";
/// In an entry of `pagemap`: the number of the page frame.
const FRAME: u64 = (1 << 55) - 1;

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")?
        .trim_end_matches("kB")
        .trim()
        .parse::<u64>()
        .map(|kib| kib * 1024)
        .context("VmRSS")
}

/// What each sandbox's daemon processes (init and daemon) hold.
pub(crate) struct Daemons {
    /// Memory that the two hold together, a page that both map counted once, as it is there once.
    pub(crate) together: u64,
    /// What of it is this sandbox's own and not the program, which all sandboxes share.
    pub(crate) own: u64,
}

/// Of every sandbox of the server with this data directory. Needs root.
pub(crate) fn daemons(data_dir: &Path) -> Result<Vec<Daemons>> {
    let mut sandboxes = BTreeMap::<u32, Vec<u32>>::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !command.starts_with(DAEMON) {
            continue;
        }
        let is_daemon = command.split(|byte| *byte == 0).any(|word| word == b"daemon");
        let parent = status(pid, "PPid:").ok().and_then(|text| text.parse().ok());
        let init = if is_daemon { parent.unwrap_or(pid) } else { pid };
        sandboxes.entry(init).or_default().push(pid);
    }
    sandboxes.retain(|init, _| is_of(*init, data_dir));
    sandboxes.into_values().map(|pids| together(&pids)).collect()
}

/// The root of a session's sandbox, as its own processes see it. Needs root.
pub(crate) fn root_of(id: SessionId) -> Result<PathBuf> {
    let is_daemon = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(DAEMON)
    };
    let daemon = sandbox_processes(id).into_iter().find(is_daemon);
    let daemon = daemon.with_context(|| format!("no daemon runs for {id}"))?;
    Ok(format!("/proc/{daemon}/root").into())
}

/// Whether an init's parent, its shim, names a folder of the data directory.
fn is_of(init: u32, data_dir: &Path) -> bool {
    let folder = data_dir.as_os_str().as_encoded_bytes();
    let shim = status(init, "PPid:").unwrap_or_default();
    let command = fs::read(format!("/proc/{shim}/cmdline")).unwrap_or_default();
    command.windows(folder.len()).any(|window| window == folder)
}

fn together(pids: &[u32]) -> Result<Daemons> {
    let mut frames = HashSet::new();
    let mut own = 0;
    for pid in pids {
        add_frames(*pid, &mut frames)?;
        let anonymous: u64 = status(*pid, "RssAnon:")?.trim_end_matches("kB").trim().parse()?;
        own += anonymous * 1024;
    }
    Ok(Daemons {
        together: frames.len() as u64 * PAGE,
        own,
    })
}

/// Adds the numbers of the page frames that a process maps.
fn add_frames(pid: u32, frames: &mut HashSet<u64>) -> Result<()> {
    let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
    for line in fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        // The kernel's own page has no entry.
        if line.ends_with("[vsyscall]") {
            continue;
        }
        let (from, to) = line
            .split_whitespace()
            .next()
            .and_then(|range| range.split_once('-'))
            .context("a range of addresses")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut entries = vec![0; ((to - from) / PAGE * 8) as usize];
        let read = pagemap.read_at(&mut entries, from / PAGE * 8)?;
        frames.extend(
            entries[..read]
                .as_chunks::<8>()
                .0
                .iter()
                .map(|entry| u64::from_ne_bytes(*entry))
                .filter(|entry| entry & PRESENT != 0)
                .map(|entry| entry & FRAME),
        );
    }
    Ok(())
}

fn status(pid: u32, field: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .context("the process' status")?;
    Ok(value.trim().to_owned())
}
