//! The Job: hardened for every spec.

use super::sim::Sim;
use crate::class::targets::{Places, must_not_reach};
use crate::task::job::{Installation, build};
use crate::task::plan::Start;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use oarmaster_crds::GepDuration;
use oarmaster_crds::kinds::class::SandboxClassSpec;
use oarmaster_crds::kinds::sandbox::SandboxSpec;
use oarmaster_crds::quantity::{Cpu, Size};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

fn installation() -> Installation {
    Installation {
        runner_image: "registry.example.com/oarmaster/runner:1".to_owned(),
        gateway_host: "oarmaster-gateway.oarmaster-system.svc".to_owned(),
        ca: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        places: Places {
            internet: "1.1.1.1:443".parse().unwrap(),
            dns: vec!["10.96.0.10".parse().unwrap()],
        },
    }
}

fn started(spec: serde_json::Value) -> (Sim, Start) {
    let mut sim = Sim::new(spec);
    let start = sim.pass().start.unwrap();
    (sim, *start)
}

fn pod(job: &Job) -> &PodSpec {
    job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn containers(pod: &PodSpec) -> Vec<&Container> {
    pod.init_containers
        .iter()
        .flatten()
        .chain(&pod.containers)
        .collect()
}

/// Pod Security Standard "restricted", and what a sandbox adds to it.
fn assert_hardened(job: &Job) {
    let spec = job.spec.as_ref().unwrap();
    assert_eq!(spec.backoff_limit, Some(0));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert!(spec.active_deadline_seconds.unwrap() > 0);
    assert_eq!(
        spec.ttl_seconds_after_finished, None,
        "evidence stays until the status is written"
    );
    let pod = pod(job);
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.enable_service_links, Some(false));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(pod.dns_policy.as_deref(), Some("None"));
    assert!(
        !pod.dns_config
            .as_ref()
            .unwrap()
            .nameservers
            .as_ref()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        pod.service_account_name.as_deref(),
        Some("oarmaster-sandbox")
    );
    assert!(pod.host_network.is_none() && pod.host_pid.is_none() && pod.host_ipc.is_none());
    assert_ne!(pod.share_process_namespace, Some(true));
    assert_eq!(pod.termination_grace_period_seconds, Some(5));
    let seconds: Vec<_> = pod
        .tolerations
        .iter()
        .flatten()
        .filter_map(|toleration| toleration.toleration_seconds)
        .collect();
    assert_eq!(seconds.iter().filter(|seconds| **seconds == 30).count(), 2);
    for volume in pod.volumes.iter().flatten() {
        let memory = volume
            .empty_dir
            .as_ref()
            .is_some_and(|dir| dir.medium.as_deref() == Some("Memory") && dir.size_limit.is_some());
        assert!(
            memory || volume.projected.is_some(),
            "volume {}",
            volume.name
        );
        assert!(
            volume.host_path.is_none() && volume.secret.is_none() && volume.config_map.is_none()
        );
    }
    let mut users = BTreeSet::new();
    for container in containers(pod) {
        let name = &container.name;
        let context = container.security_context.as_ref().unwrap();
        assert_eq!(context.allow_privilege_escalation, Some(false), "{name}");
        assert_eq!(context.privileged, Some(false), "{name}");
        assert_eq!(context.read_only_root_filesystem, Some(true), "{name}");
        assert_eq!(context.run_as_non_root, Some(true), "{name}");
        assert!(context.run_as_user.unwrap() > 0, "{name}");
        assert_eq!(
            context.seccomp_profile.as_ref().unwrap().type_,
            "RuntimeDefault"
        );
        let capabilities = context.capabilities.as_ref().unwrap();
        assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
        assert!(capabilities.add.is_none());
        assert!(
            container.env_from.is_none()
                && container.ports.is_none()
                && container.lifecycle.is_none()
        );
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
        let mounts: Vec<_> = container
            .volume_mounts
            .iter()
            .flatten()
            .map(|mount| (mount.name.as_str(), mount.read_only))
            .collect();
        let token = mounts.iter().any(|mount| mount.0 == "token");
        assert_eq!(token, name == "pilot", "only the pilot has the token");
        if name == "exec" {
            assert!(
                mounts.contains(&("bin", Some(true))),
                "the supervisor cannot be replaced"
            );
            assert!(
                container.env.is_none(),
                "nothing of ours is in its environment"
            );
            users.insert(context.run_as_user);
        } else {
            assert_eq!(
                container.image.as_deref(),
                Some("registry.example.com/oarmaster/runner:1")
            );
            assert!(container.command.is_none());
            assert!(!users.contains(&context.run_as_user));
        }
    }
}

