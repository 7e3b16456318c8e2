//! Lists of sessions: search, filters, pages and the trash, on both databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use jiff::{SignedDuration, Timestamp};
use mistle_model::queue::{Entry, compose};
use mistle_protocol::api::{SessionFacet, SessionStatus};
use mistle_protocol::id::{OrganizationId, SessionId, UserId};
use mistle_protocol::profile::Profile;
use mistle_protocol::session::{Activity, Deletion, Delivery, Session, SessionState};
use mistle_store::Store;
use mistle_store::idempotency::Outcome;
use mistle_store::messages::{MessageRow, MessageState};
use mistle_store::session_index::SessionFilter;
use mistle_store::sessions::{Change, SessionRow};
use serde_json::json;

use self::common::databases;

struct New<'a> {
    title: &'a str,
    task: &'a str,
    repository: Option<&'a str>,
    profile: &'a str,
    state: SessionState,
    activity: Activity,
    warm_until: Option<Timestamp>,
}

impl Default for New<'_> {
    fn default() -> Self {
        Self {
            title: "A title",
            task: "A task",
            repository: None,
            profile: "default",
            state: SessionState::Stopped,
            activity: Activity::Idle,
            warm_until: None,
        }
    }
}

async fn create(store: &Store, organization_id: OrganizationId, new: New<'_>) -> SessionRow {
    let at = Timestamp::now();
    let repository = new.repository.map(|source| json!({ "source": source }));
    let workspaces: Vec<_> = repository
        .iter()
        .map(|repository| json!({ "name": "x", "path": "/workspace/x", "repository": repository, "branch": null }))
        .collect();
    let session: Session = serde_json::from_value(json!({
        "id": SessionId::new(), "title": new.title, "state": new.state, "state_since": at, "activity": new.activity,
        "trouble": null, "profile": { "name": new.profile, "version": 1 }, "provider_label": "", "scripted": true,
        "runtime": "codex", "repository": repository, "cwd": "/workspace", "workspaces": workspaces,
        "conversation_id": null, "turn_id": null, "model": null, "effort": null, "models": [], "usage": null,
        "approvals": [], "queued": 0, "last_seq": 0, "created_at": at, "updated_at": at,
    }))
    .unwrap();
    let profile: Profile = serde_json::from_value(json!({ "name": new.profile, "provider": "demo" })).unwrap();
    let row = SessionRow {
        session,
        organization_id,
        created_by: UserId::new(),
        profile,
        revision: 1,
        journal_seq: 0,
        boot_floor: None,
        ready: false,
        has_disk: false,
        recorded_bytes: 0,
        warm_until: new.warm_until,
    };
    let message = compose(new.task.to_owned(), Delivery::Queue, None, None, at);
    let messages = [MessageRow {
        entry: Entry { position: 1, message },
        state: MessageState::Queued,
    }];
    let change = Change {
        row: &row,
        events: &[],
        messages: &messages,
    };
    assert_eq!(store.create_session(&change, None).await.unwrap(), Outcome::Written);
    row
}

async fn commit(store: &Store, row: &mut SessionRow, change: impl FnOnce(&mut Session)) {
    row.revision += 1;
    change(&mut row.session);
    let change = Change {
        row,
        events: &[],
        messages: &[],
    };
    store.commit(&change).await.unwrap();
}

async fn found(store: &Store, organization: OrganizationId, filter: &SessionFilter) -> Vec<SessionId> {
    let sessions = store.sessions(organization, filter, None, 100).await.unwrap();
    sessions.into_iter().map(|session| session.id).collect()
}

fn text(text: &str) -> SessionFilter {
    SessionFilter {
        text: Some(text.to_owned()),
        ..SessionFilter::default()
    }
}

