//! `mistle session exec`: a command in a sandbox, as if it ran here.

use std::collections::BTreeMap;

use anyhow::bail;
use bytes::Bytes;
use clap::Args;
use futures::stream::SplitSink;
use futures::{SinkExt as _, StreamExt as _};
use mistle_protocol::api::{StreamMessage, TicketPurpose};
use mistle_protocol::control;
use mistle_protocol::frame::{Decoder, Frame, Kind};
use mistle_protocol::id::SessionId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::client::{Client, Refused, Socket};
use super::output;

/// How much of standard input travels at once.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The session's id
    id: SessionId,
    /// Working directory [default: the session's]
    #[arg(long)]
    cwd: Option<String>,
    /// Environment variables for the command
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Program and arguments; never through a shell
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(client: &Client, exec: Exec) -> anyhow::Result<u8> {
    let command = control::Exec {
        argv: exec.argv,
        cwd: exec.cwd,
        environment: BTreeMap::from_iter(exec.env),
    };
    let purpose = TicketPurpose::Exec { session_id: exec.id };
    let socket = client.socket(&purpose, &format!("/sessions/{}/exec", exec.id)).await?;
    let (mut sink, mut source) = socket.split();
    sink.send(Message::Text(serde_json::to_string(&command)?.into()))
        .await?;
    // Its own task: output must not wait for input.
    let input = tokio::spawn(send_stdin(sink));
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let mut decoder = Decoder::default();
    let mut code = None;
    while let Some(message) = source.next().await {
        match message? {
            Message::Binary(bytes) => {
                decoder.push(&bytes);
                while let Some(frame) = decoder.next_frame()? {
                    match frame.kind {
                        Kind::Stdout => output::written(stdout.write_all(&frame.payload).await)?,
                        Kind::Stderr => stderr.write_all(&frame.payload).await?,
                        _ => {}
                    }
                }
                output::written(stdout.flush().await)?;
                stderr.flush().await?;
            }
            Message::Text(text) => match serde_json::from_str(&text)? {
                // Not found is 127 and not runnable 126, as in a shell.
                StreamMessage::Exit {
                    code: ended,
                    error: Some(error),
                } => {
                    output::note(format!("mistle: {}", output::plain(&error)));
                    code = Some(if ended == 0 { super::FAILED.into() } else { ended });
                    break;
                }
                StreamMessage::Exit {
                    code: ended,
                    error: None,
                } => {
                    code = Some(ended);
                    break;
                }
                StreamMessage::Error { problem } => return Err(Refused(problem).into()),
                StreamMessage::Attached { .. } | StreamMessage::Skipped { .. } | StreamMessage::Screen => {}
            },
            _ => {}
        }
    }
    input.abort();
    match code {
        Some(code) => Ok(u8::try_from(code & 0xff).unwrap_or(super::FAILED)),
        None => bail!("the server closed the connection before the command ended"),
    }
}

async fn send_stdin(mut sink: SplitSink<Socket, Message>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; CHUNK];
    loop {
        let frame = match stdin.read(&mut buffer).await {
            Ok(0) | Err(_) => Frame::new(Kind::Eof, Bytes::new()),
            Ok(length) => Frame::new(Kind::Data, Bytes::copy_from_slice(&buffer[..length])),
        };
        let ended = frame.kind == Kind::Eof;
        if sink.send(Message::Binary(frame.encode())).await.is_err() || ended {
            // The socket stays open: its other half still reads.
            std::future::pending::<()>().await;
        }
    }
}
