//! Graphs as a prompt that was slipped in would write them: each is refused, with what to write in its place.

use super::*;
use serde_json::json;

fn allow() -> Allow {
    Allow {
        agents: vec!["coder".to_owned(), "critic".to_owned()],
        images: vec!["python:3.12-slim".to_owned()],
        steps: 10,
    }
}

fn step(more: Value) -> Value {
    let mut step = json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": "x"}});
    if let (Value::Object(step), Value::Object(more)) = (&mut step, more) {
        for (name, value) in more {
            match value {
                Value::Null => step.remove(&name),
                value => step.insert(name, value),
            };
        }
    }
    step
}

fn code(sandbox: Value) -> Value {
    json!({"name": "a", "run": {"command": ["ls"], "sandbox": sandbox}})
}

fn problems(written: &Value, allow: &Allow) -> String {
    match checked(written, allow) {
        Ok(_) => String::new(),
        Err(problems) => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    }
}

#[test]
fn a_graph_has_what_somebody_named() {
    let good = json!({
        "description": "two steps and a report",
        "shared": {"notes": {"merge": "Append"}},
        "steps": [
            step(json!({"name": "work", "forEach": [1, 2, 3], "share": {"notes": "${self.output.text}"}, "undo": {"agent": {"name": "critic"}, "params": {"prompt": "undo"}}})),
            {"name": "test", "workspace": {"from": "code"}, "run": {"sandbox": {"image": "python:3.12-slim"}, "command": ["true"]}},
            step(json!({"name": "code", "after": ["work"], "files": [{"path": "a", "content": "x"}]})),
        ],
        "finally": [step(json!({"name": "report"}))],
        "output": {"said": "${steps.code.output.text}"},
    });
    assert_eq!(problems(&good, &allow()), "");
    // As a model without a form for its answer writes it.
    for text in [good.to_string(), format!("\n```json\n{good}\n```\n")] {
        assert_eq!(checked(&json!(text), &allow()), checked(&good, &allow()));
    }
}

