//! The seccomp filter of a child: everything a program needs, without the network, other processes and the kernel's wide doors.
//!
//! It stands on top of the container runtime's default profile and does not rely on it. With egress TCP is left, for Landlock to say where to.

mod calls;

use calls::{
    ALWAYS, Arch, CLONE, CLONE3, Call, OF_A_PROCESS, SENDMMSG, SENDMSG, SENDTO, SETPRIORITY,
    SETSOCKOPT, SOCKET, SOCKETPAIR,
};
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
const HERE: Arch = Arch::X86_64;
#[cfg(target_arch = "aarch64")]
const HERE: Arch = Arch::Aarch64;

/// What is refused: calls, and which of them by their arguments. A call without rules is refused whatever they are.
type Rules = Vec<(Call, Vec<SeccompRule>)>;

/// Confines this thread and all it starts. Sets no_new_privs. `supervisor` has the ids of the supervisor's process and threads: most calls
/// take the one for the other.
pub(super) fn apply(supervisor: &[u32], egress: bool) -> Result<(), Error> {
    for program in programs(HERE, supervisor, egress)? {
        apply_filter(&program)?;
    }
    Ok(())
}

/// One program per error code, since seccompiler knows one action per program. The kernel runs all; an error beats "allow".
fn programs(arch: Arch, supervisor: &[u32], egress: bool) -> Result<Vec<BpfProgram>, Error> {
    let unix_only = vec![argument(0, SeccompCmpOp::Ne, UNIX)?];
    let socket = if egress {
        unix_or_tcp()?
    } else {
        unix_only.clone()
    };
    let sockets = vec![(SOCKET, socket), (SOCKETPAIR, unix_only)];
    let mut refused = refused(supervisor)?;
    if egress {
        refused.extend(past_landlock()?);
    }
    Ok(vec![
        program(arch, sockets, libc::EACCES)?,
        program(arch, refused, libc::EPERM)?,
        // glibc falls back to clone, whose flags a filter can see.
        program(arch, vec![(CLONE3, vec![])], libc::ENOSYS)?,
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
fn past_landlock() -> Result<Rules, Error> {
    const FAST_OPEN: u64 = 0x2000_0000;
    const TCP_ULP: u64 = 31;
    let fast_open = |flags| argument(flags, SeccompCmpOp::MaskedEq(FAST_OPEN), FAST_OPEN);
    let other_kind = rule(vec![
        condition(1, SeccompCmpOp::Eq, TCP)?,
        condition(2, SeccompCmpOp::Eq, TCP_ULP)?,
    ])?;
    Ok(vec![
        (SENDTO, vec![fast_open(3)?]),
        (SENDMSG, vec![fast_open(2)?]),
        (SENDMMSG, vec![fast_open(3)?]),
        (SETSOCKOPT, vec![other_kind]),
    ])
}

fn program(arch: Arch, rules: Rules, errno: i32) -> Result<BpfProgram, Error> {
    let mut by_number: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, rules) in rules {
        by_number
            .entry(call.number(arch))
            .or_default()
            .extend(rules);
    }
    let target = match arch {
        Arch::X86_64 => TargetArch::x86_64,
        Arch::Aarch64 => TargetArch::aarch64,
    };
    let filter = SeccompFilter::new(
        by_number,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        target,
    )?;
    let mut program = x32_refused();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// x32 calls share the architecture of x86-64 and are told by a bit in the call's number, which seccompiler does not look at.
/// On arm64 no call has such a number.
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

fn refused(supervisor: &[u32]) -> Result<Rules, Error> {
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

    let mut rules: Rules = ALWAYS.map(|call| (call, vec![])).into();
    for (call, index) in OF_A_PROCESS {
        let named = supervisor
            .iter()
            .map(|id| argument(index, SeccompCmpOp::Eq, u64::from(*id)))
            .collect::<Result<_, Error>>()?;
        rules.push((call, named));
    }
    // Of all processes of a user, and so of the supervisor.
    let of_a_user = argument(0, SeccompCmpOp::Eq, u64::from(libc::PRIO_USER))?;
    rules.push((SETPRIORITY, vec![of_a_user]));
    let namespaces = NAMESPACES
        .into_iter()
        .map(|flag| argument(0, SeccompCmpOp::MaskedEq(flag), flag))
        .collect::<Result<_, Error>>()?;
    rules.push((CLONE, namespaces));
    Ok(rules)
}

#[cfg(test)]
mod tests;
