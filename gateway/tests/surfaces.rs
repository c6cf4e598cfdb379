//! Every surface over every type of provider: what callers are told is what the provider said, in the callers' words. What the vendors say is in the
//! fixtures of the dialects, and the dialects' readers of providers read what callers get.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream};
use common::{PILOT, World, http_provider, members, scripted, vendor_world};
use oarmaster_dialect::sse::Parser;
use oarmaster_dialect::{
    Answer, Content, Delta, Event, Stop, chat, cohere, gemini, messages, responses,
};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::{Value, json};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../dialect/fixtures/", $name))
    };
}

/// A dialect as a provider of it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    Chat,
    Responses,
    Messages,
    Gemini,
    Cohere,
}

/// A surface: its path, and the dialect.
const SURFACES: [(&str, Words); 3] = [
    ("/v1/chat/completions", Words::Chat),
    ("/v1/responses", Words::Responses),
    ("/v1/messages", Words::Messages),
];

const KINDS: [&str; 9] = [
    "OpenAI",
    "AzureOpenAI",
    "Mistral",
    "Groq",
    "OpenRouter",
    "OpenAICompatible",
    "Anthropic",
    "Gemini",
    "Cohere",
];

/// What a type of provider speaks to callers of a surface.
fn words_of(kind: &str, surface: Words) -> Words {
    match kind {
        "Anthropic" => Words::Messages,
        "Gemini" => Words::Gemini,
        "Cohere" => Words::Cohere,
        "OpenAI" if surface == Words::Responses => Words::Responses,
        _ => Words::Chat,
    }
}

impl Words {
    /// Whole answers and streams, with text, calls and usage.
    fn fixtures(self) -> (Vec<&'static str>, Vec<&'static str>) {
        match self {
            Self::Chat => (
                vec![
                    fixture!("chat/provider-openai.json"),
                    fixture!("chat/provider-groq.json"),
                ],
                vec![
                    fixture!("chat/provider-openai.sse"),
                    fixture!("chat/stream.sse"),
                ],
            ),
            Self::Responses => (
                vec![
                    fixture!("responses/provider-openai.json"),
                    fixture!("responses/answer.json"),
                ],
                vec![
                    fixture!("responses/provider-openai.sse"),
                    fixture!("responses/stream.sse"),
                ],
            ),
            Self::Messages => (
                vec![
                    fixture!("messages/provider-answer.json"),
                    fixture!("messages/answer-foreign.json"),
                ],
                vec![
                    fixture!("messages/provider-stream.sse"),
                    fixture!("messages/stream-rich.sse"),
                ],
            ),
            Self::Gemini => (
                vec![
                    fixture!("gemini/answer-tools.json"),
                    fixture!("gemini/answer-text.json"),
                ],
                vec![
                    fixture!("gemini/stream-tools.sse"),
                    fixture!("gemini/stream-text.sse"),
                ],
            ),
            Self::Cohere => (
                vec![
                    fixture!("cohere/answer-tools.json"),
                    fixture!("cohere/answer-text.json"),
                ],
                vec![
                    fixture!("cohere/stream-tools.sse"),
                    fixture!("cohere/stream-text.sse"),
                ],
            ),
        }
    }

    fn read(self, body: &str) -> Told {
        let answer = match self {
            Self::Chat => chat::read_answer(body),
            Self::Responses => responses::read_answer(body),
            Self::Messages => messages::read_answer(body),
            Self::Gemini => gemini::read_answer(body),
            Self::Cohere => cohere::read_answer(body),
        };
        Told::whole(&answer.unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// Reads a stream, or what broke it.
    fn read_stream(self, text: &str) -> Result<Told, String> {
        macro_rules! with {
            ($reader:ty) => {{
                let mut reader = <$reader>::default();
                let mut events = Vec::new();
                for frame in Parser::default().push(text.as_bytes()).unwrap() {
                    let data = String::from_utf8(frame.data).unwrap();
                    reader
                        .read(&frame.name, &data, &mut events)
                        .map_err(|broken| format!("{broken:?}"))?;
                }
                reader.end(&mut events);
                events
            }};
        }
        let events = match self {
            Self::Chat => with!(chat::Reader),
            Self::Responses => with!(responses::Reader),
            Self::Messages => with!(messages::Reader),
            Self::Gemini => with!(gemini::Reader),
            Self::Cohere => with!(cohere::Reader),
        };
        Told::streamed(&events).ok_or_else(|| "no stop".to_owned())
    }
}

/// What an answer says, as far as every dialect can.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    text: String,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    stop: &'static str,
    /// All input tokens, and output tokens.
    usage: Option<(u64, u64)>,
}

impl Told {
    fn whole(answer: &Answer) -> Self {
        let mut told = Self {
            stop: stop(&answer.stop),
            usage: answer
                .usage
                .as_ref()
                .map(|usage| (usage.all_input(), usage.output)),
            ..Self::default()
        };
        for part in &answer.parts {
            match &part.content {
                Content::Text(text) => told.text.push_str(text),
                Content::ToolCall(call) => {
                    told.calls.push((call.name.clone(), call.arguments.clone()));
                }
                _ => {}
            }
        }
        told.arranged()
    }

