//! Tests of streams without a server.

use super::AnswerStream;
use crate::error::ApiFailure;
use crate::provider::Asked;
use crate::provider::client::made;
use crate::provider::failure::Failure;
use crate::provider::http::Stream;
use crate::provider::wire::{Sent, Wire};
use crate::request::Request;
use crate::surface::{Surface, frame};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use oarmaster_dialect::Written;
use oarmaster_dialect::chat::Flavour;
use oarmaster_dialect::converse::frames::Frame;
use oarmaster_dialect::sse::Parser;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;

const CHAT: &str = include_str!("../../../../dialect/fixtures/chat/provider-openai.sse");
const MESSAGES: &str = include_str!("../../../../dialect/fixtures/messages/provider-stream.sse");
const RESPONSES: &str = include_str!("../../../../dialect/fixtures/responses/provider-openai.sse");
const GEMINI: &str = include_str!("../../../../dialect/fixtures/gemini/stream-tools.sse");
const COHERE: &str = include_str!("../../../../dialect/fixtures/cohere/stream-tools.sse");

const WIRES: [(Wire, &str); 5] = [
    (Wire::Chat(Flavour::OpenAi), CHAT),
    (Wire::Responses { thinks: true }, RESPONSES),
    (Wire::Messages, MESSAGES),
    (Wire::Gemini, GEMINI),
    (Wire::Cohere, COHERE),
];
const SURFACES: [Surface; 3] = [Surface::Chat, Surface::Responses, Surface::Messages];

fn frames(text: &str) -> Vec<Frame> {
    let events = Parser::default().push(text.as_bytes()).unwrap();
    events.into_iter().map(Frame::from).collect()
}

fn request(surface: Surface) -> Request {
    let body = match surface {
        Surface::Responses => json!({"model": "p", "input": "hi", "stream": true}),
        _ => json!({
            "model": "p", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "stream": true,
            "stream_options": {"include_usage": true},
        }),
    };
    let mut request = Request::parse(surface, body.to_string().as_bytes()).unwrap();
    request.id = "7f-1".to_owned();
    request
}

/// What a caller was sent.
#[derive(Debug)]
struct Heard {
    /// Before the end, as it was framed.
    text: String,
    /// How many pieces came before the first with content in it.
    before_content: Option<usize>,
    last: String,
    failure: Option<Failure>,
    output: Option<u64>,
}

fn hear(surface: Surface, wire: Wire, frames: Vec<Frame>) -> Heard {
    let request = request(surface);
    let asked = Asked {
        request: &request,
        sent: &Sent::one(wire, Written::default()),
        model: "m",
        key: None,
    };
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|event| frame(&event.name, &event.payload))
        .collect();
    let body = Full::<Bytes>::from(bytes).map_err(|never| match never {});
    let response = http::Response::new(made(body));
    let source = Stream::new(response, wire, Duration::from_secs(60));
    let mut stream = AnswerStream::new(&asked, source);
    let mut text = Vec::new();
    let mut pieces = 0;
    let mut before_content = None;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let failure = loop {
        let next = runtime.block_on(stream.next());
        match next {
            Ok(Some(piece)) => {
                if piece.content {
                    before_content.get_or_insert(pieces);
                }
                pieces += 1;
                text.extend(piece.bytes);
            }
            Ok(None) => break None,
            Err(failure) => break Some(failure),
        }
    };
    let last = match &failure {
        None => stream.end(),
        Some(failure) => stream.fail(&ApiFailure::invalid(failure.message.clone()), "7f-1"),
    };
    Heard {
        text: String::from_utf8(text).unwrap(),
        before_content,
        last: String::from_utf8(last).unwrap(),
        output: stream.usage().map(|usage| usage.output),
        failure,
    }
}

fn last_event(heard: &Heard) -> Frame {
    frames(&heard.last).pop().unwrap()
}

#[test]
fn a_stream_of_the_callers_own_dialect_keeps_its_events() {
    for (surface, (wire, text)) in SURFACES.into_iter().zip(WIRES) {
        let heard = hear(surface, wire, frames(text));
        assert_eq!(heard.failure, None, "{surface:?}");
        // The fixtures are framed as we frame.
        assert_eq!(heard.text + &heard.last, text, "{surface:?}");
        assert!(heard.output.is_some_and(|output| output > 0), "{surface:?}");
        assert!(heard.before_content.is_some_and(|before| before > 0));
    }
}

#[test]
fn every_answer_ends_with_the_terminal_event_of_the_callers_dialect_and_usage() {
    for surface in SURFACES {
        for (wire, text) in WIRES {
            let heard = hear(surface, wire, frames(text));
            assert_eq!(heard.failure, None, "{surface:?} {wire:?}");
            let last = last_event(&heard);
            let data = String::from_utf8(last.payload).unwrap();
            let whole = format!("{}{}", heard.text, heard.last);
            match surface {
                Surface::Responses => {
                    let end: Value = serde_json::from_str(&data).unwrap();
                    assert_eq!(last.name, "response.completed", "{wire:?}");
                    let counted = &end["response"]["usage"]["output_tokens"];
                    assert_eq!(counted.as_u64(), heard.output, "{wire:?}");
                }
                Surface::Messages => {
                    assert_eq!(last.name, "message_stop", "{wire:?}");
                    assert!(whole.contains("event: message_delta\n"), "{wire:?}");
                }
                _ => {
                    assert_eq!(data, "[DONE]", "{wire:?}");
                    assert!(whole.contains("\"completion_tokens\""), "{wire:?}");
                }
            }
            assert!(heard.output.is_some(), "{surface:?} {wire:?}");
        }
    }
}

