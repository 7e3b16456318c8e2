//! Files that people give to agents, end to end: the real server in a process of its own, a real
//! sandbox, the real Codex, and the scripted model.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use mistle_protocol::agent::{AgentEvent, ItemBody, TurnOutcome};
use mistle_protocol::api::{NewMessage, NewSession};
use mistle_protocol::id::{AttachmentId, SessionId};
use mistle_protocol::session::{Attachment, Delivery, EventBody, QueuedMessage, Session, SessionState};
use mistle_testkit::{Api, Live, Refused, Setup, TestServer, event, eventually, sandbox_processes};
use reqwest::{Method, header};

const MIB: usize = 1024 * 1024;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9cc\xf8\xcf\xc0\0\0\x03\x01\x01\0\xc9\xfe\x92\xef\0\0\0\0IEND\xaeB`\x82";

async fn server(limits: &str) -> Result<TestServer> {
    let mut setup = Setup::policy("autonomous");
    setup.config.push_str(limits);
    TestServer::start(setup).await
}

fn problem(error: &anyhow::Error) -> (u16, String, Option<String>) {
    let Refused(problem) = error.downcast_ref().unwrap_or_else(|| panic!("{error:?}"));
    (problem.status, problem.kind.clone(), problem.pointer.clone())
}

/// So many bytes, piece by piece: their number is not announced.
fn body(bytes: u64) -> reqwest::Body {
    const PIECE: u64 = 1024 * 1024;
    let pieces = (0..bytes.div_ceil(PIECE)).map(move |number| {
        let length = PIECE.min(bytes - number * PIECE);
        let pattern = u8::try_from(number % 251).unwrap_or_default();
        Ok::<_, Infallible>(Bytes::from(vec![pattern; length as usize]))
    });
    reqwest::Body::wrap_stream(futures::stream::iter(pieces))
}

async fn new_session(api: &Api, task: &str, attachments: &[&Attachment]) -> Result<Session> {
    let new = NewSession {
        task: task.to_owned(),
        attachments: attachments.iter().map(|attachment| attachment.id).collect(),
        ..NewSession::default()
    };
    api.post("/sessions", &new).await
}

async fn send(api: &Api, id: SessionId, text: &str, attachments: &[AttachmentId]) -> Result<QueuedMessage> {
    let new = NewMessage {
        text: text.to_owned(),
        delivery: Delivery::Queue,
        attachments: attachments.to_vec(),
        ..NewMessage::default()
    };
    api.post(&format!("/sessions/{id}/messages"), &new).await
}

/// What was said, with the names of the files that went with it.
async fn said(api: &Api, id: SessionId) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for event in api.events(id).await? {
        let EventBody::Agent(AgentEvent::ItemCompleted { item }) = event.event else {
            continue;
        };
        match item.body {
            ItemBody::UserMessage { text, attachments, .. } => {
                let names: Vec<String> = attachments.into_iter().map(|attachment| attachment.name).collect();
                said.push(format!("person: {text} {names:?}"));
            }
            ItemBody::AgentMessage { text } => said.push(format!("agent: {text}")),
            _ => {}
        }
    }
    Ok(said)
}

/// How far a reader came.
fn last_seq(live: &Live) -> u64 {
    let seqs = live.seen.iter().filter_map(event).map(|event| event.seq);
    seqs.max().unwrap_or(0)
}

/// Resident memory of a process, in MiB.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line.context("VmRSS")?.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kibibytes / 1024)
}

/// How many bytes the files below a folder have.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

fn kept(server: &TestServer) -> Result<Vec<String>> {
    let folder = server.data_dir().join("attachments");
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[tokio::test]
async fn an_upload_is_what_it_is_and_nobody_elses_page() -> Result<()> {
    let server = server("").await?;
    let api = &server.api;
    let image = api.upload("../../shot\n.png", PNG).await?;
    assert_eq!(
        (image.name.as_str(), image.media_type.as_str(), image.size),
        ("shot.png", "image/png", PNG.len() as u64)
    );
    let shown: Attachment = api.get(&format!("/attachments/{}", image.id)).await?;
    assert_eq!(shown, image);
    let content = api.content(image.id).await?;
    assert_eq!(content.headers()[header::CONTENT_TYPE], "image/png");
    assert_eq!(content.bytes().await?, PNG);

    // A page is bytes to download, whatever its name says.
    let page = api.upload("page \"1\".png", "<html><script>alert(1)</script>").await?;
    assert_eq!(page.media_type, "text/html");
    let content = api.content(page.id).await?;
    let headers = content.headers().clone();
    assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
    assert_eq!(
        headers[header::CONTENT_DISPOSITION],
        "attachment; filename*=UTF-8''page%20%221%22.png"
    );
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'none'; sandbox");
    assert_eq!(headers[header::CONTENT_LENGTH], page.size.to_string().as_str());

    let empty = api.upload("empty", "").await?;
    assert_eq!(api.content(empty.id).await?.bytes().await?.len(), 0);

    api.request::<serde_json::Value>(Method::DELETE, &format!("/attachments/{}", page.id), None::<&()>)
        .await?;
    let gone = api.get::<Attachment>(&format!("/attachments/{}", page.id)).await;
    assert_eq!(problem(&gone.unwrap_err()), (404, "not-found".to_owned(), None));
    let mut left = kept(&server)?;
    left.sort();
    assert_eq!(left, [image.id.to_string(), empty.id.to_string()]);
    Ok(())
}

#[tokio::test]
async fn limits_hold_and_leave_nothing() -> Result<()> {
    let server = server("[limits]\nattachment_mib = 2\nunsent_attachments_mib = 5\n").await?;
    let api = &server.api;
    // Announced, it is refused by its length; streamed, when it is over.
    for too_large in [reqwest::Body::from(vec![0; 2 * MIB + 1]), body(2 * MIB as u64 + 1)] {
        let refused = api.upload("large", too_large).await;
        assert_eq!(
            problem(&refused.unwrap_err()),
            (413, "attachment-too-large".to_owned(), None)
        );
    }
    assert_eq!(kept(&server)?, [] as [String; 0]);
    let first = api.upload("a", vec![1; 2 * MIB]).await?;
    api.upload("b", body(2 * MIB as u64)).await?;
    for too_much in [reqwest::Body::from(vec![0; 2 * MIB]), body(2 * MIB as u64)] {
        let refused = api.upload("c", too_much).await;
        assert_eq!(
            problem(&refused.unwrap_err()),
            (409, "too-much-unsent".to_owned(), None)
        );
    }
    assert_eq!(kept(&server)?.len(), 2);
    // What was sent does not count.
    let session = new_session(api, "say: thanks", &[&first]).await?;
    assert_eq!(session.title, "say: thanks");
    api.upload("c", vec![0; 2 * MIB]).await?;
    Ok(())
}

#[tokio::test]
async fn a_message_takes_its_files_once() -> Result<()> {
    let server = server("").await?;
    let api = &server.api;
    let notes = api.upload("my notes.txt", "swordfish\n").await?;
    let image = api.upload("dot.png", PNG).await?;
    let session = new_session(api, "", &[&image]).await?;
    assert_eq!(session.title, "dot.png");
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    let wrong = |attachments: &[AttachmentId]| {
        let attachments = attachments.to_vec();
        async move {
            let refused = send(api, session.id, "read the files", &attachments).await;
            problem(&refused.unwrap_err())
        }
    };
    let not_found = (422, "attachment-not-found".to_owned(), Some("/attachments".to_owned()));
    assert_eq!(wrong(&[AttachmentId::new()]).await, not_found);
    let elsewhere = new_session(api, "look", &[&image]).await;
    assert_eq!(
        problem(&elsewhere.unwrap_err()),
        not_found,
        "sent already, in another session"
    );
    let many: Vec<AttachmentId> = std::iter::repeat_with(AttachmentId::new).take(51).collect();
    assert_eq!(wrong(&many).await.1, "too-many-attachments");
    let empty = send(api, session.id, " ", &[]).await;
    assert_eq!(problem(&empty.unwrap_err()).1, "message-empty");
    let bound = api
        .request::<serde_json::Value>(Method::DELETE, &format!("/attachments/{}", image.id), None::<&()>)
        .await;
    assert_eq!(problem(&bound.unwrap_err()), (409, "attachment-sent".to_owned(), None));

    // Removed from the queue, a message leaves its files to the next one.
    api.act(session.id, "stop").await?;
    eventually("stopped", async || {
        Ok(api.session(session.id).await?.state == SessionState::Stopped)
    })
    .await?;
    let queued = send(api, session.id, "never mind", &[notes.id]).await?;
    assert_eq!(queued.attachments, std::slice::from_ref(&notes));
    api.request::<serde_json::Value>(
        Method::DELETE,
        &format!("/sessions/{}/messages/{}", session.id, queued.id),
        None::<&()>,
    )
    .await?;
    send(api, session.id, "read the files", &[notes.id, notes.id]).await?;
    api.act(session.id, "start").await?;
    live = api.live(session.id, last_seq(&live)).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let said = said(api, session.id).await?;
    assert_eq!(said[0], "person:  [\"dot.png\"]");
    assert_eq!(said[1], "agent: I see 1:\n\n- image/png, 1 × 1");
    assert_eq!(said[2], "person: read the files [\"my notes.txt\"]");
    assert!(said[3].contains("swordfish"), "{said:?}");

    // Of the same session, a later message may name them again: a turn is tried again with its files.
    send(api, session.id, "describe the images", &[image.id]).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let said = self::said(api, session.id).await?;
    assert_eq!(said[4], "person: describe the images [\"dot.png\"]");
    assert!(said[5].contains("image/png, 1 × 1"), "{said:?}");

    // They are kept as long as the session can be brought back, and go with it.
    let delete = async |query: &str| {
        let path = format!("/sessions/{}{query}", session.id);
        api.request::<serde_json::Value>(Method::DELETE, &path, None::<&()>)
            .await
    };
    delete("").await?;
    assert_eq!(api.content(notes.id).await?.bytes().await?, "swordfish\n");
    delete("?now=true").await?;
    let gone = api.get::<Attachment>(&format!("/attachments/{}", notes.id)).await;
    assert_eq!(problem(&gone.unwrap_err()).0, 404);
    eventually("their bytes are gone", async || Ok(kept(&server)?.is_empty())).await?;
    Ok(())
}

#[tokio::test]
async fn a_large_file_passes_through_and_a_killed_server_goes_on() -> Result<()> {
    const SIZE: u64 = 300 * 1024 * 1024;
    let mut server = server("").await?;
    let api = server.api.clone();
    let session = new_session(&api, "say: ready", &[]).await?;
    let mut live = api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    let pid = server.pid().context("pid")?;
    let before = resident(pid)?;
    let mut peak = before;
    let file = {
        let upload = api.upload("disk.img", body(SIZE));
        let mut upload = std::pin::pin!(upload);
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                done = &mut upload => break done?,
                _ = look.tick() => peak = peak.max(resident(pid)?),
            }
        }
    };
    assert_eq!(file.size, SIZE);
    send(
        &api,
        session.id,
        "run: sha256sum /root/attachments/*/disk.img; ls -A /root/attachments/*",
        &[file.id],
    )
    .await?;
    // Killed in the middle of its way into the sandbox: some of it is there, and not all.
    let process = *sandbox_processes(session.id).first().context("no sandbox")?;
    let folder = Path::new("/proc")
        .join(process.to_string())
        .join("root/root/attachments");
    eventually("the file is on its way", async || Ok(bytes_below(&folder) > 0)).await?;
    peak = peak.max(resident(pid)?);
    server.kill().await?;
    assert!(bytes_below(&folder) < SIZE, "it was there before the server was killed");
    server.start_again().await?;
    let pid = server.pid().context("pid")?;
    let mut live = api.live(session.id, last_seq(&live)).await?;
    let done = live.turn_end();
    let mut done = std::pin::pin!(done);
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let outcome = loop {
        tokio::select! {
            outcome = &mut done => break outcome?,
            _ = look.tick() => peak = peak.max(resident(pid)?),
        }
    };
    assert_eq!(outcome, TurnOutcome::Completed);
    // A debug build with its allocator's slack; the file is twenty times that.
    assert!(peak < before + 96, "{before} MiB before, {peak} MiB at most");

    let mut hash = sha256();
    let mut stream = api.content(file.id).await?.bytes_stream();
    while let Some(piece) = stream.next().await {
        hash.update(&piece?);
    }
    let said = said(&api, session.id).await?;
    let answer = said.last().context("an answer")?;
    assert!(answer.contains(&hash.hex()), "{said:?}");
    // Nothing is left of the first attempt, and the message was taken once.
    assert!(
        answer.contains("disk.img\n") && !answer.contains("incoming"),
        "{answer}"
    );
    let taken = said.iter().filter(|line| line.contains("[\"disk.img\"]")).count();
    assert_eq!(taken, 1, "{said:?}");
    Ok(())
}

#[tokio::test]
async fn the_command_line_attaches_files() -> Result<()> {
    let server = server("").await?;
    let folder = tempfile::tempdir()?;
    let notes = folder.path().join("the notes.txt");
    std::fs::write(&notes, "swordfish\n")?;
    let mistle = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(mistle_testkit::built("debug", "mistle"));
        let command = command.args(arguments).env("MISTLE_DATA_DIR", server.data_dir());
        let output = command.env("MISTLE_URL", server.api.url()).output().await?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        anyhow::Ok((output.status.success(), said(&output.stdout), said(&output.stderr)))
    };
    let file = notes.display().to_string();
    let (done, said, error) = mistle(&["session", "new", "read the files", "--attach", &file, "--wait"]).await?;
    assert!(
        done && said.contains("> read the files\n> [the notes.txt]") && said.contains("swordfish"),
        "{said}{error}"
    );
    let missing = folder.path().join("missing").display().to_string();
    for (wrong, why) in [
        (missing, "cannot read"),
        (folder.path().display().to_string(), "is no file"),
    ] {
        let (done, _, error) = mistle(&["session", "new", "x", "--attach", &wrong]).await?;
        assert!(!done && error.contains(why), "{error}");
    }
    Ok(())
}

/// The hash of bytes that come in pieces.
fn sha256() -> Hash {
    Hash(sha2::Sha256::default())
}

struct Hash(sha2::Sha256);

impl Hash {
    fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.0.update(bytes);
    }

    fn hex(self) -> String {
        use sha2::Digest as _;
        format!("{:x}", self.0.finalize())
    }
}
