//! Tools that the gateway carries out: what pilots may call, what agents remember, and MCP servers, tame and hostile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod hostile;
mod mcp;
mod memory;
mod messages;
mod server;
mod servers;

use common::{OPERATOR, PILOT, World};
use oarmaster_protocol::admin::OpenAttempt;
use oarmaster_protocol::task::Claim;
use oarmaster_protocol::tool::{Offer, ToolAnswer};
use serde_json::{Value, json};

/// An assignment with these tools.
fn with_tools(tools: &[&str]) -> Value {
    let mut assignment = common::assignment();
    assignment["target"]["agent"]["tools"] = json!(tools);
    assignment
}

/// Opens an attempt for shared pilots, one of which takes it; its capability and session.
async fn worked_on(
    world: &World,
    uid: &str,
    attempt: u32,
    request: &OpenAttempt,
) -> (String, String) {
    let url = format!("{}/admin/v1/attempts/{uid}/{attempt}", world.admin);
    let opened = world.http.put(url).bearer_auth(OPERATOR).json(request);
    assert_eq!(opened.send().await.unwrap().status(), 200);
    world.kube.token(
        "pilots-token",
        "system:serviceaccount:oarmaster-system:oarmaster-pilots",
        "oarmaster-gateway",
        Some(("pilots-x", "pilots-uid")),
    );
    let work = world.http.post(format!("{}/task/v1/work", world.data));
    let work = work.bearer_auth("pilots-token").send().await.unwrap();
    assert_eq!(work.status(), 200);
    let work: Value = work.json().await.unwrap();
    assert_eq!(work["taskUid"], uid);
    let claim: Claim = serde_json::from_value(work["claim"].clone()).unwrap();
    (
        work["capability"].as_str().unwrap().to_owned(),
        claim.session,
    )
}

/// A call of the pilot.
async fn post(
    world: &World,
    (token, session): (&str, &str),
    name: &str,
    body: &Value,
) -> (u16, Value) {
    let url = format!("{}/task/v1/tools/{name}", world.data);
    let request = world.http.post(url).bearer_auth(token).json(body);
    let answer = request.header("oarmaster-session", session).send();
    let answer = answer.await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// One that the gateway takes: how it ended.
async fn call(
    world: &World,
    session: &str,
    number: u32,
    name: &str,
    arguments: Value,
) -> (bool, String) {
    let body = json!({"number": number, "arguments": arguments});
    let (status, answer) = post(world, (PILOT, session), name, &body).await;
    assert_eq!(status, 200, "{answer}");
    let ToolAnswer { ok, text, .. } = serde_json::from_value(answer).unwrap();
    (ok, text)
}

/// The tools of the agent's servers.
async fn offer(world: &World, session: &str) -> Offer {
    let url = format!("{}/task/v1/tools", world.data);
    let request = world.http.get(url).bearer_auth(PILOT);
    let answer = request.header("oarmaster-session", session).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}
