//! What is done on the server's own machine: serving, looking after it, signing in.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use mistle_store::Store;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::output::{self, Output};
use super::{FAILED, Place, Serve};
use crate::auth::{login, next};
use crate::config::{Config, Log, LogFormat};
use crate::doctor::{self, Status};
use crate::runtimes::install::{self, Installed, Source};
use crate::server::{self, Server};
use crate::{credentials, runtimes};

#[derive(Debug, Subcommand)]
pub(super) enum Runtime {
    /// Fetch, verify and install runtimes; those that are installed are left alone
    Install {
        /// The runtime; all of them otherwise
        name: Option<String>,
        /// Take the archive from a file instead of the registry
        #[arg(long, value_name = "ARCHIVE", requires = "name")]
        from: Option<PathBuf>,
    },
    /// List runtimes
    List,
}

pub(super) async fn serve(place: &Place, serve: Serve, out: Output) -> anyhow::Result<u8> {
    let mut config = Config::load(&place.location())?;
    if let Some(listen) = serve.listen {
        config.listen = listen;
    }
    start_log(&config.log);
    // Before anything is started, so that no signal ends half a server.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = tokio::select! {
        running = Server::start(config) => running?,
        _ = terminate.recv() => return Ok(0),
        _ = interrupt.recv() => return Ok(0),
    };
    let link = (!serve.no_login_link).then(|| running.login_link.expose_secret().to_owned());
    if out.json {
        output::value(
            &serde_json::json!({ "url": running.public_url, "address": running.address, "login_link": link }),
        )?;
    } else {
        output::line(format!(
            "Mistle {} serves on {}",
            env!("CARGO_PKG_VERSION"),
            running.public_url
        ))?;
        if let Some(link) = link {
            output::line(format!("Sign in (once, within 15 minutes): {link}"))?;
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending; sandboxes keep running");
    tokio::select! {
        () = running.shutdown() => Ok(0),
        // Asked twice: at once.
        _ = terminate.recv() => Ok(FAILED),
        _ = interrupt.recv() => Ok(FAILED),
    }
}

fn start_log(log: &Log) {
    let filter = EnvFilter::try_from_env("MISTLE_LOG").unwrap_or_else(|_| EnvFilter::new(&log.level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber means that a test has one.
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Human => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}

pub(super) async fn doctor(place: &Place, out: Output) -> anyhow::Result<u8> {
    let config = Config::load(&place.location())?;
    let findings = doctor::examine(&config).await;
    if out.json {
        output::value(&findings)?;
    } else {
        output::line(out.strong("Configuration"))?;
        output::line(toml::to_string_pretty(&without_nulls(findings.configuration.clone()))?.trim_end())?;
        output::line("")?;
        output::line(out.strong("Checks"))?;
        for check in &findings.checks {
            let status = match check.status {
                Status::Ok => "ok  ",
                Status::Warn => "warn",
                Status::Fail => "FAIL",
            };
            output::line(format!("{status}  {}: {}", check.name, check.detail))?;
            if let Some(advice) = &check.advice {
                output::line(format!("      {advice}"))?;
            }
        }
    }
    Ok(if findings.worst() == Status::Fail { FAILED } else { 0 })
}

/// TOML has no null.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(
            list.into_iter()
                .filter(|value| !value.is_null())
                .map(without_nulls)
                .collect(),
        ),
        other => other,
    }
}

pub(super) async fn login_link(place: &Place, open: Option<String>, out: Output) -> anyhow::Result<u8> {
    let config = Config::load(&place.location())?;
    // The store and not the API: it works for a server that runs and for one that does not.
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("cannot create {}", config.data_dir.display()))?;
    let store = Store::connect(config.database_url.expose_secret()).await?;
    let url = config
        .public_url
        .clone()
        .or_else(|| credentials::address(&config.data_dir))
        .unwrap_or_else(|| server::local_url(config.listen));
    let page = open.as_deref().map(|open| page(open, &url)).transpose()?;
    let link = login::new_link(&store, &url, page).await?;
    store.close().await;
    if out.json {
        output::value(&serde_json::json!({ "login_link": link.expose_secret() }))?;
    } else {
        output::line(link.expose_secret())?;
    }
    Ok(0)
}

/// The path of a page, given as such or as its whole address.
fn page<'a>(open: &'a str, server: &Url) -> anyhow::Result<&'a str> {
    let path = match open.strip_prefix(server.as_str().trim_end_matches('/')) {
        Some("") => "/",
        Some(path) => path,
        None => open,
    };
    next::own_page(path).with_context(|| format!("{open} is no page of {server}"))
}

pub(super) async fn runtime(place: &Place, command: Runtime, out: Output) -> anyhow::Result<u8> {
    let config = Config::load(&place.location())?;
    match command {
        Runtime::List => list_runtimes(&config, out)?,
        Runtime::Install { name, from } => {
            let wanted: Vec<_> = match &name {
                Some(name) => {
                    vec![
                        runtimes::find(name)
                            .with_context(|| format!("unknown runtime {name}; known are: {}", runtimes::names()))?,
                    ]
                }
                None => runtimes::all().iter().collect(),
            };
            for runtime in wanted {
                install_one(&config, runtime, from.clone(), out).await?;
            }
        }
    }
    Ok(0)
}

fn list_runtimes(config: &Config, out: Output) -> anyhow::Result<()> {
    if out.json {
        let list: Vec<_> = config
            .runtimes
            .iter()
            .map(|(name, runtime)| {
                serde_json::json!({ "name": name, "version": runtime.version, "folder": runtime.folder, "installed": runtime.is_installed() })
            })
            .collect();
        return output::value(&list);
    }
    let row = |(name, runtime): (&String, &crate::config::Runtime)| {
        let installed = if runtime.is_installed() { "yes" } else { "no" };
        vec![
            name.clone(),
            runtime.version.clone(),
            installed.to_owned(),
            runtime.folder.display().to_string(),
        ]
    };
    let rows: Vec<_> = config.runtimes.iter().map(row).collect();
    out.table(&["NAME", "VERSION", "INSTALLED", "FOLDER"], &rows)
}

async fn install_one(
    config: &Config,
    runtime: &runtimes::Runtime,
    from: Option<PathBuf>,
    out: Output,
) -> anyhow::Result<()> {
    let place = config
        .runtimes
        .get(&runtime.name)
        .context("the runtime has no folder")?;
    let source = match from {
        Some(file) => Source::File(file),
        None if place.is_installed() => Source::File(PathBuf::new()),
        None => Source::Registry(install::registry(config.npm_registry.as_ref()).await?),
    };
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes} of {total_bytes}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(format!("{} {}", runtime.label, runtime.version));
    let done = install::install(runtime, &place.folder, &source, &mut |done, total| {
        bar.set_length(total.unwrap_or(done));
        bar.set_position(done);
    })
    .await;
    bar.finish_and_clear();
    let said = match done? {
        Installed::Fresh => "installed",
        Installed::Already => "is installed",
    };
    if out.json {
        return output::value(
            &serde_json::json!({ "name": runtime.name, "version": runtime.version, "folder": place.folder }),
        );
    }
    output::line(format!(
        "{} {} {said} in {}",
        runtime.label,
        place.version,
        place.folder.display()
    ))
}
