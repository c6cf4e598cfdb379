use super::*;
use crate::answer::{Answer, Stop, Usage};
use crate::event::Delta;
use crate::messages::{
    Reader, Writer, read_answer, read_count, read_error, read_request, write_answer, write_request,
};
use crate::request::{Content, Part, Thought, ToolCall};
use crate::signature::{Signature, Signer};
use crate::testing::arbitrary;
use proptest::prelude::*;
use serde_json::Value;

const WORDS: &[&str] = &[
    "type",
    "text",
    "model",
    "max_tokens",
    "messages",
    "role",
    "user",
    "assistant",
    "content",
    "system",
    "tools",
    "name",
    "input_schema",
    "tool_choice",
    "thinking",
    "enabled",
    "budget_tokens",
    "tool_use",
    "tool_result",
    "tool_use_id",
    "id",
    "input",
    "signature",
    "redacted_thinking",
    "data",
    "image",
    "document",
    "source",
    "base64",
    "media_type",
    "url",
    "usage",
    "input_tokens",
    "output_tokens",
    "cache_creation",
    "stop_reason",
    "error",
    "message",
    "message_start",
    "message_delta",
    "message_stop",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "index",
    "delta",
    "content_block",
    "text_delta",
    "input_json_delta",
    "partial_json",
    "cache_control",
    "output_config",
    "format",
    "json_schema",
    "schema",
];

pub(crate) const MODELS: &[&str] = &["text", "tool_use", "thinking", "redacted_thinking"];
pub(crate) const USERS: &[&str] = &["text", "tool_result", "image"];

/// Blocks that one may send.
pub(crate) fn blocks(kinds: &'static [&'static str]) -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(block(kinds), 0..3)
}

fn block(kinds: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let text = proptest::sample::select(&["", " ", "x", "a.b", "gAAAAA", "QQ=="][..]);
    (proptest::sample::select(kinds), text, arbitrary(WORDS)).prop_map(|(kind, text, any)| {
        serde_json::json!({
            "type": kind, "text": text, "id": text, "tool_use_id": text, "name": "f", "input": {"x": any}, "thinking": text,
            "signature": text, "data": text, "cache_control": {"type": "ephemeral"},
            "source": {"type": "base64", "media_type": "image/png", "data": text},
        })
    })
}

fn part() -> impl Strategy<Value = Part> {
    let text = "[^\0]{1,8}";
    prop_oneof![
        text.prop_map(Content::Text),
        (text, proptest::option::of("[a-z]{1,4}")).prop_map(|(text, signature)| {
            Content::Reasoning(Thought {
                text,
                signature: signature.map(|value| Signature::new(Signer::Anthropic, value)),
                ..Thought::default()
            })
        }),
        "[a-z]{1,4}".prop_map(|data| Content::Reasoning(Thought {
            signature: Some(Signature::new(Signer::Anthropic, data)),
            redacted: true,
            ..Thought::default()
        })),
        ("[a-z]{1,4}", "[a-z]{1,4}", arbitrary(WORDS)).prop_map(|(id, name, input)| {
            Content::ToolCall(ToolCall {
                id,
                name,
                arguments: serde_json::json!({ "x": input }).to_string(),
                signature: None,
            })
        }),
    ]
    .prop_map(Part::from)
}

fn usage() -> impl Strategy<Value = Usage> {
    let count = 0..100_000_000u64;
    (
        count.clone(),
        count.clone(),
        count.clone(),
        count.clone(),
        count,
    )
        .prop_map(
            |(input, cache_read, cache_write, cache_write_hour, output)| Usage {
                input,
                cache_read,
                cache_write,
                cache_write_hour,
                output,
                reasoning: output / 2,
                ..Usage::default()
            },
        )
}

/// An answer as a stream, each text in two pieces.
fn stream(answer: &Answer) -> Vec<Event> {
    let mut events = vec![Event::Start {
        id: answer.id.clone(),
        model: answer.model.clone(),
    }];
    for (part, content) in answer.parts.iter().enumerate() {
        let mut push = |delta| events.push(Event::Delta { part, delta });
        match &content.content {
            Content::Text(text) => push(Delta::Text(text.clone())),
            Content::Reasoning(thought) if thought.redacted => {
                push(Delta::Redacted(thought.signature.clone().unwrap()));
            }
            Content::Reasoning(thought) => {
                push(Delta::Reasoning(thought.text.clone()));
                if let Some(signature) = &thought.signature {
                    push(Delta::Signature(signature.clone()));
                }
            }
            Content::ToolCall(call) => {
                push(Delta::ToolCall {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    signature: None,
                });
                push(Delta::Arguments(call.arguments.clone()));
            }
            other => panic!("{other:?}"),
        }
    }
    events.extend(answer.usage.clone().map(Event::Usage));
    events.push(Event::Stop(answer.stop.clone()));
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_json_is_read(values in proptest::collection::vec(arbitrary(WORDS), 1..6)) {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for value in &values {
            let text = value.to_string();
            if let Ok(request) = read_request(text.as_bytes()) {
                let _ = write_request(&request, "claude-opus-4-5", 4096);
            }
            let _ = (read_answer(&text), read_error(&text), read_count(&text), reader.read("", &text, &mut out));
        }
        reader.end(&mut out);
        check_order(&out);
    }

    #[test]
    fn any_message_is_read_and_written(model in blocks(MODELS), user in blocks(USERS), later in blocks(MODELS), name in "claude-(opus|fable)-[3-6](-[0-9])?") {
        let body = serde_json::json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "assistant", "content": model},
            {"role": "user", "content": user}, {"role": "assistant", "content": later}]});
        let request = read_request(body.to_string().as_bytes()).unwrap();
        let written = write_request(&request, &name, 4096).unwrap();
        prop_assert!(read_request(written.body.as_bytes()).is_ok());
        super::upstream::check_turns(&written.body);
    }

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = read_request(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = (read_answer(&text), read_error(&text), read_count(&text), Reader::default().read("error", &text, &mut Vec::new()));
        let _ = read_stream(&bytes, 7);
    }

    #[test]
    fn answers_and_streams_are_read_back(parts in proptest::collection::vec(part(), 0..6), usage in usage(), piece in 1..40usize) {
        let answer = Answer { id: Some("msg_01J9".to_owned()), model: Some("claude".to_owned()), parts, stop: Stop::End, usage: Some(usage) };
        let mut read = read_answer(&write_answer(&answer, &envelope())).unwrap();
        let tier = read.usage.as_mut().map(|usage| usage.tier.take());
        prop_assert_eq!(tier, Some(None));
        prop_assert_eq!(&read, &answer);
        let (mut writer, mut bytes) = (Writer::new(envelope()), Vec::new());
        let events = stream(&answer);
        for event in &events {
            writer.write(event, &mut bytes);
        }
        writer.end(&mut bytes);
        prop_assert_eq!(read_stream(&bytes, piece), (events, None));
    }
}
