//! The command line. Everything about sessions and tokens goes through the public API, on this
//! machine with the credentials that the server keeps in its data directory.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage; 3 the turn was interrupted, or the session stopped;
//! 4 an approval waits and nobody is asked. `session exec` ends with the command's own.

mod client;
mod exec;
mod local;
mod output;
mod session;
mod token;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::config::Location;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// The turn was interrupted, or the session stopped before it ended.
pub(crate) const INTERRUPTED: u8 = 3;
/// An approval waits and nobody is asked.
pub(crate) const NEEDS_YOU: u8 = 4;
/// Nobody reads the output any more; what a shell says of a program that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Above the options that every command has, so that each one's help begins with its own.
const EVERYWHERE: &str = "Options of every command";

/// Coding agents in sandboxes you own.
#[derive(Debug, Parser)]
#[command(name = "mistle", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Place {
    /// The configuration file [default: mistle.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE", env = "MISTLE_CONFIG", help_heading = EVERYWHERE)]
    config: Option<PathBuf>,
    /// The data directory [default: ~/.local/share/mistle]
    #[arg(long, global = true, value_name = "FOLDER", env = "MISTLE_DATA_DIR", help_heading = EVERYWHERE)]
    data_dir: Option<PathBuf>,
    /// The server [default: the one of the data directory]
    #[arg(long, global = true, value_name = "URL", env = "MISTLE_URL", help_heading = EVERYWHERE)]
    url: Option<Url>,
    /// A bearer token [default: the one that the server keeps in its data directory]
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "MISTLE_TOKEN",
        hide_env_values = true,
        help_heading = EVERYWHERE
    )]
    token: Option<String>,
}

impl Place {
    fn location(&self) -> Location {
        Location {
            file: self.config.clone(),
            data_dir: self.data_dir.clone(),
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Serve),
    /// Say what is in force, what is wrong, and what to do
    Doctor,
    /// Print a new one-time link that signs a browser in
    LoginLink {
        /// The page that it leads to, such as `/s/ses_…`, with or without the server's address
        #[arg(long, value_name = "PAGE")]
        open: Option<String>,
    },
    /// Bearer tokens of the API
    #[command(subcommand)]
    Token(token::Command),
    /// Agents that sessions run
    #[command(subcommand)]
    Runtime(local::Runtime),
    /// What sessions are started from
    #[command(subcommand)]
    Profile(session::Profile),
    /// Sessions
    #[command(subcommand)]
    Session(session::Command),
}

#[derive(Debug, Args)]
struct Serve {
    /// The address to serve on, instead of the configured one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Do not print a sign-in link
    #[arg(long)]
    no_login_link: bool,
}

/// Does what the command line says.
pub async fn run(cli: Cli) -> ExitCode {
    let out = output::Output::new(cli.json);
    match dispatch(cli, out).await {
        Ok(code) => ExitCode::from(code),
        Err(error) if error.is::<output::NobodyReads>() => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            out.error(&error);
            ExitCode::from(FAILED)
        }
    }
}

async fn dispatch(cli: Cli, out: output::Output) -> anyhow::Result<u8> {
    let Cli { place, command, .. } = cli;
    match command {
        Command::Serve(serve) => local::serve(&place, serve, out).await,
        Command::Doctor => local::doctor(&place, out).await,
        Command::LoginLink { open } => local::login_link(&place, open, out).await,
        Command::Runtime(command) => local::runtime(&place, command, out).await,
        Command::Token(command) => token::run(&client::Client::new(&place)?, command, out).await,
        Command::Profile(command) => session::profile(&client::Client::new(&place)?, command, out).await,
        Command::Session(command) => session::run(&client::Client::new(&place)?, command, out).await,
    }
}
