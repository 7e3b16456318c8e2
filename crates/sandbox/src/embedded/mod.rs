//! The embedded driver: Linux namespaces through libcontainer, with nothing else to install.
//!
//! Disks are overlays ([`disk`]); each sandbox that runs has a shim of its own
//! ([`shim`](crate::shim)), with which the driver shares nothing but files: the server may end and
//! come back at any time.
//!
//! ```text
//!           start                      the shim's process has ended
//! Stopped ─────────► Running ────────────────────────────────────► Stopped
//!    ▲                                  (what it left is cleared, the exit status is read)
//!    └── at opening: whoever has a shim that lives is Running, whatever else is left is cleared
//! ```
//!
//! One operation at a time on each sandbox; those that come meanwhile wait for it, and find their
//! work done when it was the same.

mod disk;
mod host_image;
mod trash;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mistle_protocol::control::{CONTROL_SOCKET, EGRESS_SOCKET, LINK_DIR};
use mistle_protocol::id::{LayerId, SessionId};
use nix::fcntl::{Flock, FlockArg};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, watch};

use self::disk::{Base, BaseOverlay, Places, Record};
use self::trash::Trash;
use crate::request::{
    Answer, Bind, EXIT_FILE, IDS, LOG_FILE, REQUEST_FILE, RUN_FILE, Request, Run, SHIM_LOG_FILE, StartRequest,
};
use crate::sys;
use crate::{
    BoxFuture, DAEMON_PATH, Driver, Exit, Image, IsolationReport, SandboxError, SandboxInfo, SandboxSpec, cgroup,
    process,
};

/// First id of the first sandbox's range. The kernel's ids end at 2³²; this quarter is used by no
/// distribution for its users, nor by systemd for containers, nor for `/etc/subuid`.
pub const UID_BASE: u32 = 0x7000_0000;
/// Where the ranges may begin. Below are the machine's own users, with root first, whom root of a
/// sandbox must not be; above, the last range would not end within 32 bits.
pub const UID_BASES: RangeInclusive<u32> = IDS..=u32::MAX - SLOTS * IDS;
/// How many sandboxes can have a disk at once, one range each.
const SLOTS: u32 = 4096;
/// From asking a shim until it has answered. It takes some 20 ms; this is for a machine that
/// starts many at once and is short of memory.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// From killing PID 1 until the shim has cleared up, after which the shim is killed too.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a shim's answer.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
/// Of a shim's log in an error message.
const MAX_QUOTE_BYTES: usize = 2000;
/// Of a socket's path, with its terminating zero: the kernel's `sun_path`.
const MAX_SOCKET_PATH_BYTES: usize = 108;
/// Less can't start the daemon and a runtime.
const MIN_MEMORY_MIB: u64 = 16;
/// The kernel's limit on a host name.
const MAX_HOSTNAME_BYTES: usize = 64;

/// Of the folders in which a probe tries the disk.
const PROBE_PREFIX: &str = "probe-";
/// File that an open driver has locked.
const LOCK_FILE: &str = "lock";

/// How the embedded driver is set up.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Folder for disks, layers and links; made if it is not there. At most 80 bytes long, because
    /// sockets are below it, and on a local file system, at best ext4, xfs or btrfs.
    pub data_dir: PathBuf,
    /// How a shim is started.
    pub shim: ShimProgram,
    /// First id of the sandboxes' ranges, usually [`UID_BASE`]. Servers that share a machine must
    /// have different ones.
    pub uid_base: u32,
}

impl EmbeddedConfig {
    /// The usual setup: this very program is the shim.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            shim: ShimProgram::default(),
            uid_base: UID_BASE,
        }
    }
}

/// A program that calls [`shim::main`](crate::shim::main) with its last argument.
#[derive(Clone, Debug)]
pub struct ShimProgram {
    /// The program.
    pub program: PathBuf,
    /// The arguments before the folder.
    pub args: Vec<OsString>,
}

impl Default for ShimProgram {
    /// This program's hidden subcommand `sandbox-shim`.
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".into(),
            args: vec!["sandbox-shim".into()],
        }
    }
}

