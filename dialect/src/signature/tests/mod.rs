//! Every surface between every two upstreams: what one vendor signed comes back to it, and to nobody else.

mod callers;

use super::{ALL, Signature, Signer, mark, unmark};
use crate::chat::{self, Flavour};
use crate::error::NotAnAnswer;
use crate::request::Request;
use crate::{Answer, cohere, converse, gemini, messages, responses};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callers::next_requests;
use proptest::prelude::*;
use serde_json::{Value, json};

/// An upstream's answer with a signature, the signer, and its requests.
struct Upstream {
    name: &'static str,
    signer: Option<Signer>,
    answer: fn(&str) -> Vec<Value>,
    read: fn(&str) -> Result<Answer, NotAnAnswer>,
    write: fn(&Request) -> String,
}

fn message(content: &Value, model: &str) -> Value {
    json!({"type": "message", "model": model, "content": content, "stop_reason": "end_turn"})
}

fn anthropics(model: &str, signature: &str) -> Vec<Value> {
    let call = json!({"type": "tool_use", "id": "c", "name": "f", "input": {}});
    vec![
        message(
            &json!([{"type": "thinking", "thinking": "hm", "signature": signature}, {"type": "text", "text": "x"}]),
            model,
        ),
        message(
            &json!([{"type": "redacted_thinking", "data": signature}, call]),
            model,
        ),
    ]
}

fn converses(signature: &str) -> Vec<Value> {
    let answer = |content| json!({"output": {"message": {"content": [content, {"text": "x"}]}}, "stopReason": "end_turn"});
    vec![
        answer(
            json!({"reasoningContent": {"reasoningText": {"text": "hm", "signature": signature}}}),
        ),
        answer(json!({"reasoningContent": {"redactedContent": signature}})),
    ]
}