    fn streamed(events: &[Event]) -> Option<Self> {
        let mut told = Self::default();
        for event in events {
            match event {
                Event::Usage(usage) => told.usage = Some((usage.all_input(), usage.output)),
                Event::Stop(why) => told.stop = stop(why),
                Event::Delta { delta, .. } => match delta {
                    Delta::Text(text) => told.text.push_str(text),
                    Delta::ToolCall { name, .. } => told.calls.push((name.clone(), String::new())),
                    Delta::Arguments(more) => told.calls.last_mut().unwrap().1.push_str(more),
                    _ => {}
                },
                Event::Start { .. } => {}
            }
        }
        (!told.stop.is_empty()).then(|| told.arranged())
    }

    /// Arguments as JSON with sorted fields: no arguments are an empty object in some dialects, and spaces are nobody's.
    fn arranged(mut self) -> Self {
        for (_, arguments) in &mut self.calls {
            let read: Value = serde_json::from_str(arguments).unwrap_or(json!({}));
            *arguments = read.to_string();
        }
        self
    }
}

/// Why an answer ended, as far as every dialect can tell.
fn stop(stop: &Stop) -> &'static str {
    match stop {
        Stop::Length | Stop::Context => "length",
        Stop::ToolCalls => "calls",
        Stop::Filter | Stop::Refusal => "refused",
        Stop::End | Stop::Sequence(_) | Stop::Pause | Stop::Other(_) => "end",
    }
}

/// A request of a surface that offers tools.
fn ask(surface: Words, stream: bool) -> Value {
    let parameters = json!({"type": "object", "properties": {}});
    match surface {
        Words::Responses => json!({
            "model": "fast", "input": "say it", "stream": stream,
            "tools": [{"type": "function", "name": "weather", "parameters": parameters}],
        }),
        Words::Messages => json!({
            "model": "fast", "messages": [{"role": "user", "content": "say it"}], "max_tokens": 50, "stream": stream,
            "tools": [{"name": "weather", "input_schema": parameters}],
        }),
        _ => json!({
            "model": "fast", "messages": [{"role": "user", "content": "say it"}], "stream": stream,
            "stream_options": {"include_usage": true},
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
        }),
    }
}

#[tokio::test]
async fn whole_answers_say_to_every_caller_what_every_provider_said() {
    for kind in KINDS {
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        for (path, surface) in SURFACES {
            let words = words_of(kind, surface);
            for body in words.fixtures().0 {
                let before = world.gateway.store.sdk_total().sum;
                upstream.reply(Reply::Plain(200, "application/json", body.to_owned()));
                let response = world.post(path, user, ask(surface, false)).await;
                assert_eq!(response.status(), 200, "{kind} {surface:?}");
                let text = response.text().await.unwrap();
                let told = words.read(body);
                let heard = surface.read(&text);
                assert_eq!(heard, told, "{kind} {surface:?}: {text}");
                assert_eq!(
                    text == body,
                    surface == words,
                    "{kind} {surface:?}: the provider's bytes"
                );
                let after = world.gateway.store.sdk_total().sum;
                let booked = (
                    after.input_tokens - before.input_tokens,
                    after.output_tokens - before.output_tokens,
                );
                assert_eq!(Some(booked), told.usage, "{kind} {surface:?}");
                let sent = upstream.got().pop().unwrap();
                assert!(
                    sent.body.contains("say it") && sent.body.contains("weather"),
                    "{}",
                    sent.body
                );
            }
        }
        assert!(!world.gateway.store.sdk_total().sum.estimated, "{kind}");
    }
}

