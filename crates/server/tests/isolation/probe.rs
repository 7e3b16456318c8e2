//! The driver's probe, asked of a session.

use anyhow::Result;
use mistle_protocol::agent::TurnOutcome;
use mistle_testkit::{Setup, TestServer};

/// What the driver's own tests ask of a sandbox without a daemon, and what takes a session to ask.
const PROBE: &str = concat!(
    include_str!("../../../sandbox/tests/it/probe.sh"),
    include_str!("probe.sh")
);

/// The profile lists what its sandbox must not reach all the same.
const CONFIG: &str = r#"
[providers.demo]
kind = "scripted"

[[profiles]]
name = "default"
provider = "demo"
approval_policy = "autonomous"
egress.allow = [
    "169.254.169.254", "[fd00:ec2::254]", "127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "0.0.0.0:{port}",
    "10.0.0.1:22", "192.168.0.1", "172.16.0.1", "100.100.100.200",
]
"#;

#[tokio::test]
async fn the_probe_finds_what_is_written_down() -> Result<()> {
    let server = TestServer::start(Setup {
        config: CONFIG.to_owned(),
        ..Setup::default()
    })
    .await?;
    let session = server.api.new_session("", "say: hello").await?;
    assert_eq!(
        server.api.live(session.id, 0).await?.turn_end().await?,
        TurnOutcome::Completed
    );
    let port = server.api.url().rsplit_once(':').map_or("", |(_, port)| port);
    let probe = PROBE.replace("{port}", port);
    let ran = server.api.exec(session.id, &["/bin/bash", "-c", &probe]).await?;
    let data = server.data_dir().display().to_string();
    let found = ran
        .output
        .replace(&data, "DATA")
        .replace(&format!(":{port}"), ":SERVER")
        .replace(&format!("/{port}"), "/SERVER")
        .replace(&session.id.to_string(), "SESSION");
    insta::assert_snapshot!("probe", found);
    Ok(())
}
