//! What is measured in a real browser: `e2e/measure.mjs` does it, this calls it.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use mistle_testkit::workspace;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Where Debian puts Chromium.
const CHROMIUM: &str = "/usr/bin/chromium";

/// Why no browser can be driven here, if so.
pub(crate) fn missing() -> Option<&'static str> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| CHROMIUM.to_owned());
    if !std::path::Path::new(&chromium).is_file() {
        return Some("Chromium is not installed");
    }
    if !workspace().join("e2e/node_modules/playwright-core").is_dir() {
        return Some("the packages of e2e are not installed: run `npm ci` there");
    }
    None
}

/// Has the browser do a job and answers what it measured.
pub(crate) async fn measure<T: DeserializeOwned>(job: &Value) -> Result<T> {
    let mut child = Command::new("node")
        .arg("measure.mjs")
        .current_dir(workspace().join("e2e"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node")?;
    let mut stdin = child.stdin.take().context("node's standard input")?;
    stdin.write_all(job.to_string().as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        // What went wrong, what it waited for, and where.
        let tells = |line: &&str| {
            ["rror:", "waiting for", "measure.mjs:"]
                .iter()
                .any(|word| line.contains(word))
        };
        let why: Vec<&str> = said.lines().filter(tells).map(str::trim).take(4).collect();
        bail!("the browser: {}", why.join("; "));
    }
    serde_json::from_slice(&output.stdout).context("what the browser measured")
}
