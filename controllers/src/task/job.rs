//! The Job of an attempt: pure. Everything in it is ours or the administrator's; a user's only words here are the image and the sizes,
//! which were parsed and compared with the SandboxClass. Hardening is written out for every container, never inherited.

use super::plan::Start;
use crate::class::targets::{Places, must_not_reach};
use crate::kit::pod::{self, container, node_ip, resources, words};
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvVar, HostAlias, LocalObjectReference, PodSpec,
    PodTemplateSpec, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use oarmaster_crds::kinds::class::SandboxClassSpec;
use oarmaster_crds::kinds::sandbox::SandboxSpec;
use oarmaster_crds::validate::image::Image;
use oarmaster_crds::{Task, UserIds, names};
use oarmaster_protocol::AUDIENCE;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where the supervisor is copied to.
const BIN: &str = "/oarmaster/bin";
/// The supervisor in the sandbox container.
const EXEC: &str = "/oarmaster/bin/oarmaster-exec";
/// The same in the runner's image, whose entry point is the pilot.
const IN_IMAGE: &str = "/usr/local/bin/oarmaster-exec";
/// Directory of the socket between pilot and exec.
const RUN: &str = "/run/oarmaster";
/// The socket.
const SOCKET: &str = "/run/oarmaster/exec.sock";
/// Directory of the pilot's token.
const TOKEN_DIR: &str = "/var/run/oarmaster";
/// The pilot's token.
const TOKEN: &str = "/var/run/oarmaster/token";
/// Lifetime of the token in seconds, the least that Kubernetes allows; the kubelet renews it.
const TOKEN_SECONDS: i64 = 600;
/// Memory of the pilot.
const PILOT_MEMORY: &str = "128Mi";
/// Room of the copied supervisor, which is charged to the container that copies it.
const BIN_SIZE: &str = "96Mi";
/// Memory of the supervisor itself, above what user code and its files may take, so that the kernel's limit stays a backstop behind the
/// supervisor's own.
const SUPERVISOR_BYTES: u64 = 32 << 20;
/// What every Job of this installation has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Image of pilot and supervisor.
    pub runner_image: String,
    /// Host name of the gateway, for which its certificate is.
    pub gateway_host: String,
    /// CA certificates as PEM.
    pub ca: String,
    /// What a pod must not reach.
    pub places: Places,
}

