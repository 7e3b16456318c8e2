//! Fetches the plan's repositories.
//!
//! A clone goes into a sibling folder that is renamed when it is whole, so a killed one leaves
//! nothing that looks finished. The repository may be hostile: cloning runs none of its code
//! (hooks are not copied, filters come from configuration that a repository can't ship), the
//! transports are limited to those that talk to a server or a folder, and nothing goes through a
//! shell.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mistle_protocol::plan::{Plan, RepositoryPlan};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::Instant;

/// The longest a clone may take. A repository that needs more belongs into a snapshot.
const CLONE_LIMIT: Duration = Duration::from_mins(30);
/// The longest any other git command here may take: they read and write one small file.
const GIT_LIMIT: Duration = Duration::from_secs(20);
/// How often progress is passed on: often enough to look alive.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Of git's last words, so many lines are kept.
const LAST_LINES: usize = 8;
/// The longest line of progress that is kept, in bytes.
const MAX_LINE: usize = 400;
/// The longest folder name that Linux has, in bytes.
const MAX_NAME: usize = 255;
/// Seconds without a byte after which git gives a server up.
const STALLED_SECS: u32 = 60;
/// Who commits when nobody said.
const IDENTITY: [(&str, &str); 2] = [("user.name", "Mistle"), ("user.email", "mistle@localhost")];

/// Fetches what is missing. `progress` gets lines for a person.
pub(crate) async fn prepare(
    plan: &Plan,
    workspaces: &Path,
    environment: &BTreeMap<String, String>,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), String> {
    make_folder(workspaces).await?;
    if !plan.repositories.is_empty() {
        let git = Git { environment };
        git.introduce().await?;
        for repository in &plan.repositories {
            git.trust(&repository.source).await?;
            fetch(&git, repository, workspaces, progress).await?;
        }
    }
    for name in &plan.workspaces {
        make_folder(&folder(workspaces, name)?).await?;
    }
    make_folder(Path::new(&plan.cwd)).await
}

async fn make_folder(path: &Path) -> Result<(), String> {
    tokio::fs::create_dir_all(path)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => disk_full(),
            _ => format!("The folder {} can't be made: {error}.", path.display()),
        })
}

/// What to do about a full disk.
pub(crate) fn disk_full() -> String {
    "The sandbox's disk is full. Free space in a terminal and start again, or delete the session and start one with less in it.".to_owned()
}

async fn fetch(
    git: &Git<'_>,
    repository: &RepositoryPlan,
    workspaces: &Path,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(), String> {
    let target = folder(workspaces, &repository.name)?;
    if tokio::fs::symlink_metadata(&target).await.is_ok() {
        return Ok(());
    }
    let half = workspaces.join(format!(
        ".{}.mistle-clone",
        repository.name.chars().take(MAX_NAME / 8).collect::<String>()
    ));
    clear(&half).await?;
    progress(format!("Cloning {}", repository.name));
    let outcome = git.clone_into(repository, &half, progress).await;
    if let Err(message) = outcome {
        clear(&half).await?;
        return Err(message);
    }
    tokio::fs::rename(&half, &target)
        .await
        .map_err(|error| format!("The clone can't be moved to {}: {error}.", target.display()))
}

async fn clear(half: &Path) -> Result<(), String> {
    match tokio::fs::remove_dir_all(half).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!(
            "An unfinished clone can't be removed from {}: {error}.",
            half.display()
        )),
        _ => Ok(()),
    }
}

fn folder(workspaces: &Path, name: &str) -> Result<PathBuf, String> {
    let plain = !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && !name.contains(['/', '\0']);
    if plain {
        Ok(workspaces.join(name))
    } else {
        Err(format!("“{name}” can't be the name of a folder. Give it another name."))
    }
}

/// Git, with the sandbox's own configuration.
struct Git<'a> {
    environment: &'a BTreeMap<String, String>,
}

impl Git<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(self.environment)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// `how` says by which way a folder is cloned.
    fn cloning(&self, repository: &RepositoryPlan, target: &Path, how: &str) -> Command {
        let mut command = self.command();
        command
            .arg("-c")
            .arg("http.lowSpeedLimit=1")
            .arg("-c")
            .arg(format!("http.lowSpeedTime={STALLED_SECS}"))
            .args(["clone", "--progress", how]);
        if let Some(branch) = &repository.branch {
            command.arg(format!("--branch={branch}"));
        }
        command.arg("--").arg(&repository.source).arg(target);
        command
    }

    async fn clone_into(
        &self,
        repository: &RepositoryPlan,
        target: &Path,
        progress: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(), String> {
        let copying = self.cloning(repository, target, "--no-hardlinks");
        let (mut status, mut words) = run(copying, CLONE_LIMIT, progress).await?;
        if !status.success() && was_tidied(&words) {
            clear(target).await?;
            // Asked for instead of copied, every object is found wherever it is by then.
            let asking = self.cloning(repository, target, "--no-local");
            (status, words) = run(asking, CLONE_LIMIT, progress).await?;
        }
        if !status.success() {
            return Err(explain(repository, &words));
        }
        let Some(origin) = &repository.origin else {
            return Ok(());
        };
        let mut command = self.command();
        command
            .arg("-C")
            .arg(target)
            .args(["remote", "set-url", "--", "origin", origin]);
        let (status, words) = run(command, GIT_LIMIT, &|_| ()).await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("The clone's origin can't be set: {}", words.join(" ")))
        }
    }

    /// Sets who commits, unless the sandbox's image or a person did.
    async fn introduce(&self) -> Result<(), String> {
        for (key, value) in IDENTITY {
            let mut ask = self.command();
            ask.args(["config", "--global", "--get", key]);
            if !run(ask, GIT_LIMIT, &|_| ()).await?.0.success() {
                self.configure(&[key, value]).await?;
            }
        }
        Ok(())
    }

    /// Lets git read a folder that belongs to somebody else on the server's disk. In the sandbox's
    /// configuration, because git hides variables from the other end of a local clone, and because
    /// whoever works here fetches from it too.
    async fn trust(&self, source: &str) -> Result<(), String> {
        let Some(folder) = source
            .strip_prefix('/')
            .map(|rest| format!("/{}", rest.trim_end_matches('/')))
        else {
            return Ok(());
        };
        for folder in [format!("{folder}/.git"), folder] {
            self.configure(&["--fixed-value", "--replace-all", "safe.directory", &folder, &folder])
                .await?;
        }
        Ok(())
    }

    async fn configure(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.command();
        command.args(["config", "--global"]).args(arguments);
        let (status, words) = run(command, GIT_LIMIT, &|_| ()).await?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("Git can't be configured: {}", words.join(" ")))
        }
    }
}

