//! What the Tasks of the matrix need, and their ends.

use super::Rig;
use super::books::{self, Ending};
use crate::apply;
use crate::cluster::Cluster;
use crate::gateway::Reader;
use crate::installed::{RELEASE, image};
use crate::mock::{Call, Mock, Reply};
use crate::proxy::Seen;
use crate::space::Space;
use crate::task::{READER, holds};
use crate::wait;
use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use http::Method;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ListParams, PostParams};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use oarmaster_crds::{Agent, Task, conditions, names};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// How long anything may take on a machine that is busy with builds.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the gateway is looked at where nothing tells of a change.
const LOOK: Duration = Duration::from_millis(20);

/// A namespace with a provider, a pool and two agents: `plain` without tools, `worker` with a shell.
pub struct Scene<'a> {
    /// What it runs on.
    pub rig: &'a Rig,
    /// The namespace.
    pub space: &'a Space,
    /// The provider.
    pub mock: Mock,
    pub(super) reader: Reader,
    jobs: Jobs,
    pub(super) me: String,
}

impl<'a> Scene<'a> {
    /// Makes the objects, and waits until the operator has found them good.
    ///
    /// # Errors
    /// When the API server refuses one, or the operator does not take them.
    pub async fn set(
        rig: &'a Rig,
        space: &'a Space,
        script: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        rig.kubelet.take(&space.name);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mock = Mock::serve(listener, script)?;
        for object in objects(&mock) {
            space.create(&object.to_string()).await?;
        }
        space.make_reader().await?;
        let reader = rig.reader(&space.name, READER).await?;
        for agent in ["plain", "worker"] {
            let ready = |agent: &Agent| {
                let status = agent.status.as_ref();
                status.is_some_and(|status| {
                    conditions::is_true(&status.conditions, conditions::READY)
                })
            };
            wait::until(space.api::<Agent>(), agent, "it is ready", PATIENCE, ready).await?;
        }
        let jobs = Jobs::watch(space.api());
        Ok(Self {
            rig,
            space,
            mock,
            reader,
            jobs,
            me: me(space).await?,
        })
    }

    /// Creates a Task of this agent.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn task(&self, name: &str, agent: &str, more: &Value) -> Result<String> {
        let mut spec = json!({
            "agent": {"name": agent}, "params": {"prompt": name},
            "retry": {"limit": 3, "backoff": {"base": "1s", "max": "1s"}}, "requestedBy": self.me,
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            if let Some(fields) = spec.as_object_mut() {
                fields.insert(field.clone(), value.clone());
            }
        }
        let made = self
            .space
            .create(&object("Task", name, &spec).to_string())
            .await?;
        made.first()
            .and_then(ResourceExt::uid)
            .context("a Task without UID")
    }

    /// The requests that the provider got for a Task.
    #[must_use]
    pub fn bill(&self, task: &str) -> Vec<Call> {
        let mut bill = self.mock.bill();
        bill.retain(|call| call.prompt() == task);
        bill
    }

    /// Waits for the end of a Task and of everything of it, and looks at what is left. `attempt` is one that the gateway knows.
    ///
    /// # Errors
    /// When it does not end in time, or its books do not agree.
    pub async fn ending(&self, name: &str, uid: &str) -> Result<Ending> {
        let task = self.finished(name).await?;
        let attempt = task
            .as_ref()
            .and_then(|task| task.status.as_ref()?.attempt)
            .and_then(|number| u32::try_from(number).ok());
        let usage = self.settled(uid, attempt.unwrap_or(1)).await?;
        if task.is_some() {
            let calls = i64::try_from(usage.calls)?;
            let told = |task: &Task| {
                let held = task
                    .status
                    .as_ref()
                    .and_then(|status| status.usage.as_ref());
                held.map_or(0, |usage| usage.calls) == calls
            };
            wait::until(self.space.api::<Task>(), name, "its usage", PATIENCE, told).await?;
        }
        self.nothing_runs(name).await?;
        let task = self.space.api::<Task>().get_opt(name).await?;
        let journal = self.reader.transcript(name).await?;
        let bill = self.bill(name);
        Ok(Ending {
            status: task.as_ref().map_or(Ok(Value::Null), books::comparable)?,
            jobs: self.jobs.of(uid),
            calls: bill.len(),
            estimated: books::audit(&journal, &usage, &bill)
                .with_context(|| format!("{journal:#?}"))?,
            journal: books::kinds(&journal)?,
        })
    }

