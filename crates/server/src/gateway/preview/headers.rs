//! What is changed on the way between a browser and an app.
//!
//! An app believes that a browser on its own machine asks: `Host`, `Origin` and `Referer` all say
//! `http://localhost:PORT`, and no `X-Forwarded-*` says otherwise. Development servers compare
//! these with each other (Django, Jupyter and Rails refuse a form, Next.js a server action, webpack
//! a WebSocket when they differ), and what they compare differs too, so only telling all of them
//! the same passes everywhere. On the way back an absolute `Location` to that address becomes the
//! preview's own.
//!
//! Our cookies and tokens stay on this side, both ways.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use mistle_protocol::headers::remove_hop_by_hop;
use url::{Host, Position, Url};

use super::address::{Base, Use};
use super::site::{Preview, Site};
use crate::auth::caller::TOKEN_PREFIX;
use crate::auth::origin::is_safe;

/// Cookies of ours, with and without HTTPS: the previews', and the control plane's, which no
/// browser sends here and no app may set.
pub(super) const COOKIES: [&str; 4] = ["mistle-preview", "__Host-mistle-preview", "mistle", "__Host-mistle"];

/// What proxies in front of us say about the browser, which an app would take for its own address;
/// and what is answered by us.
const NOT_FOR_APPS: [HeaderName; 9] = [
    header::FORWARDED,
    header::EXPECT,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-real-ip"),
];

/// What speaks of the whole server, which is ours.
const NOT_FOR_BROWSERS: [HeaderName; 2] = [header::ALT_SVC, header::STRICT_TRANSPORT_SECURITY];
const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// The protocol that a request asks to change to, if it does.
pub(super) fn upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    if version == Version::HTTP_11 && asks {
        headers.get(header::UPGRADE).cloned()
    } else {
        None
    }
}

/// Makes the headers of a connection that changes its protocol.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Whether a page of another site, or of another session, made the browser ask. Following a link
/// from there is fine; anything else is done with the reader's cookie behind the reader's back.
pub(super) fn is_foreign(site: &Site, preview: Preview, method: &Method, headers: &HeaderMap, upgrades: bool) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text("origin");
    let own = |origin: &str| {
        site.find_origin(origin)
            .is_some_and(|other| other.session == preview.session)
    };
    if origin.is_some_and(own) {
        return false;
    }
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => false,
        Some(_) => upgrades || !is_safe(method) || text("sec-fetch-mode") != Some("navigate"),
        None => origin.is_some() && (upgrades || !is_safe(method)),
    }
}

/// A request's headers, as the app sees them.
pub(super) fn to_app(site: &Site, preview: Preview, headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in &NOT_FOR_APPS {
        headers.remove(name);
    }
    headers.insert(header::HOST, value(format!("localhost:{}", preview.port)));
    for name in [header::ORIGIN, header::REFERER] {
        let local = headers
            .get(&name)
            .and_then(|origin| origin.to_str().ok())
            .and_then(|address| local_address(site, preview, address));
        if let Some(local) = local {
            headers.insert(name, value(local));
        }
    }
    let ours = headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| String::from_utf8_lossy(value.as_bytes()).contains(TOKEN_PREFIX));
    if ours {
        headers.remove(header::AUTHORIZATION);
    }
    if let Some(cookies) = app_cookies(headers) {
        headers.remove(header::COOKIE);
        if !cookies.is_empty()
            && let Ok(mut cookies) = HeaderValue::from_bytes(&cookies)
        {
            cookies.set_sensitive(true);
            headers.insert(header::COOKIE, cookies);
        }
    }
}

/// The address on the app's own machine of a page of this session, whichever port it is on.
fn local_address(site: &Site, preview: Preview, address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let other = site.find_origin(&format!("{scheme}://{}", &rest[..end]))?;
    (other.session == preview.session).then(|| format!("http://localhost:{}{}", other.port, &rest[end..]))
}

/// All cookies but ours as one header, as HTTP/1.1 has them; none when there was none.
fn app_cookies(headers: &HeaderMap) -> Option<Vec<u8>> {
    headers.get(header::COOKIE)?;
    let pairs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !is_ours(pair))
        .collect();
    Some(pairs.join(&b"; "[..]))
}

fn is_ours(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    COOKIES.iter().any(|ours| ours.as_bytes() == name)
}

/// An answer's headers, as the browser sees them.
pub(super) fn to_browser(base: &Base, for_what: Use, headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    for name in &NOT_FOR_BROWSERS {
        headers.remove(name);
    }
    keep_cookies(headers);
    let location = headers
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| public_location(base, location, for_what));
    if let Some(location) = location {
        headers.insert(header::LOCATION, value(location));
    }
    let cookies: Vec<HeaderValue> = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter_map(own_cookie)
        .collect();
    headers.remove(header::SET_COOKIE);
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
}

