//! Previews: the web pages that programs in a sandbox serve, each port on an origin of its own.
//!
//! ```text
//! browser ── Host: 3000--<session>.<domain> ──► intercept ─ pass? ─ rewrite ─ pool ─► port 3000
//!                                                   │         │
//!                                    /.mistle/open?code=…    no: a page that says how
//! ```
//! | module | what it does |
//! |---|---|
//! | `site` | which host is which preview |
//! | `access` | one-use codes and the cookie that they become |
//! | `headers` | what is changed on the way |
//! | `address` | where the browser finds what is on `localhost` |
//! | `document`, `tags`, `policy` | what is changed in pages |
//! | `pool` | connections to apps |
//! | `pages` | what is said when there is no app |
//!
//! The host decides before anything else of the front door looks at a request, so a preview never
//! has the control plane's origin. Bodies stream both ways as they come, without a limit; what is
//! not read holds its sender up. Apps are asked by HTTP/1.1, whatever the browser speaks.

mod access;
mod address;
mod document;
mod headers;
mod idle;
mod pages;
mod policy;
mod pool;
mod site;
mod tags;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use mistle_protocol::id::SessionId;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use url::{Url, form_urlencoded};

use self::access::{Access, Guest};
use self::address::{Base, PORTS, Use};
use self::idle::{Heard, LastHeard};
use self::pages::{Asker, Page};
use self::pool::{Failure, Pool};
pub use self::site::{Place, Preview, Site};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::metrics::Gauge;
use crate::sessions::SessionError;

/// Paths below it are ours on every preview.
const RESERVED: &str = "/.mistle/";
/// Where a code is spent.
const OPEN: &str = "/.mistle/open";
/// The longest path that is come back to, in bytes.
const MAX_RETURN: usize = 2048;
/// Buffer for each direction of an upgraded connection, in bytes.
const TUNNEL_BUFFER: usize = 64 * 1024;
/// How long an upgraded connection may be silent in both directions. Far above what apps and
/// browsers ping at, so that only what was forgotten ends.
const TUNNEL_IDLE: Duration = Duration::from_hours(1);

/// All previews. Cheap to clone.
#[derive(Clone)]
pub struct Previews {
    site: Arc<Site>,
    access: Arc<Access>,
    pool: Pool,
}

impl std::fmt::Debug for Previews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Previews")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl Previews {
    /// Previews below `domain`, with the scheme and port of the public address. `key` signs passes.
    pub fn new(public_url: &Url, domain: &str, key: &SecretString) -> Self {
        let site = Site::new(public_url, domain);
        Self {
            access: Arc::new(Access::new(key.expose_secret().as_bytes(), site.is_https())),
            site: Arc::new(site),
            pool: Pool::default(),
        }
    }

    /// An address that opens a preview for the caller, once, within a minute, and leads to `path`.
    /// None when there are too many that nobody opened.
    pub fn address(&self, caller: &Caller, session: SessionId, port: u16, path: Option<&str>) -> Option<String> {
        let preview = Preview { session, port };
        let code = self.access.issue(caller, preview, Instant::now())?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("code", code.expose_secret());
        if let Some(path) = path.filter(|path| is_local(path)) {
            query.append_pair("to", path);
        }
        Some(self.site.address(preview, &format!("{OPEN}?{}", query.finish())))
    }
}

/// Whether a path stays on the origin that it is given to.
fn is_local(path: &str) -> bool {
    path.len() <= MAX_RETURN
        && path.starts_with('/')
        && !path.starts_with("//")
        && !path.starts_with(RESERVED)
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Puts the previews before everything else that a router answers.
pub fn before(router: Router, app: &App) -> Router {
    let revoked = app.revoked.subscribe();
    tokio::spawn(access::follow(
        Arc::clone(&app.previews.access),
        revoked,
        app.shutdown.clone(),
    ));
    router.layer(from_fn_with_state(app.clone(), intercept))
}

async fn intercept(State(app): State<App>, request: Request, next: Next) -> Response {
    let asker = Asker::of(request.method(), request.headers());
    let place = match authority(&request) {
        Ok(Some(authority)) => app.previews.site.find(authority),
        Ok(None) => Place::Elsewhere,
        Err(Ambiguous) => return Page::invalid("It names more than one host, or none that can be read.").answer(asker),
    };
    match place {
        Place::Elsewhere => next.run(request).await,
        Place::Unknown => Page::unknown().answer(asker),
        Place::Preview(preview) => serve(&app, preview, request)
            .await
            .unwrap_or_else(|page| page.answer(asker)),
    }
}

/// A request that different programs would take for different hosts.
struct Ambiguous;

/// The host that a request names. One that names several is nobody's.
fn authority<B>(request: &http::Request<B>) -> Result<Option<&str>, Ambiguous> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts
        .next()
        .map(|host| host.to_str().map_err(|_| Ambiguous))
        .transpose()?;
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    match (target, host, hosts.next()) {
        (_, _, Some(_)) => Err(Ambiguous),
        (Some(target), Some(host), None) if !target.eq_ignore_ascii_case(host) => Err(Ambiguous),
        (target, host, None) => Ok(target.or(host)),
    }
}

