//! Comments and marks of what was viewed, on both databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[expect(dead_code, reason = "other tests use all of it")]
mod common;
mod stored;

use jiff::Timestamp;
use mistle_model::queue::{Entry, compose};
use mistle_protocol::changes::{Comment, CommentAnchor, CommentState, MAX_COMMENTS, RepoPath, Scope, Side, Viewed};
use mistle_protocol::id::{CommentId, SessionId, UserId};
use mistle_protocol::session::Delivery;
use mistle_store::Store;
use mistle_store::comments::Added;
use mistle_store::messages::{MessageRow, MessageState};
use mistle_store::sessions::{Change, SessionRow};

use self::common::databases;
use self::stored::session;

fn draft(session_id: SessionId, text: &str) -> Comment {
    Comment {
        id: CommentId::new(),
        session_id,
        created_by: UserId::new(),
        anchor: CommentAnchor {
            workspace: None,
            old_path: None,
            path: RepoPath::from_bytes(b"caf\xe9 \0"),
            side: Side::New,
            scope: Scope::Uncommitted,
            start_line: 1,
            end_line: 1,
            quote: vec!["x".to_owned()],
            before: Vec::new(),
            after: Vec::new(),
        },
        text: text.to_owned(),
        state: CommentState::Draft,
        message_id: None,
        placement: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// Stores a message in a state, as the next change of its session.
async fn write(store: &Store, row: &mut SessionRow, entry: &Entry, state: MessageState) {
    row.revision += 1;
    let messages = [MessageRow {
        entry: entry.clone(),
        state,
    }];
    let change = Change {
        row,
        events: &[],
        messages: &messages,
    };
    store.commit(&change).await.unwrap();
}

#[tokio::test]
async fn a_comment_leaves_with_its_message_and_returns_with_it() {
    for database in databases().await {
        let store = &database.store;
        let mut row = session(store).await;
        let id = row.session.id;
        let first = draft(id, "first");
        let other = draft(id, "other");
        for comment in [&first, &other] {
            assert_eq!(store.add_comment(comment).await.unwrap(), Added::Written);
        }
        let changed = Comment {
            text: "changed".to_owned(),
            ..first.clone()
        };
        assert!(store.change_comment(&changed).await.unwrap());
        assert_eq!(store.comments(id).await.unwrap(), [changed.clone(), other.clone()]);

        let mut message = compose("look".to_owned(), Delivery::Queue, None, None, Timestamp::UNIX_EPOCH);
        message.comments = vec![first.id];
        let entry = Entry { position: 1, message };
        write(store, &mut row, &entry, MessageState::Queued).await;
        let sent = Comment {
            state: CommentState::Sent,
            message_id: Some(entry.message.id),
            ..changed.clone()
        };
        assert_eq!(store.comments(id).await.unwrap(), [sent.clone(), other.clone()]);
        // What was sent is not changed, and does not leave again with another message.
        assert!(!store.change_comment(&first).await.unwrap());
        let mut second = compose("again".to_owned(), Delivery::Queue, None, None, Timestamp::UNIX_EPOCH);
        second.comments = vec![first.id];
        let second = Entry {
            position: 2,
            message: second,
        };
        write(store, &mut row, &second, MessageState::Queued).await;
        assert_eq!(store.comment(id, first.id).await.unwrap(), Some(sent));
        write(store, &mut row, &second, MessageState::Removed).await;
        assert_eq!(
            store.comment(id, first.id).await.unwrap().unwrap().state,
            CommentState::Sent
        );

        write(store, &mut row, &entry, MessageState::Removed).await;
        assert_eq!(store.comment(id, first.id).await.unwrap(), Some(changed));
        // A message of another session reaches nothing here.
        assert_eq!(store.comment(SessionId::new(), first.id).await.unwrap(), None);
        assert!(!store.delete_comment(SessionId::new(), first.id).await.unwrap());
        assert!(store.delete_comment(id, first.id).await.unwrap());
        assert_eq!(store.comments(id).await.unwrap(), [other]);
    }
}

#[tokio::test]
async fn comments_of_a_session_are_bounded() {
    let database = databases().await.remove(0);
    let row = session(&database.store).await;
    for _ in 0..MAX_COMMENTS {
        assert_eq!(
            database.store.add_comment(&draft(row.session.id, "x")).await.unwrap(),
            Added::Written
        );
    }
    assert_eq!(
        database.store.add_comment(&draft(row.session.id, "x")).await.unwrap(),
        Added::Full
    );
}

#[tokio::test]
async fn marks_are_each_persons_own() {
    for database in databases().await {
        let store = &database.store;
        let row = session(store).await;
        let id = row.session.id;
        let one = store
            .add_organization("a", "one", Timestamp::now())
            .await
            .unwrap()
            .user_id;
        let two = store
            .add_organization("b", "two", Timestamp::now())
            .await
            .unwrap()
            .user_id;
        let path = RepoPath::from_bytes(b"src/\xff.rs");
        store
            .mark_viewed(id, one, &path, Some("a"), Timestamp::now())
            .await
            .unwrap();
        store
            .mark_viewed(id, one, &path, Some("b"), Timestamp::now())
            .await
            .unwrap();
        store
            .mark_viewed(id, two, &path, Some("a"), Timestamp::now())
            .await
            .unwrap();
        let mark = |fingerprint: &str| Viewed {
            path: path.clone(),
            fingerprint: fingerprint.to_owned(),
        };
        assert_eq!(store.viewed(id, one).await.unwrap(), [mark("b")]);
        store.mark_viewed(id, one, &path, None, Timestamp::now()).await.unwrap();
        assert_eq!(store.viewed(id, one).await.unwrap(), []);
        assert_eq!(store.viewed(id, two).await.unwrap(), [mark("a")]);
    }
}
