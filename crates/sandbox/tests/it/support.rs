//! A driver on a folder of its own, and sandboxes that run scripts.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mistle_protocol::id::SessionId;
use mistle_protocol::profile::Resources;
use mistle_sandbox::{Driver, Embedded, EmbeddedConfig, Exit, Image, SandboxError, SandboxSpec, ShimProgram};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;

/// Enough for anything here on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A driver.
pub(crate) struct Host {
    pub(crate) driver: Embedded,
    pub(crate) data: Arc<Data>,
}

/// A data folder. Ends what runs there when it is dropped.
pub(crate) struct Data(TempDir);

/// How a script ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) output: String,
}

pub(crate) fn config(data: &Path) -> EmbeddedConfig {
    let shim = ShimProgram {
        program: std::env::current_exe().unwrap(),
        args: vec![crate::SHIM.into()],
    };
    EmbeddedConfig {
        shim,
        ..EmbeddedConfig::new(data)
    }
}

/// A sandbox on the host's image whose PID 1 is a shell with this script.
pub(crate) fn spec(script: &str) -> SandboxSpec {
    SandboxSpec {
        id: SessionId::new(),
        image: Image::Host { include: Vec::new() },
        layers: Vec::new(),
        mounts: Vec::new(),
        resources: Resources {
            memory_mib: 256,
            cpus: 1.0,
            pids: 64,
        },
        hostname: "sandbox".to_owned(),
        daemon: PathBuf::from("/bin/true"),
        argv: Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
    }
}

impl Host {
    pub(crate) async fn open() -> Self {
        Self::open_again(Arc::new(Data(tempfile::tempdir().unwrap()))).await
    }

    /// What a restarted server does.
    pub(crate) async fn open_again(data: Arc<Data>) -> Self {
        let driver = Embedded::open(config(data.path()))
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        Self { driver, data }
    }

    /// Why another server can't open the folder.
    pub(crate) async fn open_again_error(data: &Data) -> SandboxError {
        Embedded::open(config(data.path())).await.err().unwrap()
    }

    pub(crate) async fn create_and_start(&self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        self.driver.create(spec).await?;
        self.driver.start(spec).await
    }

    /// Runs a script in a new sandbox to its end.
    pub(crate) async fn run(&self, script: &str) -> Ran {
        self.run_spec(&spec(script)).await
    }

    /// Runs a sandbox to its end, creating it if it is new.
    pub(crate) async fn run_spec(&self, spec: &SandboxSpec) -> Ran {
        self.driver.create(spec).await.unwrap();
        self.driver.start(spec).await.unwrap();
        let exit = within(self.driver.wait(spec.id)).await.unwrap();
        Ran {
            exit,
            output: fs::read_to_string(self.driver.log_file(spec.id)).unwrap(),
        }
    }

    /// Runs another script on a sandbox's disk.
    pub(crate) async fn run_on(&self, spec: &SandboxSpec, script: &str) -> Ran {
        let argv = Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        self.run_spec(&SandboxSpec { argv, ..spec.clone() }).await
    }

    /// Starts a sandbox and waits until its script has written a line to `/run/mistle/tell`.
    pub(crate) async fn start_and_hear(&self, spec: &SandboxSpec) -> String {
        self.driver.create(spec).await.unwrap();
        let fifo = self.driver.link_dir(spec.id).unwrap().join("tell");
        if !fifo.exists() {
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let heard = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
        self.driver.start(spec).await.unwrap();
        let mut line = String::new();
        within(BufReader::new(heard).read_line(&mut line)).await.unwrap();
        line.trim().to_owned()
    }

    pub(crate) fn folder(&self, id: SessionId) -> PathBuf {
        self.data.path().join("sandboxes").join(id.to_string())
    }

    /// The number of a process of a sandbox that runs: `shim` or `init`.
    pub(crate) fn pid(&self, id: SessionId, which: &str) -> i32 {
        let run: serde_json::Value =
            serde_json::from_slice(&fs::read(self.folder(id).join("run.json")).unwrap()).unwrap();
        run[which]["pid"].as_i64().unwrap() as i32
    }
}

impl Data {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path().join("sandboxes"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(run) = fs::read(entry.path().join("run.json")) else {
                continue;
            };
            let Ok(run) = serde_json::from_slice::<serde_json::Value>(&run) else {
                continue;
            };
            for which in ["init", "shim"] {
                if let Some(pid) = run[which]["pid"].as_i64() {
                    let _ = nix::sys::signal::kill(
                        nix::unistd::Pid::from_raw(pid as i32),
                        nix::sys::signal::Signal::SIGKILL,
                    );
                }
            }
        }
    }
}

pub(crate) fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Whether a process runs. One that has ended and whose parent has not asked for it yet does not.
pub(crate) fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Kills a process and waits for its end, which is not at once.
pub(crate) fn end(pid: i32) {
    let process = rustix::process::Pid::from_raw(pid)
        .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok())
        .unwrap();
    rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL).unwrap();
    let patience = rustix::event::Timespec::try_from(PATIENCE).unwrap();
    let mut ended = [rustix::event::PollFd::new(&process, rustix::event::PollFlags::IN)];
    assert_eq!(
        rustix::event::poll(&mut ended, Some(&patience)),
        Ok(1),
        "{pid} does not end"
    );
}

/// Fails rather than hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Every path below a folder with what can be told about it, for comparing byte by byte.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut lines = Vec::new();
    let mut queue = vec![folder.to_owned()];
    while let Some(path) = queue.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        if meta.is_dir() {
            queue.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        lines.push(format!(
            "{} {:o} {} {} {content:?}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.mtime_nsec()
        ));
    }
    lines.sort();
    lines
}
