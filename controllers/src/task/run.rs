//! A Task with a workflow: its run. The scheduler (`oarmaster_workflow::run`) says what is next; here it becomes the status of the Task and
//! the objects of its steps. Pure.

mod act;
mod again;
mod fold;
pub(in crate::task) mod goal;
mod lease;
mod memory;
mod observe;
mod past;
pub mod slot;

pub(super) use act::{Carried, carry_out};
pub(super) use again::goes_on;
use again::more;
pub use goal::{Facts, Known};
pub(super) use lease::release as give_back;
pub use memory::{Memories, Memory};
pub(super) use observe::observe;
pub use observe::{Named, Seen};
pub use slot::Release;

use super::draft::Draft;
use super::memo;
use super::requests::{self, child_labels, command, depth, made_for, who};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use oarmaster_crds::conditions::{reason, whole_second};
use oarmaster_crds::kinds::steps::{ActiveStep, StepKind, StepsStatus};
use oarmaster_crds::kinds::task::{DesiredState, FailureStatus, Phase};
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{Allow, Approval, GepDuration, Task, WorkflowSpec, access, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{MAX_LABELS, OpenAttempt, RunsIn, TaskBudget};
use oarmaster_protocol::assignment::{Assignment, Target, WorkflowTarget, Workspace};
use oarmaster_protocol::request::action;
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::made;
use oarmaster_workflow::run::{self, Fold, Folding, Lists, Make, Over, Want, What};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// How soon a gateway that does not answer is asked again.
const GATEWAY_LOOK: Duration = Duration::from_secs(2);
/// Steps that are named in a message.
const NAMED: usize = 4;

/// What a pass does for a run, in this order; then the status is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Todo {
    /// Keep this Workflow, unless one is kept.
    pub pin: Option<Box<ControllerRevision>>,
    /// Take this place among the runs of its key.
    pub slot: Option<Box<Lease>>,
    /// Open the attempt at the gateway.
    pub open: Option<(u32, Box<OpenAttempt>)>,
    /// Make these objects.
    pub make: Vec<Made>,
    /// Tell these Tasks what to do, by name.
    pub tell: Vec<(String, DesiredState)>,
    /// Read this of items whose Tasks were let go, and make the pass again.
    pub read: Vec<Want>,
    /// Let Tasks of these items go.
    pub fold: Vec<Fold>,
    /// Remember these lists of items.
    pub lists: Lists,
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
    if let Some(goal) = &draft.task.spec.goal {
        return goal::plan(draft, seen, goal);
    }
    if draft.attempt().is_some() {
        match &seen.graph {
            Some(graph) => advance(draft, seen, graph),
            None => lost(
                draft,
                "its ControllerRevision is gone or cannot be read; create the Task anew",
            ),
        }
        return;
    }
    if !may_begin(draft) {
        return;
    }
    match &seen.named {
        Named::NotLooked => draft.look_in(Duration::ZERO),
        Named::Missing(what) => draft.wait_for(what),
        Named::Refused(class, why) => draft.refuse(*class, why),
        Named::Found { .. } if memo::stands_in(draft) => {}
        // Nothing of it begins before it is written down that it does.
        Named::Found { graph, kept } => {
            let slot = match slot::enter(draft, seen, graph) {
                Ok(slot) => slot,
                Err(why) => return draft.fail(FailureClass::Conflict, &why),
            };
            draft.take_on();
            let name = draft.task.spec.workflow.as_ref();
            let name = name.and_then(|named| named.name.as_deref());
            let name = name.unwrap_or("spec");
            // The types of the API always serialise.
            let digest = names::spec_digest(&graph.spec).unwrap_or_default();
            if !kept {
                draft.run.pin = Some(Box::new(pin(draft.task, &graph.spec, None)));
            }
            draft.status.steps = Some(Box::new(StepsStatus {
                // What was asked for before it began is no second time.
                reruns: draft
                    .task
                    .spec
                    .rerun
                    .as_ref()
                    .map_or(0, |rerun| rerun.count),
                revision: format!("{name}@{digest}"),
                slot,
                total: i64::try_from(graph.steps.len()).unwrap_or(i64::MAX),
                progress: format!("0/{}", graph.steps.len()),
                ..StepsStatus::default()
            }));
            under_way(draft, seen);
            draft.look_in(Duration::ZERO);
        }
    }
}

