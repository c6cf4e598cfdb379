//! Languages whose runtimes have a heap, threads and networks of their own: `cargo xtask test` installs Node and Java where they are missing.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod sandbox;

use oarmaster_protocol::assignment::Program;
use oarmaster_protocol::exec::{FailedCode, Ran, Request, Response, Run, Stopped};
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

/// Runs source text of a language; answers its exit code, output and errors.
fn code(sandbox: &mut Sandbox, language: &str, code: &str) -> (Option<i32>, String, String) {
    match asked(sandbox, language, code) {
        Response::Ran(ran) => {
            let [stdout, stderr] = [&ran.stdout, &ran.stderr]
                .map(|output| String::from_utf8_lossy(&output.head.0).into_owned());
            (ran.exit_code, stdout, stderr)
        }
        other => panic!("{other:?}"),
    }
}

fn asked(sandbox: &mut Sandbox, language: &str, code: &str) -> Response {
    sandbox.ask(&Request::Run(Run {
        program: Program::Code {
            language: language.to_owned(),
            code: code.to_owned(),
        },
        env: [].into(),
        timeout_ms: None,
        disk_bytes: None,
    }))
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
fn java_from_source() {
    let Some(mut sandbox) = with("javac") else {
        return;
    };
    let main = |body: &str| {
        format!(
            "import java.util.List;\n\npublic class Any {{\n    public static void main(String[] none) {{\n        {body}\n    }}\n}}\n"
        )
    };
    let sum = main("System.out.println(List.of(6, 36).stream().mapToInt(n -> n).sum());");
    let (exit, stdout, stderr) = code(&mut sandbox, "java", &sum);
    assert_eq!((exit, &*stdout), (Some(0), "42\n"), "{stderr}");
    // The compiler's own words, with the line.
    let (exit, _, stderr) = code(&mut sandbox, "java", &main("int six = \"6\";"));
    assert_eq!(exit, Some(1), "{stderr}");
    assert!(
        stderr.contains(".java:5: error: incompatible types: String cannot be converted to int"),
        "{stderr}"
    );
    let (_, left, _) = code(&mut sandbox, "shell", "ls -A");
    assert_eq!(left, ".oarmaster-run.sh\n", "source files are removed");
}

#[test]
fn javascript_from_source() {
    let Some(mut sandbox) = with("node") else {
        return;
    };
    sandbox.write("lib.js", "exports.times = (a, b) => a * b;\n");
    let source = "const { times } = require('./lib.js');\nconsole.log(times(6, 7));\n";
    let (exit, stdout, stderr) = code(&mut sandbox, "javascript", source);
    assert_eq!((exit, &*stdout), (Some(0), "42\n"), "{stderr}");
    let (exit, _, stderr) = code(&mut sandbox, "javascript", "let six = ;");
    assert_eq!(exit, Some(1), "{stderr}");
    assert!(stderr.contains("SyntaxError"), "{stderr}");
}

/// The machine's node may be too old for it, which is said.
#[test]
fn typescript_from_source() {
    let Some(mut sandbox) = with("node") else {
        return;
    };
    let source = "interface N { n: number }\nconst six: N = { n: 6 };\nconsole.log(six.n * 7);\n";
    let (_, version, _) = code(
        &mut sandbox,
        "shell",
        "node -p 'const [a, b] = process.versions.node.split(\".\"); a > 22 || (a == 22 && b >= 6)'",
    );
    if version == "true\n" {
        let (exit, stdout, stderr) = code(&mut sandbox, "typescript", source);
        assert_eq!((exit, &*stdout, &*stderr), (Some(0), "42\n", ""));
        return;
    }
    match asked(&mut sandbox, "typescript", source) {
        Response::Failed(failed) => {
            assert_eq!(failed.code, FailedCode::StartFailed);
            assert!(
                failed.message.contains("takes Node.js 22.6 or later"),
                "{}",
                failed.message
            );
        }
        other => panic!("{other:?}"),
    }
    // The same words from a program are the program's own.
    let (exit, ..) = code(
        &mut sandbox,
        "javascript",
        "console.error('node: bad option: --experimental-strip-types'); process.exit(9)",
    );
    assert_eq!(exit, Some(9));
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
