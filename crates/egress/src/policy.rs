//! What a session may reach: its allow-list, its model, and the decision about a target. Pure.

use std::fmt;
use std::sync::Arc;

use mistle_protocol::egress::EgressDecision;
use mistle_protocol::problem::Problem;
use mistle_protocol::profile::EgressPolicy;
use secrecy::SecretString;
use url::Url;

use crate::target::{Host, Target, TargetError};

/// Names below this one mean a model provider; no resolver knows them.
pub const MODEL_DOMAIN: &str = "model.mistle.internal";
/// Names below this one belong to the gateway, whatever an allow-list says.
const OWN_DOMAIN: &str = "mistle.internal";
/// The port of [`MODEL_DOMAIN`]: plain HTTP, which never leaves the machine.
const MODEL_PORT: u16 = 80;
/// Ports of an allow-list entry that names none.
const WEB_PORTS: [u16; 2] = [443, 80];
/// The most entries of an allow-list; each connection walks through it.
const MAX_RULES: usize = 10_000;

/// What a session may reach. Replaced as a whole when the profile or a provider changes.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allow: AllowList,
    provider: Option<Arc<ProviderRoute>>,
}

/// What is decided about a target.
#[derive(Clone, Debug)]
pub enum Decision {
    /// No connection.
    Deny(Denial),
    /// Bytes pass untouched, if the target's address is public or permitted.
    Tunnel {
        /// The entry of the allow-list.
        rule: String,
    },
    /// The gateway answers and forwards to the provider.
    Model(Arc<ProviderRoute>),
}

/// Why no connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Stable name of the problem.
    pub kind: &'static str,
    /// HTTP status of the answer.
    pub status: u16,
    /// The rule that decided, short, for the record.
    pub rule: String,
    /// What happened and what to do, for a person.
    pub detail: String,
}

impl Policy {
    /// A policy from a profile's allow-list and the provider that the profile names.
    pub fn new(egress: &EgressPolicy, provider: Option<ProviderRoute>) -> Result<Self, RuleError> {
        Ok(Self {
            allow: AllowList::parse(&egress.allow)?,
            provider: provider.map(Arc::new),
        })
    }

    /// Decides about a target.
    pub fn decide(&self, target: &Target) -> Decision {
        if let Host::Name(name) = &target.host
            && target.host.is_below(OWN_DOMAIN)
        {
            return self.decide_own(name, target);
        }
        match self.allow.rule_for(target) {
            Some(rule) => Decision::Tunnel { rule },
            None => Decision::Deny(Denial::not_allowed(target)),
        }
    }

    fn decide_own(&self, name: &str, target: &Target) -> Decision {
        match &self.provider {
            Some(provider) if name == provider.host() && target.port == MODEL_PORT => {
                Decision::Model(Arc::clone(provider))
            }
            provider => Decision::Deny(Denial::other_model(target, provider.as_deref())),
        }
    }
}

impl Denial {
    fn not_allowed(target: &Target) -> Self {
        Self {
            kind: "egress-not-allowed",
            status: 403,
            rule: "not on the allow-list".to_owned(),
            detail: format!(
                "The session's profile does not allow {target}. Add `{}` to `egress.allow` of the profile and start a session from it.",
                entry_for(target)
            ),
        }
    }

    fn other_model(target: &Target, provider: Option<&ProviderRoute>) -> Self {
        let detail = match provider {
            Some(provider) => format!(
                "The session's profile uses the model at http://{}, and {target} is not that.",
                provider.host()
            ),
            None => "The session's profile names no model provider.".to_owned(),
        };
        Self {
            kind: "egress-other-model",
            status: 403,
            rule: "not the profile's model".to_owned(),
            detail,
        }
    }

    /// A target that can't be read.
    pub(crate) fn unreadable(error: TargetError) -> Self {
        Self {
            kind: "egress-invalid-target",
            status: 400,
            rule: "invalid target".to_owned(),
            detail: format!("The target of the CONNECT request can't be used: {error}."),
        }
    }