/// An address on `localhost`, as the browser finds it; none for one that is right already, or leads
/// elsewhere.
fn public_location(base: &Base, location: &str, for_what: Use) -> Option<String> {
    let Base {
        origin,
        prefix,
        preview,
        ..
    } = base;
    if !prefix.is_empty() && location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{prefix}{location}"));
    }
    let url = match Url::parse(location) {
        Err(url::ParseError::RelativeUrlWithoutBase) if location.starts_with("//") => {
            Url::parse(&format!("http:{location}")).ok()?
        }
        parsed => parsed.ok()?,
    };
    let is_local = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback() || address.is_unspecified(),
        Host::Ipv6(address) => address.is_loopback() || address.is_unspecified(),
    };
    let is_local =
        is_local && matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    let port = url.port_or_known_default().filter(|port| is_local && *port != 0)?;
    let place = if port == preview.port {
        format!("{origin}{prefix}")
    } else {
        base.place(port, for_what)
    };
    Some(format!("{place}{}", &url[Position::BeforePath..]))
}

/// Clearing cookies would clear those of the whole site, ours among them. What belongs to the
/// origin alone is the app's.
fn keep_cookies(headers: &mut HeaderMap) {
    const OWN: [&str; 3] = ["\"cache\"", "\"storage\"", "\"executionContexts\""];
    let Some(asked) = headers.remove(CLEAR_SITE_DATA) else {
        return;
    };
    let asked = String::from_utf8_lossy(asked.as_bytes()).into_owned();
    let kinds: Vec<&str> = asked.split(',').map(str::trim).collect();
    let all = kinds.contains(&"\"*\"");
    let kept: Vec<&str> = OWN.into_iter().filter(|own| all || kinds.contains(own)).collect();
    if !kept.is_empty() {
        headers.insert(CLEAR_SITE_DATA, value(kept.join(", ")));
    }
}

