//! Parameters of an agent's command, or of a Workflow, as words of a command line.

use crate::error::Error;
use crate::text::{self, quote};
use oarmaster_crds::commands::{Param, Params};
use oarmaster_crds::kinds::command::CommandSpec;
use oarmaster_crds::validate::{Problem, summary};
use oarmaster_crds::{Agent, Workflow, commands};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is said where an agent has no such command.
pub fn absent(agent: &str, name: &str, names: &[&str]) -> Error {
    let next = if names.is_empty() {
        "It has none: they stand in its spec.commands.".to_owned()
    } else {
        format!(
            "It has {}; `oar commands {agent}` shows what they take.",
            names.join(", ")
        )
    };
    Error::input(format!("Agent {agent} has no command {name}")).next(next)
}

/// The parameters of an agent's command, checked as the operator will.
pub fn read(
    agent: &Agent,
    name: &str,
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, Value>, Error> {
    let own = agent.metadata.name.as_deref().unwrap_or_default();
    let held = &agent.spec.commands;
    let Some(command) = held.iter().find(|command| command.name == name) else {
        let names: Vec<&str> = held.iter().map(|command| command.name.as_str()).collect();
        return Err(absent(own, name, &names));
    };
    let next = format!("`oar commands {own} {name}` shows what it takes.");
    let params = typed(command.params.as_ref(), given).map_err(|error| error.next(&*next))?;
    match commands::prompt(command, "params", &params) {
        Ok(_) => Ok(params),
        Err(problems) => {
            let what = format!("command {name} of Agent {own}");
            Err(unfit(&what, &problems).next(next))
        }
    }
}

/// The parameters of a run of a Workflow, checked as the operator will.
pub fn of_workflow(
    workflow: &Workflow,
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, Value>, Error> {
    let own = workflow.metadata.name.as_deref().unwrap_or_default();
    let schema = workflow.spec.params.as_ref();
    let next = format!("`oar workflows {own}` shows what it takes.");
    let known: Vec<&str> = commands::list(schema)
        .iter()
        .map(|held| held.name)
        .collect();
    if let Some((key, _)) = given.iter().find(|(key, _)| !known.contains(&&**key)) {
        let takes = match known.as_slice() {
            [] => "takes no parameters".to_owned(),
            some => format!("takes {}", some.join(", ")),
        };
        let what = format!("Workflow {own} has no parameter {key}: it {takes}");
        return Err(Error::input(what).next(next));
    }
    let params = typed(schema, given).map_err(|error| error.next(&*next))?;
    let fits = Params::new("spec.params", schema)
        .and_then(|schema| schema.complete("params", &params).map(|_| ()));
    match fits {
        Ok(()) => Ok(params),
        Err(problems) => Err(unfit(&format!("Workflow {own}"), &problems).next(next)),
    }
}

fn unfit(what: &str, problems: &[Problem]) -> Error {
    Error::input(format!("{what} cannot be run so: {}", summary(problems)))
}

/// Texts are taken as they are where a text is wanted, and are JSON elsewhere.
fn typed(
    schema: Option<&Value>,
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, Value>, Error> {
    let known = commands::list(schema);
    let mut params = BTreeMap::new();
    for (key, text) in given {
        let kind = known
            .iter()
            .find(|param| param.name == key)
            .map_or("string", |param| param.kind);
        let value = if kind == "string" {
            Value::String(text)
        } else {
            serde_json::from_str(&text)
                .map_err(|error| Error::input(format!("-p {key} is no {kind}")).source(error))?
        };
        if params.insert(key.clone(), value).is_some() {
            return Err(Error::input(format!("-p {key} is given twice")));
        }
    }
    Ok(params)
}

/// The names of all parameters in a line, with their defaults.
pub fn names(schema: Option<&Value>) -> String {
    let name = |param: Param<'_>| match param.default {
        Some(value) => format!("{}={}", param.name, text::one_line(&write(value), 20)),
        None => param.name.to_owned(),
    };
    let names: Vec<String> = commands::list(schema).into_iter().map(name).collect();
    names.join(" ")
}

/// A parameter in a line: its type, whether it must be given, and what it is for.
pub fn describe(param: &Param<'_>) -> String {
    let must = match param.default {
        Some(value) => format!("default {}", write(value)),
        None if param.required => "required".to_owned(),
        None => "optional".to_owned(),
    };
    let mut text = format!("{}: {}, {must}", param.name, param.kind);
    // Writing to a String cannot fail.
    if let Some(values) = param.schema.get("enum").and_then(Value::as_array) {
        let values: Vec<String> = values.iter().map(write).collect();
        let _ = write!(text, "; one of {}", values.join(", "));
    }
    if !param.description.is_empty() {
        let _ = write!(text, ". {}", param.description);
    }
    text
}

/// A line that runs a Workflow, with a value for each parameter that must be given.
pub fn workflow_line(name: &str, schema: Option<&Value>, flags: &str) -> String {
    let params = commands::list(schema).into_iter();
    let params = params.filter(|param| param.required && param.default.is_none());
    let params: String = params
        .map(|param| format!(" -p {}={}", param.name, quote(&example(&param))))
        .collect();
    format!("oar run --workflow {name}{params}{flags}")
}

/// A value that shows how a parameter is written.
fn example(param: &Param<'_>) -> String {
    let values = param.schema.get("enum").and_then(Value::as_array);
    let first = values.and_then(|values| values.first());
    if let Some(value) = first.or_else(|| param.schema.get("const")) {
        return write(value);
    }
    match param.kind {
        "integer" | "number" => {
            let least = param.schema.get("minimum");
            least.map_or_else(|| "1".to_owned(), write)
        }
        "boolean" => "true".to_owned(),
        "array" => "[]".to_owned(),
        "object" => "{}".to_owned(),
        _ => "...".to_owned(),
    }
}

/// A value as a word that [`read`] reads.
pub fn write(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Lines that run a command: one of each example, or the one of a command that needs nothing.
pub fn lines(agent: &str, command: &CommandSpec, flags: &str) -> Vec<String> {
    let none = BTreeMap::new();
    let needs = commands::list(command.params.as_ref())
        .iter()
        .any(|param| param.required && param.default.is_none());
    let examples = match command.examples.as_slice() {
        [] if needs => &[],
        [] => std::slice::from_ref(&none),
        some => some,
    };
    let line = |example: &BTreeMap<String, Value>| {
        let params = example.iter().filter(|(_, value)| !value.is_null());
        let params: String = params
            .map(|(name, value)| format!(" -p {name}={}", quote(&write(value))))
            .collect();
        format!("oar run {agent} --command {}{params}{flags}", command.name)
    };
    examples.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_crds::{Task, validate};
    use proptest::prelude::*;
    use serde_json::json;

    fn agent() -> Agent {
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "coder"},
            "spec": {"instructions": "x", "commands": [{
                "name": "write", "prompt": "${params.what} ${params.count} ${params.tags}",
                "params": {"type": "object", "required": ["what"], "properties": {
                    "what": {"type": "string"},
                    "count": {"type": "integer", "default": 1},
                    "tags": {"type": "array", "items": {"type": "string"}, "default": []}}},
            }]},
        }))
        .unwrap()
    }

    fn given(words: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        words.iter().map(own).collect()
    }

    #[test]
    fn words_are_read_by_the_type_of_the_parameter() {
        let words = given(&[("what", "7"), ("count", "7"), ("tags", "[\"a\"]")]);
        let read = read(&agent(), "write", words).unwrap();
        assert_eq!(json!(read), json!({"what": "7", "count": 7, "tags": ["a"]}));
    }

    #[test]
    fn what_does_not_fit_is_said_before_anything_is_created() {
        for (name, words, told) in [
            ("wrote", given(&[]), "has no command wrote"),
            ("write", given(&[]), "params.what: is missing"),
            (
                "write",
                given(&[("what", "x"), ("count", "many")]),
                "-p count is no integer",
            ),
            (
                "write",
                given(&[("what", "x"), ("count", "1.5")]),
                "params.count: the value is not of type",
            ),
            (
                "write",
                given(&[("what", "x"), ("waht", "y")]),
                "params.waht: the command has no such parameter",
            ),
            (
                "write",
                given(&[("what", "x"), ("what", "y")]),
                "-p what is given twice",
            ),
        ] {
            let line = read(&agent(), name, words).unwrap_err().line();
            assert!(line.contains(told), "{told}: {line}");
        }
    }

    fn workflow(params: Value) -> Workflow {
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Workflow", "metadata": {"name": "ship"},
            "spec": {"params": params, "steps": [{"name": "ask", "run": {"command": ["true"]}}]},
        }))
        .unwrap()
    }

    #[test]
    fn a_workflow_takes_what_its_schema_says() {
        let schema = json!({"type": "object", "required": ["version"], "properties": {
            "version": {"type": "string"}, "count": {"type": "integer", "minimum": 1, "default": 1}}});
        let ship = workflow(schema);
        let read = |words: &[(&str, &str)]| of_workflow(&ship, given(words));
        let params = read(&[("version", "1.4"), ("count", "3")]).unwrap();
        assert_eq!(json!(params), json!({"version": "1.4", "count": 3}));
        // Defaults are the operator's to fill in.
        assert_eq!(
            json!(read(&[("version", "2")]).unwrap()),
            json!({"version": "2"})
        );
        for (words, told) in [
            (&[][..], "params.version: is missing"),
            (
                &[("version", "2"), ("count", "x")],
                "-p count is no integer",
            ),
            (&[("version", "2"), ("count", "0")], "params.count: "),
            (
                &[("version", "2"), ("versoin", "2")],
                "Workflow ship has no parameter versoin: it takes count, version",
            ),
            (
                &[("version", "2"), ("version", "3")],
                "-p version is given twice",
            ),
        ] {
            let line = read(words).unwrap_err().line();
            assert!(line.contains(told), "{told}: {line}");
        }
        let none = workflow(Value::Null);
        assert!(of_workflow(&none, Vec::new()).unwrap().is_empty());
        let line = of_workflow(&none, given(&[("a", "b")])).unwrap_err().line();
        assert!(line.contains("it takes no parameters"), "{line}");
    }

    #[test]
    fn a_line_that_runs_a_workflow_gives_what_must_be_given() {
        let schema = json!({"type": "object", "required": ["version", "to", "count", "dry", "tags"], "properties": {
            "version": {"type": "string"},
            "to": {"type": "string", "enum": ["the test site", "prod"]},
            "count": {"type": "integer", "minimum": 3},
            "dry": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "note": {"type": "string"}}});
        assert_eq!(
            workflow_line("ship", Some(&schema), " -n team"),
            "oar run --workflow ship -p count=3 -p dry=true -p to='the test site' -p version=... -n team"
        );
        assert_eq!(workflow_line("ship", None, ""), "oar run --workflow ship");
    }

    #[test]
    fn the_samples_agent_has_no_problem_and_takes_what_its_task_gives() {
        let agent = include_str!("../../../config/samples/commands/1-agent.yaml");
        let task = include_str!("../../../config/samples/commands/2-task.yaml");
        let agent: Agent = serde_saphyr::from_str(agent).unwrap();
        let task: Task = serde_saphyr::from_str(task).unwrap();
        assert_eq!(validate::agent(&agent.spec), []);
        let call = task.spec.agent.unwrap();
        let mut held = agent.spec.commands.iter();
        let command = held.find(|held| Some(&held.name) == call.command.as_ref());
        let prompt =
            commands::prompt(command.unwrap(), "params", &task.spec.params.unwrap()).unwrap();
        assert!(
            prompt.starts_with("Write at most 6 unittest tests for the module slug."),
            "{prompt}"
        );
        for command in &agent.spec.commands {
            assert_eq!(
                lines("python-coder", command, "").len(),
                command.examples.len()
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in "[^\\x00]{0,20}", count: i64, tags in prop::collection::vec(".{0,5}", 0..3)) {
            let values = [("what", json!(text)), ("count", json!(count)), ("tags", json!(tags))];
            let words = values.iter().map(|(key, value)| ((*key).to_owned(), write(value))).collect();
            let read = read(&agent(), "write", words).unwrap();
            for (key, value) in &values {
                prop_assert_eq!(&read[*key], value);
            }
        }
    }
}
