use super::answer::usage;
use super::*;
use crate::answer::{Stop, Usage};
use crate::error::{Broken, Refused};
use crate::event::Delta;
use crate::messages::{Reader, Writer};
use crate::signature::{Signature, Signer};

fn delta(part: usize, delta: Delta) -> Event {
    Event::Delta { part, delta }
}

fn call(id: &str, name: &str) -> Delta {
    Delta::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        signature: None,
    }
}

/// All that a stream of this dialect can say.
fn rich(usage: Usage) -> Vec<Event> {
    vec![
        Event::Start {
            id: Some("msg_01J9".to_owned()),
            model: Some("claude-opus-4-6".to_owned()),
        },
        delta(0, Delta::Reasoning("Let me ".to_owned())),
        delta(0, Delta::Reasoning("think.".to_owned())),
        delta(
            0,
            Delta::Signature(Signature::new(Signer::Anthropic, "EqQBCgIYAg==")),
        ),
        delta(
            1,
            Delta::Redacted(Signature::new(Signer::Anthropic, "EmwKAhgB")),
        ),
        delta(2, Delta::Text("Hello, ".to_owned())),
        delta(2, Delta::Text("wörld 🦀\u{2028}".to_owned())),
        delta(3, call("toolu_01", "f")),
        delta(3, Delta::Arguments("{\"a\": ".to_owned())),
        delta(3, Delta::Arguments("1}".to_owned())),
        delta(4, call("toolu_02", "g")),
        Event::Usage(usage),
        Event::Stop(Stop::ToolCalls),
    ]
}

fn write(events: &[Event]) -> Vec<u8> {
    let (mut writer, mut out) = (Writer::new(envelope()), Vec::new());
    for event in events {
        writer.write(event, &mut out);
    }
    writer.end(&mut out);
    out
}

#[test]
fn providers() {
    let bytes = fixture("messages/provider-stream.sse").into_bytes();
    let (events, broken) = read_stream(&bytes, usize::MAX);
    assert_eq!(broken, None);
    let counted = Usage {
        input: 26,
        cache_read: 40,
        cache_write: 100,
        cache_write_hour: 200,
        output: 60,
        reasoning: 9,
        cost: None,
        tier: Some("priority".to_owned()),
    };
    let mut expected = rich(counted);
    expected[0] = Event::Start {
        id: Some("msg_01".to_owned()),
        model: Some("claude-opus-4-6".to_owned()),
    };
    assert_eq!(events, expected);
    check_order(&events);
}

#[test]
fn written_is_read_back() {
    let untiered = Usage {
        tier: None,
        ..usage()
    };
    let events = rich(untiered);
    let bytes = write(&events);
    check_fixture("messages/stream-rich.sse", &bytes);
    assert_eq!(read_stream(&bytes, usize::MAX), (events, None));
}

#[test]
fn every_cut_gives_the_same() {
    let bytes = fixture("messages/provider-stream.sse").into_bytes();
    let whole = read_stream(&bytes, usize::MAX);
    for piece in 1..64 {
        assert_eq!(read_stream(&bytes, piece), whole);
    }
}

#[test]
fn a_stream_that_is_cut_has_no_stop() {
    let bytes = fixture("messages/provider-stream.sse").into_bytes();
    let (whole, _) = read_stream(&bytes, usize::MAX);
    for length in 0..bytes.len() {
        let (events, broken) = read_stream(&bytes[..length], usize::MAX);
        assert_eq!(broken, None);
        check_order(&events);
        let stopped = events.iter().any(|event| matches!(event, Event::Stop(_)));
        assert!(!stopped);
        let deltas = |events: &[Event]| -> Vec<Event> {
            let is = |event: &&Event| matches!(event, Event::Delta { .. });
            events.iter().filter(is).cloned().collect()
        };
        assert!(deltas(&whole).starts_with(&deltas(&events)));
    }
    // What the beginning counted is told.
    let (events, _) = read_stream(&bytes[..bytes.len() / 2], usize::MAX);
    let Some(Event::Usage(usage)) = events.last() else {
        panic!("{events:?}");
    };
    assert_eq!((usage.input, usage.output), (25, 1));
}

