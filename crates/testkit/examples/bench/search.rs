//! The search for files that `@` begins, in a tree of 100,000, through the real server.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mistle_protocol::changes::FoundFiles;
use mistle_protocol::id::SessionId;
use mistle_protocol::session::SessionState;
use mistle_testkit::{TestServer, built};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use crate::browser;
use crate::figures::{Budget, Report};

const FILES: usize = 100_000;
/// What is typed, letter by letter. Its letters are in every path, in their order, until the number begins.
const SEARCH: &str = "srcfile77.rs";
/// How soon each letter has its answer, in milliseconds.
const AT_ONCE_MS: f64 = 50.0;
/// Starts of the sandbox, and changes of the tree, each followed by a search.
const ROUNDS: usize = 7;
/// Times that the search is typed.
const TYPED: usize = 5;
/// Between two letters of somebody who types fast.
const TYPED_EVERY: Duration = Duration::from_millis(50);
/// A file that was written is found after this at the latest. Far above what it takes.
const FOUND_WITHIN: Duration = Duration::from_secs(20);

/// Measures the first letter and those after it.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("large");
    let origin = source.clone();
    tokio::task::spawn_blocking(move || make(&origin)).await??;
    let session = server.api.new_session(&source.to_string_lossy(), "say: hello").await?;
    server.api.live(session.id, 0).await?.turn_end().await?;

    let mut cold = Vec::new();
    for _ in 0..ROUNDS {
        start_again(&server, session.id).await?;
        cold.push(find(&server, session.id, &SEARCH[..1]).await?);
    }
    let mut warm = Vec::new();
    for _ in 0..TYPED {
        for length in 1..=SEARCH.len() {
            warm.push(find(&server, session.id, &SEARCH[..length]).await?);
        }
    }
    let mut changed = Vec::new();
    for round in 0..ROUNDS {
        changed.push(change(&server, session.id, &format!("written{round}.rs")).await?);
    }
    let at_once = Some(AT_ONCE_MS);
    let what = format!("`@` in {FILES} files: first letter after the sandbox started");
    report.times(&what, at_once, &cold);
    report.times("`@`: a letter", at_once, &warm);
    report.times(
        "`@`: the slowest letter until a file that was just written is found",
        at_once,
        &changed,
    );
    in_the_page(report, &server, session.id).await
}

/// What the browser answers, in milliseconds.
#[derive(Deserialize)]
struct Letters {
    first: Vec<f64>,
    rest: Vec<f64>,
}

async fn in_the_page(report: &mut Report, server: &TestServer, id: SessionId) -> Result<()> {
    if let Some(why) = browser::missing() {
        report.note(format!("`@` in the page: not measured ({why})"));
        return Ok(());
    }
    start_again(server, id).await?;
    let job = json!({
        "job": "files",
        "login": server.login_link,
        "url": format!("{}/s/{id}", server.api.url()),
        "search": format!("@{SEARCH}"),
        "rounds": TYPED,
    });
    let letters: Letters = browser::measure(&job).await?;
    let at_once = Some(Budget::AtMost(AT_ONCE_MS));
    report.add("`@` → files painted, Chromium", "ms", at_once, &letters.first);
    report.add("`@`: a letter → files painted, Chromium", "ms", at_once, &letters.rest);
    Ok(())
}

/// A sandbox whose daemon knows nothing of its files.
async fn start_again(server: &TestServer, id: SessionId) -> Result<()> {
    for (verb, state) in [("stop", SessionState::Stopped), ("start", SessionState::Running)] {
        let after = server.api.session(id).await?.last_seq;
        server.api.act(id, verb).await?;
        server.api.live(id, after).await?.state(state).await?;
    }
    Ok(())
}

/// Writes a file and searches for it until it is found. Answers how long the slowest answer took.
async fn change(server: &TestServer, id: SessionId, name: &str) -> Result<Duration> {
    let status = Command::new(built(crate::PROFILE, "mistle"))
        .args([
            "session",
            "exec",
            &id.to_string(),
            "--",
            "touch",
            &format!("src/{name}"),
        ])
        .env("MISTLE_DATA_DIR", server.data_dir())
        .env("MISTLE_URL", server.api.url())
        .status()
        .await?;
    if !status.success() {
        bail!("{name} was not written");
    }
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < FOUND_WITHIN {
        let (took, found) = search(server, id, name).await?;
        slowest = slowest.max(took);
        if found.files.iter().any(|file| file.path.text.ends_with(name)) {
            return Ok(slowest);
        }
        tokio::time::sleep(TYPED_EVERY).await;
    }
    bail!("{name} is not found");
}

async fn search(server: &TestServer, id: SessionId, words: &str) -> Result<(Duration, FoundFiles)> {
    let began = Instant::now();
    let found = server.api.get(&format!("/sessions/{id}/files?q={words}")).await?;
    Ok((began.elapsed(), found))
}

/// How long the search takes, which has to find something.
async fn find(server: &TestServer, id: SessionId, words: &str) -> Result<Duration> {
    let (took, found) = search(server, id, words).await?;
    if found.files.is_empty() {
        bail!("nothing was found");
    }
    Ok(took)
}

fn make(top: &Path) -> Result<()> {
    for n in 0..FILES {
        let folder = top.join(format!("src/m{}/p{}", n / 500, (n / 20) % 25));
        if n % 20 == 0 {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(format!("file{n}.rs")), format!("// {n}\n"))?;
    }
    mistle_testkit::repository(top, &[])
}
