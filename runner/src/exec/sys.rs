//! The only module with `unsafe`: system calls that no safe crate offers. Pointers given to the kernel here are null or point to
//! something on the stack of the call.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;

/// Marks every descriptor from `first` on to be closed at the next exec.
pub(super) fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC changes descriptor flags only; no descriptor is closed under its owner.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    Errno::result(result).map(drop)
}

/// Gives this process and its children the lowest share of CPU time, with no way back.
pub(super) fn lowest_priority() -> Result<(), Errno> {
    // SAFETY: the call takes numbers only; it changes how the own process is scheduled.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    Errno::result(result).map(drop)
}

/// Lets this process and its children run when no other of their cgroup wants to, or hardly else, with no way back: a normal process that
/// wakes up runs at once, however many of these there are.
pub(super) fn idle_only() -> Result<(), Errno> {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure outlives the call, which only reads it; it changes how the own process is scheduled.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) };
    Errno::result(result).map(drop)
}

/// The Landlock ABI of the running kernel; 0 without Landlock.
pub(super) fn landlock_abi() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes a null pointer and size 0, and returns a number.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(result).unwrap_or(0)
}

/// Objects of System V inter-process communication.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ipc {
    SharedMemory,
    Semaphores,
    Messages,
}

impl Ipc {
    /// The kernel's list of all of the kind in this namespace.
    pub(super) fn listing(self) -> &'static str {
        match self {
            Self::SharedMemory => "/proc/sysvipc/shm",
            Self::Semaphores => "/proc/sysvipc/sem",
            Self::Messages => "/proc/sysvipc/msg",
        }
    }
}

/// Removes an object of this user.
pub(super) fn remove_ipc(kind: Ipc, id: i32) -> Result<(), Errno> {
    // SAFETY: IPC_RMID takes no argument beside numbers; the null pointers are not looked at.
    let result = unsafe {
        match kind {
            Ipc::SharedMemory => libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()),
            Ipc::Semaphores => libc::semctl(id, 0, libc::IPC_RMID),
            Ipc::Messages => libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()),
        }
    };
    Errno::result(result).map(drop)
}

/// A system call that a confined process must not be able to make.
pub(super) struct Attempt {
    /// What it is, for the report.
    pub(super) name: String,
    number: libc::c_long,
    arguments: [libc::c_ulong; 3],
    fourth: libc::c_ulong,
}

impl Attempt {
    fn new(name: impl Into<String>, number: libc::c_long, arguments: [libc::c_ulong; 3]) -> Self {
        Self {
            name: name.into(),
            number,
            arguments,
            fourth: 0,
        }
    }

    fn with_fourth(self, fourth: libc::c_ulong) -> Self {
        Self { fourth, ..self }
    }

    /// Makes the call. `Ok` means that the kernel carried it out.
    pub(super) fn make(&self) -> Result<(), Errno> {
        let [a, b, c] = self.arguments;
        // SAFETY: every attempt of `attempts` passes numbers and null pointers only, so the kernel has nothing to write to.
        let result = unsafe { libc::syscall(self.number, a, b, c, self.fourth, 0usize, 0usize) };
        if result == 0 && self.number == libc::SYS_clone {
            // SAFETY: this is the copy made by a clone that should have been refused; it must not go on as a second prober.
            unsafe { libc::_exit(0) }
        }
        Errno::result(result).map(drop)
    }
}

const SOCK_STREAM: libc::c_ulong = 1;
const SOCK_DGRAM: libc::c_ulong = 2;
const SOCK_RAW: libc::c_ulong = 3;
/// One more than the highest address family of Linux 6.x.
const FAMILIES: libc::c_ulong = 47;

const INET: libc::c_ulong = 2;
const INET6: libc::c_ulong = 10;

