//! What callers make of answers.

use crate::event::{Delta, Event};
use crate::request::{Content, Request};
use crate::testing::envelope;
use crate::{Answer, chat, messages, responses, sse};
use serde_json::{Value, json};

/// The events of an answer.
fn events(answer: &Answer) -> Vec<Event> {
    let mut events = Vec::new();
    for (part, content) in answer.parts.iter().enumerate() {
        let mut push = |delta| events.push(Event::Delta { part, delta });
        match content.content.clone() {
            Content::Text(text) => push(Delta::Text(text)),
            Content::Reasoning(thought) => {
                if !thought.text.is_empty() {
                    push(Delta::Reasoning(thought.text));
                }
                if let Some(signature) = thought.signature {
                    push(match thought.redacted {
                        true => Delta::Redacted(signature),
                        false => Delta::Signature(signature),
                    });
                }
            }
            Content::ToolCall(call) => {
                push(Delta::ToolCall {
                    id: call.id,
                    name: call.name,
                    signature: call.signature,
                });
                push(Delta::Arguments(call.arguments));
            }
            other => panic!("{other:?}"),
        }
    }
    events.push(Event::Stop(answer.stop.clone()));
    events
}

/// The data of a stream's events.
fn data(bytes: &[u8]) -> Vec<Value> {
    let events = sse::Parser::default().push(bytes).unwrap();
    let data = events
        .iter()
        .filter_map(|event| serde_json::from_slice(&event.data).ok());
    data.collect()
}

/// What a caller sends after an answer that it got whole, and after one that it got as a stream, in each surface.
pub(super) fn next_requests(answer: &Answer) -> Vec<(&'static str, Request)> {
    let (mut chat_bytes, mut messages_bytes, mut responses_bytes) = (vec![], vec![], vec![]);
    let mut chat_writer = chat::Writer::new(envelope(), false);
    let mut messages_writer = messages::Writer::new(envelope());
    let mut responses_writer = responses::Writer::new(envelope());
    for event in events(answer) {
        chat_writer.write(&event, &mut chat_bytes);
        messages_writer.write(&event, &mut messages_bytes);
        responses_writer.write(&event, &mut responses_bytes);
    }
    chat_writer.end(&mut chat_bytes);
    messages_writer.end(&mut messages_bytes);
    responses_writer.end(&mut responses_bytes);
    let parse = |text: String| -> Value { serde_json::from_str(&text).unwrap() };
    let chats = [
        parse(chat::write_answer(answer, &envelope()))["choices"][0]["message"].clone(),
        joined_chunks(&data(&chat_bytes)),
    ];
    let contents = [
        parse(messages::write_answer(answer, &envelope()))["content"].clone(),
        joined_blocks(&data(&messages_bytes)),
    ];
    let outputs = [
        parse(responses::write_answer(answer, &envelope()))["output"].clone(),
        data(&responses_bytes).last().unwrap()["response"]["output"].clone(),
    ];
    let mut requests = Vec::new();
    for message in chats {
        let body = json!({"model": "pool", "messages": [{"role": "user", "content": "hi"}, message, {"role": "user", "content": "on"}]});
        requests.push((
            "chat",
            chat::read_request(body.to_string().as_bytes()).unwrap(),
        ));
    }
    for content in contents {
        let body = json!({"model": "pool", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}, {"role": "user", "content": "on"}]});
        requests.push((
            "messages",
            messages::read_request(body.to_string().as_bytes()).unwrap(),
        ));
    }
    for output in outputs {
        let mut input = vec![json!({"role": "user", "content": "hi"})];
        input.extend(output.as_array().unwrap().iter().cloned());
        input.push(json!({"role": "user", "content": "on"}));
        let body = json!({"model": "pool", "input": input});
        requests.push((
            "responses",
            responses::read_request(body.to_string().as_bytes()).unwrap(),
        ));
    }
    requests
}

/// A chat completion as a caller puts it together.
fn joined_chunks(chunks: &[Value]) -> Value {
    let mut content = String::new();
    let mut details = Vec::new();
    let mut calls: Vec<Value> = Vec::new();
    for delta in chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]) {
        content.push_str(delta["content"].as_str().unwrap_or_default());
        details.extend(
            delta["reasoning_details"]
                .as_array()
                .cloned()
                .unwrap_or_default(),
        );
        for call in delta["tool_calls"].as_array().cloned().unwrap_or_default() {
            match calls.get_mut(call["index"].as_u64().unwrap() as usize) {
                None => calls.push(call),
                Some(begun) => {
                    begun["function"]["arguments"] = call["function"]["arguments"].clone()
                }
            }
        }
    }
    json!({"role": "assistant", "content": content, "reasoning_details": details, "tool_calls": calls})
}

/// A message of Anthropic's as a caller puts it together.
fn joined_blocks(events: &[Value]) -> Value {
    let mut blocks: Vec<Value> = Vec::new();
    for event in events {
        let begun = &event["content_block"];
        if begun.is_object() {
            assert_eq!(event["index"], json!(blocks.len()));
            blocks.push(begun.clone());
        }
        for name in ["text", "thinking", "signature"] {
            if let (Some(more), Some(block)) = (event["delta"][name].as_str(), blocks.last_mut()) {
                let before = block[name].as_str().unwrap_or_default().to_owned();
                block[name] = json!(before + more);
            }
        }
    }
    json!(blocks)
}
