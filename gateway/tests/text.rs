//! Text on its way through the gateway: every character stays; what is none is passed on to SDK callers as it came, and is U+FFFD in a
//! Task's answer and journal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream, completion};
use common::{PILOT, UID, World, ask};
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::journal::Body;
use serde_json::{Value, json};

const ROOMY: TaskBudget = TaskBudget {
    pico_usd: Some(1_000_000_000_000_000),
    tokens: None,
    tasks: None,
    depth: None,
};

/// An answer of these bytes, whether they are text or not.
fn answer(bytes: Vec<u8>) -> Reply {
    Reply::Pieces {
        kind: "application/json",
        pieces: vec![(0, bytes)],
        cut: false,
    }
}

/// A completion whose content is these bytes between quotes.
fn content(inner: &[u8]) -> Vec<u8> {
    let whole = completion("HERE", 10, 5).to_string();
    let (before, after) = whole.split_once("HERE").unwrap();
    [before.as_bytes(), inner, after.as_bytes()].concat()
}

#[tokio::test]
async fn every_scalar_value_reaches_the_journal_and_comes_back() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let claim = world.task(ROOMY).await;
    let every: Vec<char> = ('\0'..=char::MAX).collect();
    let mut next = claim.next;
    // Together they are more than one record holds.
    for (call, part) in every.chunks(600_000).enumerate() {
        let text: String = part.iter().collect();
        upstream.reply(Reply::answer(&text));
        let call = claim.next_call + call as u64;
        let (status, after, answer) = world.call(&claim.session, call, next, &text).await;
        assert_eq!(status, 200);
        assert!(answer["choices"][0]["message"]["content"] == *text);
        let sent: Value = serde_json::from_str(&upstream.got().last().unwrap().body).unwrap();
        assert!(sent["messages"][0]["content"] == *text);
        let records = world.gateway.store.records(UID, next, 10).await.unwrap();
        assert!(records.iter().any(|record| matches!(
            &record.body,
            Body::Answer { message, replaced: 0, .. } if message["content"] == *text
        )));
        next = after.unwrap();
    }

    let transcript = format!(
        "{}/read/v1/namespaces/team/tasks/fix/transcript",
        world.read
    );
    world.kube.token("reader", "bob", "api-server", None);
    world.kube.allow("bob get tasks/transcript team/fix");
    let response = world
        .http
        .get(transcript)
        .bearer_auth("reader")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let lines = response.text().await.unwrap();
    let told: String = lines
        .split_terminator('\n')
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == "answer")
        .map(|record| record["message"]["content"].as_str().unwrap().to_owned())
        .collect();
    assert!(told.chars().eq(every));
}

#[tokio::test]
async fn a_tasks_answer_is_repaired_and_the_journal_says_so() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let claim = world.task(ROOMY).await;
    let mut next = claim.next;
    for (number, (inner, text, count)) in [
        (&br"a\ud800b"[..], "a\u{fffd}b", 1),
        (br"\udc00\ud83d\ude00\ud83d", "\u{fffd}😀\u{fffd}", 2),
        (b"a\xe2\x82b\xff", "a\u{fffd}b\u{fffd}", 2),
        ("\u{fffd}".as_bytes(), "\u{fffd}", 0),
    ]
    .into_iter()
    .enumerate()
    {
        upstream.reply(answer(content(inner)));
        let call = claim.next_call + number as u64;
        let asked = format!("question {number}");
        let (status, after, given) = world.call(&claim.session, call, next, &asked).await;
        assert_eq!(
            (status, &given["choices"][0]["message"]["content"]),
            (200, &json!(text))
        );
        let records = world.gateway.store.records(UID, next, 10).await.unwrap();
        let Some(Body::Answer {
            message, replaced, ..
        }) = records.last().map(|one| &one.body)
        else {
            panic!("{records:?}");
        };
        assert_eq!((&message["content"], *replaced), (&json!(text), count));
        // A repeated number is the recorded answer.
        let again = world.call(&claim.session, call, next, &asked).await;
        assert_eq!(again, (200, after, given));
        next = after.unwrap();
    }
    let usage = world.gateway.store.usage(UID).await.unwrap();
    assert_eq!(
        (usage.calls, usage.sum.output_tokens, usage.sum.estimated),
        (4, 20, false)
    );
}

