//! Starting, stopping, and what survives.

use std::fs;
use std::time::Duration;

use mistle_protocol::id::SessionId;
use mistle_sandbox::{Driver, Exit, Image, SandboxError, SandboxSpec};

use crate::support::{Host, end, kill, listing, lives, spec, within};

/// Tells that it is up, ends orderly at SIGTERM, and otherwise stays.
const STAY: &str = "trap 'echo ended > /workspace/end; exit 7' TERM; echo $(cat /workspace/note 2> /dev/null) > /run/mistle/tell; while :; do sleep 1000 & wait; done";

#[tokio::test]
async fn a_stop_is_orderly_and_keeps_the_disk() {
    let host = Host::open().await;
    let spec = spec(STAY);
    host.start_and_hear(&spec).await;
    host.driver.stop(spec.id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(
        host.driver.wait(spec.id).await.unwrap(),
        Exit {
            code: Some(7),
            out_of_memory: false
        }
    );
    let before = listing(&host.folder(spec.id).join("disk"));
    assert!(host.folder(spec.id).join("disk/root/workspace/end").exists());
    // Stopping and creating what is there change nothing.
    host.driver.stop(spec.id, Duration::ZERO).await.unwrap();
    host.driver.create(&spec).await.unwrap();
    assert_eq!(listing(&host.folder(spec.id).join("disk")), before);
    assert_eq!(host.run_on(&spec, "cat /workspace/end").await.output, "ended\n");
}

#[tokio::test]
async fn a_deaf_sandbox_is_killed_after_the_grace() {
    let host = Host::open().await;
    let spec = spec("echo up > /run/mistle/tell; exec sleep 1000");
    host.start_and_hear(&spec).await;
    within(host.driver.stop(spec.id, Duration::from_millis(50)))
        .await
        .unwrap();
    assert_eq!(host.driver.wait(spec.id).await.unwrap().code, Some(137));
}

#[tokio::test]
async fn the_disk_survives_the_death_of_pid_1_and_of_the_shim() {
    let host = Host::open().await;
    let spec = spec(STAY);
    host.driver.create(&spec).await.unwrap();
    host.run_on(
        &spec,
        "echo kept > /workspace/note; chown 1000:1000 /workspace/note; rm /etc/profile",
    )
    .await;
    for (which, code) in [("init", Some(137)), ("shim", None), ("init", Some(137))] {
        assert_eq!(host.start_and_hear(&spec).await, "kept", "before the death of {which}");
        let init = host.pid(spec.id, "init");
        kill(host.pid(spec.id, which));
        let exit = within(host.driver.wait(spec.id)).await.unwrap();
        assert_eq!(exit.code, code);
        assert!(!lives(init), "nothing of it lives");
    }
    assert_eq!(
        host.run_on(&spec, "stat -c %u /workspace/note; ls /etc/profile 2>&1")
            .await
            .output
            .lines()
            .next(),
        Some("1000")
    );
}

/// One server's time: what it does, and then everything of it is gone.
#[expect(clippy::unwrap_used, reason = "what fails here fails the test")]
fn serve<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn a_restarted_server_finds_what_runs_and_what_has_ended() {
    let (stays, ends, dies) = (spec(STAY), spec(STAY), spec(STAY));
    let (data, shims) = serve(async {
        let host = Host::open().await;
        for spec in [&stays, &ends, &dies] {
            host.start_and_hear(spec).await;
        }
        let second = Host::open_again_error(&host.data).await;
        assert!(
            second.to_string().contains("another server uses the data folder"),
            "{second}"
        );
        host.driver.stop(ends.id, Duration::from_secs(20)).await.unwrap();
        (
            std::sync::Arc::clone(&host.data),
            [stays.id, dies.id].map(|id| host.pid(id, "shim")),
        )
    });
    // While there is no server.
    end(shims[1]);
    let data = serve(async {
        let host = Host::open_again(data).await;
        let running: Vec<_> = host
            .driver
            .list()
            .await
            .unwrap()
            .into_iter()
            .map(|info| (info.id, info.running))
            .collect();
        let mut expected = vec![(stays.id, true), (ends.id, false), (dies.id, false)];
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(running, expected);
        assert_eq!(host.driver.wait(ends.id).await.unwrap().code, Some(7));
        assert_eq!(host.driver.wait(dies.id).await.unwrap().code, None);
        // It runs already, so this starts nothing.
        host.driver.start(&stays).await.unwrap();
        assert_eq!(host.pid(stays.id, "shim"), shims[0]);
        std::sync::Arc::clone(&host.data)
    });
    serve(async {
        let host = Host::open_again(data).await;
        host.driver.stop(stays.id, Duration::from_secs(20)).await.unwrap();
        assert_eq!(host.driver.wait(stays.id).await.unwrap().code, Some(7));
        assert_eq!(host.run_on(&dies, "echo again").await.output, "again\n");
    });
}

#[tokio::test]
async fn starts_at_once_join() {
    let host = Host::open().await;
    let spec = spec("echo start >> /workspace/starts; echo up > /run/mistle/tell; exec sleep 1000");
    let (heard, second, third) = tokio::join!(
        host.start_and_hear(&spec),
        host.create_and_start(&spec),
        host.create_and_start(&spec)
    );
    assert_eq!(heard, "up");
    assert!(second.is_ok() && third.is_ok());
    host.driver.stop(spec.id, Duration::ZERO).await.unwrap();
    assert_eq!(host.run_on(&spec, "cat /workspace/starts").await.output, "start\n");
}

#[tokio::test]
async fn twenty_start_at_once() {
    let host = Host::open().await;
    let specs: Vec<_> = (0..20)
        .map(|number| {
            spec(&format!(
                "echo {number} > /workspace/number; echo up > /run/mistle/tell; exec sleep 1000"
            ))
        })
        .collect();
    let mut tasks = Vec::new();
    let host = std::sync::Arc::new(host);
    for spec in specs.clone() {
        let host = std::sync::Arc::clone(&host);
        tasks.push(tokio::spawn(async move { host.start_and_hear(&spec).await }));
    }
    for task in tasks {
        assert_eq!(within(task).await.unwrap(), "up");
    }
    assert_eq!(
        host.driver
            .list()
            .await
            .unwrap()
            .iter()
            .filter(|info| info.running)
            .count(),
        20
    );
    for (number, spec) in specs.iter().enumerate() {
        let file = host.folder(spec.id).join("disk/root/workspace/number");
        assert_eq!(fs::read_to_string(file).unwrap(), format!("{number}\n"));
        host.driver.delete(spec.id).await.unwrap();
    }
    assert_eq!(host.driver.list().await.unwrap(), []);
}

#[tokio::test]
async fn delete_ends_everything() {
    let host = Host::open().await;
    let spec = spec(STAY);
    host.start_and_hear(&spec).await;
    let (init, link) = (host.pid(spec.id, "init"), host.driver.link_dir(spec.id).unwrap());
    host.driver.delete(spec.id).await.unwrap();
    assert!(!host.folder(spec.id).exists() && !link.exists());
    assert!(!lives(init));
    assert!(matches!(host.driver.start(&spec).await, Err(SandboxError::NotFound(_))));
    assert!(matches!(
        host.driver.wait(spec.id).await,
        Err(SandboxError::NotFound(_))
    ));
    host.driver.delete(spec.id).await.unwrap();
}

#[tokio::test]
async fn the_exit_status_is_kept() {
    let host = Host::open().await;
    assert_eq!(
        host.run("exit 3").await.exit,
        Exit {
            code: Some(3),
            out_of_memory: false
        }
    );
    assert_eq!(host.run("exec /bin/true").await.exit.code, Some(0));
}

#[tokio::test]
async fn a_flood_of_output_neither_blocks_nor_fills_the_disk() {
    let host = Host::open().await;
    let ran = host
        .run("head -c 20000000 /dev/zero; echo; echo after > /workspace/after")
        .await;
    assert_eq!(ran.exit.code, Some(0));
    assert_eq!(ran.output.len(), 256 * 1024);
}

#[tokio::test]
async fn a_folder_can_be_the_image() {
    let host = Host::open().await;
    let image = tempfile::tempdir().unwrap();
    for folder in ["proc", "dev", "sys", "bin", "lib", "lib64", "etc"] {
        fs::create_dir(image.path().join(folder)).unwrap();
    }
    let client = std::env::current_exe().unwrap();
    let libraries = std::process::Command::new("ldd")
        .arg("/bin/sh")
        .output()
        .unwrap()
        .stdout;
    for library in String::from_utf8(libraries)
        .unwrap()
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let target = image.path().join(&library[1..]);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(library, target).unwrap();
    }
    fs::copy("/bin/sh", image.path().join("bin/sh")).unwrap();
    drop(client);
    let spec = SandboxSpec {
        id: SessionId::new(),
        image: Image::Dir(image.path().to_owned()),
        ..spec("echo here > /file; echo /*")
    };
    assert_eq!(
        host.run_spec(&spec).await.output,
        "/bin /dev /etc /file /lib /lib64 /proc /run /sys\n"
    );
    assert!(!image.path().join("file").exists());
}
