//! Programs that mean harm, in the live pod. What they try in C, Node and Java against a supervisor alone is in `runner/tests/hostile.rs`.

use crate::support::{agent, beside_others, create, pool, python, run, says, scripted, task};
use anyhow::{Context as _, Result};
use oarmaster_e2e::task::Journal;
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};

/// Every line of its output is `<what> <refused or what came of it>`. System calls by their numbers on x86-64 and arm64.
const SUPERVISOR: &str = r#"
import ctypes, errno, fcntl, os, platform, signal, struct

libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"
numbers = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "sigqueue": (129, 138), "tgsigqueue": (297, 240),
    "prlimit": (302, 261), "affinity": (203, 122), "scheduler": (144, 119), "nice": (141, 140), "pidfd_open": (434, 434),
    "process_vm_readv": (310, 270), "io_uring": (425, 425), "clone3": (435, 435), "keyctl": (250, 219), "bpf": (321, 280),
    "perf": (298, 241), "userfaultfd": (323, 282), "memfd_secret": (447, 447), "ptrace": (101, 117), "pidfd_signal": (424, 424),
}

def attempt(name, call, *arguments):
    number = numbers[call][0 if x86 else 1] if isinstance(call, str) else call
    result = libc.syscall(number, *arguments)
    error = ctypes.get_errno()
    if result == -1 and error in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        print(name, "refused")
    else:
        print(name, "GOT", result, errno.errorcode.get(error))

zeros = ctypes.create_string_buffer(128)
cpus = ctypes.create_string_buffer(b"\x01", 8)
forged = ctypes.create_string_buffer(struct.pack("iii", signal.SIGTERM, 0, -1), 128)
for thread in sorted(int(name) for name in os.listdir("/proc/1/task")):
    attempt(f"kill-{thread}", "kill", thread, signal.SIGTERM)
    attempt(f"tkill-{thread}", "tkill", thread, signal.SIGTERM)
    attempt(f"tgkill-{thread}", "tgkill", 1, thread, signal.SIGTERM)
    attempt(f"sigqueue-{thread}", "sigqueue", thread, signal.SIGTERM, forged)
    attempt(f"tgsigqueue-{thread}", "tgsigqueue", 1, thread, signal.SIGTERM, forged)
    attempt(f"limits-{thread}", "prlimit", thread, 7, zeros, None)
    attempt(f"cpus-{thread}", "affinity", thread, 8, cpus)
    attempt(f"scheduler-{thread}", "scheduler", thread, 5, zeros)
    attempt(f"nice-{thread}", "nice", 0, thread, 19)
    attempt(f"pidfd-{thread}", "pidfd_open", thread, 0)
    attempt(f"seize-{thread}", "ptrace", 0x4206, thread, None, None)
attempt("nice-user", "nice", 2, 0, 19)
attempt("memory", "process_vm_readv", 1, zeros, 1, zeros, 1, 0)
for name in ["io_uring", "clone3", "keyctl", "bpf", "perf", "userfaultfd", "memfd_secret"]:
    attempt(name, name, 0, zeros, 128, 0, 0)
if x86:
    attempt("x32", 0x40000000 | 41, 2, 1, 0)
for name in ["oom_score_adj", "comm", "mem", "coredump_filter"]:
    try:
        open(f"/proc/1/{name}", "r+b")
        print(name, "GOT opened")
    except OSError:
        print(name, "refused")

# Whether these arrive is not told here. They must change nothing.
libc.syscall(numbers["pidfd_signal"][0 if x86 else 1], os.open("/proc/1", os.O_RDONLY), signal.SIGTERM, forged, 0)
reader, writer = os.pipe()
fcntl.fcntl(reader, fcntl.F_SETOWN, 1)
fcntl.fcntl(reader, 10, signal.SIGTERM) # F_SETSIG
fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
os.write(writer, b"x")
"#;

/// Leaves what outlives a process.
const LEAVE: &str = r#"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.shmget(0x4711, 8 << 20, 0o1600) >= 0
assert libc.semget(0x4711, 4, 0o1600) >= 0
assert libc.msgget(0x4711, 0o1600) >= 0
open("/dev/shm/left", "wb").write(bytes(8 << 20))
for stopped in (False, True):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(3):
                os.close(fd)
            import signal, time
            for number in set(range(1, 65)) - {9, 19, 32, 33}:
                signal.signal(number, signal.SIG_IGN)
            if stopped:
                os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1000)
        os._exit(0)
