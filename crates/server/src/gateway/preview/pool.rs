//! Connections to apps, used again while they are fresh.
//!
//! An app may close a connection that is idle at any moment, also the one in which a request is
//! sent. What was not sent is sent again on a new connection; what was sent, only when asking twice
//! does no harm.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use mistle_model::OpContext;

use super::site::Preview;
use crate::auth::origin::is_safe;
use crate::sessions::{SessionError, Sessions};

/// How long a connection may be idle. Below what servers keep one for (Node's five seconds are the
/// shortest of the usual ones), so that requests seldom meet one that is just being closed.
const IDLE: Duration = Duration::from_secs(3);
/// Idle connections that one port keeps: what several pages of several browsers have open at once.
/// With fewer, those that ask at the same time would open new ones again and again.
const MAX_IDLE: usize = 64;
/// The largest headers of an answer, in bytes.
const MAX_HEAD: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection.
    Session(SessionError),
    /// What listens answered with something else than HTTP.
    NotHttp(hyper::Error),
    /// The connection ended before the answer.
    Ended(hyper::Error),
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

#[derive(Default)]
struct State {
    idle: HashMap<Preview, Vec<Idle>>,
    /// Whether a task closes what has been idle for too long.
    tended: bool,
}

/// The idle connections.
#[derive(Clone, Default)]
pub(super) struct Pool {
    state: Arc<Mutex<State>>,
}

impl Pool {
    /// One request and its answer. There is no limit on how long an app may think: the browser's
    /// patience ends the request, and with it the connection.
    pub(super) async fn send(
        &self,
        sessions: &Sessions,
        ctx: &OpContext,
        preview: Preview,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = request;
        while let Some(mut sender) = self.take(preview) {
            let again = repeatable(&request);
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.keep(preview, sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message().or(again) {
                    Some(unsent) => request = unsent,
                    None => return Err(failure(error.into_error())),
                },
            }
        }
        let mut sender = connect(sessions, ctx, preview).await?;
        let response = sender.send_request(request).await.map_err(failure)?;
        self.keep(preview, sender);
        Ok(response)
    }

    fn take(&self, preview: Preview) -> Option<SendRequest<Body>> {
        let mut state = self.state();
        let idle = state.idle.get_mut(&preview)?;
        while let Some(Idle { sender, since }) = idle.pop() {
            if since.elapsed() < IDLE && sender.is_ready() {
                return Some(sender);
            }
        }
        state.idle.remove(&preview);
        None
    }

    /// Takes a connection in once its answer was read to the end. One that ends before, or changes
    /// its protocol, is gone.
    fn keep(&self, preview: Preview, mut sender: SendRequest<Body>) {
        let pool = self.clone();
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                pool.put(preview, sender);
            }
        });
    }

    fn put(&self, preview: Preview, sender: SendRequest<Body>) {
        let mut state = self.state();
        let idle = state.idle.entry(preview).or_default();
        if idle.len() == MAX_IDLE {
            idle.remove(0);
        }
        idle.push(Idle {
            sender,
            since: Instant::now(),
        });
        if !std::mem::replace(&mut state.tended, true) {
            tokio::spawn(self.clone().tend());
        }
    }

    /// Closes what has been idle for too long, until nothing is idle.
    async fn tend(self) {
        loop {
            tokio::time::sleep(IDLE).await;
            let mut state = self.state();
            state.idle.retain(|_, idle| {
                idle.retain(|idle| idle.since.elapsed() < IDLE && !idle.sender.is_closed());
                !idle.is_empty()
            });
            if state.idle.is_empty() {
                state.tended = false;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(sessions: &Sessions, ctx: &OpContext, preview: Preview) -> Result<SendRequest<Body>, Failure> {
    let stream = sessions
        .connect_port(ctx, preview.session, preview.port)
        .await
        .map_err(Failure::Session)?;
    let (sender, connection) = Builder::new()
        .max_buf_size(MAX_HEAD)
        // Some small servers know headers in one writing only.
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Failure::Ended)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to an app ended");
        }
    });
    Ok(sender)
}

fn failure(error: hyper::Error) -> Failure {
    if error.is_parse() {
        Failure::NotHttp(error)
    } else {
        Failure::Ended(error)
    }
}

/// A copy of a request that only reads and has no body.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    if !is_safe(request.method()) || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Body::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