/// The embedded driver. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    config: EmbeddedConfig,
    places: Places,
    report: IsolationReport,
    sandboxes: Mutex<HashMap<SessionId, Arc<Sandbox>>>,
    /// Held while a slot is chosen and its disk is made.
    creating: tokio::sync::Mutex<()>,
    host_image: OnceCell<Vec<BaseOverlay>>,
    trash: Trash,
    /// Two drivers on one folder would take each other's sandboxes for their own.
    _lock: Flock<File>,
}

/// A sandbox that has a disk.
struct Sandbox {
    id: SessionId,
    slot: u32,
    /// Held by the operation in flight.
    operation: tokio::sync::Mutex<()>,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Stopped(Exit),
    /// With the shim's process.
    Running(Arc<OwnedFd>),
    /// Its disk is given up. Whoever still waits for the lock finds this.
    Deleted,
}

/// What this machine can give, found by trying, as the program that will have to do it.
pub async fn probe(config: &EmbeddedConfig) -> Result<IsolationReport, SandboxError> {
    let places = Places::open(&config.data_dir)?;
    probe_at(config, &places).await
}

async fn probe_at(config: &EmbeddedConfig, places: &Places) -> Result<IsolationReport, SandboxError> {
    if !UID_BASES.contains(&config.uid_base) {
        return Err(SandboxError::invalid(format!(
            "sandboxes can't have user ids from {} on; the first one must be between {} and {}",
            config.uid_base,
            UID_BASES.start(),
            UID_BASES.end(),
        )));
    }
    let folder = places
        .data
        .join(format!("{PROBE_PREFIX}{}", LayerId::new().uuid().simple()));
    fs::create_dir(&folder).map_err(|error| SandboxError::io("make", &folder, error))?;
    let probed = async {
        write_request(
            &folder,
            &Request::Probe {
                uid_base: config.uid_base,
            },
        )?;
        let (mut child, answer) = ask_shim(&config.shim, &folder).await?;
        let _ = child.wait().await;
        Ok(answer)
    }
    .await;
    places.discard(&folder)?;
    match probed? {
        Answer::Probed { required, controllers } => Ok(IsolationReport {
            driver: "embedded".to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            required,
            controllers,
            capacity: SLOTS,
        }),
        other => Err(SandboxError::Start {
            message: format!("unexpected answer {other:?}"),
        }),
    }
}

impl Embedded {
    /// Opens the driver: checks what the machine gives, finds the sandboxes of an earlier server,
    /// and clears up after those that ended meanwhile. Must be called in a tokio runtime. Fails
    /// with [`SandboxError::Unsupported`] when the machine can't isolate.
    pub async fn open(config: EmbeddedConfig) -> Result<Self, SandboxError> {
        let places = Places::open(&config.data_dir)?;
        check_socket_path(&places)?;
        let lock = lock(&places)?;
        places.discard_all(&places.data, PROBE_PREFIX)?;
        let report = probe_at(&config, &places).await?;
        preflight(&report)?;
        let trash =
            Trash::open(places.trash.clone()).map_err(|error| SandboxError::io("watch", &places.trash, error))?;
        let inner = Arc::new(Inner {
            config,
            places,
            report,
            sandboxes: Mutex::default(),
            creating: tokio::sync::Mutex::default(),
            host_image: OnceCell::new(),
            trash,
            _lock: lock,
        });
        let records = inner.blocking(|inner| inner.places.list()).await?;
        for (id, record) in &records {
            inner.find_again(*id, record).await?;
        }
        let overlays = inner.host_image().await?.clone();
        inner
            .blocking(move |inner| inner.places.discard_unused_images(&records, &overlays))
            .await?;
        inner.trash.empty();
        Ok(Self { inner })
    }

    /// The isolation in force.
    pub fn isolation(&self) -> &IsolationReport {
        &self.inner.report
    }

    /// What PID 1 of a sandbox wrote to its output in its last run, at most 256 KiB. Untrusted.
    pub fn log_file(&self, id: SessionId) -> PathBuf {
        self.inner.places.sandbox(id).join(LOG_FILE)
    }
}

