//! The server over real TLS.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a helper of tests is a test

use futures::stream::{self, StreamExt as _};
use oarmaster_webhook::body::{LARGE_AT_ONCE, MAX_BODY, SMALL};
use oarmaster_webhook::serve::{HEALTH, OBJECTS, TASKS, serve};
use oarmaster_webhook::tls::Mounted;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

struct Served {
    addr: SocketAddr,
    certificate: Arc<Mounted>,
    stop: CancellationToken,
    done: JoinHandle<Result<(), rustls::Error>>,
}

/// Writes a new certificate for `localhost`, and gives it as PEM.
fn issue(dir: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

async fn start(dir: &Path) -> Served {
    let certificate = Arc::new(Mounted::read(dir.to_owned()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (held, stopped) = (certificate.clone(), stop.clone());
    let done = tokio::spawn(async move { serve(listener, &held, stopped).await });
    Served {
        addr,
        certificate,
        stop,
        done,
    }
}

/// A client that trusts this certificate alone.
fn client(certificate: &str) -> reqwest::Client {
    // The error says that there is a provider already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap()])
        .build()
        .unwrap()
}

impl Served {
    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    async fn post(
        &self,
        client: &reqwest::Client,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Response {
        self.post_to(TASKS, client, body).await
    }

    async fn post_to(
        &self,
        path: &str,
        client: &reqwest::Client,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Response {
        let request = client.post(self.url(path)).body(body);
        let request = request.header("content-type", "application/json");
        request.send().await.unwrap()
    }
}

/// A webhook with a certificate of its own, in this directory, and a client that trusts it.
async fn fresh() -> (tempfile::TempDir, reqwest::Client, Served) {
    let dir = tempfile::tempdir().unwrap();
    let client = client(&issue(dir.path()));
    let served = start(dir.path()).await;
    (dir, client, served)
}

/// More reviews with a prompt of `size` bytes than large ones have places.
async fn large_ones_are_answered(served: &Served, client: &reqwest::Client, size: usize) {
    let mut large = review();
    let spec = large.pointer_mut("/request/object/spec").unwrap();
    let params = json!({"params": {"prompt": "x".repeat(size)}});
    spec.as_object_mut()
        .unwrap()
        .extend(params.as_object().unwrap().clone());
    for _ in 0..2 * LARGE_AT_ONCE {
        let answer = served.post(client, large.to_string()).await;
        assert_eq!(answer.status(), 200);
    }
}

/// A review as the API server sends it.
fn review() -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "oarmaster.dev", "version": "v1alpha1", "kind": "Task"},
            "resource": {"group": "oarmaster.dev", "version": "v1alpha1", "resource": "tasks"},
            "requestKind": {"group": "oarmaster.dev", "version": "v1alpha1", "kind": "Task"},
            "requestResource": {"group": "oarmaster.dev", "version": "v1alpha1", "resource": "tasks"},
            "namespace": "team", "operation": "CREATE",
            "userInfo": {"username": "alice@acme", "uid": "1", "groups": ["system:authenticated"], "extra": {"scopes": ["a"]}},
            "object": {
                "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
                "metadata": {"generateName": "fix-", "namespace": "team", "managedFields": [{
                    "apiVersion": "oarmaster.dev/v1alpha1", "fieldsType": "FieldsV1", "manager": "kubectl", "operation": "Update",
                    "time": "2026-11-21T17:00:00Z", "fieldsV1": {"f:spec": {".": {}, "f:run": {}}},
                }]},
                "spec": {"run": {"command": ["true"]}},
            },
            "oldObject": null, "dryRun": true,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]},
        },
    })
}

#[tokio::test]
async fn a_review_is_answered_with_the_users_name() {
    let (_dir, client, served) = fresh().await;
    let answer = served.post(&client, review().to_string()).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], review()["request"]["uid"]);
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch: Vec<u8> = serde_json::from_value(response["patch"].clone()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    assert_eq!(
        patch,
        json!([
            {"op": "add", "path": "/spec/requestedBy", "value": "alice@acme"},
            {"op": "add", "path": "/metadata/labels", "value": {"oarmaster.dev/root": "true"}},
        ])
    );
}

/// A review of a Workflow with one step of this prompt, and `padding` bytes more.
fn of_workflow(prompt: &str, padding: usize) -> String {
    let mut review = review();
    let request = &mut review["request"];
    request["kind"]["kind"] = json!("Workflow");
    request["object"]["kind"] = json!("Workflow");
    let step = json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": prompt}});
    request["object"]["spec"] = json!({"steps": [step], "description": "x".repeat(padding)});
    review.to_string()
}

