//! The metrics that a server shows are those that its documentation names, and they count.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use mistle_protocol::session::{EventBody, SessionState};
use mistle_testkit::{Setup, TestServer};

/// Name and type of each metric in the table of the module's documentation.
fn documented() -> BTreeMap<String, String> {
    let rows = include_str!("../src/metrics.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once("` | ")?;
        Some((name.to_owned(), rest.split(" | ").next()?.to_owned()))
    })
    .collect()
}

/// Name and type of each metric that is shown.
fn shown(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// The value of a line such as `mistle_sessions{state="running"}`, as it is written.
fn value<'a>(text: &'a str, series: &str) -> Result<&'a str> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.with_context(|| format!("{series} is not in\n{text}"))
}

#[tokio::test]
async fn every_metric_is_documented_and_counts() -> Result<()> {
    let setup = Setup {
        program: env!("CARGO_BIN_EXE_mistle").into(),
        ..Setup::policy("autonomous")
    };
    let server = TestServer::start(setup).await?;
    let api = &server.api;
    api.upload("notes.txt", "swordfish\n").await?;
    let session = api.new_session("", "say: hello").await?;
    let mut live = api.live(session.id, 0).await?;
    live.turn_end().await?;
    for (verb, state) in [("stop", SessionState::Stopped), ("start", SessionState::Running)] {
        api.act(session.id, verb).await?;
        live.state(state).await?;
    }
    let scrape = async || -> Result<String> {
        let response = reqwest::Client::builder().no_proxy().build()?;
        let response = response.get(format!("{}/metrics", api.url())).send().await?;
        Ok(response.error_for_status()?.text().await?)
    };
    // The runtime says more after it is ready: what is compared is of one moment.
    let (text, stored) = loop {
        let before = api.session(session.id).await?.last_seq;
        let text = scrape().await?;
        if api.session(session.id).await?.last_seq == before {
            break (text, before);
        }
    };
    assert_eq!(shown(&text), documented());
    assert_eq!(value(&text, "mistle_attachment_bytes_total")?, "10");
    assert_eq!(value(&text, "mistle_sessions_created_total")?, "1");
    assert_eq!(value(&text, "mistle_sessions{state=\"running\"}")?, "1");
    assert_eq!(value(&text, "mistle_session_start_seconds_count")?, "2");
    assert!(value(&text, "mistle_session_start_seconds_sum")?.parse::<f64>()? > 0.0);
    let record = api.events(session.id).await?;
    let own = record
        .iter()
        .filter(|event| event.seq <= stored && matches!(event.event, EventBody::Server(_)));
    assert_eq!(
        value(&text, "mistle_session_events_total")?,
        (stored - own.count() as u64).to_string()
    );
    assert_eq!(value(&text, "mistle_streams{kind=\"session\"}")?, "1");
    assert!(value(&text, "mistle_connections{kind=\"http\"}")?.parse::<f64>()? >= 2.0);
    let created = "mistle_http_requests_total{method=\"POST\",route=\"/api/v1/sessions\",status=\"201\"}";
    assert_eq!(value(&text, created)?, "1");

    // What is over is not counted as being there.
    drop(live);
    let mut live = api.live(session.id, stored).await?;
    api.act(session.id, "stop").await?;
    live.state(SessionState::Stopped).await?;
    let text = scrape().await?;
    assert_eq!(value(&text, "mistle_sessions{state=\"running\"}")?, "0");
    assert_eq!(value(&text, "mistle_sessions{state=\"stopped\"}")?, "1");
    Ok(())
}
