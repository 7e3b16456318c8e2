//! The command line. Parsed by hand: four words and four options don't pay for a parser in every
//! sandbox.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use mistle_protocol::control::{LINK_DIR, PROXY_PORT, STATE_DIR};
use tracing::error;
use tracing_subscriber::filter::LevelFilter;

use crate::daemon::{self, Options};
use crate::{confine, init};

const USAGE: &str = "usage:
  mistle-sandboxd init [OPTION...]                 as process 1 of a sandbox
  mistle-sandboxd daemon [OPTION...]               the daemon alone
  mistle-sandboxd confined PROGRAM [ARGUMENT...]   a program, confined as in a sandbox
  mistle-sandboxd --version

options:
  --link-dir DIR      where the server's sockets are [/run/mistle]
  --state-dir DIR     where state is kept [/var/lib/mistle]
  --proxy-port N      port of the HTTP proxy on loopback; 0 takes any [3128]
  --unconfined        outside a sandbox, for tests: no seccomp, all capabilities
  --confined          confinement was inherited: check it instead";

/// The command line was wrong.
pub const EXIT_USAGE: u8 = 2;
/// The daemon failed.
pub const EXIT_FAILED: u8 = 1;
/// A program could not be started (the shells' number for it).
const EXIT_NOT_STARTED: u8 = 126;
/// Confinement could not be put in force (`EX_NOPERM`).
pub const EXIT_UNCONFINABLE: u8 = 77;
/// The daemon died too often (`EX_SOFTWARE`).
pub const EXIT_GAVE_UP: u8 = 70;

/// Environment variable that names the log level: `error`, `warn`, `info`, `debug`, `trace`.
const LOG_LEVEL: &str = "MISTLE_LOG";

