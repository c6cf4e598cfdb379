//! `oar workflows`.

use super::params;
use crate::args::{CommandsFormat, Format, Workflows};
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::page::Page;
use crate::{graph, output, text};
use kube::api::{DynamicObject, ListParams};
use oarmaster_crds::conditions::{self, READY};
use oarmaster_crds::kinds::workflow::StepSpec;
use oarmaster_crds::{Allowance, Usd, Workflow, WorkflowSpec, commands};
use oarmaster_protocol::admin::KEPT_PART;
use std::fmt::Write as _;

/// The columns.
const HEADER: [&str; 5] = ["NAME", "STEPS", "READY", "PARAMS", "DESCRIPTION"];

pub async fn run(cluster: &Cluster, args: Workflows) -> Result<(), Error> {
    let Workflows {
        workflow,
        search,
        all_namespaces,
        output,
    } = args;
    let format = match output {
        Some(CommandsFormat::Json) => Some(Format::Json),
        Some(CommandsFormat::Yaml) => Some(Format::Yaml),
        Some(CommandsFormat::Name) | None => None,
    };
    let names = output == Some(CommandsFormat::Name);
    let search = search.map(|text| text.to_lowercase());
    if let Some(name) = workflow {
        let held = cluster.workflow(&name).await?;
        return match format {
            Some(format) => {
                let api = cluster.stored::<Workflow>(false);
                output::data(
                    &call("failed to get the Workflow", api.get(&name)).await?,
                    format,
                )
            }
            None if names => output::line(&name),
            None => output::raw(page(&held, &cluster.flags()).as_bytes()),
        };
    }
    let every = ListParams::default();
    if let Some(format) = format {
        let api = cluster.stored::<Workflow>(all_namespaces);
        let mut found = call("failed to list Workflows", api.list(&every)).await?;
        let hit = |held: &DynamicObject| {
            let description = held.data.pointer("/spec/description");
            let description = description.and_then(|text| text.as_str());
            let name = held.metadata.name.as_deref();
            has(search.as_deref(), name, description.unwrap_or_default())
        };
        found.items.retain(hit);
        return output::data(&found, format);
    }
    let mut found: Vec<Workflow> = cluster.list(all_namespaces, &every).await?;
    found.retain(|held| {
        let name = held.metadata.name.as_deref();
        has(search.as_deref(), name, &held.spec.description)
    });
    found.sort_by_key(|held| (held.metadata.namespace.clone(), held.metadata.name.clone()));
    if names {
        for held in &found {
            output::line(&line(held, all_namespaces))?;
        }
        return Ok(());
    }
    if found.is_empty() {
        let namespace = (!all_namespaces).then_some(&*cluster.namespace);
        return output::line(&nothing(search.as_deref(), namespace));
    }
    let mut header = HEADER.to_vec();
    if all_namespaces {
        header.insert(0, "NAMESPACE");
    }
    let rows: Vec<_> = found.iter().map(|held| row(held, all_namespaces)).collect();
    output::table(&header, &rows)
}

/// Whether a text in lower case stands in what people know a Workflow by.
fn has(search: Option<&str>, name: Option<&str>, description: &str) -> bool {
    let Some(search) = search else {
        return true;
    };
    let mut known = [name.unwrap_or_default(), description].into_iter();
    known.any(|text| text.to_lowercase().contains(search))
}

fn nothing(search: Option<&str>, namespace: Option<&str>) -> String {
    let place = match namespace {
        Some(namespace) => format!("in namespace {namespace}"),
        None => "in this cluster".to_owned(),
    };
    match search {
        Some(text) => format!("There is no Workflow with {text} in it {place}."),
        None => format!("There are no Workflows {place}."),
    }
}

