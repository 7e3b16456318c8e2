//! Configuration: one TOML file, parsed whole before any port is bound.
//!
//! ```text
//! --data-dir │ MISTLE_DATA_DIR │ the file's data_dir │ $XDG_DATA_HOME/mistle │ ~/.local/share/mistle
//! --config   │ MISTLE_CONFIG   │ <data_dir>/mistle.toml (written, commented, on the first start)
//! ```
//!
//! [`Config`] has every default filled in; nothing below it asks whether a key was there. A server
//! that was told nothing offers one profile, `default`, on the scripted demo model.

mod file;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use mistle_egress::{AllowList, Credential, PermittedAddresses, ProviderRoute, RouteError};
use mistle_protocol::plan::ApprovalPolicy;
use mistle_protocol::profile::{EgressPolicy, Profile, Repository, Resources};
use mistle_sandbox::Image;
use mistle_sandbox::embedded::UID_BASES;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

/// The file's name in the data directory.
pub const FILE_NAME: &str = "mistle.toml";
/// The provider of a server that was told of none.
pub const DEMO_PROVIDER: &str = "demo";
/// The profile of a server that was told of none.
pub const DEFAULT_PROFILE: &str = "default";
/// The demo repository's folder in the data directory.
pub const DEMO_REPOSITORY: &str = "demo";
/// The address to serve on unless told.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4747);
/// What `mistle.toml` says before a person edits it.
const COMMENTED_DEFAULT: &str = include_str!("default.toml");
/// A configuration is written by hand; what is longer is another file given by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The most open connections unless told: far above what a team's pages need, far below what
/// exhausts file descriptors.
const DEFAULT_CONNECTIONS: usize = 2048;
/// The most sandboxes that run at once unless told.
const DEFAULT_RUNNING_SESSIONS: u32 = 200;
/// The largest attachment unless told, in MiB: a long recording or a disk image of a small machine.
const DEFAULT_ATTACHMENT_MIB: u64 = 1024;
/// What one person may have uploaded and not sent unless told, in MiB: a few of the largest.
const DEFAULT_UNSENT_ATTACHMENTS_MIB: u64 = 4096;
/// How long a session that was deleted is kept unless told: what was deleted on a Friday is missed
/// on Monday. Not longer, because a disk takes room, and who deletes wants it back some day.
const KEEP_DELETED: SignedDuration = SignedDuration::from_hours(72);
/// The longest that it may be kept.
const MAX_KEEP_DELETED: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Where previews are unless told: browsers take every name below it for their own machine.
const DEFAULT_PREVIEW_DOMAIN: &str = "localhost";
/// A host has at most 253 characters; a preview's label takes 39 of them and a dot.
const MAX_PREVIEW_DOMAIN: usize = 253 - 40;
/// The longest name of a profile or provider: it is part of host names.
const MAX_NAME: usize = 63;

/// The server's configuration, complete.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, when there is one.
    pub file: Option<PathBuf>,
    /// Where everything is kept. Absolute.
    pub data_dir: PathBuf,
    /// The address to bind. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address that browsers use, when it is another than `listen`.
    pub public_url: Option<Url>,
    /// The domain below which previews have their origins.
    pub preview_domain: String,
    /// The database's URL; may hold a password.
    pub database_url: SecretString,
    /// How the log looks.
    pub log: Log,
    /// Model providers by name.
    pub providers: BTreeMap<String, Provider>,
    /// Profiles, in the file's order.
    pub profiles: Vec<Profile>,
    /// Outgoing traffic.
    pub egress: Egress,
    /// The npm registry to fetch runtimes from, when the file names one.
    pub npm_registry: Option<Url>,
    /// Runtimes by name.
    pub runtimes: BTreeMap<String, Runtime>,
    /// The `host` image.
    pub host_image: HostImage,
    /// The daemon's program.
    pub sandboxd: PathBuf,
    /// The embedded sandbox driver.
    pub sandbox: Sandbox,
    /// What happens to sessions over time.
    pub sessions: Sessions,
    /// Limits of the whole server.
    pub limits: Limits,
}

/// How the log looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Log {
    /// For a person or for a machine.
    pub format: LogFormat,
    /// A filter such as `info` or `info,mistle_server=debug`.
    pub level: String,
}

