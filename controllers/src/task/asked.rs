//! What a Task asks of its agent: a prompt, or a command with parameters. Pure.

use super::refs::Refs;
use oarmaster_crds::kinds::agent::OutputSpec;
use oarmaster_crds::kinds::command::CommandSpec;
use oarmaster_crds::validate::summary;
use oarmaster_crds::{Agent, Task, commands};
use oarmaster_protocol::FailureClass;
use serde_json::Value;
use std::collections::BTreeMap;

/// What an agent is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked<'a> {
    /// The prompt.
    pub prompt: String,
    /// The form of the answer, if one is demanded.
    pub output: Option<&'a OutputSpec>,
}

/// What the Task asks. A command that the agent does not have is waited for, as an agent that does not exist is.
///
/// # Errors
/// The command is not there, or does not take the parameters.
pub fn asked<'a>(task: &Task, agent: &'a Agent) -> Result<Asked<'a>, Refs> {
    let own = agent.spec.output.as_ref();
    let none = BTreeMap::new();
    let params = task.spec.params.as_ref().unwrap_or(&none);
    let named = task.spec.agent.as_ref();
    let Some(name) = named.and_then(|named| named.command.as_deref()) else {
        let prompt = params.get("prompt").and_then(Value::as_str);
        return Ok(Asked {
            prompt: prompt.unwrap_or_default().to_owned(),
            output: own,
        });
    };
    let held = &agent.spec.commands;
    let Some(command) = held.iter().find(|command| command.name == name) else {
        return Err(Refs::Missing(absent(agent, name)));
    };
    match commands::prompt(command, "spec.params", params) {
        Ok(prompt) => Ok(Asked {
            prompt,
            output: command.output.as_ref().or(own),
        }),
        Err(problems) => Err(Refs::Refused(
            FailureClass::InvalidParams,
            format!("command {name}: {}", summary(&problems)),
        )),
    }
}

fn absent(agent: &Agent, name: &str) -> String {
    const SHOWN: usize = 16;
    let own = agent.metadata.name.as_deref().unwrap_or_default();
    let names: Vec<&str> = agent
        .spec
        .commands
        .iter()
        .map(|command: &CommandSpec| command.name.as_str())
        .collect();
    let has = match names.get(..SHOWN.min(names.len())).unwrap_or_default() {
        [] => "none".to_owned(),
        some if names.len() > SHOWN => format!("{} and more", some.join(", ")),
        some => some.join(", "),
    };
    format!(
        "Agent {own} has no command {name} in spec.commands, which has {has}; add it there, or create a Task with another one"
    )
}
