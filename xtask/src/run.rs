//! Running other programs.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// A program with its arguments, found on `PATH`.
pub(crate) fn command<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs it in the foreground with a heading; an exit code other than 0 is an error. Standard output
/// is left to the program: it may be a machine's to read.
pub(crate) fn step(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("▸ {title}");
    let begin = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{title}: {} ended with {status}", command.get_program().display());
    }
    eprintln!("  {title}: {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Runs it silently and gives its standard output; none when it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