/// The log's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One line of text an event.
    #[default]
    Human,
    /// One JSON object an event.
    Json,
}

/// Where models are asked.
#[derive(Clone, Debug)]
pub struct Provider {
    /// What it speaks.
    pub kind: ProviderKind,
    /// For a person.
    pub label: String,
    /// Its API's base. A scripted provider, which the server serves itself, has one once the server
    /// has started.
    pub base_url: Option<Url>,
    /// Its key. Added by the egress gateway; never in a sandbox.
    pub api_key: Option<SecretString>,
    /// A scripted provider's scenarios, when they are not the built-in ones.
    pub scenarios: Option<PathBuf>,
}

impl Provider {
    /// The way to it through the egress gateway, which adds the key. `name` is its name in the
    /// configuration. None for a scripted provider that is not served yet.
    pub fn route(&self, name: &str) -> Result<Option<ProviderRoute>, RouteError> {
        let Some(base_url) = self.base_url.clone() else {
            return Ok(None);
        };
        let credential = self.api_key.clone().map(|key| match self.kind {
            ProviderKind::Anthropic => Credential::ApiKey(key),
            ProviderKind::Openai | ProviderKind::Scripted => Credential::Bearer(key),
        });
        ProviderRoute::new(name, base_url, credential).map(Some)
    }
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// The demo model, served by the server itself from scenario files.
    Scripted,
    /// The Responses and Chat Completions APIs of `OpenAI` and whatever is compatible.
    Openai,
    /// Anthropic's Messages API.
    Anthropic,
}

/// Outgoing traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// Private addresses that may be reached all the same, if a profile lists them: addresses,
    /// networks (`10.1.2.0/24`) or `host:port`.
    pub allow_private: Vec<String>,
}

/// A runtime's place on the server's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// Its version.
    pub version: String,
    /// The folder that is mounted into sandboxes.
    pub folder: PathBuf,
    /// Its program, relative to the folder.
    pub program: PathBuf,
}

impl Runtime {
    /// Whether it is installed.
    pub fn is_installed(&self) -> bool {
        self.folder.join(&self.program).is_file()
    }
}

/// What of the server's own system a sandbox sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HostImage {
    /// Folders besides the driver's allow-list.
    pub include: Vec<PathBuf>,
}

/// The embedded sandbox driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sandbox {
    /// First id of the sandboxes' user ranges, when it is not the driver's own choice. Servers that
    /// share a machine need different ones.
    pub uid_base: Option<u32>,
    /// The program whose hidden subcommand is the shim; this one unless a program that embeds the
    /// server says otherwise. Not in the file.
    pub shim: Option<PathBuf>,
}

/// What happens to sessions over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sessions {
    /// How long a session that was deleted can be restored; zero destroys it at once.
    pub keep_deleted: SignedDuration,
    /// Whether a session is prepared while its task is being typed.
    pub warm: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            keep_deleted: KEEP_DELETED,
            warm: true,
        }
    }
}

/// Limits of the whole server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Open connections to the front door.
    pub connections: usize,
    /// Sandboxes that run at once.
    pub running_sessions: u32,
    /// The largest attachment, in bytes.
    pub attachment_bytes: u64,
    /// The most that one person's uploads take that no message carries yet, in bytes.
    pub unsent_attachments_bytes: u64,
}

/// Where to look for the configuration, from flags and environment.
#[derive(Clone, Debug, Default)]
pub struct Location {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

/// Why there is no configuration. Names the file, and the key where there is one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file can't be written.
    #[error("cannot write {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{} is not valid TOML", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key is unknown or its value is wrong.
    #[error("{}{}: `{key}`: {message}", file.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Key {
        /// The file.
        file: PathBuf,
        /// The line, from 1, where the parser knows it.
        line: Option<usize>,
        /// The key, with its tables before it.
        key: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// There is no place for data.
    #[error("no data directory: set --data-dir, MISTLE_DATA_DIR or HOME")]
    NoDataDir,
}

impl Config {
    /// Reads the file that flags, environment or the data directory name. A data directory
    /// without one is fine: then everything has its default.
    pub fn load(location: &Location) -> Result<Self, ConfigError> {
        let (text, file) = find(location)?;
        Self::parse(&text, file.as_deref(), location)
    }

