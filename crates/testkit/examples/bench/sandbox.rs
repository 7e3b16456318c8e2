//! A sandbox alone, beside its peers: create, run `/bin/true`, wait.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mistle_testkit::built;
use serde_json::Value;

use crate::figures::Report;

/// Runs of each, after one that is not counted.
const RUNS: usize = 50;

/// Measures the driver, and each peer that is installed.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    driver(report)?;
    peer(report, "bwrap, start + wait", &bwrap())?;
    if let Some(bundle) = runc_bundle()? {
        let folder = bundle.path().to_string_lossy().into_owned();
        peer(
            report,
            "runc, start + wait",
            &words(&["runc", "run", "--bundle", &folder, "mistle-bench"]),
        )?;
    }
    let docker_answers = succeeds(&words(&["docker", "image", "inspect", "debian"]));
    if docker_answers {
        let run = words(&["docker", "run", "--rm", "--network", "none", "debian", "/bin/true"]);
        peer(report, "docker run --network none", &run)?;
    }
    Ok(())
}

fn driver(report: &mut Report) -> Result<()> {
    let program = built("release", "examples/sandbox_start");
    let output = Command::new(&program)
        .arg(RUNS.to_string())
        .output()
        .with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    let medians: Value = serde_json::from_slice(&output.stdout)?;
    let rows = [
        ("start_ms", "sandbox start → PID 1 runs", Some(10.0)),
        ("create_ms", "disk created (fork of an image)", Some(100.0)),
        ("freeze_ms", "snapshot freeze", Some(100.0)),
        ("delete_ms", "sandbox deleted", None),
    ];
    for (key, what, budget) in rows {
        let median = medians[key].as_f64().with_context(|| format!("{key} in {medians}"))?;
        report.add(what, "ms", budget, &[median]);
    }
    Ok(())
}

fn peer(report: &mut Report, what: &str, words: &[String]) -> Result<()> {
    if !succeeds(words) {
        eprintln!("  {what}: not here, or it can't run");
        return Ok(());
    }
    let samples: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            if succeeds(words) {
                Ok(begin.elapsed())
            } else {
                bail!("{words:?} failed")
            }
        })
        .collect::<Result<_>>()?;
    report.times(what, None, &samples);
    Ok(())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn succeeds(words: &[String]) -> bool {
    let run = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

fn bwrap() -> Vec<String> {
    let mut all = words(&[
        "bwrap",
        "--unshare-all",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
    ]);
    for folder in ["/usr", "/bin", "/lib", "/lib64"]
        .into_iter()
        .filter(|folder| Path::new(folder).exists())
    {
        all.extend(words(&["--ro-bind", folder, folder]));
    }
    all.push("/bin/true".to_owned());
    all
}

/// A bundle for runc whose root is the host's, read-only, with `/bin/true` as its program.
fn runc_bundle() -> Result<Option<tempfile::TempDir>> {
    let bundle = tempfile::tempdir()?;
    let made = Command::new("runc")
        .arg("spec")
        .arg("--bundle")
        .arg(bundle.path())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    config["root"] = serde_json::json!({ "path": "/", "readonly": true });
    config["process"]["args"] = serde_json::json!(["/bin/true"]);
    config["process"]["terminal"] = Value::Bool(false);
    std::fs::write(&path, serde_json::to_vec(&config)?)?;
    Ok(Some(bundle))
}