#[tokio::test]
async fn a_character_that_is_cut_between_two_packets_is_whole() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let claim = world.task(ROOMY).await;
    let body = content("שלום ไทย 😀".as_bytes());
    let pieces = body.iter().map(|byte| (0, vec![*byte])).collect();
    upstream.reply(Reply::Pieces {
        kind: "application/json",
        pieces,
        cut: false,
    });
    let (status, _, given) = world
        .call(&claim.session, claim.next_call, claim.next, "hi")
        .await;
    assert_eq!(status, 200);
    assert_eq!(given["choices"][0]["message"]["content"], "שלום ไทย 😀");
}

#[tokio::test]
async fn callers_that_are_no_task_get_and_send_bytes_as_they_are() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let user = world.user();
    for inner in [
        &br"a\ud800b"[..],
        b"a\xe2\x82b\xff",
        "\u{85}\u{2028}\u{fffe}".as_bytes(),
    ] {
        upstream.reply(answer(content(inner)));
        let response = world.chat(user, ask("hi")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.bytes().await.unwrap(), content(inner));
    }
    assert_eq!(
        world.gateway.store.sdk_total().sum.output_tokens,
        15,
        "metered all the same"
    );

    let request = r#"{"model":"m","messages":[{"role":"user","content":"a\ud800b \ud83d\ude00"}],"user":"\udc00","k\ud800":1}"#;
    let response = world
        .http
        .post(format!("{}/v1/chat/completions", world.data))
        .bearer_auth(user)
        .body(request.replace(r#""m""#, r#""team/fast""#))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(upstream.got().last().unwrap().body, request);
}

/// Some servers cut their text between tokens, in the middle of a character. Its halves pass in two events.
#[tokio::test]
async fn a_stream_keeps_the_halves_of_a_character() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    let user = world.user();
    let event = |inner: &[u8]| {
        let before = br#"data: {"choices":[{"index":0,"delta":{"content":""#;
        [
            before,
            inner,
            br#""},"finish_reason":null}],"usage":null}"#,
            b"\n\n",
        ]
        .concat()
    };
    let halves = [
        event(b"\xe2\x82"),
        event(b"\xac"),
        event(br"\ud83d"),
        event(br"\ude00"),
    ];
    let end = b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
    // One byte at a time: the cuts of the network are not those of the events.
    let all = [halves.concat(), end.to_vec()].concat();
    upstream.reply(Reply::Pieces {
        kind: "text/event-stream",
        pieces: all.iter().map(|byte| (0, vec![*byte])).collect(),
        cut: false,
    });
    let mut body = ask("hi");
    body["stream"] = json!(true);
    let got = world.chat(user, body).await.bytes().await.unwrap();
    for half in halves {
        let without_usage = String::from_utf8_lossy(&half).replace(r#","usage":null"#, "");
        assert!(
            String::from_utf8_lossy(&got).contains(without_usage.trim_end()),
            "{got:?}"
        );
    }
    let has = |bytes: &[u8]| got.windows(bytes.len()).any(|window| window == bytes);
    assert!(
        has(b"\"\xe2\x82\"") && has(b"\"\xac\"") && has(br#""\ud83d""#),
        "{got:?}"
    );
    assert!(got.ends_with(b"data: [DONE]\n\n"));
    assert_eq!(world.gateway.store.sdk_total().sum.output_tokens, 5);
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_no_json() {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    world.task(ROOMY).await;
    for token in [world.user(), PILOT] {
        let response = world
            .http
            .post(format!("{}/v1/chat/completions", world.data))
            .bearer_auth(token)
            .body(b"{\"model\":\"team/fast\",\"messages\":[{\"content\":\"\xff\"}]}".to_vec())
            .send()
            .await
            .unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status == 400 && text.contains("UTF-8"), "{status} {text}");
    }
    assert!(upstream.got().is_empty());
}
