use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use mistle_protocol::control::{Exit, Health, OpenTerminal, RenameTerminal, TerminalInfo, TerminalKind};
use mistle_protocol::frame::Kind;
use mistle_protocol::id::TerminalId;
use tokio::sync::oneshot::error::TryRecvError;

use crate::support::{Control, Daemon, Rest, eventually, is_alive, kill, soon, terminal};

/// A shell that says nothing by itself.
const QUIET: &[&str] = &["/bin/sh", "-c", "stty -echo; echo ready; exec cat"];

#[tokio::test]
async fn a_shell_is_typed_into_and_ends_with_its_code() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let info = control.open(&["/bin/sh"]).await;
    assert_eq!(
        info,
        TerminalInfo {
            id: info.id,
            title: "sh".into(),
            name: None,
            cols: 80,
            rows: 24,
            offset: 0,
            exit_code: None,
            kind: TerminalKind::Shell,
            conversation_id: None,
        }
    );

    let mut shell = control.attach(info.id, 0).await;
    shell.type_in("echo $((6*7))-$TERM-$COLORTERM-$NO_PROXY\n").await;
    shell
        .until("42-xterm-256color-truecolor-localhost,127.0.0.1,::1\r\n")
        .await;
    shell
        .type_in("test -t 0 && test -t 1 && ps -o tty= -p $$ | grep -q pts && echo on-a-tty\n")
        .await;
    shell.until("on-a-tty\r\n").await;
    shell.type_in("exit 7\n").await;
    assert_eq!(shell.rest().await.exit, Some(Exit { code: 7, error: None }));

    let listed: Vec<TerminalInfo> = control.get("/terminals").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].exit_code, Some(7));
    // What it said can be read after its end.
    let again = control.attach(info.id, 0).await.rest().await;
    assert_eq!(
        (again.data.len() as u64, again.exit),
        (listed[0].offset, Some(Exit { code: 7, error: None }))
    );
}

#[tokio::test]
async fn the_same_id_opens_one_terminal() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let request = terminal(QUIET);
    let (first, second) = tokio::join!(control.open_as(&request), control.open_as(&request));
    assert_eq!(first.id, second.id);
    assert_eq!(control.get::<Vec<TerminalInfo>>("/terminals").await.len(), 1);
}

#[tokio::test]
async fn two_that_ask_for_a_first_one_share_it() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let first_of = || OpenTerminal {
        if_none: true,
        ..terminal(QUIET)
    };
    let (request, another) = (first_of(), first_of());
    let (first, second) = tokio::join!(control.open_as(&request), control.open_as(&another));
    assert_eq!(first.id, second.id);
    assert!([request.id, another.id].contains(&first.id));
    let more = control.open(QUIET).await;
    assert_ne!(more.id, first.id);
    assert_eq!(control.open_as(&first_of()).await.id, first.id);
}

#[tokio::test]
async fn a_viewer_comes_back_by_offset_and_loses_or_doubles_nothing() {
    const LINES: usize = 20_000;
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&[
            "/bin/sh",
            "-c",
            &format!("i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); done; sleep 1000"),
        ])
        .await
        .id;
    let mut seen = String::new();
    let mut offset = 0;
    // Leaves in the middle of the flow, wherever that is, and comes back where it was.
    for round in 1..=10 {
        let mut viewer = control.attach(id, offset).await;
        assert_eq!(viewer.offset, offset);
        let frame = viewer.until(&format!("line {}\r\n", LINES * round / 10 - 1)).await;
        offset += frame.len() as u64;
        seen.push_str(&frame);
    }
    let expected = lines(0..LINES, |line| format!("line {line}"));
    assert!(seen == expected, "{} bytes instead of {}", seen.len(), expected.len());
}

