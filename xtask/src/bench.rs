//! `cargo xtask bench`: the budgets of BENCHMARKS.md, measured.

use anyhow::Result;

use crate::build::{self, Profile};
use crate::needs;
use crate::run::{command, step};
use crate::up::install_runtimes;

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Builds for release and runs the measuring program.
pub(crate) fn bench(options: &Options) -> Result<()> {
    needs::root_on_linux()?;
    needs::check(needs::TO_BUILD)?;
    build::web()?;
    let mistle = build::programs(Profile::Release)?;
    let data_dir = crate::root().join("data");
    std::fs::create_dir_all(&data_dir)?;
    install_runtimes(&mistle, &data_dir)?;
    step(
        "Building the measuring programs",
        &mut command(
            "cargo",
            [
                "build",
                "--release",
                "--package",
                "mistle-sandbox",
                "--package",
                "mistle-testkit",
                "--examples",
            ],
        ),
    )?;
    let mut run = command(
        "cargo",
        [
            "run",
            "--release",
            "--quiet",
            "--package",
            "mistle-testkit",
            "--example",
            "bench",
            "--",
        ],
    );
    if options.json {
        run.arg("--json");
    }
    step("Measuring", &mut run)
}
