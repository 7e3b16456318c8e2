//! Pages that take themselves for localhost's.

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{World, soon};

const SCRIPT: &str = "<script src=\"/.mistle/localhost.js\"></script>";

#[tokio::test]
async fn a_page_gets_the_script_that_finds_localhost() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let page = |destination: &'static str| {
        let request = browser.request(Method::GET, "/page");
        let request = request.header("sec-fetch-dest", destination);
        soon(request.header("accept-encoding", "gzip").send())
    };
    let read = page("empty").await?;
    assert!(read.headers().contains_key("content-length"));
    let plain = read.text().await?;
    assert!(!plain.contains(SCRIPT), "{plain}");
    for destination in ["document", "iframe"] {
        let scripted = page(destination).await?.text().await?;
        assert_eq!(scripted, plain.replace("<head>", &format!("<head>{SCRIPT}")));
    }

    let script = browser.get("/.mistle/localhost.js").await?;
    assert_eq!(
        (script.status(), script.headers()["content-type"].to_str()?),
        (StatusCode::OK, "text/javascript; charset=utf-8")
    );

    // What the app is asked for is a page that can be added to.
    let request = browser.request(Method::GET, "/echo");
    let seen = browser.echo(request.header("sec-fetch-dest", "document")).await?;
    assert_eq!(seen["headers"]["accept-encoding"], "identity");
    Ok(())
}

#[tokio::test]
async fn a_page_reaches_the_other_ports_of_its_session() -> Result<()> {
    let world = World::start().await?;
    let (_page, _other) = (world.app(3000).await?, world.app(3001).await?);
    let browser = world.browser(3000).await?;

    let request = browser.request(Method::POST, "/.mistle/port/3001/echo?a=b&c=%2F");
    let seen = browser.echo(request.header("origin", browser.origin())).await?;
    let headers = &seen["headers"];
    assert_eq!(
        (&seen["url"], &headers["host"], &headers["origin"], &headers["cookie"]),
        (
            &json!("/echo?a=b&c=%2F"),
            &json!("localhost:3001"),
            &json!("http://localhost:3000"),
            &json!(null)
        )
    );
    let moved = browser.get("/.mistle/port/3001/redirect?to=/a").await?;
    assert_eq!(moved.headers()["location"], "/.mistle/port/3001/a");
    let mut socket = browser.websocket("/.mistle/port/3001/ws", HeaderMap::new()).await?;
    let first = soon(socket.next()).await.context("no message")??;
    assert_eq!(first, Message::text("localhost:3001 http://localhost:3000"));

    for (path, status) in [
        ("/.mistle/port/3002/", StatusCode::BAD_GATEWAY),
        ("/.mistle/port/3001", StatusCode::NOT_FOUND),
        ("/.mistle/port/0/", StatusCode::NOT_FOUND),
        ("/.mistle/port/65536/", StatusCode::NOT_FOUND),
        ("/.mistle/port//", StatusCode::NOT_FOUND),
        ("/.mistle/ports/3001/", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(browser.get(path).await?.status(), status, "{path}");
    }
    // A page of another port has another origin; another site and a stranger have nothing.
    let ask = |name: &'static str, value: &'static str| {
        let header = (name.parse().unwrap(), HeaderValue::from_static(value));
        let request = browser.request(Method::GET, "/.mistle/port/3001/");
        soon(request.headers(HeaderMap::from_iter([header])).send())
    };
    assert_eq!(ask("sec-fetch-mode", "cors").await?.status(), StatusCode::OK);
    assert_eq!(ask("sec-fetch-mode", "navigate").await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(
        ask("sec-fetch-site", "cross-site").await?.status(),
        StatusCode::FORBIDDEN
    );
    let stranger = world.stranger(3000).get("/.mistle/port/3001/").await?;
    assert_eq!(stranger.status(), StatusCode::FORBIDDEN);
    Ok(())
}
