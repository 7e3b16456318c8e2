//! Approvals on the command line: shown, answered, left alone.

use anyhow::{Context as _, Result};
use mistle_protocol::agent::AgentEvent;
use mistle_protocol::id::SessionId;
use mistle_testkit::agent_event;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{World, soon};

#[tokio::test]
async fn without_a_terminal_a_question_ends_with_4_and_waits() -> Result<()> {
    let world = World::start("ask_every_time").await?;
    let asked = world.run(&["session", "new", "run: echo one", "--wait"]).await?;
    insta::assert_snapshot!("asked", asked.shown());
    let id = world.newest().await?;
    let session = id.to_string();
    let shown = world.run(&["session", "show", &session]).await?;
    assert!(
        shown.out.contains("needs you") && shown.out.contains("? echo one in "),
        "{shown:?}"
    );

    let mut live = world.server.api.live(id, 0).await?;
    let accept = world.run(&["session", "approve", &session, "--accept"]).await?;
    assert_eq!(
        (accept.code, accept.out.as_str(), accept.err.as_str()),
        (Some(0), "", "")
    );
    live.turn_end().await?;
    let none = world.run(&["session", "approve", &session, "--accept"]).await?;
    assert_eq!(none.code, Some(1));
    assert_eq!(none.err, "mistle: no approval waits in this session\n");
    Ok(())
}

#[tokio::test]
async fn approvals_are_answered_as_was_said_before() -> Result<()> {
    let world = World::start("ask_every_time").await?;
    let accepted = world
        .run(&["session", "new", "run: echo one", "--wait", "--approve", "accept"])
        .await?;
    insta::assert_snapshot!("accepted", accepted.shown());
    let session = world.newest().await?.to_string();
    let declined = world
        .run(&[
            "session",
            "send",
            &session,
            "run: echo two",
            "--wait",
            "--approve",
            "decline",
        ])
        .await?;
    insta::assert_snapshot!("declined", declined.shown());

    // Left to somebody else, who declines with a word for the agent.
    let leave = [
        "session",
        "send",
        &session,
        "run: echo three",
        "--wait",
        "--approve",
        "leave",
    ];
    let mut watched = world.begin(&leave)?;
    watched.until("approval ").await?;
    let decline = ["session", "approve", &session, "--decline", "--message", "print four"];
    assert_eq!(world.run(&decline).await?.code, Some(0));
    let left = watched.end().await?;
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(left.out.contains("· declined\n"), "{left:?}");

    let mut watched = world.begin(&leave)?;
    watched.until("approval ").await?;
    let for_session = world.run(&["session", "approve", &session, "--for-session"]).await?;
    assert_eq!(for_session.code, Some(0), "{for_session:?}");
    let left = watched.end().await?;
    assert!(
        left.out.contains("· allowed for this session\n") && left.code == Some(0),
        "{left:?}"
    );
    Ok(())
}

#[tokio::test]
async fn an_approval_is_answered_where_it_is_asked() -> Result<()> {
    let world = World::start("ask_every_time").await?;
    let ask = ["session", "new", "run: echo one", "--wait", "--approve", "ask"];
    let nobody = world.run(&ask).await?;
    assert_eq!(nobody.code, Some(4), "{nobody:?}");
    assert_eq!(nobody.err.lines().last(), Some("Nobody answers here."));

    let mut terminal = Terminal::start(&world, &["session", "new", "run: echo two", "--wait"])?;
    terminal.until("or what to do instead: ").await?;
    terminal.type_in("yes\r").await?;
    assert_eq!(terminal.end().await?, Some(0));

    let mut terminal = Terminal::start(&world, &["session", "new", "run: echo three", "--wait"])?;
    terminal.until("or what to do instead: ").await?;
    // An empty line is no answer.
    terminal.type_in("\r").await?;
    terminal.until("or what to do instead: ").await?;
    terminal.type_in("print four\r").await?;
    terminal.until("· declined").await?;
    assert_eq!(terminal.end().await?, Some(0));
    let id = world.newest().await?;
    assert!(
        was_told(&world, id, "print four").await?,
        "the agent hears what to do instead"
    );
    Ok(())
}

/// Whether a person's words reached the conversation.
async fn was_told(world: &World, id: SessionId, words: &str) -> Result<bool> {
    let events = world.server.api.events(id).await?;
    Ok(events
        .iter()
        .any(|event| serde_json::to_string(event).is_ok_and(|text| text.contains(words))))
}

/// The program on a terminal of its own.
struct Terminal {
    pty: pty_process::Pty,
    child: tokio::process::Child,
    unread: String,
}

impl Terminal {
    fn start(world: &World, arguments: &[&str]) -> Result<Self> {
        let (pty, pts) = pty_process::open()?;
        pty.resize(pty_process::Size::new(24, 120))?;
        let child = pty_process::Command::new(crate::world::MISTLE)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("MISTLE_DATA_DIR", world.server.data_dir())
            .kill_on_drop(true)
            .spawn(pts)?;
        Ok(Self {
            pty,
            child,
            unread: String::new(),
        })
    }

    async fn type_in(&mut self, keys: &str) -> Result<()> {
        Ok(self.pty.write_all(keys.as_bytes()).await?)
    }

    /// Reads until words were shown since the last call.
    async fn until(&mut self, words: &str) -> Result<()> {
        loop {
            if let Some(at) = self.unread.find(words) {
                self.unread.drain(..at + words.len());
                return Ok(());
            }
            let mut buffer = [0; 4096];
            let read = soon(self.pty.read(&mut buffer))
                .await
                .with_context(|| format!("{words:?} was not shown: {}", self.unread))?;
            self.unread.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    /// Reads the rest; answers the exit code.
    async fn end(mut self) -> Result<Option<i32>> {
        let mut buffer = [0; 4096];
        // The kernel answers with an error when nobody has the terminal any more.
        while soon(self.pty.read(&mut buffer)).await.is_ok_and(|read| read > 0) {}
        Ok(soon(self.child.wait()).await?.code())
    }
}

#[tokio::test]
async fn an_answer_names_its_decision_and_its_approval() -> Result<()> {
    let world = World::start("ask_every_time").await?;
    let id = world.new_session("run: echo one").await?;
    let session = id.to_string();
    let asked = world.server.api.live(id, 0).await?.approval().await?;

    let undecided = world.run(&["session", "approve", &session]).await?;
    assert_eq!(undecided.code, Some(2), "{undecided:?}");
    assert!(undecided.err.contains("--accept"), "{undecided:?}");
    let elsewhere = world
        .run(&["session", "approve", &session, "../../tokens", "--accept"])
        .await?;
    assert_eq!(elsewhere.code, Some(1));
    assert_eq!(elsewhere.err, "mistle: \"../../tokens\" is not the id of an approval\n");
    let unknown = world
        .run(&["session", "approve", &session, "apr_none", "--accept"])
        .await?;
    assert_eq!(
        (unknown.code, unknown.err.as_str()),
        (Some(1), "mistle: There is no such approval.\n")
    );

    let mut live = world.server.api.live(id, 0).await?;
    let named = world
        .run(&["session", "approve", &session, &asked.id, "--accept"])
        .await?;
    assert_eq!(named.code, Some(0), "{named:?}");
    live.until(|message| matches!(agent_event(message), Some(AgentEvent::ApprovalResolved { .. })).then_some(()))
        .await?;
    let again = world
        .run(&["session", "approve", &session, &asked.id, "--accept"])
        .await?;
    assert_eq!(again.code, Some(1), "{again:?}");
    Ok(())
}