/// A cookie for exactly this host; none when it would take the place of ours.
fn own_cookie(cookie: &HeaderValue) -> Option<HeaderValue> {
    let bytes = cookie.as_bytes();
    if is_ours(bytes.split(|byte| *byte == b';').next().unwrap_or_default()) {
        return None;
    }
    let is_domain = |part: &[u8]| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"domain")
    };
    let mut parts = bytes.split(|byte| *byte == b';');
    let pair = parts.next().unwrap_or_default();
    let kept: Vec<&[u8]> = std::iter::once(pair)
        .chain(parts.filter(|part| !is_domain(part)))
        .collect();
    let mut cookie = HeaderValue::from_bytes(&kept.join(&b";"[..])).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// What is put together here is made of valid headers and URLs.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use mistle_protocol::id::SessionId;

    use super::*;

    fn base(preview: Preview, origin: &str, prefix: &str) -> Base {
        Base {
            origin: origin.to_owned(),
            asked: if prefix.is_empty() { preview.port } else { 8080 },
            prefix: prefix.to_owned(),
            preview,
        }
    }

    fn world() -> (Site, Preview, String) {
        let site = Site::new(&Url::parse("http://127.0.0.1:4747").unwrap(), "localhost");
        let preview = Preview {
            session: SessionId::new(),
            port: 3000,
        };
        let origin = site.address(preview, "");
        (site, preview, origin)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, text) in pairs {
            headers.append(*name, text.parse().unwrap());
        }
        headers
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut shown: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn an_app_sees_a_browser_on_its_own_machine() {
        let (site, preview, origin) = world();
        let mut sent = headers(&[
            ("host", "3000--x.localhost:4747"),
            ("origin", &origin),
            ("referer", &format!("{origin}/a?b=http://c")),
            ("cookie", "a=1; mistle-preview=secret;  b=2"),
            ("cookie", "__Host-mistle-preview=secret; mistle=x; c=d=e"),
            ("authorization", "Bearer mst_secret"),
            ("x-forwarded-host", "3000--x.localhost"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("accept", "*/*"),
        ]);
        to_app(&site, preview, &mut sent);
        assert_eq!(
            shown(&sent),
            [
                "accept: */*",
                "cookie: a=1; b=2; c=d=e",
                "host: localhost:3000",
                "origin: http://localhost:3000",
                "referer: http://localhost:3000/a?b=http://c",
            ]
        );
        let mut own = headers(&[("authorization", "Basic YTpi"), ("cookie", "mistle-preview=x")]);
        to_app(&site, preview, &mut own);
        assert_eq!(shown(&own), ["authorization: Basic YTpi", "host: localhost:3000"]);
    }

    #[test]
    fn other_origins_stay_what_they_are() {
        let (site, preview, _) = world();
        let sibling = site.address(Preview { port: 8000, ..preview }, "");
        let stranger = site.address(
            Preview {
                session: SessionId::new(),
                ..preview
            },
            "",
        );
        for (said, seen) in [
            (sibling.as_str(), "http://localhost:8000"),
            (&stranger, &stranger),
            ("null", "null"),
            ("https://example.com", "https://example.com"),
        ] {
            let mut sent = headers(&[("origin", said)]);
            to_app(&site, preview, &mut sent);
            assert_eq!(sent["origin"], seen);
        }
    }

    #[test]
    fn addresses_on_localhost_are_found() {
        let (site, preview, origin) = world();
        let own = base(preview, &origin, "");
        for (location, expected) in [
            ("http://localhost:3000", format!("{origin}/")),
            ("http://localhost:3000/a?b#c", format!("{origin}/a?b#c")),
            ("HTTP://LOCALHOST:3000/a", format!("{origin}/a")),
            ("https://127.0.0.1:3000/a", format!("{origin}/a")),
            ("http://[::1]:3000/a", format!("{origin}/a")),
            ("http://0.0.0.0:3000/a", format!("{origin}/a")),
            ("//localhost:3000/a", format!("{origin}/a")),
            (
                "http://localhost:3000\\@evil.example/",
                format!("{origin}/@evil.example/"),
            ),
        ] {
            assert_eq!(public_location(&own, location, Use::Part), Some(expected), "{location}");
        }
        let sibling = site.address(Preview { port: 3001, ..preview }, "/a");
        for (for_what, expected) in [
            (Use::Page, sibling),
            (Use::Part, format!("{origin}/.mistle/port/3001/a")),
        ] {
            let found = public_location(&own, "http://localhost:3001/a", for_what);
            assert_eq!(found, Some(expected));
        }
        for other in [
            "/a",
            "a",
            "",
            "http://localhost:0/",
            "http://example.com:3000/",
            "http://localhost.example.com:3000/",
            "http://user@localhost:3000/",
            "ws://localhost:3000/",
            "//example.com/",
        ] {
            assert_eq!(public_location(&own, other, Use::Page), None, "{other}");
        }
    }

    #[test]
    fn what_a_page_fetches_on_another_port_leads_there_again() {
        let (_, preview, origin) = world();
        let other = base(preview, &origin, "/.mistle/port/3000");
        for (location, expected) in [
            ("/a?b", Some("/.mistle/port/3000/a?b".to_owned())),
            ("http://localhost:3000/a", Some(format!("{origin}/.mistle/port/3000/a"))),
            ("a", None),
            ("//example.com/a", None),
            ("http://localhost:3001/", Some(format!("{origin}/.mistle/port/3001/"))),
            ("http://localhost:8080/", Some(format!("{origin}/"))),
        ] {
            assert_eq!(public_location(&other, location, Use::Part), expected, "{location}");
        }
    }

    #[test]
    fn cookies_stay_with_their_host_and_away_from_ours() {
        let (_, preview, origin) = world();
        let mut answer = headers(&[
            ("set-cookie", "a=1; Domain=localhost; Path=/; HttpOnly"),
            ("set-cookie", "b=domain=x;domain=.localhost"),
            ("set-cookie", "mistle-preview=stolen; Path=/"),
            ("set-cookie", " mistle = x"),
            ("location", "/next"),
            ("keep-alive", "timeout=5"),
            ("alt-svc", "h3=\":443\""),
            ("clear-site-data", "\"*\""),
        ]);
        to_browser(&base(preview, &origin, ""), Use::Page, &mut answer);
        assert_eq!(
            shown(&answer),
            [
                "clear-site-data: \"cache\", \"storage\", \"executionContexts\"",
                "location: /next",
                "set-cookie: a=1; Path=/; HttpOnly",
                "set-cookie: b=domain=x"
            ]
        );
    }

    #[test]
    fn another_site_may_link_here_and_nothing_else() {
        let (site, preview, origin) = world();
        let sibling = site.address(Preview { port: 8000, ..preview }, "");
        let stranger = site.address(
            Preview {
                session: SessionId::new(),
                ..preview
            },
            "",
        );
        let foreign = |method: &Method, upgrades, pairs: &[(&'static str, &str)]| {
            is_foreign(&site, preview, method, &headers(pairs), upgrades)
        };
        let (get, post) = (Method::GET, Method::POST);
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert!(!foreign(&get, false, &link));
        assert!(!foreign(&get, false, &[]));
        assert!(!foreign(&post, false, &[("origin", &origin)]));
        assert!(!foreign(&get, true, &[("origin", &origin)]));
        assert!(!foreign(
            &post,
            false,
            &[("origin", &sibling), ("sec-fetch-site", "same-site")]
        ));
        assert!(!foreign(
            &post,
            false,
            &[("origin", "null"), ("sec-fetch-site", "same-origin")]
        ));
        assert!(foreign(&post, false, &link), "a form of another site");
        assert!(
            foreign(&get, true, &[("origin", &stranger)]),
            "a WebSocket of another session"
        );
        assert!(foreign(&get, true, &[("origin", "http://127.0.0.1:4747")]));
        assert!(foreign(&post, false, &[("origin", "null")]));
        assert!(
            foreign(
                &get,
                false,
                &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")]
            ),
            "a script of ours elsewhere"
        );
        assert!(foreign(
            &get,
            false,
            &[
                ("origin", &stranger),
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "cors")
            ]
        ));
    }

    #[test]
    fn only_a_request_that_asks_for_it_changes_its_protocol() {
        let asks = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(
            upgrade(Version::HTTP_11, &asks),
            Some(HeaderValue::from_static("websocket"))
        );
        assert_eq!(upgrade(Version::HTTP_2, &asks), None);
        assert_eq!(upgrade(Version::HTTP_11, &headers(&[("upgrade", "h2c")])), None);
    }
}
