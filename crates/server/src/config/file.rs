//! The configuration file as it is written, before defaults.
//!
//! Every table refuses keys that it does not know, so that a misspelt key is an error and not a
//! silent default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use mistle_protocol::profile::Profile;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{LogFormat, ProviderKind};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) data_dir: Option<PathBuf>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) public_url: Option<Url>,
    pub(super) preview_domain: Option<String>,
    pub(super) sandboxd: Option<PathBuf>,
    pub(super) database: Database,
    pub(super) log: Log,
    pub(super) providers: BTreeMap<String, Provider>,
    pub(super) profiles: Vec<Profile>,
    pub(super) egress: Egress,
    pub(super) registry: Registry,
    pub(super) runtimes: BTreeMap<String, Runtime>,
    pub(super) images: Images,
    pub(super) sandbox: Sandbox,
    pub(super) sessions: Sessions,
    pub(super) limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Database {
    pub(super) url: Option<SecretString>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) format: Option<LogFormat>,
    pub(super) level: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    pub(super) kind: ProviderKind,
    pub(super) label: Option<String>,
    pub(super) base_url: Option<Url>,
    pub(super) api_key: Option<SecretString>,
    pub(super) api_key_env: Option<String>,
    pub(super) api_key_file: Option<PathBuf>,
    pub(super) scenarios: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Egress {
    pub(super) allow_private: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Registry {
    pub(super) npm: Option<Url>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Runtime {
    pub(super) version: Option<String>,
    pub(super) path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Images {
    pub(super) host: HostImage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HostImage {
    pub(super) include: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sessions {
    pub(super) keep_deleted: Option<SignedDuration>,
    pub(super) warm: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sandbox {
    pub(super) uid_base: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) connections: Option<usize>,
    pub(super) running_sessions: Option<u32>,
    pub(super) attachment_mib: Option<u64>,
    pub(super) unsent_attachments_mib: Option<u64>,
}
