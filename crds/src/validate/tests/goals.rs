use super::{fields, task};
use serde_json::{Value, json};

fn of(target: &str, value: Value) -> Vec<crate::validate::Problem> {
    task(json!({ "agent": null, "params": null, target: value }))
}

fn goal(more: Value) -> Value {
    let mut goal = json!({ "text": "Make it pass.", "planner": { "name": "architect" }, "allow": { "agents": ["coder"] } });
    if let (Value::Object(goal), Value::Object(more)) = (&mut goal, more) {
        goal.extend(more);
    }
    goal
}

#[test]
fn a_run_has_a_workflow_by_name_or_its_spec() {
    let spec = json!({ "steps": [] });
    for fine in [
        json!({ "name": "w" }),
        json!({ "spec": spec }),
        json!({ "spec": spec, "allow": { "agents": ["coder"], "steps": 200 } }),
        json!({ "spec": spec, "allow": { "images": ["python"] } }),
    ] {
        assert_eq!(of("workflow", fine), []);
    }
    let large = json!({ "steps": ["x".repeat(300_000)] });
    for (wrong, field) in [
        (json!({}), "spec.workflow"),
        (json!({ "name": "w", "spec": spec }), "spec.workflow"),
        (json!({ "name": "" }), "spec.workflow.name"),
        (json!({ "spec": [] }), "spec.workflow.spec"),
        (json!({ "spec": large }), "spec.workflow.spec"),
        (
            json!({ "name": "w", "allow": { "agents": ["coder"] } }),
            "spec.workflow.allow",
        ),
        (json!({ "spec": spec, "allow": {} }), "spec.workflow.allow"),
        (
            json!({ "spec": spec, "allow": { "agents": ["a"], "steps": 201 } }),
            "spec.workflow.allow.steps",
        ),
        (
            json!({ "spec": spec, "allow": { "agents": [""] } }),
            "spec.workflow.allow.agents",
        ),
        (
            json!({ "spec": spec, "allow": { "images": vec!["a"; 17] } }),
            "spec.workflow.allow.images",
        ),
    ] {
        assert_eq!(fields(&of("workflow", wrong)), [field]);
    }
}

#[test]
fn a_goal_says_what_who_plans_and_what_plans_may_name() {
    let people = |approvers: Value, timeout: &str| {
        goal(json!({ "approvePlan": { "approvers": approvers, "timeout": timeout } }))
    };
    assert_eq!(of("goal", goal(json!({}))), []);
    assert_eq!(of("goal", people(json!({ "groups": ["leads"] }), "1h")), []);
    for (wrong, field) in [
        (goal(json!({ "text": " " })), "spec.goal.text"),
        (
            goal(json!({ "text": "x".repeat(16_385) })),
            "spec.goal.text",
        ),
        (
            goal(json!({ "planner": { "name": "" } })),
            "spec.goal.planner.name",
        ),
        (goal(json!({ "allow": {} })), "spec.goal.allow"),
        (people(json!({}), "1h"), "spec.goal.approvePlan.approvers"),
        (
            people(json!({ "users": vec!["u"; 17] }), "1h"),
            "spec.goal.approvePlan.approvers",
        ),
        (
            people(json!({ "users": ["u"] }), "1s"),
            "spec.goal.approvePlan.timeout",
        ),
    ] {
        assert_eq!(fields(&of("goal", wrong)), [field]);
    }
    let mut both = json!({ "agent": null, "goal": goal(json!({})) });
    assert_eq!(fields(&task(both.clone())), ["spec.params"]);
    both["params"] = json!(null);
    both["workspace"] = json!({ "keep": true });
    assert_eq!(fields(&task(both.clone())), ["spec"]);
    both["workspace"] = json!(null);
    both["workflow"] = json!({ "name": "w" });
    assert_eq!(fields(&task(both)), ["spec"]);
}