/// Whether a run may begin; where it may not, that is said.
fn may_begin(draft: &mut Draft<'_>) -> bool {
    let problems = match draft.task.spec.state {
        DesiredState::Running => validate::task(&draft.task.spec, &draft.task.metadata),
        DesiredState::Cancelled => {
            draft.cancel();
            return false;
        }
        DesiredState::RolledBack => {
            draft.rolled_back();
            return false;
        }
        DesiredState::Paused => {
            draft.pause();
            return false;
        }
    };
    if let Some(first) = problems.first() {
        draft.refuse(super::refs::class_of(first.rule), &summary(&problems));
        return false;
    }
    if depth(draft.task) >= requests::MAX_DEPTH {
        draft.refuse(FailureClass::LimitReached, &too_deep());
        return false;
    }
    true
}

/// Under which a plan of a goal is remembered by this process.
fn key_of_plan(uid: &str, number: i64) -> String {
    format!("{uid}/{number}")
}

fn too_deep() -> String {
    format!(
        "{} Tasks are above it already; let fewer workflows be steps of each other",
        requests::MAX_DEPTH
    )
}

/// What it needs to go on is gone.
fn lost(draft: &mut Draft<'_>, why: &str) {
    draft.fence("what the run needs to go on is gone");
    draft.fail(FailureClass::StateRegressed, why);
    stop(draft);
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
    again::refuse_early(draft);
    slot::gives_way(draft, seen, graph);
    let wanted = again::wanted(draft, graph);
    let held = draft.status.steps.clone().unwrap_or_default();
    let begun = draft.status.started_at.is_some() || !held.is_untouched();
    if seen.gateway_silent && !begun {
        match task.spec.state {
            // It is looked for attempts that nobody has any more.
            DesiredState::Cancelled => return draft.cancel(),
            DesiredState::RolledBack => return draft.rolled_back(),
            DesiredState::Running | DesiredState::Paused => {}
        }
        // Nothing of it begins before the gateway knows its budget.
        draft.starting("the gateway does not answer");
        draft.look_in(GATEWAY_LOOK);
        return;
    }
    if !slot::has_place(draft, seen, graph, begun) {
        return;
    }
    let of_goal = goal::pinned(task);
    let revision = of_goal.as_ref().unwrap_or(&held.revision);
    // What the next plan of a goal has at its end nobody knows.
    let keeps = graph.has_an_end() || of_goal.is_some();
    if !opened(draft, seen, begun, revision, keeps) {
        return;
    }
    let before = draft.status.ran_for.as_ref();
    let before = before.and_then(|ran| ran.get().ok()).unwrap_or_default();
    let since = held.running_since.as_ref().map(|since| since.0);
    // Its place may just have been found.
    let held = draft.status.steps.clone().unwrap_or(held);
    let ran = before.saturating_add(since.map_or(Duration::ZERO, |since| draft.since(since)));
    let moves = run::advance(
        graph,
        &held,
        &run::Seen {
            now: draft.seen.now,
            task: task.metadata.name.as_deref().unwrap_or_default(),
            uid: task.metadata.uid.as_deref().unwrap_or_default(),
            wanted,
            params: &seen.params,
            found: &seen.found,
            ran,
            most: most(task),
            refused: &refused(task, seen, graph),
            most_tasks: allow(task).map(made::most_steps),
            was_paused: draft.status.phase == Some(Phase::Paused),
            // A graph of a model has few items.
            folding: allow(task).is_none().then_some(Folding::USUAL),
            holds: seen.memory.holds || seen.gateway_silent,
            kept: &seen.memory.kept,
            lists: &seen.memory.lists,
        },
    );
    if !moves.wants.is_empty() {
        draft.run.read = moves.wants;
        return;
    }
    // Where this process was stopped before the end was written down, the same end follows. What would begin a step is of before the end.
    if moves.over.is_none()
        && !moves.make.is_empty()
        && let Some(over) = draft.was_over()
    {
        draft.regressed(&over.reason);
        stop(draft);
        return;
    }
    draft.run.fold = moves.fold;
    draft.run.lists = moves.lists;
    for made in &moves.make {
        draft.stepped(made);
        let mut object = object(draft, &held.revision, made);
        if let Made::Task(child) = &mut object
            && (made.which.undo || graph.is_last(&made.step))
        {
            let labels = child.metadata.labels.get_or_insert_default();
            labels.insert(names::ENDS_LABEL.to_owned(), "true".to_owned());
        }
        draft.run.make.push(object);
    }
    draft.run.tell = moves.tell;
    let mut steps = moves.steps;
    clock(draft, &mut steps, ran, moves.over.is_some());
    if draft.status.started_at.is_none() && !steps.active.is_empty() {
        draft.status.started_at = Some(Time(whole_second(draft.seen.now)));
    }
    sum_up(draft);
    if let Some(next) = moves.next {
        draft.look_in(next);
    }
    draft.status.steps = Some(Box::new(steps));
    match moves.over {
        None => under_way(draft, seen),
        Some(Over::Failed(failure)) if goal::plans_anew(draft, &failure) => {}
        Some(over) => {
            draft.fence("the run has ended");
            match over {
                Over::Succeeded(output) => {
                    draft.status.output = Some(output);
                    draft.complete();
                }
                Over::Failed(FailureStatus { class, message }) => {
                    let class = FailureClass::named(&class);
                    draft.fail(class.unwrap_or(FailureClass::StepFailed), &message);
                }
                Over::Cancelled => draft.cancel(),
                Over::RolledBack => draft.rolled_back(),
            }
        }
    }
}

