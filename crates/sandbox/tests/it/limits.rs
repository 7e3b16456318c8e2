//! Limits hold.

use mistle_protocol::profile::Resources;
use mistle_sandbox::{Driver, Exit, SandboxSpec};

use crate::support::{Host, spec};

#[tokio::test]
async fn too_much_memory_is_the_end() {
    let host = Host::open().await;
    let small = Resources {
        memory_mib: 32,
        ..Resources::default()
    };
    let spec = SandboxSpec {
        resources: small,
        ..spec("exec tail /dev/zero")
    };
    assert_eq!(
        host.run_spec(&spec).await.exit,
        Exit {
            code: Some(137),
            out_of_memory: true
        }
    );
}

#[tokio::test]
async fn files_in_memory_count() {
    let host = Host::open().await;
    let small = Resources {
        memory_mib: 32,
        ..Resources::default()
    };
    let spec = SandboxSpec {
        resources: small,
        ..spec("head -c 100000000 /dev/zero > /dev/shm/file; stat -c %s /dev/shm/file")
    };
    let ran = host.run_spec(&spec).await;
    assert!(ran.exit.out_of_memory, "{ran:?}");
}

#[tokio::test]
async fn no_more_processes_than_the_limit() {
    let host = Host::open().await;
    let few = Resources {
        pids: 10,
        ..Resources::default()
    };
    let script = "sh -c 'while :; do sleep 1000 & done' 2> /dev/null; set -- /proc/[0-9]*; echo $#";
    let ran = host
        .run_spec(&SandboxSpec {
            resources: few,
            ..spec(script)
        })
        .await;
    assert_eq!(ran.output, "9\n", "ten less the shell that gave up");
}

#[tokio::test]
async fn the_processor_limit_is_set() {
    let host = Host::open().await;
    let half = Resources {
        cpus: 0.5,
        ..Resources::default()
    };
    let spec = SandboxSpec {
        resources: half,
        ..spec("echo up > /run/mistle/tell; exec sleep 1000")
    };
    host.start_and_hear(&spec).await;
    let group = format!("mistle/{}", spec.id);
    let read = |path: String| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let version_1 = read(format!("/sys/fs/cgroup/cpu/{group}/cpu.cfs_quota_us"));
    let version_2 = read(format!("/sys/fs/cgroup/{group}/cpu.max"));
    assert!(
        version_1.as_deref() == Some("50000") || version_2.as_deref() == Some("50000 100000"),
        "{version_1:?} {version_2:?}"
    );
    host.driver.delete(spec.id).await.unwrap();
}
