//! The pilot against a gateway that keeps the task API strictly, and against the real exec.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod gateway;
mod sandbox;

use gateway::{Fault, Gateway, assignment, call, final_text};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::{
    Accept, ArtifactRule, Assignment, File, Program, RunTarget, Target,
};
use oarmaster_protocol::journal::{Body, Outcome};
use sandbox::{Options, Process};
use serde_json::{Value, json};

/// Runs the pilot to its end with a sandbox of its own.
fn run(gateway: &Gateway, options: &Options) -> Option<i32> {
    let process = Process::start(options, sandbox::own_uid(), &[]);
    gateway.run_pilot(Some(&process.socket()))
}

/// Whether each tool call did what it was asked, and what the model was shown.
fn results(gateway: &Gateway) -> Vec<(bool, String)> {
    let records = gateway.records().into_iter();
    let results = records.filter_map(|body| match body {
        Body::ToolResult { ok, text, .. } => Some((ok, text)),
        _ => None,
    });
    results.collect()
}

fn outcome(gateway: &Gateway) -> Outcome {
    match gateway.records().pop() {
        Some(Body::Result { outcome }) => outcome,
        other => panic!("{other:?}"),
    }
}

fn class(gateway: &Gateway) -> Option<FailureClass> {
    outcome(gateway).failure.map(|failure| failure.class)
}

