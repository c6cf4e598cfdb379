//! What the gateway answers and asks, held to OpenAI's own OpenAPI document (`cargo xtask spec`): whole answers, chunks, events, vectors, models and errors,
//! whichever vendor said them first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::Reply;
use common::{vendor, vendor_world};
use jsonschema::Validator;
use oarmaster_dialect::sse::Parser;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The schemas, each ready.
static SPEC: LazyLock<HashMap<String, Validator>> = LazyLock::new(|| {
    let document: Value = serde_json::from_str(include_str!("spec/openai.json")).unwrap();
    let names = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys();
    let names = names.filter(|name| {
        name.starts_with("Create")
            || [
                "ErrorResponse",
                "ListModelsResponse",
                "Response",
                "ResponseStreamEvent",
            ]
            .contains(&name.as_str())
    });
    names
        .map(|name| {
            let mut schema = document.clone();
            schema["$ref"] = format!("#/components/schemas/{name}").into();
            (name.clone(), jsonschema::validator_for(&schema).unwrap())
        })
        .collect()
});

/// Checks a value against a schema of the document.
fn check(schema: &str, value: &Value, what: &str) {
    let problems = SPEC[schema].iter_errors(value);
    // The document demands a text and an object here; its own examples, and OpenAI, have null until the last chunk.
    let waived = |path: &str| {
        schema == "CreateChatCompletionStreamResponse"
            && ["/choices/0/finish_reason", "/choices/0/logprobs"].contains(&path)
            && value.pointer(path) == Some(&Value::Null)
    };
    let problems: Vec<String> = problems
        .filter(|error| !waived(error.instance_path().as_str()))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        problems.is_empty(),
        "{what} is no {schema}: {problems:#?}\n{value:#}"
    );
}

fn events(text: &str) -> Vec<String> {
    let events = Parser::default().push(text.as_bytes()).unwrap();
    let data = events.into_iter().map(|event| event.data);
    data.map(|data| String::from_utf8(data).unwrap()).collect()
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../dialect/fixtures/", $name))
    };
}

