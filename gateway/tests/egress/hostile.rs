//! Programs and servers that do not keep to the rules.

use crate::common::PILOT;
use crate::support::{Scene, rest, upgrade};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What a program hears that says this.
async fn say(scene: &Scene, said: &[u8]) -> String {
    let (status, mut stream) = upgrade(&scene.world.data, PILOT, &scene.session).await;
    assert_eq!(status, 101);
    // It may be cut off while it speaks.
    let _ = stream.write_all(said).await;
    rest(&mut stream).await
}

#[tokio::test]
async fn who_says_nothing_or_half_of_something_is_ended() {
    let scene = Scene::start().await;
    let begin = Instant::now();
    let (silent, half, tunnel) = tokio::join!(
        say(&scene, b""),
        say(&scene, b"GET http://registry.test/ HTTP/1.1\r\nhost: "),
        say(
            &scene,
            b"CONNECT registry.test:443 HTTP/1.1\r\n\r\n\x16\x03\x01"
        ),
    );
    assert!(begin.elapsed() < Duration::from_secs(40));
    assert_eq!(silent, "");
    assert!(!half.contains(" 200 "), "{half}");
    assert!(tunnel.starts_with("HTTP/1.1 200"), "{tunnel}");
    assert_eq!(scene.seen.requests(), [""; 0]);
}

#[tokio::test]
async fn heads_without_end_are_not_read() {
    let scene = Scene::start().await;
    let line = format!(
        "GET http://registry.test/ HTTP/1.1\r\nx: {}",
        "y".repeat(1 << 20)
    );
    let many = format!(
        "GET http://registry.test/ HTTP/1.1\r\n{}\r\n",
        "x: y\r\n".repeat(1000)
    );
    let url = format!(
        "GET http://registry.test/{} HTTP/1.1\r\n\r\n",
        "y".repeat(1 << 20)
    );
    for said in [line, many, url] {
        let heard = say(&scene, said.as_bytes()).await;
        // Who still speaks when the connection ends may hear its reset instead.
        assert!(
            heard.is_empty() || heard.starts_with("HTTP/1.1 4"),
            "{heard}"
        );
    }
    assert_eq!(scene.seen.requests(), [""; 0]);
}

/// A server that says this to everybody, and ends or does not.
async fn server(says: Vec<u8>, ends: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let says = says.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&says).await; // the other side may have left
                if !ends {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn servers_that_break_http_are_told_so() {
    let scene = Scene::start().await;
    let head = b"HTTP/1.1 200 OK\r\n".to_vec();
    let endless = [head.clone(), b"x: y\r\n".repeat(1 << 14)].concat();
    let long = [head.clone(), b"x: ".to_vec(), vec![b'y'; 1 << 20]].concat();
    let upgraded =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n".to_vec();
    for (at, (says, ends)) in [
        (Vec::new(), true),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), false),
        (endless, false),
        (long, false),
        (upgraded, false),
        (head.clone(), true),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("s{at}.hosted.test");
        scene.names.answer(&name, 80, &[server(says, ends).await]);
        let (_, said) = scene.curl(&[&format!("http://{name}/")]).await;
        assert!(
            said.contains("did not answer with HTTP") && said.ends_with("000 502"),
            "{name}: {said}"
        );
    }
    // A body that breaks off is one that breaks off.
    let short = [head, b"content-length: 10\r\n\r\nabc".to_vec()].concat();
    let address = server(short, true).await;
    scene.names.answer("short.hosted.test", 80, &[address]);
    let (code, said) = scene.curl(&["http://short.hosted.test/"]).await;
    assert_ne!(code, Some(0), "{said}");
}

/// What a server says of its own connection is not the program's to know, and its answers cannot be taken for the proxy's.
#[tokio::test]
async fn headers_of_the_next_hop_stay_there() {
    let scene = Scene::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nx-end: 2\r\ncontent-length: 2\r\n\r\nok";
    let address = server(answer.to_vec(), true).await;
    scene.names.answer("hop.hosted.test", 80, &[address]);
    let (code, said) = scene.curl(&["-i", "http://hop.hosted.test/"]).await;
    assert_eq!(code, Some(0), "{said}");
    let said = said.to_lowercase();
    assert!(
        said.contains("x-end: 2") && said.contains("connection: close"),
        "{said}"
    );
    for gone in ["x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(!said.contains(gone), "{said}");
    }
}

#[tokio::test]
async fn many_connections_go_beside_each_other() {
    let scene = Scene::start().await;
    let large = vec![b'x'; 1 << 20];
    std::fs::write(scene.path("www/large"), &large).unwrap();
    let mut arguments = vec!["-Z", "--parallel-max", "40", "--fail"];
    for at in 0..40 {
        let scheme = if at % 2 == 0 { "https" } else { "http" };
        arguments.extend(["-o", "/dev/null"]);
        arguments.push(match scheme {
            "https" => "https://registry.test/large",
            _ => "http://registry.test/large",
        });
    }
    let (code, said) = scene.curl(&arguments).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(scene.seen.requests().len(), 40);
}