#[tokio::test]
async fn streams_say_to_every_caller_what_every_provider_said() {
    for kind in KINDS {
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        for (path, surface) in SURFACES {
            let words = words_of(kind, surface);
            for text in words.fixtures().1 {
                let before = world.gateway.store.sdk_total().sum;
                upstream.reply(Reply::bytes(text.as_bytes(), 13, false));
                let response = world.post(path, user, ask(surface, true)).await;
                assert_eq!(
                    response.headers()["content-type"],
                    "text/event-stream",
                    "{kind} {surface:?}"
                );
                let got = response.text().await.unwrap();
                let told = words.read_stream(text).unwrap();
                let heard = surface.read_stream(&got).unwrap();
                assert_eq!(heard, told, "{kind} {surface:?}: {got}");
                assert_eq!(
                    got == text,
                    surface == words,
                    "{kind} {surface:?}: the provider's events"
                );
                let after = world.gateway.store.sdk_total().sum;
                let booked = (
                    after.input_tokens - before.input_tokens,
                    after.output_tokens - before.output_tokens,
                );
                assert_eq!(Some(booked), told.usage, "{kind} {surface:?}");
            }
        }
        assert!(!world.gateway.store.sdk_total().sum.estimated, "{kind}");
    }
}

#[tokio::test]
async fn a_cut_stream_is_an_error_to_every_caller_and_booked_as_an_estimate() {
    for kind in ["OpenAI", "Anthropic", "Gemini", "Cohere"] {
        let (world, upstream) = vendor_world(kind).await;
        // It is to be asked again however often it was cut.
        let spec = json!({"members": members(&["up"]), "breaker": {"minRequests": 1000}});
        world.pool_with("team", "fast", spec).await;
        let user = world.user();
        let mut calls = 0;
        for (path, surface) in SURFACES {
            let streams = words_of(kind, surface).fixtures().1;
            // Gemini sends calls whole: nothing of one comes before its end.
            let text = streams[usize::from(kind == "Gemini")];
            // There is content, and no end.
            let events: Vec<usize> = text.match_indices("data: ").map(|(at, _)| at).collect();
            let cut = &text[..events[events.len() * 2 / 3]];
            for broken in [false, true] {
                upstream.reply(Reply::bytes(cut.as_bytes(), 17, broken));
                let got = world
                    .post(path, user, ask(surface, true))
                    .await
                    .text()
                    .await
                    .unwrap();
                let error = surface.read_stream(&got).unwrap_err();
                assert!(
                    error.contains("the stream"),
                    "{kind} {surface:?}: {error} {got}"
                );
                calls += 1;
                let total = world.gateway.store.sdk_total();
                assert_eq!(
                    (total.calls, total.sum.estimated),
                    (calls, true),
                    "{kind} {surface:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn errors_come_in_the_callers_form_and_before_content_the_next_member_answers() {
    for (path, surface) in SURFACES {
        let (world, upstream) = vendor_world("OpenAI").await;
        let user = world.user();
        upstream.reply(Reply::error(400, "bad_value", "temperature is wrong"));
        let response = world.post(path, user, ask(surface, true)).await;
        assert_eq!(response.status(), 400);
        let header = if surface == Words::Messages {
            "request-id"
        } else {
            "x-request-id"
        };
        let id = response.headers()[header].to_str().unwrap().to_owned();
        assert!(id.starts_with("req_"));
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error", "{error}");
        assert!(
            error["error"]["message"]
                .as_str()
                .unwrap()
                .contains("temperature is wrong")
        );
        if surface == Words::Messages {
            assert_eq!(
                (&error["type"], &error["request_id"]),
                (&json!("error"), &json!(id))
            );
        }
        let good = Upstream::start().await;
        world
            .provider("team", "good", http_provider(&good.url, &[]))
            .await;
        world.pool("team", "two", members(&["up", "good"])).await;
        world
            .kube
            .allow("system:serviceaccount:team:app use modelpools team/two");
        let text = words_of("OpenAI", surface).fixtures().1[0];
        // Nothing but beginnings, then the end of the bytes.
        let start: String = text.split_inclusive("\n\n").take(1).collect();
        upstream.reply(Reply::bytes(start.as_bytes(), 99, false));
        good.reply(Reply::bytes(
            fixture!("chat/stream.sse").as_bytes(),
            99,
            false,
        ));
        let mut body = ask(surface, true);
        body["model"] = json!("two");
        let asked = upstream.got().len();
        let got = world.post(path, user, body).await.text().await.unwrap();
        let told = Words::Chat
            .read_stream(fixture!("chat/stream.sse"))
            .unwrap();
        assert_eq!(
            surface.read_stream(&got).unwrap(),
            told,
            "{surface:?}: {got}"
        );
        assert_eq!((upstream.got().len() - asked, good.got().len()), (1, 1));

        upstream.reply(Reply::error(429, "rate_limit_exceeded", "slow down"));
        let response = world.post(path, user, ask(surface, false)).await;
        let busy = if surface == Words::Messages { 529 } else { 503 };
        assert_eq!(response.status(), busy, "{surface:?}");
    }
}

#[tokio::test]
async fn a_script_answers_every_caller_but_embeds_nothing() {
    let world = World::start().await;
    let user = world.user();
    let reply = json!({"text": "once ${last}", "toolCalls": [{"name": "weather", "arguments": {"city": "K\u{f6}ln"}}], "usage": {"inputTokens": 12, "outputTokens": 34}});
    world
        .provider(
            "team",
            "up",
            scripted(json!([{"when": {"last": "say"}, "reply": reply}])),
        )
        .await;
    world
        .pool(
            "team",
            "fast",
            json!([{"provider": {"name": "up"}, "model": "m"}]),
        )
        .await;
    let told = Told {
        text: "once say it".to_owned(),
        calls: vec![("weather".to_owned(), "{\"city\":\"K\u{f6}ln\"}".to_owned())],
        stop: "calls",
        usage: Some((12, 34)),
    };
    for (path, surface) in SURFACES {
        let whole = world
            .post(path, user, ask(surface, false))
            .await
            .text()
            .await
            .unwrap();
        assert_eq!(surface.read(&whole), told, "{whole}");
        let stream = world
            .post(path, user, ask(surface, true))
            .await
            .text()
            .await
            .unwrap();
        assert_eq!(surface.read_stream(&stream).unwrap(), told, "{stream}");
    }
    let response = world
        .post(
            "/v1/embeddings",
            user,
            json!({"model": "fast", "input": "x"}),
        )
        .await;
    assert_eq!(response.status(), 400);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("a script has no embeddings")
    );
}

#[tokio::test]
async fn a_body_in_the_providers_own_words_keeps_its_bytes() {
    let message = r#"[ {"role":"user","content":"\u00e9 1.50"} ]"#;
    for (kind, path, body, sent) in [
        (
            "Anthropic",
            "/v1/messages",
            format!(
                r#"{{"model":"fast","max_tokens":9,"messages":{message},"new":{{"a":1.0}},"system":[ ]}}"#
            ),
            format!(
                r#"{{"model":"m","max_tokens":9,"messages":{message},"new":{{"a":1.0}},"system":[ ]}}"#
            ),
        ),
        (
            "OpenAI",
            "/v1/responses",
            format!(r#"{{"model":"fast","input":{message},"temperature":1.50,"store":true}}"#),
            format!(r#"{{"model":"m","input":{message},"temperature":1.50,"store":false}}"#),
        ),
    ] {
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        let words = if kind == "OpenAI" {
            Words::Responses
        } else {
            Words::Messages
        };
        upstream.reply(Reply::Plain(
            200,
            "application/json",
            words.fixtures().0[0].to_owned(),
        ));
        let request = world
            .http
            .post(format!("{}{path}", world.data))
            .header("x-api-key", user);
        // Anthropic's SDKs send a key, OpenAI's a bearer token.
        let request = if kind == "Anthropic" {
            request
                .header("anthropic-beta", "a-2026-01-01")
                .header("anthropic-beta", "b-2026-01-01")
                .header("anthropic-version", "2023-06-01")
        } else {
            request.bearer_auth(user)
        };
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 200, "{kind}");
        let dropped = response
            .headers()
            .get("x-oarmaster-dropped")
            .map(|names| names.to_str().unwrap().to_owned());
        assert_eq!(dropped.as_deref(), (kind == "OpenAI").then_some("store"));
        let got = upstream.got().pop().unwrap();
        assert_eq!(got.body, sent);
        if kind == "Anthropic" {
            assert_eq!(got.headers["anthropic-beta"], "a-2026-01-01,b-2026-01-01");
            assert_eq!(
                got.headers["x-api-key"], "secret-of-k1",
                "not the caller's token"
            );
        }
    }
}

#[tokio::test]
async fn tokens_are_counted_by_anthropic_and_estimated_elsewhere() {
    let path = "/v1/messages/count_tokens";
    let body = json!({"model": "fast", "messages": [{"role": "user", "content": "a".repeat(400)}]});
    let (world, upstream) = vendor_world("Anthropic").await;
    let user = world.user();
    upstream.reply(Reply::json(200, json!({"input_tokens": 77})));
    let response = world.post(path, user, body.clone()).await;
    assert!(!response.headers().contains_key("x-oarmaster-estimated"));
    assert_eq!(
        response.json::<Value>().await.unwrap(),
        json!({"input_tokens": 77})
    );
    let got = upstream.got().pop().unwrap();
    assert_eq!(got.path, path);
    assert!(got.body.contains(r#""model":"m""#), "{}", got.body);

    upstream.reply(Reply::json(
        400,
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}),
    ));
    let error: Value = world
        .post(path, user, body.clone())
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&error["type"], &error["error"]["type"]),
        (&json!("error"), &json!("invalid_request_error"))
    );
    upstream.reply(Reply::json(200, json!({"tokens": 77})));
    assert_eq!(world.post(path, user, body.clone()).await.status(), 502);
    assert_eq!(
        world.gateway.store.sdk_total().calls,
        0,
        "nobody bills a count"
    );

    for kind in ["OpenAI", "Gemini"] {
        let (world, upstream) = vendor_world(kind).await;
        let response = world.post(path, world.user(), body.clone()).await;
        assert_eq!(response.headers()["x-oarmaster-estimated"], "input_tokens");
        assert_eq!(
            response.json::<Value>().await.unwrap(),
            json!({"input_tokens": 100})
        );
        assert!(upstream.got().is_empty(), "{kind}");
        assert_eq!(world.gateway.store.sdk_total().calls, 0);
    }
}

#[tokio::test]
async fn models_are_listed_in_the_form_that_the_sdk_knows() {
    let (world, _) = vendor_world("OpenAI").await;
    let user = world.user();
    let list = async |anthropic: bool, token: &str| {
        let request = world.http.get(format!("{}/v1/models", world.data));
        let request = if anthropic {
            request
                .header("anthropic-version", "2023-06-01")
                .header("x-api-key", token)
        } else {
            request.bearer_auth(token)
        };
        let response = request.send().await.unwrap();
        (
            response.status().as_u16(),
            response.json::<Value>().await.unwrap(),
        )
    };
    let (status, openai) = list(false, user).await;
    assert_eq!(
        (status, &openai["data"][0]["object"]),
        (200, &json!("model"))
    );
    let (status, anthropic) = list(true, user).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&anthropic["has_more"], &anthropic["first_id"]),
        (&json!(false), &json!("team/fast"))
    );
    let model = &anthropic["data"][0];
    assert_eq!(
        (&model["type"], &model["id"]),
        (&json!("model"), &openai["data"][0]["id"])
    );
    let (status, refused) = list(true, "nobody").await;
    assert_eq!(
        (status, &refused["error"]["type"]),
        (401, &json!("authentication_error"))
    );
    assert_eq!(refused["type"], "error");
}