/// All attempts; `supervisor` has the ids of the process that a child must not touch, and of its threads. With egress TCP is no attempt, and what goes past Landlock is.
pub(super) fn attempts(supervisor: &[u32], egress: bool) -> Vec<Attempt> {
    let mut all = if egress { past_landlock() } else { Vec::new() };
    for family in (0..FAMILIES).filter(|family| *family != 1) {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_RAW] {
            if egress && kind == SOCK_STREAM && [INET, INET6].contains(&family) {
                continue;
            }
            all.push(Attempt::new(
                format!("socket family {family} type {kind}"),
                libc::SYS_socket,
                [family, kind, 0],
            ));
        }
        all.push(Attempt::new(
            format!("socketpair family {family}"),
            libc::SYS_socketpair,
            [family, SOCK_STREAM, 0],
        ));
    }
    // The kernel looks at the lower 32 bits of the family only; so must the filter.
    #[cfg(target_pointer_width = "64")]
    all.push(Attempt::new(
        "socket family 2 type 2 with high bits",
        libc::SYS_socket,
        [(1 << 32) | INET, SOCK_DGRAM, 0],
    ));
    #[cfg(target_arch = "x86_64")]
    {
        const X32: libc::c_long = 0x4000_0000;
        all.push(Attempt::new(
            "x32 socket",
            X32 | libc::SYS_socket,
            [2, SOCK_STREAM, 0],
        ));
        all.push(Attempt::new(
            "x32 getpid",
            X32 | libc::SYS_getpid,
            [0, 0, 0],
        ));
    }
    let calls: [(&str, libc::c_long, [libc::c_ulong; 3]); 19] = [
        ("clone3", libc::SYS_clone3, [0, 0, 0]),
        ("setns", libc::SYS_setns, [0, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0]),
        ("io_uring_enter", libc::SYS_io_uring_enter, [0, 0, 0]),
        ("io_uring_register", libc::SYS_io_uring_register, [0, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0]),
        ("fsopen", libc::SYS_fsopen, [0, 0, 0]),
        ("open_tree", libc::SYS_open_tree, [0, 0, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0]),
        ("keyctl", libc::SYS_keyctl, [0, 0, 0]),
        ("add_key", libc::SYS_add_key, [0, 0, 0]),
        ("request_key", libc::SYS_request_key, [0, 0, 0]),
        ("perf_event_open", libc::SYS_perf_event_open, [0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [0, 0, 0]),
        ("memfd_secret", libc::SYS_memfd_secret, [0, 0, 0]),
        ("kexec_load", libc::SYS_kexec_load, [0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [0, 0, 0]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0]),
        (
            "priority of the user's processes",
            libc::SYS_setpriority,
            [libc::c_ulong::from(libc::PRIO_USER), 0, 19],
        ),
    ];
    all.extend(calls.map(|(name, number, arguments)| Attempt::new(name, number, arguments)));
    for id in supervisor {
        all.extend(on_a_process(libc::c_ulong::from(*id)));
    }
    // Last, since one that succeeds changes what the others mean.
    let namespaces: [(&str, libc::c_int); 7] = [
        ("user", libc::CLONE_NEWUSER),
        ("network", libc::CLONE_NEWNET),
        ("mount", libc::CLONE_NEWNS),
        ("pid", libc::CLONE_NEWPID),
        ("ipc", libc::CLONE_NEWIPC),
        ("uts", libc::CLONE_NEWUTS),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ];
    for (name, flag) in namespaces {
        let flag = libc::c_ulong::try_from(flag).unwrap_or(0);
        all.push(Attempt::new(
            format!("unshare {name} namespace"),
            libc::SYS_unshare,
            [flag, 0, 0],
        ));
        all.push(Attempt::new(
            format!("clone with a new {name} namespace"),
            libc::SYS_clone,
            [flag | 17, 0, 0],
        ));
    }
    all
}

/// Ways around a Landlock that allows one port. A kernel that is asked for real answers with another error than a refusal, since there is no
/// such descriptor or protocol.
fn past_landlock() -> Vec<Attempt> {
    const FAST_OPEN: libc::c_ulong = 0x2000_0000;
    const SOCK_CLOEXEC: libc::c_ulong = 0o2_000_000;
    const NO_FD: libc::c_ulong = libc::c_ulong::MAX;
    let mut all = Vec::new();
    for (family, name) in [(INET, "IPv4"), (INET6, "IPv6")] {
        for (protocol, of) in [(262, "MPTCP"), (256, "SMC"), (132, "SCTP"), (17, "UDP")] {
            for kind in [SOCK_STREAM, SOCK_STREAM | SOCK_CLOEXEC] {
                all.push(Attempt::new(
                    format!("{of} socket of {name}"),
                    libc::SYS_socket,
                    [family, kind, protocol],
                ));
            }
        }
        all.push(Attempt::new(
            format!("datagram socket of {name} with flags"),
            libc::SYS_socket,
            [family, SOCK_DGRAM | SOCK_CLOEXEC, 0],
        ));
    }
    all.push(
        Attempt::new("fast open by sendto", libc::SYS_sendto, [NO_FD, 0, 0]).with_fourth(FAST_OPEN),
    );
    all.push(
        Attempt::new("fast open by sendmmsg", libc::SYS_sendmmsg, [NO_FD, 0, 0])
            .with_fourth(FAST_OPEN),
    );
    all.push(Attempt::new(
        "fast open by sendmsg",
        libc::SYS_sendmsg,
        [NO_FD, 0, FAST_OPEN],
    ));
    all.push(Attempt::new(
        "another kind of TCP socket",
        libc::SYS_setsockopt,
        [NO_FD, 6, 31],
    ));
    all
}

/// Attempts on a process or thread of the same user. None changes anything, were it possible: signal 0 is not sent, and a null pointer is
/// refused where the kernel has already looked at the process.
fn on_a_process(id: libc::c_ulong) -> Vec<Attempt> {
    const PTRACE_SEIZE: libc::c_ulong = 0x4206;
    let calls: [(&str, libc::c_long, [libc::c_ulong; 3]); 14] = [
        ("ptrace", libc::SYS_ptrace, [PTRACE_SEIZE, id, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [id, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [id, 0, 0]),
        ("pidfd_open", libc::SYS_pidfd_open, [id, 0, 0]),
        ("signal", libc::SYS_kill, [id, 0, 0]),
        ("thread signal", libc::SYS_tkill, [id, 0, 0]),
        ("thread group signal", libc::SYS_tgkill, [id, id, 0]),
        ("queued signal", libc::SYS_rt_sigqueueinfo, [id, 0, 0]),
        (
            "queued thread signal",
            libc::SYS_rt_tgsigqueueinfo,
            [id, id, 0],
        ),
        ("limits", libc::SYS_prlimit64, [id, 0, 0]),
        ("CPUs", libc::SYS_sched_setaffinity, [id, 0, 0]),
        ("scheduler", libc::SYS_sched_setscheduler, [id, 0, 0]),
        (
            "scheduler's attributes",
            libc::SYS_sched_setattr,
            [id, 0, 0],
        ),
        (
            "scheduler's parameters",
            libc::SYS_sched_setparam,
            [id, 0, 0],
        ),
    ];
    calls
        .into_iter()
        .map(|(name, number, arguments)| {
            Attempt::new(
                format!("{name} of the supervisor ({id})"),
                number,
                arguments,
            )
        })
        .collect()
}
