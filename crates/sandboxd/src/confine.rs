//! What the daemon and everything below it may not ask of the kernel.
//!
//! The driver builds the namespaces; this is the second wall, put up by the daemon itself before it
//! does anything else, so that it holds on every driver:
//!
//! - **No new privileges**: set-user-id programs and file capabilities give nothing.
//! - **Capabilities**: all sets, the bounding set among them, are cut down to
//!   [`KEPT_CAPABILITIES`].
//! - **Seccomp**: two filters. The first denies with `EPERM` what a workload never needs and what
//!   kernel exploits are made of: mounting, namespaces, loading code into the kernel, key rings,
//!   `io_uring`, `userfaultfd`, the clock, swap, quotas, foreign memory policies, and every socket
//!   family but Unix, IP and netlink. It also ends programs of another architecture, whose numbers
//!   it can't judge. The second says `ENOSYS` to `clone3`, whose flags can't be seen in its
//!   arguments, so that C libraries fall back to `clone`, whose flags can; and to every number that
//!   this program does not know, x32's among them.
//!
//! It fails closed: when one part can't be put in force the program refuses to run, and
//! [`verify`] reads back from the kernel what is.

use std::collections::BTreeMap;

use caps::{CapSet, Capability, CapsHashSet};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

/// The capabilities that root in a sandbox has: what installing packages and running services as
/// another user needs. Less than Docker's default by `MKNOD`, `NET_RAW`, `AUDIT_WRITE` and
/// `SETPCAP`. They count inside the sandbox's user namespace only.
pub const KEPT_CAPABILITIES: [Capability; 10] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SYS_CHROOT,
];

/// Namespace flags of `clone` and `unshare`. `CLONE_NEWTIME` is `unshare`'s alone: in `clone` its
/// bit belongs to the exit signal.
const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];
const CLONE_NEWTIME: i32 = 0x80;

/// Socket families that stay usable.
const SOCKET_FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Personalities that stay usable (those of Docker's profile): Linux, 32-bit addresses, old kernel
/// version, both, and the question which one is set.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];

/// The first system call number that is unknown here: the one after `removexattrat`. From 424 on
/// all architectures share their numbers.
const FIRST_UNKNOWN: u32 = 467;

/// Denied with `EPERM` whatever the arguments.
const DENIED: &[libc::c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // Namespaces and handles that reach around them.
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Code in the kernel.
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    // Large attack surfaces.
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Key rings are not per namespace.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    // Placement of memory.
    libc::SYS_mbind,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
];

/// The same, for calls that exist on this architecture alone.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

/// Why the program could not be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// `no_new_privs` was refused.
    #[error("can't give up new privileges")]
    NoNewPrivileges(#[source] rustix::io::Errno),
    /// A capability set could not be cut down.
    #[error("can't reduce the {0} capabilities")]
    Capabilities(&'static str, #[source] caps::errors::CapsError),
    /// The filter could not be built: the architecture is not supported.
    #[error("can't build the seccomp filter")]
    Filter(#[source] seccompiler::BackendError),
    /// The kernel refused the filter.
    #[error("can't load the seccomp filter")]
    Load(#[source] seccompiler::Error),
    /// What is in force can't be read.
    #[error("can't read /proc/self/status")]
    Status(#[source] std::io::Error),
    /// Something is not in force.
    #[error("{0}")]
    NotInForce(String),
}

/// Confines this process and all that it starts. Must be called while it has one thread.
pub fn enforce() -> Result<(), ConfineError> {
    rustix::thread::set_no_new_privs(true).map_err(ConfineError::NoNewPrivileges)?;
    reduce_capabilities()?;
    for program in [denials().map_err(ConfineError::Filter)?, unknowns()] {
        seccompiler::apply_filter(&program).map_err(ConfineError::Load)?;
    }
    verify()
}

/// Checks with the kernel that this process is confined.
pub fn verify() -> Result<(), ConfineError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(ConfineError::Status)?;
    check(&status).map_err(ConfineError::NotInForce)
}

fn check(status: &str) -> Result<(), String> {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .ok_or_else(|| format!("the kernel does not report {name}"))
    };
    if field("NoNewPrivs")? != "1" {
        return Err("new privileges are not given up".to_owned());
    }
    if field("Seccomp")? != "2" {
        return Err("no seccomp filter is loaded".to_owned());
    }
    let kept = KEPT_CAPABILITIES
        .iter()
        .fold(0, |mask, capability| mask | capability.bitmask());
    for set in ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"] {
        let mask = u64::from_str_radix(field(set)?, 16).map_err(|_| format!("{set} is not a number"))?;
        if mask & !kept != 0 {
            return Err(format!("{set} holds capabilities that it must not: {:x}", mask & !kept));
        }
    }
    Ok(())
}

/// The bounding set first: cutting it takes `SETPCAP`, which goes with the others.
fn reduce_capabilities() -> Result<(), ConfineError> {
    let kept: CapsHashSet = KEPT_CAPABILITIES.into_iter().collect();
    let bounding = caps::read(None, CapSet::Bounding).map_err(|error| ConfineError::Capabilities("bounding", error))?;
    for capability in bounding.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability)
            .map_err(|error| ConfineError::Capabilities("bounding", error))?;
    }
    for (set, name) in [
        (CapSet::Ambient, "ambient"),
        (CapSet::Inheritable, "inheritable"),
        (CapSet::Effective, "effective"),
        (CapSet::Permitted, "permitted"),
    ] {
        let wrong = |error| ConfineError::Capabilities(name, error);
        let held = caps::read(None, set).map_err(wrong)?;
        if !held.is_subset(&kept) {
            caps::set(None, set, &held.intersection(&kept).copied().collect()).map_err(wrong)?;
        }
    }
    Ok(())
}

