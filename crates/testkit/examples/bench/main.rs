//! Measures the budgets of BENCHMARKS.md on a release build: `cargo xtask bench`.
//!
//! Everything runs against a real server process with real sandboxes and the real runtime; the
//! model is the scripted one. Peers that are installed are measured in the same run, in turns with
//! ours. One file an area; an area that fails says so and the others go on.

#![expect(clippy::print_stdout, reason = "a measuring program prints its figures")]

mod browser;
mod changes;
mod docker;
mod egress;
mod figures;
mod http;
mod live;
mod machine;
mod memory;
mod peers;
mod previews;
mod reload;
mod sandbox;
mod search;
mod sessions;
mod terminals;
mod web;

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use figures::Report;
use mistle_testkit::{Setup, TestServer, built};

/// Which build is measured: the one that this program belongs to. Figures are of a release build;
/// a development build is for working on the measurements.
const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// How long one area may take, so that what waits for ever costs nobody the figures of the others.
/// Several times what the longest takes.
const AREA_WITHIN: Duration = Duration::from_mins(15);

/// An area's measurements.
type Measured<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// How an area is measured.
type Measure = for<'a> fn(&'a mut Report) -> Measured<'a>;

/// What is measured, in this order.
const AREAS: [(&str, Measure); 10] = [
    ("sandbox", |report| Box::pin(sandbox::measure(report))),
    ("sessions", |report| Box::pin(sessions::measure(report))),
    ("live", |report| Box::pin(live::measure(report))),
    ("reload", |report| Box::pin(reload::measure(report))),
    ("terminals", |report| Box::pin(terminals::measure(report))),
    ("changes", |report| Box::pin(changes::measure(report))),
    ("search", |report| Box::pin(search::measure(report))),
    ("previews", |report| Box::pin(previews::measure(report))),
    ("egress", |report| Box::pin(egress::measure(report))),
    ("web", |report| Box::pin(async { web::measure(report) })),
];

/// The command line.
struct Options {
    json: bool,
    write: bool,
    only: Vec<String>,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            json: false,
            write: false,
            only: Vec::new(),
        };
        for argument in arguments {
            match argument.as_str() {
                "--json" => options.json = true,
                "--write" => options.write = true,
                area if AREAS.iter().any(|(name, _)| *name == area) => options.only.push(argument),
                other => bail!("{other}: not an option, nor one of {:?}", AREAS.map(|(name, _)| name)),
            }
        }
        if options.write && !options.only.is_empty() {
            bail!("--write is for a run of everything");
        }
        Ok(options)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut report = Report::default();
    for (name, measure) in AREAS {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == name) {
            continue;
        }
        eprintln!("{name}:");
        let measured = tokio::time::timeout(AREA_WITHIN, measure(&mut report)).await;
        let measured = measured.unwrap_or_else(|_| Err(anyhow!("it did not end within {AREA_WITHIN:?}")));
        if let Err(error) = measured {
            report.note(format!("**{name} failed**: {error:#}"));
        }
    }
    if options.json {
        println!("{}", report.json()?);
    } else {
        println!("{}\n{}", machine::describe(), report.markdown());
    }
    if options.write {
        machine::write(&report).context("BENCHMARKS.md")?;
    }
    Ok(())
}

/// A server whose agents never ask.
async fn server() -> Result<TestServer> {
    let setup = Setup {
        program: built(PROFILE, "mistle"),
        ..Setup::policy("autonomous")
    };
    TestServer::start(setup).await
}
