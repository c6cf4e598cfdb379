//! Azure.

use crate::common::upstream::{Reply, Upstream};
use crate::common::{World, ask, circuit, http_provider, usable};
use crate::{events, pool, streamed};
use oarmaster_gateway::clock::since_epoch;
use oarmaster_protocol::admin::CircuitHealth;
use serde_json::{Value, json};
use std::time::Duration;

fn azure(endpoint: &str, keys: &[&str]) -> Value {
    let mut spec = http_provider(endpoint, keys);
    spec["type"] = json!("AzureOpenAI");
    spec
}

/// A world with an Azure provider.
async fn with_azure(then_good: bool) -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.kube.secret("team", "k", &[("key", b"secret-of-k")]);
    pool(&world, azure(&upstream.origin(), &["k"]), then_good).await;
    (world, upstream)
}

#[tokio::test]
async fn azures_deployments_are_called_by_their_names() {
    for (own, model, path, named) in [
        (json!({}), "m", "/openai/v1/chat/completions", "m"),
        (
            json!({"deployments": {"m": "prod-4o"}}),
            "m",
            "/openai/v1/chat/completions",
            "prod-4o",
        ),
        (
            json!({"apiVersion": "2024-10-21", "deployments": {"m": "prod-4o"}}),
            "m",
            "/openai/deployments/prod-4o/chat/completions?api-version=2024-10-21",
            "prod-4o",
        ),
        (
            json!({"apiVersion": "2025-01-01-preview"}),
            "eu/gpt-4o",
            "/openai/deployments/eu%2Fgpt-4o/chat/completions?api-version=2025-01-01-preview",
            "eu/gpt-4o",
        ),
    ] {
        let (world, upstream) = (World::start().await, Upstream::start().await);
        world.kube.secret("team", "k", &[("key", b"secret-of-k")]);
        let mut spec = azure(&upstream.origin(), &["k"]);
        spec["azure"] = own;
        spec["models"][0]["name"] = json!(model);
        world.provider("team", "up", spec).await;
        let member = json!([{"provider": {"name": "up"}, "model": model}]);
        world.pool("team", "fast", member).await;
        world
            .until(|gateway| usable(gateway, "team", "up") == 1)
            .await;
        let user = world.user();
        assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
        let got = &upstream.got()[0];
        assert_eq!(got.path, path);
        assert_eq!(got.headers["api-key"], "secret-of-k");
        assert!(!got.headers.contains_key("authorization"));
        let sent: Value = serde_json::from_str(&got.body).unwrap();
        assert_eq!(sent["model"], named);
        assert_eq!(sent["max_completion_tokens"], 100);
        let metrics = world.metrics().await;
        assert!(
            metrics.contains(&format!("model=\"{model}\"")),
            "the model is what the object calls it: {metrics}"
        );
    }
}

#[tokio::test]
async fn what_azures_filter_says_reaches_the_caller_and_counts_for_nothing() {
    let (world, upstream) = with_azure(false).await;
    let user = world.user();
    let filter = json!({"hate": {"filtered": false, "severity": "safe"}});
    let chunks = [
        json!({"id": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": filter}]}),
        json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": null}], "usage": null}),
        json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": null}),
        json!({"id": "", "choices": [{"index": 0, "finish_reason": null, "content_filter_offsets": {"check_offset": 2}, "content_filter_results": filter}]}),
        json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}),
    ];
    upstream.reply(Reply::events(&chunks, true, false));
    let text = world.chat(user, streamed()).await.text().await.unwrap();
    let heard = events(&text);
    assert_eq!(heard.len(), 6, "{text}");
    assert_eq!(heard[0], chunks[0].to_string(), "as it came");
    assert_eq!(heard[5], "[DONE]");
    let total = world.gateway.store.sdk_total();
    assert_eq!(
        (total.calls, total.sum.input_tokens, total.sum.output_tokens),
        (1, 7, 3)
    );

    // With nothing but what the filter says there is no answer.
    upstream.reply(Reply::events(&chunks[..1], false, false));
    let response = world.chat(user, streamed()).await;
    assert_eq!(response.status(), 502);
}

#[tokio::test]
async fn a_stream_of_azures_that_is_cut_or_fails_ends_with_an_error() {
    let begun = json!({"choices": [{"index": 0, "delta": {"content": "Hi"}}]});
    let error =
        json!({"error": {"code": "429", "message": "Requests have exceeded the rate limit"}});
    for (chunks, cut, word) in [
        (vec![begun.clone()], false, "ended before the answer did"),
        (vec![begun.clone()], true, "the stream broke"),
        (vec![begun, error], false, "exceeded the rate limit"),
    ] {
        let (world, upstream) = with_azure(false).await;
        let user = world.user();
        upstream.reply(Reply::events(&chunks, false, cut));
        let text = world.chat(user, streamed()).await.text().await.unwrap();
        assert!(!text.contains("[DONE]"), "{text}");
        let last: Value = serde_json::from_str(events(&text).last().unwrap()).unwrap();
        let message = last["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{word}: {last}");
        assert_eq!(world.gateway.store.sdk_total().calls, 1, "{word}");
    }
}