/// Fails with what is missing on this machine.
pub fn preflight(report: &IsolationReport) -> Result<(), SandboxError> {
    if let Some((support, missing)) = report
        .required
        .iter()
        .find_map(|support| Some((support, support.missing.as_ref()?)))
    {
        let what = format!("{} ({missing})", support.name);
        return Err(SandboxError::Unsupported {
            what,
            advice: support.advice.clone(),
        });
    }
    match report
        .controllers
        .iter()
        .find(|controller| controller.version.is_none())
    {
        Some(controller) => Err(SandboxError::Unsupported {
            what: format!("no cgroup controller {}", controller.name),
            advice: "Enable it in the kernel and mount its hierarchy below /sys/fs/cgroup.".to_owned(),
        }),
        None => Ok(()),
    }
}

fn lock(places: &Places) -> Result<Flock<File>, SandboxError> {
    let path = places.data.join(LOCK_FILE);
    let file = File::create(&path).map_err(|error| SandboxError::io("open", &path, error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::Error::EWOULDBLOCK => {
            SandboxError::invalid(format!("another server uses the data folder {}", places.data.display()))
        }
        error => SandboxError::io("lock", &path, error),
    })
}

fn check_socket_path(places: &Places) -> Result<(), SandboxError> {
    let longest = [CONTROL_SOCKET, EGRESS_SOCKET]
        .map(str::len)
        .into_iter()
        .max()
        .unwrap_or_default();
    let length = places.link(SLOTS).as_os_str().len() + 1 + longest + 1;
    if length > MAX_SOCKET_PATH_BYTES {
        let message = format!(
            "the data folder {} is {} bytes too long for the sockets below it; choose a shorter path",
            places.data.display(),
            length - MAX_SOCKET_PATH_BYTES,
        );
        return Err(SandboxError::Invalid { message });
    }
    Ok(())
}

impl Driver for Embedded {
    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        let spec = spec.clone();
        self.carry_out(move |inner| async move { inner.create(spec).await })
    }

    fn start<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        let spec = spec.clone();
        self.carry_out(move |inner| async move { inner.start(spec).await })
    }

    fn stop(&self, id: SessionId, grace: Duration) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.carry_out(move |inner| async move {
            let sandbox = inner.get(id)?;
            let _operation = sandbox.operation.lock().await;
            sandbox.end(Some(grace)).await
        })
    }

    fn delete(&self, id: SessionId) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.carry_out(move |inner| async move { inner.delete(id).await })
    }

    fn freeze(&self, id: SessionId) -> BoxFuture<'_, Result<LayerId, SandboxError>> {
        self.carry_out(move |inner| async move {
            let sandbox = inner.get(id)?;
            let _operation = sandbox.operation.lock().await;
            match sandbox.state() {
                State::Running(_) => Err(SandboxError::Running(id)),
                State::Deleted => Err(SandboxError::NotFound(id)),
                State::Stopped(_) => inner.blocking(move |inner| inner.places.freeze(id)).await,
            }
        })
    }

    fn delete_layer(&self, id: LayerId) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.carry_out(move |inner| async move {
            // No disk may be made on it meanwhile.
            let _creating = inner.creating.lock().await;
            inner
                .blocking(move |inner| {
                    if inner
                        .places
                        .list()?
                        .iter()
                        .any(|(_, record)| record.layers.contains(&id) || record.freezing == Some(id))
                    {
                        return Err(SandboxError::invalid(format!(
                            "layer {id} is below a sandbox's disk; delete the sandbox first"
                        )));
                    }
                    inner.places.discard(&inner.places.layer(id))?;
                    inner.trash.empty();
                    Ok(())
                })
                .await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<SandboxInfo>, SandboxError>> {
        let sandboxes: Vec<_> = self.inner.sandboxes().values().cloned().collect();
        let info = |sandbox: &Arc<Sandbox>| SandboxInfo {
            id: sandbox.id,
            running: matches!(sandbox.state(), State::Running(_)),
        };
        let mut list: Vec<_> = sandboxes.iter().map(info).collect();
        list.sort_by_key(|info| info.id);
        Box::pin(async move { Ok(list) })
    }

    fn wait(&self, id: SessionId) -> BoxFuture<'_, Result<Exit, SandboxError>> {
        Box::pin(async move { self.inner.get(id)?.ended().await })
    }

    fn link_dir(&self, id: SessionId) -> Result<PathBuf, SandboxError> {
        Ok(self.inner.places.link(self.inner.get(id)?.slot))
    }
}

