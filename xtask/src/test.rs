//! `cargo xtask test`: sets up and runs every test.
//!
//! Every part runs even when an earlier one failed, so that one run tells everything.

use anyhow::{Result, bail};

use crate::apps;
use crate::build::{self, Profile};
use crate::needs;
use crate::run::{command, step};
use crate::up::install_runtimes;

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these parts
    #[arg(value_enum)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Formatting and lints
    Lint,
    /// The Rust tests
    Rust,
    /// The web front end's types, lints, tests and size
    Web,
    /// The browser tests
    Browser,
}

type Run = fn() -> Result<()>;

/// Sets up and runs the tests.
pub(crate) fn test(options: &Options) -> Result<()> {
    needs::root_on_linux()?;
    needs::check(needs::TO_TEST)?;
    let root = crate::root();
    build::web()?;
    build::npm_ci(&root.join("e2e"))?;
    let mistle = build::programs(Profile::Dev)?;
    let data_dir = root.join("data");
    std::fs::create_dir_all(&data_dir)?;
    install_runtimes(&mistle, &data_dir)?;

    let all: [(Part, Run); 4] = [
        (Part::Web, web),
        (Part::Browser, browser),
        (Part::Lint, lint),
        (Part::Rust, rust),
    ];
    let mut failed = Vec::new();
    for (part, run) in all {
        if !options.parts.is_empty() && !options.parts.contains(&part) {
            continue;
        }
        if let Err(error) = run() {
            println!("✗ {error:#}");
            failed.push(error.to_string());
        }
    }
    if !failed.is_empty() {
        bail!("{} part(s) failed:\n  {}", failed.len(), failed.join("\n  "));
    }
    println!("✓ every test passed");
    Ok(())
}

fn lint() -> Result<()> {
    step("Formatting", &mut command("cargo", ["fmt", "--all", "--check"]))?;
    step(
        "Lints",
        &mut command(
            "cargo",
            [
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ],
        ),
    )
}

fn rust() -> Result<()> {
    step(
        "Rust tests",
        &mut command("cargo", ["nextest", "run", "--workspace", "--no-fail-fast"]),
    )
}

fn web() -> Result<()> {
    let web = crate::root().join("web");
    for script in ["check", "test", "size"] {
        step(
            &format!("Web: {script}"),
            command("npm", ["run", "--silent", script]).current_dir(&web),
        )?;
    }
    Ok(())
}

fn browser() -> Result<()> {
    apps::install()?;
    step(
        "Browser tests",
        command("npm", ["test", "--silent"]).current_dir(crate::root().join("e2e")),
    )
}
