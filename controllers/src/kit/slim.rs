//! Jobs and pods as far as anything here looks at them. Each is written many times in its life, each time in full, and most of it is a
//! pod spec that is ours anyway: what nobody reads is not even parsed.

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// A Job or a pod with the metadata of [`Meta`] and its status, without its spec.
#[derive(Clone, Debug, Default)]
pub struct Slim<K>(pub K);

/// The metadata that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Deserialize)]
struct Read<S> {
    metadata: Meta,
    status: Option<S>,
}

impl From<Meta> for ObjectMeta {
    fn from(meta: Meta) -> Self {
        Self {
            name: meta.name,
            namespace: meta.namespace,
            uid: meta.uid,
            resource_version: meta.resource_version,
            creation_timestamp: meta.creation_timestamp,
            deletion_timestamp: meta.deletion_timestamp,
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: meta.owner_references,
            ..Self::default()
        }
    }
}

impl<'de> Deserialize<'de> for Slim<Pod> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { metadata, status } = Read::<PodStatus>::deserialize(deserializer)?;
        Ok(Self(Pod {
            metadata: metadata.into(),
            spec: None,
            status,
        }))
    }
}

impl<'de> Deserialize<'de> for Slim<Job> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { metadata, status } = Read::<JobStatus>::deserialize(deserializer)?;
        Ok(Self(Job {
            metadata: metadata.into(),
            spec: None,
            status,
        }))
    }
}

impl<K: Resource> Resource for Slim<K> {
    as_its_kind!(K);

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::Slim;
    use crate::task::pod::{JobFacts, PodFacts};
    use k8s_openapi::api::batch::v1::Job;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    #[test]
    fn the_same_is_known_of_the_slim_form() {
        let metadata = json!({
            "name": "fix-abc-1", "namespace": "team", "uid": "u", "resourceVersion": "7",
            "creationTimestamp": "2026-01-02T03:04:05Z", "deletionTimestamp": "2026-01-02T03:05:05Z",
            "labels": {"oarmaster.dev/task-uid": "t"}, "annotations": {"oarmaster.dev/task": "fix"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Owner", "name": "o", "uid": "o", "controller": true}],
            "managedFields": [{"manager": "m", "fieldsV1": {"f:status": {}}}],
        });
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"containers": [{"name": "pilot"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "pilot", "image": "i", "imageID": "",
                "ready": true, "restartCount": 0, "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}}}]}});
        let whole: Pod = serde_json::from_value(pod.clone()).unwrap();
        let slim: Slim<Pod> = serde_json::from_value(pod).unwrap();
        assert_eq!(PodFacts::of(&slim.0), PodFacts::of(&whole));
        assert_eq!(slim.0.metadata.labels, whole.metadata.labels);
        assert_eq!(slim.0.metadata.annotations, whole.metadata.annotations);
        assert_eq!(
            slim.0.metadata.resource_version,
            whole.metadata.resource_version
        );

        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "spec": {"template": {"spec": {"containers": []}}},
            "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}});
        let whole: Job = serde_json::from_value(job.clone()).unwrap();
        let slim: Slim<Job> = serde_json::from_value(job).unwrap();
        assert_eq!(JobFacts::of(&slim.0), JobFacts::of(&whole));
    }
}
