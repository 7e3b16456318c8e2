//! A repository in a folder of its own, and the daemon's API on it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use mistle_protocol::changes::{
    ChangedFile, ChangesHead, ChangesLine, ChangesTotals, Discard, Discarded, FileDiff, HunkRange, LineKind, Restore,
    Scope,
};
use mistle_protocol::problem::Problem;
use mistle_sandboxd::agent::Agent;
use mistle_sandboxd::environment::Surroundings;
use mistle_sandboxd::git::{self, Repositories};
use tempfile::TempDir;
use tower::ServiceExt as _;

pub(crate) struct World {
    folder: TempDir,
    /// Where the tree is, when it is not in the folder.
    _elsewhere: Option<TempDir>,
    pub(crate) top: PathBuf,
    repositories: Repositories,
    router: Router,
}

/// The whole list.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) head: ChangesHead,
    pub(crate) files: Vec<ChangedFile>,
    pub(crate) totals: ChangesTotals,
}

impl List {
    /// Status, paths and counts of each file, in a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.files.iter().map(line).collect()
    }

    pub(crate) fn file(&self, path: &str) -> &ChangedFile {
        self.files
            .iter()
            .find(|file| file.path.text == path)
            .unwrap_or_else(|| panic!("{path} in {:#?}", self.lines()))
    }
}

fn line(file: &ChangedFile) -> String {
    let old = file
        .old_path
        .as_ref()
        .map(|old| format!("{} → ", old.text))
        .unwrap_or_default();
    let count = |count: Option<u64>| count.map_or("?".to_owned(), |count| count.to_string());
    format!(
        "{:?} {old}{} +{} -{}",
        file.status,
        file.path.text,
        count(file.added),
        count(file.removed)
    )
}

impl World {
    /// An empty folder.
    pub(crate) async fn bare() -> Self {
        Self::watching(None).await
    }

    /// An empty folder, of whose tree the kernel watches at most so many folders.
    pub(crate) async fn watching(most: Option<usize>) -> Self {
        Self::at(None, most).await
    }

    async fn at(elsewhere: Option<TempDir>, most: Option<usize>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let top = elsewhere.as_ref().unwrap_or(&folder).path().join("tree");
        std::fs::create_dir(&top).unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let environment = BTreeMap::from([
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("HOME".to_owned(), home.to_str().unwrap().to_owned()),
        ]);
        let agent = Agent::open(&folder.path().join("state"), environment.clone())
            .await
            .unwrap();
        let repositories = match most {
            Some(most) => Repositories::watching(&folder.path().join("state"), &environment, most),
            None => agent.git(),
        };
        let router = git::routes(repositories.clone(), Surroundings::new(environment, agent));
        Self {
            folder,
            _elsewhere: elsewhere,
            top,
            repositories,
            router,
        }
    }

    /// A repository with a commit of `a.txt` (ten lines) and `b.txt` on `main`.
    pub(crate) async fn new() -> Self {
        Self::bare().await.with_commit()
    }

    /// The same on another file system than the daemon's folder.
    pub(crate) async fn in_memory() -> Self {
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        Self::at(Some(elsewhere), None).await.with_commit()
    }

    fn with_commit(self) -> Self {
        self.git(&["init", "-q", "-b", "main", "."]);
        self.write(
            "a.txt",
            (1..=10).fold(String::new(), |text, n| text + "line " + &n.to_string() + "\n"),
        );
        self.write("b.txt", "b\n");
        self.commit("base");
        self
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.top.join(path)
    }

    /// A folder beside the repository.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.write_bytes(path.as_bytes(), content);
    }

    pub(crate) fn write_bytes(&self, path: &[u8], content: impl AsRef<[u8]>) {
        let path = self.top.join(OsStr::from_bytes(path));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8(std::fs::read(self.path(path)).unwrap()).unwrap()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.top, arguments)
    }

    pub(crate) fn git_in(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.try_git(folder, arguments);
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn try_git(&self, folder: &Path, arguments: &[&str]) -> std::process::Output {
        Command::new("git")
            .args([
                "-c",
                "user.name=T",
                "-c",
                "user.email=t@t",
                "-c",
                "protocol.file.allow=always",
                "-c",
                "commit.gpgSign=false",
            ])
            .args(arguments)
            .current_dir(folder)
            .env("HOME", self.folder.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
    }

    pub(crate) async fn snapshot(&self) {
        self.repositories.snapshot(&self.top).await;
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<String>) -> Response<Body> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let uri = format!("{path}{separator}cwd={}", self.top.to_str().unwrap());
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(body.map_or_else(Body::empty, Body::from))
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Bytes {
        let response = self.send("GET", path, None).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&bytes));
        bytes
    }

    pub(crate) async fn list(&self, scope: Scope) -> List {
        self.list_with(&format!("scope={}", scope.name())).await
    }

    pub(crate) async fn list_with(&self, query: &str) -> List {
        let text = self.get(&format!("/git/changes?{query}")).await;
        let (mut head, mut files, mut totals) = (None, Vec::new(), None);
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line).unwrap() {
                ChangesLine::Head { head: first } => head = Some(first),
                ChangesLine::Files { files: more } => files.extend(more),
                ChangesLine::End { totals: last } => totals = Some(last),
                ChangesLine::Failed { problem } => panic!("{problem:?}"),
            }
        }
        List {
            head: head.unwrap(),
            files,
            totals: totals.expect("an end"),
        }
    }

    pub(crate) async fn diff(&self, query: &str) -> FileDiff {
        serde_json::from_slice(&self.get(&format!("/git/diff?{query}")).await).unwrap()
    }

    pub(crate) async fn discard(&self, path: &str, scope: Scope, hunk: Option<HunkRange>) -> Result<String, Problem> {
        let fingerprint = self.list(scope).await.file(path).fingerprint.clone();
        let path = mistle_protocol::changes::RepoPath::from_bytes(path.as_bytes());
        self.discard_as(&Discard {
            path,
            scope,
            hunk,
            fingerprint,
        })
        .await
    }

    pub(crate) async fn discard_as(&self, discard: &Discard) -> Result<String, Problem> {
        let body = serde_json::to_string(discard).unwrap();
        let response = self.send("POST", "/git/discard", Some(body)).await;
        let good = response.status().is_success();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        if good {
            Ok(serde_json::from_slice::<Discarded>(&bytes).unwrap().undo)
        } else {
            Err(serde_json::from_slice(&bytes).unwrap())
        }
    }

    pub(crate) async fn restore(&self, undo: &str) -> StatusCode {
        let body = serde_json::to_string(&Restore { undo: undo.to_owned() }).unwrap();
        self.send("POST", "/git/restore", Some(body)).await.status()
    }
}

/// A diff as a person knows it.
pub(crate) fn shown(diff: &FileDiff) -> String {
    let mut text = String::new();
    for hunk in &diff.hunks {
        let r = hunk.range;
        writeln!(
            text,
            "@@ {},{} {},{}",
            r.old_start, r.old_lines, r.new_start, r.new_lines
        )
        .unwrap();
        for line in &hunk.lines {
            let mark = match line.kind {
                LineKind::Context => ' ',
                LineKind::Added => '+',
                LineKind::Removed => '-',
            };
            let number = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
            writeln!(
                text,
                "{:>3} {:>3} {mark}{}{}",
                number(line.old_no),
                number(line.new_no),
                line.text,
                if line.no_newline { "⏎" } else { "" }
            )
            .unwrap();
        }
    }
    text
}