/// Builds the Job. `assignment` is the digest that the gateway gave.
#[must_use]
pub fn build(task: &Task, start: &Start, installation: &Installation, assignment: &str) -> Job {
    let uid = task.metadata.uid.clone().unwrap_or_default();
    let labels = BTreeMap::from([
        (names::SANDBOX_LABEL.to_owned(), "true".to_owned()),
        (names::TASK_UID_LABEL.to_owned(), uid.clone()),
        (names::ATTEMPT_LABEL.to_owned(), start.attempt.to_string()),
    ]);
    let annotations = BTreeMap::from([(
        names::TASK_ANNOTATION.to_owned(),
        task.metadata.name.clone().unwrap_or_default(),
    )]);
    let startup = start
        .resolved
        .class
        .startup_timeout
        .get()
        .unwrap_or_default();
    let deadline = start
        .left
        .saturating_add(startup)
        .saturating_add(Duration::from_secs(1));
    // On the Job alone: Kueue would take a pod with the label for one more piece of work.
    let queue = task.spec.queue.clone();
    let queue = queue.map(|name| (names::QUEUE_LABEL.to_owned(), name));
    Job {
        metadata: ObjectMeta {
            name: Some(start.job.clone()),
            namespace: task.metadata.namespace.clone(),
            labels: Some(labels.clone().into_iter().chain(queue).collect()),
            annotations: Some(annotations.clone()),
            owner_references: Some(vec![OwnerReference {
                api_version: Task::api_version(&()).into_owned(),
                kind: Task::kind(&()).into_owned(),
                name: task.metadata.name.clone().unwrap_or_default(),
                uid,
                controller: Some(true),
                // Nothing waits for the Job when a Task is deleted, and setting it would need a right on tasks/finalizers.
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: i64::try_from(deadline.as_secs()).ok(),
            backoff_limit: Some(0),
            completions: Some(1),
            parallelism: Some(1),
            suspend: task.spec.queue.is_some().then_some(true),
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(PodFailurePolicy {
                rules: vec![PodFailurePolicyRule {
                    action: "FailJob".to_owned(),
                    on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                        type_: "DisruptionTarget".to_owned(),
                        status: "True".to_owned(),
                    }]),
                    on_exit_codes: None,
                }],
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod::labels(&start.resolved.class, &labels)),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(sandbox_pod(task, start, installation, assignment)),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn sandbox_pod(
    task: &Task,
    start: &Start,
    installation: &Installation,
    assignment: &str,
) -> PodSpec {
    let class = &start.resolved.class;
    let sandbox = start.resolved.sandbox.as_ref();
    let mut volumes = vec![token_volume()];
    let mut init = Vec::new();
    if let Some(sandbox) = sandbox {
        let disk = sandbox.disk.bytes().unwrap_or_default().to_string();
        volumes.push(memory_volume("bin", BIN_SIZE));
        volumes.push(memory_volume("run", "1Mi"));
        volumes.push(memory_volume("workspace", &disk));
        volumes.push(memory_volume("tmp", &disk));
        init.push(install(start.resolved.users, installation));
        init.push(exec(class, start.resolved.users, sandbox));
    }
    PodSpec {
        // The only name that is known.
        host_aliases: Some(vec![HostAlias {
            ip: start.gateway_ip.clone(),
            hostnames: Some(vec![installation.gateway_host.clone()]),
        }]),
        image_pull_secrets: (!class.image_pull_secrets.is_empty()).then(|| {
            class
                .image_pull_secrets
                .iter()
                .map(|name| LocalObjectReference { name: name.clone() })
                .collect()
        }),
        init_containers: (!init.is_empty()).then_some(init),
        volumes: Some(volumes),
        ..pod::hardened(
            class,
            names::SANDBOX_SERVICE_ACCOUNT,
            pilot(task, start, installation, assignment),
        )
    }
}

fn install(users: UserIds, installation: &Installation) -> Container {
    Container {
        command: Some(words(&[IN_IMAGE])),
        args: Some(words(&["install", EXEC])),
        resources: Some(resources("10m", "500m", PILOT_MEMORY)),
        volume_mounts: Some(vec![mount("bin", BIN, false)]),
        ..container(
            names::INSTALL_CONTAINER,
            &installation.runner_image,
            users.pilot,
        )
    }
}

fn exec(class: &SandboxClassSpec, users: UserIds, sandbox: &SandboxSpec) -> Container {
    let bytes = |size: &oarmaster_crds::Size| size.bytes().unwrap_or_default();
    // Pages of the in-memory volumes are charged here, and stay charged over a restart.
    let memory = bytes(&sandbox.memory)
        .saturating_add(bytes(&sandbox.disk))
        .saturating_add(SUPERVISOR_BYTES);
    let pilot = users.pilot.to_string();
    // In full: some runtimes look for a short name in other registries than the one that the class was asked about.
    let image = Image::parse(&sandbox.image)
        .map_or_else(|_| sandbox.image.clone(), |image| image.to_string());
    let limit = sandbox.cpu.millis().unwrap_or_default();
    let asked = class.requests.cpu.millis().unwrap_or_default().min(limit);
    Container {
        command: Some(words(&[EXEC])),
        args: Some(words(&["serve", "--socket", SOCKET, "--pilot-uid", &pilot])),
        restart_policy: Some("Always".to_owned()),
        working_dir: Some("/workspace".to_owned()),
        resources: Some(resources(
            &format!("{asked}m"),
            &format!("{limit}m"),
            &memory.to_string(),
        )),
        volume_mounts: Some(vec![
            mount("bin", BIN, true),
            mount("run", RUN, false),
            mount("workspace", "/workspace", false),
            mount("tmp", "/tmp", false),
        ]),
        ..container(names::EXEC_CONTAINER, &image, users.exec)
    }
}

fn pilot(task: &Task, start: &Start, installation: &Installation, assignment: &str) -> Container {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let attempt = start.attempt.to_string();
    let gateway = format!("https://{}:8443", installation.gateway_host);
    let mut args = words(&[
        "pilot",
        "--gateway",
        &gateway,
        "--task-uid",
        uid,
        "--attempt",
        &attempt,
        "--assignment",
        assignment,
        "--token-file",
        TOKEN,
    ]);
    let mut mounts = vec![mount("token", TOKEN_DIR, true)];
    let mut env = vec![EnvVar {
        name: "OARMASTER_CA".to_owned(),
        value: Some(installation.ca.clone()),
        value_from: None,
    }];
    if start.resolved.sandbox.is_some() {
        let targets = must_not_reach(&start.gateway_ip, &installation.places);
        args.extend(words(&[
            "--exec-socket",
            SOCKET,
            "--must-not-reach",
            &targets,
        ]));
        mounts.push(mount("run", RUN, false));
        env.push(node_ip());
    }
    Container {
        args: Some(args),
        env: Some(env),
        resources: Some(resources("10m", "500m", PILOT_MEMORY)),
        volume_mounts: Some(mounts),
        ..container(
            names::PILOT_CONTAINER,
            &installation.runner_image,
            start.resolved.users.pilot,
        )
    }
}

fn memory_volume(name: &str, size: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(size.to_owned())),
        }),
        ..Volume::default()
    }
}

fn token_volume() -> Volume {
    Volume {
        name: "token".to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: None,
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(AUDIENCE.to_owned()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: "token".to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    }
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    }
}
