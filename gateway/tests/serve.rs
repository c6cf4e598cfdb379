//! The whole process: TLS from the Secret, swapped live; probes; a clean stop.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use clap::Parser as _;
use common::kube::FakeKube;
use common::port::free_address;
use oarmaster_gateway::config::Args;
use oarmaster_gateway::serve::run;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, step: impl Fn() -> F) -> T {
    let wait = async {
        loop {
            if let Some(found) = step().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} within a minute"))
}

fn client(pem: &str) -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()])
        .build()
        .unwrap()
}

#[tokio::test]
async fn it_serves_with_the_secrets_certificate_and_stops_cleanly() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (kube, kube_client) = FakeKube::start().await;
    let dir = tempfile::tempdir().unwrap();
    let [data, read, admin, plain] = [(); 4].map(|()| free_address());
    let text = [data, read, admin, plain].map(|address| address.to_string());
    let args = Args::parse_from([
        "oarmaster-gateway",
        "--namespace",
        common::RELEASE,
        "--data-dir",
        dir.path().to_str().unwrap(),
        "--data-addr",
        &text[0],
        "--read-addr",
        &text[1],
        "--admin-addr",
        &text[2],
        "--metrics-addr",
        &text[3],
        "--drain",
        "5",
    ]);
    let stop = CancellationToken::new();
    kube.secret(common::RELEASE, "oarmaster-gateway-tls", &[]);
    let running = tokio::spawn(run(args.resolve().unwrap(), kube_client, stop.clone()));

    let plain_client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ready = || async {
        plain_client
            .get(format!("http://{plain}/readyz"))
            .send()
            .await
            .ok()
    };
    let response = until("the probes", ready).await;
    assert_eq!(response.status(), 503);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("no certificate yet")
    );
    assert!(
        tokio::net::TcpStream::connect(data).await.is_err(),
        "nothing listens before there is a certificate"
    );

    let (first, key) = certificate();
    kube.secret(
        common::RELEASE,
        "oarmaster-gateway-tls",
        &[("tls.crt", first.as_bytes()), ("tls.key", key.as_bytes())],
    );
    until("readiness", || async {
        ready().await.filter(|response| response.status() == 200)
    })
    .await;
    let get = |pem: String, port: u16| async move {
        client(&pem)
            .get(format!("https://localhost:{port}/v1/models"))
            .send()
            .await
    };
    for port in [data.port(), read.port(), admin.port()] {
        let status = until("an answer", || async {
            get(first.clone(), port).await.ok()
        })
        .await
        .status();
        assert!(status == 401 || status == 404, "{status}");
    }

    let (second, key) = certificate();
    kube.secret(
        common::RELEASE,
        "oarmaster-gateway-tls",
        &[("tls.crt", second.as_bytes()), ("tls.key", b"broken")],
    );
    kube.secret(
        common::RELEASE,
        "oarmaster-gateway-tls",
        &[("tls.crt", second.as_bytes()), ("tls.key", key.as_bytes())],
    );
    until("the new certificate", || async {
        get(second.clone(), data.port()).await.ok()
    })
    .await;
    assert!(
        get(first.clone(), data.port()).await.is_err(),
        "the old one is gone"
    );

    // A client that speaks no TLS, and one with a header line that is too long, harm nobody.
    let mut socket = tokio::net::TcpStream::connect(data).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    let long = client(&second)
        .get(format!("https://localhost:{}/", data.port()))
        .header("x", "a".repeat(300 << 10))
        .send()
        .await;
    let refused = long.map(|response| response.status().as_u16());
    assert!(matches!(refused, Err(_) | Ok(431)), "{refused:?}");

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(tokio::net::TcpStream::connect(data).await.is_err());
}
