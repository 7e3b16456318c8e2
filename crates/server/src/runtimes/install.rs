//! Fetching a runtime: download, verify, unpack, put in place.
//!
//! Nothing is unpacked before its SHA-512 is the pinned one. What is unpacked lies in a folder
//! beside the final one and is renamed when it is whole, so whoever finds a runtime's folder finds
//! all of it. Two installations at once wait for each other at a lock file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use futures::StreamExt as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};
use url::Url;

use super::{Platform, Runtime};

/// The largest archive: several times what the largest runtime has.
const MAX_ARCHIVE: u64 = 1024 * 1024 * 1024;
/// The most that an archive may unpack to.
const MAX_UNPACKED: u64 = 4 * 1024 * 1024 * 1024;
/// The largest answer about a package's version.
const MAX_METADATA: usize = 8 * 1024 * 1024;
/// How often a download that breaks off is begun.
const ATTEMPTS: u32 = 3;
/// The wait before the second attempt; it doubles.
const BACKOFF: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(15);
/// The longest silence in a download.
const SILENCE: Duration = Duration::from_secs(30);

/// Where the archive comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// An npm registry.
    Registry(Url),
    /// A file.
    File(PathBuf),
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It was fetched and put in place.
    Fresh,
    /// It was there.
    Already,
}

/// Why a runtime was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// No archive for this machine.
    #[error("{runtime} is not offered for {os}/{arch}")]
    Platform {
        /// The runtime.
        runtime: String,
        /// This machine's system.
        os: &'static str,
        /// This machine's processor.
        arch: &'static str,
    },
    /// No registry is known.
    #[error(
        "no npm registry is known: set `npm` in the [registry] table of the configuration, or the environment variable npm_config_registry, or install npm"
    )]
    NoRegistry,
    /// A registry's address can't be used.
    #[error("{text:?} is not a registry's address")]
    Registry {
        /// What was found.
        text: String,
    },
    /// The download failed.
    #[error("could not download {url}")]
    Download {
        /// Without user name and password.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry does not have it.
    #[error("the registry answered {status} for {url}")]
    Status {
        /// Without user name and password.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The archive is not the pinned one.
    #[error(
        "the archive is not the one that was pinned (its SHA-512 is {found}, expected {expected}); nothing was unpacked"
    )]
    Integrity {
        /// The pinned hash.
        expected: String,
        /// The archive's.
        found: String,
    },
    /// The archive does not hold what it should.
    #[error("the archive can't be unpacked: {message}")]
    Archive {
        /// Why.
        message: String,
    },
    /// The disk.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> InstallError + 'a {
    move |source| InstallError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

