//! Layers.

use mistle_protocol::id::{LayerId, SessionId};
use mistle_sandbox::{Driver, SandboxError, SandboxSpec};

use crate::support::{Host, listing, spec};

#[tokio::test]
async fn a_frozen_disk_is_below_the_own_and_others() {
    let host = Host::open().await;
    let first = spec(
        "echo one > /workspace/file; chown 33:33 /workspace/file; rm /etc/profile; mkdir /usr/share/extra; echo two > /usr/share/extra/file",
    );
    host.run_spec(&first).await;
    let layer = host.driver.freeze(first.id).await.unwrap();
    let frozen = host.data.path().join("layers").join(layer.to_string());
    let before = listing(&frozen);

    let look = "cat /workspace/file /usr/share/extra/file; stat -c '%u:%g' /workspace/file; ls /etc/profile 2> /dev/null; echo changed > /workspace/file; rm /usr/share/extra/file";
    let seen = "one\ntwo\n33:33\n";
    assert_eq!(host.run_on(&first, look).await.output, seen);
    // Another sandbox has another range of ids; owners are the same inside.
    let second = SandboxSpec {
        id: SessionId::new(),
        layers: vec![layer],
        ..spec(look)
    };
    assert_eq!(host.run_spec(&second).await.output, seen);
    assert_eq!(
        host.run_on(&second, "cat /workspace/file; ls /usr/share/extra")
            .await
            .output,
        "changed\n"
    );
    assert_eq!(listing(&frozen), before, "a layer does not change");

    // A layer on a layer.
    let upper = host.driver.freeze(second.id).await.unwrap();
    let third = SandboxSpec {
        id: SessionId::new(),
        layers: vec![layer, upper],
        ..spec("cat /workspace/file; ls /usr/share/extra")
    };
    assert_eq!(host.run_spec(&third).await.output, "changed\n");

    assert!(matches!(
        host.driver.delete_layer(layer).await,
        Err(SandboxError::Invalid { .. })
    ));
    for spec in [&first, &second, &third] {
        host.driver.delete(spec.id).await.unwrap();
    }
    host.driver.delete_layer(layer).await.unwrap();
    assert!(!frozen.exists());
    let orphan = SandboxSpec {
        id: SessionId::new(),
        layers: vec![layer],
        ..spec("")
    };
    assert!(matches!(
        host.driver.create(&orphan).await,
        Err(SandboxError::LayerNotFound(_))
    ));
}

#[tokio::test]
async fn what_runs_is_not_frozen() {
    let host = Host::open().await;
    let spec = spec("echo up > /run/mistle/tell; exec sleep 1000");
    host.start_and_hear(&spec).await;
    assert!(matches!(
        host.driver.freeze(spec.id).await,
        Err(SandboxError::Running(_))
    ));
    assert!(matches!(
        host.driver.freeze(SessionId::new()).await,
        Err(SandboxError::NotFound(_))
    ));
    host.driver.delete(spec.id).await.unwrap();
}

#[tokio::test]
async fn an_interrupted_freeze_is_finished() {
    let host = Host::open().await;
    let spec = spec("echo kept > /workspace/file");
    host.run_spec(&spec).await;
    let file = host.folder(spec.id).join("sandbox.json");
    let edit = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut record = serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("understand");
        change(&mut record);
        std::fs::write(&file, record.to_string()).expect("write");
    };
    // What a server leaves that dies before the disk was renamed …
    edit(&|record| record["freezing"] = LayerId::new().to_string().into());
    assert_eq!(
        host.run_on(&spec, "cat /workspace/file; echo more >> /workspace/file")
            .await
            .output,
        "kept\n"
    );
    // … and after it.
    let layer = host.driver.freeze(spec.id).await.expect("freeze").to_string();
    edit(&|record| {
        record["layers"].as_array_mut().expect("list").pop();
        record["freezing"] = layer.clone().into();
    });
    std::fs::remove_dir_all(host.folder(spec.id).join("disk")).expect("remove");
    assert_eq!(host.run_on(&spec, "cat /workspace/file").await.output, "kept\nmore\n");
}
