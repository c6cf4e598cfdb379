//! exec on the real kernel. Run as root, the supervisor gets the UID that it has in a pod; else it runs as who runs the tests.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod sandbox;

use oarmaster_protocol::assignment::Program;
use oarmaster_protocol::exec::{FailedCode, KEPT_BYTES, Ran, Request, Response, Run, Stopped};
use sandbox::{Options, Sandbox};
use std::time::{Duration, Instant};

fn shell(sandbox: &mut Sandbox, code: &str) -> Ran {
    run(sandbox, &["sh", "-c", code], None)
}

fn python(sandbox: &mut Sandbox, code: &str) -> Ran {
    ran(sandbox.ask(&Request::Run(Run {
        program: Program::Code {
            language: "python".into(),
            code: code.into(),
        },
        env: [].into(),
        timeout_ms: None,
        disk_bytes: None,
    })))
}

fn run(sandbox: &mut Sandbox, argv: &[&str], timeout_ms: Option<u64>) -> Ran {
    ran(sandbox.ask(&command(argv, timeout_ms)))
}

fn command(argv: &[&str], timeout_ms: Option<u64>) -> Request {
    Request::Run(Run {
        program: Program::Command(argv.iter().map(|word| (*word).to_owned()).collect()),
        env: [("N".to_owned(), "7 ✓".to_owned())].into(),
        timeout_ms,
        disk_bytes: None,
    })
}

fn ran(response: Response) -> Ran {
    match response {
        Response::Ran(ran) => ran,
        other => panic!("{other:?}"),
    }
}

fn text(bytes: &oarmaster_protocol::exec::Bytes) -> String {
    String::from_utf8_lossy(&bytes.0).into_owned()
}

#[test]
fn isolation_is_proven_from_a_child() {
    let mut sandbox = Sandbox::start(Options::default());
    let Response::Probed {
        proven,
        findings,
        languages,
    } = sandbox.ask(&Request::Probe)
    else {
        panic!()
    };
    assert!(proven, "{findings:#?}");
    // What else the machine has is its own affair.
    for language in ["python", "shell"] {
        assert!(
            languages.iter().any(|name| name == language),
            "{languages:?}"
        );
    }
    assert!(
        findings
            .iter()
            .any(|line| line.starts_with("system calls: 2")),
        "{findings:#?}"
    );
    let hidden = "abstract sockets: 1 tried, all refused".to_owned();
    let scopes = oarmaster_runner::exec::landlock_abi() >= 6;
    assert_eq!(findings.contains(&hidden), scopes, "{findings:#?}");
}

#[test]
fn isolation_is_proven_as_pid_one_of_a_container() {
    let Some(mut sandbox) = Sandbox::start_as_pid_one(Options::default()) else {
        return; // only root can make a PID namespace here
    };
    let Response::Probed {
        proven, findings, ..
    } = sandbox.ask(&Request::Probe)
    else {
        panic!()
    };
    assert!(proven, "{findings:#?}");
    let bomb = shell(&mut sandbox, "b() { b | b & b; }; b");
    assert_eq!(bomb.stopped, Some(Stopped::TooManyProcesses));
    let survivor = shell(
        &mut sandbox,
        "setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 & kill -TERM 1; kill -KILL 1; echo $?",
    );
    assert_eq!(text(&survivor.stdout.head), "1\n");
    let left = shell(&mut sandbox, "cat /proc/[0-9]*/comm");
    let mut names: Vec<_> = text(&left.stdout.head).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names.len(), 2, "the supervisor and cat: {names:?}");
    // The runtime's signal comes from outside the PID namespace and counts.
    let begin = Instant::now();
    sandbox.send(&command(&["sleep", "1000"], None));
    sandbox.terminate_pid_one();
    assert!(begin.elapsed() < Duration::from_secs(60));
}

/// The control: the same probe without the confinement must find every door open, else it proves nothing.
#[test]
fn the_probe_finds_open_doors() {
    let report = sandbox::probe_unconfined();
    for door in [
        "socket family 2 type 1",
        "socket family 16",
        "NoNewPrivs",
        "Seccomp",
        "signal of the supervisor",
        "unconfined can be connected to",
        "ptrace of the supervisor",
        "limits of the supervisor",
        "CPUs of the supervisor",
        "can be read",
    ] {
        assert!(report.contains(door), "{door} is not in the report");
    }
}

