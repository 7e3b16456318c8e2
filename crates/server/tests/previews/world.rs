//! A session with programs that listen, and a browser's requests.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::{HeaderMap, Method, StatusCode};
use mistle_protocol::id::SessionId;
use mistle_protocol::ports::{OpenedPort, Port};
use mistle_protocol::session::{LiveMessage, SessionState};
use mistle_testkit::{Api, Live, Setup, TestServer};
use reqwest::{Client, RequestBuilder, Response, Url};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Nothing here takes this long unless it is broken.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what).await.expect("takes too long")
}

pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) session: SessionId,
}

/// A program in the sandbox; ends when this is dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    pub(crate) async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let setup = Setup {
            program: env!("CARGO_BIN_EXE_mistle").into(),
            ..Setup::policy("autonomous")
        };
        let server = TestServer::start(setup).await?;
        let session = server.api.new_session("", "say: hello").await?.id;
        let world = Self { server, session };
        world.state(SessionState::Running).await?;
        Ok(world)
    }

    pub(crate) fn api(&self) -> &Api {
        &self.server.api
    }

    pub(crate) async fn live(&self) -> Result<Live> {
        self.api().live(self.session, 0).await
    }

    /// Waits until the session is in a state.
    pub(crate) async fn state(&self, wanted: SessionState) -> Result<()> {
        self.live()
            .await?
            .until(|message| match message {
                LiveMessage::Session { session } if session.state == wanted => Some(()),
                _ => None,
            })
            .await
            .with_context(|| format!("waiting for {wanted:?}"))
    }

    /// Runs a command in the sandbox until it says that it listens.
    pub(crate) async fn run(&self, argv: &[&str]) -> Result<Program> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mistle"))
            .env("MISTLE_DATA_DIR", self.server.data_dir())
            .args(["session", "exec", &self.session.to_string(), "--"])
            .args(argv)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("standard output")?).lines();
        while let Some(line) = soon(lines.next_line()).await? {
            if line.contains("listens") {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Program { child });
            }
        }
        bail!("{argv:?} ended")
    }

    /// The app of these tests.
    pub(crate) async fn app(&self, port: u16) -> Result<Program> {
        self.run(&["node", "-e", include_str!("app.cjs"), &port.to_string()])
            .await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let url: Url = self.api().url().parse().unwrap();
        format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap()
    }

    pub(crate) fn host(&self, port: u16) -> String {
        host(self.session, port, self.address())
    }

    /// An address that opens a port.
    pub(crate) async fn opening(&self, port: u16) -> Result<Url> {
        let path = format!("/sessions/{}/ports/{port}/open", self.session);
        let opened: OpenedPort = self.api().post_empty(&path).await?;
        Ok(opened.url.parse()?)
    }

    /// A browser that opened a port.
    pub(crate) async fn browser(&self, port: u16) -> Result<Browser> {
        let mut browser = self.stranger(port);
        browser.open(&self.opening(port).await?).await?;
        Ok(browser)
    }

    /// A browser that did not.
    pub(crate) fn stranger(&self, port: u16) -> Browser {
        Browser::new(self.host(port), self.address(), false)
    }

    pub(crate) async fn ports(&self) -> Result<Vec<Port>> {
        self.api().get(&format!("/sessions/{}/ports", self.session)).await
    }
}

pub(crate) fn host(session: SessionId, port: u16, address: SocketAddr) -> String {
    format!("{port}--{}.localhost:{}", session.uuid().simple(), address.port())
}

/// What a browser is to one origin.
pub(crate) struct Browser {
    http: Client,
    pub(crate) host: String,
    pub(crate) cookie: Option<String>,
    address: SocketAddr,
}

impl Browser {
    pub(crate) fn new(host: String, address: SocketAddr, http2: bool) -> Self {
        let name = host.split(':').next().unwrap();
        let builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .resolve(name, address);
        let builder = if http2 {
            builder.http2_prior_knowledge()
        } else {
            builder
        };
        Self {
            http: builder.build().unwrap(),
            host,
            cookie: None,
            address,
        }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    /// Opens an address with a code in it, and keeps the cookie.
    pub(crate) async fn open(&mut self, url: &Url) -> Result<Response> {
        let response = self.http.get(url.clone()).header("accept", "text/html").send().await?;
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str()?;
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        }
        Ok(response)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.origin()))
            .header("accept", "text/html");
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Response> {
        Ok(soon(self.request(Method::GET, path).send()).await?)
    }

    pub(crate) async fn text(&self, path: &str) -> Result<(StatusCode, String)> {
        let response = self.get(path).await?;
        Ok((response.status(), soon(response.text()).await?))
    }

    /// What the app saw of a request.
    pub(crate) async fn echo(&self, request: RequestBuilder) -> Result<serde_json::Value> {
        let response = soon(request.send()).await?;
        assert_eq!(response.status(), StatusCode::OK);
        Ok(response.json().await?)
    }

    pub(crate) async fn websocket(&self, path: &str, headers: HeaderMap) -> Result<WebSocketStream<TcpStream>> {
        let mut request = format!("ws://{}{path}", self.host).into_client_request()?;
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert("cookie", cookie.parse()?);
        }
        request.headers_mut().insert("origin", self.origin().parse()?);
        request.headers_mut().extend(headers);
        let stream = TcpStream::connect(self.address).await?;
        let (socket, _) = soon(tokio_tungstenite::client_async(request, stream)).await?;
        Ok(socket)
    }
}
