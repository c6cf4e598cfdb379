use super::full_answer;
use crate::chat::{read_answer, read_error, write_answer, write_error};
use crate::testing::{check_fixture, envelope, fixture};
use crate::{Answer, Content, Refused, Stop, Usage};
use serde_json::{Value, json};

#[test]
fn writes_what_the_sdk_reads() {
    check_fixture(
        "chat/answer.json",
        &write_answer(&full_answer(), &envelope()),
    );
    let text = Answer {
        parts: vec![Content::Text("Hello.".to_owned()).into()],
        ..Answer::default()
    };
    check_fixture("chat/answer-text.json", &write_answer(&text, &envelope()));
    let refused = Answer {
        parts: vec![Content::Refusal("I will not.".to_owned()).into()],
        stop: Stop::Refusal,
        ..Answer::default()
    };
    check_fixture(
        "chat/answer-refusal.json",
        &write_answer(&refused, &envelope()),
    );
}

#[test]
fn reads_what_it_writes() {
    let mut expected = full_answer();
    expected.id = Some("chatcmpl-abc123".to_owned());
    if let Some(usage) = &mut expected.usage {
        usage.cache_write += std::mem::take(&mut usage.cache_write_hour);
    }
    assert_eq!(
        read_answer(&write_answer(&full_answer(), &envelope())),
        Ok(expected)
    );
}

#[test]
fn writes_finish_reasons_that_the_types_know() {
    let cases = [
        (Stop::End, "stop"),
        (Stop::Sequence(Some("x".to_owned())), "stop"),
        (Stop::Length, "length"),
        (Stop::Context, "length"),
        (Stop::ToolCalls, "tool_calls"),
        (Stop::Filter, "content_filter"),
        (Stop::Refusal, "content_filter"),
        (Stop::Pause, "stop"),
        (Stop::Other("new".to_owned()), "stop"),
    ];
    for (stop, reason) in cases {
        let answer = Answer {
            stop,
            ..Answer::default()
        };
        let written: Value = serde_json::from_str(&write_answer(&answer, &envelope())).unwrap();
        assert_eq!(written["choices"][0]["finish_reason"], reason);
    }
}

#[test]
fn reads_the_answers_of_vendors() {
    for name in [
        "openai",
        "mistral",
        "groq",
        "openrouter",
        "deepseek",
        "azure",
        "odd",
    ] {
        let answer = read_answer(&fixture(&format!("chat/provider-{name}.json"))).unwrap();
        insta::assert_debug_snapshot!(name, answer);
    }
}

#[test]
fn refuses_what_is_no_answer_and_keeps_its_usage() {
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 4});
    let cases = [
        (json!([]), false),
        (json!({}), false),
        (json!({"choices": [], "usage": usage}), true),
        (
            json!({"choices": [{"index": 1, "message": {}}], "usage": usage}),
            true,
        ),
        (json!({"choices": [{"index": 0}], "usage": usage}), true),
        (
            json!({"choices": [{"index": 0, "message": "hi"}], "usage": usage}),
            true,
        ),
        (
            json!({"choices": [{"message": {}, "finish_reason": "error"}], "usage": usage}),
            true,
        ),
        (json!({"error": {"message": "no"}, "usage": usage}), true),
    ];
    for (body, has_usage) in cases {
        let error = read_answer(&body.to_string()).unwrap_err();
        assert_eq!(error.usage.is_some(), has_usage, "{body}");
    }
    assert!(read_answer("").is_err());
}

#[test]
fn believes_no_nonsense_of_usage() {
    let usage = |usage: Value| {
        let body = json!({"choices": [{"message": {"content": "x"}}], "usage": usage});
        read_answer(&body.to_string()).unwrap().usage
    };
    let nonsense = [
        json!(null),
        json!("many"),
        json!({}),
        json!({"prompt_tokens": 1}),
        json!({"prompt_tokens": -1, "completion_tokens": 1}),
        json!({"prompt_tokens": "one", "completion_tokens": 1}),
        json!({"prompt_tokens": 1.5, "completion_tokens": 1}),
        json!({"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX}),
        json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": u64::MAX}),
        json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -5}}),
    ];
    for said in nonsense {
        assert_eq!(usage(said.clone()), None, "{said}");
    }
    let said = json!({
        "prompt_tokens": 10.0, "completion_tokens": 2, "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 50},
    });
    let expected = Usage {
        cache_read: 10,
        output: 10,
        reasoning: 8,
        ..Usage::default()
    };
    assert_eq!(usage(said), Some(expected));
    let huge = r#"{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":1e999,"completion_tokens":1}}"#;
    assert_eq!(read_answer(huge).unwrap().usage, None);
}

#[test]
fn writes_errors_as_openai_does() {
    let refused = Refused {
        status: 429,
        code: "budget_exceeded".to_owned(),
        message: "the budget of team a is spent".to_owned(),
        field: Some("messages[0].content".to_owned()),
        request: None,
    };
    check_fixture("chat/error.json", &write_error(&refused));
    let said = read_error(&write_error(&refused)).unwrap();
    assert_eq!(said.code.as_deref(), Some("budget_exceeded"));
    assert_eq!(said.message, refused.message);
}

#[test]
fn reads_errors_of_all_forms() {
    let bodies = [
        r#"{"error":{"message":"no quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        r#"{"error":"plain"}"#,
        r#"{"error":{"message":"slow down","code":429,"metadata":{}}}"#,
        r#"{"message":"Unauthorized","request_id":"x"}"#,
        r#"{"detail":"Not Found"}"#,
        r#"{"detail":[{"type":"extra_forbidden","loc":["body","foo"],"msg":"Extra inputs are not permitted"}]}"#,
        r#"{"object":"error","message":"Tool call id was x","type":"invalid_function_call","param":null,"code":"3280","raw_status_code":400}"#,
        r#"{"object":"error","message":{"detail":[{"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error","code":null}"#,
        r#"[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]"#,
        r#"{"error":{"message":"overloaded"},"status":503}"#,
        r#"{"choices":[],"error":null}"#,
        r#"{"choices":[],"message":"x"}"#,
        r#"{"id":"x"}"#,
        "[]",
        "<html>",
    ];
    let said: Vec<String> = bodies
        .iter()
        .map(|body| format!("{body}\n    {:?}", read_error(body)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}
