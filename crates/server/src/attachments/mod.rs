//! Files that people give to agents, from the upload until nobody needs them.
//!
//! | module | what it does |
//! |---|---|
//! | [`blobs`] | the bytes |
//! | [`kind`] | what a file is, from its content |
//! | [`name`] | what it is called |
//!
//! An upload streams to the disk; its row is written when its bytes are there for good, and only
//! then is it acknowledged. So a row always has its bytes. Deleting goes the other way around, and
//! bytes without a row, which a crash between the two leaves, are found by [`Attachments::sweep`].
//!
//! What a person has uploaded and not sent is limited, uploads under way included.

mod blobs;
mod kind;
mod name;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use mistle_model::OpContext;
use mistle_protocol::id::{AttachmentId, OrganizationId, UserId};
use mistle_protocol::session::Attachment;
use mistle_store::attachments::AttachmentRow;
use mistle_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::blobs::{BlobError, Blobs, Writing};
pub(crate) use self::kind::is_plain_image;
use crate::config::Limits;

/// The folder of the bytes, in the data directory.
const FOLDER: &str = "attachments";
/// How long a file that no message carries is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How often needless files are looked for when nobody says that there are some.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// Files that are forgotten in one go.
const SWEPT_AT_ONCE: u32 = 100;
/// The most files that one person has uploaded and not sent.
const MAX_UNSENT_FILES: u64 = 1000;
/// The most uploads of one person at once. A page sends three.
const MAX_UPLOADS: usize = 32;
/// How long an upload may pause.
const SILENCE: Duration = Duration::from_mins(1);

/// Why an upload, or a request about a file, was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// The file is larger than allowed.
    #[error("the file is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The person has too much that was not sent.
    #[error("{} MiB or {MAX_UNSENT_FILES} files wait to be sent already", limit / 1024 / 1024)]
    TooMuchUnsent {
        /// The limit in bytes.
        limit: u64,
    },
    /// The person has too many uploads under way.
    #[error("{MAX_UPLOADS} uploads are under way already")]
    TooManyUploads,
    /// There is no room on the server's disk.
    #[error("the server's disk is full")]
    DiskFull,
    /// The client went away or sent less than it said.
    #[error("the upload ended early")]
    Cut,
    /// The client sent nothing for too long.
    #[error("the upload paused for too long")]
    Stalled,
    /// A message carries it.
    #[error("the file was sent with a message")]
    Sent,
    /// Ours.
    #[error("the file can't be kept")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for AttachmentError {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<BlobError> for AttachmentError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full => Self::DiskFull,
            error => Self::Internal(error.into()),
        }
    }
}

type Result<T> = std::result::Result<T, AttachmentError>;
/// Whose an upload is.
type Owner = (OrganizationId, UserId);

/// The files. Cheap to clone.
#[derive(Clone)]
pub struct Attachments {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    blobs: Blobs,
    limits: Limits,
    /// What is under way, by whose it is.
    arriving: Mutex<HashMap<Owner, Arriving>>,
    needless: Notify,
}

#[derive(Clone, Copy, Default)]
struct Arriving {
    uploads: usize,
    bytes: u64,
}

impl Attachments {
    /// The files of a data directory.
    pub fn open(store: Store, data_dir: &Path, limits: Limits) -> std::io::Result<Self> {
        let shared = Shared {
            store,
            blobs: Blobs::open(data_dir.join(FOLDER))?,
            limits,
            arriving: Mutex::default(),
            needless: Notify::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Takes a file in. `length` is what the client says that it has. When this returns a file, it
    /// is on the disk; otherwise nothing of it is left.
    pub async fn upload<E>(
        &self,
        ctx: &OpContext,
        name: &str,
        length: Option<u64>,
        body: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
    ) -> Result<Attachment> {
        let limit = self.shared.limits.attachment_bytes;
        if length.is_some_and(|length| length > limit) {
            return Err(AttachmentError::TooLarge { limit });
        }
        let mut place = self.reserve(ctx, length.unwrap_or(0)).await?;
        if !self.shared.blobs.has_room_for(length.unwrap_or(0)) {
            return Err(AttachmentError::DiskFull);
        }
        let id = AttachmentId::new();
        let mut writing = self.shared.blobs.write(id).await?;
        let (size, head) = match receive(&mut writing, &mut place, limit, body).await {
            Ok(received) if length.is_some_and(|length| length != received.0) => {
                writing.discard().await;
                return Err(AttachmentError::Cut);
            }
            Ok(received) => received,
            Err(error) => {
                writing.discard().await;
                return Err(error);
            }
        };
        writing.finish().await?;
        let row = AttachmentRow {
            attachment: Attachment {
                id,
                name: name::clean(name),
                media_type: kind::media_type(&head).to_owned(),
                size,
            },
            organization_id: ctx.organization_id,
            created_by: ctx.user_id,
            created_at: Timestamp::now(),
            carrier: None,
        };
        if let Err(error) = self.shared.store.add_attachment(&row).await {
            self.delete_bytes(id).await;
            return Err(error.into());
        }
        metrics::counter!("mistle_attachment_bytes_total").increment(size);
        Ok(row.attachment)
    }

    /// The bytes of a file.
    pub fn read(
        &self,
        attachment: &Attachment,
    ) -> BoxStream<'static, std::result::Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        let bytes = self.shared.blobs.read(attachment.id, attachment.size);
        bytes.map_err(Into::into).boxed()
    }

    /// Deletes a file that no message carries.
    pub async fn delete(&self, id: AttachmentId) -> Result<()> {
        if !self.shared.store.delete_free_attachment(id).await? {
            return Err(AttachmentError::Sent);
        }
        self.delete_bytes(id).await;
        Ok(())
    }

    /// Says that there may be files that nobody needs any more.
    pub fn sweep_soon(&self) {
        self.shared.needless.notify_one();
    }

    /// Deletes what nobody needs, when something says that there is some and every now and then,
    /// until the server ends.
    pub async fn keep_clean(self, stop: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.sweep(Timestamp::now()).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "needless attachments are not deleted; trying again later"
                    );
                }
                // Either is a reason.
                let _ = tokio::time::timeout(SWEEP_EVERY, self.shared.needless.notified()).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Deletes what nobody needs at that time.
    async fn sweep(&self, now: Timestamp) -> Result<()> {
        let before = now - KEPT;
        let store = &self.shared.store;
        loop {
            let needless = store.needless_attachments(before, SWEPT_AT_ONCE).await?;
            for id in &needless {
                // A message may have taken it meanwhile.
                if store.delete_needless_attachment(*id, before).await? {
                    self.delete_bytes(*id).await;
                }
            }
            if needless.len() < SWEPT_AT_ONCE as usize {
                break;
            }
        }
        let mut old = self.shared.blobs.older_than(before);
        while let Some(id) = old.try_next().await? {
            if store.attachment(id).await?.is_none() {
                self.shared.blobs.delete(id).await?;
            }
        }
        Ok(())
    }

