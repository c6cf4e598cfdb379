use super::*;
use tokio::net::TcpListener;

/// Nobody listens there: it was bound, and is not any more.
async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

async fn open() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn target(place: Place, address: SocketAddr) -> Target {
    Target {
        place,
        address: Some(address),
    }
}

#[test]
fn a_target_is_a_place_and_an_address() {
    for (text, address) in [
        ("pod=10.0.0.1:8444", "10.0.0.1:8444"),
        ("pod=fd00::1:10250", "[fd00::1]:10250"),
        ("pod=[fd00::1]:10250", "[fd00::1]:10250"),
    ] {
        let parsed: Target = text.parse().unwrap();
        assert_eq!(parsed, target(Place::Pod, address.parse().unwrap()));
    }
    for text in [
        "",
        "pod",
        "pod=10.0.0.1",
        "moon=10.0.0.1:1",
        "pod=gateway:8443",
        "pod=10.0.0.1:65536",
    ] {
        assert!(text.parse::<Target>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn what_the_kubelet_does_not_know_is_not_tried() {
    let unknown = "api-server=$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)";
    let found = prove(&[unknown.parse().unwrap()], Duration::ZERO).await;
    assert_eq!(found, NetworkFindings::default());
}

#[tokio::test]
async fn an_answer_is_reached_and_a_refusal_is_not() {
    let (_held, listening) = open().await;
    let gone = closed().await;
    let found = prove(
        &[
            target(Place::Kubelet, listening),
            target(Place::ApiServer, gone),
        ],
        Duration::ZERO,
    )
    .await;
    assert_eq!(found.reached, [Place::Kubelet]);
    assert_eq!(found.refused, [Place::ApiServer]);
    assert!(found.enforced());

    let found = prove(&[target(Place::Pod, listening)], Duration::ZERO).await;
    assert_eq!((found.enforced(), found.reached), (false, vec![Place::Pod]));
    let nothing = prove(&[], Duration::from_secs(3600)).await;
    assert!(!nothing.enforced(), "what was not tried is not proven");
}

#[tokio::test]
async fn a_dns_server_that_answers_by_udp_alone_is_reached() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let mut question = [0; 512];
        let (length, from) = server.recv_from(&mut question).await.unwrap();
        server.send_to(&question[..length], from).await.unwrap();
    });
    let found = prove(&[target(Place::Dns, address)], Duration::ZERO).await;
    assert_eq!(found.reached, [Place::Dns]);
    answering.await.unwrap();
}

#[tokio::test]
async fn a_policy_that_comes_late_is_waited_for() {
    let (held, address) = open().await;
    let targets = [target(Place::ApiServer, address)];
    let proof = tokio::spawn(async move { prove(&targets, Duration::from_secs(3600)).await });
    held.accept().await.unwrap(); // the first round reached it
    drop(held);
    assert!(proof.await.unwrap().enforced());
}

#[tokio::test]
async fn without_the_gateway_silence_proves_nothing() {
    let gone = closed().await;
    let targets = [target(Place::ApiServer, gone)];
    let found = prove_beside(gone, &targets, Duration::ZERO, Duration::ZERO).await;
    assert_eq!(found, None);

    let (_gateway, address) = open().await;
    let found = prove_beside(address, &targets, Duration::ZERO, Duration::ZERO).await;
    assert!(found.unwrap().enforced());

    let (_other, reached) = open().await;
    let targets = [target(Place::ApiServer, reached)];
    let found = prove_beside(address, &targets, Duration::ZERO, Duration::ZERO).await;
    assert!(!found.unwrap().enforced());
}