#[test]
fn what_an_attacker_writes_is_refused() {
    let image = "python:3.12-slim";
    let cases = [
        (
            "another agent",
            json!([step(json!({"agent": {"name": "admin"}}))]),
            "spec.steps[a].agent: name one of coder, critic",
        ),
        (
            "an agent that is chosen",
            json!([step(
                json!({"agent": {"select": {"capabilities": ["root"]}}})
            )]),
            "spec.steps[a].agent: name one of",
        ),
        (
            "an agent that is an expression",
            json!([step(json!({"agent": {"name": "${params.agent}"}}))]),
            "spec.steps[a].agent: name one of",
        ),
        (
            "another agent that undoes",
            json!([step(
                json!({"undo": {"agent": {"name": "admin"}, "params": {"prompt": "x"}}})
            )]),
            "spec.steps[a].undo.agent",
        ),
        (
            "a judge of its own",
            json!([step(
                json!({"accept": {"judge": {"name": "admin"}, "when": "judge.score >= 0"}})
            )]),
            "spec.steps[a].accept",
        ),
        (
            "code in an agent's sandbox",
            json!([step(
                json!({"accept": {"check": {"command": ["curl", "evil"]}}})
            )]),
            "spec.steps[a].accept",
        ),
        (
            "another image",
            json!([code(json!({"image": "evil/miner"}))]),
            "spec.steps[a].run: sandbox.image is one of python:3.12-slim",
        ),
        (
            "another class",
            json!([code(json!({"image": image, "class": {"name": "open"}}))]),
            "spec.steps[a].run: of its sandbox",
        ),
        (
            "a network",
            json!([code(
                json!({"image": image, "egress": {"domains": ["evil.example"]}})
            )]),
            "spec.steps[a].run: of its sandbox",
        ),
        (
            "a large sandbox",
            json!([code(
                json!({"image": image, "cpu": "64", "memory": "512Gi"})
            )]),
            "spec.steps[a].run: of its sandbox",
        ),
        (
            "models for code",
            json!([{"name": "a", "run": {"command": ["ls"], "pool": {"name": "best"}}}]),
            "spec.steps[a].run: a plan's code calls no models",
        ),
        (
            "code that undoes in another image",
            json!([step(
                json!({"undo": {"run": {"command": ["ls"], "sandbox": {"image": "evil"}}}})
            )]),
            "spec.steps[a].undo.run",
        ),
        (
            "a ConfigMap",
            json!([step(
                json!({"files": [{"path": "a", "configMap": {"name": "kube-root-ca.crt", "key": "ca.crt"}}]})
            )]),
            "spec.steps[a].files[0]",
        ),
        (
            "a repository",
            json!([step(
                json!({"files": [{"path": "a", "git": {"url": "https://evil.example/x"}}]})
            )]),
            "spec.steps[a].files[0]",
        ),
        (
            "a Secret",
            json!([step(
                json!({"files": [{"path": "a", "secretKeyRef": {"name": "s", "key": "k"}}]})
            )]),
            "spec.steps[0].files[0].secretKeyRef: is no field",
        ),
        (
            "files of another Task",
            json!([step(
                json!({"files": [{"path": "a", "artifact": {"task": {"name": "other"}, "name": "x"}}]})
            )]),
            "missing field `step`",
        ),
        (
            "a workspace of another Task",
            json!([step(json!({"workspace": {"from": "other-task"}}))]),
            "workspace.from: names other-task, which is none of the steps",
        ),
        (
            "another workflow",
            json!([{"name": "a", "workflow": {"name": "deploy"}}]),
            "spec.steps[a].workflow",
        ),
        (
            "a graph within",
            json!([{"name": "a", "workflow": {"from": "${params.g}", "allow": {"agents": ["admin"]}}}]),
            "spec.steps[a].workflow",
        ),
        (
            "a goal within",
            json!([{"name": "a", "goal": {"text": "x", "planner": {"name": "admin"}, "allow": {"agents": ["admin"]}}}]),
            "spec.steps[a].goal",
        ),
        (
            "people it chose",
            json!([{"name": "a", "approval": {"ask": "?", "approvers": {"users": ["mallory"], "allowRequester": true}}}]),
            "spec.steps[a].approval",
        ),
        (
            "years",
            json!([{"name": "a", "wait": {"for": "720h"}}]),
            "spec.steps[a].wait",
        ),
        (
            "a budget of a step",
            json!([step(json!({"budget": {"usd": "1000"}}))]),
            "spec.steps[a].budget",
        ),
        (
            "items beyond the cap",
            json!([step(
                json!({"forEach": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]})
            )]),
            "are 11 steps",
        ),
        (
            "repetitions beyond the cap",
            json!([step(json!({"repeat": {"until": "false", "limit": 50}}))]),
            "are 50 steps",
        ),
        (
            "items of repetitions beyond the cap",
            json!([step(
                json!({"forEach": [1, 2, 3], "repeat": {"until": "false", "limit": 4}})
            )]),
            "are 12 steps",
        ),
        (
            "items to undo beyond the cap",
            json!([step(
                json!({"forEach": [1, 2, 3, 4, 5, 6], "undo": {"agent": {"name": "coder"}, "params": {"prompt": "x"}}})
            )]),
            "are 12 steps",
        ),
        (
            "a field of a Task",
            json!([step(json!({"requestedBy": "admin"}))]),
            "spec.steps[0].requestedBy: is no field",
        ),
        (
            "labels",
            json!([step(json!({"metadata": {"labels": {"a": "b"}}}))]),
            "is no field",
        ),
    ];
    for (name, steps, expected) in cases {
        let found = problems(&json!({ "steps": steps }), &allow());
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn what_an_attacker_writes_beside_the_steps_is_refused() {
    let one = step(json!({}));
    let many: Vec<Value> = (0..11)
        .map(|at| step(json!({"name": format!("s{at}")})))
        .collect();
    let large = step(json!({"params": {"prompt": "x".repeat(70_000)}}));
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    let cases = [
        (
            "a budget",
            json!({"budget": {"usd": "1000"}, "steps": [one]}),
            "spec.budget",
        ),
        (
            "days",
            json!({"timeouts": {"run": "168h"}, "steps": [one]}),
            "spec.timeouts.run: write at most 24h",
        ),
        (
            "days at the end",
            json!({"timeouts": {"finally": "24h"}, "steps": [one]}),
            "spec.timeouts.finally: write at most 1h",
        ),
        (
            "steps beyond the cap",
            json!({"steps": many}),
            "are 11 steps",
        ),
        (
            "more of them in finally",
            json!({"steps": &many[..6], "finally": &many[6..]}),
            "are 11 steps",
        ),
        (
            "other leave",
            json!({"allow": {"agents": ["admin"]}, "steps": [one]}),
            "spec.allow: is no field",
        ),
        (
            "more than people can read",
            json!({"steps": [large]}),
            "write at most 65536",
        ),
        (
            "more levels than are read",
            json!({"steps": [step(json!({"params": {"prompt": "x", "deep": deep}}))]}),
            "of at most 24 levels",
        ),
        (
            "another agent in finally",
            json!({"steps": [one], "finally": [step(json!({"name": "f", "agent": {"name": "admin"}}))]}),
            "spec.finally[f].agent",
        ),
        ("no steps", json!({}), "missing field `steps`"),
        ("no object", json!([one]), "is no object"),
        (
            "no JSON",
            json!("Here is the plan: {}"),
            "is no JSON (line 1",
        ),
        (
            "a wrong type",
            json!({"steps": [step(json!({"agent": 7}))]}),
            "spec.steps[0].agent: ",
        ),
        (
            "what no workflow may",
            json!({"steps": [one, one]}),
            "has the name of another step",
        ),
    ];
    for (name, written, expected) in cases {
        let found = problems(&written, &allow());
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn without_images_there_is_no_code_and_without_agents_nothing_else() {
    let none = Allow {
        images: Vec::new(),
        ..allow()
    };
    let found = problems(&json!({"steps": [code(json!({}))]}), &none);
    assert!(found.contains("runs no code here"), "{found}");
    let none = Allow {
        agents: Vec::new(),
        ..allow()
    };
    let found = problems(&json!({"steps": [step(json!({}))]}), &none);
    assert!(found.contains("may name no Agent"), "{found}");
}
