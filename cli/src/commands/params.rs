//! Parameters of an agent's command as words of a command line.

use crate::error::Error;
use oarmaster_crds::kinds::command::CommandSpec;
use oarmaster_crds::validate::summary;
use oarmaster_crds::{Agent, commands};
use serde_json::Value;
use std::collections::BTreeMap;

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

/// The parameters of an agent's command, checked as the operator will. Texts are taken as they are where a text is wanted, and are JSON
/// elsewhere.
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
    let known = commands::list(command.params.as_ref());
    let mut params = BTreeMap::new();
    for (key, text) in given {
        let kind = known
            .iter()
            .find(|param| param.name == key)
            .map_or("string", |param| param.kind);
        let value = if kind == "string" {
            Value::String(text)
        } else {
            serde_json::from_str(&text).map_err(|error| {
                Error::input(format!("-p {key} is no {kind}"))
                    .next(next.clone())
                    .source(error)
            })?
        };
        if params.insert(key.clone(), value).is_some() {
            return Err(Error::input(format!("-p {key} is given twice")));
        }
    }
    match commands::prompt(command, "params", &params) {
        Ok(_) => Ok(params),
        Err(problems) => Err(Error::input(format!(
            "command {name} of Agent {own} cannot be run so: {}",
            summary(&problems)
        ))
        .next(next)),
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

/// A word for a POSIX shell.
fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,@%+=".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
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

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (text, quoted) in [
            ("", "''"),
            ("a/b-1", "a/b-1"),
            ("$(x)", "'$(x)'"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quote(text), quoted);
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