print("left")
"#;

const FOUND: &str = r#"
import os
lines = sum(len(open(f"/proc/sysvipc/{kind}").readlines()) - 1 for kind in ("shm", "sem", "msg"))
others = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid())]
print("found", lines, os.listdir("/dev/shm"), others)
"#;

/// A restarted container would have proven its isolation anew. What the pilot finds of the NetworkPolicy may come later, and is then told with the
/// same proof again.
fn never_restarted(journal: &Journal) {
    let policy = |findings: &[String]| {
        findings
            .iter()
            .any(|line| line.starts_with("network policy"))
    };
    let proofs = |with: bool| {
        journal.count(|body| match body {
            Body::Isolation { proven, findings } => *proven && policy(findings) == with,
            _ => false,
        })
    };
    let (before, after) = (proofs(false), proofs(true));
    assert!(
        before <= 1 && after <= 1 && before + after > 0,
        "{journal:#?}"
    );
}

#[tokio::test]
async fn the_supervisor_cannot_be_touched_and_nothing_outlives_a_call() -> Result<()> {
    beside_others("hostile", async |space| {
        let replies = [
            python(SUPERVISOR),
            python(LEAVE),
            python(FOUND),
            says("done"),
        ];
        create(
            space,
            &[
                scripted(&replies),
                pool(),
                agent(&["RunCode"]),
                task(&json!({})),
            ],
        )
        .await?;
        space.complete("work").await?;
        let journal = space.journal("work").await?;
        let (_, ok, text) = journal.result(0)?;
        assert!(ok, "{text}");
        assert!(!text.contains(" GOT "), "{text}");
        // Three threads, the process among them, with eleven attempts each, and thirteen or fourteen others.
        assert!(text.matches(" refused\n").count() >= 46, "{text}");
        let (_, ok, text) = journal.result(1)?;
        assert!(ok && text.contains("left"), "{text}");
        let (_, ok, text) = journal.result(2)?;
        assert!(ok && text.contains("found 0 [] []"), "{text}");
        never_restarted(&journal);
        Ok(())
    })
    .await
}

const HEAP: &str = "
import time
held = []
while True:
    held.append(bytearray(1 << 20))
    time.sleep(0.001)
";
const CHILDREN: &str = "
import os, time
for _ in range(10):
    if os.fork() == 0:
        held = bytearray(24 << 20)
        for at in range(0, len(held), 4096):
            held[at] = 1
        time.sleep(600)
time.sleep(600)
";
const MEMORY_FILES: &str = "
import os, time
files = []
while True:
    files.append(os.memfd_create('x'))
    os.write(files[-1], bytes(1 << 20))
    time.sleep(0.001)
";
const SEGMENTS: &str = "
import ctypes, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
libc.shmdt.argtypes = [ctypes.c_void_p]
while True:
    at = libc.shmat(libc.shmget(0, 1 << 20, 0o1600), None, 0)
    ctypes.memset(at, 1, 1 << 20)
    libc.shmdt(at)
    time.sleep(0.001)
";
const BOTH_VOLUMES: &str = "
import tempfile
held = []
for place in ('.', tempfile.gettempdir()):
    file = open(place + '/big', 'wb')
    try:
        while True:
            file.write(bytes(1 << 20))
            file.flush()
    except OSError as error:
        print(place, error, flush=True)
";
const MANY_FILES: &str = "
import os
os.mkdir('many')
for number in range(1_000_000):
    os.close(os.open(f'many/{number}', os.O_CREAT))
";
const CLEAR: &str = "
import os, shutil, tempfile
shutil.rmtree('many', ignore_errors=True)
for place in ('.', tempfile.gettempdir()):
    if os.path.exists(place + '/big'):
        os.remove(place + '/big')
print('cleared')
";

