//! A provider at the level of its socket, beside a sound one: callers get the sound one's answer within the time limits.

use crate::common::upstream::{Reply, Upstream};
use crate::common::{World, ask, http_provider, members};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
const CHUNK: &str = r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;

/// What a socket does after a request.
#[derive(Clone)]
enum Act {
    Say(Vec<u8>),
    /// Says the same so many times.
    Flood(&'static [u8], usize),
    /// Says it byte by byte, slower than anybody waits.
    Drip(&'static [u8]),
    /// Ends with a reset; otherwise it ends cleanly.
    Reset,
    /// Never ends.
    Hang,
}

use Act::{Drip, Flood, Hang, Reset, Say};

fn say(text: impl AsRef<[u8]>) -> Act {
    Say(text.as_ref().to_vec())
}

/// A head of a whole answer or of a stream, with more lines.
fn head(stream: bool, lines: &str) -> String {
    format!("{}{lines}\r\n", if stream { STREAM } else { JSON })
}

fn body(stream: bool) -> String {
    if stream {
        format!("{CHUNK}\n\n")
    } else {
        r#"{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"half"}"#.to_owned()
    }
}

/// What providers do wrong, by name.
fn faults(stream: bool) -> Vec<(&'static str, Vec<Act>)> {
    let chunked = |body: &str| format!("{}{body}", head(stream, "transfer-encoding: chunked\r\n"));
    let part = body(stream);
    let piece = format!("{:x}\r\n{part}\r\n", part.len());
    vec![
        ("closes at once", vec![]),
        ("resets at once", vec![Reset]),
        ("drips its head", vec![Drip(JSON.as_bytes()), Hang]),
        (
            "drips its body",
            vec![
                say(head(stream, "content-length: 1000\r\n")),
                Drip(b"{\"choices\": [   "),
                Hang,
            ],
        ),
        (
            "has a head of ten megabytes",
            vec![
                say(JSON),
                Flood(
                    b"x-filling: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
                    160_000,
                ),
            ],
        ),
        (
            "has one line of ten megabytes",
            vec![say(JSON), say("x: "), Flood(&[b'x'; 1000], 10_000)],
        ),
        (
            "has ten thousand headers",
            vec![say(JSON), Flood(b"a: b\r\n", 10_000), say("\r\n{}")],
        ),
        (
            "has a length that is no number",
            vec![say(head(stream, "content-length: many\r\n"))],
        ),
        (
            "has two lengths",
            vec![
                say(head(stream, "content-length: 5\r\ncontent-length: 50\r\n")),
                say(&part),
            ],
        ),
        (
            "has a length and chunks",
            vec![
                say(head(
                    stream,
                    "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                )),
                say(&piece),
            ],
        ),
        (
            "promises more than it sends",
            vec![say(head(stream, "content-length: 100000\r\n")), say(&part)],
        ),
        (
            "sends more than it promises",
            vec![say(head(stream, "content-length: 5\r\n")), say(&part)],
        ),
        (
            "has a chunk larger than numbers",
            vec![say(chunked("fffffffffffffffff\r\n"))],
        ),
        (
            "has a chunk size that is none",
            vec![say(chunked("zz\r\n"))],
        ),
        (
            "resets within a chunk",
            vec![say(chunked(&piece)), say("ffff\r\n{"), Reset],
        ),
        (
            "ends within a chunk",
            vec![say(chunked(&piece)), say("ffff\r\n{")],
        ),
        (
            "never comes to its answer",
            vec![Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n", 10_000), Hang],
        ),
        (
            "switches protocols",
            vec![
                say(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
                ),
                Hang,
            ],
        ),
        (
            "redirects to itself",
            vec![say(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/chat/completions\r\ncontent-length: 0\r\n\r\n",
            )],
        ),
        ("speaks HTTP/2", vec![say([0, 0, 0, 4, 0, 0, 0, 0, 0])]),
        ("speaks SSH", vec![say("SSH-2.0-OpenSSH_9.9\r\n")]),
        (
            "sends gzip",
            vec![
                say(head(
                    stream,
                    "content-encoding: gzip\r\ncontent-length: 20\r\n",
                )),
                say([
                    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ]),
            ],
        ),
        (
            "sends lines of JSON",
            vec![
                say(head(stream, "")),
                say("{\"choices\":[]}\n{\"choices\":[]}\n"),
            ],
        ),
        (
            "sends a hundred megabytes",
            vec![say(head(stream, "")), Flood(&[b'x'; 10_000], 10_000)],
        ),
        ("has a body without a status", vec![say("{\"choices\":[]}")]),
    ]
}

/// A provider whose sockets all do this.
async fn provider(acts: Vec<Act>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acts = acts.clone();
            tokio::spawn(async move { drop(act(socket, &acts).await) });
        }
    });
    url
}

/// Reads a request and does what it is told; an error is a gateway that has heard enough.
async fn act(mut socket: TcpStream, acts: &[Act]) -> std::io::Result<()> {
    let mut got = Vec::new();
    while !is_whole(&got) {
        if socket.read_buf(&mut got).await? == 0 {
            return Ok(());
        }
    }
    for act in acts {
        match act {
            Say(bytes) => socket.write_all(bytes).await?,
            Flood(bytes, times) => {
                for _ in 0..*times {
                    socket.write_all(bytes).await?;
                }
            }
            Drip(bytes) => {
                for byte in *bytes {
                    socket.write_all(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            Reset => socket.set_zero_linger()?,
            Hang => std::future::pending().await,
        }
    }
    Ok(())
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.to_ascii_lowercase();
    let length = length
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

/// Asks a pool of this provider and a sound one.
async fn served(name: &str, acts: Vec<Act>, stream: bool) {
    let (world, good) = (World::start().await, Upstream::start().await);
    let chunk = |delta: Value, end: Value| json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]});
    good.when_streamed(Reply::events(
        &[
            chunk(json!({"content": "ok"}), Value::Null),
            chunk(json!({}), json!("stop")),
        ],
        true,
        false,
    ));
    let mut spec = http_provider(&provider(acts).await, &[]);
    spec["timeouts"] = json!({"connect": "1s", "firstToken": "1s", "idle": "1s", "response": "1s"});
    world.provider("team", "bad", spec).await;
    world
        .provider("team", "good", http_provider(&good.url, &[]))
        .await;
    world.pool("team", "fast", members(&["bad", "good"])).await;
    let mut body = ask("hi");
    body["stream"] = json!(stream);
    let answer = world.chat(world.user(), body).await;
    assert_eq!(answer.status(), 200, "{name}");
    let by = answer.headers()["x-oarmaster-provider"].clone();
    let text = answer.text().await.unwrap();
    assert!(
        by == "team/good" && text.contains("\"ok\""),
        "{name}: {by:?} {text}"
    );
    assert_eq!(good.got().len(), 1, "{name}");
    // Nothing is left reserved, and the sound answer is booked.
    world
        .until(|gateway| gateway.store.sdk_reserved() == 0)
        .await;
    assert!(world.gateway.store.sdk_total().calls >= 1, "{name}");
    let failed = world.metrics().await;
    assert!(failed.contains("provider=\"team/bad\""), "{name}");
}

async fn all_served(stream: bool) {
    let faults = faults(stream).into_iter();
    let calls = faults.map(|(name, acts)| async move {
        let served = served(name, acts, stream);
        let served = tokio::time::timeout(Duration::from_secs(60), served).await;
        served.unwrap_or_else(|_| panic!("{name}: no answer"));
    });
    // A few at a time: each is a gateway of its own.
    futures::StreamExt::collect::<()>(futures::StreamExt::buffer_unordered(
        futures::stream::iter(calls),
        8,
    ))
    .await;
}

#[tokio::test]
async fn whole_answers_come_from_the_next_member() {
    all_served(false).await;
}

#[tokio::test]
async fn streams_come_from_the_next_member() {
    all_served(true).await;
}

/// A connection that a provider has closed meanwhile is not a provider that failed.
#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    let whole = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}"#;
    let head = head(false, &format!("content-length: {}\r\n", whole.len()));
    let url = provider(vec![say(head + whole)]).await; // and closes, which it did not announce
    let world = World::start().await;
    world.provider("team", "up", http_provider(&url, &[])).await;
    world.pool("team", "fast", members(&["up"])).await;
    let user = world.user();
    for number in 0..20 {
        let answer = world.chat(user, ask("hi")).await;
        assert_eq!(answer.status(), 200, "{number}");
    }
}
