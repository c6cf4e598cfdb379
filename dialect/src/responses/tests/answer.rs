use super::full_answer;
use crate::request::Thought;
use crate::responses::{read_answer, read_error, write_answer, write_error};
use crate::signature::{Signature, Signer};
use crate::testing::{check_fixture, envelope, fixture};
use crate::{Answer, Content, Refused, Stop};
use serde_json::{Value, json};

#[test]
fn writes_what_the_sdk_reads() {
    check_fixture(
        "responses/answer.json",
        &write_answer(&full_answer(), &envelope()),
    );
    let cut = Answer {
        parts: vec![Content::Text("Hello".to_owned()).into()],
        stop: Stop::Length,
        ..Answer::default()
    };
    check_fixture(
        "responses/answer-incomplete.json",
        &write_answer(&cut, &envelope()),
    );
}

#[test]
fn reads_what_it_writes() {
    let mut answer = full_answer();
    let read = read_answer(&write_answer(&answer, &envelope()));
    // An upstream's signatures are its own, whatever stands in them.
    answer.parts[1] = Content::Reasoning(Thought {
        signature: Some(Signature::new(Signer::OpenAi, "redacted:anthropic:cmVk")),
        ..Thought::default()
    })
    .into();
    assert_eq!(read, Ok(answer));
}

#[test]
fn says_how_an_answer_ended() {
    let cases = [
        (Stop::End, "completed", Value::Null),
        (Stop::Sequence(None), "completed", Value::Null),
        (Stop::ToolCalls, "completed", Value::Null),
        (Stop::Pause, "completed", Value::Null),
        (Stop::Other("new".to_owned()), "completed", Value::Null),
        (
            Stop::Length,
            "incomplete",
            json!({"reason": "max_output_tokens"}),
        ),
        (
            Stop::Context,
            "incomplete",
            json!({"reason": "max_output_tokens"}),
        ),
        (
            Stop::Filter,
            "incomplete",
            json!({"reason": "content_filter"}),
        ),
        (
            Stop::Refusal,
            "incomplete",
            json!({"reason": "content_filter"}),
        ),
    ];
    for (stop, status, details) in cases {
        let answer = Answer {
            stop,
            ..Answer::default()
        };
        let written: Value = serde_json::from_str(&write_answer(&answer, &envelope())).unwrap();
        assert_eq!(
            (&written["status"], &written["incomplete_details"]),
            (&json!(status), &details)
        );
    }
}

#[test]
fn reads_the_answers_of_vendors() {
    let answer = read_answer(&fixture("responses/provider-openai.json")).unwrap();
    insta::assert_debug_snapshot!(answer);
}

#[test]
fn tells_why_an_answer_is_incomplete() {
    let stop = |details: Value| {
        let body = json!({"status": "incomplete", "incomplete_details": details, "output": []});
        read_answer(&body.to_string()).unwrap().stop
    };
    assert_eq!(stop(json!({"reason": "max_output_tokens"})), Stop::Length);
    assert_eq!(stop(json!({"reason": "content_filter"})), Stop::Filter);
    assert_eq!(
        stop(json!({"reason": "steered"})),
        Stop::Other("steered".to_owned())
    );
    assert_eq!(stop(Value::Null), Stop::Other("incomplete".to_owned()));
}

#[test]
fn refuses_what_is_no_answer_and_keeps_its_usage() {
    let usage = json!({"input_tokens": 3, "output_tokens": 4});
    let cases = [
        (json!([]), false),
        (json!({}), false),
        (json!({"output": "x", "usage": usage}), true),
        (
            json!({"status": "failed", "output": [], "usage": usage}),
            true,
        ),
        (
            json!({"error": {"code": "server_error", "message": "no"}, "output": [], "usage": usage}),
            true,
        ),
        (
            json!({"status": "in_progress", "output": [], "usage": usage}),
            true,
        ),
        (
            json!({"status": "failed", "output": [], "usage": {"input_tokens": -3, "output_tokens": 4}}),
            false,
        ),
    ];
    for (body, has_usage) in cases {
        let error = read_answer(&body.to_string()).unwrap_err();
        assert_eq!(error.usage.is_some(), has_usage, "{body}");
    }
}

#[test]
fn writes_errors_as_openai_does() {
    let refused = Refused {
        status: 400,
        code: "invalid_request".to_owned(),
        message: "field input must be a string".to_owned(),
        field: Some("input".to_owned()),
        request: None,
    };
    check_fixture("responses/error.json", &write_error(&refused));
    let said = read_error(&write_error(&refused)).unwrap();
    assert_eq!(said.kind.as_deref(), Some("invalid_request_error"));
}
