//! The page: embedded files, the fallback for its routes, and the headers that keep it safe.

use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::api::problem::ApiError;
use crate::app::App;
use crate::auth::{caller, next};

/// What `cargo xtask web` builds. A build without it is fine: the server then says how to get it.
#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// Files below this folder have their content's hash in their name.
const HASHED: &str = "assets/";
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Scripts come from this server alone and none are inline. Styles may be inline: terminals and
/// code highlighting set colours that way, and a style can't act. Nobody may frame the page.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Whether the page is there.
pub(crate) fn is_built() -> bool {
    Dist::get("index.html").is_some()
}

/// Headers for every answer.
pub(crate) async fn security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
        ),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Every path that nothing else answers: a file, or the page.
pub(crate) async fn page(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let path = request.uri().path().trim_start_matches('/');
    if path != "index.html"
        && let Some(file) = Dist::get(path)
    {
        return Ok(asset(path, file, request.headers()));
    }
    // A person who mistyped an address gets a page that says so; a program gets a problem.
    let status = match (is_page(path), wants_html(request.headers())) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::NOT_FOUND,
        (false, false) => return Err(ApiError::not_found("page")),
    };
    if caller::by_cookie(&app, request.headers()).await?.is_none() {
        return Ok(sign_in_first(&app, request.uri()));
    }
    Ok(match Dist::get("index.html") {
        Some(index) => (
            status,
            [(header::CACHE_CONTROL, "no-cache")],
            Html(index.data.into_owned()),
        )
            .into_response(),
        None => (StatusCode::NOT_FOUND, Html(NOT_BUILT)).into_response(),
    })
}

/// The routes of the page.
pub(crate) fn is_page(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    matches!(first, "" | "new" | "deleted" | "s" | "settings")
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn asset(path: &str, file: EmbeddedFile, request: &HeaderMap) -> Response {
    use std::fmt::Write as _;
    let hash = file.metadata.sha256_hash();
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &hash[..16] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    let caching = if path.starts_with(HASHED) { FOREVER } else { "no-cache" };
    let known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let headers = [
        (header::CACHE_CONTROL, caching.to_owned()),
        (header::ETAG, tag),
        (header::CONTENT_TYPE, file.metadata.mimetype().to_owned()),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, file.data.into_owned()).into_response()
}

/// How to sign in, for whoever asked for a page. They come back to it.
pub(crate) fn sign_in_first(app: &App, asked: &Uri) -> Response {
    let mut response = sign_in_page(StatusCode::UNAUTHORIZED, None);
    if let Some(cookie) = next::keep(asked, app.cookie.is_secure()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// How to sign in, for whoever is not.
pub(crate) fn sign_in_page(status: StatusCode, said: Option<&str>) -> Response {
    // What is said here is ours alone; nothing of a request is repeated.
    let said = said
        .map(|said| format!("<p class=\"said\" role=\"alert\">{said}</p>"))
        .unwrap_or_default();
    let page = SIGN_IN.replace("{said}", &said);
    (status, [(header::CACHE_CONTROL, "no-store")], Html(page)).into_response()
}

const SIGN_IN: &str = include_str!("web/sign-in.html");
const NOT_BUILT: &str = include_str!("web/not-built.html");
