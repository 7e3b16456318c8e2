//! Two sessions that run at the same time.

use anyhow::Result;
use mistle_protocol::agent::TurnOutcome;
use mistle_protocol::id::SessionId;
use mistle_testkit::{Setup, TestServer, sandbox_processes};

/// Leaves everything in a sandbox that another could get at, and comes back when it is there.
const LEAVE: &str = r#"
umask 077
echo mine > /workspace/neighbours-secret
setsid perl -e '
    use IO::Socket::INET; use IO::Socket::UNIX;
    my @kept = (
        IO::Socket::INET->new(LocalAddr => "127.0.0.1:4711", Listen => 8, ReuseAddr => 1),
        IO::Socket::UNIX->new(Local => "\0neighbours-abstract", Listen => 8),
        IO::Socket::UNIX->new(Local => "/tmp/neighbours.sock", Listen => 8),
    );
    $0 = "neighbours-process";
    open(READY, ">/tmp/ready");
    close READY;
    sleep 1000;
' > /dev/null 2>&1 < /dev/null &
until [ -e /tmp/ready ]; do :; done
"#;

/// Says what of it can be reached.
const REACH: &str = r#"
say() { if [ -n "$2" ]; then echo "$1: yes"; else echo "$1: no"; fi; }
connects() { perl -e "use IO::Socket::INET; use IO::Socket::UNIX; print 1 if IO::Socket::$1->new($2)"; }
say 'its files' "$(find / -name 'neighbours-secret' 2> /dev/null)"
say 'its ports' "$(connects INET 'PeerAddr => "127.0.0.1:4711"')"
say 'its ports, listed' "$(grep ':1267 ' /proc/net/tcp)"
say 'its abstract sockets' "$(connects UNIX 'Peer => "\0neighbours-abstract"')"
say 'its sockets' "$(connects UNIX 'Peer => "/tmp/neighbours.sock"')"
say 'its sockets, listed' "$(grep neighbours /proc/net/unix)"
say 'its processes' "$(grep -l '^neighbours' /proc/[0-9]*/comm 2> /dev/null)"
"#;

const WHAT: [&str; 7] = [
    "its files",
    "its ports",
    "its ports, listed",
    "its abstract sockets",
    "its sockets",
    "its sockets, listed",
    "its processes",
];

async fn session(server: &TestServer) -> Result<SessionId> {
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(session.id)
}

/// The first user id of the machine that a sandbox's root is.
fn range(id: SessionId) -> Option<u32> {
    sandbox_processes(id).into_iter().find_map(|pid| {
        let map = std::fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?;
        let mut numbers = map.split_whitespace().map(str::parse::<u32>);
        let (inside, outside) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        // The shim is in the group too, and in no user namespace.
        (inside == 0 && outside != 0).then_some(outside)
    })
}

#[tokio::test]
async fn a_live_neighbour_is_out_of_reach() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let (one, other) = (session(&server).await?, session(&server).await?);
    assert_eq!(server.api.shell(one, LEAVE).await?.code, 0);
    let all = |answer: &str| WHAT.map(|what| format!("{what}: {answer}\n")).concat();
    // It reaches itself, so what follows could fail.
    assert_eq!(server.api.shell(one, REACH).await?.output, all("yes"));
    assert_eq!(server.api.shell(other, REACH).await?.output, all("no"));

    let (one, other) = (range(one), range(other));
    assert!(one.is_some() && other.is_some() && one != other, "{one:?} {other:?}");
    Ok(())
}
