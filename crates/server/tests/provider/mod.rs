//! A model provider that wants a key: the scripted model behind a door that looks at the
//! `Authorization` header, as a provider's does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use mistle_scripted_model::Scenarios;
use mistle_testkit::Setup;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// As providers hand them out; nothing accepts it.
pub(crate) const KEY: &str = "sk-proj-Qx7Zr2wUjV9kTnB4mYcLs8dGhE3aPf6Q";

/// The provider. It ends when this is dropped.
pub(crate) struct Provider {
    address: SocketAddr,
    admitted: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
    folder: TempDir,
}

impl Provider {
    /// One that accepts `key`.
    pub(crate) async fn start(key: &'static str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let admitted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&admitted);
        let door = move |request: Request, next: Next| {
            let count = Arc::clone(&count);
            async move {
                let given = request.headers().get(header::AUTHORIZATION);
                let given = given
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned();
                if given != format!("Bearer {key}") {
                    return refused(&given);
                }
                count.fetch_add(1, Ordering::SeqCst);
                next.run(request).await
            }
        };
        let router = mistle_scripted_model::router(Scenarios::builtin()).layer(from_fn(door));
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }));
        Ok(Self {
            address,
            admitted,
            _serving: serving,
            folder: tempfile::tempdir()?,
        })
    }

    /// How many requests came with the right key.
    pub(crate) fn admitted(&self) -> usize {
        self.admitted.load(Ordering::SeqCst)
    }

    /// A server whose default profile uses this provider with [`KEY`], from a file. `rest` is added to
    /// the profile and whatever follows it.
    pub(crate) fn setup(&self, rest: &str) -> Result<Setup> {
        let file = self.folder.path().join("key");
        std::fs::write(&file, format!("{KEY}\n"))?;
        let config = format!(
            "[providers.real]\nkind = \"openai\"\nbase_url = \"http://{}/v1\"\napi_key_file = \"{}\"\n\
             [[profiles]]\nname = \"default\"\nprovider = \"real\"\nmodel = \"gpt-5.5\"\napproval_policy = \"autonomous\"\n{rest}\n",
            self.address,
            file.display()
        );
        Ok(Setup {
            config,
            ..Setup::default()
        })
    }
}

/// What a careless provider says: it repeats what it was given, in the header and in the body.
fn refused(given: &str) -> Response {
    let key = given.trim_start_matches("Bearer ");
    let body = serde_json::json!({ "error": {
        "message": format!("Incorrect API key provided: {key}. You can find your API key in your account."),
        "type": "invalid_request_error", "param": null, "code": "invalid_api_key",
    } });
    let head = [(header::CONTENT_TYPE, "application/json"), (header::WARNING, given)];
    (StatusCode::UNAUTHORIZED, head, Body::from(body.to_string())).into_response()
}
