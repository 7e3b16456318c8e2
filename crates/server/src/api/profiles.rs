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
pub(crate) async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Json<Vec<ProfileSummary>>> {
    let organization = caller.ctx.organization_id;
    Ok(Json(profiles::with_models(&app.config, &app.store, organization).await))
}
