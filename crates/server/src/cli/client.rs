//! The public API, as the command line speaks it.

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, header};
use mistle_protocol::api::{Ticket, TicketPurpose};
use mistle_protocol::problem::Problem;
use mistle_protocol::session::Attachment;
use rand::RngCore as _;
use reqwest::Upgraded;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::io::ReaderStream;
use url::Url;

use super::Place;
use crate::config::Whereabouts;
use crate::{credentials, server};

const CONNECT: Duration = Duration::from_secs(10);
/// Above the server's own limit, whose answer is clearer.
const REQUEST: Duration = Duration::from_secs(90);

/// A client of one server.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

/// A WebSocket to the server.
pub(super) type Socket = WebSocketStream<Upgraded>;

/// The API's "no".
#[derive(Debug)]
pub(super) struct Refused(pub(super) Problem);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.detail.as_deref().unwrap_or(&self.0.title))
    }
}

impl std::error::Error for Refused {}

impl Client {
    /// The server that flags, environment or the data directory name.
    pub(super) fn new(place: &Place) -> anyhow::Result<Self> {
        // Read only when something is missing: a client elsewhere has no configuration.
        let server = || Whereabouts::load(&place.location());
        let base = if let Some(url) = &place.url {
            url.clone()
        } else {
            let server = server()?;
            credentials::address(&server.data_dir).unwrap_or_else(|| server::local_url(server.listen))
        };
        let token = if let Some(token) = &place.token {
            token.trim().into()
        } else {
            let data_dir = server()?.data_dir;
            credentials::token(&data_dir).with_context(|| {
                let place = data_dir.display();
                format!("no token: set --token or MISTLE_TOKEN, or start the server once ({place} has none)")
            })?
        };
        let http = crate::http_client().connect_timeout(CONNECT).http1_only().build()?;
        Ok(Self { http, base, token })
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        Ok(self.base.join(&format!("{}{path}", crate::api::BASE))?)
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<reqwest::RequestBuilder> {
        let url = self.url(path)?;
        Ok(self.http.request(method, url).bearer_auth(self.token.expose_secret()))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
        self.answer_in_time(request.timeout(REQUEST)).await
    }

    async fn answer_in_time(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response.bytes().await?.to_vec();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(Refused(problem).into()),
            Err(_) => Err(anyhow!("{} answered {status}; is it a Mistle server?", self.base)),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let refused = error.is_connect();
        let error = anyhow::Error::from(error.without_url());
        if refused {
            error.context(format!(
                "no server answers at {}; start it with `mistle serve`",
                self.base
            ))
        } else {
            error.context(format!("the request to {} failed", self.base))
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.answer(self.request(Method::GET, path)?).await?;
        serde_json::from_slice(&body).context("the server's answer can't be read")
    }

    pub(super) async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> anyhow::Result<T> {
        let body = self.answer(self.request(method, path)?.json(body)).await?;
        serde_json::from_slice(&body).context("the server's answer can't be read")
    }

    pub(super) async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> anyhow::Result<T> {
        self.send(Method::POST, path, body).await
    }

    /// A creation that, sent again, creates nothing more.
    pub(super) async fn create<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> anyhow::Result<T> {
        let key = uuid::Uuid::now_v7().simple().to_string();
        let request = || {
            Ok::<_, anyhow::Error>(
                self.request(Method::POST, path)?
                    .header("idempotency-key", &key)
                    .json(body),
            )
        };
        let answered = match self.answer(request()?).await {
            // The server may have gone away after it created it.
            Err(error) if error.downcast_ref::<Refused>().is_none() && !is_connect(&error) => {
                self.answer(request()?).await
            }
            answered => answered,
        };
        serde_json::from_slice(&answered?).context("the server's answer can't be read")
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.answer(self.request(Method::DELETE, path)?).await?;
        serde_json::from_slice(&body).context("the server's answer can't be read")
    }

    /// Uploads a file. It takes as long as its bytes take.
    pub(super) async fn upload(&self, path: &Path) -> anyhow::Result<Attachment> {
        let cannot = || format!("cannot read {}", path.display());
        let file = tokio::fs::File::open(path).await.with_context(cannot)?;
        let metadata = file.metadata().await.with_context(cannot)?;
        if !metadata.is_file() {
            bail!("{} is no file; put a folder into an archive first", path.display());
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let mut url = self.url("/attachments")?;
        url.query_pairs_mut().append_pair("name", &name);
        let request = self
            .http
            .post(url)
            .bearer_auth(self.token.expose_secret())
            .header(header::CONTENT_LENGTH, metadata.len())
            .body(reqwest::Body::wrap_stream(ReaderStream::new(file)));
        let body = self
            .answer_in_time(request)
            .await
            .with_context(|| format!("{} was not uploaded", path.display()))?;
        serde_json::from_slice(&body).context("the server's answer can't be read")
    }

    pub(super) async fn act(&self, method: Method, path: &str) -> anyhow::Result<()> {
        self.answer(self.request(method, path)?).await.map(drop)
    }

    pub(super) async fn post_and_forget<B: Serialize>(&self, path: &str, body: &B) -> anyhow::Result<()> {
        self.answer(self.request(Method::POST, path)?.json(body))
            .await
            .map(drop)
    }

    /// Opens a WebSocket: a ticket, then the upgrade.
    pub(super) async fn socket(&self, purpose: &TicketPurpose, path: &str) -> anyhow::Result<Socket> {
        let ticket: Ticket = self.post("/tickets", purpose).await?;
        let mut url = self.url(path)?;
        url.query_pairs_mut().append_pair("ticket", &ticket.ticket);
        let mut nonce = [0; 16];
        rand::rng().fill_bytes(&mut nonce);
        let key = STANDARD.encode(nonce);
        let upgrade = self
            .http
            .get(url)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key)
            .header(header::ORIGIN, self.base.origin().ascii_serialization());
        let response = upgrade.send().await.map_err(|error| self.unreachable(error))?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            return match serde_json::from_slice(&response.bytes().await?) {
                Ok(problem) => Err(Refused(problem).into()),
                Err(_) => Err(anyhow!(
                    "{} answered {status} instead of opening a WebSocket",
                    self.base
                )),
            };
        }
        let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
        if accept.map(HeaderValue::as_bytes) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            bail!("{} does not speak WebSocket", self.base);
        }
        Ok(WebSocketStream::from_raw_socket(response.upgrade().await?, Role::Client, None).await)
    }
}

fn is_connect(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<reqwest::Error>()
        .is_some_and(reqwest::Error::is_connect)
}
