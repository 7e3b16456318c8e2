//! A sandbox's side of an egress connection, and servers to connect to.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mistle_egress::{
    Credential, Gateway, GatewayConfig, PermittedAddresses, Policy, ProviderRoute, Resolve, SandboxEgress, ServeError,
};
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::id::SessionId;
use mistle_protocol::problem::Problem;
use mistle_protocol::profile::EgressPolicy;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A resolver that knows a few names. Each lookup of a name takes the next of its answers, the
/// last one for ever.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    pub(crate) lookups: AtomicUsize,
}

impl Names {
    pub(crate) fn with(self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |addresses: &&[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answers
            .lock()
            .unwrap()
            .insert(name.to_owned(), answers.iter().map(parse).collect());
        self
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.get_mut(name) {
            Some(left) if left.len() > 1 => Ok(left.remove(0)),
            Some(left) => Ok(left[0].clone()),
            None => Err(io::Error::other("no such name")),
        };
        Box::pin(async move { answer })
    }
}

pub(crate) fn policy(allow: &[&str], provider: Option<ProviderRoute>) -> Arc<Policy> {
    let allow = allow.iter().map(|entry| (*entry).to_owned()).collect();
    Arc::new(Policy::new(&EgressPolicy { allow }, provider).unwrap())
}

pub(crate) fn provider(address: SocketAddr, key: &str) -> ProviderRoute {
    let url = format!("http://{address}/v1").parse().unwrap();
    ProviderRoute::new("demo", url, Some(Credential::Bearer(key.into()))).unwrap()
}

/// A gateway, and a sandbox that is connected to it.
pub(crate) struct Sandbox {
    pub(crate) gateway: Gateway,
    pub(crate) session_id: SessionId,
    pub(crate) policy: watch::Sender<Arc<Policy>>,
    pub(crate) records: mpsc::Receiver<EgressRecord>,
    pub(crate) serving: JoinHandle<Result<(), ServeError>>,
    sender: http2::SendRequest<Empty<Bytes>>,
}

impl Sandbox {
    pub(crate) async fn new(permitted: &[&str], names: Arc<Names>, policy: Arc<Policy>) -> Self {
        let permitted: Vec<String> = permitted.iter().map(|entry| (*entry).to_owned()).collect();
        let config = GatewayConfig {
            permitted: PermittedAddresses::parse(&permitted).unwrap(),
        };
        let gateway = Gateway::with_resolver(config, names).unwrap();
        let (policy, receiver) = watch::channel(policy);
        let (recorder, records) = mpsc::channel(64);
        let session_id = SessionId::new();
        let (inside, outside) = tokio::net::UnixStream::pair().unwrap();
        let egress = SandboxEgress {
            session_id,
            policy: receiver,
            recorder: Arc::new(recorder),
        };
        let serving = tokio::spawn({
            let gateway = gateway.clone();
            async move { gateway.serve(outside, egress).await }
        });
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(inside))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self {
            gateway,
            session_id,
            policy,
            records,
            serving,
            sender,
        }
    }

    pub(crate) async fn send(&self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        tokio::time::timeout(PATIENCE, self.sender.clone().send_request(request))
            .await
            .expect("an answer")
            .unwrap()
    }

    async fn connect(&self, target: &str) -> Response<Incoming> {
        self.send(
            Request::builder()
                .method(Method::CONNECT)
                .uri(target)
                .body(Empty::new())
                .unwrap(),
        )
        .await
    }

    /// Opens a connection that must be granted.
    pub(crate) async fn open(&self, target: &str) -> TokioIo<Upgraded> {
        let response = self.connect(target).await;
        assert_eq!(response.status(), 200, "{target}");
        TokioIo::new(hyper::upgrade::on(response).await.unwrap())
    }

    /// Opens a connection that must be refused.
    pub(crate) async fn refused(&self, target: &str) -> Problem {
        let response = self.connect(target).await;
        let status = response.status();
        assert!(!status.is_success(), "{target} was not refused");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.status, status.as_u16());
        problem
    }

    /// The next record, of a beginning or an end.
    pub(crate) async fn any_record(&mut self) -> EgressRecord {
        tokio::time::timeout(PATIENCE, self.records.recv())
            .await
            .expect("a record")
            .unwrap()
    }

    /// The next record of an end.
    pub(crate) async fn record(&mut self) -> EgressRecord {
        loop {
            let record = self.any_record().await;
            if record.duration_ms.is_some() {
                return record;
            }
        }
    }

    /// An HTTP/1.1 client on a connection to a model, as the runtimes have one.
    pub(crate) async fn model(&self, host: &str) -> http1::SendRequest<Full<Bytes>> {
        let io = self.open(&format!("{host}:80")).await;
        let (sender, connection) = http1::handshake(io.into_inner()).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

/// A server that echoes until the client has ended, then says how much it was.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut buffer, mut total) = (vec![0; 16 * 1024], 0);
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    total += length;
                    stream.write_all(&buffer[..length]).await.unwrap();
                }
                let _ = stream.write_all(format!(" {total} bytes").as_bytes()).await;
            });
        }
    });
    address
}

/// A server that gives one answer, byte for byte, to each request and hands out the heads that it
/// read. It reads each request whole and leaves the end of the connection to the client: a connection
/// that is closed over unread bytes is cut, and the answer may be lost with it.
pub(crate) async fn canned(answer: &'static str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some(head) = request(&mut stream).await {
                    seen.send(head).await.unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (address, requests)
}

/// Reads a request and answers its head; none at the end of the connection.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(head)
}

/// A provider that streams one event each time it is told to, and ends when nobody can tell it any
/// more.
pub(crate) async fn prompted() -> (SocketAddr, mpsc::Sender<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (prompt, mut prompts) = mpsc::channel::<&str>(1);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        request(&mut stream).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        while let Some(event) = prompts.recv().await {
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        request(&mut stream).await;
    });
    (address, prompt)
}

/// An address where nothing listens, and nothing else will as long as the socket is kept.
pub(crate) fn unused() -> (SocketAddr, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap(), socket)
}

/// A server that accepts and never reads.
pub(crate) async fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}
