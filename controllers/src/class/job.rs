//! The Job of a probe: pure. Its pod is one of the class's, as like a Task's as it can be: labels, node, runtime and hardening are the
//! same; it has one container, no volume and no token.

use super::plan::{GATEWAY_PATIENCE, Start};
use super::targets::must_not_reach;
use crate::kit::context::Settings;
use crate::kit::pod::{self, container, node_ip, resources, words};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use oarmaster_crds::{SandboxClass, names};
use std::collections::BTreeMap;
use std::time::Duration;

/// Room for as many threads as the probe tries.
const MEMORY: &str = "256Mi";
/// New pods of a probe whose container failed or whose pod was evicted.
const RETRIES: i32 = 2;
/// What the probe takes beyond starting and waiting for the gateway.
const SLACK: Duration = Duration::from_secs(120);

/// Builds the Job.
#[must_use]
pub fn build(class: &SandboxClass, start: &Start, settings: &Settings) -> Job {
    let meta = &class.metadata;
    let uid = meta.uid.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    let labels = BTreeMap::from([
        (names::SANDBOX_LABEL.to_owned(), "true".to_owned()),
        (names::CLASS_UID_LABEL.to_owned(), uid.clone()),
    ]);
    let annotations = BTreeMap::from([(names::CLASS_ANNOTATION.to_owned(), name.clone())]);
    let startup = class.spec.startup_timeout.get().unwrap_or_default();
    let deadline = startup
        .saturating_add(GATEWAY_PATIENCE)
        .saturating_add(SLACK);
    Job {
        metadata: ObjectMeta {
            name: Some(start.job.clone()),
            namespace: Some(settings.namespace.clone()),
            labels: Some(labels.clone()),
            annotations: Some(annotations.clone()),
            owner_references: Some(vec![OwnerReference {
                api_version: SandboxClass::api_version(&()).into_owned(),
                kind: SandboxClass::kind(&()).into_owned(),
                name,
                uid,
                controller: Some(true),
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: i64::try_from(deadline.as_secs()).ok(),
            backoff_limit: Some(RETRIES),
            completions: Some(1),
            parallelism: Some(1),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod::labels(&class.spec, &labels)),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                // The class's pull secrets are those of the Tasks' namespaces; here the account has the installation's.
                spec: Some(pod::hardened(
                    &class.spec,
                    names::PROBE_SERVICE_ACCOUNT,
                    probe(start, settings),
                )),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn probe(start: &Start, settings: &Settings) -> Container {
    let gateway = match start.gateway_ip.contains(':') {
        true => format!("[{}]:8443", start.gateway_ip),
        false => format!("{}:8443", start.gateway_ip),
    };
    let patience = GATEWAY_PATIENCE.as_secs().to_string();
    let targets = must_not_reach(&start.gateway_ip, &settings.places);
    Container {
        args: Some(words(&[
            "probe-node",
            "--gateway",
            &gateway,
            "--patience-seconds",
            &patience,
            "--must-not-reach",
            &targets,
        ])),
        env: Some(vec![node_ip()]),
        resources: Some(resources("10m", "500m", MEMORY)),
        ..container(names::PROBE_CONTAINER, &settings.runner_image, start.user)
    }
}
