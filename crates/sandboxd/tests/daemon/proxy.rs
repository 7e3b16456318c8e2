//! The proxy, between real programs and a gateway that speaks the egress link's protocol.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mistle_protocol::control::EGRESS_SOCKET;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Control, Daemon, eventually, soon};

/// What the server's end of the egress link does: names are looked up in a table, others refused.
#[derive(Clone, Default)]
struct Gateway {
    names: Arc<BTreeMap<String, SocketAddr>>,
    asked: Arc<Mutex<Vec<String>>>,
}

const REFUSAL: &str = r#"{"type":"egress-denied","title":"Forbidden","status":403,"detail":"no rule allows it"}"#;

impl Gateway {
    fn new<const N: usize>(names: [(&str, SocketAddr); N]) -> Self {
        Self {
            names: Arc::new(names.map(|(name, address)| (name.to_owned(), address)).into()),
            asked: Arc::default(),
        }
    }

    /// Serves until it is dropped.
    fn serve(&self, daemon: &Daemon) -> AbortOnDropHandle<()> {
        let path = daemon.folder().join(EGRESS_SOCKET);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(path).unwrap();
        let gateway = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut links = tokio::task::JoinSet::new();
            loop {
                let (link, _) = listener.accept().await.unwrap();
                let gateway = gateway.clone();
                links.spawn(async move {
                    let service = service_fn(move |request| gateway.clone().answer(request));
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(link), service)
                        .await;
                });
            }
        }))
    }

    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        assert_eq!(request.method(), http::Method::CONNECT);
        let target = request.uri().authority().unwrap().to_string();
        self.asked.lock().unwrap().push(target.clone());
        let Some(address) = self.names.get(&target) else {
            let response = Response::builder()
                .status(403)
                .header("content-type", "application/problem+json")
                .body(Full::from(REFUSAL));
            return Ok(response.unwrap());
        };
        let mut upstream = TcpStream::connect(address).await.unwrap();
        upstream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut stream = TokioIo::new(hyper::upgrade::on(&mut request).await.unwrap());
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
        });
        Ok(Response::new(Full::default()))
    }
}

