//! The HTTP/2 side: one connection a sandbox, one `CONNECT` stream a connection of its programs.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mistle_protocol::egress::EgressDecision;
use mistle_protocol::id::SessionId;
use mistle_protocol::problem::{self, Problem};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::PermittedAddresses;
use crate::model;
use crate::policy::{Decision, Denial, Policy};
use crate::record::{Draft, Recorder};
use crate::target::Target;
use crate::tunnel::{self, ConnectError, Resolve};

/// Connections that the programs of one sandbox may have at once; package managers open dozens.
const MAX_STREAMS: u32 = 512;
/// The longest header list of a `CONNECT`, in bytes; it needs little more than its target.
const MAX_HEADERS: u32 = 16 * 1024;
/// What one stream may send before the gateway has passed it on, in bytes.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// The same for all streams of a sandbox together, so that one that stalls does not stop others.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// How long a shutdown waits for connections to be recorded.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the operator decides about outgoing traffic.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// Addresses that are not public and may be reached all the same, if a profile lists them.
    pub permitted: PermittedAddresses,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The client for model providers can't be made, as when the system has no root certificates.
    #[error("the client for model providers can't be set up")]
    Client(#[source] reqwest::Error),
}

/// Why a sandbox's connection ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It broke, or the other side does not speak HTTP/2.
    #[error("the egress connection broke")]
    Connection(#[source] hyper::Error),
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    permitted: PermittedAddresses,
    resolver: Arc<dyn Resolve>,
    client: reqwest::Client,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A sandbox, as its egress connection identifies it.
#[derive(Clone)]
pub struct SandboxEgress {
    /// The session.
    pub session_id: SessionId,
    /// What it may reach. A new value counts for new connections, and ends those that it no longer
    /// allows.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// Where its records go.
    pub recorder: Arc<dyn Recorder>,
}

impl Gateway {
    /// A gateway that resolves names as the machine does.
    pub fn new(config: GatewayConfig) -> Result<Self, GatewayError> {
        Self::with_resolver(config, Arc::new(tunnel::System))
    }

    /// A gateway with a resolver of its own.
    pub fn with_resolver(config: GatewayConfig, resolver: Arc<dyn Resolve>) -> Result<Self, GatewayError> {
        let client = model::client().map_err(GatewayError::Client)?;
        let shared = Shared {
            permitted: config.permitted,
            resolver,
            client,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Serves one egress connection of a sandbox until it ends or the gateway shuts down.
    pub async fn serve<IO>(&self, io: IO, sandbox: SandboxEgress) -> Result<(), ServeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = Stream {
            shared: Arc::clone(&self.shared),
            sandbox,
        };
        let service = service_fn(move |request| {
            let stream = stream.clone();
            async move { Ok::<_, Infallible>(stream.accept(request).await) }
        });
        let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADERS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            ended = connection.as_mut() => ended.map_err(ServeError::Connection),
            () = self.shared.stop.cancelled() => Ok(()),
        }
    }

    /// Ends every connection and waits until they are recorded, for a few seconds at most.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.shared.tasks.len(),
                "egress connections were not recorded in time"
            );
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("permitted", &self.shared.permitted)
            .field("connections", &self.shared.tasks.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SandboxEgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxEgress")
            .field("session_id", &self.session_id)
            .field("policy", &*self.policy.borrow())
            .finish_non_exhaustive()
    }
}

type Answer = Response<Full<Bytes>>;

/// What a stream of a sandbox knows.
#[derive(Clone)]
pub(crate) struct Stream {
    shared: Arc<Shared>,
    sandbox: SandboxEgress,
}

