//! Profiles, as sessions can be started from them.

use axum::extract::State;
use mistle_protocol::profile::ProfileSummary;

use super::extract::Json;
use super::problem::ApiResult;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::profiles;

/// Every profile; the first one is the default.
#[utoipa::path(get, operation_id = "profiles_list", path = "/profiles", tag = "profiles", responses((status = 200, body = Vec<ProfileSummary>)))]
pub(crate) async fn list(State(app): State<App>, _: Caller) -> ApiResult<Json<Vec<ProfileSummary>>> {
    Ok(Json(profiles::summaries(&app.config)))
}