/// The filter that answers `EPERM`.
fn denials() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED
        .iter()
        .chain(DENIED_HERE)
        .map(|call| (*call, Vec::new()))
        .collect();
    let namespaces = |extra: &[i32]| {
        let flags = NAMESPACE_FLAGS.iter().chain(extra);
        flags
            .map(|flag| rule([(0, SeccompCmpOp::MaskedEq(bits(*flag)), bits(*flag))]))
            .collect::<Result<Vec<_>, _>>()
    };
    rules.insert(libc::SYS_clone, namespaces(&[])?);
    rules.insert(libc::SYS_unshare, namespaces(&[CLONE_NEWTIME])?);
    rules.insert(libc::SYS_socket, vec![none_of(0, SOCKET_FAMILIES.map(bits))?]);
    rules.insert(libc::SYS_personality, vec![none_of(0, PERSONALITIES)?]);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
        arch,
    )?
    .try_into()
}

fn none_of<const N: usize>(argument: u8, values: [u64; N]) -> Result<SeccompRule, seccompiler::BackendError> {
    rule(values.map(|value| (argument, SeccompCmpOp::Ne, value)))
}

/// The kernel looks at the lower half of these arguments only, so that is what is compared.
fn rule<const N: usize>(conditions: [(u8, SeccompCmpOp, u64); N]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .into_iter()
        .map(|(argument, operator, value)| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn bits(flag: i32) -> u64 {
    u64::from(flag.cast_unsigned())
}

/// The filter that answers `ENOSYS`. Written out, because a table of known numbers can't say "every
/// other number". Its sibling has judged the architecture already.
fn unknowns() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, offset 0 of struct seccomp_data
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        instruction(LOAD_NUMBER, 0, 0, 0),
        instruction(JUMP_EQUAL, 2, 0, libc::SYS_clone3 as u32),
        instruction(JUMP_GREATER_EQUAL, 1, 0, FIRST_UNKNOWN),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFINED: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t00000000800404fb\nCapEff:\t00000000000004fb\nCapBnd:\t00000000800404fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n";

    #[test]
    fn the_kernels_report_is_believed_only_whole() {
        assert_eq!(check(CONFINED), Ok(()));
        assert_eq!(
            check(&CONFINED.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")),
            Err("new privileges are not given up".to_owned())
        );
        assert_eq!(
            check(&CONFINED.replace("Seccomp:\t2", "Seccomp:\t0")),
            Err("no seccomp filter is loaded".to_owned())
        );
        assert_eq!(
            check(&CONFINED.replace("CapEff:\t0000000000000", "CapEff:\t0000000000200")),
            Err("CapEff holds capabilities that it must not: 200000".to_owned())
        );
        assert_eq!(
            check(&CONFINED.replace("CapAmb", "CapXyz")),
            Err("the kernel does not report CapAmb".to_owned())
        );
    }

    #[test]
    fn the_filters_can_be_built() {
        assert!(denials().unwrap().len() > DENIED.len());
        assert_eq!(unknowns().len(), 5);
    }
}
