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
    asked(&Request::read(text.as_bytes()).unwrap()).is_some()
}

#[test]
fn a_workflow_is_checked_where_its_spec_is_new() {
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
        ("a Task", json!({"kind": {"kind": "Task"}}), false),
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
    let of = |spec: Value| check(&spec.to_string());
    assert_eq!(of(spec(json!([step("x")]))), Verdict::Fine);
    let bad = spec(json!([step("${oops}")]));
    let problems = Graph::compile(&serde_json::from_value(bad.clone()).unwrap()).unwrap_err();
    let words = oarmaster_crds::validate::summary(&problems);
    assert!(words.starts_with("spec.steps[a].params: the expression `oops`"));
    assert_eq!(of(bad), Verdict::Wrong(words));
}

#[test]
fn each_problem_is_told_and_no_more_than_twenty() {
    let steps = |count: usize| -> Value {
        let steps = (0..count).map(|at| json!({"name": format!("s{at}"), "agent": {"name": "coder"}, "params": {"prompt": "${oops}"}}));
        spec(steps.collect())
    };
    let told = |count| match check(&steps(count).to_string()) {
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
        assert!(matches!(check(text), Verdict::Unchecked(_)));
    }
}

/// They are counted first.
#[test]
fn more_expressions_than_a_workflow_may_have_are_not_compiled() {
    let many = "${1+1}".repeat(80_000);
    let Verdict::Wrong(told) = check(&spec(json!([step("x"), {"name": "b", "approval": {"ask": "x", "show": {"a": many}, "approvers": {"users": ["u"]}}}])).to_string())
    else {
        panic!("taken");
    };
    assert!(
        told.contains("spec: has 80000 expressions: write at most 2000"),
        "{told}"
    );
}