/// An app's answer, or what is said in its place.
type Answered<T> = Result<T, Box<Page>>;

async fn serve(app: &App, preview: Preview, request: Request) -> Answered<Response> {
    let previews = &app.previews;
    let checked = previews.access.check(&app.store, request.headers(), preview).await;
    let guest = checked.map_err(|error| broken(&error))?;
    let target = match Target::of(preview, &request) {
        Some(target) => target,
        None if request.uri().path() == document::SCRIPT => return Ok(document::script()),
        None => return open(previews, preview, guest.is_some(), &request),
    };
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let Some(guest) = guest else {
        let path = if is_local(path) { path } else { "/" };
        if comes_from_sibling(&previews.site, preview, &request) {
            return Ok(Redirect::to(&previews.site.opening(preview, path)).into_response());
        }
        return Err(Page::not_allowed(&previews.site, preview, path).into());
    };
    let upgrade = headers::upgrade(request.version(), request.headers());
    if headers::is_foreign(
        &previews.site,
        preview,
        request.method(),
        request.headers(),
        upgrade.is_some(),
    ) {
        return Err(Page::foreign().into());
    }
    if target.prefix.is_empty()
        && let Some(beside) = beside_its_origin(previews, &request)
    {
        return Ok(Redirect::temporary(&beside).into_response());
    }
    forward(app, target, guest, upgrade, request).await
}

/// What a request of a preview is for.
struct Target {
    /// The port of the origin that was asked.
    asked: u16,
    preview: Preview,
    /// As the app is asked for it.
    path: PathAndQuery,
    /// What comes before it on the origin that was asked.
    prefix: String,
}

impl Target {
    /// The preview itself; or another port of its session, for what its pages fetch there. None
    /// for what is ours.
    fn of(preview: Preview, request: &Request) -> Option<Self> {
        let root = || PathAndQuery::from_static("/");
        let path = request.uri().path_and_query().cloned().unwrap_or_else(root);
        if !path.path().starts_with(RESERVED) {
            return Some(Self {
                asked: preview.port,
                preview,
                path,
                prefix: String::new(),
            });
        }
        // Apps keep pages of their own.
        if is_navigation(request.headers()) {
            return None;
        }
        let rest = path.as_str().strip_prefix(PORTS)?;
        let (port, rest) = rest.split_at(rest.find('/')?);
        let other = Preview {
            port: port.parse().ok().filter(|port| *port != 0)?,
            ..preview
        };
        Some(Self {
            asked: preview.port,
            preview: other,
            path: rest.parse().ok()?,
            prefix: format!("{PORTS}{port}"),
        })
    }
}

/// Whether the answer is to be a page of its own.
fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate")
}

/// Whether a link or redirect of another preview of the session leads here. Whoever saw that one need
/// not be told how to open this one.
fn comes_from_sibling(site: &Site, preview: Preview, request: &Request) -> bool {
    let headers = request.headers();
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    let referer = headers.get(header::REFERER).and_then(|referer| referer.to_str().ok());
    let origin = referer.and_then(|referer| {
        let (scheme, rest) = referer.split_once("://")?;
        Some(format!("{scheme}://{}", rest.split('/').next()?))
    });
    let sibling = origin.and_then(|origin| site.find_origin(&origin));
    // Led through the control plane it comes without a referrer, so it is led there once.
    *request.method() == Method::GET
        && is("sec-fetch-dest", "document")
        && sibling.is_some_and(|other| other.session == preview.session && other.port != preview.port)
}

