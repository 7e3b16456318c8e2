use std::time::Duration;

use futures::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::app::TestApp;

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Longer than anything here takes; only a hang ends there.
const HANG: Duration = Duration::from_mins(1);

async fn open(app: &TestApp, path: &str, origin: Option<&str>) -> Result<Socket, (u16, String)> {
    let mut request = app.api(path).replacen("http", "ws", 1).into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let problem: Value = serde_json::from_slice(response.body().as_deref().unwrap_or_default()).unwrap();
            Err((response.status().as_u16(), problem["type"].as_str().unwrap().to_owned()))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn ticket(app: &TestApp) -> String {
    let ticket = app.post("/tickets", &json!({ "purpose": "live" })).await;
    format!("/live?ticket={}", ticket["ticket"].as_str().unwrap())
}

/// The code with which the server closes.
async fn close_code(socket: &mut Socket) -> u16 {
    let closing = async {
        while let Some(message) = socket.next().await {
            if let Message::Close(Some(frame)) = message.unwrap() {
                return frame.code.into();
            }
        }
        panic!("the connection ended without a close frame")
    };
    tokio::time::timeout(HANG, closing).await.unwrap()
}

#[tokio::test]
async fn an_upgrade_needs_our_origin_and_a_fresh_ticket_for_it() {
    let app = TestApp::start().await;
    let origin = app.origin();
    let path = ticket(&app).await;
    for foreign in [
        None,
        Some("https://evil.example"),
        Some("null"),
        Some("http://localhost"),
    ] {
        assert_eq!(
            open(&app, &path, foreign).await.err(),
            Some((403, "foreign-origin".to_owned())),
            "{foreign:?}"
        );
    }
    assert!(open(&app, &path, Some(&origin)).await.is_ok());
    assert_eq!(
        open(&app, &path, Some(&origin)).await.err(),
        Some((403, "ticket-invalid".to_owned())),
        "twice"
    );
    assert_eq!(
        open(&app, "/live", Some(&origin)).await.err(),
        Some((401, "unauthenticated".to_owned()))
    );
    assert_eq!(
        open(&app, "/live?ticket=", Some(&origin)).await.err(),
        Some((403, "ticket-invalid".to_owned()))
    );
    let elsewhere = ticket(&app)
        .await
        .replace("/live", "/sessions/ses_00000000000000000000000000000000/live");
    assert_eq!(
        open(&app, &elsewhere, Some(&origin)).await.err(),
        Some((403, "ticket-invalid".to_owned()))
    );
}

#[tokio::test]
async fn a_cookie_alone_opens_nothing() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    let mut request = app
        .api("/live")
        .replacen("http", "ws", 1)
        .into_client_request()
        .unwrap();
    request.headers_mut().insert("cookie", cookie.parse().unwrap());
    request.headers_mut().insert("origin", app.origin().parse().unwrap());
    let Err(Error::Http(response)) = connect_async(request).await else {
        panic!("let in")
    };
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn signing_out_closes_the_streams_of_that_browser_and_no_others() {
    let app = TestApp::start().await;
    let cookie = app.sign_in().await;
    let by_cookie = |path: &str, body: Value| {
        app.http
            .post(app.api(path))
            .header("cookie", &cookie)
            .header("origin", app.origin())
            .json(&body)
            .send()
    };
    let issued: Value = by_cookie("/tickets", json!({ "purpose": "live" }))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let path = format!("/live?ticket={}", issued["ticket"].as_str().unwrap());
    let mut own = open(&app, &path, Some(&app.origin())).await.unwrap();
    let mut other = open(&app, &ticket(&app).await, Some(&app.origin())).await.unwrap();
    by_cookie("/logout", json!({})).await.unwrap();
    assert_eq!(close_code(&mut own).await, 4401);
    app.running.shutdown().await;
    assert_eq!(close_code(&mut other).await, 1001);
}

#[tokio::test]
async fn a_revoked_token_closes_its_streams() {
    let app = TestApp::start().await;
    let created = app.post("/tokens", &json!({ "name": "x" })).await;
    let request = app
        .http
        .post(app.api("/tickets"))
        .bearer_auth(created["secret"].as_str().unwrap());
    let issued: Value = request
        .json(&json!({ "purpose": "live" }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let path = format!("/live?ticket={}", issued["ticket"].as_str().unwrap());
    let mut socket = open(&app, &path, Some(&app.origin())).await.unwrap();
    let id = created["token"]["id"].as_str().unwrap();
    app.request(http::Method::DELETE, &format!("/tokens/{id}"))
        .send()
        .await
        .unwrap();
    assert_eq!(close_code(&mut socket).await, 4401);
}
