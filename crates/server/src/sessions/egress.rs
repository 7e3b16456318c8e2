//! A sandbox's way out: its egress connections go to the gateway, with the policy of its session.

mod records;

use std::sync::Arc;

use jiff::Timestamp;
use mistle_egress::{Credential, Policy, ProviderRoute, SandboxEgress};
use mistle_protocol::session::Trouble;
use mistle_store::sessions::SessionRow;
use tokio::net::UnixStream;
use tokio::sync::watch;

pub(super) use self::records::Records;
use super::link::ServeEgress;
use super::{Shared, trouble};
use crate::config::{Config, ProviderKind};

/// The way to a provider.
pub(super) fn route(config: &Config, name: &str) -> Result<ProviderRoute, Trouble> {
    let missing = || trouble::provider_missing(Timestamp::now(), name);
    let provider = config.providers.get(name).ok_or_else(missing)?;
    let base_url = provider.base_url.clone().ok_or_else(missing)?;
    let credential = provider.api_key.clone().map(|key| match provider.kind {
        ProviderKind::Anthropic => Credential::ApiKey(key),
        ProviderKind::Openai | ProviderKind::Scripted => Credential::Bearer(key),
    });
    ProviderRoute::new(name, base_url, credential).map_err(|error| {
        let hint = "Correct the provider in the server's configuration, then start the session again.";
        trouble::trouble(Timestamp::now(), "provider_invalid", error.to_string(), hint)
    })
}

/// Serves a session's egress connections.
pub(super) fn serve(shared: &Arc<Shared>, row: &SessionRow) -> ServeEgress {
    let id = row.session.id;
    let gateway = shared.needs.egress.clone();
    let (policy, policies) = watch::channel(Arc::new(policy(&shared.needs.config, row)));
    let sandbox = SandboxEgress {
        session_id: id,
        policy: policies,
        recorder: shared.egress.recorder(),
    };
    Arc::new(move |stream: UnixStream| {
        // The sender lives as long as someone may connect.
        let _ = &policy;
        let (gateway, sandbox) = (gateway.clone(), sandbox.clone());
        Box::pin(async move {
            if let Err(error) = gateway.serve(stream, sandbox).await {
                tracing::debug!(session = %id, error = %trouble::chain(&error), "egress connection ended");
            }
        })
    })
}

/// What can't be understood allows nothing.
fn policy(config: &Config, row: &SessionRow) -> Policy {
    let id = row.session.id;
    let route = route(config, &row.profile.provider);
    if let Err(trouble) = &route {
        tracing::warn!(session = %id, message = trouble.message, "the session has no model");
    }
    Policy::new(&row.profile.egress, route.ok()).unwrap_or_else(|error| {
        tracing::warn!(session = %id, %error, "the profile's egress rules can't be used; everything is denied");
        Policy::default()
    })
}
