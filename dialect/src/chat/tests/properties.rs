use super::full_stream;
use crate::chat::{
    Flavour, Reader, Writer, adapt, read_answer, read_error, read_request, write_request,
};
use crate::json::Fields;
use crate::signature::{Signature, Signer};
use crate::testing::{arbitrary, check_order, envelope, fixture, joined, read_stream};
use crate::{Delta, Event, Stop};
use proptest::prelude::*;
use serde_json::Value;

const FLAVOURS: [Flavour; 6] = [
    Flavour::OpenAi,
    Flavour::Azure,
    Flavour::Mistral,
    Flavour::Groq,
    Flavour::OpenRouter,
    Flavour::Compatible,
];

fn events_of(bytes: &[u8], cut: usize) -> Vec<Event> {
    let mut reader = Reader::default();
    let (head, tail) = bytes.split_at(cut);
    let mut events =
        read_stream([head, tail], |name, data, out| reader.read(name, data, out)).unwrap();
    reader.end(&mut events);
    events
}

#[test]
fn where_a_stream_is_cut_does_not_matter() {
    for name in [
        "stream",
        "provider-openai",
        "provider-mistral",
        "provider-openrouter",
    ] {
        let stream = fixture(&format!("chat/{name}.sse"));
        let expected = events_of(stream.as_bytes(), 0);
        for cut in 0..stream.len() {
            assert_eq!(
                events_of(stream.as_bytes(), cut),
                expected,
                "{name} cut at {cut}"
            );
        }
    }
}

const WORDS: &[&str] = &[
    "model",
    "messages",
    "role",
    "user",
    "assistant",
    "tool",
    "content",
    "text",
    "type",
    "image_url",
    "url",
    "file",
    "file_data",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "index",
    "tools",
    "tool_choice",
    "choices",
    "delta",
    "message",
    "finish_reason",
    "stop",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "error",
    "reasoning_content",
    "reasoning_details",
    "reasoning.text",
    "reasoning.encrypted",
    "data",
    "signature",
    "thinking",
    "cache_control",
    "refusal",
    "[DONE]",
    "data:image/png;base64,AA==",
    "{}",
    "}",
];

fn read_all(text: &str) {
    drop(read_answer(text));
    drop(read_error(text));
    if let Ok(request) = read_request(text.as_bytes()) {
        for flavour in FLAVOURS {
            drop(write_request(&request, "m", flavour));
        }
    }
    if let Ok(fields) = Fields::parse(text.as_bytes()) {
        for flavour in FLAVOURS {
            let mut fields = fields.clone();
            adapt(&mut fields, flavour);
            assert!(Fields::parse(fields.to_json().as_bytes()).is_ok());
        }
    }
}

/// A delta with a text or a piece of a call, numbered and named or not.
fn call_piece() -> impl Strategy<Value = Value> {
    let some = |words: &'static [&'static str]| prop::option::of(prop::sample::select(words));
    let arguments = prop::sample::select(&["", "{", "}", "{}", "\"", "x", "}x"][..]);
    let index = prop::option::of(0..3u64);
    prop_oneof![
        "[a-z]{1,3}".prop_map(|text| serde_json::json!({"content": text})),
        (index, some(&["a", "b", "null"]), some(&["f", "g"]), arguments).prop_map(
            |(index, id, name, arguments)| {
                let function = serde_json::json!({"name": name, "arguments": arguments});
                serde_json::json!({"tool_calls": [{"index": index, "id": id, "function": function}]})
            }
        ),
    ]
}

