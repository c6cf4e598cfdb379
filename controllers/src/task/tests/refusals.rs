//! What is not carried out, and why.

use super::sim::{Sim, assert_end};
use crate::task::plan::{plan, refused};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::class::UsersFrom;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::assignment::Target;
use serde_json::json;

fn refuse(spec: serde_json::Value) -> Sim {
    let mut sim = Sim::new(spec);
    sim.settle();
    assert!(sim.created.is_empty());
    assert_eq!(sim.condition(conditions::ACCEPTED).0, "False");
    sim
}

#[test]
fn a_spec_stored_around_the_schema_fails_with_its_field() {
    let sim = refuse(json!({ "files": [{ "path": "../x", "content": "" }] }));
    assert_end(&sim, Phase::Failed, "InvalidInput");
    assert!(
        sim.condition(conditions::READY)
            .2
            .contains("spec.files[0].path")
    );
    let sim = refuse(json!({ "agent": null, "params": null }));
    assert_end(&sim, Phase::Failed, "InvalidInput");
    let sim = refuse(json!({ "timeout": "forever" }));
    assert_end(&sim, Phase::Failed, "InvalidInput");
}

#[test]
fn unknown_params_are_refused_by_name() {
    let sim = refuse(json!({ "params": { "prompt": "x", "module": "parser" } }));
    assert_end(&sim, Phase::Failed, "InvalidParams");
    assert_eq!(sim.condition(conditions::ACCEPTED).1, "InvalidParams");
    assert!(sim.condition(conditions::READY).2.contains("module"));
}

#[test]
fn what_the_class_does_not_allow_is_refused_by_policy() {
    let run = json!({ "agent": null, "params": null, "run": { "command": ["true"], "sandbox": { "image": "evil.example.com/x" } } });
    let sim = refuse(run);
    assert_end(&sim, Phase::Failed, "RefusedByPolicy");
    assert_eq!(sim.condition(conditions::ACCEPTED).1, "RefusedByClass");
    let text = sim.condition(conditions::READY).2;
    assert!(
        text.contains("evil.example.com/x") && text.contains("docker.io/library/*"),
        "{text}"
    );

    let run = json!({ "agent": null, "params": null, "run": { "command": ["true"], "sandbox": { "memory": "64Gi" } } });
    assert_end(&refuse(run), Phase::Failed, "RefusedByPolicy");
}

#[test]
fn a_domain_that_the_class_does_not_allow_is_refused_by_policy() {
    let run = |domain: &str| json!({ "agent": null, "params": null, "run": { "command": ["true"], "sandbox": { "egress": { "domains": [domain] } } } });
    let sim = refuse(run("pypi.org"));
    assert_end(&sim, Phase::Failed, "RefusedByPolicy");
    let text = sim.condition(conditions::READY).2;
    assert!(
        text.contains("run.sandbox.egress.domains: pypi.org is not allowed by SandboxClass default, which allows no domain"),
        "{text}"
    );
    for (asked, allowed) in [
        ("a.pypi.org", true),
        ("*.pypi.org", true),
        ("pypi.org", false),
    ] {
        let mut sim = Sim::new(run(asked));
        sim.class.as_mut().unwrap().spec.egress.domains = vec!["*.pypi.org".to_owned()];
        sim.settle();
        assert_eq!(sim.created.len(), usize::from(allowed), "{asked}");
    }
}

#[test]
fn pages_of_a_domain_that_the_class_does_not_allow_are_refused_by_policy() {
    for (tool, allowed, expected) in [
        ("FetchPage", &[][..], None),
        (
            "FetchPage",
            &["*.example.com"],
            Some(vec!["docs.example.com".to_owned()]),
        ),
        ("WebSearch", &[], Some(Vec::new())),
    ] {
        let mut sim = Sim::new(json!({}));
        sim.class.as_mut().unwrap().spec.egress.domains =
            allowed.iter().map(|name| (*name).to_owned()).collect();
        let agent = &mut sim.agent.as_mut().unwrap().spec;
        agent.tools = serde_json::from_value(json!([{ "builtin": tool }])).unwrap();
        agent.sandbox.egress.domains = vec!["docs.example.com".to_owned()];
        let Some(expected) = expected else {
            sim.settle();
            assert_end(&sim, Phase::Failed, "RefusedByPolicy");
            let text = sim.condition(conditions::READY).2;
            assert!(
                text.contains(
                    "the Agent's spec.sandbox.egress.domains: docs.example.com is not allowed"
                ),
                "{text}"
            );
            continue;
        };
        let start = sim.pass().start.unwrap();
        let assignment = start.resolved.assignment.unwrap();
        assert_eq!(assignment.sandbox, None);
        let Target::Agent(agent) = assignment.target else {
            panic!("an agent")
        };
        assert_eq!(agent.pages, expected);
    }
}

