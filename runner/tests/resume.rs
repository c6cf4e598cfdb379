//! A pilot that is killed, and the next one: the journal is all that it has, in a sandbox that is another one.
// Helpers of tests are tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod gateway;
mod sandbox;

use gateway::{Gateway, assignment, call, final_text};
use oarmaster_protocol::assignment::{Accept, File, Target};
use oarmaster_protocol::journal::{Body, Checkpoint, Outcome};
use sandbox::{Options, Process};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn shell(command: &str) -> Value {
    call("Shell", json!({ "command": command }))
}

/// Ten steps, each of which needs the one before it.
fn script() -> Vec<Value> {
    vec![
        shell("cat given.txt > a; ln -s a link; chmod 700 a"),
        shell("cat link > b && mkdir -p deep/er && mv b deep/er/"),
        call("WriteFile", json!({"path": "c.txt", "content": "three"})),
        call(
            "EditFile",
            json!({"path": "c.txt", "old": "three", "new": "four"}),
        ),
        shell("test -x a && cat deep/er/b c.txt > all && rm given.txt"),
        call("ReadFile", json!({"path": "all"})),
        final_text("not yet"),
        shell("cat all > result"),
        final_text("done"),
    ]
}

fn gateway() -> Gateway {
    let mut assignment = assignment();
    assignment.files = vec![File {
        path: "given.txt".into(),
        content: "one ".into(),
    }];
    assignment.accept = Some(Accept {
        command: ["sh", "-c", "test \"$(cat result)\" = 'one four'"]
            .map(str::to_owned)
            .to_vec(),
        exit_code: 0,
        rounds: 2,
        judge: None,
        best: false,
    });
    Gateway::start(assignment, script())
}

fn run(gateway: &Gateway) -> Option<i32> {
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    gateway.run_pilot(Some(&process.socket()))
}

