//! A gateway in this process, with a fake API server and a store on disk.
#![allow(dead_code)] // each test file uses its part
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)] // a helper of tests is a test

pub mod kube;
pub mod port;
pub mod redis;
pub mod sigv4;
pub mod upstream;

use self::kube::FakeKube;
use oarmaster_crds::ModelPool;
use oarmaster_gateway::catalog::{Outbound, Pool};
use oarmaster_gateway::clock::since_epoch;
use oarmaster_gateway::cluster::budgets::BudgetWatch;
use oarmaster_gateway::cluster::objects::Objects;
use oarmaster_gateway::cluster::secrets::follow_keys;
use oarmaster_gateway::config::{Settings, Tracing};
use oarmaster_gateway::egress::names::Resolve;
use oarmaster_gateway::provider::aws::workload::{Source, Workload};
use oarmaster_gateway::provider::guard::PrivateEndpoints;
use oarmaster_gateway::shared::{self, Address};
use oarmaster_gateway::state::Gateway;
use oarmaster_gateway::tools::web::Web;
use oarmaster_gateway::{admin, data, read, tls, traces};
use oarmaster_protocol::admin::{AttemptReport, CircuitHealth, OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::read::AuditRecord;
use oarmaster_protocol::task::Claim;
use oarmaster_store::{Options, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub const RELEASE: &str = "oarmaster-system";
pub const OPERATOR: &str = "operator-token";
pub const PILOT: &str = "pilot-token";
pub const UID: &str = "11111111-2222-3333-4444-555555555555";

pub struct World {
    pub kube: FakeKube,
    pub gateway: Arc<Gateway>,
    pub data: String,
    pub read: String,
    pub admin: String,
    pub http: reqwest::Client,
    pub dir: tempfile::TempDir,
    pub client: ::kube::Client,
    /// Milliseconds that the store's clock is ahead.
    pub ahead: Arc<AtomicI64>,
}

impl World {
    pub async fn start() -> Self {
        Self::with_identity(Err("no identity".to_owned())).await
    }

    /// A gateway with an identity of its own at AWS.
    pub async fn with_identity(identity: Result<Source, String>) -> Self {
        Self::with(identity, None, None, None, None).await
    }

    /// A gateway that sends traces to this collector.
    pub async fn traced(tracing: Tracing) -> Self {
        let identity = Err("no identity".to_owned());
        Self::with(identity, Some(tracing), None, None, None).await
    }

    /// A gateway whose egress finds names in this way.
    pub async fn resolving(resolve: Resolve) -> Self {
        let identity = Err("no identity".to_owned());
        Self::with(identity, None, None, Some(resolve), None).await
    }

    /// As [`World::resolving`], with tools of the web.
    pub async fn of_the_web(resolve: Resolve, web: Web) -> Self {
        let identity = Err("no identity".to_owned());
        Self::with(identity, None, None, Some(resolve), Some(web)).await
    }

    /// A gateway that shares limits and kept answers through Redis.
    pub async fn with_redis(url: &str) -> Self {
        let address = Address::parse(url).unwrap();
        let identity = Err("no identity".to_owned());
        let world = Self::with(identity, None, Some(address), None, None).await;
        tokio::spawn(shared::run(world.gateway.clone()));
        world
    }

    async fn with(
        identity: Result<Source, String>,
        tracing: Option<Tracing>,
        redis: Option<Address>,
        resolve: Option<Resolve>,
        web: Option<Web>,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (kube, client) = FakeKube::start().await;
        let dir = tempfile::tempdir().unwrap();
        let ahead = Arc::new(AtomicI64::new(0));
        let (clock, steady) = (ahead.clone(), ahead.clone());
        let store = Store::open(Options {
            steady: Arc::new(move || steady.load(Ordering::SeqCst)),
            clock: Arc::new(move || {
                let now = i64::try_from(since_epoch().as_millis()).unwrap();
                now + clock.load(Ordering::SeqCst)
            }),
            ..Options::new(dir.path())
        });
        let store = store.await.unwrap();
        let guard = PrivateEndpoints::parse(&["127.0.0.0/8".to_owned()]).unwrap();
        let settings = Settings {
            namespace: RELEASE.to_owned(),
            default_pool: Some("house".to_owned()),
            operator: format!("system:serviceaccount:{RELEASE}:oarmaster-operator"),
            pilots: format!("system:serviceaccount:{RELEASE}:oarmaster-pilots"),
            private_endpoints: guard.clone(),
            body_limit: 32 << 20,
            cache_bytes: 1 << 20,
            redis,
        };
        let tls = tls::client_config().unwrap();
        let mut gateway = Gateway::new(settings, store, &client, tls.clone());
        let still = ahead.clone();
        gateway.pilots.clock = Arc::new(move || still.load(Ordering::SeqCst));
        if let Some(tracing) = tracing {
            let dropped = gateway.metrics.spans_dropped();
            let (traces, exporter) = traces::start(&tracing, &tls, dropped).unwrap();
            gateway.traces = Some(traces);
            tokio::spawn(exporter.run(CancellationToken::new()));
        }
        if let Some(resolve) = resolve {
            gateway.egress.resolve = resolve;
        }
        gateway.web = web.unwrap_or_default();
        let gateway = Arc::new(gateway);
        let outbound = Outbound {
            workload: Arc::new(Workload::new(identity, &tls)),
            tls: Arc::new(tls),
            guard: Arc::new(guard),
            namespace: RELEASE.to_owned(),
        };
        let (synced, mut is_synced) = tokio::sync::watch::channel(false);
        let objects = Objects::new(
            gateway.snapshot.clone(),
            outbound,
            gateway.health.clone(),
            synced,
        );
        let watched = client.clone();
        tokio::spawn(async move { objects.run(watched).await });
        kube.namespace("team", json!({}));
        let (counted, mut is_counted) = tokio::sync::watch::channel(false);
        let budgets = BudgetWatch::new(gateway.budgets.clone(), counted);
        let watched = client.clone();
        tokio::spawn(async move { budgets.run(watched).await });
        tokio::spawn(follow_keys(
            client.clone(),
            RELEASE.to_owned(),
            gateway.health.clone(),
            gateway.health.snapshots(),
        ));
        let health = gateway.health.clone();
        tokio::spawn(async move { health.run().await });
        is_synced.wait_for(|synced| *synced).await.unwrap();
        is_counted.wait_for(|counted| *counted).await.unwrap();
        kube.token(
            OPERATOR,
            &format!("system:serviceaccount:{RELEASE}:oarmaster-operator"),
            "oarmaster-gateway-admin",
            None,
        );
        Self {
            data: serve(data::router(gateway.clone())).await,
            read: serve(read::router(gateway.clone())).await,
            admin: serve(admin::router(gateway.clone())).await,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            kube,
            gateway,
            dir,
            client,
            ahead,
        }
    }

    /// Applies a provider and waits until the gateway has it.
    pub async fn provider(&self, namespace: &str, name: &str, spec: Value) {
        let object = self.kube.apply("modelproviders", json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelProvider", "metadata": {"namespace": namespace, "name": name}, "spec": spec,
        }));
        let id = (namespace.to_owned(), name.to_owned());
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        self.until(|gateway| {
            let snapshot = gateway.snapshot.load();
            let known = snapshot.providers.get(&id);
            known.is_some_and(|known| known.version.1 >= generation)
        })
        .await;
    }

    pub async fn pool(&self, namespace: &str, name: &str, members: Value) {
        self.pool_with(namespace, name, json!({ "members": members }))
            .await;
    }

    /// Applies a pool and waits until the gateway has it as it is written.
    pub async fn pool_with(&self, namespace: &str, name: &str, spec: Value) {
        let object = self.kube.apply("modelpools", json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelPool", "metadata": {"namespace": namespace, "name": name}, "spec": spec,
        }));
        let object: ModelPool = serde_json::from_value(object).unwrap();
        let id = (namespace.to_owned(), name.to_owned());
        let written = Pool::new(&id, &object);
        self.until(|gateway| {
            let snapshot = gateway.snapshot.load();
            snapshot
                .pools
                .get(&id)
                .is_some_and(|pool| **pool == written)
        })
        .await;
    }

    /// Applies a Budget and waits until the gateway has it.
    pub async fn budget(&self, name: &str, spec: Value) {
        let object = self.kube.apply("budgets", json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Budget", "metadata": {"name": name}, "spec": spec,
        }));
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        self.until(|gateway| {
            let budgets = gateway.budgets.load();
            budgets
                .rule(name)
                .is_some_and(|rule| rule.generation == generation)
        })
        .await;
    }

    /// A provider `up` at the upstream with these key names (Secret and value of the same name), and a pool `fast` of it.
    pub async fn upstream(&self, upstream: &upstream::Upstream, keys: &[&str]) {
        for key in keys {
            self.kube.secret("team", key, &[("key", key.as_bytes())]);
        }
        self.provider("team", "up", http_provider(&upstream.url, keys))
            .await;
        self.pool("team", "fast", members(&["up"])).await;
        let keys = keys.len();
        self.until(|gateway| usable(gateway, "team", "up") == keys)
            .await;
    }

    /// Waits until the gateway's state satisfies the condition.
    pub async fn until(&self, holds: impl Fn(&Gateway) -> bool) {
        let wait = async {
            while !holds(&self.gateway) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait)
            .await
            .expect("the gateway's state within a minute");
    }

    /// Everything that the audit has so far, as its reader gets it.
    pub async fn audit(&self) -> (String, Vec<AuditRecord>) {
        self.gateway.audit.flush();
        self.gateway.store.flush().await.unwrap();
        self.kube.token("auditor", "auditor", "api-server", None);
        self.kube.allow("auditor get tasks/audit /");
        let url = format!("{}/read/v1/audit?from=0&to=9999999999999", self.read);
        let asked = self.http.get(url).bearer_auth("auditor").send().await;
        let text = asked.unwrap().text().await.unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines = lines.collect();
        (text, lines)
    }

    /// The pod, Job and token of an attempt.
    pub fn pod(&self, attempt: u32) {
        sandbox(&self.kube, attempt);
    }

    /// Opens an attempt as the operator does.
    pub async fn open(&self, attempt: u32, budget: TaskBudget) -> AttemptReport {
        self.open_with(attempt, budget, assignment()).await
    }

    /// As [`World::open`]; the assignment is that of the first attempt.
    pub async fn open_with(
        &self,
        attempt: u32,
        budget: TaskBudget,
        assignment: Value,
    ) -> AttemptReport {
        let request = OpenAttempt {
            runs_in: RunsIn::Job(format!("job-{attempt}")),
            assignment: (attempt == 1).then(|| serde_json::from_value(assignment).unwrap()),
            budget,
            requested_by: Some("alice@acme".to_owned()),
            parent: None,
            keeps: false,
            ends: false,
            labels: [("team".to_owned(), "red".to_owned())].into(),
        };
        let response = self
            .http
            .put(format!("{}/admin/v1/attempts/{UID}/{attempt}", self.admin))
            .bearer_auth(OPERATOR)
            .json(&request)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// Opens and claims attempt 1.
    pub async fn task(&self, budget: TaskBudget) -> Claim {
        self.task_with(budget, assignment()).await
    }

    /// As [`World::task`], with this assignment.
    pub async fn task_with(&self, budget: TaskBudget, assignment: Value) -> Claim {
        self.pod(1);
        let report = self.open_with(1, budget, assignment).await;
        let response = self
            .http
            .post(format!("{}/task/v1/claim", self.data))
            .bearer_auth(PILOT)
            .json(&json!({"assignment": report.assignment, "nonce": "n1"}))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// A model call of the pilot.
    pub async fn call(
        &self,
        session: &str,
        call: u64,
        next: u64,
        text: &str,
    ) -> (u16, Option<u64>, Value) {
        let body = json!({"model": "team/fast", "messages": [{"role": "user", "content": text}], "max_tokens": 100});
        self.call_with(session, call, next, body).await
    }

    pub async fn call_with(
        &self,
        session: &str,
        call: u64,
        next: u64,
        body: Value,
    ) -> (u16, Option<u64>, Value) {
        let response = self
            .http
            .post(format!("{}/v1/chat/completions", self.data))
            .bearer_auth(PILOT)
            .header("oarmaster-session", session)
            .header("oarmaster-call", call)
            .header("oarmaster-next", next)
            .json(&body)
            .send()
            .await
            .unwrap();
        let next = response
            .headers()
            .get("oarmaster-next")
            .map(|value| value.to_str().unwrap().parse().unwrap());
        (
            response.status().as_u16(),
            next,
            response.json().await.unwrap(),
        )
    }

    /// A user with the right to use pool team/fast.
    pub fn user(&self) -> &'static str {
        self.kube.token(
            "user-token",
            "system:serviceaccount:team:app",
            "oarmaster-gateway",
            None,
        );
        self.kube
            .allow("system:serviceaccount:team:app use modelpools team/fast");
        "user-token"
    }

    pub async fn chat(&self, token: &str, body: Value) -> reqwest::Response {
        self.post("/v1/chat/completions", token, body).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> reqwest::Response {
        self.http
            .post(format!("{}{path}", self.data))
            .bearer_auth(token)
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    pub async fn metrics(&self) -> String {
        self.gateway.show();
        self.gateway.metrics.text().unwrap()
    }
}

/// The pod, Job and token of attempt `attempt`, as the cluster would have them.
pub fn sandbox(kube: &FakeKube, attempt: u32) {
    sandbox_of(kube, ("fix", UID), "job", attempt, &token(attempt));
}

/// As [`sandbox`], of this Task and with Jobs of this name.
pub fn sandbox_of(
    kube: &FakeKube,
    (task, task_uid): (&str, &str),
    job: &str,
    attempt: u32,
    token: &str,
) {
    let labels = json!({"oarmaster.dev/sandbox": "true", "oarmaster.dev/task-uid": task_uid, "oarmaster.dev/attempt": attempt.to_string()});
    let (job_uid, pod_uid) = (
        format!("{job}-uid-{attempt}"),
        format!("{job}-pod-uid-{attempt}"),
    );
    let job = format!("{job}-{attempt}");
    kube.apply("jobs", json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
        "namespace": "team", "name": job, "uid": job_uid, "labels": labels,
        "ownerReferences": [{"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task", "name": task, "uid": task_uid, "controller": true}],
    }}));
    kube.apply("pods", json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
        "namespace": "team", "name": format!("{job}-x"), "uid": pod_uid, "labels": labels,
        "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": job_uid, "controller": true}],
    }}));
    kube.token(
        token,
        "system:serviceaccount:team:oarmaster-sandbox",
        "oarmaster-gateway",
        Some((&format!("{job}-x"), &pod_uid)),
    );
}

