//! Where a person goes on after signing in: the page that they asked for.
//!
//! Whoever opens a page without being signed in is shown how to sign in, and the browser keeps the
//! page's address in a cookie that only `/login` gets. A link may also name the page itself
//! (`mistle login-link --open /s/…`). Either way only paths of our own pages count: what a link
//! says must not lead to another site.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Uri, header};

const COOKIE: &str = "mistle-next";
/// How long the way back is kept: the time to find a terminal and print a link.
const KEPT_SECS: u32 = 3600;
/// The longest address that is kept. A cookie has at most 4 KiB.
const MAX_LENGTH: usize = 2048;

/// The address, when it is one of a page of this server.
pub(crate) fn own_page(address: &str) -> Option<&str> {
    // Browsers drop some characters and take a backslash for a slash: `/\evil.example` is another
    // site to them.
    let plain = address.len() <= MAX_LENGTH && address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let relative = path.strip_prefix('/').filter(|rest| !rest.starts_with('/'))?;
    let known = crate::web::is_page(relative) || relative.starts_with("open/");
    (plain && known).then_some(address)
}

/// The cookie that keeps the address which was asked for. None for what is no page, and for the
/// first page, where one lands anyway.
pub(crate) fn keep(asked: &Uri, https: bool) -> Option<HeaderValue> {
    let address = asked.path_and_query()?.as_str();
    (address != "/").then_some(())?;
    own_page(address)?;
    cookie(&URL_SAFE_NO_PAD.encode(address), KEPT_SECS, https)
}

/// The address that was kept.
pub(crate) fn kept(headers: &HeaderMap) -> Option<String> {
    let encoded = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)?
        .1;
    let address = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
    own_page(&address)?;
    Some(address)
}

/// The cookie that forgets it.
pub(crate) fn forget(https: bool) -> Option<HeaderValue> {
    cookie("", 0, https)
}

fn cookie(value: &str, max_age_secs: u32, https: bool) -> Option<HeaderValue> {
    let secure = if https { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/login; HttpOnly; SameSite=Lax; Max-Age={max_age_secs}{secure}");
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_count() {
        for own in [
            "/",
            "/s/ses_1?file=a.ts&view=split",
            "/new",
            "/settings#tokens",
            "/open/ses_1/3000?to=/x",
        ] {
            assert_eq!(own_page(own), Some(own));
        }
        for other in [
            "",
            "s/ses_1",
            "//evil.example",
            "/\\evil.example",
            "/s/\\evil",
            "https://evil.example/s/x",
            "/\t/evil.example",
            "/s/\n",
            "/login?code=x",
            "/api/v1/sessions",
            "/logout",
            "/%2f/evil",
            "javascript:alert(1)",
            "/s/ä",
        ] {
            assert_eq!(own_page(other), None, "{other:?}");
        }
        assert_eq!(own_page(&format!("/s/{}", "x".repeat(MAX_LENGTH))), None);
    }

    #[test]
    fn what_was_asked_for_is_kept_and_what_is_forged_is_not() {
        let set = keep(&"/s/ses_1?q=a;b".parse().unwrap(), true).unwrap();
        let set = set.to_str().unwrap();
        assert!(
            set.ends_with("; Path=/login; HttpOnly; SameSite=Lax; Max-Age=3600; Secure"),
            "{set}"
        );
        let with = |pair: &str| HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_str(pair).unwrap())]);
        assert_eq!(
            kept(&with(&format!("a=b; {}", set.split(';').next().unwrap()))).as_deref(),
            Some("/s/ses_1?q=a;b")
        );
        for forged in ["//evil.example", "/\\evil.example"] {
            let pair = format!("{COOKIE}={}", URL_SAFE_NO_PAD.encode(forged));
            assert_eq!(kept(&with(&pair)), None);
        }
        assert_eq!(kept(&with("mistle-next=%%%")), None);
        assert_eq!(keep(&"/".parse().unwrap(), false), None);
        assert_eq!(keep(&"/assets/x.js".parse().unwrap(), false), None);
    }
}
