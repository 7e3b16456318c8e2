//! The durable record of what happened in this sandbox's runtime.
//!
//! ```text
//! record ─► unwritten ──write──► tail (recent lines, in memory)      ─► readers
//!              │                 └─► segments (all lines, on disk)   ─► readers that are behind
//!              └── disk full: readers are served from here until there is space
//! ```
//!
//! Lines of JSON in segments, `<first sequence number>.ndjson`. A segment's first line holds the
//! [`Ledger`] up to it, so opening reads the last segment only. One thread writes: it takes
//! everything that waits, writes it, shows it to readers, then syncs; what arrives during the sync
//! is the next batch. A line that a crash tore is cut off when the journal is opened.
//!
//! The server is the record; this is the buffer before it. Segments that it has acknowledged are
//! deleted. When the disk is full, lines stay in memory and go to the server all the same; once
//! the server has them they need not be written. Whoever records waits when memory is full as
//! well, or when the server has been away for [`Limits::disk_bytes`] of events: the agent slows
//! down, nothing is dropped.
//!
//! Sequence numbers survive a crash on a full disk: the highest number that was shown is kept in a
//! file whose block exists from the beginning, and numbers whose lines were lost are filled with
//! notices, so that readers see no gap.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use mistle_protocol::agent::{AgentEvent, JournalEntry, NoticeLevel};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::ledger::Ledger;

/// Bounds of a journal.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name")]
pub(crate) struct Limits {
    /// A segment ends at this size. Small enough to be read whole when the journal is opened.
    pub(crate) segment_bytes: u64,
    /// Lines that wait to be written; more than a disk that hesitates makes wait.
    pub(crate) memory_bytes: usize,
    /// Lines on disk that the server has not acknowledged.
    pub(crate) disk_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 4 << 20,
            memory_bytes: 8 << 20,
            disk_bytes: 256 << 20,
        }
    }
}

/// Written lines that stay in memory for readers that keep up.
const TAIL_BYTES: usize = 1 << 20;
/// The most that one read answers, in bytes, unless a single line is longer.
const CHUNK_BYTES: usize = 256 * 1024;
/// How long to wait before writing to a disk that was full. Nothing announces free space.
const RETRY: Duration = Duration::from_secs(1);
/// Holds the highest sequence number shown while the disk was full.
const FLOOR: &str = "floor";
/// More numbers than this are never missing: memory would not have held their lines.
const MAX_FILL: u64 = 1 << 20;

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    limits: Limits,
    state: Mutex<State>,
    /// There is something for the writer.
    work: Condvar,
    /// There may be room for more.
    room: Notify,
    /// The highest sequence number that readers may see.
    visible: watch::Sender<u64>,
    /// The highest sequence number that survives a crash of the machine.
    synced: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    next_seq: u64,
    unwritten: VecDeque<Line>,
    unwritten_bytes: usize,
    tail: VecDeque<(u64, Bytes)>,
    tail_bytes: usize,
    segments: VecDeque<Segment>,
    acked: u64,
    full: bool,
    closing: bool,
}

/// One entry, as it is written.
#[derive(Clone, Debug)]
struct Line {
    seq: u64,
    text: Bytes,
    event: AgentEvent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    first: u64,
    bytes: u64,
}

/// A segment's first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    first: u64,
    ledger: Ledger,
}

/// Where a reader is in the segments, so that the next read need not search.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    segment: u64,
    offset: u64,
}

