//! Who may use the server, on both databases.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use jiff::{SignedDuration, Timestamp};
use mistle_model::{OpContext, Role};
use mistle_protocol::id::RequestId;
use mistle_store::Store;
use mistle_store::accounts::Member;

use self::common::databases;

fn now() -> Timestamp {
    // As precise as the database is.
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

fn context(member: &Member) -> OpContext {
    OpContext {
        user_id: member.user_id,
        organization_id: member.organization_id,
        role: member.role,
        request_id: RequestId::new(),
    }
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[tokio::test]
async fn the_first_organization_is_created_once_even_by_two_at_once() {
    for database in databases().await {
        let store = &database.store;
        let (one, two) = tokio::join!(
            store.first_owner("Mistle", "Owner", now()),
            store.first_owner("Other", "Other", now())
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one, two);
        assert_eq!(one.role, Role::Owner);
        assert_eq!(store.member(&context(&one)).await.unwrap(), Some(one.clone()));

        let other = store.add_organization("Others", "Someone", now()).await.unwrap();
        let stranger = OpContext {
            user_id: other.user_id,
            ..context(&one)
        };
        assert_eq!(
            store.member(&stranger).await.unwrap(),
            None,
            "a user of another organization"
        );
        let reopened = Store::connect(&database.url).await.unwrap();
        assert_eq!(reopened.first_owner("Mistle", "Owner", now()).await.unwrap(), one);
        reopened.close().await;
    }
}

#[tokio::test]
async fn a_login_code_is_taken_once_and_in_time() {
    for database in databases().await {
        let store = &database.store;
        let (member, at) = (store.first_owner("Mistle", "Owner", now()).await.unwrap(), now());
        for hash in ["one", "two"] {
            store.add_login_code(hash, &member, at, at + MINUTE).await.unwrap();
        }
        assert_eq!(store.take_login_code("other", at).await.unwrap(), None);
        assert_eq!(store.take_login_code("one", at + MINUTE).await.unwrap(), None, "late");
        let (first, second) = tokio::join!(store.take_login_code("one", at), store.take_login_code("one", at));
        let taken: Vec<_> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
        assert_eq!(taken, std::slice::from_ref(&member), "one of two at once");

        store.remove_expired_logins(at + MINUTE).await.unwrap();
        assert_eq!(store.take_login_code("two", at).await.unwrap(), None, "forgotten");
    }
}

#[tokio::test]
async fn a_web_session_lasts_until_it_expires_or_ends() {
    for database in databases().await {
        let store = &database.store;
        let (member, at) = (store.first_owner("Mistle", "Owner", now()).await.unwrap(), now());
        store.add_web_session("hash", &member, at, at + MINUTE).await.unwrap();
        let found = store.web_session("hash", at).await.unwrap().unwrap();
        assert_eq!((found.member, found.expires_at), (member, at + MINUTE));
        assert_eq!(store.web_session("hash", at + MINUTE).await.unwrap(), None, "expired");
        store.extend_web_session("hash", at + MINUTE * 2).await.unwrap();
        assert!(store.web_session("hash", at + MINUTE).await.unwrap().is_some());
        store.remove_web_session("hash").await.unwrap();
        assert_eq!(store.web_session("hash", at).await.unwrap(), None);
    }
}

#[tokio::test]
async fn tokens_belong_to_who_made_them() {
    for database in databases().await {
        let store = &database.store;
        let (member, at) = (store.first_owner("Mistle", "Owner", now()).await.unwrap(), now());
        let other = store.add_organization("Others", "Someone", at).await.unwrap();
        let (ours, theirs) = (context(&member), context(&other));
        let mut made = Vec::new();
        for number in 0..5 {
            let name = format!("token {number} ☃");
            let token = store
                .add_token(&ours, &name, &format!("hash {number}"), at)
                .await
                .unwrap();
            made.insert(0, token);
        }
        store.add_token(&theirs, "x", "their hash", at).await.unwrap();

        let first = store.list_tokens(&ours, None, 3).await.unwrap();
        assert_eq!(first.data, made[..3]);
        let cursor = first.next_cursor.unwrap().parse().unwrap();
        let rest = store.list_tokens(&ours, Some(cursor), 3).await.unwrap();
        assert_eq!((&rest.data[..], rest.next_cursor), (&made[3..], None));

        let used = store.token_by_hash("hash 4").await.unwrap().unwrap();
        assert_eq!((used.id, &used.member, used.last_used_at), (made[0].id, &member, None));
        store.touch_token(used.id, at + MINUTE).await.unwrap();
        assert_eq!(
            store.token_by_hash("hash 4").await.unwrap().unwrap().last_used_at,
            Some(at + MINUTE)
        );

        assert!(!store.revoke_token(&theirs, used.id).await.unwrap(), "by somebody else");
        assert!(store.revoke_token(&ours, used.id).await.unwrap());
        assert_eq!(store.token_by_hash("hash 4").await.unwrap(), None);
        assert!(!store.revoke_token(&ours, used.id).await.unwrap(), "twice");
        assert!(
            store.add_token(&ours, "x", "hash 1", at).await.is_err(),
            "a hash that is there"
        );
    }
}
