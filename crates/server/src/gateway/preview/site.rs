//! Where previews are: `<port>--<session>.<domain>`, the session as its 32 hexadecimal digits.
//!
//! Everything below the domain belongs to previews, so that nothing that is written a little
//! differently (a trailing dot, another label) reaches the control plane with the trust of its
//! origin, or a preview with the trust of another's.

use mistle_protocol::id::SessionId;
use url::Url;

/// What separates the port from the session. No session has a dash in it, and no port.
const SEPARATOR: &str = "--";

/// One port of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preview {
    /// The session.
    pub session: SessionId,
    /// The port, 1 to 65,535.
    pub port: u16,
}

impl Preview {
    /// Its host's first label.
    fn label(self) -> String {
        format!("{}{SEPARATOR}{}", self.port, self.session.uuid().simple())
    }

    /// The only way of writing a label is the one above: two hosts for one preview would be two
    /// origins.
    fn parse(label: &str) -> Option<Self> {
        let (port, session) = label.split_once(SEPARATOR)?;
        let preview = Self {
            session: format!("{}_{session}", SessionId::PREFIX).parse().ok()?,
            port: port.parse().ok().filter(|port| *port != 0)?,
        };
        (preview.label() == label).then_some(preview)
    }
}

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not below the domain of previews.
    Elsewhere,
    /// Below it, and no preview.
    Unknown,
    /// A preview.
    Preview(Preview),
}

/// The server's addresses.
#[derive(Clone, Debug)]
pub struct Site {
    public_url: Url,
    domain: String,
}

impl Site {
    /// Previews below `domain`, with the scheme and port of the public address.
    pub fn new(public_url: &Url, domain: &str) -> Self {
        Self {
            public_url: public_url.clone(),
            domain: domain.to_ascii_lowercase(),
        }
    }

    /// Whether browsers reach the server by HTTPS.
    pub fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// Whom a `Host` header names.
    pub fn find(&self, authority: &str) -> Place {
        let host = authority
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
            .map_or(authority, |(host, _)| host)
            .to_ascii_lowercase();
        let name = host.trim_end_matches('.');
        let below = name
            .strip_suffix(self.domain.as_str())
            .and_then(|rest| rest.strip_suffix('.'));
        match below {
            None => Place::Elsewhere,
            Some(_) if self.public_url.host_str() == Some(host.as_str()) => Place::Elsewhere,
            Some(label) if name == host => Preview::parse(label).map_or(Place::Unknown, Place::Preview),
            Some(_) => Place::Unknown,
        }
    }

    /// Whom an origin such as `http://3000--….localhost:4747` names.
    pub fn find_origin(&self, origin: &str) -> Option<Preview> {
        let (scheme, authority) = origin.split_once("://")?;
        match self.find(authority) {
            Place::Preview(preview) if scheme == self.public_url.scheme() => Some(preview),
            _ => None,
        }
    }

    /// The origin of a preview that was asked for by `authority`, which browsers and proxies may
    /// write with another port than ours.
    pub fn origin(&self, authority: &str) -> String {
        format!("{}://{}", self.public_url.scheme(), authority.to_ascii_lowercase())
    }

    /// A page of a preview; `path` begins with a slash.
    pub fn address(&self, preview: Preview, path: &str) -> String {
        let port = self
            .public_url
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        format!(
            "{}://{}.{}{port}{path}",
            self.public_url.scheme(),
            preview.label(),
            self.domain
        )
    }

    /// Where a person opens a preview by way of the control plane, and comes back to `path`.
    pub fn opening(&self, preview: Preview, path: &str) -> String {
        let mut url = self.public_url.clone();
        url.set_path(&format!("/open/{}/{}", preview.session, preview.port));
        url.set_query(None);
        if path != "/" {
            url.query_pairs_mut().append_pair("to", path);
        }
        url.to_string()
    }

    /// A session's own page.
    pub fn session(&self, session: SessionId) -> String {
        let mut url = self.public_url.clone();
        url.set_path(&format!("/s/{session}"));
        url.set_query(None);
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0198f0c0d1e27f3a8b4c5d6e7f809102";

    fn site(public_url: &str, domain: &str) -> Site {
        Site::new(&Url::parse(public_url).unwrap(), domain)
    }

    #[test]
    fn an_address_finds_its_preview() {
        let preview = Preview {
            session: SessionId::new(),
            port: 3000,
        };
        for (public_url, domain) in [
            ("http://127.0.0.1:4747", "localhost"),
            ("https://mistle.example.com", "preview.example.com"),
        ] {
            let site = site(public_url, domain);
            let url = Url::parse(&site.address(preview, "/x")).unwrap();
            let origin = url.origin().ascii_serialization();
            let authority = origin.split_once("://").unwrap().1;
            assert_eq!(site.find(authority), Place::Preview(preview));
            assert_eq!(site.find_origin(&origin), Some(preview));
            assert_eq!(site.origin(authority), origin);
            assert!(url.host_str().unwrap().split('.').all(|label| label.len() <= 63));
        }
    }

    #[test]
    fn only_one_writing_is_a_preview_and_none_leaves_the_domain() {
        let site = site("http://localhost:4747", "localhost");
        let good = format!("3000--{HEX}.localhost:4747");
        assert!(matches!(site.find(&good), Place::Preview(_)));
        assert!(
            matches!(site.find(&good.to_uppercase()), Place::Preview(_)),
            "hosts have no case"
        );
        assert!(matches!(
            site.find(&format!("3000--{HEX}.localhost")),
            Place::Preview(_)
        ));
        for unknown in [
            format!("3000--{HEX}.localhost."),
            format!("3000--{HEX}.localhost.:4747"),
            format!("03000--{HEX}.localhost"),
            format!("+3000--{HEX}.localhost"),
            format!("0--{HEX}.localhost"),
            format!("65536--{HEX}.localhost"),
            format!("3000-{HEX}.localhost"),
            format!("3000--ses_{HEX}.localhost"),
            format!("3000--{}.localhost", &HEX[1..]),
            format!("a.3000--{HEX}.localhost"),
            format!("3000--{HEX}--x.localhost"),
            format!("x@3000--{HEX}.localhost"),
            "a.localhost".to_owned(),
            ".localhost".to_owned(),
            "a.localhost..".to_owned(),
        ] {
            assert_eq!(site.find(&unknown), Place::Unknown, "{unknown}");
        }
        for elsewhere in [
            "localhost:4747",
            "localhost",
            "127.0.0.1:4747",
            "[::1]:4747",
            "evillocalhost",
            &format!("3000--{HEX}.localhost.evil.example"),
            "",
        ] {
            assert_eq!(site.find(elsewhere), Place::Elsewhere, "{elsewhere}");
        }
    }

    #[test]
    fn the_control_plane_may_be_below_the_domain() {
        let site = site("https://mistle.example.com", "example.com");
        assert_eq!(site.find("mistle.example.com"), Place::Elsewhere);
        assert_eq!(site.find("other.example.com"), Place::Unknown);
    }

    #[test]
    fn another_scheme_is_another_origin() {
        let site = site("https://mistle.example.com", "preview.example.com");
        assert_eq!(
            site.find_origin(&format!("http://3000--{HEX}.preview.example.com")),
            None
        );
        assert_eq!(site.find_origin("null"), None);
    }
}
