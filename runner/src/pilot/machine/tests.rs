mod network;

use super::*;
use oarmaster_protocol::assignment::{Accept, AgentTarget, ArtifactRule, File, Program, TaskRef};
use oarmaster_protocol::exec::{Failed, Output, Ran, Stopped};
use oarmaster_protocol::probe::Place;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn agent(tools: &[&str]) -> Assignment {
    Assignment {
        task: TaskRef {
            namespace: "n".into(),
            name: "t".into(),
            uid: "u".into(),
        },
        target: Target::Agent(AgentTarget {
            pinned: "a@sha256:1".into(),
            instructions: "Be good.".into(),
            prompt: "Do it.".into(),
            model: "n/p".into(),
            temperature: None,
            max_output_tokens: 100,
            tools: tools.iter().map(|tool| (*tool).to_owned()).collect(),
            output_schema: None,
            max_turns: 4,
            max_tool_calls: 3,
        }),
        files: vec![],
        artifacts: vec![],
        accept: None,
        sandbox: Some(Sandbox {
            memory_bytes: 512 << 20,
            disk_bytes: 256 << 20,
            max_processes: 256,
            call_timeout_ms: 1000,
            require_landlock: false,
            network_policy_within_ms: None,
        }),
    }
}

fn with_schema(mut assignment: Assignment, schema: Value) -> Assignment {
    if let Target::Agent(agent) = &mut assignment.target {
        agent.output_schema = Some(schema);
    }
    assignment
}

fn checked(mut assignment: Assignment, rounds: u32) -> Assignment {
    assignment.accept = Some(Accept {
        command: vec!["check".into()],
        exit_code: 0,
        rounds,
    });
    assignment
}

fn run_task() -> Assignment {
    Assignment {
        target: Target::Run(RunTarget {
            program: Program::Command(vec!["true".into()]),
            env: BTreeMap::new(),
        }),
        ..agent(&[])
    }
}

fn text(text: &str) -> Event {
    finish(text, "stop")
}

fn finish(text: &str, reason: &str) -> Event {
    Event::Answered(json!({"choices": [{"message": {"content": text}, "finish_reason": reason}]}))
}

fn calls(calls: &[(&str, &str)]) -> Event {
    let calls: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(i, (name, arguments))| json!({"id": format!("c{i}"), "function": {"name": name, "arguments": arguments}}))
        .collect();
    Event::Answered(
        json!({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}),
    )
}

fn probed(proven: bool) -> Event {
    Event::Exec(Response::Probed {
        proven,
        findings: vec!["socket family 2 was possible".into()],
    })
}

fn ended(exit_code: i32) -> Event {
    Event::Exec(Response::Ran(Ran {
        exit_code: Some(exit_code),
        ..Ran::default()
    }))
}

fn exec_failed(code: FailedCode) -> Event {
    Event::Exec(Response::Failed(Failed {
        code,
        message: "no".into(),
    }))
}

/// An agent with a Shell, or a run, in a class that demands the NetworkPolicy.
fn demanding(mut assignment: Assignment) -> Assignment {
    if let Some(sandbox) = &mut assignment.sandbox {
        sandbox.network_policy_within_ms = Some(1000);
    }
    assignment
}

fn network(reached: &[Place], refused: &[Place]) -> NetworkFindings {
    NetworkFindings {
        reached: reached.to_vec(),
        refused: refused.to_vec(),
    }
}

/// Feeds events one by one; returns all records and the last action.
fn play(assignment: Assignment, events: Vec<Event>) -> (Vec<Body>, Next) {
    let mut machine = Machine::new(assignment);
    let mut records = Vec::new();
    let mut last = None;
    for event in std::iter::once(Event::Begin).chain(events) {
        assert!(
            !matches!(last, Some(Next::Finish(_))),
            "the attempt ended before {event:?}"
        );
        let (after, step) = machine.step(event);
        machine = after;
        records.extend(step.records);
        last = Some(step.next);
    }
    (records, last.unwrap())
}

