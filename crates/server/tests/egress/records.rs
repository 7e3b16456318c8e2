//! Every decision is recorded, whatever becomes of the server.

use std::collections::BTreeSet;
use std::slice::from_ref;

use anyhow::Result;
use mistle_protocol::egress::EgressDecision;
use mistle_testkit::TestServer;
use tokio::io::AsyncReadExt as _;

use crate::world::{ended, listen, records, session, setup};

#[tokio::test]
async fn a_connection_that_was_open_when_the_server_was_killed_is_recorded_once() -> Result<()> {
    let (listener, address) = listen().await?;
    let target = address.to_string();
    let mut server = TestServer::start(setup(from_ref(&target), from_ref(&target))).await?;
    let id = session(&server).await?;
    let open = format!("setsid curl --silent http://{target}/ > /dev/null 2>&1 &");

    // One that ends, and one that is open at the end.
    server.api.shell(id, &open).await?;
    drop(listener.accept().await?);
    let first = ended(&server, id, 1).await?;
    server.api.shell(id, &open).await?;
    let (mut upstream, _) = listener.accept().await?;
    // Nobody waits for the record: the request is here, so it has to be kept already.
    upstream.read_u8().await?;
    server.kill().await?;
    server.start_again().await?;

    let after = records(&server, id).await?;
    assert_eq!(after.len(), 2, "{after:?}");
    assert_eq!(after[0], first[0]);
    let open = &after[1];
    assert_eq!(
        (
            open.host.as_str(),
            open.port,
            open.decision,
            open.rule.as_str(),
            open.duration_ms
        ),
        (
            "127.0.0.2",
            address.port(),
            EgressDecision::Tunnel,
            target.as_str(),
            None
        )
    );
    // Another start finds nothing that it would store again.
    server.kill().await?;
    server.start_again().await?;
    assert_eq!(records(&server, id).await?, after);
    Ok(())
}

#[tokio::test]
async fn denials_of_a_server_that_is_killed_are_recorded() -> Result<()> {
    let mut server = TestServer::start(setup(&[], &[])).await?;
    let id = session(&server).await?;
    let ask = "for i in $(seq 40); do curl --silent --output /dev/null http://denied-$i.example/; done";
    assert_eq!(server.api.shell(id, ask).await?.code, 0);
    // A denial is answered before it is recorded; a later one that was recorded tells that all are.
    ended(&server, id, 40).await?;
    server.kill().await?;
    server.start_again().await?;
    let hosts: BTreeSet<String> = records(&server, id)
        .await?
        .into_iter()
        .map(|record| record.host)
        .collect();
    assert_eq!(
        hosts,
        (1..=40).map(|number| format!("denied-{number}.example")).collect()
    );
    Ok(())
}
