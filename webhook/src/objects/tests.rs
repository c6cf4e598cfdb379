use super::*;
use serde_json::{Value, json};

fn step(prompt: &str) -> Value {
    json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": prompt}})
}

fn spec(steps: Value) -> Value {
    json!({ "steps": steps })
}

fn review(changes: Value) -> String {
    let mut base = json!({
        "uid": "8a3f2b1c-0000-4000-8000-000000000001",
        "kind": {"group": "oarmaster.dev", "version": "v1alpha1", "kind": "Workflow"},
        "operation": "CREATE", "userInfo": {"username": "alice"},
        "object": {"metadata": {"name": "w"}, "spec": spec(json!([step("x")]))},
        "oldObject": null,
    });
    json_patch::merge(&mut base, &changes);
    json!({ "request": base }).to_string()
}

fn asks(changes: Value) -> bool {
    let text = review(changes);
    Asked::of(&Request::read(text.as_bytes()).unwrap()).is_some()
}

/// The verdict on a spec of this kind.
fn of(kind: Kind, spec: &str) -> Verdict {
    check(Asked {
        kind,
        spec,
        namespace: "team",
    })
}

#[test]
fn an_object_is_checked_where_its_spec_is_new() {
    let other = json!({"spec": spec(json!([step("y")]))});
    let same = json!({"spec": spec(json!([step("x")])), "metadata": {"labels": {"a": "b"}}});
    for (what, changes, wanted) in [
        ("created", json!({}), true),
        (
            "changed",
            json!({"operation": "UPDATE", "oldObject": other}),
            true,
        ),
        (
            "a label",
            json!({"operation": "UPDATE", "oldObject": same}),
            false,
        ),
        (
            "deleted",
            json!({"operation": "DELETE", "object": null}),
            false,
        ),
        ("a Task", json!({"kind": {"kind": "Task"}}), true),
        (
            "a Task that is cancelled",
            json!({"kind": {"kind": "Task"}, "operation": "UPDATE", "oldObject": other}),
            false,
        ),
        ("an Agent", json!({"kind": {"kind": "Agent"}}), true),
        (
            "a changed pool",
            json!({"kind": {"kind": "ModelPool"}, "operation": "UPDATE", "oldObject": other}),
            true,
        ),
        (
            "a provider",
            json!({"kind": {"kind": "ModelProvider"}}),
            true,
        ),
        ("a class", json!({"kind": {"kind": "SandboxClass"}}), true),
        ("a Budget", json!({"kind": {"kind": "Budget"}}), true),
        ("an Approval", json!({"kind": {"kind": "Approval"}}), false),
        (
            "another group's",
            json!({"kind": {"group": "argoproj.io"}}),
            false,
        ),
        ("without a spec", json!({"object": {"spec": null}}), false),
    ] {
        assert_eq!(asks(changes), wanted, "{what}");
    }
}

#[test]
fn a_verdict_has_the_words_of_the_condition() {
    let workflow = |spec: Value| of(Kind::Workflow, &spec.to_string());
    assert_eq!(workflow(spec(json!([step("x")]))), Verdict::Fine);
    let bad = spec(json!([step("${oops}")]));
    let problems = Graph::compile(&serde_json::from_value(bad.clone()).unwrap()).unwrap_err();
    let words = oarmaster_crds::validate::summary(&problems);
    assert!(words.starts_with("spec.steps[a].params: the expression `oops`"));
    assert_eq!(workflow(bad), Verdict::Wrong(words));
}

#[test]
fn each_problem_is_told_and_no_more_than_twenty() {
    let steps = |count: usize| -> Value {
        let steps = (0..count).map(|at| json!({"name": format!("s{at}"), "agent": {"name": "coder"}, "params": {"prompt": "${oops}"}}));
        spec(steps.collect())
    };
    let told = |count| match of(Kind::Workflow, &steps(count).to_string()) {
        Verdict::Wrong(text) => text,
        other => panic!("{other:?}"),
    };
    let all = told(20);
    assert!(all.contains("spec.steps[s0].params:") && all.contains("spec.steps[s19].params:"));
    assert!(told(200).ends_with("; and 180 more"));
}

