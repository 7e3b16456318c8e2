//! What changed in a session's working tree.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, StatusCode, header};
use mistle_protocol::changes::{
    ChangesLine, Discard, Discarded, FileDiff, FoundFiles, MAX_FOUND, RepoPath, Restore, Scope, Side,
};
use mistle_protocol::id::SessionId;
use serde::Deserialize;

use super::extract::{Json, Path, Query, limit};
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::sessions::changes::{AskedChanges, AskedFile, Content};

/// Which changes.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// A folder in the sandbox; the session's working directory otherwise.
    cwd: Option<String>,
    /// What the tree is compared with; `branch` otherwise.
    #[serde(default)]
    #[param(inline)]
    scope: Scope,
    /// Whether white space does not count.
    #[serde(default)]
    ignore_whitespace: bool,
}

impl ChangesQuery {
    fn asked(self) -> AskedChanges {
        AskedChanges {
            cwd: self.cwd,
            scope: self.scope,
            ignore_whitespace: self.ignore_whitespace,
        }
    }
}

/// Which file.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FileQuery {
    /// A folder in the sandbox; the session's working directory otherwise.
    cwd: Option<String>,
    /// What the tree is compared with; `branch` otherwise.
    #[serde(default)]
    #[param(inline)]
    scope: Scope,
    /// Whether white space does not count.
    #[serde(default)]
    ignore_whitespace: bool,
    /// The path's text.
    #[serde(default)]
    path: String,
    /// The path's bytes in base64, when it has them.
    path_bytes: Option<String>,
    /// The same for the path that it had.
    old_path: Option<String>,
    /// The same for the path that it had.
    old_path_bytes: Option<String>,
    /// Lines around a hunk; 3 otherwise.
    context: Option<u32>,
    /// Whether a large diff is sent and not folded.
    #[serde(default)]
    full: bool,
    /// Which side's content; the new one otherwise.
    #[param(inline)]
    side: Option<Side>,
}

impl FileQuery {
    fn asked(self) -> AskedFile {
        let old_path = (self.old_path.is_some() || self.old_path_bytes.is_some()).then(|| RepoPath {
            text: self.old_path.unwrap_or_default(),
            bytes: self.old_path_bytes,
        });
        AskedFile {
            changes: AskedChanges {
                cwd: self.cwd,
                scope: self.scope,
                ignore_whitespace: self.ignore_whitespace,
            },
            path: RepoPath {
                text: self.path,
                bytes: self.path_bytes,
            },
            old_path,
            context: self.context,
            full: self.full,
        }
    }
}

/// Where.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FolderQuery {
    /// A folder in the sandbox; the session's working directory otherwise.
    cwd: Option<String>,
}

/// A search.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// A folder in the sandbox; the session's working directory otherwise.
    cwd: Option<String>,
    /// Letters of the path, in their order; all files otherwise.
    #[serde(default)]
    q: String,
    /// How many, 1 to 200; 50 otherwise.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// The changed files as they are found: `ChangesLine`s, one JSON text a line. First a head, then
/// files in the order of their paths, last an end or a failure.
#[utoipa::path(get, operation_id = "changes_list", path = "/sessions/{session_id}/changes", tag = "changes", params(("session_id" = SessionId, Path), ChangesQuery), responses((status = 200, content_type = "application/x-ndjson", body = ChangesLine)))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<ChangesQuery>,
) -> ApiResult<Response> {
    let lines = app.sessions.changes(&caller.ctx, id, &query.asked()).await?;
    let bytes = lines.map(|line| {
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(Bytes::from(text))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        // A compressor would hold the first lines back until it has more of them.
        (header::CONTENT_ENCODING, HeaderValue::from_static("identity")),
    ];
    Ok((headers, Body::from_stream(bytes)).into_response())
}

/// The diff of one file. A large one is folded unless `full` is set.
#[utoipa::path(get, operation_id = "changes_diff", path = "/sessions/{session_id}/changes/diff", tag = "changes", params(("session_id" = SessionId, Path), FileQuery), responses((status = 200, body = FileDiff)))]
pub(crate) async fn diff(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<FileQuery>,
) -> ApiResult<Json<FileDiff>> {
    Ok(Json(app.sessions.file_diff(&caller.ctx, id, &query.asked()).await?))
}

/// The content of one side of a file. Images have their type, everything else is bytes.
#[utoipa::path(get, operation_id = "changes_blob", path = "/sessions/{session_id}/changes/blob", tag = "changes", params(("session_id" = SessionId, Path), FileQuery), responses((status = 200, content_type = "application/octet-stream")))]
pub(crate) async fn blob(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<FileQuery>,
) -> ApiResult<Response> {
    let side = query.side.unwrap_or(Side::New);
    let content = app.sessions.blob(&caller.ctx, id, &query.asked(), side).await?;
    Ok(sent(content, "inline"))
}

/// All changes as a patch that `git apply` takes.
#[utoipa::path(get, operation_id = "changes_patch", path = "/sessions/{session_id}/changes/patch", tag = "changes", params(("session_id" = SessionId, Path), ChangesQuery), responses((status = 200, content_type = "text/x-diff")))]
pub(crate) async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<ChangesQuery>,
) -> ApiResult<Response> {
    let content = app.sessions.patch_of_changes(&caller.ctx, id, &query.asked()).await?;
    Ok(sent(content, "attachment; filename=\"changes.patch\""))
}

/// What comes from a sandbox is shown, if at all, as an image: it runs nothing and reaches nothing.
fn sent(content: Content, disposition: &'static str) -> Response {
    let bytes = content.bytes.map_err(std::io::Error::other);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content.kind)),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
        ),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}

/// Takes the change of a file, or one hunk of it, back. Only the working tree changes.
#[utoipa::path(post, operation_id = "changes_discard", path = "/sessions/{session_id}/changes/discard", tag = "changes", params(("session_id" = SessionId, Path), FolderQuery), request_body = Discard, responses((status = 200, body = Discarded)))]
pub(crate) async fn discard(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<FolderQuery>,
    Json(request): Json<Discard>,
) -> ApiResult<Json<Discarded>> {
    let done = app
        .sessions
        .discard(&caller.ctx, id, query.cwd.as_deref(), &request)
        .await?;
    Ok(Json(done))
}

/// Brings back what was taken back, unless the file changed since.
#[utoipa::path(post, operation_id = "changes_restore", path = "/sessions/{session_id}/changes/restore", tag = "changes", params(("session_id" = SessionId, Path), FolderQuery), request_body = Restore, responses((status = 204)))]
pub(crate) async fn restore(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<FolderQuery>,
    Json(request): Json<Restore>,
) -> ApiResult<StatusCode> {
    app.sessions
        .restore(&caller.ctx, id, query.cwd.as_deref(), &request)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Files whose paths match a search, best first.
#[utoipa::path(get, operation_id = "files_search", path = "/sessions/{session_id}/files", tag = "changes", params(("session_id" = SessionId, Path), SearchQuery), responses((status = 200, body = FoundFiles)))]
pub(crate) async fn files(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<SessionId>,
    Query(query): Query<SearchQuery>,
) -> ApiResult<Json<FoundFiles>> {
    let most = limit(query.limit, (MAX_FOUND, 50))?;
    let found = app
        .sessions
        .find_files(&caller.ctx, id, query.cwd.as_deref(), &query.q, most)
        .await?;
    Ok(Json(found))
}
