//! Who gets in, and who does not.

use anyhow::Result;
use futures::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use mistle_protocol::api::{CreatedToken, NewToken};
use mistle_protocol::ports::OpenedPort;
use mistle_testkit::Api;
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Browser, World, host, soon};

#[tokio::test]
async fn a_code_opens_one_preview_once() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;

    let mut browser = world.stranger(3000);
    let (status, page) = browser.text("/deep?x=1").await?;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(page.contains("Not allowed"), "{page}");
    let back = format!("/open/{}/3000?to=%2Fdeep%3Fx%3D1", world.session);
    assert!(page.contains(&back), "{page}");

    let url = world.opening(3000).await?;
    let opened = browser.open(&url).await?;
    assert_eq!(
        (opened.status(), opened.headers()["location"].to_str()?),
        (StatusCode::SEE_OTHER, "/")
    );
    assert_eq!(opened.headers()["referrer-policy"], "no-referrer");
    let cookie = opened.headers()["set-cookie"].to_str()?;
    assert!(
        cookie.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age="),
        "{cookie}"
    );
    assert!(!cookie.to_ascii_lowercase().contains("domain"));
    assert_eq!(
        browser.text("/").await?,
        (StatusCode::OK, "<h1>port 3000</h1>".to_owned())
    );

    // Again: nothing for a stranger; whoever is in already is led on.
    let mut second = world.stranger(3000);
    assert_eq!(second.open(&url).await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(second.cookie, None);
    let again = browser
        .request(Method::GET, &url[url::Position::BeforePath..])
        .send()
        .await?;
    assert_eq!(again.status(), StatusCode::SEE_OTHER);

    // A code for another port, and what becomes of it.
    let url = world.opening(3000).await?;
    let mut elsewhere = world.stranger(3001);
    let moved: Url = format!("{}{}", elsewhere.origin(), &url[url::Position::BeforePath..]).parse()?;
    assert_eq!(elsewhere.open(&moved).await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        second.open(&url).await?.status(),
        StatusCode::FORBIDDEN,
        "a try spends it"
    );
    Ok(())
}

#[tokio::test]
async fn one_preview_does_not_open_another() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let other = world.api().new_session("", "say: hello").await?.id;

    for host in [world.host(3001), host(other, 3000, world.address())] {
        let mut thief = Browser::new(host, world.address(), false);
        thief.cookie.clone_from(&browser.cookie);
        assert_eq!(thief.get("/").await?.status(), StatusCode::FORBIDDEN, "{}", thief.host);
    }
    // The pass is none on the control plane, and the control plane's token none here.
    let me = format!("{}/api/v1/me", world.api().url());
    let pass = browser.cookie.clone().unwrap();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let value = pass.split_once('=').unwrap().1;
    for cookie in [pass.clone(), format!("mistle={value}")] {
        assert_eq!(
            http.get(&me).header("cookie", cookie).send().await?.status(),
            StatusCode::UNAUTHORIZED
        );
    }
    let token = std::fs::read_to_string(world.server.data_dir().join("cli-token"))?;
    let stranger = world.stranger(3000);
    let sent = stranger
        .request(Method::GET, "/")
        .bearer_auth(token.trim())
        .send()
        .await?;
    assert_eq!(sent.status(), StatusCode::FORBIDDEN);

    // The API is not on the preview's origin.
    assert_eq!(browser.get("/api/v1/me").await?.status(), StatusCode::NOT_FOUND);
    let (_, body) = browser.text("/api/v1/me").await?;
    assert_eq!(body, "", "the app's own answer");
    Ok(())
}

/// One request, as its bytes are; the status line and headers of its answer.
async fn raw(world: &World, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(world.address()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
        match soon(stream.read(&mut buffer)).await? {
            0 => break,
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(String::from_utf8(answer)?)
}

#[tokio::test]
async fn a_forged_host_leads_nowhere() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let (host, cookie) = (browser.host.clone(), browser.cookie.clone().unwrap());
    let name = host.split(':').next().unwrap();
    let ask = |hosts: &[&str], target: &str| {
        let hosts = hosts.join("\r\nHost: ");
        format!("GET {target} HTTP/1.1\r\nHost: {hosts}\r\nCookie: {cookie}\r\nAccept: text/html\r\n\r\n")
    };
    for (hosts, target, status) in [
        (vec![host.as_str()], "/", "200"),
        (vec![&host.to_uppercase()], "/", "200"),
        (vec![name], "/", "200"),
        (vec![&host], &format!("http://{host}/"), "200"),
        (vec![&host, &host], "/", "400"),
        (vec![&host, "localhost"], "/", "400"),
        (vec!["localhost"], &format!("http://{host}/"), "400"),
        (vec![&host], "http://localhost/api/v1/me", "400"),
        (vec![&format!("{name}.")], "/", "404"),
        (vec![&format!("0{host}")], "/", "404"),
        (vec![&format!("x.{host}")], "/", "404"),
        (vec![&host.replace("3000--", "3000-")], "/", "404"),
        (vec![&host.replace("3000--", "3001--")], "/", "403"),
        (vec![&host.replace("3000--", "3000--ses_")], "/", "404"),
        (vec!["x.localhost"], "/api/v1/openapi.json", "404"),
    ] {
        let answer = raw(&world, &ask(&hosts, target)).await?;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{hosts:?} {target}: {answer}"
        );
    }
    // Not below the domain: the control plane, where the pass is nothing.
    let answer = raw(&world, &ask(&[&format!("{name}.evil.example")], "/api/v1/me")).await?;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let answer = raw(
        &world,
        &format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"),
    )
    .await?;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    Ok(())
}

