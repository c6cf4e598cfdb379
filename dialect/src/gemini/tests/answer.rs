use crate::answer::{Stop, Usage};
use crate::gemini::{read_answer, read_error};
use crate::request::Content;
use crate::testing::fixture;
use std::time::Duration;

#[test]
fn answers_are_read() {
    for name in ["text", "tools", "thoughts", "blocked", "filtered"] {
        let answer = read_answer(&fixture(&format!("gemini/answer-{name}.json"))).unwrap();
        insta::assert_debug_snapshot!(format!("answer-{name}"), answer);
    }
}

#[test]
fn calls_without_a_name_of_their_own_are_named_the_same_again() {
    let body = fixture("gemini/answer-tools.json");
    assert_eq!(read_answer(&body), read_answer(&body));
    let other = read_answer(&body.replace("r-2", "r-3")).unwrap();
    let ids = |answer: &crate::Answer| -> Vec<String> {
        let calls = answer.parts.iter().filter_map(|part| match &part.content {
            Content::ToolCall(call) => Some(call.id.clone()),
            _ => None,
        });
        calls.collect()
    };
    let [mine, theirs] = [read_answer(&body).unwrap(), other].map(|answer| ids(&answer));
    assert_ne!(mine[0], theirs[0]);
    assert_eq!(mine[1], theirs[1]);
}

fn stop_of(candidate: &str) -> Stop {
    read_answer(&format!(r#"{{"candidates":[{candidate}]}}"#))
        .unwrap()
        .stop
}

#[test]
fn reasons_to_finish_are_read() {
    for (reason, stop) in [
        ("STOP", Stop::End),
        ("MAX_TOKENS", Stop::Length),
        ("RECITATION", Stop::Filter),
        ("SPII", Stop::Filter),
        ("IMAGE_SAFETY", Stop::Filter),
        (
            "MALFORMED_FUNCTION_CALL",
            Stop::Other("MALFORMED_FUNCTION_CALL".to_owned()),
        ),
        ("NEW_ONE", Stop::Other("NEW_ONE".to_owned())),
    ] {
        assert_eq!(stop_of(&format!(r#"{{"finishReason":"{reason}"}}"#)), stop);
    }
    assert_eq!(stop_of("{}"), Stop::End);
    let call = r#""content":{"parts":[{"functionCall":{"name":"a"}}]}"#;
    assert_eq!(stop_of(&format!("{{{call}}}")), Stop::ToolCalls);
    let cut = format!(r#"{{{call},"finishReason":"MAX_TOKENS"}}"#);
    assert_eq!(stop_of(&cut), Stop::Length);
}

fn usage_of(metadata: &str) -> Option<Usage> {
    let body = format!(r#"{{"candidates":[{{}}],"usageMetadata":{metadata}}}"#);
    read_answer(&body).unwrap().usage
}

#[test]
fn usage_that_cannot_be_believed_is_none() {
    for metadata in [
        "{}",
        "7",
        r#"{"promptTokenCount":-1}"#,
        r#"{"promptTokenCount":"many"}"#,
        r#"{"promptTokenCount":1,"candidatesTokenCount":1.5}"#,
        r#"{"promptTokenCount":1,"candidatesTokenCount":-7}"#,
        r#"{"promptTokenCount":18446744073709551615,"toolUsePromptTokenCount":18446744073709551615}"#,
        r#"{"promptTokenCount":1,"thoughtsTokenCount":1e300}"#,
        r#"{"candidatesTokenCount":3}"#,
    ] {
        assert_eq!(usage_of(metadata), None, "{metadata}");
    }
}

#[test]
fn tokens_are_counted_once() {
    let usage = |input, cache_read, output, reasoning| {
        Some(Usage {
            input,
            cache_read,
            output,
            reasoning,
            ..Usage::default()
        })
    };
    for (metadata, expected) in [
        (r#"{"promptTokenCount":10}"#, usage(10, 0, 0, 0)),
        (
            r#"{"promptTokenCount":"10","cachedContentTokenCount":4.0}"#,
            usage(6, 4, 0, 0),
        ),
        (
            r#"{"promptTokenCount":10,"cachedContentTokenCount":12}"#,
            usage(0, 12, 0, 0),
        ),
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":18}"#,
            usage(10, 0, 8, 3),
        ),
        (
            r#"{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":3,"totalTokenCount":15}"#,
            usage(10, 0, 5, 3),
        ),
    ] {
        assert_eq!(usage_of(metadata), expected, "{metadata}");
    }
    let tier = usage_of(r#"{"promptTokenCount":1,"serviceTier":"PRIORITY"}"#)
        .unwrap()
        .tier;
    assert_eq!(tier.as_deref(), Some("priority"));
}

#[test]
fn what_is_no_answer_is_none() {
    for body in [
        "",
        "null",
        "[]",
        "{",
        "{}",
        r#"{"candidates":[]}"#,
        r#"{"candidates":{}}"#,
    ] {
        assert!(read_answer(body).is_err(), "{body}");
    }
    let counted = r#"{"candidates":[],"usageMetadata":{"promptTokenCount":3}}"#;
    assert_eq!(read_answer(counted).unwrap_err().usage.unwrap().input, 3);
    let error = read_answer(&fixture("gemini/error-quota.json")).unwrap_err();
    assert_eq!(error.message, "the body is an error");
    // Parts of other types are passed over.
    let odd = r#"{"candidates":[{"content":{"parts":[7,null,{"text":1},{"functionCall":{}},{"text":"a"}]}}]}"#;
    assert_eq!(read_answer(odd).unwrap().parts.len(), 1);
}

#[test]
fn errors_are_read() {
    insta::assert_debug_snapshot!(
        "error-quota",
        read_error(&fixture("gemini/error-quota.json"))
    );
    insta::assert_debug_snapshot!("error-key", read_error(&fixture("gemini/error-key.json")));
    for body in [
        "",
        "{}",
        "[]",
        r#"{"error":"invalid_grant"}"#,
        r#"{"candidates":[]}"#,
    ] {
        assert_eq!(read_error(body), None, "{body}");
    }
    let bare = read_error(r#"{"error":{"code":99999,"status":"UNAVAILABLE","details":[{"@type":"google.rpc.RetryInfo","retryDelay":"-1s"}]}}"#).unwrap();
    assert_eq!(
        (bare.status, bare.message.as_str(), bare.retry_after),
        (None, "UNAVAILABLE", None)
    );
    let long = read_error(
        r#"{"error":{"details":[{"@type":"google.rpc.RetryInfo","retryDelay":"3600s"}]}}"#,
    );
    assert_eq!(long.unwrap().retry_after, Some(Duration::from_secs(3_600)));
}