    /// A host that is allowed, at an address that is not. The address itself is not told: it
    /// would map the operator's network for whoever asks.
    pub(crate) fn not_public(target: &Target, what: &str) -> Self {
        Self {
            kind: "egress-private-address",
            status: 403,
            rule: format!("it is {what}"),
            detail: format!(
                "{target} is allowed by the profile, but it is {what}. If that is wanted, the operator adds its network or `{target}` to `egress.allow_private` in the server's configuration."
            ),
        }
    }

    /// A connection that can't be recorded.
    pub(crate) fn not_recorded() -> Self {
        Self {
            kind: "egress-not-recorded",
            status: 503,
            rule: "not recorded".to_owned(),
            detail: "The server can't record connections at the moment, and makes none that it can't record. Its log says why, most likely a full disk. Try again when that is put right.".to_owned(),
        }
    }

    /// The body of the answer.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: self.kind.to_owned(),
            title: "The connection was not made".to_owned(),
            status: self.status,
            detail: Some(self.detail.clone()),
            pointer: None,
            request_id: None,
        }
    }
}

impl Decision {
    /// How the record names it.
    pub fn as_record(&self) -> EgressDecision {
        match self {
            Self::Deny(_) => EgressDecision::Deny,
            Self::Tunnel { .. } => EgressDecision::Tunnel,
            Self::Model(_) => EgressDecision::Intercept,
        }
    }
}

fn entry_for(target: &Target) -> String {
    if WEB_PORTS.contains(&target.port) {
        target.host.to_string()
    } else {
        target.to_string()
    }
}

/// A profile's allow-list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(Host),
    Below(String),
}

/// Why an entry of an allow-list is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not `host`, `host:port` or `*.domain`.
    #[error("`{entry}` is not of the form `host`, `host:port` or `*.domain`")]
    Entry {
        /// The entry.
        entry: String,
        /// What is wrong with its host or port.
        #[source]
        source: TargetError,
    },
    /// A name of the gateway itself.
    #[error("`{entry}` is a name of the gateway itself; models are reached through the profile's `provider`")]
    Reserved {
        /// The entry.
        entry: String,
    },
    /// More entries than a list may have.
    #[error("an allow-list has at most {MAX_RULES} entries")]
    TooMany,
}