#[tokio::test]
async fn two_viewers_see_the_same_and_both_type() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(QUIET).await.id;
    let (mut left, mut right) = (control.attach(id, 0).await, control.attach(id, 0).await);
    for viewer in [&mut left, &mut right] {
        viewer.until("ready\r\n").await;
    }
    left.type_in("from the left\n").await;
    right.until("from the left\r\n").await;
    left.until("from the left\r\n").await;
    right.type_in("from the right\n").await;
    left.until("from the right\r\n").await;
    // One leaves, the other one stays.
    drop(right);
    left.type_in("alone\n").await;
    left.until("alone\r\n").await;
}

#[tokio::test]
async fn the_last_one_who_resizes_wins() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&[
            "/bin/sh",
            "-c",
            "stty -echo; stty size; while read line; do stty size; done",
        ])
        .await
        .id;
    let (mut left, mut right) = (control.attach(id, 0).await, control.attach(id, 0).await);
    left.until("24 80\r\n").await;
    left.resize(100, 40).await;
    left.type_in("\n").await;
    left.until("40 100\r\n").await;
    right.resize(60, 5000).await;
    right.type_in("\n").await;
    right.until("1000 60\r\n").await;
    let listed: Vec<TerminalInfo> = control.get("/terminals").await;
    assert_eq!((listed[0].cols, listed[0].rows), (60, 1000));
}

#[tokio::test]
async fn a_title_is_plain_text() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&[
            "/bin/sh",
            "-c",
            r"printf '\033]0;make \033[31m\007\033]2;<b>make\t\342\200\256 check</b>\007done'; sleep 1000",
        ])
        .await
        .id;
    control.attach(id, 0).await.until("done").await;
    assert_eq!(
        control.get::<Vec<TerminalInfo>>("/terminals").await[0].title,
        "<b>make check</b>"
    );
}

#[tokio::test]
async fn a_signal_is_told_as_128_and_its_number() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(&["/bin/sh", "-c", "kill -TERM $$"]).await.id;
    assert_eq!(
        control.attach(id, 0).await.rest().await.exit,
        Some(Exit { code: 143, error: None })
    );
}

#[tokio::test]
async fn output_beyond_the_ring_is_gone_and_the_rest_is_exact() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(&["/bin/sh", "-c", "seq -w 1 500000 | cat"]).await.id;
    let end = wait_for_exit(&control, id).await.offset;
    assert_eq!(end, 500_000 * 8);
    let mut late = control.attach(id, 5).await;
    let kept = end - late.offset;
    assert!((1024 * 1024..=2 * 1024 * 1024).contains(&kept), "{kept} bytes are kept");
    let expected = lines(1..500_001, |line| format!("{line:06}"));
    let kept = late.rest().await;
    assert!(
        kept.data == expected.as_bytes()[late.offset as usize..],
        "{} bytes",
        kept.data.len()
    );
}

#[tokio::test]
async fn a_flood_takes_no_memory_and_delays_nobody() {
    const MIB: u64 = 1024 * 1024;
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let quiet = control.open(QUIET).await.id;
    let mut echo = control.attach(quiet, 0).await;
    echo.until("ready\r\n").await;
    let flood = control.open(&["yes", "a line of a flood that does not end"]).await.id;
    // One viewer that never reads, one that reads all the time, and then none that reads.
    let _stuck = control.attach(flood, 0).await;
    let mut eager = control.attach(flood, 0).await;
    let flooded = Arc::new(AtomicU64::new(0));
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let reading = tokio::spawn({
        let flooded = Arc::clone(&flooded);
        async move {
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let frame = eager.frame().await.unwrap();
                assert_eq!(frame.kind, Kind::Data, "who keeps up misses nothing");
                flooded.fetch_add(frame.payload.len() as u64, Ordering::Relaxed);
            }
        }
    });
    let seen = || flooded.load(Ordering::Relaxed);
    // A delay is told by what passes meanwhile: a busy machine slows both.
    let mut most = 0;
    for round in 0..100 {
        let begun = seen();
        echo.type_in(&format!("{round}\n")).await;
        echo.until(&format!("{round}\r\n")).await;
        most = most.max(seen() - begun);
        // The next one in the middle of the flood again.
        eventually("more of the flood", || seen() > begun + MIB / 4).await;
    }
    stop.send(()).unwrap();
    soon(reading).await.unwrap();
    assert!(seen() > 20 * MIB, "only {} bytes", seen());
    assert!(most < 64 * MIB, "{most} bytes passed before an echo");
    let health: Health = control.get("/health").await;
    assert!(
        health.resident_bytes < 40 * 1024 * 1024,
        "{} bytes resident",
        health.resident_bytes
    );
}

