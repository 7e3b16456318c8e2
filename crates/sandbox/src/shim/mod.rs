//! The shim: one small process for each sandbox that runs.
//!
//! libcontainer forks and changes namespaces, which a server with threads must not. The server
//! therefore starts itself again under a hidden subcommand; that process, with a single thread,
//! builds the root file system in a mount namespace of its own, starts the container, and waits.
//! It is not a part of the server: it has its own session, keeps no descriptor of the server's,
//! and goes on when the server ends. A later server finds it by its state file. (A systemd service
//! needs `KillMode=process` for that: otherwise systemd ends everything in the service's cgroup.)
//!
//! ```text
//! driver ──request.json──► shim: lock · namespaces · overlays · cgroups · container ──► PID 1
//!        ◄──one line on stdout── Started | Failed
//!        ──SIGTERM──► forwarded to PID 1      ──SIGUSR1──► PID 1 is killed
//!        ◄──the process ends── exit.json: how PID 1 ended
//! ```

mod container;
mod namespaces;
mod probe;
mod rootfs;
mod supervise;

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

pub(crate) use self::rootfs::MAX_LOWERS;
use crate::request::{Answer, REQUEST_FILE, Request};

/// Why a shim could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing}")]
pub(crate) struct ShimError {
    doing: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

/// Says what was being done when something failed.
trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, ShimError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T, ShimError> {
        self.map_err(|source| ShimError {
            doing: what.into(),
            source: source.into(),
        })
    }
}

/// The hidden subcommand. `dir` is the folder that the driver wrote the request to.
///
/// To be called while the process has a single thread: before any asynchronous runtime exists.
pub fn main(dir: &Path) -> ExitCode {
    let result = match read_request(dir) {
        Ok(Request::Probe { uid_base }) => {
            let (required, controllers) = probe::run(dir, uid_base);
            return say(&Answer::Probed { required, controllers });
        }
        Ok(Request::Start(request)) => supervise::run(dir, &request),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = chain(&error);
            // Standard error is the shim's log: once it has answered, the only place to tell.
            let _ = writeln!(io::stderr(), "{message}");
            let disk_full = is_disk_full(&error);
            say(&Answer::Failed { message, disk_full });
            ExitCode::FAILURE
        }
    }
}

fn is_disk_full(error: &ShimError) -> bool {
    let mut cause = Some(error as &(dyn Error + 'static));
    while let Some(error) = cause {
        let of_file = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let of_call = error
            .downcast_ref::<nix::Error>()
            .map(|error| io::Error::from(*error).kind());
        if let Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) = of_file.or(of_call) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn read_request(dir: &Path) -> Result<Request, ShimError> {
    let text = std::fs::read(dir.join(REQUEST_FILE)).doing("read the request")?;
    serde_json::from_slice(&text).doing("understand the request")
}

/// Answers the driver. That it has gone away meanwhile is no reason to end: another one comes.
fn say(answer: &Answer) -> ExitCode {
    let written = serde_json::to_vec(answer)
        .map_err(io::Error::from)
        .and_then(|mut line| {
            line.push(b'\n');
            io::stdout().write_all(&line)?;
            io::stdout().flush()
        });
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// An error with its causes, joined by colons.
fn chain(error: &dyn Error) -> String {
    join(error.to_string(), error.source())
}

/// The causes of an error without itself.
fn causes(error: &dyn Error) -> String {
    let cause = error.source();
    join(
        cause.map(ToString::to_string).unwrap_or_default(),
        cause.and_then(Error::source),
    )
}

/// Adds the causes that follow to a text. libcontainer's errors often repeat their cause in their
/// own text, so a cause that has been said is left out.
fn join(mut text: String, mut next: Option<&(dyn Error + 'static)>) -> String {
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