/// A type of provider that does not speak OpenAI's words, with what it answers and streams. What OpenAI says is passed on as it is.
type Vendor = (&'static str, Vec<&'static str>, Vec<&'static str>);

fn vendors() -> Vec<Vendor> {
    vec![
        (
            "Anthropic",
            vec![fixture!("messages/provider-answer.json")],
            vec![fixture!("messages/provider-stream.sse")],
        ),
        (
            "Gemini",
            vec![
                fixture!("gemini/answer-text.json"),
                fixture!("gemini/answer-tools.json"),
                fixture!("gemini/answer-thoughts.json"),
            ],
            vec![
                fixture!("gemini/stream-text.sse"),
                fixture!("gemini/stream-tools.sse"),
                fixture!("gemini/stream-thoughts.sse"),
            ],
        ),
        (
            "Cohere",
            vec![
                fixture!("cohere/answer-text.json"),
                fixture!("cohere/answer-tools.json"),
            ],
            vec![
                fixture!("cohere/stream-text.sse"),
                fixture!("cohere/stream-tools.sse"),
            ],
        ),
    ]
}

fn chat(stream: bool) -> Value {
    json!({"model": "fast", "messages": [{"role": "user", "content": "hi"}], "stream": stream, "stream_options": stream.then(|| json!({"include_usage": true})), "max_tokens": 100})
}

fn response(stream: bool) -> Value {
    json!({"model": "fast", "input": "hi", "stream": stream, "max_output_tokens": 100})
}

#[tokio::test]
async fn answers_are_chat_completions() {
    for (kind, answers, streams) in vendors() {
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        for body in answers {
            upstream.reply(Reply::Plain(200, "application/json", body.to_owned()));
            let answer = world.chat(user, chat(false)).await;
            assert_eq!(answer.status(), 200, "{kind}");
            check(
                "CreateChatCompletionResponse",
                &answer.json().await.unwrap(),
                kind,
            );
        }
        for text in streams {
            upstream.reply(Reply::bytes(text.as_bytes(), 64, false));
            let answer = world.chat(user, chat(true)).await.text().await.unwrap();
            let mut events = events(&answer);
            assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{kind}");
            assert!(events.len() > 2, "{kind}");
            for event in events {
                let chunk = serde_json::from_str(&event).unwrap();
                check("CreateChatCompletionStreamResponse", &chunk, kind);
            }
        }
    }
}

#[tokio::test]
async fn answers_are_responses() {
    for (kind, answers, streams) in vendors() {
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        for body in answers {
            upstream.reply(Reply::Plain(200, "application/json", body.to_owned()));
            let answer = world.post("/v1/responses", user, response(false)).await;
            assert_eq!(answer.status(), 200, "{kind}");
            check("Response", &answer.json().await.unwrap(), kind);
        }
        for text in streams {
            upstream.reply(Reply::bytes(text.as_bytes(), 64, false));
            let answer = world.post("/v1/responses", user, response(true)).await;
            let events = events(&answer.text().await.unwrap());
            assert!(events.len() > 2, "{kind}");
            for event in events {
                check(
                    "ResponseStreamEvent",
                    &serde_json::from_str(&event).unwrap(),
                    kind,
                );
            }
        }
    }
}

#[tokio::test]
async fn what_openai_is_asked_is_a_request() {
    let (world, upstream) = vendor_world("OpenAI").await;
    let user = world.user();
    let messages = json!({
        "model": "fast", "max_tokens": 50, "system": "Be brief.", "temperature": 0.5, "stop_sequences": ["END"],
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        ]}],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto"},
    });
    for (path, body, schema) in [
        (
            "/v1/chat/completions",
            chat(false),
            "CreateChatCompletionRequest",
        ),
        (
            "/v1/chat/completions",
            chat(true),
            "CreateChatCompletionRequest",
        ),
        ("/v1/responses", response(false), "CreateResponse"),
        ("/v1/messages", messages, "CreateChatCompletionRequest"),
        (
            "/v1/embeddings",
            json!({"model": "fast", "input": ["a", "b"]}),
            "CreateEmbeddingRequest",
        ),
    ] {
        let before = upstream.got().len();
        let answer = world.post(path, user, body).await;
        let got = upstream.got();
        assert_eq!(
            got.len(),
            before + 1,
            "{path}: {}",
            answer.text().await.unwrap()
        );
        let sent: Value = serde_json::from_str(&got[before].body).unwrap();
        check(schema, &sent, path);
    }
}

#[tokio::test]
async fn vectors_models_and_errors_are_openais() {
    let (world, upstream) = vendor_world("Gemini").await;
    let user = world.user();
    let vectors = json!({"embeddings": [{"values": [0.5, -1.0]}, {"values": [0.25, 2.0]}]});
    upstream.reply(Reply::json(200, vectors));
    let body = json!({"model": "fast", "input": ["a", "b"]});
    let answer = world.post("/v1/embeddings", user, body).await;
    assert_eq!(answer.status(), 200);
    check(
        "CreateEmbeddingResponse",
        &answer.json().await.unwrap(),
        "vectors",
    );

    let models = world
        .http
        .get(format!("{}/v1/models", world.data))
        .bearer_auth(user);
    let models = models.send().await.unwrap();
    assert_eq!(models.status(), 200);
    check(
        "ListModelsResponse",
        &models.json().await.unwrap(),
        "models",
    );

    let spec = vendor("Gemini", &upstream.origin(), &["k1"]);
    world.provider("team", "up", spec).await;
    for (token, body, status) in [
        ("nobody", chat(false), 401),
        (user, json!({"model": "fast"}), 400),
        (user, json!({"model": "none", "messages": []}), 404),
    ] {
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"] {
            let answer = world.post(path, token, body.clone()).await;
            let found = answer.status().as_u16();
            assert!(found >= 400, "{path} {status}");
            check("ErrorResponse", &answer.json().await.unwrap(), path);
        }
    }
}