#[test]
fn a_repository_that_the_agents_sandbox_cannot_reach_is_refused() {
    let files = json!([{ "path": "app", "git": { "url": "https://git.example.com/app" } }]);
    let sim = refuse(json!({ "files": files }));
    assert_end(&sim, Phase::Failed, "InvalidInput");
    let text = sim.condition(conditions::READY).2;
    assert!(
        text.contains("spec.files[0].git.url: git.example.com is none of the domains")
            && text.contains("the Agent's spec.sandbox.egress.domains"),
        "{text}"
    );
    let mut sim = Sim::new(json!({ "files": files }));
    let domains = vec!["git.example.com".to_owned()];
    let agent = &mut sim.agent.as_mut().unwrap().spec;
    agent.sandbox.egress.domains.clone_from(&domains);
    sim.class.as_mut().unwrap().spec.egress.domains = domains;
    sim.settle();
    assert_eq!(sim.created.len(), 1);
}

#[test]
fn a_namespace_without_user_ids_is_waited_for() {
    let mut sim = Sim::new(json!({}));
    sim.class.as_mut().unwrap().spec.users.from = UsersFrom::FromNamespace;
    for range in [None, Some("0/10".to_owned())] {
        sim.uid_range = range;
        sim.settle();
        assert_eq!(sim.phase(), Phase::Pending);
        let text = sim.condition(conditions::READY).2;
        assert!(
            text.contains("Namespace team has") && text.contains("uid-range"),
            "{text}"
        );
        assert!(sim.created.is_empty());
    }
    sim.uid_range = Some("1000650000/10000".to_owned());
    let users = sim.pass().start.unwrap().resolved.users;
    assert_eq!((users.pilot, users.exec), (1_000_650_000, 1_000_650_001));
}

#[test]
fn an_agent_that_is_broken_fails_its_tasks() {
    let mut sim = Sim::new(json!({}));
    sim.agent.as_mut().unwrap().spec.instructions = String::new();
    sim.settle();
    assert_end(&sim, Phase::Failed, "InvalidInput");
    assert!(
        sim.condition(conditions::READY)
            .2
            .contains("Agent coder: spec.instructions")
    );
}

#[test]
fn an_assignment_beyond_one_mebibyte_is_refused() {
    let file =
        |n: usize| json!({ "path": format!("f{n}"), "configMap": { "name": "big", "key": "k" } });
    let mut sim = Sim::new(json!({ "files": [file(1), file(2)] }));
    sim.config_maps.insert(
        "big".to_owned(),
        [("k".to_owned(), "x".repeat(700_000))].into(),
    );
    sim.settle();
    assert_end(&sim, Phase::Failed, "InvalidInput");
    assert!(sim.condition(conditions::READY).2.contains("1048576"));
}

#[test]
fn a_job_of_somebody_else_is_a_conflict() {
    let mut sim = Sim::new(json!({}));
    sim.pass();
    sim.jobs.clear();
    let mut seen = sim.observe();
    seen.foreign_job = true;
    let plan = plan(&sim.task, &seen);
    assert!(plan.start.is_none() && plan.fence.is_some());
    let status = plan.status.unwrap();
    assert_eq!(status.failure.unwrap().class, "Conflict");
    assert!(conditions::is_true(
        &status.conditions,
        conditions::FINISHED
    ));
}

#[test]
fn a_step_refused_for_good_ends_the_task_once() {
    let mut sim = Sim::new(json!({}));
    sim.pass();
    let end = refused(
        &sim.task,
        &sim.observe(),
        FailureClass::StateRegressed,
        "gone",
    );
    assert_eq!(
        end.status.clone().unwrap().failure.unwrap().class,
        "StateRegressed"
    );
    assert_eq!(end.delete_jobs.len(), 1);
    assert!(end.start.is_none());
    sim.task.status = end.status;
    let again = refused(&sim.task, &sim.observe(), FailureClass::Conflict, "other");
    assert!(again.status.is_none(), "an end is final");
}

#[test]
fn a_task_that_is_being_deleted_begins_nothing() {
    let mut sim = Sim::new(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.task.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(sim.now),
    );
    let plan = sim.pass();
    assert!(plan.fence.is_some() && plan.status.is_none() && plan.start.is_none());
    assert_eq!(plan.delete_jobs.len(), 1);
    sim.settle();
}

#[test]
fn a_tracked_task_with_a_ttl_is_refused_and_kept() {
    let mut sim = Sim::new(json!({ "ttlAfterFinished": "1s" }));
    sim.task.metadata.annotations =
        Some([("argocd.argoproj.io/tracking-id".to_owned(), "x".to_owned())].into());
    sim.settle();
    assert_end(&sim, Phase::Failed, "InvalidInput");
    sim.later(100);
    sim.settle();
    assert!(!sim.deleted, "Git would make it again");
}