impl Stream {
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.shared.client
    }

    pub(crate) fn draft(&self, target: &Target) -> Draft {
        Draft::new(self.sandbox.session_id, &target.host.to_string(), target.port)
    }

    pub(crate) fn decide(&self, target: &Target) -> Decision {
        self.sandbox.policy.borrow().decide(target)
    }

    /// Records from where nothing can be awaited.
    pub(crate) fn record_later(&self, draft: Draft) {
        let Ok(runtime) = Handle::try_current() else { return };
        let recorder = Arc::clone(&self.sandbox.recorder);
        self.shared
            .tasks
            .spawn_on(async move { draft.finish(&*recorder).await }, &runtime);
    }

    /// Answers one request. The work is a task of its own: it must leave its record even when the
    /// sandbox does not wait for the answer.
    async fn accept(self, mut request: Request<Incoming>) -> Answer {
        if request.method() != Method::CONNECT || request.extensions().get::<hyper::ext::Protocol>().is_some() {
            return refusal(&not_connect());
        }
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str().to_owned())
            .unwrap_or_default();
        let upgrade = hyper::upgrade::on(&mut request);
        let (answer, answered) = oneshot::channel();
        let tasks = self.shared.tasks.clone();
        tasks.spawn(async move { self.connect(&authority, upgrade, answer).await });
        answered.await.unwrap_or_else(|_| refusal(&not_connect()))
    }

    async fn connect(self, authority: &str, upgrade: OnUpgrade, answer: oneshot::Sender<Answer>) {
        let target = match Target::parse(authority) {
            Ok(target) => target,
            Err(error) => {
                let draft = Draft::new(self.sandbox.session_id, authority, 0);
                return self.deny(draft, &Denial::unreadable(error), answer).await;
            }
        };
        match self.decide(&target) {
            Decision::Deny(denial) => self.deny(self.draft(&target), &denial, answer).await,
            Decision::Tunnel { rule } => Box::pin(self.tunnel(target, rule, upgrade, answer)).await,
            Decision::Model(_) => {
                let _ = answer.send(Response::default());
                let Ok(upgraded) = upgrade.await else { return };
                let stop = self.shared.stop.clone();
                tokio::select! {
                    () = model::serve(Arc::new(self), target, upgraded) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    async fn deny(&self, draft: Draft, denial: &Denial, answer: oneshot::Sender<Answer>) {
        tracing::debug!(session = %self.sandbox.session_id, rule = denial.rule, "denied");
        let _ = answer.send(refusal(&denial.problem()));
        draft
            .decided(EgressDecision::Deny, &denial.rule)
            .finish(&*self.sandbox.recorder)
            .await;
    }

    async fn fail(&self, draft: Draft, failure: Denial, answer: oneshot::Sender<Answer>) {
        let _ = answer.send(refusal(&failure.problem()));
        let draft = draft.decided(EgressDecision::Tunnel, failure.rule);
        draft.finish(&*self.sandbox.recorder).await;
    }

    /// Records a decision; whatever can't be recorded is not done.
    pub(crate) async fn begin(&self, draft: &Draft) -> Result<(), Denial> {
        draft.begin(&*self.sandbox.recorder).await.map_err(|error| {
            tracing::warn!(session = %self.sandbox.session_id, %error, "a connection was not made because it can't be recorded");
            Denial::not_recorded()
        })
    }

    async fn tunnel(&self, target: Target, rule: String, upgrade: OnUpgrade, answer: oneshot::Sender<Answer>) {
        let draft = self.draft(&target).decided(EgressDecision::Tunnel, &rule);
        let (resolver, permitted) = (&*self.shared.resolver, &self.shared.permitted);
        let addresses = match tunnel::judge(&target, &rule, resolver, permitted).await {
            Ok(addresses) => addresses,
            Err(ConnectError::Denied(denial)) => return self.deny(draft, &denial, answer).await,
            Err(ConnectError::Unreachable(failure)) => return self.fail(draft, failure, answer).await,
        };
        if let Err(denial) = self.begin(&draft).await {
            let _ = answer.send(refusal(&denial.problem()));
            return;
        }
        let upstream = match tunnel::connect(&target, &rule, &addresses).await {
            Ok(upstream) => upstream,
            Err(failure) => return self.fail(draft, failure, answer).await,
        };
        let _ = answer.send(Response::default());
        let counters = draft.counters.clone();
        let mut ended = rule;
        let relay = async {
            if let Ok(client) = upgrade.await {
                tunnel::relay(TokioIo::new(client), upstream, &counters).await;
            }
        };
        tokio::select! {
            () = relay => {}
            () = self.no_longer_allowed(&target) => {}
            () = self.shared.stop.cancelled() => {}
        }
        // Asked afterwards: a shutdown also breaks the sandbox's connection, which may be noticed first, and
        // the record names the reason and not what followed from it.
        if self.shared.stop.is_cancelled() {
            ended.push_str(", ended with the server");
        } else if matches!(self.decide(&target), Decision::Deny(_)) {
            ended.push_str(", ended because it is no longer allowed");
        }
        draft
            .decided(EgressDecision::Tunnel, ended)
            .finish(&*self.sandbox.recorder)
            .await;
    }

    /// Returns when the policy has changed and does not allow the target any more.
    async fn no_longer_allowed(&self, target: &Target) {
        let mut policy = self.sandbox.policy.clone();
        loop {
            if matches!(policy.borrow_and_update().decide(target), Decision::Deny(_)) {
                return;
            }
            if policy.changed().await.is_err() {
                // Nobody can change it any more.
                return std::future::pending().await;
            }
        }
    }
}

fn not_connect() -> Problem {
    Problem {
        kind: "egress-not-connect".to_owned(),
        title: "The connection was not made".to_owned(),
        status: 405,
        detail: Some("The egress connection carries CONNECT requests for TCP connections and nothing else.".to_owned()),
        pointer: None,
        request_id: None,
    }
}

fn refusal(problem: &Problem) -> Answer {
    let mut response = Response::new(Full::from(serde_json::to_vec(problem).unwrap_or_default()));
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::FORBIDDEN);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    response
}
