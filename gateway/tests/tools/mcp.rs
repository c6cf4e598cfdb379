//! Tools of MCP servers.

use super::server::{Server, at, task, tool};
use super::{call, offer};
use crate::common::World;
use oarmaster_protocol::read::AuditAct;
use serde_json::{Value, json};

const KEY: &str = "secret-of-the-hub-0123456789";

/// A server of an assignment with a key.
fn keyed(url: &str, allow: &[&str]) -> Value {
    let mut server = at(url, allow);
    server["key"] = json!({"namespace": "team", "name": "hub", "key": "token"});
    server
}

async fn world() -> World {
    let world = World::start().await;
    world
        .kube
        .secret("team", "hub", &[("token", KEY.as_bytes())]);
    world
}

#[tokio::test]
async fn allowed_tools_are_offered_and_called_over_one_connection() {
    let (world, server) = (
        world().await,
        Server::start(vec![tool("echo"), tool("refuse"), tool("drop")]).await,
    );
    let session = task(&world, &[keyed(&server.url, &["echo", "refuse"])]).await;
    assert_eq!(server.count("initialize"), 0, "nothing before it is needed");
    let found = offer(&world, &session).await;
    assert_eq!(found.missing, [""; 0]);
    let names: Vec<_> = found.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["hub__echo", "hub__refuse"]);

    let echoed = call(&world, &session, 1, "hub__echo", json!({"text": "hi"})).await;
    assert_eq!(echoed, (true, "hi".to_owned()));
    let refused = call(&world, &session, 2, "hub__refuse", json!({})).await;
    assert_eq!(refused, (false, "I would rather not".to_owned()));
    // The same call is made once.
    let again = call(&world, &session, 1, "hub__echo", json!({"text": "hi"})).await;
    assert_eq!(again, echoed);
    assert_eq!(server.calls().len(), 2);
    assert_eq!(server.count("initialize"), 1);
    let bearer = Some(format!("Bearer {KEY}"));
    assert!(server.keys().iter().all(|key| *key == bearer));

    let body = json!({"number": 3, "arguments": {}});
    let own = (crate::common::PILOT, session.as_str());
    for name in ["hub__drop", "echo", "other__echo"] {
        assert_eq!(super::post(&world, own, name, &body).await.0, 403, "{name}");
    }
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn the_key_is_a_header_and_in_nothing_that_is_said_or_noted() {
    let (world, server) = (world().await, Server::start(vec![tool("key")]).await);
    let session = task(&world, &[keyed(&server.url, &["key"])]).await;
    let (ok, text) = call(&world, &session, 1, "hub__key", json!({})).await;
    assert!(
        ok && text.contains("[redacted]") && !text.contains(KEY),
        "{text}"
    );
    world.gateway.audit.flush();
    world.gateway.store.flush().await.unwrap();
    let (sender, mut lines) = tokio::sync::mpsc::channel(1000);
    let store = &world.gateway.store;
    assert!(store.audited(0, i64::MAX, sender).await.unwrap());
    let mut noted = 0;
    while let Some(line) = lines.recv().await {
        assert!(!format!("{line:?}").contains(KEY));
        if line.act == AuditAct::Tool {
            assert_eq!((&*line.object, &*line.who), ("hub__key", "alice@acme"));
            noted += 1;
        }
    }
    assert_eq!(noted, 1);
}

#[tokio::test]
async fn what_is_in_the_way_of_the_key_is_said_and_nothing_is_sent() {
    let (world, server) = (
        World::start().await,
        Server::start(vec![tool("echo")]).await,
    );
    let session = task(&world, &[keyed(&server.url, &["echo"])]).await;
    let why = async || {
        let found = offer(&world, &session).await;
        assert!(found.tools.is_empty());
        found.missing.join("\n")
    };
    let missing = why().await;
    assert!(
        missing.contains("Secret hub does not exist in namespace team"),
        "{missing}"
    );
    world.kube.secret("team", "hub", &[("other", b"x")]);
    assert!(why().await.contains("Secret hub has no key token"));
    world.kube.forbid_secret("team", "hub", true);
    let forbidden = why().await;
    assert!(
        forbidden.contains("kubectl create rolebinding oarmaster-gateway-keys --namespace team"),
        "{forbidden}"
    );
    world.kube.forbid_secret("team", "hub", false);
    world
        .kube
        .secret("team", "hub", &[("token", b"two\nlines")]);
    assert!(why().await.contains("is not usable"));
    assert_eq!(server.count("initialize"), 0);
    // As soon as it is right it is used.
    world
        .kube
        .secret("team", "hub", &[("token", KEY.as_bytes())]);
    assert_eq!(offer(&world, &session).await.tools.len(), 1);
}

#[tokio::test]
async fn addresses_that_nobody_may_reach_are_not_reached() {
    for (url, why) in [
        (
            "https://10.1.2.3/mcp",
            "10.1.2.3 is a private address; if that is meant, add it to the chart's gateway.privateEndpoints",
        ),
        ("https://169.254.169.254/mcp", "private address"),
        ("https://[fd00::1]/mcp", "private address"),
        (
            "http://93.184.216.34/mcp",
            "http is for addresses that the chart's gateway.privateEndpoints lists",
        ),
        ("ftp://127.0.0.1/mcp", "the URL is not https"),
    ] {
        let world = world().await;
        let session = task(&world, &[keyed(url, &["echo"])]).await;
        let found = offer(&world, &session).await;
        assert!(
            found.missing.join("").contains(why),
            "{url}: {:?}",
            found.missing
        );
        let (ok, text) = call(&world, &session, 1, "hub__echo", json!({})).await;
        assert!(!ok && text.contains(why), "{url}: {text}");
    }
}
