//! Listening ports, and connections to them. Outside of a sandbox the machine's other programs
//! listen too, so each test looks for its own port alone.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use mistle_protocol::ports::{Port, PortAddress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use crate::support::{Control, Daemon, soon};

/// Lists as they come.
struct Watch {
    lines: http_body_util::BodyDataStream<Incoming>,
    buffer: Vec<u8>,
}

impl Watch {
    async fn open(control: &Control) -> Self {
        let (_, response) = control.stream(Method::GET, "/ports/watch").await;
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            lines: response.into_body().into_data_stream(),
            buffer: Vec::new(),
        }
    }

    async fn next(&mut self) -> Vec<Port> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line).unwrap();
            }
            let bytes = soon(self.lines.next()).await.unwrap().unwrap();
            self.buffer.extend_from_slice(&bytes);
        }
    }

    /// The port, as soon as it is told; or that it is told no more.
    async fn until(&mut self, number: u16, open: bool) -> Option<Port> {
        loop {
            let port = self.next().await.into_iter().find(|port| port.port == number);
            if port.is_some() == open {
                return port;
            }
        }
    }
}

/// A port on which nothing listens, on any address, as long as the socket is kept.
fn closed_port() -> (u16, TcpSocket) {
    let socket = TcpSocket::new_v6().unwrap();
    socket.bind("[::]:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap().port(), socket)
}

#[tokio::test]
async fn a_server_appears_and_goes_with_its_process() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let mut watch = Watch::open(&control).await;
    let program = "import socket,sys;s=socket.socket();s.bind((\"127.0.0.1\",0));s.listen();print(s.getsockname()[1],flush=True);sys.stdin.read()";
    let mut server = control.exec(&["python3", "-c", program]).await;
    let number = server.until("\n").await.trim().parse().unwrap();
    let port = watch.until(number, true).await.unwrap();
    assert_eq!(
        (port.address, port.process.as_deref()),
        (PortAddress::LoopbackV4, Some("python3"))
    );
    let command = port.command.unwrap();
    assert!(command.contains("python3 -c import socket"), "{command}");
    assert!(port.pid.is_some());

    let (input, rest) = server.split();
    drop(input);
    rest.await;
    watch.until(number, false).await;
}

#[tokio::test]
async fn each_direction_ends_for_itself() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let program = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        stream.write_all(b"heard ").await.unwrap();
        stream.write_all(&said).await.unwrap();
    });
    let (input, response) = control.stream(Method::POST, &format!("/ports/{port}/connect")).await;
    assert_eq!(response.status(), StatusCode::OK);
    input.send(Ok(Frame::data(Bytes::from("one two")))).await.unwrap();
    drop(input);
    let answer = soon(response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(answer, "heard one two");
    soon(program).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_closes_the_connection() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (input, response) = control.stream(Method::POST, &format!("/ports/{port}/connect")).await;
    let (mut program, _) = soon(listener.accept()).await.unwrap();
    input.send(Ok(Frame::data(Bytes::from("x")))).await.unwrap();
    let mut byte = [0];
    soon(program.read_exact(&mut byte)).await.unwrap();
    drop((input, response));
    // Closed in order or cut off: either ends it.
    assert!(matches!(soon(program.read(&mut byte)).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_its_caller_up_and_nobody_else() {
    const ALL: usize = 100 * 1024 * 1024;
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (input, response) = control.stream(Method::POST, &format!("/ports/{port}/connect")).await;
    let (mut program, _) = soon(listener.accept()).await.unwrap();
    let mut sent = 0;
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    // Until the windows and the kernel's buffers are full.
    while let Ok(taken) = tokio::time::timeout(Duration::from_secs(1), input.send(Ok(Frame::data(chunk.clone())))).await
    {
        taken.unwrap();
        sent += chunk.len();
        assert!(sent < ALL, "nothing holds the caller up");
    }
    let health: serde_json::Value = control.get("/health").await;
    assert!(
        health["resident_bytes"].as_u64().unwrap() < 64 * 1024 * 1024,
        "{health}"
    );

    let sending = tokio::spawn(async move {
        while sent < ALL {
            input.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
            sent += chunk.len();
        }
        sent
    });
    let mut received = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match soon(program.read(&mut buffer)).await.unwrap() {
            0 => break,
            length => received += length,
        }
    }
    assert_eq!(received, soon(sending).await.unwrap());
    drop(program);
    assert!(
        soon(response.into_body().collect())
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

#[tokio::test]
async fn what_nothing_listens_on_is_refused() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let (port, _reserved) = closed_port();
    let closed = control
        .problem(Method::POST, &format!("/ports/{port}/connect"), "")
        .await;
    assert_eq!((closed.status, closed.kind.as_str()), (404, "port-closed"));
    for wrong in ["0", "65536", "x", "-1"] {
        let problem = control
            .problem(Method::POST, &format!("/ports/{wrong}/connect"), "")
            .await;
        assert!(matches!(problem.status, 400 | 404), "{problem:?}");
    }
    // The daemon's own proxy is the way out and no server of the sandbox.
    let (proxy, _) = control
        .output_of(&["sh", "-c", "printf %s \"${http_proxy##*:}\""])
        .await;
    let listed: Vec<Port> = control.get("/ports").await;
    assert!(listed.iter().all(|port| port.port.to_string() != proxy), "{proxy}");
    let problem = control
        .problem(Method::POST, &format!("/ports/{proxy}/connect"), "")
        .await;
    assert_eq!(problem.kind, "port-closed");
}
