//! A program of a sandbox through the gateway, beside the same program behind nginx.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mistle_protocol::id::SessionId;
use mistle_protocol::ports::OpenedPort;
use mistle_testkit::{TestServer, built, repository};

use crate::figures::{Budget, Report};
use crate::http::Connection;
use crate::peers::{self, Peer};

/// Where the program listens in the sandbox.
const PORT: u16 = 5173;
/// Requests one after the other.
const ROUNDS: usize = 1000;
/// Connections at once, and how long they ask as fast as they can.
const CONNECTIONS: usize = 32;
const BUSY: Duration = Duration::from_secs(2);
/// Of a large file, in bytes.
const BULK: usize = 64 * 1024 * 1024;
/// Each throughput is measured so often, in turns.
const TURNS: usize = 3;
/// How long the program may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);
const TRY_EVERY: Duration = Duration::from_millis(20);
/// The program: a page of one kilobyte, and a large file.
const PROGRAM: &str = "const page = Buffer.alloc(1024, 'x'), bulk = Buffer.alloc(67108864, 'x')
require('http').createServer((request, response) => {
  const body = request.url === '/bulk' ? bulk : page
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length })
  response.end(body)
}).listen(Number(process.argv[1]), '127.0.0.1')";

/// A way to the program.
struct Way {
    name: &'static str,
    port: u16,
    /// Lines of every request's head, each with its end.
    head: String,
}

/// What was measured on a way.
#[derive(Default)]
struct Measured {
    latency: Vec<Duration>,
    requests: Vec<f64>,
    megabytes: Vec<f64>,
}

/// Measures the gateway, nginx when it is installed, and the program itself.
pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let server = crate::server().await?;
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("project");
    repository(&source, &[("README.md", "# Project\n")])?;
    let session = server.api.new_session(&source.to_string_lossy(), "say: hello").await?;
    server.api.live(session.id, 0).await?.turn_end().await?;
    let _inside = start_inside(&server, session.id)?;

    let own = peers::free_port()?;
    let _outside = Peer::start(Command::new("node").args(["-e", PROGRAM, &own.to_string()]), own).await?;
    let mut ways = vec![
        Way {
            name: "the program itself",
            port: own,
            head: format!("Host: 127.0.0.1:{own}\r\n"),
        },
        gateway(&server, session.id).await?,
    ];
    let mut _nginx = None;
    if peers::find("nginx").is_some() {
        let port = peers::free_port()?;
        _nginx = Some(nginx(folder.path(), port, own).await?);
        ways.push(Way {
            name: "peer: nginx",
            port,
            head: format!("Host: 127.0.0.1:{port}\r\n"),
        });
    } else {
        report.note("peer nginx: absent");
    }
    let mut all: Vec<Measured> = ways.iter().map(|_| Measured::default()).collect();
    for _ in 0..TURNS {
        for (way, measured) in ways.iter().zip(&mut all) {
            way.measure(measured).await.context(way.name)?;
        }
    }
    show(report, &ways, &all);
    Ok(())
}

fn show(report: &mut Report, ways: &[Way], all: &[Measured]) {
    let (mut requests, mut megabytes) = (Vec::new(), Vec::new());
    for (Way { name, .. }, measured) in ways.iter().zip(all) {
        report.times(&format!("preview, a request through {name}"), None, &measured.latency);
        let what = format!("preview, {CONNECTIONS} connections through {name}");
        requests.push(report.add(&what, "requests/s", None, &measured.requests));
        let what = format!("preview, 64 MiB through {name}");
        megabytes.push(report.add(&what, "MB/s", None, &measured.megabytes));
    }
    if let ([_, ours, nginx], [_, our_bulk, nginx_bulk]) = (&requests[..], &megabytes[..]) {
        let half = Some(Budget::AtLeast(50.0));
        report.add(
            "preview: requests/s, gateway ÷ nginx",
            "%",
            half,
            &[ours / nginx * 100.0],
        );
        report.add(
            "preview: MB/s, gateway ÷ nginx",
            "%",
            half,
            &[our_bulk / nginx_bulk * 100.0],
        );
    }
}

