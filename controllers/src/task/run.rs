//! A Task with a workflow: its run. The scheduler (`oarmaster_workflow::run`) says what is next; here it becomes the status of the Task and
//! the objects of its steps. Pure.

mod act;
mod observe;

pub(super) use act::{Carried, carry_out};
pub(super) use observe::observe;
pub use observe::{Named, Seen};

use super::draft::Draft;
use super::requests::{self, child_labels, command, depth, made_for, who};
use crate::kit::events::Reason;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::task::{
    DesiredState, FailureStatus, Phase, RequestKind, StepsStatus, Usage,
};
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{Approval, GepDuration, Task, Usd, WorkflowSpec, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::assignment::{Assignment, Target, WorkflowTarget};
use oarmaster_protocol::request::action;
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::run::{self, Make, Over, What};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Steps that are named in a message.
const NAMED: usize = 4;

/// What a pass does for a run, in this order; then the status is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Todo {
    /// Keep this Workflow, unless one is kept.
    pub pin: Option<Box<ControllerRevision>>,
    /// Open the attempt at the gateway.
    pub open: Option<Box<OpenAttempt>>,
    /// Make these objects.
    pub make: Vec<Made>,
    /// Tell these Tasks what to do, by name.
    pub tell: Vec<(String, DesiredState)>,
}

/// An object of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// A Task.
    Task(Box<Task>),
    /// An Approval.
    Approval(Box<Approval>),
}

/// Plans one pass.
pub(super) fn plan(draft: &mut Draft<'_>) {
    let Some(seen) = draft.seen.run.as_deref() else {
        draft.look_in(Duration::ZERO); // this pass looked for something else
        return;
    };
    if draft.attempt().is_some() {
        match &seen.graph {
            Some(graph) => advance(draft, seen, graph),
            None => {
                draft.fence("what it runs is not known any more");
                draft.fail(
                    FailureClass::StateRegressed,
                    "its ControllerRevision is gone or cannot be read; create the Task anew",
                );
            }
        }
        return;
    }
    match draft.task.spec.state {
        DesiredState::Cancelled => return draft.cancel(),
        DesiredState::Paused => return draft.pause(),
        DesiredState::Running => {}
    }
    let problems = validate::task(&draft.task.spec, &draft.task.metadata);
    if let Some(first) = problems.first() {
        return draft.refuse(super::refs::class_of(first.rule), &summary(&problems));
    }
    if depth(draft.task) >= requests::MAX_DEPTH {
        let text = format!(
            "{} Tasks are above this one already; let fewer workflows be steps of each other",
            requests::MAX_DEPTH
        );
        return draft.refuse(FailureClass::LimitReached, &text);
    }
    match &seen.named {
        Named::NotLooked => draft.look_in(Duration::ZERO),
        Named::Missing(what) => draft.wait_for(what),
        Named::Refused(class, why) => draft.refuse(*class, why),
        Named::Found {
            graph,
            budget,
            kept,
        } => {
            draft.take_on();
            let name = draft.task.spec.workflow.as_ref();
            let name = name.map(|named| named.name.as_str()).unwrap_or_default();
            // The types of the API always serialise.
            let digest = names::spec_digest(&graph.spec).unwrap_or_default();
            let revision = format!("{name}@{digest}");
            if !kept {
                draft.run.pin = Some(Box::new(pin(draft.task, &graph.spec)));
            }
            draft.run.open = Some(Box::new(open(draft.task, &revision, *budget)));
            draft.status.steps = Some(StepsStatus {
                revision,
                ..StepsStatus::default()
            });
            advance(draft, seen, graph);
        }
    }
}

/// Stops the Tasks of the steps of a run that is over before its end.
pub(super) fn stop(draft: &mut Draft<'_>) {
    let Some(seen) = draft.seen.run.as_deref() else {
        return;
    };
    let live = seen.found.iter().filter(|(_, found)| {
        found.ours
            && matches!(found.now, run::Child::Live(_))
            && found.state != DesiredState::Cancelled
    });
    draft.run = Todo {
        tell: live
            .map(|(name, _)| (name.clone(), DesiredState::Cancelled))
            .collect(),
        ..Todo::default()
    };
}

