//! `cargo xtask bench`: the budgets of BENCHMARKS.md, measured.

use std::process::Command;

use anyhow::Result;

use crate::build;
use crate::needs;
use crate::run::step;
use crate::up::install_runtimes;

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write BENCHMARKS.md
    #[arg(long)]
    write: bool,
    /// Install nothing: peers and browser are measured if they are here
    #[arg(long)]
    no_install: bool,
    /// Measure these areas only: sandbox, sessions, live, reload, terminals, changes, search, previews, egress, web
    areas: Vec<String>,
}

/// Builds for release and runs the measuring program.
pub(crate) fn bench(options: &Options) -> Result<()> {
    needs::root_on_linux()?;
    needs::check(needs::TO_BUILD)?;
    if !options.no_install {
        needs::install_wanted(needs::TO_COMPARE)?;
        build::npm_ci(&crate::root().join("e2e"))?;
    }
    build::web()?;
    let mistle = build::measuring_programs()?;
    let data_dir = crate::root().join("data");
    std::fs::create_dir_all(&data_dir)?;
    install_runtimes(&mistle, &data_dir)?;
    // Not with `cargo run`, which would build the dependencies once more for this package alone.
    let mut run = Command::new(crate::root().join("target/release/examples/bench"));
    for (flag, is_set) in [("--json", options.json), ("--write", options.write)] {
        if is_set {
            run.arg(flag);
        }
    }
    run.args(&options.areas);
    step("Measuring", &mut run)
}