/// The registry to use: the configured one, the environment's, or the one that npm uses.
pub async fn registry(configured: Option<&Url>) -> Result<Url, InstallError> {
    if let Some(url) = configured {
        return Ok(url.clone());
    }
    let text = ["npm_config_registry", "NPM_CONFIG_REGISTRY"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let text = match text {
        Some(text) => text,
        None => npm_registry().await.ok_or(InstallError::NoRegistry)?,
    };
    Url::parse(&text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or(InstallError::Registry { text })
}

/// The registry that npm uses, by its own account.
async fn npm_registry() -> Option<String> {
    let output = tokio::process::Command::new("npm")
        .args(["config", "get", "registry"])
        .output()
        .await
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Installs a runtime into `folder`. `progress` hears how many bytes of how many are there.
pub async fn install(
    runtime: &Runtime,
    folder: &Path,
    source: &Source,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<Installed, InstallError> {
    if folder.join(&runtime.program).is_file() {
        return Ok(Installed::Already);
    }
    let platform = platform(runtime)?;
    let parent = folder.parent().unwrap_or(folder).to_owned();
    fs::create_dir_all(&parent).map_err(failed("create", &parent))?;
    let _lock = lock(parent.join(".lock")).await?;
    // Another installation may have been faster.
    if folder.join(&runtime.program).is_file() {
        return Ok(Installed::Already);
    }
    let work = tempfile::Builder::new()
        .prefix(".install-")
        .tempdir_in(&parent)
        .map_err(failed("create", &parent))?;
    let archive = match source {
        Source::File(file) => file.clone(),
        Source::Registry(registry) => {
            let archive = work.path().join("archive.tgz");
            download(registry, runtime, platform, &archive, progress).await?;
            archive
        }
    };
    let (runtime, platform, folder) = (runtime.clone(), platform.clone(), folder.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut file = File::open(&archive).map_err(failed("open", &archive))?;
        verify(&mut file, &archive, &platform.integrity)?;
        file.rewind().map_err(failed("read", &archive))?;
        let fresh = work.path().join("unpacked");
        unpack(file, &platform, &fresh)?;
        if !fresh.join(&runtime.program).is_file() {
            return Err(InstallError::Archive {
                message: format!("it has no {}", runtime.program.display()),
            });
        }
        // A folder without the program is what an older installation left; it is replaced.
        if folder.exists() {
            fs::rename(&folder, work.path().join("old")).map_err(failed("replace", &folder))?;
        }
        fs::rename(&fresh, &folder).map_err(failed("put in place", &folder))
    });
    unpacked.await.map_err(|error| InstallError::Archive {
        message: error.to_string(),
    })??;
    Ok(Installed::Fresh)
}

fn platform(runtime: &Runtime) -> Result<&Platform, InstallError> {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let found = runtime
        .platforms
        .iter()
        .find(|platform| platform.os == os && platform.arch == arch);
    found.ok_or_else(|| InstallError::Platform {
        runtime: runtime.name.clone(),
        os,
        arch,
    })
}

async fn lock(path: PathBuf) -> Result<File, InstallError> {
    let locked = tokio::task::spawn_blocking(move || {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(file)
    });
    locked.await.map_err(|error| InstallError::Archive {
        message: error.to_string(),
    })?
}

async fn download(
    registry: &Url,
    runtime: &Runtime,
    platform: &Platform,
    archive: &Path,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<(), InstallError> {
    let client = crate::http_client()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build();
    let client = client.map_err(|source| InstallError::Download {
        url: shown(registry),
        source: source.into(),
    })?;
    let base = registry.as_str().trim_end_matches('/');
    let name = runtime.package.rsplit('/').next().unwrap_or(&runtime.package);
    let usual = parse_url(&format!(
        "{base}/{}/-/{name}-{}.tgz",
        runtime.package, platform.tarball_version
    ))?;
    match fetch(&client, &usual, archive, progress).await {
        // A registry that keeps archives elsewhere says where.
        Err(InstallError::Status { status: 404, .. }) => {
            let url = parse_url(&format!(
                "{base}/{}/{}",
                runtime.package.replace('/', "%2f"),
                platform.tarball_version
            ))?;
            let named = named_tarball(&client, &url).await?;
            fetch(&client, &named, archive, progress).await
        }
        other => other,
    }
}

fn parse_url(text: &str) -> Result<Url, InstallError> {
    Url::parse(text).map_err(|_| InstallError::Registry { text: text.to_owned() })
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let hidden = url.set_username("").and_then(|()| url.set_password(None));
    if hidden.is_ok() {
        url.to_string()
    } else {
        "(hidden)".to_owned()
    }
}

async fn named_tarball(client: &reqwest::Client, url: &Url) -> Result<Url, InstallError> {
    #[derive(Deserialize)]
    struct Version {
        dist: Dist,
    }
    #[derive(Deserialize)]
    struct Dist {
        tarball: Url,
    }
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| InstallError::Download {
        url: shown(url),
        source,
    };
    let response = client
        .get(url.clone())
        .send()
        .await
        .map_err(|error| broken(error.without_url().into()))?;
    if !response.status().is_success() {
        return Err(InstallError::Status {
            url: shown(url),
            status: response.status().as_u16(),
        });
    }
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(|error| broken(error.without_url().into()))?);
        if body.len() > MAX_METADATA {
            return Err(broken("the answer is too long".into()));
        }
    }
    serde_json::from_slice::<Version>(&body)
        .map(|version| version.dist.tarball)
        .map_err(|error| broken(error.into()))
}

async fn fetch(
    client: &reqwest::Client,
    url: &Url,
    archive: &Path,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<(), InstallError> {
    let mut backoff = BACKOFF;
    for attempt in 1.. {
        match fetch_once(client, url, archive, progress).await {
            Err(InstallError::Download { source, .. }) if attempt < ATTEMPTS => {
                tracing::warn!(error = %source, "the download broke off; trying again");
                tokio::time::sleep(backoff).await;
                backoff *= 2;
            }
            other => return other,
        }
    }
    Ok(())
}

async fn fetch_once(
    client: &reqwest::Client,
    url: &Url,
    archive: &Path,
    progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
) -> Result<(), InstallError> {
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| InstallError::Download {
        url: shown(url),
        source,
    };
    let response = client
        .get(url.clone())
        .send()
        .await
        .map_err(|error| broken(error.without_url().into()))?;
    if !response.status().is_success() {
        return Err(InstallError::Status {
            url: shown(url),
            status: response.status().as_u16(),
        });
    }
    let total = response.content_length();
    let mut file = File::create(archive).map_err(failed("create", archive))?;
    let mut done = 0;
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| broken(error.without_url().into()))?;
        done += chunk.len() as u64;
        if done > MAX_ARCHIVE {
            return Err(InstallError::Archive {
                message: format!("it is longer than {MAX_ARCHIVE} bytes"),
            });
        }
        file.write_all(&chunk).map_err(failed("write", archive))?;
        progress(done, total);
    }
    if total.is_some_and(|total| total != done) {
        return Err(broken("it ended early".into()));
    }
    Ok(())
}

fn verify(file: &mut File, path: &Path, expected: &str) -> Result<(), InstallError> {
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let length = file.read(&mut buffer).map_err(failed("read", path))?;
        if length == 0 {
            break;
        }
        hasher.update(&buffer[..length]);
    }
    let found = format!("sha512-{}", STANDARD.encode(hasher.finalize()));
    if found == expected {
        Ok(())
    } else {
        Err(InstallError::Integrity {
            expected: expected.to_owned(),
            found,
        })
    }
}

