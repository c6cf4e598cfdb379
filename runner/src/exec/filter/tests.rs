//! Neither architecture is laxer than the other: the programs of both are run here, as the kernel runs them, on every call there is. That they do in a
//! real kernel what they say is tested from a child of the supervisor (runner/tests/hostile.rs), on the architecture of the machine.

use std::collections::BTreeMap;

use seccompiler::sock_filter;

use super::*;

const BOTH: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];
const SUPERVISOR: u32 = 4711;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = refusal(libc::EPERM);
const EACCES: u32 = refusal(libc::EACCES);
const ENOSYS: u32 = refusal(libc::ENOSYS);

/// Calls that x86-64 alone has, and what does the same on arm64; empty: nothing does.
const ONLY_X86_64: [(&str, &str); 59] = [
    ("_sysctl", ""),
    ("access", "faccessat"),
    ("afs_syscall", ""),
    ("alarm", "setitimer"),
    ("arch_prctl", ""),
    ("chmod", "fchmodat"),
    ("chown", "fchownat"),
    ("creat", "openat"),
    ("create_module", ""),
    ("dup2", "dup3"),
    ("epoll_create", "epoll_create1"),
    ("epoll_ctl_old", "epoll_ctl"),
    ("epoll_wait", "epoll_pwait"),
    ("epoll_wait_old", "epoll_pwait"),
    ("eventfd", "eventfd2"),
    ("fork", "clone"),
    ("futimesat", "utimensat"),
    ("get_kernel_syms", ""),
    ("get_thread_area", ""),
    ("getdents", "getdents64"),
    ("getpgrp", "getpgid"),
    ("getpmsg", ""),
    ("inotify_init", "inotify_init1"),
    ("ioperm", ""),
    ("iopl", ""),
    ("lchown", "fchownat"),
    ("link", "linkat"),
    ("lstat", "fstatat"),
    ("mkdir", "mkdirat"),
    ("mknod", "mknodat"),
    ("modify_ldt", ""),
    ("newfstatat", "fstatat"),
    ("open", "openat"),
    ("pause", "ppoll"),
    ("pipe", "pipe2"),
    ("poll", "ppoll"),
    ("putpmsg", ""),
    ("query_module", ""),
    ("readlink", "readlinkat"),
    ("rename", "renameat"),
    ("rmdir", "unlinkat"),
    ("security", ""),
    ("select", "pselect6"),
    ("set_thread_area", ""),
    ("signalfd", "signalfd4"),
    ("stat", "fstatat"),
    ("symlink", "symlinkat"),
    ("sysfs", ""),
    ("time", "gettimeofday"),
    ("tuxcall", ""),
    ("unlink", "unlinkat"),
    ("uprobe", ""),
    ("uretprobe", ""),
    ("uselib", ""),
    ("ustat", "statfs"),
    ("utime", "utimensat"),
    ("utimes", "utimensat"),
    ("vfork", "clone"),
    ("vserver", ""),
];
const ONLY_AARCH64: [(&str, &str); 1] = [("fstatat", "newfstatat")];

const fn refusal(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

/// The calls of a kernel, by name.
fn calls(arch: Arch) -> BTreeMap<&'static str, i64> {
    // The list for arm64 has some of 32-bit kernels.
    let numbers = || (0..1024).filter(|number| !(403..=423).contains(number));
    let named = |name, id: i32| (name, i64::from(id));
    match arch {
        Arch::X86_64 => numbers()
            .filter_map(syscalls::x86_64::Sysno::new)
            .map(|call| named(call.name(), call.id()))
            .collect(),
        Arch::Aarch64 => numbers()
            .filter_map(syscalls::aarch64::Sysno::new)
            .map(|call| named(call.name(), call.id()))
            .collect(),
    }
}

/// The filter of a kernel.
struct Filter {
    programs: Vec<BpfProgram>,
    /// AUDIT_ARCH_*, as the kernel shows it.
    audit: u32,
}

