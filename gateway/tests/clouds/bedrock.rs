//! Bedrock.

use crate::common::sigv4::{Known, check};
use crate::common::upstream::{Got, Reply, Upstream};
use crate::common::{World, ask, circuit, http_provider, usable};
use crate::{events, pool, providers, streamed};
use oarmaster_gateway::state::Gateway;
use oarmaster_protocol::admin::CircuitHealth;
use serde_json::{Value, json};

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE/session+token==";
const REGION: &str = "eu-central-1";
const ARN: &str = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0";

const STREAM: &[u8] = include_bytes!("../../../dialect/fixtures/converse/stream.bin");
const EXCEPTION: &[u8] = include_bytes!("../../../dialect/fixtures/converse/stream-exception.bin");
const FRAMES: &str = "application/vnd.amazon.eventstream";

const KNOWN: Known<'_> = Known {
    id: ID,
    secret: SECRET,
    token: None,
    region: REGION,
    service: "bedrock",
};

fn bedrock(endpoint: &str, keys: &[&str]) -> Value {
    let mut spec = http_provider(endpoint, &[]);
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| json!({"name": key, "secretRef": {"name": key}}))
        .collect();
    spec["type"] = json!("Bedrock");
    spec["bedrock"] = json!({ "region": REGION });
    spec["keys"] = json!(keys);
    spec
}

fn aws_secret(world: &World, name: &str, secret: &str) {
    world.kube.secret(
        "team",
        name,
        &[
            ("access-key-id", ID.as_bytes()),
            ("secret-access-key", secret.as_bytes()),
        ],
    );
}

/// A world with a Bedrock provider.
async fn with_bedrock(then_good: bool) -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    aws_secret(&world, "aws", SECRET);
    pool(&world, bedrock(&upstream.origin(), &["aws"]), then_good).await;
    (world, upstream)
}

fn converse(text: &str) -> Reply {
    Reply::json(
        200,
        json!({
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15},
        }),
    )
}

/// Single frames of a stream.
fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some(length) = bytes.first_chunk() {
        let (frame, rest) = bytes.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame);
        bytes = rest;
    }
    frames
}

