//! What comes from callers before they are known and from providers, bent in every way: nothing panics, nothing grows without bound, what comes out is
//! well-formed, and it does not matter where the bytes are cut. Bodies and streams begin as the dialects' fixtures and are edited by their structure.
//!
//! `run.rs` says how often.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // a helper of tests is a test

mod answers;
mod callers;
mod corpus;
mod edits;
mod errors;
mod framing;
mod run;
mod streams;

use oarmaster_dialect::chat::Flavour;
use oarmaster_gateway::provider::wire::Wire;
use oarmaster_gateway::request::Request;
use oarmaster_gateway::surface::Surface;
use oarmaster_protocol::text;
use proptest::test_runner::TestCaseError;
use run::{Case, fuzz};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Everything that a provider speaks, but for embeddings.
const WIRES: [Wire; 7] = [
    Wire::Chat(Flavour::OpenAi),
    Wire::Chat(Flavour::Compatible),
    Wire::Responses { thinks: true },
    Wire::Messages,
    Wire::Gemini,
    Wire::Cohere,
    Wire::Converse,
];

/// What answers are written for.
const SURFACES: [Surface; 3] = [Surface::Chat, Surface::Responses, Surface::Messages];

/// JSON as it is sent, for us to look at: nothing where it is nested so deeply that it can only be passed on.
fn json_of(bytes: &[u8]) -> Result<Option<Value>, TestCaseError> {
    let text = text::json(bytes).text;
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&text) {
        return Err(TestCaseError::fail(format!("{error}: {text}")));
    }
    Ok(serde_json::from_str(&text).ok())
}

/// A request on a surface for an answer or a stream of it.
fn request(surface: Surface, stream: bool) -> Request {
    let body = match surface {
        Surface::Responses => json!({"model": "p", "input": "hi", "stream": stream}),
        _ => json!({
            "model": "p", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "stream": stream,
            "stream_options": {"include_usage": true},
        }),
    };
    let mut request = Request::parse(surface, body.to_string().as_bytes()).unwrap();
    request.id = "7f-1".to_owned();
    request
}
