//! What the gateway adds: the time of a round trip straight to a server and through the gateway,
//! both over loopback in one process. `latency [ROUNDS]`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mistle_egress::{Gateway, GatewayConfig, PermittedAddresses, Policy, ProviderRoute, SandboxEgress};
use mistle_protocol::id::SessionId;
use mistle_protocol::profile::EgressPolicy;
use mistle_scripted_model::{Scenarios, serve};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Sandbox = http2::SendRequest<Empty<Bytes>>;

const BULK: usize = 256 * 1024 * 1024;
const REQUEST: &str = r#"{"model":"demo","messages":[{"role":"user","content":"say: hello"}]}"#;
const MODEL: &str = "demo.model.mistle.internal";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let rounds = std::env::args().nth(1).map_or(Ok(2000), |rounds| rounds.parse())?;
    let (echo, model) = (echo().await?, model().await?);
    let sandbox = sandbox(echo, model).await?;

    let direct = echo_rounds(TcpStream::connect(echo).await?, rounds).await?;
    let through = echo_rounds(open(&sandbox, &echo.to_string()).await?, rounds).await?;
    report("tunnel, 1 byte and back", direct, through)?;

    let direct = opening(rounds, || async { Ok(TcpStream::connect(echo).await?) }).await?;
    let through = opening(rounds, || async { open(&sandbox, &echo.to_string()).await }).await?;
    report("tunnel, open and first byte", direct, through)?;

    let direct = model_rounds(TokioIo::new(TcpStream::connect(model).await?), rounds).await?;
    let through = model_rounds(TokioIo::new(open(&sandbox, &format!("{MODEL}:80")).await?), rounds).await?;
    report("model, request and answer", direct, through)?;

    let direct = bulk(TcpStream::connect(echo).await?).await?;
    let through = bulk(open(&sandbox, &echo.to_string()).await?).await?;
    writeln!(
        std::io::stdout(),
        "bulk there and back: {direct:.0} MB/s direct, {through:.0} MB/s through the gateway"
    )?;
    Ok(())
}

fn report(what: &str, mut direct: Vec<Duration>, mut through: Vec<Duration>) -> Result<(), Failure> {
    let quantiles = |times: &mut Vec<Duration>| {
        times.sort();
        (
            times[times.len() / 2].as_micros(),
            times[times.len() * 99 / 100].as_micros(),
        )
    };
    let ((direct, direct_p99), (through, through_p99)) = (quantiles(&mut direct), quantiles(&mut through));
    writeln!(
        std::io::stdout(),
        "{what}: direct {direct} µs (p99 {direct_p99}), through {through} µs (p99 {through_p99})"
    )?;
    Ok(())
}

async fn echo() -> Result<SocketAddr, Failure> {
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

async fn model() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, Scenarios::builtin()));
    Ok(address)
}

async fn sandbox(echo: SocketAddr, model: SocketAddr) -> Result<Sandbox, Failure> {
    let config = GatewayConfig {
        permitted: PermittedAddresses::parse(&["127.0.0.1".to_owned()])?,
    };
    let gateway = Gateway::new(config)?;
    let route = ProviderRoute::new("demo", format!("http://{model}/v1").parse()?, None)?;
    let policy = Policy::new(
        &EgressPolicy {
            allow: vec![echo.to_string()],
        },
        Some(route),
    )?;
    let (recorder, mut records) = mpsc::channel(1024);
    tokio::spawn(async move { while records.recv().await.is_some() {} });
    let (_, policy) = watch::channel(Arc::new(policy));
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

async fn open(sandbox: &Sandbox, target: &str) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>, Failure> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(target)
        .body(Empty::new())?;
    let response = sandbox.clone().send_request(request).await?;
    if !response.status().is_success() {
        return Err(format!("{target} was refused: {}", response.status()).into());
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

async fn echo_rounds(mut stream: impl AsyncRead + AsyncWrite + Unpin, rounds: usize) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        stream.write_all(b"x").await?;
        stream.flush().await?;
        stream.read_u8().await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn opening<S, F>(rounds: usize, open: impl Fn() -> F) -> Result<Vec<Duration>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<S, Failure>>,
{
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let began = Instant::now();
        let stream = open().await?;
        echo_rounds(stream, 1).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

async fn model_rounds<IO>(io: TokioIo<IO>, rounds: usize) -> Result<Vec<Duration>, Failure>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let request = Request::builder()
            .method("POST")
            .uri("/v1/chat/completions")
            .header("host", MODEL);
        sender.ready().await?;
        let began = Instant::now();
        let response = sender.send_request(request.body(Full::<Bytes>::from(REQUEST))?).await?;
        response.into_body().collect().await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Megabytes each second that come back.
async fn bulk(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Result<f64, Failure> {
    let (mut read, mut write) = tokio::io::split(stream);
    let began = Instant::now();
    tokio::spawn(async move {
        let block = vec![0; 64 * 1024];
        for _ in 0..BULK / block.len() {
            if write.write_all(&block).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    while total < BULK {
        total += read.read(&mut buffer).await?;
    }
    Ok(total as f64 / 1e6 / began.elapsed().as_secs_f64())
}
