//! What a planner is asked, and what people are shown of a plan. Pure.

use super::Facts;
use oarmaster_crds::kinds::goal::{GoalSpec, PlanEstimate, PlanStatus};
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::workflow::StepSpec;
use oarmaster_crds::names;
use oarmaster_protocol::request::shown as json_shown;
use oarmaster_protocol::text::{shorten, visible};
use oarmaster_workflow::graph::Graph;
use std::collections::BTreeMap;

/// Characters of a prompt, as a Task bounds them.
const MAX_PROMPT: usize = 131_072;
/// Characters of what is said of one Agent.
const MAX_AGENT: usize = 1500;
/// Characters of the plan before.
const MAX_PLAN: usize = 40_000;
/// Characters of a text that people are shown.
const MAX_SHOWN: usize = 131_072;
/// Characters of what a step is asked, in a line.
const MAX_ASKED: usize = 300;

/// The form of the answer, as every planner is told it.
const FORM: &str = r#"Answer with one JSON object and nothing else, a workflow:
{"steps": [{"name": "code", "agent": {"name": "coder"}, "params": {"prompt": "..."}}, {"name": "report", "agent": {"name": "writer"}, "params": {"prompt": "Tell what was done: ${steps.code.output.text}"}}], "output": {"said": "${steps.report.output.text}"}}
- `name`: lower-case letters and digits, the first a letter. `agent`: one of those below, with `params: {prompt}`, or with `command` and the params of that command.
- `${...}` in params is an expression in CEL: `steps.NAME.output` (of an agent `{text}`, unless its description says otherwise), `.succeeded`, `.failed`, `.failure.message`. A step begins when all steps have ended that it reads, or names in `after: [NAME]`; steps that need nothing of each other go on at once.
- `if: steps.NAME.failed` (without `${}`) has a step run where another one failed, which deals with that failure.
- `workspace: {from: NAME}`: it begins with the files that an agent or a run left. `files: [{path, content}]`: files that it begins with.
- `forEach: [...]` or `'${steps.NAME.output.list}'` does a step for each item, as `${item}`; `repeat: {until: "self.output.text.contains('done')", limit: 3}` does it again.
- No approvals, waits, budgets, checks (`accept`), other workflows or fields."#;

/// What a planner is asked. `before` is the plan that failed, and how its steps stand.
pub(super) fn prompt(
    goal: &GoalSpec,
    agents: &[Facts],
    held: &PlanStatus,
    before: Option<(&Graph, &StepsStatus)>,
) -> String {
    let mut parts = vec![
        format!("Plan how this is reached:\n{}", goal.text),
        FORM.to_owned(),
        format!(
            "At most {} steps, each counted as often as it may be done.",
            goal.allow.steps
        ),
    ];
    if goal.allow.agents.is_empty() {
        parts.push("There are no agents.".to_owned());
    } else {
        let named = goal.allow.agents.iter().map(|name| {
            let facts = agents.iter().find(|facts| facts.name == *name);
            let text = facts.map_or_else(|| name.clone(), words);
            format!("- {}", shorten(&text, MAX_AGENT))
        });
        let named: Vec<String> = named.collect();
        parts.push(format!("Agents:\n{}", named.join("\n")));
    }
    parts.push(match goal.allow.images.as_slice() {
        [] => "There are no `run` steps.".to_owned(),
        images => format!(
            "A step may run code in place of an agent, without a network: {{\"name\": \"test\", \"workspace\": {{\"from\": \"code\"}}, \"run\": {{\"sandbox\": {{\"image\": \"{}\"}}, \"command\": [\"python3\", \"-m\", \"unittest\"]}}}}; its output is {{exitCode, stdoutTail, stderrTail}}, and it fails unless it exits with 0. Images: {}",
            images.first().map_or("", String::as_str),
            images.join(", ")
        ),
    });
    if let Some((graph, steps)) = before {
        let spec = serde_json::to_string(&graph.spec).unwrap_or_default();
        let failed = steps.failed.iter().map(|step| {
            let text = format!("- {}: {}: {}", step.name, step.class, step.message);
            text.trim_end_matches([':', ' ']).to_owned()
        });
        let failed: Vec<String> = failed.collect();
        parts.push(format!(
            "Plan {} failed: {}\nIt was:\n{}\nIts steps that succeeded: {}.\nThose that failed:\n{}\nPlan anew. A step that succeeded is not done again if you write it as it was, and all steps that it needs.",
            held.number - 1,
            held.failed.as_deref().unwrap_or_default(),
            shorten(&spec, MAX_PLAN),
            match steps.succeeded.as_slice() {
                [] => "none".to_owned(),
                names => names.join(", "),
            },
            failed.join("\n"),
        ));
    }
    if let Some(problems) = &held.problems {
        parts.push(format!("Your last plan cannot be run, mend it: {problems}"));
    }
    shorten(&parts.join("\n\n"), MAX_PROMPT)
}

