//! Building the programs and the web front end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::run::{command, step};

/// How much the compiler is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build: tests.
    Dev,
    /// What people run.
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
        }
    }
}

/// The server, once built.
pub(crate) fn mistle(profile: Profile) -> PathBuf {
    crate::root().join("target").join(profile.folder()).join("mistle")
}

/// Builds the server and the daemon; gives the server's path. The daemon lies beside it.
///
/// The server is built as part of the whole workspace, as the tests are, so that its dependencies
/// have the features that they have there and are compiled once. The daemon is linked statically,
/// because it is PID 1 on any root filesystem; that flag goes to its last link alone.
pub(crate) fn programs(profile: Profile) -> Result<PathBuf> {
    build(profile, "Building the server", &[])
}

/// The same, with the programs that measure.
pub(crate) fn measuring_programs() -> Result<PathBuf> {
    // At once: by themselves they would be built with dependencies of other features.
    build(
        Profile::Release,
        "Building the server and what measures it",
        &["--examples"],
    )
}

fn build(profile: Profile, what: &str, more: &[&str]) -> Result<PathBuf> {
    let mut server = command("cargo", ["build", "--workspace", "--bin", "mistle"]);
    step(what, server.args(profile.flags()).args(more))?;
    daemon(profile)?;
    Ok(mistle(profile))
}

/// Links the daemon statically. A build of its package's tests links it the usual way, at the same path.
fn daemon(profile: Profile) -> Result<()> {
    step(
        "Building the sandbox daemon",
        command(
            "cargo",
            ["rustc", "--package", "mistle-sandboxd", "--bin", "mistle-sandboxd"],
        )
        .args(profile.flags())
        .args(["--", "-C", "target-feature=+crt-static"]),
    )
}

/// Builds the Rust tests; gives nextest's list of them, with which it runs them without building
/// anything. The daemon is linked after them, so that they try the one that people get.
pub(crate) fn tests() -> Result<PathBuf> {
    let list = crate::root().join("target/test-binaries.json");
    let file = File::create(&list).with_context(|| format!("cannot write {}", list.display()))?;
    step(
        "Building the Rust tests",
        command("cargo", ["nextest", "list", "--workspace"])
            .args(["--list-type", "binaries-only", "--message-format", "json"])
            .stdout(file),
    )?;
    daemon(Profile::Dev)?;
    Ok(list)
}

/// Builds `web/dist` unless it is newer than everything it is made of.
pub(crate) fn web() -> Result<()> {
    let web = crate::root().join("web");
    npm_ci(&web)?;
    let built = modified(&web.join("dist/index.html"));
    let sources = [
        "src",
        "public",
        "index.html",
        "package-lock.json",
        "vite.config.ts",
        "tsconfig.json",
    ];
    let newest = sources
        .iter()
        .filter_map(|source| newest_below(&web.join(source)))
        .max();
    if built.is_some() && built > newest {
        return Ok(());
    }
    step(
        "Building the web front end",
        command("npm", ["run", "--silent", "build"]).current_dir(&web),
    )
}

/// Installs a folder's npm packages unless its lock file is the installed one.
pub(crate) fn npm_ci(folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let stamp = folder.join("node_modules/.installed-lock.json");
    let wanted = std::fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if std::fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    step(
        &format!("Installing the npm packages of {name}"),
        command("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder),
    )?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn newest_below(path: &Path) -> Option<SystemTime> {
    if !path.is_dir() {
        return modified(path);
    }
    path.read_dir()
        .ok()?
        .flatten()
        .filter_map(|entry| newest_below(&entry.path()))
        .max()
}