#[test]
fn the_pod_has_the_documented_containers_and_arguments() {
    let (sim, start) = started(json!({}));
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job);
    let pod = pod(&job);
    let names: Vec<_> = containers(pod)
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(names, ["install", "exec", "pilot"]);
    let all = containers(pod);
    assert_eq!(
        all[0].args.as_ref().unwrap(),
        &["install", "/oarmaster/bin/oarmaster-runner"]
    );
    assert_eq!(all[1].restart_policy.as_deref(), Some("Always"));
    assert_eq!(
        all[1].command.as_ref().unwrap(),
        &["/oarmaster/bin/oarmaster-runner"]
    );
    assert_eq!(
        all[1].args.as_ref().unwrap(),
        &[
            "exec",
            "--socket",
            "/run/oarmaster/exec.sock",
            "--pilot-uid",
            "65532"
        ]
    );
    let targets = must_not_reach(&start.gateway_ip, &installation().places);
    assert_eq!(
        all[2].args.as_ref().unwrap(),
        &[
            "pilot",
            "--gateway",
            "https://oarmaster-gateway.oarmaster-system.svc:8443",
            "--task-uid",
            "uid-1",
            "--attempt",
            "1",
            "--assignment",
            "sha256:abc",
            "--token-file",
            "/var/run/oarmaster/token",
            "--exec-socket",
            "/run/oarmaster/exec.sock",
            "--must-not-reach",
            &targets,
        ]
    );
    let meta = &job.metadata;
    assert_eq!(meta.name.as_deref(), Some(start.job.as_str()));
    assert_eq!(
        meta.labels.as_ref().unwrap()["oarmaster.dev/task-uid"],
        "uid-1"
    );
    assert_eq!(
        meta.labels,
        job.spec
            .as_ref()
            .unwrap()
            .template
            .metadata
            .as_ref()
            .unwrap()
            .labels
    );
    assert_eq!(
        meta.annotations.as_ref().unwrap()["oarmaster.dev/task"],
        "fix"
    );
    let owner = &meta.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.uid.as_str(), owner.controller),
        ("Task", "uid-1", Some(true))
    );
    // 20 minutes, the class's 5 to start, and one second for the controller to be first.
    assert_eq!(
        job.spec.as_ref().unwrap().active_deadline_seconds,
        Some(1501)
    );
    let memory = &all[1].resources.as_ref().unwrap().limits.as_ref().unwrap()["memory"];
    assert_eq!(memory.0, ((512 + 256 + 32) << 20).to_string());
}

#[test]
fn an_agent_without_tools_has_a_pilot_alone() {
    let mut sim = Sim::new(json!({}));
    sim.agent.as_mut().unwrap().spec.tools.clear();
    let start = sim.pass().start.unwrap();
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job);
    let pod = pod(&job);
    assert_eq!(containers(pod).len(), 1);
    assert!(
        !pod.containers[0]
            .args
            .as_ref()
            .unwrap()
            .contains(&"--exec-socket".to_owned())
    );
    assert_eq!(pod.volumes.as_ref().unwrap().len(), 1);
}

#[test]
fn files_make_a_sandbox_even_without_tools() {
    let mut sim = Sim::new(json!({ "files": [{ "path": "a", "content": "" }] }));
    sim.agent.as_mut().unwrap().spec.tools.clear();
    let start = sim.pass().start.unwrap();
    assert!(start.resolved.sandbox.is_some());
}