/// The proxy's address, as programs in the sandbox are told.
async fn proxy_of(control: &Control) -> SocketAddr {
    let (proxy, code) = control.output_of(&["printenv", "HTTPS_PROXY"]).await;
    assert_eq!(code, 0);
    proxy.trim().strip_prefix("http://").unwrap().parse().unwrap()
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Says a request's head to the proxy and reads the head of its answer.
async fn ask(proxy: SocketAddr, request: &str) -> (String, TcpStream) {
    let mut stream = begin(proxy, request).await;
    (head(&mut stream).await, stream)
}

/// Says a request's head to the proxy.
async fn begin(proxy: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream
        .write_all(request.replace('\n', "\r\n").as_bytes())
        .await
        .unwrap();
    stream
}

/// Reads the head of an answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

async fn open_tunnel(proxy: SocketAddr, target: &str) -> TcpStream {
    let (answer, stream) = ask(proxy, &format!("CONNECT {target} HTTP/1.1\nHost: {target}\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stream
}

#[tokio::test]
async fn a_tunnel_carries_bytes_both_ways_and_each_half_is_closed_alone() {
    let daemon = Daemon::start();
    let (listener, address) = listen().await;
    let _gateway = Gateway::new([("echo.example:443", address)]).serve(&daemon);
    let mut client = open_tunnel(proxy_of(&daemon.connect().await).await, "echo.example:443").await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();

    client.write_all(b"ping").await.unwrap();
    let mut buffer = [0; 4];
    soon(server.read_exact(&mut buffer)).await.unwrap();
    server.write_all(b"pong").await.unwrap();
    soon(client.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"pong");

    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = String::new();
    soon(server.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "last words");
    // The other half is open still.
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut heard = String::new();
    soon(client.read_to_string(&mut heard)).await.unwrap();
    assert_eq!(heard, "answer");
}

#[tokio::test]
async fn much_passes_whole_both_ways_at_once() {
    const BYTES: usize = 32 * 1024 * 1024;
    let daemon = Daemon::start();
    let (listener, address) = listen().await;
    let _gateway = Gateway::new([("bulk.example:443", address)]).serve(&daemon);
    let client = open_tunnel(proxy_of(&daemon.connect().await).await, "bulk.example:443").await;
    let (server, _) = soon(listener.accept()).await.unwrap();
    let bytes: Arc<Vec<u8>> = Arc::new((0..BYTES).map(|byte| (byte % 251) as u8).collect());
    let pass = |stream: TcpStream, bytes: Arc<Vec<u8>>| async move {
        let (mut read, mut write) = stream.into_split();
        let mut heard = Vec::with_capacity(BYTES);
        let (sent, received) = tokio::join!(
            async {
                write.write_all(&bytes).await?;
                write.shutdown().await
            },
            read.read_to_end(&mut heard)
        );
        sent.unwrap();
        received.unwrap();
        heard == *bytes
    };
    assert_eq!(
        soon(async { tokio::join!(pass(client, bytes.clone()), pass(server, bytes)) }).await,
        (true, true)
    );
}

#[tokio::test]
async fn a_stalled_tunnel_holds_up_no_other_and_no_memory() {
    let daemon = Daemon::start();
    let (listener, address) = listen().await;
    let _gateway = Gateway::new([("stalled.example:443", address), ("lively.example:443", address)]).serve(&daemon);
    let control = daemon.connect().await;
    let proxy = proxy_of(&control).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        // The client never reads; the server writes as long as something takes it.
        let client = open_tunnel(proxy, "stalled.example:443").await;
        let (mut server, _) = soon(listener.accept()).await.unwrap();
        let chunk = vec![0; 256 * 1024];
        let mut written = 0;
        while tokio::time::timeout(Duration::from_millis(300), server.write_all(&chunk))
            .await
            .is_ok()
        {
            written += chunk.len();
            assert!(written < 64 * 1024 * 1024, "nothing holds it back");
        }
        stalled.push((client, server));
    }
    let mut client = open_tunnel(proxy, "lively.example:443").await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    server.write_all(b"here").await.unwrap();
    let mut buffer = [0; 4];
    soon(client.read_exact(&mut buffer)).await.unwrap();
    let health: mistle_protocol::control::Health = control.get("/health").await;
    assert!(health.resident_bytes < 64 * 1024 * 1024, "{}", health.resident_bytes);
}

#[tokio::test]
async fn a_closed_client_closes_the_other_end() {
    let daemon = Daemon::start();
    let (listener, address) = listen().await;
    let _gateway = Gateway::new([("far.example:443", address)]).serve(&daemon);
    let client = open_tunnel(proxy_of(&daemon.connect().await).await, "far.example:443").await;
    let (mut server, _) = soon(listener.accept()).await.unwrap();
    drop(client);
    assert_eq!(soon(server.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn the_gateways_refusal_reaches_the_program() {
    let daemon = Daemon::start();
    let gateway = Gateway::default();
    let _serving = gateway.serve(&daemon);
    let proxy = proxy_of(&daemon.connect().await).await;
    for (asked, target) in [
        (
            "CONNECT denied.example:443 HTTP/1.1\nHost: denied.example:443\n\n",
            "denied.example:443",
        ),
        (
            "GET http://denied.example/ HTTP/1.1\nHost: denied.example\n\n",
            "denied.example:80",
        ),
    ] {
        let (head, mut stream) = ask(proxy, asked).await;
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(
            head.to_lowercase()
                .contains("content-type: application/problem+json\r\n"),
            "{head}"
        );
        let mut body = vec![0; REFUSAL.len()];
        soon(stream.read_exact(&mut body)).await.unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), REFUSAL);
        assert_eq!(gateway.asked.lock().unwrap().last().unwrap(), target);
    }
}

#[tokio::test]
async fn what_is_no_proxy_request_gets_no_connection() {
    let daemon = Daemon::start();
    let gateway = Gateway::default();
    let _serving = gateway.serve(&daemon);
    let proxy = proxy_of(&daemon.connect().await).await;
    for wrong in [
        "GET / HTTP/1.1\nHost: x\n\n",
        "CONNECT example.com HTTP/1.1\nHost: x\n\n",
        "GET https://example.com/ HTTP/1.1\nHost: x\n\n",
    ] {
        assert!(
            ask(proxy, wrong).await.0.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{wrong}"
        );
    }
    assert_eq!(*gateway.asked.lock().unwrap(), Vec::<String>::new());
}

/// A web server that says what it was asked, and streams at `/stream`.
async fn web_server() -> (SocketAddr, AbortOnDropHandle<()>, Arc<tokio::sync::Notify>) {
    type Body = UnsyncBoxBody<Bytes, Infallible>;
    async fn answer(
        request: Request<Incoming>,
        go_on: Arc<tokio::sync::Notify>,
    ) -> Result<Response<Body>, hyper::Error> {
        if request.uri().path() == "/stream" {
            let events = futures::stream::unfold(0, move |event| {
                let go_on = go_on.clone();
                async move {
                    go_on.notified().await;
                    Some((Ok(Frame::data(Bytes::from(format!("data: {event}\n\n")))), event + 1))
                }
            });
            return Ok(Response::builder()
                .header("content-type", "text/event-stream")
                .body(StreamBody::new(events).boxed_unsync())
                .unwrap());
        }
        let (head, body) = request.into_parts();
        let mut names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        let said = format!(
            "{} {} host={:?} names={names:?}",
            head.method, head.uri, head.headers["host"]
        );
        let length = body.collect().await?.to_bytes().len();
        Ok(Response::builder()
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("x-kept", "1")
            .body(Full::from(format!("{said} body={length}")).boxed_unsync())
            .unwrap())
    }
    let (listener, address) = listen().await;
    let go_on = Arc::new(tokio::sync::Notify::new());
    let told = go_on.clone();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let told = told.clone();
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(request, told.clone())),
            ));
        }
    });
    (address, AbortOnDropHandle::new(serving), go_on)
}