#[tokio::test]
async fn words_are_found_wherever_they_are_and_in_any_case() {
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let greek = New {
            title: "ΣΊΣΥΦΟΣ \0 pushes",
            task: "100% of Ärger_x",
            repository: Some("/srv/Widgets"),
            ..New::default()
        };
        let one = create(store, organization, greek).await.session.id;
        create(store, organization, New::default()).await;
        create(
            store,
            OrganizationId::new(),
            New {
                title: "pushes",
                ..New::default()
            },
        )
        .await;
        let id = one.to_string();
        for words in [
            "σίσυφος",
            "PUSHES",
            "ärger",
            "ÄRGER_X",
            "100%",
            "widgets",
            "push widg",
            &id,
            &id.to_uppercase(),
            "\0push",
        ] {
            assert_eq!(found(store, organization, &text(words)).await, [one], "{words}");
        }
        for words in ["10%x", "ärger!x", "ärgerax", "pushes gadgets", "' OR 1=1 --"] {
            assert_eq!(found(store, organization, &text(words)).await, [], "{words}");
        }
        assert_eq!(found(store, organization, &text("  ")).await.len(), 2);
    }
}

#[tokio::test]
async fn filters_are_the_words_that_a_person_is_told() {
    use SessionState as S;
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let mut ids = Vec::new();
        for (state, activity, status) in [
            (S::Running, Activity::NeedsYou, SessionStatus::NeedsYou),
            (S::Running, Activity::Working, SessionStatus::Running),
            (S::Starting, Activity::Idle, SessionStatus::Running),
            (S::Running, Activity::Idle, SessionStatus::Ready),
            (S::Stopping, Activity::Idle, SessionStatus::Stopped),
            (S::Stopped, Activity::Idle, SessionStatus::Stopped),
            (S::Failed, Activity::Idle, SessionStatus::Failed),
        ] {
            let new = New {
                state,
                activity,
                ..New::default()
            };
            ids.push((status, create(store, organization, new).await.session.id));
        }
        for wanted in [
            vec![SessionStatus::NeedsYou],
            vec![SessionStatus::Running],
            vec![SessionStatus::Ready],
            vec![SessionStatus::Stopped, SessionStatus::Failed],
        ] {
            let expected: Vec<_> = ids
                .iter()
                .rev()
                .filter(|(status, _)| wanted.contains(status))
                .map(|(_, id)| *id)
                .collect();
            let filter = SessionFilter {
                status: wanted.clone(),
                ..SessionFilter::default()
            };
            assert_eq!(found(store, organization, &filter).await, expected, "{wanted:?}");
        }
    }
}

#[tokio::test]
async fn repositories_and_profiles_are_exact_and_counted() {
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let of = |repository, profile| New {
            repository,
            profile,
            ..New::default()
        };
        let mut first = create(store, organization, of(Some("/srv/app"), "default")).await;
        let other = create(store, organization, of(Some("/srv/App"), "default"))
            .await
            .session
            .id;
        let third = create(store, organization, of(Some("/srv/app"), "careful"))
            .await
            .session
            .id;
        let repository = SessionFilter {
            repository: Some("/srv/app".to_owned()),
            ..SessionFilter::default()
        };
        assert_eq!(found(store, organization, &repository).await, [third, first.session.id]);
        let both = SessionFilter {
            profile: Some("careful".to_owned()),
            ..repository.clone()
        };
        assert_eq!(found(store, organization, &both).await, [third]);

        let facet = |value: &str, sessions| SessionFacet {
            value: value.to_owned(),
            sessions,
        };
        let facets = store.session_facets(organization).await.unwrap();
        assert_eq!(facets.repositories, [facet("/srv/app", 2), facet("/srv/App", 1)]);
        assert_eq!(facets.profiles, [facet("default", 2), facet("careful", 1)]);

        // What changes is found by what it is then.
        commit(store, &mut first, |session| session.title = "Renamed".to_owned()).await;
        assert_eq!(found(store, organization, &text("renamed")).await, [first.session.id]);
        assert_eq!(found(store, organization, &text("a title")).await, [third, other]);
    }
}

