//! What can be seen, reached and changed from inside.

use std::fs;
use std::os::unix::net::UnixListener;

use mistle_sandbox::{Driver, Embedded, Image, ReadOnlyMount, SandboxError, SandboxSpec, ShimProgram, embedded};

use crate::support::{Host, config, spec, within};

/// Asks for everything of the isolation that is answered the same on every host that can isolate, so
/// what it prints is compared with a file: a difference is a change of the isolation. A session is
/// asked the same (`server/tests/isolation`); what it is refused and this sandbox, which has no
/// daemon, is not is the work of the daemon's filter.
const PROBE: &str = include_str!("probe.sh");

#[tokio::test]
async fn the_probe_finds_what_is_written_down() {
    let host = Host::open().await;
    let ran = host.run(PROBE).await;
    insta::assert_snapshot!("probe", ran.output);
}

#[tokio::test]
async fn every_namespace_is_its_own() {
    let host = Host::open().await;
    let inside = host
        .run("cd /proc/self/ns && for name in cgroup ipc mnt net pid user uts; do readlink $name; done")
        .await
        .output;
    let inside: Vec<_> = inside.lines().collect();
    assert_eq!(inside.len(), 7, "{inside:?}");
    for (name, inside) in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].iter().zip(inside) {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(outside.to_str(), Some(inside), "{name}");
    }
}

#[tokio::test]
async fn the_host_is_not_visible() {
    let host = Host::open().await;
    let secret = tempfile::Builder::new().prefix("secret").tempfile_in("/tmp").unwrap();
    let socket = secret.path().with_extension("sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let data = host.data.path().display();
    let ran = host
        .run(&format!(
            "ls -d {} {} {data} /var/run/docker.sock /run/docker.sock /etc/ssh /etc/sudoers /etc/gshadow /etc/npmrc /etc/pip.conf \
             /etc/gitconfig /usr/local/etc/* /work /root/.ssh /root/.cargo /home/* 2> /dev/null; ls -A /run",
            secret.path().display(),
            socket.display(),
        ))
        .await;
    fs::remove_file(socket).unwrap();
    assert_eq!(ran.output, "mistle\n");
}

#[tokio::test]
async fn abstract_sockets_of_the_host_cannot_be_reached() {
    use std::os::linux::net::SocketAddrExt;
    let host = Host::open().await;
    let name = format!("mistle-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    assert!(fs::read_to_string("/proc/net/unix").unwrap().contains(&name));
    assert_eq!(host.run("cat /proc/net/unix | tail -n +2").await.output, "");
}

#[tokio::test]
async fn neighbours_neither_see_nor_read_each_other() {
    let host = Host::open().await;
    let first = spec("umask 077; echo mine > /workspace/secret; echo ready > /run/mistle/tell; exec sleep 1000");
    assert_eq!(host.start_and_hear(&first).await, "ready");
    // Even shown to it, the file is another user's.
    let shown = ReadOnlyMount {
        source: host.folder(first.id).join("disk/root/workspace"),
        target: "/shown".into(),
    };
    let second = SandboxSpec {
        mounts: vec![shown],
        ..spec(
            "ls -A /workspace; stat -c %U /shown/secret; cat /shown/secret 2>&1; for p in /proc/[0-9]*; do read -r name < $p/comm; echo $name; done",
        )
    };
    let ran = host.run_spec(&second).await;
    assert!(
        ran.output
            .starts_with("nobody\ncat: /shown/secret: Permission denied\n"),
        "{}",
        ran.output
    );
    assert!(ran.output.lines().skip(2).all(|name| name == "sh"), "{}", ran.output);
    host.driver.delete(first.id).await.unwrap();
}

#[tokio::test]
async fn root_reads_a_private_repository_that_is_mounted() {
    use std::os::unix::fs::PermissionsExt;
    let host = Host::open().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    fs::set_permissions(folder.path().join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    let mount = ReadOnlyMount {
        source: folder.path().to_owned(),
        target: "/opt/mistle/repositories/one".into(),
    };
    let spec = SandboxSpec {
        mounts: vec![mount],
        ..spec(
            "cd /opt/mistle/repositories/one; stat -c '%u %a' file; cat file; echo changed 2> /dev/null > file || echo ' read-only'",
        )
    };
    assert_eq!(host.run_spec(&spec).await.output, "0 600\ncontent read-only\n");
}

#[tokio::test]
async fn the_server_is_reached_through_the_link() {
    let host = Host::open().await;
    let client = ReadOnlyMount {
        source: std::env::current_exe().unwrap(),
        target: "/opt/client".into(),
    };
    let argv = ["/opt/client", crate::CONNECT, "/run/mistle/control.sock", "hello"]
        .map(str::to_owned)
        .to_vec();
    let spec = SandboxSpec {
        mounts: vec![client],
        argv: Some(argv),
        ..spec("")
    };
    host.driver.create(&spec).await.unwrap();
    // Bound before the start and, as by a restarted server, bound again after it.
    let path = host.driver.link_dir(spec.id).unwrap().join("control.sock");
    drop(tokio::net::UnixListener::bind(&path).unwrap());
    fs::remove_file(&path).unwrap();
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    host.driver.start(&spec).await.unwrap();
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut heard = String::new();
    within(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut heard))
        .await
        .unwrap();
    assert_eq!(heard, "hello");
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"welcome")
        .await
        .unwrap();
    drop(stream);
    assert_eq!(host.driver.wait(spec.id).await.unwrap().code, Some(0));
    assert_eq!(fs::read_to_string(host.driver.log_file(spec.id)).unwrap(), "welcome\n");
}

#[tokio::test]
async fn links_on_the_disk_do_not_lead_out() {
    let host = Host::open().await;
    let spec = spec("rm -rf /opt; ln -s /etc/out /opt; mkdir /etc/out");
    assert_eq!(host.run_spec(&spec).await.exit.code, Some(0));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "mounted").unwrap();
    let mount = ReadOnlyMount {
        source: folder.path().to_owned(),
        target: "/opt/place".into(),
    };
    let ran = host
        .run_on(
            &SandboxSpec {
                mounts: vec![mount],
                ..spec
            },
            "cat /etc/out/place/file",
        )
        .await;
    assert_eq!(ran.output, "mounted");
    assert!(!std::path::Path::new("/etc/out").exists());
}