impl Embedded {
    /// Carries an operation out in a task of its own, so that it goes on when nobody waits for it.
    fn carry_out<T, F, Fut>(&self, operation: F) -> BoxFuture<'static, Result<T, SandboxError>>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Inner>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, SandboxError>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { joined(tokio::spawn(operation(inner)).await) })
    }
}

fn joined<T>(result: Result<Result<T, SandboxError>, tokio::task::JoinError>) -> Result<T, SandboxError> {
    result.unwrap_or_else(|error| {
        Err(SandboxError::Start {
            message: format!("the operation was cut off: {error}"),
        })
    })
}

impl Inner {
    fn sandboxes(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<Sandbox>>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, id: SessionId) -> Result<Arc<Sandbox>, SandboxError> {
        self.sandboxes().get(&id).cloned().ok_or(SandboxError::NotFound(id))
    }

    /// Runs what waits for the disk where it holds nobody up.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, SandboxError> + Send + 'static,
    ) -> Result<T, SandboxError> {
        let inner = Arc::clone(self);
        joined(tokio::task::spawn_blocking(move || work(&inner)).await)
    }

    async fn host_image(self: &Arc<Self>) -> Result<&Vec<BaseOverlay>, SandboxError> {
        self.host_image
            .get_or_try_init(|| self.blocking(|inner| host_image::build(&inner.places.images)))
            .await
    }

    async fn create(self: &Arc<Self>, spec: SandboxSpec) -> Result<(), SandboxError> {
        let _creating = self.creating.lock().await;
        if self.sandboxes().contains_key(&spec.id) {
            return Ok(());
        }
        check(&spec)?;
        let base = self.base(&spec).await?;
        let used: HashSet<_> = self.sandboxes().values().map(|sandbox| sandbox.slot).collect();
        let slot = (0..SLOTS).find(|slot| !used.contains(slot)).ok_or_else(|| {
            SandboxError::invalid(format!(
                "there are {SLOTS} sandboxes already, as many as there are ranges of user ids; delete one first"
            ))
        })?;
        let uid_base = self.config.uid_base + slot * IDS;
        let id = spec.id;
        self.blocking(move |inner| inner.places.create(&spec, slot, uid_base, base))
            .await?;
        self.sandboxes()
            .insert(id, Arc::new(Sandbox::new(id, slot, State::Stopped(Exit::default()))));
        Ok(())
    }

    /// What a new disk is written on: the image, or what the topmost layer was written on.
    async fn base(self: &Arc<Self>, spec: &SandboxSpec) -> Result<Base, SandboxError> {
        if let Some(layer) = spec.layers.last().copied() {
            let layers = spec.layers.clone();
            return self
                .blocking(move |inner| {
                    layers
                        .iter()
                        .try_for_each(|id| inner.places.layer_record(*id).map(|_| ()))?;
                    Ok(inner.places.layer_record(layer)?.base)
                })
                .await;
        }
        let (overlays, include) = match &spec.image {
            Image::Host { include } => (self.host_image().await?.clone(), include.clone()),
            Image::Dir(path) => (disk::folder_image(path)?, Vec::new()),
            Image::Oci(reference) => {
                return Err(SandboxError::invalid(format!(
                    "the image oci:{reference} can't be used: images from registries are not supported yet; use host or dir:<path>"
                )));
            }
        };
        for path in include
            .iter()
            .chain(overlays.iter().flat_map(|overlay| &overlay.lowers))
        {
            self.check_readable(path)?;
        }
        Ok(Base { overlays, include })
    }

    /// Nothing that a sandbox can read may hold the disks of others.
    fn check_readable(&self, path: &Path) -> Result<(), SandboxError> {
        let real = path
            .canonicalize()
            .map_err(|error| SandboxError::io("open", path, error))?;
        if self.places.data.starts_with(&real) {
            return Err(SandboxError::invalid(format!(
                "{} holds the server's data and can't be readable in a sandbox",
                path.display()
            )));
        }
        Ok(())
    }

    async fn start(self: &Arc<Self>, spec: SandboxSpec) -> Result<(), SandboxError> {
        let id = spec.id;
        let sandbox = self.get(id)?;
        let _operation = sandbox.operation.lock().await;
        match sandbox.state() {
            State::Running(_) => return Ok(()),
            State::Deleted => return Err(SandboxError::NotFound(id)),
            State::Stopped(_) => {}
        }
        check(&spec)?;
        self.blocking(move |inner| inner.prepare(&spec)).await?;
        let folder = self.places.sandbox(id);
        let (child, answer) = match ask_shim(&self.config.shim, &folder).await {
            Ok(asked) => asked,
            Err(error) => {
                self.blocking(move |inner| inner.clear(id)).await?;
                return Err(error);
            }
        };
        let shim = child.id().and_then(|pid| process::open(pid.cast_signed()));
        match (answer, shim) {
            (Answer::Started, Some(shim)) => {
                self.watch(&sandbox, Arc::new(shim), Some(child))?;
                Ok(())
            }
            (answer, _) => {
                let mut child = child;
                let _ = child.wait().await;
                self.blocking(move |inner| inner.clear(id)).await?;
                Err(match answer {
                    Answer::Failed {
                        message,
                        disk_full: true,
                    } => {
                        let full = io::Error::new(io::ErrorKind::StorageFull, message);
                        SandboxError::io("start the sandbox in", self.places.sandbox(id), full)
                    }
                    Answer::Failed { message, .. } => SandboxError::Start { message },
                    _ => SandboxError::Start {
                        message: "it ended at once".to_owned(),
                    },
                })
            }
        }
    }

    /// Writes what the shim is to do.
    fn prepare(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        let record = self.places.recover(spec.id)?;
        let folder = self.places.sandbox(spec.id);
        let bind = |source: &Path, target: &Path, shift_required| Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            shift_required,
        };
        let mut binds = vec![bind(&self.places.link(record.slot), Path::new(LINK_DIR), true)];
        if spec.argv.is_none() {
            binds.push(bind(&spec.daemon, Path::new(DAEMON_PATH), false));
        }
        binds.extend(record.base.include.iter().map(|path| bind(path, path, false)));
        binds.extend(
            spec.mounts
                .iter()
                .map(|mount| bind(&mount.source, &mount.target, false)),
        );
        for bind in binds.iter().skip(1) {
            self.check_readable(&bind.source)?;
        }
        let request = StartRequest {
            id: spec.id,
            uid_base: record.uid_base,
            overlays: self.places.overlays(&record)?,
            binds,
            resources: spec.resources,
            hostname: spec.hostname.clone(),
            argv: spec
                .argv
                .clone()
                .unwrap_or_else(|| vec![DAEMON_PATH.to_owned(), "init".to_owned()]),
        };
        check_depth(&request)?;
        match fs::remove_file(folder.join(EXIT_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SandboxError::io("remove", folder.join(EXIT_FILE), error));
            }
            _ => {}
        }
        write_request(&folder, &Request::Start(Box::new(request)))
    }

    async fn delete(self: &Arc<Self>, id: SessionId) -> Result<(), SandboxError> {
        let Ok(sandbox) = self.get(id) else { return Ok(()) };
        let _operation = sandbox.operation.lock().await;
        if matches!(sandbox.state(), State::Deleted) {
            return Ok(());
        }
        sandbox.end(None).await?;
        let slot = sandbox.slot;
        self.blocking(move |inner| {
            inner.places.discard(&inner.places.sandbox(id))?;
            inner.places.discard(&inner.places.link(slot))
        })
        .await?;
        sandbox.state.send_replace(State::Deleted);
        // Only here is the slot free again.
        self.sandboxes().remove(&id);
        self.trash.empty();
        Ok(())
    }

    /// Takes a sandbox of an earlier server up.
    async fn find_again(self: &Arc<Self>, id: SessionId, record: &Record) -> Result<(), SandboxError> {
        let folder = self.places.sandbox(id);
        let run: Option<Run> = disk::read_json(&folder.join(RUN_FILE)).ok();
        let sandbox = Arc::new(Sandbox::new(id, record.slot, State::Stopped(Exit::default())));
        if let Some(shim) = run.and_then(|run| run.shim.open()) {
            self.watch(&sandbox, Arc::new(shim), None)?;
        } else {
            let exit = self.blocking(move |inner| inner.clear(id)).await?;
            sandbox.state.send_replace(State::Stopped(exit));
        }
        self.sandboxes().insert(id, sandbox);
        Ok(())
    }

    /// Marks a sandbox as running until its shim has ended.
    fn watch(
        self: &Arc<Self>,
        sandbox: &Arc<Sandbox>,
        shim: Arc<OwnedFd>,
        child: Option<Child>,
    ) -> Result<(), SandboxError> {
        let id = sandbox.id;
        let ended = shim
            .try_clone()
            .and_then(sys::watch)
            .map_err(|error| SandboxError::io("watch the shim of", self.places.sandbox(id), error))?;
        sandbox.state.send_replace(State::Running(shim));
        let (inner, sandbox) = (Arc::clone(self), Arc::clone(sandbox));
        tokio::spawn(async move {
            // Can only fail with the runtime's end, and then there is nobody to tell.
            let _ = ended.readable().await;
            if let Some(mut child) = child {
                let _ = child.wait().await;
            }
            let exit = inner
                .blocking(move |inner| inner.clear(id))
                .await
                .unwrap_or_else(|error| {
                    tracing::error!(sandbox = %id, %error, "could not clear up after a sandbox");
                    Exit::default()
                });
            sandbox.state.send_replace(State::Stopped(exit));
        });
        Ok(())
    }

    /// Clears what a shim has left that did not end in order, and answers how the run ended.
    /// Nothing of the sandbox lives when this returns.
    fn clear(&self, id: SessionId) -> Result<Exit, SandboxError> {
        let folder = self.places.sandbox(id);
        let run_file = folder.join(RUN_FILE);
        let failed = |error| SandboxError::io("clear up after", &folder, error);
        if run_file.exists() {
            let run: Option<Run> = disk::read_json(&run_file).ok();
            if let Some(init) = run.and_then(|run| run.init).and_then(|init| init.open()) {
                process::kill_and_wait(&init).map_err(failed)?;
            }
            cgroup::kill_and_remove(&id.to_string()).map_err(failed)?;
            fs::remove_file(&run_file).map_err(failed)?;
        }
        Ok(disk::read_json(&folder.join(EXIT_FILE)).unwrap_or_default())
    }
}

