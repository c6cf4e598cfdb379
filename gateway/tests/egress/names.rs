//! What a name resolves to decides nothing but where to, and not where it must not.

use crate::support::{Scene, at};

#[tokio::test]
async fn an_allowed_name_with_a_private_address_is_not_connected_to() {
    let scene = Scene::start().await;
    for (name, addresses) in [
        ("metadata.hosted.test", &[at("169.254.169.254")][..]),
        ("service.hosted.test", &[at("10.96.0.1")]),
        ("mapped.hosted.test", &[at("::ffff:10.0.0.1")]),
        ("six.hosted.test", &[at("fd00::1")]),
        ("shared.hosted.test", &[at("100.64.0.1")]),
        // The test's own server may be connected to, but not when it has company.
        ("both.hosted.test", &[scene.https, at("192.168.0.1")]),
        ("again.hosted.test", &[at("192.168.0.1"), scene.https]),
    ] {
        scene.names.answer(name, 443, addresses);
        scene.names.answer(name, 80, addresses);
        let (_, said) = scene.curl(&[&format!("https://{name}/")]).await;
        assert!(said.contains("502 000"), "{name}: {said}");
        let (_, said) = scene.curl(&[&format!("http://{name}/")]).await;
        let told = format!("{name} has a private address");
        assert!(
            said.starts_with(&told) && said.ends_with("000 502"),
            "{name}: {said}"
        );
        for address in addresses {
            assert!(!said.contains(&address.ip().to_string()), "{said}");
        }
    }
    assert_eq!(scene.seen.requests(), [""; 0]);
}

/// DNS rebinding: each connection is judged by the answer that it is made with.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_judged_again() {
    let scene = Scene::start().await;
    std::fs::write(scene.path("www/x"), "x").unwrap();
    let name = "rebound.hosted.test";
    for address in [scene.https, at("10.96.0.1"), scene.https] {
        scene.names.answer(name, 443, &[address]);
    }
    let url = format!("https://{name}/x");
    for expected in ["x200 200", "502 000", "x200 200"] {
        let (_, said) = scene.curl(&[&url]).await;
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let scene = Scene::start().await;
    let (_, said) = scene.curl(&["http://nobody.hosted.test/"]).await;
    assert_eq!(
        said,
        "nobody.hosted.test has no address, or its name service does not answer\n000 502"
    );
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    scene.names.answer("closed.hosted.test", 80, &[closed]);
    let (_, said) = scene.curl(&["http://closed.hosted.test/"]).await;
    assert_eq!(
        said,
        "closed.hosted.test does not accept connections at port 80\n000 502"
    );
    // One that speaks TLS where plain http is meant.
    scene.names.answer("tls.hosted.test", 80, &[scene.https]);
    let (_, said) = scene.curl(&["http://tls.hosted.test/"]).await;
    assert_eq!(said, "tls.hosted.test did not answer with HTTP\n000 502");
}
