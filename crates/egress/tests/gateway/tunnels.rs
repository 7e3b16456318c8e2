//! Tunnels, over a real HTTP/2 connection and real sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sandbox::{Names, PATIENCE, Sandbox, deaf, echo, policy, provider, unused};
use http::{Method, Request};
use http_body_util::{Empty, Full};
use mistle_egress::{Gateway, GatewayConfig, SandboxEgress, ServeError};
use mistle_protocol::egress::{EgressDecision, EgressRecord};
use mistle_protocol::id::SessionId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

/// What a record says apart from when and how long.
fn summary(record: &EgressRecord) -> (String, EgressDecision, &str, u64, u64) {
    (
        format!("{}:{}", record.host, record.port),
        record.decision,
        &record.rule,
        record.bytes_out,
        record.bytes_in,
    )
}

#[tokio::test]
async fn bytes_pass_and_each_direction_ends_by_itself() {
    let address = echo().await;
    let target = format!("echo.example:{}", address.port());
    let names = Arc::new(Names::default().with("echo.example", &[&["127.0.0.1"]]));
    let mut sandbox = Sandbox::new(&[&target], names, policy(&[&target], None)).await;
    let mut stream = sandbox.open(&target.to_uppercase()).await;
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, "hello 5 bytes");
    let record = sandbox.record().await;
    assert_eq!(record.session_id, sandbox.session_id);
    assert_eq!(
        summary(&record),
        (target.clone(), EgressDecision::Tunnel, target.as_str(), 5, 13)
    );
    assert_eq!((record.method, record.path, record.status), (None, None, None));
}

#[tokio::test]
async fn a_connection_is_recorded_before_anything_of_it_leaves() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let mut sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&target], None)).await;
    let mut stream = sandbox.open(&target).await;
    let (mut upstream, _) = listener.accept().await.unwrap();
    let begun = sandbox.any_record().await;
    assert_eq!(
        summary(&begun),
        (target.clone(), EgressDecision::Tunnel, target.as_str(), 0, 0)
    );
    assert_eq!(begun.duration_ms, None);
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    upstream.read_to_end(&mut heard).await.unwrap();
    drop(upstream);
    let ended = sandbox.any_record().await;
    assert_eq!((ended.id, ended.at, ended.bytes_out), (begun.id, begun.at, 5));
    assert!(ended.duration_ms.is_some());
}

#[tokio::test]
async fn what_can_not_be_recorded_is_not_made() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = address.to_string();
    let route = provider(address, "sk-real");
    let mut sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&target], Some(route))).await;
    sandbox.records.close();
    let problem = sandbox.refused(&target).await;
    assert_eq!((problem.kind.as_str(), problem.status), ("egress-not-recorded", 503));
    let mut model = sandbox.model("demo.model.mistle.internal").await;
    let request = Request::builder()
        .uri("/v1/models")
        .header("host", "demo.model.mistle.internal");
    let response = model
        .send_request(request.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    // Nobody connected: the next one who does is the first.
    let own = tokio::net::TcpStream::connect(address).await.unwrap();
    let (_, first) = listener.accept().await.unwrap();
    assert_eq!(first, own.local_addr().unwrap());
    // A denial is one all the same.
    assert_eq!(sandbox.refused("example.org:443").await.kind, "egress-not-allowed");
}

#[tokio::test]
async fn what_is_not_listed_is_denied_and_recorded() {
    let mut sandbox = Sandbox::new(&[], Arc::default(), policy(&["github.com"], None)).await;
    for target in [
        "evil.com:443",
        "github.com:22",
        "169.254.169.254:80",
        "[::1]:443",
        "localhost:80",
        "github.com.evil.com:443",
    ] {
        let problem = sandbox.refused(target).await;
        assert_eq!(
            (problem.kind.as_str(), problem.status),
            ("egress-not-allowed", 403),
            "{target}"
        );
        assert!(problem.detail.unwrap().contains("egress.allow"));
        let record = sandbox.record().await;
        assert_eq!(
            summary(&record),
            (target.to_owned(), EgressDecision::Deny, "not on the allow-list", 0, 0)
        );
    }
}

