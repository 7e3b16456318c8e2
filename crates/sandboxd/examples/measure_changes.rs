//! Measures the list of changes beside `git diff` itself, on a repository of 50,000 files of which
//! 2,000 are changed.
//!
//! `cargo run --release -p mistle-sandboxd --example measure_changes [FILES CHANGED]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it prints what it measures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use futures::StreamExt as _;
use http::Request;
use mistle_sandboxd::agent::Agent;
use mistle_sandboxd::environment::Surroundings;
use mistle_sandboxd::git;
use tower::ServiceExt as _;

const ROUNDS: usize = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>().unwrap());
    let (files, changed) = (numbers.next().unwrap_or(50_000), numbers.next().unwrap_or(2_000));
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("tree");
    make(&top, files, changed);
    let environment = BTreeMap::from(["PATH", "HOME"].map(|name| (name.to_owned(), std::env::var(name).unwrap())));
    let agent = Agent::open(&folder.path().join("state"), environment.clone())
        .await
        .unwrap();
    let repositories = agent.git();
    let router = git::routes(repositories.clone(), Surroundings::new(environment, agent));
    let cwd = format!("cwd={}", top.display());

    let cold = Instant::now();
    let first = changes(&router, &cwd).await;
    println!(
        "first time:       first file {:>7.1?}  whole {:>7.1?}  ({} bytes)",
        first.0,
        cold.elapsed(),
        first.2
    );
    let (mut paints, mut wholes, mut diffs, mut statuses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        diffs.push(run(&top, &["diff", "HEAD"]));
        statuses.push(run(&top, &["status", "--porcelain"]));
        let (paint, whole, _) = changes(&router, &cwd).await;
        paints.push(paint);
        wholes.push(whole);
    }
    let (paint, whole, diff) = (median(paints), median(wholes), median(diffs));
    println!("median of {ROUNDS}:      first file {paint:>7.1?}  whole {whole:>7.1?}");
    println!(
        "git diff HEAD:    {diff:>7.1?}   git status: {:>7.1?}",
        median(statuses)
    );
    println!("whole / git diff: {:.2}", whole.as_secs_f64() / diff.as_secs_f64());

    let mut singles = Vec::new();
    for n in 0..ROUNDS {
        singles.push(
            get(
                &router,
                &format!("/git/diff?{cwd}&path={}", name(n * (files / changed))),
            )
            .await
            .1,
        );
    }
    println!("diff of a file:   {:>7.1?}", median(singles));
    let mut snapshots = Vec::new();
    for _ in 0..3 {
        let begin = Instant::now();
        repositories.snapshot(&top).await;
        snapshots.push(begin.elapsed());
    }
    println!("snapshot:         {:>7.1?}", median(snapshots));
    let mut searches = Vec::new();
    for search in ["file1", "m3p7", "rs", "file49999", "nothing", "f4 rs", "src"] {
        searches.push(
            get(&router, &format!("/files/search?{cwd}&q={}", search.replace(' ', "+")))
                .await
                .1,
        );
    }
    println!(
        "search:           {:>7.1?}  first {:>7.1?}",
        median(searches.clone()),
        searches[0]
    );
}

fn name(n: usize) -> String {
    format!("src/m{}/p{}/file{n}.rs", n / 500, (n / 20) % 25)
}

fn make(top: &Path, files: usize, changed: usize) {
    std::fs::create_dir_all(top).unwrap();
    run(top, &["init", "-q", "-b", "main", "."]);
    let content = |n: usize| {
        (0..40).fold(String::new(), |text, line| {
            text + &format!("fn f{n}_{line}() -> u32 {{ {} }}\n", n * line)
        })
    };
    for n in 0..files {
        let path = top.join(name(n));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content(n)).unwrap();
    }
    run(top, &["add", "-A"]);
    run(
        top,
        &[
            "-c",
            "user.name=T",
            "-c",
            "user.email=t@t",
            "commit",
            "-q",
            "-m",
            "base",
        ],
    );
    for n in (0..files).step_by((files / changed).max(1)) {
        let text = content(n)
            .replace("_3()", "_changed()")
            .replacen("_20()", "_x() {}\nfn y()", 1);
        std::fs::write(top.join(name(n)), text).unwrap();
    }
    for n in 0..100 {
        std::fs::write(top.join(format!("src/untracked{n}.rs")), "hello\n".repeat(50)).unwrap();
    }
    run(top, &["update-index", "-q", "--refresh"]);
}

/// Runs git with its whole output read; answers how long that took.
fn run(top: &Path, arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    Command::new("git")
        .args(arguments)
        .current_dir(top)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    begin.elapsed()
}

/// When the first file came, when everything was there, and how many bytes that is.
async fn changes(router: &Router, cwd: &str) -> (Duration, Duration, usize) {
    get(router, &format!("/git/changes?{cwd}&scope=uncommitted")).await
}

async fn get(router: &Router, path: &str) -> (Duration, Duration, usize) {
    let begin = Instant::now();
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success(), "{path}: {}", response.status());
    let mut body = response.into_body().into_data_stream();
    let (mut first, mut length, mut pieces) = (None, 0, 0);
    while let Some(bytes) = body.next().await {
        length += bytes.unwrap().len();
        pieces += 1;
        // The head is the first piece, files begin in the second.
        if pieces == 2 {
            first = Some(begin.elapsed());
        }
    }
    (first.unwrap_or_else(|| begin.elapsed()), begin.elapsed(), length)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