#[tokio::test]
async fn packages_are_installed_into_the_own_disk() {
    if !std::path::Path::new("/usr/bin/dpkg").exists() {
        // This host has another package manager, and so has its image.
        return;
    }
    let host = Host::open().await;
    let ran = host
        .run(
            "set -e; mkdir -p /tmp/package/DEBIAN /tmp/package/usr/bin; \
             printf 'Package: mistle-test\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody <nobody@localhost>\\nDescription: test\\n' > /tmp/package/DEBIAN/control; \
             printf '#!/bin/sh\\nchown daemon:adm /usr/bin/mistle-test\\n' > /tmp/package/DEBIAN/postinst; chmod 755 /tmp/package/DEBIAN/postinst; \
             printf '#!/bin/sh\\necho installed\\n' > /tmp/package/usr/bin/mistle-test; chmod 755 /tmp/package/usr/bin/mistle-test; \
             dpkg-deb --root-owner-group -b /tmp/package /tmp/package.deb > /dev/null; \
             apt-get install -y /tmp/package.deb > /tmp/log 2>&1 || { cat /tmp/log; exit 1; }; \
             mistle-test; stat -c '%U %G' /usr/bin/mistle-test; dpkg -s mistle-test | grep Status",
        )
        .await;
    assert_eq!(ran.output, "installed\ndaemon adm\nStatus: install ok installed\n");
    assert!(!std::path::Path::new("/usr/bin/mistle-test").exists());
}

#[tokio::test]
async fn a_host_that_cannot_isolate_is_told_why() {
    let data = tempfile::tempdir().unwrap();
    let usual = config(data.path());
    let shim = ShimProgram {
        program: "/usr/bin/setpriv".into(),
        args: vec![
            "--bounding-set=-sys_admin".into(),
            usual.shim.program.clone().into(),
            crate::SHIM.into(),
        ],
    };
    let crippled = embedded::EmbeddedConfig { shim, ..usual };
    let report = embedded::probe(&crippled).await.unwrap();
    assert!(!report.usable());
    match Embedded::open(crippled).await.err() {
        Some(SandboxError::Unsupported { what, advice }) => {
            assert!(what.starts_with("root with CAP_SYS_ADMIN"), "{what}");
            assert!(advice.contains("as root"), "{advice}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_said() {
    let host = Host::open().await;
    let cases = [
        (
            SandboxSpec {
                image: Image::Oci("debian:12".into()),
                ..spec("")
            },
            "registries are not supported yet",
        ),
        (
            SandboxSpec {
                image: Image::Dir("/nonexistent".into()),
                ..spec("")
            },
            "is not a folder",
        ),
        (
            SandboxSpec {
                image: Image::Dir("/".into()),
                ..spec("")
            },
            "holds the server's data",
        ),
        (
            SandboxSpec {
                hostname: "a b".into(),
                ..spec("")
            },
            "host name",
        ),
    ];
    for (spec, expected) in cases {
        let error = host.driver.create(&spec).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(matches!(host.driver.start(&spec).await, Err(SandboxError::NotFound(_))));
    }
    let spec = SandboxSpec {
        argv: Some(vec!["/bin/nonexistent".into()]),
        ..spec("")
    };
    host.driver.create(&spec).await.unwrap();
    let error = host.driver.start(&spec).await.unwrap_err().to_string();
    assert!(error.contains("/bin/nonexistent"), "{error}");
    // And it is left in order.
    assert_eq!(host.run_on(&spec, "echo fine").await.output, "fine\n");
}