#[tokio::test]
async fn a_plain_request_is_made_in_origin_form_without_the_hops_headers() {
    let daemon = Daemon::start();
    let (address, _web, _) = web_server().await;
    let _gateway = Gateway::new([("web.example:80", address), ("web.example:8080", address)]).serve(&daemon);
    let control = daemon.connect().await;
    let (said, code) = control
        .output_of(&[
            "curl",
            "-sS",
            "-i",
            "-H",
            "User-Agent:",
            "-H",
            "Proxy-Authorization: secret",
            "-H",
            "X-Own: 1",
            "http://web.example/a?b=c",
        ])
        .await;
    assert_eq!(code, 0);
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        r#"GET /a?b=c host="web.example" names=["accept", "host", "x-own"] body=0"#
    );
    assert!(head.contains("x-kept: 1") && !head.contains("x-hop"), "{head}");
    let (said, _) = control.output_of(&["/bin/sh", "-c", "head -c 3000000 /dev/zero | curl -sS -H User-Agent: -H Expect: -H Content-Type: --data-binary @- -H 'Transfer-Encoding: chunked' http://web.example:8080/up"]).await;
    assert_eq!(
        said,
        r#"POST /up host="web.example:8080" names=["accept", "host", "transfer-encoding"] body=3000000"#
    );
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let daemon = Daemon::start();
    let (address, _web, go_on) = web_server().await;
    let _gateway = Gateway::new([("web.example:80", address)]).serve(&daemon);
    let control = daemon.connect().await;
    let mut curl = control.exec(&["curl", "-sSN", "http://web.example/stream"]).await;
    for event in 0..20 {
        // The server says the next one only when this one has arrived.
        go_on.notify_one();
        curl.until(&format!("data: {event}\n\n")).await;
    }
}

#[tokio::test]
async fn a_new_connection_waits_for_a_link_that_is_away() {
    let daemon = Daemon::start();
    let (address, _web, _) = web_server().await;
    let gateway = Gateway::new([("web.example:80", address)]);
    let serving = gateway.serve(&daemon);
    let control = daemon.connect().await;
    let proxy = proxy_of(&control).await;
    open_tunnel(proxy, "web.example:80").await;
    drop(serving);
    let mut waiting = begin(proxy, "CONNECT web.example:80 HTTP/1.1\nHost: web.example:80\n\n").await;
    eventually("the reading of the request", || is_read(&waiting)).await;
    let _serving = gateway.serve(&daemon);
    let answer = head(&mut waiting).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

/// Whether the other end, on this machine, has accepted a connection and read everything that was said to it.
fn is_read(client: &TcpStream) -> bool {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let (own, other) = (port(client.local_addr().unwrap()), port(client.peer_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, remote, _, queues, _, _, _, _, inode, ..] = fields[..] else {
            return false;
        };
        // Nobody has accepted one without an inode.
        local.ends_with(&other) && remote.ends_with(&own) && queues.ends_with(":00000000") && inode != "0"
    })
}

#[tokio::test]
async fn a_link_that_stays_away_is_told() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    // It takes the daemon's patience: nothing says that nobody will come.
    let (said, code) = control
        .output_of(&["curl", "-sS", "-w", " %{http_code}", "http://web.example/"])
        .await;
    assert_eq!(code, 0);
    assert!(said.contains("\"egress-away\"") && said.ends_with(" 504"), "{said}");
}

#[tokio::test]
async fn a_lost_link_ends_its_tunnels() {
    let daemon = Daemon::start();
    let (listener, address) = listen().await;
    let gateway = Gateway::new([("far.example:443", address)]);
    let serving = gateway.serve(&daemon);
    let proxy = proxy_of(&daemon.connect().await).await;
    let mut client = open_tunnel(proxy, "far.example:443").await;
    let _server = soon(listener.accept()).await.unwrap();
    drop(serving);
    assert!(matches!(soon(client.read(&mut [0; 1])).await, Ok(0) | Err(_)));
    let _serving = gateway.serve(&daemon);
    open_tunnel(proxy, "far.example:443").await;
}

#[tokio::test]
async fn many_connections_at_once_are_served() {
    let daemon = Daemon::start();
    let (address, _web, _) = web_server().await;
    let gateway = Gateway::new([("web.example:80", address)]);
    let _serving = gateway.serve(&daemon);
    let proxy = proxy_of(&daemon.connect().await).await;
    let asked = futures::stream::iter(0..400)
        .map(|_| {
            ask(
                proxy,
                "GET http://web.example/ HTTP/1.1\nHost: web.example\nConnection: close\n\n",
            )
        })
        .buffer_unordered(64);
    let statuses: Vec<bool> = asked
        .map(|(head, _)| head.starts_with(&format!("HTTP/1.1 {}", StatusCode::OK.as_u16())))
        .collect()
        .await;
    assert_eq!(statuses, vec![true; 400]);
    eventually("400 connections", || gateway.asked.lock().unwrap().len() == 400).await;
}