/// Where a part of a page is that names no host and comes with what another port served: a script's
/// imports, a style's images. Their own addresses say which port that is.
fn beside_its_origin(previews: &Previews, request: &Request) -> Option<String> {
    let headers = request.headers();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads || is_navigation(headers) || headers.contains_key(header::UPGRADE) {
        return None;
    }
    let origin = previews.site.origin(authority(request).ok().flatten()?);
    let referer = headers.get(header::REFERER)?.to_str().ok()?;
    let rest = referer.strip_prefix(&origin)?.strip_prefix(PORTS)?;
    let port: u16 = rest.split('/').next()?.parse().ok()?;
    Some(format!("{PORTS}{port}{}", request.uri().path_and_query()?))
}

/// Spends a code: sets the cookie, and leads to the path that was wanted.
fn open(previews: &Previews, preview: Preview, is_guest: bool, request: &Request) -> Answered<Response> {
    if request.uri().path() != OPEN || request.method() == Method::CONNECT {
        return Err(Page::unknown().into());
    }
    // A look ahead by a browser or a chat program is not a person; the code stays fresh.
    let purpose = request
        .headers()
        .get("sec-purpose")
        .and_then(|value| value.to_str().ok());
    if *request.method() != Method::GET || purpose.is_some_and(|purpose| purpose.contains("prefetch")) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let query = request.uri().query().unwrap_or_default();
    let field = |wanted: &str| {
        form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    };
    let path = field("to")
        .filter(|path| is_local(path))
        .unwrap_or_else(|| "/".to_owned());
    let code = field("code").unwrap_or_default();
    let cookie = match previews.access.spend(&code, preview, Instant::now()) {
        Some(caller) => Some(previews.access.admit(&caller, preview, Timestamp::now())),
        // Opened again from the history: there is nothing left to open.
        None if is_guest => None,
        None => return Err(Page::not_allowed(&previews.site, preview, &path).into()),
    };
    let mut response = Redirect::to(&path).into_response();
    let headers = response.headers_mut();
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The address holds the code.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Asks the app.
async fn forward(
    app: &App,
    target: Target,
    guest: Guest,
    upgrade: Option<HeaderValue>,
    mut request: Request,
) -> Answered<Response> {
    let previews = &app.previews;
    let Target {
        asked,
        preview,
        path,
        prefix,
    } = target;
    let authority = authority(&request).ok().flatten().unwrap_or_default();
    let base = Base {
        origin: previews.site.origin(authority),
        asked,
        prefix,
        preview,
    };
    let for_what = if is_navigation(request.headers()) {
        Use::Page
    } else {
        Use::Part
    };
    let page_wanted = document::is_wanted(request.method(), request.headers());
    let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
    let mut request = to_app(&previews.site, preview, path, request, upgrade)?;
    if page_wanted {
        document::ask_for_plain(request.headers_mut());
    }
    let sent = previews
        .pool
        .send(&app.sessions, &guest.caller.ctx, preview, request)
        .await;
    let mut response = match sent {
        Ok(response) => response,
        Err(failure) => return Err(explain(app, &guest, preview, failure).await.into()),
    };
    let protocol = response.headers().get(header::UPGRADE).cloned();
    headers::to_browser(&base, for_what, response.headers_mut());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (mut head, body) = response.into_parts();
        let body = Revocable::new(body, guest.revoked);
        let body = if page_wanted && document::is_page(&head.headers) {
            Body::new(document::Scripted::new(body, base, &mut head.headers))
        } else {
            Body::new(body)
        };
        return Ok(Response::from_parts(head, body));
    }
    let (Some(client), Some(protocol)) = (client, protocol) else {
        return Err(Page::not_http(preview).into());
    };
    headers::set_upgrade(response.headers_mut(), protocol);
    let program = hyper::upgrade::on(&mut response);
    app.streams
        .spawn(tunnel(client, program, guest.revoked, app.shutdown.clone()));
    Ok(response.map(|_| Body::empty()))
}

fn to_app(
    site: &Site,
    preview: Preview,
    path: PathAndQuery,
    request: Request,
    upgrade: Option<HeaderValue>,
) -> Answered<http::Request<Body>> {
    let (head, body) = request.into_parts();
    if head.method == Method::CONNECT {
        return Err(Page::invalid("A preview is no proxy.").into());
    }
    let mut request = http::Request::new(body);
    *request.method_mut() = head.method;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = head.headers;
    headers::to_app(site, preview, request.headers_mut());
    if let Some(protocol) = upgrade {
        headers::set_upgrade(request.headers_mut(), protocol);
    }
    Ok(request)
}

