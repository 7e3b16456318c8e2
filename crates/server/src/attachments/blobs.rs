//! The bytes of attachments, one blob each, under its id.
//!
//! A folder of the data directory, through an interface that other stores offer too. A blob is
//! there whole and on the disk, or not at all: it is written beside its place, synced and renamed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use mistle_protocol::id::AttachmentId;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};

/// How much is written or read at once, in bytes.
const PIECE: usize = 512 * 1024;
/// What an upload leaves free for the database, which shares the disk: this much, in bytes …
const KEPT_FREE: u64 = 256 * 1024 * 1024;
/// … or this part of a small disk, whichever is less.
const KEPT_FREE_PART: u64 = 20;
/// What a blob that is being written has in its name.
const UNFINISHED: &str = "#";

/// Why a blob can't be written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlobError {
    /// There is no room.
    #[error("the disk is full")]
    Full,
    /// It is not there.
    #[error("there is no such blob")]
    Missing,
    /// The store failed.
    #[error("the blob store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::Missing;
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(is_full) {
                return Self::Full;
            }
            cause = error.source();
        }
        Self::Failed(error.into())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    store: Arc<LocalFileSystem>,
    folder: PathBuf,
}

impl Blobs {
    /// Opens the folder, which is made unless it is there, and throws away what an earlier server
    /// did not finish writing.
    pub(super) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().contains(UNFINISHED) {
                std::fs::remove_file(entry.path())?;
            }
        }
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(io::Error::other)?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            folder,
        })
    }

    /// Whether so many bytes more fit, with what the database needs.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else {
            // Writing says what is wrong.
            return true;
        };
        let kept = KEPT_FREE.min(disk.f_blocks * disk.f_frsize / KEPT_FREE_PART);
        disk.f_bavail * disk.f_frsize >= bytes.saturating_add(kept)
    }

    /// Begins a blob. Dropped before its end, it never was.
    pub(super) async fn write(&self, id: AttachmentId) -> Result<Writing, BlobError> {
        Ok(Writing {
            upload: self.store.put_multipart(&path(id)).await?,
            waiting: Vec::new(),
            waits: 0,
            blobs: self.clone(),
        })
    }

    /// The bytes of a blob of that length.
    pub(super) fn read(&self, id: AttachmentId, size: u64) -> BoxStream<'static, Result<Bytes, BlobError>> {
        let store = Arc::clone(&self.store);
        futures::stream::try_unfold(0, move |at| {
            let store = Arc::clone(&store);
            async move {
                if at >= size {
                    return Ok(None);
                }
                let end = size.min(at + PIECE as u64);
                let piece = store.get_range(&path(id), at..end).await?;
                Ok(Some((piece, end)))
            }
        })
        .boxed()
    }

    /// Deletes a blob; one that is not there is fine.
    pub(super) async fn delete(&self, id: AttachmentId) -> Result<(), BlobError> {
        match self.store.delete(&path(id)).await.map_err(BlobError::from) {
            Err(BlobError::Missing) => Ok(()),
            done => done,
        }
    }

    /// Blobs that were last written before a time.
    pub(super) fn older_than(&self, before: Timestamp) -> BoxStream<'static, Result<AttachmentId, BlobError>> {
        self.store
            .list(None)
            .err_into::<BlobError>()
            .try_filter_map(move |found| async move {
                let old = found.last_modified.timestamp_micros() < before.as_microsecond();
                Ok(found.location.as_ref().parse().ok().filter(|_| old))
            })
            .boxed()
    }
}

/// A blob that is being written.
pub(super) struct Writing {
    upload: Box<dyn MultipartUpload>,
    waiting: Vec<Bytes>,
    waits: usize,
    blobs: Blobs,
}

impl Writing {
    /// Adds bytes. Returns once there is room for more.
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.waits += bytes.len();
        self.waiting.push(bytes);
        if self.waits >= PIECE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BlobError> {
        if !self.blobs.has_room_for(self.waits as u64) {
            return Err(BlobError::Full);
        }
        self.waits = 0;
        let piece = PutPayload::from_iter(std::mem::take(&mut self.waiting));
        Ok(self.upload.put_part(piece).await?)
    }

    /// Ends it. When this returns, the blob is on the disk.
    pub(super) async fn finish(mut self) -> Result<(), BlobError> {
        if self.waits > 0 {
            self.flush().await?;
        }
        self.upload.complete().await?;
        Ok(())
    }

    /// Throws it away.
    pub(super) async fn discard(mut self) {
        if let Err(error) = self.upload.abort().await {
            tracing::warn!(%error, "an unfinished attachment could not be thrown away; the next start does");
        }
    }
}

fn path(id: AttachmentId) -> Path {
    Path::from(id.to_string())
}