#[tokio::test]
async fn every_limit_again_and_again() -> Result<()> {
    beside_others("again", async |space| {
        let memory = [HEAP, CHILDREN, MEMORY_FILES, SEGMENTS];
        let mut calls: Vec<(&str, &str)> = memory
            .into_iter()
            .cycle()
            .take(10)
            .flat_map(|program| [(program, "out of memory"), ("print('next')", "next")])
            .collect();
        calls.extend([
            (BOTH_VOLUMES, "over the disk limit"),
            (CLEAR, "cleared"),
            (MANY_FILES, "over the disk limit"),
            (CLEAR, "cleared"),
            ("print(6 * 7)", "42"),
        ]);
        // The same call three times would be no call to the pilot: each is another one.
        let numbered = |(number, (program, _)): (usize, &(&str, &str))| {
            python(&format!("{program}\n# {number}\n"))
        };
        let mut replies: Vec<Value> = calls.iter().enumerate().map(numbered).collect();
        replies.push(says("done"));
        let mut worker = agent(&["RunCode"]);
        worker["spec"]["limits"] = json!({"turns": 40, "toolCalls": 40});
        create(
            space,
            &[scripted(&replies), pool(), worker, task(&json!({}))],
        )
        .await?;
        space.complete("work").await?;
        let journal = space.journal("work").await?;
        for (index, (program, expected)) in calls.iter().enumerate() {
            let (_, _, text) = journal.result(index)?;
            assert!(text.contains(expected), "{index}: {program}\n{text}");
        }
        never_restarted(&journal);
        Ok(())
    })
    .await
}

const LEAVINGS: &str = r"
import os, socket, stat
os.mkdir('out')
open('out/plain', 'w').write('plain')
os.link('out/plain', 'out/hard')
os.symlink('/proc/1/environ', 'out/link')
os.symlink('..', 'out/up')
os.mkfifo('out/pipe')
socket.socket(socket.AF_UNIX).bind('out/socket')
open('out/..\\..\\name', 'w').write('x')
os.truncate(os.open('out/sparse', os.O_CREAT | os.O_WRONLY), 32 << 20)
";

#[tokio::test]
async fn artifacts_are_plain_files() -> Result<()> {
    beside_others("leavings", async |space| {
        let work = run(
            "work",
            json!({"language": "python", "code": LEAVINGS}),
            &json!({"artifacts": [
                {"name": "some", "path": "out/[a-o.]*"},
                {"name": "link", "path": "out/link"},
                {"name": "above", "path": "out/up/out/plain"},
            ]}),
        );
        create(space, &[work]).await?;
        space.complete("work").await?;
        let reader = space.reader().await?;
        let kept = reader.artifacts("work").await?;
        assert_eq!(kept.len(), 1, "{kept:?}");
        let archive = reader.bytes("work", "artifacts/some").await?;
        // Headers are 512 bytes; a name is at the beginning, the kind at 156: plain files are '0'.
        let headers: Vec<&[u8]> = archive
            .chunks(512)
            .filter(|block| block.get(257..262) == Some(b"ustar"))
            .collect();
        let names: Vec<_> = headers
            .iter()
            .map(|block| {
                String::from_utf8_lossy(&block[..100])
                    .trim_end_matches('\0')
                    .to_owned()
            })
            .collect();
        assert_eq!(names, [r"out/..\..\name", "out/hard"], "{names:?}");
        assert!(headers.iter().all(|block| block[156] == b'0'));
        Ok(())
    })
    .await
}

const BOMB: &str = "
import os
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
";
const FORKS: &str = r#"
end=$(($(date +%s) + 20))
while [ "$(date +%s)" -lt $end ]; do /bin/true || exit 1; done
echo still forks
"#;

#[tokio::test]
async fn beside_a_fork_bomb_another_task_still_forks() -> Result<()> {
    beside_others("bomb", async |space| {
        // The same call three times would be no call to the pilot: each is another one.
        let mut replies: Vec<_> = (0..8).map(|n| python(&format!("{BOMB}# {n}\n"))).collect();
        replies.push(says("done"));
        let other = run(
            "other",
            json!({"language": "shell", "code": FORKS}),
            &json!({}),
        );
        create(
            space,
            &[
                scripted(&replies),
                pool(),
                agent(&["RunCode"]),
                other,
                task(&json!({})),
            ],
        )
        .await?;
        space.complete("work").await?;
        let journal = space.journal("work").await?;
        for index in 0..8 {
            let (_, ok, text) = journal.result(index)?;
            assert!(!ok && text.contains("too many processes"), "{text}");
        }
        never_restarted(&journal);
        let other = space.complete("other").await?;
        let output = other.status.context("no status")?.output;
        let text = output.context("no output")?["stdoutTail"].clone();
        assert_eq!(text, "still forks\n");
        Ok(())
    })
    .await
}
