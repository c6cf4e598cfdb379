use super::full_stream;
use crate::chat::{Reader, Writer};
use crate::signature::{Signature, Signer};
use crate::testing::{check_fixture, check_order, envelope, fixture, joined, lines, read_stream};
use crate::{Broken, Delta, Event, Refused, Stop};
use serde_json::{Value, json};

fn write(events: &[Event], with_usage: bool) -> String {
    let mut writer = Writer::new(envelope(), with_usage);
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out);
    }
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn read(stream: &str) -> Result<Vec<Event>, Broken> {
    let mut reader = Reader::default();
    let mut events = read_stream([stream.as_bytes()], |name, data, out| {
        reader.read(name, data, out)
    })?;
    reader.end(&mut events);
    check_order(&events);
    Ok(events)
}

/// A stream of these chunks.
fn sse(chunks: &[Value]) -> String {
    chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\n\n"))
        .collect()
}

fn delta(delta: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

#[test]
fn writes_what_the_sdk_reads() {
    check_fixture("chat/stream.sse", &write(&full_stream(), true));
    let text = [
        Event::Delta {
            part: 0,
            delta: Delta::Text("Hello.".to_owned()),
        },
        Event::Stop(Stop::Length),
    ];
    check_fixture("chat/stream-text.sse", &write(&text, false));
    let refusal = [
        Event::Delta {
            part: 0,
            delta: Delta::Refusal("I will not.".to_owned()),
        },
        Event::Stop(Stop::Refusal),
    ];
    check_fixture("chat/stream-refusal.sse", &write(&refusal, false));
}

#[test]
fn a_broken_stream_ends_with_an_error_and_not_with_done() {
    let mut writer = Writer::new(envelope(), true);
    let mut out = Vec::new();
    for event in &full_stream()[..3] {
        writer.write(event, &mut out);
    }
    let refused = Refused {
        status: 502,
        code: "provider_failed".to_owned(),
        message: "the provider's stream broke".to_owned(),
        field: None,
        request: None,
    };
    writer.fail(&refused, &mut out);
    let stream = String::from_utf8(out).unwrap();
    check_fixture("chat/stream-failed.sse", &stream);
    assert!(!stream.contains("[DONE]"));
    let Err(Broken::Said(said)) = read(&stream) else {
        panic!("no error");
    };
    assert_eq!(said.code.as_deref(), Some("provider_failed"));
}

#[test]
fn reads_what_it_writes() {
    let mut expected = joined(full_stream());
    let last = expected.len() - 1;
    expected.swap(last - 1, last); // the stop is read last
    if let Event::Usage(usage) = &mut expected[last - 1] {
        usage.cache_write += std::mem::take(&mut usage.cache_write_hour);
    }
    let Event::Start { id, .. } = &mut expected[0] else {
        panic!("no start");
    };
    *id = Some("chatcmpl-abc123".to_owned());
    assert_eq!(
        lines(&joined(read(&write(&full_stream(), true)).unwrap())),
        lines(&expected)
    );
}

#[test]
fn reads_the_streams_of_vendors() {
    for name in [
        "openai",
        "mistral",
        "groq",
        "openrouter",
        "deepseek",
        "azure",
    ] {
        let events = read(&fixture(&format!("chat/provider-{name}.sse"))).unwrap();
        insta::assert_snapshot!(format!("stream-{name}"), lines(&events));
    }
}

#[test]
fn holds_back_calls_that_come_in_turn() {
    let call = |index: u64, id: Option<&str>, name: Option<&str>, arguments: &str| {
        delta(
            json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}),
        )
    };
    let stream = sse(&[
        call(0, Some("a"), Some("f"), "{\"x\":"),
        call(1, Some("b"), Some("g"), "{"),
        call(0, None, None, "\"}\"}"),
        call(1, None, None, "}"),
        finish("stop"),
    ]);
    insta::assert_snapshot!(lines(&read(&stream).unwrap()));
}