/// Has the attempt opened, unless it is; whether the pass goes on.
fn opened(draft: &mut Draft<'_>, seen: &Seen, begun: bool, revision: &str, keeps: bool) -> bool {
    if draft.seen.report.is_some() || seen.gateway_silent {
        return true;
    }
    match seen.budget {
        _ if begun && !seen.reopens => {
            lost(
                draft,
                "the gateway does not know the run any more; create the Task anew",
            );
            false
        }
        Some(budget) => {
            let number = draft.attempt().unwrap_or(1);
            let mut open = open(draft.task, revision, budget);
            open.keeps = keeps;
            draft.run.open = Some((number, Box::new(open)));
            true
        }
        None => {
            let class = access::absent("SandboxClass", ("", names::DEFAULT), "");
            draft.wait_for(&class);
            false
        }
    }
}

/// Steps that may be under way at once. A run that is a step of another one has a tenth, so that a tree stays within a thousand.
fn most(task: &Task) -> usize {
    (run::MAX_ACTIVE / 10_usize.pow(depth(task).min(2))).max(1)
}

/// What the graph of a run may name that a model made.
fn allow(task: &Task) -> Option<&Allow> {
    let workflow = task.spec.workflow.as_ref();
    let goal = task.spec.goal.as_ref().map(|goal| &goal.allow);
    goal.or_else(|| workflow?.allow.as_ref())
}

/// Steps that cannot become objects: what the API server said of them, and runs that would be too deep.
fn refused(task: &Task, seen: &Seen, graph: &Graph) -> BTreeMap<String, String> {
    let mut refused = seen.refused.clone();
    if depth(task) + 1 >= requests::MAX_DEPTH {
        let runs = graph
            .steps
            .iter()
            .filter(|step| step.spec.workflow.is_some() || step.spec.goal.is_some());
        refused.extend(runs.map(|step| (step.spec.name.clone(), too_deep())));
    }
    refused
}

/// What all of its steps have used, and whatever is below them: the gateway's sums, which are exact.
pub(super) fn sum_up(draft: &mut Draft<'_>) {
    let report = draft.seen.report.as_ref();
    if let Some(usage) = report.and_then(|report| super::draft::usage(&report.below)) {
        draft.status.usage = Some(usage);
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
                .any(|step| step.kind == StepKind::Task && works(step.phase)));
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
    let ended = steps.ended();
    let asked = steps
        .active
        .iter()
        .find(|step| step.kind == StepKind::Approval);
    let waits = |step: &ActiveStep| matches!(step.phase, Phase::Queued | Phase::Waiting);
    let only_asks = steps.active.iter().all(waits);
    let (phase, reason, text) = if draft.task.spec.state == DesiredState::Paused {
        let text = "spec.state is Paused; set it to Running, and the Task goes on".to_owned();
        (Phase::Paused, reason::PAUSED, text)
    } else if let (true, Some(step)) = (only_asks, asked) {
        let namespace = draft.task.metadata.namespace.as_deref().unwrap_or_default();
        let (approvers, form) = asked_of(draft, seen, &step.object);
        let command = command(namespace, &step.object, &form);
        let text = format!("step {} waits for {approvers}: {command}", step.name);
        (Phase::Waiting, reason::WAITING_FOR_APPROVAL, text)
    } else {
        let mut names: Vec<String> = steps
            .active
            .iter()
            .take(NAMED)
            .map(|step| {
                let why = seen.waits.get(&step.object);
                let why = why.map_or_else(String::new, |why| format!(", which waits: {why}"));
                let by = match &step.due {
                    Some(due) => format!("until {}", due.0),
                    None => format!("{:?} {}{why}", step.kind, step.object),
                };
                format!("{} ({by})", step.label())
            })
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
        let idle = |step: &ActiveStep| matches!(step.phase, Phase::Queued | Phase::Waiting);
        let waits = !steps.active.is_empty() && steps.active.iter().all(idle);
        let phase = if waits {
            Phase::Waiting
        } else {
            Phase::Running
        };
        let reason = if waits {
            let time = |step: &ActiveStep| step.kind == StepKind::Wait;
            match steps.active.iter().all(time) {
                true => reason::WAITING_FOR_TIME,
                false => reason::WAITING_FOR_TASK,
            }
        } else {
            reason::RUNNING
        };
        (phase, reason, text)
    };
    draft.runs(phase, reason, &text);
}