fn outcome(gateway: &Gateway) -> Outcome {
    match gateway.records().pop() {
        Some(Body::Result { outcome }) => outcome,
        other => panic!("{other:?}"),
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a pilot in a sandbox of its own and kills both once the journal has so many records; what it was asked for by then is done.
fn run_until(gateway: &Gateway, records: usize) {
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    let mut pilot = gateway.start_pilot(Some(&process.socket()));
    until("the journal does not grow", || {
        gateway.records().len() >= records
    });
    pilot.kill().unwrap();
    pilot.wait().unwrap();
    drop(process);
    gateway.take_over();
}

fn texts(gateway: &Gateway) -> Vec<String> {
    let records = gateway.records().into_iter();
    let texts = records.filter_map(|body| match body {
        Body::ToolResult { ok, text, .. } => Some(format!("{ok} {text}")),
        _ => None,
    });
    texts.map(|text| without_times(&text)).collect()
}

/// How long a program took is said in its result.
fn without_times(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains(" ms"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn killed_anywhere_it_ends_the_same() {
    let undisturbed = gateway();
    assert_eq!(run(&undisturbed), Some(0));
    let wanted = outcome(&undisturbed);
    assert_eq!(wanted.failure, None);
    let calls = undisturbed.model_calls();
    let records = undisturbed.records().len();
    // Where it stands when it is killed is up to the scheduler; each number of records is passed in one way or another.
    for cut in (1..records).step_by(3) {
        let gateway = gateway();
        run_until(&gateway, cut);
        if !matches!(gateway.records().last(), Some(Body::Result { .. })) {
            assert_eq!(run(&gateway), Some(0), "cut at {cut}");
        }
        assert_eq!(outcome(&gateway), wanted, "cut at {cut}");
        assert_eq!(gateway.model_calls(), calls, "cut at {cut}");
        assert_eq!(texts(&gateway), texts(&undisturbed), "cut at {cut}");
    }
}

#[test]
fn the_answer_of_a_call_that_ran_on_is_not_asked_for_again() {
    let gateway = gateway();
    gateway.be_silent_from(Some(2));
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    let mut pilot = gateway.start_pilot(Some(&process.socket()));
    until("the third call is not made", || gateway.model_calls() == 3);
    pilot.kill().unwrap();
    pilot.wait().unwrap();
    drop(process);
    gateway.take_over();
    gateway.be_silent_from(None);
    assert_eq!(run(&gateway), Some(0));
    assert_eq!(outcome(&gateway).failure, None);
    assert_eq!(gateway.model_calls(), script().len());
}

#[test]
fn the_model_is_told_of_the_seam_once_and_the_transcript_too() {
    let gateway = gateway();
    // Behind the result of the first call.
    run_until(&gateway, 6);
    assert_eq!(run(&gateway), Some(0));
    let records = gateway.records();
    let seams = records.iter().filter(|body| {
        matches!(body, Body::Observation { text, .. } if text.starts_with("You were interrupted"))
    });
    assert_eq!(seams.count(), 1);
    let notes = records.iter().filter(|body| {
        matches!(body, Body::Note { text } if text.starts_with("goes on where the attempt before stopped"))
    });
    assert_eq!(notes.count(), 1);
}

/// Two pods of one attempt: the one whose session is no longer the newest writes nothing more, and leaves.
#[test]
fn a_pilot_that_lost_its_attempt_leaves() {
    let gateway = gateway();
    gateway.be_silent_from(Some(1));
    let first = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    let lost = gateway.start_pilot(Some(&first.socket()));
    until("the second call is not made", || gateway.model_calls() == 2);
    gateway.take_over();
    gateway.be_silent_from(None);
    assert_eq!(run(&gateway), Some(0));
    assert_eq!(gateway.wait(lost), Some(3));
    assert_eq!(outcome(&gateway).failure, None);
    assert_eq!(gateway.model_calls(), script().len());
}

#[test]
fn only_what_changed_is_kept_and_reading_keeps_nothing() {
    let gateway = gateway();
    assert_eq!(run(&gateway), Some(0));
    let records = gateway.records();
    let kept: Vec<Option<bool>> = records
        .iter()
        .filter_map(|body| match body {
            Body::ToolResult { checkpoint, .. } | Body::Check { checkpoint, .. } => {
                Some(match checkpoint {
                    Some(Checkpoint::Layer { base, .. }) => Some(*base),
                    Some(Checkpoint::Failed { why }) => panic!("{why}"),
                    None => None,
                })
            }
            _ => None,
        })
        .collect();
    let over = Some(false);
    // Neither ReadFile nor the checks change anything.
    let wanted = [Some(true), over, over, over, over, None, None, over, None];
    assert_eq!(kept, wanted);
}

#[test]
fn a_long_conversation_is_shortened_and_goes_on_so() {
    let mut long = assignment();
    if let Target::Agent(agent) = &mut long.target {
        agent.max_output_tokens = 200;
    }
    let print = |word: &str| shell(&format!("yes {word} | head -c 3000"));
    let script = vec![
        print("a"),
        print("b"),
        print("c"),
        print("d"),
        final_text("done"),
    ];
    let gateway = Gateway::start(long, script.clone());
    gateway.set_context(6000);
    gateway.be_silent_from(Some(4));
    let process = Process::start(&Options::default(), sandbox::own_uid(), &[]);
    let mut pilot = gateway.start_pilot(Some(&process.socket()));
    until("the last call is not made", || gateway.model_calls() == 5);
    pilot.kill().unwrap();
    pilot.wait().unwrap();
    gateway.take_over();
    gateway.be_silent_from(None);
    // The fold has the same body, or the gateway would call it another one.
    assert_eq!(run(&gateway), Some(0));
    assert_eq!(outcome(&gateway).failure, None);
    assert_eq!(gateway.model_calls(), script.len());
    let dropped = gateway
        .records()
        .into_iter()
        .any(|body| matches!(body, Body::Dropped { .. }));
    assert!(dropped);
}
