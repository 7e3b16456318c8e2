use std::process::{Command, Output};

use crate::support::PROGRAM;

/// Runs a program that is confined as everything in a sandbox is.
fn confined(argv: &[&str]) -> Output {
    Command::new(PROGRAM)
        .arg("confined")
        .args(argv)
        .env("LC_ALL", "C")
        .output()
        .unwrap()
}

fn status(argv: &[&str]) -> Option<i32> {
    confined(argv).status.code()
}

/// System calls by number, for which no program can be counted on.
fn syscall(arguments: &str) -> String {
    let script = format!(
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nresult = libc.syscall({arguments})\nprint(os.strerror(ctypes.get_errno()) if result == -1 else 'allowed')"
    );
    let output = confined(&["python3", "-c", &script]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_kernel_says_what_is_in_force() {
    let output = confined(&["grep", "-E", "^(Cap|NoNewPrivs|Seccomp)", "/proc/self/status"]);
    let status = String::from_utf8(output.stdout).unwrap();
    for line in [
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "CapBnd:\t00000000800404fb",
        "CapAmb:\t0000000000000000",
    ] {
        assert!(status.lines().any(|there| there == line), "{line} is not in\n{status}");
    }
}

#[test]
fn ordinary_work_goes_on() {
    assert_eq!(status(&["true"]), Some(0));
    assert_eq!(
        status(&["sh", "-c", "echo a | cat; (exit 0) & wait; test $(ls / | wc -l) -gt 3"]),
        Some(0)
    );
    // Threads, for which clone3 is tried first, subprocesses, sockets of each family that stays.
    let script = "
import socket, subprocess, threading
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
subprocess.run(['true'], check=True)
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6): socket.socket(family).close()
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()
";
    assert_eq!(status(&["python3", "-c", script]), Some(0));
}

#[test]
fn mounts_and_namespaces_are_refused() {
    for argv in [
        &["unshare", "--user", "true"][..],
        &["unshare", "--mount", "true"],
        &["unshare", "--time", "true"],
        &["mount", "-t", "tmpfs", "none", "/mnt"],
        &["umount", "/proc"],
    ] {
        let output = confined(argv);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{argv:?} was allowed");
        assert!(
            said.contains("not permitted") || said.contains("must be superuser") || said.contains("permission denied"),
            "{argv:?}: {said}"
        );
    }
}

#[test]
fn system_calls_are_refused_as_they_should_be() {
    const REFUSED: &str = "Operation not permitted";
    const UNKNOWN: &str = "Function not implemented";
    for (call, answer) in [
        ("321, 0, 0, 0", REFUSED),                                       // bpf
        ("425, 1, 0", REFUSED),                                          // io_uring_setup
        ("323, 0", REFUSED),                                             // userfaultfd
        ("250, 0, 0, 0, 0, 0", REFUSED),                                 // keyctl
        ("298, 0, 0, -1, -1, 0", REFUSED),                               // perf_event_open
        ("304, 0, 0, 0", REFUSED),                                       // open_by_handle_at
        ("430, 0, 0", REFUSED),                                          // fsopen
        ("428, -100, 0, 0", REFUSED),                                    // open_tree
        ("172, 3", REFUSED),                                             // iopl
        ("56, 0x10000011, 0, 0, 0, 0", REFUSED),                         // clone, a user namespace
        ("56, ctypes.c_ulong(0x4000000010000011), 0, 0, 0, 0", REFUSED), // the same, upper bits set
        ("308, -1, 0", REFUSED),                                         // setns
        ("272, 0x80", REFUSED),                                          // unshare, a time namespace
        ("272, 0x400", "allowed"),                                       // unshare, of open files
        ("41, 38, 5, 0", REFUSED),                                       // socket, AF_ALG
        ("41, 40, 1, 0", REFUSED),                                       // socket, AF_VSOCK
        ("41, 17, 3, 0", REFUSED),                                       // socket, AF_PACKET
        ("41, 1, 1, 0", "allowed"),                                      // socket, AF_UNIX
        ("135, 0xffffffff", "allowed"),                                  // personality, asked
        ("135, 0x0400000", REFUSED),                                     // personality, READ_IMPLIES_EXEC
        ("435, 0, 0", UNKNOWN),                                          // clone3
        ("467, 0, 0, 0", UNKNOWN),                                       // open_tree_attr
        ("9999", UNKNOWN),                                               // none that is known
        ("0x40000000 + 165, 0, 0, 0, 0, 0", UNKNOWN),                    // mount, by x32's number
    ] {
        #[cfg(target_arch = "x86_64")]
        assert_eq!(syscall(call), answer, "syscall({call})");
    }
}

#[test]
fn programs_of_set_user_id_gain_nothing() {
    // The capabilities of a child are no more than those that were kept, whatever it is.
    let output = confined(&["sh", "-c", "grep CapEff /proc/self/status"]);
    let mask = String::from_utf8(output.stdout).unwrap();
    let mask = u64::from_str_radix(mask.trim().rsplit_once('\t').unwrap().1, 16).unwrap();
    assert_eq!(mask & !0x8004_04fb, 0);
}

#[test]
fn what_claims_to_be_confined_and_is_not_does_not_run() {
    let output = Command::new(PROGRAM).args(["daemon", "--confined"]).output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("refusing to run unconfined"),
        "{output:?}"
    );
}

#[test]
fn a_filter_that_can_not_be_loaded_ends_the_program() {
    // Without the right to change the bounding set and with too much in it.
    let output = Command::new("setpriv")
        .args([
            "--bounding-set",
            "+all",
            "--inh-caps",
            "-all",
            "--reuid",
            "65534",
            "--clear-groups",
            PROGRAM,
            "confined",
            "echo",
            "ran",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(output.stdout.is_empty());
}
