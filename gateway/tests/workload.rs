//! The gateway's own identity at AWS: fetched once for all who wait, renewed before it ends, and for providers of its own namespace only.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

mod common;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use common::sigv4::{Known, check};
use common::upstream::{Reply, Upstream};
use common::{RELEASE, World, ask, http_provider};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use oarmaster_gateway::provider::aws::workload::{Source, Workload};
use oarmaster_gateway::tls;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// EKS's agent, or STS: whatever is asked gets the same answer.
#[derive(Clone, Default)]
struct Giver {
    answer: Arc<Mutex<(u16, String)>>,
    got: Arc<Mutex<Vec<(String, String)>>>,
    url: String,
}

impl Giver {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let giver = Self {
            url: format!("http://{}/v1/credentials", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let router = Router::new().fallback(give).with_state(giver.clone());
        tokio::spawn(common::kube::axum_serve(listener, router));
        giver
    }

    fn answers(&self, status: u16, body: impl ToString) {
        *self.answer.lock().unwrap() = (status, body.to_string());
    }

    /// Credentials as the agent gives them.
    fn gives(&self, id: &str, expires: Timestamp) {
        self.answers(
            200,
            json!({
                "AccessKeyId": id, "SecretAccessKey": SECRET, "Token": format!("token-of-{id}"),
                "AccountId": "123456789012", "Expiration": expires.to_string(),
            }),
        );
    }

