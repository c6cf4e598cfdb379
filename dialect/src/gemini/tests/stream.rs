use crate::answer::Stop;
use crate::error::Broken;
use crate::event::Event;
use crate::gather::gather;
use crate::gemini::{Reader, read_answer, read_error};
use crate::testing::{arbitrary, check_order, events_of, fixture};
use proptest::prelude::*;

const WORDS: &[&str] = &[
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "id",
    "name",
    "args",
    "finishReason",
    "STOP",
    "MAX_TOKENS",
    "promptFeedback",
    "blockReason",
    "usageMetadata",
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "responseId",
    "modelVersion",
    "error",
    "code",
    "details",
    "@type",
    "google.rpc.RetryInfo",
    "retryDelay",
    "1s",
    "violations",
    "QuotaFailure",
];

fn read_all(events: &[(String, String)]) -> (Vec<Event>, Result<(), Broken>) {
    let mut reader = Reader::default();
    let mut out = Vec::new();
    for (name, data) in events {
        if let Err(broken) = reader.read(name, data, &mut out) {
            return (out, Err(broken));
        }
    }
    reader.end(&mut out);
    (out, Ok(()))
}

#[test]
fn streams_are_read_however_they_are_cut() {
    for name in ["text", "tools", "thoughts"] {
        let bytes = fixture(&format!("gemini/stream-{name}.sse")).into_bytes();
        let (events, ended) = read_all(&events_of(&bytes, 0));
        ended.unwrap();
        check_order(&events);
        insta::assert_debug_snapshot!(format!("stream-{name}"), events);
        for cut in 0..=bytes.len() {
            assert_eq!(
                read_all(&events_of(&bytes, cut)).0,
                events,
                "{name} at {cut}"
            );
        }
    }
}

#[test]
fn a_stream_that_was_cut_has_no_stop() {
    let bytes = fixture("gemini/stream-text.sse");
    let events = events_of(bytes.as_bytes(), 0);
    let (events, ended) = read_all(&events[..2]);
    assert!(ended.is_ok() && !events.iter().any(|event| matches!(event, Event::Stop(_))));
}

#[test]
fn content_after_a_reason_to_finish_is_taken() {
    let text = |text: &str| {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}},"finishReason":"STOP"}}]}}"#
        )
    };
    let events = [text("a"), text("b")].map(|data| (String::new(), data));
    let (answer, stop) = gather(read_all(&events).0);
    assert_eq!((answer.parts.len(), stop), (1, Some(Stop::End)));
    let late = (
        String::new(),
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#.to_owned(),
    );
    let (_, stop) = gather(read_all(&[events[0].clone(), late]).0);
    assert_eq!(stop, Some(Stop::ToolCalls));
}

#[test]
fn events_without_data_are_nothing() {
    let events = ["", "[DONE]"].map(|data| (String::new(), data.to_owned()));
    assert_eq!(read_all(&events), (Vec::new(), Ok(())));
}

#[test]
fn a_blocked_prompt_ends_a_stream() {
    let body = fixture("gemini/answer-blocked.json");
    let (events, _) = read_all(&[(String::new(), body)]);
    assert!(events.contains(&Event::Stop(Stop::Filter)));
}

#[test]
fn an_error_in_the_middle_breaks_a_stream() {
    for error in ["gemini/error-quota.json", "gemini/error-key.json"].map(fixture) {
        let (_, ended) = read_all(&[(String::new(), error.clone())]);
        assert_eq!(ended, Err(Broken::Said(read_error(&error).unwrap())));
    }
    let (_, ended) = read_all(&[(String::new(), "{".to_owned())]);
    assert!(matches!(ended, Err(Broken::NotAnAnswer(_))));
}

proptest! {
    #[test]
    fn no_json_panics(values in proptest::collection::vec(arbitrary(WORDS), 1..4)) {
        let events: Vec<_> = values.iter().map(|value| (String::new(), value.to_string())).collect();
        check_order(&read_all(&events).0);
        for (_, body) in &events {
            let _ = (read_answer(body), read_error(body));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = (read_answer(&text), read_error(&text), read_all(&[(String::new(), text)]));
    }

    /// The likes of an answer, so that the depths are reached.
    #[test]
    fn no_part_panics(parts in proptest::collection::vec(arbitrary(WORDS), 0..6), usage in arbitrary(WORDS)) {
        let body = serde_json::json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage});
        check_order(&read_all(&[(String::new(), body.to_string())]).0);
        prop_assert!(read_answer(&body.to_string()).is_ok());
    }
}