#[tokio::test]
async fn an_unreadable_target_is_denied_whatever_is_listed() {
    let mut sandbox = Sandbox::new(
        &["0.0.0.0/0"],
        Arc::default(),
        policy(&["127.0.0.1", "github.com"], None),
    )
    .await;
    for target in [
        "127.1:80",
        "0x7f000001:80",
        "2130706433:80",
        "0177.0.0.1:80",
        "user@github.com:443",
        "[::ffff:127.0.0.1]:80",
        "github.com..:443",
        "github.com:0",
    ] {
        let problem = sandbox.refused(target).await;
        assert_eq!(
            (problem.kind.as_str(), problem.status),
            ("egress-invalid-target", 400),
            "{target}"
        );
        assert_eq!(
            summary(&sandbox.record().await),
            (format!("{target}:0"), EgressDecision::Deny, "invalid target", 0, 0)
        );
    }
}

#[tokio::test]
async fn names_that_lead_inside_are_denied() {
    let inside = [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "fd00:ec2::254",
    ];
    for address in inside {
        let names = Arc::new(Names::default().with("rebound.example", &[&[address]]));
        let mut sandbox = Sandbox::new(&[], names, policy(&["rebound.example"], None)).await;
        let problem = sandbox.refused("rebound.example:443").await;
        assert_eq!(
            (problem.kind.as_str(), problem.status),
            ("egress-private-address", 403),
            "{address}"
        );
        assert!(
            !problem.detail.unwrap().contains(address),
            "the sandbox is not told what the name resolves to"
        );
        let record = sandbox.record().await;
        assert_eq!(record.decision, EgressDecision::Deny);
        assert!(record.rule.starts_with("it is "), "{}", record.rule);
    }
}

#[tokio::test]
async fn a_listed_address_is_judged_too() {
    let mut sandbox = Sandbox::new(&[], Arc::default(), policy(&["127.0.0.1:9", "169.254.169.254"], None)).await;
    for target in ["127.0.0.1:9", "169.254.169.254:80"] {
        assert_eq!(sandbox.refused(target).await.kind, "egress-private-address");
        sandbox.record().await;
    }
}

#[tokio::test]
async fn a_name_is_resolved_once_and_that_address_is_used() {
    let address = echo().await;
    let target = format!("flip.example:{}", address.port());
    // A second lookup would lead to the metadata address.
    let names = Arc::new(Names::default().with("flip.example", &[&["127.0.0.1"], &["169.254.169.254"]]));
    let mut sandbox = Sandbox::new(&["127.0.0.1/32"], Arc::clone(&names), policy(&[&target], None)).await;
    drop(sandbox.open(&target).await);
    sandbox.record().await;
    assert_eq!(names.lookups.load(Ordering::SeqCst), 1);
    assert_eq!(sandbox.refused(&target).await.kind, "egress-private-address");
}

#[tokio::test]
async fn addresses_that_are_refused_are_left_out() {
    let address = echo().await;
    let target = format!("mixed.example:{}", address.port());
    let names = Arc::new(Names::default().with("mixed.example", &[&["169.254.169.254", "10.0.0.1", "127.0.0.1"]]));
    let sandbox = Sandbox::new(&["127.0.0.1"], names, policy(&[&target], None)).await;
    let mut stream = sandbox.open(&target).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(
        tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap(),
        b'x'
    );
}

#[tokio::test]
async fn what_can_not_be_reached_says_why() {
    let (address, _reserved) = unused();
    let target = address.to_string();
    let mut sandbox = Sandbox::new(
        &["127.0.0.1"],
        Arc::default(),
        policy(&[&target, "nowhere.example"], None),
    )
    .await;
    let problem = sandbox.refused(&target).await;
    assert_eq!((problem.kind.as_str(), problem.status), ("egress-unreachable", 502));
    assert!(problem.detail.unwrap().contains("refused"));
    let record = sandbox.record().await;
    assert_eq!(record.decision, EgressDecision::Tunnel);
    assert!(record.rule.starts_with(&format!("{target}, but ")), "{}", record.rule);
    let problem = sandbox.refused("nowhere.example:443").await;
    assert!(problem.detail.unwrap().contains("does not resolve"));
}