/// Moves an upgraded connection's bytes, until either side is done or may not go on.
async fn tunnel(client: OnUpgrade, program: OnUpgrade, revoked: CancellationToken, shutdown: CancellationToken) {
    let _open = Gauge::stream("preview");
    let last = LastHeard::new();
    let copied = async {
        let (client, program) = tokio::try_join!(client, program).map_err(std::io::Error::other)?;
        let heard = |upgraded| Heard {
            inner: TokioIo::new(upgraded),
            last: last.clone(),
        };
        let (mut client, mut program) = (heard(client), heard(program));
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut program, TUNNEL_BUFFER, TUNNEL_BUFFER).await
    };
    tokio::select! {
        copied = copied => if let Err(error) = copied {
            tracing::debug!(%error, "an upgraded connection to an app ended");
        },
        () = last.silent_for(TUNNEL_IDLE) => tracing::debug!("an upgraded connection to an app was silent for too long"),
        () = revoked.cancelled() => {}
        () = shutdown.cancelled() => {}
    }
}

/// What a reader is told when there is no answer.
async fn explain(app: &App, guest: &Guest, preview: Preview, failure: Failure) -> Page {
    let site = &app.previews.site;
    match failure {
        Failure::Session(SessionError::NotFound { what: "port" }) => {
            let ports = app.sessions.ports(&guest.caller.ctx, preview.session).await;
            Page::closed(site, preview, ports.unwrap_or_default())
        }
        Failure::Session(
            SessionError::NotFound { .. }
            | SessionError::Invalid { .. }
            | SessionError::InvalidRow { .. }
            | SessionError::Forbidden { .. },
        ) => Page::unknown(),
        Failure::Session(SessionError::Conflict {
            kind: "session-deleted",
            ..
        }) => Page::deleted(site, preview),
        Failure::Session(SessionError::Conflict {
            kind: "session-stopped" | "session-stopping",
            ..
        }) => Page::stopped(site, preview),
        Failure::Session(SessionError::Conflict { message, .. }) => Page::busy(&message),
        Failure::Session(SessionError::Unavailable { message }) => Page::unavailable(site, preview, &message),
        Failure::Session(error @ SessionError::Internal(_)) => broken(&error),
        Failure::NotHttp(error) => {
            tracing::debug!(%error, "an app does not speak HTTP");
            Page::not_http(preview)
        }
        Failure::Ended(error) => {
            tracing::debug!(%error, "an app ended the connection");
            Page::ended(preview)
        }
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Page {
    let chain = std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    tracing::error!(error = %chain, "a preview failed");
    Page::broken()
}

/// What an app says, until its reader may not hear it any more.
struct Revocable {
    body: Incoming,
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Revocable {
    fn new(body: Incoming, revoked: CancellationToken) -> Self {
        Self {
            body,
            revoked: Box::pin(revoked.cancelled_owned()),
        }
    }
}

impl hyper::body::Body for Revocable {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.revoked.as_mut().poll(cx).is_ready() {
            let ended = std::io::Error::new(std::io::ErrorKind::PermissionDenied, "the permission ended");
            return Poll::Ready(Some(Err(axum::Error::new(ended))));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(axum::Error::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Nothing follows an answer to `HEAD`, which says nothing about the length of what it is
        // about; a length of zero would be made of it.
        if self.body.is_end_stream() {
            return SizeHint::default();
        }
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, hosts: &[&str]) -> http::Request<()> {
        let mut request = http::Request::builder().uri(uri).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append("host", host.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_request_has_one_host() {
        let of = |uri: &str, hosts: &[&str]| authority(&request(uri, hosts)).ok().map(|host| host.map(str::to_owned));
        assert_eq!(of("/", &["a:1"]), Some(Some("a:1".to_owned())));
        assert_eq!(of("http://a:1/", &[]), Some(Some("a:1".to_owned())));
        assert_eq!(of("http://A:1/", &["a:1"]), Some(Some("A:1".to_owned())));
        assert_eq!(of("/", &[]), Some(None));
        assert_eq!(of("/", &["a", "b"]), None);
        assert_eq!(of("/", &["a", "a"]), None);
        assert_eq!(of("http://a/", &["b"]), None);
    }

    #[test]
    fn a_path_to_come_back_to_stays_here() {
        for good in ["/", "/a?b=c#d", "/a//b", "/%2F/x"] {
            assert!(is_local(good), "{good}");
        }
        let long = format!("/{}", "x".repeat(MAX_RETURN));
        for bad in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "/a b",
            "/\n",
            "http://x",
            "/.mistle/open",
            &long,
        ] {
            assert!(!is_local(bad), "{bad}");
        }
    }
}
