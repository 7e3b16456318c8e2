//! The changes of a session's working tree, which the daemon finds.
//!
//! Everything that comes back is a sandbox's word: each line and each answer is read into its type,
//! bounded, before anybody else sees it. Contents pass as bytes, with a type from a short list.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::header::CONTENT_TYPE;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use mistle_model::OpContext;
use mistle_protocol::changes::{
    ChangesLine, Discard, Discarded, FileDiff, FoundFiles, MAX_CHANGED_FILES, MAX_FOUND, MAX_SEARCH, MAX_STREAM_LINE,
    RepoPath, Restore, Scope, Side, WatchLine, WatchMode,
};
use mistle_protocol::id::SessionId;
use mistle_protocol::session::{LiveMessage, SessionState};
use tokio::sync::watch;

use super::control::{Control, ControlError, empty, successful, within};
use super::driver::View;
use super::{Result, SessionError, Sessions};

/// How long git may take before it answers. Above the daemon's own limit for short work.
const FIRST_WITHIN: Duration = Duration::from_secs(50);
/// How long it may be silent in the middle.
const SILENCE: Duration = Duration::from_mins(2);
/// How long the stream of changes may be silent: four keep-alives.
const WATCH_SILENCE: Duration = Duration::from_mins(1);
/// The longest line of that stream, in bytes.
const MAX_WATCH_LINE: usize = 4 * 1024;
/// The shortest time between two words that a tree changed.
const TICK_EVERY: Duration = Duration::from_millis(200);
/// How long until a tree is watched again when that ended.
const WATCH_AGAIN: Duration = Duration::from_secs(1);
/// The largest diff of one file: its lines as JSON, every byte escaped.
const MAX_DIFF_ANSWER: usize = 48 * 1024 * 1024;
/// The media types that contents may have; everything else is bytes.
const TYPES: [&str; 9] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/bmp",
    "image/x-icon",
    "image/svg+xml",
    "text/x-diff",
];

/// What is asked of a working tree.
#[derive(Clone, Debug, Default)]
pub struct AskedChanges {
    /// The folder; the session's working directory otherwise.
    pub cwd: Option<String>,
    /// What it is compared with.
    pub scope: Scope,
    /// Whether white space does not count.
    pub ignore_whitespace: bool,
}

/// What is asked about one file.
#[derive(Clone, Debug)]
pub struct AskedFile {
    /// Where.
    pub changes: AskedChanges,
    /// Its path.
    pub path: RepoPath,
    /// The path that it had.
    pub old_path: Option<RepoPath>,
    /// Lines around a hunk.
    pub context: Option<u32>,
    /// Whether a large diff is sent.
    pub full: bool,
}