#[tokio::test]
async fn a_viewer_that_is_overtaken_is_told_where_it_goes_on() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&["/bin/sh", "-c", "read go; seq -w 1 2000000 | cat; echo the end"])
        .await
        .id;
    let mut slow = control.attach(id, 0).await;
    let mut fast = control.attach(id, 0).await;
    fast.type_in("\n").await;
    let whole = fast.rest().await;
    assert_eq!(whole.skipped, Vec::<u64>::new());
    assert_eq!(whole.data.len(), 2 + 2_000_000 * 9 + 9);
    let part = slow.rest().await;
    assert!(!part.skipped.is_empty());
    // After the last gap everything is there, from the offset that was told.
    let told = *part.skipped.last().unwrap() as usize;
    assert!(part.data.ends_with(&whole.data[told..]));
    assert_eq!(part.exit, whole.exit);
}

/// Draws a frame once, on the alternate screen with everything switched, and then more within it
/// than the ring holds.
const FULL_SCREEN: &str = r#"read go
echo before the program
exec awk 'BEGIN {
    printf "\033[?1049h\033[?1002h\033[?1006h\033[?2004h\033[?1h\033[?25l"
    printf "\033[1;1H\033[38;2;10;20;30;48;5;17mthe frame 日本\033[0m\033[3;20r"
    for (step = 0; step < 300000; step++) printf "\033[5;3H\033[1;32mstep %d of it\033[m\033[K", step
    printf "\033[20;1Hend\n\033[4mof it all"
}'"#;

/// What a terminal shows that got these bytes: its screen and the one below, by another implementation
/// than the daemon's.
fn shown(drawn: &[u8]) -> String {
    let mut terminal = avt::Terminal::new(80, 24).unwrap();
    terminal.feed(String::from_utf8_lossy(drawn).as_ref());
    terminal.dump()
}

#[tokio::test]
async fn a_full_screen_program_looks_the_same_to_who_comes_late_or_is_overtaken() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(&["/bin/sh", "-c", FULL_SCREEN]).await.id;
    let mut slow = control.attach(id, 0).await;
    let mut whole = control.attach(id, 0).await;
    whole.type_in("\n").await;
    let whole = whole.rest().await;
    assert_eq!(whole.skipped, Vec::<u64>::new());
    let slow = slow.rest().await;
    assert!(!slow.skipped.is_empty());
    let mut late = control.attach(id, 0).await;
    assert!(late.offset > 1024 * 1024, "the ring did not wrap: {}", late.offset);
    let late = late.rest().await;

    assert!(shown(&whole.drawn).contains("the frame 日本"));
    for other in [&late, &slow] {
        // Where it was, and how it is left.
        for left in ["", "\x1b[?1049l"] {
            let of = |rest: &Rest| shown(&[&rest.drawn, left.as_bytes()].concat());
            assert_eq!(of(other), of(&whole));
        }
        let drawn = String::from_utf8_lossy(&other.drawn);
        let after = drawn.rsplit('\x18').next().unwrap();
        for mode in [1, 1002, 1006, 2004] {
            assert!(after.contains(&format!("\x1b[?{mode}h")), "mode {mode} is lost");
        }
    }
}

