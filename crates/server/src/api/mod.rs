//! The public API: `/api/v1`, JSON, RFC 9457 problems, cursor pages.
//!
//! One file a noun. A handler unwraps the request, calls one domain function, wraps the answer.
//! The OpenAPI document is made from the same annotations that route requests, and
//! `crates/server/openapi.json` is its snapshot: the web's types are made from that file.

mod approvals;
mod attachments;
mod changes;
mod commands;
mod comments;
mod conversations;
mod egress;
mod events;
mod exec;
pub(crate) mod extract;
pub(crate) mod layers;
mod live;
mod me;
mod messages;
mod ports;
pub mod problem;
mod profiles;
mod repositories;
mod server;
mod sessions;
mod socket;
mod terminals;
mod tickets;
mod tokens;
mod tui;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use http::header;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::ApiError;
use crate::app::App;
use crate::auth::{caller, login};
use crate::{metrics, web};

/// Where the API is.
pub const BASE: &str = "/api/v1";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Mistle",
        description = "Coding agents in sandboxes you own. Errors are RFC 9457 problems with a stable `type`. \
            Lists are pages: give `next_cursor` as `cursor` for the next one. Requests are authenticated by a \
            bearer token or the page's cookie; WebSockets by a one-use ticket from `POST /tickets` and the page's origin.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(
        mistle_protocol::api::StreamMessage,
        mistle_protocol::api::TerminalInput,
        mistle_protocol::control::Exec,
        mistle_protocol::problem::Problem,
        mistle_protocol::session::LiveMessage,
    )),
    security(("token" = []), ("cookie" = [])),
    modifiers(&SecuritySchemes),
)]
struct Document;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        );
        let query = |name| SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new(name)));
        components.add_security_scheme(
            "cookie",
            SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("__Host-mistle"))),
        );
        components.add_security_scheme("ticket", query("ticket"));
    }
}

/// Operations that need a caller: a cookie or a token.
fn authenticated() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(me::show))
        .routes(routes!(me::logout))
        .routes(routes!(server::show))
        .routes(routes!(profiles::list))
        .routes(routes!(repositories::check))
        .routes(routes!(tickets::create))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(sessions::list, sessions::create))
        .routes(routes!(sessions::warm))
        .routes(routes!(sessions::show, sessions::change, sessions::delete))
        .routes(routes!(sessions::facets))
        .routes(routes!(sessions::restore))
        .routes(routes!(sessions::start))
        .routes(routes!(sessions::stop))
        .routes(routes!(sessions::interrupt))
        .routes(routes!(events::list))
        .routes(routes!(messages::list, messages::send))
        .routes(routes!(messages::change, messages::remove))
        .routes(routes!(attachments::show, attachments::delete))
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::answer))
        .routes(routes!(conversations::list))
        .routes(routes!(conversations::change))
        .routes(routes!(terminals::list, terminals::open))
        .routes(routes!(terminals::close, terminals::rename))
        .routes(routes!(tui::open))
        .routes(routes!(egress::list))
        .routes(routes!(ports::list))
        .routes(routes!(ports::open))
        .routes(routes!(changes::list))
        .routes(routes!(changes::diff))
        .routes(routes!(changes::blob))
        .routes(routes!(changes::patch))
        .routes(routes!(changes::discard))
        .routes(routes!(changes::restore))
        .routes(routes!(changes::files))
        .routes(routes!(commands::list, commands::run))
        .routes(routes!(comments::list, comments::create))
        .routes(routes!(comments::change, comments::delete))
        .routes(routes!(comments::viewed, comments::mark))
}

/// The same for what takes as long as its bytes take: it has limits of its own.
fn transfers() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(attachments::create))
        .routes(routes!(attachments::content))
}

/// WebSockets: a ticket and the origin let them in.
fn streams() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(live::all))
        .routes(routes!(live::session))
        .routes(routes!(terminals::io))
        .routes(routes!(exec::run))
}

fn document() -> utoipa::openapi::OpenApi {
    let mut document = OpenApiRouter::with_openapi(Document::openapi())
        .nest(BASE, authenticated().merge(transfers()).merge(streams()))
        .into_openapi();
    // Every operation can fail, and every failure looks the same.
    let problem = || {
        ResponseBuilder::new().description("A problem").content(
            mistle_protocol::problem::CONTENT_TYPE,
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build(),
        )
    };
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
            &mut item.put,
        ];
        for operation in operations.into_iter().flatten() {
            operation
                .responses
                .responses
                .insert("default".to_owned(), problem().build().into());
        }
    }
    document
}

/// The OpenAPI document, as text that ends with a newline.
pub fn openapi_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything that the front door answers: API, sign-in, health, metrics, pages.
pub fn router(app: App) -> Router {
    let openapi = openapi_json();
    let (authenticated, _) = authenticated().split_for_parts();
    let (transfers, _) = transfers().split_for_parts();
    let (streams, _) = streams().split_for_parts();
    let api = authenticated
        .route_layer(from_fn(layers::time_limit))
        .merge(transfers)
        .route_layer(from_fn_with_state(app.clone(), caller::authenticate))
        .merge(streams)
        .route(
            "/openapi.json",
            get(move || async move { ([(header::CONTENT_TYPE, "application/json")], openapi) }),
        )
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .fallback(|| async { ApiError::not_found("path") })
        .layer(tower_http::set_header::SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            http::HeaderValue::from_static("no-store"),
        ));
    Router::new()
        .nest(BASE, api)
        .route("/api", get(|| async { ApiError::not_found("path") }))
        .route(
            "/api/{*path}",
            axum::routing::any(|| async { ApiError::not_found("path") }),
        )
        .route("/login", get(login::login))
        .route("/open/{session_id}/{port}", get(ports::follow))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics::show))
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .fallback(web::page)
        .with_state(app)
        .layer(axum::middleware::map_response(web::security_headers))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn(layers::observe))
}
