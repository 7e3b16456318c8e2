//! `cargo xtask up`: from a fresh checkout to a working session in the browser.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::kernel;
use crate::needs;
use crate::run::{command, step};

/// Options of `up`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the server keeps everything
    #[arg(long, default_value = "data")]
    data_dir: PathBuf,
    /// Build without optimising: quicker to build, slower to run
    #[arg(long)]
    dev: bool,
}

/// Builds, sets up, and becomes the server.
pub(crate) fn up(options: &Options) -> Result<()> {
    needs::root_on_linux()?;
    kernel::check()?;
    needs::check(needs::TO_BUILD)?;
    build::web()?;
    let mistle = build::programs(if options.dev { Profile::Dev } else { Profile::Release })?;
    std::fs::create_dir_all(&options.data_dir)?;
    let data_dir = options.data_dir.canonicalize()?;
    install_runtimes(&mistle, &data_dir)?;
    // Last, so that it is read: what the first session does needs it.
    needs::say_what_sandboxes_lack();
    let error = command(&mistle.to_string_lossy(), ["serve"])
        .env("MISTLE_DATA_DIR", &data_dir)
        .exec();
    Err(error).with_context(|| format!("cannot start {}", mistle.display()))
}

/// Fetches and verifies the pinned runtimes, once.
pub(crate) fn install_runtimes(mistle: &Path, data_dir: &Path) -> Result<()> {
    step(
        "Runtimes",
        command(&mistle.to_string_lossy(), ["runtime", "install"]).env("MISTLE_DATA_DIR", data_dir),
    )
}
