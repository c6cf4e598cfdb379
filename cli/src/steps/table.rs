//! The steps of a run as a table, and what is waited for.

use super::{OMITTED, State, failure, items, states, word};
use crate::asked::{asks, by};
use crate::graph;
use crate::text::{duration, one_line};
use jiff::Timestamp;
use oarmaster_crds::kinds::steps::{ActiveStep, StepKind, StepsStatus};
use oarmaster_crds::kinds::task::RequestKind;
use oarmaster_crds::kinds::workflow::StepSpec;
use oarmaster_crds::{Approval, Task, WorkflowSpec, conditions, names};
use std::time::Duration;

/// The columns.
pub const HEADER: [&str; 6] = ["STEP", "STATE", "WHAT", "OBJECT", "TOOK", "WHY"];
/// Characters of a reason in the table.
const WHY: usize = 120;

/// What is known of a run beside its status. What cannot be read is not there, and less is said.
#[derive(Debug, Default)]
pub struct Below {
    /// The Workflow that runs, as it is kept.
    pub spec: Option<WorkflowSpec>,
    /// The Tasks of its steps.
    pub tasks: Vec<Task>,
    /// The Approvals of its steps.
    pub approvals: Vec<Approval>,
}

impl Below {
    fn step(&self, name: &str) -> Option<&StepSpec> {
        graph::all(self.spec.as_ref()?).find(|step| step.name == name)
    }

    fn task(&self, step: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| is_of(*task, step))
    }

    /// The Approval of a step; of those that were asked for again the last one, unless it is named.
    fn approval(&self, step: &str, object: Option<&str>) -> Option<&Approval> {
        let all = self.approvals.iter().filter(|held| is_of(*held, step));
        let named = |held: &&Approval| object.is_none() || held.metadata.name.as_deref() == object;
        let created = |held: &&Approval| {
            let time = held.metadata.creation_timestamp.as_ref();
            time.map(|time| time.0)
        };
        all.filter(named).max_by_key(created)
    }
}

fn is_of<K: kube::Resource>(object: &K, step: &str) -> bool {
    let labels = object.meta().labels.as_ref();
    let held = labels.and_then(|labels| labels.get(names::STEP_LABEL));
    held.is_some_and(|held| held == step)
}

/// One row for each step: all of them, where it is known what runs.
pub fn rows(steps: &StepsStatus, below: &Below, now: Timestamp) -> Vec<Vec<String>> {
    let known = states(steps);
    let of = |name: &str| {
        let state = known.iter().find(|(held, _)| *held == name);
        state.map_or(State::Idle, |(_, state)| state.clone())
    };
    let Some(spec) = &below.spec else {
        let row = |(name, state): &(String, State)| row(name, state, steps, below, now);
        return known.iter().map(row).collect();
    };
    let row = |step: &StepSpec| row(&step.name, &of(&step.name), steps, below, now);
    graph::all(spec).map(row).collect()
}

fn row(
    name: &str,
    state: &State,
    steps: &StepsStatus,
    below: &Below,
    now: Timestamp,
) -> Vec<String> {
    let object = match state {
        State::Active(step) => Some(step.object.as_str()),
        State::Failed(step) => step.object.as_deref(),
        _ => None,
    };
    // Of items there are many.
    let fans = steps.fans.iter().any(|fan| fan.name == name);
    let task = below.task(name).filter(|_| !fans);
    let approval = below.approval(name, object);
    let found = match (task, approval) {
        (Some(task), _) => task.metadata.name.as_deref(),
        (None, Some(approval)) => approval.metadata.name.as_deref(),
        (None, None) => object,
    };
    let what = task.and_then(|task| task.status.as_ref()?.target.clone());
    let what = what.or_else(|| below.step(name).map(graph::target));
    let what = what.or_else(|| approval.map(|_| "approval".to_owned()));
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let cell = |text: Option<String>| some(text).unwrap_or_else(|| "-".to_owned());
    let why = match state {
        State::Idle => below.step(name).map(|step| needs(step, steps, below)),
        State::Active(step) => active(step, task, approval, now),
        State::Items(fan, active) => Some(items(fan, *active)),
        State::Undone => None,
        State::Succeeded => approval.map(by),
        State::Skipped => {
            let condition = below.step(name).and_then(|step| step.condition.clone());
            Some(match condition {
                Some(condition) => format!("not true: {condition}"),
                None => "its `if` is false".to_owned(),
            })
        }
        State::Omitted => Some(OMITTED.to_owned()),
        State::Failed(step) => Some(failure(step)),
    };
    let state = match state {
        State::Idle => "Pending",
        State::Active(step) => word(step.phase),
        State::Items(..) => "Running",
        State::Undone => "Undone",
        State::Succeeded => "Succeeded",
        State::Skipped => "Skipped",
        State::Omitted => "Omitted",
        State::Failed(step) if step.class == "Cancelled" => "Cancelled",
        State::Failed(_) => "Failed",
    };
    vec![
        name.to_owned(),
        state.to_owned(),
        cell(what),
        cell(found.map(str::to_owned)),
        cell(took(task, approval, now).map(duration)),
        some(why).map_or_else(String::new, |why| one_line(&why, WHY)),
    ]
}

