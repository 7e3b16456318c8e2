//! What is changed in what an app says: addresses on `localhost` in its pages.
//!
//! An app that is told that it is on `localhost` writes that into its pages, also where no header
//! can be changed: absolute addresses of images and styles, scripts of a development server on
//! another port, the WebSocket of Storybook's hot reload at the port that it listens on, the front
//! end on one port that asks an API on another. Where they are for the browser says
//! [`address`](super::address).
//!
//! What a browser fetches while it reads a page is changed in the page ([`PARTS`]). The rest is found by
//! a [script](SCRIPT) in the page: requests, workers, elements that scripts make, links when they are
//! followed. Links are not changed in the page, so that a framework that takes over what it has rendered
//! finds it as it was.
//!
//! The script comes first and takes itself out when it has run. Where a content security
//! policy decides on scripts it is written into the page, and let in by its hash.

use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, header};
use hyper::body::{Body, Frame};
use sha2::{Digest as _, Sha256};

use super::address::{Base, Use};
use super::policy;
use super::tags::{Change, Tag, Tags};

/// Where the script is.
pub(super) const SCRIPT: &str = "/.mistle/localhost.js";
const SCRIPT_TEXT: &str = include_str!("localhost.js");
/// The script in a page.
const ELEMENT: &str = "<script src=\"/.mistle/localhost.js\"></script>";
/// How a content security policy names the script.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(SCRIPT_TEXT));
    format!("sha256-{digest}")
});
/// Attributes whose addresses a browser fetches as it reads them.
const PARTS: [(&str, &str); 14] = [
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("source", "src"),
    ("video", "src"),
    ("video", "poster"),
    ("audio", "src"),
    ("track", "src"),
    ("embed", "src"),
    ("object", "data"),
    ("input", "src"),
    ("image", "href"),
    ("use", "href"),
    ("body", "background"),
];
/// The same for lists of addresses.
const LISTS: [(&str, &str); 3] = [("img", "srcset"), ("source", "srcset"), ("link", "imagesrcset")];
/// The same for pages in the page.
const FRAMES: [(&str, &str); 2] = [("iframe", "src"), ("frame", "src")];

/// The script.
pub(super) fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, SCRIPT_TEXT).into_response()
}

/// Whether the answer to a request is going to be a page.
pub(super) fn is_wanted(method: &Method, headers: &HeaderMap) -> bool {
    let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    *method != Method::HEAD && matches!(destination, Some(b"document" | b"iframe" | b"frame"))
}

/// Asks for a page that can be changed.
pub(super) fn ask_for_plain(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Whether an answer is a page, as it is written and whole.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.to_ascii_lowercase();
    let is_part = headers.contains_key(header::CONTENT_ENCODING) || headers.contains_key(header::CONTENT_RANGE);
    // In UTF-16 no tag looks like one.
    let is_wide = kind.windows(6).any(|window| window == b"utf-16");
    kind.starts_with(b"text/html") && !is_part && !is_wide
}

/// Opens the policies of a page, and says how the script goes in, if it may.
fn element(base: &Base, headers: &mut HeaderMap) -> Option<String> {
    let policies: Vec<HeaderValue> = headers
        .get_all(header::CONTENT_SECURITY_POLICY)
        .iter()
        .cloned()
        .collect();
    headers.remove(header::CONTENT_SECURITY_POLICY);
    let (mut chooses, mut forbids) = (false, false);
    for policy in policies {
        let opened = policy.to_str().ok().map(|text| policy::open(text, &HASH, base));
        let value = opened
            .as_ref()
            .and_then(|opened| HeaderValue::try_from(opened.policy.as_str()).ok());
        chooses |= opened.as_ref().is_some_and(|opened| opened.chooses);
        forbids |= opened.is_none_or(|opened| opened.forbids);
        headers.append(header::CONTENT_SECURITY_POLICY, value.unwrap_or(policy));
    }
    match (forbids, chooses) {
        (true, _) => None,
        (false, true) => Some(format!("<script>{SCRIPT_TEXT}</script>")),
        (false, false) => Some(ELEMENT.to_owned()),
    }
}

/// A page, changed as it streams by.
pub(super) struct Scripted<B> {
    body: B,
    tags: Tags,
    page: Page,
    /// Behind the last byte.
    trailers: Option<Frame<Bytes>>,
    ended: bool,
}