#[tokio::test]
async fn vectors_come_in_order_whoever_makes_them() {
    for (kind, path, answer) in [
        (
            "OpenAI",
            "/v1/embeddings",
            fixture!("embeddings/answer-openai.json"),
        ),
        (
            "AzureOpenAI",
            "/openai/v1/embeddings",
            fixture!("embeddings/answer-openai.json"),
        ),
        (
            "Mistral",
            "/v1/embeddings",
            fixture!("embeddings/answer-openai.json"),
        ),
        (
            "OpenAICompatible",
            "/v1/embeddings",
            fixture!("embeddings/answer-openai.json"),
        ),
        (
            "Gemini",
            "/v1beta/models/m:batchEmbedContents",
            fixture!("embeddings/answer-gemini.json"),
        ),
        (
            "Cohere",
            "/v2/embed",
            fixture!("embeddings/answer-cohere.json"),
        ),
    ] {
        let (world, upstream) = vendor_world(kind).await;
        let user = world.user();
        for format in ["float", "base64"] {
            upstream.reply(Reply::Plain(200, "application/json", answer.to_owned()));
            let body = json!({"model": "fast", "input": ["one", "two"], "encoding_format": format, "dimensions": 2});
            let response = world.post("/v1/embeddings", user, body).await;
            assert_eq!(response.status(), 200, "{kind}");
            let text = response.text().await.unwrap();
            let passed = path.ends_with("/v1/embeddings");
            assert_eq!(text == answer, passed, "{kind}: {text}");
            let read = oarmaster_dialect::embeddings::openai::read_answer(&text).unwrap();
            assert_eq!(read.vectors, [[0.5, -0.25], [1.0, 0.0]], "{kind}");
            assert_eq!(read.input_tokens, Some(6), "{kind}");
            assert_eq!(
                text.contains("\"embedding\":\""),
                !passed && format == "base64",
                "{kind}: {text}"
            );
            let sent = upstream.got().pop().unwrap();
            assert_eq!(sent.path, path);
            assert_eq!(
                sent.body.contains("output_dimension\""),
                ["Mistral", "Cohere"].contains(&kind),
                "{}",
                sent.body
            );
        }
        let total = world.gateway.store.sdk_total();
        let booked = (
            total.calls,
            total.sum.input_tokens,
            total.sum.cost_pico,
            total.sum.estimated,
        );
        assert_eq!(booked, (2, 12, 12_000_000, false), "{kind}");
        // One vector too few.
        upstream.reply(Reply::Plain(200, "application/json", answer.to_owned()));
        let body = json!({"model": "fast", "input": ["one", "two", "three"]});
        assert_eq!(
            world.post("/v1/embeddings", user, body).await.status(),
            502,
            "{kind}"
        );
    }
    for kind in ["Anthropic", "Groq", "OpenRouter"] {
        let (world, upstream) = vendor_world(kind).await;
        let response = world
            .post(
                "/v1/embeddings",
                world.user(),
                json!({"model": "fast", "input": "x"}),
            )
            .await;
        assert_eq!(response.status(), 400, "{kind}");
        assert!(response.text().await.unwrap().contains("has no embeddings"));
        assert!(upstream.got().is_empty());
    }
}

