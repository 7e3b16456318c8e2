//! Running other programs.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// How many of a failed step's last lines are told again at the end.
const LAST_LINES: usize = 30;

/// A program with its arguments, found on `PATH`.
pub(crate) fn command<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    // What `cargo run` says of this package is no news for another build: some dependencies are built anew
    // when it changes (ring), so they would be whenever cargo is called here and then from a shell.
    for (name, _) in std::env::vars_os() {
        let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it in the foreground with a heading; an exit code other than 0 is an error. Standard output
/// is left to the program: it may be a machine's to read.
pub(crate) fn step(title: &str, command: &mut Command) -> Result<()> {
    let timed = begin(title);
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!(said(title, command, status));
    }
    timed();
    Ok(())
}

/// Prints the heading; the answer prints how long it took.
fn begin(title: &str) -> impl FnOnce() {
    eprintln!("▸ {title}");
    let begin = Instant::now();
    move || eprintln!("  {title}: {:.1} s", begin.elapsed().as_secs_f64())
}

fn said(title: &str, command: &Command, status: ExitStatus) -> String {
    format!("{title}: {} ended with {status}", command.get_program().display())
}

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Which, and how it ended.
    pub(crate) what: String,
    /// Its last words.
    pub(crate) last: String,
}

/// Runs a step as [`step`] does and keeps its last lines, for whoever reads the end of the log only.
pub(crate) fn kept_step(title: &str, command: &mut Command) -> Result<(), Failed> {
    let timed = begin(title);
    let mut last = VecDeque::new();
    let ended = pass_through(command, &mut last);
    let status = ended.map_err(|error| Failed {
        what: format!("{title}: cannot run {}: {error}", command.get_program().display()),
        last: String::new(),
    })?;
    if status.success() {
        timed();
        return Ok(());
    }
    Err(Failed {
        what: said(title, command, status),
        last: Vec::from(last).concat(),
    })
}

/// Shows what it says, line by line, and keeps the last lines. Its two outputs share a pipe, so that
/// what came last is last.
fn pass_through(command: &mut Command, last: &mut VecDeque<String>) -> std::io::Result<ExitStatus> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command holds the pipe's other end too, and would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut from = BufReader::new(reader);
    let mut line = Vec::new();
    // What can't be read or shown any more is no reason to fail: the exit code says how it went.
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let mut to = std::io::stdout().lock();
        let _ = to.write_all(&line).and_then(|()| to.flush());
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).into_owned());
        line.clear();
    }
    child.wait()
}

/// Runs it silently and gives its standard output; none when it cannot be started or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_what_failed_are_kept() {
        let loud = "for n in $(seq 1000); do echo line $n; done; echo in the end >&2; exit 3";
        let failed = kept_step("Loud", &mut command("sh", ["-c", loud])).unwrap_err();
        assert_eq!(failed.what, "Loud: sh ended with exit status: 3");
        assert_eq!(failed.last.lines().count(), LAST_LINES);
        assert!(failed.last.contains("line 1000\n") && failed.last.contains("in the end\n"));
        assert!(!failed.last.contains("line 900\n"));
        assert!(kept_step("Quiet", &mut command("true", [""; 0])).is_ok());
        let absent = kept_step("Absent", &mut command("/no/such/program", [""; 0])).unwrap_err();
        assert!(
            absent.what.starts_with("Absent: cannot run /no/such/program: "),
            "{absent:?}"
        );
    }
}
