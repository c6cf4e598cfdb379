//! What the planner needs to know of the pod of a probe.

use crate::task::pod::PodFacts;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use oarmaster_crds::names;

/// A probe's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePod {
    /// UID of the Job that made it.
    pub job_uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its node, once it has one.
    pub node: Option<String>,
    /// Whether its container was started.
    pub started: bool,
    /// What keeps it from starting, if something does.
    pub hindrance: Option<String>,
    /// How its container ended, if it did.
    pub ended: Option<Ended>,
}

/// The end of the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; 128 and the number after a signal.
    pub code: i32,
    /// The runtime's word for it, like `OOMKilled`.
    pub reason: String,
    /// Its termination message.
    pub message: String,
}

impl ProbePod {
    /// Reads a pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let facts = PodFacts::of(pod);
        let state = pod
            .status
            .iter()
            .flat_map(|status| status.container_statuses.iter().flatten())
            .find(|container| container.name == names::PROBE_CONTAINER)
            .and_then(|container| container.state.clone())
            .unwrap_or_default();
        let ended = state.terminated.map(|ended| Ended {
            code: ended.exit_code,
            reason: ended.reason.unwrap_or_default(),
            message: ended.message.unwrap_or_default(),
        });
        let spec = pod.spec.as_ref();
        Self {
            job_uid: facts.job_uid,
            created: facts.created,
            node: spec.and_then(|spec| spec.node_name.clone()),
            started: ended.is_some() || state.running.is_some(),
            hindrance: facts
                .stuck
                .or(facts.pull.map(|pull| pull.why))
                .or(facts.unschedulable),
            ended,
        }
    }
}
