//! The one program: server, command line, and the shim of each sandbox.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // Before any thread exists: the shim changes namespaces.
    if arguments.next().is_some_and(|first| first == "sandbox-shim") {
        let folder = arguments.next().unwrap_or_default();
        return mistle_sandbox::shim::main(folder.as_ref());
    }
    let cli = mistle_server::cli::Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(mistle_server::cli::run(cli)),
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "mistle: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
