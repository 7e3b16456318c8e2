//! The public API, as a test speaks it.

use anyhow::{Context, Result};
use mistle_protocol::agent::Decision;
use mistle_protocol::api::{NewMessage, NewSession, Page, Ticket, TicketPurpose};
use mistle_protocol::control::Answer;
use mistle_protocol::id::{SessionId, TerminalId};
use mistle_protocol::problem::Problem;
use mistle_protocol::profile::Repository;
use mistle_protocol::session::{Delivery, QueuedMessage, Session, SessionEvent};
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::live::Live;
use crate::terminal::Terminal;

/// A client with a bearer token.
#[derive(Clone)]
pub struct Api {
    pub(crate) http: reqwest::Client,
    url: String,
    pub(crate) token: String,
}

/// The API's "no".
#[derive(Debug)]
pub struct Refused(pub Problem);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}: {}",
            self.0.status,
            self.0.kind,
            self.0.detail.as_deref().unwrap_or(&self.0.title)
        )
    }
}

impl std::error::Error for Refused {}

impl Api {
    /// A client of the server at `url`.
    pub fn new(url: String, token: String) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            url,
            token,
        })
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One request; a problem becomes [`Refused`].
    pub async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T> {
        let mut request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.url))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let failed = response.status().is_client_error() || response.status().is_server_error();
        let text = response.text().await?;
        if failed {
            let problem = serde_json::from_str(&text).with_context(|| format!("{path} answered {text}"))?;
            return Err(Refused(problem).into());
        }
        let text = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(text).with_context(|| format!("{path} answered {text}"))
    }

    /// `GET`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.request(Method::GET, path, None::<&()>).await
    }

    /// `GET` of an answer that is read while it comes.
    pub async fn stream(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.http.get(format!("{}/api/v1{path}", self.url));
        Ok(request.bearer_auth(&self.token).send().await?.error_for_status()?)
    }

    /// `POST`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// `POST` without a body.
    pub async fn post_empty<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.request(Method::POST, path, None::<&()>).await
    }

    /// Creates a session; an empty repository means none.
    pub async fn new_session(&self, repository: &str, task: &str) -> Result<Session> {
        let repository = (!repository.is_empty()).then(|| Repository {
            name: None,
            source: repository.to_owned(),
            branch: None,
        });
        let new = NewSession {
            repository,
            task: task.to_owned(),
            ..NewSession::default()
        };
        self.post("/sessions", &new).await
    }

    /// A session.
    pub async fn session(&self, id: SessionId) -> Result<Session> {
        self.get(&format!("/sessions/{id}")).await
    }

    /// Sends a message.
    pub async fn send(&self, id: SessionId, text: &str, delivery: Delivery) -> Result<QueuedMessage> {
        let new = NewMessage {
            text: text.to_owned(),
            delivery,
            ..NewMessage::default()
        };
        self.post(&format!("/sessions/{id}/messages"), &new).await
    }

    /// Answers an approval.
    pub async fn answer(&self, id: SessionId, approval: &str, decision: Decision, message: Option<&str>) -> Result<()> {
        let answer = Answer {
            decision,
            message: message.map(str::to_owned),
        };
        self.post(&format!("/sessions/{id}/approvals/{approval}"), &answer)
            .await
    }

    /// `start`, `stop` or `interrupt`.
    pub async fn act(&self, id: SessionId, verb: &str) -> Result<()> {
        self.post_empty::<serde_json::Value>(&format!("/sessions/{id}/{verb}"))
            .await
            .map(drop)
    }

    /// Every stored event of a session.
    pub async fn events(&self, id: SessionId) -> Result<Vec<SessionEvent>> {
        let mut events: Vec<SessionEvent> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.seq);
            let page: Page<SessionEvent> = self
                .get(&format!("/sessions/{id}/events?after={after}&limit=500"))
                .await?;
            if page.data.is_empty() {
                return Ok(events);
            }
            events.extend(page.data);
        }
    }

    /// Attaches to a terminal from its beginning.
    pub async fn attach(&self, id: SessionId, terminal: TerminalId) -> Result<Terminal> {
        let purpose = TicketPurpose::Terminal {
            session_id: id,
            terminal_id: terminal,
        };
        let ticket: Ticket = self.post("/tickets", &purpose).await?;
        let socket = self.url.replacen("http", "ws", 1);
        let address = format!(
            "{socket}/api/v1/sessions/{id}/terminals/{terminal}/io?ticket={}",
            ticket.ticket
        );
        Terminal::connect(&address, &self.url).await
    }

    /// The session's live stream after a sequence number.
    pub async fn live(&self, id: SessionId, after: u64) -> Result<Live> {
        let ticket: Ticket = self
            .post("/tickets", &TicketPurpose::SessionLive { session_id: id })
            .await?;
        let socket = self.url.replacen("http", "ws", 1);
        let address = format!(
            "{socket}/api/v1/sessions/{id}/live?after={after}&ticket={}",
            ticket.ticket
        );
        Live::connect(&address, &self.url).await
    }
}
