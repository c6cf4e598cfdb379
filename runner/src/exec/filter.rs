//! The seccomp filter of a child: everything a program needs, without the network, other processes and the kernel's wide doors.
//!
//! It stands on top of the container runtime's default profile and does not rely on it. With egress TCP is left, for Landlock to say where to.

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};
use std::collections::BTreeMap;

/// Why the filter could not be set.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to build the seccomp filter")]
    Build(#[from] seccompiler::BackendError),
    #[error("failed to set the seccomp filter")]
    Apply(#[from] seccompiler::Error),
}

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Confines this thread and all it starts. Sets no_new_privs. `supervisor` has the ids of the supervisor's process and threads: most calls
/// take the one for the other.
pub(super) fn apply(supervisor: &[u32], egress: bool) -> Result<(), Error> {
    for program in programs(supervisor, egress)? {
        apply_filter(&program)?;
    }
    Ok(())
}

/// One program per error code, since seccompiler knows one action per program. The kernel runs all; an error beats "allow".
fn programs(supervisor: &[u32], egress: bool) -> Result<Vec<BpfProgram>, Error> {
    let unix_only = vec![argument(0, SeccompCmpOp::Ne, UNIX)?];
    let socket = if egress {
        unix_or_tcp()?
    } else {
        unix_only.clone()
    };
    let sockets = [
        (libc::SYS_socket, socket),
        (libc::SYS_socketpair, unix_only),
    ]
    .into();
    let mut refused = refused(supervisor)?;
    if egress {
        refused.extend(past_landlock()?);
    }
    Ok(vec![
        program(sockets, libc::EACCES)?,
        program(refused, libc::EPERM)?,
        // glibc falls back to clone, whose flags a filter can see.
        program(BTreeMap::from([(libc::SYS_clone3, vec![])]), libc::ENOSYS)?,
    ])
}

/// Address families.
const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
/// The protocol, and the level of its options.
const TCP: u64 = 6;

/// What of `socket` is refused where TCP is not: the other families, the other types of these two, and the other protocols of the type.
/// MPTCP, SMC and SCTP are stream sockets of these families, too, and Landlock does not look at them.
fn unix_or_tcp() -> Result<Vec<SeccompRule>, Error> {
    /// The lower bits of the second argument; the others are flags.
    const TYPE: u64 = 0xf;
    const STREAM: u64 = 1;
    let no_unix = || condition(0, SeccompCmpOp::Ne, UNIX);
    let mut rules = vec![
        rule(vec![
            no_unix()?,
            condition(0, SeccompCmpOp::Ne, INET)?,
            condition(0, SeccompCmpOp::Ne, INET6)?,
        ])?,
        rule(vec![
            no_unix()?,
            condition(2, SeccompCmpOp::Ne, 0)?,
            condition(2, SeccompCmpOp::Ne, TCP)?,
        ])?,
    ];
    for kind in (0..=TYPE).filter(|kind| *kind != STREAM) {
        let other = condition(1, SeccompCmpOp::MaskedEq(TYPE), kind)?;
        rules.push(rule(vec![no_unix()?, other])?);
    }
    Ok(rules)
}

/// Ways to connect a TCP socket that do not ask Landlock: TCP Fast Open in a send, and turning it into a socket of another kind (SMC).
fn past_landlock() -> Result<[(i64, Vec<SeccompRule>); 4], Error> {
    const FAST_OPEN: u64 = 0x2000_0000;
    const TCP_ULP: u64 = 31;
    let fast_open = |flags| argument(flags, SeccompCmpOp::MaskedEq(FAST_OPEN), FAST_OPEN);
    let other_kind = rule(vec![
        condition(1, SeccompCmpOp::Eq, TCP)?,
        condition(2, SeccompCmpOp::Eq, TCP_ULP)?,
    ])?;
    Ok([
        (libc::SYS_sendto, vec![fast_open(3)?]),
        (libc::SYS_sendmsg, vec![fast_open(2)?]),
        (libc::SYS_sendmmsg, vec![fast_open(3)?]),
        (libc::SYS_setsockopt, vec![other_kind]),
    ])
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, Error> {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        ARCH,
    )?;
    let mut program = x32_refused();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// x32 calls share the architecture of x86-64 and are told by a bit in the call's number, which seccompiler does not look at.
fn x32_refused() -> BpfProgram {
    const X32_BIT: u32 = 0x4000_0000;
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, offset 0 of seccomp_data is the call's number
    const JUMP_IF_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        instruction(LOAD_NUMBER, 0, 0, 0),
        instruction(JUMP_IF_GE, 0, 1, X32_BIT),
        instruction(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
    ]
}

fn condition(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(
        index,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?)
}

/// All of these.
fn rule(conditions: Vec<SeccompCondition>) -> Result<SeccompRule, Error> {
    Ok(SeccompRule::new(conditions)?)
}

fn argument(index: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    rule(vec![condition(index, operator, value)?])
}

fn refused(supervisor: &[u32]) -> Result<BTreeMap<i64, Vec<SeccompRule>>, Error> {
    const ALWAYS: [i64; 50] = [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_move_mount,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_fsconfig,
        libc::SYS_fsmount,
        libc::SYS_fspick,
        libc::SYS_mount_setattr,
        libc::SYS_bpf,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_keyctl,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        // Its pages can neither be swapped nor seen in the process's memory.
        libc::SYS_memfd_secret,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_process_mrelease,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_kexec_load,
        libc::SYS_kexec_file_load,
        libc::SYS_reboot,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_open_by_handle_at,
        libc::SYS_fanotify_init,
        libc::SYS_fanotify_mark,
        libc::SYS_quotactl,
        libc::SYS_quotactl_fd,
        libc::SYS_acct,
        libc::SYS_swapon,
        libc::SYS_swapoff,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_vhangup,
        libc::SYS_sethostname,
        libc::SYS_setdomainname,
        libc::SYS_syslog,
    ];
    /// Calls that name a process, and in which argument. The kernel asks for the same user id only: a program could take the supervisor's
    /// descriptors away, or its turn on the CPU. From signals it shields PID 1 only while that has no handler.
    const OF_A_PROCESS: [(i64, u8); 12] = [
        (libc::SYS_kill, 0),
        (libc::SYS_tkill, 0),
        (libc::SYS_tgkill, 0),
        (libc::SYS_rt_sigqueueinfo, 0),
        (libc::SYS_rt_tgsigqueueinfo, 0),
        (libc::SYS_pidfd_open, 0),
        (libc::SYS_prlimit64, 0),
        (libc::SYS_sched_setaffinity, 0),
        (libc::SYS_sched_setattr, 0),
        (libc::SYS_sched_setparam, 0),
        (libc::SYS_sched_setscheduler, 0),
        (libc::SYS_setpriority, 1),
    ];
    /// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. (NEWTIME exists in clone3 and unshare only.)
    const NAMESPACES: [u64; 7] = [
        0x0002_0000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ];

    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALWAYS.map(|call| (call, vec![])).into();
    for (call, index) in OF_A_PROCESS {
        let named = supervisor
            .iter()
            .map(|id| argument(index, SeccompCmpOp::Eq, u64::from(*id)))
            .collect::<Result<_, Error>>()?;
        rules.insert(call, named);
    }
    // Of all processes of a user, and so of the supervisor.
    let of_a_user = argument(0, SeccompCmpOp::Eq, u64::from(libc::PRIO_USER))?;
    rules
        .entry(libc::SYS_setpriority)
        .or_default()
        .push(of_a_user);
    let namespaces = NAMESPACES
        .into_iter()
        .map(|flag| argument(0, SeccompCmpOp::MaskedEq(flag), flag))
        .collect::<Result<_, Error>>()?;
    rules.insert(libc::SYS_clone, namespaces);
    Ok(rules)
}