/// Runs git; answers its exit status and its last lines.
async fn run(
    mut command: Command,
    limit: Duration,
    progress: &(dyn Fn(String) + Send + Sync),
) -> Result<(ExitStatus, Vec<String>), String> {
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "The sandbox has no git. Use an image that has it.".to_owned(),
        _ => format!("Git does not start: {error}."),
    })?;
    let mut stderr = child.stderr.take();
    let mut words = Words::default();
    let finish = async {
        let mut buffer = [0; 4096];
        while let Some(stream) = &mut stderr
            && let Ok(count @ 1..) = stream.read(&mut buffer).await
        {
            words.hear(&buffer[..count], progress);
        }
        child.wait().await
    };
    let status = match tokio::time::timeout(limit, finish).await {
        Ok(status) => status.map_err(|error| format!("Git can't be waited for: {error}."))?,
        Err(_) => {
            return Err(format!(
                "Git took longer than {} minutes. Try again, or fetch the repository in a terminal.",
                limit.as_secs().div_ceil(60)
            ));
        }
    };
    Ok((status, words.end()))
}

/// Splits git's progress into lines, which end in a carriage return or a newline.
#[derive(Default)]
struct Words {
    line: Vec<u8>,
    last: VecDeque<String>,
    told: Option<Instant>,
}

impl Words {
    fn hear(&mut self, bytes: &[u8], progress: &(dyn Fn(String) + Send + Sync)) {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    let Some(line) = self.take() else { continue };
                    if self.told.is_none_or(|told| told.elapsed() >= PROGRESS_EVERY) {
                        self.told = Some(Instant::now());
                        progress(line.clone());
                    }
                    if *byte == b'\n' {
                        self.keep(line);
                    }
                }
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => {}
            }
        }
    }

    fn take(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&self.line)
            .chars()
            .filter(|c| !c.is_control())
            .collect::<String>();
        self.line.clear();
        Some(line.trim().to_owned()).filter(|line| !line.is_empty())
    }

    fn keep(&mut self, line: String) {
        if self.last.len() >= LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn end(mut self) -> Vec<String> {
        if let Some(line) = self.take() {
            self.keep(line);
        }
        self.last.into()
    }
}

/// Whether the source, a folder, lost files while they were copied: git packs its objects now and then
/// (`git gc --auto`), also right after a large commit.
fn was_tidied(words: &[String]) -> bool {
    words
        .iter()
        .any(|line| line.contains("failed to copy file") && line.ends_with("No such file or directory"))
}

/// What git's last words mean and what to do.
fn explain(repository: &RepositoryPlan, words: &[String]) -> String {
    let said = words.join("\n");
    let source = repository.origin.as_ref().unwrap_or(&repository.source);
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    if has(&["No space left on device", "Disk quota exceeded"]) {
        return disk_full();
    }
    if let Some(branch) = repository
        .branch
        .as_ref()
        .filter(|_| has(&["Remote branch", "not found in upstream"]))
    {
        return format!("{source} has no branch or tag “{branch}”. Choose another one.");
    }
    if was_tidied(words) {
        return format!("{source} changed while it was cloned. Start again.");
    }
    if has(&["response 403", "CONNECT tunnel failed"]) {
        return format!(
            "The profile does not allow connections to the host of {source}. Add it to `egress.allow` of the profile and start a session from it: this one keeps the rules that it began with."
        );
    }
    if has(&[
        "Could not resolve",
        "Failed to connect",
        "Couldn't connect",
        "Connection refused",
        "Connection timed out",
        "Could not connect",
        "unable to connect",
        "Operation too slow",
        "Connection reset",
    ]) {
        return format!(
            "The server of {source} can't be reached. Check the address and the network, then start again."
        );
    }
    if has(&[
        "Authentication failed",
        "could not read Username",
        "Permission denied (publickey",
        "error: 401",
        "error: 403",
    ]) {
        return format!(
            "{source} wants a login, and there is none for it. Use a repository that can be read without one, or one on the server's disk."
        );
    }
    if has(&[
        "does not appear to be a git repository",
        "not a git repository",
        "does not exist",
        "not found",
        "No such file or directory",
    ]) {
        return format!("There is no git repository at {source}. Check the address.");
    }
    let last = words
        .iter()
        .rev()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
        .or(words.last());
    format!(
        "{source} can't be cloned: {}",
        last.map_or("git said nothing", String::as_str)
            .trim_start_matches("fatal: ")
    )
}

#[cfg(test)]
mod tests;
