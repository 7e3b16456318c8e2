//! The programs that ours are measured beside.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

/// How long a peer may take until it listens. Far above what it takes.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How often it is tried: nothing announces a foreign program's socket.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Where a program is, if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A peer that runs, and ends with this value.
pub(crate) struct Peer(Child);

impl Peer {
    /// Starts a server and waits until it listens on its port of loopback.
    pub(crate) async fn start(command: &mut Command, port: u16) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| name.clone())?;
        let mut peer = Self(child);
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = peer.0.try_wait()? {
                bail!("{name} ended with {status}");
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{name} does not listen");
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    /// In order, so that it ends its own processes too.
    fn drop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// A port that nothing listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
