//! What comes from callers before they are known and from providers, bent in every way: nothing panics, nothing grows without bound, what comes out is
//! well-formed, and it does not matter where the bytes are cut. Bodies and streams begin as the dialects' fixtures and are edited by their structure.
//!
//! Each run of `cargo test` does the same few thousand cases, `make test` goes on with them for five minutes. `cargo xtask fuzz [TARGET] --for 5m` goes on with others for as long as it is told; a case that
//! fails is made as small as it can be and printed.

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
mod streams;

use oarmaster_dialect::chat::Flavour;
use oarmaster_gateway::provider::wire::Wire;
use oarmaster_gateway::request::Request;
use oarmaster_gateway::surface::Surface;
use oarmaster_protocol::text;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Seconds for each target, in place of some cases.
const SECONDS: &str = "OARMASTER_FUZZ";
/// A number that the cases follow from, the same ones for the same number.
const SEED: &str = "OARMASTER_FUZZ_SEED";

type Case = Result<(), TestCaseError>;

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

/// Puts a target to the test.
fn fuzz<S: Strategy>(cases: u32, inputs: &S, test: impl Fn(S::Value) -> Case) {
    let config = |cases, rng_seed| Config {
        cases,
        rng_seed,
        failure_persistence: None, // what was found becomes a test of its own
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let run = |config: Config| {
        let done = TestRunner::new(config).run(inputs, &test);
        done.unwrap_or_else(|error| panic!("{error}"));
    };
    let Ok(seconds) = std::env::var(SECONDS) else {
        return run(config(cases, RngSeed::Fixed(5)));
    };
    let until = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    let first: Option<u64> = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let mut done = 0_u64;
    while Instant::now() < until {
        let seed = first.map(|first| RngSeed::Fixed(first.wrapping_add(done)));
        run(config(256, seed.unwrap_or(RngSeed::Random)));
        done += 256;
    }
    println!("{done} cases");
}

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