impl Way {
    fn request(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head).into_bytes()
    }

    async fn measure(&self, measured: &mut Measured) -> Result<()> {
        let page = self.request("/");
        let mut connection = Connection::open(self.port).await?;
        for round in 0..ROUNDS / TURNS {
            let begin = Instant::now();
            let answer = connection.round(&page).await?;
            if round == 0 && (answer.status != 200 || answer.length != 1024) {
                bail!("answered {} with {} bytes", answer.status, answer.length);
            }
            measured.latency.push(begin.elapsed());
        }
        measured.requests.push(busy(self.port, &page).await?);
        let begin = Instant::now();
        let answer = connection.round(&self.request("/bulk")).await?;
        if answer.length != BULK {
            bail!("the large file has {} bytes", answer.length);
        }
        measured
            .megabytes
            .push(BULK as f64 / 1e6 / begin.elapsed().as_secs_f64());
        Ok(())
    }
}

/// Answers a second on many connections.
async fn busy(port: u16, request: &[u8]) -> Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(port).await?);
    }
    let begin = Instant::now();
    let asked = connections.into_iter().map(|mut connection| {
        let request = request.to_vec();
        tokio::spawn(async move {
            let mut answers = 0_usize;
            while begin.elapsed() < BUSY {
                connection.round(&request).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        })
    });
    let mut answers = 0;
    for asked in futures::future::join_all(asked).await {
        answers += asked??;
    }
    Ok(answers as f64 / begin.elapsed().as_secs_f64())
}

/// Starts the program in the sandbox; it ends with what is answered.
fn start_inside(server: &TestServer, id: SessionId) -> Result<tokio::process::Child> {
    Ok(tokio::process::Command::new(built(crate::PROFILE, "mistle"))
        .args([
            "session",
            "exec",
            &id.to_string(),
            "--",
            "node",
            "-e",
            PROGRAM,
            &PORT.to_string(),
        ])
        .env("MISTLE_DATA_DIR", server.data_dir())
        .env("MISTLE_URL", server.api.url())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// Opens the preview as a browser does: an address that works once, then a cookie.
async fn gateway(server: &TestServer, id: SessionId) -> Result<Way> {
    let opened: OpenedPort = server
        .api
        .post_empty(&format!("/sessions/{id}/ports/{PORT}/open"))
        .await?;
    let address = opened.url.strip_prefix("http://").context("an http address")?;
    let (host, path) = address.split_once('/').context("a path")?;
    let port = host.rsplit_once(':').context("a port")?.1.parse()?;
    let mut connection = Connection::open(port).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Mode: navigate\r\n\r\n");
    let answer = connection.round(request.as_bytes()).await?;
    let cookie = answer
        .header("set-cookie")
        .and_then(|cookie| cookie.split(';').next())
        .with_context(|| format!("the preview's address answered {}", answer.status))?;
    let way = Way {
        name: "the gateway",
        port,
        head: format!("Host: {host}\r\nCookie: {cookie}\r\n"),
    };
    let deadline = Instant::now() + START_LIMIT;
    while connection.round(&way.request("/")).await?.status != 200 {
        if Instant::now() > deadline {
            bail!("the program in the sandbox does not answer");
        }
        // It is another machine, as it were: nothing says when it listens.
        tokio::time::sleep(TRY_EVERY).await;
    }
    Ok(way)
}

/// nginx in front of a port, with connections that are kept open on both sides.
async fn nginx(folder: &Path, port: u16, upstream: u16) -> Result<Peer> {
    let config = folder.join("nginx.conf");
    let state = folder.display();
    fs::write(
        &config,
        format!(
            "daemon off; worker_processes auto; pid {state}/nginx.pid; error_log {state}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {state}/body; proxy_temp_path {state}/proxy; fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi; scgi_temp_path {state}/scgi;
  upstream program {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
  }}
}}
"
        ),
    )?;
    let program = peers::find("nginx").context("nginx")?;
    Peer::start(
        Command::new(program)
            .arg("-c")
            .arg(&config)
            .arg("-e")
            .arg(folder.join("start.log")),
        port,
    )
    .await
}
