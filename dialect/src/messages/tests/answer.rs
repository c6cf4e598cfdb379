use super::*;
use crate::answer::{Answer, Stop, Usage};
use crate::error::{Refused, Said};
use crate::messages::{
    read_answer, read_count, read_error, write_answer, write_count, write_error,
};
use crate::request::{Content, Part, Thought, ToolCall};
use crate::signature::{Signature, Signer};

pub(super) fn usage() -> Usage {
    Usage {
        input: 10,
        cache_read: 40,
        cache_write: 100,
        cache_write_hour: 200,
        output: 50,
        reasoning: 7,
        cost: None,
        tier: Some("default".to_owned()),
    }
}

/// An answer with all that one can hold.
fn rich() -> Answer {
    let parts = [
        Content::Reasoning(Thought {
            text: "Two calls.".to_owned(),
            signature: Some(Signature::new(Signer::Anthropic, "EqQBCgIYAg==")),
            ..Thought::default()
        }),
        Content::Reasoning(Thought {
            signature: Some(Signature::new(Signer::Anthropic, "EmwKAhgB")),
            redacted: true,
            ..Thought::default()
        }),
        Content::Text("I search.".to_owned()),
        Content::ToolCall(ToolCall {
            id: "toolu_01".to_owned(),
            name: "f".to_owned(),
            arguments: r#"{"b": 1,  "a": [1.50]}"#.to_owned(),
            signature: None,
        }),
        Content::ToolCall(ToolCall {
            id: "toolu_02".to_owned(),
            name: "g".to_owned(),
            arguments: "{}".to_owned(),
            signature: None,
        }),
    ];
    Answer {
        id: Some("msg_013Zva2CMHLNnjNjJJKqJ2EF".to_owned()),
        model: Some("claude-sonnet-4-5-20250929".to_owned()),
        parts: parts.into_iter().map(Part::from).collect(),
        stop: Stop::ToolCalls,
        usage: Some(usage()),
    }
}

#[test]
fn providers() {
    let answer = read_answer(&fixture("messages/provider-answer.json")).unwrap();
    assert_eq!(answer, rich());
}

#[test]
fn written() {
    let body = write_answer(&rich(), &envelope());
    check_fixture("messages/answer-rich.json", body.as_bytes());
    let answer = Answer {
        id: Some("msg_01J9".to_owned()),
        ..rich()
    };
    assert_eq!(read_answer(&body).unwrap(), answer);
    // From a vendor that counts nothing, names nothing, and breaks its arguments.
    let bare = Answer {
        parts: vec![
            Content::Refusal("No.".to_owned()).into(),
            Content::Reasoning(Thought {
                text: "hm".to_owned(),
                ..Thought::default()
            })
            .into(),
            Content::ToolCall(ToolCall {
                name: "f".to_owned(),
                arguments: "{\"a\": ".to_owned(),
                ..ToolCall::default()
            })
            .into(),
        ],
        stop: Stop::Other("new".to_owned()),
        ..Answer::default()
    };
    let body = write_answer(&bare, &envelope());
    check_fixture("messages/answer-bare.json", body.as_bytes());
}

