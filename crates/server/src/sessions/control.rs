//! The client of a daemon's API, on one control connection.
//!
//! Everything that comes back is a sandbox's word: bodies are bounded, times are limited, and what
//! can't be read is an error of the link and not of the server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame as BodyFrame, Incoming};
use hyper::client::conn::http2::SendRequest;
use mistle_protocol::control::{
    Ack, Answer, Deliver, Delivered, Exec, Health, Interrupt, OpenTerminal, OpenTui, Placed, TerminalInfo,
};
use mistle_protocol::frame::{Decoder, Frame, Kind, MAX_PAYLOAD};
use mistle_protocol::id::TerminalId;
use mistle_protocol::plan::Plan;
use mistle_protocol::problem::Problem;
use mistle_protocol::session::Attachment;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::SessionError;

/// The largest answer that is no stream, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// How long an answer that needs nothing but the daemon may take. A busy machine takes seconds.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long a delivery may take: the runtime may start a conversation first.
const DELIVER_WITHIN: Duration = Duration::from_secs(90);
/// The header that says where a terminal's output begins.
const OFFSET_HEADER: &str = "mistle-offset";

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Why a daemon did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// The connection failed or the answer took too long.
    #[error("the sandbox does not answer")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The daemon answered with a problem.
    #[error("the sandbox answered {status}: {detail}")]
    Problem { status: StatusCode, detail: String },
    /// The daemon answered with something else than it should.
    #[error("the sandbox's answer can't be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ControlError {
    fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Lost(error.into())
    }
}

impl From<ControlError> for SessionError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Lost(_) | ControlError::Unreadable(_) => {
                tracing::info!(error = %super::trouble::chain(&error), "request to a sandbox failed");
                Self::Unavailable {
                    message: "The sandbox does not answer. Mistle connects again by itself; try again then.".to_owned(),
                }
            }
            ControlError::Problem { status, detail } if status.is_client_error() => Self::Conflict {
                kind: "sandbox-refused",
                message: super::trouble::short(&detail),
            },
            ControlError::Problem { detail, .. } => Self::Unavailable {
                message: super::trouble::short(&detail),
            },
        }
    }
}

/// One control connection. Cheap to clone; useless once the connection is over.
#[derive(Clone, Debug)]
pub(super) struct Control {
    sender: SendRequest<Body>,
    hung_up: CancellationToken,
}

impl Control {
    pub(super) fn new(sender: SendRequest<Body>) -> Self {
        Self {
            sender,
            hung_up: CancellationToken::new(),
        }
    }

    /// Ends the connection; the daemon dials again.
    pub(super) fn hang_up(&self) {
        self.hung_up.cancel();
    }

    /// Cancelled when the connection is to end.
    pub(super) fn hung_up(&self) -> CancellationToken {
        self.hung_up.clone()
    }

    pub(super) async fn health(&self) -> Result<Health, ControlError> {
        self.ask(Method::GET, "/health", None::<&()>, ANSWER_WITHIN).await
    }

    pub(super) async fn put_plan(&self, plan: &Plan) -> Result<(), ControlError> {
        self.tell(Method::PUT, "/plan", Some(plan)).await
    }

    /// The endless stream of journal lines.
    pub(super) async fn events(&self, after: u64) -> Result<Incoming, ControlError> {
        let path = format!("/agent/events?after={after}");
        let response = within(ANSWER_WITHIN, self.send(Method::GET, &path, empty())).await?;
        Ok(successful(response).await?.into_body())
    }

    pub(super) async fn ack(&self, seq: u64) -> Result<(), ControlError> {
        self.tell(Method::POST, "/agent/ack", Some(&Ack { seq })).await
    }

    pub(super) async fn deliver(&self, message: &Deliver) -> Result<Delivered, ControlError> {
        self.ask(Method::POST, "/agent/messages", Some(message), DELIVER_WITHIN)
            .await
    }

    /// Where a file is that was placed.
    pub(super) async fn placed(&self, attachment: &Attachment) -> Result<Placed, ControlError> {
        self.ask(Method::GET, &attachment_path(attachment), None::<&()>, ANSWER_WITHIN)
            .await
    }

