//! What goes on as it came, what is counted and listed, and what comes back in a later turn.

use crate::common::upstream::Reply;
use crate::common::{self, PILOT, vendor_world};
use crate::words::{SURFACES, Words, ask};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::{Value, json};

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
        .until(|gateway| common::usable(gateway, "team", "claude") == 1)
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