fn unpack(archive: File, platform: &Platform, into: &Path) -> Result<(), InstallError> {
    let wrong = |error: io::Error| InstallError::Archive {
        message: error.to_string(),
    };
    let mut unpacked = 0;
    let mut archive = tar::Archive::new(GzDecoder::new(io::BufReader::new(archive)));
    for entry in archive.entries().map_err(wrong)? {
        let mut entry = entry.map_err(wrong)?;
        let path = entry.path().map_err(wrong)?.into_owned();
        let Some(relative) = path
            .strip_prefix(&platform.root)
            .ok()
            .filter(|path| is_needed(path, platform))
        else {
            continue;
        };
        // Plain files are all that a runtime has; a link could lead out of the folder.
        if !entry.header().entry_type().is_file() {
            continue;
        }
        unpacked += entry.size();
        if unpacked > MAX_UNPACKED {
            return Err(InstallError::Archive {
                message: format!("it unpacks to more than {MAX_UNPACKED} bytes"),
            });
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
        let target = into.join(relative);
        let parent = target.parent().unwrap_or(into);
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
        let mode = if executable { 0o755 } else { 0o644 };
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&target);
        let mut file = opened.map_err(failed("create", &target))?;
        io::copy(&mut entry, &mut file).map_err(failed("write", &target))?;
        // The rename must not be on the disk before the content is.
        file.sync_all().map_err(failed("write", &target))?;
    }
    Ok(())
}

fn is_needed(path: &Path, platform: &Platform) -> bool {
    path.components()
        .all(|component| matches!(component, Component::Normal(_)))
        && platform.include.iter().any(|include| path.starts_with(include))
}

