//! Plays scheduler, kubelet and pilot: binds each pod, gets its token, writes its status as a kubelet would, and in a Task's pod claims
//! the attempt at the gateway and hands in a result. Bare Jobs' pods are played by the same code, without the pilot.

use crate::machine::{self, BARE, Clients, NODE, OTHER, TASKS};
use crate::process::Token;
use anyhow::{Context as _, Result, anyhow};
use http::Method;
use oarmaster_crds::names::{PILOT_CONTAINER, SANDBOX_SERVICE_ACCOUNT, TASK_UID_LABEL};
use oarmaster_e2e::bench::follow::{self, Meta};
use oarmaster_e2e::installed::RELEASE;
use oarmaster_protocol::journal::{Body, Outcome};
use oarmaster_protocol::task::{Append, Appended, Claim, ClaimRequest, SESSION_HEADER};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long a pod works.
pub const WORK: Duration = Duration::from_millis(100);
/// Requests at once of each identity: the client speaks HTTP/1.1, and a kubelet has few connections.
const AT_ONCE: usize = 16;
/// How long something is tried again: the API server takes a moment to see that a pod is on the node, and the gateway to see the pod.
const PATIENCE: Duration = Duration::from_secs(60);
/// Wait between two tries.
const AGAIN: Duration = Duration::from_millis(5);
/// Least lifetime of a token in seconds.
const TOKEN_SECONDS: u32 = 600;

/// A pod, as far as the stub looks at it.
#[derive(Clone, Debug, Deserialize)]
struct Pod {
    metadata: Meta,
    spec: Spec,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    containers: Vec<Container>,
    #[serde(default)]
    service_account_name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    #[serde(default)]
    args: Vec<String>,
}

/// The stub.
pub struct Stub {
    clients: Clients,
    pilot: Pilot,
    slots: Semaphore,
    /// Whether pods keep running.
    hold: AtomicBool,
    seen: Mutex<HashSet<String>>,
    /// Pods that have ended, and the Job of each.
    ended: Mutex<BTreeMap<String, String>>,
    failed: Mutex<Vec<String>>,
}

impl Stub {
    /// Starts to play every pod of all namespaces.
    pub async fn start(clients: &Clients, gateway: String) -> Result<Arc<Self>> {
        let stub = Arc::new(Self {
            clients: clients.clone(),
            pilot: Pilot::new(clients, gateway).await?,
            slots: Semaphore::new(AT_ONCE),
            hold: AtomicBool::new(false),
            seen: Mutex::default(),
            ended: Mutex::default(),
            failed: Mutex::default(),
        });
        for namespace in [TASKS, OTHER, BARE] {
            let (client, own) = (clients.admin.clone(), Arc::clone(&stub));
            tokio::spawn(follow::follow(
                client,
                machine::pods(namespace),
                move |pod: Pod| own.saw(pod),
            ));
        }
        Ok(stub)
    }

    /// Lets pods that start from now on run for ever.
    pub fn hold(&self) {
        self.hold.store(true, Ordering::Relaxed);
    }

    /// Pods that have ended, with their Jobs.
    pub fn ended(&self) -> BTreeMap<String, String> {
        lock(&self.ended).clone()
    }

    /// An error if a pod could not be played.
    pub fn check(&self) -> Result<()> {
        let failed = lock(&self.failed);
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(anyhow!(
                "{} pods could not be played: {first}",
                failed.len()
            )),
        }
    }

    fn saw(self: &Arc<Self>, pod: Pod) {
        if lock(&self.seen).insert(pod.metadata.uid.clone()) {
            let stub = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = stub.play(&pod).await {
                    let text = format!("{}: {error:#}", pod.metadata.name);
                    eprintln!("{text}");
                    lock(&stub.failed).push(text);
                }
            });
        }
    }

    async fn play(&self, pod: &Pod) -> Result<()> {
        let Meta {
            name,
            namespace,
            uid,
            labels,
        } = &pod.metadata;
        let url = format!("{}/{name}", machine::pods(namespace));
        let sandbox = labels.contains_key(TASK_UID_LABEL);
        let hold = self.hold.load(Ordering::Relaxed);
        self.bind(&url, pod).await.context("failed to bind")?;
        let token = self
            .token(pod, sandbox)
            .await
            .context("failed to get a token")?;
        let begun = jiff::Timestamp::now();
        self.status(&url, uid, &running(begun)).await?;
        let end = tokio::time::Instant::now() + WORK;
        let claim = if sandbox {
            Some(
                self.pilot
                    .claim(&token, pod)
                    .await
                    .context("failed to claim")?,
            )
        } else {
            None
        };
        if hold {
            return Ok(());
        }
        tokio::time::sleep_until(end).await;
        if let Some(claim) = claim {
            let done = self.pilot.result(&token, claim).await;
            done.context("failed to hand in a result")?;
        }
        self.status(&url, uid, &succeeded(begun)).await?;
        let job = labels
            .get("batch.kubernetes.io/job-name")
            .cloned()
            .unwrap_or_default();
        lock(&self.ended).insert(name.clone(), job);
        Ok(())
    }

    async fn bind(&self, url: &str, pod: &Pod) -> Result<()> {
        let body = json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod.metadata.name, "uid": pod.metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
        let _slot = self.slots.acquire().await?;
        machine::create(&self.clients.scheduler, &format!("{url}/binding"), &body).await?;
        Ok(())
    }

    async fn token(&self, pod: &Pod, sandbox: bool) -> Result<String> {
        let Meta {
            name,
            namespace,
            uid,
            ..
        } = &pod.metadata;
        let (account, audiences): (_, &[&str]) = if sandbox {
            (SANDBOX_SERVICE_ACCOUNT, &[oarmaster_protocol::AUDIENCE])
        } else {
            (pod.spec.service_account_name.as_str(), &[])
        };
        let url = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": TOKEN_SECONDS,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
        let begun = Instant::now();
        loop {
            let slot = self.slots.acquire().await?;
            let answer = Token::ask(&self.clients.kubelet, &url, &body).await;
            drop(slot);
            match answer {
                // The API server's own caches do not have the pod's node, or the pod, yet.
                Err(kube::Error::Api(status))
                    if matches!(status.code, 403 | 404) && begun.elapsed() < PATIENCE =>
                {
                    tokio::time::sleep(AGAIN).await;
                }
                other => return Ok(other?),
            }
        }
    }

    async fn status(&self, url: &str, uid: &str, status: &Value) -> Result<()> {
        let body = json!({"metadata": {"uid": uid}, "status": status});
        let kind = "application/strategic-merge-patch+json";
        let url = format!("{url}/status");
        let _slot = self.slots.acquire().await?;
        let client = &self.clients.kubelet;
        machine::send(client, Method::PATCH, &url, kind, &body)
            .await
            .context("failed to write a pod's status")
    }
}

