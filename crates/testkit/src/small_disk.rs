//! A disk that is soon full, for tests of what happens then.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// Where the disk is mounted, in the process that has one.
const MOUNTED: &str = "MISTLE_TEST_SMALL_DISK";

/// The small disk, in the process that has one.
pub fn small_disk() -> Option<PathBuf> {
    std::env::var_os(MOUNTED).map(PathBuf::from)
}

/// Runs a test of this program again, in a mount namespace of its own, where [`small_disk`] is a
/// disk of `size` (as `mount` takes it: `24m`). Fails unless the test passes there.
pub fn on_a_small_disk(test: &str, size: &str) -> Result<()> {
    // Codex refuses to work in the usual folder for temporary files.
    let parent = workspace().join("target/tmp");
    std::fs::create_dir_all(&parent)?;
    let folder = tempfile::tempdir_in(parent.canonicalize()?)?;
    let mount = format!("mount -t tmpfs -o size={size} small \"$0\" && exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
        .arg(folder.path())
        .arg(std::env::current_exe()?)
        .args(["--exact", test, "--nocapture"])
        .env(MOUNTED, folder.path())
        .output()
        .context("unshare of util-linux")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains("1 passed"),
        "{}\n{said}\n{}\nThis test needs unprivileged user namespaces, as the sandbox does.",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