    /// The journal of a Task.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn journal(&self, name: &str) -> Result<crate::task::Journal> {
        Ok(crate::task::Journal(self.reader.transcript(name).await?))
    }

    /// Waits until a Task has ended, or is gone.
    async fn finished(&self, name: &str) -> Result<Option<Task>> {
        let api = self.space.api::<Task>();
        let Some(_) = api.get_opt(name).await? else {
            return Ok(None);
        };
        let finished = |task: &Task| holds(task, conditions::FINISHED);
        let task = wait::until(api, name, "its end", PATIENCE, finished).await?;
        Ok(Some(task))
    }

    /// Waits until no call of a Task is open.
    pub(super) async fn settled(
        &self,
        uid: &str,
        attempt: u32,
    ) -> Result<oarmaster_protocol::admin::TaskUsage> {
        let settled = async {
            loop {
                // A gateway that was killed is away for a moment.
                if let Ok(report) = self.rig.report(uid, attempt).await
                    && report.usage.reserved_pico == 0
                    && (report.fenced || report.outcome.is_some())
                {
                    return report.usage;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(PATIENCE, settled).await {
            Ok(usage) => Ok(usage),
            Err(_) => bail!(
                "attempt {attempt} is still open: {:#?}",
                self.rig.report(uid, attempt).await
            ),
        }
    }

    /// Waits until no Job and no pod of a Task is left.
    async fn nothing_runs(&self, name: &str) -> Result<()> {
        let of = |annotations: &BTreeMap<String, String>| {
            annotations
                .get(names::TASK_ANNOTATION)
                .is_some_and(|task| task == name)
        };
        let gone = async {
            loop {
                let jobs = self.space.api::<Job>().list(&ListParams::default()).await?;
                let pods = self.space.api::<Pod>().list(&ListParams::default()).await?;
                let left = jobs.iter().any(|job| of(job.annotations()))
                    || pods.iter().any(|pod| of(pod.annotations()));
                if !left {
                    return anyhow::Ok(());
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone)
            .await
            .with_context(|| format!("a Job or a pod of {name} is left"))?
    }

    /// Waits until the operator that runs now has looked at what there is: it has ended a Task of this name that was created after everything else.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn canary(&self, name: &str) -> Result<()> {
        let refused = json!({"run": {
            "sandbox": {"image": "registry.invalid/none:1"}, "command": ["true"],
        }, "requestedBy": self.me});
        self.space
            .create(&object("Task", name, &refused).to_string())
            .await?;
        self.finished(name).await.map(drop)
    }
}

/// The API server has no pods that could answer for the webhook: Tasks state themselves who asks for them, which the policy holds them to, and objects are
/// checked by the operator alone.
///
/// # Errors
/// When a configuration cannot be changed.
pub async fn unasked(cluster: &Cluster) -> Result<()> {
    let nobody: LabelSelector = serde_json::from_value(json!({"matchLabels": {"nobody": "asks"}}))?;
    let client = &cluster.client;
    each_of_ours(client, |found: &mut MutatingWebhookConfiguration| {
        for webhook in found.webhooks.iter_mut().flatten() {
            webhook.namespace_selector = Some(nobody.clone());
        }
    })
    .await?;
    each_of_ours(client, |found: &mut ValidatingWebhookConfiguration| {
        for webhook in found.webhooks.iter_mut().flatten() {
            webhook.namespace_selector = Some(nobody.clone());
            // Of a kind without namespace there is no label of one.
            webhook.object_selector = Some(nobody.clone());
        }
    })
    .await?;
    // The API server reads a changed configuration a moment later.
    let agent = object("Agent", "asked", &json!({"instructions": "x"})).to_string();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match apply::dry_run(&cluster.client, "default", &agent).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > deadline => {
                return Err(error.context("the webhook is still asked"));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Changes the webhook's configurations of one kind.
async fn each_of_ours<K>(client: &Client, change: impl Fn(&mut K)) -> Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let all: Api<K> = Api::all(client.clone());
    for mut found in all.list(&ListParams::default()).await? {
        let name = found.name_any();
        if name.starts_with("oarmaster-webhook") {
            change(&mut found);
            all.replace(&name, &PostParams::default(), &found).await?;
        }
    }
    Ok(())
}

/// The name of the user who makes the objects.
pub async fn me(space: &Space) -> Result<String> {
    let all: Api<SelfSubjectReview> = Api::all(space.cluster.client.clone());
    let asked = SelfSubjectReview::default();
    let told = all.create(&PostParams::default(), &asked).await?;
    let user = told.status.and_then(|status| status.user_info);
    user.and_then(|user| user.username)
        .context("the API server does not know us")
}

/// Names the operator's writes for a Task: those at the API server, and those at the gateway.
pub fn writes(namespace: &str, task: &str) -> impl Fn(&Seen<'_>) -> Option<String> + use<> {
    let (namespace, task) = (format!("/namespaces/{namespace}/"), task.to_owned());
    move |seen: &Seen<'_>| {
        if seen.method == Method::GET {
            return None;
        }
        if let Some(attempt) = seen.path.strip_prefix("/admin/v1/attempts/") {
            let mut parts = attempt.split('/').skip(1);
            let number = parts.next().unwrap_or_default();
            let verb = if parts.next() == Some("fence") {
                "fence"
            } else {
                "open"
            };
            return Some(format!("{verb} attempt {number}"));
        }
        let (_, below) = seen.path.split_once(&namespace)?;
        let (kind, rest) = below.split_once('/').unwrap_or((below, ""));
        let body: Value = serde_json::from_slice(seen.body).unwrap_or_default();
        let text = |pointer: &str| {
            body.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        match (seen.method.as_str(), kind) {
            ("PATCH", "tasks") if rest == format!("{task}/status") => {
                Some("write status".to_owned())
            }
            ("POST", "jobs") => Some("create job".to_owned()),
            ("DELETE", "jobs") => Some("delete job".to_owned()),
            ("PATCH", "serviceaccounts") => Some("apply service account".to_owned()),
            ("POST", "events")
                if text("/regarding/kind") == "Task" && text("/regarding/name") == task =>
            {
                Some(format!("send event {}", text("/reason")))
            }
            ("PATCH" | "POST", "networkpolicies") => Some("apply network policy".to_owned()),
            (_, "tasks") if rest.starts_with(&task) => Some(format!("{} {below}", seen.method)),
            // Other objects have statuses and events of their own.
            (_, "agents" | "modelpools" | "modelproviders" | "tasks" | "events") => None,
            (verb, kind) => Some(format!("{verb} {kind}")),
        }
    }
}

/// Names what a pilot asks of the gateway.
#[must_use]
pub fn calls(seen: &Seen<'_>) -> Option<String> {
    let body: Value = serde_json::from_slice(seen.body).unwrap_or_default();
    match seen.path {
        "/task/v1/claim" => Some("claim".to_owned()),
        "/v1/chat/completions" => Some("ask model".to_owned()),
        "/task/v1/result" => Some("hand in result".to_owned()),
        "/task/v1/journal" => {
            let records = body.get("records").and_then(Value::as_array);
            let kinds = records
                .into_iter()
                .flatten()
                .filter_map(|record| record.get("kind")?.as_str());
            Some(format!(
                "append {}",
                kinds.collect::<Vec<_>>().join(" and ")
            ))
        }
        "/task/v1/blobs" => Some("keep checkpoint".to_owned()),
        path if path.starts_with("/task/v1/artifacts/") => Some("store artifact".to_owned()),
        _ => None,
    }
}

fn objects(mock: &Mock) -> [Value; 6] {
    // What the owner of a namespace does once, so that its keys can be used.
    let keys = "oarmaster-gateway-keys";
    let grant = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": keys},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": keys},
        "subjects": [{"kind": "ServiceAccount", "name": "oarmaster-gateway", "namespace": RELEASE}],
    });
    let key = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "model"}, "stringData": {"api-key": "one"},
    });
    let provider = json!({
        "type": "OpenAICompatible", "endpoint": mock.endpoint,
        "keys": [{"name": "main", "secretKeyRef": {"name": "model", "key": "api-key"}}],
        "models": [{"name": "mock", "pricing": {"inputPerMillion": "1", "outputPerMillion": "2"}}],
    });
    let pool = json!({"members": [{"provider": {"name": "model"}, "model": "mock"}]});
    let agent = |tools: Value| {
        json!({
            "instructions": "Do what you are told.", "model": {"maxOutputTokens": 1000}, "tools": tools,
            "sandbox": {"image": image("python"), "memory": "128Mi", "disk": "64Mi"},
        })
    };
    [
        grant,
        key,
        object("ModelProvider", "model", &provider),
        object("ModelPool", "default", &pool),
        object("Agent", "plain", &agent(json!([]))),
        object("Agent", "worker", &agent(json!([{"builtin": "Shell"}]))),
    ]
}