impl Filter {
    fn new(arch: Arch, egress: bool) -> Self {
        Self {
            programs: programs(arch, &[SUPERVISOR], egress).unwrap(),
            audit: match arch {
                Arch::X86_64 => 0xc000_003e,
                Arch::Aarch64 => 0xc000_00b7,
            },
        }
    }

    /// What becomes of a call: the first program that does not allow it says so.
    fn verdict(&self, number: i64, arguments: [u64; 6]) -> u32 {
        let number = u32::try_from(number).unwrap();
        let mut seen = vec![number, self.audit, 0, 0];
        for argument in arguments {
            seen.extend([argument as u32, (argument >> 32) as u32]);
        }
        let mut verdicts = self.programs.iter().map(|program| run(program, &seen));
        verdicts.find(|said| *said != ALLOW).unwrap_or(ALLOW)
    }
}

/// Runs a classic BPF program, as far as filters have its instructions, over the words of `seccomp_data`.
fn run(program: &[sock_filter], seen: &[u32]) -> u32 {
    let (mut at, mut register) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        let jump = |met: bool| usize::from(if met { jt } else { jf });
        at += 1;
        match code {
            0x06 => return k,                        // RET K
            0x20 => register = seen[k as usize / 4], // LD W ABS
            0x54 => register &= k,                   // ALU AND K
            0x05 => at += k as usize,                // JA
            0x15 => at += jump(register == k),       // JEQ K
            0x25 => at += jump(register > k),        // JGT K
            0x35 => at += jump(register >= k),       // JGE K
            other => panic!("no instruction of a filter: {other:#x}"),
        }
    }
}

/// Arguments that make a difference somewhere: each bit of the first four, the supervisor, each address family with the types and protocols of sockets.
fn arguments() -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6], [0, 6, 31, 0, 0, 0], [(1 << 32) | 2, 1, 0, 0, 0, 0]];
    for place in 0..4 {
        let mut at = |value| {
            let mut arguments = [0; 6];
            arguments[place] = value;
            all.push(arguments);
        };
        at(u64::from(SUPERVISOR));
        for bit in 0..32 {
            at(1 << bit);
        }
    }
    for family in [0, 1, 2, 3, 10, 16, 17, 40] {
        for kind in [1, 2, 3, 5, 0x80001] {
            all.extend([0, 6, 132, 262].map(|protocol| [family, kind, protocol, 0, 0, 0]));
        }
    }
    all
}

#[test]
fn numbers_are_those_of_the_kernels() {
    let of_a_process = OF_A_PROCESS.map(|(call, _)| call);
    let mut known = [&ALWAYS[..], &of_a_process].concat();
    known.extend([SOCKET, SOCKETPAIR, SENDTO, SENDMSG, SENDMMSG, SETSOCKOPT]);
    known.extend([CLONE, CLONE3]);
    for arch in BOTH {
        let there = calls(arch);
        for call in &known {
            let number = Some(&call.number(arch));
            assert_eq!(there.get(call.name), number, "{} on {arch:?}", call.name);
        }
    }
    let names: std::collections::BTreeSet<_> = known.iter().map(|call| call.name).collect();
    assert_eq!(names.len(), known.len(), "one is listed twice");
}

#[test]
fn both_architectures_are_held_to_the_same() {
    let (x86_64, aarch64) = (calls(Arch::X86_64), calls(Arch::Aarch64));
    let arguments = arguments();
    for egress in [false, true] {
        let (on_x86_64, on_aarch64) = (
            Filter::new(Arch::X86_64, egress),
            Filter::new(Arch::Aarch64, egress),
        );
        for (name, number) in &x86_64 {
            let Some(other) = aarch64.get(name) else {
                continue;
            };
            for arguments in &arguments {
                assert_eq!(
                    on_x86_64.verdict(*number, *arguments),
                    on_aarch64.verdict(*other, *arguments),
                    "{name} with {arguments:x?}, egress {egress}: x86-64 left, arm64 right"
                );
            }
        }
    }
}