impl Journal {
    /// Opens the journal in `dir`, which is created.
    pub(crate) fn open(dir: &Path, limits: Limits) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let floor = Floor::open(dir);
        let (disk, segments) = Disk::recover(dir, limits.segment_bytes)?;
        let next_seq = disk.next;
        let state = State {
            ledger: disk.ledger.clone(),
            next_seq,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            segments,
            acked: 0,
            full: false,
            closing: false,
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            limits,
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Notify::new(),
            visible: watch::Sender::new(next_seq - 1),
            synced: watch::Sender::new(next_seq - 1),
        });
        for seq in next_seq..=floor.value().min(next_seq + MAX_FILL) {
            tracing::warn!(
                seq,
                "an event was lost when the sandbox stopped while its disk was full"
            );
            shared.lock().push(lost_event());
        }
        let writer = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(move || write_loop(&shared, disk, &floor))?
        };
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Records an event, unless the record has it. Waits while there is no room.
    pub(crate) async fn record(&self, event: AgentEvent) {
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if !state.ledger.admits(&event) {
                    return;
                }
                if state.has_room(&self.shared.limits) {
                    state.push(event);
                    self.shared.work.notify_one();
                    return;
                }
            }
            room.await;
        }
    }

    /// Asks the ledger.
    pub(crate) fn ledger<T>(&self, ask: impl FnOnce(&Ledger) -> T) -> T {
        ask(&self.shared.lock().ledger)
    }

    /// The last sequence number; 0 when there is none.
    pub(crate) fn seq(&self) -> u64 {
        self.shared.lock().next_seq - 1
    }

    /// The highest sequence number that [`Self::read`] answers.
    pub(crate) fn visible(&self) -> watch::Receiver<u64> {
        self.shared.visible.subscribe()
    }

    /// The server has everything up to `seq`.
    pub(crate) fn ack(&self, seq: u64) {
        let mut state = self.shared.lock();
        state.acked = state.acked.max(seq.min(*self.shared.visible.borrow()));
        self.shared.work.notify_one();
    }

    /// Lines after `after` and the last one's number; none when there are none yet. What was
    /// acknowledged may be gone: then it begins with the oldest that is left.
    pub(crate) async fn read(&self, after: u64, place: &mut Place) -> io::Result<Option<(Bytes, u64)>> {
        let visible = *self.shared.visible.borrow();
        if after >= visible {
            return Ok(None);
        }
        let behind = {
            let state = self.shared.lock();
            if state.reaches_back_to(after) {
                return Ok(state.read_memory(after, visible));
            }
            state.segments.clone()
        };
        let (dir, mut start) = (self.shared.dir.clone(), *place);
        let read = move || -> io::Result<(Option<(Bytes, u64)>, Place)> {
            let chunk = read_segments(&dir, &behind, after, visible, &mut start)?;
            Ok((chunk, start))
        };
        let (chunk, reached) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        *place = reached;
        // What the disk lacks was acknowledged while it was full, or since the list was made.
        Ok(chunk.or_else(|| self.shared.lock().read_memory(after, visible)))
    }

    /// Waits until everything that was recorded survives a crash, or is shown while it can't be
    /// written.
    pub(crate) async fn flush(&self) {
        let last = self.seq();
        let shown = || *self.shared.visible.borrow() >= last && self.shared.lock().full;
        let mut synced = self.shared.synced.subscribe();
        // The sender lives as long as `self`.
        let _ = synced.wait_for(|synced| *synced >= last || shown()).await;
    }

    /// Flushes and ends the writer. Nothing may be recorded after it.
    pub(crate) async fn close(&self) {
        self.flush().await;
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

impl Drop for Journal {
    /// Waits for the writer: two journals must not write in one folder.
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // One that panicked has ended too.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, limits: &Limits) -> bool {
        let on_disk: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        self.unwritten_bytes < limits.memory_bytes && on_disk < limits.disk_bytes
    }

    fn push(&mut self, event: AgentEvent) {
        let entry = JournalEntry {
            seq: self.next_seq,
            at: Timestamp::now(),
            event,
        };
        let mut text = match serde_json::to_vec(&entry) {
            Ok(text) => text,
            Err(error) => {
                tracing::error!(%error, "an event could not be written as JSON");
                return;
            }
        };
        text.push(b'\n');
        self.ledger.apply(&entry.event);
        self.next_seq += 1;
        self.unwritten_bytes += text.len();
        self.unwritten.push_back(Line {
            seq: entry.seq,
            text: text.into(),
            event: entry.event,
        });
    }

    /// Takes lines off `unwritten` up to `seq`; `keep` says whether they stay readable in memory.
    fn written(&mut self, seq: u64, keep: bool) {
        while let Some(line) = self.unwritten.pop_front_if(|line| line.seq <= seq) {
            self.unwritten_bytes -= line.text.len();
            if keep {
                self.tail_bytes += line.text.len();
                self.tail.push_back((line.seq, line.text));
            } else {
                // Memory has to stay without gaps.
                self.tail.clear();
                self.tail_bytes = 0;
            }
        }
        while self.tail_bytes > TAIL_BYTES {
            let Some((_, text)) = self.tail.pop_front() else { break };
            self.tail_bytes -= text.len();
        }
    }

    fn in_memory(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.tail
            .iter()
            .map(|(seq, text)| (*seq, text))
            .chain(self.unwritten.iter().map(|line| (line.seq, &line.text)))
    }

    /// Whether memory has what follows `after`.
    fn reaches_back_to(&self, after: u64) -> bool {
        self.in_memory().next().is_some_and(|(first, _)| first <= after + 1)
    }

    fn read_memory(&self, after: u64, visible: u64) -> Option<(Bytes, u64)> {
        let mut chunk = BytesMut::new();
        let mut last = None;
        for (seq, text) in self
            .in_memory()
            .skip_while(|(seq, _)| *seq <= after)
            .take_while(|(seq, _)| *seq <= visible)
        {
            if !chunk.is_empty() && chunk.len() + text.len() > CHUNK_BYTES {
                break;
            }
            chunk.extend_from_slice(text);
            last = Some(seq);
        }
        Some((chunk.freeze(), last?))
    }
}

