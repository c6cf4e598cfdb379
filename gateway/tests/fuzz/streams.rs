//! Streams: what each surface makes of what each provider says, cut anywhere.

use crate::answers::own;
use crate::edits::{Edit, cuts, edited, edits, pieces, slipped, slips};
use crate::{Case, SURFACES, corpus, fuzz, json_of, request};
use bytes::Bytes;
use http_body_util::StreamBody;
use oarmaster_dialect::converse::frames::Frame;
use oarmaster_dialect::sse::Parser;
use oarmaster_dialect::{Delta, Event, Written};
use oarmaster_gateway::error::ApiFailure;
use oarmaster_gateway::provider::Asked;
use oarmaster_gateway::provider::client::made;
use oarmaster_gateway::provider::framing::Framing;
use oarmaster_gateway::provider::http::Stream;
use oarmaster_gateway::provider::stream::AnswerStream;
use oarmaster_gateway::provider::wire::{Sent, Wire};
use oarmaster_gateway::surface::{Surface, frame};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// When an answer says that it was made.
static CREATED: LazyLock<regex::Regex> =
    LazyLock::new(|| regex::Regex::new(r#""created(_at)?":[0-9]+"#).unwrap());

/// An edit of the events of a stream: which, and what becomes of it.
#[derive(Clone, Debug)]
enum Turn {
    Remove,
    Repeat(u8),
    Move(u32),
    Say(Vec<Edit>),
    Name(&'static str),
}

fn turns() -> impl Strategy<Value = Vec<(u32, Turn)>> {
    let names = &[
        "",
        "error",
        "message_stop",
        "message_start",
        "content_block_delta",
        "response.completed",
        "ping",
    ][..];
    let turn = prop_oneof![
        2 => Just(Turn::Remove),
        2 => (1..4_u8).prop_map(Turn::Repeat),
        2 => any::<u32>().prop_map(Turn::Move),
        5 => edits().prop_map(Turn::Say),
        1 => select(names).prop_map(Turn::Name),
    ];
    prop::collection::vec((any::<u32>(), turn), 0..5)
}

/// The bytes of a stream of server-sent events after some turns; other bytes stay what they are.
fn turned(wire: Wire, bytes: Vec<u8>, turns: &[(u32, Turn)]) -> Vec<u8> {
    if wire == Wire::Converse {
        return bytes;
    }
    let mut events = Parser::default().push(&bytes).unwrap();
    for (at, turn) in turns {
        if events.is_empty() {
            break;
        }
        let at = *at as usize % events.len();
        match turn {
            Turn::Remove => drop(events.remove(at)),
            Turn::Repeat(times) => {
                for _ in 0..*times {
                    events.insert(at, events[at].clone());
                }
            }
            Turn::Move(to) => {
                let event = events.remove(at);
                events.insert(*to as usize % (events.len() + 1), event);
            }
            Turn::Say(edits) => events[at].data = edited(&events[at].data, edits),
            Turn::Name(name) => (*name).clone_into(&mut events[at].name),
        }
    }
    let events = events.iter();
    events
        .flat_map(|event| frame(&event.name, &event.data))
        .collect()
}

/// What a caller hears.
struct Heard {
    bytes: Vec<u8>,
    failure: Option<String>,
    output: Option<u64>,
}

fn hear(runtime: &Runtime, surface: Surface, wire: Wire, pieces: &[&[u8]]) -> Heard {
    let request = request(surface, true);
    let asked = Asked {
        request: &request,
        sent: &Sent::one(wire, Written::default()),
        model: "m",
        key: None,
    };
    let frame = |piece: &&[u8]| Ok(http_body::Frame::data(Bytes::copy_from_slice(piece)));
    let frames: Vec<_> = pieces.iter().map(frame).collect();
    let body = StreamBody::new(futures::stream::iter(frames));
    let response = http::Response::new(made(body));
    let source = Stream::new(response, wire, Duration::from_secs(60));
    let mut stream = AnswerStream::new(&asked, source);
    let mut bytes = Vec::new();
    let failure = runtime.block_on(async {
        loop {
            match stream.next().await {
                Ok(Some(piece)) => bytes.extend(piece.bytes),
                Ok(None) => return None,
                Err(failure) => return Some(failure.message),
            }
        }
    });
    let output = stream.usage().map(|usage| usage.output);
    assert!(stream.usage().is_none_or(|usage| usage.is_credible()));
    bytes.extend(match &failure {
        None => stream.end(),
        Some(message) => stream.fail(&ApiFailure::invalid(message.clone()), "7f-1"),
    });
    Heard {
        bytes,
        failure,
        output,
    }
}

impl Heard {
    /// What does not differ between two seconds.
    fn timeless(&self) -> (String, &Option<String>, Option<u64>) {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = CREATED.replace_all(&text, "").into_owned();
        (text, &self.failure, self.output)
    }
}

/// How an event ends a stream, if it does: well or not.
fn end(surface: Surface, event: &Frame, value: Option<&Value>) -> Option<bool> {
    let kind = value.and_then(|value| value["type"].as_str());
    let kind = kind.unwrap_or(&event.name);
    match surface {
        Surface::Chat if event.payload == b"[DONE]" => Some(true),
        Surface::Chat => value
            .is_some_and(|value| value.get("error").is_some_and(|error| !error.is_null()))
            .then_some(false),
        Surface::Responses => match kind {
            "response.completed" | "response.incomplete" => Some(true),
            "response.failed" | "error" => Some(false),
            _ => None,
        },
        _ => match kind {
            "message_stop" => Some(true),
            "error" => Some(false),
            _ => None,
        },
    }
}

/// The text and the arguments that a reader finds in a stream, up to where the answer is complete: there it has ended and was counted.
fn read(wire: Wire, bytes: &[u8]) -> (String, String) {
    let (mut reader, mut events) = (wire.reader(), Vec::new());
    let has = |events: &[Event], kind: fn(&Event) -> bool| events.iter().any(kind);
    for event in Framing::of(wire).push(bytes).unwrap_or_default() {
        let is_complete = has(&events, |event| matches!(event, Event::Stop(_)))
            && has(&events, |event| matches!(event, Event::Usage(_)));
        if is_complete || reader.read(&event, &mut events).is_err() {
            break;
        }
    }
    reader.end(&mut events);
    let (mut said, mut arguments) = (String::new(), String::new());
    for event in events {
        if let Event::Delta { delta, .. } = event {
            match delta {
                Delta::Text(text) | Delta::Refusal(text) => said.push_str(&text),
                Delta::Arguments(text) => arguments.push_str(&text),
                _ => {}
            }
        }
    }
    (said, arguments)
}

#[test]
fn streams() {
    let inputs = (
        select(corpus::of_wires(corpus::streams)),
        turns(),
        slips(),
        cuts(),
        select(&SURFACES[..]),
    );
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    fuzz(
        2500,
        &inputs,
        |((wire, bytes), turns, slips, cuts, surface)| -> Case {
            let bytes = slipped(turned(wire, bytes.0, &turns), &slips);
            let heard = hear(&runtime, surface, wire, &[&bytes]);
            let cut = hear(&runtime, surface, wire, &pieces(&bytes, &cuts));
            prop_assert_eq!(heard.timeless(), cut.timeless());
            let most = bytes.len() * 48 + (64 << 10);
            prop_assert!(
                heard.bytes.len() <= most,
                "{} of {}",
                heard.bytes.len(),
                bytes.len()
            );
            let mut ends = Vec::new();
            let events: Vec<Frame> = Parser::default()
                .push(&heard.bytes)
                .unwrap()
                .into_iter()
                .map(Frame::from)
                .collect();
            for (at, event) in events.iter().enumerate() {
                let is_done = event.payload == b"[DONE]";
                let value = if is_done {
                    None
                } else {
                    json_of(&event.payload)?
                };
                ends.extend(
                    end(surface, event, value.as_ref()).map(|well| (at + 1 == events.len(), well)),
                );
            }
            // One end, at the end, and a good one only of a good stream.
            let well = heard.failure.is_none();
            prop_assert_eq!(
                &ends,
                &vec![(true, well)],
                "{:?} {}",
                &heard.failure,
                String::from_utf8_lossy(&heard.bytes)
            );
            if well && !surface.is(wire) {
                let (sent, told) = (read(wire, &bytes), read(own(surface), &heard.bytes));
                prop_assert_eq!(sent, told);
            }
            Ok(())
        },
    );
}
