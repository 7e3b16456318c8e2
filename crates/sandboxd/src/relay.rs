//! The sandbox's way out: an HTTP proxy on its loopback.
//!
//! Programs find it by the usual variables ([`proxy_environment`]). It decides nothing; the gateway
//! at the other end of the egress link does. It knows two requests:
//!
//! - `CONNECT host:port`: one `CONNECT` stream on the egress link, then bytes both ways. Each side
//!   may close its half; a slow side slows the other through the stream's window.
//! - `GET http://host/…` and the like: the request itself, in origin form and without the headers
//!   that are meant for the hop, over a `CONNECT` stream to the host's port. Bodies stream both
//!   ways as they come, so that server-sent events arrive at once.
//!
//! When the gateway refuses, its answer is handed to the program as it is, so that `curl -v` shows
//! the rule. While the link is away a new connection waits ([`LINK_PATIENCE`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use mistle_protocol::headers::remove_hop_by_hop;
use mistle_protocol::problem;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::link::{Egress, EgressError};
use crate::problem::Refusal;

/// How long a new connection waits for the egress link: longer than a server takes to restart,
/// shorter than most programs wait for a proxy.
pub const LINK_PATIENCE: Duration = Duration::from_secs(10);
/// Connections at once. More wait in the listener's queue. Below the link's limit of streams.
const MAX_CONNECTIONS: usize = 480;
/// How long a program may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Headers of one request, in bytes; also the read buffer's limit.
const MAX_HEAD: usize = 64 * 1024;
/// Buffer for each direction of a tunnel, in bytes. Tunnels are often many and idle.
const TUNNEL_BUFFER: usize = 16 * 1024;
/// A host name has at most 253 bytes; a port and brackets come on top.
const MAX_TARGET: usize = 253 + 8;

type Body = BoxBody<Bytes, hyper::Error>;

/// The variables that lead programs to the proxy on `port`: both spellings, because `curl` reads
/// only the lower one for plain HTTP and others only the upper ones.
pub fn proxy_environment(port: u16) -> BTreeMap<String, String> {
    let proxy = format!("http://127.0.0.1:{port}");
    let local = "localhost,127.0.0.1,::1";
    [
        ("HTTP_PROXY", proxy.as_str()),
        ("http_proxy", &proxy),
        ("HTTPS_PROXY", &proxy),
        ("https_proxy", &proxy),
        ("ALL_PROXY", &proxy),
        ("all_proxy", &proxy),
        ("NO_PROXY", local),
        ("no_proxy", local),
        // Node's fetch looks at the others only when this is set.
        ("NODE_USE_ENV_PROXY", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Opens the proxy's port on loopback; 0 takes any.
pub async fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Serves the proxy until `stop`.
pub async fn serve(listener: TcpListener, egress: Egress, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    stop.run_until_cancelled(async {
        // The semaphore is never closed.
        while let Ok(slot) = slots.clone().acquire_owned().await {
            let client = accept(&listener).await;
            let egress = egress.clone();
            tokio::spawn(async move {
                serve_client(client, egress, Arc::new(slot)).await;
            });
        }
    })
    .await;
}

/// The next connection. Failures to accept are the sandbox's own doing (no descriptors left) and
/// pass; the pause keeps them from spinning.
async fn accept(listener: &TcpListener) -> TcpStream {
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                warn!("can't accept a proxy connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// `slot` is held by the connection and, after it, by its tunnel.
async fn serve_client(client: TcpStream, egress: Egress, slot: Arc<OwnedSemaphorePermit>) {
    // Small writes on loopback must not wait for the acknowledgement of earlier ones.
    if let Err(error) = client.set_nodelay(true) {
        debug!("can't set TCP_NODELAY: {error}");
    }
    let service = service_fn(move |request| {
        let (egress, slot) = (egress.clone(), slot.clone());
        async move { Ok::<_, Infallible>(answer(request, &egress, slot).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        debug!("proxy connection: {error}");
    }
}

async fn answer(request: Request<Incoming>, egress: &Egress, slot: Arc<OwnedSemaphorePermit>) -> Response<Body> {
    let answered = if request.method() == Method::CONNECT {
        tunnel(request, egress, slot).await
    } else {
        forward(request, egress).await
    };
    answered.unwrap_or_else(|no| match no {
        No::Ours(refusal) => refuse(&refusal),
        No::Gateways(response) => hand_on(*response),
    })
}

/// Why a program does not get what it asked for.
enum No {
    Ours(Refusal),
    /// The gateway's own words.
    Gateways(Box<Response<Incoming>>),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Ours(refusal)
    }
}

/// Answers `CONNECT`, once the gateway has.
async fn tunnel(
    mut request: Request<Incoming>,
    egress: &Egress,
    slot: Arc<OwnedSemaphorePermit>,
) -> Result<Response<Body>, No> {
    let target = connect_target(request.uri())?;
    let upstream = egress.connect(&target).await.map_err(|error| explain(&target, error))?;
    let client = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Err(error) = copy_both_ways(client, upstream).await {
            debug!("tunnel to {target}: {error}");
        }
        drop(slot);
    });
    Ok(Response::new(Empty::new().map_err(|never| match never {}).boxed()))
}

async fn copy_both_ways(client: OnUpgrade, upstream: Upgraded) -> std::io::Result<()> {
    let mut upstream = TokioIo::new(upstream);
    let mut client = TokioIo::new(client.await.map_err(std::io::Error::other)?);
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, TUNNEL_BUFFER, TUNNEL_BUFFER).await?;
    Ok(())
}

/// Makes a plain request in the program's name.
async fn forward(request: Request<Incoming>, egress: &Egress) -> Result<Response<Body>, No> {
    let (target, request) = to_origin_form(request)?;
    let upstream = egress.connect(&target).await.map_err(|error| explain(&target, error))?;
    let failed = |error: hyper::Error| {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            "egress-failed",
            format!("{target} did not answer the request: {error}"),
        )
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .preserve_header_case(true)
        .max_buf_size(MAX_HEAD)
        .handshake(upstream)
        .await
        .map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!("plain request: {error}");
        }
    });
    let mut response = sender.send_request(request).await.map_err(failed)?;
    remove_hop_by_hop(response.headers_mut());
    Ok(response.map(BodyExt::boxed))
}

fn connect_target(uri: &Uri) -> Result<Authority, Refusal> {
    uri.authority()
        .filter(|target| target.port_u16().is_some_and(|port| port != 0))
        .filter(|target| is_plausible(target))
        .cloned()
        .ok_or_else(|| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "invalid-target",
                "CONNECT needs a target of the form host:port",
            )
        })
}

