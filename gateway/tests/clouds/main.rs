//! Azure and Bedrock: addresses, signatures, streams and errors of their own. What Bedrock checks of a signature is computed here anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod azure;
mod bedrock;
#[path = "../common/mod.rs"]
mod common;

use common::upstream::{Reply, Upstream};
use common::{OPERATOR, World, ask, http_provider, usable};
use serde_json::{Value, json};

/// A pool `fast` of the provider `up` with this spec, and of one that answers `ok` where `then_good`.
async fn pool(world: &World, spec: Value, then_good: bool) {
    world.provider("team", "up", spec).await;
    let mut members = vec![json!({"provider": {"name": "up"}, "model": "m"})];
    if then_good {
        let good = Upstream::start().await;
        let chunk =
            json!({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]});
        good.when_streamed(Reply::events(&[chunk], true, false));
        world
            .provider("team", "good", http_provider(&good.url, &[]))
            .await;
        members.push(json!({"provider": {"name": "good"}, "model": "m"}));
    }
    world.pool("team", "fast", json!(members)).await;
    world
        .until(|gateway| usable(gateway, "team", "up") == 1)
        .await;
}

fn streamed() -> Value {
    let mut body = ask("hi");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// The data of a stream's events.
fn events(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect()
}

async fn providers(world: &World) -> String {
    let response = world
        .http
        .get(format!("{}/admin/v1/providers", world.admin))
        .bearer_auth(OPERATOR)
        .send()
        .await
        .unwrap();
    response.text().await.unwrap()
}