    /// Reads a configuration from its text; `file` is its name in errors.
    pub fn parse(text: &str, file: Option<&Path>, location: &Location) -> Result<Self, ConfigError> {
        let at = file.unwrap_or_else(|| Path::new(FILE_NAME)).to_owned();
        let parsed = parse_file(text, &at)?;
        complete(parsed, file.map(Path::to_owned), &at, location)
    }

    /// Writes the commented default into the data directory, unless there is a file.
    pub fn write_default_file(&self) -> Result<(), ConfigError> {
        if self.file.is_some() {
            return Ok(());
        }
        let file = self.data_dir.join(FILE_NAME);
        // Keys may be written into it.
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file);
        let result = match written {
            Ok(mut opened) => std::io::Write::write_all(&mut opened, COMMENTED_DEFAULT.as_bytes()),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        };
        result.map_err(|source| ConfigError::Write { file, source })
    }

    /// The profile of that name; the first one when no name is given.
    pub fn profile(&self, name: Option<&str>) -> Option<&Profile> {
        match name {
            Some(name) => self.profiles.iter().find(|profile| profile.name == name),
            None => self.profiles.first(),
        }
    }

    /// The merged result as `mistle doctor` shows it. Secrets are only said to be there.
    pub fn shown(&self) -> Value {
        let hidden = |set: bool| if set { "(set, hidden)" } else { "(none)" };
        let providers: serde_json::Map<String, Value> = self
            .providers
            .iter()
            .map(|(name, provider)| {
                let shown = json!({
                    "kind": provider.kind,
                    "label": provider.label,
                    "base_url": provider.base_url.as_ref().map(without_password),
                    "api_key": hidden(provider.api_key.is_some()),
                    "scenarios": provider.scenarios,
                });
                (name.clone(), shown)
            })
            .collect();
        json!({
            "file": self.file,
            "data_dir": self.data_dir,
            "listen": self.listen,
            "public_url": self.public_url,
            "preview_domain": self.preview_domain,
            "sandboxd": self.sandboxd,
            "database": { "url": shown_database(self.database_url.expose_secret()) },
            "log": self.log,
            "providers": providers,
            "profiles": self.profiles,
            "egress": self.egress,
            "registry": { "npm": self.npm_registry.as_ref().map(without_password) },
            "runtimes": self.runtimes,
            "images": { "host": self.host_image },
            "sandbox": { "uid_base": self.sandbox.uid_base },
            "sessions": self.sessions,
            "limits": self.limits,
        })
    }

    /// The demo repository.
    pub fn demo_repository(&self) -> PathBuf {
        self.data_dir.join(DEMO_REPOSITORY)
    }
}

/// Where a server is, for those who talk to it. They may not have what the whole configuration
/// needs: the keys of providers are in the server's environment, and in files that it alone reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where everything is kept. Absolute.
    pub data_dir: PathBuf,
    /// The address that it binds.
    pub listen: SocketAddr,
}

impl Whereabouts {
    /// Reads the file that [`Config::load`] reads.
    pub fn load(location: &Location) -> Result<Self, ConfigError> {
        let (text, file) = find(location)?;
        let at = file.unwrap_or_else(|| FILE_NAME.into());
        let parsed = parse_file(&text, &at)?;
        Ok(Self {
            data_dir: data_dir(location, parsed.data_dir, &at)?,
            listen: parsed.listen.unwrap_or(DEFAULT_LISTEN),
        })
    }
}

/// The text of the file that flags, environment or the data directory name; nothing, and no file, when
/// the data directory has none.
fn find(location: &Location) -> Result<(String, Option<PathBuf>), ConfigError> {
    if let Some(file) = &location.file {
        return Ok((read(file)?, Some(file.clone())));
    }
    let file = default_data_dir(location)?.join(FILE_NAME);
    match read(&file) {
        Ok(text) => Ok((text, Some(file))),
        Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok((String::new(), None))
        }
        Err(error) => Err(error),
    }
}

fn data_dir(location: &Location, in_file: Option<PathBuf>, at: &Path) -> Result<PathBuf, ConfigError> {
    match (&location.data_dir, in_file) {
        (None, Some(data_dir)) => absolute(at.parent().unwrap_or(Path::new("")).join(data_dir)),
        _ => default_data_dir(location),
    }
}

fn without_password(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
        return "(hidden)".to_owned();
    }
    url.to_string()
}

