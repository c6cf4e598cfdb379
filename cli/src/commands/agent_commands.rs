//! `oar commands`.

use super::params;
use crate::args::{Commands, CommandsFormat, Format};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::page::Page;
use crate::{output, text};
use kube::api::ListParams;
use oarmaster_crds::kinds::command::CommandSpec;
use oarmaster_crds::{Agent, commands};
use serde::Serialize;

/// A command and whose it is.
#[derive(Debug, Serialize)]
struct Found {
    namespace: String,
    agent: String,
    #[serde(flatten)]
    command: CommandSpec,
}

impl Found {
    fn category(&self) -> &str {
        self.command.category.as_deref().unwrap_or_default()
    }

    /// Whether a text in lower case stands in what people know it by.
    fn has(&self, text: &str) -> bool {
        let CommandSpec {
            name, description, ..
        } = &self.command;
        [&self.agent, name, self.category(), description]
            .iter()
            .any(|held| held.to_lowercase().contains(text))
    }
}

pub async fn run(cluster: &Cluster, args: Commands) -> Result<(), Error> {
    let Commands {
        agent,
        command,
        search,
        all_namespaces,
        output,
    } = args;
    let mut found = match &agent {
        Some(name) => of(cluster.agent(name).await?),
        None => {
            let agents: Vec<Agent> = cluster.list(all_namespaces, &ListParams::default()).await?;
            agents.into_iter().flat_map(of).collect()
        }
    };
    if let Some(text) = search.as_deref().map(str::to_lowercase) {
        found.retain(|each| each.has(&text));
    }
    if let (Some(agent), Some(name)) = (&agent, &command) {
        if !found.iter().any(|each| each.command.name == *name) {
            return Err(params::absent(agent, name, &names(&found)));
        }
        found.retain(|each| each.command.name == *name);
    }
    sort(&mut found);
    match (output, command.is_some().then(|| found.first()).flatten()) {
        (Some(CommandsFormat::Json), None) => output::data(&found, Format::Json),
        (Some(CommandsFormat::Yaml), None) => output::data(&found, Format::Yaml),
        (Some(CommandsFormat::Json), Some(one)) => output::data(one, Format::Json),
        (Some(CommandsFormat::Yaml), Some(one)) => output::data(one, Format::Yaml),
        (Some(CommandsFormat::Name), _) => {
            for each in &found {
                output::line(&line(each, all_namespaces))?;
            }
            Ok(())
        }
        (None, Some(one)) => output::raw(page(one, &cluster.flags()).as_bytes()),
        (None, None) if found.is_empty() => output::line(&nothing(
            agent.as_deref(),
            search.as_deref(),
            (!all_namespaces).then_some(&*cluster.namespace),
        )),
        (None, None) => {
            let mut header = vec!["AGENT", "COMMAND", "CATEGORY", "PARAMS", "DESCRIPTION"];
            if all_namespaces {
                header.insert(0, "NAMESPACE");
            }
            let rows: Vec<_> = found.iter().map(|each| row(each, all_namespaces)).collect();
            output::table(&header, &rows)
        }
    }
}

fn of(agent: Agent) -> Vec<Found> {
    let namespace = agent.metadata.namespace.unwrap_or_default();
    let name = agent.metadata.name.unwrap_or_default();
    let found = |command| Found {
        namespace: namespace.clone(),
        agent: name.clone(),
        command,
    };
    agent.spec.commands.into_iter().map(found).collect()
}

fn names(found: &[Found]) -> Vec<&str> {
    found
        .iter()
        .map(|each| each.command.name.as_str())
        .collect()
}

/// By Agent, then by category.
fn sort(found: &mut [Found]) {
    found.sort_by(|one, other| {
        let key = |each: &Found| {
            let CommandSpec { name, category, .. } = &each.command;
            (
                each.namespace.clone(),
                each.agent.clone(),
                category.clone(),
                name.clone(),
            )
        };
        key(one).cmp(&key(other))
    });
}

fn line(found: &Found, namespace: bool) -> String {
    let own = format!("{}/{}", found.agent, found.command.name);
    if namespace {
        format!("{}/{own}", found.namespace)
    } else {
        own
    }
}