    fn asked(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

async fn give(State(giver): State<Giver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let bytes = http_body_util::BodyExt::collect(body).await.unwrap();
    let token = parts.headers.get("authorization");
    let token = token.map(|token| token.to_str().unwrap().to_owned());
    giver.got.lock().unwrap().push((
        token.unwrap_or_default(),
        String::from_utf8(bytes.to_bytes().to_vec()).unwrap(),
    ));
    let (status, body) = giver.answer.lock().unwrap().clone();
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

fn token_file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "token-of-the-pod\n").unwrap();
    file
}

fn agent(giver: &Giver, file: &tempfile::NamedTempFile) -> Source {
    Source::Container {
        url: giver.url.parse().unwrap(),
        token_file: file.path().to_owned(),
    }
}

fn identity(source: Source) -> Workload {
    Workload::new(Ok(source), &tls::client_config().unwrap())
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-29T{time}Z").parse().unwrap()
}

#[tokio::test]
async fn many_who_wait_ask_once_and_it_is_renewed_before_its_end() {
    let (giver, file) = (Giver::start().await, token_file());
    let own = identity(agent(&giver, &file));
    giver.gives("AKIAONE", at("06:00:00"));
    let all = futures::future::join_all((0..64).map(|_| own.key(at("00:00:00")))).await;
    assert!(
        all.iter().all(|key| key.as_ref().unwrap().is_in("AKIAONE")),
        "all of them have it"
    );
    assert_eq!(giver.asked(), 1);
    assert_eq!(giver.got.lock().unwrap()[0].0, "token-of-the-pod");

    giver.gives("AKIATWO", at("12:00:00"));
    let key = own.key(at("05:54:59")).await.unwrap();
    assert!(key.is_in("AKIAONE") && giver.asked() == 1);
    let all = futures::future::join_all((0..64).map(|_| own.key(at("05:55:00")))).await;
    let renewed = all
        .iter()
        .filter(|key| key.as_ref().unwrap().is_in("AKIATWO"));
    assert!(
        renewed.count() >= 1,
        "who renews has the new one, the others do not wait"
    );
    assert_eq!(giver.asked(), 2);
    let key = own.key(at("05:55:00")).await.unwrap();
    assert!(key.is_in("token-of-AKIATWO") && giver.asked() == 2);
}

#[tokio::test]
async fn what_is_good_is_used_while_there_is_nothing_new_and_not_longer() {
    let (giver, file) = (Giver::start().await, token_file());
    let own = identity(agent(&giver, &file));
    giver.gives("AKIAONE", at("06:00:00"));
    own.key(at("00:00:00")).await.unwrap();
    giver.answers(
        500,
        "{\"message\": \"eyJhbGciOiJSUzI1NiJ9.payload is wrong\"}",
    );
    for (time, asked) in [
        ("05:56:00", 2),
        ("05:56:04", 2), // a pause after a failure
        ("05:56:06", 3),
    ] {
        let key = own.key(at(time)).await.unwrap();
        assert!(key.is_in("AKIAONE"), "{time}");
        assert_eq!(giver.asked(), asked, "{time}");
    }
    let problem = own.key(at("05:59:55")).await.unwrap_err();
    assert!(
        problem.contains("EKS Pod Identity answered with status 500"),
        "{problem}"
    );
    assert!(!problem.contains("eyJ"), "{problem}");
    let again = own.key(at("05:59:56")).await.unwrap_err();
    assert_eq!((again, giver.asked()), (problem, 4));

    // An agent may give what is about to end, and renews it when it likes.
    giver.gives("AKIATWO", at("06:02:00"));
    for (time, asked) in [("06:00:30", 5), ("06:00:31", 5), ("06:00:36", 6)] {
        let key = own.key(at(time)).await.unwrap();
        assert!(key.is_in("AKIATWO"), "{time}");
        assert_eq!(giver.asked(), asked, "{time}");
    }
}

#[tokio::test]
async fn answers_without_credentials_are_told() {
    let (giver, file) = (Giver::start().await, token_file());
    let now = at("00:00:00");
    for (status, body, word) in [
        (200, "{}", "holds no credentials"),
        (200, "<html>", "holds no credentials"),
        (400, "no association", "status 400: no association"),
        (302, "", "status 302"),
    ] {
        giver.answers(status, body);
        let problem = identity(agent(&giver, &file)).key(now).await.unwrap_err();
        assert!(problem.contains(word), "{problem}");
    }
    giver.gives("AKIAONE", now);
    let problem = identity(agent(&giver, &file)).key(now).await.unwrap_err();
    assert!(problem.contains("have expired"), "{problem}");
    let absent = Source::Container {
        url: giver.url.parse().unwrap(),
        token_file: "/absent/token".into(),
    };
    let problem = identity(absent).key(now).await.unwrap_err();
    assert!(
        problem.contains("failed to read /absent/token"),
        "{problem}"
    );
}

#[tokio::test]
async fn sts_gives_credentials_for_the_pods_token() {
    let (giver, file) = (Giver::start().await, token_file());
    let source = Source::WebIdentity {
        endpoint: giver.url.parse().unwrap(),
        role: "arn:aws:iam::123456789012:role/gateway".to_owned(),
        session: "oarmaster-gateway".to_owned(),
        token_file: file.path().to_owned(),
    };
    let now = at("00:00:00");
    giver.answers(
        403,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>",
    );
    let problem = identity(source.clone()).key(now).await.unwrap_err();
    assert_eq!(
        problem,
        "AWS STS answered with status 403: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity"
    );
    giver.answers(
        200,
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>x</SubjectFromWebIdentityToken>\
             <Credentials><AccessKeyId>ASIAONE</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>tok/en+==</SessionToken>\
             <Expiration>2026-11-29T01:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
    );
    let own = identity(source);
    let key = own.key(now).await.unwrap();
    for part in ["ASIAONE", SECRET, "tok/en+=="] {
        assert!(key.is_in(part), "{part}");
    }
    assert!(own.key(at("00:54:00")).await.is_ok());
    assert_eq!(giver.asked(), 2);
    assert_eq!(
        giver.got.lock().unwrap()[1].1,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fgateway&RoleSessionName=oarmaster-gateway&WebIdentityToken=token-of-the-pod"
    );
}

fn workload(endpoint: &str) -> Value {
    let mut spec = http_provider(endpoint, &[]);
    spec["type"] = json!("Bedrock");
    spec["bedrock"] = json!({"region": "us-west-2", "credentials": "Workload"});
    spec
}

#[tokio::test]
async fn a_provider_of_the_gateways_namespace_is_called_with_its_identity() {
    let (giver, file) = (Giver::start().await, token_file());
    let world = World::with_identity(Ok(agent(&giver, &file))).await;
    let upstream = Upstream::start().await;
    giver.answers(404, "no association");
    world
        .provider(RELEASE, "own", workload(&upstream.origin()))
        .await;
    let unusable = |gateway: &oarmaster_gateway::state::Gateway| {
        let report = gateway.health.report();
        report.providers[0].unusable.clone()
    };
    world
        .until(|gateway| unusable(gateway).is_some_and(|why| why.contains("no association")))
        .await;
    let member = json!([{"provider": {"name": "own"}, "model": "m"}]);
    world.pool(RELEASE, "own", member).await;
    world.kube.allow(&format!(
        "system:serviceaccount:team:app use modelpools {RELEASE}/own"
    ));
    let user = world.user();
    let mut body = ask("hi");
    body["model"] = json!("own");
    let response = world.chat(user, body.clone()).await;
    assert_eq!(response.status(), 502);
    let text = response.text().await.unwrap();
    assert!(text.contains("no association"), "{text}");
    assert!(upstream.got().is_empty(), "nothing is sent without it");

    giver.gives("ASIAONE", Timestamp::now() + SignedDuration::from_hours(1));
    // The pause after the failure.
    world.until(|gateway| unusable(gateway).is_none()).await;
    upstream.reply(Reply::json(
        200,
        json!({
            "output": {"message": {"role": "assistant", "content": [{"text": "ok"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 10, "outputTokens": 5},
        }),
    ));
    let response = world.chat(user, body).await;
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    let known = Known {
        id: "ASIAONE",
        secret: SECRET,
        token: Some("token-of-ASIAONE"),
        region: "us-west-2",
        service: "bedrock",
    };
    assert_eq!(check(&upstream.got()[0], known), Ok(()));
    let logged = format!("{:?}", world.gateway.snapshot.load());
    assert!(!logged.contains("ASIAONE") && !logged.contains(SECRET));
}

#[tokio::test]
async fn no_other_namespace_may_spend_the_gateways_identity() {
    let (giver, file) = (Giver::start().await, token_file());
    let world = World::with_identity(Ok(agent(&giver, &file))).await;
    let upstream = Upstream::start().await;
    world
        .provider("team", "own", workload(&upstream.origin()))
        .await;
    let report = format!("{:?}", world.gateway.health.report());
    assert!(
        report.contains("which only a ModelProvider in namespace oarmaster-system may use"),
        "{report}"
    );
    let member = json!([{"provider": {"name": "own"}, "model": "m"}]);
    world.pool("team", "fast", member).await;
    let user = world.user();
    assert_eq!(world.chat(user, ask("hi")).await.status(), 502);
    assert_eq!((giver.asked(), upstream.got().len()), (0, 0));
}
