//! The embedded driver with real sandboxes. Needs root on a Linux host that can isolate; where it
//! cannot, each test fails with the driver's own words.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "the client in the sandbox is a test's own"
)]

mod disk;
mod isolation;
mod life;
mod limits;
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Started in a sandbox: sends its second argument to the socket that is its first, and prints
/// what comes back.
const CONNECT: &str = "connect";
/// Started by the driver, as by the server's own hidden subcommand.
const SHIM: &str = "sandbox-shim";

/// Runs before the test harness, which starts threads: the driver's shim and a client in the
/// sandbox are this program too.
extern "C" fn dispatch() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(SHIM) => {
            let code = mistle_sandbox::shim::main(arguments[2].as_ref());
            std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
        }
        Some(CONNECT) => {
            let mut stream = UnixStream::connect(&arguments[2]).expect("connect");
            stream.write_all(arguments[3].as_bytes()).expect("send");
            stream.shutdown(std::net::Shutdown::Write).expect("end");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("receive");
            println!("{answer}");
            std::process::exit(0);
        }
        _ => {}
    }
}

#[expect(unsafe_code, reason = "the only way to run before the harness has threads")]
// SAFETY: the section holds pointers to functions that the loader calls once, before `main` and
// after the C library is set up; this is one.
#[used]
#[unsafe(link_section = ".init_array")]
static DISPATCH: extern "C" fn() = dispatch;