#[test]
fn tells_calls_apart_without_numbers_or_ids() {
    let calls = |calls: Value| delta(json!({"tool_calls": calls}));
    let cases = [
        // All are number 0.
        sse(&[
            calls(json!([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}])),
            calls(json!([{"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}}])),
            finish("stop"),
        ]),
        // No numbers.
        sse(&[
            calls(json!([{"id": "a", "function": {"name": "f", "arguments": ""}}])),
            calls(json!([{"function": {"arguments": "{}"}}])),
            calls(json!([{"id": "b", "function": {"name": "f", "arguments": {"x": 1}}}])),
            finish("tool_calls"),
        ]),
        // No ids.
        sse(&[
            calls(
                json!([{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "f", "arguments": "{}"}}]),
            ),
            finish("tool_calls"),
        ]),
        // The name in every chunk.
        sse(&[
            calls(json!([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}])),
            calls(json!([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}])),
            finish("tool_calls"),
        ]),
        // The name late.
        sse(&[
            calls(json!([{"index": 0, "id": "a"}])),
            calls(json!([{"index": 0, "function": {"arguments": "{"}}])),
            calls(json!([{"index": 0, "function": {"name": "f", "arguments": "}"}}])),
            finish("tool_calls"),
        ]),
    ];
    let read: Vec<String> = cases
        .iter()
        .map(|stream| lines(&read(stream).unwrap()))
        .collect();
    insta::assert_snapshot!(read.join("\n\n"));
}

#[test]
fn nobody_calls_so_many_tools() {
    let calls: Vec<Value> = (0..5000)
        .map(|index| json!({"index": index, "id": index.to_string(), "function": {"name": "f", "arguments": "{}"}}))
        .collect();
    assert!(matches!(
        read(&sse(&[delta(json!({"tool_calls": calls}))])),
        Err(Broken::NotAnAnswer(_))
    ));
}

#[test]
fn words_that_come_again_with_their_signature_count_once() {
    let stream = sse(&[
        delta(json!({"reasoning_content": "a"})),
        delta(
            json!({"reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s"}]}),
        ),
        delta(json!({"reasoning_content": "b"})),
        finish("stop"),
    ]);
    let part = |part, delta| Event::Delta { part, delta };
    let expected = [
        part(0, Delta::Reasoning("a".to_owned())),
        part(0, Delta::Signature(Signature::new(Signer::OpenRouter, "s"))),
        part(1, Delta::Reasoning("b".to_owned())),
        Event::Stop(Stop::End),
    ];
    assert_eq!(read(&stream).unwrap(), expected);
}

#[test]
fn a_cut_stream_has_no_stop() {
    let whole = fixture("chat/provider-openai.sse");
    let cut = whole.rfind("\"finish_reason\":\"tool_calls\"").unwrap();
    let events = read(&whole[..cut]).unwrap();
    assert!(!events.iter().any(|event| matches!(event, Event::Stop(_))));
    assert!(!read("data: [DONE]\n\n").unwrap().iter().any(Event::commits));
}

#[test]
fn errors_break_a_stream() {
    let cases = [
        json!({"error": {"message": "overloaded", "type": "server_error", "code": 503}}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "gone", "code": 502}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}),
        json!({"x_groq": {"error": "over capacity"}, "choices": []}),
    ];
    for chunk in cases {
        assert!(
            matches!(
                read(&sse(std::slice::from_ref(&chunk))),
                Err(Broken::Said(_))
            ),
            "{chunk}"
        );
    }
    for data in ["nonsense", "[]", "{\"choices\":"] {
        assert!(
            matches!(
                read(&format!("data: {data}\n\n")),
                Err(Broken::NotAnAnswer(_))
            ),
            "{data}"
        );
    }
    for harmless in [
        "{}",
        "{\"choices\":5}",
        "{\"choices\":[5]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]}",
    ] {
        assert_eq!(read(&format!("data: {harmless}\n\n")), Ok(vec![]));
    }
}