/// A content.
pub struct Content {
    /// Its media type.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// The changed files: a head, files as they are found, and an end or a failure.
    pub async fn changes(
        &self,
        ctx: &OpContext,
        id: SessionId,
        asked: &AskedChanges,
    ) -> Result<BoxStream<'static, ChangesLine>> {
        let control = self.tree(ctx, id).await?;
        let body = open(&control, &query("/git/changes", asked).finish())
            .await?
            .into_body();
        Ok(lines(body))
    }

    /// The diff of one file.
    pub async fn file_diff(&self, ctx: &OpContext, id: SessionId, asked: &AskedFile) -> Result<FileDiff> {
        let control = self.tree(ctx, id).await?;
        let response = open(&control, &file_query("/git/diff", asked).finish()).await?;
        let read = Limited::new(response.into_body(), MAX_DIFF_ANSWER).collect();
        let bytes = within(FIRST_WITHIN, async { read.await.map_err(ControlError::Lost) })
            .await?
            .to_bytes();
        Ok(serde_json::from_slice(&bytes).map_err(|error| ControlError::Unreadable(error.into()))?)
    }

    /// The content of one side of a file.
    pub async fn blob(&self, ctx: &OpContext, id: SessionId, asked: &AskedFile, side: Side) -> Result<Content> {
        let control = self.tree(ctx, id).await?;
        let path = file_query("/git/blob", asked).with("side", side.name()).finish();
        open(&control, &path).await.map(content)
    }

    /// All changes as a patch.
    pub async fn patch_of_changes(&self, ctx: &OpContext, id: SessionId, asked: &AskedChanges) -> Result<Content> {
        let control = self.tree(ctx, id).await?;
        open(&control, &query("/git/patch", asked).finish()).await.map(content)
    }

    /// Takes a change back.
    pub async fn discard(
        &self,
        ctx: &OpContext,
        id: SessionId,
        cwd: Option<&str>,
        discard: &Discard,
    ) -> Result<Discarded> {
        let control = self.tree(ctx, id).await?;
        let path = at("/git/discard", cwd).finish();
        let done = control.ask(Method::POST, &path, Some(discard), FIRST_WITHIN).await;
        done.map_err(of_git)
    }

    /// Brings back what was taken back.
    pub async fn restore(&self, ctx: &OpContext, id: SessionId, cwd: Option<&str>, restore: &Restore) -> Result<()> {
        let control = self.tree(ctx, id).await?;
        let path = at("/git/restore", cwd).finish();
        control.tell(Method::POST, &path, Some(restore)).await.map_err(of_git)
    }

    /// Files whose paths match, best first.
    pub async fn find_files(
        &self,
        ctx: &OpContext,
        id: SessionId,
        cwd: Option<&str>,
        search: &str,
        limit: u32,
    ) -> Result<FoundFiles> {
        if search.len() > MAX_SEARCH {
            let message = format!("A search has at most {MAX_SEARCH} bytes.");
            return Err(SessionError::Invalid {
                kind: "search-too-long",
                pointer: "",
                message,
            });
        }
        let control = self.tree(ctx, id).await?;
        let limit = limit.min(MAX_FOUND).to_string();
        let path = at("/files/search", cwd)
            .with("q", search)
            .with("limit", &limit)
            .finish();
        let found = control.ask(Method::GET, &path, None::<&()>, FIRST_WITHIN).await;
        found.map_err(of_git)
    }

    /// The daemon of a session whose tree is looked at.
    pub(super) async fn tree(&self, ctx: &OpContext, id: SessionId) -> Result<Control> {
        match self.control(ctx, id).await {
            Ok((_, control)) => Ok(control),
            Err(SessionError::Conflict {
                kind: "session-stopped",
                ..
            }) => Err(SessionError::Conflict {
                kind: "session-stopped",
                message: "The session is not running, so its files can't be read. Start it first.".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }
}

/// A path of the daemon's API with a query.
pub(super) struct Address {
    path: &'static str,
    query: url::form_urlencoded::Serializer<'static, String>,
}

impl Address {
    fn append_pair(&mut self, name: &str, value: &str) -> &mut Self {
        self.query.append_pair(name, value);
        self
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.append_pair(name, value);
        self
    }

    fn append_path(&mut self, name: &str, path: &RepoPath) {
        match &path.bytes {
            Some(bytes) => self.append_pair(&format!("{name}_bytes"), bytes),
            None => self.append_pair(name, &path.text),
        };
    }

    pub(super) fn finish(mut self) -> String {
        format!("{}?{}", self.path, self.query.finish())
    }
}

pub(super) fn at(path: &'static str, cwd: Option<&str>) -> Address {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(cwd) = cwd {
        query.append_pair("cwd", cwd);
    }
    Address { path, query }
}

fn query(path: &'static str, asked: &AskedChanges) -> Address {
    let mut address = at(path, asked.cwd.as_deref());
    address.append_pair("scope", asked.scope.name());
    if asked.ignore_whitespace {
        address.append_pair("ignore_whitespace", "1");
    }
    address
}

fn file_query(path: &'static str, asked: &AskedFile) -> Address {
    let mut address = query(path, &asked.changes);
    address.append_path("path", &asked.path);
    if let Some(old) = &asked.old_path {
        address.append_path("old_path", old);
    }
    if let Some(context) = asked.context {
        address.append_pair("context", &context.to_string());
    }
    if asked.full {
        address.append_pair("full", "1");
    }
    address
}

async fn open(control: &Control, path: &str) -> Result<Response<Incoming>> {
    let response = within(FIRST_WITHIN, control.send(Method::GET, path, empty())).await?;
    successful(response).await.map_err(of_git)
}

/// What a refusal of the daemon means for a person.
fn of_git(error: ControlError) -> SessionError {
    match error {
        ControlError::Problem { status, .. } if status == StatusCode::NOT_FOUND => {
            SessionError::NotFound { what: "file" }
        }
        error => error.into(),
    }
}

fn content(response: Response<Incoming>) -> Content {
    let said = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = TYPES
        .into_iter()
        .find(|kind| *kind == said)
        .unwrap_or("application/octet-stream");
    let bytes = response
        .into_body()
        .into_data_stream()
        .map_err(|error| ControlError::Lost(error.into()).into());
    Content {
        kind,
        bytes: bytes.boxed(),
    }
}

/// A session's messages, with a word whenever its working tree may look different. The tree is
/// watched as long as somebody reads.
pub(super) fn beside(
    mut messages: BoxStream<'static, LiveMessage>,
    view: watch::Receiver<View>,
) -> BoxStream<'static, LiveMessage> {
    async_stream::stream! {
        let mut ticks = Box::pin(ticks(view));
        let mut caught_up = false;
        let mut changed = false;
        let mut watched = None;
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    caught_up |= matches!(message, LiveMessage::CaughtUp { .. });
                    yield message;
                }
                Some(tick) = ticks.next() => {
                    changed = true;
                    watched = tick.mode.or(watched);
                }
            }
            if caught_up && std::mem::take(&mut changed) {
                yield LiveMessage::Changes { watch: watched.take() };
            }
        }
    }
    .boxed()
}

/// That the tree may look different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tick {
    /// How it is watched, when that was told.
    mode: Option<WatchMode>,
}