pub fn token(attempt: u32) -> String {
    if attempt == 1 {
        PILOT.to_owned()
    } else {
        format!("{PILOT}-{attempt}")
    }
}

pub fn usable(gateway: &Gateway, namespace: &str, name: &str) -> usize {
    let snapshot = gateway.snapshot.load();
    let provider = snapshot
        .providers
        .get(&(namespace.to_owned(), name.to_owned()));
    provider.map_or(0, |provider| gateway.health.usable_keys(provider).len())
}

/// The circuit of a provider's first model.
pub fn circuit(gateway: &Gateway, name: &str) -> CircuitHealth {
    let report = gateway.health.report();
    let provider = report.providers.iter().find(|known| known.name == name);
    provider.unwrap().models[0].circuit
}

pub fn http_provider(url: &str, keys: &[&str]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            // In their order, so that a test knows whose turn it is.
            let weight = i32::from(at == 0);
            json!({"name": key, "secretKeyRef": {"name": key, "key": "key"}, "weight": weight})
        })
        .collect();
    json!({
        "type": "OpenAICompatible", "endpoint": url, "keys": keys,
        "models": [{"name": "m", "pricing": {"inputPerMillion": "1", "outputPerMillion": "2", "cacheReadPerMillion": "0.5"}}],
        // A pause of the machine is no fault of a provider: only what a test waits for to run out is short.
        "timeouts": {"connect": "1m", "firstToken": "1m", "idle": "2s", "response": "1m"},
    })
}

