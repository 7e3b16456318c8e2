//! Files that a person gives to the agent: `/attachments` of the control API.
//!
//! ```text
//! <home>/attachments/<short id>/<name>              a file as its sender called it
//! <home>/attachments/<short id>/.incoming-<number>  one that is being written
//! ```
//!
//! Outside of every repository, so that git never sees them, and on the sandbox's disk, so that they
//! outlive its processes. A file is written beside its place, synced, and renamed: it is there
//! whole or not at all. Whatever the agent has put in the way of the folders is not followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path as PathOf, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use futures::StreamExt as _;
use http::StatusCode;
use mistle_protocol::api::MAX_ATTACHMENT_NAME;
use mistle_protocol::control::Placed;
use mistle_protocol::id::AttachmentId;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use crate::problem::Refusal;

/// The folder in the home directory.
const FOLDER: &str = "attachments";
/// Digits of an id that name a file's folder: enough to tell the files of a session apart.
const SHORT: usize = 12;
/// What the name of a file that is being written begins with.
const INCOMING: &str = ".incoming-";
/// How long the server may pause in the middle of a file.
const SILENCE: Duration = Duration::from_mins(1);

/// The routes, for files below a home directory.
pub fn routes(home: PathBuf) -> Router {
    Router::new()
        .route("/attachments/{id}", get(show).put(put))
        .with_state(home)
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    size: u64,
}

type AskedQuery = Result<Query<Asked>, QueryRejection>;
type Id = Result<PathOf<AttachmentId>, PathRejection>;

async fn show(State(home): State<PathBuf>, id: Id, query: AskedQuery) -> Result<Json<Placed>, Refusal> {
    let place = Place::of(home, id, query)?;
    blocking(move || {
        let folder = place.folder(false)?;
        let found = rustix::fs::statat(&folder, place.name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        let whole = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && u64::try_from(found.st_size).is_ok_and(|size| size == place.size);
        if whole {
            Ok(place.placed())
        } else {
            Err(Errno::NOENT.into())
        }
    })
    .await
    .map(Json)
    .map_err(|error| refuse(&error))
}

async fn put(State(home): State<PathBuf>, id: Id, query: AskedQuery, body: Body) -> Result<Json<Placed>, Refusal> {
    let place = Place::of(home, id, query)?;
    let incoming = {
        let place = place.clone();
        blocking(move || Incoming::begin(&place)).await
    };
    let mut incoming = incoming.map_err(|error| refuse(&error))?;
    let mut file = tokio::fs::File::from_std(incoming.file.take().ok_or_else(|| refuse(&Errno::BADF.into()))?);
    let mut body = body.into_data_stream();
    let mut written = 0;
    loop {
        let next = tokio::time::timeout(SILENCE, body.next());
        let Some(bytes) = next.await.map_err(|_| cut())? else {
            break;
        };
        let bytes = bytes.map_err(|_| cut())?;
        written += bytes.len() as u64;
        if written > place.size {
            return Err(cut());
        }
        file.write_all(&bytes).await.map_err(|error| refuse(&error))?;
    }
    if written != place.size {
        return Err(cut());
    }
    // Only flushing says what became of the last write.
    file.flush().await.map_err(|error| refuse(&error))?;
    file.sync_all().await.map_err(|error| refuse(&error))?;
    drop(file);
    let placed = place.placed();
    blocking(move || incoming.finish(&place.name))
        .await
        .map_err(|error| refuse(&error))?;
    Ok(Json(placed))
}

fn cut() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "incomplete",
        "The file did not arrive whole. Send the message again.",
    )
}

fn refuse(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::new(StatusCode::NOT_FOUND, "not-found", "There is no such file here."),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "disk-full",
            "The sandbox's disk is full. Free space in it, then send the message again.",
        ),
        _ => Refusal::new(
            StatusCode::CONFLICT,
            "not-writable",
            format!(
                "The attachments folder can't be written: {error}. Move what is in its way, then send the message again."
            ),
        ),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Where a file goes.
#[derive(Clone, Debug)]
struct Place {
    home: PathBuf,
    short: String,
    name: String,
    size: u64,
}

impl Place {
    fn of(home: PathBuf, id: Id, query: AskedQuery) -> Result<Self, Refusal> {
        let PathOf(id) = id.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "invalid-id", error.body_text()))?;
        let Query(Asked { name, size }) =
            query.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "invalid-query", error.body_text()))?;
        if !is_file_name(&name) {
            let detail = "This is no name of a file.";
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-name", detail).at("/name"));
        }
        let id = id.uuid().simple().to_string();
        // The end of an id is random; its beginning is the time.
        let short = id[id.len() - SHORT..].to_owned();
        Ok(Self {
            home,
            short,
            name,
            size,
        })
    }

    fn path(&self) -> PathBuf {
        self.home.join(FOLDER).join(&self.short).join(&self.name)
    }

    fn placed(&self) -> Placed {
        Placed {
            path: self.path().to_string_lossy().into_owned(),
        }
    }

    /// The file's own folder. Only the home directory itself may be reached through links.
    fn folder(&self, make: bool) -> io::Result<OwnedFd> {
        if make {
            std::fs::create_dir_all(&self.home)?;
        }
        let home = open_folder(&self.home)?;
        let all = enter(&home, FOLDER, make)?;
        enter(&all, &self.short, make)
    }
}

/// One component of a path that is no folder, and not one of our own.
fn is_file_name(name: &str) -> bool {
    (1..=MAX_ATTACHMENT_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(['/', '\0'])
        && !name.starts_with(INCOMING)
}

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn enter(folder: &OwnedFd, name: &str, make: bool) -> io::Result<OwnedFd> {
    if make {
        match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => rustix::fs::fsync(folder)?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(rustix::fs::openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A file that is being written. Dropped before its end, nothing of it is left.
struct Incoming {
    folder: OwnedFd,
    name: String,
    file: Option<std::fs::File>,
    finished: bool,
}

impl Incoming {
    fn begin(place: &Place) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let folder = place.folder(true)?;
        throw_away_leftovers(&folder)?;
        let name = format!("{INCOMING}{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let file = rustix::fs::openat(
            &folder,
            name.as_str(),
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o644),
        )?;
        Ok(Self {
            folder,
            name,
            file: Some(file.into()),
            finished: false,
        })
    }

    fn finish(mut self, name: &str) -> io::Result<()> {
        rustix::fs::renameat(&self.folder, self.name.as_str(), &self.folder, name)?;
        self.finished = true;
        Ok(rustix::fs::fsync(&self.folder)?)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.finished {
            // One that can't be removed is thrown away by the next attempt.
            let _ = rustix::fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// What a daemon that was killed did not finish. A file has one writer at a time: the server places
/// one after the other, and a connection's writers end with it.
fn throw_away_leftovers(folder: &OwnedFd) -> io::Result<()> {
    for entry in Dir::read_from(folder.as_fd())? {
        let entry = entry?;
        let name = entry.file_name();
        if OsStr::from_bytes(name.to_bytes())
            .to_str()
            .is_some_and(|name| name.starts_with(INCOMING))
        {
            match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