#[test]
fn a_failure_is_an_error_event_of_the_callers_dialect() {
    for surface in SURFACES {
        for (wire, text) in WIRES {
            let mut cut = frames(text);
            cut.truncate(cut.len() / 2);
            let heard = hear(surface, wire, cut);
            let message = heard.failure.as_ref().unwrap().message.clone();
            assert_eq!(message, "the stream ended before the answer did");
            let last = last_event(&heard);
            let data: Value = serde_json::from_slice(&last.payload).unwrap();
            let told = match (surface, surface.is(wire)) {
                (Surface::Responses, true) => {
                    // It goes on counting where the provider stopped.
                    let passed = frames(&heard.text).len();
                    assert_eq!(data["sequence_number"], passed, "{data}");
                    assert_eq!(last.name, "error");
                    &data["message"]
                }
                (Surface::Responses, false) => {
                    assert_eq!(last.name, "response.failed");
                    &data["response"]["error"]["message"]
                }
                _ => {
                    assert_eq!(last.name, "error");
                    &data["error"]["message"]
                }
            };
            assert!(
                told.as_str().unwrap().ends_with(&message),
                "{surface:?} {wire:?}: {data}"
            );
            if surface == Surface::Messages {
                assert_eq!(data["type"], "error");
                assert_eq!(data["request_id"], "req_7f-1");
            }
            assert_eq!(
                heard.output, None,
                "what was counted so far is not all: {surface:?} {wire:?}"
            );
        }
    }
}

#[test]
fn an_error_of_the_provider_within_the_stream_is_one_to_the_caller() {
    let event = |name: &str, data: Value| Frame {
        name: name.to_owned(),
        payload: data.to_string().into_bytes(),
        ..Frame::default()
    };
    let overloaded = json!({"type": "overloaded_error", "message": "busy"});
    for (wire, text, error) in [
        (WIRES[0].0, CHAT, event("", json!({"error": overloaded}))),
        (
            WIRES[1].0,
            RESPONSES,
            event(
                "response.failed",
                json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "busy"}}}),
            ),
        ),
        (
            WIRES[2].0,
            MESSAGES,
            event("error", json!({"type": "error", "error": overloaded})),
        ),
    ] {
        for surface in SURFACES {
            let mut broken = frames(text);
            broken.truncate(6);
            broken.push(error.clone());
            let heard = hear(surface, wire, broken);
            assert!(
                heard.failure.unwrap().message.contains("busy"),
                "{surface:?} {wire:?}"
            );
            assert!(heard.last.contains("busy") && !heard.text.contains("busy"));
        }
    }
}

#[test]
fn beginnings_commit_nothing() {
    let start = &frames(MESSAGES)[..3];
    let server_tool = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}});
    let mut events = start.to_vec();
    assert_eq!(
        hear(Surface::Messages, Wire::Messages, events.clone()).before_content,
        None
    );
    // What a tool of the vendor does is seen, though no other dialect has a word for it.
    events.push(Frame {
        name: "content_block_delta".to_owned(),
        payload: server_tool.to_string().into_bytes(),
        ..Frame::default()
    });
    assert_eq!(
        hear(Surface::Messages, Wire::Messages, events).before_content,
        Some(3)
    );
    let responses = Wire::Responses { thinks: true };
    let events = frames(RESPONSES);
    assert_eq!(
        hear(Surface::Responses, responses, events[..4].to_vec()).before_content,
        None
    );
    assert_eq!(
        hear(Surface::Responses, responses, events[..5].to_vec()).before_content,
        Some(4)
    );
}

proptest! {
    /// Wherever a stream is cut, it never ends cleanly and nothing is taken for its usage.
    #[test]
    fn a_cut_stream_never_ends_cleanly(surface in 0usize..3, wire in 0usize..5, part in 0.0f64..1.0) {
        let (surface, (wire, text)) = (SURFACES[surface], WIRES[wire]);
        let whole = frames(text);
        let mut cut = whole.clone();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a place in a list
        cut.truncate((whole.len() as f64 * part) as usize);
        let heard = hear(surface, wire, cut.clone());
        match &heard.failure {
            Some(_) => {
                prop_assert!(!heard.text.contains("[DONE]") && !heard.text.contains("message_stop"));
                prop_assert!(heard.last.contains("rror"), "{}", heard.last);
            }
            // Only what followed the end is missing: `[DONE]`, or usage of chat completions.
            None => {
                let rest = whole.len() - cut.len();
                prop_assert!(rest <= 3 && matches!(wire, Wire::Chat(_) | Wire::Gemini), "{rest} of {wire:?}");
            }
        }
    }
}

#[test]
fn an_event_without_data_is_not_handed_on() {
    for (surface, (wire, text), name) in [
        (Surface::Responses, WIRES[1], ""),
        (Surface::Responses, WIRES[1], "ping"),
        (Surface::Messages, WIRES[2], "ping"),
    ] {
        let plain = hear(surface, wire, frames(text));
        let mut all = frames(text);
        let nothing = Frame {
            name: name.to_owned(),
            ..Frame::default()
        };
        all.insert(1, nothing);
        let heard = hear(surface, wire, all);
        assert!(heard.failure.is_none(), "{name}: {:?}", heard.failure);
        assert_eq!((heard.text, heard.last), (plain.text, plain.last), "{name}");
    }
}
