//! Callers at the level of their sockets.

use crate::common::upstream::{Reply, Upstream};
use crate::common::{World, ask};
use axum::Router;
use axum::routing::get;
use oarmaster_gateway::provider::http::MAX_VECTORS;
use oarmaster_serve::listen::{Limits, serve};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

const PATH: &str = "/v1/chat/completions";

async fn world() -> (World, Upstream) {
    let (world, upstream) = (World::start().await, Upstream::start().await);
    world.upstream(&upstream, &[]).await;
    world.user();
    (world, upstream)
}

/// Sends bytes, and reads until the gateway ends the connection.
async fn send(world: &World, bytes: &[u8]) -> String {
    let address = world.data.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let mut heard = Vec::new();
    let talk = async {
        // Who is refused may be cut off while it sends.
        let _ = socket.write_all(bytes).await;
        let _ = socket.read_to_end(&mut heard).await;
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), talk).await;
    ended.expect("the gateway ends the connection");
    String::from_utf8_lossy(&heard).into_owned()
}

fn statuses(heard: &str) -> Vec<u16> {
    let lines = heard.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

/// A request with these lines in its head, beside the token.
fn request(path: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer user-token\r\n{lines}\r\n{body}"
    )
}

/// A request after which the connection goes on, or ends.
fn plain(path: &str, end: bool) -> String {
    let body = ask("hi").to_string();
    let end = if end { "connection: close\r\n" } else { "" };
    let lines = format!("content-length: {}\r\n{end}", body.len());
    request(path, &lines, &body)
}

#[tokio::test]
async fn requests_behind_each_other_are_answered_in_order() {
    let (world, upstream) = world().await;
    let heard = send(
        &world,
        (plain(PATH, false).repeat(2) + &plain(PATH, true)).as_bytes(),
    )
    .await;
    assert_eq!(statuses(&heard), [200, 200, 200], "{heard}");
    assert_eq!(upstream.got().len(), 3);
}

/// Where two readers could see two borders between requests, none is seen: at most one request is taken, and nothing after it.
#[tokio::test]
async fn a_request_within_a_request_is_none() {
    let (world, upstream) = world().await;
    let body = ask("hi").to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let inner = plain(PATH, true);
    let length = body.len();
    for (lines, body) in [
        (
            format!("content-length: {length}\r\ncontent-length: 0\r\n"),
            &body,
        ),
        (format!("content-length: {length}, 0\r\n"), &body),
        (format!("content-length: +{length}\r\n"), &body),
        (format!("content-length: 0x{length:x}\r\n"), &body),
        ("content-length: 99999999999999999999\r\n".to_owned(), &body),
        ("transfer-encoding: xchunked\r\n".to_owned(), &chunked),
        ("transfer-encoding : chunked\r\n".to_owned(), &chunked),
        (
            "transfer-encoding: chunked, identity\r\n".to_owned(),
            &chunked,
        ),
        (format!("x: y\r\n content-length: {length}\r\n"), &body),
        (format!("content\0-length: {length}\r\n"), &body),
    ] {
        let before = upstream.got().len();
        let heard = send(&world, (request(PATH, &lines, body) + &inner).as_bytes()).await;
        let found = statuses(&heard);
        assert!(
            found.len() <= 1 && found.iter().all(|status| *status >= 400),
            "{lines:?}: {heard}"
        );
        assert_eq!(upstream.got().len(), before, "{lines:?}");
    }
    // Chunks count, as HTTP says, and what follows is a request of its own.
    let both = request(
        PATH,
        "connection: close\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        &chunked,
    );
    let before = upstream.got().len();
    let found = statuses(&send(&world, both.as_bytes()).await);
    assert!(found.len() <= 1, "{found:?}");
    assert!(upstream.got().len() <= before + 1);
}

#[tokio::test]
async fn only_the_paths_that_there_are_lead_anywhere() {
    let (world, upstream) = world().await;
    for path in [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/../chat/completions",
        "/v1/%2e%2e/v1/chat/completions",
        "/v1/chat/completions;x=1",
        "/v1/chat%2fcompletions",
        "/v1/chat/completions%00",
        "/V1/chat/completions",
        "/v1/chat/completions%EF%BC%8F",
        "/v1/../../etc/passwd",
    ] {
        let heard = send(&world, plain(path, true).as_bytes()).await;
        let found = statuses(&heard);
        assert!(
            found.iter().all(|status| [400, 404].contains(status)),
            "{path}: {heard}"
        );
    }
    for method in [
        "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW",
    ] {
        let heard = send(
            &world,
            plain(PATH, true).replacen("POST", method, 1).as_bytes(),
        )
        .await;
        let found = statuses(&heard);
        assert!(
            found.iter().all(|status| (400..500).contains(status)),
            "{method}: {heard}"
        );
    }
    assert!(upstream.got().is_empty());
}

