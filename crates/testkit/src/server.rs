//! A real server process.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api::Api;

/// How long a server may take until it prints its login link. Far above what it takes, so that
/// only a hang ends here.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How often a server that ends looks for what it leaves behind.
const LOOKS: usize = 1000;

/// What a test's server is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `mistle` program.
    pub program: PathBuf,
    /// Added to its configuration file; top-level keys may not be set here. `{port}` is the server's.
    pub config: String,
    /// The size of the disk that sandboxes have for themselves, as `mount` takes it (`160m`). The disk
    /// of the data directory otherwise.
    pub sandbox_disk: Option<&'static str>,
}

impl Default for Setup {
    /// The development build, with the default profile.
    fn default() -> Self {
        Self {
            program: built("debug", "mistle"),
            config: String::new(),
            sandbox_disk: None,
        }
    }
}

impl Setup {
    /// One profile on the scripted model that asks as `approval_policy` says.
    pub fn policy(approval_policy: &str) -> Self {
        let config = format!(
            "[providers.demo]\nkind = \"scripted\"\n\
             [[profiles]]\nname = \"default\"\nprovider = \"demo\"\nmodel = \"gpt-5.5\"\napproval_policy = \"{approval_policy}\"\n"
        );
        Self {
            config,
            ..Self::default()
        }
    }
}

/// A program of this workspace, once built.
pub fn built(profile: &str, name: &str) -> PathBuf {
    workspace().join("target").join(profile).join(name)
}

/// The root of this workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Ports for servers, below those that the kernel hands out: one of these would be given to somebody's
/// connection while its server is away.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// A server with a data directory of its own.
pub struct TestServer {
    /// The API, with the operator's token.
    pub api: Api,
    /// The link that it printed at its last start.
    pub login_link: String,
    program: PathBuf,
    data_dir: TempDir,
    child: Child,
    _port: Port,
    disk: Option<Mounted>,
}

impl TestServer {
    /// Starts one.
    pub async fn start(setup: Setup) -> Result<Self> {
        if !setup.program.is_file() {
            bail!(
                "{} is missing: run `cargo xtask test`, or build it",
                setup.program.display()
            );
        }
        // Sockets live below the data directory and may not have long paths.
        let data_dir = tempfile::Builder::new().prefix("mst").tempdir()?;
        let port = Port::reserve()?;
        write_config(data_dir.path(), port.number, &setup.config)?;
        let disk = setup
            .sandbox_disk
            .map(|size| Mounted::tmpfs(data_dir.path().join("embedded"), size));
        let disk = disk.transpose()?;
        let (child, login_link) = spawn(&setup.program, data_dir.path()).await?;
        let token = std::fs::read_to_string(data_dir.path().join("cli-token")).context("the operator's token")?;
        let api = Api::new(format!("http://127.0.0.1:{}", port.number), token.trim().to_owned())?;
        Ok(Self {
            api,
            login_link,
            program: setup.program,
            data_dir,
            child,
            _port: port,
            disk,
        })
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it with signal 9 and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.context("kill the server")
    }

    /// Starts it again on the same data and port.
    pub async fn start_again(&mut self) -> Result<()> {
        (self.child, self.login_link) = spawn(&self.program, self.data_dir.path()).await?;
        Ok(())
    }
}

impl Drop for TestServer {
    /// Kills the server and every sandbox that it leaves behind. A sandbox that is just being started forks while one
    /// looks, so one looks until there is nothing.
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        for _ in 0..LOOKS {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            let shims = processes(|process| names(process, self.data_dir.path()));
            if ended && shims.is_empty() {
                break;
            }
            // PID 1 of each sandbox: killing it ends everything in it.
            let inits = processes(|process| parent(process).is_some_and(|parent| shims.contains(&parent)));
            let mut kill = std::process::Command::new("kill");
            let _ = kill.arg("-9").args(inits).args(shims).stderr(Stdio::null()).status();
        }
        // Before the folder that it is in.
        drop(self.disk.take());
    }
}

/// A file system that is mounted until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf, size: &str) -> Result<Self> {
        std::fs::create_dir(&at)?;
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&at)
            .status()?;
        ensure!(mounted.success(), "can't mount a small disk");
        Ok(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Ids of the processes whose folder in `/proc` passes a test.
fn processes(wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter(|entry| wanted(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Whether a process' command line names a path below a folder, or, before it has one of its own, its environment.
fn names(process: &Path, folder: &Path) -> bool {
    let needle = folder.as_os_str().as_encoded_bytes();
    ["cmdline", "environ"].iter().any(|file| {
        let text = std::fs::read(process.join(file)).unwrap_or_default();
        text.windows(needle.len()).any(|window| window == needle)
    })
}

fn parent(process: &Path) -> Option<String> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .map(|pid| pid.trim().to_owned())
}

/// A port that no other test takes, whether its server runs or not.
struct Port {
    number: u16,
    /// Locked as long as it is open, which ends with the process at the latest.
    _lock: File,
}

impl Port {
    fn reserve() -> Result<Self> {
        static TRIED: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join("mistle-test-ports");
        std::fs::create_dir_all(&folder)?;
        let all = u32::from(PORTS.end - PORTS.start);
        // Processes begin far from each other.
        let begin = std::process::id().wrapping_mul(61);
        for _ in 0..all {
            let offset = begin.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % all;
            let number = PORTS.start + u16::try_from(offset)?;
            let lock = File::create(folder.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no port is free")
    }
}

fn write_config(data_dir: &Path, port: u16, config: &str) -> Result<()> {
    let codex = workspace().join("data/runtimes/codex/0.169.0");
    let config = config.replace("{port}", &port.to_string());
    let text = format!(
        "listen = \"127.0.0.1:{port}\"\n{config}\n[runtimes.codex]\npath = \"{}\"\n",
        codex.display()
    );
    std::fs::write(data_dir.join("mistle.toml"), text).context("write the configuration")
}

/// Starts the program and waits for the login link on its standard output.
async fn spawn(program: &Path, data_dir: &Path) -> Result<(Child, String)> {
    let mut child = Command::new(program)
        .arg("serve")
        .env("MISTLE_DATA_DIR", data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(data_dir.join("test-server.log"))?,
        )
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().context("standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let link = tokio::time::timeout(START_LIMIT, async {
        while let Some(line) = lines.next_line().await? {
            if let Some(link) = line.split_whitespace().find(|word| word.contains("/login?code=")) {
                return Ok(link.to_owned());
            }
        }
        let log = std::fs::read_to_string(data_dir.join("test-server.log")).unwrap_or_default();
        bail!("the server ended before it printed a login link:\n{log}")
    })
    .await
    .context("no login link in time")??;
    // Keeps the pipe open and empty: a server that can't print would stop.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, link))
}
