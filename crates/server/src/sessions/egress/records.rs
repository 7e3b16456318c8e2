//! Records of outgoing connections, on their way into the database.
//!
//! A connection must not be made before its record outlives this process, and must not wait for the
//! database, whose transactions end on the disk. So a record is first a line of a file, which takes
//! microseconds and survives `kill -9`:
//!
//! ```text
//! record ─► line of the file ─► answered ─► batch ─► one transaction ─► the file begins anew
//! ```
//!
//! Two files take turns: one is written to while what is in the other is stored. What is left in them
//! is stored when the server starts again. A power cut may take what was not stored yet, which is a
//! matter of milliseconds as long as the database keeps up.
//!
//! When it does not, [`ROOM`] records wait. Then whoever records waits, and the gateway, which does
//! not wait for long, makes no connection that it can't record. The files have their size from the
//! beginning, so that a sandbox that fills the disk does not stop all others at once.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use mistle_egress::{NotRecorded, Recorder};
use mistle_protocol::egress::EgressRecord;
use mistle_protocol::id::{EgressId, SessionId};
use mistle_store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sessions::trouble::chain;

/// The files, in the data directory.
const FILES: [&str; 2] = ["egress-records.0", "egress-records.1"];
/// How many records may wait for the database. At a few thousand a second it is a moment's work, and
/// less than 4 MiB.
const ROOM: usize = 1024;
/// The size of a file: that many of the longest records, with a host of 255 bytes and a path of 1024.
const SIZE: u64 = ROOM as u64 * 4096;
/// Behind the last line of a file; what follows is from another time.
const END: u8 = 0;
/// How long a database that failed is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// How many records a session gets before its oldest are dropped: dropping costs a look at them all.
const TRIM_EVERY: usize = 500;

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub(in crate::sessions) enum RecordsError {
    /// The files can't be used.
    #[error("cannot use {}", path.display())]
    File {
        /// One of them.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What they hold can't be stored.
    #[error("cannot store what was recorded before the server ended")]
    Store(#[from] StoreError),
}

/// The record. One for all sessions.
pub(in crate::sessions) struct Records {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    store: Store,
    queue: Mutex<Queue>,
    room: Semaphore,
    more: Notify,
}

struct Queue {
    /// What the first file holds.
    waiting: Vec<EgressRecord>,
    /// The one that is written to, and the one that is being stored.
    files: [Lines; 2],
}

/// One record a line, and then [`END`].
struct Lines {
    file: File,
    /// Where the next line goes.
    at: u64,
}

impl Records {
    /// Stores what an earlier server left, and begins.
    pub(in crate::sessions) async fn open(store: Store, data_dir: &Path) -> Result<Self, RecordsError> {
        let mut left = BTreeMap::new();
        let files = FILES.map(|name| {
            let path = data_dir.join(name);
            Lines::open(&path, &mut left).map_err(|source| RecordsError::File { path, source })
        });
        let [first, second] = files;
        let mut files = [first?, second?];
        store.add_egress(left.values()).await?;
        for file in &mut files {
            let emptied = file.clear();
            emptied.map_err(|source| RecordsError::File {
                path: data_dir.join(FILES[0]),
                source,
            })?;
        }
        let shared = Arc::new(Shared {
            store,
            queue: Mutex::new(Queue {
                waiting: Vec::new(),
                files,
            }),
            room: Semaphore::new(ROOM),
            more: Notify::new(),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(store_all(Arc::clone(&shared), stop.clone()));
        Ok(Self { shared, stop, tasks })
    }

    /// Takes the records of a sandbox.
    pub(in crate::sessions) fn recorder(&self) -> Arc<dyn Recorder> {
        Arc::clone(&self.shared) as Arc<dyn Recorder>
    }

    /// Stores what waits. Nothing may be recorded any more.
    pub(in crate::sessions) async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Recorder for Shared {
    fn record(&self, record: EgressRecord) -> BoxFuture<'_, Result<(), NotRecorded>> {
        Box::pin(async move {
            let room = self.room.acquire().await.map_err(|_| NotRecorded::Closed)?;
            self.queue().add(record)?;
            room.forget();
            self.more.notify_one();
            Ok(())
        })
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits; from here on it is in the second file.
    fn batch(&self) -> Vec<EgressRecord> {
        let mut queue = self.queue();
        if queue.waiting.is_empty() {
            return Vec::new();
        }
        queue.files.swap(0, 1);
        std::mem::take(&mut queue.waiting)
    }

    /// The second file is stored.
    fn stored(&self, count: usize) {
        if let Err(error) = self.queue().files[1].clear() {
            // Its records are stored once more at the next start, which changes nothing.
            tracing::warn!(%error, "a file of egress records can't begin anew");
        }
        self.room.add_permits(count);
    }
}

impl Queue {
    fn add(&mut self, record: EgressRecord) -> io::Result<()> {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        // It goes into the kernel's memory, so this does not wait for the disk.
        self.files[0].append(line)?;
        self.waiting.push(record);
        Ok(())
    }
}

impl Lines {
    /// Opens a file and reads what is in it.
    fn open(path: &Path, left: &mut BTreeMap<EgressId, EgressRecord>) -> io::Result<Self> {
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let mut file = options.mode(0o600).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        for line in text.split(|byte| *byte == b'\n') {
            if line.first().is_none_or(|byte| *byte == END) {
                break;
            }
            match serde_json::from_slice::<EgressRecord>(line) {
                Ok(record) => keep(left, record),
                Err(error) => {
                    // The server was killed while it wrote this line, or the machine was switched off.
                    tracing::warn!(%error, "{} ends with half an egress record", path.display());
                    break;
                }
            }
        }
        let missing = usize::try_from(SIZE.saturating_sub(text.len() as u64)).unwrap_or_default();
        file.write_all_at(&vec![END; missing], text.len() as u64)?;
        Ok(Self { file, at: 0 })
    }

    fn append(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        let length = line.len() as u64;
        if self.at + length >= SIZE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        line.push(END);
        self.file.write_all_at(&line, self.at)?;
        self.at += length;
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[END], 0)?;
        self.at = 0;
        Ok(())
    }
}

/// The files are read in any order, so an end is never replaced by its beginning.
fn keep(records: &mut BTreeMap<EgressId, EgressRecord>, record: EgressRecord) {
    match records.entry(record.id) {
        std::collections::btree_map::Entry::Occupied(there) if there.get().duration_ms.is_some() => {}
        std::collections::btree_map::Entry::Occupied(mut there) => drop(there.insert(record)),
        std::collections::btree_map::Entry::Vacant(free) => drop(free.insert(record)),
    }
}

async fn store_all(shared: Arc<Shared>, stop: CancellationToken) {
    let mut added: HashMap<SessionId, usize> = HashMap::new();
    loop {
        let batch = shared.batch();
        if batch.is_empty() {
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = shared.more.notified() => {}
                () = stop.cancelled() => {}
            }
            continue;
        }
        let count = batch.len();
        let mut records = BTreeMap::new();
        for record in batch {
            keep(&mut records, record);
        }
        while let Err(error) = shared.store.add_egress(records.values()).await {
            tracing::error!(error = %chain(&error), records = records.len(), "egress records wait for the database");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                // The next server stores what is in the files.
                () = stop.cancelled() => return,
            }
        }
        shared.stored(count);
        for record in records.values() {
            *added.entry(record.session_id).or_default() += 1;
        }
        trim(&shared.store, &mut added).await;
    }
}

async fn trim(store: &Store, added: &mut HashMap<SessionId, usize>) {
    let full: Vec<SessionId> = added
        .iter()
        .filter(|(_, count)| **count >= TRIM_EVERY)
        .map(|(id, _)| *id)
        .collect();
    for session in full {
        added.remove(&session);
        if let Err(error) = store.trim_egress(session).await {
            tracing::warn!(%session, error = %chain(&error), "old egress records were not dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use mistle_protocol::egress::EgressDecision;

    use super::*;

    fn record(duration_ms: Option<u64>) -> EgressRecord {
        EgressRecord {
            id: EgressId::new(),
            session_id: SessionId::new(),
            at: Timestamp::UNIX_EPOCH,
            host: "example.com".to_owned(),
            port: 443,
            method: None,
            path: None,
            decision: EgressDecision::Tunnel,
            rule: "example.com".to_owned(),
            status: None,
            bytes_out: 0,
            bytes_in: 0,
            duration_ms,
        }
    }

    fn left(folder: &Path) -> BTreeMap<EgressId, EgressRecord> {
        let mut left = BTreeMap::new();
        for name in FILES {
            Lines::open(&folder.join(name), &mut left).unwrap();
        }
        left
    }

    fn line(record: &EgressRecord) -> Vec<u8> {
        (serde_json::to_string(record).unwrap() + "\n").into_bytes()
    }

    #[test]
    fn what_a_killed_server_left_is_read_whatever_its_last_line_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILES[1]);
        let (open, other, older) = (record(None), record(None), record(None));
        let ended = EgressRecord {
            duration_ms: Some(3),
            ..open.clone()
        };
        let mut lines = Lines::open(&path, &mut BTreeMap::new()).unwrap();
        for _ in 0..5 {
            lines.append(line(&older)).unwrap();
        }
        // What is behind the end is of another time.
        lines.clear().unwrap();
        assert_eq!(left(folder.path()), BTreeMap::new());
        for record in [&ended, &open, &other] {
            lines.append(line(record)).unwrap();
        }
        let expected = BTreeMap::from([(open.id, ended), (other.id, other)]);
        assert_eq!(left(folder.path()), expected);
        lines.file.write_all_at(b"{\"id\":\"egr_", lines.at).unwrap();
        assert_eq!(left(folder.path()), expected);
    }

    #[tokio::test]
    async fn whoever_records_waits_for_a_database_that_does_not_keep_up() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("mistle.db").display());
        let store = Store::connect(&url).await.unwrap();
        let records = Records::open(store.clone(), folder.path()).await.unwrap();
        // A database that is gone.
        store.close().await;
        let recorder = records.recorder();
        for _ in 0..ROOM {
            recorder.record(record(None)).await.unwrap();
        }
        let one_more = record(None);
        let mut waits = recorder.record(one_more.clone());
        assert!(futures::poll!(&mut waits).is_pending());
        drop(waits);
        records.shutdown().await;

        let kept = left(folder.path());
        assert!(kept.len() == ROOM && !kept.contains_key(&one_more.id), "{}", kept.len());
        // Another server stores them all, those of sessions that are gone left out.
        let store = Store::connect(&url).await.unwrap();
        Records::open(store, folder.path()).await.unwrap().shutdown().await;
        assert_eq!(left(folder.path()), BTreeMap::new());
    }

    #[test]
    fn the_longest_records_fit() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = Lines::open(&folder.path().join(FILES[0]), &mut BTreeMap::new()).unwrap();
        // What takes two bytes in JSON.
        let longest = EgressRecord {
            host: "\"".repeat(255),
            path: Some("\"".repeat(1024)),
            rule: "\"".repeat(400),
            ..record(Some(u64::MAX))
        };
        for _ in 0..ROOM {
            lines.append(line(&longest)).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut queue = Queue {
            waiting: Vec::new(),
            files: FILES.map(|name| Lines::open(&folder.path().join(name), &mut BTreeMap::new()).unwrap()),
        };
        queue.files[0].file = File::options().write(true).open("/dev/full").unwrap();
        assert!(queue.add(record(None)).is_err());
        assert_eq!(queue.waiting, []);
    }
}
