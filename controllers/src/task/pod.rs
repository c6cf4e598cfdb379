//! What the planner needs to know of a sandbox pod and of a Job. The caches keep these, not the objects: ten thousand live Tasks fit in
//! memory, and the planner cannot depend on anything else.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use oarmaster_crds::names;

/// Waiting reasons with which a container will not start by itself, or not for long.
const STUCK: [&str; 7] = [
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// Waiting reasons of an image that could not be pulled: the kubelet tries again, and a registry's hiccup passes.
const PULL: [&str; 2] = ["ErrImagePull", "ImagePullBackOff"];

/// A sandbox pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Name of the pod.
    pub name: String,
    /// UID of the Job that made it.
    pub job_uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// How far the pilot is.
    pub pilot: Pilot,
    /// The image of the supervisor and its programs, as the kubelet reports it, once the pilot has started: before that nobody asks.
    pub image: Option<String>,
    /// Why a container cannot start, if one cannot.
    pub stuck: Option<String>,
    /// An image that could not be pulled so far.
    pub pull: Option<Pull>,
    /// Why no node takes it, if none does for now.
    pub unschedulable: Option<String>,
    /// What stopped it from outside, if something did.
    pub disrupted: Option<String>,
}

/// An image that could not be pulled so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// When the node began to try, at the earliest.
    pub since: Timestamp,
    /// Which container, and the runtime's words.
    pub why: String,
}

/// The pilot container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pilot {
    /// It has not started.
    NotStarted,
    /// It runs.
    Running {
        /// When it started.
        since: Timestamp,
    },
    /// It ended.
    Ended {
        /// When it started.
        started: Timestamp,
        /// When it ended.
        finished: Timestamp,
        /// Exit code; 128 and the number after a signal.
        code: i32,
        /// The runtime's word for it, like `OOMKilled`.
        reason: String,
    },
}

impl Pilot {
    /// When it started, if it did.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        match self {
            Self::NotStarted => None,
            Self::Running { since } => Some(*since),
            Self::Ended { started, .. } => Some(*started),
        }
    }

    /// Two pods of one Job do happen: the one that still works counts, then the one that may yet.
    fn rank(&self) -> u8 {
        match self {
            Self::Running { .. } => 2,
            Self::NotStarted => 1,
            Self::Ended { .. } => 0,
        }
    }
}

impl PodFacts {
    /// Reads a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let init = status.init_container_statuses.unwrap_or_default();
        let main = status.container_statuses.unwrap_or_default();
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let pilot = main
            .iter()
            .find(|container| container.name == names::PILOT_CONTAINER)
            .map_or(Pilot::NotStarted, |container| pilot(container, created));
        let conditions = status.conditions.unwrap_or_default();
        let condition = |kind: &str, value: &str| {
            conditions
                .iter()
                .find(|held| held.type_ == kind && held.status == value)
        };
        let failed = status.phase.as_deref() == Some("Failed");
        let reason = status.reason.filter(|reason| !reason.is_empty());
        let disrupted = if let Some(held) = condition("DisruptionTarget", "True") {
            Some(join(
                held.reason.as_deref().unwrap_or("DisruptionTarget"),
                held.message.as_deref().unwrap_or_default(),
            ))
        } else if pod.metadata.deletion_timestamp.is_some() {
            Some("the pod was deleted".to_owned())
        } else if failed && !matches!(pilot, Pilot::Ended { .. }) {
            reason.map(|reason| join(&reason, status.message.as_deref().unwrap_or_default()))
        } else {
            None
        };
        let unschedulable = condition("PodScheduled", "False").map(|held| {
            join(
                "no node takes the pod",
                held.message.as_deref().unwrap_or_default(),
            )
        });
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            job_uid: controller_uid(&pod.metadata.owner_references),
            created,
            image: init
                .iter()
                .find(|container| container.name == names::EXEC_CONTAINER)
                .map(|container| container.image_id.clone())
                .filter(|id| !id.is_empty() && pilot.started().is_some()),
            pilot,
            stuck: init.iter().chain(&main).find_map(stuck),
            pull: init
                .iter()
                .chain(&main)
                .find_map(|container| waiting(container, &PULL))
                .map(|why| Pull {
                    since: condition("PodScheduled", "True")
                        .and_then(|held| held.last_transition_time.as_ref())
                        .map(|time| time.0)
                        .or(created)
                        .unwrap_or(Timestamp::UNIX_EPOCH),
                    why,
                }),
            unschedulable,
            disrupted,
        }
    }

    /// The pod of a Job that counts, if it has several.
    #[must_use]
    pub fn pick<'a>(pods: impl IntoIterator<Item = &'a Self>, job_uid: &str) -> Option<Self> {
        pods.into_iter()
            .filter(|pod| pod.job_uid == job_uid)
            .max_by_key(|pod| (pod.pilot.rank(), pod.created))
            .cloned()
    }
}

