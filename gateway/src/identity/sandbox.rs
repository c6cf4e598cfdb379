//! From a sandbox pod's token to its Task: pod UID -> label -> controlling Job -> controlling Task.
//!
//! The labels and owner references of these objects are guarded by the chart's admission policies; label **and** chain must fit.

use super::{User, ask};
use crate::error::ApiFailure;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, Client};
use moka::future::Cache;
use oarmaster_crds::names::{
    ATTEMPT_LABEL, SANDBOX_LABEL, SANDBOX_SERVICE_ACCOUNT, TASK_UID_LABEL,
};
use oarmaster_protocol::admin::RunsIn;
use std::sync::Arc;
use std::time::Duration;

/// A deleted pod stops being served after this.
const KNOWN_FOR: Duration = Duration::from_secs(10);
const MAX_CACHED: u64 = 20_000;

/// The pod in which an attempt's pilot runs: one of its own, as Kubernetes knows it, or a shared one, by its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxPod {
    /// Namespace of the Task, and of a pod of its own.
    pub namespace: String,
    /// Name of the pod; empty for a shared one that claimed the attempt before this process began.
    pub pod: String,
    /// Where the pilot runs. Only the way that leads to a Job's pod says so of one, and only a claim of a shared pilot the other.
    pub runs_in: RunsIn,
    /// UID of the Task.
    pub task_uid: String,
    /// The attempt.
    pub attempt: u32,
}

/// What a pod-bound or sandbox identity turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No sandbox pod: an ordinary workload, for RBAC to judge.
    Ordinary,
    /// The pod of an attempt.
    Sandbox(Arc<SandboxPod>),
    /// A sandbox identity whose chain is broken; the text says where.
    Refused(&'static str),
}

/// Finds the Task of a pod.
#[derive(Clone)]
pub struct Sandboxes {
    client: Client,
    cache: Cache<[u8; 32], Kind>,
}

impl Sandboxes {
    /// Asks with this client.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            cache: Cache::builder()
                .max_capacity(MAX_CACHED)
                .time_to_live(KNOWN_FOR)
                .build(),
        }
    }

    /// What a user is.
    ///
    /// # Errors
    /// `unavailable` while the API server cannot be asked; `forbidden` for a sandbox identity that is no attempt's pod: it is never
    /// taken for an ordinary user.
    pub async fn identify(&self, user: &User) -> Result<Option<Arc<SandboxPod>>, ApiFailure> {
        let Some((namespace, account)) = user.service_account() else {
            return Ok(None);
        };
        let is_sandbox_account = account == SANDBOX_SERVICE_ACCOUNT;
        let kind = match user.pod() {
            None if is_sandbox_account => Kind::Refused("the token is not bound to a pod"),
            None => Kind::Ordinary,
            Some((pod, uid)) => self
                .cache
                .try_get_with(
                    super::fingerprint([namespace, pod, uid]),
                    self.find(namespace, pod, uid),
                )
                .await
                .map_err(|error: Arc<ApiFailure>| (*error).clone())?,
        };
        match kind {
            Kind::Sandbox(found) => Ok(Some(found)),
            Kind::Ordinary if !is_sandbox_account => Ok(None),
            Kind::Ordinary => Err(refused("the pod is no sandbox")),
            Kind::Refused(why) => Err(refused(why)),
        }
    }

    async fn find(&self, namespace: &str, pod: &str, uid: &str) -> Result<Kind, ApiFailure> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let Some(found) = ask("pod", pods.get_opt(pod)).await? else {
            return Ok(Kind::Refused("its pod does not exist"));
        };
        let job_owner = match check_pod(&found.metadata, uid) {
            Ok(owner) => owner,
            Err(kind) => return Ok(kind),
        };
        let jobs: Api<Job> = Api::namespaced(self.client.clone(), namespace);
        let Some(job) = ask("job", jobs.get_opt(&job_owner.name)).await? else {
            return Ok(Kind::Refused("its Job does not exist"));
        };
        Ok(
            match check_job(&found.metadata, &job.metadata, &job_owner) {
                Ok((task_uid, attempt)) => Kind::Sandbox(Arc::new(SandboxPod {
                    namespace: namespace.to_owned(),
                    pod: pod.to_owned(),
                    runs_in: RunsIn::Job(job_owner.name),
                    task_uid,
                    attempt,
                })),
                Err(why) => Kind::Refused(why),
            },
        )
    }
}

fn refused(why: &str) -> ApiFailure {
    ApiFailure::forbidden(format!(
        "the token is not that of a running attempt's pod: {why}"
    ))
}

fn check_pod(pod: &ObjectMeta, uid: &str) -> Result<OwnerReference, Kind> {
    if pod.uid.as_deref() != Some(uid) {
        return Err(Kind::Refused("its pod was replaced"));
    }
    if !is_sandbox(pod) {
        return Err(Kind::Ordinary);
    }
    if pod.deletion_timestamp.is_some() {
        return Err(Kind::Refused("its pod is being deleted"));
    }
    owner(pod, "Job", |version| version == "batch/v1").ok_or(Kind::Refused("its pod has no Job"))
}

fn check_job(
    pod: &ObjectMeta,
    job: &ObjectMeta,
    expected: &OwnerReference,
) -> Result<(String, u32), &'static str> {
    if job.uid.as_deref() != Some(expected.uid.as_str()) {
        return Err("its Job was replaced");
    }
    if !is_sandbox(job) {
        return Err("its Job is no sandbox");
    }
    let task = owner(job, "Task", |version| {
        version
            .split_once('/')
            .is_some_and(|(group, _)| group == oarmaster_crds::GROUP)
    })
    .ok_or("its Job has no Task")?;
    if label(job, TASK_UID_LABEL) != Some(task.uid.as_str()) {
        return Err("its Job's label names another Task");
    }
    let attempt = label(job, ATTEMPT_LABEL);
    if attempt != label(pod, ATTEMPT_LABEL) {
        return Err("its pod and Job name different attempts");
    }
    let attempt = attempt
        .and_then(|text| text.parse().ok())
        .ok_or("its Job names no attempt")?;
    Ok((task.uid, attempt))
}

fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str)
}

fn is_sandbox(meta: &ObjectMeta) -> bool {
    label(meta, SANDBOX_LABEL) == Some("true")
}

fn owner(meta: &ObjectMeta, kind: &str, version: impl Fn(&str) -> bool) -> Option<OwnerReference> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|owner| {
            owner.controller == Some(true) && owner.kind == kind && version(&owner.api_version)
        })
        .cloned()
}
