//! A session's live stream.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use mistle_protocol::agent::{AgentEvent, Approval, TurnOutcome};
use mistle_protocol::session::{EventBody, LiveMessage, Session, SessionEvent, SessionState};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::wait::LIMIT;

/// The event of the record that a message carries.
pub fn event(message: &LiveMessage) -> Option<&SessionEvent> {
    match message {
        LiveMessage::Event { event } => Some(event),
        _ => None,
    }
}

/// The event of the sandbox that a message carries.
pub fn agent_event(message: &LiveMessage) -> Option<&AgentEvent> {
    match &event(message)?.event {
        EventBody::Agent(event) => Some(event),
        EventBody::Server(_) => None,
    }
}

/// An open live stream.
pub struct Live {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came together with the last one.
    more: VecDeque<LiveMessage>,
    /// Everything that came, for a test's last words.
    pub seen: Vec<LiveMessage>,
}

impl Live {
    /// Opens one with a ticket in its address.
    pub(crate) async fn connect(address: &str, origin: &str) -> Result<Self> {
        let mut request = address.into_client_request()?;
        request.headers_mut().insert("origin", origin.parse()?);
        let (socket, _) = connect_async(request).await.context("open the live stream")?;
        Ok(Self {
            socket,
            more: VecDeque::new(),
            seen: Vec::new(),
        })
    }

    /// The next message, events one by one; none when the server closed it.
    pub async fn next(&mut self) -> Result<Option<LiveMessage>> {
        while self.more.is_empty() {
            let Some(message) = self.socket.next().await else {
                return Ok(None);
            };
            if let Message::Text(text) = message? {
                let message: LiveMessage =
                    serde_json::from_str(&text).with_context(|| format!("live message {text}"))?;
                self.more.extend(message.one_by_one());
            }
        }
        self.seen.extend(self.more.front().cloned());
        Ok(self.more.pop_front())
    }

    /// Reads until `found` gives something.
    pub async fn until<T>(&mut self, mut found: impl FnMut(&LiveMessage) -> Option<T>) -> Result<T> {
        let search = async {
            while let Some(message) = self.next().await? {
                if let Some(value) = found(&message) {
                    return Ok(value);
                }
            }
            bail!("the live stream ended")
        };
        let outcome = match tokio::time::timeout(LIMIT, search).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("it did not come in {} s", LIMIT.as_secs())),
        };
        outcome.with_context(|| {
            let last: Vec<_> = self
                .seen
                .iter()
                .rev()
                .take(12)
                .rev()
                .map(|message| format!("{message:?}"))
                .collect();
            format!("the last messages were\n{}", last.join("\n"))
        })
    }

    /// Reads until a turn ends, and says how.
    pub async fn turn_end(&mut self) -> Result<TurnOutcome> {
        self.until(|message| match agent_event(message)? {
            AgentEvent::TurnCompleted { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .await
    }

    /// Reads until the agent asks, and says what.
    pub async fn approval(&mut self) -> Result<Approval> {
        self.until(|message| match agent_event(message)? {
            AgentEvent::ApprovalRequested { approval } => Some(approval.clone()),
            _ => None,
        })
        .await
    }

    /// Reads until the session shows this state.
    pub async fn state(&mut self, wanted: SessionState) -> Result<Session> {
        self.until(|message| match message {
            LiveMessage::Session { session } if session.state == wanted => Some((**session).clone()),
            _ => None,
        })
        .await
        .with_context(|| format!("waiting for {wanted:?}"))
    }
}