/// What the pilot wrote and was answered, as kinds, for the order.
fn kinds(gateway: &Gateway) -> Vec<String> {
    gateway
        .records()
        .iter()
        .filter(|body| !matches!(body, Body::Open { .. }))
        .map(|body| {
            serde_json::to_value(body).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

fn fixer() -> Assignment {
    let mut assignment = assignment();
    assignment.files = vec![
        File {
            path: "calc.py".into(),
            content: "def add(a, b):\n    return a - b\n".into(),
        },
        File {
            path: "test_calc.py".into(),
            content: "import unittest, calc\n\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(calc.add(1, 2), 3)\n".into(),
        },
    ];
    assignment.accept = Some(Accept {
        command: vec!["python3".into(), "-m".into(), "unittest".into()],
        exit_code: 0,
        judge: None,
        best: false,
        rounds: 2,
    });
    assignment.artifacts = vec![ArtifactRule {
        name: "src".into(),
        path: "*.py".into(),
    }];
    assignment
}

#[test]
fn an_agent_repairs_a_program_and_its_check_decides() {
    let gateway = Gateway::start(
        fixer(),
        vec![
            call("ListFiles", json!({})),
            call("Shell", json!({"command": "python3 -m unittest"})),
            final_text("It is fine."),
            call(
                "EditFile",
                json!({"path": "calc.py", "old": "a - b", "new": "a + b"}),
            ),
            final_text("Repaired."),
        ],
    );
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    let outcome = outcome(&gateway);
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.output, Some(json!({"text": "Repaired."})));
    assert_eq!(outcome.artifacts[0].name, "src");
    assert!(
        gateway
            .artifact("src")
            .windows(5)
            .any(|bytes| bytes == b"a + b")
    );
    assert_eq!(
        kinds(&gateway),
        [
            "isolation",
            "answer",
            "toolIntent",
            "toolResult",
            "answer",
            "toolIntent",
            "toolResult",
            "answer",
            "check",
            "observation",
            "answer",
            "toolIntent",
            "toolResult",
            "answer",
            "check",
            "result"
        ]
    );
    let listing = gateway.request(1)["messages"][3]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(listing, "calc.py (32 bytes)\ntest_calc.py (115 bytes)\n");
    let red = gateway.request(3)["messages"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert!(
        red["content"]
            .as_str()
            .unwrap()
            .contains("AssertionError: -1 != 3"),
        "{red}"
    );
}

#[test]
fn a_diff_changes_a_file_as_a_whole_or_not_at_all() {
    let edit = |diff: &str| call("EditFile", json!({"path": "run.sh", "diff": diff}));
    let one = "@@ -1,2 +1,2 @@\n-echo one\n+echo 1\n echo two\n";
    let mut assignment = assignment();
    assignment.files = vec![File {
        path: "run.sh".into(),
        content: "echo one\r\necho two\r\necho three\r\n".into(),
    }];
    let gateway = Gateway::start(
        assignment,
        vec![
            call("Shell", json!({"command": "chmod 750 run.sh"})),
            edit(&format!("{one}@@ -3 +3 @@\n-echo drei\n+echo 3\n")),
            edit(&format!("{one}@@ -3 +3 @@\n-echo three\n+echo 3\n")),
            call(
                "Shell",
                json!({"command": "stat -c %a run.sh; od -An -c run.sh | tr -d ' \\n'; ls -A"}),
            ),
            edit("--- /dev/null\n+++ b/run.sh\n@@ -0,0 +1 @@\n+x\n"),
            final_text("done"),
        ],
    );
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(outcome(&gateway).failure, None);
    let results = results(&gateway);
    let oks: Vec<bool> = results.iter().map(|(ok, _)| *ok).collect();
    assert_eq!(oks, [true, false, true, true, false], "{results:?}");
    assert!(results[1].1.contains("Hunk 2 of 2"), "{}", results[1].1);
    assert_eq!(
        results[3].1,
        "exit code 0\n[stdout]\n750\necho1\\r\\nechotwo\\r\\necho3\\r\\nrun.sh\n"
    );
}

#[test]
fn a_call_that_leads_nowhere_is_not_made_a_third_time() {
    let look = || call("Shell", json!({"command": "echo . >> looked; ls"}));
    let gateway = Gateway::start(assignment(), vec![look(), look(), look(), look()]);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    let failure = outcome(&gateway).failure.unwrap();
    assert_eq!(failure.class, FailureClass::ToolFailed);
    assert!(failure.message.contains("`Shell`"), "{}", failure.message);
    let last = gateway.request(3)["messages"][7]["content"].clone();
    assert!(last.as_str().unwrap().contains("was not run"), "{last}");
    let ends = ["answer", "toolIntent", "toolResult"].repeat(3);
    let wanted = [vec!["isolation"], ends, vec!["answer", "result"]].concat();
    assert_eq!(kinds(&gateway), wanted);
}

#[test]
fn a_check_that_stays_red_fails_the_task() {
    let gateway = Gateway::start(fixer(), vec![final_text("Fine."), final_text("Really.")]);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    let outcome = outcome(&gateway);
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.class, FailureClass::NotAccepted);
    assert!(
        failure.message.contains("exit code 1") && failure.message.contains("FAILED"),
        "{}",
        failure.message
    );
    assert_eq!(outcome.artifacts.len(), 1);
    assert_eq!(outcome.output, Some(json!({"text": "Really."})));
}

#[test]
fn observations_carry_any_text() {
    let gateway = Gateway::start(
        assignment(),
        vec![
            call(
                "WriteFile",
                json!({"path": "a", "content": "\u{0}\u{7f}\u{9b}\u{feff}\u{1F600}"}),
            ),
            call("Shell", json!({"command": "cat a; printf '\\377'"})),
            call(
                "RunCode",
                json!({"language": "python", "code": "x = bytearray(1<<30)\nfor i in range(0, len(x), 4096): x[i] = 1"}),
            ),
            call(
                "RunCode",
                json!({"language": "shell", "code": "sleep 100", "timeoutSeconds": 1}),
            ),
            call("SearchFiles", json!({"pattern": "x"})),
            final_text("\u{0} done"),
        ],
    );
    let options = Options {
        memory_bytes: 64 << 20,
        ..Options::default()
    };
    gateway.set_bounds(options.bounds());
    assert_eq!(run(&gateway, &options), Some(0));
    let results: Vec<String> = gateway
        .records()
        .into_iter()
        .filter_map(|body| match body {
            Body::ToolResult { text, .. } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(
        results[1],
        "exit code 0\n[stdout]\n\u{0}\u{7f}\u{9b}\u{feff}\u{1F600}\u{fffd}\n[stdout: U+FFFD stands for bytes that are not UTF-8, 1 times]"
    );
    assert!(
        results[2].starts_with("stopped: out of memory (limit 64 MiB"),
        "{}",
        results[2]
    );
    assert!(results[3].starts_with("stopped after 1s"), "{}", results[3]);
    assert_eq!(
        outcome(&gateway).output,
        Some(json!({"text": "\u{0} done"}))
    );
}

fn run_task(program: Program) -> Assignment {
    Assignment {
        target: Target::Run(RunTarget {
            program,
            env: [("N".to_owned(), "7".to_owned())].into(),
        }),
        ..assignment()
    }
}

fn python(code: &str) -> Program {
    Program::Code {
        language: "python".into(),
        code: code.into(),
    }
}

#[test]
fn runs_end_as_they_ended() {
    let shell = |code: &str| Program::Command(vec!["sh".into(), "-c".into(), code.into()]);
    for (program, wanted) in [
        (python("import os; print(6 * int(os.environ['N']))"), None),
        (
            shell("echo why >&2; exit 4"),
            Some((FailureClass::ToolFailed, "exit code 4: why")),
        ),
        (
            shell("kill -9 $$"),
            Some((FailureClass::ToolFailed, "signal 9")),
        ),
        (
            shell("sleep 100"),
            Some((FailureClass::Timeout, "time limit")),
        ),
        (
            python("x = bytearray(1<<30)\nfor i in range(0, len(x), 4096): x[i] = 1"),
            Some((FailureClass::OutOfMemory, "out of memory")),
        ),
        (
            Program::Command(vec!["nosuch".into()]),
            Some((FailureClass::StartFailed, "no program `nosuch`")),
        ),
    ] {
        let gateway = Gateway::start(run_task(program), vec![]);
        let options = Options {
            memory_bytes: 64 << 20,
            ..Options::default()
        };
        gateway.set_bounds(oarmaster_protocol::assignment::Sandbox {
            call_timeout_ms: 5000,
            ..options.bounds()
        });
        assert_eq!(run(&gateway, &options), Some(0));
        let outcome = outcome(&gateway);
        match wanted {
            None => {
                assert_eq!(outcome.failure, None);
                let output = outcome.output.unwrap();
                assert_eq!(
                    (&output["exitCode"], &output["stdoutTail"]),
                    (&json!(0), &json!("42\n"))
                );
            }
            Some((class, text)) => {
                let failure = outcome.failure.unwrap();
                assert_eq!(failure.class, class, "{}", failure.message);
                assert!(failure.message.contains(text), "{}", failure.message);
            }
        }
    }
}

#[test]
fn a_run_is_checked_once() {
    let mut assignment = run_task(python("open('made', 'w').write('1')"));
    assignment.accept = Some(Accept {
        command: vec!["test".into(), "-s".into(), "missing".into()],
        exit_code: 0,
        judge: None,
        best: false,
        rounds: 5,
    });
    let gateway = Gateway::start(assignment, vec![]);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(class(&gateway), Some(FailureClass::NotAccepted));
    assert_eq!(kinds(&gateway), ["isolation", "check", "result"]);
}

#[test]
fn faults_of_the_gateway_cost_no_record_and_no_call() {
    let script = || {
        vec![
            call("Shell", json!({"command": "echo once >> log"})),
            call("ReadFile", json!({"path": "log"})),
            final_text("done"),
        ]
    };
    for fault in [
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::Unavailable,
        Fault::Defect,
        Fault::Unauthenticated,
    ] {
        let gateway = Gateway::start(assignment(), script());
        gateway.fail_every_second_request_with(fault);
        assert_eq!(run(&gateway, &Options::default()), Some(0), "{fault:?}");
        assert_eq!(outcome(&gateway).failure, None, "{fault:?}");
        assert_eq!(gateway.model_calls(), 3, "{fault:?}");
        assert_eq!(
            kinds(&gateway),
            [
                "isolation",
                "answer",
                "toolIntent",
                "toolResult",
                "answer",
                "toolIntent",
                "toolResult",
                "answer",
                "result"
            ],
            "{fault:?}"
        );
        assert_eq!(
            gateway.request(2)["messages"][5]["content"],
            json!("once\n")
        );
    }
}

#[test]
fn refusals_of_model_calls_are_classes() {
    for (code, status, class_wanted) in [
        ("budget_exceeded", 429, FailureClass::BudgetExceeded),
        ("unbounded_cost", 400, FailureClass::RefusedByPolicy),
        ("unknown_price", 400, FailureClass::RefusedByPolicy),
        ("forbidden", 403, FailureClass::RefusedByPolicy),
        ("diverged", 409, FailureClass::Internal),
        ("model_unavailable", 502, FailureClass::ModelUnavailable),
        ("not_found", 404, FailureClass::ModelUnavailable),
        ("invalid_request", 400, FailureClass::InvalidInput),
    ] {
        let gateway = Gateway::start(assignment(), vec![]);
        gateway.refuse_model_calls(code, status, 9);
        assert_eq!(run(&gateway, &Options::default()), Some(0), "{code}");
        let failure = outcome(&gateway).failure.unwrap();
        assert_eq!(failure.class, class_wanted);
        assert_eq!(failure.message, format!("text of {code}"));
    }
}

#[test]
fn a_budget_without_room_is_asked_again_under_the_same_number() {
    let gateway = Gateway::start(assignment(), vec![final_text("done")]);
    gateway.refuse_model_calls("window_exceeded", 429, 2);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(outcome(&gateway).failure, None);
    // The number that was refused twice is the one that is answered.
    assert_eq!(gateway.call_numbers(), [7]);
}

#[test]
fn a_call_in_doubt_is_asked_once_more_under_the_next_number() {
    let gateway = Gateway::start(assignment(), vec![final_text("done")]);
    gateway.refuse_model_calls("in_doubt", 409, 1);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(outcome(&gateway).failure, None);
    assert_eq!(gateway.call_numbers(), [7, 8]);

    let gateway = Gateway::start(assignment(), vec![final_text("done")]);
    gateway.refuse_model_calls("in_doubt", 409, 2);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(class(&gateway), Some(FailureClass::ModelUnavailable));
    assert_eq!(gateway.call_numbers(), [7, 8]);
}

#[test]
fn a_fenced_pilot_exits_without_a_result() {
    let gateway = Gateway::start(
        assignment(),
        vec![
            call("Shell", json!({"command": "touch ran"})),
            final_text("done"),
        ],
    );
    gateway.fence_after(1);
    assert_eq!(run(&gateway, &Options::default()), Some(3));
    assert!(!kinds(&gateway).contains(&"result".to_owned()));
    assert!(!kinds(&gateway).contains(&"toolIntent".to_owned()));
}

#[test]
fn another_assignment_than_the_jobs_is_not_run() {
    let gateway = Gateway::start(assignment(), vec![]);
    gateway.serve_another_assignment();
    assert_eq!(run(&gateway, &Options::default()), Some(1));
    assert_eq!(gateway.records(), []);
}

#[test]
fn isolation_that_is_not_proven_runs_nothing() {
    let mut assignment = run_task(python("open('ran', 'w')"));
    assignment.files = vec![File {
        path: "a".into(),
        content: String::new(),
    }];
    let gateway = Gateway::start(assignment, vec![]);
    let process = Process::start_with_capabilities(&Options::default());
    let Some(process) = process else { return };
    assert_eq!(gateway.run_pilot(Some(&process.socket())), Some(0));
    assert_eq!(class(&gateway), Some(FailureClass::IsolationUnproven));
    assert_eq!(kinds(&gateway), ["isolation", "result"]);
    assert_eq!(std::fs::read_dir(process.workspace()).unwrap().count(), 0);
}

#[test]
fn a_restarted_sandbox_is_an_observation() {
    let gateway = Gateway::start(
        assignment(),
        vec![
            call("Shell", json!({"command": "echo kept > kept; sleep 1000"})),
            call("ReadFile", json!({"path": "kept"})),
            final_text("done"),
        ],
    );
    let options = Options::default();
    let mut process = Process::start(&options, sandbox::own_uid(), &[]);
    let pilot = gateway.start_pilot(Some(&process.socket()));
    sandbox::wait_for(&process.workspace().join("kept"));
    process.child.kill().unwrap();
    process.restart(&options);
    assert_eq!(gateway.wait(pilot), Some(0));
    assert_eq!(outcome(&gateway).failure, None);
    let results = results(&gateway);
    assert!(
        !results[0].0 && results[0].1.contains("sandbox was restarted"),
        "{results:?}"
    );
    assert_eq!(results[1], (true, "kept\n".to_owned()));
    assert_eq!(
        kinds(&gateway)
            .iter()
            .filter(|kind| *kind == "isolation")
            .count(),
        2
    );
}

#[test]
fn an_agent_without_a_sandbox_talks_only() {
    let mut assignment = assignment();
    assignment.sandbox = None;
    if let Target::Agent(agent) = &mut assignment.target {
        agent.tools.clear();
        agent.output_schema = Some(
            json!({"type": "object", "required": ["answer"], "properties": {"answer": {"type": "integer"}}}),
        );
    }
    let gateway = Gateway::start(
        assignment,
        vec![
            final_text("42"),
            final_text("{\"answer\": \"x\"}"),
            final_text("```json\n{\"answer\": 42}\n```"),
        ],
    );
    assert_eq!(gateway.run_pilot(None), Some(0));
    assert_eq!(outcome(&gateway).output, Some(json!({"answer": 42})));
    assert_eq!(
        kinds(&gateway),
        [
            "answer",
            "observation",
            "answer",
            "observation",
            "answer",
            "result"
        ]
    );
    let request: Value = gateway.request(0);
    assert!(request.get("tools").is_none());
    assert!(
        request["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("JSON Schema")
    );
}

#[test]
fn a_large_answer_becomes_an_artifact() {
    let text = "x".repeat(20_000);
    let gateway = Gateway::start(assignment(), vec![final_text(&text)]);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(class(&gateway), Some(FailureClass::OutputTooLarge));
    assert_eq!(gateway.artifact("output"), text.as_bytes());
    assert_eq!(outcome(&gateway).artifacts[0].name, "output");
}

#[test]
fn one_line_tells_how_to_read_on() {
    let gateway = Gateway::start(assignment(), vec![final_text("secret answer")]);
    assert_eq!(run(&gateway, &Options::default()), Some(0));
    assert_eq!(
        gateway.pilot_output(),
        "attempt 1 of task team/fix: read its transcript with: oar logs -n team fix\n"
    );
}

#[test]
fn only_the_gateway_of_the_jobs_ca_is_spoken_to() {
    let mut assignment = assignment();
    assignment.sandbox = None;
    if let Target::Agent(agent) = &mut assignment.target {
        agent.tools.clear();
    }
    let gateway = Gateway::start_tls(assignment.clone(), vec![final_text("done")], true);
    assert_eq!(gateway.run_pilot(None), Some(0));
    assert_eq!(outcome(&gateway).failure, None);

    let gateway = Gateway::start_tls(assignment, vec![], false);
    let mut pilot = gateway.start_pilot(None);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while gateway.failed_handshakes() < 2 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(gateway.requests_seen(), 0);
    pilot.kill().unwrap();
    pilot.wait().unwrap();
}

#[test]
fn a_token_is_sent_in_clear_to_nobody() {
    let pilot = std::process::Command::new(env!("CARGO_BIN_EXE_oarmaster-runner"))
        .args([
            "pilot",
            "--gateway",
            "http://gateway.example:8443",
            "--task-uid",
            "u",
            "--attempt",
            "1",
        ])
        .args(["--assignment", "sha256:0", "--token-file", "/nonexistent"])
        .env_remove("OARMASTER_CA")
        .output()
        .unwrap();
    assert_eq!(pilot.status.code(), Some(1));
    assert!(
        String::from_utf8(pilot.stderr)
            .unwrap()
            .contains("only https")
    );
}