/// What a step that has not begun waits for.
fn needs(step: &StepSpec, steps: &StepsStatus, below: &Below) -> String {
    let Some(spec) = &below.spec else {
        return String::new();
    };
    if graph::is_last(spec, step) && steps.ending.is_none() {
        return "begins when all others have ended".to_owned();
    }
    let ended = |name: &&str| {
        let state = states(steps).into_iter().find(|(held, _)| held == name);
        !matches!(state, None | Some((_, State::Active(_) | State::Items(..))))
    };
    let open = graph::needs(spec, step).into_iter();
    let open: Vec<&str> = open.filter(|name| !ended(name)).collect();
    if open.is_empty() {
        return String::new();
    }
    format!("needs {}", open.join(", "))
}

/// Why a step goes on: of a Task what it waits for, of one with a workflow how far it is; of an Approval who decides.
fn active(
    step: &ActiveStep,
    task: Option<&Task>,
    approval: Option<&Approval>,
    now: Timestamp,
) -> Option<String> {
    if step.kind == StepKind::Approval {
        return approval.map(|approval| asks(approval, now));
    }
    if let Some(due) = &step.due {
        return Some(format!("until {}", due.0));
    }
    let task = task?;
    if let Some(asked) = asked(task).next() {
        return Some(format!("waits for people: Approval {asked}"));
    }
    let status = task.status.as_ref()?;
    if let Some(steps) = &status.steps {
        return Some(format!("{} steps have ended", steps.progress));
    }
    conditions::find(&status.conditions, conditions::READY)
        .filter(|held| held.status == "False" && held.reason != conditions::reason::RUNNING)
        .map(|held| held.message.clone())
}

/// For how long it has run, or people were asked.
fn took(task: Option<&Task>, approval: Option<&Approval>, now: Timestamp) -> Option<Duration> {
    let (from, to) = if let Some(task) = task {
        let status = task.status.as_ref()?;
        (status.started_at.as_ref()?, status.finished_at.as_ref())
    } else {
        let held = approval?;
        let status = held.status.as_ref();
        (
            held.metadata.creation_timestamp.as_ref()?,
            status.and_then(|status| status.decided_at.as_ref()),
        )
    };
    let to = to.map_or(now, |to| to.0);
    Duration::try_from(to.duration_since(from.0)).ok()
}

/// The Approvals that a Task waits for: those that its agent asked for, and those of its own steps.
fn asked(task: &Task) -> impl Iterator<Item = &str> {
    let status = task.status.iter();
    let requests = status.clone().flat_map(|status| &status.requests);
    let requests = requests.filter(|entry| entry.kind == RequestKind::Approval);
    let steps = status.flat_map(|status| &status.steps);
    let steps = steps.flat_map(|steps| &steps.active);
    let steps = steps.filter(|step| step.kind == StepKind::Approval);
    let requests = requests.map(|entry| entry.name.as_str());
    requests.chain(steps.map(|step| step.object.as_str()))
}

/// Of each question that people are asked for a step, or by its Task: the step, who decides, and the command that shows it.
pub fn waits(steps: &StepsStatus, below: &Below, now: Timestamp, flags: &str) -> Vec<String> {
    let of = |step: &ActiveStep| -> Vec<String> {
        let ActiveStep { name, object, .. } = step;
        let say = |who: &str, approval: &str| {
            format!("step {name} {who}: oar approvals {approval}{flags}")
        };
        let people = "waits for people";
        if step.kind == StepKind::Approval {
            let held = below.approval(name, Some(object));
            let who = held.map(|held| asks(held, now));
            return vec![say(who.as_deref().unwrap_or(people), object)];
        }
        let below = below.task(name).into_iter().flat_map(asked);
        below.map(|approval| say(people, approval)).collect()
    };
    steps.active.iter().flat_map(of).collect()
}