/// Who decides an Approval, and what is filled in; of one that this pass makes, too.
fn asked_of(draft: &Draft<'_>, seen: &Seen, name: &str) -> observe::Asks {
    let made = draft.run.make.iter().find_map(|made| match made {
        Made::Approval(approval) if approval.metadata.name.as_deref() == Some(name) => {
            Some(asks(approval))
        }
        _ => None,
    });
    made.or_else(|| seen.asked.get(name).cloned())
        .unwrap_or_default()
}

/// The Workflow as it is kept: in the Task's namespace and owned by it, so that it is there as long as the Task is.
fn pin(task: &Task, spec: &WorkflowSpec, plan: Option<i64>) -> ControllerRevision {
    let name = task.metadata.name.as_deref().unwrap_or_default();
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    ControllerRevision {
        metadata: ObjectMeta {
            labels: Some([(names::TASK_UID_LABEL.to_owned(), uid.to_owned())].into()),
            ..match plan {
                None => made_for(task, &names::revision_name(name, uid)),
                Some(number) => made_for(task, &names::plan_name(name, uid, number)),
            }
        },
        data: serde_json::to_value(spec).ok().map(RawExtension),
        revision: plan.unwrap_or(1),
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
            workspace: Workspace::default(),
            placed: Vec::new(),
            repositories: Vec::new(),
            files: Vec::new(),
            artifacts: Vec::new(),
            accept: None,
            sandbox: None,
        }),
        budget,
        requested_by: task.spec.requested_by.clone(),
        parent: requests::parent(task).map(|parent| parent.uid.clone()),
        keeps: false,
        ends: requests::ends(task),
        labels: {
            let mut labels = super::plan::ledger_labels(task);
            labels.extend(labels_of_workflow(task));
            labels.into_iter().take(MAX_LABELS).collect()
        },
    }
}

/// The label by which costs are summed up by workflow.
fn labels_of_workflow(task: &Task) -> Option<(String, String)> {
    let name = task.spec.workflow.as_ref()?.name.as_ref()?;
    (name.len() <= 63).then(|| (names::WORKFLOW_LABEL.to_owned(), name.clone()))
}

/// Labels that the Task of a step has of the run: those of its author, and its workflow.
fn labels(task: &Task) -> BTreeMap<String, String> {
    let own = task.metadata.labels.iter().flatten();
    let own = own.filter(|(key, _)| !key.starts_with("oarmaster.dev/"));
    // What says that a package or Git made an object is not true of a step.
    let own = own.filter(|(key, _)| !validate::TRACKING_LABELS.contains(&key.as_str()));
    let own = own.map(|(key, value)| (key.clone(), value.clone()));
    own.chain(labels_of_workflow(task)).collect()
}

/// The object of a step.
fn object(draft: &Draft<'_>, revision: &str, made: &Make) -> Made {
    let task = draft.task;
    let item = made
        .which
        .item
        .map(|item| (names::ITEM_LABEL.to_owned(), item.to_string()));
    let step = (names::STEP_LABEL.to_owned(), made.step.clone());
    let uid = task.metadata.uid.clone().unwrap_or_default();
    let parent = (names::PARENT_UID_LABEL.to_owned(), uid);
    match &made.what {
        What::Task(spec) => {
            let mut labels = labels(task);
            labels.extend(child_labels(task, depth(task) + 1));
            labels.extend([step].into_iter().chain(item));
            Made::Task(Box::new(Task {
                metadata: ObjectMeta {
                    labels: Some(labels),
                    ..made_for(task, &made.name)
                },
                spec: oarmaster_crds::TaskSpec {
                    requested_by: task.spec.requested_by.clone(),
                    priority: task.spec.priority,
                    queue: task.spec.queue.clone(),
                    memo: memo::of_step(task, spec.memo.as_ref()),
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
                    labels: Some([parent, step].into()),
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

/// Who decides an Approval, and what is filled in.
fn asks(approval: &Approval) -> observe::Asks {
    (who(&approval.spec.approvers), approval.spec.form.clone())
}

#[cfg(test)]
pub(in crate::task) mod testing {
    //! What a test needs that plays the caches.

    use super::observe::Asks;
    use oarmaster_crds::{Approval, Task};
    use oarmaster_workflow::run::Found;

    /// How a Task of the run stands.
    pub fn of_task(run: &Task, child: &Task) -> Found {
        super::observe::of_task(run, child)
    }

    /// How an Approval of the run stands, and who decides it.
    pub fn of_approval(run: &Task, approval: &Approval) -> (Found, Asks) {
        (
            super::observe::of_approval(run, approval),
            super::asks(approval),
        )
    }
}
