//! The API server's clients, and the objects that every phase needs.

use anyhow::{Context as _, Result, bail};
use http::Method;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Namespace of the Tasks.
pub const TASKS: &str = "bench-tasks";
/// Namespace of the Tasks of somebody else.
pub const OTHER: &str = "bench-other";
/// Namespace of the bare Jobs.
pub const BARE: &str = "bench-jobs";
/// The node that the stub plays.
pub const NODE: &str = "oarmaster";
/// The Agent.
pub const AGENT: &str = "bench";

/// Where the Tasks are.
pub fn tasks() -> String {
    tasks_of(TASKS)
}

/// Where a namespace's Tasks are.
pub fn tasks_of(namespace: &str) -> String {
    format!("/apis/oarmaster.dev/v1alpha1/namespaces/{namespace}/tasks")
}

/// Where a namespace's Jobs are.
pub fn jobs(namespace: &str) -> String {
    format!("/apis/batch/v1/namespaces/{namespace}/jobs")
}

/// Where a namespace's pods are.
pub fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// Clients of the API server, each with its own rights.
#[derive(Clone)]
pub struct Clients {
    /// The administrator, who also makes the load.
    pub admin: Client,
    /// The scheduler.
    pub scheduler: Client,
    /// The kubelet of [`NODE`].
    pub kubelet: Client,
    /// An administrator who counts as a kubelet, for tokens that only kubelets may ask for.
    pub tokens: Client,
    admin_file: PathBuf,
}

impl Clients {
    /// Reads the kubeconfigs that `cluster up` wrote.
    pub async fn open(folder: &Path) -> Result<Self> {
        let config = config(folder, "admin").await?;
        let mut tokens = config.clone();
        tokens.auth_info.impersonate = Some("bench".to_owned());
        let groups = ["system:masters", "system:nodes"];
        tokens.auth_info.impersonate_groups = Some(groups.map(str::to_owned).to_vec());
        Ok(Self {
            admin: client(config)?,
            scheduler: client(self::config(folder, "kube-scheduler").await?)?,
            kubelet: client(self::config(folder, "kubelet").await?)?,
            tokens: client(tokens)?,
            admin_file: folder.join("admin"),
        })
    }

    /// The administrator's kubeconfig, with a token in the place of the certificate.
    pub fn kubeconfig(&self, token: &str) -> Result<Value> {
        let mut held: Value = serde_json::from_slice(&std::fs::read(&self.admin_file)?)
            .context("the administrator's kubeconfig is no JSON")?;
        let user = held
            .pointer_mut("/users/0/user")
            .context("the administrator's kubeconfig has no user")?;
        *user = json!({"token": token});
        Ok(held)
    }
}

async fn config(folder: &Path, user: &str) -> Result<Config> {
    let path = folder.join(user);
    let read = Kubeconfig::read_from(&path)
        .with_context(|| format!("failed to read kubeconfig {}", path.display()))?;
    Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("failed to use kubeconfig {}", path.display()))
}

fn client(mut config: Config) -> Result<Client> {
    config.read_timeout = None; // watches stay open
    Client::try_from(config).context("failed to make a client")
}

/// Asks the API server, and reads what is wanted of its answer.
pub async fn ask<T: DeserializeOwned>(client: &Client, url: &str) -> Result<T> {
    let request = http::Request::get(url).body(Vec::new())?;
    Ok(client.request(request).await?)
}

/// Sends a body; the answer's content does not matter.
pub async fn send(
    client: &Client,
    method: Method,
    url: &str,
    kind: &'static str,
    body: &Value,
) -> Result<(), kube::Error> {
    let request = http::Request::builder()
        .method(method)
        .uri(url)
        .header(http::header::CONTENT_TYPE, kind)
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request::<IgnoredAny>(request).await.map(|_| ())
}

/// Creates an object.
pub async fn create(client: &Client, url: &str, body: &Value) -> Result<(), kube::Error> {
    send(client, Method::POST, url, "application/json", body).await
}

