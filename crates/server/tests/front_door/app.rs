//! A server of a test's own.

use std::path::Path;

use http::{Method, StatusCode};
use mistle_model::{OpContext, Role};
use mistle_protocol::id::{OrganizationId, RequestId, UserId};
use mistle_server::auth::secret;
use mistle_server::config::{Config, Location};
use mistle_server::server::{Running, Server, StartError};
use reqwest::{RequestBuilder, Response};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct TestApp {
    pub(crate) running: Running,
    pub(crate) http: reqwest::Client,
    pub(crate) data: TempDir,
}

/// A configuration with a free port and the program that was built for this test.
pub(crate) fn config(data: &Path, text: &str) -> Config {
    let location = Location {
        file: None,
        data_dir: Some(data.to_owned()),
    };
    let mut config = Config::parse(&format!("listen = \"127.0.0.1:0\"\n{text}"), None, &location).unwrap();
    config.sandbox.shim = Some(env!("CARGO_BIN_EXE_mistle").into());
    config
}

pub(crate) async fn start(config: Config) -> Result<Running, StartError> {
    // The future is large; a test's stack is not.
    Box::pin(Server::start(config)).await
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::in_folder(tempfile::Builder::new().prefix("mst").tempdir().unwrap(), "").await
    }

    /// A server that takes its runtime for installed. None of these tests lets it run.
    pub(crate) async fn with_sessions() -> Self {
        let data = tempfile::Builder::new().prefix("mst").tempdir().unwrap();
        std::fs::create_dir_all(data.path().join("runtime/bin")).unwrap();
        std::fs::write(data.path().join("runtime/bin/codex"), "").unwrap();
        let runtime = format!(
            "[runtimes.codex]\npath = \"{}\"\n",
            data.path().join("runtime").display()
        );
        Self::in_folder(data, &runtime).await
    }

    async fn in_folder(data: TempDir, text: &str) -> Self {
        let running = start(config(data.path(), text)).await.unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self { running, http, data }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.running.url().join(path).unwrap().to_string()
    }

    pub(crate) fn api(&self, path: &str) -> String {
        self.url(&format!("/api/v1{path}"))
    }

    pub(crate) fn origin(&self) -> String {
        self.running.url().origin().ascii_serialization()
    }

    pub(crate) fn token(&self) -> &str {
        self.running.token.expose_secret()
    }

    /// A request with the operator's token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.api(path)).bearer_auth(self.token())
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let response = self.request(Method::POST, path).json(body).send().await.unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.text().await.unwrap()
        );
        response.json().await.unwrap()
    }

    /// Spends the sign-in link; the cookie as a request sends it.
    pub(crate) async fn sign_in(&self) -> String {
        let response = self
            .http
            .get(self.running.login_link.expose_secret())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        cookie(&response).split(';').next().unwrap().to_owned()
    }

    /// The token of somebody in another organization.
    pub(crate) async fn stranger(&self) -> String {
        let store = self.running.store();
        let now = jiff::Timestamp::now();
        let member = store.add_organization("Others", "Stranger", now).await.unwrap();
        let token = secret::generate("mst_");
        let ctx = context(member.organization_id, member.user_id);
        store
            .add_token(&ctx, "test", &secret::hash_of(&token), now)
            .await
            .unwrap();
        token.expose_secret().to_owned()
    }
}

pub(crate) fn context(organization_id: OrganizationId, user_id: UserId) -> OpContext {
    OpContext {
        user_id,
        organization_id,
        role: Role::Owner,
        request_id: RequestId::new(),
    }
}

pub(crate) fn cookie(response: &Response) -> &str {
    response.headers()["set-cookie"].to_str().unwrap()
}

/// A problem's status and type, after checking what every problem has.
pub(crate) async fn problem(response: Response) -> (u16, String) {
    let status = response.status();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status.as_u16());
    assert_eq!(body["request_id"], id.as_str());
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()));
    (status.as_u16(), body["type"].as_str().unwrap().to_owned())
}

pub(crate) fn is(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}
