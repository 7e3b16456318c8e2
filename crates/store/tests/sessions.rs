//! Sessions, their record and their queue, on both databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use jiff::{SignedDuration, Timestamp};
use mistle_model::queue::{Entry, compose};
use mistle_protocol::agent::{AgentEvent, Conversation, Item, ItemBody, ItemStatus};
use mistle_protocol::egress::{EgressDecision, EgressRecord};
use mistle_protocol::id::{EgressId, OrganizationId, SessionId, UserId};
use mistle_protocol::profile::{Profile, ProfileRef};
use mistle_protocol::session::{Activity, Delivery, EventBody, ServerEvent, Session, SessionEvent, SessionState};
use mistle_store::events::EventRow;
use mistle_store::idempotency::{Key, Outcome};
use mistle_store::messages::{MessageRow, MessageState};
use mistle_store::session_index::SessionFilter;
use mistle_store::sessions::{Change, SessionRow};
use mistle_store::{Store, StoreError};

use self::common::databases;

fn now() -> Timestamp {
    // As precise as the database is.
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

fn profile() -> Profile {
    serde_json::from_value(serde_json::json!({ "name": "default", "version": 7, "provider": "demo" })).unwrap()
}

fn row(organization_id: OrganizationId) -> SessionRow {
    let at = now();
    let session = Session {
        id: SessionId::new(),
        title: "Fix the failing test \u{0} ☃".to_owned(),
        state: SessionState::Starting,
        state_since: at,
        activity: Activity::Idle,
        trouble: None,
        profile: ProfileRef {
            name: "default".to_owned(),
            version: 7,
        },
        provider_label: "Demo model (scripted)".to_owned(),
        scripted: true,
        runtime: "codex".to_owned(),
        repository: None,
        cwd: "/workspace".to_owned(),
        conversation_id: None,
        starter_id: None,
        conversations: Vec::new(),
        turn_id: None,
        model: None,
        effort: None,
        models: Vec::new(),
        usage: None,
        workspaces: Vec::new(),
        approvals: Vec::new(),
        queued: 1,
        deletion: None,
        last_seq: 0,
        created_at: at,
        updated_at: at,
    };
    SessionRow {
        session,
        organization_id,
        created_by: UserId::new(),
        profile: profile(),
        revision: 1,
        journal_seq: 0,
        boot_floor: None,
        ready: false,
        has_disk: false,
        recorded_bytes: 0,
        warm_until: None,
    }
}

fn message(text: &str, position: u64) -> MessageRow {
    let message = compose(text.to_owned(), Delivery::Queue, None, None, now());
    MessageRow {
        entry: Entry { position, message },
        state: MessageState::Queued,
    }
}

async fn create(store: &Store, row: &SessionRow) {
    let change = Change {
        row,
        events: &[],
        messages: &[],
    };
    assert_eq!(store.create_session(&change, None).await.unwrap(), Outcome::Written);
}

/// Appends events to a session as a driver does.
async fn append(store: &Store, row: &mut SessionRow, bodies: Vec<EventBody>) -> Vec<SessionEvent> {
    let mut next = row.clone();
    let mut events = Vec::new();
    for body in bodies {
        next.session.last_seq += 1;
        let journal_seq = matches!(body, EventBody::Agent(_)).then(|| {
            next.journal_seq += 1;
            next.journal_seq
        });
        events.push(EventRow {
            event: SessionEvent {
                seq: next.session.last_seq,
                at: now(),
                event: body,
            },
            journal_seq,
        });
    }
    next.revision += 1;
    store
        .commit(&Change {
            row: &next,
            events: &events,
            messages: &[],
        })
        .await
        .unwrap();
    *row = next;
    events.into_iter().map(|row| row.event).collect()
}

fn item(id: &str, text: &str) -> Item {
    Item {
        id: id.to_owned(),
        conversation_id: "thread".to_owned(),
        turn_id: "turn".to_owned(),
        status: ItemStatus::Completed,
        started_at: now(),
        completed_at: Some(now()),
        body: ItemBody::AgentMessage { text: text.to_owned() },
    }
}

fn delta(id: &str, text: &str) -> EventBody {
    let (conversation_id, item_id, text) = ("thread".to_owned(), id.to_owned(), text.to_owned());
    EventBody::Agent(AgentEvent::ItemDelta {
        conversation_id,
        item_id,
        text,
    })
}

fn completed(id: &str, text: &str) -> EventBody {
    EventBody::Agent(AgentEvent::ItemCompleted { item: item(id, text) })
}

fn state(state: SessionState) -> EventBody {
    EventBody::Server(ServerEvent::State { state, trouble: None })
}

#[tokio::test]
async fn a_session_is_read_as_it_was_written() {
    for database in databases().await {
        let store = &database.store;
        let mut written = row(OrganizationId::new());
        create(store, &written).await;
        assert_eq!(
            store.session(written.session.id).await.unwrap().as_ref(),
            Some(&written)
        );

        written.revision += 1;
        written.boot_floor = Some(12);
        written.ready = true;
        written.has_disk = true;
        written.session.state = SessionState::Running;
        store
            .commit(&Change {
                row: &written,
                events: &[],
                messages: &[],
            })
            .await
            .unwrap();
        assert_eq!(
            store.session(written.session.id).await.unwrap().as_ref(),
            Some(&written)
        );
        assert_eq!(store.session(SessionId::new()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_written_is_there_after_opening_again() {
    for database in databases().await {
        let mut written = row(OrganizationId::new());
        create(&database.store, &written).await;
        let events = append(
            &database.store,
            &mut written,
            vec![state(SessionState::Starting), completed("a", "x")],
        )
        .await;
        database.store.close().await;
        let store = Store::connect(&database.url).await.unwrap();
        assert_eq!(
            store.session(written.session.id).await.unwrap().as_ref(),
            Some(&written)
        );
        assert_eq!(store.events(written.session.id, 0, 100).await.unwrap(), events);
    }
}

#[tokio::test]
async fn a_writer_that_missed_a_change_is_refused_and_writes_nothing() {
    for database in databases().await {
        let store = &database.store;
        let mut current = row(OrganizationId::new());
        create(store, &current).await;
        let stale = current.clone();
        append(store, &mut current, vec![state(SessionState::Running)]).await;

        let mut other = stale;
        other.revision += 1;
        other.session.title = "lost update".to_owned();
        let messages = [message("never", 1)];
        let events = [EventRow {
            event: SessionEvent {
                seq: 9,
                at: now(),
                event: state(SessionState::Failed),
            },
            journal_seq: None,
        }];
        let refused = store
            .commit(&Change {
                row: &other,
                events: &events,
                messages: &messages,
            })
            .await;
        assert!(matches!(refused, Err(StoreError::Stale)), "{refused:?}");
        assert_eq!(
            store.session(current.session.id).await.unwrap().as_ref(),
            Some(&current)
        );
        assert_eq!(store.events(current.session.id, 0, 10).await.unwrap().len(), 1);
        assert_eq!(store.queue(current.session.id).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_journal_entry_is_stored_once() {
    for database in databases().await {
        let store = &database.store;
        let mut current = row(OrganizationId::new());
        create(store, &current).await;
        append(store, &mut current, vec![completed("a", "x")]).await;

        let mut again = current.clone();
        again.revision += 1;
        again.session.last_seq += 1;
        let event = SessionEvent {
            seq: again.session.last_seq,
            at: now(),
            event: completed("a", "x"),
        };
        let twice = [EventRow {
            event,
            journal_seq: Some(1),
        }];
        assert!(
            store
                .commit(&Change {
                    row: &again,
                    events: &twice,
                    messages: &[]
                })
                .await
                .is_err()
        );
        assert_eq!(
            store.session(current.session.id).await.unwrap().as_ref(),
            Some(&current)
        );

        // Unless the sandbox's journal was rewound.
        let mut rewound = current.clone();
        rewound.revision += 1;
        rewound.journal_seq = 0;
        store.rewind_journal(&rewound).await.unwrap();
        append(store, &mut rewound, vec![completed("b", "y")]).await;
        assert_eq!(store.events(current.session.id, 0, 10).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn deltas_go_when_their_item_is_complete() {
    for database in databases().await {
        let store = &database.store;
        let mut current = row(OrganizationId::new());
        create(store, &current).await;
        let odd = "b\u{0}".repeat(3000);
        append(
            store,
            &mut current,
            vec![delta("a", "1"), delta(&odd, "2"), delta("a", "3")],
        )
        .await;
        append(
            store,
            &mut current,
            vec![delta("a", "4"), completed("a", "134"), delta("c", "5")],
        )
        .await;
        let kept: Vec<u64> = store
            .events(current.session.id, 0, 100)
            .await
            .unwrap()
            .iter()
            .map(|event| event.seq)
            .collect();
        assert_eq!(kept, [2, 5, 6]);
        append(store, &mut current, vec![completed(&odd, "2")]).await;
        let kept: Vec<u64> = store
            .events(current.session.id, 0, 100)
            .await
            .unwrap()
            .iter()
            .map(|event| event.seq)
            .collect();
        assert_eq!(kept, [5, 6, 7]);
        assert_eq!(current.session.last_seq, 7);
    }
}

#[tokio::test]
async fn events_come_in_order_and_in_pages() {
    for database in databases().await {
        let store = &database.store;
        let mut current = row(OrganizationId::new());
        create(store, &current).await;
        let bodies = (0..150)
            .map(|number| completed(&number.to_string(), "text \u{0} ☃"))
            .collect();
        let events = append(store, &mut current, bodies).await;
        let mut read = Vec::new();
        while let Some(page) =
            Some(store.events(current.session.id, read.len() as u64, 40).await.unwrap()).filter(|page| !page.is_empty())
        {
            assert!(page.len() <= 40);
            read.extend(page);
        }
        assert_eq!(read, events);

        let conversation = Conversation {
            id: "t".to_owned(),
            cwd: "/".to_owned(),
            title: None,
            created_at: now(),
        };
        let started = append(
            store,
            &mut current,
            vec![EventBody::Agent(AgentEvent::ConversationStarted {
                conversation,
                message_id: None,
            })],
        )
        .await;
        assert_eq!(
            store
                .events_of_type(current.session.id, "conversation.started", 10)
                .await
                .unwrap(),
            started
        );
    }
}

#[tokio::test]
async fn the_queue_keeps_its_order_and_forgets_nothing() {
    for database in databases().await {
        let store = &database.store;
        let mut current = row(OrganizationId::new());
        let mut messages = [message("first \u{0}", 1), message("second", 2), message("third", 3)];
        let change = Change {
            row: &current,
            events: &[],
            messages: &messages,
        };
        assert_eq!(store.create_session(&change, None).await.unwrap(), Outcome::Written);
        let id = current.session.id;
        let entries: Vec<Entry> = messages.iter().map(|row| row.entry.clone()).collect();
        assert_eq!(store.queue(id).await.unwrap(), entries);

        messages[0].entry.message.sending = true;
        messages[1].state = MessageState::Removed;
        current.revision += 1;
        store
            .commit(&Change {
                row: &current,
                events: &[],
                messages: &messages[..2],
            })
            .await
            .unwrap();
        assert_eq!(
            store.queue(id).await.unwrap(),
            [messages[0].entry.clone(), messages[2].entry.clone()]
        );
        let removed = &messages[1].entry.message;
        assert_eq!(store.message(id, removed.id).await.unwrap().as_ref(), Some(removed));
        assert_eq!(store.message(SessionId::new(), removed.id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_repeated_request_is_carried_out_once() {
    for database in databases().await {
        let store = &database.store;
        let first = row(OrganizationId::new());
        let key = Key {
            organization_id: first.organization_id,
            operation: "session.create".to_owned(),
            name: "k".to_owned(),
            fingerprint: "f".to_owned(),
        };
        assert_eq!(store.earlier(&key, now()).await.unwrap(), None);
        let create = Change {
            row: &first,
            events: &[],
            messages: &[],
        };
        assert_eq!(
            store.create_session(&create, Some(&key)).await.unwrap(),
            Outcome::Written
        );

        let repeated = Outcome::Repeated {
            resource: first.session.id.to_string(),
        };
        let second = row(first.organization_id);
        let create = Change {
            row: &second,
            events: &[],
            messages: &[],
        };
        assert_eq!(store.create_session(&create, Some(&key)).await.unwrap(), repeated);
        assert_eq!(store.session(second.session.id).await.unwrap(), None);
        assert_eq!(
            store.earlier(&key, now()).await.unwrap(),
            Some(first.session.id.to_string())
        );

        let other = Key {
            fingerprint: "g".to_owned(),
            ..key.clone()
        };
        assert!(matches!(
            store.create_session(&create, Some(&other)).await,
            Err(StoreError::KeyReused)
        ));
        // Another operation or organization has keys of its own, and a key is not for ever.
        let elsewhere = Key {
            operation: "message.send".to_owned(),
            ..other
        };
        assert_eq!(store.earlier(&elsewhere, now()).await.unwrap(), None);
        assert_eq!(
            store
                .earlier(&key, now() + SignedDuration::from_hours(25))
                .await
                .unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn twenty_requests_under_one_key_make_one_session() {
    for database in databases().await {
        let organization = OrganizationId::new();
        let tries = (0..20).map(|_| {
            let store = database.store.clone();
            tokio::spawn(async move {
                let key = Key {
                    organization_id: organization,
                    operation: "session.create".to_owned(),
                    name: "k".to_owned(),
                    fingerprint: "f".to_owned(),
                };
                let row = row(organization);
                store
                    .create_session(
                        &Change {
                            row: &row,
                            events: &[],
                            messages: &[],
                        },
                        Some(&key),
                    )
                    .await
                    .unwrap()
            })
        });
        let outcomes = futures::future::join_all(tries).await;
        let written = outcomes
            .into_iter()
            .filter(|outcome| matches!(outcome, Ok(Outcome::Written)))
            .count();
        assert_eq!(written, 1);
        assert_eq!(
            database
                .store
                .sessions(organization, &SessionFilter::default(), None, 100)
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_leave_deleted_ones_out() {
    for database in databases().await {
        let store = &database.store;
        let organization = OrganizationId::new();
        let mut rows: Vec<SessionRow> = (0..5).map(|_| row(organization)).collect();
        for row in &rows {
            create(store, row).await;
        }
        create(store, &row(OrganizationId::new())).await;
        for (index, state) in [(1, SessionState::Deleted), (3, SessionState::Stopped)] {
            rows[index].revision += 1;
            rows[index].session.state = state;
            store
                .commit(&Change {
                    row: &rows[index],
                    events: &[],
                    messages: &[],
                })
                .await
                .unwrap();
        }
        let ids = |sessions: Vec<Session>| sessions.into_iter().map(|session| session.id).collect::<Vec<_>>();
        let first = ids(store
            .sessions(organization, &SessionFilter::default(), None, 2)
            .await
            .unwrap());
        assert_eq!(first, [rows[4].session.id, rows[3].session.id]);
        let rest = ids(store
            .sessions(organization, &SessionFilter::default(), first.last().copied(), 10)
            .await
            .unwrap());
        assert_eq!(rest, [rows[2].session.id, rows[0].session.id]);

        let unsettled = store.unsettled_sessions().await.unwrap();
        assert_eq!(unsettled.len(), 5);
        assert!(unsettled.contains(&rows[1].session.id) && !unsettled.contains(&rows[3].session.id));
        let counts = store.count_sessions().await.unwrap();
        assert_eq!(
            counts,
            [
                (SessionState::Deleted, 1),
                (SessionState::Starting, 4),
                (SessionState::Stopped, 1)
            ]
        );
    }
}

fn egress(session_id: SessionId, bytes_in: u64) -> EgressRecord {
    EgressRecord {
        id: EgressId::new(),
        session_id,
        at: now(),
        host: "example.com".to_owned(),
        port: 443,
        method: None,
        path: None,
        decision: EgressDecision::Tunnel,
        rule: "example.com".to_owned(),
        status: None,
        bytes_out: 1,
        bytes_in,
        duration_ms: Some(3),
    }
}

#[tokio::test]
async fn a_purged_session_leaves_nothing() {
    for database in databases().await {
        let store = &database.store;
        let mut current = row(OrganizationId::new());
        let id = current.session.id;
        let messages = [message("x", 1)];
        let change = Change {
            row: &current,
            events: &[],
            messages: &messages,
        };
        assert_eq!(store.create_session(&change, None).await.unwrap(), Outcome::Written);
        append(store, &mut current, vec![completed("a", "x")]).await;
        let records: Vec<EgressRecord> = (0..3).map(|bytes| egress(id, bytes)).collect();
        // As at the decision, and again as at the end.
        let open = EgressRecord {
            duration_ms: None,
            ..records[1].clone()
        };
        store.add_egress([&records[0], &open]).await.unwrap();
        store.add_egress(&records[1..]).await.unwrap();
        assert_eq!(
            store.egress(id, None, 2).await.unwrap(),
            [records[2].clone(), records[1].clone()]
        );
        assert_eq!(
            store.egress(id, Some(records[1].id), 2).await.unwrap(),
            [records[0].clone()]
        );
        assert_eq!(store.trim_egress(id).await.unwrap(), 0);

        store.purge_session(id).await.unwrap();
        assert_eq!(store.session(id).await.unwrap(), None);
        assert_eq!(store.events(id, 0, 10).await.unwrap(), []);
        assert_eq!(store.queue(id).await.unwrap(), []);
        assert_eq!(store.egress(id, None, 10).await.unwrap(), []);
        store.add_egress(&records).await.unwrap();
        assert_eq!(store.egress(id, None, 10).await.unwrap(), []);
    }
}

#[tokio::test]
async fn the_server_remembers_what_it_is_told() {
    for database in databases().await {
        let store = &database.store;
        assert_eq!(store.meta("a").await.unwrap(), None);
        assert_eq!(store.meta_or_insert("a", "1").await.unwrap(), "1");
        assert_eq!(store.meta_or_insert("a", "2").await.unwrap(), "1");
        store.set_meta("a", "3").await.unwrap();
        assert_eq!(store.meta("a").await.unwrap().as_deref(), Some("3"));
        store.ping().await.unwrap();
    }
}

#[tokio::test]
async fn two_processes_may_write_at_once() {
    for database in databases().await {
        let other = Store::connect(&database.url).await.unwrap();
        let organization = OrganizationId::new();
        let writes = (0..40).map(|number| {
            let store = if number % 2 == 0 {
                database.store.clone()
            } else {
                other.clone()
            };
            tokio::spawn(async move { create(&store, &row(organization)).await })
        });
        for written in futures::future::join_all(writes).await {
            written.unwrap();
        }
        assert_eq!(
            other
                .sessions(organization, &SessionFilter::default(), None, 100)
                .await
                .unwrap()
                .len(),
            40
        );
    }
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    assert!(
        matches!(Store::connect("mysql://me:secret@host/x").await, Err(StoreError::Url { url }) if !url.contains("secret"))
    );
    assert!(matches!(
        Store::connect("sqlite:/nonexistent/folder/x.db").await,
        Err(StoreError::Open(_))
    ));
}
