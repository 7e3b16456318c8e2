//! A terminal's WebSocket, with as much of a terminal as programs ask for.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use mistle_protocol::api::StreamMessage;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long a test waits for something that has to come. Only a hang ends here.
const LIMIT: Duration = Duration::from_mins(3);
/// What programs ask a terminal, and what one answers: where the cursor is, what it can do, its
/// colours.
const ANSWERS: [(&str, &str); 5] = [
    ("\x1b[6n", "\x1b[1;1R"),
    ("\x1b[c", "\x1b[?62c"),
    ("\x1b[?u", "\x1b[?0u"),
    ("\x1b]10;?", "\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    ("\x1b]11;?", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
];

/// An attached terminal.
pub struct Terminal {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Everything that the program wrote, but for how it looks and where it stands: cursor movements
    /// are blanks.
    pub screen: String,
    unread: String,
}

impl Terminal {
    pub(crate) async fn connect(address: &str, origin: &str) -> Result<Self> {
        let mut request = address.into_client_request()?;
        request.headers_mut().insert("origin", origin.parse()?);
        let (socket, _) = connect_async(request).await.context("open the terminal")?;
        Ok(Self {
            socket,
            screen: String::new(),
            unread: String::new(),
        })
    }

    /// Types.
    pub async fn type_in(&mut self, keys: &str) -> Result<()> {
        Ok(self.socket.send(Message::binary(keys.as_bytes().to_vec())).await?)
    }

    /// Reads until words were shown since the last call. Programs draw what changed and skip
    /// blanks, so blanks don't count.
    pub async fn until(&mut self, words: &str) -> Result<()> {
        let wanted = dense(words);
        let search = async {
            loop {
                let seen = dense(&self.unread);
                if seen.contains(&wanted) {
                    self.unread.clear();
                    return Ok(());
                }
                match self.socket.next().await.context("the terminal's socket ended")?? {
                    Message::Binary(bytes) => self.take(&String::from_utf8_lossy(&bytes)).await?,
                    Message::Text(text) => match serde_json::from_str(&text)? {
                        StreamMessage::Attached { .. } | StreamMessage::Screen => {}
                        other => bail!("{other:?}"),
                    },
                    _ => {}
                }
            }
        };
        let outcome = tokio::time::timeout(LIMIT, search)
            .await
            .unwrap_or_else(|_| bail!("it did not come in {} s", LIMIT.as_secs()));
        outcome.with_context(|| format!("waiting for {words:?}; the screen was\n{}", self.screen))
    }

    async fn take(&mut self, output: &str) -> Result<()> {
        for (question, answer) in ANSWERS {
            if output.contains(question) {
                self.type_in(answer).await?;
            }
        }
        let plain = plain(output);
        self.screen.push_str(&plain);
        self.unread.push_str(&plain);
        Ok(())
    }
}

fn dense(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Text without escape sequences; a blank where one was.
fn plain(output: &str) -> String {
    let mut plain = String::new();
    let mut rest = output.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '\x1b' {
            plain.push(character);
            continue;
        }
        plain.push(' ');
        match rest.next() {
            Some('[') => while rest.next().is_some_and(|next| !('@'..='~').contains(&next)) {},
            Some(']') => while rest.next().is_some_and(|next| !matches!(next, '\x07' | '\\')) {},
            _ => {}
        }
    }
    plain
}