/// Vectors of one model: as many as the body has texts, each of the text's number.
fn vectors(from: usize, count: usize) -> Reply {
    #[allow(clippy::cast_precision_loss)] // a few hundred
    let values: Vec<Value> = (from..from + count)
        .map(|number| json!({"values": [number as f32]}))
        .collect();
    let tokens = json!({"promptTokenCount": count});
    Reply::json(200, json!({"embeddings": values, "usageMetadata": tokens}))
}

#[tokio::test]
async fn many_inputs_are_several_hops_and_one_answer() {
    let (world, upstream) = vendor_world("Gemini").await;
    world.kube.secret("team", "k2", &[("key", b"secret-of-k2")]);
    world
        .provider(
            "team",
            "up",
            common::vendor("Gemini", &upstream.origin(), &["k1", "k2"]),
        )
        .await;
    world
        .until(|gateway| common::usable(gateway, "team", "up") == 2)
        .await;
    let user = world.user();
    let input: Vec<String> = (0..250).map(|number| format!("text {number}")).collect();
    let body = json!({"model": "fast", "input": input});
    // The second key goes on where the first was refused.
    upstream.reply(vectors(0, 100));
    upstream.reply(Reply::json(401, json!({"error": {"code": 401, "message": "API key not valid", "status": "UNAUTHENTICATED"}})));
    upstream.reply(vectors(100, 100));
    upstream.reply(vectors(200, 50));
    let response = world.post("/v1/embeddings", user, body.clone()).await;
    assert_eq!(response.status(), 200);
    let read = oarmaster_dialect::embeddings::openai::read_answer(&response.text().await.unwrap())
        .unwrap();
    #[allow(clippy::cast_precision_loss)] // a few hundred
    let expected: Vec<Vec<f32>> = (0..250).map(|number| vec![number as f32]).collect();
    assert_eq!(read.vectors, expected);
    assert_eq!(read.input_tokens, Some(250));
    let keys: Vec<String> = upstream
        .got()
        .iter()
        .map(|got| got.headers["x-goog-api-key"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        keys,
        [
            "secret-of-k1",
            "secret-of-k1",
            "secret-of-k2",
            "secret-of-k2"
        ]
    );
    let total = world.gateway.store.sdk_total();
    assert_eq!(
        (total.calls, total.sum.input_tokens, total.sum.estimated),
        (3, 250, false)
    );

    // Another model starts anew: vectors of two models do not fit together.
    let good = Upstream::start().await;
    world
        .provider("team", "good", http_provider(&good.url, &[]))
        .await;
    world.pool("team", "fast", members(&["up", "good"])).await;
    world
        .until(|gateway| {
            gateway
                .snapshot
                .load()
                .pools
                .values()
                .any(|pool| pool.members.len() == 2)
        })
        .await;
    upstream.reply(vectors(0, 100));
    upstream.reply(Reply::error(503, "overloaded", "later"));
    let data: Vec<Value> = (0..250)
        .map(|index| json!({"object": "embedding", "index": index, "embedding": [7]}))
        .collect();
    good.reply(Reply::json(200, json!({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 9, "total_tokens": 9}})));
    let response = world.post("/v1/embeddings", user, body).await;
    let read = oarmaster_dialect::embeddings::openai::read_answer(&response.text().await.unwrap())
        .unwrap();
    assert_eq!(read.vectors, vec![vec![7.0]; 250]);
}

