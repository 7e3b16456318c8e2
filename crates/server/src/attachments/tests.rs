//! Disks that are full, and what is left over.

use std::convert::Infallible;
use std::path::PathBuf;

use mistle_model::Role;
use mistle_protocol::id::RequestId;
use mistle_testkit::{on_a_small_disk, small_disk};

use super::*;

const MIB: u64 = 1024 * 1024;

fn limits() -> Limits {
    Limits {
        attachment_bytes: 64 * MIB,
        unsent_attachments_bytes: 128 * MIB,
        ..crate::config::Config::parse(
            "",
            None,
            &crate::config::Location {
                file: None,
                data_dir: Some("/nonexistent".into()),
            },
        )
        .unwrap()
        .limits
    }
}

async fn open(database: &tempfile::TempDir, data_dir: &Path) -> Attachments {
    let url = format!("sqlite:{}", database.path().join("mistle.db").display());
    let store = Store::connect(&url).await.unwrap();
    Attachments::open(store, data_dir, limits()).unwrap()
}

fn person() -> OpContext {
    OpContext {
        user_id: UserId::new(),
        organization_id: OrganizationId::new(),
        role: Role::Member,
        request_id: RequestId::new(),
    }
}

/// So many MiB, piece by piece.
fn body(mebibytes: u64) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    futures::stream::iter((0..mebibytes).map(|_| Ok(Bytes::from(vec![7; MIB as usize]))))
}

fn kept(data_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join(FOLDER)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_full_disk_is_said_and_keeps_nothing() {
    let Some(disk) = small_disk() else {
        return on_a_small_disk("attachments::tests::a_full_disk_is_said_and_keeps_nothing", "24m").unwrap();
    };
    let database = tempfile::tempdir().unwrap();
    let files = open(&database, &disk).await;
    let ctx = person();
    // Announced, it is refused before a byte is written; otherwise when the disk is full.
    for length in [Some(30 * MIB), None] {
        let refused = files.upload(&ctx, "x", length, body(30)).await;
        assert!(matches!(refused, Err(AttachmentError::DiskFull)), "{refused:?}");
        assert_eq!(kept(&disk), [] as [PathBuf; 0]);
    }
    let small = files.upload(&ctx, "x", Some(2 * MIB), body(2)).await.unwrap();
    assert_eq!(kept(&disk), [disk.join(FOLDER).join(small.id.to_string())]);
}

#[tokio::test]
async fn an_upload_that_ends_early_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(&folder, folder.path()).await;
    let ctx = person();
    let less = files.upload(&ctx, "x", Some(3 * MIB), body(2)).await;
    assert!(matches!(less, Err(AttachmentError::Cut)), "{less:?}");
    let cut = body(2)
        .map(|piece| piece.map_err(|never| match never {}))
        .chain(futures::stream::iter([Err("cut")]));
    let cut = files.upload(&ctx, "x", None, cut).await;
    assert!(matches!(cut, Err(AttachmentError::Cut)), "{cut:?}");
    assert_eq!(kept(folder.path()), [] as [PathBuf; 0]);
    // Both gave back what they had counted.
    assert!(files.shared.arriving.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_nobody_needs_is_swept_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let files = open(&folder, folder.path()).await;
    let ctx = person();
    let fresh = files.upload(&ctx, "fresh", None, body(1)).await.unwrap();
    // A crash after the bytes and before the row.
    let orphan = AttachmentId::new();
    files.shared.blobs.write(orphan).await.unwrap().finish().await.unwrap();
    let here = |id: AttachmentId| folder.path().join(FOLDER).join(id.to_string()).exists();
    files.sweep(Timestamp::now()).await.unwrap();
    assert!(here(fresh.id) && here(orphan), "both are from today");
    files
        .sweep(Timestamp::now() + KEPT + SignedDuration::from_secs(1))
        .await
        .unwrap();
    assert!(!here(fresh.id) && !here(orphan));
    assert_eq!(files.shared.store.attachment(fresh.id).await.unwrap(), None);

    // What a killed server was writing is gone when the next one starts.
    let unfinished = folder.path().join(FOLDER).join(format!("{orphan}#1"));
    std::fs::write(&unfinished, "half").unwrap();
    open(&folder, folder.path()).await;
    assert!(!unfinished.exists());
}