fn shown_database(url: &str) -> String {
    // A database URL may hold secrets in its query too.
    match Url::parse(url) {
        Ok(mut url) if url.scheme() != "sqlite" => {
            url.set_query(None);
            without_password(&url)
        }
        _ => url.to_owned(),
    }
}

/// Where the data is unless a file says otherwise.
fn default_data_dir(location: &Location) -> Result<PathBuf, ConfigError> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let found = location
        .data_dir
        .clone()
        .or_else(|| set("XDG_DATA_HOME").map(|data| data.join("mistle")))
        .or_else(|| set("HOME").map(|home| home.join(".local/share/mistle")))
        .ok_or(ConfigError::NoDataDir)?;
    absolute(found)
}

fn absolute(path: PathBuf) -> Result<PathBuf, ConfigError> {
    std::path::absolute(&path).map_err(|source| ConfigError::Read { file: path, source })
}

fn read(file: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let failed = |source| ConfigError::Read {
        file: file.to_owned(),
        source,
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(std::io::Error::other(format!(
            "longer than {MAX_FILE_BYTES} bytes"
        ))));
    }
    Ok(text)
}

fn parse_file(text: &str, file: &Path) -> Result<file::File, ConfigError> {
    let syntax = |source| ConfigError::Syntax {
        file: file.to_owned(),
        source: Box::new(source),
    };
    let deserializer = toml::Deserializer::parse(text).map_err(syntax)?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let key = error.path().to_string();
        let inner = error.into_inner();
        ConfigError::Key {
            file: file.to_owned(),
            line: inner
                .span()
                .map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
            key,
            message: inner.message().to_owned(),
        }
    })
}