#[test]
fn the_check_of_signatures_is_awss() {
    let mut got = Got {
        path: "/".to_owned(),
        method: http::Method::GET,
        headers: http::HeaderMap::new(),
        key: String::new(),
        body: String::new(),
    };
    for (name, value) in [
        ("host", "example.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
    ] {
        got.headers.insert(name, value.parse().unwrap());
    }
    let known = Known {
        region: "us-east-1",
        service: "service",
        ..KNOWN
    };
    assert_eq!(check(&got, known), Ok(()));
    got.path = "/x".to_owned();
    let problem = check(&got, known).unwrap_err();
    assert!(problem.contains("another signature"), "{problem}");
}

#[tokio::test]
async fn bedrock_gets_signed_requests_and_callers_hear_chat_completions() {
    for token in [None, Some(TOKEN)] {
        let (world, upstream) = (World::start().await, Upstream::start().await);
        let mut entries = vec![
            ("access-key-id", ID.as_bytes()),
            ("secret-access-key", SECRET.as_bytes()),
        ];
        entries.extend(token.map(|token| ("session-token", token.as_bytes())));
        world.kube.secret("team", "aws", &entries);
        let mut spec = bedrock(&upstream.origin(), &["aws"]);
        let mut by_arn = spec["models"][0].clone();
        by_arn["name"] = json!(ARN);
        spec["models"].as_array_mut().unwrap().push(by_arn);
        pool(&world, spec, false).await;
        world
            .pool(
                "team",
                "arn",
                json!([{"provider": {"name": "up"}, "model": ARN}]),
            )
            .await;
        world
            .kube
            .allow("system:serviceaccount:team:app use modelpools team/arn");
        let user = world.user();
        for (pool, segment) in [
            ("fast", "m"),
            (
                "arn",
                "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.anthropic.claude-sonnet-4-5-20250929-v1%3A0",
            ),
        ] {
            upstream.reply(converse("Hello \u{2603}."));
            let mut body = ask("hi \u{2603}");
            body["model"] = json!(pool);
            let response = world.chat(user, body).await;
            assert_eq!(response.status(), 200, "{pool}");
            let answer: Value = response.json().await.unwrap();
            assert_eq!(
                answer["choices"][0]["message"]["content"],
                "Hello \u{2603}."
            );
            assert_eq!(answer["usage"]["prompt_tokens"], 10);

            upstream.reply(Reply::stream(FRAMES, STREAM, 7, false));
            let mut body = streamed();
            body["model"] = json!(pool);
            let text = world.chat(user, body).await.text().await.unwrap();
            assert_eq!(events(&text).last(), Some(&"[DONE]"), "{text}");
            assert!(text.contains("w\u{f6}rld \u{1f980}"), "{text}");
            assert!(text.contains("tooluse_1"), "{text}");

            let got = upstream.got();
            let [.., whole, stream] = got.as_slice() else {
                panic!("{got:?}");
            };
            assert_eq!(whole.path, format!("/model/{segment}/converse"));
            assert_eq!(stream.path, format!("/model/{segment}/converse-stream"));
            assert_eq!(stream.headers["accept"], FRAMES);
            for got in [whole, stream] {
                assert_eq!(check(got, Known { token, ..KNOWN }), Ok(()));
                let sent = format!("{:?} {}", got.headers, got.body);
                assert!(!sent.contains(SECRET), "{sent}");
            }
        }
        let total = world.gateway.store.sdk_total();
        assert_eq!(total.calls, 4);
        assert_eq!(total.sum.output_tokens, 2 * (5 + 832));
        assert_eq!(total.sum.cached_tokens, 2 * 1490);
    }
}

#[tokio::test]
async fn bedrock_answers_callers_of_every_surface() {
    let (world, upstream) = with_bedrock(false).await;
    let user = world.user();
    for (path, mut body, end) in [
        (
            "/v1/messages",
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            "event: message_stop",
        ),
        (
            "/v1/responses",
            json!({"input": "hi"}),
            "event: response.completed",
        ),
    ] {
        body["model"] = json!("fast");
        body[if path == "/v1/messages" {
            "max_tokens"
        } else {
            "max_output_tokens"
        }] = json!(9);
        upstream.reply(converse("Hello \u{2603}."));
        let response = world.post(path, user, body.clone()).await;
        assert_eq!(response.status(), 200, "{path}");
        let text = response.text().await.unwrap();
        assert!(text.contains("Hello \u{2603}."), "{path}: {text}");

        body["stream"] = json!(true);
        upstream.reply(Reply::stream(FRAMES, STREAM, 7, false));
        let text = world.post(path, user, body).await.text().await.unwrap();
        assert!(text.contains("w\u{f6}rld \u{1f980}"), "{path}: {text}");
        assert!(text.contains(end), "{path}: {text}");
    }
    let body = json!({"model": "fast", "input": "x"});
    let response = world.post("/v1/embeddings", user, body).await;
    assert_eq!(response.status(), 400);
    assert_eq!(upstream.got().len(), 4, "it has no embeddings");
    for got in upstream.got() {
        assert_eq!(check(&got, KNOWN), Ok(()));
    }
}

#[tokio::test]
async fn whether_bedrock_is_there_is_asked_without_a_key_and_for_nothing() {
    let (world, upstream) = with_bedrock(false).await;
    world
        .until(|gateway| {
            let report = gateway.health.report();
            let reachable = report.providers[0].reachable.as_ref();
            reachable.is_some_and(|reachable| reachable.ok)
        })
        .await;
    let probes = upstream.probes();
    assert!(!probes.is_empty());
    for probe in probes {
        assert_eq!(probe.path, "/");
        assert!(!probe.headers.contains_key("authorization"));
    }
    assert!(upstream.got().is_empty());
}

#[tokio::test]
async fn a_stream_of_frames_that_is_cut_or_fails_ends_with_an_error() {
    let all = frames(STREAM);
    let begun = all[..9].concat(); // up to the text
    let exception = frames(EXCEPTION)[1];
    let failed = [begun.as_slice(), exception].concat();
    let within = [begun.as_slice(), &all[9][..20]].concat();
    let mut garbled = begun.clone();
    garbled.extend(all[9].iter().map(|byte| !byte));
    for (bytes, broken, word) in [
        (&begun, false, "ended before the answer did"),
        (&begun, true, "the stream broke"),
        (&within, false, "ended within a frame"),
        (&garbled, false, "checksum"),
        (&failed, false, "slow"),
    ] {
        let (world, upstream) = with_bedrock(true).await;
        let user = world.user();
        upstream.reply(Reply::stream(FRAMES, bytes, 11, broken));
        let text = world.chat(user, streamed()).await.text().await.unwrap();
        assert!(text.contains("w\u{f6}rld"), "{text}");
        assert!(!text.contains("[DONE]"), "{text}");
        let last: Value = serde_json::from_str(events(&text).last().unwrap()).unwrap();
        let message = last["error"]["message"].as_str().unwrap();
        assert!(message.contains(word), "{word}: {last}");
        let total = world.gateway.store.sdk_total();
        assert_eq!(total.calls, 1, "{word}: what was delivered is booked");
        assert_eq!(total.sum.output_tokens, 100, "{word}: at the bound");
    }
}

#[tokio::test]
async fn an_exception_before_the_first_word_is_invisible() {
    let error = json!({"__type": "ThrottlingException", "message": "Too many requests"});
    for reply in [
        Reply::stream(FRAMES, EXCEPTION, 7, false),
        Reply::json(200, error.clone()),
        Reply::json(429, error),
        Reply::json(200, json!({})),
    ] {
        let (world, upstream) = with_bedrock(true).await;
        let user = world.user();
        upstream.reply(reply);
        let text = world.chat(user, streamed()).await.text().await.unwrap();
        assert_eq!(events(&text).last(), Some(&"[DONE]"), "{text}");
        assert!(text.contains("\"ok\"") && !text.contains("error"), "{text}");
        assert_eq!(upstream.got().len(), 1);
    }
}

#[tokio::test]
async fn bedrocks_errors_are_classed_by_the_exceptions_name() {
    let said = json!({"message": "no"});
    let typed = |status: u16, kind: &str| {
        Reply::json(status, json!({"message": "no"})).header(
            "x-amzn-errortype",
            &format!("{kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"),
        )
    };
    let in_body = |status: u16, kind: &str, message: &str| {
        Reply::json(status, json!({"__type": kind, "message": message}))
    };
    for (reply, class, booked) in [
        (typed(429, "ThrottlingException"), "RateLimit", 0),
        (typed(403, "UnrecognizedClientException"), "Credential", 0),
        (typed(403, "AccessDeniedException"), "ModelGone", 0),
        (typed(400, "ServiceQuotaExceededException"), "RateLimit", 0),
        (typed(424, "ModelErrorException"), "Transient", 1),
        (typed(500, "InternalServerException"), "Transient", 1),
        (typed(503, "ServiceUnavailableException"), "Transient", 0),
        (
            in_body(
                400,
                "com.amazon.coral.validate#ValidationException",
                "The provided model identifier is invalid.",
            ),
            "ModelGone",
            0,
        ),
        // As a success: nobody knows what came before, unless the name says it.
        (in_body(200, "ThrottlingException", "no"), "RateLimit", 0),
        (
            in_body(200, "InternalServerException", "no"),
            "Transient",
            1,
        ),
        (Reply::json(200, said), "Transient", 1),
        (
            Reply::Plain(502, "text/html", "<html>".to_owned()),
            "Transient",
            1,
        ),
    ] {
        let (world, upstream) = with_bedrock(true).await;
        let user = world.user();
        upstream.reply(reply);
        let answer: Value = world.chat(user, ask("hi")).await.json().await.unwrap();
        assert_eq!(answer["choices"][0]["message"]["content"], "ok", "{class}");
        let metrics = world.metrics().await;
        assert!(
            metrics.contains(&format!("outcome=\"{class}\"")),
            "{class}: {metrics}"
        );
        let calls = world.gateway.store.sdk_total().calls;
        assert_eq!(calls, 1 + booked, "{class}");
    }
}

#[tokio::test]
async fn a_key_that_aws_does_not_know_is_out_until_its_secret_changes() {
    let (world, upstream) = with_bedrock(false).await;
    let user = world.user();
    let denied = |kind: &str| {
        let message = format!("no {ID} and no {SECRET}");
        Reply::json(403, json!({ "message": message })).header("x-amzn-errortype", kind)
    };
    upstream.reply(denied("AccessDeniedException"));
    let text = world.chat(user, ask("hi")).await.text().await.unwrap();
    assert!(text.contains("[redacted] and no [redacted]"), "{text}");
    assert_eq!(usable(&world.gateway, "team", "up"), 1, "of one model only");
    // An edit is how a person says "try again".
    let left_alone = |gateway: &Gateway| circuit(gateway, "up") != CircuitHealth::Closed;
    assert!(left_alone(&world.gateway));
    let spec = bedrock(&upstream.origin(), &["aws"]);
    world.provider("team", "up", spec).await;
    world.until(|gateway| !left_alone(gateway)).await;
    upstream.reply(denied("UnrecognizedClientException"));
    world.chat(user, ask("hi")).await;
    assert_eq!(usable(&world.gateway, "team", "up"), 0);
    let report = providers(&world).await;
    assert!(report.contains("Invalid"), "{report}");
    assert!(!report.contains(ID) && !report.contains(SECRET), "{report}");

    let other = "another/secret0123456789012345678901234";
    aws_secret(&world, "aws", other);
    world
        .until(|gateway| usable(gateway, "team", "up") == 1)
        .await;
    upstream.reply(converse("back"));
    assert_eq!(world.chat(user, ask("hi")).await.status(), 200);
    let got = upstream.got();
    let known = Known {
        secret: other,
        ..KNOWN
    };
    assert_eq!(check(got.last().unwrap(), known), Ok(()));
}

#[tokio::test]
async fn what_a_secret_of_aws_lacks_is_told() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world
        .provider("team", "up", bedrock(&upstream.origin(), &["aws"]))
        .await;
    let told = async |what: &str| {
        let says = |gateway: &Gateway| format!("{:?}", gateway.health.report()).contains(what);
        world.until(says).await;
    };
    told("--from-literal=access-key-id=... --from-literal=secret-access-key=...").await;
    world
        .kube
        .secret("team", "aws", &[("api-key", b"x"), ("access-key-id", b"y")]);
    told("Secret aws has no key secret-access-key: type Bedrock needs").await;
    aws_secret(&world, "aws", "a\nb");
    told("secret-access-key of Secret aws has more than one line").await;
    assert_eq!(usable(&world.gateway, "team", "up"), 0);
}
