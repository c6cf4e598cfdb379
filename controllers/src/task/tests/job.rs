//! The Job, as it is documented.

use super::hardened::{assert_hardened, containers, pod};
use super::sim::Sim;
use crate::class::targets::{Places, must_not_reach};
use crate::task::job::{Installation, build};
use crate::task::plan::Start;
use oarmaster_crds::kinds::class::UsersFrom;
use serde_json::json;

pub fn installation() -> Installation {
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

fn started(spec: serde_json::Value) -> (Sim, Box<Start>) {
    let mut sim = Sim::new(spec);
    let start = sim.pass().start.unwrap();
    (sim, start)
}

#[test]
fn the_pod_has_the_documented_containers_and_arguments() {
    let (sim, start) = started(json!({}));
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job, &start);
    let pod = pod(&job);
    let names: Vec<_> = containers(pod)
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(names, ["install", "exec", "pilot"]);
    let all = containers(pod);
    assert_eq!(
        all[0].command.as_ref().unwrap(),
        &["/usr/local/bin/oarmaster-exec"]
    );
    assert_eq!(
        all[0].args.as_ref().unwrap(),
        &["install", "/oarmaster/bin/oarmaster-exec"]
    );
    assert_eq!(all[1].restart_policy.as_deref(), Some("Always"));
    assert_eq!(
        all[1].command.as_ref().unwrap(),
        &["/oarmaster/bin/oarmaster-exec"]
    );
    assert_eq!(
        all[1].args.as_ref().unwrap(),
        &[
            "serve",
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
    sim.class.as_mut().unwrap().spec.shared_pilots = false;
    let start = sim.pass().start.unwrap();
    assert!(!start.shared);
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job, &start);
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

/// The pod knows nothing of it: the sandbox fetches it itself.
#[test]
fn a_repository_stands_in_the_assignment_alone() {
    let started = |files: serde_json::Value| {
        let run = json!({ "command": ["true"], "sandbox": { "egress": { "domains": ["git.example.com"] } } });
        let mut sim =
            Sim::new(json!({ "agent": null, "params": null, "run": run, "files": files }));
        sim.class.as_mut().unwrap().spec.egress.domains = vec!["git.example.com".to_owned()];
        let start = sim.pass().start.unwrap();
        let job = build(&sim.task, &start, &installation(), "sha256:abc");
        (start.resolved.assignment.unwrap(), job)
    };
    let (assignment, job) = started(json!([
        { "path": "app/.env", "content": "x" },
        { "path": "app", "git": { "url": "https://git.example.com/app" } },
    ]));
    let [repository] = &assignment.repositories[..] else {
        panic!("{assignment:?}")
    };
    assert_eq!(repository.path, "app");
    assert_eq!(repository.url, "https://git.example.com/app");
    assert_eq!(repository.reference, "HEAD");
    assert_eq!(assignment.files.len(), 1);
    assert_eq!(job, started(json!([])).1);
}

#[test]
fn labels_of_the_class_stand_beside_ours_and_never_in_their_place() {
    let mut sim = Sim::new(json!({}));
    let forged = ["team", "oarmaster.dev/sandbox", "oarmaster.dev/task-uid"];
    let labels = forged.map(|name| (name.to_owned(), "x".to_owned()));
    // Validation refuses those; where one got past it all the same, ours count.
    let start = sim.pass().start.map(|mut start| {
        start.resolved.class.pod_labels = labels.into();
        start
    });
    let start = start.unwrap();
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job, &start);
    let of_pod = job.spec.unwrap().template.metadata.unwrap().labels.unwrap();
    assert_eq!(of_pod["team"], "x");
    assert_eq!(of_pod["oarmaster.dev/sandbox"], "true");
    assert_eq!(of_pod["oarmaster.dev/task-uid"], "uid-1");
}

#[test]
fn the_image_is_named_in_full_so_that_what_was_judged_is_what_runs() {
    let (sim, start) = started(json!({}));
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    let exec = containers(pod(&job))[1].image.as_deref();
    assert_eq!(exec, Some("docker.io/library/python:3.12-slim"));
}

#[test]
fn user_ids_and_user_namespace_are_those_that_the_class_says() {
    let mut sim = Sim::new(json!({}));
    let class = &mut sim.class.as_mut().unwrap().spec;
    class.users.from = UsersFrom::FromNamespace;
    sim.uid_range = Some("1000650000/10000".to_owned());
    let start = sim.pass().start.unwrap();
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job, &start);
    let ids: Vec<_> = containers(pod(&job))
        .iter()
        .map(|container| container.security_context.as_ref().unwrap().run_as_user)
        .collect();
    let (pilot, exec) = (Some(1_000_650_000), Some(1_000_650_001));
    assert_eq!(ids, [pilot, exec, pilot]);
    let args = containers(pod(&job))[1].args.as_ref().unwrap();
    assert!(args.contains(&"1000650000".to_owned()), "{args:?}");

    let mut sim = Sim::new(json!({}));
    sim.class.as_mut().unwrap().spec.host_users = false;
    let start = sim.pass().start.unwrap();
    let job = build(&sim.task, &start, &installation(), "sha256:abc");
    assert_hardened(&job, &start);
    assert_eq!(pod(&job).host_users, Some(false));
    let bounds = start.resolved.assignment.unwrap().sandbox.unwrap();
    assert!(bounds.require_user_namespace, "each sandbox proves it");
}