#[tokio::test]
async fn other_sites_can_only_link() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let browser = world.browser(3000).await?;
    let foreign = |pairs: &[(&'static str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect::<HeaderMap>()
    };
    let evil = foreign(&[("origin", "http://evil.example")]);
    for (method, headers, status) in [
        (Method::POST, evil.clone(), StatusCode::FORBIDDEN),
        (Method::POST, foreign(&[("origin", &browser.origin())]), StatusCode::OK),
        (
            Method::GET,
            foreign(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
            StatusCode::OK,
        ),
        (
            Method::GET,
            foreign(&[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")]),
            StatusCode::FORBIDDEN,
        ),
    ] {
        let response = browser.request(method, "/echo").headers(headers.clone()).send().await?;
        assert_eq!(response.status(), status, "{headers:?}");
    }
    assert!(browser.websocket("/ws", evil).await.is_err());
    assert!(world.stranger(3000).websocket("/ws", HeaderMap::new()).await.is_err());
    assert!(browser.websocket("/ws", HeaderMap::new()).await.is_ok());
    Ok(())
}

#[tokio::test]
async fn a_pass_outlives_the_server_and_not_its_credential() -> Result<()> {
    let mut world = World::start().await?;
    let new = NewToken { name: "x".to_owned() };
    let created: CreatedToken = world.api().post("/tokens", &new).await?;
    let api = Api::new(world.api().url().to_owned(), created.secret)?;
    let path = format!("/sessions/{}/ports/3000/open", world.session);
    let url = async || -> Result<Url> { Ok(api.post_empty::<OpenedPort>(&path).await?.url.parse()?) };
    let mut browser = world.stranger(3000);
    browser.open(&url().await?).await?;
    let unspent = url().await?;

    world.server.kill().await?;
    world.server.start_again().await?;
    // Commands end with the connection that they were asked for on.
    let _app = loop {
        if let Ok(app) = world.app(3000).await {
            break app;
        }
    };
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK);
    let mut late = world.stranger(3000);
    assert_eq!(
        late.open(&unspent).await?.status(),
        StatusCode::FORBIDDEN,
        "codes are kept in memory"
    );

    let mut socket = browser.websocket("/ws", HeaderMap::new()).await?;
    soon(socket.next()).await.unwrap()?;
    let mut events = browser.get("/events").await?;
    assert_eq!(browser.get("/send").await?.status(), StatusCode::OK);
    assert!(soon(events.chunk()).await?.is_some());
    world
        .api()
        .request::<serde_json::Value>(Method::DELETE, &format!("/tokens/{}", created.token.id), None::<&()>)
        .await?;
    while let Some(Ok(_)) = soon(socket.next()).await {}
    while let Ok(Some(_)) = soon(events.chunk()).await {}
    assert_eq!(browser.get("/").await?.status(), StatusCode::FORBIDDEN);
    Ok(())
}

#[tokio::test]
async fn a_signed_in_browser_follows_a_link() -> Result<()> {
    let world = World::start().await?;
    let _app = world.app(3000).await?;
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let link = format!("{}/open/{}/3000?to=/deep", world.api().url(), world.session);
    let stranger = http.get(&link).send().await?;
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);

    let signed_in = http.get(&world.server.login_link).send().await?;
    let cookie = signed_in.headers()["set-cookie"]
        .to_str()?
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let ahead = http
        .get(&link)
        .header("cookie", &cookie)
        .header("sec-purpose", "prefetch");
    assert_eq!(ahead.send().await?.status(), StatusCode::NO_CONTENT);
    let response = http.get(&link).header("cookie", &cookie).send().await?;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let url: Url = response.headers()["location"].to_str()?.parse()?;
    let mut browser = world.stranger(3000);
    let opened = browser.open(&url).await?;
    assert_eq!(opened.headers()["location"], "/deep");
    assert_eq!(browser.get("/").await?.status(), StatusCode::OK);

    for outside in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let mut link: Url = link.parse()?;
        link.query_pairs_mut().clear().append_pair("to", outside);
        let response = http.get(link).header("cookie", &cookie).send().await?;
        let url: Url = response.headers()["location"].to_str()?.parse()?;
        assert_eq!(browser.open(&url).await?.headers()["location"], "/", "{outside}");
    }

    // Signing out ends what was opened.
    let origin = world.api().url();
    let out = http.post(format!("{origin}/api/v1/logout")).header("cookie", &cookie);
    assert_eq!(
        out.header("origin", origin).send().await?.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(browser.get("/").await?.status(), StatusCode::FORBIDDEN);
    Ok(())
}
