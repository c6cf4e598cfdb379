use super::plan::{Observed, plan};
use super::pool;
use jiff::Timestamp;
use oarmaster_crds::{Agent, AgentStatus, ModelPool, SandboxClass, conditions};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn agent(spec: Value) -> Agent {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Agent",
        "metadata": { "name": "coder", "namespace": "team", "generation": 1 },
        "spec": spec,
    }))
    .unwrap()
}

fn ready(value: &str) -> Value {
    json!({ "conditions": [{ "type": "Ready", "status": value, "reason": "X", "message": "so it is", "lastTransitionTime": "2025-01-01T00:00:00Z" }] })
}

fn pool(value: &str) -> Option<Arc<ModelPool>> {
    let pool = serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelPool",
        "metadata": { "name": "default", "namespace": "team" },
        "spec": { "members": [] }, "status": ready(value),
    }));
    Some(Arc::new(pool.unwrap()))
}

fn class(value: &str) -> Option<Arc<SandboxClass>> {
    let class = serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "SandboxClass",
        "metadata": { "name": "default" }, "spec": {}, "status": ready(value),
    }));
    Some(Arc::new(class.unwrap()))
}

fn after(
    agent: &Agent,
    pool: Option<Arc<ModelPool>>,
    class: Option<Arc<SandboxClass>>,
) -> AgentStatus {
    let seen = Observed {
        now: Timestamp::UNIX_EPOCH,
        pool,
        class,
    };
    let mut next = agent.clone();
    next.status = plan(agent, &seen).status;
    assert!(plan(&next, &seen).status.is_none(), "settled");
    next.status.unwrap()
}

fn reason_and_text(status: &AgentStatus) -> (String, String) {
    let held = conditions::find(&status.conditions, conditions::READY).unwrap();
    (held.reason.clone(), held.message.clone())
}

#[test]
fn an_agent_with_everything_is_ready_and_has_a_revision() {
    let one = agent(json!({ "instructions": "x" }));
    let status = after(&one, pool("True"), class("True"));
    assert!(conditions::is_true(&status.conditions, conditions::READY));
    assert!(conditions::is_true(
        &status.conditions,
        conditions::RESOLVED_REFS
    ));
    let other = agent(json!({ "instructions": "y" }));
    assert_ne!(
        status.revision,
        after(&other, pool("True"), class("True")).revision
    );
}

#[test]
fn what_is_missing_is_named() {
    let one = agent(json!({ "instructions": "x" }));
    let status = after(&one, None, None);
    assert!(!conditions::is_true(
        &status.conditions,
        conditions::RESOLVED_REFS
    ));
    let (why, text) = reason_and_text(&status);
    assert_eq!(why, "RefsNotResolved");
    assert!(
        text.contains("ModelPool default does not exist in namespace team"),
        "{text}"
    );
    assert!(text.contains("SandboxClass default"), "{text}");
}

#[test]
fn what_is_not_ready_is_named() {
    let one = agent(json!({ "instructions": "x" }));
    let status = after(&one, pool("False"), class("True"));
    assert!(conditions::is_true(
        &status.conditions,
        conditions::RESOLVED_REFS
    ));
    assert!(
        reason_and_text(&status)
            .1
            .contains("ModelPool default is not ready: so it is")
    );
    let status = after(&one, pool("True"), class("False"));
    assert!(
        reason_and_text(&status)
            .1
            .contains("SandboxClass default is not ready")
    );
}

#[test]
fn a_sandbox_beyond_its_class_is_refused_if_it_is_used() {
    let sandbox = json!({ "image": "ghcr.io/acme/x" });
    let with = agent(
        json!({ "instructions": "x", "tools": [{ "builtin": "Shell" }], "sandbox": sandbox }),
    );
    assert_eq!(
        reason_and_text(&after(&with, pool("True"), class("True"))).0,
        "RefusedByClass"
    );
    for tools in [
        json!([]),
        json!([{ "builtin": "WebSearch" }, { "builtin": "FetchPage" }]),
    ] {
        let without = agent(json!({ "instructions": "x", "tools": tools, "sandbox": sandbox }));
        assert_eq!(
            reason_and_text(&after(&without, pool("True"), class("True"))).0,
            "Ready"
        );
    }
}

#[test]
fn domains_beyond_the_class_are_refused_where_pages_of_them_are_read() {
    let egress = json!({ "egress": { "domains": ["docs.example.com"] } });
    for (tool, expected) in [("FetchPage", "RefusedByClass"), ("WebSearch", "Ready")] {
        let tools = json!([{ "builtin": tool }]);
        let reads = agent(json!({ "instructions": "x", "tools": tools, "sandbox": egress }));
        let (why, text) = reason_and_text(&after(&reads, pool("True"), class("True")));
        assert_eq!(why, expected);
        let named = text.contains(
            "spec.sandbox.egress.domains: docs.example.com is not allowed by SandboxClass default",
        );
        assert_eq!(named, expected == "RefusedByClass", "{text}");
    }
}

