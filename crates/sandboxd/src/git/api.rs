//! `/git/*`. Handlers unwrap the request, call one function, wrap its answer.

use std::convert::Infallible;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use mistle_protocol::changes::{
    Base, ChangesHead, ChangesLine, Discard, Discarded, FileDiff, FoundFiles, MAX_CONTEXT, MAX_FOUND, MAX_SEARCH,
    RepoPath, RepositoryState, Restore, Scope, Side, WatchLine,
};
use mistle_protocol::problem::Problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use super::base::{Compared, resolve};
use super::changes::{Piece, list};
use super::classify::image_type;
use super::file::{AskedFile, Current, file_diff, open_current};
use super::process::{GitError, Running};
use super::repository::{Repository, os};
use super::watch::Seen;
use super::{Repositories, discard};
use crate::environment::Surroundings;
use crate::problem::{self, Refusal};

/// JSON bodies: a path and little else.
const MAX_BODY: usize = 64 * 1024;
/// The most bytes of a content that are sent.
const MAX_BLOB: u64 = 256 * 1024 * 1024;
/// Bytes of a content that are sent at once.
const PIECE: usize = 64 * 1024;
/// How often a quiet stream of changes says that it lives.
const WATCH_KEEPALIVE: Duration = Duration::from_secs(15);
/// Files that are found unless told.
const FOUND: u32 = 50;
/// Lines around a hunk unless told.
const CONTEXT: u32 = 3;

/// What the handlers work on.
#[derive(Clone, Debug)]
struct Git {
    repositories: Repositories,
    surroundings: Surroundings,
}

/// The routes below `/git`.
pub fn routes(repositories: Repositories, surroundings: Surroundings) -> Router {
    Router::new()
        .route("/git/changes", get(changes))
        .route("/git/diff", get(diff))
        .route("/git/blob", get(blob))
        .route("/git/patch", get(patch))
        .route("/git/discard", post(discard_change))
        .route("/git/restore", post(restore))
        .route("/git/watch", get(watch))
        .route("/files/search", get(search))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Git {
            repositories,
            surroundings,
        })
}

/// A query, whose refusal is a problem.
struct Asked<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "invalid-query", error.body_text()))
    }
}

/// `1` or `true`; a query has no other truth.
fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    match &*text {
        "1" | "true" => Ok(true),
        "0" | "false" | "" => Ok(false),
        _ => Err(serde::de::Error::custom("must be 0 or 1")),
    }
}

#[derive(Deserialize)]
struct Place {
    cwd: Option<String>,
    #[serde(default)]
    scope: Scope,
    #[serde(default, deserialize_with = "flag")]
    ignore_whitespace: bool,
}

#[derive(Deserialize)]
struct OneFile {
    cwd: Option<String>,
    #[serde(default)]
    scope: Scope,
    #[serde(default, deserialize_with = "flag")]
    ignore_whitespace: bool,
    #[serde(default)]
    path: String,
    path_bytes: Option<String>,
    old_path: Option<String>,
    old_path_bytes: Option<String>,
    context: Option<u32>,
    #[serde(default, deserialize_with = "flag")]
    full: bool,
    side: Option<Side>,
}

impl OneFile {
    fn path(&self) -> Result<Vec<u8>, Refusal> {
        path_bytes(self.path.clone(), self.path_bytes.clone())
    }

    fn old_path(&self) -> Result<Option<Vec<u8>>, Refusal> {
        match (&self.old_path, &self.old_path_bytes) {
            (None, None) => Ok(None),
            (text, bytes) => path_bytes(text.clone().unwrap_or_default(), bytes.clone()).map(Some),
        }
    }
}

fn path_bytes(text: String, bytes: Option<String>) -> Result<Vec<u8>, Refusal> {
    RepoPath { text, bytes }.to_bytes().ok_or_else(|| {
        Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-path",
            "this is no path of a file below the repository's folder",
        )
        .at("/path")
    })
}

impl Git {
    fn cwd(&self, cwd: Option<&str>) -> Result<PathBuf, Refusal> {
        self.surroundings.directory(cwd)
    }

    fn find(&self, cwd: Option<&str>) -> Result<Arc<Repository>, Refusal> {
        let cwd = self.cwd(cwd)?;
        self.repositories.at(&cwd).ok_or_else(|| {
            let detail = format!("{} is in no git repository", cwd.display());
            Refusal::new(StatusCode::CONFLICT, "no-repository", detail)
        })
    }

    async fn compared(&self, repository: &Repository, scope: Scope) -> Result<Compared, GitError> {
        resolve(repository, scope, &self.repositories.shared.merge_bases).await
    }
}

