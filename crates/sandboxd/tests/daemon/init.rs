use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::support::{Daemon, PROGRAM, children, eventually, is_alive, options, soon};

fn pid_of(daemon: &Daemon) -> i32 {
    daemon.process.id().unwrap().cast_signed()
}

fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

#[tokio::test]
async fn the_daemon_is_started_again_when_it_dies() {
    let daemon = Daemon::start_as("init");
    let control = daemon.connect().await;
    assert_eq!(control.output_of(&["echo", "first"]).await, ("first\n".into(), 0));
    let first = children(pid_of(&daemon));
    assert_eq!(first.len(), 1);
    send(first[0], Signal::SIGKILL);
    let control = daemon.connect().await;
    assert_eq!(control.output_of(&["echo", "second"]).await, ("second\n".into(), 0));
    let second = children(pid_of(&daemon));
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
}

#[tokio::test]
async fn orphans_are_reaped_and_the_daemons_children_are_not() {
    let daemon = Daemon::start_as("init");
    let control = daemon.connect().await;
    let init = pid_of(&daemon);
    // Orphans whose ends nobody waits for, and commands whose codes the daemon must get.
    for code in 0..20 {
        let script = format!("(sleep 0.05 & sleep 0.01 &) ; exit {code}");
        assert_eq!(control.output_of(&["/bin/sh", "-c", &script]).await.1, code);
    }
    let zombies =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    eventually("the reaping of orphans", || children(init).len() == 1).await;
    let daemon_pid = children(init)[0];
    eventually("the reaping of commands", || !children(daemon_pid).iter().any(zombies)).await;
}

#[tokio::test]
async fn a_stop_ends_everything_in_order() {
    let mut daemon = Daemon::start_as("init");
    let control = daemon.connect().await;
    // One that ends when told, one that does not, both away from the daemon's own children.
    let script = "setsid sh -c 'trap \"echo told > $0/polite; exit\" TERM; echo $$ > $0/polite.pid; sleep 1000 & wait' $0 > /dev/null 2>&1 &
        setsid sh -c 'trap \"told=yes\" TERM; echo $$ > $0/stubborn.pid
            while :; do sleep 0.1; [ -z \"$told\" ] || echo lives >> $0/stubborn; done' $0 > /dev/null 2>&1 &";
    let folder = daemon.folder();
    assert_eq!(
        control
            .output_of(&["/bin/sh", "-c", script, folder.to_str().unwrap()])
            .await
            .1,
        0
    );
    let read_pid = |name: &str| {
        std::fs::read_to_string(folder.join(name))
            .ok()
            .and_then(|pid| pid.trim().parse::<i32>().ok())
    };
    eventually("the start of both", || {
        read_pid("polite.pid").is_some() && read_pid("stubborn.pid").is_some()
    })
    .await;
    let pids = [read_pid("polite.pid").unwrap(), read_pid("stubborn.pid").unwrap()];

    send(pid_of(&daemon), Signal::SIGTERM);
    assert_eq!(soon(daemon.process.wait()).await.unwrap().code(), Some(0));
    let grace = std::fs::read_to_string(folder.join("stubborn")).unwrap_or_default();
    assert!(
        grace.starts_with("lives\n"),
        "the stubborn one was told, and had its grace"
    );
    assert_eq!(std::fs::read_to_string(folder.join("polite")).unwrap(), "told\n");
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}

#[tokio::test]
async fn a_shutdown_over_the_api_ends_it_in_order() {
    let mut daemon = Daemon::start_as("init");
    let control = daemon.connect().await;
    control.request(http::Method::POST, "/shutdown", "").await;
    assert_eq!(soon(daemon.process.wait()).await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_daemon_that_can_not_live_is_given_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut arguments = options(folder.path());
    let at = arguments
        .iter()
        .position(|argument| argument == "--proxy-port")
        .unwrap();
    arguments[at + 1] = port;
    let output = soon(
        Command::new(PROGRAM)
            .arg("init")
            .args(arguments)
            .stdin(Stdio::null())
            .output(),
    )
    .await
    .unwrap();
    assert_eq!(output.status.code(), Some(70));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("can't open the proxy's port").count(), 5, "{said}");
    assert!(said.contains("giving up: the daemon died 5 times in a row"), "{said}");
}

/// As it is in a sandbox: process 1 of a PID namespace, confined.
#[tokio::test]
async fn it_is_process_one_of_a_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let control = tokio::net::UnixListener::bind(folder.path().join("control.sock")).unwrap();
    let mut arguments = options(folder.path());
    arguments.retain(|argument| argument != "--unconfined");
    let mut unshare = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            PROGRAM,
            "init",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let control = crate::support::Control::accept(&control).await;
    let (processes, _) = control
        .output_of(&[
            "/bin/sh",
            "-c",
            "cat /proc/1/comm; grep -E 'Seccomp:|CapBnd' /proc/1/status; unshare --user true || echo refused",
        ])
        .await;
    assert_eq!(
        processes,
        "mistle-sandboxd\nCapBnd:\t00000000800404fb\nSeccomp:\t2\nrefused\n"
    );
    // What ignores everything but the end of its process 1 goes too.
    let script = "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.1; done' > /dev/null 2>&1 & echo $!";
    control.output_of(&["/bin/sh", "-c", script]).await;
    control.request(http::Method::POST, "/shutdown", "").await;
    assert_eq!(soon(unshare.wait()).await.unwrap().code(), Some(0));
    assert!(Path::new(folder.path()).exists());
}
