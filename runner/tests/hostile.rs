//! Programs that mean harm, against a supervisor in a container as in a pod. Their sources are in `tests/hostile`.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod sandbox;

use oarmaster_protocol::assignment::Program;
use oarmaster_protocol::exec::{Bytes, Request, Response, Run, Stopped};
use oarmaster_runner::exec::landlock_abi;
use sandbox::{Options, Sandbox};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn small() -> Options {
    Options {
        memory_bytes: 64 * MIB,
        disk_bytes: 32 * MIB,
        max_processes: 64,
        ..Options::default()
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(&bytes.0).into_owned()
}

/// What runs besides the program that asks: the supervisor alone, in its own PID namespace.
fn nobody_else_is_there(sandbox: &mut Sandbox) {
    let seen = sandbox.shell("cd /proc && for pid in [0-9]*; do [ $pid = $$ ] || echo $pid; done");
    assert_eq!(text(&seen.stdout.head), "1\n");
}

#[test]
fn every_door_is_closed() {
    every_door(Options::default(), landlock_abi());
}

/// What Landlock alone holds is open; all else is not, and what reaches the supervisor changes nothing.
#[test]
fn every_other_door_is_closed_without_landlock() {
    every_door(
        Options {
            without_landlock: true,
            ..Options::default()
        },
        0,
    );
}

fn every_door(options: Options, abi: u32) {
    let Some(mut sandbox) = Sandbox::start_in_container(options) else {
        return;
    };
    let doors = sandbox.compile("doors");
    let name = format!("oarmaster-test-{}-{abi}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let socket = sandbox.socket().display().to_string();
    let ran = sandbox.run(&[&doors, "1", &name, &socket], None);
    let told = text(&ran.stdout.head) + &text(&ran.stdout.tail);
    assert_eq!((ran.exit_code, ran.stdout.dropped), (Some(0), 0), "{told}");

    let lines = || told.lines();
    for line in lines().filter(|line| line.contains(" GOT ")) {
        let needs = [("scoped", 6), ("landlock", 1)]
            .into_iter()
            .find_map(|(prefix, abi)| line.starts_with(prefix).then_some(abi));
        assert!(needs.is_some_and(|needs| abi < needs), "{line}");
    }
    let controls = "control: unix sockets work, own limits work\n";
    assert!(told.contains(controls), "{told}");
    let tried = lines().find_map(|line| line.strip_prefix("tried "));
    let tried: usize = tried.unwrap().parse().unwrap();
    let is_attempt = |line: &&str| line.ends_with(" refused") || line.contains(" GOT ");
    assert!(tried > 300, "{tried}");
    assert_eq!(lines().filter(is_attempt).count(), tried);

    // Nothing of it has touched the supervisor, also what arrived.
    assert_eq!(sandbox.shell("true").exit_code, Some(0));
    nobody_else_is_there(&mut sandbox);
}

#[test]
fn without_landlock_isolation_is_proven_unless_it_is_demanded() {
    for require_landlock in [false, true] {
        let options = Options {
            require_landlock,
            without_landlock: true,
            ..Options::default()
        };
        let Some(mut sandbox) = Sandbox::start_in_container(options) else {
            return;
        };
        let Response::Probed {
            proven, findings, ..
        } = sandbox.ask(&Request::Probe)
        else {
            panic!()
        };
        assert_eq!(proven, !require_landlock, "{findings:#?}");
        let word = if require_landlock {
            "no Landlock, which the sandbox class demands"
        } else {
            "landlock abi 0"
        };
        assert!(
            findings.iter().any(|finding| finding.contains(word)),
            "{findings:#?}"
        );
    }
}

#[test]
fn a_sandbox_with_users_of_its_own_is_proven() {
    let Some(mut sandbox) = Sandbox::start_with_users_of_its_own(Options {
        require_user_namespace: true,
        ..Options::default()
    }) else {
        return;
    };
    let Response::Probed {
        proven, findings, ..
    } = sandbox.ask(&Request::Probe)
    else {
        panic!()
    };
    assert!(proven, "{findings:#?}");
    assert_eq!(sandbox.shell("true").exit_code, Some(0));
}

#[test]
fn a_sandbox_with_the_nodes_users_is_unproven_where_others_are_demanded() {
    let mut sandbox = Sandbox::start(Options {
        require_user_namespace: true,
        ..Options::default()
    });
    let Response::Probed {
        proven, findings, ..
    } = sandbox.ask(&Request::Probe)
    else {
        panic!()
    };
    // Where the tests themselves run in a user namespace, so does the sandbox.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    let own = !map.split_whitespace().eq(["0", "0", "4294967295"]);
    assert_eq!(proven, own, "{findings:#?}");
    let told = findings.iter().any(|finding| finding.contains("hostUsers"));
    assert_eq!(told, !own, "{findings:#?}");
}

/// Where the kernel has no scopes, a program can send PID 1 a signal, and write itself who sent it.
#[test]
fn a_signal_from_inside_is_not_the_runtimes() {
    const SENDER: &str = r"
import ctypes, os, signal, struct
os.kill(1, signal.SIGTERM)
# si_signo, si_errno, si_code = SI_QUEUE; the sender's id and user id stay 0
forged = ctypes.create_string_buffer(struct.pack('iii', signal.SIGTERM, 0, -1), 128)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall({rt_sigqueueinfo}, 1, int(signal.SIGTERM), forged) == 0, ctypes.get_errno()
print('sent')
";
    let Some(mut sandbox) = Sandbox::start_in_container(Options::default()) else {
        return;
    };
    let number = nix::libc::SYS_rt_sigqueueinfo.to_string();
    let sender = SENDER.replace("{rt_sigqueueinfo}", &number);
    let output = sandbox.beside(&["python3", "-c", &sender]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "sent\n",
        "{output:?}"
    );
    assert_eq!(sandbox.shell("echo still there").exit_code, Some(0));
    // From outside it counts.
    sandbox.terminate_pid_one();
}

#[test]
fn nobody_gets_away() {
    let Some(mut sandbox) = Sandbox::start_in_container(Options::default()) else {
        return;
    };
    let flee = sandbox.compile("flee");
    let begin = Instant::now();
    let ran = sandbox.run(&[&flee], None);
    assert_eq!(
        (ran.exit_code, text(&ran.stdout.head).as_str()),
        (Some(0), "fled\n")
    );
    nobody_else_is_there(&mut sandbox);
    let ran = sandbox.run(&[&flee, "and stay"], Some(2000));
    assert_eq!(ran.stopped, Some(Stopped::Timeout));
    nobody_else_is_there(&mut sandbox);
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_descriptor_on_its_way_keeps_nobody_waiting() {
    let Some(mut sandbox) = Sandbox::start_in_container(Options::default()) else {
        return;
    };
    let inflight = sandbox.compile("inflight");
    let ran = sandbox.run(&[&inflight], None);
    assert_eq!(
        (ran.exit_code, text(&ran.stdout.head).as_str()),
        (Some(0), "sent\n")
    );
    assert!(ran.duration_ms < 5000, "{}", ran.duration_ms);
}

#[test]
fn beside_a_fork_bomb_another_supervisor_still_forks() {
    // Its processes are large and share their pages: to tell how large takes the lock that a forking process holds.
    const LARGE: &str = r"
import os
shared = bytes(32 << 20)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
";
    let options = || Options {
        max_processes: 200,
        memory_bytes: 128 * MIB,
        ..Options::default()
    };
    let (Some(mut bombed), Some(mut other)) = (
        Sandbox::start_in_container(options()),
        Sandbox::start_in_container(options()),
    ) else {
        return;
    };
    let bomb = bombed.compile("bomb");
    let bombs = std::thread::spawn(move || {
        for _ in 0..5 {
            for argv in [&[bomb.as_str()][..], &["python3", "-c", LARGE]] {
                let ran = bombed.run(argv, None);
                assert_eq!(ran.stopped, Some(Stopped::TooManyProcesses), "{ran:?}");
            }
        }
        nobody_else_is_there(&mut bombed);
    });
    let mut forked = 0;
    while !bombs.is_finished() || forked == 0 {
        let ran =
            other.shell("i=0; while [ $i -lt 20 ]; do /bin/true || exit 1; i=$((i + 1)); done");
        assert_eq!((ran.exit_code, ran.stopped), (Some(0), None), "{ran:?}");
        forked += 20;
    }
    bombs.join().unwrap();
}

#[test]
fn out_of_memory_again_and_again() {
    let Some(mut sandbox) = Sandbox::start_in_container(small()) else {
        return;
    };
    let eat = sandbox.compile("eat");
    let mut next = Vec::new();
    for how in [
        "slowly",
        "children",
        "memory-files",
        "segments",
        "slowly",
        "segments",
        "memory-files",
        "children",
        "slowly",
        "slowly",
    ] {
        let ran = sandbox.run(&[&eat, how], None);
        assert_eq!(ran.stopped, Some(Stopped::OutOfMemory), "{how}: {ran:?}");
        let begin = Instant::now();
        let ran = sandbox.shell("echo next");
        next.push(begin.elapsed());
        assert_eq!(text(&ran.stdout.head), "next\n", "after {how}: {ran:?}");
    }
    assert_eq!(sandbox.kernel_kills(), 0, "the supervisor was the first");
    // The bound is 200 ms. On a busy machine some take longer, but not all.
    let fastest = next.iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(200), "{next:?}");
    // As fast as the machine can; here the kernel may be the first, and that is an observation too.
    for _ in 0..3 {
        let ran = sandbox.run(&[&eat, "heap"], None);
        assert_eq!(ran.stopped, Some(Stopped::OutOfMemory), "{ran:?}");
        assert_eq!(sandbox.shell("true").exit_code, Some(0));
    }
}

/// Files stay when a call ends: those that fill everything must not end every later call.
#[test]
fn a_call_may_have_less_disk_than_the_sandbox() {
    let Some(mut sandbox) = Sandbox::start_in_container(Options::default()) else {
        return;
    };
    let fill = |bytes| {
        Request::Run(Run {
            program: Program::Command(
                ["sh", "-c", "head -c 60M /dev/zero > filled && sleep 1"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            env: [].into(),
            timeout_ms: None,
            disk_bytes: bytes,
        })
    };
    for (bytes, stopped) in [
        (None, None),
        (Some(u64::MAX), None),
        (Some(32 << 20), Some(Stopped::DiskFull)),
    ] {
        assert_eq!(sandbox.shell("rm -f filled").exit_code, Some(0));
        let Response::Ran(ran) = sandbox.ask(&fill(bytes)) else {
            panic!()
        };
        assert_eq!(ran.stopped, stopped, "{bytes:?}");
    }
}

#[test]
fn a_full_disk_can_be_cleared() {
    let Some(mut sandbox) = Sandbox::start_in_container(small()) else {
        return;
    };
    let ran = sandbox.shell("echo > small; cat /dev/zero > big");
    assert_eq!(ran.stopped, None, "{ran:?}");
    assert!(
        text(&ran.stderr.head).contains("No space left"),
        "a single full volume is the program's own error: {ran:?}"
    );
    // The other volume has room, but the limit is for both.
    let ran = sandbox.shell("cat /dev/zero > \"$TMPDIR/big\"");
    assert_eq!(ran.stopped, Some(Stopped::DiskFull), "{ran:?}");
    let ran =
        sandbox.shell("cat big > /dev/null && echo reads; rm big \"$TMPDIR/big\" && echo cleared");
    assert_eq!(text(&ran.stdout.head), "reads\ncleared\n", "{ran:?}");

    // A million files have no content, but each takes the kernel's memory.
    let fill = "mkdir many && cd many && seq 1000000 | xargs touch";
    let ran = sandbox.shell(fill);
    assert_eq!(ran.stopped, Some(Stopped::DiskFull), "{ran:?}");
    let ran = sandbox.shell("ls many | wc -l; rm -r many && echo cleared");
    let told = text(&ran.stdout.head);
    let (count, cleared) = told.split_once('\n').unwrap();
    assert_eq!(cleared, "cleared\n", "{ran:?}");
    // 34 MiB at a kilobyte each, less what a look finds late.
    let count: u64 = count.trim().parse().unwrap();
    assert!((30_000..80_000).contains(&count), "{count}");
    assert_eq!(sandbox.kernel_kills(), 0);

    // Three volumes' worth in one, and a hole is no content.
    let ran =
        sandbox.shell("truncate -s 30M sparse && cp --sparse=always sparse again && echo sparse");
    assert_eq!(text(&ran.stdout.head), "sparse\n", "{ran:?}");
}

#[test]
fn nothing_is_left_for_the_next_call() {
    let Some(mut sandbox) = Sandbox::start_in_container(Options::default()) else {
        return;
    };
    let leave = sandbox.compile("leave");
    assert_eq!(sandbox.shell("true").exit_code, Some(0));
    let before = sandbox.memory_used();
    for _ in 0..5 {
        let ran = sandbox.run(&[&leave], None);
        assert_eq!(text(&ran.stdout.head), "left\n", "{ran:?}");
    }
    let ran = sandbox.shell("cat /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg | wc -l; ls -A /dev/shm /dev/mqueue");
    assert_eq!(
        text(&ran.stdout.head),
        "3\n/dev/mqueue:\n\n/dev/shm:\n",
        "titles only"
    );
    let grown = sandbox.memory_used().saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown}");
}

/// A variable that a loader obeys acts on the program, not on what confines it.
#[test]
fn the_environment_reaches_the_program_only() {
    let mut sandbox = Sandbox::start(Options::default());
    let response = sandbox.ask(&Request::Run(Run {
        program: Program::Command(vec!["env".into()]),
        env: [
            ("LD_PRELOAD".to_owned(), "/no/such/library".to_owned()),
            ("--supervisor".to_owned(), "no option".to_owned()),
        ]
        .into(),
        timeout_ms: None,
        disk_bytes: None,
    }));
    let Response::Ran(ran) = response else {
        panic!("{response:?}")
    };
    for line in ["LD_PRELOAD=/no/such/library\n", "--supervisor=no option\n"] {
        assert!(text(&ran.stdout.head).contains(line), "{ran:?}");
    }
    // Once by the loader of the program; not by that of the supervisor's own binary, which would say it too.
    assert_eq!(
        text(&ran.stderr.head)
            .matches("cannot be preloaded")
            .count(),
        1,
        "{ran:?}"
    );
}
