//! Workflow: what may be created. What the schema cannot say is said by the webhook, in the words of the condition `Ready`.

use crate::support::{Case, check, denied, in_space, object, refused, taken, with, with_spec};
use anyhow::{Result, bail, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use oarmaster_crds::Workflow;
use oarmaster_e2e::apply;
use oarmaster_webhook::objects::{Asked, Kind, Verdict, check as verdict};
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
            w(
                json!({"params": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, "steps": [
                    step("plan"),
                    {"name": "build", "run": {"command": ["make"], "env": {"A": "${params.a}"}}, "if": "steps.plan.succeeded", "after": ["plan"], "timeout": "5m", "retry": {"limit": 2}, "budget": {"usd": "1"}},
                    {"name": "sub", "workflow": {"name": "other"}, "params": {"list": "${steps.plan.output}"}},
                    {"name": "ask", "approval": {"ask": "Go?", "show": {"a": "${params.a}"}, "form": {"where": {"options": ["prod"]}}, "approvers": {"groups": ["leads"]}}},
                    {"name": "soak", "wait": {"for": "10m"}},
                    {"name": "until", "wait": {"until": "${steps.plan.output.at}"}},
                ]}),
            ),
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
            w(
                json!({"concurrency": {"key": "${params.repo}"}, "params": {"type": "object", "required": ["repo"], "properties": {"repo": {"type": "string"}}}}),
            ),
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
                json!([{"name": "a", "run": {"command": ["x"]}, "memo": {"key": "v1", "ttl": "1h"}}]),
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

/// A Workflow that the schema takes, and that could not run.
pub fn wrong_one() -> Value {
    object(
        "Workflow",
        json!({"steps": [with(&step("a"), json!({"params": {"prompt": "${oops}"}}))]}),
    )
}

/// What the schema lets through, with how its refusal begins.
fn wrong() -> Vec<(Value, &'static str)> {
    let of = |more: Value| json!({"steps": [with(&step("a"), more)]});
    let asks = |prompt: &str| of(json!({"params": {"prompt": prompt}}));
    vec![
        // Names, and what expressions read.
        (
            asks("${oops}"),
            "spec.steps[a].params: the expression `oops` has the unknown name oops",
        ),
        (
            asks("${steps.b.output}"),
            "spec.steps[a].params: the expression `steps.b.output` reads step b, which there is not",
        ),
        (
            asks("${params.b}"),
            "spec.steps[a].params: the expression `params.b` asks for params.b",
        ),
        (
            of(json!({"if": "params.x ="})),
            "spec.steps[a].if: the expression `params.x =` is not CEL",
        ),
        (
            of(json!({"forEach": "${item}"})),
            "spec.steps[a].forEach: the expression `item` has the unknown name item",
        ),
        (
            of(json!({"repeat": {"until": "self.nothing", "limit": 2}})),
            "spec.steps[a].repeat.until: the expression `self.nothing`",
        ),
        (
            json!({"steps": [step("a")], "output": "${steps.b.output}"}),
            "spec.output: the expression `steps.b.output` reads step b",
        ),
        (
            json!({"steps": [step("a")], "finally": [with(&step("z"), json!({"params": {"prompt": "${run.phaze}"}}))]}),
            "spec.finally[z].params: the expression `run.phaze`",
        ),
        (asks(&"${1}".repeat(2001)), "spec: has 2001 expressions"),
        // The order of steps.
        (
            asks("${steps.a.output}"),
            "spec.steps[a]: waits for itself: a needs a",
        ),
        (
            json!({"steps": [with(&step("a"), json!({"after": ["b"]})), with(&step("b"), json!({"after": ["a"]}))]}),
            "spec.steps[a]: waits for itself: a needs b needs a",
        ),
        (
            of(json!({"after": ["b"]})),
            "spec.steps[a].after: names b, which is none of the steps",
        ),
        (
            json!({"steps": [step("a")], "finally": [step("a")]}),
            "spec.finally[a]: has the name of another step",
        ),
        // What a Task may not be, either. The schema of a step does not say it.
        (
            json!({"steps": [{"name": "a"}]}),
            "spec.steps[a]: set exactly one of agent, run",
        ),
        (
            of(json!({"workflow": {"name": "w"}})),
            "spec.steps[a]: set exactly one of agent, run",
        ),
        (
            json!({"steps": [{"name": "a", "agent": {"name": "coder"}}]}),
            "spec.steps[a].params.prompt: is missing",
        ),
        (
            json!({"steps": [{"name": "a", "run": {"command": ["x"], "language": "python"}}]}),
            "spec.steps[a].run.language: goes with code",
        ),
        (
            of(json!({"files": [{"path": "../x", "content": "y"}]})),
            "spec.steps[a].files[0].path",
        ),
        (
            json!({"steps": [{"name": "a", "workflow": {"name": "w"}, "timeout": "1m"}]}),
            "spec.steps[a]: timeout and retry are for an agent or a run",
        ),
        (
            json!({"steps": [{"name": "a", "approval": {"ask": "x", "approvers": {"users": ["u"]}}, "budget": {"usd": "1"}}]}),
            "spec.steps[a]: an approval or a wait runs nothing",
        ),
        (
            json!({"steps": [{"name": "a", "wait": {}}]}),
            "spec.steps[a].wait: set exactly one of for and until",
        ),
        (
            of(json!({"parallel": 2})),
            "spec.steps[a]: parallel and tolerate are for the items of forEach",
        ),
        (
            of(json!({"undo": {}})),
            "spec.steps[a].undo: set exactly one of",
        ),
        (
            json!({"steps": [step("a")], "onFailure": "Undo"}),
            "spec.onFailure: is Undo, and no step says how it is undone",
        ),
        (
            of(json!({"share": {"notes": "x"}})),
            "spec.steps[a].share: gives to notes, which is not in spec.shared",
        ),
        (
            of(json!({"workspace": {"from": "b"}})),
            "spec.steps[a].workspace.from: names b, which is none of the steps",
        ),
        (
            json!({"steps": [{"name": "a", "run": {"command": ["sh", "-c", "echo ${params.x}"]}}]}),
            "spec.steps[a].run.command: has an expression, and is taken as it is",
        ),
    ]
}

#[tokio::test]
async fn a_workflow_that_could_not_run_is_refused_with_the_words_of_its_condition() -> Result<()> {
    in_space("wrong", async |space| {
        for (spec, begins) in wrong() {
            let asked = Asked {
                kind: Kind::Workflow,
                spec: &spec.to_string(),
                namespace: &space.name,
            };
            let Verdict::Wrong(words) = verdict(asked) else {
                bail!("{spec}: nothing is wrong with it");
            };
            ensure!(words.starts_with(begins), "{spec}: {words}");
            let object = object("Workflow", spec).to_string();
            match apply::dry_run(&space.cluster.client, &space.name, &object).await {
                Ok(_) => bail!("was taken: {words}"),
                Err(error) => {
                    let told = refused(&error);
                    let right = told.contains(&words) && told.contains("objects.oarmaster.dev");
                    ensure!(right, "should say {words}, says: {told}");
                }
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_workflow_does_not_become_one_that_could_not_run() -> Result<()> {
    in_space("turns-wrong", async |space| {
        let all: Api<Workflow> = space.api();
        let fine = serde_json::from_value(workflow())?;
        all.create(&PostParams::default(), &fine).await?;
        let params = PatchParams::default();
        let wrong = Patch::Merge(json!({"spec": wrong_one()["spec"]}));
        match all.patch("case", &params, &wrong).await {
            Ok(_) => bail!("was taken"),
            Err(error) => {
                let error = error.into();
                let told = refused(&error);
                ensure!(told.contains("the expression `oops`"), "{told}");
            }
        }
        let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
        all.patch("case", &params, &label).await?;
        Ok(())
    })
    .await
}
