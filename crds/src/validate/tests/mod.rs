mod agents;
mod budgets;
mod commands;
mod egress;
mod git;
mod goals;
mod handover;
mod images;
mod models;

use super::{Problem, Rule};
use crate::AgentSpec;
use crate::kinds::class::SandboxClassSpec;
use crate::kinds::task::TaskSpec;
use crate::validate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The fields with a problem.
fn fields(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect()
}

fn with(mut base: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(key);
        } else {
            base[key] = value.clone();
        }
    }
    base
}

fn task(changes: Value) -> Vec<Problem> {
    let base = json!({ "agent": { "name": "a" }, "params": { "prompt": "p" } });
    let spec: TaskSpec = parse(with(base, changes));
    validate::task(&spec, &ObjectMeta::default())
}

fn run(changes: Value) -> Vec<Problem> {
    task(
        json!({ "agent": null, "params": null, "run": with(json!({ "command": ["true"] }), changes) }),
    )
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(validate::class(&SandboxClassSpec::default()), []);
    let agent: AgentSpec = parse(json!({ "instructions": "x" }));
    assert_eq!(validate::agent(&agent), []);
    assert_eq!(
        validate::within_class("s", &agent.sandbox, "default", &SandboxClassSpec::default()),
        []
    );
    assert_eq!(task(json!({})), []);
    assert_eq!(run(json!({})), []);
}

#[test]
fn a_task_is_an_agent_or_a_run() {
    assert_eq!(
        fields(&task(json!({ "agent": null, "params": null }))),
        ["spec"]
    );
    assert_eq!(
        fields(&task(json!({ "run": { "command": ["x"] } }))),
        ["spec"]
    );
    assert!(
        run(json!({ "command": null }))
            .iter()
            .any(|problem| problem.field == "spec.run")
    );
    assert_eq!(
        fields(&run(json!({ "code": "x", "language": "python" }))),
        ["spec.run"]
    );
    assert_eq!(
        fields(&run(json!({ "command": null, "code": "x" }))),
        ["spec.run.language"]
    );
    assert_eq!(
        fields(&run(json!({ "command": ["a", "b\u{0}"] }))),
        ["spec.run.command[1]"]
    );
    assert_eq!(
        fields(&run(json!({ "env": { "1A": "x", "B": "\u{0}" } }))),
        ["spec.run.env", "spec.run.env[B]"]
    );
}

#[test]
fn params_are_the_prompt_and_nothing_else() {
    for params in [
        json!({}),
        json!({ "prompt": "" }),
        json!({ "prompt": " \n" }),
        json!({ "prompt": 7 }),
        json!({ "prompt": "x", "y": 1 }),
        json!({ "prompt": "x".repeat(131_073) }),
    ] {
        let problems = task(json!({ "params": params }));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].rule, Rule::Params);
    }
    assert_eq!(
        task(json!({ "params": { "prompt": "é".repeat(131_072) } })),
        []
    );
}

#[test]
fn paths_stay_inside_the_workspace() {
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        "a/.",
        "a/",
        "a\u{0}b",
        "a\\b",
    ] {
        assert_eq!(
            fields(&task(json!({ "files": [{ "path": path, "content": "" }] }))),
            ["spec.files[0].path"],
            "{path:?}"
        );
        assert_eq!(
            fields(&task(
                json!({ "artifacts": [{ "name": "a", "path": path }] })
            )),
            ["spec.artifacts[0].path"],
            "{path:?}"
        );
    }
    assert_eq!(
        task(json!({ "files": [{ "path": "..a/b.c/…", "content": "" }] })),
        []
    );
}

#[test]
fn a_file_is_there_once_and_is_no_directory() {
    let file = |path: &str| json!({ "path": path, "content": "" });
    assert_eq!(
        fields(&task(json!({ "files": [file("a"), file("a")] }))),
        ["spec.files[1].path"]
    );
    assert_eq!(
        fields(&task(json!({ "files": [file("a/b/c"), file("a/b")] }))),
        ["spec.files"]
    );
    assert_eq!(task(json!({ "files": [file("a/b"), file("a/bc")] })), []);
    assert_eq!(
        fields(&task(json!({ "files": [{ "path": "a" }] }))),
        ["spec.files[0]"]
    );
    let big = json!({ "path": "a", "content": "x".repeat(131_073) });
    assert_eq!(
        fields(&task(json!({ "files": [big] }))),
        ["spec.files[0].content"]
    );
    let large = |at| json!({ "path": format!("a{at}"), "content": "x".repeat(131_072) });
    let all: Vec<Value> = (0..9).map(large).collect();
    assert_eq!(fields(&task(json!({ "files": all }))), ["spec.files"]);
}