/// Makes the node, the namespaces, and what the Tasks name.
pub async fn prepare(clients: &Clients) -> Result<()> {
    let admin = &clients.admin;
    unhook(admin).await?;
    let now = jiff::Timestamp::now().to_string();
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": now, "lastTransitionTime": now});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE},
        "status": {"conditions": [ready]}});
    create(admin, "/api/v1/nodes", &node).await?;
    for name in [TASKS, OTHER, BARE] {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(admin, "/api/v1/namespaces", &namespace).await?;
    }
    let ours = |kind: &str, spec: Value| {
        json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": kind,
            "metadata": {"name": AGENT}, "spec": spec})
    };
    // What is measured is a pod's way; the shared pilots' is another one, and no node runs them here.
    let class = json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": "SandboxClass",
        "metadata": {"name": AGENT}, "spec": {"sharedPilots": false}});
    let classes = "/apis/oarmaster.dev/v1alpha1/sandboxclasses";
    unasked(admin, classes, &class)
        .await
        .context("failed to create the class")?;
    for (plural, object) in [
        (
            "modelproviders",
            ours(
                "ModelProvider",
                json!({"type": "Scripted",
                    "models": [{"name": "bench", "pricing": {"inputPerMillion": "0", "outputPerMillion": "0"}}],
                    "script": {"rules": [{"reply": {"text": "done"}}]}}),
            ),
        ),
        (
            "modelpools",
            ours(
                "ModelPool",
                json!({"members": [{"provider": {"name": AGENT}, "model": "bench"}]}),
            ),
        ),
        (
            "agents",
            ours(
                "Agent",
                json!({"instructions": "Answer.", "model": {"pool": {"name": AGENT}},
                    "sandbox": {"class": {"name": AGENT}}}),
            ),
        ),
    ] {
        for namespace in [TASKS, OTHER] {
            let url = format!("/apis/oarmaster.dev/v1alpha1/namespaces/{namespace}/{plural}");
            create(admin, &url, &object)
                .await
                .with_context(|| format!("failed to create one of {plural}"))?;
        }
    }
    Ok(())
}

/// Keeps the webhook from being asked, since its pods do not run: the Tasks say themselves who made them.
async fn unhook(admin: &Client) -> Result<()> {
    let all = "/apis/admissionregistration.k8s.io/v1";
    let never = json!({"matchLabels": {"oarmaster.dev/bench": "never"}});
    for (kind, webhook) in [
        ("mutatingwebhookconfigurations", "requester.oarmaster.dev"),
        ("validatingwebhookconfigurations", "objects.oarmaster.dev"),
    ] {
        let url = format!("{all}/{kind}/oarmaster-webhook");
        let webhook = json!({"name": webhook, "namespaceSelector": never, "objectSelector": never});
        let body = json!({"webhooks": [webhook]});
        let patch = "application/strategic-merge-patch+json";
        match send(admin, Method::PATCH, &url, patch, &body).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {} // not in this chart
            done => done.context("failed to take the webhook out of the way")?,
        }
    }
    Ok(())
}

/// Creates an object once the API server knows that it is to ask nobody: it reads a changed configuration a moment later.
async fn unasked(admin: &Client, url: &str, object: &Value) -> Result<(), kube::Error> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match create(admin, url, object).await {
            Err(kube::Error::Api(status))
                if status.message.contains("failed calling webhook")
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            done => return done,
        }
    }
}

/// A Task of the kind that needs the least: an agent without tools, so a pod with the pilot alone.
pub fn task(name: &str, timeout: &str) -> Value {
    json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": name},
        "spec": {"requestedBy": "kubernetes-admin", "agent": {"name": AGENT}, "params": {"prompt": "Say that you are done."}, "timeout": timeout}})
}

/// A bare Job with one pod.
pub fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "pilot", "image": "bench"}]}}}})
}

/// Says for ever that the node lives, as its kubelet would.
pub async fn heartbeat(client: Client) {
    let list = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let mut ticks = tokio::time::interval(Duration::from_secs(10));
    let mut made = false;
    loop {
        ticks.tick().await;
        let now = format!("{:.6}", jiff::Timestamp::now());
        let spec = json!({"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": now});
        let done = if made {
            let body = json!({"spec": spec});
            let url = format!("{list}/{NODE}");
            let merge = "application/merge-patch+json";
            send(&client, Method::PATCH, &url, merge, &body).await
        } else {
            let body = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": NODE}, "spec": spec});
            create(&client, list, &body).await
        };
        match done {
            Ok(()) => made = true,
            Err(error) => eprintln!("the node's heartbeat: {error}"),
        }
    }
}

/// Waits until a list is empty.
pub async fn until_none(client: &Client, list: &str, patience: Duration) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct List {
        items: Vec<IgnoredAny>,
    }
    let deadline = Instant::now() + patience;
    loop {
        let found: List = ask(client, &format!("{list}?limit=1")).await?;
        if found.items.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{list} is not empty after {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
