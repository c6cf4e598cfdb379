//! Languages whose runtimes have a heap, threads and networks of their own: `cargo xtask test` installs Node and Java where they are missing.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod sandbox;

use oarmaster_protocol::exec::{Ran, Stopped};
use sandbox::{Options, Sandbox};
use std::path::Path;

/// A sandbox of 512 MiB, with so much room for files that a quarter of the container, which runtimes take by themselves, is more; `None` without the program that runs them, which is a failure under `CI=true`.
fn with(program: &str) -> Option<Sandbox> {
    let places = ["/usr/local/bin", "/usr/bin", "/bin"];
    if !places
        .iter()
        .any(|place| Path::new(place).join(program).is_file())
    {
        sandbox::skipped(&format!("there is no {program}"));
        return None;
    }
    Sandbox::start_in_container(Options {
        disk_bytes: 4 << 30,
        ..Options::default()
    })
}

fn run(sandbox: &mut Sandbox, program: &str, name: &str) -> (Ran, String, String) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let source = std::fs::read_to_string(source.join(name)).unwrap();
    sandbox.write(name, &source);
    let ran = sandbox.run(&[program, name], None);
    let [stdout, stderr] = [&ran.stdout, &ran.stderr].map(|output| {
        String::from_utf8_lossy(&[&*output.head.0, &output.tail.0].concat()).into_owned()
    });
    (ran, stdout, stderr)
}

fn is_closed(ran: &Ran, stdout: &str, stderr: &str, attempts: usize) {
    assert_eq!(ran.exit_code, Some(0), "{stdout}{stderr}");
    assert!(!stdout.contains(" GOT "), "{stdout}");
    assert_eq!(stdout.matches(" refused\n").count(), attempts, "{stdout}");
    assert!(stdout.ends_with("control 7\n"), "{stdout}");
}

#[test]
fn java() {
    let Some(mut sandbox) = with("java") else {
        return;
    };
    let (ran, stdout, stderr) = run(&mut sandbox, "java", "Doors.java");
    is_closed(&ran, &stdout, &stderr, 12);
    // The heap ends before the limit does: the program is told by its own runtime.
    let (ran, _, stderr) = run(&mut sandbox, "java", "Heap.java");
    assert_eq!((ran.exit_code, ran.stopped), (Some(1), None), "{stderr}");
    assert!(
        stderr.contains("OutOfMemoryError: Java heap space"),
        "{stderr}"
    );
    // What is beside the heap counts too.
    let (ran, stdout, _) = run(&mut sandbox, "java", "Beside.java");
    assert_eq!(ran.stopped, Some(Stopped::OutOfMemory), "{ran:?}");
    assert!(stdout.starts_with("beside: "), "{stdout}");
    assert_eq!(sandbox.kernel_kills(), 0);
}

#[test]
fn node() {
    let Some(mut sandbox) = with("node") else {
        return;
    };
    let (ran, stdout, stderr) = run(&mut sandbox, "node", "doors.js");
    is_closed(&ran, &stdout, &stderr, 13);
    let (ran, _, stderr) = run(&mut sandbox, "node", "heap.js");
    assert_eq!((ran.signal, ran.stopped), (Some(6), None), "{stderr}");
    assert!(stderr.contains("JavaScript heap out of memory"), "{stderr}");
    let (ran, ..) = run(&mut sandbox, "node", "beside.js");
    assert_eq!(ran.stopped, Some(Stopped::OutOfMemory), "{ran:?}");
    assert_eq!(sandbox.kernel_kills(), 0);
}