async fn changes(State(git): State<Git>, Asked(place): Asked<Place>) -> Result<Response, Refusal> {
    let cwd = git.cwd(place.cwd.as_deref())?;
    let Some(repository) = git.repositories.at(&cwd) else {
        return Ok(ndjson(futures::stream::iter(nothing(place.scope))));
    };
    // While the base is found, git looks for untracked files.
    let viewing = AbortOnDropHandle::new(tokio::spawn({
        let repository = repository.clone();
        async move { repository.view().await }
    }));
    let viewing = async move {
        viewing
            .await
            .map_err(|error| GitError::Io(std::io::Error::other(error)))?
    };
    let compared = git.compared(&repository, place.scope).await?;
    let head = ChangesLine::Head {
        head: compared.head.clone(),
    };
    let rest = list(repository, compared, viewing, place.ignore_whitespace).map(|piece| match piece {
        Ok(Piece::Files(files)) => ChangesLine::Files { files },
        Ok(Piece::End(totals)) => ChangesLine::End { totals },
        Err(error) => ChangesLine::Failed {
            problem: problem_of(&error),
        },
    });
    Ok(ndjson(futures::stream::iter([head]).chain(rest)))
}

fn nothing(scope: Scope) -> [ChangesLine; 2] {
    let head = ChangesHead {
        repository: None,
        scope,
        branch: None,
        commit: None,
        default_branch: None,
        base: Base::None,
        state: RepositoryState::Normal,
    };
    [
        ChangesLine::Head { head },
        ChangesLine::End {
            totals: mistle_protocol::changes::ChangesTotals::default(),
        },
    ]
}

fn problem_of(error: &GitError) -> Problem {
    let status = StatusCode::CONFLICT;
    Problem {
        kind: "git-failed".to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail: Some(error.to_string()),
        pointer: None,
        request_id: None,
    }
}

async fn diff(State(git): State<Git>, Asked(asked): Asked<OneFile>) -> Result<Json<FileDiff>, Refusal> {
    let repository = git.find(asked.cwd.as_deref())?;
    let compared = git.compared(&repository, asked.scope).await?;
    let file = AskedFile {
        path: asked.path()?,
        old_path: asked.old_path()?,
        ignore_whitespace: asked.ignore_whitespace,
        context: asked.context.unwrap_or(CONTEXT).min(MAX_CONTEXT),
        full: asked.full,
    };
    Ok(Json(file_diff(&repository, &compared, &file).await?))
}

async fn blob(State(git): State<Git>, Asked(asked): Asked<OneFile>) -> Result<Response, Refusal> {
    let absent = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "file-not-found",
            "the file is not there on this side",
        )
    };
    let repository = git.find(asked.cwd.as_deref())?;
    let path = asked.path()?;
    if asked.side == Some(Side::Old) {
        let compared = git.compared(&repository, asked.scope).await?;
        let base = compared.treeish(&repository).ok_or_else(absent)?;
        let mut name = format!("{base}:").into_bytes();
        name.extend_from_slice(asked.old_path()?.as_deref().unwrap_or(&path));
        let mut command = repository.on_contents(&repository.index_a());
        command.args(["cat-file", "blob"]).arg(os(&name));
        let mut running = Running::start(command, None)?;
        let first = running.next().await.map_err(|_| absent())?.unwrap_or_default();
        let kind = image_type(&path, &first);
        return Ok(content(
            kind,
            futures::stream::iter([Ok(first)]).chain(rest_of(running)),
        ));
    }
    match open_current(&repository, &path).map_err(GitError::Io)? {
        Current::Absent => Err(absent()),
        Current::Link(target) => Ok(content(None, futures::stream::iter([Ok(Bytes::from(target))]))),
        Current::File(mut file) => {
            let mut begin = Vec::new();
            file.by_ref()
                .take(PIECE as u64)
                .read_to_end(&mut begin)
                .map_err(GitError::Io)?;
            let kind = image_type(&path, &begin);
            let file = tokio::fs::File::from_std(file);
            let rest =
                tokio_util::io::ReaderStream::with_capacity(tokio::io::AsyncReadExt::take(file, MAX_BLOB), PIECE);
            Ok(content(
                kind,
                futures::stream::iter([Ok(Bytes::from(begin))]).chain(rest),
            ))
        }
    }
}

/// What git still says, up to a limit.
fn rest_of(running: Running) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    futures::stream::try_unfold((running, 0_u64), |(mut running, sent)| async move {
        if sent > MAX_BLOB {
            return Err(std::io::Error::other("the content is too large"));
        }
        let next = running.next().await.map_err(std::io::Error::other)?;
        Ok(next.map(|bytes| {
            let sent = sent + bytes.len() as u64;
            (bytes, (running, sent))
        }))
    })
}