#[test]
fn a_program_gets_a_clean_world() {
    let mut sandbox = Sandbox::start(Options::default());
    let ran = shell(
        &mut sandbox,
        "env | sort; pwd; umask; ls -l /proc/self/fd | wc -l; cat; ulimit -c; ulimit -n; exit 3",
    );
    let root = sandbox.workspace().display().to_string();
    let lines: Vec<String> = text(&ran.stdout.head).lines().map(str::to_owned).collect();
    assert!(
        lines.contains(&format!("HOME={root}")) && lines.contains(&"N=7 ✓".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"LANG=C.UTF-8".to_owned()) && lines.contains(&root),
        "{lines:?}"
    );
    assert!(
        !lines
            .iter()
            .any(|line| line.starts_with("CARGO") || line.starts_with("SECRET")),
        "{lines:?}"
    );
    assert!(
        lines.ends_with(&["0022".into(), "5".into(), "0".into(), "1024".into()]),
        "{lines:?}"
    );
    assert_eq!(
        (ran.exit_code, ran.signal, ran.stopped),
        (Some(3), None, None)
    );
    assert!(ran.peak_processes >= 1);
}

#[test]
fn code_has_no_network_and_can_import_its_neighbours() {
    let mut sandbox = Sandbox::start(Options::default());
    sandbox.write("helper.py", "WORD = 'found'\n");
    let ran = python(
        &mut sandbox,
        r#"
import socket, errno, helper, ctypes, os
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, getattr(socket, 'AF_VSOCK', 40)):
    try:
        socket.socket(family, socket.SOCK_STREAM)
        print('open', family)
    except PermissionError as e:
        pass
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(41, 2, 1, 0), ctypes.get_errno() == errno.EACCES)
a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))
import multiprocessing, threading
with multiprocessing.Pool(2) as pool: print(sum(pool.map(abs, [-1, -2])))
try: open('/etc/x', 'w')
except OSError: print('refused')
open('/dev/null', 'w').write('x')
print(helper.WORD, os.listdir('.').count('.oarmaster-run.py'))
"#,
    );
    assert_eq!(text(&ran.stderr.head), "");
    let expected = if cfg!(target_arch = "x86_64") {
        "-1 True\n"
    } else {
        ""
    };
    assert!(
        text(&ran.stdout.head).starts_with(expected),
        "{}",
        text(&ran.stdout.head)
    );
    assert!(
        text(&ran.stdout.head).ends_with("b'x'\n3\nrefused\nfound 1\n"),
        "{}",
        text(&ran.stdout.head)
    );
    assert!(!sandbox.workspace().join(".oarmaster-run.py").exists());
}

#[test]
fn out_of_memory_is_an_observation_and_the_next_call_runs() {
    let mut sandbox = Sandbox::start(Options {
        memory_bytes: 64 << 20,
        ..Options::default()
    });
    let ran = python(
        &mut sandbox,
        "x = bytearray(1 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('alive')",
    );
    assert_eq!(ran.stopped, Some(Stopped::OutOfMemory));
    assert_eq!(text(&ran.stdout.head), "");
    assert!(ran.peak_memory > 64 << 20);
    // The same spread over children.
    let ran = python(
        &mut sandbox,
        "import os, time\nfor i in range(6):\n  if os.fork() == 0:\n    x = bytearray(20 << 20)\n    for j in range(0, len(x), 4096): x[j] = 1\n    time.sleep(60)\ntime.sleep(60)",
    );
    assert_eq!(ran.stopped, Some(Stopped::OutOfMemory));
    assert_eq!(shell(&mut sandbox, "echo next").exit_code, Some(0));
}

#[test]
fn a_fork_bomb_is_stopped_and_gone() {
    let mut sandbox = Sandbox::start_with_pids_limit(Options {
        max_processes: 50,
        ..Options::default()
    });
    // One that goes on where it is refused a process: a shell's dies of that, which may be before anybody looks.
    let ran = python(
        &mut sandbox,
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
    );
    assert_eq!(ran.stopped, Some(Stopped::TooManyProcesses));
    assert_eq!(sandbox.descendants(), 0);
    let threads = python(
        &mut sandbox,
        "import threading, time\nfor i in range(100): threading.Thread(target=time.sleep, args=(60,)).start()",
    );
    assert_eq!(threads.stopped, Some(Stopped::TooManyProcesses));
}

#[test]
fn a_hundred_megabytes_of_output_in_bounded_memory() {
    let mut sandbox = Sandbox::start(Options::default());
    let ran = shell(
        &mut sandbox,
        "echo first; head -c 100000000 /dev/zero; echo; echo last; head -c 300000 /dev/zero >&2",
    );
    assert_eq!(ran.exit_code, Some(0), "{}", text(&ran.stderr.head));
    assert!(ran.stdout.head.0.starts_with(b"first\n\0\0"));
    assert!(ran.stdout.tail.0.ends_with(b"\0\nlast\n"));
    assert_eq!(ran.stdout.dropped, 100_000_012 - 2 * KEPT_BYTES as u64);
    assert_eq!(ran.stderr.dropped, 300_000 - 2 * KEPT_BYTES as u64);
    assert!(
        sandbox.peak_memory_kib() < 32 << 10,
        "{} KiB",
        sandbox.peak_memory_kib()
    );
}

