//! What listens is told as it happens.

use anyhow::Result;
use mistle_protocol::ports::{Port, PortAddress};
use mistle_protocol::session::{LiveMessage, SessionState};
use mistle_testkit::Live;

use crate::world::World;

async fn until(live: &mut Live, number: u16, open: bool) -> Result<Option<Port>> {
    live.until(|message| match message {
        LiveMessage::Ports { ports } => {
            let port = ports.iter().find(|port| port.port == number).cloned();
            (port.is_some() == open).then_some(port)
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_page_sees_ports_come_and_go() -> Result<()> {
    let world = World::start().await?;
    let mut live = world.live().await?;
    // The list as it is comes by itself, without the daemon's own port.
    let first = live
        .until(|message| match message {
            LiveMessage::Ports { ports } => Some(ports.clone()),
            _ => None,
        })
        .await?;
    assert_eq!(first, []);

    let program = world.app(3000).await?;
    let port = until(&mut live, 3000, true).await?.unwrap();
    assert_eq!(
        (port.address, port.process.as_deref()),
        (PortAddress::LoopbackV4, Some("node"))
    );
    assert!(port.command.as_ref().unwrap().starts_with("node -e"));
    assert_eq!(world.ports().await?, std::slice::from_ref(&port));

    // A second page has the same, at once.
    let mut second = world.live().await?;
    assert_eq!(until(&mut second, 3000, true).await?, Some(port));

    program.end().await;
    until(&mut live, 3000, false).await?;

    let _program = world.app(3001).await?;
    until(&mut live, 3001, true).await?;
    world.api().act(world.session, "stop").await?;
    until(&mut live, 3001, false).await?;
    world.state(SessionState::Stopped).await?;
    Ok(())
}