#[test]
fn a_broken_spec_names_its_field() {
    let broken = agent(json!({ "instructions": "" }));
    let (why, text) = reason_and_text(&after(&broken, pool("True"), class("True")));
    assert_eq!(why, "InvalidSpec");
    assert!(text.contains("spec.instructions"));
}

#[test]
fn a_broken_command_has_a_reason_of_its_own_and_commands_are_counted() {
    let commands = json!([
        { "name": "explain", "prompt": "Explain." },
        { "name": "review", "prompt": "Review ${depth}." },
    ]);
    let broken = agent(json!({ "instructions": "x", "commands": commands }));
    let status = after(&broken, pool("True"), class("True"));
    assert_eq!(status.command_count, Some(2));
    let (why, text) = reason_and_text(&status);
    assert_eq!(why, "InvalidCommand");
    assert!(
        text.contains("spec.commands[review].prompt: has '${depth': write ${params.NAME}"),
        "{text}"
    );
    let more = agent(json!({ "instructions": "", "commands": commands }));
    let (why, text) = reason_and_text(&after(&more, pool("True"), class("True")));
    assert_eq!(why, "InvalidSpec");
    assert!(
        text.contains("review") && text.contains("spec.instructions"),
        "{text}"
    );
}

#[test]
fn an_agent_means_a_pool_that_allows_its_namespace() {
    let named = |pool: Value| agent(json!({ "instructions": "x", "model": { "pool": pool } }));
    let labels = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
    let chosen = json!({ "from": "Selector", "selector": { "matchLabels": { "team": "a" } } });
    let same = json!({ "from": "Same" });
    let (fast, other) = (
        json!({ "name": "fast" }),
        json!({ "name": "fast", "namespace": "other" }),
    );
    let default = json!({ "name": "default" });
    let elsewhere = json!({ "name": "default", "namespace": "other" });
    for (reference, pools, allowed, team, meant) in [
        (&fast, vec!["team/fast", "other/fast"], &same, "a", "team"),
        (&fast, vec!["other/fast"], &chosen, "a", ""),
        (&other, vec!["team/fast", "other/fast"], &same, "a", ""),
        (&other, vec!["other/fast"], &chosen, "a", "other"),
        (&other, vec!["other/fast"], &chosen, "b", ""),
        // `default` falls back to the shared one, which allows by the same rule.
        (
            &default,
            vec!["team/default", "sys/default"],
            &same,
            "a",
            "team",
        ),
        (&default, vec!["sys/default"], &chosen, "a", "sys"),
        (&default, vec!["sys/default"], &same, "a", ""),
        (
            &elsewhere,
            vec!["team/default", "sys/default"],
            &chosen,
            "a",
            "",
        ),
    ] {
        let find = |(namespace, name): (&str, &str)| {
            let id = format!("{namespace}/{name}");
            let pool = json!({
                "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelPool",
                "metadata": { "name": name, "namespace": namespace },
                "spec": { "members": [], "allowedNamespaces": allowed },
            });
            pools
                .contains(&id.as_str())
                .then(|| Arc::new(serde_json::from_value(pool).unwrap()))
        };
        let (agent, labels) = (named(reference.clone()), labels(team));
        let found = pool::of_agent(&agent).meant(Some(("sys", "default")), Some(&labels), find);
        let found = found.and_then(|pool| pool.metadata.namespace.clone());
        assert_eq!(
            found.unwrap_or_default(),
            meant,
            "{reference} {pools:?} {allowed} {team}"
        );
    }
}

#[test]
fn a_pool_of_another_namespace_is_absent_or_not_allowed() {
    let spec = json!({ "instructions": "x", "model": { "pool": { "name": "fast", "namespace": "other" } } });
    let status = after(&agent(spec), None, class("True"));
    let held = conditions::find(&status.conditions, conditions::RESOLVED_REFS).unwrap();
    assert_eq!(
        (held.status.as_str(), held.reason.as_str()),
        ("False", "RefsNotResolved")
    );
    assert!(
        held.message.starts_with(
            "ModelPool fast does not exist in namespace other, or does not allow namespace team"
        ),
        "{}",
        held.message
    );
}

#[test]
fn who_is_looked_at_again_when_a_pool_changes() {
    let named = |pool: Value| agent(json!({ "instructions": "x", "model": { "pool": pool } }));
    let (own, other) = (
        json!({ "name": "default" }),
        json!({ "name": "default", "namespace": "other" }),
    );
    for (reference, pool, looks) in [
        (&own, ("team", "default"), true),
        (&own, ("sys", "default"), true),
        (&own, ("other", "default"), false),
        (&other, ("other", "default"), true),
        (&other, ("team", "default"), false),
        (&other, ("sys", "default"), false),
    ] {
        let agent = named(reference.clone());
        let shared = Some(("sys", "default"));
        assert_eq!(
            pool::of_agent(&agent).may_mean(pool, shared),
            looks,
            "{reference} {pool:?}"
        );
    }
}