fn outcome(assignment: Assignment, events: Vec<Event>) -> Outcome {
    match play(assignment, events).1 {
        Next::Finish(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn class(assignment: Assignment, events: Vec<Event>) -> FailureClass {
    outcome(assignment, events).failure.unwrap().class
}

fn last_message(next: &Next) -> String {
    match next {
        Next::Model(body) => body["messages"].as_array().unwrap().last().unwrap()["content"]
            .as_str()
            .unwrap()
            .to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_runs_before_isolation_is_proven() {
    let mut assignment = agent(&["Shell"]);
    assignment.files = vec![File {
        path: "a".into(),
        content: "b".into(),
    }];
    let (records, next) = play(assignment.clone(), vec![]);
    assert_eq!((records, next), (vec![], Next::Exec(Request::Probe)));
    let (records, next) = play(assignment.clone(), vec![probed(false)]);
    assert!(matches!(
        records[..],
        [Body::Isolation { proven: false, .. }]
    ));
    let Next::Finish(outcome) = next else {
        panic!()
    };
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.class, FailureClass::IsolationUnproven);
    assert!(failure.message.contains("socket family 2"));
    for answer in [
        exec_failed(FailedCode::NotConfined),
        Event::Exec(Response::Done),
    ] {
        assert_eq!(
            class(assignment.clone(), vec![answer]),
            FailureClass::IsolationUnproven
        );
    }
    assert_eq!(
        class(assignment.clone(), vec![Event::ExecGone]),
        FailureClass::StartFailed
    );
    let (_, next) = play(assignment, vec![probed(true)]);
    assert!(matches!(next, Next::Exec(Request::Write { .. })));
}

#[test]
fn files_that_cannot_be_placed_name_themselves() {
    let mut assignment = agent(&["Shell"]);
    assignment.files = vec![File {
        path: "../a".into(),
        content: "b".into(),
    }];
    for (code, wanted) in [
        (FailedCode::Refused, FailureClass::InvalidInput),
        (FailedCode::NoSpace, FailureClass::InvalidInput),
        (FailedCode::Io, FailureClass::StartFailed),
    ] {
        let failure = outcome(assignment.clone(), vec![probed(true), exec_failed(code)])
            .failure
            .unwrap();
        assert_eq!(failure.class, wanted);
        assert!(failure.message.contains("`../a`"));
    }
}

#[test]
fn an_intent_is_written_before_the_call_and_a_result_before_the_next_question() {
    let mut machine = Machine::new(agent(&["Shell"]));
    let mut steps = Vec::new();
    let call = calls(&[
        ("Shell", r#"{"command":"ls"}"#),
        ("Shell", r#"{"command":"pwd"}"#),
    ]);
    for event in [Event::Begin, probed(true), call, ended(0), ended(1)] {
        let (after, step) = machine.step(event);
        machine = after;
        steps.push(step);
    }
    let kinds: Vec<Vec<&str>> = steps
        .iter()
        .map(|step| {
            step.records
                .iter()
                .map(|record| match record {
                    Body::Isolation { .. } => "isolation",
                    Body::ToolIntent { .. } => "intent",
                    Body::ToolResult { ok: true, .. } => "ok",
                    Body::ToolResult { .. } => "not ok",
                    _ => "other",
                })
                .collect()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            vec![],
            vec!["isolation"],
            vec!["intent"],
            vec!["ok", "intent"],
            vec!["not ok"]
        ]
    );
    assert!(matches!(steps[2].next, Next::Exec(Request::Run(_))));
    assert!(matches!(steps[3].next, Next::Exec(Request::Run(_))));
    assert!(matches!(steps[4].next, Next::Model(_)));
}

#[test]
fn only_the_agents_tools_are_offered_and_run() {
    let (_, next) = play(agent(&["Shell", "Nonsense"]), vec![probed(true)]);
    let Next::Model(body) = next else { panic!() };
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
    assert_eq!(body["tools"][0]["function"]["name"], "Shell");
    assert_eq!(
        (&body["model"], &body["max_tokens"]),
        (&json!("n/p"), &json!(100))
    );
    let (_, next) = play(
        agent(&["Shell"]),
        vec![probed(true), calls(&[("ReadFile", r#"{"path":"a"}"#)])],
    );
    assert_eq!(
        last_message(&next),
        "There is no tool `ReadFile`. The tools are: Shell."
    );
}

#[test]
fn what_cannot_be_used_is_told_three_times() {
    let big = format!("{{\"command\": \"{}\"}}", "x".repeat(3 << 20));
    let cases = [
        (calls(&[("Fly", "{}")]), "no tool `Fly`"),
        (calls(&[("Shell", "{\"command\": ")]), "not valid JSON"),
        (calls(&[("Shell", "{\"command\": 7}")]), "JSON Schema"),
        (calls(&[("Shell", "[]")]), "JSON Schema"),
        (calls(&[("Shell", &big)]), "too large"),
        (text(" \n"), "empty"),
        (Event::Answered(Value::Null), "empty"),
        (finish("half an answ", "length"), "cut off at 100"),
    ];
    for (event, wanted) in cases {
        let (records, next) = play(agent(&["Shell"]), vec![probed(true), event.clone()]);
        assert!(
            last_message(&next).contains(wanted),
            "{}",
            last_message(&next)
        );
        for record in &records {
            assert!(
                serde_json::to_vec(record).unwrap().len()
                    < oarmaster_protocol::journal::MAX_RECORD_BYTES
            );
        }
        let three = vec![probed(true), event.clone(), event.clone(), event.clone()];
        let failure = outcome(agent(&["Shell"]), three).failure.unwrap();
        assert_eq!(failure.class, FailureClass::ModelOutputInvalid);
        assert!(failure.message.contains(wanted) && failure.message.chars().count() <= 1024);
        // A usable answer in between forgives.
        let good = calls(&[("Shell", r#"{"command":"ls"}"#)]);
        let (_, next) = play(
            agent(&["Shell"]),
            vec![probed(true), event.clone(), good, ended(0), event.clone()],
        );
        assert!(matches!(next, Next::Model(_)), "{wanted}");
    }
}

#[test]
fn limits_end_the_attempt_with_their_name() {
    let call = || calls(&[("Shell", r#"{"command":"ls"}"#)]);
    let many = [("Shell", r#"{"command":"ls"}"#); 1000];
    let failure = outcome(
        agent(&["Shell"]),
        vec![probed(true), calls(&many), ended(0), ended(0), ended(0)],
    )
    .failure
    .unwrap();
    assert_eq!(failure.class, FailureClass::LimitReached);
    assert!(failure.message.contains("3 tool calls (limits.toolCalls)"));
    let mut assignment = agent(&["Shell"]);
    if let Target::Agent(agent) = &mut assignment.target {
        agent.max_turns = 2;
    }
    let failure = outcome(
        assignment,
        vec![probed(true), call(), ended(0), call(), ended(0)],
    )
    .failure
    .unwrap();
    assert_eq!(failure.class, FailureClass::LimitReached);
    assert!(failure.message.contains("2 turns (limits.turns)"));
}

#[test]
fn refusals_of_the_model() {
    let refusal = Event::Answered(
        json!({"choices": [{"message": {"content": null, "refusal": "I will not."}}]}),
    );
    let failure = outcome(agent(&[]), vec![probed(true), refusal])
        .failure
        .unwrap();
    assert_eq!(
        (failure.class, failure.message.as_str()),
        (FailureClass::ModelRefusal, "the model refused: I will not.")
    );
    assert_eq!(
        class(
            agent(&[]),
            vec![probed(true), finish("x", "content_filter")]
        ),
        FailureClass::ModelRefusal
    );
}

#[test]
fn an_output_matches_its_schema_or_is_asked_for_again() {
    let schema =
        json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    let assignment = || with_schema(agent(&[]), schema.clone());
    for (bad, wanted) in [
        ("7", "does not match"),
        ("n = 7", "cannot be parsed"),
        ("{\"n\": \"7\"}", "/n"),
    ] {
        let (_, next) = play(assignment(), vec![probed(true), text(bad)]);
        assert!(
            last_message(&next).contains(wanted),
            "{}",
            last_message(&next)
        );
    }
    assert_eq!(
        outcome(assignment(), vec![probed(true), text("{\"n\": 7}")]).output,
        Some(json!({"n": 7}))
    );
    let three = vec![probed(true), text("1"), text("2"), text("3")];
    assert_eq!(class(assignment(), three), FailureClass::ModelOutputInvalid);
    let broken = with_schema(agent(&[]), json!({"type": "nonsense"}));
    assert_eq!(
        class(broken, vec![probed(true), text("1")]),
        FailureClass::InvalidInput
    );
}

#[test]
fn the_check_decides_and_silence_never_accepts() {
    let green = outcome(
        checked(agent(&[]), 2),
        vec![probed(true), text("done"), ended(0)],
    );
    assert_eq!(
        (green.failure, green.output),
        (None, Some(json!({"text": "done"})))
    );
    for verdict in [
        ended(1),
        exec_failed(FailedCode::StartFailed),
        Event::Exec(Response::Done),
        Event::Exec(Response::Ran(Ran::default())),
        Event::Exec(Response::Ran(Ran {
            exit_code: Some(0),
            stopped: Some(Stopped::OutOfMemory),
            ..Ran::default()
        })),
    ] {
        let (records, next) = play(
            checked(agent(&[]), 2),
            vec![probed(true), text("done"), verdict.clone()],
        );
        assert!(matches!(next, Next::Model(_)));
        assert!(records.iter().any(|record| matches!(
            record,
            Body::Check {
                round: 1,
                accepted: false,
                ..
            }
        )));
        let events = vec![
            probed(true),
            text("done"),
            verdict.clone(),
            text("again"),
            verdict.clone(),
        ];
        assert_eq!(
            class(checked(agent(&[]), 2), events),
            FailureClass::NotAccepted,
            "{verdict:?}"
        );
        assert_eq!(
            class(
                checked(run_task(), 2),
                vec![probed(true), ended(0), verdict]
            ),
            FailureClass::NotAccepted
        );
    }
    let lost = vec![
        probed(true),
        text("done"),
        Event::ExecRestarted,
        probed(true),
    ];
    let (records, _) = play(checked(agent(&[]), 2), lost);
    assert!(records.iter().any(|record| matches!(
        record,
        Body::Check {
            accepted: false,
            exit_code: None,
            ..
        }
    )));
}

#[test]
fn refused_calls_have_their_class_and_doubt_one_repetition() {
    let refused = |code: &str| Event::ModelFailed {
        code: code.into(),
        message: "why".into(),
    };
    let (_, next) = play(agent(&[]), vec![probed(true), refused("in_doubt")]);
    assert!(matches!(next, Next::Model(_)));
    for (events, wanted) in [
        (
            vec![refused("in_doubt"), refused("in_doubt")],
            FailureClass::ModelUnavailable,
        ),
        (
            vec![refused("in_doubt"), refused("budget_exceeded")],
            FailureClass::BudgetExceeded,
        ),
        (vec![refused("too_large")], FailureClass::LimitReached),
        (vec![refused("no such code")], FailureClass::Internal),
    ] {
        let events = std::iter::once(probed(true)).chain(events).collect();
        assert_eq!(class(agent(&[]), events), wanted);
    }
}

#[test]
fn a_sandbox_that_stops_again_and_again_is_given_up() {
    let call = calls(&[("Shell", r#"{"command":"ls"}"#)]);
    let mut events = vec![probed(true), call.clone()];
    for _ in 0..MAX_RESTARTS {
        events.push(Event::ExecRestarted);
    }
    let (_, next) = play(agent(&["Shell"]), events.clone());
    assert_eq!(next, Next::Exec(Request::Probe));
    events.push(Event::ExecRestarted);
    assert_eq!(class(agent(&["Shell"]), events), FailureClass::OutOfMemory);
    assert_eq!(
        class(
            agent(&["Shell"]),
            vec![probed(true), call.clone(), Event::ExecGone]
        ),
        FailureClass::OutOfMemory
    );
    assert_eq!(
        class(run_task(), vec![probed(true), Event::ExecRestarted]),
        FailureClass::OutOfMemory
    );
    // A sandbox that comes back open is not used.
    let events = vec![probed(true), call, Event::ExecRestarted, probed(false)];
    assert_eq!(
        class(agent(&["Shell"]), events),
        FailureClass::IsolationUnproven
    );
}

#[test]
fn artifacts_are_kept_after_success_and_failure() {
    let with = |mut assignment: Assignment| {
        assignment.artifacts = vec![ArtifactRule {
            name: "a".into(),
            path: "*".into(),
        }];
        assignment
    };
    let stored = || {
        Event::Kept(Kept::Stored {
            artifact: Artifact {
                name: "a".into(),
                size: 1,
                digest: "d".into(),
            },
            skipped: vec!["link".into()],
        })
    };
    let failed = outcome(with(run_task()), vec![probed(true), ended(3), stored()]);
    assert_eq!(
        (failed.failure.unwrap().class, failed.artifacts.len()),
        (FailureClass::ToolFailed, 1)
    );
    for (kept, wanted) in [
        (Kept::Nothing { skipped: vec![] }, None),
        (
            Kept::TooLarge("big".into()),
            Some(FailureClass::OutputTooLarge),
        ),
        (Kept::Failed("no".into()), Some(FailureClass::Internal)),
    ] {
        let (records, next) = play(
            with(run_task()),
            vec![probed(true), ended(0), Event::Kept(kept.clone())],
        );
        assert!(matches!(records.last(), Some(Body::Note { .. })));
        let Next::Finish(outcome) = next else {
            panic!()
        };
        assert_eq!(outcome.failure.map(|failure| failure.class), wanted);
        // A failure stays what it is.
        assert_eq!(
            class(
                with(run_task()),
                vec![probed(true), ended(1), Event::Kept(kept)]
            ),
            FailureClass::ToolFailed
        );
    }
    let gone = outcome(
        with(run_task()),
        vec![probed(true), ended(1), Event::ExecGone],
    );
    assert_eq!(gone.failure.unwrap().class, FailureClass::ToolFailed);
    assert_eq!(
        class(
            with(run_task()),
            vec![probed(true), ended(0), Event::ExecGone]
        ),
        FailureClass::Internal
    );
}

#[test]
fn a_sandbox_that_stopped_before_a_request_is_asked_again() {
    let shell = || calls(&[("Shell", r#"{"command":"ls"}"#)]);
    for (assignment, before) in [
        (agent(&["Shell"]), vec![probed(true), shell()]),
        (checked(agent(&[]), 1), vec![probed(true), text("done")]),
        (run_task(), vec![probed(true)]),
    ] {
        let (_, asked) = play(assignment.clone(), before.clone());
        let Next::Exec(request) = asked.clone() else {
            panic!("{asked:?}");
        };
        let mut events = before.clone();
        events.push(Event::ExecReplaced(request.clone()));
        assert_eq!(
            play(assignment.clone(), events.clone()).1,
            Next::Exec(Request::Probe),
            "nothing runs before its isolation is proven"
        );
        events.push(probed(true));
        let (records, again) = play(assignment.clone(), events.clone());
        assert_eq!(again, asked);
        assert!(
            !records
                .iter()
                .any(|record| matches!(record, Body::ToolResult { .. } | Body::Check { .. })),
            "nothing was done yet: {records:?}"
        );
        // A sandbox that comes back open is not used, and one that goes again and again is given up.
        let mut open = before.clone();
        open.extend([Event::ExecReplaced(request.clone()), probed(false)]);
        assert_eq!(
            class(assignment.clone(), open),
            FailureClass::IsolationUnproven
        );
        let mut endless = before;
        for _ in 0..=MAX_RESTARTS {
            endless.extend([Event::ExecReplaced(request.clone()), probed(true)]);
        }
        endless.pop();
        let (_, end) = play(assignment, endless);
        assert_ne!(end, asked);
    }
}

#[test]
fn what_needs_a_sandbox_says_so_without_one() {
    for mut assignment in [agent(&["Shell"]), checked(agent(&[]), 1), run_task()] {
        assignment.sandbox = None;
        assert_eq!(class(assignment, vec![]), FailureClass::Internal);
    }
}

#[test]
fn events_that_nobody_waits_for_end_the_attempt() {
    for event in [
        text("x"),
        Event::ExecRestarted,
        Event::Kept(Kept::Failed("x".into())),
    ] {
        assert!(matches!(
            play(run_task(), vec![event]).1,
            Next::Exec(Request::Probe) | Next::Finish(_)
        ));
    }
}

/// Events that fit an action, as a model and a sandbox of any mind may give them.
fn any_event(next: &Next, choice: u8, word: &str) -> Event {
    let exec = |choice: u8| match choice % 9 {
        0 => ended(0),
        1 => ended(1),
        2 => Event::ExecRestarted,
        3 => exec_failed(FailedCode::Refused),
        4 => Event::Exec(Response::Done),
        5 => Event::Exec(Response::Ran(Ran {
            signal: Some(9),
            stopped: Some(Stopped::OutOfMemory),
            stdout: Output {
                head: Bytes(word.into()),
                ..Output::default()
            },
            ..Ran::default()
        })),
        6 => Event::ExecGone,
        7 => probed(choice > 127),
        _ => text(word),
    };
    match next {
        Next::Exec(Request::Probe) if choice > 63 => probed(true),
        Next::Exec(Request::Write { .. }) if choice > 63 => Event::Exec(Response::Done),
        Next::Exec(_) => exec(choice),
        Next::Model(_) => match choice % 11 {
            0 => text(word),
            1 => text(""),
            2 => calls(&[("Shell", r#"{"command":"ls"}"#)]),
            3 => calls(&[
                ("Shell", r#"{"command":"ls"}"#),
                (word, word),
                ("Shell", "{"),
            ]),
            4 => calls(&[(word, "{}")]),
            5 => finish(word, "length"),
            6 => Event::Answered(json!({ "choices": word })),
            7 => Event::ModelFailed {
                code: "in_doubt".into(),
                message: word.into(),
            },
            8 => calls(&[("Shell", r#"{"command":"ls"}"#); 40]),
            9 => finish("{\"n\": 1}", word),
            _ => Event::ModelFailed {
                code: word.into(),
                message: word.into(),
            },
        },
        Next::Network => Event::Network(match choice % 4 {
            0 => network(&[Place::Dns], &[Place::Pod]),
            _ => network(&[], &[Place::Pod]),
        }),
        Next::Collect { .. } | Next::Store { .. } => match choice % 4 {
            0 => Event::Kept(Kept::Nothing {
                skipped: vec![word.into()],
            }),
            1 => Event::Kept(Kept::TooLarge(word.into())),
            2 => Event::Kept(Kept::Failed(word.into())),
            _ => Event::ExecRestarted,
        },
        Next::Finish(_) => unreachable!(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the model and the sandbox do, an attempt ends within a number of steps that follows from its limits, asks the model
    /// at most as often as it may, and every record and message keeps its bound.
    #[test]
    fn every_attempt_ends(
        choices in prop::collection::vec((any::<u8>(), ".{0,40}"), 1..60),
        kind in 0u8..4,
        rounds in 1u32..4,
        turns in 1u32..6,
        tool_calls in 0u32..6,
        demanded in any::<bool>(),
    ) {
        let mut assignment = match kind {
            0 => agent(&["Shell"]),
            1 => checked(agent(&["Shell", "ReadFile"]), rounds),
            2 => with_schema(checked(agent(&["Shell"]), rounds), json!({"type": "object"})),
            _ => checked(run_task(), rounds),
        };
        assignment.files = vec![File { path: "a".into(), content: "b".into() }];
        assignment.artifacts = vec![ArtifactRule { name: "a".into(), path: "*".into() }];
        if demanded {
            assignment = demanding(assignment);
        }
        if let Target::Agent(agent) = &mut assignment.target {
            agent.max_turns = turns;
            agent.max_tool_calls = tool_calls;
        }
        // Start, the network's proof, probes and restarts, files, turns with a repetition each, calls, checks, artifacts.
        let bound = 4 + 2 * (MAX_RESTARTS + 1) + 1 + 2 * turns + tool_calls + rounds + 2;
        let mut machine = Machine::new(assignment);
        let mut event = Event::Begin;
        let mut asked = 0;
        let mut intents = 0;
        let mut taken = 0;
        let mut proven = false;
        for (choice, word) in choices.iter().cycle() {
            taken += 1;
            prop_assert!(taken <= bound, "no end after {} steps", taken);
            let (after, step) = machine.step(event);
            machine = after;
            for record in &step.records {
                prop_assert!(serde_json::to_vec(record).unwrap().len() <= oarmaster_protocol::journal::MAX_RECORD_BYTES);
                intents += u32::from(matches!(record, Body::ToolIntent { .. }));
            }
            match &step.next {
                Next::Model(_) => asked += 1,
                Next::Exec(Request::Run(_)) => prop_assert!(!demanded || proven),
                Next::Finish(outcome) => {
                    if let Some(failure) = &outcome.failure {
                        prop_assert!(failure.message.chars().count() <= 1024);
                    }
                    break;
                }
                _ => {}
            }
            event = any_event(&step.next, *choice, word);
            proven |= matches!(&event, Event::Network(found) if found.enforced());
        }
        prop_assert!(asked <= 2 * turns);
        prop_assert!(intents <= tool_calls);
    }
}

#[test]
fn what_is_no_character_is_said_where_it_was_replaced() {
    // In an answer that must be JSON.
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let (records, next) = play(
        with_schema(agent(&[]), schema),
        vec![probed(true), text(r#"{"a": "\ud83d \ud83d\ude00"}"#)],
    );
    let Next::Finish(outcome) = next else {
        panic!()
    };
    assert_eq!(outcome.output, Some(json!({"a": "\u{fffd} 😀"})));
    let note = "output: U+FFFD stands for half a surrogate pair, 1 times".to_owned();
    assert_eq!(records.last(), Some(&Body::Note { text: note }));

    // In arguments: what runs, what is written down and what the model is told are one.
    let (records, next) = play(
        agent(&["Shell"]),
        vec![
            probed(true),
            calls(&[("Shell", r#"{"command": "echo \ud800"}"#)]),
            ended(0),
        ],
    );
    let arguments = records.iter().find_map(|record| match record {
        Body::ToolIntent { arguments, .. } => Some(arguments.clone()),
        _ => None,
    });
    assert_eq!(arguments, Some(json!({"command": "echo \u{fffd}"})));
    let said = "exit code 0\n[arguments: U+FFFD stands for half a surrogate pair, 1 times]";
    assert!(matches!(records.last(), Some(Body::ToolResult { text, .. }) if text == said));
    let Next::Model(request) = next else { panic!() };
    assert_eq!(request["messages"][3]["content"], said);

    // In the output of a run.
    let ran = Event::Exec(Response::Ran(Ran {
        exit_code: Some(0),
        stderr: Output {
            head: Bytes(b"\xff".to_vec()),
            ..Output::default()
        },
        ..Ran::default()
    }));
    let (records, next) = play(run_task(), vec![probed(true), ran]);
    let Next::Finish(outcome) = next else {
        panic!()
    };
    assert_eq!(outcome.output.unwrap()["stderrTail"], "\u{fffd}");
    let note = "stderr: U+FFFD stands for bytes that are not UTF-8, 1 times".to_owned();
    assert_eq!(records.last(), Some(&Body::Note { text: note }));
}

proptest! {
    /// What a model says, and what a tool printed, is in the journal, the output and the next request as it was.
    #[test]
    fn any_text_stays_what_it_is(said in any::<String>(), printed in any::<String>()) {
        let answer = format!("|{said}");
        let ran = Event::Exec(Response::Ran(Ran {
            exit_code: Some(0),
            stdout: Output { head: Bytes(printed.clone().into_bytes()), ..Output::default() },
            ..Ran::default()
        }));
        let call = calls(&[("Shell", &json!({"command": said}).to_string())]);
        let mut machine = Machine::new(agent(&["Shell"]));
        let mut requests = Vec::new();
        let mut results = Vec::new();
        for event in [Event::Begin, probed(true), call, ran, text(&answer)] {
            let (after, step) = machine.step(event);
            machine = after;
            results.extend(step.records);
            requests.push(step.next);
        }
        let shown = if printed.is_empty() { "exit code 0".to_owned() } else { format!("exit code 0\n[stdout]\n{printed}") };
        let asked = results.iter().any(|record| matches!(record, Body::ToolIntent { arguments, .. } if arguments["command"] == said));
        let told = results.iter().any(|record| matches!(record, Body::ToolResult { text, .. } if *text == shown));
        prop_assert!(asked && told);
        let Some(Next::Model(request)) = requests.get(3) else { panic!() };
        prop_assert_eq!(&request["messages"][3]["content"], &json!(shown));
        let Some(Next::Finish(outcome)) = requests.last() else { panic!() };
        prop_assert_eq!(outcome.output.as_ref(), Some(&json!({"text": answer})));
    }
}
