//! Whoever reads a sandbox's whole disk and memory learns no secret, and neither does whoever reads
//! what the server keeps of a session.

use std::fs::{self, File};
use std::io::BufRead as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mistle_protocol::agent::TurnOutcome;
use mistle_protocol::id::SessionId;
use mistle_testkit::{TestServer, sandbox_processes};

use crate::provider::{KEY, Provider};

/// What the server keeps for itself: files that hold a secret because they are its place.
const PLACES: [&str; 2] = ["cli-token", "preview-key"];
/// How much of a process' memory is read at once.
const CHUNK: usize = 1 << 20;

/// A secret and what it is called.
struct Secret(&'static str, Vec<u8>);

/// Everything that nobody but the server may know.
fn secrets(server: &TestServer) -> Result<Vec<Secret>> {
    let read = |name| fs::read_to_string(server.data_dir().join(name)).map(|text| text.trim().as_bytes().to_vec());
    let (_, code) = server.login_link.split_once("code=").context("the link has a code")?;
    let secrets = vec![
        Secret("the provider's key", KEY.as_bytes().to_vec()),
        Secret("the operator's token", read("cli-token")?),
        Secret("the key of previews", read("preview-key")?),
        Secret("the code of the login link", code.as_bytes().to_vec()),
    ];
    assert!(secrets.iter().all(|Secret(_, value)| value.len() > 16));
    Ok(secrets)
}

/// The search of the standard library for one byte is quick in a debug build too.
fn contains(mut haystack: &[u8], needle: &[u8]) -> bool {
    while haystack.skip_until(needle[0]).is_ok_and(|skipped| skipped > 0) {
        if haystack.starts_with(&needle[1..]) {
            return true;
        }
    }
    false
}

/// Where secrets were found, and how much was looked at.
#[derive(Default)]
struct Search {
    secrets: Vec<Secret>,
    found: Vec<String>,
    bytes: usize,
}

impl Search {
    fn look(&mut self, place: impl FnOnce() -> String, content: &[u8]) {
        self.bytes += content.len();
        let hits: Vec<_> = self
            .secrets
            .iter()
            .filter(|Secret(_, value)| contains(content, value))
            .collect();
        if !hits.is_empty() {
            let place = place();
            self.found
                .extend(hits.iter().map(|Secret(name, _)| format!("{name} is in {place}")));
        }
    }

    /// Every file of a folder, and every name.
    fn folder(&mut self, folder: &Path, skip: &[PathBuf]) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            self.look(
                || format!("the name of {}", path.display()),
                path.as_os_str().as_encoded_bytes(),
            );
            if kind.is_dir() {
                self.folder(&path, skip);
            } else if kind.is_file() && !skip.contains(&path) {
                let content = fs::read(&path).unwrap_or_default();
                self.look(|| path.display().to_string(), &content);
            }
        }
    }

    /// What every process of a sandbox was started with, and its memory.
    fn processes(&mut self, id: SessionId) {
        for pid in sandbox_processes(id) {
            for file in ["environ", "cmdline"] {
                let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                self.look(|| format!("the {file} of a process"), &content);
            }
            self.memory(pid);
        }
    }

    fn memory(&mut self, pid: u32) {
        let (Ok(maps), Ok(memory)) = (
            fs::read_to_string(format!("/proc/{pid}/maps")),
            File::open(format!("/proc/{pid}/mem")),
        ) else {
            return; // It has ended.
        };
        for map in maps.lines() {
            let Some((begin, end)) = to_search(map) else { continue };
            // Neighbouring pieces overlap, so that nothing hides on the border.
            let mut buffer = vec![0; CHUNK + 128];
            for offset in (begin..end).step_by(CHUNK) {
                let length = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
                if let Ok(read) = memory.read_at(&mut buffer[..length], offset) {
                    self.look(|| "the memory of a process".to_owned(), &buffer[..read]);
                }
            }
        }
    }
}

/// Where a mapping begins and ends, if it can hold anything of its own: what is mapped from a file and
/// can't be written is what is in the file.
fn to_search(map: &str) -> Option<(u64, u64)> {
    let mut fields = map.split_whitespace();
    let (begin, end) = fields.next()?.split_once('-')?;
    let (mode, inode) = (fields.next()?, fields.nth(2)?);
    let searched = mode.starts_with('r') && (mode.contains('w') || inode == "0") && !map.ends_with("[vvar]");
    let number = |text| u64::from_str_radix(text, 16).ok();
    searched.then_some((number(begin)?, number(end)?))
}