fn content(kind: Option<&'static str>, bytes: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Response {
    let kind = kind.unwrap_or("application/octet-stream");
    (
        [(CONTENT_TYPE, HeaderValue::from_static(kind))],
        Body::from_stream(bytes),
    )
        .into_response()
}

async fn patch(State(git): State<Git>, Asked(place): Asked<Place>) -> Result<Response, Refusal> {
    let repository = git.find(place.cwd.as_deref())?;
    let compared = git.compared(&repository, place.scope).await?;
    let Some(base) = compared.treeish(&repository) else {
        return Ok(content(None, futures::stream::empty()));
    };
    let view = repository.view().await?;
    let mut command = repository.on_contents(&view.index);
    command
        .args([
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-relative",
            "--src-prefix=a/",
            "--dst-prefix=b/",
        ])
        .args([
            "--ignore-submodules=dirty",
            "--submodule=short",
            "--find-renames",
            "-l400",
            "--binary",
            "--full-index",
        ])
        .args([&base, "--"]);
    let running = Running::start(command, None)?;
    let bytes = futures::stream::try_unfold(running, |mut running| async move {
        let next = running.next().await.map_err(std::io::Error::other)?;
        Ok(next.map(|bytes| (bytes, running)))
    });
    Ok(content(Some("text/x-diff"), bytes))
}

async fn watch(State(git): State<Git>, Asked(place): Asked<Where>) -> Result<Response, Refusal> {
    let watcher = git.repositories.watch(&git.cwd(place.cwd.as_deref())?);
    let lines = async_stream::stream! {
        let mut seen = watcher.seen();
        let mut told: Option<Seen> = None;
        loop {
            let next = *seen.borrow_and_update();
            if let Some(mode) = next.mode.filter(|mode| told.and_then(|told| told.mode) != Some(*mode)) {
                yield json_line(&WatchLine::Watching { mode });
            } else if told.is_some_and(|told| told.generation != next.generation) {
                yield json_line(&WatchLine::Changed);
            }
            told = Some(next);
            loop {
                match tokio::time::timeout(WATCH_KEEPALIVE, seen.changed()).await {
                    Ok(Ok(())) => break,
                    Ok(Err(_)) => return,
                    Err(_) => yield Bytes::from_static(b"\n"),
                }
            }
        }
    };
    Ok(ndjson_bytes(lines))
}

#[derive(Deserialize)]
struct Search {
    cwd: Option<String>,
    #[serde(default)]
    q: String,
    limit: Option<u32>,
}

async fn search(State(git): State<Git>, Asked(asked): Asked<Search>) -> Result<Json<FoundFiles>, Refusal> {
    if asked.q.len() > MAX_SEARCH {
        let detail = format!("a search has at most {MAX_SEARCH} bytes");
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "search-too-long",
            detail,
        ));
    }
    let cwd = git.cwd(asked.cwd.as_deref())?;
    let limit = asked.limit.unwrap_or(FOUND).min(MAX_FOUND) as usize;
    Ok(Json(git.repositories.search(&cwd, asked.q, limit).await?))
}

#[derive(Deserialize)]
struct Where {
    cwd: Option<String>,
}

async fn discard_change(
    State(git): State<Git>,
    Asked(place): Asked<Where>,
    problem::Body(request): problem::Body<Discard>,
) -> Result<Json<Discarded>, Refusal> {
    let repository = git.find(place.cwd.as_deref())?;
    let path = path_bytes(request.path.text, request.path.bytes)?;
    let compared = git.compared(&repository, request.scope).await?;
    let undo = discard::discard(&repository, &compared, &path, request.hunk, &request.fingerprint).await?;
    Ok(Json(Discarded { undo }))
}

async fn restore(
    State(git): State<Git>,
    Asked(place): Asked<Where>,
    problem::Body(request): problem::Body<Restore>,
) -> Result<StatusCode, Refusal> {
    let repository = git.find(place.cwd.as_deref())?;
    discard::restore(&repository, &request.undo).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn ndjson<T: serde::Serialize>(lines: impl Stream<Item = T> + Send + 'static) -> Response {
    ndjson_bytes(lines.map(|line| json_line(&line)))
}

fn json_line(line: &impl serde::Serialize) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    Bytes::from(text)
}

fn ndjson_bytes(lines: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let kind = HeaderValue::from_static("application/x-ndjson");
    let body = Body::from_stream(lines.map(Ok::<_, Infallible>));
    ([(CONTENT_TYPE, kind)], body).into_response()
}