/// Fills in what the file left out, and checks what types can't say.
fn complete(file: file::File, path: Option<PathBuf>, at: &Path, location: &Location) -> Result<Config, ConfigError> {
    let wrong = |key: String, message: &str| ConfigError::Key {
        file: at.to_owned(),
        line: None,
        key,
        message: message.to_owned(),
    };
    let beside_file = |path: PathBuf| at.parent().unwrap_or(Path::new("")).join(path);

    let data_dir = data_dir(location, file.data_dir, at)?;

    let mut providers = BTreeMap::new();
    for (name, provider) in file.providers {
        let key = format!("providers.{name}");
        if !is_name(&name) {
            return Err(wrong(key, NAME_RULE));
        }
        let provider = complete_provider(&name, provider, &beside_file)
            .map_err(|(field, message)| wrong(format!("{key}.{field}"), &message))?;
        provider.route(&name).map_err(|error| wrong(key, &error.to_string()))?;
        providers.insert(name, provider);
    }
    if providers.is_empty() {
        providers.insert(DEMO_PROVIDER.to_owned(), demo_provider());
    }

    let mut profiles = file.profiles;
    if profiles.is_empty() {
        profiles.push(default_profile(&providers, &data_dir));
    }
    for index in 0..profiles.len() {
        let key = |field: &str| format!("profiles[{index}].{field}");
        let (before, rest) = profiles.split_at_mut(index);
        let profile = &mut rest[0];
        if !is_name(&profile.name) {
            return Err(wrong(key("name"), NAME_RULE));
        }
        if before.iter().any(|other| other.name == profile.name) {
            return Err(wrong(key("name"), "another profile has this name"));
        }
        if profile.version != 0 {
            return Err(wrong(
                key("version"),
                "is computed from the profile's content; leave it out",
            ));
        }
        if !providers.contains_key(&profile.provider) {
            let message = format!(
                "no provider is called `{}`; add a [providers.{0}] table",
                profile.provider
            );
            return Err(wrong(key("provider"), &message));
        }
        if !crate::runtimes::is_known(&profile.runtime) {
            return Err(wrong(
                key("runtime"),
                &format!("unknown runtime; known are: {}", crate::runtimes::names()),
            ));
        }
        let image = profile
            .image
            .parse::<Image>()
            .map_err(|error| wrong(key("image"), &error.to_string()))?;
        if matches!(image, Image::Oci(_)) {
            return Err(wrong(
                key("image"),
                "images from registries are not supported yet; use `host` or `dir:<path>`",
            ));
        }
        for (index, repository) in profile.repositories.iter().enumerate() {
            crate::repositories::check_source(repository)
                .map_err(|error| wrong(key(&format!("repositories[{index}]")), &error.to_string()))?;
        }
        if let Some(name) = profile.environment.iter().find_map(impossible_variable) {
            return Err(wrong(
                key(&format!("environment.{name:?}")),
                "a variable has a name without `=`, and neither name nor value has a NUL byte",
            ));
        }
        if let Some(name) = repeated_or_wrong(&profile.workspaces) {
            return Err(wrong(
                key("workspaces"),
                &format!("“{name}” is there twice or can't be the name of a folder"),
            ));
        }
        AllowList::parse(&profile.egress.allow).map_err(|error| wrong(key("egress.allow"), &chain(&error)))?;
        check_resources(&profile.resources)
            .map_err(|(field, message)| wrong(key(&format!("resources.{field}")), message))?;
        profile.version = content_version(profile);
    }

    if let Some(url) = &file.public_url
        && (!matches!(url.scheme(), "http" | "https")
            || url.path() != "/"
            || url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty())
    {
        return Err(wrong(
            "public_url".to_owned(),
            "must be `http://host[:port]` or `https://host[:port]`, nothing behind it",
        ));
    }

    for name in file.runtimes.keys() {
        if !crate::runtimes::is_known(name) {
            return Err(wrong(
                format!("runtimes.{name}"),
                &format!("unknown runtime; known are: {}", crate::runtimes::names()),
            ));
        }
    }
    let mut runtimes = BTreeMap::new();
    for known in crate::runtimes::all() {
        let settings = file.runtimes.get(&known.name);
        let version = settings
            .and_then(|settings| settings.version.clone())
            .unwrap_or_else(|| known.version.clone());
        let folder = match settings.and_then(|settings| settings.path.clone()) {
            Some(path) => absolute(beside_file(path))?,
            None if version == known.version => data_dir.join("runtimes").join(&known.name).join(&version),
            None => {
                let message = format!(
                    "only {} can be installed; for another version set `path` to its folder",
                    known.version
                );
                return Err(wrong(format!("runtimes.{}.version", known.name), &message));
            }
        };
        runtimes.insert(
            known.name.clone(),
            Runtime {
                version,
                folder,
                program: known.program.clone(),
            },
        );
    }

    let limits = Limits {
        connections: file.limits.connections.unwrap_or(DEFAULT_CONNECTIONS),
        running_sessions: file.limits.running_sessions.unwrap_or(DEFAULT_RUNNING_SESSIONS),
        attachment_bytes: mebibytes(file.limits.attachment_mib.unwrap_or(DEFAULT_ATTACHMENT_MIB)),
        unsent_attachments_bytes: mebibytes(
            file.limits
                .unsent_attachments_mib
                .unwrap_or(DEFAULT_UNSENT_ATTACHMENTS_MIB),
        ),
    };
    if limits.connections == 0 || limits.running_sessions == 0 || limits.attachment_bytes == 0 {
        return Err(wrong("limits".to_owned(), "a limit of 0 allows nothing"));
    }
    if limits.unsent_attachments_bytes < limits.attachment_bytes {
        return Err(wrong(
            "limits.unsent_attachments_mib".to_owned(),
            "must be at least `limits.attachment_mib`",
        ));
    }

    let keep_deleted = file.sessions.keep_deleted.unwrap_or(KEEP_DELETED);
    if keep_deleted.is_negative() || keep_deleted > MAX_KEEP_DELETED {
        return Err(wrong(
            "sessions.keep_deleted".to_owned(),
            "must be a time such as `72h`, from `0s` to a year",
        ));
    }

    let database_url = match file.database.url {
        Some(url) => {
            if !["sqlite:", "postgres:", "postgresql:"]
                .iter()
                .any(|scheme| url.expose_secret().starts_with(scheme))
            {
                return Err(wrong(
                    "database.url".to_owned(),
                    "must begin with `sqlite:`, `postgres:` or `postgresql:`",
                ));
            }
            url
        }
        None => format!("sqlite://{}", data_dir.join("mistle.db").display()).into(),
    };

    let sandboxd = match file.sandboxd {
        Some(path) => absolute(beside_file(path))?,
        // Installed, and in a build's folder, the two programs are neighbours.
        None => std::env::current_exe()
            .unwrap_or_default()
            .with_file_name("mistle-sandboxd"),
    };

    let level = file.log.level.unwrap_or_else(|| "info".to_owned());
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level) {
        return Err(wrong("log.level".to_owned(), &error.to_string()));
    }

    if let Some(base) = file.sandbox.uid_base
        && !UID_BASES.contains(&base)
    {
        let message = format!(
            "must be from {} to {}: below are the users of this machine",
            UID_BASES.start(),
            UID_BASES.end()
        );
        return Err(wrong("sandbox.uid_base".to_owned(), &message));
    }

    PermittedAddresses::parse(&file.egress.allow_private)
        .map_err(|error| wrong("egress.allow_private".to_owned(), &chain(&error)))?;

    for (index, path) in file.images.host.include.iter().enumerate() {
        if !path.is_absolute() {
            return Err(wrong(
                format!("images.host.include[{index}]"),
                "must be an absolute path",
            ));
        }
    }

    Ok(Config {
        file: path.map(absolute).transpose()?,
        listen: file.listen.unwrap_or(DEFAULT_LISTEN),
        public_url: file.public_url,
        preview_domain: file
            .preview_domain
            .map_or_else(
                || Ok(DEFAULT_PREVIEW_DOMAIN.to_owned()),
                |domain| preview_domain(&domain),
            )
            .map_err(|message| wrong("preview_domain".to_owned(), message))?,
        database_url,
        log: Log {
            format: file.log.format.unwrap_or_default(),
            level,
        },
        providers,
        profiles,
        egress: Egress {
            allow_private: file.egress.allow_private,
        },
        npm_registry: file.registry.npm,
        runtimes,
        host_image: HostImage {
            include: file.images.host.include,
        },
        sandboxd,
        sandbox: Sandbox {
            uid_base: file.sandbox.uid_base,
            shim: None,
        },
        sessions: Sessions {
            keep_deleted,
            warm: file.sessions.warm.unwrap_or(true),
        },
        limits,
        data_dir,
    })
}

