//! The sockets of the daemon, in the hands of another program of the sandbox. Root there may connect
//! to them as the daemon does, and gains what the daemon has: its own session.

use anyhow::Result;
use mistle_protocol::agent::TurnOutcome;
use mistle_protocol::api::Page;
use mistle_protocol::egress::{EgressDecision, EgressRecord};
use mistle_protocol::session::Delivery;
use mistle_testkit::{Setup, TestServer, eventually};

/// Takes the control link from the daemon, says what the server begins with, and lets go.
const TAKE: &str = r#"perl -e '
    use IO::Socket::UNIX;
    my $link = IO::Socket::UNIX->new(Peer => "/run/mistle/control.sock") or die "no connection: $!";
    sysread($link, my $begin, 14);
    print $begin;
'"#;

/// Asks the gateway for a connection, as the daemon does, and prints its answer. Again when the daemon,
/// which dials at once, has the link back before there is one.
const CONNECT: &str = r#"perl -e '
    use IO::Socket::UNIX;
    sub frame { my ($type, $flags, $stream, $payload) = @_;
        return substr(pack("N", length $payload), 1) . pack("CCN", $type, $flags, $stream) . $payload }
    sub field { my ($index, $value) = @_; return pack("CC", $index, length $value) . $value }
    my $request = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, "")
        . frame(1, 4, 1, field(2, "CONNECT") . field(1, "stolen.example:443"));
    $SIG{PIPE} = "IGNORE";
    my $answer = "";
    until ($answer) {
        my $link = IO::Socket::UNIX->new(Peer => "/run/mistle/egress.sock") or die "no connection: $!";
        syswrite($link, $request);
        while (!$answer && read($link, my $head, 9) == 9) {
            my ($length, $type) = (unpack("N", "\0" . substr($head, 0, 3)), unpack("C", substr($head, 3, 1)));
            read($link, my $payload, $length) == $length or last;
            $answer = $payload if $type == 0;
        }
    }
    print $answer;
'"#;

#[tokio::test]
async fn who_takes_the_control_link_has_its_own_session_and_no_longer_than_the_daemon_is_away() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let session = server.api.new_session("", "say: hello").await?;
    // A reader has streams of the daemon's connection open, of its ports and terminals.
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    // The daemon's connection ends with it, and with that the command: what it printed went to a file.
    let take = format!("setsid sh -c '{}' > /tmp/taken 2>&1 &", TAKE.replace('\'', r"'\''"));
    let _ = server.api.shell(session.id, &take).await;
    eventually("the daemon is back", async || {
        let taken = server.api.shell(session.id, "cat /tmp/taken").await;
        Ok(taken.is_ok_and(|taken| taken.output == "PRI * HTTP/2.0"))
    })
    .await?;
    server.api.send(session.id, "say: still here", Delivery::Queue).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(())
}

#[tokio::test]
async fn who_takes_the_egress_link_meets_the_same_policy() -> Result<()> {
    let server = TestServer::start(Setup::policy("autonomous")).await?;
    let session = server.api.new_session("", "say: hello").await?;
    let mut live = server.api.live(session.id, 0).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);

    let ran = server.api.shell(session.id, CONNECT).await?;
    assert!(ran.output.contains(r#""type":"egress-not-allowed""#), "{ran:?}");
    let mut records = Vec::new();
    eventually("the record of the refusal", async || {
        let page: Page<EgressRecord> = server.api.get(&format!("/sessions/{}/egress", session.id)).await?;
        records = page.data;
        records.retain(|record| record.host == "stolen.example");
        Ok(!records.is_empty())
    })
    .await?;
    let mut said: Vec<_> = records
        .iter()
        .map(|record| (record.decision, record.rule.as_str()))
        .collect();
    said.dedup();
    assert_eq!(said, [(EgressDecision::Deny, "not on the allow-list")]);

    // The daemon dials again, and the model is reached as before.
    server.api.send(session.id, "say: still here", Delivery::Queue).await?;
    assert_eq!(live.turn_end().await?, TurnOutcome::Completed);
    Ok(())
}