impl Sandbox {
    fn new(id: SessionId, slot: u32, state: State) -> Self {
        Self {
            id,
            slot,
            operation: tokio::sync::Mutex::default(),
            state: watch::Sender::new(state),
        }
    }

    fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it does not run.
    async fn ended(&self) -> Result<Exit, SandboxError> {
        let mut state = self.state.subscribe();
        let not_running = state.wait_for(|state| !matches!(state, State::Running(_))).await;
        match not_running.as_deref() {
            Ok(State::Stopped(exit)) => Ok(exit.clone()),
            _ => Err(SandboxError::NotFound(self.id)),
        }
    }

    /// Ends its processes, first politely when there is a grace.
    async fn end(&self, grace: Option<Duration>) -> Result<(), SandboxError> {
        let State::Running(shim) = self.state() else {
            return Ok(());
        };
        let steps = [
            (Signal::TERM, grace),
            (Signal::USR1, Some(KILL_TIMEOUT)),
            (Signal::KILL, Some(KILL_TIMEOUT)),
        ];
        for (signal, patience) in steps {
            let Some(patience) = patience else { continue };
            // That it has ended already is what is wanted.
            let _ = rustix::process::pidfd_send_signal(&*shim, signal);
            if tokio::time::timeout(patience, self.ended()).await.is_ok() {
                return Ok(());
            }
        }
        Err(SandboxError::Start {
            message: "its processes can't be ended; a process may wait for a disk that does not answer".to_owned(),
        })
    }
}

