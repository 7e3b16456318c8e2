//! The demo repository: a small real project with a failing test, so that a first session has
//! something to do.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "demo-repository"]
struct Files;

/// The commit's author and date are fixed, so that the same files give the same commit.
const AUTHOR: (&str, &str, &str) = ("Mistle", "mistle@localhost", "2026-01-01T00:00:00Z");

/// Why there is no demo repository.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The disk.
    #[error("could not write {}", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Git could not be run.
    #[error("could not run git; is it installed?")]
    NoGit(#[source] std::io::Error),
    /// Git refused.
    #[error("git {arguments} failed: {message}")]
    Git {
        /// What was asked of it.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// Makes the demo repository unless it is there. Blocks.
///
/// Git runs on the server here and nowhere else: these files are ours, and nobody has touched them.
pub fn prepare(folder: &Path) -> Result<(), DemoError> {
    if folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(folder);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| DemoError::Write { path, source }
    };
    let work = tempfile::Builder::new()
        .prefix(".demo-")
        .tempdir_in(parent)
        .map_err(at(parent))?;
    for name in Files::iter() {
        let (Some(file), path) = (Files::get(&name), work.path().join(&*name)) else {
            continue;
        };
        let above = path.parent().unwrap_or(parent);
        std::fs::create_dir_all(above).map_err(at(above))?;
        std::fs::write(&path, file.data).map_err(at(&path))?;
    }
    git(work.path(), &["init", "--quiet", "--initial-branch=main"])?;
    git(work.path(), &["add", "--all"])?;
    git(work.path(), &["commit", "--quiet", "--message=Start the project"])?;
    // Readable for the sandbox's copy; a temporary folder is not.
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).map_err(at(folder))?;
    std::fs::rename(work.path(), folder).map_err(at(folder))
}

fn git(folder: &Path, arguments: &[&str]) -> Result<(), DemoError> {
    let output = Command::new("git")
        .args(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"])
        .args(arguments)
        .current_dir(folder)
        // Nothing of the operator's own configuration.
        .env_clear()
        .envs([
            ("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ("HOME", OsStr::new("/nonexistent").to_owned()),
        ])
        .envs([
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_AUTHOR_NAME", AUTHOR.0),
            ("GIT_AUTHOR_EMAIL", AUTHOR.1),
            ("GIT_AUTHOR_DATE", AUTHOR.2),
            ("GIT_COMMITTER_NAME", AUTHOR.0),
            ("GIT_COMMITTER_EMAIL", AUTHOR.1),
            ("GIT_COMMITTER_DATE", AUTHOR.2),
        ])
        .output()
        .map_err(DemoError::NoGit)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(DemoError::Git {
        arguments: arguments.join(" "),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(folder: &Path) -> String {
        let output = Command::new("git")
            .args(["log", "--format=%H %an %s"])
            .current_dir(folder)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_demo_is_a_clean_repository_with_one_commit_that_is_always_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        prepare(&one).unwrap();
        prepare(&two).unwrap();
        assert!(head(&one).ends_with(" Mistle Start the project\n"), "{}", head(&one));
        assert_eq!(head(&one).lines().count(), 1);
        assert_eq!(head(&one), head(&two));
        let status = Command::new("git")
            .args(["status", "--porcelain"])
            .current_dir(&one)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&status.stdout), "");
    }

    #[test]
    fn one_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let demo = folder.path().join("demo");
        prepare(&demo).unwrap();
        std::fs::write(demo.join("mine.txt"), "mine").unwrap();
        prepare(&demo).unwrap();
        assert!(demo.join("mine.txt").exists());
    }
}
