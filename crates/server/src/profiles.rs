//! Profiles as a person may choose them.

use mistle_protocol::agent::ModelOption;
use mistle_protocol::id::OrganizationId;
use mistle_protocol::profile::{Profile, ProfileSummary};
use mistle_store::Store;

use crate::config::{Config, ProviderKind};

/// Every profile, in the configuration's order.
pub fn summaries(config: &Config) -> Vec<ProfileSummary> {
    config.profiles.iter().map(|profile| summary(config, profile)).collect()
}

/// A profile with what a person needs to know about it.
pub fn summary(config: &Config, profile: &Profile) -> ProfileSummary {
    let provider = config.providers.get(&profile.provider);
    ProfileSummary {
        profile: profile.clone(),
        provider_label: provider.map_or_else(|| profile.provider.clone(), |provider| provider.label.clone()),
        scripted: provider.is_some_and(|provider| provider.kind == ProviderKind::Scripted),
        unavailable: unavailable(config, profile),
        models: Vec::new(),
    }
}

/// Every profile, with the models that its runtime offered last: before a session runs, nobody else
/// knows them.
pub async fn with_models(config: &Config, store: &Store, organization: OrganizationId) -> Vec<ProfileSummary> {
    let mut all = summaries(config);
    for summary in &mut all {
        let Some(name) = models_of(config, &summary.profile, organization) else {
            continue;
        };
        match store.meta(&name).await {
            // What an earlier version wrote is as good as nothing.
            Ok(known) => {
                summary.models = known
                    .and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or_default();
            }
            Err(error) => tracing::warn!(%error, "known models can't be read"),
        }
    }
    all
}

/// Remembers what a runtime offers.
pub async fn remember_models(
    config: &Config,
    store: &Store,
    organization: OrganizationId,
    profile: &Profile,
    models: &[ModelOption],
) {
    let (Some(name), Ok(text)) = (models_of(config, profile, organization), serde_json::to_string(models)) else {
        return;
    };
    if let Err(error) = store.set_meta(&name, &text).await {
        tracing::warn!(%error, "models can't be remembered");
    }
}

/// Under which name models are remembered: another version or provider may offer others.
fn models_of(config: &Config, profile: &Profile, organization: OrganizationId) -> Option<String> {
    let runtime = config.runtimes.get(&profile.runtime)?;
    Some(format!(
        "models {organization} {} {} {}",
        profile.runtime, runtime.version, profile.provider
    ))
}

/// Why no session can be started from a profile, and what to do.
pub fn unavailable(config: &Config, profile: &Profile) -> Option<String> {
    match config.runtimes.get(&profile.runtime) {
        Some(runtime) if runtime.is_installed() => None,
        Some(runtime) => Some(format!(
            "The runtime {} {} is not installed. Run `mistle runtime install {0}` on the server.",
            profile.runtime, runtime.version
        )),
        None => Some(format!("There is no runtime called {}.", profile.runtime)),
    }
}
