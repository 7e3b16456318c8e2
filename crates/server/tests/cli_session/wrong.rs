//! What was wrong, and what to do.

use std::path::Path;
use std::process::Stdio;

use anyhow::Result;
use mistle_protocol::problem::Problem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{World, mistle};

const UNKNOWN: &str = "ses_00000000000000000000000000000000";

#[tokio::test]
async fn an_unknown_session_is_called_so_by_every_command() -> Result<()> {
    let world = World::start("autonomous").await?;
    let commands: [&[&str]; 12] = [
        &["show", UNKNOWN],
        &["send", UNKNOWN, "hello"],
        &["send", UNKNOWN, "hello", "--wait"],
        &["approve", UNKNOWN, "--accept"],
        &["events", UNKNOWN],
        &["events", UNKNOWN, "--follow"],
        &["exec", UNKNOWN, "--", "true"],
        &["start", UNKNOWN],
        &["stop", UNKNOWN, "--wait"],
        &["conversations", UNKNOWN],
        &["interrupt", UNKNOWN],
        &["restore", UNKNOWN],
    ];
    for command in commands {
        let ended = world.run(&[&["session"], command].concat()).await?;
        assert_eq!(
            (ended.code, ended.out.as_str(), ended.err.as_str()),
            (Some(1), "", "mistle: There is no such session.\n"),
            "{command:?}"
        );
    }
    let to_a_program = world.run(&["--json", "session", "show", UNKNOWN]).await?;
    let problem: Problem = serde_json::from_str(&to_a_program.err)?;
    assert_eq!((problem.status, problem.kind.as_str()), (404, "not-found"));
    let malformed = world.run(&["session", "show", "yesterday's"]).await?;
    assert_eq!(malformed.code, Some(2));
    assert!(malformed.err.contains("yesterday's"), "{malformed:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_session_can_not_do_is_said_with_what_to_do() -> Result<()> {
    let world = World::start("autonomous").await?;
    let id = world.finished("say: hello").await?;
    let session = id.to_string();
    world.run(&["session", "stop", &session, "--wait"]).await?;
    for command in [&["exec", &session, "--", "true"][..], &["interrupt", &session]] {
        let ended = world.run(&[&["session"], command].concat()).await?;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(ended.err, "mistle: The session is not running. Start it first.\n");
    }
    world.run(&["session", "delete", &session]).await?;
    let send = world.run(&["session", "send", &session, "hello"]).await?;
    assert_eq!(send.err, "mistle: The session is deleted. Restore it first.\n");

    for (arguments, wanted) in [
        (&["session", "new", " "][..], "Say what the agent should do."),
        (&["session", "new", "x", "--profile", "none"], "profile"),
        (
            &["session", "new", "x", "--repository", "/no/such/folder"],
            "/no/such/folder",
        ),
        (
            &["session", "new", "x", "--attach", "/no/such/file"],
            "cannot read /no/such/file",
        ),
    ] {
        let refused = world.run(arguments).await?;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(
            refused.err.starts_with("mistle: ") && refused.err.contains(wanted),
            "{refused:?}"
        );
    }
    assert_eq!(world.newest().await.ok(), None, "nothing was created");
    Ok(())
}

/// How `mistle session list` ends with a server and a token.
async fn list(data_dir: &Path, url: Option<&str>, token: Option<&str>) -> Result<(Option<i32>, String)> {
    let mut command = mistle(data_dir);
    command.args(["session", "list"]);
    for (name, value) in [("MISTLE_URL", url), ("MISTLE_TOKEN", token)] {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = command.stdin(Stdio::null()).output().await?;
    Ok((
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

#[tokio::test]
async fn a_server_that_is_not_there_or_does_not_know_one_is_told_apart() -> Result<()> {
    let mut world = World::start("autonomous").await?;
    let url = world.server.api.url().to_owned();
    let nowhere = tempfile::tempdir()?;
    let said = |text: String| (Some(1), text);
    assert_eq!(
        list(nowhere.path(), Some(&url), Some("mst_wrong")).await?,
        said(
            "mistle: This token is unknown or was revoked. `mistle token create` makes one on the server's machine.\n"
                .to_owned()
        )
    );
    let place = nowhere.path().display();
    assert_eq!(
        list(nowhere.path(), Some(&url), None).await?,
        said(format!(
            "mistle: no token: set --token or MISTLE_TOKEN, or start the server once ({place} has none)\n"
        ))
    );

    world.server.kill().await?;
    let (code, gone) = list(world.server.data_dir(), None, None).await?;
    assert_eq!(code, Some(1));
    let wanted = format!("mistle: no server answers at {url}/; start it with `mistle serve`");
    assert!(gone.starts_with(&wanted), "{gone}");
    Ok(())
}

#[tokio::test]
async fn another_server_is_not_taken_for_ours() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnothing";
        stream.write_all(answer.as_bytes()).await
    });
    let nowhere = tempfile::tempdir()?;
    let (code, said) = list(nowhere.path(), Some(&url), Some("mst_any")).await?;
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        format!("mistle: {url}/ answered 404 Not Found; is it a Mistle server?\n")
    );
    other.await??;
    Ok(())
}