/// What the scheduler says.
fn advance(draft: &mut Draft<'_>, seen: &Seen, graph: &Graph) {
    let task = draft.task;
    let held = draft.status.steps.clone().unwrap_or_default();
    if draft.seen.report.is_none() && draft.run.open.is_none() {
        // The gateway has lost it, or never had it.
        draft.run.open = Some(Box::new(open(task, &held.revision, seen.budget)));
    }
    let before = draft.status.ran_for.as_ref();
    let before = before.and_then(|ran| ran.get().ok()).unwrap_or_default();
    let since = held.running_since.as_ref().map(|since| since.0);
    let ran = before.saturating_add(since.map_or(Duration::ZERO, |since| draft.since(since)));
    let moves = run::advance(
        graph,
        &held,
        &run::Seen {
            now: draft.seen.now,
            task: task.metadata.name.as_deref().unwrap_or_default(),
            uid: task.metadata.uid.as_deref().unwrap_or_default(),
            wanted: task.spec.state,
            params: &seen.params,
            found: &seen.found,
            ran,
        },
    );
    for made in &moves.make {
        let (reason, kind) = match &made.what {
            What::Task(_) => (Reason::StepStarted, "Task"),
            What::Approval { .. } => (Reason::ApprovalAsked, "Approval"),
        };
        draft.asked(reason, kind, &made.name);
        draft.run.make.push(object(draft, &held.revision, made));
    }
    draft.run.tell = moves.tell;
    let mut steps = moves.steps;
    clock(draft, &mut steps, ran, moves.over.is_some());
    if draft.status.started_at.is_none() && !steps.active.is_empty() {
        draft.status.started_at = Some(Time(whole_second(draft.seen.now)));
    }
    draft.status.usage = usage(draft, seen);
    if let Some(next) = moves.next {
        draft.look_in(next);
    }
    draft.status.steps = Some(steps);
    match moves.over {
        None => under_way(draft, seen),
        Some(over) => {
            draft.fence("the run has ended");
            match over {
                Over::Succeeded(output) => {
                    draft.status.output = Some(output);
                    draft.complete();
                }
                Over::Failed(FailureStatus { class, message }) => {
                    let class = FailureClass::ALL
                        .into_iter()
                        .find(|known| known.as_str() == class);
                    draft.fail(class.unwrap_or(FailureClass::StepFailed), &message);
                }
                Over::Cancelled => draft.cancel(),
            }
        }
    }
}

/// The time of a run runs while a Task of a step is under way that neither is paused nor waits.
fn clock(draft: &mut Draft<'_>, steps: &mut StepsStatus, ran: Duration, over: bool) {
    let works = |phase: Phase| matches!(phase, Phase::Pending | Phase::Running);
    let runs = !over
        && draft.task.spec.state != DesiredState::Paused
        && (steps.active.is_empty()
            || steps
                .active
                .iter()
                .any(|step| step.kind == RequestKind::Task && works(step.phase)));
    if runs {
        let now = whole_second(draft.seen.now);
        steps.running_since.get_or_insert(Time(now));
    } else if steps.running_since.take().is_some() {
        draft.status.ran_for = Some(GepDuration::from_duration(ran));
    }
}

/// How it stands, for people.
fn under_way(draft: &mut Draft<'_>, seen: &Seen) {
    let Some(steps) = draft.status.steps.clone() else {
        return;
    };
    let ended =
        steps.succeeded.len() + steps.skipped.len() + steps.omitted.len() + steps.failed.len();
    let asked = steps
        .active
        .iter()
        .find(|step| step.kind == RequestKind::Approval);
    let only_asks = steps.active.iter().all(|step| step.phase == Phase::Waiting);
    let (phase, reason, text) = if draft.task.spec.state == DesiredState::Paused {
        let text = "spec.state is Paused; set it to Running, and the Task goes on".to_owned();
        (Phase::Paused, reason::PAUSED, text)
    } else if let (true, Some(step)) = (only_asks, asked) {
        let namespace = draft.task.metadata.namespace.as_deref().unwrap_or_default();
        let (approvers, form) = seen.asked.get(&step.object).cloned().unwrap_or_default();
        let command = command(namespace, &step.object, &form);
        let text = format!("step {} waits for {approvers}: {command}", step.name);
        (Phase::Waiting, reason::WAITING_FOR_APPROVAL, text)
    } else {
        let mut names: Vec<String> = steps
            .active
            .iter()
            .take(NAMED)
            .map(|step| format!("{} ({:?} {})", step.name, step.kind, step.object))
            .collect();
        if steps.active.len() > NAMED {
            names.push(format!("{} more", steps.active.len() - NAMED));
        }
        let mut text = format!("{ended} of {} steps have ended", steps.total);
        if !names.is_empty() {
            text.push_str(&format!("; under way: {}", names.join(", ")));
        }
        if let Some(failure) = steps
            .ending
            .as_ref()
            .and_then(|ending| ending.failure.as_ref())
        {
            text.push_str(&format!("; the run stops: {}", failure.message));
        }
        let waits = !steps.active.is_empty() && only_asks;
        let phase = if waits {
            Phase::Waiting
        } else {
            Phase::Running
        };
        let reason = if waits {
            reason::WAITING_FOR_TASK
        } else {
            reason::RUNNING
        };
        (phase, reason, text)
    };
    draft.runs(phase, reason, &text);
}

