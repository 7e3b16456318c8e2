//! Where the figures come from, and the page that keeps them.

use std::fs;
use std::process::Command;

use anyhow::Result;
use mistle_testkit::workspace;

use crate::figures::Report;

const ABOUT: &str = "# Benchmarks

```sh
cargo xtask bench                 # or --json; one area alone: cargo xtask bench terminals
cargo xtask bench --no-install    # without Debian's packages of the peers
cargo xtask bench --write         # writes this page
```

builds for release and measures a real server process with real sandboxes and the real Codex; the model is the scripted
one. Peers that are installed run in the same call, in turns with ours; the others are named as absent. Nothing here is a
test: figures depend on the machine and on what else it does. ✗ marks a budget that is missed.
";

/// One line: date, processors, memory, system, file system.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!(
        "{}, {cores} × {}, {} GiB, {}, Linux {}, {}, SQLite",
        output("date", &["+%Y-%m-%d"]),
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned()),
        field("/proc/meminfo", "MemTotal")
            .and_then(|text| text.trim_end_matches("kB").trim().parse::<u64>().ok())
            .map_or(0, |kib| (kib + 524_288) / 1_048_576),
        os_name(),
        output("uname", &["-r"]),
        output("stat", &["--file-system", "--format=%T", "/tmp"]),
    )
}

/// Replaces BENCHMARKS.md.
pub(crate) fn write(report: &Report) -> Result<()> {
    let text = format!("{ABOUT}\n## {}\n\n{}", describe(), report.markdown());
    Ok(fs::write(workspace().join("BENCHMARKS.md"), text)?)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// What a file of `NAME: VALUE` lines says.
fn field(file: &str, name: &str) -> Option<String> {
    fs::read_to_string(file).ok()?.lines().find_map(|line| {
        line.strip_prefix(name)?
            .trim_start()
            .strip_prefix(':')
            .map(str::trim)
            .map(str::to_owned)
    })
}

fn os_name() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}
