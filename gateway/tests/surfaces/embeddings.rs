//! Embeddings, whoever makes them.

use crate::common::upstream::{Reply, Upstream};
use crate::common::{self, http_provider, members, vendor_world};
use serde_json::{Value, json};

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

/// The limits keep what the bodies used that were answered, whatever the one after them came to.
#[tokio::test]
async fn what_was_answered_before_a_failure_is_used() {
    let (world, upstream) = vendor_world("Gemini").await;
    let limited = json!({"members": members(&["up"]), "limits": {"tokensPerMinute": 10_000}});
    world.pool_with("team", "fast", limited).await;
    let input: Vec<String> = (0..150).map(|number| format!("text {number}")).collect();
    let body = json!({"model": "fast", "input": input});
    let (mut first, tokens) = (vectors(0, 100), 1_000_000);
    if let Reply::Plain(_, _, text) = &mut first {
        *text = text.replace(
            "\"promptTokenCount\":100",
            &format!("\"promptTokenCount\":{tokens}"),
        );
    }
    upstream.reply(first);
    upstream.reply(Reply::json(
        400,
        json!({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}),
    ));
    let user = world.user();
    let failed = world.post("/v1/embeddings", user, body.clone()).await;
    assert_eq!(failed.status(), 400);
    assert_eq!(upstream.got().len(), 2);
    let total = world.gateway.store.sdk_total().sum;
    assert_eq!((total.input_tokens, total.estimated), (tokens, false));
    // A hundred minutes' worth is taken.
    let refused = world.post("/v1/embeddings", user, body).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(upstream.got().len(), 2);
}
