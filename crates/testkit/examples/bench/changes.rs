//! The list of changes beside `git diff` itself, through the real server, on a repository of
//! 50,000 files of which 2,000 are changed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use mistle_protocol::changes::ChangesLine;
use mistle_protocol::id::SessionId;
use mistle_testkit::{TestServer, built};
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command;

use crate::browser;
use crate::figures::{Budget, Report};

const FILES: usize = 50_000;
const CHANGED: usize = 2_000;
const LINES: usize = 40;
const ROUNDS: usize = 15;
/// Changes each file of the session that is listed, and adds some that git does not know.
const CHANGE: &str = r"git ls-files | awk 'NR % STEP == 1' | xargs sed -i 's/_3()/_changed()/; s/_20()/_x() {}\nfn y()/'
for n in $(seq 100); do seq 50 > src/untracked$n.rs; done; git status --porcelain | wc -l";
/// Prints how long git takes, in nanoseconds.
const GIT_DIFF: &str = "s=$(date +%s%N); git diff HEAD > /dev/null; echo $(($(date +%s%N) - s))";

/// Measures the first file and the whole list, in turns with git.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("large");
    let origin = source.clone();
    tokio::task::spawn_blocking(move || make(&origin)).await??;
    let session = server.api.new_session(&source.to_string_lossy(), "say: hello").await?;
    server.api.live(session.id, 0).await?.turn_end().await?;
    let changed = shell(
        &server,
        session.id,
        &CHANGE.replace("STEP", &(FILES / CHANGED).to_string()),
    )
    .await?;
    if changed.trim().parse::<usize>().unwrap_or_default() < CHANGED {
        bail!("only {changed} files were changed");
    }

    // The first one also sees files whose times are as new as the index.
    list(&server, session.id).await?;
    let (mut firsts, mut wholes, mut diffs, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let nanos: u64 = shell(&server, session.id, GIT_DIFF).await?.trim().parse()?;
        let diff = Duration::from_nanos(nanos);
        let (first, whole) = list(&server, session.id).await?;
        ratios.push(whole.as_secs_f64() / diff.as_secs_f64());
        firsts.push(first);
        wholes.push(whole);
        diffs.push(diff);
    }
    report.times("changes (2,000 of 50,000 files): API → first file", None, &firsts);
    report.times("changes: API → whole answer", None, &wholes);
    report.times("peer: `git diff HEAD` in the same sandbox", None, &diffs);
    report.add(
        "changes: whole answer ÷ `git diff`",
        "×",
        Some(Budget::AtMost(1.3)),
        &ratios,
    );
    painted(report, &server, session.id).await
}

/// What the browser answers, in milliseconds.
#[derive(Deserialize)]
struct Paints {
    paints: Vec<f64>,
    listed: Vec<f64>,
}

async fn painted(report: &mut Report, server: &TestServer, id: SessionId) -> Result<()> {
    let what = "changes: click → first file and its lines painted, Chromium";
    if let Some(why) = browser::missing() {
        report.note(format!("{what}: not measured ({why})"));
        return Ok(());
    }
    let job = json!({
        "job": "changes",
        "login": server.login_link,
        "url": format!("{}/s/{id}", server.api.url()),
        "rounds": ROUNDS,
    });
    let measured: Paints = browser::measure(&job).await?;
    let most = Some(Budget::AtMost(300.0));
    report.add(what, "ms", most, &measured.paints);
    let what = "changes: the page asks for the list → first file and its lines painted";
    report.add(what, "ms", most, &measured.listed);
    Ok(())
}

/// When the first file came, and when everything was there.
async fn list(server: &TestServer, id: SessionId) -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    let response = server
        .api
        .stream(&format!("/sessions/{id}/changes?scope=uncommitted"))
        .await?;
    let mut body = response.bytes_stream();
    let (mut text, mut first) = (Vec::new(), None);
    while let Some(bytes) = body.next().await {
        text.extend_from_slice(&bytes?);
        // The head is the first line, files begin in the second.
        if first.is_none() && text.splitn(3, |byte| *byte == b'\n').count() == 3 {
            first = Some(begin.elapsed());
        }
    }
    let whole = begin.elapsed();
    let mut files = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line)? {
            ChangesLine::Files { files: some } => files += some.len(),
            ChangesLine::Failed { problem } => bail!("{problem:?}"),
            _ => {}
        }
    }
    if files < CHANGED {
        bail!("only {files} files in the answer");
    }
    Ok((first.context("a file")?, whole))
}

/// Runs a command in the session's folder, by the command line; answers its output.
async fn shell(server: &TestServer, id: SessionId, command: &str) -> Result<String> {
    let output = Command::new(built(crate::PROFILE, "mistle"))
        .args(["session", "exec", &id.to_string(), "--", "sh", "-c", command])
        .env("MISTLE_DATA_DIR", server.data_dir())
        .env("MISTLE_URL", server.api.url())
        .output()
        .await?;
    if !output.status.success() {
        bail!("{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn make(top: &Path) -> Result<()> {
    let mut content = String::new();
    for n in 0..FILES {
        use std::fmt::Write as _;
        let folder = top.join(format!("src/m{}/p{}", n / 500, (n / 20) % 25));
        if n % 20 == 0 {
            fs::create_dir_all(&folder)?;
        }
        content.clear();
        for line in 0..LINES {
            let _ = writeln!(content, "fn f{n}_{line}() -> u32 {{ {} }}", n * line);
        }
        fs::write(folder.join(format!("file{n}.rs")), &content)?;
    }
    mistle_testkit::repository(top, &[])
}
