use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use mistle_protocol::control::{CONTROL_SOCKET, Health, REDIAL_MS, TerminalInfo};
use tokio::net::UnixListener;

use crate::support::{Daemon, soon};

#[tokio::test]
async fn a_daemon_says_that_it_lives() {
    let daemon = Daemon::start();
    let health: Health = daemon.connect().await.get("/health").await;
    assert_eq!(health.version, env!("CARGO_PKG_VERSION"));
    assert!(health.resident_bytes > 100_000, "{}", health.resident_bytes);
}

#[tokio::test]
async fn the_events_end_with_the_record_and_are_not_cut_off() {
    let mut daemon = Daemon::start();
    let control = daemon.connect().await;
    let (_, events) = control.stream(Method::GET, "/agent/events").await;
    control.request(Method::POST, "/shutdown", "").await;
    // A connection that is cut under the stream is an error here.
    soon(events.into_body().collect()).await.unwrap();
    assert_eq!(soon(daemon.process.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_lost_connection_is_dialled_again_and_everything_goes_on() {
    let daemon = Daemon::start();
    let go = daemon.folder().join("go");
    let control = daemon.connect().await;
    let id = control
        .open(&[
            "/bin/sh",
            "-c",
            "stty -echo; mkfifo \"$0\"; echo ready; while read line; do echo $line; read go < \"$0\"; echo after $line; done",
            go.to_str().unwrap(),
        ])
        .await
        .id;
    let mut viewer = control.attach(id, 0).await;
    viewer.until("ready\r\n").await;
    viewer.type_in("one\n").await;
    viewer.until("one\r\n").await;
    let offset = viewer.offset;
    drop(control);
    drop(viewer);
    // Waits for its reader, and no longer.
    tokio::fs::write(&go, "go\n").await.unwrap();

    let control = daemon.connect().await;
    // What was said meanwhile is there, once.
    let mut viewer = control.attach(id, offset).await;
    assert_eq!(viewer.offset, offset);
    assert_eq!(viewer.until("after one\r\n").await, "after one\r\n");
    viewer.type_in("two\n").await;
    tokio::fs::write(&go, "go\n").await.unwrap();
    assert_eq!(viewer.until("after two\r\n").await, "two\r\nafter two\r\n");
}

#[tokio::test]
async fn a_server_that_is_back_is_found() {
    let mut daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(&["/bin/sh", "-c", "sleep 1000"]).await.id;
    drop(control);
    // Each attempt that comes to nothing doubles the wait, until it is the longest.
    for _ in 0..=(REDIAL_MS.1 / REDIAL_MS.0).ilog2() + 1 {
        daemon.refuse().await;
    }
    daemon.hang_up();
    daemon.resume();
    let control = daemon.connect().await;
    assert_eq!(control.get::<Vec<TerminalInfo>>("/terminals").await[0].id, id);
}

#[tokio::test]
async fn a_server_that_hangs_up_at_once_is_not_dialled_in_a_tight_loop() {
    // The waits before the second to the ninth attempt, each with its jitter off.
    const SHORTEST: Duration = Duration::from_millis((20 + 40 + 80 + 160 + 320 + 3 * 500) * 3 / 4);
    let folder = tempfile::tempdir().unwrap();
    let control = UnixListener::bind(folder.path().join(CONTROL_SOCKET)).unwrap();
    let _process = tokio::process::Command::new(crate::support::PROGRAM)
        .arg("daemon")
        .args(crate::support::options(folder.path()))
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut dialled = Vec::new();
    for _ in 0..9 {
        dialled.push(Instant::now());
        soon(control.accept()).await.unwrap();
    }
    // No attempt waits for more than its predecessor's end, so on a slow machine it takes longer only.
    assert!(dialled[0].elapsed() >= SHORTEST, "{dialled:?}");
}

#[tokio::test]
async fn what_is_open_when_the_daemon_ends_is_ended() {
    let mut daemon = Daemon::start();
    let control = daemon.connect().await;
    let _endless = control.exec(&["sleep", "1000"]).await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(daemon.process.id().unwrap().cast_signed()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(soon(daemon.process.wait()).await.unwrap().code(), Some(0));
}