fn geminis(signature: &str) -> Vec<Value> {
    let answer =
        |parts| json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    vec![
        answer(
            json!([{"text": "hm", "thought": true}, {"text": "x", "thoughtSignature": signature}]),
        ),
        answer(
            json!([{"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": signature}]),
        ),
        answer(
            json!([{"text": "x"}, {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": signature}, {"functionCall": {"name": "g", "args": {}}}]),
        ),
    ]
}

fn response(model: &str, signature: &str) -> Vec<Value> {
    let item = |summary| json!({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": signature});
    let answer = |item| json!({"id": "resp_1", "model": model, "status": "completed", "output": [item, {"type": "message", "content": [{"type": "output_text", "text": "x"}]}]});
    vec![
        answer(item(json!([]))),
        answer(item(json!([{"type": "summary_text", "text": "hm"}]))),
    ]
}

fn completion(message: &Value) -> Value {
    json!({"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
}

fn routed(format: &str, signature: &str) -> Vec<Value> {
    let encrypted =
        json!({"type": "reasoning.encrypted", "data": signature, "format": format, "id": "rs_2"});
    let answer = |details| completion(&json!({"content": "x", "reasoning_details": details}));
    let mut answers = vec![
        answer(json!([encrypted])),
        answer(
            json!([{"type": "reasoning.text", "text": "hm", "signature": signature, "format": format}]),
        ),
    ];
    if format.ends_with("responses-v1") {
        let summary =
            json!({"type": "reasoning.summary", "summary": "hm", "format": format, "id": "rs_2"});
        answers.push(answer(json!([summary, encrypted])));
    }
    answers
}

fn extra(signature: &str) -> Vec<Value> {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": signature}}});
    vec![completion(&json!({"content": null, "tool_calls": [call]}))]
}

fn mistrals(signature: &str) -> Vec<Value> {
    let thinking = |words| json!([{"type": "thinking", "thinking": words, "signature": signature}, {"type": "text", "text": "x"}]);
    vec![
        completion(&json!({"content": thinking(json!([{"type": "text", "text": "hm"}]))})),
        completion(&json!({"content": thinking(json!([]))})),
    ]
}

fn written(request: &Request, model: &str, flavour: Flavour) -> String {
    chat::write_request(request, model, flavour).unwrap().body
}

macro_rules! openrouter {
    ($model:literal, $format:literal, $signer:expr) => {
        Upstream {
            name: $model,
            signer: Some($signer),
            answer: |signature| routed($format, signature),
            read: chat::read_answer,
            write: |request| written(request, $model, Flavour::OpenRouter),
        }
    };
}

macro_rules! chat {
    ($name:literal, $model:literal, $flavour:expr, $signer:expr, $answer:expr) => {
        Upstream {
            name: $name,
            signer: $signer,
            answer: $answer,
            read: chat::read_answer,
            write: |request| written(request, $model, $flavour),
        }
    };
}

fn upstreams() -> Vec<Upstream> {
    vec![
        Upstream {
            name: "anthropic",
            signer: Some(Signer::Anthropic),
            answer: |signature| anthropics("claude-opus-4-6", signature),
            read: messages::read_answer,
            write: |request| {
                messages::write_request(request, "claude-opus-4-6", 4096)
                    .unwrap()
                    .body
            },
        },
        Upstream {
            name: "like anthropic",
            signer: Some(Signer::Other),
            answer: |signature| anthropics("kimi-k3", signature),
            read: messages::read_answer,
            write: |request| {
                messages::write_request(request, "kimi-k3", 4096)
                    .unwrap()
                    .body
            },
        },
        Upstream {
            name: "bedrock",
            signer: Some(Signer::Anthropic),
            answer: converses,
            read: converse::read_answer,
            write: |request| {
                converse::write_request(request, "eu.anthropic.claude-opus-4-6", 4096)
                    .unwrap()
                    .body
            },
        },
        Upstream {
            name: "bedrock's own",
            signer: None,
            answer: |_| Vec::new(),
            read: converse::read_answer,
            write: |request| {
                converse::write_request(request, "amazon.nova-2-lite-v1:0", 4096)
                    .unwrap()
                    .body
            },
        },
        Upstream {
            name: "gemini",
            signer: Some(Signer::Google),
            answer: geminis,
            read: gemini::read_answer,
            write: |request| gemini::write_request(request, "gemini-3-pro").unwrap().body,
        },
        Upstream {
            name: "openai",
            signer: Some(Signer::OpenAi),
            answer: |signature| response("gpt-5", signature),
            read: responses::read_answer,
            write: |request| responses::write_request(request, "gpt-5").unwrap().body,
        },
        Upstream {
            name: "xai",
            signer: Some(Signer::XAi),
            answer: |signature| response("grok-5", signature),
            read: responses::read_answer,
            write: |request| responses::write_request(request, "grok-5").unwrap().body,
        },
        Upstream {
            name: "cohere",
            signer: None,
            answer: |_| Vec::new(),
            read: cohere::read_answer,
            write: |request| {
                cohere::write_request(request, "command-a-reasoning")
                    .unwrap()
                    .body
            },
        },
        openrouter!(
            "anthropic/claude-opus-4.6",
            "anthropic-claude-v1",
            Signer::Anthropic
        ),
        openrouter!("openai/gpt-5", "openai-responses-v1", Signer::OpenAi),
        openrouter!("google/gemini-3-pro", "google-gemini-v1", Signer::Google),
        openrouter!("x-ai/grok-5", "xai-responses-v1", Signer::XAi),
        openrouter!("z-ai/glm-6", "unknown", Signer::OpenRouter),
        openrouter!("z-ai/glm-7", "z-ai-v9", Signer::OpenRouter),
        chat!(
            "mistral",
            "magistral",
            Flavour::Mistral,
            Some(Signer::Mistral),
            mistrals
        ),
        chat!(
            "google's chat",
            "gemini-3-pro",
            Flavour::Compatible,
            Some(Signer::Google),
            extra
        ),
        chat!("compatible", "qwen", Flavour::Compatible, None, |_| {
            Vec::new()
        }),
        chat!("groq", "qwen", Flavour::Groq, None, |_| Vec::new()),
        chat!("openai's chat", "gpt-5", Flavour::OpenAi, None, |_| {
            Vec::new()
        }),
    ]
}

fn check(signature: &str) {
    let upstreams = upstreams();
    for from in &upstreams {
        for body in (from.answer)(signature) {
            let answer = (from.read)(&body.to_string()).unwrap();
            for (surface, request) in next_requests(&answer) {
                for to in &upstreams {
                    let written = (to.write)(&request);
                    let place = format!(
                        "{} -> {surface} -> {}: {body} {written}",
                        from.name, to.name
                    );
                    if from.name == to.name {
                        assert!(written.contains(signature), "lost: {place}");
                        for marked in ["google:", "anthropic:", "openai:", "call:", "redacted:"] {
                            assert!(
                                !written.contains(&format!("{marked}{signature}")),
                                "{place}"
                            );
                        }
                    } else if from.signer != to.signer {
                        assert!(!written.contains(signature), "given away: {place}");
                        assert!(!written.contains("rs_1"), "named: {place}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_signature_comes_back_to_its_vendor_alone() {
    check("EqQBCgIYAhIkZm9ybWVy");
    check("gAAAAABmc2lnbmF0dXJl");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_it_looks_like(bytes in proptest::collection::vec(any::<u8>(), 12..60)) {
        let signature = STANDARD.encode(bytes);
        check(&signature);
    }

    #[test]
    fn marks_come_off(value in "((google|call|anthropic|x)?:)?[a-z:+/=]{0,9}") {
        for by in ALL {
            for own in ALL {
                let marked = mark(&value, by, own);
                prop_assert_eq!(unmark(&marked, own), (by, value.as_str()));
                prop_assert_eq!(Signature::read(&marked, own), Signature::new(by, value.clone()));
            }
        }
    }
}