#[tokio::test]
async fn an_object_is_let_through_refused_or_not_checked() {
    let (_dir, client, served) = fresh().await;
    let asked = async |body: String| -> Value {
        let answer = served.post_to(OBJECTS, &client, body).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["response"]["uid"], review()["request"]["uid"]);
        answer["response"].clone()
    };
    let fine = asked(of_workflow("x", 0)).await;
    assert_eq!(
        (&fine["allowed"], &fine["warnings"]),
        (&json!(true), &Value::Null)
    );
    let wrong = asked(of_workflow("${oops}", 0)).await;
    assert_eq!(wrong["allowed"], false);
    assert_eq!(wrong["status"]["code"], 422);
    let why = wrong["status"]["message"].as_str().unwrap();
    assert!(
        why.starts_with("spec.steps[a].params: the expression `oops`"),
        "{why}"
    );
    for _ in 0..2 * LARGE_AT_ONCE {
        let large = asked(of_workflow("${oops}", 1 << 20)).await;
        assert_eq!(large["allowed"], true);
        let warning = large["warnings"][0].as_str().unwrap();
        assert!(warning.contains("it has more than 512 KiB"), "{warning}");
    }
    // A Task, by its own rules.
    assert_eq!(asked(review().to_string()).await["allowed"], true);
    let mut task = review();
    task["request"]["object"]["spec"] = json!({"agent": {"name": "coder"}});
    let wrong = asked(task.to_string()).await;
    let why = wrong["status"]["message"].as_str().unwrap();
    assert!(why.starts_with("spec.params.prompt: is missing"), "{why}");
    // What is none of ours is none of its business.
    task["request"]["kind"]["group"] = json!("example.com");
    assert_eq!(asked(task.to_string()).await["allowed"], true);
}

/// As long as an object may be.
#[tokio::test]
async fn the_largest_review_is_answered() {
    let (_dir, client, served) = fresh().await;
    large_ones_are_answered(&served, &client, 3 << 20).await;
}

/// The beginning of a body, whose rest never comes. The channel tells when the beginning is on its way.
fn never_ends(beginning: usize, told: mpsc::UnboundedSender<()>) -> reqwest::Body {
    let beginning: Result<_, Infallible> = Ok(vec![b' '; beginning]);
    let rest = stream::once(async move {
        told.send(()).unwrap();
        std::future::pending().await
    });
    reqwest::Body::wrap_stream(stream::iter([beginning]).chain(rest))
}

#[tokio::test]
async fn who_does_not_send_on_holds_nobody_up_and_is_cut_off() {
    let (_dir, client, served) = fresh().await;
    let served = Arc::new(served);
    let (told, mut sent) = mpsc::unbounded_channel();
    let mut slow = JoinSet::new();
    // Small ones, and more large ones than there are places.
    let large = 3 * LARGE_AT_ONCE;
    for beginning in [vec![10; 50], vec![2 * SMALL; large]].concat() {
        let (served, client, told) = (served.clone(), client.clone(), told.clone());
        slow.spawn(async move {
            let answer = served.post(&client, never_ends(beginning, told)).await;
            (beginning > SMALL, answer.status().as_u16())
        });
    }
    for _ in 0..50 + large {
        sent.recv().await.unwrap();
    }
    // Everybody else is answered meanwhile.
    for _ in 0..20 {
        let answer = served.post(&client, review().to_string()).await;
        assert_eq!(answer.status(), 200);
    }
    for (large, status) in slow.join_all().await {
        assert!(status == 408 || (large && status == 503), "{status}");
    }
    // They gave their places back.
    large_ones_are_answered(&served, &client, 2 * SMALL).await;
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_the_next_one_answered() {
    let (_dir, client, served) = fresh().await;
    let mut no_request = review();
    no_request["request"] = Value::Null;
    let mut long_uid = review();
    long_uid["request"]["uid"] = json!("x".repeat(257));
    for (body, status) in [
        (String::new(), 400),
        ("{".to_owned(), 400),
        ("[]".to_owned(), 400),
        (long_uid.to_string(), 400),
        (no_request.to_string(), 400),
        ("x".repeat(MAX_BODY + 1), 413),
    ] {
        assert_eq!(served.post(&client, body).await.status(), status);
    }
    let health = client.get(served.url(HEALTH)).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let answer = served.post(&client, review().to_string()).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = client(&issue(dir.path()));
    let served = start(dir.path()).await;
    let health = served.url(HEALTH);
    before.get(&health).send().await.unwrap();
    assert!(!served.certificate.reload().unwrap(), "nothing has changed");

    // A key without its certificate, as between two reads of a Secret that changes: the one before stays.
    let certificate = std::fs::read(dir.path().join("tls.crt")).unwrap();
    let after = client(&issue(dir.path()));
    let next = std::fs::read(dir.path().join("tls.crt")).unwrap();
    for broken in [&certificate[..], b"", b"no certificate"] {
        std::fs::write(dir.path().join("tls.crt"), broken).unwrap();
        served.certificate.reload().unwrap_err();
    }
    std::fs::remove_file(dir.path().join("tls.crt")).unwrap();
    served.certificate.reload().unwrap_err();
    after.get(&health).send().await.unwrap_err();

    std::fs::write(dir.path().join("tls.crt"), next).unwrap();
    assert!(served.certificate.reload().unwrap());
    after.get(&health).send().await.unwrap();
    // What is connected stays connected.
    before.get(&health).send().await.unwrap();
}

#[tokio::test]
async fn it_leaves_without_dropping_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let certificate = issue(dir.path());
    let (old, new) = (client(&certificate), client(&certificate));
    let served = start(dir.path()).await;
    let health = served.url(HEALTH);
    let answer = old.get(&health).send().await.unwrap();
    assert!(answer.headers().get("connection").is_none());
    served.stop.cancel();
    for client in [&old, &new] {
        let answer = client.get(&health).send().await.unwrap();
        assert_eq!(answer.headers()["connection"], "close");
    }
    served.done.await.unwrap().unwrap();
}
