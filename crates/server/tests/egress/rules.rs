//! The profile's list and the operator's.

use std::collections::BTreeMap;

use anyhow::Result;
use mistle_protocol::egress::EgressDecision;
use mistle_testkit::TestServer;

use crate::world::{ended, files, session, setup};

#[tokio::test]
async fn what_is_allowed_is_reached_and_both_answers_are_recorded_with_their_rule() -> Result<()> {
    let (address, _serving) = files(BTreeMap::from([(
        "/greeting".to_owned(),
        b"hello from outside\n".to_vec(),
    )]))
    .await?;
    let (allowed, not_permitted) = (address.to_string(), format!("127.0.0.3:{}", address.port()));
    let server = TestServer::start(setup(
        &[allowed.clone(), not_permitted.clone()],
        std::slice::from_ref(&allowed),
    ))
    .await?;
    let id = session(&server).await?;

    let get = async |url: String| server.api.exec(id, &["curl", "--silent", "--show-error", &url]).await;
    assert_eq!(
        get(format!("http://{allowed}/greeting")).await?.output,
        "hello from outside\n"
    );
    let denied = get("http://denied.example/greeting".to_owned()).await?.output;
    assert!(denied.contains(r#""type":"egress-not-allowed""#), "{denied}");
    assert!(denied.contains("Add `denied.example` to `egress.allow`"), "{denied}");
    let private = get(format!("http://{not_permitted}/greeting")).await?.output;
    assert!(private.contains(r#""type":"egress-private-address""#), "{private}");
    let tunnel = get("https://denied.example/".to_owned()).await?;
    assert!(tunnel.code != 0 && tunnel.errors.contains("403"), "{tunnel:?}");

    let records = ended(&server, id, 4).await?;
    let said: Vec<_> = records
        .iter()
        .map(|record| (record.host.as_str(), record.port, record.decision, record.rule.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("127.0.0.2", address.port(), EgressDecision::Tunnel, allowed.as_str()),
            ("denied.example", 80, EgressDecision::Deny, "not on the allow-list"),
            (
                "127.0.0.3",
                address.port(),
                EgressDecision::Deny,
                "it is a loopback address"
            ),
            ("denied.example", 443, EgressDecision::Deny, "not on the allow-list"),
        ]
    );
    assert!(records[0].bytes_out > 0 && records[0].bytes_in > "hello from outside\n".len() as u64);
    assert!(
        records[1..]
            .iter()
            .all(|record| (record.bytes_out, record.bytes_in) == (0, 0))
    );
    Ok(())
}
