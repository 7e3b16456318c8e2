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
async fn what_a_page_names_on_localhost_is_found() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let (origin, sibling) = (browser.origin(), format!("http://{}", world.host(3001)));

    let request = browser.request(Method::GET, "/absolute");
    let page = soon(request.header("sec-fetch-dest", "document").send()).await?;
    let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
    let connects = format!(
        "connect-src http://localhost:3001 {origin} {} {sibling}",
        origin.replace("http", "ws")
    );
    assert!(policy.starts_with("default-src 'self' 'sha256-"), "{policy}");
    assert!(policy.contains(&connects), "{policy}");
    let text = page.text().await?;
    assert!(text.starts_with("<!doctype html><head><script>"), "{text}");
    let (_, parts) = text.split_once("<link").context("no style")?;
    let expected = format!(
        " rel=stylesheet href=\"{origin}/a.css\"><script type=module \
         src=\"{origin}/.mistle/port/3001/@vite/client\"></script></head><a href=\"http://localhost:3001/\">"
    );
    assert_eq!(parts, expected);

    // What a script of another port imports is there, too.
    let request = browser.request(Method::GET, "/src/main.js?v=1");
    let moved = request.header("referer", format!("{origin}/.mistle/port/3001/@vite/client"));
    let moved = soon(moved.send()).await?;
    assert_eq!(
        (moved.status(), moved.headers()["location"].to_str()?),
        (StatusCode::TEMPORARY_REDIRECT, "/.mistle/port/3001/src/main.js?v=1")
    );

    // A link to another port of the session is followed without asking again.
    let stranger = world.stranger(3001);
    let follow = |referer: String| {
        let request = stranger.request(Method::GET, "/a?b").header("referer", referer);
        soon(request.header("sec-fetch-dest", "document").send())
    };
    let led = follow(format!("{origin}/")).await?;
    assert_eq!(led.status(), StatusCode::SEE_OTHER);
    let location = led.headers()["location"].to_str()?.to_owned();
    assert!(
        location.ends_with(&format!("/open/{}/3001?to=%2Fa%3Fb", world.session)),
        "{location}"
    );
    for elsewhere in ["http://localhost/".to_owned(), format!("{sibling}/"), "null".to_owned()] {
        assert_eq!(follow(elsewhere).await?.status(), StatusCode::FORBIDDEN);
    }
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
