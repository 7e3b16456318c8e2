//! Addresses on `localhost` that an app hands out, as the browser finds them.
//!
//! | in the app's words | is |
//! |---|---|
//! | its own port | the origin that was asked |
//! | another port, for a page | that port's own origin |
//! | another port, for what a page is made of | [`PORTS`] on the origin that was asked |

use super::site::Preview;

/// Below it are the other ports of the session, for requests of a page; pages are on their own
/// origins.
pub(super) const PORTS: &str = "/.mistle/port/";

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A page, in a window or a frame.
    Page,
    /// What a page is made of.
    Part,
}

/// Where the browser finds an app.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// The origin that was asked.
    pub(super) origin: String,
    /// Its port.
    pub(super) asked: u16,
    /// What comes before the app's paths there: nothing on its own origin.
    pub(super) prefix: String,
    /// The app.
    pub(super) preview: Preview,
}

impl Base {
    /// Where a port of the session is.
    pub(super) fn place(&self, port: u16, for_what: Use) -> String {
        let Self { origin, asked, .. } = self;
        if port == *asked {
            return origin.clone();
        }
        let of_its_own = origin.split_once("://").zip(origin.split_once("--"));
        match (for_what, of_its_own) {
            (Use::Page, Some(((scheme, _), (_, rest)))) => format!("{scheme}://{port}--{rest}"),
            _ => format!("{origin}{PORTS}{port}"),
        }
    }

    /// An address on `localhost` as the browser finds it; none for any other address.
    pub(super) fn find(&self, address: &[u8], for_what: Use) -> Option<Vec<u8>> {
        let local = Local::parse(address)?;
        let mut found = self.place(local.port, for_what).into_bytes();
        if !matches!(local.rest.first(), Some(b'/')) {
            found.push(b'/');
        }
        found.extend_from_slice(local.rest);
        Some(found)
    }

    /// The same for a list such as `a.png 1x, b.png 2x`.
    pub(super) fn find_all(&self, list: &[u8]) -> Option<Vec<u8>> {
        let mut changed = false;
        let parts: Vec<Vec<u8>> = list
            .split(|byte| *byte == b',')
            .map(|part| {
                let at = part.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                let end = part[at..]
                    .iter()
                    .position(u8::is_ascii_whitespace)
                    .map_or(part.len(), |end| at + end);
                match self.find(&part[at..end], Use::Part) {
                    Some(found) => {
                        changed = true;
                        [&part[..at], &found, &part[end..]].concat()
                    }
                    None => part.to_vec(),
                }
            })
            .collect();
        changed.then(|| parts.join(&b","[..]))
    }
}

/// An address on the app's own machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Local<'a> {
    pub(super) port: u16,
    /// Path, query and fragment.
    pub(super) rest: &'a [u8],
}

impl<'a> Local<'a> {
    /// `http://localhost:3000/a`, with any scheme of the web or none.
    pub(super) fn parse(address: &'a [u8]) -> Option<Self> {
        const SCHEMES: [(&[u8], u16); 5] = [
            (b"http:", 80),
            (b"https:", 443),
            (b"ws:", 80),
            (b"wss:", 443),
            (b"", 80),
        ];
        let address = address.trim_ascii();
        let (rest, port) = SCHEMES.iter().find_map(|(scheme, port)| {
            let (found, rest) = address.split_at_checked(scheme.len())?;
            let rest = rest.strip_prefix(b"//")?;
            found.eq_ignore_ascii_case(scheme).then_some((rest, *port))
        })?;
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let authority = std::str::from_utf8(authority).ok()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, number)) if !number.contains(']') => (host, number.parse().ok().filter(|port| *port != 0)?),
            _ => (authority, port),
        };
        is_local(host).then_some(Self { port, rest })
    }
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "0.0.0.0" | "[::1]" | "[::]")
}

#[cfg(test)]
mod tests {
    use mistle_protocol::id::SessionId;

    use super::*;

    fn base() -> Base {
        let preview = Preview {
            session: SessionId::new(),
            port: 3000,
        };
        Base {
            origin: "http://3000--abc.localhost:4747".to_owned(),
            asked: 3000,
            prefix: String::new(),
            preview,
        }
    }

    #[test]
    fn what_is_on_localhost_is_found() {
        let found = |address: &str, for_what| {
            let found = base().find(address.as_bytes(), for_what);
            found.map(|found| String::from_utf8(found).unwrap())
        };
        for (address, page, part) in [
            (
                "http://localhost:3000",
                "http://3000--abc.localhost:4747/",
                "http://3000--abc.localhost:4747/",
            ),
            (
                " HTTP://LocalHost:3000?a&amp;b#c ",
                "http://3000--abc.localhost:4747/?a&amp;b#c",
                "http://3000--abc.localhost:4747/?a&amp;b#c",
            ),
            (
                "//127.0.0.1:8000/a",
                "http://8000--abc.localhost:4747/a",
                "http://3000--abc.localhost:4747/.mistle/port/8000/a",
            ),
            (
                "https://[::1]/a",
                "http://443--abc.localhost:4747/a",
                "http://3000--abc.localhost:4747/.mistle/port/443/a",
            ),
        ] {
            assert_eq!(found(address, Use::Page).as_deref(), Some(page), "{address}");
            assert_eq!(found(address, Use::Part).as_deref(), Some(part), "{address}");
        }
        for other in [
            "/a",
            "a",
            "",
            "//",
            "http:/localhost:3000",
            "http://localhost:0/",
            "http://localhost:70000/",
            "http://me@localhost:3000/",
            "http://localhost.example.com/",
            "http://localhost:3000\\@x/",
            "ftp://localhost/",
            "data:http://localhost",
            "http://[::1:3000/",
        ] {
            assert_eq!(found(other, Use::Page), None, "{other}");
        }
    }

    #[test]
    fn lists_are_found_one_by_one() {
        let list = b"http://localhost:3000/a.png 1x, /b.png 2x,//localhost:3000/c.png";
        let expected = b"http://3000--abc.localhost:4747/a.png 1x, /b.png 2x,http://3000--abc.localhost:4747/c.png";
        assert_eq!(base().find_all(list).unwrap(), expected);
        assert_eq!(base().find_all(b"/a.png 1x, b.png"), None);
    }
}