    /// Places a file. Bytes that can't be read end it early, and the daemon refuses half a file.
    pub(super) async fn place<E>(
        &self,
        attachment: &Attachment,
        bytes: BoxStream<'static, Result<Bytes, E>>,
        within: Duration,
    ) -> Result<Placed, ControlError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let readable = bytes.map_err(|error| {
            let error = error.into();
            tracing::error!(error = %super::trouble::chain(&*error), "an attachment can't be read");
        });
        let frames = readable
            .take_while(|bytes| std::future::ready(bytes.is_ok()))
            .filter_map(|bytes| std::future::ready(bytes.ok()))
            .map(|bytes| Ok(BodyFrame::data(bytes)));
        let body = StreamBody::new(frames).boxed_unsync();
        self::within(within, async {
            let response = successful(self.send(Method::PUT, &attachment_path(attachment), body).await?).await?;
            let bytes = collect(response.into_body()).await?;
            serde_json::from_slice(&bytes).map_err(|error| ControlError::Unreadable(error.into()))
        })
        .await
    }

    pub(super) async fn interrupt(&self, interrupt: &Interrupt) -> Result<(), ControlError> {
        self.tell(Method::POST, "/agent/interrupt", Some(interrupt)).await
    }

    pub(super) async fn answer(&self, approval: &str, answer: &Answer) -> Result<(), ControlError> {
        let path = format!("/agent/approvals/{}", path_segment(approval));
        self.tell(Method::POST, &path, Some(answer)).await
    }

    pub(super) async fn shutdown(&self) -> Result<(), ControlError> {
        self.tell(Method::POST, "/shutdown", None::<&()>).await
    }

    pub(super) async fn terminals(&self) -> Result<Vec<TerminalInfo>, ControlError> {
        self.ask(Method::GET, "/terminals", None::<&()>, ANSWER_WITHIN).await
    }

    pub(super) async fn open_terminal(&self, open: &OpenTerminal) -> Result<TerminalInfo, ControlError> {
        self.ask(Method::POST, "/terminals", Some(open), ANSWER_WITHIN).await
    }

    /// May take as long as the runtime takes to continue a conversation.
    pub(super) async fn open_tui(&self, open: &OpenTui) -> Result<TerminalInfo, ControlError> {
        self.ask(Method::POST, "/tui", Some(open), DELIVER_WITHIN).await
    }

    pub(super) async fn close_terminal(&self, id: TerminalId) -> Result<(), ControlError> {
        self.tell(Method::DELETE, &format!("/terminals/{id}"), None::<&()>)
            .await
    }

    /// A terminal's output from about byte `offset` on, with the byte that it begins with.
    pub(super) async fn attach(
        &self,
        id: TerminalId,
        offset: u64,
        input: BoxStream<'static, Frame>,
    ) -> Result<(u64, BoxStream<'static, Result<Frame, ControlError>>), ControlError> {
        let path = format!("/terminals/{id}/attach?offset={offset}");
        let response = within(ANSWER_WITHIN, self.send(Method::POST, &path, frames_body(input))).await?;
        let response = successful(response).await?;
        let begins = response
            .headers()
            .get(OFFSET_HEADER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let begins = begins.ok_or_else(|| ControlError::Unreadable("no offset".into()))?;
        Ok((begins, frames(response.into_body())))
    }

    /// Runs a command; frames of output, the last of kind exit.
    pub(super) async fn exec(
        &self,
        exec: &Exec,
        stdin: BoxStream<'static, Bytes>,
    ) -> Result<BoxStream<'static, Result<Frame, ControlError>>, ControlError> {
        let first = Frame::new(Kind::Control, json(exec)?);
        if first.payload.len() > MAX_PAYLOAD {
            let detail = "the command line is too long".to_owned();
            return Err(ControlError::Problem {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                detail,
            });
        }
        let input = futures::stream::iter([first])
            .chain(stdin.flat_map(|bytes| futures::stream::iter(pieces(bytes))))
            .chain(futures::stream::iter([Frame::new(Kind::Eof, Bytes::new())]));
        let response = within(
            ANSWER_WITHIN,
            self.send(Method::POST, "/exec", frames_body(input.boxed())),
        )
        .await?;
        Ok(frames(successful(response).await?.into_body()))
    }

    pub(super) async fn tell(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(), ControlError> {
        let body = body.map_or_else(|| Ok(empty()), json_body)?;
        let response = within(ANSWER_WITHIN, self.send(method, path, body)).await?;
        successful(response).await.map(drop)
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        time: Duration,
    ) -> Result<T, ControlError> {
        let body = body.map_or_else(|| Ok(empty()), json_body)?;
        within(time, async {
            let response = successful(self.send(method, path, body).await?).await?;
            let bytes = collect(response.into_body()).await?;
            serde_json::from_slice(&bytes).map_err(|error| ControlError::Unreadable(error.into()))
        })
        .await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, ControlError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://sandbox{path}"))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(ControlError::lost)?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(ControlError::lost)?;
        sender.send_request(request).await.map_err(ControlError::lost)
    }
}

