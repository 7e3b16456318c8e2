//! A session's whole life with PostgreSQL as the database: what differs between the databases is
//! below `store`, and here everything above it meets the other one.

use anyhow::Result;
use mistle_protocol::agent::{AgentEvent, Decision, ItemBody, TurnOutcome};
use mistle_protocol::api::Page;
use mistle_protocol::session::{Activity, Delivery, EventBody, Session, SessionState};
use mistle_testkit::{Postgres, Setup, TestServer};

#[tokio::test]
async fn a_session_lives_on_postgresql() -> Result<()> {
    let cluster = Postgres::shared()?;
    let asking = Setup::policy("ask_every_time");
    let config = format!(
        "{}[database]\nurl = \"{}\"\n",
        asking.config,
        cluster.create_database()?
    );
    let mut server = TestServer::start(Setup { config, ..asking }).await?;
    assert!(
        !server.data_dir().join("mistle.db").exists(),
        "it is another database that is used"
    );
    let session = server.api.new_session("", "run: echo first > note").await?;
    let asked = server.api.live(session.id, 0).await?.approval().await?;
    let queued = server.api.send(session.id, "say: later", Delivery::Queue).await?;

    // The server dies while an approval and a message wait.
    server.kill().await?;
    server.start_again().await?;
    let waiting = server.api.session(session.id).await?;
    assert_eq!((waiting.activity, waiting.queued), (Activity::NeedsYou, 1));
    let mut live = server.api.live(session.id, waiting.last_seq).await?;
    // The row says that it runs. The answer is what needs the daemon, and waits until it is back.
    server.api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    server.api.act(session.id, "stop").await?;
    live.state(SessionState::Stopped).await?;
    server.api.act(session.id, "start").await?;
    live.state(SessionState::Running).await?;
    server.api.send(session.id, "run: cat note", Delivery::Steer).await?;
    let asked = live.approval().await?;
    server.api.answer(session.id, &asked.id, Decision::Accept, None).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    let events = server.api.events(session.id).await?;
    assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let items = || {
        events.iter().filter_map(|event| match &event.event {
            EventBody::Agent(AgentEvent::ItemCompleted { item }) => Some(&item.body),
            _ => None,
        })
    };
    let kept = items().any(|body| matches!(body, ItemBody::Command { output, .. } if output == "first\n"));
    assert!(kept, "the disk is kept over stop and start");
    let delivered = items()
        .filter(|body| matches!(body, ItemBody::UserMessage { message_id, .. } if *message_id == Some(queued.id)))
        .count();
    assert_eq!(delivered, 1);
    let listed: Page<Session> = server.api.get("/sessions").await?;
    assert_eq!(
        listed.data.iter().map(|session| session.id).collect::<Vec<_>>(),
        [session.id]
    );
    Ok(())
}