fn line(workflow: &Workflow, namespace: bool) -> String {
    let meta = &workflow.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    match meta.namespace.as_deref().filter(|_| namespace) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Whether it can be run, and what is wrong where it cannot.
fn ready(workflow: &Workflow) -> (&str, String) {
    let held = workflow.status.as_ref();
    let held = held.and_then(|status| conditions::find(&status.conditions, READY));
    match held {
        None => ("Unknown", "nobody has looked at it yet".to_owned()),
        Some(held) if held.message.is_empty() => (held.status.as_str(), String::new()),
        Some(held) => (
            held.status.as_str(),
            format!("{}: {}", held.reason, held.message),
        ),
    }
}

fn row(workflow: &Workflow, namespace: bool) -> Vec<String> {
    let spec = &workflow.spec;
    let some = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
    let mut cells = vec![
        line(workflow, false),
        graph::all(spec).count().to_string(),
        ready(workflow).0.to_owned(),
        some(&params::names(spec.params.as_ref())),
        text::one_line(&spec.description, 80),
    ];
    if namespace {
        cells.insert(0, workflow.metadata.namespace.clone().unwrap_or_default());
    }
    cells
}

/// One Workflow in words.
fn page(workflow: &Workflow, flags: &str) -> String {
    let spec = &workflow.spec;
    let name = workflow.metadata.name.as_deref().unwrap_or_default();
    let mut page = Page::default();
    page.put("Workflow", name);
    if !spec.description.is_empty() {
        page.put("Description", &spec.description);
    }
    let (is, why) = ready(workflow);
    page.put("Ready", format!("{is} {why}").trim_end());
    for param in commands::list(spec.params.as_ref()) {
        page.put("Parameter", &params::describe(&param));
    }
    for step in graph::all(spec) {
        let last = graph::is_last(spec, step);
        let label = if last { "Finally" } else { "Step" };
        page.put(label, &self::step(spec, step));
    }
    if let Some(budget) = &spec.budget {
        page.put("Budget", &self::budget(spec, budget));
    }
    page.put("Longest", &spec.timeouts.run.0);
    let run = params::workflow_line(name, spec.params.as_ref(), flags);
    page.put("Run", &run);
    page.text()
}

/// The budget in a line: what may be spent, what of it is kept, and how many Tasks there may be.
fn budget(spec: &WorkflowSpec, budget: &Allowance) -> String {
    // As the operator and the gateway keep it.
    let ends = !spec.finally.is_empty() || spec.steps.iter().any(|step| step.undo.is_some());
    let kept = |limit: u64| {
        let kept = limit / KEPT_PART;
        (ends && kept > 0).then_some((limit - kept, kept))
    };
    let mut parts = Vec::new();
    if let Some(usd) = &budget.usd {
        let pico = usd.pico().unwrap_or_default();
        let kept = kept(pico).map_or_else(String::new, |(steps, kept)| {
            let (steps, kept) = (Usd::from_pico(steps), Usd::from_pico(kept));
            format!(
                " (${} for steps, ${} kept for undo and finally)",
                steps.0, kept.0
            )
        });
        parts.push(format!("${}{kept}", usd.0));
    }
    if let Some(tokens) = budget.tokens {
        let kept = kept(u64::try_from(tokens).unwrap_or_default());
        let kept = kept.map_or_else(String::new, |(steps, kept)| {
            format!(" ({steps} for steps, {kept} kept for undo and finally)")
        });
        parts.push(format!("{tokens} tokens{kept}"));
    }
    parts.extend(budget.tasks.map(|tasks| format!("{tasks} Tasks")));
    parts.extend(budget.depth.map(|depth| format!("depth {depth}")));
    parts.join(", ")
}

/// A step in a line: what does it, what it needs, and whether it runs.
fn step(spec: &WorkflowSpec, step: &StepSpec) -> String {
    let mut text = format!("{}: {}", step.name, graph::target(step));
    let needs = graph::needs(spec, step);
    // Writing to a String cannot fail.
    if !needs.is_empty() {
        let _ = write!(text, "; needs {}", needs.join(", "));
    }
    if let Some(condition) = &step.condition {
        let _ = write!(text, "; if {condition}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn workflow(status: Value) -> Workflow {
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Workflow",
            "metadata": {"name": "notes", "namespace": "team"},
            "spec": {
                "description": "Notes of a release.",
                "params": {"type": "object", "required": ["version"], "properties": {
                    "version": {"type": "string", "description": "Which one."},
                    "style": {"type": "string", "enum": ["short", "long"], "default": "short"}}},
                "budget": {"usd": "0.10", "tokens": 1000, "tasks": 20, "depth": 1},
                "steps": [
                    {"name": "changes", "run": {"language": "shell", "code": "x"}},
                    {"name": "notes", "agent": {"name": "writer"}, "params": {"prompt": "${steps.changes.output.stdoutTail}"}},
                    {"name": "mended", "agent": {"name": "writer"}, "params": {"prompt": "x"}, "if": "steps.notes.failed"},
                ],
                "finally": [{"name": "report", "run": {"command": ["echo"]}}],
            },
            "status": status,
        }))
        .unwrap()
    }

    fn not_ready() -> Value {
        json!({"conditions": [{
            "type": "Ready", "status": "False", "reason": "InvalidSpec", "message": "spec.steps[a]: has a cycle",
            "lastTransitionTime": "2026-11-01T11:00:00Z",
        }]})
    }

    #[test]
    fn a_page_has_what_it_takes_its_steps_and_a_line_that_runs_it() {
        let ready = json!({"conditions": [{
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2026-11-01T11:00:00Z",
        }]});
        insta::assert_snapshot!(page(&workflow(ready), " -n team"), @"
        Workflow     notes
        Description  Notes of a release.
        Ready        True
        Parameter    style: string, default short; one of short, long
        Parameter    version: string, required. Which one.
        Step         changes: run/shell
        Step         notes: agent/writer; needs changes
        Step         mended: agent/writer; needs notes; if steps.notes.failed
        Finally      report: run/command
        Budget       $0.10 ($0.095 for steps, $0.005 kept for undo and finally), 1000 tokens (950 for steps, 50 kept for undo and finally), 20 Tasks, depth 1
        Longest      2h
        Run          oar run --workflow notes -p version=... -n team
        ");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let page = page(&workflow(not_ready()), "");
        let said = "Ready        False InvalidSpec: spec.steps[a]: has a cycle\n";
        assert!(page.contains(said), "{page}");
    }

    #[test]
    fn a_row_says_whether_it_can_be_run() {
        for (status, namespace, expected) in [
            (
                not_ready(),
                true,
                "team | notes | 4 | False | style=short version | Notes of a release.",
            ),
            (
                json!({}),
                false,
                "notes | 4 | Unknown | style=short version | Notes of a release.",
            ),
        ] {
            assert_eq!(row(&workflow(status), namespace).join(" | "), expected);
        }
        assert_eq!(line(&workflow(json!({})), true), "team/notes");
    }

    #[test]
    fn a_search_looks_at_name_and_description() {
        for (search, hit) in [
            (None, true),
            (Some("release"), true),
            (Some("otes"), true),
            (Some("ship"), false),
        ] {
            assert_eq!(has(search, Some("notes"), "Notes of a Release."), hit);
        }
    }
}