#[derive(Debug, PartialEq, Eq)]
enum Invocation {
    Init(Options, Confinement),
    Daemon(Options, Confinement),
    Confined(Vec<OsString>),
    Version,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Confinement {
    #[default]
    Enforce,
    Inherited,
    None,
}

/// Runs the program; `arguments` are those after its name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let invocation = match parse(arguments) {
        Ok(invocation) => invocation,
        Err(wrong) => {
            eprintln!("mistle-sandboxd: {wrong}\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    log_to_stderr();
    match run(invocation) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            error!("{:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}

struct Failure {
    code: u8,
    error: anyhow::Error,
}

fn run(invocation: Invocation) -> Result<u8, Failure> {
    match invocation {
        Invocation::Init(options, confinement) => {
            apply(confinement)?;
            // The daemon inherits what is in force here.
            let inherited = if confinement == Confinement::None {
                "--unconfined"
            } else {
                "--confined"
            };
            init::run(&daemon_arguments(&options, inherited)).map_err(|error| Failure {
                code: EXIT_FAILED,
                error,
            })
        }
        Invocation::Daemon(options, confinement) => {
            apply(confinement)?;
            daemon::block_on(options).map_err(|error| Failure {
                code: EXIT_FAILED,
                error,
            })?;
            Ok(0)
        }
        Invocation::Confined(argv) => {
            apply(Confinement::Enforce)?;
            let error = Command::new(&argv[0]).args(&argv[1..]).exec();
            Err(Failure {
                code: EXIT_NOT_STARTED,
                error: anyhow::Error::new(error).context(format!("can't run {}", argv[0].display())),
            })
        }
        Invocation::Version => {
            use std::io::Write as _;
            let written = writeln!(std::io::stdout(), "mistle-sandboxd {}", env!("CARGO_PKG_VERSION"));
            Ok(u8::from(written.is_err()))
        }
    }
}

fn apply(confinement: Confinement) -> Result<(), Failure> {
    let result = match confinement {
        Confinement::Enforce => confine::enforce(),
        Confinement::Inherited => confine::verify(),
        Confinement::None => Ok(()),
    };
    result.map_err(|error| Failure {
        code: EXIT_UNCONFINABLE,
        error: anyhow::Error::new(error).context("refusing to run unconfined"),
    })
}

fn daemon_arguments(options: &Options, confinement: &str) -> Vec<OsString> {
    vec![
        "daemon".into(),
        "--link-dir".into(),
        options.link_dir.clone().into(),
        "--state-dir".into(),
        options.state_dir.clone().into(),
        "--proxy-port".into(),
        options.proxy_port.to_string().into(),
        confinement.into(),
    ]
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Invocation, String> {
    let command = arguments.next().ok_or("a command is missing")?;
    match command.to_str() {
        Some("init") => parse_options(arguments).map(|(options, confinement)| Invocation::Init(options, confinement)),
        Some("daemon") => {
            parse_options(arguments).map(|(options, confinement)| Invocation::Daemon(options, confinement))
        }
        Some("confined") => {
            let argv: Vec<OsString> = arguments.collect();
            if argv.is_empty() {
                Err("a program is missing".to_owned())
            } else {
                Ok(Invocation::Confined(argv))
            }
        }
        Some("--version") => Ok(Invocation::Version),
        _ => Err(format!("unknown command {}", command.display())),
    }
}

fn parse_options(mut arguments: impl Iterator<Item = OsString>) -> Result<(Options, Confinement), String> {
    let mut options = Options {
        link_dir: PathBuf::from(LINK_DIR),
        state_dir: PathBuf::from(STATE_DIR),
        proxy_port: PROXY_PORT,
    };
    let mut confinement = Confinement::default();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{} needs a value", argument.display()))
        };
        match argument.to_str() {
            Some("--link-dir") => options.link_dir = value()?.into(),
            Some("--state-dir") => options.state_dir = value()?.into(),
            Some("--proxy-port") => options.proxy_port = port(&value()?)?,
            Some("--unconfined") => confinement = Confinement::None,
            Some("--confined") => confinement = Confinement::Inherited,
            _ => return Err(format!("unknown option {}", argument.display())),
        }
    }
    Ok((options, confinement))
}

fn port(text: &OsString) -> Result<u16, String> {
    text.to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{} is no port", text.display()))
}

/// The driver keeps what comes on standard error as the sandbox's log. A log that nobody reads any
/// more must not end the daemon, hence no complaint about failed writes.
fn log_to_stderr() {
    let level = std::env::var(LOG_LEVEL)
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(LevelFilter::INFO);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Invocation, String> {
        parse(words.split_whitespace().map(OsString::from))
    }

    fn defaults() -> Options {
        Options {
            link_dir: "/run/mistle".into(),
            state_dir: "/var/lib/mistle".into(),
            proxy_port: 3128,
        }
    }

    #[test]
    fn commands_are_parsed() {
        assert_eq!(
            parse_words("init"),
            Ok(Invocation::Init(defaults(), Confinement::Enforce))
        );
        assert_eq!(
            parse_words("daemon --link-dir /l --state-dir /s --proxy-port 0 --unconfined"),
            Ok(Invocation::Daemon(
                Options {
                    link_dir: "/l".into(),
                    state_dir: "/s".into(),
                    proxy_port: 0
                },
                Confinement::None
            ))
        );
        assert_eq!(
            parse_words("confined ls -l"),
            Ok(Invocation::Confined(vec!["ls".into(), "-l".into()]))
        );
    }

    #[test]
    fn what_init_hands_on_is_what_it_was_given() {
        let arguments = daemon_arguments(&defaults(), "--confined");
        assert_eq!(
            parse(arguments.into_iter()),
            Ok(Invocation::Daemon(defaults(), Confinement::Inherited))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            "",
            "serve",
            "init --port",
            "daemon --proxy-port",
            "daemon --proxy-port 70000",
            "confined",
        ] {
            assert!(parse_words(wrong).is_err(), "{wrong}");
        }
    }
}
