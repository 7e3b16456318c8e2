use http::Method;
use mistle_protocol::control::Exit;
use mistle_protocol::frame::Kind;

use crate::support::{Daemon, eventually, is_alive, kill};

#[tokio::test]
async fn streams_are_kept_apart_and_the_code_is_told() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let mut command = control
        .exec(&["/bin/sh", "-c", "echo out $GREETING; echo err >&2; exit 9"])
        .await;
    let rest = command.rest().await;
    assert_eq!(
        (rest.data.as_slice(), rest.errors.as_slice(), rest.exit),
        (
            b"out hello\n".as_slice(),
            b"err\n".as_slice(),
            Some(Exit { code: 9, error: None })
        )
    );
}

#[tokio::test]
async fn input_is_read_while_output_is_written() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let mut cat = control.exec(&["cat"]).await;
    for text in ["one\n", "two\n"] {
        cat.type_in(text).await;
        cat.until(text).await;
    }
    cat.send(Kind::Eof, "").await;
    assert_eq!(cat.rest().await.exit, Some(Exit { code: 0, error: None }));
}

#[tokio::test]
async fn much_passes_through_whole() {
    const BYTES: usize = 8 * 1024 * 1024;
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let mut cat = control.exec(&["cat"]).await;
    let sent: Vec<u8> = (0..BYTES).map(|byte| (byte % 253) as u8).collect();
    let chunks: Vec<Vec<u8>> = sent.chunks(100_000).map(<[u8]>::to_vec).collect();
    let (input, output) = cat.split();
    let (rest, ()) = tokio::join!(output, async move {
        for chunk in chunks {
            input.send(Kind::Data, chunk).await;
        }
        input.send(Kind::Eof, "").await;
    });
    assert!(rest.data == sent, "{} of {BYTES} bytes", rest.data.len());
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_the_command_and_its_children_along() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let mut command = control
        .exec(&[
            "/bin/sh",
            "-c",
            "trap '' TERM HUP; sleep 1000 & echo pids $$ $! .; wait",
        ])
        .await;
    let said = command.until(" .\n").await;
    let pids: Vec<i32> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    drop(command);
    eventually("the end of the command", || !pids.iter().any(|pid| is_alive(*pid))).await;
}

#[tokio::test]
async fn a_lost_link_is_a_caller_that_goes_away() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let mut command = control.exec(&["/bin/sh", "-c", "echo pid $$ .; exec sleep 1000"]).await;
    let pid = command.until(" .\n").await.split(' ').nth(1).unwrap().parse().unwrap();
    drop(control);
    eventually("the end of the command", || !is_alive(pid)).await;
}

#[tokio::test]
async fn a_program_left_in_the_background_does_not_hide_the_end() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let (output, code) = control.output_of(&["/bin/sh", "-c", "sleep 1000 & echo $!"]).await;
    assert_eq!(code, 0);
    let left = output.trim().parse().unwrap();
    assert!(is_alive(left));
    kill(left);
}

#[tokio::test]
async fn what_can_not_be_run_says_why() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let exit = control.exec(&["/no/such/program"]).await.rest().await.exit.unwrap();
    assert_eq!(exit.code, 127);
    assert_eq!(
        exit.error.as_deref(),
        Some("can't run /no/such/program: No such file or directory (os error 2)")
    );
    let exit = control.exec(&["/etc/passwd"]).await.rest().await.exit.unwrap();
    assert_eq!(exit.code, 126);
    assert_eq!(control.problem(Method::POST, "/exec", "").await.kind, "invalid-exec");
    assert_eq!(
        control
            .problem(Method::POST, "/exec", vec![3, 0, 0, 0, 1, b'x'])
            .await
            .kind,
        "invalid-exec"
    );
}
