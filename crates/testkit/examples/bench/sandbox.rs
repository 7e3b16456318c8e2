//! A sandbox alone, beside its peers: create, run `/bin/true`, wait.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mistle_testkit::built;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::docker::Docker;
use crate::figures::{Budget, Report};

/// Runs of each, after one that is not counted.
const RUNS: usize = 50;
/// Folders of the host that a program needs.
const SYSTEM: [&str; 4] = ["/usr", "/bin", "/lib", "/lib64"];

/// Measures the driver, and each peer that is installed.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    driver(report)?;
    peer(report, "peer: bwrap, start + wait of `/bin/true`", &bwrap());
    match runc_bundle() {
        Ok(bundle) => {
            let folder = bundle.path().to_string_lossy().into_owned();
            let run = words(&[
                "runc",
                "run",
                "--bundle",
                &folder,
                &format!("mistle-bench-{}", std::process::id()),
            ]);
            peer(report, "peer: runc, start + wait of `/bin/true`", &run);
        }
        Err(error) => report.note(format!("peer runc: absent ({error:#})")),
    }
    let what = "peer: docker run --rm --network none, start + wait of `/bin/true`";
    match Docker::start().await {
        Ok(docker) => peer(report, what, &docker.run()),
        Err(error) => report.note(format!("{what}: absent ({error:#})")),
    }
    Ok(())
}

/// In a process of its own: the driver starts shims, and a shim is the server's own program.
fn driver(report: &mut Report) -> Result<()> {
    let program = built(crate::PROFILE, "examples/sandbox_start");
    let output = Command::new(&program)
        .arg(RUNS.to_string())
        .arg(built(crate::PROFILE, "mistle"))
        .output()
        .with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    let samples: Value = serde_json::from_slice(&output.stdout)?;
    let rows = [
        ("start_ms", "sandbox start → PID 1 runs", Some(10.0)),
        ("wait_ms", "PID 1 ended → sandbox cleared", None),
        ("create_ms", "disk created (fork of an image)", Some(100.0)),
        ("freeze_ms", "snapshot freeze", Some(100.0)),
        ("delete_ms", "sandbox deleted", None),
    ];
    for (key, what, most) in rows {
        let samples: Vec<f64> = serde_json::from_value(samples[key].clone()).with_context(|| key.to_owned())?;
        report.add(what, "ms", most.map(Budget::AtMost), &samples);
    }
    Ok(())
}

fn peer(report: &mut Report, what: &str, words: &[String]) {
    if let Err(why) = run(words) {
        report.note(format!("{what}: absent ({why:#})"));
        return;
    }
    let samples: Result<Vec<Duration>> = (0..RUNS)
        .map(|_| {
            let begin = Instant::now();
            run(words).map(|()| begin.elapsed())
        })
        .collect();
    match samples {
        Ok(samples) => drop(report.times(what, None, &samples)),
        Err(error) => report.note(format!("{what}: {error:#}")),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn run(words: &[String]) -> Result<()> {
    let output = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .with_context(|| words[0].clone())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("{}", said.lines().last().unwrap_or("it failed and says nothing"))
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
    for folder in SYSTEM.into_iter().filter(|folder| Path::new(folder).exists()) {
        all.extend(words(&["--ro-bind", folder, folder]));
    }
    all.push("/bin/true".to_owned());
    all
}

/// A bundle for runc: a root of its own with the host's system folders in it, read-only, and
/// `/bin/true` as its program.
///
/// The host's `/` itself can't be its root, because it can't be made the root once more
/// (`pivot_root` answers EBUSY). Its cgroups are left out as in ours: runc can't show them on hosts
/// that mix both versions.
fn runc_bundle() -> Result<TempDir> {
    let bundle = tempfile::tempdir()?;
    let folder = bundle.path().to_string_lossy().into_owned();
    run(&words(&["runc", "spec", "--bundle", &folder]))?;
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let mut mounts: Vec<Value> = config["mounts"].as_array().cloned().unwrap_or_default();
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    let root = bundle.path().join("rootfs");
    for folder in ["proc", "dev", "sys"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for folder in SYSTEM {
        let own = root.join(folder.trim_start_matches('/'));
        match fs::read_link(folder) {
            Ok(target) => std::os::unix::fs::symlink(target, own)?,
            Err(_) if Path::new(folder).is_dir() => {
                fs::create_dir_all(own)?;
                mounts.push(json!({
                    "destination": folder, "source": folder, "type": "bind", "options": ["rbind", "ro"],
                }));
            }
            Err(_) => {}
        }
    }
    config["mounts"] = Value::Array(mounts);
    config["root"] = json!({ "path": "rootfs", "readonly": true });
    config["process"]["args"] = json!(["/bin/true"]);
    config["process"]["terminal"] = Value::Bool(false);
    fs::write(&path, serde_json::to_vec(&config)?)?;
    Ok(bundle)
}