pub(super) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    })
}

/// UIDs by Task and attempt.
type SeenJobs = BTreeMap<(String, String), BTreeSet<String>>;

/// Every Job that was ever seen in a namespace.
struct Jobs {
    seen: Arc<Mutex<SeenJobs>>,
    watch: AbortHandle,
}

impl Jobs {
    fn watch(api: Api<Job>) -> Self {
        let seen: Arc<Mutex<SeenJobs>> = Arc::default();
        let noted = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            let mut events = watcher(api, Config::default()).boxed();
            while let Some(event) = events.next().await {
                // Errors: the watcher starts again by itself.
                if let Ok(Event::Apply(job) | Event::InitApply(job)) = event {
                    let label = |name: &str| job.labels().get(name).cloned().unwrap_or_default();
                    let key = (label(names::TASK_UID_LABEL), label(names::ATTEMPT_LABEL));
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted
                        .entry(key)
                        .or_default()
                        .insert(job.uid().unwrap_or_default());
                }
            }
        });
        Self {
            seen,
            watch: watch.abort_handle(),
        }
    }

    fn of(&self, task: &str) -> BTreeMap<String, usize> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let of_task = seen.iter().filter(|((uid, _), _)| uid == task);
        of_task
            .map(|((_, attempt), jobs)| (attempt.clone(), jobs.len()))
            .collect()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