/// Only the shim that is started next reads it, so it need not outlive the machine.
fn write_request(folder: &Path, request: &Request) -> Result<(), SandboxError> {
    let file = folder.join(REQUEST_FILE);
    serde_json::to_vec(request)
        .map_err(io::Error::from)
        .and_then(|text| fs::write(&file, text))
        .map_err(|error| SandboxError::io("write", &file, error))
}

/// Starts a shim and reads its answer.
async fn ask_shim(program: &ShimProgram, folder: &Path) -> Result<(Child, Answer), SandboxError> {
    let log_file = folder.join(SHIM_LOG_FILE);
    let log = File::create(&log_file).map_err(|error| SandboxError::io("open", &log_file, error))?;
    let mut child = Command::new(&program.program)
        .args(&program.args)
        .arg(folder)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| SandboxError::io("run", &program.program, error))?;
    let mut answer = Vec::new();
    let stdout = child.stdout.take();
    let read = async {
        match stdout {
            Some(stdout) => stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await.map(|_| ()),
            None => Ok(()),
        }
    };
    let problem = match tokio::time::timeout(START_TIMEOUT, read).await {
        Ok(Ok(())) => match serde_json::from_slice(&answer) {
            Ok(answer) => return Ok((child, answer)),
            Err(_) => "the shim ended without an answer".to_owned(),
        },
        Ok(Err(error)) => format!("the shim can't be read: {error}"),
        Err(_) => format!("the shim did not answer within {} s", START_TIMEOUT.as_secs()),
    };
    let _ = child.kill().await;
    let log = fs::read(&log_file).unwrap_or_default();
    let quote = String::from_utf8_lossy(&log[..log.len().min(MAX_QUOTE_BYTES)])
        .trim()
        .to_owned();
    Err(SandboxError::Start {
        message: format!("{problem}; it wrote: {quote:?}"),
    })
}

