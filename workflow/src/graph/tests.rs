mod more;

use super::*;
use serde_json::{Value, json};

fn spec(value: Value) -> WorkflowSpec {
    serde_json::from_value(value).unwrap()
}

fn agent(name: &str, prompt: &str) -> Value {
    json!({"name": name, "agent": {"name": "coder"}, "params": {"prompt": prompt}})
}

fn with(mut step: Value, more: Value) -> Value {
    if let (Value::Object(step), Value::Object(more)) = (&mut step, more) {
        step.extend(more);
    }
    step
}

fn problems(value: Value) -> Vec<String> {
    let found = Graph::compile(&spec(value)).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn a_reference_is_a_need() {
    let graph = Graph::compile(&spec(json!({
        "params": {"type": "object", "properties": {"repo": {"type": "string", "default": "a"}}},
        "steps": [
            agent("ship", "${steps.build.output} ${params.repo}"),
            with(agent("build", "x"), json!({"if": "steps.plan.succeeded", "after": ["look"]})),
            agent("plan", "x"),
            {"name": "look", "run": {"command": ["ls"], "env": {"A": "${steps.plan.output}"}}},
            {"name": "ask", "approval": {"ask": "Ship ${steps.ship.output}?", "show": {"plan": "${steps.plan.output}"}, "approvers": {"users": ["alice"]}}},
            {"name": "sub", "workflow": {"name": "other"}, "params": {"of": ["${steps.ask.output.by}"]}, "files": []},
            with(agent("write", "x"), json!({"files": [{"path": "a", "content": "${steps.look.output.stdoutTail}"}]})),
        ],
        "finally": [
            agent("report", "${run.phase} ${steps.sub.phase}"),
            with(agent("tidy", "x"), json!({"after": ["report", "plan"]})),
        ],
        "output": {"sha": "${steps.ship.output}"},
    })))
    .unwrap();
    let needs: Vec<(&str, Vec<&str>)> = graph
        .steps
        .iter()
        .map(|step| {
            let needs = step.needs.iter();
            let needs = needs.map(|need| graph.steps[*need].spec.name.as_str());
            (step.spec.name.as_str(), needs.collect())
        })
        .collect();
    assert_eq!(
        needs,
        [
            ("ship", vec!["build"]),
            ("build", vec!["plan", "look"]),
            ("plan", vec![]),
            ("look", vec!["plan"]),
            ("ask", vec!["ship", "plan"]),
            ("sub", vec!["ask"]),
            ("write", vec!["look"]),
            ("report", vec![]),
            ("tidy", vec!["report"]),
        ]
    );
    assert_eq!(graph.main, 7);
    assert_eq!(graph.leaves().collect::<Vec<_>>(), ["sub", "write"]);
    let asked = graph.find("plan").map(|at| &graph.steps[at].asked_by);
    assert_eq!(asked, Some(&[graph.find("build").unwrap()].into()));
    assert_eq!(graph.steps[8].place, "finally[tidy]");
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    let cases = [
        (json!({"steps": []}), "spec.steps: write 1 to 200 steps"),
        (
            json!({"steps": [agent("a", "x"), agent("a", "y")]}),
            "spec.steps[a]: has the name of another step",
        ),
        (
            json!({"steps": [agent("a", "x")], "finally": [agent("a", "y")]}),
            "spec.finally[a]: has the name of another step",
        ),
        (
            json!({"steps": [agent("No", "x")]}),
            "spec.steps[No].name: write 1 to 32 lower-case letters",
        ),
        (
            json!({"steps": [agent("in", "x")]}),
            "spec.steps[in].name: write 1 to 32",
        ),
        (
            json!({"steps": [{"name": "a"}]}),
            "spec.steps[a]: set exactly one of agent, run, workflow, goal, approval or wait",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"workflow": {"name": "w"}}))]}),
            "spec.steps[a]: set exactly one of agent, run, workflow, goal, approval or wait",
        ),
        (
            json!({"steps": [{"name": "a", "agent": {"name": "coder"}}]}),
            "spec.steps[a].params.prompt: is missing",
        ),
        (
            json!({"steps": [{"name": "a", "run": {"command": ["x"], "language": "python"}}]}),
            "spec.steps[a].run.language: goes with code; remove it",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"timeout": "0s"}))]}),
            "spec.steps[a].timeout",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"after": ["b"]}))]}),
            "spec.steps[a].after: names b, which is none of the steps",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"after": ["a"]}))]}),
            "spec.steps[a].after: names a, which is itself",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"after": ["z"]}))], "finally": [agent("z", "x")]}),
            "spec.steps[a].after: names z, which is of finally",
        ),
        (
            json!({"steps": [agent("a", "${steps.z.output}")], "finally": [agent("z", "x")]}),
            "spec.steps[a].params: the expression `steps.z.output` reads step z, which there is not",
        ),
        (
            json!({"steps": [agent("a", "${steps.b.output}"), agent("b", "${steps.c.output}"), with(agent("c", "x"), json!({"after": ["a"]})), agent("d", "${steps.a.output}")]}),
            "spec.steps[a]: waits for itself: a needs b needs c needs a",
        ),
        (
            json!({"steps": [agent("a", "${steps.a.output}")]}),
            "spec.steps[a]: waits for itself: a needs a",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"if": "params.x ="}))]}),
            "spec.steps[a].if: the expression `params.x =` is not CEL",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"if": "run.phase == 'x'"}))]}),
            "spec.steps[a].if: the expression `run.phase == 'x'` has the unknown name run: it knows params, steps.NAME",
        ),
        (
            json!({"steps": [agent("a", "${params.b}")]}),
            "spec.steps[a].params: the expression `params.b` asks for params.b, and there are none: declare it",
        ),
        (
            json!({"params": {"type": "object", "properties": {"c": {"type": "string"}}}, "steps": [agent("a", "${params.b}")]}),
            "spec.steps[a].params: the expression `params.b` asks for b of params, which has c",
        ),
        (
            json!({"params": {"type": "object", "properties": {"c": {"type": "string"}}}, "steps": [agent("a", "${params.c}")]}),
            "spec.steps[a].params: the expression `params.c` asks for params.c, which may be absent: write params.?c.orValue(...)",
        ),
        (
            json!({"params": {"type": "object", "properties": {"c": {"type": "string"}}}, "steps": [agent("a", "${params.?d.orValue('x')}")]}),
            "spec.steps[a].params: the expression `params.?d.orValue('x')` asks for d of params",
        ),
        (
            json!({"steps": [agent("a", "x")], "finally": [agent("z", "${run.phaze}")]}),
            "spec.finally[z].params: the expression `run.phaze` asks for phaze of run, which has failure, phase",
        ),
        (
            json!({"steps": [{"name": "a", "run": {"command": ["sh", "-c", "echo ${params.x}"]}}]}),
            "spec.steps[a].run.command: has an expression, and is taken as it is",
        ),
        (
            json!({"steps": [{"name": "a", "agent": {"name": "${params.who}"}, "params": {"prompt": "x"}}]}),
            "spec.steps[a].agent.name: has an expression",
        ),
        (
            json!({"steps": [agent("a", "x")], "finally": [{"name": "ask", "approval": {"ask": "x", "approvers": {"users": ["u"]}}}]}),
            "spec.finally[ask]: finally waits for nobody",
        ),
        (
            json!({"steps": [agent("a", &"${1}".repeat(2001))]}),
            "spec: has 2001 expressions: write at most 2000",
        ),
        (
            json!({"steps": [agent("a", "x")], "output": "${steps.b.output}"}),
            "spec.output: the expression `steps.b.output` reads step b",
        ),
        (
            json!({"steps": [agent("a", "x")], "params": {"type": "string"}}),
            "spec.params",
        ),
        (
            json!({"steps": [agent("a", "x")], "budget": {"usd": "-1"}}),
            "spec.budget.usd",
        ),
        (
            json!({"steps": [agent("a", "x")], "timeouts": {"run": "10d"}}),
            "spec.timeouts.run",
        ),
        (
            json!({"steps": [agent("a", "x")], "timeouts": {"finally": "0s"}}),
            "spec.timeouts.finally: write 1s to 7 days (168h)",
        ),
        (
            json!({"steps": [{"name": "a", "approval": {"ask": "x", "approvers": {"users": ["u"]}}, "budget": {"usd": "1"}}]}),
            "spec.steps[a]: an approval or a wait runs nothing",
        ),
        (
            json!({"steps": [{"name": "a", "approval": {"ask": "x", "approvers": {}}}]}),
            "spec.steps[a].approval.approvers: name groups, users, or both",
        ),
        (
            json!({"steps": [{"name": "a", "approval": {"ask": "x", "approvers": {"users": ["u"]}, "timeout": "1s"}}]}),
            "spec.steps[a].approval.timeout: write 1m to 30 days (720h)",
        ),
        (
            json!({"steps": [{"name": "a", "workflow": {"name": "w"}, "timeout": "1m"}]}),
            "spec.steps[a]: timeout and retry are for an agent or a run",
        ),
        (
            json!({"steps": [with(agent("a", "x"), json!({"files": [{"path": "../x", "content": "y"}]}))]}),
            "spec.steps[a].files[0].path",
        ),
    ];
    for (value, expected) in cases {
        let found = problems(value.clone());
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{value}\nexpected {expected}\nfound {found:#?}"
        );
    }
}

#[test]
fn every_problem_of_the_expressions_is_told() {
    let found = problems(json!({
        "steps": [agent("a", "${nothing}"), with(agent("b", "${steps.x}"), json!({"if": "1 +"}))],
        "output": "${oops}",
    }));
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn a_workflow_of_the_most_steps_is_checked() {
    let chain: Vec<Value> = (0..200)
        .rev()
        .map(|at| {
            if at == 0 {
                agent("s0", "x")
            } else {
                agent(&format!("s{at}"), &format!("${{steps.s{}.output}}", at - 1))
            }
        })
        .collect();
    let graph = Graph::compile(&spec(json!({"steps": chain}))).unwrap();
    assert_eq!(graph.leaves().collect::<Vec<_>>(), ["s199"]);
    let mut more = chain;
    more.push(agent("more", "x"));
    assert_eq!(
        problems(json!({"steps": more})),
        ["spec.steps: write 1 to 200 steps"]
    );
}
