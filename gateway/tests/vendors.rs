//! Providers that do not speak what callers speak: each gets its own words, and callers get chat completions. What the vendors answer is in the
//! fixtures of the dialects, which their own packages read (dialect/sdk).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::Reply;
use common::{ask, usable, vendor, vendor_world, world_beside_good};
use oarmaster_dialect::Usage;
use oarmaster_gateway::price::Price;
use oarmaster_prices::{Table, Vendor};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::{Value, json};

/// A vendor as it is told apart from others.
struct Case {
    kind: &'static str,
    path: &'static str,
    streamed: &'static str,
    /// The header of the key, and what stands before the key in it.
    key: (&'static str, &'static str),
    answer: &'static str,
    text: &'static str,
    stream: &'static str,
    streamed_text: &'static str,
}

const CHAT: Case = Case {
    kind: "OpenAI",
    path: "/v1/chat/completions",
    streamed: "/v1/chat/completions",
    key: ("authorization", "Bearer "),
    answer: include_str!("../../dialect/fixtures/chat/provider-openai.json"),
    text: "",
    stream: include_str!("../../dialect/fixtures/chat/provider-openai.sse"),
    streamed_text: "",
};

fn cases() -> Vec<Case> {
    let chat = |kind| Case { kind, ..CHAT };
    vec![
        CHAT,
        chat("Mistral"),
        chat("Groq"),
        chat("OpenRouter"),
        Case {
            kind: "AzureOpenAI",
            path: "/openai/v1/chat/completions",
            streamed: "/openai/v1/chat/completions",
            key: ("api-key", ""),
            answer: include_str!("../../dialect/fixtures/chat/provider-azure.json"),
            text: "",
            stream: include_str!("../../dialect/fixtures/chat/provider-azure.sse"),
            streamed_text: "I can",
        },
        Case {
            kind: "Anthropic",
            path: "/v1/messages",
            streamed: "/v1/messages",
            key: ("x-api-key", ""),
            answer: include_str!("../../dialect/fixtures/messages/answer-bare.json"),
            text: "No.",
            stream: include_str!("../../dialect/fixtures/messages/provider-stream.sse"),
            streamed_text: "Hello, w\u{f6}rld \u{1f980}\u{2028}",
        },
        Case {
            kind: "Gemini",
            path: "/v1beta/models/m:generateContent",
            streamed: "/v1beta/models/m:streamGenerateContent?alt=sse",
            key: ("x-goog-api-key", ""),
            answer: include_str!("../../dialect/fixtures/gemini/answer-text.json"),
            text: "Hello there.",
            stream: include_str!("../../dialect/fixtures/gemini/stream-text.sse"),
            streamed_text: "Hello \u{2603}.",
        },
        Case {
            kind: "Cohere",
            path: "/v2/chat",
            streamed: "/v2/chat",
            key: ("authorization", "Bearer "),
            answer: include_str!("../../dialect/fixtures/cohere/answer-text.json"),
            text: "Hello.",
            stream: include_str!("../../dialect/fixtures/cohere/stream-text.sse"),
            streamed_text: "Hello \u{2603}.",
        },
    ]
}

/// The data of a stream's events.
fn events(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect()
}

fn content(events: &[&str]) -> String {
    events
        .iter()
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| {
            let text = chunk.pointer("/choices/0/delta/content")?;
            text.as_str().map(str::to_owned)
        })
        .collect()
}