#[tokio::test]
async fn a_policy_that_changes_ends_what_it_no_longer_allows() {
    let address = echo().await.to_string();
    let other = echo().await.to_string();
    let mut sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&address, &other], None)).await;
    let mut ended = sandbox.open(&address).await;
    let mut kept = sandbox.open(&other).await;
    sandbox.policy.send(policy(&[&other], None)).unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, ended.read_to_end(&mut rest))
        .await
        .expect("the tunnel ends");
    let record = sandbox.record().await;
    assert_eq!(record.rule, format!("{address}, ended because it is no longer allowed"));
    assert_eq!(sandbox.refused(&address).await.kind, "egress-not-allowed");
    kept.write_all(b"x").await.unwrap();
    assert_eq!(
        tokio::time::timeout(PATIENCE, kept.read_u8()).await.unwrap().unwrap(),
        b'x'
    );
}

#[tokio::test]
async fn a_tunnel_that_stalls_stops_no_other() {
    let (deaf, echo) = (deaf().await.to_string(), echo().await.to_string());
    let sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&deaf, &echo], None)).await;
    let mut stalled = sandbox.open(&deaf).await;
    let block = vec![0; 256 * 1024];
    // Writes until nothing moves any more: every buffer and window on the way is full.
    while tokio::time::timeout(Duration::from_millis(300), stalled.write_all(&block))
        .await
        .is_ok()
    {}
    let mut alive = sandbox.open(&echo).await;
    alive.write_all(b"x").await.unwrap();
    assert_eq!(
        tokio::time::timeout(PATIENCE, alive.read_u8()).await.unwrap().unwrap(),
        b'x'
    );
}

#[tokio::test]
async fn a_large_transfer_is_complete_and_counted() {
    const LENGTH: usize = 32 * 1024 * 1024;
    let address = echo().await.to_string();
    let mut sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&address], None)).await;
    let (mut read, mut write) = tokio::io::split(sandbox.open(&address).await);
    let sent: Vec<u8> = (0..LENGTH).map(|index| (index % 251) as u8).collect();
    let writing = tokio::spawn({
        let sent = sent.clone();
        async move {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        }
    });
    let mut received = Vec::new();
    tokio::time::timeout(PATIENCE, read.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    writing.await.unwrap();
    let tail = format!(" {LENGTH} bytes");
    assert!(received[..LENGTH] == sent && received[LENGTH..] == *tail.as_bytes());
    let record = sandbox.record().await;
    assert_eq!(
        (record.bytes_out, record.bytes_in),
        (LENGTH as u64, (LENGTH + tail.len()) as u64)
    );
}

#[tokio::test]
async fn what_runs_is_recorded_when_either_side_goes() {
    let address = echo().await.to_string();
    let mut sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&address], None)).await;
    let _open = sandbox.open(&address).await;
    sandbox.gateway.shutdown().await;
    assert_eq!(sandbox.record().await.rule, format!("{address}, ended with the server"));
    assert!(sandbox.serving.await.unwrap().is_ok());

    let mut sandbox = Sandbox::new(&["127.0.0.1"], Arc::default(), policy(&[&address], None)).await;
    let _open = sandbox.open(&address).await;
    sandbox.serving.abort();
    assert_eq!(sandbox.record().await.rule, address);
}

#[tokio::test]
async fn other_requests_are_refused() {
    let sandbox = Sandbox::new(&[], Arc::default(), policy(&[], None)).await;
    let request = Request::builder()
        .method(Method::GET)
        .uri("http://github.com/")
        .body(Empty::new())
        .unwrap();
    assert_eq!(sandbox.send(request).await.status(), 405);
}

#[tokio::test]
async fn what_is_no_http2_is_ended() {
    let gateway = Gateway::new(GatewayConfig::default()).unwrap();
    let (mut inside, outside) = tokio::net::UnixStream::pair().unwrap();
    let (_policy, receiver) = watch::channel(policy(&[], None));
    let (recorder, _records) = mpsc::channel(1);
    inside.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let sandbox = SandboxEgress {
        session_id: SessionId::new(),
        policy: receiver,
        recorder: Arc::new(recorder),
    };
    let served = tokio::time::timeout(PATIENCE, gateway.serve(outside, sandbox))
        .await
        .unwrap();
    assert!(matches!(served, Err(ServeError::Connection(_))));
}