fn words(facts: &Facts) -> String {
    let Facts {
        name,
        description,
        commands,
        has_files,
        bound: _,
    } = facts;
    let files = if *has_files {
        " It works with files."
    } else {
        ""
    };
    let commands = match commands.as_slice() {
        [] => String::new(),
        commands => format!(" Commands: {}", commands.join("; ")),
    };
    format!("{name}: {description}{files}{commands}")
}

/// What people are shown who approve a plan: what it does in lines, all of it as it runs, and what it may take.
pub(super) fn shown(graph: &Graph, estimate: Option<&PlanEstimate>) -> BTreeMap<String, String> {
    let lines = graph.steps.iter().map(|step| {
        let needs = step.needs.iter().filter_map(|need| graph.steps.get(*need));
        let needs: Vec<&str> = needs.map(|need| need.spec.name.as_str()).collect();
        line(&step.spec, &needs)
    });
    let lines: Vec<String> = lines.collect();
    // The types of the API always serialise.
    let spec = serde_json::to_value(&graph.spec).unwrap_or_default();
    let mut show = BTreeMap::from([
        (
            "plan".to_owned(),
            shorten(&visible(&lines.join("\n")), MAX_SHOWN),
        ),
        ("spec".to_owned(), json_shown(&spec)),
        (
            "digest".to_owned(),
            names::spec_digest(&graph.spec).unwrap_or_default(),
        ),
    ]);
    if let Some(estimate) = estimate {
        show.insert("estimate".to_owned(), words_of(estimate));
    }
    show
}

/// An estimate in words.
fn words_of(estimate: &PlanEstimate) -> String {
    let mut text = estimate.to_string();
    if !estimate.unknown.is_empty() {
        text.push_str(&format!("; not known: {}", estimate.unknown.join("; ")));
    }
    visible(&text).into_owned()
}

fn line(step: &StepSpec, needs: &[&str]) -> String {
    let target = match (&step.agent, &step.run) {
        (Some(call), _) => call.target(None),
        (None, Some(run)) => {
            let code = run.code.as_deref();
            let code = code.map_or_else(|| run.command.join(" "), str::to_owned);
            format!(
                "run in {}: {}",
                run.sandbox.image,
                shorten(&code, MAX_ASKED)
            )
        }
        (None, None) => "nothing".to_owned(),
    };
    let mut text = format!("{}: {target}", step.name);
    if !needs.is_empty() {
        text.push_str(&format!(", after {}", needs.join(", ")));
    }
    if let Some(condition) = &step.condition {
        text.push_str(&format!(", if {}", shorten(condition, MAX_ASKED)));
    }
    if let Some(list) = &step.for_each {
        text.push_str(&format!(
            ", for each of {}",
            shorten(&list.to_string(), MAX_ASKED)
        ));
    }
    if let Some(repeat) = &step.repeat {
        text.push_str(&format!(", at most {} times", repeat.limit));
    }
    if let Some(params) = &step.params {
        let params = serde_json::to_string(params).unwrap_or_default();
        text.push_str(&format!(": {}", shorten(&params, MAX_ASKED)));
    }
    text
}
