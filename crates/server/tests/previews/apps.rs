//! What an app says and hears through its preview.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, StatusCode};
use mistle_protocol::session::SessionState;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Browser, World, soon};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn an_app_sees_a_browser_on_its_own_machine() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let mut http2 = Browser::new(browser.host.clone(), world.address(), true);
    http2.cookie.clone_from(&browser.cookie);
    for browser in [&browser, &http2] {
        let request = browser
            .request(Method::PUT, "/echo?a=b&c=%2F")
            .header("origin", browser.origin())
            .header("referer", format!("{}/page", browser.origin()))
            .header("cookie", "app=1")
            .header("authorization", "Bearer of-the-app")
            .header("x-forwarded-host", "mistle.example.com")
            .body("x");
        let seen = browser.echo(request).await?;
        assert_eq!(
            (&seen["method"], &seen["url"], &seen["version"]),
            (&json!("PUT"), &json!("/echo?a=b&c=%2F"), &json!("1.1"))
        );
        let headers = &seen["headers"];
        for (name, value) in [
            ("host", Some("localhost:3000")),
            ("origin", Some("http://localhost:3000")),
            ("referer", Some("http://localhost:3000/page")),
            ("cookie", Some("app=1")),
            ("authorization", Some("Bearer of-the-app")),
            ("x-forwarded-host", None),
        ] {
            assert_eq!(headers[name].as_str(), value, "{name}: {headers}");
        }
        let seen = browser
            .echo(browser.request(Method::GET, "/echo").bearer_auth("mst_ours"))
            .await?;
        assert_eq!(
            (&seen["headers"]["authorization"], &seen["headers"]["cookie"]),
            (&json!(null), &json!(null))
        );
    }
    Ok(())
}

#[tokio::test]
async fn answers_lead_back_to_the_preview() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let origin = browser.origin();
    for (to, location) in [
        ("http://localhost:3000/a?b", format!("{origin}/a?b")),
        ("http://127.0.0.1:3000/a", format!("{origin}/a")),
        ("/a", "/a".to_owned()),
        ("https://example.com/", "https://example.com/".to_owned()),
        ("http://localhost:8000/", format!("{origin}/.mistle/port/8000/")),
    ] {
        let path = format!("/redirect?to={}", to.replace('?', "%3F"));
        let response = browser.get(&path).await?;
        assert_eq!(
            (response.status(), response.headers()["location"].to_str()?),
            (StatusCode::FOUND, location.as_str())
        );
    }
    let response = browser.get("/cookies").await?;
    let cookies: Vec<&str> = response
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|cookie| cookie.to_str().unwrap())
        .collect();
    assert_eq!(cookies, ["app=1; Path=/", "two=2; HttpOnly"]);
    assert_eq!(browser.get("/missing").await?.status(), StatusCode::NOT_FOUND);
    let head = browser.request(Method::HEAD, "/").send().await?;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers().get("content-length"), None);
    Ok(())
}

#[tokio::test]
async fn bodies_of_any_size_stream_both_ways() -> Result<()> {
    const SIZE: usize = 100 * MIB;
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let chunk = Bytes::from(vec![7; MIB]);
    let chunks = futures::stream::iter((0..SIZE / MIB).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let began = Instant::now();
    let request = browser
        .request(Method::POST, "/upload")
        .body(reqwest::Body::wrap_stream(chunks));
    let seen = browser.echo(request).await?;
    println!("100 MiB up in {:?}", began.elapsed());
    assert_eq!(seen["bytes"], SIZE);

    let began = Instant::now();
    let mut response = browser.get(&format!("/download?bytes={SIZE}")).await?;
    let mut received = 0;
    while let Some(bytes) = soon(response.chunk()).await? {
        assert!(bytes.iter().all(|byte| *byte == 7));
        received += bytes.len();
    }
    println!("100 MiB down in {:?}", began.elapsed());
    assert_eq!(received, SIZE);
    Ok(())
}

#[tokio::test]
async fn readers_that_stop_hold_up_nobody_else() -> Result<()> {
    const READERS: usize = 48;
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let mut stopped = Vec::new();
    for _ in 0..READERS {
        // More than every buffer on the way takes.
        stopped.push(browser.get(&format!("/download?bytes={}", 256 * MIB)).await?);
    }
    // As much as a stream's window takes is under way on each, so all of them stand still.
    let full = format!("/written?downloads={READERS}&bytes={MIB}");
    assert_eq!(browser.get(&full).await?.status(), StatusCode::OK);
    // Held up, these would wait for as long as the others stand still, which is for ever.
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK);
    assert_eq!(soon(world.ports()).await?.len(), 1);
    drop(stopped);
    Ok(())
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let mut response = browser.get("/events").await?;
    for number in 1..=5 {
        // The app sends the next one only when it is told to, which is when this one has arrived.
        assert_eq!(browser.get("/send").await?.status(), StatusCode::OK);
        let bytes = soon(response.chunk()).await?.context("the stream ended")?;
        assert_eq!(bytes, format!("data: {number}\n\n"));
    }

    // A reader that goes away ends the app's stream; others go on.
    drop(response);
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn websockets_pass_with_the_origin_that_an_app_expects() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let mut socket = browser.websocket("/ws", HeaderMap::new()).await?;
    let first = soon(socket.next()).await.context("no message")??;
    assert_eq!(first, Message::text("localhost:3000 http://localhost:3000"));
    let began = Instant::now();
    for number in 0..100 {
        socket.send(Message::text(format!("{number}"))).await?;
        let heard = soon(socket.next()).await.context("no message")??;
        assert_eq!(heard, Message::text(format!("heard {number}")));
    }
    println!("a message there and back in {:?}", began.elapsed() / 100);
    socket.close(None).await?;
    while let Some(Ok(_)) = soon(socket.next()).await {}
    Ok(())
}