#[test]
fn nothing_survives_a_timeout() {
    let mut sandbox = Sandbox::start(Options::default());
    let code = r#"
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for stopped in (False, True):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(3): os.close(fd)
            if stopped: os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1000)
        os._exit(0)
print('started', flush=True)
os.close(1)
os.kill(os.getpid(), signal.SIGSTOP)
"#;
    let begin = Instant::now();
    let ran = run(&mut sandbox, &["python3", "-c", code], Some(4000));
    assert_eq!(ran.stopped, Some(Stopped::Timeout));
    assert_eq!(text(&ran.stdout.head), "started\n");
    assert!(ran.duration_ms >= 4000 && begin.elapsed() < Duration::from_secs(60));
    assert_eq!(sandbox.descendants(), 0);
    // Also when the program itself ends well.
    let ran = shell(&mut sandbox, "setsid sleep 1000 >/dev/null 2>&1 & echo $?");
    assert_eq!(ran.exit_code, Some(0));
    assert!(ran.duration_ms < 5000);
    assert_eq!(sandbox.descendants(), 0);
}

#[test]
fn a_signal_and_cpu_time_are_told() {
    let mut sandbox = Sandbox::start(Options::default());
    let ran = shell(
        &mut sandbox,
        "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; kill -SEGV $$",
    );
    assert_eq!((ran.exit_code, ran.signal), (None, Some(11)));
    assert!(ran.cpu_ms > 0);
}

#[test]
fn any_bytes_pass() {
    let mut sandbox = Sandbox::start(Options::default());
    let ran = shell(&mut sandbox, r"printf 'a\000b\377\033[31m\342\202'");
    assert_eq!(ran.stdout.head.0, b"a\0b\xff\x1b[31m\xe2\x82");
}

#[test]
fn what_the_image_lacks_is_named() {
    let mut sandbox = Sandbox::start(Options {
        path: Some("/nonexistent".into()),
        ..Options::default()
    });
    let response = sandbox.ask(&Request::Probe);
    assert!(
        matches!(&response, Response::Probed { proven: true, languages, .. } if languages.is_empty()),
        "{response:?}"
    );
    let failed = |response| match response {
        Response::Failed(failed) => failed,
        other => panic!("{other:?}"),
    };
    for (language, program) in [
        ("python", "python3 or python"),
        ("javascript", "node"),
        ("typescript", "node"),
        ("java", "java with javac"),
        ("shell", "sh"),
    ] {
        let error = failed(sandbox.ask(&Request::Run(Run {
            program: Program::Code {
                language: language.into(),
                code: "1".into(),
            },
            env: [].into(),
            timeout_ms: None,
            disk_bytes: None,
        })));
        assert_eq!(error.code, FailedCode::StartFailed);
        assert!(
            error.message.contains(&format!("image has no {program}")),
            "{}",
            error.message
        );
    }
    let error = failed(sandbox.ask(&command(&["go", "test"], None)));
    assert!(
        error.message.contains("no program `go`"),
        "{}",
        error.message
    );
    sandbox.write("script", "#!/no/such/interpreter\n");
    let error = failed(sandbox.ask(&command(&["./script"], None)));
    assert!(
        error.message.contains("not executable"),
        "{}",
        error.message
    );
    let error = failed(sandbox.ask(&command(&["/bin/sh", "a\0b"], None)));
    assert_eq!(error.code, FailedCode::InvalidRequest);
    let error = failed(sandbox.ask(&command(&[], None)));
    assert_eq!(error.code, FailedCode::InvalidRequest);
    assert_eq!(
        run(&mut sandbox, &["/bin/sh", "-c", "chmod +x script"], None).exit_code,
        Some(127)
    );
}

#[test]
fn a_file_cannot_grow_over_the_disk_bound() {
    let mut sandbox = Sandbox::start(Options {
        disk_bytes: 1 << 20,
        ..Options::default()
    });
    let ran = shell(&mut sandbox, "head -c 3000000 /dev/zero > big; wc -c < big");
    assert!(text(&ran.stdout.head).contains("1048576"), "{ran:?}");
}

