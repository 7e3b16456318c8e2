//! What is open when the daemon ends.

use http::Method;
use http_body_util::BodyExt as _;

use crate::support::{Daemon, soon};

#[tokio::test]
async fn what_is_told_without_an_end_ends_in_order() {
    let mut daemon = Daemon::start();
    let control = daemon.connect().await;
    let tree = format!("/git/watch?cwd={}", daemon.folder.path().display());
    let mut open = Vec::new();
    for path in ["/ports/watch", "/terminals/watch", &tree] {
        let (_, told) = control.stream(Method::GET, path).await;
        assert!(told.status().is_success(), "{path}: {}", told.status());
        open.push(told.into_body());
    }
    control.request(Method::POST, "/shutdown", "").await;
    for told in open {
        // A connection that is cut under the stream is an error here.
        soon(told.collect()).await.unwrap();
    }
    assert_eq!(soon(daemon.process.wait()).await.unwrap().code(), Some(0));
}