fn lost_event() -> AgentEvent {
    AgentEvent::Notice {
        level: NoticeLevel::Warning,
        code: "event_lost".to_owned(),
        conversation_id: None,
        message: "An event was lost: the sandbox stopped while its disk was full.".to_owned(),
    }
}

fn write_failed(error: &io::Error) -> AgentEvent {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let (code, message) = if full {
        (
            "disk_full",
            "The sandbox's disk is full. What happens is still recorded on the server. Free space in the sandbox."
                .to_owned(),
        )
    } else {
        (
            "disk_failed",
            format!("The sandbox's disk can't be written ({error}). What happens is still recorded on the server."),
        )
    };
    AgentEvent::Notice {
        level: NoticeLevel::Error,
        code: code.to_owned(),
        conversation_id: None,
        message,
    }
}

/// The writer thread.
fn write_loop(shared: &Shared, mut disk: Disk, floor: &Floor) {
    loop {
        let Some(batch) = next_batch(shared, &mut disk) else {
            return;
        };
        match disk.write(&batch) {
            Ok((last, segment)) => {
                let mut state = shared.lock();
                state.written(last, true);
                state.full = false;
                match state.segments.back_mut() {
                    Some(current) if current.first == segment.first => *current = segment,
                    _ => state.segments.push_back(segment),
                }
                drop(state);
                shared.visible.send_replace(last);
                shared.room.notify_waiters();
                disk.sync();
                shared.synced.send_replace(last);
            }
            Err(error) => {
                let mut state = shared.lock();
                if !state.full {
                    tracing::error!(%error, "the journal can't be written");
                    state.full = true;
                    state.push(write_failed(&error));
                }
                let last = state.next_seq - 1;
                drop(state);
                floor.raise(last);
                shared.visible.send_replace(last);
                // Wakes whoever flushes: it is as good as it gets.
                shared.synced.send_modify(|_| ());
            }
        }
    }
}