#[tokio::test]
async fn a_task_calls_chat_completions_alone() {
    let (world, upstream) = vendor_world("OpenAI").await;
    world.task(TaskBudget::default()).await;
    for (path, surface) in &SURFACES[1..] {
        let response = world.post(path, PILOT, ask(*surface, false)).await;
        assert_eq!(response.status(), 403, "{path}");
        assert!(
            response
                .text()
                .await
                .unwrap()
                .contains("/v1/chat/completions")
        );
    }
    let response = world
        .post(
            "/v1/embeddings",
            PILOT,
            json!({"model": "fast", "input": "x"}),
        )
        .await;
    assert_eq!(response.status(), 403);
    assert!(upstream.got().is_empty());
}

#[tokio::test]
async fn a_conversation_that_another_vendor_went_on_with_comes_back() {
    let (world, upstream) = vendor_world("Gemini").await;
    let user = world.user();
    upstream.reply(Reply::Plain(
        200,
        "application/json",
        fixture!("gemini/answer-tools.json").to_owned(),
    ));
    let first: Value = world
        .post("/v1/messages", user, ask(Words::Messages, false))
        .await
        .json()
        .await
        .unwrap();
    assert!(first.to_string().contains("google:"), "{first}");

    let (world, upstream) = vendor_world("Anthropic").await;
    let mut spec = common::vendor("Anthropic", &upstream.origin(), &["k1"]);
    spec["models"] = json!([{"name": "claude-sonnet-4-5"}]);
    world.provider("team", "claude", spec).await;
    let member = json!([{"provider": {"name": "claude"}, "model": "claude-sonnet-4-5"}]);
    world.pool("team", "fast", member).await;
    world
        .until(|gateway| {
            let snapshot = gateway.snapshot.load();
            let mut pools = snapshot.pools.values();
            pools.any(|pool| pool.members[0].provider.1 == "claude")
                && common::usable(gateway, "team", "claude") == 1
        })
        .await;
    let user = world.user();
    let calls = first["content"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|block| block["type"] == "tool_use");
    let results: Vec<Value> = calls
        .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "ok"}))
        .collect();
    let mut body = ask(Words::Messages, false);
    body["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": first["content"]}),
        json!({"role": "user", "content": results}),
    ]);
    upstream.reply(Reply::Plain(
        200,
        "application/json",
        fixture!("messages/provider-answer.json").to_owned(),
    ));
    let response = world.post("/v1/messages", user, body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-oarmaster-dropped"], "reasoning");
    let sent = upstream.got().pop().unwrap().body;
    assert!(
        !sent.contains("google:") && sent.contains("tool_use"),
        "{sent}"
    );
}
