//! Faults through a real proxy: what the caller is told, and what reached the server.

use super::chaos::{About, Chaos, Fault};
use super::{Identity, Proxy, Rule, Switch, Upstream};
use axum::Router;
use axum::routing::get;
use http::{HeaderMap, Method};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

const OBJECT: &str = "/apis/o/v1/namespaces/x/tasks/a/status";
const LIST: &str = "/apis/o/v1/tasks";

/// A server that answers with the number of the request, behind a proxy.
struct World {
    asked: Arc<AtomicUsize>,
    switch: Switch,
    proxy: Proxy,
    client: reqwest::Client,
}

impl World {
    async fn new() -> Self {
        crate::cluster::crypto();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let answer =
            move || async move { format!("{}\n", count.fetch_add(1, Ordering::SeqCst) + 1) };
        let router = Router::new()
            .route(LIST, get(answer.clone()))
            .route(OBJECT, axum::routing::patch(answer));
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(server, router).await });

        let identity = Identity::make().unwrap();
        let pem = identity.certificate.as_bytes();
        let certificate = reqwest::Certificate::from_pem(pem).unwrap();
        let upstream = Upstream::new(&url, vec![certificate.clone()]).unwrap();
        let switch = Switch::new(Rule::idle());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([certificate])
            .no_proxy()
            .build()
            .unwrap();
        Self {
            asked,
            proxy: Proxy::start(&identity, listener, upstream, switch.clone()).unwrap(),
            switch,
            client,
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The status and the body of the answer.
    async fn ask(&self, method: Method, target: &str) -> (u16, String) {
        let request = self
            .client
            .request(method, format!("{}{target}", self.proxy.url));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// From here on the faults of this seed; another one of the same seed says which are to come.
    fn disturb(&self, seed: u64) -> Chaos {
        let chaos = Some(Arc::new(Chaos::new(seed)));
        self.switch.set(&Rule::disturbed(|_| None, None, chaos));
        Chaos::new(seed)
    }
}

#[tokio::test]
async fn a_refused_write_is_not_carried_out_and_a_lost_one_is() {
    let world = World::new().await;
    let about = About::of(&Method::PATCH, OBJECT, None).unwrap();
    let (mut refused, mut lost) = (0, 0);
    for seed in 0..60 {
        let before = world.asked();
        let fault = world.disturb(seed).of_request(&about, OBJECT);
        if fault == Some(Fault::Hang) {
            continue; // longer than a test should take
        }
        let (status, body) = world.ask(Method::PATCH, OBJECT).await;
        let carried_out = world.asked() - before;
        match fault {
            Some(Fault::Refused(expected)) => {
                assert_eq!((status, carried_out), (expected, 0));
                assert!(body.contains(&format!(r#""code":{expected}"#)), "{body}");
                refused += 1;
            }
            Some(Fault::Lost) => {
                assert_eq!((status, carried_out), (504, 1));
                lost += 1;
            }
            None => assert_eq!((status, carried_out), (200, 1)),
            other => panic!("{other:?} is not for a write"),
        }
    }
    assert!(refused > 0 && lost > 0, "{refused} refused, {lost} lost");
}

#[tokio::test]
async fn an_old_list_is_the_first_one() {
    let world = World::new().await;
    let about = About::of(&Method::GET, LIST, None).unwrap();
    let mut old = 0;
    for seed in 0..20 {
        let mut first = None;
        let expected = world.disturb(seed);
        for _ in 0..8 {
            let fault = expected.of_request(&about, LIST);
            if fault == Some(Fault::Hang) {
                break;
            }
            let (status, body) = world.ask(Method::GET, LIST).await;
            match fault {
                Some(Fault::Stale) => {
                    assert_eq!(Some(&body), first.as_ref());
                    old += 1;
                }
                Some(Fault::Refused(refused)) => assert_eq!(status, refused),
                None => {
                    assert_eq!(body, format!("{}\n", world.asked()));
                    expected.listed(&about, LIST, &HeaderMap::new(), &body.clone().into());
                    first.get_or_insert(body);
                }
                other => panic!("{other:?} is not for a list"),
            }
        }
    }
    assert!(old > 0);
}

#[tokio::test]
async fn a_watch_tells_line_by_line() {
    let world = World::new().await;
    let target = format!("{LIST}?watch=1");
    let about = About::of(&Method::GET, LIST, Some("watch=1")).unwrap();
    let mut disturbed = 0;
    for seed in 0..40 {
        let expected = world.disturb(seed);
        if expected.of_request(&about, &target).is_some() {
            continue;
        }
        let line = format!("{}\n", world.asked() + 1);
        let fault = expected.of_change(&about);
        let (status, body) = world.ask(Method::GET, &target).await;
        assert_eq!(status, 200);
        match fault {
            None | Some(Fault::Late(_)) => assert_eq!(body, line),
            Some(Fault::Twice) => assert_eq!(body, line.repeat(2)),
            Some(Fault::Cut) => assert_eq!(body, ""),
            Some(Fault::Expired) => assert!(body.contains(r#""code":410"#), "{body}"),
            other => panic!("{other:?} is not for a change"),
        }
        disturbed += usize::from(fault.is_some());
    }
    assert!(disturbed > 0);
}
