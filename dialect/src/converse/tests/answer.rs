use super::upstream::{calls, says};
use super::*;
use crate::answer::{Stop, Usage};
use crate::converse::{is_error, read_answer, read_error, read_typed_error};
use crate::error::Said;
use crate::request::{Content, Media, MediaKind, MediaSource, Thought};
use crate::signature::{Signature, Signer};

#[test]
fn providers() {
    let answer = read_answer(&fixture("converse/provider-answer.json")).unwrap();
    assert_eq!(answer.stop, Stop::ToolCalls);
    let model =
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0";
    assert_eq!(answer.model.as_deref(), Some(model));
    let usage = Usage {
        input: 4,
        cache_read: 1490,
        cache_write: 100,
        cache_write_hour: 200,
        output: 832,
        tier: Some("priority".to_owned()),
        ..Usage::default()
    };
    assert_eq!(answer.usage, Some(usage));
    let contents: Vec<Content> = answer.parts.into_iter().map(|part| part.content).collect();
    let thought = |text: &str, signature: &str, redacted| {
        Content::Reasoning(Thought {
            text: text.to_owned(),
            signature: Some(Signature::new(Signer::Anthropic, signature)),
            redacted,
        })
    };
    let picture = Content::Media(Media {
        kind: MediaKind::Image,
        source: MediaSource::Data {
            mime: "image/png".to_owned(),
            base64: "iVBORw0KGgo=".to_owned(),
        },
        name: None,
        detail: None,
    });
    let expected = [
        thought("Two calls.", "EqQBCgIYAg==", false),
        thought("", "EmwKAhgB", true),
        says("I search. 🦀"),
        says("As the page says."),
        calls("tooluse_1", "f", r#"{"b": 1,  "a": [1.50]}"#),
        calls("tooluse_2", "g", "{}"),
        picture,
    ];
    assert_eq!(contents, expected);
}

#[test]
fn stops() {
    for (word, stop) in [
        ("end_turn", Stop::End),
        ("tool_use", Stop::ToolCalls),
        ("max_tokens", Stop::Length),
        ("stop_sequence", Stop::Sequence(None)),
        ("guardrail_intervened", Stop::Filter),
        ("content_filtered", Stop::Filter),
        ("model_context_window_exceeded", Stop::Context),
        (
            "malformed_model_output",
            Stop::Other("malformed_model_output".to_owned()),
        ),
    ] {
        let body = format!(r#"{{"output":{{"message":{{"content":[]}}}},"stopReason":"{word}"}}"#);
        assert_eq!(read_answer(&body).unwrap().stop, stop);
    }
}

#[test]
fn no_answers() {
    for body in [
        "",
        "{}",
        "[]",
        r#"{"output":{}}"#,
        r#"{"output":{"message":{"content":1}}}"#,
    ] {
        assert!(read_answer(body).is_err(), "{body}");
    }
    let paid = read_answer(r#"{"usage":{"inputTokens":5,"outputTokens":0}}"#).unwrap_err();
    assert_eq!(paid.usage.unwrap().input, 5);
    for bad in [
        r#"{"inputTokens":-5}"#,
        r#"{"inputTokens":1,"outputTokens":1.5}"#,
        r#"{"inputTokens":1,"cacheReadInputTokens":1e18}"#,
        r#"{"inputTokens":1,"cacheDetails":[{"ttl":"1h","inputTokens":"x"}]}"#,
    ] {
        let body = format!(r#"{{"output":{{"message":{{"content":[]}}}},"usage":{bad}}}"#);
        assert_eq!(read_answer(&body).unwrap().usage, None, "{bad}");
    }
}

#[test]
fn errors() {
    let said = |status, kind: Option<&str>, message: &str| {
        Some(Said {
            status,
            kind: kind.map(str::to_owned),
            message: message.to_owned(),
            ..Said::default()
        })
    };
    assert_eq!(read_error(r#"{"message":"no"}"#), said(None, None, "no"));
    assert_eq!(read_error(r#"{"Message":"no"}"#), said(None, None, "no"));
    assert_eq!(
        read_error(
            r#"{"__type":"com.amazon.coral.service#AccessDeniedException:http://x","Message":"no"}"#
        ),
        said(Some(403), Some("AccessDeniedException"), "no")
    );
    assert_eq!(
        read_error(r#"{"__type":"UnknownOperationException"}"#),
        said(None, Some("UnknownOperationException"), "")
    );
    for body in ["", "{}", "<x>", r#"{"message":5}"#] {
        assert_eq!(read_error(body), None);
    }
}

#[test]
fn the_header_names_an_error_whatever_its_body_is() {
    for (kind, body, name, status, message) in [
        (
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            r#"{"message":"slow"}"#,
            "ThrottlingException",
            Some(429),
            "slow",
        ),
        (
            "com.amazon.coral#ValidationException",
            r#"{"__type":"other","Message":"no"}"#,
            "ValidationException",
            Some(400),
            "no",
        ),
        (
            "UnrecognizedClientException",
            "<html>",
            "UnrecognizedClientException",
            None,
            "",
        ),
    ] {
        let said = Said {
            status,
            kind: Some(name.to_owned()),
            message: message.to_owned(),
            ..Said::default()
        };
        assert_eq!(read_typed_error(kind, body), said);
    }
}

#[test]
fn a_success_with_an_error_is_one() {
    for (body, error) in [
        (r#"{"__type":"ThrottlingException"}"#, true),
        (r#"{"message":"no"}"#, true),
        (r#"{"Message":"no"}"#, true),
        (
            r#"{"output":{"message":{"content":[]}},"message":"x"}"#,
            false,
        ),
        (r#"{"message":null}"#, false),
        ("{}", false),
        (r#"["__type"]"#, false),
        (r#"{"__type":"cut"#, false),
        ("", false),
    ] {
        assert_eq!(is_error(body), error, "{body}");
    }
}