/// A domain with room for a preview's label before it.
fn preview_domain(domain: &str) -> Result<String, &'static str> {
    let domain = domain.to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=MAX_NAME).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = domain
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if domain.len() <= MAX_PREVIEW_DOMAIN && domain.split('.').all(is_label) && !is_address {
        Ok(domain)
    } else {
        Err("must be a domain such as `preview.example.com`, without a scheme or port")
    }
}

fn mebibytes(count: u64) -> u64 {
    count.saturating_mul(1024 * 1024)
}

const NAME_RULE: &str = "a name has lower-case letters, digits and dashes, begins and ends with a letter or digit, and at most 63 characters";

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn check_resources(resources: &Resources) -> Result<(), (&'static str, &'static str)> {
    // Below these a runtime does not even start, and the failure would be hard to read.
    if resources.memory_mib < 64 {
        return Err(("memory_mib", "must be at least 64"));
    }
    if !resources.cpus.is_finite() || resources.cpus < 0.05 {
        return Err(("cpus", "must be at least 0.05"));
    }
    if resources.pids < 32 {
        return Err(("pids", "must be at least 32"));
    }
    // Above these no machine has more, and a limit that limits nothing is a slip.
    if resources.memory_mib > MAX_MEMORY_MIB {
        return Err(("memory_mib", "must be at most 16777216 (16 TiB)"));
    }
    if resources.cpus > MAX_CPUS {
        return Err(("cpus", "must be at most 4096"));
    }
    if resources.pids > MAX_PIDS {
        return Err(("pids", "must be at most 4194304, as many as Linux has"));
    }
    Ok(())
}

/// The most memory of a sandbox.
const MAX_MEMORY_MIB: u64 = 16 * 1024 * 1024;
/// The most processors of a sandbox; what the driver takes.
const MAX_CPUS: f64 = 4096.0;
/// The most processes of a sandbox: the kernel's own limit.
const MAX_PIDS: u64 = 1 << 22;

/// The name of a variable that no program can get.
fn impossible_variable<'a>((name, value): (&'a String, &String)) -> Option<&'a String> {
    (name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')).then_some(name)
}

