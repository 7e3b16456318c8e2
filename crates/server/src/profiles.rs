//! Profiles as a person may choose them.

use mistle_protocol::profile::{Profile, ProfileSummary};

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
    }
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