#[test]
fn what_is_too_large_or_cannot_be_read_is_taken_and_that_is_said() {
    let fits = spec(json!([{"name": "a", "run": {"command": ["x"]}}])).to_string();
    let padded = format!("{fits}{}", " ".repeat(MAX_SPEC));
    for text in [padded.as_str(), "{}", r#"{"steps": 1}"#] {
        assert!(matches!(of(Kind::Workflow, text), Verdict::Unchecked(_)));
    }
}

/// They are counted first.
#[test]
fn more_expressions_than_a_workflow_may_have_are_not_compiled() {
    let many = "${1+1}".repeat(80_000);
    let asks = json!({"name": "b", "approval": {"ask": "x", "show": {"a": many}, "approvers": {"users": ["u"]}}});
    let spec = spec(json!([step("x"), asks])).to_string();
    let Verdict::Wrong(told) = of(Kind::Workflow, &spec) else {
        panic!("taken");
    };
    assert!(
        told.contains("spec: has 80000 expressions: write at most 2000"),
        "{told}"
    );
}

/// What the schema of each kind lets in, and the check refuses with the field.
#[test]
fn each_kind_is_held_to_its_own_rules() {
    let price = json!({"inputPerMillion": "1", "outputPerMillion": "1"});
    let model = json!({"name": "m", "pricing": price});
    let prompt = json!({"name": "a", "prompt": "Look at ${params.x}."});
    let graph = spec(json!([step("${oops}")]));
    let named = json!({"agents": ["critic"], "steps": 3});
    for (kind, spec, wanted) in [
        (
            Kind::Task,
            json!({"agent": {"name": "coder"}, "params": {"prompt": "x"}}),
            "",
        ),
        (
            Kind::Task,
            json!({"agent": {"name": "coder"}, "params": {"prompt": 7}}),
            "spec.params.prompt: ",
        ),
        (
            Kind::Task,
            json!({"workflow": {"spec": graph}}),
            "spec.workflow.spec: spec.steps[a].params: the expression `oops`",
        ),
        (
            Kind::Task,
            json!({"workflow": {"spec": spec(json!([step("x")])), "allow": named}}),
            "spec.workflow.spec: spec.steps[a].agent",
        ),
        (
            Kind::Task,
            json!({"workflow": {"spec": spec(json!([step("x")]))}}),
            "",
        ),
        (Kind::Agent, json!({"instructions": "x"}), ""),
        (
            Kind::Agent,
            json!({"instructions": "x", "commands": [prompt]}),
            "spec.commands[a].prompt: has ${params.x}",
        ),
        (
            Kind::ModelPool,
            json!({"members": [{"provider": {"name": "p"}, "model": "m"}, {"provider": {"name": "p", "namespace": "team"}, "model": "m"}]}),
            "spec.members[1]: model 'm' of provider 'p' is there twice",
        ),
        (
            Kind::ModelProvider,
            json!({"type": "OpenAICompatible", "models": [model], "endpoint": "ftp://x"}),
            "spec.endpoint",
        ),
        (
            Kind::SandboxClass,
            json!({"requests": {"cpu": "2"}, "maximum": {"cpu": "1"}}),
            "spec.requests.cpu: 2 is above",
        ),
        (
            Kind::Budget,
            json!({"usd": "5", "per": "Namespace", "window": "Day", "warnAt": [50, 50]}),
            "spec.warnAt[1]: 50 is there twice",
        ),
    ] {
        let verdict = of(kind, &spec.to_string());
        let right = match &verdict {
            Verdict::Fine => wanted.is_empty(),
            Verdict::Wrong(told) => !wanted.is_empty() && told.contains(wanted),
            Verdict::Unchecked(_) => false,
        };
        assert!(right, "{kind:?}: {spec}: {verdict:?}");
    }
}