/// A provider of this type.
pub fn vendor(kind: &str, endpoint: &str, keys: &[&str]) -> Value {
    let mut spec = http_provider(endpoint, keys);
    spec["type"] = json!(kind);
    spec
}

/// A pool `fast` of a provider `up` of this type, with a key.
pub async fn vendor_world(kind: &str) -> (World, upstream::Upstream) {
    let (world, upstream) = (World::start().await, upstream::Upstream::start().await);
    world.kube.secret("team", "k1", &[("key", b"secret-of-k1")]);
    // Theirs ends before the version.
    let endpoint = if ["AzureOpenAI", "Anthropic", "Gemini", "Cohere"].contains(&kind) {
        upstream.origin()
    } else {
        upstream.url.clone()
    };
    world
        .provider("team", "up", vendor(kind, &endpoint, &["k1"]))
        .await;
    let member = members(&["up"]);
    world.pool("team", "fast", member).await;
    world
        .until(|gateway| usable(gateway, "team", "up") == 1)
        .await;
    (world, upstream)
}

/// As [`vendor_world`], with the pool `two` whose second member answers `ok`.
pub async fn world_beside_good(kind: &str) -> (World, upstream::Upstream, upstream::Upstream) {
    let (world, upstream) = vendor_world(kind).await;
    let good = upstream::Upstream::start().await;
    world
        .provider("team", "good", http_provider(&good.url, &[]))
        .await;
    world.pool("team", "two", members(&["up", "good"])).await;
    world
        .kube
        .allow("system:serviceaccount:team:app use modelpools team/two");
    (world, upstream, good)
}

pub fn scripted(rules: Value) -> Value {
    json!({
        "type": "Scripted", "script": {"rules": rules},
        "models": [{"name": "m", "pricing": {"inputPerMillion": "1", "outputPerMillion": "2"}}],
    })
}

pub fn assignment() -> Value {
    json!({
        "task": {"namespace": "team", "name": "fix", "uid": UID},
        "target": {"agent": {
            "pinned": "agent@sha256:00", "instructions": "be careful", "prompt": "fix it", "model": "team/fast",
            "maxOutputTokens": 200, "tools": [], "maxTurns": 10, "maxToolCalls": 10,
        }},
    })
}

/// Members of a pool: model `m` of each of these providers of its namespace.
pub fn members(providers: &[&str]) -> Value {
    providers
        .iter()
        .map(|name| json!({"provider": {"name": name}, "model": "m"}))
        .collect()
}

pub fn ask(text: &str) -> Value {
    json!({"model": "fast", "messages": [{"role": "user", "content": text}], "max_tokens": 100})
}

async fn serve(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(self::kube::axum_serve(listener, router));
    url
}