#[tokio::test]
async fn many_requests_at_once_are_kept_apart() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let began = Instant::now();
    let answers = futures::stream::iter(0..500)
        .map(async |number| {
            let seen = browser
                .echo(browser.request(Method::GET, &format!("/echo?{number}")))
                .await?;
            assert_eq!(seen["url"], format!("/echo?{number}"));
            Ok::<_, anyhow::Error>(())
        })
        .buffer_unordered(32);
    let failed: Vec<_> = answers.filter_map(async |answer| answer.err()).collect().await;
    assert!(failed.is_empty(), "{failed:?}");
    println!("500 requests in {:?}", began.elapsed());

    // A connection that the app has closed meanwhile is not taken for a failure.
    assert_eq!(browser.get("/hang-up-on-all").await?.status(), StatusCode::OK);
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_page_says_what_is_wrong_and_what_to_do() -> Result<()> {
    let world = World::start().await?;
    let app = world.app(3000).await?;
    let _python = world
        .run(&[
            "python3",
            "-c",
            "import http.server as h;s=h.ThreadingHTTPServer((\"127.0.0.1\",8000),h.SimpleHTTPRequestHandler);print(\"listens\",flush=True);s.serve_forever()",
        ])
        .await?;
    let _database = world
        .run(&[
            "python3",
            "-c",
            "import socket;s=socket.create_server((\"127.0.0.1\",5432));print(\"listens\",flush=True)\nwhile True:\n c=s.accept()[0];c.recv(9999);c.sendall(b\"no http\\n\");c.close()",
        ])
        .await?;
    let browser = world.browser(3000).await?;
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK);
    let (status, page) = browser.text("/hangup").await?;
    assert_eq!(
        (status, page.contains("closed the connection")),
        (StatusCode::BAD_GATEWAY, true),
        "{page}"
    );
    let (status, page) = world.browser(5432).await?.text("/").await?;
    assert_eq!(
        (status, page.contains("not HTTP")),
        (StatusCode::BAD_GATEWAY, true),
        "{page}"
    );
    let (status, page) = world.browser(8000).await?.text("/").await?;
    assert_eq!(
        (status, page.contains("Directory listing")),
        (StatusCode::OK, true),
        "{page}"
    );

    app.end().await;
    // A program that is just ending may still take a connection.
    let closed = async || -> Result<(StatusCode, String)> {
        loop {
            let (status, page) = browser.text("/").await?;
            if status != StatusCode::OK && !page.contains("closed the connection") {
                return Ok((status, page));
            }
        }
    };
    let (status, page) = soon(closed()).await?;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(page.contains("Nothing listens on port 3000"), "{page}");
    assert!(page.contains(&format!("/open/{}/8000", world.session)), "{page}");
    assert!(page.contains("http.server"), "{page}");
    // A program gets a problem.
    let json = HeaderMap::from_iter([(http::header::ACCEPT, "application/json".parse()?)]);
    let response = browser.request(Method::GET, "/").headers(json).send().await?;
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = response.json().await?;
    assert_eq!(
        (&problem["type"], &problem["status"]),
        (&json!("port-closed"), &json!(502))
    );

    let _app = world.app(3000).await?;
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK, "the same port again");

    world.api().act(world.session, "stop").await?;
    world.state(SessionState::Stopped).await?;
    let (status, page) = browser.text("/").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        page.contains("stopped") && page.contains(&format!("/s/{}", world.session)),
        "{page}"
    );

    world
        .api()
        .request::<serde_json::Value>(Method::DELETE, &format!("/sessions/{}", world.session), None::<&()>)
        .await?;
    let (status, page) = browser.text("/").await?;
    assert_eq!(
        (status, page.contains("This session is deleted")),
        (StatusCode::GONE, true),
        "{page}"
    );
    Ok(())
}
