//! The real Codex against the scripted model. Its program is named by `MISTLE_CODEX`, or is where
//! the server keeps its runtimes in a source tree.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use mistle_scripted_model::{MODEL, Scenarios, serve};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn codex() -> PathBuf {
    let program = std::env::var_os("MISTLE_CODEX").map_or_else(
        || workspace().join("data/runtimes/codex/0.169.0/bin/codex"),
        PathBuf::from,
    );
    assert!(
        program.is_file(),
        "{} is missing: run `cargo xtask up` once or set MISTLE_CODEX",
        program.display()
    );
    program
}

/// A copy of the demo repository with a home folder for Codex beside it.
struct Project {
    folder: TempDir,
    base_url: String,
}

impl Project {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(
            &workspace().join("crates/server/demo-repository"),
            &folder.path().join("demo"),
        );
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, Scenarios::builtin()));
        Self { folder, base_url }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("demo")
    }

    /// Runs one turn and gives the events that Codex printed.
    async fn codex(&self, model: &str, arguments: &[&str]) -> Vec<Value> {
        let provider = format!(
            "model_providers.demo={{name='demo',base_url='{}',wire_api='responses',supports_websockets=false,request_max_retries=0,stream_max_retries=0}}",
            self.base_url
        );
        let output = Command::new(codex())
            .arg("exec")
            .args([
                "--json",
                "--skip-git-repo-check",
                "-s",
                "danger-full-access",
                "-m",
                model,
            ])
            .args([
                "-c",
                "model_provider=demo",
                "-c",
                &provider,
                "-c",
                "check_for_update_on_startup=false",
            ])
            .args(["-c", "analytics.enabled=false"])
            .args(arguments)
            .current_dir(self.repository())
            .env("HOME", self.folder.path().join("home"))
            .env("CODEX_HOME", self.folder.path().join("home"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let lines = String::from_utf8_lossy(&output.stdout);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no event: {line}")))
            .collect()
    }

    async fn tests_pass(&self) -> bool {
        let status = Command::new("node")
            .arg("--test")
            .current_dir(self.repository())
            .stdout(Stdio::null())
            .status()
            .await
            .unwrap();
        status.success()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The kinds of the completed items, in order.
fn items(events: &[Value]) -> Vec<&str> {
    let completed = events.iter().filter(|event| event["type"] == "item.completed");
    completed.map(|event| event["item"]["type"].as_str().unwrap()).collect()
}

fn last_message(events: &[Value]) -> &str {
    let mut messages = events.iter().filter(|event| event["item"]["type"] == "agent_message");
    messages
        .next_back()
        .map(|event| event["item"]["text"].as_str().unwrap())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_fixes_the_demo_repository() {
    let project = Project::new().await;
    assert!(!project.tests_pass().await, "the demo repository has a failing test");
    let events = project.codex(MODEL, &["Please fix the failing test"]).await;
    assert!(project.tests_pass().await, "{events:#?}");
    assert!(
        last_message(&events).starts_with("All five tests pass now."),
        "{events:#?}"
    );
    let visible: Vec<&str> = items(&events).into_iter().filter(|kind| *kind != "reasoning").collect();
    assert_eq!(
        visible,
        [
            "agent_message",
            "command_execution",
            "agent_message",
            "command_execution",
            "agent_message",
            "command_execution",
            "agent_message",
            "file_change",
            "agent_message",
            "command_execution",
            "agent_message"
        ]
    );
    assert_eq!(events.last().unwrap()["type"], "turn.completed");

    let again = project.codex(MODEL, &["fix the failing test"]).await;
    assert!(last_message(&again).starts_with("All tests pass already"), "{again:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_code_mode_fixes_it_too() {
    let project = Project::new().await;
    let events = project.codex("gpt-6.1-sol", &["fix the failing test"]).await;
    assert!(project.tests_pass().await, "{events:#?}");
    assert!(
        last_message(&events).starts_with("All five tests pass now."),
        "{events:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_an_editing_tool_fixes_it_too() {
    let project = Project::new().await;
    let events = project.codex("demo", &["fix the failing test"]).await;
    assert!(project.tests_pass().await, "{events:#?}");
    assert!(
        last_message(&events).starts_with("All five tests pass now."),
        "{events:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_created_changed_and_appended_to() {
    let project = Project::new().await;
    project.codex(MODEL, &["create notes/a.txt: first line"]).await;
    project
        .codex(MODEL, &["edit notes/a.txt: first line => one line"])
        .await;
    let events = project.codex(MODEL, &["edit notes/a.txt"]).await;
    let text = std::fs::read_to_string(project.repository().join("notes/a.txt"));
    assert_eq!(
        text.ok().as_deref(),
        Some("one line\nThe demo model was here.\n"),
        "{events:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_thread_remembers() {
    let project = Project::new().await;
    project.codex(MODEL, &["remember the number 4711"]).await;
    let events = project
        .codex(MODEL, &["resume", "--last", "what did I ask you to remember?"])
        .await;
    assert_eq!(last_message(&events), "You asked me to remember: the number 4711");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_long_is_waited_for() {
    let project = Project::new().await;
    let events = project.codex(MODEL, &["run: sleep 11; echo awake"]).await;
    assert!(last_message(&events).contains("awake"), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_reach_the_person() {
    let project = Project::new().await;
    for (message, expected) in [
        ("fail 401", "401"),
        ("fail 404: gone fishing", "gone fishing"),
        ("fail context", "context window"),
        ("cut", "disconnected"),
    ] {
        let events = project.codex(MODEL, &[message]).await;
        let last = events.last().unwrap();
        assert_eq!(last["type"], "turn.failed", "{message}: {events:#?}");
        assert!(
            last["error"]["message"].as_str().unwrap().contains(expected),
            "{message}: {last}"
        );
    }
}
