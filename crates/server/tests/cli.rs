//! The program itself: serving, the command line on the same machine, and clear errors.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test's own preparation fails the test"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn mistle(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mistle"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("MISTLE_DATA_DIR", data);
    command
}

fn run(data: &Path, arguments: &[&str]) -> Output {
    mistle(data).args(arguments).output().unwrap()
}

fn json(data: &Path, arguments: &[&str]) -> Value {
    let output = run(data, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

struct Server {
    child: Child,
    started: Value,
    data: TempDir,
}

impl Server {
    fn start() -> Self {
        let data = tempfile::Builder::new().prefix("mst").tempdir().unwrap();
        let mut child = mistle(data.path())
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            started: serde_json::from_str(&line).unwrap(),
            child,
            data,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_command_line_works_at_once_and_signal_15_ends_the_server_in_order() {
    let mut server = Server::start();
    let data = server.data.path();
    assert!(server.started["login_link"].as_str().unwrap().contains("/login?code="));

    let profiles = json(data, &["profile", "list"]);
    assert_eq!(profiles[0]["profile"]["name"], "default");
    assert_eq!(json(data, &["session", "list"]), Value::Array(Vec::new()));

    // Another machine has only the address and a token.
    let token = json(data, &["token", "create", "elsewhere"]);
    let elsewhere = mistle(Path::new("/nonexistent"))
        .args(["--json", "token", "list"])
        .env("MISTLE_URL", server.started["url"].as_str().unwrap())
        .env("MISTLE_TOKEN", token["secret"].as_str().unwrap())
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&elsewhere.stdout).unwrap();
    assert_eq!(listed[0]["name"], "elsewhere");
    let id = token["token"]["id"].as_str().unwrap();
    assert!(run(data, &["token", "revoke", id]).status.success());
    assert_eq!(json(data, &["token", "list"]).as_array().unwrap().len(), 1);

    let unknown = run(data, &["session", "show", "ses_00000000000000000000000000000000"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(said(&unknown), "mistle: There is no such session.\n");

    // A link from another process opens the running server.
    let link = json(data, &["login-link"])["login_link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(server.started["url"].as_str().unwrap()), "{link}");

    Command::new("kill")
        .args(["-TERM", &server.child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let gone = run(data, &["session", "list"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(said(&gone).contains("start it with `mistle serve`"), "{}", said(&gone));
    assert!(
        json(data, &["login-link"])["login_link"].is_string(),
        "a stopped server's link can be printed"
    );
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let data = tempfile::Builder::new().prefix("mst").tempdir().unwrap();
    let file = data.path().join("mistle.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\nlisten_on = 1\n").unwrap();
    let wrong = run(data.path(), &["serve"]);
    assert_eq!(wrong.status.code(), Some(1));
    let expected = format!("mistle: {}:2: `listen_on`: unknown field `listen_on`", file.display());
    assert!(said(&wrong).starts_with(&expected), "{}", said(&wrong));

    let server = Server::start();
    let second = run(server.data.path(), &["serve"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        said(&second).contains("another server uses the data directory"),
        "{}",
        said(&second)
    );

    let address = server.started["address"].as_str().unwrap();
    std::fs::remove_file(&file).unwrap();
    let taken = run(data.path(), &["serve", "--listen", address]);
    assert!(
        said(&taken).contains(&format!("{address} is in use")),
        "{}",
        said(&taken)
    );
}

#[test]
fn the_doctor_says_what_is_missing_and_hides_keys() {
    let data = tempfile::Builder::new().prefix("mst").tempdir().unwrap();
    let text = "[providers.real]\nkind = \"openai\"\napi_key = \"sk-secret\"\n";
    std::fs::write(data.path().join("mistle.toml"), text).unwrap();
    let output = run(data.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(1), "the runtime is missing");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("FAIL  runtime codex") && text.contains("Run `mistle runtime install codex`."),
        "{text}"
    );
    assert!(
        text.contains("api_key = \"(set, hidden)\"") && !text.contains("sk-secret"),
        "{text}"
    );
    let report: Value = serde_json::from_slice(&run(data.path(), &["--json", "doctor"]).stdout).unwrap();
    assert_eq!(report["isolation"]["driver"], "embedded");
}

#[test]
fn another_archive_is_not_installed() {
    let data = tempfile::Builder::new().prefix("mst").tempdir().unwrap();
    let archive = data.path().join("codex.tgz");
    std::fs::write(&archive, "not the pinned one").unwrap();
    let output = run(
        data.path(),
        &["runtime", "install", "codex", "--from", archive.to_str().unwrap()],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("nothing was unpacked"), "{}", said(&output));
    assert_eq!(json(data.path(), &["runtime", "list"])[0]["installed"], false);
}
