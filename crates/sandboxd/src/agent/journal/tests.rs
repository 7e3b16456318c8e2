use mistle_testkit::{on_a_small_disk, small_disk};
use proptest::prelude::*;

use super::*;

const SMALL: Limits = Limits {
    segment_bytes: 600,
    memory_bytes: 4096,
    disk_bytes: 1 << 20,
};

fn notice(text: &str) -> AgentEvent {
    AgentEvent::Notice {
        level: NoticeLevel::Info,
        code: "test".to_owned(),
        conversation_id: None,
        message: text.to_owned(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Reads everything after `after` that is visible, in order and without gaps.
async fn read_all(journal: &Journal, after: u64) -> Vec<JournalEntry> {
    let (mut reached, mut place) = (after, Place::default());
    let mut entries: Vec<JournalEntry> = Vec::new();
    while let Some((lines, last)) = journal.read(reached, &mut place).await.unwrap() {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry: JournalEntry = serde_json::from_slice(line).unwrap();
            if let Some(before) = entries.last() {
                assert_eq!(entry.seq, before.seq + 1);
            }
            entries.push(entry);
        }
        assert_eq!(entries.last().unwrap().seq, last);
        reached = last;
    }
    entries
}

fn texts(entries: &[JournalEntry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| match &entry.event {
            AgentEvent::Notice { message, .. } => message.as_str(),
            _ => "",
        })
        .collect()
}

fn last_segment(dir: &Path) -> PathBuf {
    segment_path(dir, list(dir).unwrap().back().unwrap().first)
}

#[tokio::test]
async fn what_was_recorded_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), SMALL).unwrap();
    for number in 0..20 {
        journal.record(notice(&number.to_string())).await;
    }
    journal.close().await;
    let before = read_all(&journal, 0).await;
    let journal = Journal::open(dir.path(), SMALL).unwrap();
    assert_eq!(journal.seq(), 20);
    journal.record(notice("20")).await;
    journal.flush().await;
    let after = read_all(&journal, 0).await;
    assert_eq!(after[..20], before);
    assert_eq!(after[20].seq, 21);
}

#[tokio::test]
async fn a_reader_waits_for_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(Journal::open(dir.path(), SMALL).unwrap());
    let mut visible = journal.visible();
    assert_eq!(journal.read(0, &mut Place::default()).await.unwrap(), None);
    journal.record(notice("first")).await;
    visible.wait_for(|seq| *seq >= 1).await.unwrap();
    assert_eq!(texts(&read_all(&journal, 0).await), ["first"]);
}

#[tokio::test]
async fn acknowledged_segments_go_and_the_ledger_stays() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), SMALL).unwrap();
    let conversation = super::super::ledger::tests::conversation("c");
    journal
        .record(AgentEvent::ConversationStarted {
            conversation,
            message_id: None,
        })
        .await;
    journal
        .record(AgentEvent::TurnStarted {
            conversation_id: "c".into(),
            turn_id: "t".into(),
        })
        .await;
    for number in 0..40 {
        journal.record(notice(&number.to_string())).await;
        journal.flush().await;
    }
    let segments = list(dir.path()).unwrap().len();
    assert!(segments > 3, "{segments} segments");
    journal.ack(30);
    journal.record(notice("last")).await;
    journal.flush().await;
    let left = list(dir.path()).unwrap();
    assert!(left.len() < segments && left[0].first <= 31, "{left:?}");
    assert!(left.len() == 1 || left[1].first > 31, "{left:?}");
    journal.close().await;
    drop(journal);
    let journal = Journal::open(dir.path(), SMALL).unwrap();
    assert!(
        journal.ledger(|ledger| ledger.running("c").is_some()),
        "the turn is still known to run"
    );
    let entries = read_all(&journal, 30).await;
    assert_eq!((entries[0].seq, entries.last().unwrap().seq), (31, 43));
}

#[tokio::test]
async fn a_torn_line_is_cut_off() {
    for torn in [
        "{\"seq\":3,\"at\":\"2026-01-01T00:00:00Z\",\"ev",
        "{\"seq\":9,\"at\":\"2026-01-01T00:00:00Z\",\"event\":{\"type\":\"notice\",\"level\":\"info\",\"code\":\"x\",\"message\":\"\"}}\n",
        "\0\0\0\0",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), SMALL).unwrap();
        journal.record(notice("1")).await;
        journal.record(notice("2")).await;
        journal.close().await;
        let path = last_segment(dir.path());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], torn.as_bytes()].concat()).unwrap();
        let journal = Journal::open(dir.path(), SMALL).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        journal.record(notice("3")).await;
        journal.flush().await;
        assert_eq!(texts(&read_all(&journal, 0).await), ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_segment_without_a_whole_beginning_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), SMALL).unwrap();
    journal.record(notice("1")).await;
    journal.close().await;
    fs::write(segment_path(dir.path(), 2), "{\"first\":2,\"led").unwrap();
    let journal = Journal::open(dir.path(), SMALL).unwrap();
    journal.record(notice("2")).await;
    journal.flush().await;
    assert_eq!(texts(&read_all(&journal, 0).await), ["1", "2"]);
}