#[test]
fn what_one_architecture_lacks_is_listed_with_what_does_the_same() {
    let (x86_64, aarch64) = (calls(Arch::X86_64), calls(Arch::Aarch64));
    let (on_x86_64, on_aarch64) = (
        Filter::new(Arch::X86_64, false),
        Filter::new(Arch::Aarch64, false),
    );
    let one_sided = [
        (
            &ONLY_X86_64[..],
            (&x86_64, &on_x86_64),
            (&aarch64, &on_aarch64),
        ),
        (
            &ONLY_AARCH64[..],
            (&aarch64, &on_aarch64),
            (&x86_64, &on_x86_64),
        ),
    ];
    for (listed, (here, filter), (there, other_filter)) in one_sided {
        let only: Vec<_> = here
            .keys()
            .filter(|name| !there.contains_key(*name))
            .collect();
        let names: Vec<_> = listed.iter().map(|(name, _)| name).collect();
        assert_eq!(only, names);
        for (name, same) in listed.iter().filter(|(_, same)| !same.is_empty()) {
            assert_eq!(
                filter.verdict(here[name], [0; 6]),
                other_filter.verdict(there[same], [0; 6]),
                "{name} and {same}"
            );
        }
    }
}

#[test]
fn the_filter_says_what_it_should_on_both() {
    let none = [0; 6];
    let tcp = [2, 1, 6, 0, 0, 0];
    let fast_open = [3, 0, 0, 0x2000_0000, 0, 0];
    let cases = [
        ("read", none, ALLOW, ALLOW),
        ("openat", none, ALLOW, ALLOW),
        ("mount", none, EPERM, EPERM),
        ("io_uring_setup", none, EPERM, EPERM),
        ("open_tree_attr", none, EPERM, EPERM),
        ("clone", none, ALLOW, ALLOW),
        ("clone", [0x1000_0000, 0, 0, 0, 0, 0], EPERM, EPERM),
        ("clone3", none, ENOSYS, ENOSYS),
        ("kill", [u64::from(SUPERVISOR), 9, 0, 0, 0, 0], EPERM, EPERM),
        (
            "kill",
            [u64::from(SUPERVISOR) + 1, 9, 0, 0, 0, 0],
            ALLOW,
            ALLOW,
        ),
        (
            "setpriority",
            [0, u64::from(SUPERVISOR), 0, 0, 0, 0],
            EPERM,
            EPERM,
        ),
        ("setpriority", [2, 0, 0, 0, 0, 0], EPERM, EPERM),
        ("setpriority", none, ALLOW, ALLOW),
        ("socket", [1, 1, 0, 0, 0, 0], ALLOW, ALLOW),
        ("socket", tcp, EACCES, ALLOW),
        ("socket", [2, 2, 0, 0, 0, 0], EACCES, EACCES),
        ("socketpair", tcp, EACCES, EACCES),
        ("sendto", fast_open, ALLOW, EPERM),
    ];
    for arch in BOTH {
        let there = calls(arch);
        let (without, with) = (Filter::new(arch, false), Filter::new(arch, true));
        for (name, arguments, closed, egress) in cases {
            let number = there[name];
            let said = (
                without.verdict(number, arguments),
                with.verdict(number, arguments),
            );
            assert_eq!(said, (closed, egress), "{name} {arguments:x?} on {arch:?}");
        }
    }
}

#[test]
fn calls_by_the_numbers_of_another_architecture_are_none() {
    for arch in BOTH {
        let mut filter = Filter::new(arch, true);
        // x32.
        assert_eq!(filter.verdict(0x4000_0000, [0; 6]), ENOSYS);
        // i386 and arm.
        for other in [0x4000_0003, 0x4000_0028] {
            filter.audit = other;
            let said = filter.verdict(1, [0; 6]);
            assert_eq!(
                said,
                libc::SECCOMP_RET_KILL_PROCESS,
                "{other:#x} on {arch:?}"
            );
        }
    }
}
