//! The way to a model: the gateway is the HTTP server, adds the provider's key and forwards.
//!
//! Bodies pass as they come, in both directions. Headers pass but for those that concern one
//! connection, those that say who asks, and cookies. Redirects are handed back, never followed: a
//! redirect would carry the key to another host.

use std::convert::Infallible;
use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioTimer;
use mistle_protocol::egress::EgressDecision;
use mistle_protocol::headers::remove_hop_by_hop;
use secrecy::ExposeSecret as _;
use serde_json::json;
use url::Url;

use crate::gateway::Stream;
use crate::policy::{Credential, Decision, ProviderRoute};
use crate::record::{Counters, Draft};
use crate::redact::Redactor;
use crate::target::Target;

/// How long a provider may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a provider may say nothing. Models think for minutes before the first word; agents
/// give up at five minutes themselves, and they should be the ones who do.
const READ_IDLE_TIMEOUT: Duration = Duration::from_mins(10);
/// How long an agent may keep a connection without asking anything.
const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_mins(5);
/// Idle connections that are kept to a provider.
const POOL_IDLE_PER_HOST: usize = 64;
/// The most headers of a request.
const MAX_HEADERS: usize = 100;
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// What a client says about who asks, what the gateway says itself, and what it could not read.
const NOT_FORWARDED: [HeaderName; 13] = [
    // What is compressed can't be searched for the key.
    header::ACCEPT_ENCODING,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    // The body says its length itself.
    header::CONTENT_LENGTH,
    header::FORWARDED,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// What a provider says that concerns its connection with the gateway, or sets state in a client.
const NOT_RETURNED: [HeaderName; 3] = [
    header::SET_COOKIE,
    HeaderName::from_static("alt-svc"),
    header::STRICT_TRANSPORT_SECURITY,
];

type AnswerBody = UnsyncBoxBody<Bytes, reqwest::Error>;

/// The client for all providers.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    // Another provider may be installed already; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .tcp_nodelay(true)
        .no_proxy()
        .build()
}

/// The header that carries a credential; none when no header can.
pub(crate) fn credential_header(credential: &Credential) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = match credential {
        Credential::Bearer(key) => (
            header::AUTHORIZATION,
            HeaderValue::try_from(format!("Bearer {}", key.expose_secret())),
        ),
        Credential::ApiKey(key) => (
            HeaderName::from_static("x-api-key"),
            HeaderValue::try_from(key.expose_secret()),
        ),
    };
    let mut value = value.ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// Serves one connection of an agent until it ends. Each request on it is decided anew, so a
