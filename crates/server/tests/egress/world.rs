//! A server on the machine, a session whose profile may reach it, and the record of that.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use mistle_protocol::agent::TurnOutcome;
use mistle_protocol::api::Page;
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::id::SessionId;
use mistle_testkit::{Setup, TestServer, eventually};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// Loopback, and not the one address of it for which programs leave the proxy aside.
pub(crate) const LOOPBACK: [u8; 4] = [127, 0, 0, 2];

/// A listener on the machine.
pub(crate) async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(SocketAddr::from((LOOPBACK, 0))).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves files by their paths until the handle is dropped.
pub(crate) async fn files(files: BTreeMap<String, Vec<u8>>) -> Result<(SocketAddr, AbortOnDropHandle<()>)> {
    let (listener, address) = listen().await?;
    // As apt asks in a flat repository.
    let plain = |uri: &http::Uri| uri.path().replace("/./", "/");
    let router = Router::new().fallback(async move |uri: http::Uri| match files.get(&plain(&uri)) {
        Some(content) => (http::StatusCode::OK, content.clone()),
        None => (http::StatusCode::NOT_FOUND, Vec::new()),
    });
    let serving = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, AbortOnDropHandle::new(serving)))
}

/// A server whose profile lists these targets; the operator permits those of the second list.
pub(crate) fn setup(listed: &[String], permitted: &[String]) -> Setup {
    Setup {
        config: format!(
            "[egress]\nallow_private = {permitted:?}\n\
             [providers.demo]\nkind = \"scripted\"\n\
             [[profiles]]\nname = \"default\"\nprovider = \"demo\"\napproval_policy = \"autonomous\"\negress.allow = {listed:?}\n"
        ),
        ..Setup::default()
    }
}

/// A session that is ready.
pub(crate) async fn session(server: &TestServer) -> Result<SessionId> {
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(session.id)
}

/// What is recorded of connections to hosts other than the model, oldest first.
pub(crate) async fn records(server: &TestServer, id: SessionId) -> Result<Vec<EgressRecord>> {
    let page: Page<EgressRecord> = server.api.get(&format!("/sessions/{id}/egress?limit=200")).await?;
    let others = page.data.into_iter().rev();
    Ok(others
        .filter(|record| !record.host.ends_with(".mistle.internal"))
        .collect())
}

/// The records, once there are so many and all of them are of connections that have ended.
pub(crate) async fn ended(server: &TestServer, id: SessionId, count: usize) -> Result<Vec<EgressRecord>> {
    let mut all = Vec::new();
    eventually("the records of every connection", async || {
        all = records(server, id).await?;
        Ok(all.len() >= count && all.iter().all(|record| record.duration_ms.is_some()))
    })
    .await?;
    Ok(all)
}
