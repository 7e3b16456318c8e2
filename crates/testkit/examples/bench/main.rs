//! Measures the budgets of BENCHMARKS.md on a release build: `cargo xtask bench`.
//!
//! Everything runs against a real server process with real sandboxes and the real runtime; the
//! model is the scripted one. Peers that are installed are measured in the same run.

#![expect(clippy::print_stdout, reason = "a measuring program prints its figures")]

mod figures;
mod sandbox;
mod sessions;

use anyhow::Result;
use figures::Report;

#[tokio::main]
async fn main() -> Result<()> {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut report = Report::default();
    sandbox::measure(&mut report)?;
    sessions::measure(&mut report).await?;
    if json {
        println!("{}", report.json()?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}