fn pilot(container: &ContainerStatus, created: Option<Timestamp>) -> Pilot {
    let state = container.state.clone().unwrap_or_default();
    if let Some(ended) = state.terminated {
        // A runtime that lost the container has no times for it; the pod's creation is then the latest that is known to be before.
        let known = created.unwrap_or(Timestamp::UNIX_EPOCH);
        let started = ended.started_at.map_or(known, |time| time.0).max(known);
        Pilot::Ended {
            started,
            finished: ended
                .finished_at
                .map_or(started, |time| time.0)
                .max(started),
            code: ended.exit_code,
            reason: ended.reason.unwrap_or_default(),
        }
    } else if let Some(running) = state.running {
        match running.started_at.map(|time| time.0).or(created) {
            Some(since) => Pilot::Running { since },
            None => Pilot::NotStarted,
        }
    } else {
        Pilot::NotStarted
    }
}

/// Why a container waits, where that is one of these reasons.
fn waiting(container: &ContainerStatus, reasons: &[&str]) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    reasons.contains(&reason).then(|| {
        join(
            &format!("container {}: {reason}", container.name),
            waiting.message.as_deref().unwrap_or_default(),
        )
    })
}

fn stuck(container: &ContainerStatus) -> Option<String> {
    if let Some(why) = waiting(container, &STUCK) {
        return Some(why);
    }
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    (container.name == names::INSTALL_CONTAINER && ended.exit_code != 0).then(|| {
        format!(
            "container {} ended with exit code {}",
            container.name, ended.exit_code
        )
    })
}

/// A Job of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Name of the Job.
    pub name: String,
    /// UID of the Job.
    pub uid: String,
    /// UID of its controller owner.
    pub owner_uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// How it ended, if it did.
    pub ended: Option<JobEnd>,
    /// Of one that was created suspended for a queue, whether it was let run.
    pub queue: Option<InQueue>,
}

/// A Job that was created suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InQueue {
    /// It is suspended.
    Waits,
    /// It may have a pod.
    Runs {
        /// From when on.
        since: Timestamp,
    },
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Its pod succeeded.
    Complete,
    /// It failed, with the Job controller's reason and message.
    Failed {
        /// Like `BackoffLimitExceeded`, `PodFailurePolicy`, `DeadlineExceeded`.
        reason: String,
        /// For a person.
        message: String,
    },
    /// Somebody suspended it, and its pod is gone.
    Suspended,
}

impl JobFacts {
    /// Reads a Job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let conditions = job
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let ended = conditions
            .iter()
            .filter(|held| held.status == "True")
            .find_map(|held| match held.type_.as_str() {
                "Complete" => Some(JobEnd::Complete),
                "Failed" => Some(JobEnd::Failed {
                    reason: held.reason.clone().unwrap_or_default(),
                    message: held.message.clone().unwrap_or_default(),
                }),
                "Suspended" => Some(JobEnd::Suspended),
                _ => None,
            });
        Self {
            name: job.metadata.name.clone().unwrap_or_default(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            owner_uid: controller_uid(&job.metadata.owner_references),
            created: job.metadata.creation_timestamp.as_ref().map(|time| time.0),
            deleting: job.metadata.deletion_timestamp.is_some(),
            queue: in_queue(job, ended.as_ref()),
            ended,
        }
    }
}

/// Told by its status, which is all that is read of a Job. The condition is never there where it was let run before the Job controller saw
/// it suspended.
fn in_queue(job: &Job, ended: Option<&JobEnd>) -> Option<InQueue> {
    let labels = job.metadata.labels.as_ref()?;
    labels.get(names::QUEUE_LABEL)?;
    if ended == Some(&JobEnd::Suspended) {
        return Some(InQueue::Waits);
    }
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let resumed = conditions
        .into_iter()
        .flatten()
        .find(|held| held.type_ == "Suspended")
        .and_then(|held| held.last_transition_time.as_ref());
    let since = resumed.or(status.and_then(|status| status.start_time.as_ref()));
    Some(since.map_or(InQueue::Waits, |since| InQueue::Runs { since: since.0 }))
}

fn controller_uid(
    owners: &Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>>,
) -> String {
    owners
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.clone())
        .unwrap_or_default()
}

fn join(what: &str, message: &str) -> String {
    if message.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {message}")
    }
}
