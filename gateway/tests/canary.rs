//! A key must be nowhere but in the header to its provider.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use common::upstream::{Reply, Upstream};
use common::{OPERATOR, PILOT, World, ask, members};
use oarmaster_protocol::admin::TaskBudget;
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};

const KEY: &str = "sk-proj-CANARYcanary0123456789abcdefXYZ";
/// Of credentials of several parts, none may be seen; the provider gets the first and the last.
const AWS: [&str; 3] = [
    "AKIACANARY0123456789",
    "CANARYsecret/0123456789+abcdefghijklmnop",
    "CANARYtoken/IQoJb3JpZ2luX2VjEXAMPLE+session==",
];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_key_and_the_prompt_are_in_no_output() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_env_filter(
            "oarmaster_gateway=trace,oarmaster_store=trace,reqwest=trace,aws_sigv4=trace,kube=info",
        )
        .with_writer(move || writer.clone())
        .json()
        .init();
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.kube.secret("team", "k", &[("key", KEY.as_bytes())]);
    world
        .provider("team", "up", common::http_provider(&upstream.url, &["k"]))
        .await;
    // Failures are what this is about: no breaker is to keep requests away.
    let spec = json!({"members": members(&["up"]), "breaker": {"minRequests": 1000}});
    world.pool_with("team", "fast", spec).await;
    world
        .until(|gateway| common::usable(gateway, "team", "up") == 1)
        .await;
    let user = world.user();
    let claim = world.task(TaskBudget::default()).await;
    let mut seen = String::new();
    let partial = &KEY[10..24];
    let mut next = claim.next;
    for (number, message) in [
        format!("the account of {KEY} has a problem"),
        format!("the header was 'Bearer {KEY}', and {partial} is a part of it"),
        format!("{{\"nested\": \"{KEY}\"}}"),
    ]
    .into_iter()
    .enumerate()
    {
        for status in [400, 500] {
            upstream.reply(Reply::error(status, "x", &message));
            seen += &world
                .chat(user, ask("PROMPTCANARY"))
                .await
                .text()
                .await
                .unwrap();
        }
        upstream.reply(Reply::error(500, "x", &message));
        let (_, after, body) = world
            .call(
                &claim.session,
                claim.next_call + number as u64,
                next,
                "PROMPTCANARY",
            )
            .await;
        next = after.unwrap_or_else(|| panic!("{body}"));
        seen += &body.to_string();
        upstream.reply(Reply::events(
            &[
                json!({"choices": [{"index": 0, "delta": {"content": "x"}}]}),
                json!({"error": {"message": message}}),
            ],
            false,
            false,
        ));
        let mut stream = ask("PROMPTCANARY");
        stream["stream"] = json!(true);
        seen += &world.chat(user, stream).await.text().await.unwrap();
    }
    seen += &bedrock(&world, user).await;
    upstream.reply(Reply::error(401, "invalid_api_key", KEY));
    seen += &world
        .chat(user, ask("PROMPTCANARY"))
        .await
        .text()
        .await
        .unwrap();
    seen += &world
        .http
        .get(format!("{}/admin/v1/providers", world.admin))
        .bearer_auth(OPERATOR)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    seen += &world.metrics().await;
    seen += &format!("{:?}", world.gateway.snapshot.load());
    world.gateway.store.flush().await.unwrap();
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    let mut disk = Vec::new();
    for entry in std::fs::read_dir(world.dir.path()).unwrap().flatten() {
        collect(&entry.path(), &mut disk);
    }
    let disk = String::from_utf8_lossy(&disk).into_owned();
    assert!(
        upstream.got().iter().all(|got| got.key == KEY),
        "the provider gets the key"
    );
    assert!(
        disk.contains("callFailed") && !logged.is_empty(),
        "the places that are searched are the right ones"
    );
    for (place, text) in [
        ("an answer", &seen),
        ("the log", &logged),
        ("the store", &disk),
    ] {
        for needle in [KEY, partial, &KEY[..12], &hex::encode(KEY)] {
            assert!(!text.contains(needle), "{needle} is in {place}");
        }
        for part in AWS {
            for needle in [part, &part[4..18]] {
                assert!(!text.contains(needle), "{needle} is in {place}");
            }
        }
    }
    assert!(
        !logged.contains("PROMPTCANARY") && !logged.contains(PILOT) && !logged.contains(user),
        "prompts and tokens are in no log"
    );
}

/// The same with credentials of several parts; returns what callers see.
async fn bedrock(world: &World, user: &str) -> String {
    let upstream = Upstream::start().await;
    let entries = ["access-key-id", "secret-access-key", "session-token"];
    let data: Vec<(&str, &[u8])> = entries.into_iter().zip(AWS.map(str::as_bytes)).collect();
    world.kube.secret("team", "aws", &data);
    let mut spec = common::http_provider(&upstream.origin(), &[]);
    spec["type"] = json!("Bedrock");
    spec["bedrock"] = json!({"region": "eu-central-1"});
    spec["keys"] = json!([{"name": "aws", "secretRef": {"name": "aws"}}]);
    world.provider("team", "aws", spec).await;
    let member = json!([{"provider": {"name": "aws"}, "model": "m"}]);
    let spec = json!({"members": member, "breaker": {"minRequests": 1000}});
    world.pool_with("team", "aws", spec).await;
    world
        .kube
        .allow("system:serviceaccount:team:app use modelpools team/aws");
    world
        .until(|gateway| common::usable(gateway, "team", "aws") == 1)
        .await;
    let mut seen = String::new();
    let passing = [
        (400, "ValidationException"),
        (500, "InternalServerException"),
        (424, "ModelErrorException"),
    ];
    let each = |(status, kind)| AWS.map(|part| (status, kind, part));
    // The last one shuts the key out, and what was said stands in the status.
    let refused = (403, "UnrecognizedClientException", AWS[0]);
    let all: Vec<_> = passing
        .into_iter()
        .flat_map(each)
        .chain([refused])
        .collect();
    for (status, kind, part) in &all {
        let message = format!("the credential '{part}' and '{}'", &part[4..18]);
        let reply = Reply::json(*status, json!({ "message": message }));
        upstream.reply(reply.header("x-amzn-errortype", kind));
        let mut body = ask("PROMPTCANARY");
        body["model"] = json!("aws");
        seen += &world.chat(user, body).await.text().await.unwrap();
    }
    assert!(seen.contains("[redacted]"), "{seen}");
    assert_eq!(upstream.got().len(), all.len());
    for got in upstream.got() {
        assert!(
            got.headers["authorization"]
                .to_str()
                .unwrap()
                .contains(AWS[0])
        );
        assert_eq!(got.headers["x-amz-security-token"], AWS[2]);
        let sent = format!("{:?} {} {}", got.headers, got.path, got.body);
        assert!(!sent.contains(AWS[1]), "the secret only signs");
    }
    seen
}

fn collect(path: &std::path::Path, bytes: &mut Vec<u8>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            collect(&entry.path(), bytes);
        }
    } else {
        bytes.extend(std::fs::read(path).unwrap());
    }
}