#[test]
fn artifacts_hold_files_only() {
    let mut sandbox = Sandbox::start(Options::default());
    let made = shell(
        &mut sandbox,
        "mkdir -p src/deep; echo a > src/a.txt; echo b > src/deep/b.txt; ln -s /etc/passwd src/passwd; ln -s /etc src/etc; mkfifo src/fifo; truncate -s 200M src/deep/sparse.bin; ln src/a.txt src/hard.txt",
    );
    assert_eq!(made.exit_code, Some(0), "{made:?}");
    let (bytes, last) = sandbox.collect("src/**/*.txt", 1 << 20);
    assert_eq!(
        last,
        Response::Collected {
            files: 3,
            archive: true,
            skipped: vec![]
        }
    );
    let mut names: Vec<_> = tar::Archive::new(&*bytes)
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
            entry.path().unwrap().display().to_string()
        })
        .collect();
    names.sort();
    assert_eq!(names, ["src/a.txt", "src/deep/b.txt", "src/hard.txt"]);

    let (_, last) = sandbox.collect("src", 1 << 20);
    let Response::Failed(error) = last else {
        panic!("{last:?}")
    };
    assert_eq!(error.code, FailedCode::TooLarge);
    let (bytes, last) = sandbox.collect("src/a.txt", 1 << 20);
    assert_eq!(
        (bytes.as_slice(), last),
        (
            b"a\n".as_slice(),
            Response::Collected {
                files: 1,
                archive: false,
                skipped: vec![]
            }
        )
    );
    let (bytes, last) = sandbox.collect("src/p*", 1 << 20);
    assert!(bytes.is_empty());
    assert_eq!(
        last,
        Response::Collected {
            files: 0,
            archive: true,
            skipped: vec!["src/passwd (not a regular file)".into()]
        }
    );
    let (bytes, _) = sandbox.collect("src/passwd", 1 << 20);
    assert!(bytes.is_empty());
    let (bytes, last) = sandbox.collect("*.none", 1 << 20);
    assert_eq!(
        (bytes.len(), last),
        (
            0,
            Response::Collected {
                files: 0,
                archive: true,
                skipped: vec![]
            }
        )
    );
    assert!(matches!(
        sandbox.collect("../*", 1 << 20).1,
        Response::Failed(_)
    ));
}

#[test]
fn searches_files() {
    let mut sandbox = Sandbox::start(Options::default());
    sandbox.write("src/a.py", "def add(a, b):\n    return a - b\n");
    sandbox.write("b.txt", "nothing\n");
    sandbox.write("binary", "return\0");
    let mut search = |pattern: &str, path: &str| {
        sandbox.ask(&Request::Search {
            pattern: pattern.into(),
            path: path.into(),
            max_hits: 1,
        })
    };
    let Response::Found { hits, truncated } = search(r"return\s+a", "") else {
        panic!()
    };
    assert_eq!(
        (hits.len(), hits[0].path.as_str(), hits[0].line),
        (1, "src/a.py", 2)
    );
    assert_eq!(truncated, None);
    let Response::Found { truncated, .. } = search("a", "src") else {
        panic!()
    };
    assert!(truncated.unwrap().contains("first 1 hits"));
    assert!(matches!(search("(", ""), Response::Failed(_)));
    assert!(matches!(search("a", "missing"), Response::Failed(_)));
}

#[test]
fn only_the_pilot_is_let_in_and_only_once() {
    let mut sandbox = Sandbox::start(Options::default());
    assert!(sandbox.connect_again().is_err());
    assert_eq!(shell(&mut sandbox, "true").exit_code, Some(0));
    assert!(Sandbox::refused_for_a_stranger());
}

#[test]
fn sigterm_and_a_lost_pilot_end_everything_at_once() {
    for by_signal in [true, false] {
        let mut sandbox = Sandbox::start(Options::default());
        sandbox.send(&command(&["sh", "-c", "touch started; sleep 1000"], None));
        sandbox.wait_for_file("started");
        let pids = sandbox.descendant_pids();
        let begin = Instant::now();
        let code = if by_signal {
            sandbox.terminate()
        } else {
            sandbox.hang_up()
        };
        assert_eq!(code, Some(0));
        assert!(begin.elapsed() < Duration::from_secs(60));
        assert!(pids.iter().all(|pid| sandbox::is_gone(*pid)), "{pids:?}");
    }
}

#[test]
fn a_broken_request_is_answered() {
    let mut sandbox = Sandbox::start(Options::default());
    let Response::Failed(error) = sandbox.ask_raw(b"{\"kind\":\"fly\"}") else {
        panic!()
    };
    assert_eq!(error.code, FailedCode::InvalidRequest);
    assert_eq!(shell(&mut sandbox, "true").exit_code, Some(0));
}
