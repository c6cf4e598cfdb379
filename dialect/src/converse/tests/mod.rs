//! Fixtures are in `fixtures/converse`: what Bedrock sends is written by hand, what we write is compared with what is produced.
//! `sdk/converse.py` holds all of them against botocore, also the frames that are encoded here.

mod answer;
mod frames;
mod hostile;
mod request;
mod stream;

pub(crate) use crate::messages::tests::upstream;
pub(crate) use crate::testing::{check_fixture, check_order, fixture};

/// The stream's events: type and payload.
fn provider_stream() -> Vec<(String, String)> {
    let text = fixture("converse/provider-stream.json");
    let events: Vec<(String, Box<serde_json::value::RawValue>)> =
        serde_json::from_str(&text).unwrap();
    events
        .into_iter()
        .map(|(name, payload)| (name, payload.get().to_owned()))
        .collect()
}

/// Headers of text.
fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend(name.bytes());
        head.push(7);
        head.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        head.extend(value.bytes());
    }
    encode_raw(&head, payload)
}

fn encode_raw(head: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
    let mut frame = length(16 + head.len() + payload.len()).to_vec();
    frame.extend(length(head.len()));
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(head);
    frame.extend(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [
        (":event-type", name),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    encode(&headers, payload.as_bytes())
}

fn exception(name: &str, payload: &str) -> Vec<u8> {
    let headers = [
        (":exception-type", name),
        (":content-type", "application/json"),
        (":message-type", "exception"),
    ];
    encode(&headers, payload.as_bytes())
}

/// The provider's stream as frames.
fn provider_frames() -> Vec<u8> {
    provider_stream()
        .iter()
        .flat_map(|(name, payload)| event(name, payload))
        .collect()
}
