//! A volume, the API server, two providers and the gateway, which is started again and again.

use crate::books::{Bill, Books};
use crate::common::kube::FakeKube;
use crate::common::port::free_address;
use crate::common::upstream::{Reply, Upstream};
use crate::common::{OPERATOR, PILOT, RELEASE, UID, assignment, http_provider, members, sandbox};
use crate::crew::{Said, Session, Way};
use crate::program::Program;
use oarmaster_protocol::admin::{AttemptReport, OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::task::Claim;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// USD per million tokens, of input and of output.
pub type Price = (u64, u64);
/// Many calls are out beside the disk.
pub const CHEAP: Price = (1, 2);
/// Few are.
pub const DEAR: Price = (100, 200);
/// The Budget over all callers.
pub const BUDGET: &str = "everybody";
/// What the sound provider counts.
const COUNTED: (u64, u64) = (10, 5);
pub const USER: &str = "user-token";

pub struct Rig {
    pub program: Program,
    pub http: reqwest::Client,
    pub data: String,
    /// The next text: each is asked once.
    pub next: usize,
    pub session: Session,
    good: Upstream,
    bad: Upstream,
    kube: String,
    args: String,
    plain: String,
    price: Price,
    /// Most money of the Budget and of the Task, in pico-USD.
    limit: u64,
    dir: tempfile::TempDir,
}

fn chunk(text: &str, end: Option<&str>) -> Value {
    json!({
        "id": "up", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}],
    })
}

fn counted() -> Value {
    let (input, output) = COUNTED;
    json!({
        "id": "up", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
        "usage": {"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output},
    })
}

/// A provider that answers and keeps a bill, and one that refuses everything, which costs nothing.
async fn upstreams() -> (Upstream, Upstream) {
    let (good, bad) = (Upstream::start().await, Upstream::start().await);
    let events = [
        chunk("o", None),
        chunk("k", None),
        chunk("", Some("stop")),
        counted(),
    ];
    let events = events.map(|event| format!("data: {event}\n\n"));
    let done = ["data: [DONE]\n\n".to_owned()];
    let pieces = events.into_iter().chain(done);
    good.when_streamed(Reply::Pieces {
        kind: "text/event-stream",
        pieces: pieces.map(|piece| (5, piece.into_bytes())).collect(), // so that most are read one by one
        cut: false,
    });
    bad.always(Reply::error(503, "overloaded", "sorry"));
    (good, bad)
}

impl Rig {
    /// A gateway that serves, with an attempt that is claimed. `limit`: most money of the Budget and of the Task; much where there is none.
    pub async fn start(price: Price, limit: Option<u64>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (kube, _) = FakeKube::start().await;
        let (good, bad) = upstreams().await;
        let limit = limit.unwrap_or(1_000_000_000_000_000);
        furnish(&kube, &bad, &good, price, limit);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let files: [(&str, &[u8]); 2] = [("tls.crt", pem.as_bytes()), ("tls.key", key.as_bytes())];
        kube.secret(RELEASE, "oarmaster-gateway-tls", &files);
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()])
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        // One authority in place of the system's: reading those takes longer than everything else of a start.
        std::fs::write(dir.path().join("roots.pem"), &pem).unwrap();
        let [data, read, admin, plain] = [(); 4].map(|()| free_address());
        let args = format!(
            "--namespace {RELEASE} --data-dir {} --data-addr {data} --read-addr {read} --admin-addr {admin} --metrics-addr {plain} --private-endpoints 127.0.0.0/8 --drain 5",
            dir.path().join("volume").display()
        );
        let mut rig = Self {
            program: Program::start(&kube.url, &args, &dir.path().join("roots.pem")),
            http,
            data: format!("https://localhost:{}", data.port()),
            next: 0,
            session: Session::default(),
            good,
            bad,
            kube: kube.url,
            args,
            plain: format!("http://{plain}"),
            price,
            limit,
            dir,
        };
        rig.is_ready().await;
        rig.claim(admin.port()).await;
        rig
    }

    /// Opens the attempt as the operator does, and claims it as the pilot does.
    async fn claim(&mut self, admin: u16) {
        let request = OpenAttempt {
            runs_in: RunsIn::Job("job-1".to_owned()),
            assignment: Some(serde_json::from_value(assignment()).unwrap()),
            parent: None,
            keeps: false,
            ends: false,
            labels: BTreeMap::default(),
            budget: TaskBudget {
                pico_usd: Some(self.limit),
                tokens: None,
                ..TaskBudget::default()
            },
            requested_by: Some("alice@acme".to_owned()),
        };
        let url = format!("https://localhost:{admin}/admin/v1/attempts/{UID}/1");
        let open = self.http.put(url).bearer_auth(OPERATOR).json(&request);
        let report: AttemptReport = open.send().await.unwrap().json().await.unwrap();
        let url = format!("{}/task/v1/claim", self.data);
        let body = json!({"assignment": report.assignment, "nonce": "n1"});
        let claim = self.http.post(url).bearer_auth(PILOT).json(&body);
        let claim: Claim = claim.send().await.unwrap().json().await.unwrap();
        self.session = Session::new(&claim);
    }

    /// Starts the gateway anew, and waits until it serves.
    pub async fn again(&mut self) {
        assert!(!self.program.is_alive());
        self.program = Program::start(&self.kube, &self.args, &self.dir.path().join("roots.pem"));
        self.is_ready().await;
        // What was open is booked before anybody can ask.
        self.read().check_closed();
    }

    async fn is_ready(&mut self) {
        let wait = async {
            loop {
                assert!(self.program.is_alive(), "the gateway does not start");
                let answer = self.http.get(format!("{}/readyz", self.plain)).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200)
                    && self.http.get(&self.data).send().await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let ready = tokio::time::timeout(Duration::from_secs(60), wait).await;
        ready.expect("the gateway serves within a minute");
    }

    /// The callers go on: a Task asks for the same call again, anybody else for another.
    pub async fn go_on(&mut self, way: Way, said: Said) {
        match (way, said) {
            (Way::Task, said) => self.same_call(said).await,
            (way, _) => assert_eq!(self.call(way).await, Said::Answer),
        }
    }

    /// Checks the log as it is on the disk. What is open counts as booked at its reservation: that is what the next start makes of it.
    pub fn check(&self) {
        self.read().check();
    }

    /// Ends the gateway cleanly: nothing is open then.
    pub async fn stop(mut self) {
        self.program.stop().await;
        let books = self.read();
        books.check();
        books.check_closed();
    }

    fn read(&self) -> Books {
        let texts = |upstream: &Upstream| {
            let got = upstream.got().into_iter();
            let text = |body: &str| -> String {
                let body: Value = serde_json::from_str(body).unwrap();
                let said = &body["messages"][0]["content"];
                said.as_str().unwrap().to_owned()
            };
            got.map(|got| text(&got.body)).collect()
        };
        let pico = 1_000_000; // pico-USD per token of a price of one USD per million
        let bill = Bill {
            sound: texts(&self.good),
            failing: texts(&self.bad),
            each: (COUNTED.0 * self.price.0 + COUNTED.1 * self.price.1) * pico,
        };
        Books::read(&self.dir.path().join("volume"), self.limit, bill)
    }
}

