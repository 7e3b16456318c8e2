//! `mistle-sandboxd`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mistle_sandboxd::cli::main(std::env::args_os().skip(1))
}
