//! An app's content security policy, with room for what is added to its pages.
//!
//! The added script is let in by its hash, which lets in nothing else. A source on `localhost` gets the
//! origin beside it on which the browser finds it.

use super::address::{Base, Local, Use};

/// Directives that decide on scripts in a page, the most exact first.
const SCRIPTS: [&str; 3] = ["script-src-elem", "script-src", "default-src"];

/// What a policy becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) policy: String,
    /// Whether it says which scripts may run, so that the added one is to be in the page, by its hash.
    pub(super) chooses: bool,
    /// Whether no script runs at all.
    pub(super) forbids: bool,
}

/// Opens a policy of a page, which comes after the script. None when there is nothing to add, or its
/// quotes are written as entities, which would be taken for the end of a directive.
pub(super) fn open_in_page(policy: &str, base: &Base) -> Option<String> {
    if policy.contains('&') {
        return None;
    }
    let mut changed = false;
    let directives: Vec<String> = policy
        .split(';')
        .map(|directive| {
            let mut words: Vec<String> = directive.split_ascii_whitespace().map(str::to_owned).collect();
            let before = words.len();
            add_origins(&mut words, base);
            changed |= words.len() > before;
            words.join(" ")
        })
        .collect();
    changed.then(|| directives.join("; "))
}

/// Opens the policies of a header for the script of this hash.
pub(super) fn open(policies: &str, hash: &str, base: &Base) -> Opened {
    let mut opened = Opened {
        policy: String::new(),
        chooses: false,
        forbids: false,
    };
    let parts: Vec<String> = policies
        .split(',')
        .map(|policy| open_one(policy, hash, base, &mut opened))
        .collect();
    opened.policy = parts.join(",");
    opened
}

fn open_one(policy: &str, hash: &str, base: &Base, opened: &mut Opened) -> String {
    let mut directives: Vec<Vec<String>> = policy
        .split(';')
        .map(|directive| directive.split_ascii_whitespace().map(str::to_owned).collect())
        .filter(|words: &Vec<String>| !words.is_empty())
        .collect();
    for words in &mut directives {
        add_origins(words, base);
    }
    let is_named = |words: &[String], name: &str| words[0].eq_ignore_ascii_case(name);
    let sandbox = directives.iter().find(|words| is_named(words, "sandbox"));
    opened.forbids |= sandbox.is_some_and(|words| !has(words, "allow-scripts"));
    let scripts = SCRIPTS
        .iter()
        .find_map(|name| directives.iter().position(|words| is_named(words, name)));
    if let Some(at) = scripts {
        opened.chooses = true;
        admit(&mut directives[at], hash);
    }
    let directives: Vec<String> = directives.into_iter().map(|words| words.join(" ")).collect();
    directives.join("; ")
}

/// Lets the script in. Where everything in the page may run, a hash would end that.
fn admit(words: &mut Vec<String>, hash: &str) {
    let exact = words.iter().any(|word| {
        let word = word.to_ascii_lowercase();
        ["'nonce-", "'sha256-", "'sha384-", "'sha512-", "'strict-dynamic'"]
            .iter()
            .any(|begin| word.starts_with(begin))
    });
    if has(words, "'unsafe-inline'") && !exact {
        return;
    }
    words.retain(|word| !word.eq_ignore_ascii_case("'none'"));
    words.push(format!("'{hash}'"));
}

fn has(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(wanted))
}

/// Beside each source on `localhost`, the origins that it has for the browser.
fn add_origins(words: &mut Vec<String>, base: &Base) {
    let mut origins = Vec::new();
    for word in words.iter().skip(1) {
        let Some(port) = local_port(word) else { continue };
        for place in [base.origin.clone(), base.place(port, Use::Page)] {
            let socket = place.replacen("http", "ws", 1);
            origins.extend([place, socket].into_iter().filter(|origin| !words.contains(origin)));
        }
    }
    origins.dedup();
    for origin in origins {
        if !words.contains(&origin) {
            words.push(origin);
        }
    }
}

/// The port of a source such as `http://localhost:8000` or `localhost:*`.
fn local_port(source: &str) -> Option<u16> {
    let source = source.strip_suffix(":*").unwrap_or(source);
    let address = if source.contains("//") {
        source.to_owned()
    } else {
        format!("//{source}")
    };
    Local::parse(address.as_bytes()).map(|local| local.port)
}

#[cfg(test)]
mod tests {
    use mistle_protocol::id::SessionId;

    use super::super::site::Preview;
    use super::*;

    fn base() -> Base {
        let preview = Preview {
            session: SessionId::new(),
            port: 3000,
        };
        Base {
            origin: "http://3000--abc.localhost".to_owned(),
            asked: 3000,
            prefix: String::new(),
            preview,
        }
    }

    fn opened(policy: &str) -> (String, bool, bool) {
        let opened = open(policy, "sha256-x", &base());
        (opened.policy, opened.chooses, opened.forbids)
    }

    #[test]
    fn exactly_the_added_script_is_let_in() {
        for (policy, expected) in [
            ("default-src 'self'", "default-src 'self' 'sha256-x'"),
            ("default-src 'none'; img-src *", "default-src 'sha256-x'; img-src *"),
            (
                "default-src *; Script-Src 'self'",
                "default-src *; Script-Src 'self' 'sha256-x'",
            ),
            (
                "script-src 'none'; script-src-elem a",
                "script-src 'none'; script-src-elem a 'sha256-x'",
            ),
            (
                "script-src 'nonce-y' 'strict-dynamic'",
                "script-src 'nonce-y' 'strict-dynamic' 'sha256-x'",
            ),
            ("script-src 'self' 'unsafe-inline'", "script-src 'self' 'unsafe-inline'"),
            (
                "script-src 'unsafe-inline' 'nonce-y'",
                "script-src 'unsafe-inline' 'nonce-y' 'sha256-x'",
            ),
            (
                "script-src a, script-src b",
                "script-src a 'sha256-x',script-src b 'sha256-x'",
            ),
        ] {
            assert_eq!(opened(policy), (expected.to_owned(), true, false), "{policy}");
        }
        for (policy, forbids) in [
            ("frame-ancestors 'self'; img-src *", false),
            ("sandbox allow-forms", true),
            ("sandbox allow-forms allow-scripts", false),
            ("", false),
        ] {
            assert_eq!(opened(policy), (policy.to_owned(), false, forbids), "{policy}");
        }
    }

    #[test]
    fn sources_on_localhost_are_found() {
        let (policy, ..) = opened("connect-src 'self' ws://localhost:3000 http://localhost:8000");
        let expected = "connect-src 'self' ws://localhost:3000 http://localhost:8000 http://3000--abc.localhost \
                        ws://3000--abc.localhost http://8000--abc.localhost ws://8000--abc.localhost";
        assert_eq!(policy, expected);
        let base = base();
        assert_eq!(open_in_page("img-src &#39;self&#39; localhost:8000", &base), None);
        assert_eq!(open_in_page("img-src 'self'; script-src 'none'", &base), None);
        assert_eq!(
            open_in_page("img-src localhost:3000;", &base).as_deref(),
            Some("img-src localhost:3000 http://3000--abc.localhost ws://3000--abc.localhost; ")
        );
        let (policy, ..) = opened("img-src localhost:*");
        assert!(policy.contains("http://3000--abc.localhost"), "{policy}");
    }
}