/// The rest is for the gateway to judge, which resolves the name and has the one parser that
/// counts.
fn is_plausible(target: &Authority) -> bool {
    let text = target.as_str();
    text.len() <= MAX_TARGET && !text.contains('@') && !target.host().is_empty()
}

fn to_origin_form<B>(request: Request<B>) -> Result<(Authority, Request<B>), Refusal> {
    let (mut head, body) = request.into_parts();
    let uri = head.uri.into_parts();
    let (Some(scheme), Some(authority)) = (uri.scheme, uri.authority) else {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "not-a-proxy-request",
            "this is an HTTP proxy: the request must name a whole URL",
        ));
    };
    if scheme != Scheme::HTTP {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid-target",
            "only http:// URLs are forwarded; for others use CONNECT",
        ));
    }
    let wrong = || Refusal::new(StatusCode::BAD_REQUEST, "invalid-target", "the URL's host is not valid");
    if !is_plausible(&authority) || authority.port_u16() == Some(0) {
        return Err(wrong());
    }
    let target = match authority.port_u16() {
        Some(_) => authority.clone(),
        None => Authority::try_from(format!("{}:80", authority.host())).map_err(|_| wrong())?,
    };
    head.uri = Uri::from(uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")));
    remove_hop_by_hop(&mut head.headers);
    // The URL decides, not what the program also says.
    head.headers.insert(
        header::HOST,
        HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
    );
    Ok((target, Request::from_parts(head, body)))
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(Full::from(refusal.body()).map_err(|never| match never {}).boxed());
    *response.status_mut() = refusal.status();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::CONTENT_TYPE));
    response
}

fn explain(target: &Authority, error: EgressError) -> No {
    let (status, kind) = match error {
        EgressError::Refused(response) => return No::Gateways(response),
        EgressError::Away(_) => (StatusCode::GATEWAY_TIMEOUT, "egress-away"),
        EgressError::Silent(_) => (StatusCode::GATEWAY_TIMEOUT, "egress-silent"),
        EgressError::Failed(_) => (StatusCode::BAD_GATEWAY, "egress-failed"),
        EgressError::Target(_) => (StatusCode::BAD_REQUEST, "invalid-target"),
    };
    No::Ours(Refusal::new(
        status,
        kind,
        format!("can't connect to {target}: {error}"),
    ))
}

/// The gateway's answer, for the program.
fn hand_on(response: Response<Incoming>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    head.version = http::Version::HTTP_11;
    // What counts as success on the link but is none here would be taken for an open tunnel.
    if head.status.is_success() || head.status.is_informational() {
        head.status = StatusCode::BAD_GATEWAY;
    }
    remove_hop_by_hop(&mut head.headers);
    Response::from_parts(head, body.boxed())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn request(uri: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_whole_url_becomes_a_target_and_an_origin_form() {
        for (uri, target, path, host) in [
            ("http://example.com", "example.com:80", "/", "example.com"),
            (
                "http://example.com:8080/a?b=c",
                "example.com:8080",
                "/a?b=c",
                "example.com:8080",
            ),
            ("http://[::1]/x", "[::1]:80", "/x", "[::1]"),
        ] {
            let (to, request) = to_origin_form(request(uri, &[("host", "somewhere.else")])).unwrap();
            assert_eq!(
                (
                    to.as_str(),
                    request.uri().to_string().as_str(),
                    &request.headers()["host"]
                ),
                (target, path, &HeaderValue::from_str(host).unwrap())
            );
        }
    }

    #[test]
    fn what_is_no_proxy_request_is_refused() {
        for wrong in [
            "/path",
            "https://example.com/",
            "http://user:secret@example.com/",
            "http://example.com:0/",
        ] {
            assert_eq!(
                to_origin_form(request(wrong, &[])).unwrap_err().status(),
                StatusCode::BAD_REQUEST,
                "{wrong}"
            );
        }
        let long = format!("{}.com:443", "a".repeat(300));
        for wrong in ["example.com", "user@example.com:443", "example.com:0", long.as_str()] {
            assert_eq!(
                connect_target(&wrong.parse().unwrap()).unwrap_err().status(),
                StatusCode::BAD_REQUEST,
                "{wrong}"
            );
        }
    }

    #[test]
    fn headers_for_the_hop_stay_behind() {
        let (_, request) = to_origin_form(request(
            "http://example.com/",
            &[
                ("connection", "x-secret, close"),
                ("x-secret", "1"),
                ("proxy-authorization", "Basic x"),
                ("te", "trailers"),
                ("accept", "*/*"),
            ],
        ))
        .unwrap();
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "host"]);
    }
}