#[test]
fn stops() {
    for (stop, word) in [
        (Stop::End, "end_turn"),
        (Stop::Sequence(Some("END".to_owned())), "stop_sequence"),
        (Stop::Sequence(None), "stop_sequence"),
        (Stop::Length, "max_tokens"),
        (Stop::Context, "model_context_window_exceeded"),
        (Stop::ToolCalls, "tool_use"),
        (Stop::Refusal, "refusal"),
        (Stop::Pause, "pause_turn"),
    ] {
        let answer = Answer {
            stop: stop.clone(),
            ..Answer::default()
        };
        let body = write_answer(&answer, &envelope());
        assert!(body.contains(&format!(r#""stop_reason":"{word}""#)));
        assert_eq!(read_answer(&body).unwrap().stop, stop);
    }
    let stop = |body: &str| read_answer(body).unwrap().stop;
    assert_eq!(
        stop(r#"{"content":[],"stop_reason":"compaction"}"#),
        Stop::Other("compaction".to_owned())
    );
    assert_eq!(stop(r#"{"content":[],"stop_reason":null}"#), Stop::End);
    let call = r#"{"content":[{"type":"tool_use","id":"a","name":"f"}]}"#;
    assert_eq!(stop(call), Stop::ToolCalls);
}

#[test]
fn usage_that_cannot_be_believed_is_none() {
    let usage = |usage: &str| {
        let body = format!(r#"{{"content":[],"usage":{usage}}}"#);
        read_answer(&body).unwrap().usage
    };
    for bad in [
        r#"{"input_tokens":-1,"output_tokens":2}"#,
        r#"{"input_tokens":1.5,"output_tokens":2}"#,
        r#"{"input_tokens":"one","output_tokens":2}"#,
        r#"{"input_tokens":1e300,"output_tokens":2}"#,
        r#"{"input_tokens":1e999,"output_tokens":2}"#,
        r#"{"input_tokens":18446744073709551615,"output_tokens":2}"#,
        r#"{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":18446744073709551615}"#,
        r#"{"input_tokens":1,"output_tokens":2,"cache_creation":{"ephemeral_1h_input_tokens":-5}}"#,
        "{}",
        "null",
        "[]",
        "7",
    ] {
        assert_eq!(usage(bad), None, "{bad}");
    }
    let counted = usage(
        r#"{"input_tokens":3.0,"output_tokens":2,"cache_creation_input_tokens":null,"output_tokens_details":{"thinking_tokens":9}}"#,
    );
    let counted = counted.unwrap();
    assert_eq!(
        (counted.input, counted.output, counted.reasoning),
        (3, 2, 2)
    );
}

#[test]
fn no_answers() {
    for body in ["", "[]", "{", "null", "{}", r#"{"content":{}}"#] {
        assert!(read_answer(body).is_err(), "{body}");
    }
    let paid = read_answer(r#"{"usage":{"input_tokens":5,"output_tokens":0}}"#).unwrap_err();
    assert_eq!(paid.usage.unwrap().input, 5);
    let error = r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#;
    assert_eq!(
        read_answer(error).unwrap_err().message,
        "the answer is an error"
    );
    let odd = r#"{"content":[1,null,{"type":5},{"type":"text"},{"type":"tool_use"},{"type":"dance"},{"type":"text","text":"x"}]}"#;
    assert_eq!(read_answer(odd).unwrap().parts.len(), 1);
}

#[test]
fn counts() {
    check_fixture("messages/count.json", write_count(7).as_bytes());
    assert_eq!(read_count(&write_count(7)).unwrap(), 7);
    for body in [
        r#"{"input_tokens":-1}"#,
        "{}",
        "",
        r#"{"input_tokens":9e15}"#,
    ] {
        assert!(read_count(body).is_err());
    }
}

#[test]
fn errors() {
    let refused = |status| Refused {
        status,
        code: "budget_exceeded".to_owned(),
        message: "the budget of team is spent".to_owned(),
        field: None,
        request: None,
    };
    for (status, kind, back) in [
        (400, "invalid_request_error", 400),
        (401, "authentication_error", 401),
        (402, "billing_error", 402),
        (403, "permission_error", 403),
        (404, "not_found_error", 404),
        (408, "timeout_error", 504),
        (413, "request_too_large", 413),
        (422, "invalid_request_error", 400),
        (429, "rate_limit_error", 429),
        (500, "api_error", 500),
        (502, "api_error", 500),
        (503, "overloaded_error", 529),
        (504, "timeout_error", 504),
        (529, "overloaded_error", 529),
    ] {
        let said = read_error(&write_error(&refused(status))).unwrap();
        assert_eq!(
            said,
            Said {
                status: Some(back),
                code: Some("budget_exceeded".to_owned()),
                kind: Some(kind.to_owned()),
                message: "the budget of team is spent".to_owned(),
                retry_after: None
            }
        );
    }
    let named = Refused {
        request: Some("req_01J9".to_owned()),
        ..refused(429)
    };
    check_fixture("messages/error.json", write_error(&named).as_bytes());
    let new = read_error(r#"{"type":"error","error":{"type":"moon_error","message":"x"}}"#);
    assert_eq!(new.unwrap().status, None);
    for body in ["", "<html>", "{}", r#"{"error":"x"}"#, r#"{"error":{}}"#] {
        assert_eq!(read_error(body), None);
    }
}

#[test]
fn other_vendors_signatures_are_marked() {
    let thought = |by, redacted| {
        Content::Reasoning(Thought {
            text: String::new(),
            signature: Some(Signature::new(by, "c2ln")),
            redacted,
        })
    };
    let parts = [
        thought(Signer::OpenAi, false),
        thought(Signer::OpenRouter, true),
        Content::ToolCall(ToolCall {
            id: "toolu_01".to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
            signature: Some(Signature::new(Signer::Google, "c2ln")),
        }),
    ];
    let answer = Answer {
        parts: parts.map(Part::from).into(),
        stop: Stop::ToolCalls,
        ..Answer::default()
    };
    let written = write_answer(&answer, &envelope());
    check_fixture("messages/answer-foreign.json", &written);
    for marked in ["openai:c2ln", "openrouter:c2ln", "call:google:c2ln"] {
        assert!(written.contains(&format!("\"{marked}\"")), "{marked}");
    }
}