#[tokio::test]
async fn recording_waits_while_the_server_is_away_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        disk_bytes: 2000,
        ..SMALL
    };
    let journal = Arc::new(Journal::open(dir.path(), limits).unwrap());
    let recorder = Arc::clone(&journal);
    let record = tokio::spawn(async move {
        for number in 0..60 {
            recorder.record(notice(&number.to_string())).await;
            recorder.flush().await;
        }
    });
    let mut visible = journal.visible();
    let mut most = 0;
    while !record.is_finished() {
        most = most.max(journal.shared.lock().segments.iter().map(|segment| segment.bytes).sum());
        let seq = *visible.borrow_and_update();
        journal.ack(seq);
        if seq < 60 {
            visible.changed().await.unwrap();
        } else {
            tokio::task::yield_now().await;
        }
    }
    record.await.unwrap();
    assert_eq!(journal.seq(), 60);
    assert!(most < 2000 + 2 * 600, "{most} bytes");
}

fn full(journal: &Journal) -> bool {
    journal.shared.lock().full
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = small_disk() else {
        return on_a_small_disk("agent::journal::tests::a_full_disk_loses_nothing", "256k").unwrap();
    };
    runtime().block_on(async {
        let dir = &disk.join("journal");
        let ballast = &disk.join("ballast");
        let limits = Limits {
            segment_bytes: 64 << 10,
            memory_bytes: 1 << 20,
            disk_bytes: 1 << 30,
        };
        let journal = Journal::open(dir, limits).unwrap();
        journal.record(notice("before")).await;
        journal.flush().await;
        fs::write(ballast, vec![1; 200 << 10]).unwrap();
        let long = "x".repeat(1000);
        for _ in 0..100 {
            journal.record(notice(&long)).await;
            journal.flush().await;
        }
        assert!(full(&journal));
        // Readers get it all, and are told once.
        let entries = read_all(&journal, 0).await;
        let told = |entries: &[JournalEntry]| {
            entries
                .iter()
                .filter(|entry| matches!(&entry.event, AgentEvent::Notice { code, .. } if code == "disk_full"))
                .count()
        };
        assert_eq!((entries.len(), told(&entries)), (102, 1));

        // A crash now: the numbers that were shown are not given again.
        drop(journal);
        let journal = Journal::open(dir, limits).unwrap();
        journal.flush().await;
        let after = read_all(&journal, 102).await;
        assert_eq!(
            (after.len(), told(&after)),
            (1, 1),
            "one that says that it is still full"
        );
        journal.record(notice("after the crash")).await;
        journal.flush().await;
        assert_eq!(
            read_all(&journal, 102)
                .await
                .iter()
                .filter(
                    |entry| matches!(&entry.event, AgentEvent::Notice { message, .. } if message == "after the crash")
                )
                .count(),
            1
        );

        // The server has everything, so memory is free; with space again, it is written.
        let last = journal.seq();
        journal.ack(last);
        fs::remove_file(ballast).unwrap();
        journal.record(notice("space again")).await;
        journal
            .shared
            .synced
            .subscribe()
            .wait_for(|synced| *synced > last)
            .await
            .unwrap();
        assert!(!full(&journal));
        let seen = read_all(&journal, last).await;
        journal.close().await;
        let journal = Journal::open(dir, limits).unwrap();
        assert_eq!(read_all(&journal, last).await, seen);
        assert_eq!(texts(&seen).last(), Some(&"space again"));
    });
}

#[derive(Clone, Debug)]
enum Step {
    Record(usize),
    Ack(u64),
    Reopen,
    Tear(usize),
    Read(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..300).prop_map(Step::Record),
        1 => (0u64..60).prop_map(Step::Ack),
        1 => Just(Step::Reopen),
        1 => (1usize..80).prop_map(Step::Tear),
        2 => (0u64..60).prop_map(Step::Read),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any order of recording, acknowledging, restarting and losing the end of the file leaves
    /// numbers without gaps, and everything after the last acknowledged one readable.
    #[test]
    fn numbers_have_no_gaps(steps in steps()) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut journal = Journal::open(dir.path(), SMALL).unwrap();
            let mut model: Vec<String> = Vec::new();
            let mut acked = 0;
            for step in steps {
                match step {
                    Step::Record(length) => {
                        let text = format!("{}{}", model.len(), "x".repeat(length));
                        journal.record(notice(&text)).await;
                        model.push(text);
                    }
                    Step::Ack(seq) => {
                        journal.flush().await;
                        journal.ack(seq);
                        acked = acked.max(seq.min(model.len() as u64));
                    }
                    Step::Reopen => {
                        journal.close().await;
                        journal = Journal::open(dir.path(), SMALL).unwrap();
                    }
                    Step::Tear(bytes) => {
                        journal.close().await;
                        if !model.is_empty() {
                            let path = last_segment(dir.path());
                            let header = fs::read(&path).unwrap().iter().position(|byte| *byte == b'\n').unwrap() as u64 + 1;
                            let length = fs::metadata(&path).unwrap().len();
                            let kept = length.saturating_sub(bytes as u64).max(header);
                            OpenOptions::new().write(true).open(&path).unwrap().set_len(kept).unwrap();
                        }
                        journal = Journal::open(dir.path(), SMALL).unwrap();
                        model.truncate(usize::try_from(journal.seq()).unwrap());
                    }
                    Step::Read(after) => {
                        journal.flush().await;
                        let after = after.max(acked);
                        let entries = read_all(&journal, after).await;
                        let expected: Vec<&str> = model.iter().skip(usize::try_from(after).unwrap()).map(String::as_str).collect();
                        assert_eq!(texts(&entries), expected);
                    }
                }
                assert_eq!(journal.seq(), model.len() as u64);
            }
        });
    }
}
