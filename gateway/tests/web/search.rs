//! What is asked of the search endpoint, and what becomes of its answers.

use crate::support::{KEY, Reply, Scene, Setting, whole};
use serde_json::json;

#[tokio::test]
async fn without_an_endpoint_it_is_said_where_to_set_one() {
    let scene = Scene::with(Setting {
        search: false,
        ..Setting::default()
    })
    .await;
    let (outcome, text) = scene
        .call("WebSearch", json!({"query": "rust"}))
        .await
        .unwrap_err();
    assert_eq!(outcome, "unconfigured");
    assert!(text.contains("gateway.search.url"), "{text}");
}

#[tokio::test]
async fn the_words_the_count_and_the_key_are_sent_and_nothing_else() {
    let scene = Scene::start().await;
    scene.finds(&["https://found.test/a", "https://evil.test/"]);
    let call = scene.call("WebSearch", json!({"query": "a b&c=d #é", "count": 2}));
    assert_eq!(
        call.await.unwrap(),
        "[1] Title 0\nURL: https://found.test/a\n    what it is about\n\n[2] Title 1\nURL: https://evil.test/\n    what it is about\n\n"
    );
    let heads = scene.server.heads();
    let [head] = heads.as_slice() else {
        panic!("{heads:?}")
    };
    let mut lines: Vec<&str> = head.split("\r\n").filter(|line| !line.is_empty()).collect();
    lines.remove(0);
    lines.sort_unstable();
    let host = format!("host: {}", scene.http);
    let agent = concat!("user-agent: oarmaster/", env!("CARGO_PKG_VERSION"));
    let key = format!("x-search-key: {KEY}");
    assert_eq!(
        lines,
        [
            "accept-encoding: gzip",
            "accept: application/json",
            host.as_str(),
            agent,
            key.as_str()
        ]
    );
    assert!(
        head.contains("get /search?q=a%20b%26c%3dd%20%23%c3%a9&n=2 http/1.1"),
        "{head}"
    );
}

#[tokio::test]
async fn what_the_endpoint_does_wrong_is_said() {
    let scene = Scene::start().await;
    let says = |reply| scene.server.says("http://127.0.0.1/search", reply);
    let status = |line: &str| {
        Reply::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    };
    let large = format!("{{\"results\": [], \"x\": \"{}\"}}", "x".repeat(2 << 20));
    let repeated =
        json!({"results": [{"url": "https://a.test/", "title": format!("your key {KEY}")}]})
            .to_string();
    let packed = whole("application/json", "content-encoding: br\r\n", b"{}");
    let cut =
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"results\": [".to_vec());
    for (reply, outcome, why) in [
        (
            status("302 Found\r\nlocation: https://evil.test/"),
            "unreachable",
            "answered 302: it leads elsewhere",
        ),
        (
            status("403 Forbidden"),
            "unreachable",
            "json not among search.formats",
        ),
        (
            status("429 Too Many Requests"),
            "unreachable",
            "no more searches for now",
        ),
        (
            status("500 Internal Server Error"),
            "unreachable",
            "answered 500",
        ),
        (status("204 No Content"), "unreachable", "answered 204"),
        (whole("text/html", "", b"<html>"), "unreadable", "no JSON"),
        (
            whole("application/json", "", b"{}"),
            "unreadable",
            "no list at \"/results\"",
        ),
        (
            whole("application/json", "", large.as_bytes()),
            "unreadable",
            "more than 2 MiB",
        ),
        (
            whole("application/json", "", repeated.as_bytes()),
            "unreadable",
            "repeated its key",
        ),
        (packed, "unreadable", "packed in a way"),
        (cut, "unreachable", "broke off after 13 bytes"),
        (
            Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()),
            "unreachable",
            "does not answer",
        ),
    ] {
        says(reply);
        let (told, text) = scene
            .call("WebSearch", json!({"query": "rust"}))
            .await
            .unwrap_err();
        assert_eq!(told, outcome, "{text}");
        assert!(text.contains(why) && !text.contains(KEY), "{text}");
    }
    // A redirect was not followed.
    assert!(
        scene
            .server
            .asked()
            .iter()
            .all(|url| url.starts_with("http://127.0.0.1/search"))
    );
}

#[tokio::test]
async fn a_private_endpoint_is_used_only_where_it_is_listed() {
    let scene = Scene::with(Setting {
        private: Vec::new(),
        ..Setting::default()
    })
    .await;
    scene.finds(&["https://found.test/"]);
    let (outcome, text) = scene
        .call("WebSearch", json!({"query": "rust"}))
        .await
        .unwrap_err();
    assert_eq!(outcome, "unconfigured");
    assert!(text.contains("gateway.privateEndpoints"), "{text}");
    assert!(scene.server.asked().is_empty());
}
