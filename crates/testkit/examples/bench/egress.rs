//! What the egress gateway adds to a connection, and how much it carries beside mitmproxy: both
//! read each request and pass it on to the same server. Over loopback, in one process with the
//! load; the relay in the sandbox is not part of it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{Empty, Full};
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mistle_egress::{Gateway, GatewayConfig, PermittedAddresses, Policy, ProviderRoute, SandboxEgress};
use mistle_protocol::id::SessionId;
use mistle_protocol::profile::EgressPolicy;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::figures::{Budget, Report};
use crate::http::Connection;
use crate::peers::{self, Peer};

type Sandbox = http2::SendRequest<Empty<Bytes>>;

/// Round trips one after the other.
const ROUNDS: usize = 2000;
/// Connections at once, and how long they ask as fast as they can.
const CONNECTIONS: usize = 32;
const BUSY: Duration = Duration::from_secs(3);
const BULK: usize = 256 * 1024 * 1024;
const MODEL: &str = "demo.model.mistle.internal";

/// Measures tunnels, requests and bulk through the gateway, and requests through mitmproxy.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let (echo, upstream) = (echo().await?, upstream().await?);
    let sandbox = sandbox(echo, upstream).await?;

    let direct = echo_rounds(TcpStream::connect(echo).await?).await?;
    let through = echo_rounds(open(&sandbox, &echo.to_string()).await?).await?;
    added(
        report,
        "egress, tunnel: a byte and back, added",
        Some(0.3),
        direct,
        through,
    );

    let direct = opening(|| async { Ok(TcpStream::connect(echo).await?) }).await?;
    let through = opening(|| async { open(&sandbox, &echo.to_string()).await }).await?;
    added(
        report,
        "egress, tunnel: open and first byte, added",
        Some(0.3),
        direct,
        through,
    );

    let request = format!("GET /v1/models HTTP/1.1\r\nHost: {MODEL}\r\n\r\n").into_bytes();
    let model = format!("{MODEL}:80");
    let direct = request_rounds(TcpStream::connect(upstream).await?, &request).await?;
    let through = request_rounds(open(&sandbox, &model).await?, &request).await?;
    added(
        report,
        "egress, request read and passed on, added",
        Some(0.3),
        direct,
        through,
    );

    let direct = bulk(TcpStream::connect(echo).await?).await?;
    let through = bulk(open(&sandbox, &echo.to_string()).await?).await?;
    report.add("egress, bulk there and back, direct", "MB/s", None, &[direct]);
    report.add("egress, bulk there and back, tunnel", "MB/s", None, &[through]);

    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::new(open(&sandbox, &model).await?));
    }
    let what = format!("egress, {CONNECTIONS} connections");
    let ours = report.add(&what, "requests/s", None, &[busy(connections, &request).await?]);
    mitmproxy(report, upstream, ours).await
}

/// The same requests through mitmproxy as a forward proxy.
async fn mitmproxy(report: &mut Report, upstream: SocketAddr, ours: f64) -> Result<()> {
    if peers::find("mitmdump").is_none() {
        report.note("peer mitmproxy: absent");
        return Ok(());
    }
    let (port, state) = (peers::free_port()?, tempfile::tempdir()?);
    let mut command = Command::new("mitmdump");
    command.args([
        "--quiet",
        "--listen-host",
        "127.0.0.1",
        "--listen-port",
        &port.to_string(),
    ]);
    // Otherwise it keeps every request, and slows down with them.
    command.args(["--set", "flow_detail=0", "--set", "stream_large_bodies=1", "--set"]);
    command.arg(format!("confdir={}", state.path().display()));
    let _mitmproxy = Peer::start(&mut command, port).await?;
    let request = format!("GET http://{upstream}/v1/models HTTP/1.1\r\nHost: {upstream}\r\n\r\n").into_bytes();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(port).await?);
    }
    let what = format!("peer: mitmproxy, {CONNECTIONS} connections");
    let theirs = report.add(&what, "requests/s", None, &[busy(connections, &request).await?]);
    report.add("egress ÷ mitmproxy", "×", Some(Budget::AtLeast(20.0)), &[ours / theirs]);
    Ok(())
}

