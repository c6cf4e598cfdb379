//! The system calls that the filter knows, with their numbers on both architectures: there is one list, so neither is held to less than the other.

/// A kernel that there is a runner for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "a build has one; tests compare both")
)]
pub(super) enum Arch {
    X86_64,
    Aarch64,
}

/// A system call. Its arguments stand in the same places on both architectures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests hold the numbers by it"))]
    pub name: &'static str,
    x86_64: i64,
    aarch64: i64,
}

impl Call {
    const fn new(name: &'static str, x86_64: i64, aarch64: i64) -> Self {
        Self {
            name,
            x86_64,
            aarch64,
        }
    }

    /// What the kernel knows it by.
    pub(super) const fn number(self, arch: Arch) -> i64 {
        match arch {
            Arch::X86_64 => self.x86_64,
            Arch::Aarch64 => self.aarch64,
        }
    }
}

pub(super) const SOCKET: Call = Call::new("socket", 41, 198);
pub(super) const SOCKETPAIR: Call = Call::new("socketpair", 53, 199);
pub(super) const SENDTO: Call = Call::new("sendto", 44, 206);
pub(super) const SENDMSG: Call = Call::new("sendmsg", 46, 211);
pub(super) const SENDMMSG: Call = Call::new("sendmmsg", 307, 269);
pub(super) const SETSOCKOPT: Call = Call::new("setsockopt", 54, 208);
pub(super) const CLONE: Call = Call::new("clone", 56, 220);
pub(super) const CLONE3: Call = Call::new("clone3", 435, 435);
pub(super) const SETPRIORITY: Call = Call::new("setpriority", 141, 140);

/// Refused whatever their arguments are.
pub(super) const ALWAYS: [Call; 51] = [
    Call::new("io_uring_setup", 425, 425),
    Call::new("io_uring_enter", 426, 426),
    Call::new("io_uring_register", 427, 427),
    Call::new("mount", 165, 40),
    Call::new("umount2", 166, 39),
    Call::new("pivot_root", 155, 41),
    Call::new("chroot", 161, 51),
    Call::new("move_mount", 429, 429),
    Call::new("open_tree", 428, 428),
    Call::new("open_tree_attr", 467, 467),
    Call::new("fsopen", 430, 430),
    Call::new("fsconfig", 431, 431),
    Call::new("fsmount", 432, 432),
    Call::new("fspick", 433, 433),
    Call::new("mount_setattr", 442, 442),
    Call::new("bpf", 321, 280),
    Call::new("add_key", 248, 217),
    Call::new("request_key", 249, 218),
    Call::new("keyctl", 250, 219),
    Call::new("perf_event_open", 298, 241),
    Call::new("userfaultfd", 323, 282),
    // Its pages can neither be swapped nor seen in the process's memory.
    Call::new("memfd_secret", 447, 447),
    Call::new("ptrace", 101, 117),
    Call::new("process_vm_readv", 310, 270),
    Call::new("process_vm_writev", 311, 271),
    Call::new("process_madvise", 440, 440),
    Call::new("process_mrelease", 448, 448),
    Call::new("pidfd_getfd", 438, 438),
    Call::new("kcmp", 312, 272),
    Call::new("kexec_load", 246, 104),
    Call::new("kexec_file_load", 320, 294),
    Call::new("reboot", 169, 142),
    Call::new("init_module", 175, 105),
    Call::new("finit_module", 313, 273),
    Call::new("delete_module", 176, 106),
    Call::new("unshare", 272, 97),
    Call::new("setns", 308, 268),
    Call::new("open_by_handle_at", 304, 265),
    Call::new("fanotify_init", 300, 262),
    Call::new("fanotify_mark", 301, 263),
    Call::new("quotactl", 179, 60),
    Call::new("quotactl_fd", 443, 443),
    Call::new("acct", 163, 89),
    Call::new("swapon", 167, 224),
    Call::new("swapoff", 168, 225),
    Call::new("settimeofday", 164, 170),
    Call::new("clock_settime", 227, 112),
    Call::new("vhangup", 153, 58),
    Call::new("sethostname", 170, 161),
    Call::new("setdomainname", 171, 162),
    Call::new("syslog", 103, 116),
];

/// Calls that name a process, and in which argument. The kernel asks for the same user id only: a program could take the supervisor's
/// descriptors away, or its turn on the CPU. From signals it shields PID 1 only while that has no handler.
pub(super) const OF_A_PROCESS: [(Call, u8); 12] = [
    (Call::new("kill", 62, 129), 0),
    (Call::new("tkill", 200, 130), 0),
    (Call::new("tgkill", 234, 131), 0),
    (Call::new("rt_sigqueueinfo", 129, 138), 0),
    (Call::new("rt_tgsigqueueinfo", 297, 240), 0),
    (Call::new("pidfd_open", 434, 434), 0),
    (Call::new("prlimit64", 302, 261), 0),
    (Call::new("sched_setaffinity", 203, 122), 0),
    (Call::new("sched_setattr", 314, 274), 0),
    (Call::new("sched_setparam", 142, 118), 0),
    (Call::new("sched_setscheduler", 144, 119), 0),
    (SETPRIORITY, 1),
];
