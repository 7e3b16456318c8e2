//! What a browser loads, compressed as it is sent.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use mistle_testkit::workspace;

use crate::figures::{Budget, Report};

/// Sizes of the entry and of what is loaded when it is first shown, scripts and styles.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let dist = workspace().join("web/dist");
    let page = fs::read_to_string(dist.join("index.html")).context("the built front end")?;
    let entry = page
        .split('"')
        .filter(|text| text.starts_with("/assets/") && is_code(Path::new(text)))
        .map(|path| compressed(&dist.join(path.trim_start_matches('/'))))
        .sum::<Result<u64>>()?;
    row(report, "web entry, gzip", 230.0, entry);
    for (what, name) in [
        ("terminal chunk, gzip", "TerminalView-"),
        ("changes chunk, gzip", "ChangesPanel-"),
    ] {
        let mut bytes = 0;
        for file in fs::read_dir(dist.join("assets"))?.flatten() {
            if file.file_name().to_string_lossy().starts_with(name) {
                bytes += compressed(&file.path())?;
            }
        }
        row(report, what, 150.0, bytes);
    }
    Ok(())
}

fn row(report: &mut Report, what: &str, most_kb: f64, bytes: u64) {
    report.add(what, "kB", Some(Budget::AtMost(most_kb)), &[bytes as f64 / 1000.0]);
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "js" || kind == "css")
}

fn compressed(file: &Path) -> Result<u64> {
    let content = fs::read(file).with_context(|| file.display().to_string())?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&content)?;
    Ok(encoder.finish()?.len() as u64)
}