#[tokio::test]
async fn azures_errors_are_classed_by_their_codes() {
    let error = |status: u16, code: &str, message: &str| {
        Reply::json(status, json!({"error": {"code": code, "message": message}}))
    };
    for (reply, class, asked_on) in [
        (
            error(
                404,
                "DeploymentNotFound",
                "The API deployment for this resource does not exist.",
            ),
            "ModelGone",
            true,
        ),
        (
            error(
                400,
                "OperationNotSupported",
                "The chatCompletion operation does not work with the specified model",
            ),
            "ModelGone",
            true,
        ),
        (
            error(
                401,
                "401",
                "Access denied due to invalid subscription key or wrong API endpoint.",
            ),
            "Credential",
            true,
        ),
        (
            error(400, "context_length_exceeded", "too long"),
            "ContextLength",
            false,
        ),
        (
            error(
                400,
                "content_filter",
                "The response was filtered due to the prompt triggering the content management policy.",
            ),
            "CallerFault",
            false,
        ),
        (
            error(
                200,
                "InternalServerError",
                "Backend returned unexpected response.",
            ),
            "Transient",
            true,
        ),
    ] {
        let (world, upstream) = with_azure(true).await;
        let user = world.user();
        upstream.reply(reply);
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status() == 200, asked_on, "{class}");
        let metrics = world.metrics().await;
        assert!(
            metrics.contains(&format!("outcome=\"{class}\"")),
            "{class}: {metrics}"
        );
    }
}

#[tokio::test]
async fn azures_wait_in_milliseconds_is_kept() {
    let (world, upstream) = with_azure(true).await;
    let user = world.user();
    let limited = Reply::error(429, "429", "Please retry after 600 seconds.");
    upstream.reply(limited.header("retry-after-ms", "600000"));
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let CircuitHealth::Open { until_ms } = circuit(&world.gateway, "up") else {
        panic!("it is left alone");
    };
    let until = Duration::from_millis(u64::try_from(until_ms).unwrap());
    let left = until.saturating_sub(since_epoch());
    assert!(
        left > Duration::from_secs(500) && left <= Duration::from_secs(600),
        "{left:?}"
    );
    world.chat(user, ask("hi")).await;
    assert_eq!(upstream.got().len(), 1, "it is not asked in the meantime");
}

#[tokio::test]
async fn a_model_that_azure_calls_by_responses_alone_is_called_so() {
    let answer = json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "codex-mini",
        "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "done", "annotations": []}]}],
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
    });
    for (own, path) in [
        (json!({}), "/openai/v1/responses"),
        (
            json!({"apiVersion": "2025-04-01-preview"}),
            "/openai/responses?api-version=2025-04-01-preview",
        ),
    ] {
        let (world, upstream) = (World::start().await, Upstream::start().await);
        world.kube.secret("team", "k", &[("key", b"secret-of-k")]);
        let mut spec = azure(&upstream.origin(), &["k"]);
        spec["azure"] = own;
        spec["azure"]["deployments"] = json!({"codex-mini": "prod-codex"});
        spec["models"] = json!([{"name": "codex-mini"}]);
        world.provider("team", "up", spec).await;
        let member = json!([{"provider": {"name": "up"}, "model": "codex-mini"}]);
        world.pool("team", "fast", member).await;
        world
            .until(|gateway| usable(gateway, "team", "up") == 1)
            .await;
        let user = world.user();
        upstream.always(Reply::json(200, answer.clone()));
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status(), 200);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["choices"][0]["message"]["content"], "done");
        assert_eq!(body["usage"]["prompt_tokens"], 7);
        let body = json!({"model": "fast", "input": "hi"});
        let response = world.post("/v1/responses", user, body).await;
        // Who speaks it gets the provider's own bytes.
        assert_eq!(response.bytes().await.unwrap(), answer.to_string());
        for got in upstream.got() {
            assert_eq!(got.path, path);
            assert_eq!(got.headers["api-key"], "secret-of-k");
            let sent: Value = serde_json::from_str(&got.body).unwrap();
            assert_eq!(sent["model"], "prod-codex");
        }
        assert_eq!(upstream.got().len(), 2);
    }
}
