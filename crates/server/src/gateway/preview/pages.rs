//! What a reader sees in place of an app: what is wrong, and the next step. Programs, which ask for
//! something else than a page, get a problem.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use mistle_protocol::ports::Port;
use mistle_protocol::problem::{CONTENT_TYPE, Problem};

use super::site::{Preview, Site};

/// Between two looks of a page that waits for something, in seconds.
const REFRESH: u32 = 2;
/// Nothing but the page's own styles, and links.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a page's mark means.
#[derive(Clone, Copy, Debug)]
enum Tone {
    Stopped,
    Working,
    Failed,
}

impl Tone {
    /// The name of its colour.
    fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stop",
            Self::Working => "run",
            Self::Failed => "fail",
        }
    }
}

/// What is said.
#[derive(Debug)]
pub(super) struct Page {
    status: StatusCode,
    /// The problem's stable name.
    kind: &'static str,
    tone: Tone,
    /// A word or two beside the mark.
    state: &'static str,
    title: String,
    text: String,
    /// What to do about it, and where.
    action: Option<(&'static str, String)>,
    /// Ports that can be opened, with their addresses.
    ports: Vec<(Port, String)>,
    /// Whether it may be over by itself.
    waits: bool,
}

/// Who asks, as far as it decides what is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    wants_page: bool,
    reads: bool,
}

impl Asker {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let accepts = headers
            .get(header::ACCEPT)
            .is_some_and(|accept| String::from_utf8_lossy(accept.as_bytes()).contains("text/html"));
        Self {
            wants_page: accepts,
            reads: matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

impl Page {
    fn new(status: StatusCode, kind: &'static str, tone: Tone, state: &'static str, title: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            tone,
            state,
            title: title.into(),
            text: String::new(),
            action: None,
            ports: Vec::new(),
            waits: false,
        }
    }

    fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    fn action(mut self, label: &'static str, address: String) -> Self {
        self.action = Some((label, address));
        self
    }

    /// The browser has no pass, or one that is good no more.
    pub(super) fn not_allowed(site: &Site, preview: Preview, path: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "preview-not-allowed",
            Tone::Stopped,
            "Private",
            "Not allowed",
        )
        .text("Previews are private. This browser was not let in, its permission ended, or the link was used already.")
        .action("Open through Mistle", site.opening(preview, path))
    }

    /// A page of another site asked.
    pub(super) fn foreign() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "preview-foreign-request",
            Tone::Failed,
            "Refused",
            "Not allowed",
        )
        .text("Another site made the browser ask for this. Only this preview's own pages may.")
    }

    /// The host names no preview.
    pub(super) fn unknown() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "preview-not-found",
            Tone::Stopped,
            "Not found",
            "There is no such preview",
        )
        .text("The address is not complete, or its session is gone.")
    }

    /// The sandbox has no processes.
    pub(super) fn stopped(site: &Site, preview: Preview) -> Self {
        let mut page = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "session-stopped",
            Tone::Stopped,
            "Stopped",
            "This session is stopped",
        )
        .text("Its files are kept, its programs ended. Start the session, then the server in it: this page follows.")
        .action("Start it in Mistle", site.session(preview.session));
        page.waits = true;
        page
    }

    /// The session is in the trash.
    pub(super) fn deleted(site: &Site, preview: Preview) -> Self {
        Self::new(
            StatusCode::GONE,
            "session-deleted",
            Tone::Stopped,
            "Deleted",
            "This session is deleted",
        )
        .text("It can still be restored. Nothing runs in it until then.")
        .action("Go to the session", site.session(preview.session))
    }

    /// The sandbox is on its way up, or does not answer for a moment.
    pub(super) fn unavailable(site: &Site, preview: Preview, message: &str) -> Self {
        let title = "The sandbox does not answer yet";
        let mut page = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "sandbox-unavailable",
            Tone::Working,
            "Waiting",
            title,
        )
        .text(format!("{message} This page tries again by itself."))
        .action("Go to the session", site.session(preview.session));
        page.waits = true;
        page
    }

    /// The sandbox runs, and not this port.
    pub(super) fn closed(site: &Site, preview: Preview, ports: Vec<Port>) -> Self {
        let title = format!("Nothing listens on port {}", preview.port);
        let mut page = Self::new(StatusCode::BAD_GATEWAY, "port-closed", Tone::Stopped, "Closed", title)
            .text("The server ended or did not start yet. This page opens it as soon as it listens.")
            .action("Go to the session", site.session(preview.session));
        page.ports = ports
            .into_iter()
            .map(|port| {
                let other = Preview {
                    port: port.port,
                    ..preview
                };
                (port, site.opening(other, "/"))
            })
            .collect();
        page.waits = true;
        page
    }

    /// What listens does not speak HTTP.
    pub(super) fn not_http(preview: Preview) -> Self {
        let title = format!("Port {} has no web page", preview.port);
        Self::new(StatusCode::BAD_GATEWAY, "port-not-http", Tone::Failed, "No page", title)
            .text("A program listens there, but its answer is not HTTP. It may be a database, or expect HTTPS.")
    }

    /// The app hung up.
    pub(super) fn ended(preview: Preview) -> Self {
        let title = format!("Port {} closed the connection", preview.port);
        Self::new(
            StatusCode::BAD_GATEWAY,
            "port-hung-up",
            Tone::Failed,
            "No answer",
            title,
        )
        .text("The program that listens there ended the connection before it answered. Its output may say why.")
    }

    /// The sandbox takes no more connections.
    pub(super) fn busy(message: &str) -> Self {
        let title = "The sandbox is busy";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "sandbox-busy",
            Tone::Failed,
            "Busy",
            title,
        )
        .text(message)
    }

    /// Ours.
    pub(super) fn broken() -> Self {
        let title = "Something went wrong";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            Tone::Failed,
            "Failed",
            title,
        )
        .text("The server's log says more.")
    }

    /// The request can't be read.
    pub(super) fn invalid(text: &'static str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            Tone::Failed,
            "Refused",
            "The request can't be read",
        )
        .text(text)
    }

    pub(super) fn answer(self, asker: Asker) -> Response {
        let (kind, body) = if asker.wants_page {
            ("text/html; charset=utf-8", self.html(asker.reads))
        } else {
            (CONTENT_TYPE, self.problem())
        };
        let mut response = (self.status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.waits {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(REFRESH));
        }
        response
    }

    fn problem(&self) -> String {
        let problem = Problem {
            kind: self.kind.to_owned(),
            title: self.title.clone(),
            status: self.status.as_u16(),
            detail: (!self.text.is_empty()).then(|| self.text.clone()),
            pointer: None,
            request_id: None,
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }

    /// Only a page that was read is read again; a form would be sent as something else.
    fn html(&self, reads: bool) -> String {
        let refresh = if self.waits && reads {
            format!("<meta http-equiv=\"refresh\" content=\"{REFRESH}\">\n")
        } else {
            String::new()
        };
        let action = self.action.as_ref().map_or_else(String::new, |(label, address)| {
            // A page that waits stays open to see the end of it.
            let elsewhere = if self.waits {
                " target=\"_blank\" rel=\"noopener\""
            } else {
                ""
            };
            format!(
                "<a class=\"action\" href=\"{}\"{elsewhere}>{label}</a>",
                escaped(address)
            )
        });
        let parts = [
            ("{refresh}", refresh),
            ("{tone}", self.tone.name().to_owned()),
            ("{state}", self.state.to_owned()),
            ("{title}", escaped(&self.title)),
            ("{text}", escaped(&self.text)),
            ("{action}", action),
            ("{list}", list(&self.ports)),
        ];
        fill(include_str!("page.html"), &parts)
    }
}

