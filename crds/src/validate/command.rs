//! Checks of an Agent's commands.

use super::{Problem, Rule, agent, bounds};
use crate::commands::{self, NAMES, Params, Piece, is_name};
use crate::kinds::command::CommandSpec;
use std::collections::BTreeSet;

/// What is wrong with the commands of an Agent.
pub fn commands(problems: &mut Vec<Problem>, commands: &[CommandSpec]) {
    let mut found = Vec::new();
    bounds::list(&mut found, "spec.commands", commands, 64);
    let mut seen = BTreeSet::new();
    for (index, each) in commands.iter().take(64).enumerate() {
        if !is_name(&each.name) {
            found.push(Problem::spec(format!("spec.commands[{index}].name"), NAMES));
            continue;
        }
        let field = format!("spec.commands[{}]", each.name);
        if !seen.insert(&each.name) {
            found.push(Problem::spec(&field, "is there twice"));
        }
        command(&mut found, &field, each);
    }
    problems.extend(found.into_iter().map(|problem| problem.of(Rule::Command)));
}

fn command(problems: &mut Vec<Problem>, field: &str, command: &CommandSpec) {
    let prompt = format!("{field}.prompt");
    bounds::text(problems, &prompt, &command.prompt, 65_536);
    bounds::list(
        problems,
        &format!("{field}.examples"),
        &command.examples,
        16,
    );
    if let Some(output) = &command.output {
        agent::output_schema(problems, &format!("{field}.output.schema"), &output.schema);
    }
    let params = Params::new(&format!("{field}.params"), command.params.as_ref());
    let pieces = commands::pieces(&command.prompt);
    match (params, pieces) {
        (Ok(params), Ok(pieces)) => {
            let before = problems.len();
            places(problems, field, &params, &pieces);
            if problems.len() == before {
                examples(problems, field, command, &params, &pieces);
            }
        }
        (params, pieces) => {
            problems.extend(params.err().into_iter().flatten());
            problems.extend(pieces.err().map(|message| Problem::spec(prompt, message)));
        }
    }
}

/// Every place of the prompt has a parameter with a value, and every parameter has a place.
fn places(problems: &mut Vec<Problem>, field: &str, params: &Params<'_>, pieces: &[Piece<'_>]) {
    let named: BTreeSet<&str> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Param(name) => Some(*name),
            Piece::Text(_) => None,
        })
        .collect();
    for name in &named {
        let shown: String = name.chars().take(63).collect();
        let wrong = match params.iter().find(|param| param.name == *name) {
            None => "params has no such property",
            Some(param) if !param.required && param.default.is_none() => {
                "it may be absent: require it, or give it a default"
            }
            Some(_) => continue,
        };
        let text = format!("has ${{params.{shown}}}, and {wrong}");
        problems.push(Problem::spec(format!("{field}.prompt"), text));
    }
    for param in params.iter().filter(|param| !named.contains(param.name)) {
        problems.push(Problem::spec(
            format!("{field}.params.properties.{}", param.name),
            format!(
                "does nothing: write ${{params.{}}} where the prompt is to have it, or remove it",
                param.name
            ),
        ));
    }
}

fn examples(
    problems: &mut Vec<Problem>,
    field: &str,
    command: &CommandSpec,
    params: &Params<'_>,
    pieces: &[Piece<'_>],
) {
    for (index, example) in command.examples.iter().take(16).enumerate() {
        let field = format!("{field}.examples[{index}]");
        if let Err(wrong) = commands::make(params, pieces, &field, example) {
            problems.extend(wrong);
        }
    }
}