/// What the API says of a session, and its refusals.
async fn answers(server: &TestServer, id: SessionId) -> Result<Vec<u8>> {
    let mut all = serde_json::to_vec(&server.api.events(id).await?)?;
    let unknown = SessionId::new();
    for path in [
        "/sessions".to_owned(),
        format!("/sessions/{id}"),
        format!("/sessions/{id}/messages"),
        format!("/sessions/{id}/egress?limit=200"),
        format!("/sessions/{unknown}"),
        "/profiles".to_owned(),
        "/tokens".to_owned(),
        "/me".to_owned(),
    ] {
        let answer: Result<serde_json::Value> = server.api.get(&path).await;
        match answer {
            Ok(answer) => all.extend(serde_json::to_vec(&answer)?),
            Err(refused) => all.extend(format!("{refused:?}").into_bytes()),
        }
    }
    Ok(all)
}

/// Looks everywhere.
async fn search(server: &TestServer, id: SessionId) -> Result<Search> {
    let mut search = Search {
        secrets: secrets(server)?,
        ..Search::default()
    };
    let skip = PLACES.map(|name| server.data_dir().join(name));
    // The disks, the layers, the database, the log and whatever else is there.
    search.folder(server.data_dir(), &skip);
    search.processes(id);
    search.look(|| "an answer of the API".to_owned(), &answers(server, id).await?);
    search.found.sort();
    search.found.dedup();
    Ok(search)
}

#[tokio::test]
async fn nothing_near_a_sandbox_holds_a_secret() -> Result<()> {
    let provider = Provider::start(KEY).await?;
    let server = TestServer::start(provider.setup("")?).await?;
    let session = server
        .api
        .new_session("", "run: env; cat /proc/*/environ | tr '\\0' '\\n'")
        .await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert!(provider.admitted() > 0, "the key was used");

    let before = search(&server, session.id).await?;
    assert_eq!(before.found, [""; 0]);

    // Planted, it is found: the search above looked where it should.
    let plant = format!(
        "echo {KEY} > /root/planted; PLANTED={KEY} setsid perl -e '$kept = reverse(\"{}\"); delete $ENV{{PLANTED}}; \
         open(F, \">/tmp/planted\"); close F; sleep 1000' > /dev/null 2>&1 < /dev/null & \
         until [ -e /tmp/planted ]; do :; done",
        KEY.chars().rev().collect::<String>()
    );
    assert_eq!(server.api.shell(session.id, &plant).await?.code, 0);
    let after = search(&server, session.id).await?;
    let disk = server
        .data_dir()
        .join("embedded/sandboxes")
        .join(session.id.to_string());
    for place in [
        format!("{}/disk/root/root/planted", disk.display()),
        "the environ of a process".to_owned(),
        "the memory of a process".to_owned(),
    ] {
        let expected = format!("the provider's key is in {place}");
        assert!(after.found.contains(&expected), "{expected}: {:?}", after.found);
    }
    assert!(before.bytes > 16 << 20, "{} bytes were looked at", before.bytes);
    Ok(())
}

#[tokio::test]
async fn a_refused_key_is_said_and_not_shown() -> Result<()> {
    let provider = Provider::start("sk-proj-another-key-that-is-the-right-one").await?;
    let server = TestServer::start(provider.setup("[log]\nlevel = \"debug\"")?).await?;
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    let TurnOutcome::Failed { code, message } = live.turn_end().await? else {
        anyhow::bail!("the turn did not fail");
    };
    assert_eq!(code, "model_unauthorized", "{message}");
    assert!(message.contains("Incorrect API key provided: "), "{message}");
    assert!(
        message.contains("Check the provider's key in the server's configuration"),
        "{message}"
    );
    assert_eq!(provider.admitted(), 0);
    assert_eq!(search(&server, session.id).await?.found, [""; 0]);
    let log = fs::read_to_string(server.data_dir().join("test-server.log"))?;
    assert!(log.contains("a model answers"), "the log was written in detail");
    Ok(())
}