/// Waits for lines to write, and deletes what the server has. None at the end.
fn next_batch(shared: &Shared, disk: &mut Disk) -> Option<Vec<Line>> {
    let mut state = shared.lock();
    let mut retry = false;
    loop {
        let acked = state.acked;
        while state.segments.len() > 1 && state.segments[1].first <= acked + 1 {
            if let Some(old) = state.segments.pop_front() {
                remove(&segment_path(&shared.dir, old.first));
            }
            shared.room.notify_waiters();
        }
        if state.full {
            // The server has these, so they need no place on a disk that has none.
            while let Some(line) = state.unwritten.front().filter(|line| line.seq <= acked) {
                disk.skip(line);
                let seq = line.seq;
                state.written(seq, false);
            }
            shared.room.notify_waiters();
        }
        if state.closing && (state.full || state.unwritten.is_empty()) {
            return None;
        }
        if !state.unwritten.is_empty() && (!state.full || retry) {
            return Some(state.unwritten.iter().cloned().collect());
        }
        if state.full {
            let shown = *shared.visible.borrow();
            if shown < state.next_seq - 1 {
                return Some(state.unwritten.iter().cloned().collect());
            }
            let (next, timeout) = shared
                .work
                .wait_timeout(state, RETRY)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            retry = timeout.timed_out();
        } else {
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The segment that is being written.
#[derive(Debug)]
struct Disk {
    dir: PathBuf,
    segment_bytes: u64,
    /// None when the next line begins a segment.
    file: Option<File>,
    first: u64,
    bytes: u64,
    /// The next line's number.
    next: u64,
    /// Everything before `next`.
    ledger: Ledger,
}

impl Disk {
    /// Reads the last segment and cuts off what a crash tore.
    fn recover(dir: &Path, segment_bytes: u64) -> io::Result<(Self, VecDeque<Segment>)> {
        let mut segments = list(dir)?;
        while let Some(last) = segments.back_mut() {
            let path = segment_path(dir, last.first);
            let Some(Recovered { ledger, next, bytes }) = read_whole(&path, last.first)? else {
                tracing::warn!(path = %path.display(), "a journal segment has no beginning and is dropped");
                remove(&path);
                segments.pop_back();
                continue;
            };
            let mut file = OpenOptions::new().write(true).open(&path)?;
            if bytes < last.bytes {
                tracing::warn!(path = %path.display(), torn = last.bytes - bytes, "the journal's torn end is cut off");
                file.set_len(bytes)?;
                last.bytes = bytes;
            }
            file.seek(SeekFrom::End(0))?;
            let disk = Self {
                dir: dir.to_owned(),
                segment_bytes,
                file: Some(file),
                first: last.first,
                bytes,
                next,
                ledger,
            };
            return Ok((disk, segments));
        }
        let disk = Self {
            dir: dir.to_owned(),
            segment_bytes,
            file: None,
            first: 1,
            bytes: 0,
            next: 1,
            ledger: Ledger::default(),
        };
        Ok((disk, segments))
    }

    /// Writes as many lines as the segment takes, at least one. Answers the last one's number.
    /// After an error nothing of them is there.
    fn write(&mut self, lines: &[Line]) -> io::Result<(u64, Segment)> {
        let mut buffer = Vec::new();
        let fresh = match &self.file {
            Some(_) if self.bytes < self.segment_bytes => false,
            _ => {
                self.begin_segment(&mut buffer)?;
                true
            }
        };
        let mut count = 0;
        for line in lines {
            if count > 0 && self.bytes + (buffer.len() as u64) >= self.segment_bytes {
                break;
            }
            buffer.extend_from_slice(&line.text);
            count += 1;
        }
        if let Err(error) = self.append(&buffer) {
            self.undo(fresh);
            return Err(error);
        }
        self.bytes += buffer.len() as u64;
        for line in &lines[..count] {
            self.ledger.apply(&line.event);
            self.next = line.seq + 1;
        }
        Ok((
            self.next - 1,
            Segment {
                first: self.first,
                bytes: self.bytes,
            },
        ))
    }

    fn begin_segment(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        serde_json::to_writer(
            &mut *buffer,
            &Header {
                first: self.next,
                ledger: self.ledger.clone(),
            },
        )?;
        buffer.push(b'\n');
        let path = segment_path(&self.dir, self.next);
        self.file = Some(OpenOptions::new().write(true).create(true).truncate(true).open(path)?);
        self.first = self.next;
        self.bytes = 0;
        Ok(())
    }

    fn append(&mut self, buffer: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(buffer),
            None => Err(io::Error::other("no segment")),
        }
    }

    fn undo(&mut self, fresh: bool) {
        if fresh {
            self.file = None;
            remove(&segment_path(&self.dir, self.first));
        } else if let Some(file) = &mut self.file
            && let Err(error) = file.set_len(self.bytes).and_then(|()| file.seek(SeekFrom::End(0)))
        {
            tracing::error!(%error, "a torn line stays in the journal until it is opened again");
            self.file = None;
        }
    }

    /// Passes over a line. What follows begins a segment, whose ledger knows of it.
    fn skip(&mut self, line: &Line) {
        self.ledger.apply(&line.event);
        self.next = line.seq + 1;
        self.file = None;
    }

    fn sync(&self) {
        if let Some(file) = &self.file
            && let Err(error) = file.sync_data()
        {
            tracing::warn!(%error, "the journal could not be synced");
        }
    }
}

/// A number in a file that is written in place.
#[derive(Debug)]
struct Floor(Option<File>);

impl Floor {
    const WIDTH: usize = 20;

    fn open(dir: &Path) -> Self {
        let open = || -> io::Result<File> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(FLOOR))?;
            if file.metadata()?.len() < Self::WIDTH as u64 {
                file.write_all_at(&[b'0'; Self::WIDTH], 0)?;
                file.sync_all()?;
            }
            Ok(file)
        };
        Self(
            open()
                .inspect_err(|error| tracing::warn!(%error, "the journal's floor can't be kept"))
                .ok(),
        )
    }

    fn value(&self) -> u64 {
        let mut digits = [0; Self::WIDTH];
        let read = self.0.as_ref().and_then(|file| file.read_exact_at(&mut digits, 0).ok());
        read.and_then(|()| std::str::from_utf8(&digits).ok()?.parse().ok())
            .unwrap_or(0)
    }

    fn raise(&self, seq: u64) {
        if let Some(file) = &self.0 {
            let written = file
                .write_all_at(format!("{seq:0width$}", width = Self::WIDTH).as_bytes(), 0)
                .and_then(|()| file.sync_data());
            if let Err(error) = written {
                tracing::warn!(%error, "the journal's floor could not be raised");
            }
        }
    }
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.ndjson"))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "a journal segment could not be deleted");
    }
}

