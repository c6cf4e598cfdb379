use crate::answer::{Stop, Usage};
use crate::cohere::{read_answer, read_error};
use crate::testing::fixture;

#[test]
fn answers_are_read() {
    for name in ["text", "tools"] {
        let answer = read_answer(&fixture(&format!("cohere/answer-{name}.json"))).unwrap();
        insta::assert_debug_snapshot!(format!("answer-{name}"), answer);
    }
}

#[test]
fn a_model_that_failed_gave_no_answer() {
    let error = read_answer(&fixture("cohere/answer-error.json")).unwrap_err();
    assert_eq!(error.message, "the model failed");
    assert_eq!(
        error.usage.map(|usage| (usage.input, usage.output)),
        Some((5, 1))
    );
}

#[test]
fn reasons_to_finish_are_read() {
    for (reason, stop) in [
        ("COMPLETE", Stop::End),
        ("STOP_SEQUENCE", Stop::Sequence(None)),
        ("MAX_TOKENS", Stop::Length),
        ("TOOL_CALL", Stop::ToolCalls),
        ("ERROR_TOXIC", Stop::Filter),
        ("NEW_ONE", Stop::Other("NEW_ONE".to_owned())),
    ] {
        let body = format!(r#"{{"message":{{"content":"a"}},"finish_reason":"{reason}"}}"#);
        let answer = read_answer(&body).unwrap();
        assert_eq!((answer.stop, answer.parts.len()), (stop, 1));
    }
    // A call says what the reason does not.
    let body = r#"{"message":{"tool_calls":[{"function":{"name":"f"}},{"function":{}},7]}}"#;
    let answer = read_answer(body).unwrap();
    assert_eq!((answer.stop, answer.parts.len()), (Stop::ToolCalls, 1));
}

#[test]
fn what_is_billed_counts() {
    let usage_of = |usage: &str| {
        let body = format!(r#"{{"message":{{}},"usage":{usage}}}"#);
        read_answer(&body).unwrap().usage
    };
    let usage = |input, cache_read, output| {
        Some(Usage {
            input,
            cache_read,
            output,
            ..Usage::default()
        })
    };
    for (stated, expected) in [
        (
            r#"{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":70},"cached_tokens":64}"#,
            usage(5, 0, 2),
        ),
        (
            r#"{"billed_units":{"search_units":1},"tokens":{"input_tokens":70,"output_tokens":3},"cached_tokens":64}"#,
            usage(6, 64, 3),
        ),
        (
            r#"{"tokens":{"input_tokens":7},"cached_tokens":9}"#,
            usage(0, 7, 0),
        ),
        (r#"{"billed_units":{"input_tokens":5.5}}"#, None),
        (r#"{"billed_units":{"input_tokens":-5}}"#, None),
        (r#"{"billed_units":{"input_tokens":1e30}}"#, None),
        (
            r#"{"billed_units":{"output_tokens":18446744073709551615}}"#,
            None,
        ),
        ("{}", None),
        ("[]", None),
    ] {
        assert_eq!(usage_of(stated), expected, "{stated}");
    }
}

#[test]
fn errors_are_read() {
    let said = read_error(r#"{"id":"e-1","message":"invalid api token"}"#).unwrap();
    assert_eq!(said.message, "invalid api token");
    for body in [
        "",
        "7",
        "{}",
        r#"{"message":{"role":"assistant"}}"#,
        r#"{"message":""}"#,
    ] {
        assert_eq!(read_error(body), None, "{body}");
    }
    for body in ["", "null", "[]", "{}", r#"{"message":"no"}"#] {
        assert!(read_answer(body).is_err(), "{body}");
    }
}