impl<B> Scripted<B> {
    /// The page's length is another one then.
    pub(super) fn new(body: B, base: Base, headers: &mut HeaderMap) -> Self {
        headers.remove(header::CONTENT_LENGTH);
        Self {
            body,
            tags: Tags::default(),
            page: Page {
                element: element(&base, headers),
                base,
                is_document: false,
            },
            trailers: None,
            ended: false,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Scripted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        while !this.ended {
            let mut out = Vec::new();
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => this.tags.push(&bytes, &mut this.page, &mut out),
                    Err(trailers) => {
                        this.trailers = Some(trailers);
                        this.ended = true;
                    }
                },
                None => this.ended = true,
            }
            if this.ended {
                this.tags.end(&mut out);
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
        Poll::Ready(this.trailers.take().map(Ok))
    }
}

/// What is changed in a page.
struct Page {
    base: Base,
    /// What goes into the head, until it is there.
    element: Option<String>,
    /// Whether it began like a document. What does not has no head.
    is_document: bool,
}

impl Page {
    fn insert(&mut self, out: &mut Vec<u8>) {
        if let Some(element) = self.element.take() {
            out.extend_from_slice(element.as_bytes());
        }
    }

    fn changed(&self, tag: &Tag<'_>, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let listed = |list: &[(&str, &str)]| {
            list.iter()
                .any(|(element, attribute)| attribute.as_bytes() == name && tag.is(element))
        };
        if listed(&PARTS) {
            return self.base.find(value, Use::Part);
        }
        if listed(&FRAMES) {
            return self.base.find(value, Use::Page);
        }
        if listed(&LISTS) {
            return self.base.find_all(value);
        }
        match name {
            b"href" if tag.is("base") => self.base.find(value, Use::Part),
            b"xlink:href" if tag.is("use") || tag.is("image") => self.base.find(value, Use::Part),
            b"content" if tag.is("meta") => self.meta(tag.get("http-equiv")?, value),
            _ => None,
        }
    }

    fn meta(&self, kind: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        if kind.eq_ignore_ascii_case(b"refresh") {
            // `5; url=http://…`
            let at = value.iter().position(|byte| *byte == b'=')? + 1;
            let found = self.base.find(&value[at..], Use::Page)?;
            return Some([&value[..at], &found].concat());
        }
        let is_policy = kind.eq_ignore_ascii_case(b"content-security-policy");
        let policy = std::str::from_utf8(value).ok().filter(|_| is_policy)?;
        policy::open_in_page(policy, &self.base).map(String::into_bytes)
    }
}

impl Change for Page {
    fn text(&mut self, out: &mut Vec<u8>) {
        if self.is_document {
            self.insert(out);
        }
    }

    fn tag(&mut self, tag: &Tag<'_>, out: &mut Vec<u8>) {
        if tag.is("html") {
            self.is_document = true;
        } else if !tag.is("head") && self.is_document {
            self.insert(out);
        }
        tag.write(out, |name, value| self.changed(tag, name, value));
        if tag.is("head") {
            self.insert(out);
        }
    }