#[test]
fn the_prompt_is_not_in_the_job() {
    let (sim, start) = started(json!({ "params": { "prompt": "a-very-secret-prompt" } }));
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert!(
        !serde_json::to_string(&job)
            .unwrap()
            .contains("a-very-secret-prompt")
    );
}

#[test]
fn the_pool_of_a_run_stands_in_the_assignment_and_demands_the_network_policy() {
    let sandbox = |pool: serde_json::Value| {
        let run = json!({ "command": ["true"], "pool": pool });
        let mut sim = Sim::new(json!({ "agent": null, "params": null, "run": run }));
        let start = sim.pass().start.unwrap();
        start.resolved.assignment.unwrap().sandbox.unwrap()
    };
    let open = sandbox(json!({ "name": "default" }));
    assert_eq!(open.pool.as_deref(), Some("oarmaster-system/default"));
    assert_eq!(open.network_policy_within_ms, Some(300_000));
    let closed = sandbox(json!(null));
    assert_eq!((closed.pool, closed.network_policy_within_ms), (None, None));
    // An agent's pool is its own affair: what its tools run calls no model.
    let (_, start) = started(json!({}));
    let sandbox = start.resolved.assignment.unwrap().sandbox.unwrap();
    assert_eq!(sandbox.pool, None);
}

/// The gateway decides by what stands in the assignment; the pod is made as every other.
#[test]
fn egress_stands_in_the_assignment_and_demands_the_network_policy() {
    let sandbox = |domains: serde_json::Value| {
        let run = json!({ "command": ["true"], "sandbox": { "egress": { "domains": domains } } });
        let mut sim = Sim::new(json!({ "agent": null, "params": null, "run": run }));
        sim.class.as_mut().unwrap().spec.egress.domains = vec!["*.pypi.org".to_owned()];
        let start = sim.pass().start.unwrap();
        let sandbox = start.resolved.assignment.clone().unwrap().sandbox.unwrap();
        let job = build(&sim.task, &start, &installation(), "sha256:abc");
        (sandbox, job)
    };
    let (open, job) = sandbox(json!(["a.pypi.org"]));
    assert_eq!(open.egress, ["a.pypi.org"]);
    assert_eq!(open.network_policy_within_ms, Some(300_000));
    let (closed, same) = sandbox(json!([]));
    assert!(closed.egress.is_empty());
    assert_eq!(closed.network_policy_within_ms, None);
    assert_eq!(job, same);
}

prop_compose! {
    fn class()(
        runtime in "[a-z]{0,8}",
        users in (1i64..100_000, 100_000i64..200_000),
        startup in 1u32..86_400,
        priority in "[a-z]{0,8}",
        secrets in prop::collection::vec("[a-z]{1,8}", 0..3),
        selector in prop::collection::btree_map("[a-z]{1,8}", "[a-z]{0,8}", 0..3),
    ) -> SandboxClassSpec {
        let mut class = SandboxClassSpec {
            runtime_class_name: runtime,
            startup_timeout: GepDuration(format!("{startup}s")),
            priority_class_name: priority,
            image_pull_secrets: secrets,
            node_selector: selector,
            ..SandboxClassSpec::default()
        };
        class.users.pilot = users.0;
        class.users.exec = users.1;
        class
    }
}

prop_compose! {
    fn sandbox()(
        image in "[a-z]{1,10}(:[a-z0-9]{1,5})?",
        cpu in 1u32..9999,
        memory in 32u32..100_000,
        disk in 1u32..100_000,
    ) -> SandboxSpec {
        SandboxSpec {
            image,
            cpu: Cpu(format!("{cpu}m")),
            memory: Size(format!("{memory}Mi")),
            disk: Size(format!("{disk}Mi")),
            ..SandboxSpec::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_pod_is_hardened(class in class(), sandbox in prop::option::of(sandbox()), attempt in 1u32..1000, left in 0u64..1_000_000) {
        let (sim, mut start) = started(json!({}));
        start.resolved.class = class;
        start.resolved.sandbox = sandbox;
        start.attempt = attempt;
        start.left = Duration::from_secs(left);
        assert_hardened(&build(&sim.task, &start, &installation(), "sha256:abc"));
    }
}