#[tokio::test]
async fn headers_are_believed_once_and_only_ours() {
    let (world, upstream) = world().await;
    let body = ask("hi").to_string();
    let length = format!("connection: close\r\ncontent-length: {}\r\n", body.len());
    for (lines, status) in [
        ("authorization: Bearer user-token\r\n", 401), // a second one
        ("content-encoding: gzip\r\n", 200), // whose body is none: what is read is what came
        ("host: other\r\n", 400),
        (
            "x-forwarded-for: 10.0.0.1\r\nx-forwarded-host: api.openai.com\r\nx-real-ip: 10.0.0.1\r\n",
            200,
        ),
    ] {
        let heard = send(
            &world,
            request(PATH, &format!("{length}{lines}"), &body).as_bytes(),
        )
        .await;
        let found = statuses(&heard);
        assert!(
            found == [status] || (lines.starts_with("host") && found.len() <= 1),
            "{lines:?}: {heard}"
        );
    }
    // A compressed body is not unpacked: it is no JSON.
    let packed = "connection: close\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n";
    let heard = send(
        &world,
        request(PATH, packed, "\u{1f}\u{8b}\u{8}").as_bytes(),
    )
    .await;
    assert!(
        statuses(&heard).iter().all(|status| *status == 400),
        "{heard}"
    );
    let cookies = format!("{length}cookie: {}\r\n", "x".repeat(48 << 10));
    let heard = send(&world, request(PATH, &cookies, &body).as_bytes()).await;
    assert!(matches!(statuses(&heard)[..], [200 | 431]), "{heard}");
    let many = format!("{length}{}", "a: b\r\n".repeat(200));
    let heard = send(&world, request(PATH, &many, &body).as_bytes()).await;
    assert!(matches!(statuses(&heard)[..], [] | [400 | 431]), "{heard}");
    for got in upstream.got() {
        for name in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-real-ip",
            "cookie",
            "content-encoding",
        ] {
            assert!(!got.headers.contains_key(name), "{name}");
        }
    }
}

/// Connections that say nothing are few, and end by themselves; whoever comes meanwhile waits and is served.
#[tokio::test]
async fn idle_connections_are_bounded_and_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        connections: 8,
        each: 8,
        drain: Duration::ZERO,
    };
    let router = Router::new().route("/", get(|| async { "hi" }));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, None, router, stop.clone(), limits));
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    // One among them that drips its head is not patient enough either.
    idle[0].write_all(b"GET / HT").await.unwrap();
    let mut late = TcpStream::connect(address).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut heard = Vec::new();
    drop(idle.split_off(8)); // those that were never accepted
    let served = tokio::time::timeout(Duration::from_secs(60), late.read_to_end(&mut heard)).await;
    served.expect("the idle ones end").unwrap();
    assert!(
        heard.ends_with(b"hi"),
        "{}",
        String::from_utf8_lossy(&heard)
    );
    stop.cancel();
}

/// One address that takes all the connections that it can get leaves others theirs: none of its own has to end for that.
#[tokio::test]
async fn an_address_has_a_share_of_the_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        connections: 8,
        each: 4,
        drain: Duration::ZERO,
    };
    let router = Router::new().route("/", get(|| async { "hi" }));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, None, router, stop.clone(), limits));
    let mut greedy = Vec::new();
    for _ in 0..16 {
        greedy.push(TcpStream::connect(address).await.unwrap());
    }
    let other = TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(address).await.unwrap();
    assert_served(&mut other).await;
    // Without a share the other one would have been let in by the end of the first of these.
    for held in &mut greedy[..4] {
        assert_served(held).await;
    }
    stop.cancel();
}

async fn assert_served(socket: &mut TcpStream) {
    let asked = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    socket.write_all(asked).await.unwrap();
    let mut heard = String::new();
    let served = tokio::time::timeout(Duration::from_secs(60), socket.read_to_string(&mut heard));
    served.await.expect("an answer comes").unwrap();
    assert!(heard.ends_with("hi"), "{heard}");
}

/// Work on large bodies has its turns; whoever has a small one needs none.
#[tokio::test]
async fn small_calls_do_not_wait_for_work_on_large_ones() {
    let (world, upstream) = world().await;
    let user = world.user();
    let turns = world.gateway.bodies.turns();
    let all = u32::try_from(turns.available_permits()).unwrap();
    let working = turns.acquire_many(all).await.unwrap();
    let large = ask(&"x".repeat(1 << 20));
    let waits = world.chat(user, large);
    tokio::pin!(waits);
    let meanwhile = async {
        for _ in 0..10 {
            assert_eq!(world.chat(user, ask("little")).await.status(), 200);
        }
    };
    tokio::select! {
        answer = &mut waits => panic!("it had a turn: {answer:?}"),
        () = meanwhile => {}
    }
    assert_eq!(upstream.got().len(), 10);
    drop(working);
    assert_eq!(waits.await.status(), 200);
}

/// Large answers that a namespace's callers do not take keep its own next ones waiting, and nobody else's.
#[tokio::test]
async fn a_namespaces_large_answers_wait_for_one_another() {
    let (world, upstream) = world().await;
    let user = world.user();
    let other = "system:serviceaccount:elsewhere:app";
    world
        .kube
        .token("elsewhere", other, "oarmaster-gateway", None);
    world
        .kube
        .allow(&format!("{other} use modelpools team/fast"));
    let large = || Reply::answer(&"x".repeat(1 << 20));
    let all = world.gateway.answers.room("team".to_owned(), MAX_VECTORS);
    let all = all.await.unwrap();
    upstream.reply(large());
    let waits = world.chat(user, ask("much"));
    tokio::pin!(waits);
    let meanwhile = async {
        while upstream.got().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.chat(user, ask("little")).await.status(), 200);
        upstream.reply(large());
        let mut much = ask("much");
        much["model"] = "team/fast".into();
        let answer = world.chat("elsewhere", much).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().len() > 1 << 20);
    };
    tokio::select! {
        answer = &mut waits => panic!("it found room: {answer:?}"),
        () = meanwhile => {}
    }
    drop(all);
    assert_eq!(waits.await.status(), 200);
}
