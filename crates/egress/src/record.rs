//! Where the record of connections goes, and how one comes about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use mistle_protocol::egress::{EgressDecision, EgressRecord};
use mistle_protocol::id::{EgressId, SessionId};
use tokio::sync::mpsc;

/// How long a record may take to be taken. A recorder that is stuck must not hold connections for
/// ever, and programs give up by then.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest host of a record, in bytes; what a sandbox says that is no host may be longer.
const MAX_HOST: usize = 255;
/// The longest path of a record, in bytes.
const MAX_PATH: usize = 1024;

/// Keeps records.
///
/// A connection that is made is recorded twice with the same id: before anything of it leaves the
/// gateway, and at its end, with what was counted. Without the first there is no connection. One that
/// is denied is recorded once.
pub trait Recorder: Send + Sync + 'static {
    /// Takes a record. What it took outlives this process. Waits as long as it has no room, which
    /// slows the sandbox that fills it.
    fn record(&self, record: EgressRecord) -> BoxFuture<'_, Result<(), NotRecorded>>;
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotRecorded {
    /// It can't be written.
    #[error("it can't be written")]
    Write(#[from] std::io::Error),
    /// There was no room in time.
    #[error("there was no room for it within {} seconds", RECORD_TIMEOUT.as_secs())]
    Full,
    /// Nobody takes records any more.
    #[error("nobody takes records any more")]
    Closed,
}

/// A bounded channel is a recorder, whose reader has to do the outliving.
impl Recorder for mpsc::Sender<EgressRecord> {
    fn record(&self, record: EgressRecord) -> BoxFuture<'_, Result<(), NotRecorded>> {
        Box::pin(async move { self.send(record).await.map_err(|_| NotRecorded::Closed) })
    }
}

async fn take(recorder: &dyn Recorder, record: EgressRecord) -> Result<(), NotRecorded> {
    let taken = tokio::time::timeout(RECORD_TIMEOUT, recorder.record(record)).await;
    taken.unwrap_or(Err(NotRecorded::Full))
}

/// Bytes of a connection, counted while they pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<(AtomicU64, AtomicU64)>);

impl Counters {
    pub(crate) fn out(&self) -> &AtomicU64 {
        &self.0.0
    }

    pub(crate) fn back(&self) -> &AtomicU64 {
        &self.0.1
    }
}

/// A record that is being made.
#[derive(Debug)]
pub(crate) struct Draft {
    record: EgressRecord,
    began: Instant,
    pub(crate) counters: Counters,
}

impl Draft {
    pub(crate) fn new(session_id: SessionId, host: &str, port: u16) -> Self {
        let record = EgressRecord {
            id: EgressId::new(),
            session_id,
            at: Timestamp::now(),
            host: printable(host, MAX_HOST),
            port,
            method: None,
            path: None,
            decision: EgressDecision::Deny,
            rule: String::new(),
            status: None,
            bytes_out: 0,
            bytes_in: 0,
            duration_ms: None,
        };
        Self {
            record,
            began: Instant::now(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn decided(mut self, decision: EgressDecision, rule: impl Into<String>) -> Self {
        self.record.decision = decision;
        self.record.rule = rule.into();
        self
    }

    pub(crate) fn request(mut self, method: &http::Method, path: &str) -> Self {
        self.record.method = Some(printable(method.as_str(), 32));
        self.record.path = Some(printable(path, MAX_PATH));
        self
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.record.status = Some(status);
    }

    /// Records the decision. Nothing may leave before.
    pub(crate) async fn begin(&self, recorder: &dyn Recorder) -> Result<(), NotRecorded> {
        take(recorder, self.record.clone()).await
    }

    /// Records the end, with what was counted.
    pub(crate) async fn finish(mut self, recorder: &dyn Recorder) {
        self.record.bytes_out = self.counters.out().load(Ordering::Relaxed);
        self.record.bytes_in = self.counters.back().load(Ordering::Relaxed);
        self.record.duration_ms = Some(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (id, host, decision) = (self.record.id, self.record.host.clone(), self.record.decision);
        if let Err(error) = take(recorder, self.record).await {
            tracing::warn!(%id, host, ?decision, %error, "the end of a connection was not recorded");
        }
    }
}

/// A text from a sandbox as a record may hold it: short and without control characters.
fn printable(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        let character = if character.is_control() { '\u{fffd}' } else { character };
        if shown.len() + character.len_utf8() > limit {
            break;
        }
        shown.push(character);
    }
    shown
}