#[tokio::test]
async fn pages_of_a_search_follow_each_other() {
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let mut expected = Vec::new();
        for number in 0..9 {
            let title = if number % 3 == 0 { "odd" } else { "even" };
            let row = create(
                store,
                organization,
                New {
                    title,
                    ..New::default()
                },
            )
            .await;
            if number % 3 != 0 {
                expected.insert(0, row.session.id);
            }
        }
        let (mut ids, mut before) = (Vec::new(), None);
        loop {
            let page = store.sessions(organization, &text("even"), before, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            ids.extend(page.iter().map(|session| session.id));
        }
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn the_trash_is_a_list_of_its_own_that_the_server_takes_up() {
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let mut row = create(store, organization, New::default()).await;
        let trash = SessionFilter {
            deleted: true,
            ..SessionFilter::default()
        };
        let (all, id) = (SessionFilter::default(), row.session.id);
        assert_eq!(store.unsettled_sessions().await.unwrap(), []);
        let at = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
        let deletion = Deletion {
            at,
            until: at + SignedDuration::from_hours(1),
        };
        commit(store, &mut row, |session| session.deletion = Some(deletion)).await;
        assert_eq!(found(store, organization, &all).await, []);
        assert_eq!(found(store, organization, &trash).await, [id]);
        assert_eq!(store.unsettled_sessions().await.unwrap(), [id]);
        assert_eq!(
            store.session(id).await.unwrap().unwrap().session.deletion,
            Some(deletion)
        );
        assert_eq!(store.session_facets(organization).await.unwrap().profiles, []);

        commit(store, &mut row, |session| session.deletion = None).await;
        assert_eq!(found(store, organization, &all).await, [id]);
        assert_eq!(found(store, organization, &trash).await, []);
        assert_eq!(store.unsettled_sessions().await.unwrap(), []);
    }
}

#[tokio::test]
async fn sessions_that_were_stored_before_there_was_an_index_are_found() {
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let new = New {
            task: "Paint it blue",
            ..New::default()
        };
        let id = create(store, organization, new).await.session.id;
        let raw = sqlx::AnyPool::connect(&database.url).await.unwrap();
        sqlx::query("DELETE FROM session_index").execute(&raw).await.unwrap();
        raw.close().await;
        assert_eq!(found(store, organization, &text("blue")).await, []);
        let reopened = Store::connect(&database.url).await.unwrap();
        assert_eq!(found(&reopened, organization, &text("blue")).await, [id]);
    }
}

#[tokio::test]
async fn a_warm_session_is_its_makers_and_in_no_list_until_it_is_adopted() {
    for database in databases().await {
        let (store, organization) = (&database.store, OrganizationId::new());
        let until = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
        let new = New {
            title: "",
            task: "",
            state: SessionState::Running,
            warm_until: Some(until),
            ..New::default()
        };
        let mut row = create(store, organization, new).await;
        commit(store, &mut row, |session| session.activity = Activity::Working).await;
        // Taking up what has no place in the lists takes it up neither.
        let again = Store::connect(&database.url).await.unwrap();
        for store in [store, &again] {
            assert_eq!(found(store, organization, &SessionFilter::default()).await, []);
            assert_eq!(store.session_facets(organization).await.unwrap().profiles, []);
            assert_eq!(store.count_sessions().await.unwrap(), []);
            assert_eq!(store.unsettled_sessions().await.unwrap(), [row.session.id]);
        }
        let warm = async |user| store.warm_sessions(organization, user).await.unwrap();
        assert_eq!(warm(row.created_by).await[0].warm_until, Some(until));
        assert_eq!(warm(UserId::new()).await, []);

        row.revision += 1;
        row.warm_until = None;
        row.session.title = "Mend the fence".to_owned();
        let message = compose("Paint it too".to_owned(), Delivery::Queue, None, None, Timestamp::now());
        let messages = [MessageRow {
            entry: Entry { position: 2, message },
            state: MessageState::Queued,
        }];
        let change = Change {
            row: &row,
            events: &[],
            messages: &messages,
        };
        assert_eq!(store.adopt_session(&change, None).await.unwrap(), Outcome::Written);
        assert_eq!(warm(row.created_by).await, []);
        for words in ["fence", "paint"] {
            assert_eq!(found(store, organization, &text(words)).await, [row.session.id]);
        }
        assert_eq!(store.count_sessions().await.unwrap(), [(SessionState::Running, 1)]);
    }
}