    async fn delete_bytes(&self, id: AttachmentId) {
        if let Err(error) = self.shared.blobs.delete(id).await {
            tracing::warn!(
                %id,
                error = &error as &dyn std::error::Error,
                "an attachment's bytes are not deleted; trying again tomorrow"
            );
        }
    }

    /// Counts an upload before it begins, so that many at once stay within the limit together.
    async fn reserve(&self, ctx: &OpContext, bytes: u64) -> Result<Place> {
        let owner = (ctx.organization_id, ctx.user_id);
        let mut place = Place {
            shared: Arc::clone(&self.shared),
            owner,
            counted: 0,
            received: 0,
            allowed: u64::MAX,
        };
        let uploads = place.change(|arriving| arriving.uploads += 1).uploads;
        place.count(bytes)?;
        if uploads > MAX_UPLOADS {
            return Err(AttachmentError::TooManyUploads);
        }
        let unsent = self.shared.store.unsent_attachments(owner.0, owner.1).await?;
        let limit = self.shared.limits.unsent_attachments_bytes;
        place.allowed = limit.saturating_sub(unsent.bytes);
        if unsent.files + uploads as u64 > MAX_UNSENT_FILES {
            return Err(AttachmentError::TooMuchUnsent { limit });
        }
        place.count(0)?;
        Ok(place)
    }
}

impl std::fmt::Debug for Attachments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachments").finish_non_exhaustive()
    }
}

/// Writes what arrives; answers how much it was and how it begins.
async fn receive<E>(
    writing: &mut Writing,
    place: &mut Place,
    limit: u64,
    body: impl Stream<Item = std::result::Result<Bytes, E>> + Send,
) -> Result<(u64, Vec<u8>)> {
    let mut body = std::pin::pin!(body);
    let mut head = Vec::new();
    loop {
        let next = tokio::time::timeout(SILENCE, body.next());
        let Some(bytes) = next.await.map_err(|_| AttachmentError::Stalled)? else {
            return Ok((place.received, head));
        };
        let bytes = bytes.map_err(|_| AttachmentError::Cut)?;
        place.received += bytes.len() as u64;
        if place.received > limit {
            return Err(AttachmentError::TooLarge { limit });
        }
        let unannounced = place.received.saturating_sub(place.counted);
        place.count(unannounced)?;
        let missing = kind::LOOKED_AT.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        writing.push(bytes).await?;
    }
}

/// An upload's share of what its owner may have unsent, until it is dropped.
struct Place {
    shared: Arc<Shared>,
    owner: Owner,
    counted: u64,
    received: u64,
    /// What all uploads of the owner together may have.
    allowed: u64,
}

impl Place {
    fn count(&mut self, more: u64) -> Result<()> {
        self.counted += more;
        if self.change(|arriving| arriving.bytes += more).bytes > self.allowed {
            let limit = self.shared.limits.unsent_attachments_bytes;
            return Err(AttachmentError::TooMuchUnsent { limit });
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Arriving)) -> Arriving {
        let mut all = self.shared.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        let arriving = all.entry(self.owner).or_default();
        change(arriving);
        let after = *arriving;
        if after.uploads == 0 {
            all.remove(&self.owner);
        }
        after
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counted = self.counted;
        self.change(|arriving| {
            arriving.uploads -= 1;
            arriving.bytes -= counted;
        });
    }
}