fn complete_provider(
    name: &str,
    provider: file::Provider,
    beside_file: &dyn Fn(PathBuf) -> PathBuf,
) -> Result<Provider, (&'static str, String)> {
    let scripted = provider.kind == ProviderKind::Scripted;
    let given = [
        provider.api_key.is_some(),
        provider.api_key_env.is_some(),
        provider.api_key_file.is_some(),
    ];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err((
            "api_key",
            "give one of `api_key`, `api_key_env` and `api_key_file`".to_owned(),
        ));
    }
    if scripted && (provider.base_url.is_some() || given.contains(&true)) {
        return Err(("kind", "a scripted provider takes no `base_url` and no key".to_owned()));
    }
    if !scripted && provider.scenarios.is_some() {
        return Err(("scenarios", "only a scripted provider has scenarios".to_owned()));
    }
    if let Some(url) = &provider.base_url
        && (!matches!(url.scheme(), "http" | "https") || url.host_str().is_none())
    {
        return Err(("base_url", "must begin with `http://` or `https://`".to_owned()));
    }
    let api_key = match (provider.api_key, provider.api_key_env, provider.api_key_file) {
        (Some(key), _, _) => Some(key),
        (_, Some(variable), _) => match std::env::var(&variable) {
            Ok(key) if !key.trim().is_empty() => Some(key.trim().into()),
            _ => {
                return Err((
                    "api_key_env",
                    format!("the environment variable `{variable}` is not set"),
                ));
            }
        },
        (_, _, Some(file)) => {
            let file = beside_file(file);
            let key = read(&file).map_err(|error| ("api_key_file", chain(&error)))?;
            Some(key.trim().into())
        }
        _ => None,
    };
    if api_key
        .as_ref()
        .is_some_and(|key| key.expose_secret().bytes().any(|b| !(0x21..0x7f).contains(&b)))
    {
        return Err((
            "api_key",
            "a key has no spaces and no characters beyond ASCII".to_owned(),
        ));
    }
    let default_base = match provider.kind {
        ProviderKind::Scripted => None,
        ProviderKind::Openai => Url::parse("https://api.openai.com/v1").ok(),
        ProviderKind::Anthropic => Url::parse("https://api.anthropic.com").ok(),
    };
    Ok(Provider {
        kind: provider.kind,
        label: provider.label.unwrap_or_else(|| {
            if scripted {
                mistle_scripted_model::LABEL.to_owned()
            } else {
                name.to_owned()
            }
        }),
        base_url: provider.base_url.or(default_base),
        api_key,
        scenarios: provider.scenarios.map(beside_file),
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn demo_provider() -> Provider {
    Provider {
        kind: ProviderKind::Scripted,
        label: mistle_scripted_model::LABEL.to_owned(),
        base_url: None,
        api_key: None,
        scenarios: None,
    }
}

/// The first name that can't be a folder's, or that was there before.
fn repeated_or_wrong(names: &[String]) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    names
        .iter()
        .map(String::as_str)
        .find(|name| !crate::repositories::is_folder_name(name) || !seen.insert(*name))
}

fn default_profile(providers: &BTreeMap<String, Provider>, data_dir: &Path) -> Profile {
    let (provider, scripted) = providers
        .iter()
        .next()
        .map_or((DEMO_PROVIDER, true), |(name, provider)| {
            (name, provider.kind == ProviderKind::Scripted)
        });
    Profile {
        name: DEFAULT_PROFILE.to_owned(),
        version: 0,
        description: "Codex on this machine's own tools".to_owned(),
        image: "host".to_owned(),
        runtime: "codex".to_owned(),
        approval_policy: ApprovalPolicy::AskEveryTime,
        provider: provider.to_owned(),
        model: scripted.then(|| mistle_scripted_model::MODEL.to_owned()),
        effort: None,
        repositories: vec![Repository {
            name: None,
            source: data_dir.join(DEMO_REPOSITORY).display().to_string(),
            branch: None,
        }],
        workspaces: Vec::new(),
        egress: EgressPolicy::default(),
        resources: Resources::default(),
        environment: BTreeMap::new(),
    }
}

/// The first 48 bits of the content's SHA-256: every number of that size is exact in JavaScript.
fn content_version(profile: &Profile) -> u64 {
    let content = serde_json::to_vec(profile).unwrap_or_default();
    Sha256::digest(content)
        .iter()
        .take(6)
        .fold(0, |version, byte| version << 8 | u64::from(*byte))
}
