use super::{fields, parse, with};
use crate::AgentSpec;
use crate::validate::{self, Problem, Rule};
use serde_json::{Value, json};

fn problems(commands: Value) -> Vec<Problem> {
    let spec = with(
        json!({ "instructions": "x" }),
        json!({ "commands": commands }),
    );
    let problems = validate::agent(&parse::<AgentSpec>(spec));
    assert!(
        problems.iter().all(|one| one.rule == Rule::Command),
        "{problems:?}"
    );
    problems
}

fn command(changes: Value) -> Value {
    with(
        json!({
            "name": "writeTests",
            "prompt": "Write tests for ${params.module}.",
            "params": { "type": "object", "required": ["module"], "properties": { "module": { "type": "string" } } },
            "examples": [{ "module": "parser" }],
        }),
        changes,
    )
}

#[test]
fn a_command_that_can_be_used_has_no_problem() {
    assert_eq!(problems(json!([command(json!({}))])), []);
    assert_eq!(
        problems(json!([{ "name": "explain", "prompt": "Explain $${x}." }])),
        []
    );
}

#[test]
fn what_is_wrong_with_a_command_is_told_with_its_name() {
    let optional = json!({ "type": "object", "properties": { "module": { "type": "string" } } });
    let none = json!({ "type": "object", "properties": {} });
    for (changes, field, message) in [
        (
            json!({ "name": "write-tests" }),
            "spec.commands[0].name",
            "letters and digits",
        ),
        (json!({ "name": "no" }), "spec.commands[0].name", "YAML"),
        (
            json!({ "name": "namespace" }),
            "spec.commands[0].name",
            "CEL",
        ),
        (
            json!({ "prompt": "${module}" }),
            "spec.commands[writeTests].prompt",
            "has '${module': write ${params.NAME}",
        ),
        (
            json!({ "prompt": "${params.module} ${params.x}" }),
            "spec.commands[writeTests].prompt",
            "has ${params.x}, and params has no such property",
        ),
        (
            json!({ "prompt": "Write." }),
            "spec.commands[writeTests].params.properties.module",
            "does nothing: write ${params.module}",
        ),
        (
            json!({ "params": optional }),
            "spec.commands[writeTests].prompt",
            "it may be absent: require it",
        ),
        (
            json!({ "params": none }),
            "spec.commands[writeTests].prompt",
            "no such property",
        ),
        (
            json!({ "params": { "type": "array" } }),
            "spec.commands[writeTests].params",
            "write {type: object",
        ),
        (
            json!({ "examples": [{ "module": "a" }, {}] }),
            "spec.commands[writeTests].examples[1].module",
            "is missing",
        ),
        (
            json!({ "examples": [{ "module": 7 }] }),
            "spec.commands[writeTests].examples[0].module",
            "not of type \"string\"",
        ),
        (
            json!({ "output": { "schema": [] } }),
            "spec.commands[writeTests].output.schema",
            "as an object",
        ),
        (
            json!({ "prompt": "" }),
            "spec.commands[writeTests].prompt",
            "must not be empty",
        ),
    ] {
        let found = problems(json!([command(changes)]));
        assert!(
            found
                .iter()
                .any(|one| one.field == field && one.message.contains(message)),
            "{field}, {message}: {found:?}"
        );
    }
    let twice = problems(json!([command(json!({})), command(json!({}))]));
    assert_eq!(fields(&twice), ["spec.commands[writeTests]"]);
    let many: Vec<Value> = (0..65)
        .map(|index| json!({ "name": format!("c{index}"), "prompt": "x" }))
        .collect();
    assert_eq!(fields(&problems(json!(many))), ["spec.commands"]);
}