/// One for each time that the tree may look different, for as long as the session has a task.
fn ticks(mut view: watch::Receiver<View>) -> impl Stream<Item = Tick> + Send {
    async_stream::stream! {
        loop {
            // Before a session runs its repository may not be there yet, and a folder would be watched.
            let ready = |view: &View| view.state == SessionState::Running && view.control.is_some();
            let (control, cwd) = match view.wait_for(ready).await {
                Ok(view) => (view.control.clone(), view.cwd.clone()),
                Err(_) => return,
            };
            let Some(control) = control else { continue };
            let mut elsewhere = view.clone();
            let mut moved = Box::pin(async {
                if elsewhere.wait_for(|view| view.cwd != cwd).await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            match open(&control, &at("/git/watch", Some(&cwd)).finish()).await {
                Ok(response) => {
                    let mut lines = response.into_body().into_data_stream();
                    let mut buffer = BytesMut::new();
                    while buffer.len() <= MAX_WATCH_LINE {
                        let line = tokio::select! {
                            line = tokio::time::timeout(WATCH_SILENCE, lines.try_next()) => line,
                            () = &mut moved => break,
                        };
                        let Ok(Ok(Some(bytes))) = line else { break };
                        buffer.extend_from_slice(&bytes);
                        // What changed is asked for.
                        if let Some(tick) = hear(&mut buffer) {
                            yield tick;
                            // A sandbox that tells more often than a person sees is not heard.
                            tokio::time::sleep(TICK_EVERY).await;
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "the working tree is not watched"),
            }
            // Another connection, or the same one a little later.
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(WATCH_AGAIN) => {}
            }
        }
    }
}

/// Takes the whole lines out of what the daemon said. None when they say nothing, as those do that
/// keep the stream alive; otherwise the tree may look different, and perhaps is watched in a new way.
fn hear(buffer: &mut BytesMut) -> Option<Tick> {
    let mut heard: Option<Tick> = None;
    while let Some(length) = buffer.iter().position(|byte| *byte == b'\n') {
        let line = buffer.split_to(length);
        buffer.advance(1);
        if !line.is_empty() {
            let tick = heard.get_or_insert_default();
            // Whoever says what is not understood says that something is different.
            if let Ok(WatchLine::Watching { mode }) = serde_json::from_slice(&line) {
                tick.mode = Some(mode);
            }
        }
    }
    heard
}

/// Cuts the answer into lines, each of which is read before it is passed on. Ends with an end or a
/// failure, whatever the sandbox does.
fn lines(body: Incoming) -> BoxStream<'static, ChangesLine> {
    let cut = async_stream::try_stream! {
        let mut data = body.into_data_stream();
        let mut buffer = BytesMut::new();
        let mut files = 0;
        loop {
            let next = tokio::time::timeout(SILENCE, data.try_next());
            let next = next.await.map_err(|elapsed| ControlError::Lost(elapsed.into()))?;
            let Some(bytes) = next.map_err(|error| ControlError::Lost(error.into()))? else {
                Err(ControlError::Unreadable("the list has no end".into()))?;
                return;
            };
            let mut searched = buffer.len();
            buffer.extend_from_slice(&bytes);
            while let Some(length) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(searched + length);
                buffer.advance(1);
                searched = 0;
                let line: ChangesLine = serde_json::from_slice(&line).map_err(|error| ControlError::Unreadable(error.into()))?;
                if let ChangesLine::Files { files: more } = &line {
                    files += more.len();
                }
                let last = matches!(line, ChangesLine::End { .. } | ChangesLine::Failed { .. });
                yield line;
                if last {
                    return;
                }
            }
            if buffer.len() > MAX_STREAM_LINE || files > 2 * MAX_CHANGED_FILES {
                Err(ControlError::Unreadable("the list is too long".into()))?;
            }
        }
    };
    cut.map(|line: std::result::Result<ChangesLine, ControlError>| {
        line.unwrap_or_else(|error| ChangesLine::Failed {
            problem: problem(error),
        })
    })
    .boxed()
}

fn problem(error: ControlError) -> mistle_protocol::problem::Problem {
    crate::api::problem::ApiError::from(SessionError::from(error)).problem()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_watched_tree() {
        let rescan = WatchMode::Rescan { interval_ms: 3_000 };
        let watching = r#"{"type":"watching","mode":{"kind":"rescan","interval_ms":3000}}"#;
        for (said, heard, left) in [
            ("\n\n".to_owned(), None, ""),
            ("{\"type\":\"changed\"}\n".to_owned(), Some(Tick::default()), ""),
            (format!("{watching}\n"), Some(Tick { mode: Some(rescan) }), ""),
            (
                format!("{watching}\n{{\"type\":\"changed\"}}\n\n{{\"ty"),
                Some(Tick { mode: Some(rescan) }),
                "{\"ty",
            ),
            ("what is this\n".to_owned(), Some(Tick::default()), ""),
            (watching.to_owned(), None, watching),
        ] {
            let mut buffer = BytesMut::from(said.as_bytes());
            assert_eq!(hear(&mut buffer), heard, "{said}");
            assert_eq!(buffer, left.as_bytes(), "{said}");
        }
    }
}