fn list(dir: &Path) -> io::Result<VecDeque<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(first) = name
            .to_str()
            .and_then(|name| name.strip_suffix(".ndjson"))
            .and_then(|first| first.parse().ok())
        {
            segments.push(Segment {
                first,
                bytes: entry.metadata()?.len(),
            });
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments.into())
}

struct Recovered {
    ledger: Ledger,
    next: u64,
    /// How much of the file is whole lines.
    bytes: u64,
}

/// None when not even the header is whole.
fn read_whole(path: &Path, first: u64) -> io::Result<Option<Recovered>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let Some(header) = parse::<Header>(&line).filter(|header| header.first == first) else {
        return Ok(None);
    };
    let mut recovered = Recovered {
        ledger: header.ledger,
        next: first,
        bytes: line.len() as u64,
    };
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        let Some(entry) = parse::<JournalEntry>(&line).filter(|entry| entry.seq == recovered.next) else {
            return Ok(Some(recovered));
        };
        recovered.ledger.apply(&entry.event);
        recovered.next += 1;
        recovered.bytes += line.len() as u64;
    }
}

fn parse<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
}

/// Only what a reader needs to know of a line.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

fn read_segments(
    dir: &Path,
    segments: &VecDeque<Segment>,
    after: u64,
    visible: u64,
    place: &mut Place,
) -> io::Result<Option<(Bytes, u64)>> {
    let start = segments
        .iter()
        .rposition(|segment| segment.first <= after + 1)
        .unwrap_or(0);
    for segment in segments.iter().skip(start) {
        let mut file = match File::open(segment_path(dir, segment.first)) {
            Ok(file) => file,
            // Acknowledged and deleted since the list was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if place.segment != segment.first {
            *place = Place {
                segment: segment.first,
                offset: 0,
            };
        }
        file.seek(SeekFrom::Start(place.offset))?;
        if let Some(chunk) = read_chunk(&mut BufReader::new(file), after, visible, place)? {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

fn read_chunk(
    reader: &mut BufReader<File>,
    after: u64,
    visible: u64,
    place: &mut Place,
) -> io::Result<Option<(Bytes, u64)>> {
    let mut chunk = BytesMut::new();
    let mut last = None;
    let mut line = Vec::new();
    while chunk.len() < CHUNK_BYTES {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        // The header has no number; a line without an end is being written.
        let numbered = parse::<Numbered>(&line);
        match numbered {
            Some(Numbered { seq }) if seq > visible => break,
            Some(Numbered { seq }) if seq > after => {
                chunk.extend_from_slice(&line);
                last = Some(seq);
            }
            _ if line.ends_with(b"\n") => {}
            _ => break,
        }
        place.offset += line.len() as u64;
    }
    Ok(last.map(|last| (chunk.freeze(), last)))
}

#[cfg(test)]
mod tests;
