//! Runtimes: which there are, and fetching them.
//!
//! Each runtime is one data file beside this module: an npm package at one pinned version, and for
//! each platform the archive with its SHA-512. [`install`] fetches, verifies and unpacks it.

pub mod install;

use std::path::PathBuf;
use std::sync::LazyLock;

use serde::Deserialize;

/// A runtime that can be installed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// Its name in profiles.
    pub name: String,
    /// For a person.
    pub label: String,
    /// The npm package.
    pub package: String,
    /// The pinned version.
    pub version: String,
    /// Its program, relative to its folder.
    pub program: PathBuf,
    /// Where it runs.
    pub platforms: Vec<Platform>,
}

/// A runtime's archive for one platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// As [`std::env::consts::OS`] says it.
    pub os: String,
    /// As [`std::env::consts::ARCH`] says it.
    pub arch: String,
    /// The version under which npm has this platform's archive.
    pub tarball_version: String,
    /// `sha512-` and the Base64 of the archive's SHA-512, as npm writes it.
    pub integrity: String,
    /// The folder in the archive that becomes the runtime's folder.
    pub root: PathBuf,
    /// What of that folder is needed.
    pub include: Vec<PathBuf>,
}

#[expect(
    clippy::expect_used,
    reason = "the data files are part of the program; a test reads them"
)]
static ALL: LazyLock<Vec<Runtime>> =
    LazyLock::new(|| vec![toml::from_str(include_str!("codex.toml")).expect("codex.toml is valid")]);

/// Every runtime that is known.
pub fn all() -> &'static [Runtime] {
    &ALL
}

/// The runtime of that name.
pub fn find(name: &str) -> Option<&'static Runtime> {
    all().iter().find(|runtime| runtime.name == name)
}

/// Whether there is a runtime of that name.
pub fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// The names, for a message.
pub fn names() -> String {
    all()
        .iter()
        .map(|runtime| runtime.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}
