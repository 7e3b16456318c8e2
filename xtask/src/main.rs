//! The project's own commands: `cargo xtask up`, `test`, `bench`, `web`, `dist`.
//!
//! Each checks what it needs first and says everything that is missing at once, with the command
//! that brings it.

#![expect(clippy::print_stdout, reason = "a command line program speaks on standard output")]

mod apps;
mod bench;
mod build;
mod failures;
mod kernel;
mod needs;
mod run;
mod test;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, starts, tests and measures Mistle")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds everything, sets it up and starts the server; prints a login link
    Up(up::Options),
    /// Sets up and runs every test: Rust, web, browser
    Test(test::Options),
    /// Measures the budgets of BENCHMARKS.md with a release build
    Bench(bench::Options),
    /// Builds the web front end into web/dist
    Web,
    /// Builds the release binaries into target/dist
    Dist,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("✗ {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    std::env::set_current_dir(root())?;
    match Cli::parse().command {
        Command::Up(options) => up::up(&options),
        Command::Test(options) => test::test(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Web => {
            needs::check(&[needs::NODE])?;
            build::web()
        }
        Command::Dist => {
            needs::check(needs::TO_BUILD)?;
            build::web()?;
            build::programs(build::Profile::Release).map(drop)
        }
    }
}

/// The checkout that this program was built from.
fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}
