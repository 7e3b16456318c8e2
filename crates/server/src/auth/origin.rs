//! Where a browser's request comes from.
//!
//! Cookies travel with requests from any page, and a WebSocket may be opened from any page. So
//! whatever changes something with a cookie, and every upgrade, must name exactly our own origin.
//! A request without one is refused too: browsers always send it there.

use std::net::SocketAddr;

use http::{HeaderMap, Method, header};
use url::Url;

/// The origins that are ours.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Vec<String>,
}

impl Origins {
    /// The public address and the one that is bound.
    pub fn new(public_url: &Url, bound: SocketAddr) -> Self {
        let mut allowed = vec![public_url.origin().ascii_serialization(), format!("http://{bound}")];
        if bound.ip().is_loopback() {
            allowed.push(format!("http://localhost:{}", bound.port()));
        }
        Self { allowed }
    }

    /// Whether the request names exactly one origin and it is ours.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return false;
        };
        self.allowed
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

/// Whether a method only reads.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_origin_is_ours() {
        let public = Url::parse("https://mistle.example.com").unwrap();
        let origins = Origins::new(&public, SocketAddr::from(([127, 0, 0, 1], 4747)));
        let allowed = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ORIGIN, value.parse().unwrap());
            }
            origins.allow(&headers)
        };
        for ours in [
            "https://mistle.example.com",
            "http://127.0.0.1:4747",
            "http://localhost:4747",
        ] {
            assert!(allowed(&[ours]), "{ours}");
        }
        for foreign in [
            "null",
            "",
            "http://mistle.example.com",
            "https://mistle.example.com.",
            "https://mistle.example.com:4747",
            "https://mistle.example.com.evil.example",
            "https://evil.example",
            "http://127.0.0.1:4748",
            "http://127.0.0.1",
            "https://mistle.example.com, https://evil.example",
        ] {
            assert!(!allowed(&[foreign]), "{foreign}");
        }
        assert!(!allowed(&[]), "no origin");
        assert!(
            !allowed(&["http://127.0.0.1:4747", "https://evil.example"]),
            "two origins"
        );
    }
}
