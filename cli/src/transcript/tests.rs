use super::*;
use oarmaster_protocol::failure::FailureClass;
use oarmaster_protocol::journal::Failure;
use serde_json::json;

fn record(body: Body) -> Record {
    Record {
        seq: 0,
        at_ms: 0,
        attempt: 1,
        body,
    }
}

fn intent(arguments: Value) -> Record {
    record(Body::ToolIntent {
        id: "1".to_owned(),
        tool: "Shell".to_owned(),
        arguments,
    })
}

fn result(text: &str) -> Record {
    record(Body::ToolResult {
        id: "1".to_owned(),
        tool: "Shell".to_owned(),
        ok: true,
        text: text.to_owned(),
        checkpoint: None,
        heard: None,
    })
}

#[test]
fn an_answer_shows_what_it_cost_and_the_sum() {
    let mut printer = Printer::new(false);
    let answer = record(Body::Answer {
        call: 1,
        hop: 0,
        model: "repairer".to_owned(),
        message: json!({"role": "assistant", "content": "done"}),
        finish_reason: "stop".to_owned(),
        replaced: 0,
        usage: CallUsage {
            input_tokens: 1200,
            output_tokens: 30,
            cost_pico: 250_000_000,
            ..CallUsage::default()
        },
    });
    printer.lines(&answer);
    assert_eq!(
        printer.lines(&answer),
        [
            "turn 2: repairer, 1 200 + 30 tokens, $0.00025; so far 2 460 tokens, $0.0005",
            "    done"
        ]
    );
}

#[test]
fn a_programs_call_shows_what_it_cost_and_no_more() {
    let answer = record(Body::Answer {
        call: 0,
        hop: 0,
        model: "m".to_owned(),
        message: Value::Null,
        finish_reason: String::new(),
        replaced: 0,
        usage: CallUsage {
            input_tokens: 10,
            output_tokens: 5,
            cost_pico: 20_000_000,
            ..CallUsage::default()
        },
    });
    assert_eq!(
        Printer::new(true).lines(&answer),
        ["turn 1: m, 10 + 5 tokens, $0.00002; so far 15 tokens, $0.00002"]
    );
}

#[test]
fn what_was_replaced_is_said() {
    let answer = record(Body::Answer {
        call: 1,
        hop: 0,
        model: "repairer".to_owned(),
        message: json!({"role": "assistant", "content": "a\u{fffd}"}),
        finish_reason: "stop".to_owned(),
        replaced: 1,
        usage: CallUsage::default(),
    });
    let lines = Printer::new(false).lines(&answer);
    assert!(lines[0].ends_with("U+FFFD stands for what is no character 1 times"));
    let note = record(Body::Note {
        text: "stdout: \u{202e}".to_owned(),
    });
    assert_eq!(
        Printer::new(false).lines(&note),
        ["note", "    stdout: \\u{202e}"]
    );
}

#[test]
fn arguments_are_shortened_to_one_line() {
    let mut printer = Printer::new(false);
    let long = "x".repeat(500);
    let lines = printer.lines(&intent(json!({"code": format!("a\n{long}"), "n": 3})));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("→ Shell code=a⏎xxx"), "{}", lines[0]);
    assert!(lines[0].contains("… n=3"), "{}", lines[0]);
    let whole = Printer::new(true).lines(&intent(json!({"code": format!("a\n{long}"), "n": 3})));
    assert_eq!(whole[0], "→ Shell n=3");
    assert_eq!(whole[3], format!("      {long}"));
}

#[test]
fn arguments_that_are_no_object_are_shown_as_they_are() {
    let lines = Printer::new(false).lines(&intent(json!("{\"broken")));
    assert_eq!(lines, ["→ Shell {\"broken"]);
}

#[test]
fn long_results_are_cut_in_the_middle_and_nothing_acts_on_the_terminal() {
    let text: String = (0..100).map(|n| format!("line {n}\x1b[31m\n")).collect();
    let lines = Printer::new(false).lines(&result(&text));
    assert_eq!(lines.len(), 1 + HEAD + 1 + TAIL);
    assert_eq!(lines[1 + HEAD], "    … 82 lines");
    assert_eq!(lines.last().unwrap(), "    line 99\\x1b[31m");
    assert_eq!(Printer::new(true).lines(&result(&text)).len(), 101);
}

#[test]
fn an_end_says_why() {
    let mut outcome = Outcome {
        failure: None,
        ..Outcome::default()
    };
    let lines = Printer::new(false).lines(&record(Body::Result {
        outcome: outcome.clone(),
    }));
    assert_eq!(lines, ["attempt 1 ended: done"]);
    outcome.failure = Some(Failure {
        waits: None,
        class: FailureClass::NotAccepted,
        message: "the check said no".to_owned(),
    });
    let lines = Printer::new(false).lines(&record(Body::Result { outcome }));
    assert_eq!(lines, ["attempt 1 ended: NotAccepted: the check said no"]);
}

#[test]
fn an_unproven_isolation_shows_its_findings() {
    let body = |proven| {
        record(Body::Isolation {
            proven,
            findings: vec!["tcp connect: refused".to_owned()],
        })
    };
    assert_eq!(Printer::new(false).lines(&body(true)).len(), 1);
    assert_eq!(Printer::new(false).lines(&body(false)).len(), 2);
}

#[test]
fn a_message_shows_whom_it_went_to_and_leaves_its_text_to_the_call_above() {
    let sent = |to: Option<&str>, topic: Option<&str>| {
        record(Body::Sent {
            number: 7,
            call: 2,
            tree: "uid".to_owned(),
            message: Message {
                to: to.map(str::to_owned),
                topic: topic.map(str::to_owned),
                text: "secret".to_owned(),
            },
        })
    };
    let mut printer = Printer::new(true);
    for (record, expected) in [
        (
            sent(Some("critic"), Some("draft")),
            "message 7 to critic, about draft",
        ),
        (sent(None, None), "message 7 to all of the run"),
    ] {
        assert_eq!(printer.lines(&record), [expected]);
    }
}
