//! Starting and ending the server.
//!
//! ```text
//! data directory and its lock → database → demo repository → bind → scripted model → egress
//!   → sandbox driver → sessions (each taken up where it was) → front door → sign-in link
//! ```
//! It ends the other way around: no new connections, WebSockets closed with "going away", requests
//! in flight finished, sessions stored. Sandboxes keep running; the next server finds them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mistle_sandbox::SandboxError;
use mistle_sandbox::embedded::{Embedded, EmbeddedConfig};
use mistle_store::{Store, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::app::App;
use crate::attachments::Attachments;
use crate::auth::login;
use crate::auth::origin::Origins;
use crate::config::{Config, ConfigError};
use crate::credentials::{self, CredentialsError};
use crate::demo::{self, DemoError};
use crate::gateway::preview::{self, Previews};
use crate::models::{self, ModelError, ScriptedModels};
use crate::sessions::{Needs, SessionError, Sessions};
use crate::{api, front_door};

/// How long WebSockets may take to say goodbye when the server ends.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long sessions may take to store what they are at.
const SESSIONS_DOWN: Duration = Duration::from_secs(15);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another server has it.
    #[error("another server uses the data directory {} (process {pid}); stop it, or give this one another --data-dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The other server's process, as it said itself.
        pid: String,
    },
    /// The address is taken.
    #[error("{address} is in use by another program; stop it, or set `listen` in the configuration or --listen")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address can't be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
    /// The demo repository.
    #[error("the demo repository could not be made")]
    Demo(#[from] DemoError),
    /// Models.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Sandboxes.
    #[error("sandboxes can't be isolated on this machine, so none is started; `mistle doctor` says more")]
    Sandbox(#[from] SandboxError),
    /// Sessions.
    #[error("the sessions can't be taken up")]
    Sessions(#[from] SessionError),
    /// The credentials of the command line.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// A server that runs. Dropping it leaves it running; [`Running::shutdown`] ends it.
pub struct Running {
    /// The address that is bound.
    pub address: SocketAddr,
    /// The address for browsers.
    pub public_url: Url,
    /// Signs in once, within 15 minutes.
    pub login_link: SecretString,
    /// The command line's bearer token on this machine.
    pub token: SecretString,
    app: App,
    front_door: JoinHandle<()>,
    scripted: ScriptedModels,
    _lock: File,
}

/// The server.
pub struct Server;

impl Server {
    /// Starts everything. When it returns, the front door is open.
    pub async fn start(mut config: Config) -> Result<Running, StartError> {
        crate::install_crypto();
        let data_dir = config.data_dir.clone();
        let unusable = |source| StartError::DataDir {
            path: data_dir.clone(),
            source,
        };
        make_private(&data_dir).map_err(unusable)?;
        let lock = lock(&data_dir)?;
        config.write_default_file()?;
        let store = Store::connect(config.database_url.expose_secret()).await?;
        if offers_demo(&config) {
            let folder = config.demo_repository();
            let prepared = tokio::task::spawn_blocking(move || demo::prepare(&folder)).await;
            prepared.map_err(|error| unusable(io::Error::other(error)))??;
        }

        let listener = bind(config.listen).await?;
        let address = listener.local_addr().map_err(|source| StartError::Bind {
            address: config.listen,
            source,
        })?;
        let public_url = public_url(&config, address);
        let scripted = ScriptedModels::start(&mut config).await?;
        let gateway = models::gateway(&config)?;
        let driver = Embedded::open(embedded(&config)).await?;

        let attachments = Attachments::open(store.clone(), &config.data_dir, config.limits).map_err(unusable)?;
        let config = Arc::new(config);
        let needs = Needs {
            store: store.clone(),
            attachments: attachments.clone(),
            driver: Arc::new(driver),
            egress: gateway,
            config: Arc::clone(&config),
        };
        let sessions = Sessions::open(needs).await?;
        let token = credentials::keep(&store, &config, &local_url(address)).await?;
        let login_link = login::new_link(&store, &public_url, None).await?;
        let limit = config.limits.connections;
        let origins = Origins::new(&public_url, address);
        let preview_key = credentials::preview_key(&config.data_dir)?;
        let previews = Previews::new(&public_url, &config.preview_domain, &preview_key);
        let app = App::new(config, store, sessions, public_url.clone(), origins, previews);
        tokio::spawn(attachments.keep_clean(app.shutdown.clone()));
        let router = preview::before(api::router(app.clone()), &app);
        let front_door = tokio::spawn(front_door::serve(listener, router, limit, app.shutdown.clone()));
        tracing::info!(%address, %public_url, "serving");
        Ok(Running {
            address,
            public_url,
            login_link,
            token,
            app,
            front_door,
            scripted,
            _lock: lock,
        })
    }
}

impl Running {
    /// The address for programs on this machine.
    pub fn url(&self) -> Url {
        local_url(self.address)
    }

    /// The database, for tests and for the process that embeds the server.
    pub fn store(&self) -> &Store {
        &self.app.store
    }

    /// Cancelled when the server begins to end.
    pub fn ending(&self) -> CancellationToken {
        self.app.shutdown.clone()
    }

    /// Ends the server in order. Sandboxes keep running.
    pub async fn shutdown(self) {
        self.app.shutdown.cancel();
        self.app.streams.close();
        if tokio::time::timeout(GOODBYE, self.app.streams.wait()).await.is_err() {
            tracing::warn!("some WebSockets were cut off");
        }
        if let Err(error) = self.front_door.await {
            tracing::error!(%error, "the front door failed");
        }
        if tokio::time::timeout(SESSIONS_DOWN, self.app.sessions.shutdown())
            .await
            .is_err()
        {
            tracing::error!("some sessions were cut off; they are taken up at the next start");
        }
        self.scripted.stop();
        self.app.store.close().await;
        tracing::info!("ended");
    }
}

/// How the embedded driver is set up.
pub fn embedded(config: &Config) -> EmbeddedConfig {
    // Short: sockets are below it.
    let mut embedded = EmbeddedConfig::new(config.data_dir.join("embedded"));
    if let Some(uid_base) = config.sandbox.uid_base {
        embedded.uid_base = uid_base;
    }
    if let Some(program) = &config.sandbox.shim {
        embedded.shim.program.clone_from(program);
    }
    embedded
}

/// Makes the data directory, for its owner alone: it holds every session's record, the database and
/// the command line's token. One that others could read is closed to them.
fn make_private(data_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let mode = std::fs::metadata(data_dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        std::fs::set_permissions(data_dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Takes the data directory for this process, for as long as the file is open.
fn lock(data_dir: &Path) -> Result<File, StartError> {
    use std::io::{Read as _, Seek as _, Write as _};
    let unusable = |source| StartError::DataDir {
        path: data_dir.to_owned(),
        source,
    };
    let path = data_dir.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = io::Read::take(&file, 32).read_to_string(&mut pid);
            return Err(StartError::Locked {
                path: data_dir.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(unusable)?;
    Ok(file)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::AddressInUse { address },
        _ => StartError::Bind { address, source },
    })
}

fn offers_demo(config: &Config) -> bool {
    let demo = config.demo_repository();
    config
        .profiles
        .iter()
        .flat_map(|profile| &profile.repositories)
        .any(|offered| Path::new(&offered.source) == demo)
}

fn public_url(config: &Config, bound: SocketAddr) -> Url {
    config.public_url.clone().unwrap_or_else(|| local_url(bound))
}

/// The address for programs and browsers on this machine.
pub fn local_url(bound: SocketAddr) -> Url {
    let host = match bound {
        SocketAddr::V4(address) if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    #[expect(clippy::expect_used, reason = "an address and a port always make a URL")]
    Url::parse(&format!("http://{host}:{}", bound.port())).expect("an address makes a URL")
}
