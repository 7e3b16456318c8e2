//! The packages of the apps that the browser tests preview (`e2e/apps`).
//!
//! Each app's lock file says what is fetched, byte for byte; what is installed already is not
//! fetched again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::build::npm_ci;
use crate::needs::SYSTEM_PYTHON;
use crate::run::{command, output, step};

/// Those with npm packages.
const NODE: [&str; 3] = ["vite", "next", "storybook"];
/// The one with Python packages.
const PYTHON: &str = "fastapi";

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    let apps = crate::root().join("e2e/apps");
    for name in NODE {
        npm_ci(&apps.join(name))?;
    }
    pip_install(&apps.join(PYTHON))
}

/// Into the folder `site`, for the interpreter that a sandbox has: wheels may be made for one
/// version alone.
fn pip_install(folder: &Path) -> Result<()> {
    let requirements = folder.join("requirements.txt");
    let site = folder.join("site");
    let stamp = site.join(".installed");
    let text = fs::read_to_string(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let version = output(&mut command(SYSTEM_PYTHON, ["--version"])).unwrap_or_default();
    let wanted = format!("# {version}\n{text}");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if site.exists() {
        fs::remove_dir_all(&site).with_context(|| format!("cannot remove {}", site.display()))?;
    }
    step(
        &format!("Installing the Python packages of {PYTHON}"),
        command(SYSTEM_PYTHON, ["-m", "pip", "install", "--quiet", "--require-hashes"])
            .args(["--only-binary", ":all:", "--no-compile", "--root-user-action", "ignore"])
            .args(["--target", "site", "--requirement", "requirements.txt"])
            .current_dir(folder),
    )?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
