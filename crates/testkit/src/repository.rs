//! Git repositories for tests.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

/// Turns a folder into a repository with one commit of these files.
pub fn repository(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, content) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, content)?;
    }
    git(folder, &["init", "--quiet", "--initial-branch=main"])?;
    git(folder, &["add", "--all"])?;
    git(
        folder,
        &[
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.org",
            // It would go on in the background, in a folder that is cloned or removed by then.
            "-c",
            "gc.auto=0",
            "commit",
            "--quiet",
            "--message=Begin",
        ],
    )
}

fn git(folder: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output()?;
    if !output.status.success() {
        bail!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
