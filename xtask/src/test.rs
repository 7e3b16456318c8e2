//! `cargo xtask test`: sets up and runs every test.
//!
//! Every part runs even when an earlier one failed, so that one run tells everything; what failed is
//! told again at the very end, because of a long log that is what people see.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::apps;
use crate::build::{self, Profile};
use crate::failures::{self, Failure};
use crate::needs;
use crate::run::{Failed, command, kept_step};
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

type Run = fn() -> Result<(), Failed>;

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
        if let Err(part) = run() {
            failed.push(part);
        }
    }
    if !failed.is_empty() {
        let told: Vec<_> = failed
            .iter()
            .map(|part| format!("{}\n{}", part.what, part.last))
            .collect();
        bail!("{} part(s) failed.\n\n{}", failed.len(), told.join("\n"));
    }
    println!("✓ every test passed");
    Ok(())
}

fn lint() -> Result<(), Failed> {
    kept_step("Formatting", &mut command("cargo", ["fmt", "--all", "--check"]))?;
    kept_step(
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

fn rust() -> Result<(), Failed> {
    // Where `.config/nextest.toml` puts it.
    let report = crate::root().join("target/nextest/default/junit.xml");
    let tests = build::tests().map_err(|error| Failed {
        what: format!("{error:#}"),
        last: String::new(),
    })?;
    let mut run = command("cargo", ["nextest", "run", "--no-fail-fast"]);
    run.arg("--binaries-metadata").arg(tests);
    named(&report, failures::of_junit, || kept_step("Rust tests", &mut run))
}

fn web() -> Result<(), Failed> {
    let web = crate::root().join("web");
    for script in ["check", "test", "size"] {
        kept_step(
            &format!("Web: {script}"),
            command("npm", ["run", "--silent", script]).current_dir(&web),
        )?;
    }
    Ok(())
}

fn browser() -> Result<(), Failed> {
    apps::install().map_err(|error| Failed {
        what: format!("{error:#}"),
        last: String::new(),
    })?;
    let e2e = crate::root().join("e2e");
    let report = crate::root().join("target/browser-tests.json");
    let mut run = command("npm", ["test", "--silent", "--", "--reporter=list,json"]);
    run.env("PLAYWRIGHT_JSON_OUTPUT_FILE", &report).current_dir(&e2e);
    named(&report, failures::of_playwright, || {
        kept_step("Browser tests", &mut run)
    })
}

/// Runs tests that write a report; if they fail, their last words are what failed in it. A report that is
/// not there, because nothing could be built, leaves them as they are.
fn named(
    report: &Path,
    read: fn(&str) -> Vec<Failure>,
    run: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    // An earlier run's would name what does not fail any more.
    let _ = fs::remove_file(report);
    run().map_err(|failed| {
        let told = failures::told(&read(&fs::read_to_string(report).unwrap_or_default()));
        Failed {
            last: if told.is_empty() { failed.last } else { told },
            ..failed
        }
    })
}