    fn doctype(&mut self) {
        self.is_document = true;
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use mistle_protocol::id::SessionId;

    use super::super::site::Preview;
    use super::*;

    async fn read(parts: &[&'static str], headers: &mut HeaderMap) -> String {
        let base = Base {
            origin: "http://3000--abc.localhost".to_owned(),
            asked: 3000,
            prefix: String::new(),
            preview: Preview {
                session: SessionId::new(),
                port: 3000,
            },
        };
        let parts: Vec<_> = parts
            .iter()
            .map(|part| Ok::<_, std::io::Error>(Bytes::from(*part)))
            .collect();
        let body = Scripted::new(Body::from_stream(futures::stream::iter(parts)), base, headers);
        let page = to_bytes(Body::new(body), usize::MAX).await.unwrap();
        String::from_utf8(page.to_vec()).unwrap().replace(ELEMENT, "$")
    }

    #[tokio::test]
    async fn the_script_comes_first_in_the_head() {
        for (page, expected) in [
            (
                "<!doctype html><html lang=en><head><meta>",
                "<!doctype html><html lang=en><head>$<meta>",
            ),
            ("<HTML><HEAD data-x\n>x", "<HTML><HEAD data-x\n>$x"),
            ("<!DOCTYPE html>\n<title>x", "<!DOCTYPE html>\n$<title>x"),
            ("<!DOCTYPE html>\nx<head>", "<!DOCTYPE html>$\nx<head>"),
            ("<html><header>x", "<html>$<header>x"),
            ("<html><!-- <head> --> <head>", "<html><!-- <head> --> <head>$"),
            ("<p>no document</p>", "<p>no document</p>"),
            ("<head", "<head"),
            ("", ""),
        ] {
            assert_eq!(read(&[page], &mut HeaderMap::new()).await, expected);
        }
    }

    #[tokio::test]
    async fn everything_passes_as_it_comes() {
        let parts = ["", "<html><he", "ad>", "<body><head>", "x"];
        let mut headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(25))]);
        assert_eq!(read(&parts, &mut headers).await, "<html><head>$<body><head>x");
        assert!(headers.is_empty());
    }

    #[tokio::test]
    async fn what_a_page_is_made_of_is_found() {
        for (page, expected) in [
            (
                "<img src=http://localhost:3000/a.png alt=http://localhost:3000>",
                "<img src=http://3000--abc.localhost/a.png alt=http://localhost:3000>",
            ),
            (
                "<SCRIPT type=module SRC='http://[::1]:5173/@vite/client'></SCRIPT>",
                "<SCRIPT type=module SRC='http://3000--abc.localhost/.mistle/port/5173/@vite/client'></SCRIPT>",
            ),
            (
                "<iframe src=\"//127.0.0.1:6006/?a&amp;b\">",
                "<iframe src=\"http://6006--abc.localhost/?a&amp;b\">",
            ),
            (
                "<img srcset=\"http://localhost:3000/a 1x, /b 2x\">",
                "<img srcset=\"http://3000--abc.localhost/a 1x, /b 2x\">",
            ),
            (
                "<meta http-equiv=Refresh content=\"0; URL=http://localhost:8000/x\">",
                "<meta http-equiv=Refresh content=\"0; URL=http://8000--abc.localhost/x\">",
            ),
            (
                "<base href=http://localhost:3000/app/>",
                "<base href=http://3000--abc.localhost/app/>",
            ),
            // Followed, not fetched.
            ("<a href=http://localhost:3000/>", "<a href=http://localhost:3000/>"),
            (
                "<img src=http://example.org:3000/a>",
                "<img src=http://example.org:3000/a>",
            ),
        ] {
            assert_eq!(read(&[page], &mut HeaderMap::new()).await, expected);
        }
    }

    #[tokio::test]
    async fn a_policy_lets_the_script_in() {
        let with = |policy: &'static str| {
            HeaderMap::from_iter([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy))])
        };
        let mut headers = with("script-src 'self'");
        let page = read(&["<html><head>"], &mut headers).await;
        assert_eq!(page, format!("<html><head><script>{SCRIPT_TEXT}</script>"));
        assert_eq!(
            headers["content-security-policy"],
            format!("script-src 'self' '{}'", *HASH)
        );

        let mut headers = with("frame-ancestors 'self'");
        assert_eq!(read(&["<html><head>"], &mut headers).await, "<html><head>$");
        let mut headers = with("sandbox");
        assert_eq!(read(&["<html><head>"], &mut headers).await, "<html><head>");
        assert_eq!(headers["content-security-policy"], "sandbox");
    }

    #[test]
    fn pages_are_changed_and_nothing_else() {
        let html = ("content-type", "Text/HTML; charset=utf-8");
        for (pairs, expected) in [
            (vec![html], true),
            (vec![("content-type", "text/htm")], false),
            (vec![("content-type", "text/html; charset=UTF-16LE")], false),
            (vec![("content-type", "application/json")], false),
            (vec![], false),
            (vec![html, ("content-encoding", "gzip")], false),
            (vec![html, ("content-range", "bytes 0-1/2")], false),
        ] {
            let headers = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            assert_eq!(is_page(&headers), expected, "{pairs:?}");
        }
        let wanted = |method, destination: &'static str| {
            let headers = [("sec-fetch-dest".parse().unwrap(), HeaderValue::from_static(destination))];
            is_wanted(&method, &HeaderMap::from_iter(headers))
        };
        assert!(wanted(Method::GET, "document") && wanted(Method::POST, "iframe"));
        assert!(!wanted(Method::HEAD, "document") && !wanted(Method::GET, "empty"));
        assert!(!is_wanted(&Method::GET, &HeaderMap::new()));
    }
}