fn nothing(agent: Option<&str>, search: Option<&str>, namespace: Option<&str>) -> String {
    let of = match (agent, namespace) {
        (Some(agent), _) => format!("Agent {agent} has no command"),
        (None, Some(namespace)) => format!("No Agent in namespace {namespace} has a command"),
        (None, None) => "No Agent in this cluster has a command".to_owned(),
    };
    match search {
        Some(text) => format!("{of} with {text} in it."),
        None => format!("{of}. They stand in spec.commands of an Agent."),
    }
}

fn row(found: &Found, namespace: bool) -> Vec<String> {
    let some = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    let mut cells = vec![
        found.agent.clone(),
        found.command.name.clone(),
        some(found.category()),
        some(&params::names(found.command.params.as_ref())),
        text::one_line(&found.command.description, 80),
    ];
    if namespace {
        cells.insert(0, found.namespace.clone());
    }
    cells
}

/// One command in words.
fn page(found: &Found, flags: &str) -> String {
    let Found { agent, command, .. } = found;
    let mut page = Page::default();
    let mut put = |label: &str, value: &str| page.put(label, value);
    put("Agent", agent);
    put("Command", &command.name);
    if let Some(category) = &command.category {
        put("Category", category);
    }
    if !command.description.is_empty() {
        put("Description", &command.description);
    }
    for param in commands::list(command.params.as_ref()) {
        put("Parameter", &params::describe(&param));
    }
    let answer = if command.output.is_some() {
        "JSON of a schema of its own"
    } else {
        "as the agent's others"
    };
    put("Answer", answer);
    put("Prompt", &command.prompt);
    match params::lines(agent, command, flags) {
        lines if lines.is_empty() => put(
            "Run",
            &format!(
                "oar run {agent} --command {} -p NAME=VALUE ...{flags}",
                command.name
            ),
        ),
        lines => lines.iter().for_each(|line| put("Run", line)),
    }
    page.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found() -> Vec<Found> {
        of(serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Agent",
            "metadata": {"name": "coder", "namespace": "team"},
            "spec": {"instructions": "x", "commands": [
                {"name": "writeTests", "category": "testing", "description": "Write unit tests.", "prompt": "Test ${params.module} with ${params.framework}.",
                 "params": {"type": "object", "required": ["module"], "properties": {
                     "module": {"type": "string", "description": "Which module."},
                     "framework": {"type": "string", "enum": ["pytest", "unittest"], "default": "pytest"}}},
                 "examples": [{"module": "the parser"}]},
                {"name": "explain", "prompt": "Explain."},
            ]},
        }))
        .unwrap())
    }

    #[test]
    fn a_row_says_what_a_command_takes() {
        let mut found = found();
        sort(&mut found);
        let rows: Vec<_> = found
            .iter()
            .map(|each| row(each, true).join(" | "))
            .collect();
        assert_eq!(
            rows,
            [
                "team | coder | explain | - | - | ",
                "team | coder | writeTests | testing | framework=pytest module | Write unit tests.",
            ]
        );
        assert_eq!(line(&found[0], false), "coder/explain");
        assert_eq!(line(&found[0], true), "team/coder/explain");
    }

    #[test]
    fn a_page_ends_with_a_line_that_runs_the_command() {
        let found = found();
        insta::assert_snapshot!(page(&found[0], " -n team"), @"
        Agent        coder
        Command      writeTests
        Category     testing
        Description  Write unit tests.
        Parameter    framework: string, default pytest; one of pytest, unittest
        Parameter    module: string, required. Which module.
        Answer       as the agent's others
        Prompt       Test ${params.module} with ${params.framework}.
        Run          oar run coder --command writeTests -p module='the parser' -n team
        ");
        assert!(page(&found[1], "").ends_with("Run          oar run coder --command explain\n"));
    }

    #[test]
    fn a_search_looks_at_names_categories_and_descriptions() {
        let found = found();
        let hits = |text: &str| found.iter().filter(|each| each.has(text)).count();
        assert_eq!(
            [
                hits("coder"),
                hits("writet"),
                hits("testing"),
                hits("unit"),
                hits("parser")
            ],
            [2, 1, 1, 1, 0]
        );
    }
}
