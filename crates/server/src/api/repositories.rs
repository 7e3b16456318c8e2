//! Repositories, before a session uses them.

use axum::extract::State;
use mistle_protocol::api::RepositoryCheck;
use mistle_protocol::profile::Repository;

use super::extract::Json;
use super::problem::{ApiError, ApiResult};
use crate::app::App;
use crate::auth::caller::Caller;
use crate::repositories::{self, RepositoryError};

/// Says whether a repository can be used, as far as the server can tell without running git.
#[utoipa::path(post, operation_id = "repositories_check", path = "/repositories/check", tag = "repositories", request_body = Repository, responses((status = 200, body = RepositoryCheck)))]
pub(crate) async fn check(
    State(app): State<App>,
    _: Caller,
    Json(repository): Json<Repository>,
) -> ApiResult<Json<RepositoryCheck>> {
    let data_dir = app.config.data_dir.clone();
    let checked = tokio::task::spawn_blocking(move || repositories::check(&repository, &data_dir)).await;
    let found = checked.map_err(|error| ApiError::internal(&error))?;
    found.map(Json).map_err(|error| {
        let pointer = if matches!(error, RepositoryError::NoBranch { .. }) {
            "/branch"
        } else {
            "/source"
        };
        ApiError::invalid(error.kind(), pointer, error.to_string())
    })
}
