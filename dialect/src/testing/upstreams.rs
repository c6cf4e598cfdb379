//! Every upstream, for what holds for all of them.

use crate::chat::{self, Flavour};
use crate::{Request, Unsupported, Written, cohere, converse, gemini, messages, responses};

type Write = fn(&Request) -> Result<Written, Unsupported>;

/// Every upstream's writer of requests, with its name.
pub(crate) const UPSTREAMS: [(&str, Write); 14] = [
    ("openai", |request| {
        chat::write_request(request, "gpt-5", Flavour::OpenAi)
    }),
    ("azure", |request| {
        chat::write_request(request, "gpt-5", Flavour::Azure)
    }),
    ("mistral", |request| {
        chat::write_request(request, "magistral", Flavour::Mistral)
    }),
    ("groq", |request| {
        chat::write_request(request, "qwen", Flavour::Groq)
    }),
    ("openrouter", |request| {
        chat::write_request(request, "anthropic/claude-opus-4.6", Flavour::OpenRouter)
    }),
    ("compatible", |request| {
        chat::write_request(request, "qwen", Flavour::Compatible)
    }),
    ("responses", |request| {
        responses::write_request(request, "gpt-5")
    }),
    ("messages", |request| {
        messages::write_request(request, "claude-sonnet-4-0", 4096)
    }),
    ("messages of a newer model", |request| {
        messages::write_request(request, "claude-opus-5", 4096)
    }),
    ("gemini", |request| {
        gemini::write_request(request, "gemini-3-pro")
    }),
    ("gemini of an older model", |request| {
        gemini::write_request(request, "gemini-2.0-flash")
    }),
    ("cohere", |request| {
        cohere::write_request(request, "command-a-reasoning")
    }),
    ("converse", |request| {
        converse::write_request(request, "anthropic.claude-sonnet-4-0", 4096)
    }),
    ("converse of nova", |request| {
        converse::write_request(request, "amazon.nova-pro-v1:0", 4096)
    }),
];