fn furnish(kube: &FakeKube, bad: &Upstream, good: &Upstream, price: Price, limit: u64) {
    kube.namespace("team", json!({}));
    let api = "oarmaster.dev/v1alpha1";
    for (name, upstream) in [("bad", bad), ("good", good)] {
        let mut spec = http_provider(&upstream.url, &[]);
        spec["models"][0]["pricing"] = json!({"inputPerMillion": price.0.to_string(), "outputPerMillion": price.1.to_string()});
        let meta = json!({"namespace": "team", "name": name});
        let object =
            json!({"apiVersion": api, "kind": "ModelProvider", "metadata": meta, "spec": spec});
        kube.apply("modelproviders", object);
    }
    // The first member fails always and is never left alone: every call has two hops.
    let breaker = json!({"errorPercent": 100, "minRequests": 1000});
    let spec = json!({"members": members(&["bad", "good"]), "breaker": breaker});
    let meta = json!({"namespace": "team", "name": "fast"});
    let object = json!({"apiVersion": api, "kind": "ModelPool", "metadata": meta, "spec": spec});
    kube.apply("modelpools", object);
    let usd = format!(
        "{}.{:09}",
        limit / 1_000_000_000_000,
        limit % 1_000_000_000_000 / 1000
    );
    let spec = json!({"per": "Cluster", "window": "Total", "usd": usd});
    let object =
        json!({"apiVersion": api, "kind": "Budget", "metadata": {"name": BUDGET}, "spec": spec});
    kube.apply("budgets", object);
    let operator = format!("system:serviceaccount:{RELEASE}:oarmaster-operator");
    kube.token(OPERATOR, &operator, "oarmaster-gateway-admin", None);
    kube.token(
        USER,
        "system:serviceaccount:team:app",
        "oarmaster-gateway",
        None,
    );
    kube.allow("system:serviceaccount:team:app use modelpools team/fast");
    sandbox(kube, 1);
}
