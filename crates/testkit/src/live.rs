//! A session's live stream.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use mistle_protocol::session::LiveMessage;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a test waits for something that has to come. Only a hang ends here.
const LIMIT: Duration = Duration::from_secs(90);

/// An open live stream.
pub struct Live {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
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
            seen: Vec::new(),
        })
    }

    /// The next message; none when the server closed it.
    pub async fn next(&mut self) -> Result<Option<LiveMessage>> {
        while let Some(message) = self.socket.next().await {
            if let Message::Text(text) = message? {
                let message: LiveMessage =
                    serde_json::from_str(&text).with_context(|| format!("live message {text}"))?;
                self.seen.push(message.clone());
                return Ok(Some(message));
            }
        }
        Ok(None)
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
}
