//! What a person reads, on the page and in the API, when something on the way is wrong: a stable code,
//! and what to do.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use mistle_protocol::agent::{AgentEvent, NoticeLevel, TurnOutcome};
use mistle_protocol::session::{Delivery, SessionState};
use mistle_testkit::{Live, Setup, TestServer, agent_event};
use tokio::net::TcpSocket;

use crate::provider::{KEY, Provider};

async fn failure(live: &mut Live) -> Result<(String, String)> {
    match live.turn_end().await? {
        TurnOutcome::Failed { code, message } => Ok((code, message)),
        other => bail!("{other:?}"),
    }
}

#[tokio::test]
async fn a_model_that_is_not_there() -> Result<()> {
    // Bound and not listening, so that nobody else listens there.
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let config = format!(
        "[providers.gone]\nkind = \"openai\"\nbase_url = \"http://{}/v1\"\n\
         [[profiles]]\nname = \"default\"\nprovider = \"gone\"\nmodel = \"gpt-5.5\"\napproval_policy = \"autonomous\"\n",
        socket.local_addr()?
    );
    let server = TestServer::start(Setup {
        config,
        ..Setup::default()
    })
    .await?;
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    let (code, message) = failure(&mut live).await?;
    assert_eq!(code, "model_unreachable", "{message}");
    assert!(
        message.contains("Check the provider's address in the server's configuration"),
        "{message}"
    );
    // It can be tried again, and nothing waits for ever.
    let session = server.api.session(session.id).await?;
    assert_eq!((session.state, session.queued), (SessionState::Running, 0));
    Ok(())
}

#[tokio::test]
async fn a_model_that_stops_in_the_middle() -> Result<()> {
    let provider = Provider::start(KEY).await?;
    let server = TestServer::start(provider.setup("")?).await?;
    let session = server.api.new_session("", "cut").await?;
    let mut live = server.api.live(session.id, 0).await?;
    let (code, message) = failure(&mut live).await?;
    assert_eq!(code, "model_stream_cut", "{message}");
    assert!(provider.admitted() > 0, "it answered before it stopped");
    assert!(message.contains("Send the message again"), "{message}");
    server.api.send(session.id, "say: fine", Delivery::Queue).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(())
}

#[tokio::test]
async fn a_full_disk() -> Result<()> {
    let server = TestServer::start(Setup {
        sandbox_disk: Some("160m"),
        ..Setup::policy("autonomous")
    })
    .await?;
    let session = server.api.new_session("", "remember the word heron").await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    // Filled by a program of the sandbox, which goes on and says so.
    let filled = server.api.shell(session.id, "cat /dev/zero > /root/fill").await?;
    assert!(filled.errors.contains("No space left on device"), "{filled:?}");
    // What the daemon had reserved for its journal is used up first.
    let mut notice = None;
    while notice.is_none() {
        let long = format!("say: {}", "more ".repeat(2000));
        server.api.send(session.id, &long, Delivery::Queue).await?;
        live.until(|message| match agent_event(message)? {
            AgentEvent::Notice {
                level, code, message, ..
            } if code == "disk_full" => {
                notice = Some((*level, message.clone()));
                None
            }
            AgentEvent::TurnCompleted { outcome, .. } if *outcome == TurnOutcome::Completed => Some(()),
            _ => None,
        })
        .await?;
    }
    let Some((level, message)) = notice else {
        bail!("no notice");
    };
    assert_ne!(level, NoticeLevel::Info);
    assert!(message.contains("disk is full"), "{message}");

    // It can't be started on a disk without room, which is said with what to do, and then it can.
    server.api.act(session.id, "stop").await?;
    live.state(SessionState::Stopped).await?;
    let ballast = server.data_dir().join("embedded/ballast");
    assert!(std::fs::write(&ballast, vec![1; 256 << 20]).is_err());
    server.api.act(session.id, "start").await?;
    let failed = live.state(SessionState::Failed).await?;
    let Some(trouble) = failed.trouble else {
        bail!("no trouble");
    };
    assert_eq!(trouble.code, "disk_full", "{trouble:?}");
    assert_eq!(
        trouble.hint.as_deref(),
        Some("Free space on it, then start the session again.")
    );
    std::fs::remove_file(&ballast)?;
    std::fs::remove_file(
        server
            .data_dir()
            .join("embedded/sandboxes")
            .join(session.id.to_string())
            .join("disk/root/root/fill"),
    )?;
    server.api.act(session.id, "start").await?;
    live.state(SessionState::Running).await?;
    server
        .api
        .send(session.id, "what did I ask you to remember", Delivery::Queue)
        .await?;
    live.until(|message| match agent_event(message)? {
        AgentEvent::ItemCompleted { item } => match &item.body {
            mistle_protocol::agent::ItemBody::AgentMessage { text } => text.contains("heron").then_some(()),
            _ => None,
        },
        _ => None,
    })
    .await
}