/// Adds the medians' difference and both rows it comes from.
fn added(report: &mut Report, what: &str, most_ms: Option<f64>, direct: Vec<Duration>, through: Vec<Duration>) {
    let mut differences: Vec<f64> = Vec::with_capacity(direct.len());
    let sorted = |mut times: Vec<Duration>| {
        times.sort();
        times
    };
    // Quantile by quantile, so that the p99 of the row is what the gateway adds to the slow ones.
    for (direct, through) in sorted(direct).into_iter().zip(sorted(through)) {
        differences.push((through.as_secs_f64() - direct.as_secs_f64()) * 1000.0);
    }
    report.add(what, "ms", most_ms.map(Budget::AtMost), &differences);
}

async fn echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    Ok(address)
}

/// A server that answers everything with one kilobyte.
async fn upstream() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let page = Full::new(Bytes::from_static(&[b'x'; 1024]));
            let answer = service_fn(move |_| {
                let page = page.clone();
                async move { Ok::<_, std::convert::Infallible>(Response::new(page)) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(address)
}

async fn sandbox(echo: SocketAddr, upstream: SocketAddr) -> Result<Sandbox> {
    let gateway = Gateway::new(GatewayConfig {
        permitted: PermittedAddresses::parse(&["127.0.0.1".to_owned()])?,
    })?;
    let route = ProviderRoute::new("demo", format!("http://{upstream}/v1").parse()?, None)?;
    let allowed = EgressPolicy {
        allow: vec![echo.to_string()],
    };
    let (recorder, mut records) = mpsc::channel(1024);
    tokio::spawn(async move { while records.recv().await.is_some() {} });
    let (_, policy) = watch::channel(Arc::new(Policy::new(&allowed, Some(route))?));
    let egress = SandboxEgress {
        session_id: SessionId::new(),
        policy,
        recorder: Arc::new(recorder),
    };
    let (inside, outside) = tokio::net::UnixStream::pair()?;
    tokio::spawn(async move { gateway.serve(outside, egress).await });
    let mut client = http2::Builder::new(TokioExecutor::new());
    client
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(8 * 1024 * 1024);
    let (sender, connection) = client.handshake(TokioIo::new(inside)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn open(sandbox: &Sandbox, target: &str) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(target)
        .body(Empty::new())?;
    let response = sandbox.clone().send_request(request).await?;
    if !response.status().is_success() {
        bail!("{target} was refused: {}", response.status());
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

async fn echo_rounds(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        times.push(echo_round(&mut stream).await?);
    }
    Ok(times)
}

async fn echo_round(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Duration> {
    let began = Instant::now();
    stream.write_all(b"x").await?;
    stream.flush().await?;
    stream.read_u8().await?;
    Ok(began.elapsed())
}

async fn opening<S, F>(open: impl Fn() -> F) -> Result<Vec<Duration>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<S>>,
{
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        echo_round(&mut open().await?).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn request_rounds(stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Result<Vec<Duration>> {
    let mut connection = Connection::new(stream);
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let answer = connection.round(request).await?;
        if answer.status != 200 {
            bail!("answered {}", answer.status);
        }
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Answers a second on many connections.
async fn busy<S>(connections: Vec<Connection<S>>, request: &[u8]) -> Result<f64>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let began = Instant::now();
    let asked = connections.into_iter().map(|mut connection| {
        let request = request.to_vec();
        tokio::spawn(async move {
            let mut answers = 0_usize;
            while began.elapsed() < BUSY {
                if connection.round(&request).await?.status == 200 {
                    answers += 1;
                }
            }
            anyhow::Ok(answers)
        })
    });
    let mut answers = 0;
    for asked in futures::future::join_all(asked).await {
        answers += asked??;
    }
    Ok(answers as f64 / began.elapsed().as_secs_f64())
}

/// Megabytes a second that come back.
async fn bulk(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Result<f64> {
    let (mut read, mut write) = tokio::io::split(stream);
    let began = Instant::now();
    let writing = tokio::spawn(async move {
        let block = vec![0; 64 * 1024];
        for _ in 0..BULK / block.len() {
            write.write_all(&block).await?;
        }
        write.shutdown().await
    });
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    while total < BULK {
        match read.read(&mut buffer).await? {
            0 => bail!("the tunnel ended after {total} bytes"),
            length => total += length,
        }
    }
    writing.await?.context("write")?;
    Ok(total as f64 / 1e6 / began.elapsed().as_secs_f64())
}