/// provider that was replaced or taken away takes effect at once.
pub(crate) async fn serve(stream: Arc<Stream>, target: Target, upgraded: Upgraded) {
    let service = service_fn(move |request| {
        let (stream, target) = (Arc::clone(&stream), target.clone());
        async move { Ok::<_, Infallible>(answer(&stream, &target, request).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_IDLE_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    if let Err(error) = server.serve_connection(upgraded, service).await {
        tracing::debug!(%error, "a model connection ended");
    }
}

async fn answer(stream: &Stream, target: &Target, request: Request<Incoming>) -> Response<AnswerBody> {
    let draft = stream
        .draft(target)
        .decided(EgressDecision::Intercept, "model")
        .request(request.method(), request.uri().path());
    if let Err(denial) = stream.begin(&draft).await {
        return Failure::denied(StatusCode::SERVICE_UNAVAILABLE, "not_recorded", denial.detail).response();
    }
    let mut ending = Ending {
        draft: Some(draft),
        stream: stream.clone(),
    };
    let response = match forward(stream, target, request, &ending).await {
        Ok(response) => response,
        Err(failure) => {
            if failure.denied {
                ending.deny(&failure.message);
            }
            failure.response()
        }
    };
    ending.status(response.status());
    response.map(|body| {
        Counted {
            inner: body,
            counters: ending.counters(),
            way: Way::Back,
            _ending: Some(ending),
        }
        .boxed_unsync()
    })
}

async fn forward(
    stream: &Stream,
    target: &Target,
    request: Request<Incoming>,
    ending: &Ending,
) -> Result<Response<AnswerBody>, Failure> {
    let route = match stream.decide(target) {
        Decision::Model(route) => route,
        Decision::Deny(denial) => {
            return Err(Failure::denied(
                StatusCode::FORBIDDEN,
                "model_not_allowed",
                denial.detail,
            ));
        }
        Decision::Tunnel { .. } => {
            return Err(Failure::denied(
                StatusCode::FORBIDDEN,
                "model_not_allowed",
                "This host is no model.".to_owned(),
            ));
        }
    };
    check_host(&request, &route)?;
    let url = upstream_url(&route, request.uri())?;
    let headers = request_headers(request.headers(), &route);
    let (parts, body) = request.into_parts();
    let body = Counted {
        inner: body,
        counters: ending.counters(),
        way: Way::Out,
        _ending: None,
    };
    let sent = stream
        .client()
        .request(parts.method, url)
        .headers(headers)
        .body(reqwest::Body::wrap(body))
        .send()
        .await;
    let mut response: Response<reqwest::Body> = sent.map_err(|error| Failure::upstream(&route, &error))?.into();
    tracing::debug!(
        provider = route.name(),
        status = response.status().as_u16(),
        "a model answers"
    );
    remove_hop_by_hop(response.headers_mut());
    for name in &NOT_RETURNED {
        response.headers_mut().remove(name);
    }
    let Some(redactor) = route
        .credential()
        .and_then(|credential| Redactor::new(credential.key()))
    else {
        return Ok(response.map(BodyExt::boxed_unsync));
    };
    redactor.headers(response.headers_mut());
    Ok(response.map(|body| {
        Redacted {
            inner: body,
            redactor,
            ended: false,
        }
        .boxed_unsync()
    }))
}

/// The request must be for the host that the connection was opened to.
fn check_host<B>(request: &Request<B>, route: &ProviderRoute) -> Result<(), Failure> {
    let own = |authority: &str| {
        authority
            .strip_suffix(":80")
            .unwrap_or(authority)
            .eq_ignore_ascii_case(&route.host())
    };
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).is_some_and(own) && hosts.next().is_none();
    let uri = request
        .uri()
        .authority()
        .is_none_or(|authority| own(authority.as_str()));
    if host && uri {
        return Ok(());
    }
    let message = format!(
        "This connection is for {}; the request names another host.",
        route.host()
    );
    Err(Failure::denied(
        StatusCode::MISDIRECTED_REQUEST,
        "misdirected_request",
        message,
    ))
}

/// The provider's URL for a request: the same path, which must be below the base URL's, so that
/// the key is good for the API that it was given for and nothing beside it.
fn upstream_url(route: &ProviderRoute, uri: &Uri) -> Result<Url, Failure> {
    let mut url = route.base_url().clone();
    url.set_path(uri.path());
    url.set_query(uri.query());
    let below = uri
        .path()
        .strip_prefix(route.base_path())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // A path that a URL parser would change (`..`, `%2e%2e`, `\`) means something else to it.
    if below && url.path() == uri.path() {
        return Ok(url);
    }
    let message = format!(
        "Only paths below {} are forwarded to the provider “{}”.",
        route.sandbox_base_url(),
        route.name()
    );
    Err(Failure::denied(StatusCode::FORBIDDEN, "path_not_allowed", message))
}

fn request_headers(client: &HeaderMap, route: &ProviderRoute) -> HeaderMap {
    let mut headers = client.clone();
    remove_hop_by_hop(&mut headers);
    for name in &NOT_FORWARDED {
        headers.remove(name);
    }
    if let Some((name, value)) = route.credential().and_then(credential_header) {
        headers.insert(name, value);
    }
    headers
}

/// A request that got no answer from the provider.
struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Whether the gateway refused, so that nothing was sent.
    denied: bool,
}

impl Failure {
    fn denied(status: StatusCode, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
            denied: true,
        }
    }

    fn upstream(route: &ProviderRoute, error: &reqwest::Error) -> Self {
        let (name, upstream, why) = (route.name(), route.upstream(), root_cause(error));
        let (status, code, message) = if error.is_connect() {
            let hint = format!(
                "Check base_url of [providers.{name}] in the server's configuration, and that the provider runs."
            );
            (
                StatusCode::BAD_GATEWAY,
                "model_unreachable",
                format!("The model provider “{name}” can't be reached at {upstream}: {why}. {hint}"),
            )
        } else if error.is_timeout() {
            let minutes = READ_IDLE_TIMEOUT.as_secs() / 60;
            (
                StatusCode::GATEWAY_TIMEOUT,
                "model_timeout",
                format!("The model provider “{name}” at {upstream} said nothing for {minutes} minutes."),
            )
        } else {
            (
                StatusCode::BAD_GATEWAY,
                "model_stream_cut",
                format!("The connection to the model provider “{name}” at {upstream} broke: {why}."),
            )
        };
        tracing::warn!(provider = name, upstream, code, error = why, "a model request failed");
        Self {
            status,
            code,
            message,
            denied: false,
        }
    }

    /// An error that clients of `OpenAI` and of Anthropic both understand.
    fn response(&self) -> Response<AnswerBody> {
        let body = json!({ "type": "error", "error": { "message": self.message, "type": self.code, "param": null, "code": self.code } });
        let body = Full::from(body.to_string())
            .map_err(|never: Infallible| match never {})
            .boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// The last error of the chain. The outer ones repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut last = None;
    while let Some(inner) = source {
        last = Some(inner);
        source = inner.source();
    }
    last.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

/// Writes the record when the answer has ended, in whatever way.
struct Ending {
    draft: Option<Draft>,
    stream: Stream,
}

impl Ending {
    fn counters(&self) -> Counters {
        self.draft
            .as_ref()
            .map(|draft| draft.counters.clone())
            .unwrap_or_default()
    }

    fn status(&mut self, status: StatusCode) {
        if let Some(draft) = &mut self.draft {
            draft.status(status.as_u16());
        }
    }

    fn deny(&mut self, why: &str) {
        self.draft = self.draft.take().map(|draft| draft.decided(EgressDecision::Deny, why));
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.stream.record_later(draft);
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Out,
    Back,
}

/// A body whose bytes are counted while they pass.
struct Counted<B> {
    inner: B,
    counters: Counters,
    way: Way,
    /// Dropped with the body, which is when the exchange is over.
    _ending: Option<Ending>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let counter = match this.way {
                Way::Out => this.counters.out(),
                Way::Back => this.counters.back(),
            };
            counter.fetch_add(data.remaining() as u64, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer without the key. Trailers are left out: no client can have asked for them, since `te` is
/// not forwarded.
struct Redacted<B> {
    inner: B,
    redactor: Redactor,
    ended: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Redacted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        while !this.ended {
            let passed = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame
                    .into_data()
                    .map(|data| this.redactor.push(data))
                    .unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.ended = true;
                    this.redactor.end()
                }
            };
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream() && self.redactor.held() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.redactor.held();
        let inner = self.inner.size_hint();
        inner
            .exact()
            .map_or_else(SizeHint::new, |left| SizeHint::with_exact(left + held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(base_url: &str, credential: Option<Credential>) -> ProviderRoute {
        ProviderRoute::new("demo", base_url.parse().unwrap(), credential).unwrap()
    }

    #[test]
    fn paths_stay_below_the_base() {
        let route = route("https://api.example.com/v1", None);
        let url = |uri: &str| {
            upstream_url(&route, &uri.parse().unwrap())
                .map(|url| url.to_string())
                .map_err(|failure| failure.code)
        };
        assert_eq!(
            url("/v1/responses?a=1&b=%2F").as_deref(),
            Ok("https://api.example.com/v1/responses?a=1&b=%2F")
        );
        assert_eq!(url("/v1").as_deref(), Ok("https://api.example.com/v1"));
        assert_eq!(
            url("http://demo.model.mistle.internal/v1/models").as_deref(),
            Ok("https://api.example.com/v1/models")
        );
        for outside in [
            "/",
            "/v2/x",
            "/v10",
            "/v1/../admin",
            "/v1/%2e%2e/admin",
            "/v1/%2E./admin",
            "/v1/./x",
            "/V1/x",
        ] {
            assert_eq!(url(outside), Err("path_not_allowed"), "{outside}");
        }
    }

    #[test]
    fn a_base_without_a_path_takes_every_path() {
        let route = route("http://127.0.0.1:9", None);
        assert_eq!(
            upstream_url(&route, &"/v1/messages".parse().unwrap())
                .ok()
                .map(Into::into),
            Some("http://127.0.0.1:9/v1/messages".to_owned())
        );
    }

    #[test]
    fn the_host_must_be_the_targets() {
        let route = route("http://127.0.0.1:9", None);
        let ask = |uri: &str, hosts: &[&str]| {
            let request = hosts.iter().fold(Request::builder().uri(uri), |request, host| {
                request.header("host", *host)
            });
            check_host(&request.body(()).unwrap(), &route).map_err(|failure| failure.status.as_u16())
        };
        let own = "demo.model.mistle.internal";
        assert_eq!(ask("/v1", &[own]), Ok(()));
        assert_eq!(ask("/v1", &["Demo.model.mistle.internal:80"]), Ok(()));
        assert_eq!(ask("http://demo.model.mistle.internal/v1", &[own]), Ok(()));
        for (uri, hosts) in [
            ("/v1", vec![]),
            ("/v1", vec!["evil.com"]),
            ("/v1", vec![own, "evil.com"]),
            ("http://evil.com/v1", vec![own]),
            ("/v1", vec!["other.model.mistle.internal"]),
        ] {
            assert_eq!(ask(uri, &hosts), Err(421), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn the_clients_authorization_is_replaced() {
        let mut client = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer placeholder"),
            ("x-api-key", "placeholder"),
            ("api-key", "placeholder"),
            ("cookie", "a=b"),
            ("host", "demo.model.mistle.internal"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("user-agent", "agent"),
            ("content-type", "application/json"),
        ] {
            client.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let sent = |credential: Option<Credential>| {
            let headers = request_headers(&client, &route("http://127.0.0.1:9", credential));
            let mut shown: Vec<String> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            shown.sort();
            shown
        };
        assert_eq!(sent(None), ["content-type: application/json", "user-agent: agent"]);
        assert_eq!(
            sent(Some(Credential::Bearer("real".into()))),
            [
                "authorization: Bearer real",
                "content-type: application/json",
                "user-agent: agent"
            ]
        );
        assert_eq!(
            sent(Some(Credential::ApiKey("real".into()))),
            ["content-type: application/json", "user-agent: agent", "x-api-key: real"]
        );
        let (_, value) = credential_header(&Credential::Bearer("real".into())).unwrap();
        assert_eq!(format!("{value:?}"), "Sensitive");
    }
}