pub(super) async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, ControlError>>,
) -> Result<T, ControlError> {
    tokio::time::timeout(time, answer).await.map_err(ControlError::lost)?
}

pub(super) async fn successful(response: Response<Incoming>) -> Result<Response<Incoming>, ControlError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = within(ANSWER_WITHIN, collect(response.into_body()))
        .await
        .unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(&bytes).ok();
    let detail = problem.map_or_else(|| status.to_string(), |problem| problem.detail.unwrap_or(problem.title));
    Err(ControlError::Problem { status, detail })
}

async fn collect(body: Incoming) -> Result<Bytes, ControlError> {
    let collected = Limited::new(body, MAX_ANSWER)
        .collect()
        .await
        .map_err(ControlError::Lost)?;
    Ok(collected.to_bytes())
}

pub(super) fn empty() -> Body {
    Full::new(Bytes::new()).boxed_unsync()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ControlError> {
    serde_json::to_vec(value).map_err(ControlError::lost)
}

fn json_body(value: &impl Serialize) -> Result<Body, ControlError> {
    Ok(Full::new(Bytes::from(json(value)?)).boxed_unsync())
}

fn frames_body(frames: BoxStream<'static, Frame>) -> Body {
    StreamBody::new(frames.map(|frame| Ok(BodyFrame::data(frame.encode())))).boxed_unsync()
}

fn pieces(mut bytes: Bytes) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        frames.push(Frame::new(Kind::Data, bytes.split_to(bytes.len().min(MAX_PAYLOAD))));
    }
    frames
}

/// Cuts a body into frames. Ends after an exit, an error or the body's end.
fn frames(body: Incoming) -> BoxStream<'static, Result<Frame, ControlError>> {
    let mut data = body.into_data_stream();
    async_stream::try_stream! {
        let mut decoder = Decoder::default();
        loop {
            while let Some(frame) = decoder.next_frame().map_err(|error| ControlError::Unreadable(error.into()))? {
                let last = frame.kind == Kind::Exit;
                yield frame;
                if last {
                    return;
                }
            }
            match data.try_next().await.map_err(ControlError::lost)? {
                Some(bytes) => decoder.push(&bytes),
                None => Err(ControlError::lost("the stream ended early"))?,
            }
        }
    }
    .boxed()
}

fn attachment_path(attachment: &Attachment) -> String {
    let name = path_segment(&attachment.name);
    format!("/attachments/{}?name={name}&size={}", attachment.id, attachment.size)
}

/// One segment of a path: everything but unreserved characters is escaped.
fn path_segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(path_segment("a1-_~"), "a1-_~");
        assert_eq!(path_segment("../ä?#%"), "%2E%2E%2F%C3%A4%3F%23%25");
    }

    #[test]
    fn input_is_cut_to_what_a_frame_takes() {
        let cut: Vec<usize> = pieces(Bytes::from(vec![0; 2 * MAX_PAYLOAD + 1]))
            .iter()
            .map(|frame| frame.payload.len())
            .collect();
        assert_eq!(cut, [MAX_PAYLOAD, MAX_PAYLOAD, 1]);
        assert_eq!(pieces(Bytes::new()), []);
    }
}
