//! Whole answers, streams and errors, of every type of provider on every surface.

use crate::common::upstream::Reply;
use crate::common::{World, members, scripted, vendor_world, world_beside_good};
use crate::words::{KINDS, SURFACES, Told, Words, ask, words_of};
use serde_json::{Value, json};

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
        let (world, upstream, good) = world_beside_good("OpenAI").await;
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