/// What all of its steps have used. The sums are the gateway's, exact and with whatever is below the steps; calls and models are those of the
/// steps themselves.
fn usage(draft: &Draft<'_>, seen: &Seen) -> Option<Usage> {
    let below = draft.seen.report.as_ref()?.below;
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let nothing = below.cost_pico == 0 && below.input_tokens == 0 && seen.calls == 0;
    (!nothing).then(|| Usage {
        calls: seen.calls,
        input_tokens: number(below.input_tokens),
        output_tokens: number(below.output_tokens),
        cached_tokens: number(below.cached_tokens),
        total_tokens: number(below.input_tokens.saturating_add(below.output_tokens)),
        usd: Usd::from_pico(below.cost_pico).0,
        models: seen.models.clone(),
    })
}

/// The Workflow as it is kept: in the Task's namespace and owned by it, so that it is there as long as the Task is.
fn pin(task: &Task, spec: &WorkflowSpec) -> ControllerRevision {
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    ControllerRevision {
        metadata: ObjectMeta {
            labels: Some([(names::TASK_UID_LABEL.to_owned(), uid.to_owned())].into()),
            ..made_for(task, &names::revision_name(name, uid))
        },
        data: serde_json::to_value(spec).ok().map(RawExtension),
        revision: 1,
    }
}

fn open(task: &Task, revision: &str, budget: TaskBudget) -> OpenAttempt {
    OpenAttempt {
        runs_in: RunsIn::Operator,
        assignment: Some(Assignment {
            task: super::assignment::task_ref(task),
            target: Target::Workflow(WorkflowTarget {
                pinned: revision.to_owned(),
            }),
            continues: None,
            handed: None,
            replay: None,
            repositories: Vec::new(),
            files: Vec::new(),
            artifacts: Vec::new(),
            accept: None,
            sandbox: None,
        }),
        budget,
        requested_by: task.spec.requested_by.clone(),
        parent: requests::parent(task).map(|parent| parent.uid.clone()),
        labels: super::plan::ledger_labels(task),
    }
}

/// The object of a step.
fn object(draft: &Draft<'_>, revision: &str, made: &Make) -> Made {
    let task = draft.task;
    let step = (names::STEP_LABEL.to_owned(), made.step.clone());
    match &made.what {
        What::Task(spec) => {
            let mut labels = child_labels(task, depth(task) + 1);
            labels.extend([step]);
            Made::Task(Box::new(Task {
                metadata: ObjectMeta {
                    labels: Some(labels),
                    ..made_for(task, &made.name)
                },
                spec: oarmaster_crds::TaskSpec {
                    requested_by: task.spec.requested_by.clone(),
                    ..(**spec).clone()
                },
                status: None,
            }))
        }
        What::Approval {
            ask,
            show,
            form,
            approvers,
            timeout,
            on_timeout,
        } => {
            // What is approved: this step of this revision, with what is shown.
            let action = action(&made.step, &serde_json::json!([revision, ask, show]));
            let wanted = requests::Wanted {
                ask: ask.clone(),
                form: form.clone(),
                show: show.clone(),
                action: Some(action),
                approvers,
                timeout,
                on_timeout: *on_timeout,
            };
            Made::Approval(Box::new(Approval {
                metadata: ObjectMeta {
                    labels: Some([step].into()),
                    ..made_for(task, &made.name)
                },
                spec: requests::spec(draft.seen.now, task, wanted),
                status: None,
            }))
        }
    }
}

/// Parameters with their defaults.
pub(super) fn params(
    spec: &WorkflowSpec,
    given: Option<&BTreeMap<String, Value>>,
) -> Result<Map<String, Value>, String> {
    let schema = oarmaster_crds::commands::Params::new("params", spec.params.as_ref())
        .map_err(|problems| summary(&problems))?;
    let empty = BTreeMap::new();
    let values = schema
        .complete("spec.params", given.unwrap_or(&empty))
        .map_err(|problems| summary(&problems))?;
    Ok(values
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_owned()))
        .collect())
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Who decides an Approval, and what is filled in.
fn asks(approval: &Approval) -> observe::Asks {
    (who(&approval.spec.approvers), approval.spec.form.clone())
}
