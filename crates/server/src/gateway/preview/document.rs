//! The one thing that is added to what an app says: a script in its pages.
//!
//! An app that is told that it is on `localhost` writes that into its pages, also where no header
//! can be changed: Storybook's hot reload opens a WebSocket at the port that it listens on, the
//! WebSocket of `FastAPI`'s tutorial is at `ws://localhost:8000/ws`, and the front end on one port
//! asks an API on another. The [script](SCRIPT) finds these addresses for `fetch` and its kin; the
//! app's own port on the page's origin, others below [`PORTS`].
//!
//! It is the first thing in the page and takes itself out when it has run, so that a framework
//! finds the page that it has made. A page whose content security policy speaks of scripts is left as
//! it is: it says itself which ones it wants.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, header};
use hyper::body::{Body, Frame};

/// Where the script is.
pub(super) const SCRIPT: &str = "/.mistle/localhost.js";
/// Below it are the other ports of the session, for requests of a page; pages are on their own
/// origins.
pub(super) const PORTS: &str = "/.mistle/port/";
/// The script in a page.
const ELEMENT: &[u8] = b"<script src=\"/.mistle/localhost.js\"></script>";
/// How far into a page its head is looked for, in bytes: comments may come first.
const MAX_SEARCH: usize = 16 * 1024;

/// The script.
pub(super) fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "max-age=3600"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, include_str!("localhost.js")).into_response()
}

/// Whether the answer to a request is going to be a page.
pub(super) fn is_wanted(method: &Method, headers: &HeaderMap) -> bool {
    let destination = headers.get("sec-fetch-dest").map(HeaderValue::as_bytes);
    *method != Method::HEAD && matches!(destination, Some(b"document" | b"iframe" | b"frame"))
}

/// Asks for a page that can be added to.
pub(super) fn ask_for_plain(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Whether an answer is a page, as it is written and whole.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let is_html = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().get(..9))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"));
    let is_part = headers.contains_key(header::CONTENT_ENCODING) || headers.contains_key(header::CONTENT_RANGE);
    is_html && !is_part && !chooses_scripts(headers)
}

/// Whether a page says which scripts it wants.
fn chooses_scripts(headers: &HeaderMap) -> bool {
    let policies = headers.get_all(header::CONTENT_SECURITY_POLICY).iter();
    policies
        .flat_map(|policy| policy.as_bytes().split(|byte| matches!(byte, b';' | b',')))
        .any(|directive| {
            let directive = directive.trim_ascii().to_ascii_lowercase();
            ["script-src", "default-src", "sandbox"]
                .iter()
                .any(|name| directive.starts_with(name.as_bytes()))
        })
}

/// A page with the script in it.
pub(super) struct Scripted<B> {
    body: B,
    /// Whether its beginning was seen. Nothing is held back to look for more of it.
    begun: bool,
}

impl<B> Scripted<B> {
    /// The page's length is another one then.
    pub(super) fn new(body: B, headers: &mut HeaderMap) -> Self {
        headers.remove(header::CONTENT_LENGTH);
        Self { body, begun: false }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Scripted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if self.begun {
            return polled;
        }
        polled.map_ok(|frame| {
            frame.map_data(|bytes| {
                self.begun |= !bytes.is_empty();
                with_script(bytes)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The beginning of a page, with the script as the first thing in its head.
fn with_script(page: Bytes) -> Bytes {
    let searched = &page[..page.len().min(MAX_SEARCH)];
    let Some(at) = ["head", "html", "!doctype"]
        .iter()
        .find_map(|name| end_of_tag(searched, name))
    else {
        return page;
    };
    [&page[..at], ELEMENT, &page[at..]].concat().into()
}

/// Behind the first tag of this name.
fn end_of_tag(page: &[u8], name: &str) -> Option<usize> {
    let begin = (0..page.len()).find(|&at| {
        let tag = page[at..].strip_prefix(b"<").unwrap_or_default();
        let (found, rest) = tag.split_at(tag.len().min(name.len()));
        found.eq_ignore_ascii_case(name.as_bytes())
            && rest
                .first()
                .is_some_and(|byte| *byte == b'>' || byte.is_ascii_whitespace())
    })?;
    let length = page[begin..].iter().position(|byte| *byte == b'>')?;
    Some(begin + length + 1)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};

    use super::*;

    fn scripted(page: &'static str) -> String {
        let page = with_script(Bytes::from_static(page.as_bytes()));
        String::from_utf8(page.to_vec())
            .unwrap()
            .replace(std::str::from_utf8(ELEMENT).unwrap(), "$")
    }

    #[test]
    fn the_script_comes_first_in_the_head() {
        for (page, expected) in [
            (
                "<!doctype html><html lang=en><head><meta>",
                "<!doctype html><html lang=en><head>$<meta>",
            ),
            ("<HTML><HEAD data-x\n>x", "<HTML><HEAD data-x\n>$x"),
            ("<!DOCTYPE html>\n<title>x", "<!DOCTYPE html>$\n<title>x"),
            ("<html><header>x", "<html>$<header>x"),
            ("<p>no document</p>", "<p>no document</p>"),
            ("<head", "<head"),
            ("<head x", "<head x"),
            ("<", "<"),
            ("", ""),
        ] {
            assert_eq!(scripted(page), expected);
        }
    }

    #[tokio::test]
    async fn only_the_beginning_is_looked_at_and_everything_passes() {
        let parts = ["", "<html><head>", "<body><head>", "x"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
        let mut headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(25))]);
        let body = Scripted::new(Body::from_stream(futures::stream::iter(parts)), &mut headers);
        assert!(headers.is_empty());
        let page = to_bytes(Body::new(body), usize::MAX).await.unwrap();
        let expected = [b"<html><head>", ELEMENT, b"<body><head>x"].concat();
        assert_eq!(page, expected);
    }

    #[test]
    fn pages_are_added_to_and_nothing_else() {
        let html = ("content-type", "Text/HTML; charset=utf-8");
        for (pairs, expected) in [
            (vec![html], true),
            (vec![("content-type", "text/htm")], false),
            (vec![("content-type", "application/json")], false),
            (vec![], false),
            (vec![html, ("content-encoding", "gzip")], false),
            (vec![html, ("content-range", "bytes 0-1/2")], false),
            (vec![html, ("content-security-policy", "frame-ancestors 'self'")], true),
            (
                vec![html, ("content-security-policy", "img-src *; Script-Src-Elem 'none'")],
                false,
            ),
            (
                vec![html, ("content-security-policy", "a b, default-src 'none'")],
                false,
            ),
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