fn conditions(ready: &str) -> Value {
    let now = jiff::Timestamp::now().to_string();
    let kinds = [
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("Ready", ready),
        ("ContainersReady", ready),
    ];
    kinds
        .map(|(kind, status)| json!({"type": kind, "status": status, "lastTransitionTime": now}))
        .to_vec()
        .into()
}

fn running(begun: jiff::Timestamp) -> Value {
    json!({"phase": "Running", "startTime": begun, "podIP": "127.0.0.1", "hostIP": "127.0.0.1",
        "conditions": conditions("True"),
        "containerStatuses": [{"name": PILOT_CONTAINER, "image": "bench", "imageID": "", "restartCount": 0,
            "ready": true, "started": true, "state": {"running": {"startedAt": begun}}}]})
}

fn succeeded(begun: jiff::Timestamp) -> Value {
    json!({"phase": "Succeeded", "conditions": conditions("False"),
        "containerStatuses": [{"name": PILOT_CONTAINER, "image": "bench", "imageID": "", "restartCount": 0,
            "ready": false, "started": false, "state": {"terminated": {"exitCode": 0, "reason": "Completed",
                "startedAt": begun, "finishedAt": jiff::Timestamp::now()}}}]})
}

/// What a pilot says to the gateway. All of them share the connections of one client.
struct Pilot {
    http: reqwest::Client,
    url: String,
}

impl Pilot {
    async fn new(clients: &Clients, url: String) -> Result<Self> {
        #[derive(Deserialize)]
        struct ConfigMap {
            data: BTreeMap<String, String>,
        }
        let map = format!("/api/v1/namespaces/{RELEASE}/configmaps/oarmaster-gateway-ca");
        let map: ConfigMap = machine::ask(&clients.admin, &map).await?;
        let ca = map.data.get("ca.crt").context("the CA is not published")?;
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes())?])
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { http, url })
    }

    async fn claim(&self, token: &str, pod: &Pod) -> Result<Claim> {
        let args = pod.spec.containers.iter().flat_map(|held| &held.args);
        let assignment = args
            .skip_while(|word| *word != "--assignment")
            .nth(1)
            .context("the pod names no assignment")?;
        let request = ClaimRequest {
            assignment: assignment.clone(),
            nonce: uuid::Uuid::new_v4().to_string(),
        };
        self.post("claim", token, "", &request).await
    }

    async fn result(&self, token: &str, claim: Claim) -> Result<()> {
        let Claim { session, next, .. } = claim;
        let outcome = Outcome {
            failure: None,
            output: Some(json!({"text": "I am done."})),
            ..Outcome::default()
        };
        let append = Append {
            next,
            records: vec![Body::Result { outcome }],
        };
        let _: Appended = self.post("result", token, &session, &append).await?;
        Ok(())
    }

    async fn post<T: DeserializeOwned>(
        &self,
        what: &str,
        token: &str,
        session: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            let request = self
                .http
                .post(format!("{}/task/v1/{what}", self.url))
                .bearer_auth(token)
                .header(SESSION_HEADER, session)
                .json(body);
            let answer = request.send().await?;
            let status = answer.status();
            let text = answer.text().await?;
            if status.is_success() {
                return Ok(serde_json::from_str(&text)?);
            }
            // As the pilot does: the gateway could not ask the API server.
            if !status.is_server_error() || begun.elapsed() > PATIENCE {
                return Err(anyhow!("{what}: {status}: {text}"));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn lock<T>(held: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
