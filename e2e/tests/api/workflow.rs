//! Workflow: what may be created. What the schema cannot say is in the condition `Ready`.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use anyhow::Result;
use serde_json::{Value, json};

fn step(name: &str) -> Value {
    json!({"name": name, "agent": {"name": "coder"}, "params": {"prompt": "x"}})
}

fn workflow() -> Value {
    object("Workflow", json!({"steps": [step("plan")]}))
}

pub fn cases() -> Vec<Case> {
    let w = |patch: Value| with_spec(&workflow(), patch);
    let steps = |steps: Value| w(json!({ "steps": steps }));
    let all: Vec<Value> = (0..200).map(|at| step(&format!("s{at}"))).collect();
    let mut more = all.clone();
    more.push(step("more"));
    vec![
        taken("a workflow", workflow()),
        taken("200 steps", steps(json!(all))),
        denied(
            "201 steps",
            steps(json!(more)),
            &["spec.steps", "at most 200"],
        ),
        denied("no steps", steps(json!([])), &["spec.steps", "at least 1"]),
        taken(
            "every kind of step",
            steps(json!([
                step("plan"),
                {"name": "build", "run": {"command": ["make"], "env": {"A": "${params.a}"}}, "if": "steps.plan.succeeded", "after": ["plan"], "timeout": "5m", "retry": {"limit": 2}, "budget": {"usd": "1"}},
                {"name": "sub", "workflow": {"name": "other"}, "params": {"list": "${steps.plan.output}"}},
                {"name": "ask", "approval": {"ask": "Go?", "show": {"a": "${params.a}"}, "form": {"where": {"options": ["prod"]}}, "approvers": {"groups": ["leads"]}}},
                {"name": "soak", "wait": {"for": "10m"}},
                {"name": "until", "wait": {"until": "${steps.plan.output.at}"}},
            ])),
        ),
        taken(
            "everything that a step may have",
            w(json!({
                "onFailure": "Undo", "shared": {"notes": {"merge": "Append", "maxItems": 5}},
                "steps": [
                    {"name": "build", "run": {"command": ["make"]}, "artifacts": [{"name": "app", "path": "app"}], "undo": {"run": {"command": ["undo"], "env": {"A": "${self.output}"}}}},
                    {"name": "each", "forEach": "${steps.build.output.all}", "parallel": 3, "tolerate": "20%", "agent": {"name": "coder"}, "params": {"prompt": "${item}"}, "share": {"notes": "${self.output}"}},
                    {"name": "list", "forEach": [1, {"a": 2}], "tolerate": 1, "agent": {"name": "coder"}, "params": {"prompt": "${string(item)}"}},
                    {"name": "fix", "repeat": {"until": "self.output.green", "limit": 3}, "workspace": {"from": "build"}, "run": {"command": ["make"]}, "files": [{"path": "app", "artifact": {"step": "build", "name": "app"}}]},
                ],
            })),
        ),
        taken(
            "one run at a time",
            w(json!({"concurrency": {"key": "${params.repo}"}})),
        ),
        denied(
            "no run at a time",
            w(json!({"concurrency": {"key": "x", "limit": 0}})),
            &["spec.concurrency.limit", "greater than or equal to 1"],
        ),
        denied(
            "runs that do something else",
            w(json!({"concurrency": {"key": "x", "policy": "Drop"}})),
            &["spec.concurrency.policy", "Unsupported value"],
        ),
        taken(
            "a step that was done already",
            steps(
                json!([{"name": "a", "run": {"command": ["x"]}, "memo": {"key": "${params.sha}", "ttl": "1h"}}]),
            ),
        ),
        denied(
            "a step repeated once",
            steps(
                json!([{"name": "a", "run": {"command": ["x"]}, "repeat": {"until": "true", "limit": 1}}]),
            ),
            &["spec.steps[0].repeat.limit", "greater than or equal to 2"],
        ),
        denied(
            "too many items at a time",
            steps(
                json!([{"name": "a", "run": {"command": ["x"]}, "forEach": [1], "parallel": 101}]),
            ),
            &["spec.steps[0].parallel", "less than or equal to 100"],
        ),
        denied(
            "a step with a hyphen",
            steps(json!([step("a-b")])),
            &["spec.steps[0].name", "should match"],
        ),
        denied(
            "two steps of a name",
            steps(json!([step("a"), step("a")])),
            &["spec.steps[1]", "Duplicate value"],
        ),
        denied(
            "many steps at the end",
            w(json!({"finally": more[..21]})),
            &["spec.finally", "at most 20"],
        ),
        taken(
            "any output",
            w(json!({"output": {"a": ["${steps.plan.output}", 1, null]}})),
        ),
        taken(
            "a text as output",
            w(json!({"output": "${steps.plan.output}"})),
        ),
    ]
}

#[tokio::test]
async fn a_workflow_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("workflow", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
