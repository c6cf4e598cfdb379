use crate::responses::{Reader, Writer, read_answer, read_error, read_request, write_request};
use crate::signature::{Signature, Signer};
use crate::testing::{arbitrary, check_order, envelope, fixture, joined, read_stream};
use crate::{Delta, Event, Stop};
use proptest::prelude::*;

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
    for name in ["stream-empty", "provider-openai"] {
        let stream = fixture(&format!("responses/{name}.sse"));
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
    "input",
    "role",
    "user",
    "assistant",
    "content",
    "text",
    "type",
    "message",
    "input_text",
    "output_text",
    "refusal",
    "input_image",
    "image_url",
    "input_file",
    "file_data",
    "reasoning",
    "summary",
    "encrypted_content",
    "function_call",
    "function_call_output",
    "call_id",
    "output",
    "name",
    "arguments",
    "id",
    "tools",
    "function",
    "tool_choice",
    "status",
    "incomplete",
    "usage",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "error",
    "item",
    "delta",
    "output_index",
    "content_index",
    "summary_index",
    "response",
    "redacted:x",
];

const KINDS: [&str; 11] = [
    "response.created",
    "response.output_item.added",
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
    "response.incomplete",
];

fn read_all(text: &str) {
    drop(read_answer(text));
    drop(read_error(text));
    if let Ok(request) = read_request(text.as_bytes()) {
        drop(write_request(&request, "m"));
    }
}

/// Deltas of parts, in the order that readers keep.
fn stream() -> impl Strategy<Value = Vec<Event>> {
    let text = || "[a-z\u{e9}\u{1f600}\"\\\\]{1,5}";
    let part = (0..5usize, text(), text(), text());
    prop::collection::vec(part, 0..7).prop_map(|parts| {
        let mut events = Vec::new();
        let (mut calls, mut refused) = (0, false);
        for (part, (kind, a, b, c)) in parts.into_iter().enumerate() {
            let deltas = match kind {
                0 => vec![Delta::Text(a), Delta::Text(b)],
                1 => {
                    refused = true;
                    vec![Delta::Refusal(a), Delta::Refusal(b)]
                }
                2 => vec![
                    Delta::Reasoning(a),
                    Delta::Reasoning(b),
                    Delta::Signature(Signature::new(Signer::OpenAi, c)),
                ],
                3 => {
                    calls += 1;
                    let id = format!("call_{calls}");
                    vec![
                        Delta::ToolCall {
                            id,
                            name: "f".to_owned(),
                            signature: None,
                        },
                        Delta::Arguments(a),
                        Delta::Arguments(b),
                    ]
                }
                _ => vec![Delta::Signature(Signature::new(Signer::OpenAi, a))],
            };
            events.extend(deltas.into_iter().map(|delta| Event::Delta { part, delta }));
        }
        let stop = match (calls, refused) {
            (0, false) => Stop::End,
            (0, true) => Stop::Refusal,
            _ => Stop::ToolCalls,
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
    fn any_input_is_read_or_refused(input in arbitrary(WORDS)) {
        read_all(&serde_json::json!({"model": "m", "input": [input]}).to_string());
        read_all(&serde_json::json!({"output": [input], "usage": input}).to_string());
    }

    #[test]
    fn any_events_keep_the_order(events in prop::collection::vec((prop::sample::select(&KINDS[..]), 0..3u64, arbitrary(WORDS), "[a-z]{0,3}"), 0..12)) {
        let mut reader = Reader::default();
        let mut out = Vec::new();
        for (kind, index, value, text) in events {
            let kinds = ["message", "reasoning", "function_call"];
            let item = serde_json::json!({"type": kinds[index as usize], "content": value, "summary": value,
                "encrypted_content": text, "name": text, "call_id": text, "arguments": text});
            let event = serde_json::json!({"output_index": index, "content_index": text.len(), "delta": text, "item": item,
                "response": {"id": "x", "output": [item], "usage": value}});
            if reader.read(kind, &event.to_string(), &mut out).is_err() {
                break;
            }
        }
        reader.end(&mut out);
        check_order(&out);
    }

    #[test]
    fn streams_are_read_back(events in stream()) {
        let mut writer = Writer::new(envelope());
        let mut out = Vec::new();
        for event in &events {
            writer.write(event, &mut out);
        }
        writer.end(&mut out);
        let mut read = joined(events_of(&out, 0));
        let begins = matches!(read.remove(0), Event::Start { .. });
        prop_assert!(begins);
        prop_assert_eq!(read, joined(events));
    }
}