fn list(ports: &[(Port, String)]) -> String {
    if ports.is_empty() {
        return String::new();
    }
    let mut html = "<h2>What listens</h2>\n<ul>".to_owned();
    for (port, address) in ports {
        let name = port.command.as_ref().or(port.process.as_ref());
        let _ = write!(
            html,
            "<li><a href=\"{}\"><span class=\"port\">{}</span><span class=\"command\">{}</span></a></li>",
            escaped(address),
            port.port,
            escaped(&name.map_or_else(String::new, |command| shortened(command)))
        );
    }
    html.push_str("</ul>");
    html
}

/// A command in the space of one line: of a path from the root only its end, which says more about
/// a program than the folder that it is installed in.
fn shortened(command: &str) -> String {
    let words = command.split(' ').map(|word| match word.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with('/') && !name.is_empty() => format!("…/{name}"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Puts the parts in their places, once: what is put in is not looked at again.
fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut html = String::with_capacity(2 * template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        html.push_str(&rest[..at]);
        rest = &rest[at..];
        let part = parts.iter().find(|(name, _)| rest.starts_with(name));
        let (name, text) = part.map_or(("{", "{"), |(name, text)| (*name, text.as_str()));
        html.push_str(text);
        rest = &rest[name.len()..];
    }
    html.push_str(rest);
    html
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
        html
    })
}

#[cfg(test)]
mod tests {
    use mistle_protocol::id::SessionId;
    use mistle_protocol::ports::PortAddress;
    use url::Url;

    use super::*;

    #[test]
    fn a_command_is_shown_without_the_folders_of_its_programs() {
        for (command, shown) in [
            ("node /workspace/app/node_modules/.bin/vite", "node …/vite"),
            ("/usr/bin/python3 -m http.server", "…/python3 -m http.server"),
            ("a ./b/c /d /e/ /", "a ./b/c /d /e/ /"),
            ("", ""),
        ] {
            assert_eq!(shortened(command), shown);
        }
    }

    #[test]
    fn what_a_sandbox_says_is_text() {
        let site = Site::new(&Url::parse("http://127.0.0.1:4747").unwrap(), "localhost");
        let preview = Preview {
            session: SessionId::new(),
            port: 3000,
        };
        let port = Port {
            port: 8000,
            address: PortAddress::Any,
            pid: Some(1),
            process: None,
            command: Some("{text}<script>alert('1')</script>\"".to_owned()),
            first_seen: jiff::Timestamp::UNIX_EPOCH,
        };
        let html = Page::closed(&site, preview, vec![port]).html(true);
        assert!(
            html.contains("{text}&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;"),
            "{html}"
        );
        assert!(html.contains(&format!("href=\"http://127.0.0.1:4747/open/{}/8000\"", preview.session)));
        assert!(html.contains("Nothing listens on port 3000") && html.contains("http-equiv=\"refresh\""));
        let not_allowed = Page::not_allowed(&site, preview, "/a?b=\"><script>").html(true);
        assert!(!not_allowed.contains("<script>") && !not_allowed.contains("http-equiv=\"refresh\""));
    }
}
