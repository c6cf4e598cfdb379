//! What is no character is replaced, and that is said; the rest stays as it is.

use super::*;

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
