//! A Docker engine of its own, for `docker run` beside our sandboxes: its own folders and socket, no
//! network, and one image of nothing but `/bin/true`. It ends with its value.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::peers;

/// The program that is run, and its image.
const PROGRAM: &str = "/bin/true";
const IMAGE: &str = "mistle-bench";
/// How long the engine may take until it answers. Far above what it takes.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How often it is asked: nothing announces it.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// An engine that runs.
pub(crate) struct Docker {
    engine: Child,
    folder: TempDir,
    client: String,
}

impl Docker {
    /// Starts one and gives it its image.
    pub(crate) async fn start() -> Result<Self> {
        let dockerd = peers::find("dockerd").context("dockerd is not installed")?;
        let client = peers::find("docker").context("docker is not installed")?;
        let folder = tempfile::Builder::new().prefix("mstdocker").tempdir()?;
        let place = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let engine = Command::new(dockerd)
            .args(["--iptables=false", "--bridge=none", "--storage-driver=overlay2"])
            .args(["--data-root", &place("data"), "--exec-root", &place("exec")])
            .args([
                "--pidfile",
                &place("pid"),
                "--host",
                &format!("unix://{}", place("socket")),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log"))?)
            .spawn()?;
        let mut docker = Self {
            engine,
            folder,
            client: client.to_string_lossy().into_owned(),
        };
        docker.wait().await?;
        docker.import()?;
        Ok(docker)
    }

    /// What runs the program once.
    pub(crate) fn run(&self) -> Vec<String> {
        let run = ["run", "--rm", "--network", "none", IMAGE, PROGRAM];
        let run = run.map(str::to_owned).into_iter();
        [self.client.clone(), "--host".to_owned(), self.address()]
            .into_iter()
            .chain(run)
            .collect()
    }

    fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.client);
        command.args(["--host", &self.address()]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    async fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while !self.command(&["version"]).output()?.status.success() {
            let ended = self.engine.try_wait()?;
            if ended.is_some() || begin.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("dockerd does not run here: {}", log.lines().last().unwrap_or_default());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    fn import(&self) -> Result<()> {
        let archive = self.folder.path().join("image.tar");
        let status = Command::new("tar")
            .args(["--create", "--dereference", "--directory", "/", "--file"])
            .arg(&archive)
            .args(files()?)
            .status()?;
        let output = self.command(&["import", &archive.to_string_lossy(), IMAGE]).output()?;
        if !status.success() || !output.status.success() {
            bail!("docker import: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// The program and the libraries that it is linked with, below `/`.
fn files() -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(PROGRAM).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = text
        .split_whitespace()
        .filter(|word| word.starts_with('/') && Path::new(word).is_file());
    Ok(std::iter::once(PROGRAM)
        .chain(libraries)
        .map(|path| path.trim_start_matches('/').to_owned())
        .collect())
}

impl Drop for Docker {
    /// In order, so that it ends its own processes and takes its mounts away.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.engine.id().to_string()).status();
        let _ = self.engine.wait();
    }
}