/// Says a program's version, as it does itself.
pub fn version_of(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// An archive like a runtime's, with traps in it.
    fn archive(folder: &Path) -> (PathBuf, String) {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut add = |path: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            // Written by hand: the builder refuses a path that leads out.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, content).unwrap();
        };
        add("package/vendor/bin/agent", 0o755, b"#!/bin/sh\necho agent 1.0\n");
        add("package/vendor/notes.txt", 0o644, b"notes");
        add("package/vendor/voice/large", 0o644, b"not needed");
        add("package/vendor/bin/../../../../escaped", 0o644, b"escaped");
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "package/vendor/bin/link", "/etc").unwrap();
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        let integrity = format!("sha512-{}", STANDARD.encode(Sha512::digest(&bytes)));
        let path = folder.join("agent.tgz");
        fs::write(&path, bytes).unwrap();
        (path, integrity)
    }

    fn runtime(integrity: &str) -> Runtime {
        Runtime {
            name: "agent".to_owned(),
            label: "Agent".to_owned(),
            package: "@example/agent".to_owned(),
            version: "1.0".to_owned(),
            program: "bin/agent".into(),
            platforms: vec![Platform {
                os: std::env::consts::OS.to_owned(),
                arch: std::env::consts::ARCH.to_owned(),
                tarball_version: "1.0-this".to_owned(),
                integrity: integrity.to_owned(),
                root: "package/vendor".into(),
                include: vec!["bin".into(), "notes.txt".into()],
            }],
        }
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        let mut names: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(folder).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_verified_archive_is_unpacked_once_and_only_what_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, integrity) = archive(folder.path());
        let (runtime, target) = (runtime(&integrity), folder.path().join("runtimes/agent/1.0"));
        let source = Source::File(path);
        assert_eq!(
            install(&runtime, &target, &source, &mut |_, _| {}).await.unwrap(),
            Installed::Fresh
        );
        assert_eq!(files(&target), ["bin/agent", "notes.txt"]);
        assert_eq!(version_of(&target.join("bin/agent")).as_deref(), Some("agent 1.0"));
        assert_eq!(
            install(&runtime, &target, &source, &mut |_, _| {}).await.unwrap(),
            Installed::Already
        );
        let around = files(&folder.path().join("runtimes"));
        assert_eq!(
            around,
            ["agent/.lock", "agent/1.0/bin/agent", "agent/1.0/notes.txt"],
            "nothing is left over"
        );
    }

    #[tokio::test]
    async fn another_archive_is_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = archive(folder.path());
        let (runtime, target) = (runtime("sha512-AAAA"), folder.path().join("runtimes/agent/1.0"));
        let error = install(&runtime, &target, &Source::File(path), &mut |_, _| {})
            .await
            .unwrap_err();
        assert!(matches!(error, InstallError::Integrity { .. }), "{error}");
        assert_eq!(files(&folder.path().join("runtimes")), ["agent/.lock"]);
    }

    #[tokio::test]
    async fn installations_at_once_end_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, integrity) = archive(folder.path());
        let (runtime, target) = (runtime(&integrity), folder.path().join("runtimes/agent/1.0"));
        let source = Source::File(path);
        let all = (0..4).map(|_| async { install(&runtime, &target, &source, &mut |_, _| {}).await.unwrap() });
        let done = futures::future::join_all(all).await;
        assert_eq!(
            done.iter().filter(|done| **done == Installed::Fresh).count(),
            1,
            "{done:?}"
        );
    }

    #[tokio::test]
    async fn an_archive_comes_from_where_the_registry_keeps_it() {
        use axum::routing::get;
        let folder = tempfile::tempdir().unwrap();
        let (path, integrity) = archive(folder.path());
        let bytes = fs::read(path).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let version = serde_json::json!({ "dist": { "tarball": format!("{base}/elsewhere") } });
        let router = axum::Router::new()
            .route("/npm/@example%2fagent/1.0-this", get(async || axum::Json(version)))
            .route("/elsewhere", get(async || bytes));
        let server = tokio::spawn(async { axum::serve(listener, router).await });
        let target = folder.path().join("runtimes/agent/1.0");
        let source = Source::Registry(Url::parse(&format!("{base}/npm/")).unwrap());
        let mut last = (0, None);
        let done = install(&runtime(&integrity), &target, &source, &mut |done, total| {
            last = (done, total);
        })
        .await;
        assert_eq!(done.unwrap(), Installed::Fresh);
        assert_eq!(Some(last.0), last.1);
        server.abort();
    }

    #[test]
    fn the_data_files_are_valid() {
        for runtime in super::super::all() {
            for platform in &runtime.platforms {
                let hash = platform.integrity.strip_prefix("sha512-").unwrap();
                assert_eq!(STANDARD.decode(hash).unwrap().len(), 64);
                assert!(is_needed(&runtime.program, platform));
            }
        }
    }
}
