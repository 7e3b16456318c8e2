//! Files that the server places.

use std::convert::Infallible;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use mistle_protocol::control::Placed;
use mistle_protocol::id::AttachmentId;
use mistle_protocol::problem::Problem;
use mistle_sandboxd::attachments;
use mistle_testkit::{on_a_small_disk, small_disk};
use tower::ServiceExt as _;

async fn ask(method: Method, home: &Path, path: &str, body: Body) -> Result<PathBuf, (StatusCode, String)> {
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let response = attachments::routes(home.to_owned()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    if status.is_success() {
        let placed: Placed = serde_json::from_slice(&bytes).unwrap();
        return Ok(placed.path.into());
    }
    let problem: Problem = serde_json::from_slice(&bytes).unwrap();
    Err((status, problem.kind))
}

async fn put(
    home: &Path,
    id: AttachmentId,
    name: &str,
    content: &'static str,
) -> Result<PathBuf, (StatusCode, String)> {
    let path = format!("/attachments/{id}?name={name}&size={}", content.len());
    ask(Method::PUT, home, &path, Body::from(content)).await
}

async fn show(home: &Path, id: AttachmentId, name: &str, size: usize) -> Result<PathBuf, (StatusCode, String)> {
    let path = format!("/attachments/{id}?name={name}&size={size}");
    ask(Method::GET, home, &path, Body::empty()).await
}

fn refused(status: StatusCode, kind: &str) -> Result<PathBuf, (StatusCode, String)> {
    Err((status, kind.to_owned()))
}

/// Everything below a folder.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything(&entry.path()));
        }
    }
    found
}

#[tokio::test]
async fn a_file_is_there_whole_and_once() {
    let home = tempfile::tempdir().unwrap();
    let (home, id) = (home.path(), AttachmentId::new());
    assert_eq!(
        show(home, id, "a%20b.txt", 5).await,
        refused(StatusCode::NOT_FOUND, "not-found")
    );
    let path = put(home, id, "a%20b.txt", "hello").await.unwrap();
    let digits = id.uuid().simple().to_string();
    assert_eq!(path, home.join("attachments").join(&digits[20..]).join("a b.txt"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
    assert_eq!(show(home, id, "a%20b.txt", 5).await, Ok(path.clone()));
    assert_eq!(put(home, id, "a%20b.txt", "hello").await, Ok(path.clone()));
    // What the agent made of it is not what was placed.
    std::fs::write(&path, "something else").unwrap();
    assert_eq!(
        show(home, id, "a%20b.txt", 5).await,
        refused(StatusCode::NOT_FOUND, "not-found")
    );
    assert_eq!(everything(home).len(), 3);
}

#[tokio::test]
async fn what_did_not_arrive_whole_is_not_there() {
    let home = tempfile::tempdir().unwrap();
    let (home, id) = (home.path(), AttachmentId::new());
    let incomplete = refused(StatusCode::BAD_REQUEST, "incomplete");
    for (size, pieces) in [(6, vec!["hello"]), (4, vec!["hello"]), (4, vec!["hel", "lo"])] {
        let pieces = futures::stream::iter(pieces).map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
        let path = format!("/attachments/{id}?name=x&size={size}");
        let answer = ask(Method::PUT, home, &path, Body::from_stream(pieces)).await;
        assert_eq!(answer, incomplete);
    }
    let broken = futures::stream::iter([Ok(Bytes::from("he")), Err(std::io::Error::other("the link is lost"))]);
    let path = format!("/attachments/{id}?name=x&size=5");
    assert_eq!(
        ask(Method::PUT, home, &path, Body::from_stream(broken)).await,
        incomplete
    );
    let folder = everything(home).pop().unwrap();
    assert!(folder.is_dir(), "{folder:?} is left");

    // A daemon that was killed in the middle leaves its beginning, which the next attempt removes.
    std::fs::write(folder.join(".incoming-7"), "he").unwrap();
    let path = put(home, id, "x", "hello").await.unwrap();
    assert_eq!(everything(&folder), [path]);
}

#[tokio::test]
async fn nothing_leads_out_of_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let (home, outside) = (root.path().join("home"), root.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    let id = AttachmentId::new();
    for name in [
        "..",
        ".",
        "",
        "a%2Fb",
        "%2Fetc%2Fpasswd",
        "..%2Fx",
        "a%00b",
        ".incoming-1",
        &"x".repeat(201),
    ] {
        let answer = put(&home, id, name, "x").await;
        assert_eq!(
            answer,
            refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid-name"),
            "{name}"
        );
    }
    let wrong = ask(Method::PUT, &home, "/attachments/..?name=x&size=1", Body::from("x")).await;
    assert_eq!(wrong, refused(StatusCode::BAD_REQUEST, "invalid-id"));

    // The agent puts links in the way.
    std::fs::create_dir(&home).unwrap();
    symlink(&outside, home.join("attachments")).unwrap();
    assert_eq!(
        put(&home, id, "x", "x").await,
        refused(StatusCode::CONFLICT, "not-writable")
    );
    std::fs::remove_file(home.join("attachments")).unwrap();
    let short = id.uuid().simple().to_string()[20..].to_owned();
    std::fs::create_dir(home.join("attachments")).unwrap();
    symlink(&outside, home.join("attachments").join(&short)).unwrap();
    assert_eq!(
        put(&home, id, "x", "x").await,
        refused(StatusCode::CONFLICT, "not-writable")
    );
    std::fs::remove_file(home.join("attachments").join(&short)).unwrap();
    let place = home.join("attachments").join(&short);
    std::fs::create_dir(&place).unwrap();
    std::fs::write(outside.join("precious"), "1").unwrap();
    symlink(outside.join("precious"), place.join("x")).unwrap();
    assert_eq!(
        show(&home, id, "x", 1).await,
        refused(StatusCode::NOT_FOUND, "not-found")
    );
    // The link itself is replaced, and not what it leads to.
    assert_eq!(put(&home, id, "x", "2").await, Ok(place.join("x")));
    assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "1");
    assert_eq!(everything(&outside).len(), 1);
}

#[tokio::test]
async fn a_full_disk_is_said_and_keeps_nothing() {
    let Some(home) = small_disk() else {
        return on_a_small_disk("attachments::a_full_disk_is_said_and_keeps_nothing", "256k").unwrap();
    };
    let id = AttachmentId::new();
    let pieces = || futures::stream::iter((0..512).map(|_| Ok::<_, Infallible>(Bytes::from(vec![7; 1024]))));
    let path = format!("/attachments/{id}?name=x&size={}", 512 * 1024);
    let answer = ask(Method::PUT, &home, &path, Body::from_stream(pieces())).await;
    assert_eq!(answer, refused(StatusCode::INSUFFICIENT_STORAGE, "disk-full"));
    assert!(everything(&home).iter().all(|path| path.is_dir()));
    // The write that fills the disk may be the last one.
    let whole = Body::from(vec![7; 300 * 1024]);
    let path = format!("/attachments/{id}?name=x&size={}", 300 * 1024);
    let answer = ask(Method::PUT, &home, &path, whole).await;
    assert_eq!(answer, refused(StatusCode::INSUFFICIENT_STORAGE, "disk-full"));
    // With room it is placed by the same request.
    assert!(put(&home, id, "x", "small").await.is_ok());
}