#[tokio::test]
async fn a_sleeping_viewer_does_not_stop_a_program() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(&["/bin/sh", "-c", "seq -w 1 2000000 | cat"]).await.id;
    let _asleep = control.attach(id, 0).await;
    assert_eq!(wait_for_exit(&control, id).await.exit_code, Some(0));
}

#[tokio::test]
async fn closing_ends_what_ignores_a_hangup_too() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&[
            "/bin/sh",
            "-c",
            "trap '' HUP TERM; echo pid $$ .; while :; do sleep 1000; done",
        ])
        .await
        .id;
    let mut viewer = control.attach(id, 0).await;
    let said = viewer.until(" .\r\n").await;
    let pid = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(is_alive(pid));
    assert_eq!(
        control.request(Method::DELETE, &format!("/terminals/{id}"), "").await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(viewer.rest().await.exit, Some(Exit { code: 137, error: None }));
    assert!(!is_alive(pid));
    assert_eq!(
        control
            .problem(Method::DELETE, &format!("/terminals/{id}"), "")
            .await
            .kind,
        "terminal-not-found"
    );
}

#[tokio::test]
async fn a_program_left_in_the_background_does_not_hide_the_end() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&["/bin/sh", "-c", "trap '' HUP; sleep 1000 & echo $!; exit 3"])
        .await
        .id;
    let rest = control.attach(id, 0).await.rest().await;
    assert_eq!(rest.exit, Some(Exit { code: 3, error: None }));
    let left = String::from_utf8(rest.data).unwrap().trim().parse().unwrap();
    assert!(is_alive(left));
    kill(left);
}

#[tokio::test]
async fn wrong_requests_are_explained() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let open = |change: fn(&mut OpenTerminal)| {
        let mut request = terminal(&["/bin/true"]);
        change(&mut request);
        serde_json::to_vec(&request).unwrap()
    };
    let id = TerminalId::new();
    for (method, path, body, kind, pointer) in [
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.cols = 0),
            "invalid-size",
            Some("/cols"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.rows = 1001),
            "invalid-size",
            Some("/rows"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.cwd = Some("/no/such".into())),
            "invalid-cwd",
            Some("/cwd"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.cwd = Some("tmp".into())),
            "invalid-cwd",
            Some("/cwd"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.argv = Some(vec![])),
            "invalid-argv",
            Some("/argv"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.argv = Some(vec!["a\0b".into()])),
            "invalid-argv",
            Some("/argv"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            open(|terminal| terminal.argv = Some(vec!["/no/such".into()])),
            "program-not-started",
            Some("/argv"),
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            b"{".to_vec(),
            "invalid-body",
            None,
        ),
        (
            Method::POST,
            "/terminals".to_owned(),
            vec![b' '; 1024 * 1024],
            "body-too-large",
            None,
        ),
        (
            Method::POST,
            format!("/terminals/{id}/attach"),
            vec![],
            "terminal-not-found",
            None,
        ),
        (
            Method::POST,
            format!("/terminals/{id}/attach?offset=-1"),
            vec![],
            "invalid-query",
            None,
        ),
        (
            Method::POST,
            "/terminals/trm_1/attach".to_owned(),
            vec![],
            "invalid-id",
            None,
        ),
        (Method::PUT, "/terminals".to_owned(), vec![], "method-not-allowed", None),
        (Method::GET, "/nothing".to_owned(), vec![], "not-found", None),
    ] {
        let problem = control.problem(method, &path, body).await;
        assert_eq!(
            (problem.kind.as_str(), problem.pointer.as_deref()),
            (kind, pointer),
            "{path}"
        );
    }
}

#[tokio::test]
async fn terminals_are_limited_and_ended_ones_make_room() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let ended = control.open(&["/bin/true"]).await.id;
    wait_for_exit(&control, ended).await;
    let mut ids = BTreeSet::new();
    for _ in 0..32 {
        ids.insert(control.open(QUIET).await.id);
    }
    let listed: Vec<TerminalInfo> = control.get("/terminals").await;
    assert_eq!(listed.iter().map(|info| info.id).collect::<BTreeSet<_>>(), ids);
    let body = serde_json::to_vec(&terminal(QUIET)).unwrap();
    assert_eq!(
        control.problem(Method::POST, "/terminals", body).await.kind,
        "too-many-terminals"
    );
}