/// Deltas of parts, in the order that readers keep, each part another kind than the one before it.
fn stream() -> impl Strategy<Value = Vec<Event>> {
    let text = || "[a-z\u{e9}\u{1f600}\"\\\\]{1,5}";
    let part = (0..5usize, text(), text(), text());
    prop::collection::vec(part, 0..6).prop_map(|parts| {
        let mut events = Vec::new();
        let mut last = None;
        let mut part = 0;
        let mut calls = 0;
        for (kind, a, b, c) in parts {
            // Calls come last in this dialect, and text that follows text is one part.
            let kind = if calls > 0 { 3 } else { kind };
            if last == Some(kind) && kind != 3 {
                continue;
            }
            last = Some(kind);
            let deltas = match kind {
                0 => vec![Delta::Text(a), Delta::Text(b)],
                1 => vec![Delta::Refusal(a), Delta::Refusal(b)],
                2 => vec![
                    Delta::Reasoning(a),
                    Delta::Reasoning(b),
                    Delta::Signature(Signature::new(Signer::Anthropic, c)),
                ],
                3 => {
                    calls += 1;
                    let id = format!("call_{calls}");
                    let arguments = format!("{{\"{calls}\":{}}}", Value::from(b));
                    let (head, tail) = arguments.split_at(2);
                    vec![
                        Delta::ToolCall {
                            id,
                            name: "f".to_owned(),
                            signature: None,
                        },
                        Delta::Arguments(head.to_owned()),
                        Delta::Arguments(tail.to_owned()),
                    ]
                }
                _ => vec![Delta::Redacted(Signature::new(Signer::Anthropic, a))],
            };
            events.extend(deltas.into_iter().map(|delta| Event::Delta { part, delta }));
            part += 1;
        }
        let stop = if calls > 0 {
            Stop::ToolCalls
        } else {
            Stop::Length
        };
        events.push(Event::Stop(stop));
        events
    })
}

proptest! {
    #[test]
    fn nothing_makes_a_reader_panic(value in arbitrary(WORDS), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        read_all(&value.to_string());
        drop(read_request(&bytes));
        read_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_chunks_keep_the_order(values in prop::collection::vec(arbitrary(WORDS), 0..8)) {
        let mut reader = Reader::default();
        let mut out = Vec::new();
        for (position, delta) in values.into_iter().enumerate() {
            let id = (position % 2 == 1).then_some("x");
            let chunk = serde_json::json!({"id": id, "choices": [{"index": 0, "delta": delta}], "usage": delta});
            if reader.read("", &chunk.to_string(), &mut out).is_err() {
                break;
            }
        }
        reader.end(&mut out);
        check_order(&out);
    }

    #[test]
    fn calls_in_any_pieces_keep_the_order(pieces in prop::collection::vec(call_piece(), 0..16)) {
        let mut reader = Reader::default();
        let mut out = Vec::new();
        let mut whole = true;
        for delta in &pieces {
            let chunk = serde_json::json!({"choices": [{"index": 0, "delta": delta}]});
            whole &= reader.read("", &chunk.to_string(), &mut out).is_ok();
            if !whole {
                break;
            }
        }
        reader.end(&mut out);
        check_order(&out);
        if whole {
            // Nothing is lost: every text, and every argument.
            let length = |event: &Event| match event {
                Event::Delta { delta: Delta::Text(text) | Delta::Arguments(text), .. } => text.len(),
                _ => 0,
            };
            let sent = |delta: &Value| {
                let text = |pointer| delta.pointer(pointer).and_then(Value::as_str).map_or(0, str::len);
                text("/content") + text("/tool_calls/0/function/arguments")
            };
            let sent: usize = pieces.iter().map(sent).sum();
            prop_assert_eq!(out.iter().map(length).sum::<usize>(), sent);
        }
    }

    #[test]
    fn streams_are_read_back(events in stream()) {
        let mut writer = Writer::new(envelope(), true);
        let mut out = Vec::new();
        for event in &events {
            writer.write(event, &mut out);
        }
        writer.end(&mut out);
        let mut read = joined(events_of(&out, 0));
        if matches!(read.first(), Some(Event::Start { .. })) {
            read.remove(0);
        }
        prop_assert_eq!(read, joined(events));
    }

    #[test]
    fn pieces_may_come_in_any_sizes(cuts in prop::collection::vec(0..2000usize, 0..9)) {
        let mut writer = Writer::new(envelope(), true);
        let mut bytes = Vec::new();
        for event in full_stream() {
            writer.write(&event, &mut bytes);
        }
        writer.end(&mut bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        let mut reader = Reader::default();
        let mut events = read_stream(pieces, |name, data, out| reader.read(name, data, out)).unwrap();
        reader.end(&mut events);
        prop_assert_eq!(events, events_of(&bytes, 0));
    }
}