fn check(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let hostname_ok = !spec.hostname.is_empty()
        && spec.hostname.len() <= MAX_HOSTNAME_BYTES
        && spec
            .hostname
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let problem = if !hostname_ok {
        Some(format!(
            "the host name {:?} must be 1 to {MAX_HOSTNAME_BYTES} letters, digits and dashes",
            spec.hostname
        ))
    } else if spec.resources.memory_mib < MIN_MEMORY_MIB {
        Some(format!(
            "memory_mib is {}; at least {MIN_MEMORY_MIB} are needed",
            spec.resources.memory_mib
        ))
    } else if !(spec.resources.cpus >= 0.01 && spec.resources.cpus <= 4096.0) {
        Some(format!(
            "cpus is {}; it must be between 0.01 and 4096",
            spec.resources.cpus
        ))
    } else if spec.resources.pids == 0 {
        Some("pids is 0; at least 1 is needed".to_owned())
    } else if spec.argv.as_ref().is_some_and(Vec::is_empty) {
        Some("argv is empty".to_owned())
    } else {
        spec.mounts
            .iter()
            .find(|mount| !mount.source.is_absolute() || !mount.target.is_absolute())
            .map(|mount| {
                format!(
                    "the mount of {} at {} needs absolute paths",
                    mount.source.display(),
                    mount.target.display()
                )
            })
    };
    problem.map_or(Ok(()), |problem| Err(SandboxError::invalid(problem)))
}

fn check_depth(request: &StartRequest) -> Result<(), SandboxError> {
    match request.overlays.iter().map(|overlay| overlay.lowers.len()).max() {
        Some(depth) if depth > crate::shim::MAX_LOWERS => Err(SandboxError::invalid(format!(
            "the disk has {depth} layers; at most {} can be stacked",
            crate::shim::MAX_LOWERS
        ))),
        _ => Ok(()),
    }
}
