use std::os::unix::fs::PermissionsExt as _;

use mistle_server::server::StartError;
use secrecy::ExposeSecret as _;

use crate::app::{TestApp, config, start};

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let app = TestApp::start().await;
    let Err(error) = start(config(app.data.path(), "")).await else {
        panic!("a second server started")
    };
    let StartError::Locked { pid, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*pid, std::process::id().to_string());
}

#[tokio::test]
async fn an_address_that_is_taken_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), "");
    config.listen = taken.local_addr().unwrap();
    let Err(error) = start(config).await else {
        panic!("it started")
    };
    assert!(matches!(error, StartError::AddressInUse { .. }), "{error}");
    assert!(error.to_string().contains("--listen"));
}

#[tokio::test]
async fn the_next_server_knows_what_the_last_one_knew() {
    let TestApp { running, data, http } = TestApp::start().await;
    let (token, old_link) = (
        running.token.expose_secret().to_owned(),
        running.login_link.expose_secret().to_owned(),
    );
    for (name, mode) in [("cli-token", 0o600), (".", 0o700)] {
        let permissions = std::fs::metadata(data.path().join(name)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{name}");
    }
    assert_eq!(
        std::fs::read_to_string(data.path().join("cli-token")).unwrap().trim(),
        token
    );
    assert!(
        std::fs::read_to_string(data.path().join("mistle.toml"))
            .unwrap()
            .starts_with("# Mistle's configuration")
    );
    assert!(data.path().join("demo/.git").is_dir());
    running.shutdown().await;

    let next = start(config(data.path(), "")).await.unwrap();
    assert_eq!(next.token.expose_secret(), token);
    assert_ne!(next.login_link.expose_secret(), old_link);
    let me = http
        .get(next.url().join("/api/v1/me").unwrap())
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert!(me.status().is_success());
    next.shutdown().await;
}