#[test]
fn bare() {
    // No start, a stop without usage, usage after the stop, a refusal, a call without an id.
    let events = [
        delta(0, Delta::Refusal("No.".to_owned())),
        delta(1, call("", "f")),
        Event::Stop(Stop::Sequence(Some("END".to_owned()))),
        Event::Usage(Usage {
            input: 3,
            output: 4,
            ..Usage::default()
        }),
    ];
    let bytes = write(&events);
    check_fixture("messages/stream-bare.sse", &bytes);
    let (events, _) = read_stream(&bytes, usize::MAX);
    assert_eq!(events[2], delta(1, call("toolu_01J9_1", "f")));
    let end = Stop::Sequence(Some("END".to_owned()));
    assert_eq!(events.last(), Some(&Event::Stop(end)));
}

#[test]
fn failures_have_no_clean_end() {
    let (mut writer, mut out) = (Writer::new(envelope()), Vec::new());
    writer.write(&delta(0, Delta::Text("Hel".to_owned())), &mut out);
    let refused = Refused {
        status: 529,
        code: "provider_failed".to_owned(),
        message: "the provider's stream\nbroke off".to_owned(),
        field: None,
        request: None,
    };
    writer.fail(&refused, &mut out);
    check_fixture("messages/stream-failed.sse", &out);
    let (_, broken) = read_stream(&out, usize::MAX);
    let Some(Broken::Said(said)) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(said.status, Some(529));
    assert_eq!(said.message, refused.message);
    // A stream that ends without a stop fails, too.
    let cut = write(&[delta(0, Delta::Text("Hel".to_owned()))]);
    assert!(matches!(
        read_stream(&cut, usize::MAX).1,
        Some(Broken::Said(_))
    ));
    assert!(!String::from_utf8(cut).unwrap().contains("message_stop"));
}

fn read(lines: &[&str]) -> Vec<Event> {
    let (mut reader, mut out) = (Reader::default(), Vec::new());
    for line in lines {
        reader.read("", line, &mut out).unwrap();
    }
    reader.end(&mut out);
    check_order(&out);
    out
}

#[test]
fn interleaved_blocks_are_put_in_order() {
    let begin = |index| {
        format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"t{index}","name":"f","input":{{}}}}}}"#
        )
    };
    let more = |index, json: &str| {
        format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":"{json}"}}}}"#
        )
    };
    let end = |index| format!(r#"{{"type":"content_block_stop","index":{index}}}"#);
    let lines = [
        begin(7),
        begin(9),
        more(9, "b"),
        more(7, "a"),
        begin(8),
        end(9),
        more(8, "c"),
        more(7, "a"),
        end(7),
        more(8, "c"),
        end(8),
    ];
    let events = read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let json = |text: &str| Delta::Arguments(text.to_owned());
    assert_eq!(
        events,
        [
            delta(0, call("t7", "f")),
            delta(0, json("a")),
            delta(0, json("a")),
            delta(1, call("t9", "f")),
            delta(1, json("b")),
            delta(2, call("t8", "f")),
            delta(2, json("c")),
            delta(2, json("c")),
        ]
    );
}

#[test]
fn servers_that_only_resemble_anthropic() {
    // No numbers, no beginnings, a call's input whole in its beginning, no reason to stop, usage in floats.
    let events = read(&[
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#,
        r#"{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"a","name":"f","input":{"a":1}}}"#,
        r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":2.0}}"#,
        r#"{"type":"something_new"}"#,
        r#"{"type":"message_stop"}"#,
        r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"late"}}"#,
    ]);
    assert_eq!(
        events,
        [
            delta(0, Delta::Text("x".to_owned())),
            delta(1, call("a", "f")),
            delta(1, Delta::Arguments(r#"{"a":1}"#.to_owned())),
            Event::Usage(Usage {
                output: 2,
                ..Usage::default()
            }),
            Event::Stop(Stop::ToolCalls),
        ]
    );
}

#[test]
fn usage_that_turns_bad_is_not_told() {
    let events = read(&[
        r#"{"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":-7}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    assert_eq!(
        events,
        [
            Event::Start {
                id: None,
                model: None
            },
            Event::Stop(Stop::End)
        ]
    );
}

#[test]
fn broken_events() {
    let mut reader = Reader::default();
    let mut out = Vec::new();
    assert!(matches!(
        reader.read("content_block_delta", "{\"a", &mut out),
        Err(Broken::NotAnAnswer(_))
    ));
    assert!(reader.read("ping", "", &mut out).is_ok());
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let Err(Broken::Said(said)) = reader.read("error", error, &mut out) else {
        panic!();
    };
    assert_eq!(
        (said.status, said.message.as_str()),
        (Some(529), "Overloaded")
    );
    assert!(matches!(
        reader.read("error", "{}", &mut out),
        Err(Broken::Said(_))
    ));
}