#[test]
fn times_and_numbers_have_bounds() {
    for (changes, field) in [
        (json!({ "timeout": "0s" }), "spec.timeout"),
        (json!({ "timeout": "169h" }), "spec.timeout"),
        (json!({ "timeout": "soon" }), "spec.timeout"),
        (json!({ "retry": { "limit": -1 } }), "spec.retry.limit"),
        (json!({ "retry": { "limit": 21 } }), "spec.retry.limit"),
        (
            json!({ "retry": { "backoff": { "factor": 0 } } }),
            "spec.retry.backoff.factor",
        ),
        (
            json!({ "retry": { "backoff": { "max": "25h" } } }),
            "spec.retry.backoff.max",
        ),
        (json!({ "budget": {} }), "spec.budget"),
        (json!({ "budget": { "usd": "-1" } }), "spec.budget.usd"),
        (json!({ "budget": { "tokens": 0 } }), "spec.budget.tokens"),
        (
            json!({ "accept": { "check": { "command": [] } } }),
            "spec.accept.check.command",
        ),
        (
            json!({ "accept": { "check": { "command": ["x"], "exitCode": 256 } } }),
            "spec.accept.check.exitCode",
        ),
        (
            json!({ "accept": { "check": { "command": ["x"] }, "rounds": 0 } }),
            "spec.accept.rounds",
        ),
        (json!({ "ttlAfterFinished": "x" }), "spec.ttlAfterFinished"),
        (json!({ "requestedBy": "" }), "spec.requestedBy"),
        (
            json!({ "artifacts": [{ "name": "A", "path": "a" }] }),
            "spec.artifacts[0].name",
        ),
        (
            json!({ "artifacts": [{ "name": "a", "path": "a" }, { "name": "a", "path": "b" }] }),
            "spec.artifacts[1].name",
        ),
        (json!({ "priority": 1001 }), "spec.priority"),
        (json!({ "priority": -1001 }), "spec.priority"),
        (json!({ "queue": "" }), "spec.queue"),
        (json!({ "queue": "Batch" }), "spec.queue"),
        (json!({ "queue": "batch-" }), "spec.queue"),
        (json!({ "queue": "b".repeat(64) }), "spec.queue"),
    ] {
        assert_eq!(fields(&task(changes.clone())), [field], "{changes}");
    }
}

#[test]
fn a_ttl_is_refused_on_what_git_or_a_package_would_make_again() {
    let spec: TaskSpec = parse(
        json!({ "agent": { "name": "a" }, "params": { "prompt": "p" }, "ttlAfterFinished": "1h" }),
    );
    let labelled = |name: &str, value: &str| ObjectMeta {
        labels: Some([(name.to_owned(), value.to_owned())].into()),
        ..ObjectMeta::default()
    };
    for (name, value, refused) in [
        ("argocd.argoproj.io/instance", "x", true),
        ("kustomize.toolkit.fluxcd.io/name", "x", true),
        ("helm.toolkit.fluxcd.io/name", "x", true),
        ("app.kubernetes.io/managed-by", "Helm", true),
        ("app.kubernetes.io/managed-by", "me", false),
        ("team", "x", false),
    ] {
        assert_eq!(
            !validate::task(&spec, &labelled(name, value)).is_empty(),
            refused,
            "{name}={value}"
        );
    }
    for name in super::TRACKING_ANNOTATIONS {
        let metadata = ObjectMeta {
            annotations: Some([(name.to_owned(), "x".to_owned())].into()),
            ..ObjectMeta::default()
        };
        let problems = validate::task(&spec, &metadata);
        assert_eq!(fields(&problems), ["spec.ttlAfterFinished"]);
        assert!(problems[0].message.contains(name));
        let kept = TaskSpec {
            ttl_after_finished: None,
            ..spec.clone()
        };
        assert_eq!(validate::task(&kept, &metadata), []);
    }
}

#[test]
fn a_summary_is_bounded() {
    let problem = Problem {
        field: "f".to_owned(),
        message: "m".to_owned(),
        rule: Rule::Spec,
    };
    assert_eq!(validate::summary(&vec![problem.clone(); 2]), "f: m; f: m");
    assert!(validate::summary(&vec![problem; 9]).ends_with("and 4 more"));
}