#[tokio::test]
async fn each_vendor_is_spoken_to_in_its_own_words_and_callers_hear_chat_completions() {
    for case in cases() {
        let kind = case.kind;
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        upstream.reply(Reply::json(200, serde_json::from_str(case.answer).unwrap()));
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status(), 200, "{kind}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["object"], "chat.completion", "{kind}: {answer}");
        let text = answer["choices"][0]["message"]["content"].as_str();
        assert!(
            text.unwrap_or_default().contains(case.text),
            "{kind}: {answer}"
        );
        let got = &upstream.got()[0];
        assert_eq!(got.path, case.path, "{kind}");
        let (header, before) = case.key;
        assert_eq!(
            got.headers[header],
            format!("{before}secret-of-k1"),
            "{kind}"
        );
        let carried = got.headers.values().filter(|value| {
            value
                .to_str()
                .is_ok_and(|value| value.contains("secret-of-k1"))
        });
        assert_eq!(carried.count(), 1, "{kind}: the key is in one header");
        assert!(!got.path.contains("secret") && !got.body.contains("secret-of-k1"));
        assert!(got.body.contains("hi"), "{kind}: {}", got.body);

        let mut body = ask("hi");
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
        upstream.reply(Reply::bytes(case.stream.as_bytes(), 7, false));
        let response = world.chat(user, body).await;
        assert_eq!(response.status(), 200, "{kind}");
        let text = response.text().await.unwrap();
        let events = events(&text);
        assert_eq!(events.last(), Some(&"[DONE]"), "{kind}: {text}");
        assert!(
            content(&events).contains(case.streamed_text),
            "{kind}: {text}"
        );
        assert_eq!(upstream.got()[1].path, case.streamed, "{kind}");
        let total = world.gateway.store.sdk_total();
        assert_eq!(total.calls, 2, "{kind}");
        assert!(!text.contains("secret-of-k1"));
    }
}

#[tokio::test]
async fn what_was_cached_and_thought_is_booked_at_the_tables_own_prices() {
    let (world, upstream) = vendor_world("Anthropic").await;
    let mut spec = vendor("Anthropic", &upstream.origin(), &["k1"]);
    spec["models"] = json!([{"name": "claude-sonnet-4-5"}]);
    world.provider("team", "priced", spec).await;
    let member = json!([{"provider": {"name": "priced"}, "model": "claude-sonnet-4-5"}]);
    world.pool("team", "priced", member).await;
    world
        .kube
        .allow("system:serviceaccount:team:app use modelpools team/priced");
    world
        .until(|gateway| usable(gateway, "team", "priced") == 1)
        .await;
    let user = world.user();
    let row = Table::builtin().find(Vendor::Anthropic, "claude-sonnet-4-5");
    let price = Price::of_row(row.unwrap());
    let usage = Usage {
        input: 10,
        cache_read: 40,
        cache_write: 100,
        cache_write_hour: 200,
        output: 50,
        ..Usage::default()
    };

    let mut body = ask("hi");
    body["model"] = json!("priced");
    let answer = include_str!("../../dialect/fixtures/messages/provider-answer.json");
    upstream.reply(Reply::json(200, serde_json::from_str(answer).unwrap()));
    assert_eq!(world.chat(user, body).await.status(), 200);
    let total = world.gateway.store.sdk_total().sum;
    assert_eq!(
        (
            total.input_tokens,
            total.cached_tokens,
            total.output_tokens,
            total.cost_pico
        ),
        (350, 40, 50, price.cost(&usage))
    );
}

#[tokio::test]
async fn a_vendors_error_is_classed_by_its_own_words_and_the_next_member_is_asked() {
    let error = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    for (kind, status, body, class) in [
        (
            "Anthropic",
            529,
            error("overloaded_error", "Overloaded"),
            "Transient",
        ),
        (
            "Anthropic",
            401,
            error("authentication_error", "invalid x-api-key"),
            "Credential",
        ),
        (
            "Anthropic",
            400,
            error("invalid_request_error", "Your credit balance is too low"),
            "Quota",
        ),
        (
            "Gemini",
            429,
            serde_json::from_str(include_str!(
                "../../dialect/fixtures/gemini/error-quota.json"
            ))
            .unwrap(),
            "RateLimit",
        ),
        (
            "Gemini",
            400,
            serde_json::from_str(include_str!("../../dialect/fixtures/gemini/error-key.json"))
                .unwrap(),
            "Credential",
        ),
        (
            "Cohere",
            401,
            json!({"message": "invalid api token"}),
            "Credential",
        ),
        (
            "Cohere",
            404,
            json!({"message": "model 'm' not found"}),
            "ModelGone",
        ),
    ] {
        let (world, upstream, _) = world_beside_good(kind).await;
        let user = world.user();
        upstream.reply(Reply::json(status, body));
        let mut body = ask("hi");
        body["model"] = json!("two");
        let answer: Value = world.chat(user, body).await.json().await.unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], "ok", "{kind}");
        let metrics = world.metrics().await;
        assert!(
            metrics.contains(&format!("outcome=\"{class}\"")),
            "{kind} {status}: {metrics}"
        );
        assert_eq!(
            world.gateway.store.sdk_total().calls,
            1,
            "{kind} {status}: what was refused costs nothing"
        );
    }
}

