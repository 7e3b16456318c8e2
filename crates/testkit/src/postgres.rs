//! A PostgreSQL cluster in a temporary folder, reached by a Unix socket. It ends with the process
//! that started it, however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result, bail};

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

/// Ends the server (immediate shutdown) when standard input closes: the kernel closes it when the
/// test's process ends, killed or not.
const WATCH: &str = r#""$@" & server=$!; read -r _; kill -QUIT $server; wait $server"#;

/// A running cluster. It ends when this is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    watcher: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// The cluster of this process, started if need be.
    pub fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return Ok(cluster);
        }
        let cluster = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&cluster);
        Ok(cluster)
    }

    /// Creates an empty database and answers its URL.
    pub fn create_database(&self) -> Result<String> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let host = self.folder.path().display().to_string();
        run(command(&self.programs.join("createdb")).args(["-h", &host, "-U", "mistle", &name]))?;
        Ok(format!(
            "postgres://mistle@localhost/{name}?host={}",
            host.replace('/', "%2F")
        ))
    }

    fn start() -> Result<Self> {
        let programs = programs()?;
        // Short, for a socket address holds 107 bytes.
        let folder = tempfile::Builder::new().prefix("mistle-pg-").tempdir_in("/tmp")?;
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))?;
        let data = folder.path().join("data");
        run(command(&programs.join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "mistle",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]))?;
        let watcher = watch(&programs.join("postgres"), &data, folder.path())?;
        Ok(Self {
            programs,
            folder,
            watcher,
            databases: AtomicU32::new(0),
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

fn watch(postgres: &Path, data: &Path, sockets: &Path) -> Result<Child> {
    let server = command(postgres);
    let mut watcher = Command::new("sh")
        .args(["-c", WATCH, "sh"])
        .arg(server.get_program())
        .args(server.get_args())
        .arg("-D")
        .arg(data)
        .arg("-k")
        .arg(sockets)
        .args(["-F", "-c", "listen_addresses="])
        .current_dir("/tmp")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut log = BufReader::new(watcher.stderr.take().context("the log")?).lines();
    let mut said = Vec::new();
    loop {
        let Some(line) = log.next().transpose()? else {
            bail!("PostgreSQL did not start:\n{}", said.join("\n"));
        };
        if line.contains("ready to accept connections") {
            break;
        }
        said.push(line);
    }
    // Nobody may wait for room in the pipe.
    std::thread::spawn(move || log.for_each(drop));
    Ok(watcher)
}

/// A program of PostgreSQL's, as another user when this one is root: it refuses to run as root.
fn command(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/tmp");
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// The folder of PostgreSQL's programs: on the path, or the newest where Debian puts them.
fn programs() -> Result<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    debian.sort_by_key(|path| std::cmp::Reverse(version(path)));
    on_path
        .chain(debian)
        .find(|folder| {
            ["initdb", "postgres", "createdb"]
                .iter()
                .all(|program| folder.join(program).is_file())
        })
        .context("tests run on PostgreSQL too: install it (Debian: apt-get install postgresql)")
}

fn version(bin: &Path) -> u32 {
    bin.parent()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str()?.parse().ok())
        .unwrap_or(0)
}
