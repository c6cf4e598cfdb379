//! MCP servers that do what they should not.

use super::server::{Manner, Server, at, task, tool};
use super::{call, offer};
use crate::common::World;
use oarmaster_protocol::tool::{MAX_TOOL_TEXT, OUTCOME_UNKNOWN};
use serde_json::{Value, json};

const KEY: &str = "secret-of-the-hub-0123456789";

async fn hub(tools: &[&str], manner: Manner) -> (World, Server, String) {
    let world = World::start().await;
    world
        .kube
        .secret("team", "hub", &[("token", KEY.as_bytes())]);
    let server = Server::start(tools.iter().map(|name| tool(name)).collect()).await;
    server.behave(manner);
    let mut assigned = at(&server.url, &["echo", "silent"]);
    assigned["key"] = json!({"namespace": "team", "name": "hub", "key": "token"});
    assigned["timeoutMs"] = json!(1000);
    let session = task(&world, &[assigned]).await;
    (world, server, session)
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Server::start(vec![tool("echo")]).await;
    let to = Manner::Redirect(elsewhere.url.clone());
    let (world, server, session) = hub(&["echo"], to).await;
    let found = offer(&world, &session).await;
    assert!(
        found.tools.is_empty() && found.missing.len() == 1,
        "{found:?}"
    );
    assert!(server.count("initialize") > 0);
    assert_eq!(elsewhere.keys(), [None::<String>; 0]);
}

#[tokio::test]
async fn errors_are_told_without_the_key() {
    for (status, body) in [
        (401, "who is KEY?"),
        (500, "{\"error\": \"KEY\"}"),
        (200, "<html>KEY"),
        (404, ""),
    ] {
        let manner = Manner::Http(status, body.to_owned());
        let (world, _server, session) = hub(&["echo"], manner).await;
        let missing = offer(&world, &session).await.missing.join("");
        assert!(
            missing.starts_with("hub: the server cannot be used"),
            "{missing}"
        );
        assert!(!missing.contains(KEY) && missing.len() < 1024, "{missing}");
    }
}

#[tokio::test]
async fn a_list_without_end_ends_and_a_message_without_measure_is_not_read() {
    let (world, server, session) = hub(&["echo"], Manner::Endless).await;
    let found = offer(&world, &session).await;
    // Sixteen pages have sixteen tools of one name.
    assert!(
        found.missing.join("").contains("two tools named echo"),
        "{found:?}"
    );
    assert_eq!(server.count("tools/list"), 16);
    let (world, _server, session) = hub(&["echo"], Manner::Huge(3 << 20)).await;
    let missing = offer(&world, &session).await.missing.join("");
    assert!(missing.contains("exceeded the maximum size"), "{missing}");
}

#[tokio::test]
async fn a_call_that_is_not_answered_is_given_up_and_may_have_had_its_effect() {
    let (world, server, session) = hub(&["echo", "silent"], Manner::Tame).await;
    let (ok, text) = call(&world, &session, 1, "hub__silent", json!({})).await;
    assert!(!ok && text.contains("did not answer within 1 s"), "{text}");
    assert!(
        text.contains("may or may not have had its effect"),
        "{text}"
    );
    assert_eq!(server.calls().len(), 1);
    // The connection goes on.
    let echoed = call(&world, &session, 2, "hub__echo", json!({"text": "hi"})).await;
    assert_eq!(echoed, (true, "hi".to_owned()));
    // And one that breaks is opened anew.
    server.behave(Manner::Http(500, String::new()));
    let (ok, text) = call(&world, &session, 3, "hub__echo", json!({})).await;
    assert!(!ok && text.contains(OUTCOME_UNKNOWN), "{text}");
    server.behave(Manner::Tame);
    let echoed = call(&world, &session, 4, "hub__echo", json!({"text": "hi"})).await;
    assert_eq!(echoed, (true, "hi".to_owned()));
    assert_eq!(server.count("initialize"), 2);
}

#[tokio::test]
async fn texts_are_cut_and_cleaned_and_nothing_else_is_asked_of_us() {
    let (world, _server, session) = hub(&["echo"], Manner::Tame).await;
    let long = "\u{1b}[2Jx".repeat(MAX_TOOL_TEXT);
    let short = long.get(..100_000).unwrap();
    let (ok, text) = call(&world, &session, 1, "hub__echo", json!({ "text": short })).await;
    assert!(ok && text.len() <= MAX_TOOL_TEXT && !text.contains('\u{1b}'));
    for arguments in [json!([1]), json!("x"), Value::Null] {
        let (ok, text) = call(&world, &session, 2, "hub__echo", arguments).await;
        assert_eq!(
            (ok, &*text),
            (false, "The arguments must be one JSON object.")
        );
    }
}