#[tokio::test]
async fn a_broken_frame_ends_the_input_alone() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control.open(QUIET).await.id;
    let (input, response) = control.stream(Method::POST, &format!("/terminals/{id}/attach")).await;
    assert_eq!(response.status(), StatusCode::OK);
    input
        .send(Ok(hyper::body::Frame::data(vec![99, 0, 0, 0, 0].into())))
        .await
        .unwrap();
    let mut sound = control.attach(id, 0).await;
    sound.until("ready\r\n").await;
    sound.type_in("still here\n").await;
    sound.until("still here\r\n").await;
}

/// Lines as a terminal shows them.
fn lines(numbers: std::ops::Range<usize>, line: impl Fn(usize) -> String) -> String {
    let mut all = String::new();
    for number in numbers {
        all.push_str(&line(number));
        all.push_str("\r\n");
    }
    all
}

async fn wait_for_exit(control: &Control, id: TerminalId) -> TerminalInfo {
    let deadline = Instant::now() + crate::support::PATIENCE;
    loop {
        let listed: Vec<TerminalInfo> = control.get("/terminals").await;
        let info = listed.into_iter().find(|info| info.id == id).unwrap();
        if info.exit_code.is_some() {
            return info;
        }
        assert!(Instant::now() < deadline, "{info:?} does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn shutting_down_ends_every_terminal() {
    let mut daemon = Daemon::start();
    let control = daemon.connect().await;
    let id = control
        .open(&["/bin/sh", "-c", "echo pid $$ .; sleep 1000; sleep 1000"])
        .await
        .id;
    let said = control.attach(id, 0).await.until(" .\r\n").await;
    let pid = said.split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(
        control.request(Method::POST, "/shutdown", "").await.0,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        crate::support::soon(daemon.process.wait()).await.unwrap().code(),
        Some(0)
    );
    eventually("the end of the terminal", || !is_alive(pid)).await;
}

#[tokio::test]
async fn the_list_is_told_when_it_says_something_else() {
    let daemon = Daemon::start();
    let control = daemon.connect().await;
    let (input, watched) = control.stream(Method::GET, "/terminals/watch").await;
    drop(input);
    let mut lines = watched.into_body();
    let mut told = async move || {
        loop {
            let frame = soon(lines.frame()).await.unwrap().unwrap();
            if let Ok(data) = frame.into_data() {
                return serde_json::from_slice::<Vec<TerminalInfo>>(&data).unwrap();
            }
        }
    };
    assert_eq!(told().await, []);

    let id = control.open(&["/bin/sh"]).await.id;
    assert_eq!(told().await.len(), 1);
    let rename = |name: String| serde_json::to_vec(&RenameTerminal { name }).unwrap();
    let path = format!("/terminals/{id}");
    let (status, _) = control
        .request(Method::PATCH, &path, rename("tests\u{202e}\n".to_owned()))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(told().await[0].name.as_deref(), Some("tests"));
    let refused = control.problem(Method::PATCH, &path, rename("x".repeat(41))).await;
    assert_eq!((refused.status, refused.kind.as_str()), (422, "invalid-name"));

    let shell = control.attach(id, 0).await;
    shell.type_in("printf '\\033]2;busy\\007'; exit 3\n").await;
    loop {
        let list = told().await;
        if list[0].exit_code == Some(3) {
            assert_eq!(
                (list[0].title.as_str(), list[0].name.as_deref()),
                ("busy", Some("tests"))
            );
            break;
        }
    }
    let (status, _) = control.request(Method::DELETE, &path, Vec::new()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(told().await, []);
}
