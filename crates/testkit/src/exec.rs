//! Commands in a session's sandbox, and the processes of it as the host sees them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use futures::{SinkExt as _, StreamExt as _};
use mistle_protocol::api::{StreamMessage, Ticket, TicketPurpose};
use mistle_protocol::control::Exec;
use mistle_protocol::frame::{Decoder, Kind};
use mistle_protocol::id::SessionId;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::api::{Api, Refused};
use crate::wait::LIMIT;

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; 128 plus the signal's number when one ended it.
    pub code: i32,
    /// What it wrote to its standard output.
    pub output: String,
    /// What it wrote to its standard error.
    pub errors: String,
}

impl Api {
    /// Runs a shell's script in a session's sandbox, as `mistle session exec` does.
    pub async fn shell(&self, id: SessionId, script: &str) -> Result<Ran> {
        self.exec(id, &["/bin/sh", "-c", script]).await
    }

    /// Runs a command in a session's sandbox.
    pub async fn exec(&self, id: SessionId, argv: &[&str]) -> Result<Ran> {
        let ran = tokio::time::timeout(LIMIT, self.run(id, argv)).await;
        ran.with_context(|| format!("{argv:?} does not end"))?
    }

    async fn run(&self, id: SessionId, argv: &[&str]) -> Result<Ran> {
        let ticket: Ticket = self.post("/tickets", &TicketPurpose::Exec { session_id: id }).await?;
        let socket = self.url().replacen("http", "ws", 1);
        let address = format!("{socket}/api/v1/sessions/{id}/exec?ticket={}", ticket.ticket);
        let mut request = address.into_client_request()?;
        request.headers_mut().insert("origin", self.url().parse()?);
        let (mut socket, _) = connect_async(request).await.context("open the command's stream")?;
        let exec = Exec {
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            cwd: None,
            environment: BTreeMap::new(),
        };
        socket.send(Message::text(serde_json::to_string(&exec)?)).await?;
        let mut decoder = Decoder::default();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        loop {
            match socket.next().await.context("the command's stream ended")?? {
                Message::Binary(bytes) => decoder.push(&bytes),
                Message::Text(text) => match serde_json::from_str(&text)? {
                    StreamMessage::Exit { code, error: None } => {
                        return Ok(Ran {
                            code,
                            output: String::from_utf8_lossy(&output).into_owned(),
                            errors: String::from_utf8_lossy(&errors).into_owned(),
                        });
                    }
                    StreamMessage::Error { problem } => return Err(Refused(problem).into()),
                    other => bail!("{argv:?}: {other:?}"),
                },
                _ => {}
            }
            while let Some(frame) = decoder.next_frame()? {
                match frame.kind {
                    Kind::Stdout => output.extend_from_slice(&frame.payload),
                    Kind::Stderr => errors.extend_from_slice(&frame.payload),
                    _ => {}
                }
            }
        }
    }
}

/// The processes of a session's sandbox, as the host sees them.
pub fn sandbox_processes(id: SessionId) -> Vec<u32> {
    let id = id.to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(&id)))
        .collect()
}