#[tokio::test]
async fn a_member_without_words_for_a_request_is_passed_over() {
    let (world, upstream, _) = world_beside_good("Anthropic").await;
    let user = world.user();
    let sound = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let mut body = json!({"model": "two", "messages": [{"role": "user", "content": [sound]}], "max_tokens": 10});
    let answer: Value = world.chat(user, body.clone()).await.json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "ok");
    assert!(upstream.got().is_empty());

    body["model"] = json!("fast");
    let response = world.chat(user, body).await;
    assert_eq!(response.status(), 400);
    let text = response.text().await.unwrap();
    assert!(
        text.contains("cannot take this request") && text.contains("sounds"),
        "{text}"
    );
}

#[tokio::test]
async fn what_a_vendor_has_no_place_for_is_named_in_a_header() {
    let (world, upstream) = vendor_world("Anthropic").await;
    let user = world.user();
    let answer = include_str!("../../dialect/fixtures/messages/answer-bare.json");
    upstream.reply(Reply::json(200, serde_json::from_str(answer).unwrap()));
    let mut body = ask("hi");
    body["seed"] = json!(7);
    let response = world.chat(user, body).await;
    assert_eq!(response.headers()["x-oarmaster-dropped"], "seed");
}

#[tokio::test]
async fn a_translated_stream_that_is_cut_or_fails_ends_with_an_error() {
    let stream = include_str!("../../dialect/fixtures/messages/provider-stream.sse");
    let cut = &stream[..stream.find("event: message_delta").unwrap()];
    let failed = format!(
        "{cut}event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}}}\n\n"
    );
    for (bytes, broken, word) in [
        (cut, false, "ended before the answer did"),
        (cut, true, "the stream broke"),
        (failed.as_str(), false, "Overloaded"),
    ] {
        let (world, upstream) = vendor_world("Anthropic").await;
        let user = world.user();
        upstream.reply(Reply::bytes(bytes.as_bytes(), 11, broken));
        let mut body = ask("hi");
        body["stream"] = json!(true);
        let text = world.chat(user, body).await.text().await.unwrap();
        assert!(!text.contains("[DONE]"), "{text}");
        let last: Value = serde_json::from_str(events(&text).last().unwrap()).unwrap();
        let message = last["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{word}: {last}");
        let total = world.gateway.store.sdk_total();
        assert_eq!(total.calls, 1, "it is booked all the same");
        // Not what the beginning counted: the provider bills what it wrote, too.
        assert_eq!(total.sum.output_tokens, 100, "the bound");
        assert!(total.sum.input_tokens > 365, "{total:?}");
    }
}

#[tokio::test]
async fn a_tasks_call_to_a_vendor_is_recorded_as_any_other() {
    let (world, upstream) = vendor_world("Anthropic").await;
    let claim = world.task(TaskBudget::default()).await;
    let answer = include_str!("../../dialect/fixtures/messages/provider-answer.json");
    upstream.reply(Reply::json(200, serde_json::from_str(answer).unwrap()));
    let (status, next, first) = world.call(&claim.session, 0, claim.next, "hi").await;
    assert_eq!((status, next.is_some()), (200, true), "{first}");
    let calls = first["choices"][0]["message"]["tool_calls"]
        .as_array()
        .unwrap();
    assert_eq!(calls[0]["function"]["name"], "f", "{first}");
    assert_eq!(calls[0]["id"], "toolu_01");
    assert_eq!(first["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(first["usage"]["prompt_tokens"], 350);
    let sent: Value = serde_json::from_str(&upstream.got()[0].body).unwrap();
    assert_eq!(sent["max_tokens"], 100, "the bound that was reserved for");

    let (_, _, again) = world.call(&claim.session, 0, claim.next, "hi").await;
    assert_eq!(again, first);
    assert_eq!(upstream.got().len(), 1, "asked once");
}
