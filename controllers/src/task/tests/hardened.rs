//! What every sandbox pod must be: restricted as Kubernetes means it, and what we add.

use super::restricted;
use crate::task::plan::Start;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every field of a pod that may be set. A new one is to be thought about here.
const FIELDS: [&str; 19] = [
    "automountServiceAccountToken",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostUsers",
    "imagePullSecrets",
    "initContainers",
    "nodeSelector",
    "priorityClassName",
    "restartPolicy",
    "runtimeClassName",
    "securityContext",
    "serviceAccountName",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes",
];

/// The same of a container.
const CONTAINER_FIELDS: [&str; 12] = [
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "name",
    "resources",
    "restartPolicy",
    "securityContext",
    "terminationMessagePolicy",
    "volumeMounts",
    "workingDir",
];

pub fn pod(job: &Job) -> &PodSpec {
    job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

pub fn containers(pod: &PodSpec) -> Vec<&Container> {
    pod.init_containers
        .iter()
        .flatten()
        .chain(&pod.containers)
        .collect()
}

/// Pod Security Standard "restricted", and what a sandbox adds to it.
pub fn assert_hardened(job: &Job, start: &Start) {
    let whole = serde_json::to_value(job).unwrap();
    let template = &whole["spec"]["template"];
    assert_eq!(restricted::broken(template), [""; 0]);
    known(&template["spec"], &FIELDS);
    for list in ["containers", "initContainers"] {
        for container in template["spec"][list].as_array().into_iter().flatten() {
            known(container, &CONTAINER_FIELDS);
        }
    }
    job_ends_once(job);
    labelled(job, start);
    let pod = pod(job);
    closed(pod, start);
    let names: Vec<&str> = containers(pod)
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    match start.resolved.sandbox {
        Some(_) => assert_eq!(names, ["install", "exec", "pilot"]),
        None => assert_eq!(names, ["pilot"]),
    }
    for volume in pod.volumes.iter().flatten() {
        bounded(volume);
    }
    for container in containers(pod) {
        contained(container, start);
    }
}

fn known(object: &Value, fields: &[&str]) {
    for name in object.as_object().unwrap().keys() {
        assert!(fields.contains(&name.as_str()), "{name} is new");
    }
}

fn job_ends_once(job: &Job) {
    let spec = job.spec.as_ref().unwrap();
    assert_eq!(spec.backoff_limit, Some(0));
    assert_eq!((spec.parallelism, spec.completions), (Some(1), Some(1)));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert!(spec.active_deadline_seconds.unwrap() > 0);
    assert_eq!(
        spec.ttl_seconds_after_finished, None,
        "evidence stays until the status is written"
    );
}

/// Ours as documented; the class's beside them, on the pod alone.
fn labelled(job: &Job, start: &Start) {
    let owner = &job.metadata.owner_references.as_ref().unwrap()[0];
    let ours: BTreeMap<String, String> = [
        ("oarmaster.dev/sandbox", "true"),
        ("oarmaster.dev/task-uid", owner.uid.as_str()),
        ("oarmaster.dev/attempt", &start.attempt.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    assert_eq!(job.metadata.labels.as_ref(), Some(&ours));
    let mut all = start.resolved.class.pod_labels.clone();
    all.extend(ours);
    let template = job.spec.as_ref().unwrap().template.metadata.as_ref();
    assert_eq!(template.unwrap().labels.as_ref(), Some(&all));
}

/// Nothing that leads out of the pod.
fn closed(pod: &PodSpec, start: &Start) {
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(
        pod.service_account_name.as_deref(),
        Some("oarmaster-sandbox")
    );
    assert_eq!(pod.enable_service_links, Some(false));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(pod.dns_policy.as_deref(), Some("None"));
    assert_eq!(
        pod.dns_config.as_ref().unwrap().nameservers,
        Some(vec!["127.0.0.1".to_owned()])
    );
    assert_eq!(pod.host_aliases.as_ref().unwrap().len(), 1);
    assert_eq!(pod.share_process_namespace, Some(false));
    assert_eq!(
        pod.host_users,
        (!start.resolved.class.host_users).then_some(false)
    );
    assert_eq!(pod.termination_grace_period_seconds, Some(5));
    let lost = pod.tolerations.iter().flatten().filter(|toleration| {
        let key = toleration.key.as_deref().unwrap_or_default();
        toleration.toleration_seconds == Some(30) && key.starts_with("node.kubernetes.io/")
    });
    assert_eq!(lost.count(), 2, "a lost node's pod is given up soon");
}

/// A volume of ours, in memory with a size, or the token.
fn bounded(volume: &Volume) {
    let name = volume.name.as_str();
    if name == "token" {
        let sources = volume.projected.as_ref().unwrap().sources.as_ref().unwrap();
        let [source] = sources.as_slice() else {
            panic!("{sources:?}")
        };
        let token = source.service_account_token.as_ref().unwrap();
        assert_eq!(token.audience.as_deref(), Some("oarmaster-gateway"));
        assert_eq!(token.expiration_seconds, Some(600));
        return;
    }
    assert!(["bin", "run", "workspace", "tmp"].contains(&name), "{name}");
    let dir = volume.empty_dir.as_ref().unwrap();
    assert_eq!(dir.medium.as_deref(), Some("Memory"), "{name}");
    assert!(dir.size_limit.is_some(), "{name}");
}

fn contained(container: &Container, start: &Start) {
    let name = container.name.as_str();
    let context = container.security_context.as_ref().unwrap();
    // Each written out, nothing inherited.
    assert_eq!(context.privileged, Some(false), "{name}");
    assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
    assert_eq!(context.run_as_non_root, Some(true), "{name}");
    assert_eq!(context.run_as_group, context.run_as_user, "{name}");
    assert_eq!(
        context.seccomp_profile.as_ref().unwrap().type_,
        "RuntimeDefault"
    );
    let capabilities = context.capabilities.as_ref().unwrap();
    assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
    assert!(capabilities.add.is_none());
    assert_eq!(container.image_pull_policy.as_deref(), Some("IfNotPresent"));
    let resources = container.resources.as_ref().unwrap();
    let (requests, limits) = (
        resources.requests.as_ref().unwrap(),
        resources.limits.as_ref().unwrap(),
    );
    for resource in ["memory", "ephemeral-storage"] {
        assert_eq!(requests[resource], limits[resource], "{name} {resource}");
    }
    assert!(limits.contains_key("cpu") && requests.contains_key("cpu"));
    let mounts: BTreeSet<_> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| (mount.name.as_str(), mount.read_only == Some(true)))
        .collect();
    let users = start.resolved.users;
    let (user, held): (i64, &[(&str, bool)]) = match name {
        "install" => (users.pilot, &[("bin", false)]),
        // The supervisor cannot be replaced, and the token is not there.
        "exec" => (
            users.exec,
            &[
                ("bin", true),
                ("run", false),
                ("tmp", false),
                ("workspace", false),
            ],
        ),
        _ if start.resolved.sandbox.is_some() => (users.pilot, &[("run", false), ("token", true)]),
        _ => (users.pilot, &[("token", true)]),
    };
    assert_eq!(mounts, held.iter().copied().collect(), "{name}");
    assert_eq!(context.run_as_user, Some(user), "{name}");
    assert!(users.pilot > 0 && users.exec > 0 && users.pilot != users.exec);
    if name == "exec" {
        let image = container.image.as_deref().unwrap();
        let registry = image.split('/').next().unwrap();
        assert!(
            registry.contains(['.', ':']) || registry == "localhost",
            "{image} is a short name, which runtimes read as they like"
        );
        assert!(
            container.env.is_none(),
            "nothing of ours is in its environment"
        );
    } else {
        assert_eq!(
            container.image.as_deref(),
            Some("registry.example.com/oarmaster/runner:1")
        );
        // The image's entry point is the pilot.
        assert_eq!(container.command.is_some(), container.name == "install");
    }
}

/// Puts a value where a pointer leads, making objects on the way; `null` takes the field away.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for part in pointer.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value;
}

/// A check that finds nothing is no check: each thing that the standard forbids is seen, and nothing else with it.
#[test]
fn each_change_that_the_standard_forbids_is_seen() {
    let mut sim = super::sim::Sim::new(json!({}));
    let start = sim.pass().start.unwrap();
    let job = crate::task::job::build(&sim.task, &start, &super::job::installation(), "sha256:abc");
    let good = serde_json::to_value(job.spec.unwrap().template).unwrap();
    assert_eq!(restricted::broken(&good), [""; 0]);
    for (pointer, value, control) in restricted::mutations() {
        let mut pod = good.clone();
        put(&mut pod, pointer, value.clone());
        let broken = restricted::broken(&pod);
        assert!(broken.contains(&control), "{pointer} {value}: {broken:?}");
        let others: Vec<_> = broken
            .iter()
            .filter(|name| **name != control && **name != "volume types")
            .collect();
        assert!(others.is_empty(), "{pointer} {value}: {others:?}");
    }
}
