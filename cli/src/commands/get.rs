//! `oar get`.

use super::{below, is_run, name, phase, steps, watch, why};
use crate::args::Get;
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::follow::is_finished;
use crate::page::Page;
use crate::steps::{Below, HEADER, rows, waits};
use crate::{output, text};
use jiff::Timestamp;
use oarmaster_crds::Task;
use oarmaster_crds::kinds::goal::{PlanStage, PlanStatus};
use oarmaster_crds::kinds::task::RequestKind;

pub async fn run(cluster: &Cluster, args: Get) -> Result<(), Error> {
    let Get {
        task,
        watch,
        output,
    } = args;
    let held = cluster.task(&task).await?;
    if watch {
        return watch::watch(cluster, &held).await;
    }
    if let Some(format) = output {
        let api = cluster.stored::<Task>(false);
        return output::data(
            &call("failed to get the Task", api.get(&task)).await?,
            format,
        );
    }
    let below = if steps(&held).is_some() {
        below::look(cluster, &held).await
    } else {
        Below::default()
    };
    let page = describe(&held, &below, Timestamp::now(), &cluster.flags());
    output::raw(page.as_bytes())
}

/// The Task in words; of a run with a table of its steps.
fn describe(task: &Task, below: &Below, now: Timestamp, flags: &str) -> String {
    let status = task.status.clone().unwrap_or_default();
    let mut page = Page::default();
    let mut put = |label: &str, value: &str| page.put(label, value);
    put("Name", name(task));
    put(
        "Namespace",
        task.metadata.namespace.as_deref().unwrap_or_default(),
    );
    put("Target", status.target.as_deref().unwrap_or("-"));
    if let Some(requester) = &task.spec.requested_by {
        put("Requester", requester);
    }
    if let Some(pinned) = &status.pinned {
        put("Pinned", &pinned.agent);
    }
    if let Some(made) = &status.provenance {
        for (label, value) in [
            ("Prompt", &made.prompt),
            ("Class", &made.class),
            ("Image", &made.image),
        ] {
            if let Some(value) = value {
                put(label, value);
            }
        }
    }
    put("Phase", phase(task));
    if let Some(why) = why(task) {
        put("Why", &why);
    }
    if let Some(attempt) = status.attempt {
        put("Attempt", &attempt.to_string());
    }
    if let Some(created) = &task.metadata.creation_timestamp {
        put("Created", &format!("{} ago", text::age(created.0)));
    }
    if let (Some(from), Some(to)) = (&status.started_at, &status.finished_at) {
        let took = to.0.duration_since(from.0).try_into().unwrap_or_default();
        put("Took", &text::duration(took));
    }
    if let Some(source) = super::source(task) {
        put("Outcome", &format!("that of Task {}", source.name));
    }
    if let Some(usage) = &status.usage {
        put("Models", &usage.models.join(", "));
        put(
            "Used",
            &format!(
                "{} calls, {} input and {} output tokens, ${}",
                usage.calls, usage.input_tokens, usage.output_tokens, usage.usd
            ),
        );
    }
    if let Some(plan) = &status.plan {
        for (label, value) in plan_lines(plan) {
            put(label, &value);
        }
    }
    if let Some(steps) = &status.steps {
        put("Runs", &steps.revision);
        put("Steps", &format!("{} have ended", steps.progress));
        if let Some(slot) = &steps.slot {
            put("Key", &text::one_line(&slot.key, 200));
        }
        if let Some(why) = &steps.refused {
            put("Refused", why);
        }
        for wait in waits(steps, below, now, flags) {
            put("Waits", &wait);
        }
    }
    let asked = status.requests.iter();
    for asked in asked.filter(|entry| entry.kind == RequestKind::Approval) {
        put(
            "Waits",
            &format!("for people: oar approvals {}{flags}", asked.name),
        );
    }
    for artifact in &status.artifacts {
        let size = text::bytes(u64::try_from(artifact.size).unwrap_or_default());
        put("Artifact", &format!("{} ({size})", artifact.name));
    }
    for held in &status.conditions {
        let message = if held.message.is_empty() {
            String::new()
        } else {
            format!(": {}", held.message)
        };
        put(
            "Condition",
            &format!("{}={} {}{message}", held.type_, held.status, held.reason),
        );
    }
    put("Next", &next(task, flags));
    let table = status.steps.map(|steps| rows(&steps, below, now));
    match table {
        Some(rows) if !rows.is_empty() => {
            format!("{}\n{}", page.text(), output::lay_out(&HEADER, &rows))
        }
        _ => page.text(),
    }
}

/// How the plans of a goal stand.
fn plan_lines(plan: &PlanStatus) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let stage = match plan.stage {
        PlanStage::Planning => format!("is made, asked for {} times", plan.tries),
        PlanStage::Approving => "waits for people".to_owned(),
        PlanStage::Running => "runs, or has run".to_owned(),
    };
    for held in &plan.plans {
        let kept = match held.kept.as_slice() {
            [] => String::new(),
            kept => format!(", keeps {}", kept.join(", ")),
        };
        let failed = held.failed.as_ref();
        let failed = failed.map_or_else(String::new, |why| format!(": {why}"));
        lines.push((
            "Plan",
            format!("{}, {}{kept}{failed}", held.number, held.name),
        ));
    }
    lines.push(("Planning", format!("plan {} {stage}", plan.number)));
    if let Some(problems) = &plan.problems {
        lines.push(("Problems", problems.clone()));
    }
    if let Some(estimate) = &plan.estimate {
        lines.push(("Estimate", estimate.to_string()));
        let unknown = estimate.unknown.iter();
        lines.extend(unknown.map(|what| ("Not known", what.clone())));
    }
    lines
}

fn next(task: &Task, flags: &str) -> String {
    let name = name(task);
    let look = match (is_run(task), is_finished(task)) {
        (true, true) => return format!("oar result {name}{flags}"),
        (true, false) => format!("oar get --watch {name}{flags}"),
        (false, true) => format!("oar logs {name}{flags}"),
        (false, false) => format!("oar logs -f {name}{flags}"),
    };
    format!("{look}\noar result {name}{flags}")
}

#[cfg(test)]
mod tests;
