//! Sandbox profiles: what a session is started from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::ModelOption;
use crate::plan::ApprovalPolicy;

/// A sandbox profile, at one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Unique name: lower-case letters, digits and dashes, at most 64.
    #[serde(default)]
    pub name: String,
    /// Counts up with every published change. A profile from the configuration file has the first
    /// 48 bits of its content's SHA-256, so that a changed block is another version.
    #[serde(default)]
    pub version: u64,
    /// For a person.
    #[serde(default)]
    pub description: String,
    /// The root filesystem: `host`, `oci:<reference>` or `dir:<path>`.
    #[serde(default = "default_image")]
    pub image: String,
    /// The runtime: `codex`.
    #[serde(default = "default_runtime")]
    pub runtime: String,
    /// When the agent asks.
    #[serde(default)]
    pub approval_policy: ApprovalPolicy,
    /// The provider whose models are used, by its name in the configuration.
    pub provider: String,
    /// The model; the runtime's default otherwise.
    #[serde(default)]
    pub model: Option<String>,
    /// The reasoning effort; the model's default otherwise.
    #[serde(default)]
    pub effort: Option<String>,
    /// Repositories on offer when a session is started.
    #[serde(default)]
    pub repositories: Vec<Repository>,
    /// Plain folders on offer beside them, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<String>,
    /// Where programs in the sandbox may connect to, besides the model.
    #[serde(default)]
    pub egress: EgressPolicy,
    /// Limits.
    #[serde(default)]
    pub resources: Resources,
    /// Environment of everything in the sandbox. Never a secret: it is readable inside.
    #[serde(default)]
    pub environment: std::collections::BTreeMap<String, String>,
}

fn default_image() -> String {
    "host".to_owned()
}

fn default_runtime() -> String {
    "codex".to_owned()
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Folder name in the sandbox; the last part of the source otherwise.
    #[serde(default)]
    pub name: Option<String>,
    /// An `https://` clone URL, or an absolute path on the server's disk.
    pub source: String,
    /// Branch or tag; the default branch otherwise.
    #[serde(default)]
    pub branch: Option<String>,
}

/// Where programs in a sandbox may connect to. Nothing unless it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// `host`, `host:port` (443 and 80 otherwise) or `*.domain` for every name below it.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// Limits of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Processor time, in cores.
    pub cpus: f64,
    /// Processes and threads.
    pub pids: u64,
}

impl Default for Resources {
    /// Codex with a compiler at work fits; 20 of them idle do too.
    fn default() -> Self {
        Self {
            memory_mib: 4096,
            cpus: 2.0,
            pids: 2048,
        }
    }
}

/// Which profile a session was started from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProfileRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
}

/// A profile as the page offers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProfileSummary {
    /// The profile.
    pub profile: Profile,
    /// The provider's name for a person, such as "Demo model (scripted)".
    pub provider_label: String,
    /// Whether the provider is the scripted demo model.
    pub scripted: bool,
    /// Why it can't be used, for a person; none when it can.
    pub unavailable: Option<String>,
    /// The models that the runtime offered last with this provider; empty when none was heard of.
    #[serde(default)]
    pub models: Vec<ModelOption>,
}
