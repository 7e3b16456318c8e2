//! Files that go with messages, on both databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

#[expect(dead_code, reason = "other tests use all of it")]
mod common;
mod stored;

use jiff::{SignedDuration, Timestamp};
use mistle_model::queue::{Entry, compose};
use mistle_protocol::id::{AttachmentId, OrganizationId, UserId};
use mistle_protocol::session::{Attachment, Delivery};
use mistle_store::attachments::{AttachmentRow, Unsent};
use mistle_store::messages::{MessageRow, MessageState};
use mistle_store::sessions::{Change, SessionRow};
use mistle_store::{Store, StoreError};

use self::common::databases;
use self::stored::session;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

async fn file(store: &Store, owner: (OrganizationId, UserId), created_at: Timestamp) -> AttachmentRow {
    let row = AttachmentRow {
        attachment: Attachment {
            id: AttachmentId::new(),
            name: "ä \"b\".txt".to_owned(),
            media_type: "text/plain".to_owned(),
            size: 5_000_000_000,
        },
        organization_id: owner.0,
        created_by: owner.1,
        created_at,
        carrier: None,
    };
    store.add_attachment(&row).await.unwrap();
    row
}

fn carrying(files: &[&AttachmentRow]) -> Entry {
    let mut message = compose("look".to_owned(), Delivery::Steer, None, None, AT);
    message.attachments = files.iter().map(|row| row.attachment.clone()).collect();
    Entry { position: 1, message }
}

/// Stores a message in a state, as the next change of its session.
async fn write(store: &Store, row: &mut SessionRow, entry: &Entry, state: MessageState) -> Result<(), StoreError> {
    let mut next = row.clone();
    next.revision += 1;
    let messages = [MessageRow {
        entry: entry.clone(),
        state,
    }];
    let change = Change {
        row: &next,
        events: &[],
        messages: &messages,
    };
    store.commit(&change).await?;
    *row = next;
    Ok(())
}

#[tokio::test]
async fn a_file_has_one_message_and_is_free_again_without_it() {
    for database in databases().await {
        let store = &database.store;
        let mut row = session(store).await;
        let owner = (OrganizationId::new(), UserId::new());
        let (one, two) = (file(store, owner, AT).await, file(store, owner, AT).await);
        assert_eq!(store.attachment(one.attachment.id).await.unwrap(), Some(one.clone()));
        let unsent = Unsent {
            files: 2,
            bytes: 10_000_000_000,
        };
        assert_eq!(store.unsent_attachments(owner.0, owner.1).await.unwrap(), unsent);
        assert_eq!(
            store.unsent_attachments(owner.0, UserId::new()).await.unwrap(),
            Unsent::default()
        );

        let first = carrying(&[&one]);
        write(store, &mut row, &first, MessageState::Queued).await.unwrap();
        // Written again, as a message on its way is.
        write(store, &mut row, &first, MessageState::Queued).await.unwrap();
        let taken = store.attachment(one.attachment.id).await.unwrap().unwrap();
        assert_eq!(taken.carrier, Some((row.session.id, first.message.id)));
        assert!(!store.delete_free_attachment(one.attachment.id).await.unwrap());
        assert_eq!(store.unsent_attachments(owner.0, owner.1).await.unwrap().files, 1);

        // All or nothing: the second file of the other message stays free.
        let second = carrying(&[&two, &one]);
        let refused = write(store, &mut row, &second, MessageState::Queued).await;
        assert!(matches!(refused, Err(StoreError::AttachmentTaken)), "{refused:?}");
        assert_eq!(store.attachment(two.attachment.id).await.unwrap(), Some(two.clone()));
        assert_eq!(store.message(row.session.id, second.message.id).await.unwrap(), None);

        write(store, &mut row, &first, MessageState::Removed).await.unwrap();
        write(store, &mut row, &second, MessageState::Queued).await.unwrap();
        write(store, &mut row, &second, MessageState::Delivered).await.unwrap();
        let taken = store.attachment(one.attachment.id).await.unwrap().unwrap();
        assert_eq!(taken.carrier, Some((row.session.id, second.message.id)));
    }
}

#[tokio::test]
async fn a_delivered_message_keeps_its_files_and_later_ones_of_the_session_may_name_them() {
    for database in databases().await {
        let store = &database.store;
        let (mut row, mut elsewhere) = (session(store).await, session(store).await);
        let owner = (OrganizationId::new(), UserId::new());
        let one = file(store, owner, AT).await;
        let first = carrying(&[&one]);
        write(store, &mut row, &first, MessageState::Queued).await.unwrap();
        let again = carrying(&[&one]);
        // One that waits may be removed yet, and its files with it.
        let early = write(store, &mut row, &again, MessageState::Queued).await;
        assert!(matches!(early, Err(StoreError::AttachmentTaken)), "{early:?}");
        write(store, &mut row, &first, MessageState::Delivered).await.unwrap();
        let foreign = write(store, &mut elsewhere, &carrying(&[&one]), MessageState::Queued).await;
        assert!(matches!(foreign, Err(StoreError::AttachmentTaken)), "{foreign:?}");

        for state in [MessageState::Queued, MessageState::Removed] {
            write(store, &mut row, &again, state).await.unwrap();
            let kept = store.attachment(one.attachment.id).await.unwrap().unwrap();
            assert_eq!(kept.carrier, Some((row.session.id, first.message.id)), "{state:?}");
        }
        assert_eq!(
            store.needless_attachments(Timestamp::now(), 10).await.unwrap(),
            [] as [AttachmentId; 0]
        );
    }
}

#[tokio::test]
async fn what_nobody_needs_is_found_and_nothing_else() {
    for database in databases().await {
        let store = &database.store;
        let mut row = session(store).await;
        let owner = (OrganizationId::new(), UserId::new());
        let day = SignedDuration::from_hours(24);
        let (old, fresh, sent) = (
            file(store, owner, AT).await.attachment.id,
            file(store, owner, AT + day).await.attachment.id,
            file(store, owner, AT).await,
        );
        let message = carrying(&[&sent]);
        write(store, &mut row, &message, MessageState::Queued).await.unwrap();
        let before = AT + day;
        assert_eq!(store.needless_attachments(before, 10).await.unwrap(), [old]);
        for id in [fresh, sent.attachment.id] {
            assert!(!store.delete_needless_attachment(id, before).await.unwrap());
        }
        assert!(store.delete_needless_attachment(old, before).await.unwrap());
        assert_eq!(store.attachment(old).await.unwrap(), None);

        // Freed by a message, a file has its day again.
        write(store, &mut row, &message, MessageState::Removed).await.unwrap();
        assert_eq!(store.needless_attachments(before, 10).await.unwrap(), []);
        let again = carrying(&[&sent]);
        write(store, &mut row, &again, MessageState::Queued).await.unwrap();

        store.purge_session(row.session.id).await.unwrap();
        assert_eq!(
            store.needless_attachments(before, 10).await.unwrap(),
            [sent.attachment.id]
        );
        assert!(
            store
                .delete_needless_attachment(sent.attachment.id, before)
                .await
                .unwrap()
        );
        assert_eq!(store.needless_attachments(before, 10).await.unwrap(), []);
    }
}
