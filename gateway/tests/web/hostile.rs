//! Servers that stall, flood, break off and send what breaks readers.

use crate::support::{Reply, Scene, Setting, whole};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::io::Write as _;
use std::time::Duration;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const URL: &str = "https://docs.test/page";

#[tokio::test]
async fn whoever_stalls_or_drips_is_given_up() {
    let scene = Scene::with(Setting {
        deadline: Duration::from_secs(2),
        ..Setting::default()
    })
    .await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";
    let endless = format!("{head}x-slow: {}", "x".repeat(10_000));
    let body = format!(
        "{head}content-length: 100000\r\n\r\n<p>{}",
        "x".repeat(10_000)
    );
    for reply in [String::new(), endless, body] {
        scene.server.says(URL, Reply::Drip(reply.into_bytes()));
        let (outcome, text) = scene.fetch(URL).await.unwrap_err();
        assert_eq!(outcome, "too_slow");
        assert!(text.contains("took more than 2 s"), "{text}");
    }
    scene.server.says(
        "http://127.0.0.1/search",
        Reply::Drip(b"HTTP/1.1 200 OK\r\n".to_vec()),
    );
    let (outcome, _) = scene
        .call("WebSearch", json!({"query": "slow"}))
        .await
        .unwrap_err();
    assert_eq!(outcome, "too_slow");
    // And whoever comes after them is served.
    scene.server.page(URL, "quick");
    assert!(scene.fetch(URL).await.unwrap().contains("quick"));
}

#[tokio::test]
async fn what_is_packed_is_unpacked_within_bounds() {
    let scene = Scene::start().await;
    let packed = |bytes: &[u8]| whole("text/html", "content-encoding: gzip\r\n", &gzip(bytes));
    scene.server.says(URL, packed(b"<title>T</title>small"));
    assert!(scene.fetch(URL).await.unwrap().contains("small"));
    let bomb = ["<p>big ".repeat(1000).into_bytes(), vec![b' '; 32 << 20]].concat();
    scene.server.says(URL, packed(&bomb));
    let text = scene.fetch(URL).await.unwrap();
    assert!(
        text.contains("its text ends before the page does"),
        "{text}"
    );
    scene.server.says(
        URL,
        whole("text/html", "content-encoding: gzip\r\n", b"not packed"),
    );
    assert!(
        scene
            .fetch(URL)
            .await
            .unwrap_err()
            .1
            .contains("cannot be unpacked")
    );
    scene
        .server
        .says(URL, whole("text/html", "content-encoding: zstd\r\n", b"x"));
    assert_eq!(scene.fetch(URL).await.unwrap_err().0, "unreadable");
}

#[tokio::test]
async fn what_is_no_page_is_said() {
    let scene = Scene::start().await;
    let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    for (reply, outcome, why) in [
        (
            bytes("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 100\r\n\r\nhalf"),
            "unreachable",
            "broke off after 4 bytes",
        ),
        (
            bytes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz"),
            "unreachable",
            "broke off after 5 bytes",
        ),
        (
            bytes("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            "unreachable",
            "answered 404",
        ),
        (
            bytes("HTTP/1.1 304 Not Modified\r\n\r\n"),
            "unreachable",
            "answered 304",
        ),
        (
            bytes("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n"),
            "unreachable",
            "answered 302",
        ),
        (
            bytes("HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            "unreachable",
            "did not answer with HTTP",
        ),
        (
            bytes("SSH-2.0-OpenSSH_9.2\r\n\r\n"),
            "unreachable",
            "did not answer with HTTP",
        ),
        (bytes(""), "unreachable", "did not answer with HTTP"),
        (
            bytes(&format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
                "x".repeat(64 << 10)
            )),
            "unreachable",
            "did not answer with HTTP",
        ),
        (
            bytes(&format!(
                "HTTP/1.1 200 OK\r\n{}\r\n",
                "x: x\r\n".repeat(200)
            )),
            "unreachable",
            "did not answer with HTTP",
        ),
        (
            whole("application/pdf", "", b"%PDF"),
            "unreadable",
            "of the type application/pdf",
        ),
        (
            whole("image/png", "", b"\x89PNG"),
            "unreadable",
            "of the type image/png",
        ),
    ] {
        scene.server.says(URL, reply);
        let (told, text) = scene.fetch(URL).await.unwrap_err();
        assert!(told == outcome && text.contains(why), "{told}: {text}");
    }
}

#[tokio::test]
async fn endless_and_deep_pages_are_read_to_their_bound() {
    let scene = Scene::start().await;
    for html in [
        "<p>words ".repeat(500_000),
        "<div>".repeat(400_000) + "deep",
        "<b><table><tr><td>x".repeat(100_000),
    ] {
        scene.server.page(URL, &html);
        let text = scene.fetch(URL).await.unwrap();
        assert!(text.len() <= 64 << 10, "{}", text.len());
    }
    let shift_jis = b"<title>\x93\xfa\x96{\x8c\xea</title>\x83e\x83X\x83g \xff";
    scene
        .server
        .says(URL, whole("text/html; charset=Shift_JIS", "", shift_jis));
    let text = scene.fetch(URL).await.unwrap();
    assert!(
        text.starts_with("Title: 日本語\n") && text.contains("テスト"),
        "{text}"
    );
}

#[tokio::test]
async fn tls_must_be_for_the_name() {
    let scene = Scene::start().await;
    // The server has no certificate for it.
    scene.names.answer("other.hosted.test", 443, &[scene.https]);
    let (outcome, text) = scene.fetch("https://other.hosted.test/").await.unwrap_err();
    assert_eq!(outcome, "unreachable");
    assert!(text.contains("TLS that can be trusted"), "{text}");
    assert!(scene.server.asked().is_empty());
}
