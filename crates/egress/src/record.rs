//! Where the record of connections goes, and how one comes about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use mistle_protocol::egress::{EgressDecision, EgressRecord};
use mistle_protocol::id::{EgressId, SessionId};
use tokio::sync::mpsc;

/// How long a record may take to be stored. A store that is stuck must not hold connections.
const RECORD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest host of a record, in bytes; what a sandbox says that is no host may be longer.
const MAX_HOST: usize = 255;
/// The longest path of a record, in bytes.
const MAX_PATH: usize = 1024;

/// Stores records. Called once for each connection, at its end; the connection's task waits, so a
/// slow recorder slows the sandbox that fills it.
pub trait Recorder: Send + Sync + 'static {
    /// Stores a record.
    fn record(&self, record: EgressRecord) -> BoxFuture<'_, ()>;
}

/// A bounded channel is a recorder; a closed one drops what comes.
impl Recorder for mpsc::Sender<EgressRecord> {
    fn record(&self, record: EgressRecord) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.send(record).await.is_err() {
                tracing::debug!("nobody takes egress records any more");
            }
        })
    }
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
            duration_ms: 0,
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

    /// The record, with what was counted.
    pub(crate) async fn finish(mut self, recorder: &dyn Recorder) {
        self.record.bytes_out = self.counters.out().load(Ordering::Relaxed);
        self.record.bytes_in = self.counters.back().load(Ordering::Relaxed);
        self.record.duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (id, host) = (self.record.id, self.record.host.clone());
        if tokio::time::timeout(RECORD_TIMEOUT, recorder.record(self.record))
            .await
            .is_err()
        {
            tracing::warn!(%id, host, "an egress record was lost: storing it took too long");
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
