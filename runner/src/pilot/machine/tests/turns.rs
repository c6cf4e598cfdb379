//! One turn: what is written first, which tools may be called, and the limits.

use super::*;

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
    let lines: Vec<String> = (0..1000)
        .map(|n| format!(r#"{{"command":"ls {n}"}}"#))
        .collect();
    let many: Vec<_> = lines.iter().map(|line| ("Shell", line.as_str())).collect();
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
