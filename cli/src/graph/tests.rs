use super::*;
use oarmaster_crds::Workflow;
use serde_json::json;

fn spec(steps: Value, finally: Value) -> WorkflowSpec {
    serde_json::from_value(json!({"steps": steps, "finally": finally})).unwrap()
}

fn edges(spec: &WorkflowSpec) -> Vec<String> {
    all(spec)
        .map(|step| format!("{}: {}", step.name, needs(spec, step).join(" ")))
        .collect()
}

#[test]
fn a_step_needs_what_it_reads_and_what_it_comes_after() {
    let spec = spec(
        json!([
            {"name": "a", "run": {"command": ["true"]}},
            {"name": "b", "run": {"command": ["true"], "env": {"A": "${steps.a.output}"}}},
            {"name": "c", "agent": {"name": "x"}, "params": {"prompt": "b says ${steps.b.output.text}", "deep": [{"x": "${[steps.a.phase]}"}]}},
            {"name": "d", "if": "steps.c.failed||steps.b.failed", "run": {"command": ["true"]}},
            {"name": "e", "approval": {"ask": "Is ${steps.d.phase} fine?", "show": {"a": "${steps.a.output}"}, "approvers": {"users": ["u"]}}},
            {"name": "f", "run": {"command": ["true"]}, "files": [{"path": "p", "content": "${steps.e.output}"}], "after": ["a"]},
        ]),
        json!([
            {"name": "g", "run": {"command": ["true"], "env": {"A": "${steps.f.phase} of ${run.phase}"}}},
            {"name": "h", "run": {"command": ["true"]}, "if": "steps.g.succeeded"},
        ]),
    );
    let expected = [
        "a: ", "b: a", "c: a b", "d: b c", "e: a d", "f: a e", "g: ", "h: g",
    ];
    assert_eq!(edges(&spec), expected);
    assert_eq!(
        all(&spec)
            .filter(|step| is_last(&spec, step))
            .map(|step| step.name.as_str())
            .collect::<Vec<_>>(),
        ["g", "h"]
    );
}

#[test]
fn a_text_that_is_no_expression_names_no_step() {
    for (text, expected) in [
        ("see steps.a", &[][..]),
        ("$${steps.a.output}", &[]),
        ("$${x} ${steps.a.output}", &["a"]),
        ("${params.steps.a}", &[]),
        ("${mysteps.a + my_steps.b}", &[]),
        ("${steps.a.output + steps.b2.output}", &["a", "b2"]),
        (
            "${ {'x': steps.a.output} } and ${steps.b.phase}",
            &["a", "b"],
        ),
        ("${steps.a", &[]),
    ] {
        let found: Vec<&str> = expressions(text).flat_map(named).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_does_a_step_is_said_as_its_task_says_it() {
    for (step, expected) in [
        (json!({"agent": {"name": "coder"}}), "agent/coder"),
        (
            json!({"agent": {"name": "coder", "command": "write"}}),
            "agent/coder/write",
        ),
        (
            json!({"agent": {"select": {"capabilities": ["go", "sql"]}}}),
            "select/go,sql",
        ),
        (
            json!({"run": {"language": "python", "code": "x"}}),
            "run/python",
        ),
        (json!({"run": {"command": ["make"]}}), "run/command"),
        (json!({"workflow": {"name": "other"}}), "workflow/other"),
        (
            json!({"approval": {"ask": "?", "approvers": {"users": ["u"]}}}),
            "approval",
        ),
        (json!({}), "-"),
    ] {
        let mut whole = step.clone();
        whole["name"] = json!("s");
        let read: StepSpec = serde_json::from_value(whole).unwrap();
        assert_eq!(target(&read), expected, "{step}");
    }
}

#[test]
fn the_sample_is_read() {
    let sample = include_str!("../../../config/samples/workflow/release-notes.yaml");
    let found = sample
        .split("---")
        .find(|text| text.contains("kind: Workflow"));
    let workflow: Workflow = serde_saphyr::from_str(found.unwrap()).unwrap();
    assert_eq!(
        edges(&workflow.spec),
        [
            "changes: ",
            "notes: changes",
            "check: changes notes",
            "mended: notes check",
            "report: "
        ]
    );
}