impl AllowList {
    /// Reads the entries: `host` (ports 443 and 80), `host:port`, `*.domain` or `*.domain:port`.
    pub fn parse(entries: &[String]) -> Result<Self, RuleError> {
        if entries.len() > MAX_RULES {
            return Err(RuleError::TooMany);
        }
        let rules = entries
            .iter()
            .map(|entry| Rule::parse(entry))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// The entry that allows a target.
    fn rule_for(&self, target: &Target) -> Option<String> {
        self.rules
            .iter()
            .find(|rule| rule.allows(target))
            .map(ToString::to_string)
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, RuleError> {
        let wrong = |source| RuleError::Entry {
            entry: entry.to_owned(),
            source,
        };
        let (wildcard, rest) = entry.strip_prefix("*.").map_or((false, entry), |rest| (true, rest));
        let (host, port) = match Host::parse(rest) {
            Ok(host) => (host, None),
            Err(error) if !rest.contains(':') => return Err(wrong(error)),
            Err(_) => Target::parse(rest)
                .map(|target| (target.host, Some(target.port)))
                .map_err(wrong)?,
        };
        if host == Host::Name(OWN_DOMAIN.to_owned()) || host.is_below(OWN_DOMAIN) {
            return Err(RuleError::Reserved {
                entry: entry.to_owned(),
            });
        }
        let pattern = match host {
            Host::Name(name) if wildcard => Pattern::Below(name),
            Host::Address(_) if wildcard => return Err(wrong(TargetError::Label)),
            host => Pattern::Exactly(host),
        };
        Ok(Self { pattern, port })
    }

    fn allows(&self, target: &Target) -> bool {
        let port = self
            .port
            .map_or(WEB_PORTS.contains(&target.port), |port| port == target.port);
        port && match &self.pattern {
            Pattern::Exactly(host) => *host == target.host,
            Pattern::Below(domain) => target.host.is_below(domain),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Exactly(host) => host.fmt(f)?,
            Pattern::Below(domain) => write!(f, "*.{domain}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Where requests for a model go, and with which credential.
#[derive(Clone, Debug)]
pub struct ProviderRoute {
    name: String,
    base_url: Url,
    credential: Option<Credential>,
}

/// How a provider is told who asks. The secrets never appear in `Debug` output.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `authorization: Bearer …`, as `OpenAI` and most others want it.
    Bearer(SecretString),
    /// `x-api-key: …`, as Anthropic wants it.
    ApiKey(SecretString),
}

impl Credential {
    pub(crate) fn key(&self) -> &SecretString {
        let (Self::Bearer(key) | Self::ApiKey(key)) = self;
        key
    }
}

/// Why a provider can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The name is no label of a host name.
    #[error("provider name `{name}`: use lower-case letters, digits and dashes, at most 63")]
    Name {
        /// The name.
        name: String,
    },
    /// The base URL has parts that a base can't have. It is not repeated: it may hold a password.
    #[error(
        "base_url of provider `{name}` must be an http or https URL with a host and without user, query or fragment"
    )]
    BaseUrl {
        /// The provider's name.
        name: String,
    },
    /// The key has characters that no header can carry.
    #[error("the API key of provider `{name}` has characters that no header can carry, such as a line break")]
    Credential {
        /// The provider's name.
        name: String,
    },
}

impl ProviderRoute {
    /// A route.
    pub fn new(name: &str, base_url: Url, credential: Option<Credential>) -> Result<Self, RouteError> {
        let named = !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-');
        if !named
            || !name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return Err(RouteError::Name { name: name.to_owned() });
        }
        let plain = matches!(base_url.scheme(), "http" | "https")
            && base_url.has_host()
            && base_url.username().is_empty()
            && base_url.password().is_none()
            && base_url.query().is_none()
            && base_url.fragment().is_none();
        if !plain {
            return Err(RouteError::BaseUrl { name: name.to_owned() });
        }
        let route = Self {
            name: name.to_owned(),
            base_url,
            credential,
        };
        match route.credential.as_ref().map(crate::model::credential_header) {
            Some(None) => Err(RouteError::Credential { name: name.to_owned() }),
            _ => Ok(route),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name by which the sandbox reaches it.
    pub fn host(&self) -> String {
        format!("{}.{MODEL_DOMAIN}", self.name)
    }

    /// The base URL that the sandbox is given: the gateway's name with the path of the real one.
    pub fn sandbox_base_url(&self) -> String {
        format!("http://{}{}", self.host(), self.base_path())
    }

    /// The path that every request is below, without a slash at its end.
    pub(crate) fn base_path(&self) -> &str {
        self.base_url.path().trim_end_matches('/')
    }

    pub(crate) fn base_url(&self) -> &Url {
        &self.base_url
    }

    pub(crate) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Host and port of the provider, for a person.
    pub(crate) fn upstream(&self) -> String {
        let port = self
            .base_url
            .port_or_known_default()
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{}{port}", self.base_url.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow: &[&str], provider: Option<&str>) -> Policy {
        let egress = EgressPolicy {
            allow: allow.iter().map(|entry| (*entry).to_owned()).collect(),
        };
        let route =
            provider.map(|name| ProviderRoute::new(name, "https://api.example.com/v1".parse().unwrap(), None).unwrap());
        Policy::new(&egress, route).unwrap()
    }

    fn rule(policy: &Policy, target: &str) -> Result<String, &'static str> {
        match policy.decide(&target.parse().unwrap()) {
            Decision::Deny(denial) => Err(denial.kind),
            Decision::Tunnel { rule } => Ok(rule),
            Decision::Model(route) => Ok(route.sandbox_base_url()),
        }
    }

    #[test]
    fn nothing_is_allowed_unless_it_is_listed() {
        let policy = policy(
            &[
                "github.com",
                "Packages.Example.net.",
                "*.example.org",
                "db.example.net:5432",
                "10.0.0.5:8080",
            ],
            None,
        );
        for (target, expected) in [
            ("github.com:443", Ok("github.com")),
            ("github.com:80", Ok("github.com")),
            ("GITHUB.com.:443", Ok("github.com")),
            ("github.com:22", Err("egress-not-allowed")),
            ("api.github.com:443", Err("egress-not-allowed")),
            ("notgithub.com:443", Err("egress-not-allowed")),
            ("github.com.evil.com:443", Err("egress-not-allowed")),
            ("packages.example.net:443", Ok("packages.example.net")),
            ("a.b.example.org:443", Ok("*.example.org")),
            ("example.org:443", Err("egress-not-allowed")),
            ("evilexample.org:443", Err("egress-not-allowed")),
            ("db.example.net:5432", Ok("db.example.net:5432")),
            ("db.example.net:443", Err("egress-not-allowed")),
            ("10.0.0.5:8080", Ok("10.0.0.5:8080")),
            ("169.254.169.254:80", Err("egress-not-allowed")),
        ] {
            assert_eq!(rule(&policy, target), expected.map(ToOwned::to_owned), "{target}");
        }
    }

    #[test]
    fn only_the_profiles_model_is_reached() {
        let with = policy(&["*.com"], Some("openai"));
        assert_eq!(
            rule(&with, "openai.model.mistle.internal:80").as_deref(),
            Ok("http://openai.model.mistle.internal/v1")
        );
        for target in [
            "openai.model.mistle.internal:443",
            "other.model.mistle.internal:80",
            "x.openai.model.mistle.internal:80",
            "model.mistle.internal:80",
        ] {
            assert_eq!(rule(&with, target), Err("egress-other-model"), "{target}");
        }
        assert_eq!(
            rule(&policy(&[], None), "openai.model.mistle.internal:80"),
            Err("egress-other-model")
        );
    }

    #[test]
    fn wrong_entries_are_named() {
        for entry in [
            "",
            "*",
            "*.",
            "*.*.com",
            "a b",
            "https://github.com",
            "github.com/x",
            "github.com:0",
            "*.10.0.0.1",
            "user@github.com",
            "127.1",
        ] {
            let error = AllowList::parse(&[entry.to_owned()]).unwrap_err();
            assert!(
                matches!(&error, RuleError::Entry { entry: named, .. } if named == entry),
                "{entry}: {error}"
            );
        }
        for entry in [
            "mistle.internal",
            "*.mistle.internal",
            "openai.model.mistle.internal:80",
        ] {
            assert!(
                matches!(AllowList::parse(&[entry.to_owned()]), Err(RuleError::Reserved { .. })),
                "{entry}"
            );
        }
    }

    #[test]
    fn a_provider_has_a_plain_base_and_shows_no_secret() {
        let new = |name: &str, url: &str, key: &str| {
            ProviderRoute::new(name, url.parse().unwrap(), Some(Credential::Bearer(key.into())))
        };
        let shown = format!(
            "{:?}",
            new("openai", "https://api.openai.com/v1/", "sk-topsecret").unwrap()
        );
        assert!(!shown.contains("topsecret"), "{shown}");
        assert_eq!(
            new("openai", "https://api.openai.com/v1/", "k")
                .unwrap()
                .sandbox_base_url(),
            "http://openai.model.mistle.internal/v1"
        );
        assert_eq!(
            new("claude", "https://api.anthropic.com", "k")
                .unwrap()
                .sandbox_base_url(),
            "http://claude.model.mistle.internal"
        );
        for name in ["", "Open", "a.b", "-a", "a_b"] {
            assert!(
                matches!(new(name, "https://x.example", "k"), Err(RouteError::Name { .. })),
                "{name}"
            );
        }
        for url in [
            "ftp://x.example",
            "https://u:topsecret@x.example",
            "https://x.example/?key=topsecret",
            "mailto:a@b",
        ] {
            let error = new("a", url, "k").unwrap_err();
            assert_eq!(error, RouteError::BaseUrl { name: "a".into() });
            assert!(!error.to_string().contains("topsecret"));
        }
        assert!(matches!(
            new("a", "https://x.example", "topsecret\n"),
            Err(RouteError::Credential { .. })
        ));
    }
}
