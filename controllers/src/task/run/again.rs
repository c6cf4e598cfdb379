//! A run that has ended goes on: steps of it are run anew, or it is undone. What cannot be is refused, and that is said once. Pure.

use super::super::draft::Draft;
use super::super::requests;
use super::slot;
use oarmaster_crds::Task;
use oarmaster_crds::conditions::whole_second;
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_workflow::graph::Graph;
use oarmaster_workflow::run;

/// It is no second time while the first one goes on.
pub(super) fn refuse_early(draft: &mut Draft<'_>) {
    let held = draft.status.steps.as_ref().map_or(0, |steps| steps.reruns);
    if asked(draft.task) > held {
        let why = "the run has not ended; raise rerun.count again when it has";
        refuse_more(draft, More::Rerun, why);
    }
}

/// What the run should be doing. What has no step that can be undone is not rolled back, and goes on.
pub(super) fn wanted(draft: &mut Draft<'_>, graph: &Graph) -> DesiredState {
    let state = draft.task.spec.state;
    let slot = slot::of_status(&draft.status);
    let goes_on = matches!(state, DesiredState::Running | DesiredState::Paused);
    if goes_on && slot.is_some_and(|slot| slot.replaced_by.is_some()) {
        return DesiredState::Cancelled;
    }
    if state == DesiredState::RolledBack && !graph.can_be_undone() {
        if !draft.status.steps.as_deref().is_some_and(is_told) {
            refuse_more(draft, More::RollBack, run::NOTHING_TO_UNDO);
        }
        return DesiredState::Running;
    }
    state
}

/// What somebody wants of a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    /// To run steps of it anew.
    Rerun,
    /// To undo it.
    RollBack,
}

/// What somebody wants of a run that has ended.
pub(super) fn more(task: &Task) -> Option<More> {
    let status = task.status.as_ref()?;
    let steps = status.steps.as_ref()?;
    let ending = steps.ending.as_ref();
    if task.spec.workflow.is_none() || task.metadata.deletion_timestamp.is_some() {
        return None;
    }
    match task.spec.state {
        DesiredState::RolledBack
            if ending.is_none_or(|ending| ending.phase != Phase::RolledBack) && !is_told(steps) =>
        {
            Some(More::RollBack)
        }
        _ if asked(task) > steps.reruns => Some(More::Rerun),
        _ => None,
    }
}

/// With what the refusal of a rollback begins.
const ROLLBACK: &str = "rollback";

/// Whether it was said that the run is not rolled back.
fn is_told(steps: &StepsStatus) -> bool {
    let why = steps.refused.as_ref();
    why.is_some_and(|why| why.starts_with(ROLLBACK))
}

/// How often somebody asked for a rerun.
pub(super) fn asked(task: &Task) -> i64 {
    task.spec.rerun.as_ref().map_or(0, |rerun| rerun.count)
}

fn stopped(task: &Task) -> bool {
    matches!(
        task.spec.state,
        DesiredState::Cancelled | DesiredState::RolledBack
    )
}

/// It does not: that is said, once.
fn refuse_more(draft: &mut Draft<'_>, more: More, why: &str) {
    let count = asked(draft.task);
    let what = match more {
        More::Rerun => format!("rerun {count}"),
        More::RollBack => ROLLBACK.to_owned(),
    };
    if let Some(steps) = &mut draft.status.steps {
        if more == More::Rerun {
            steps.reruns = count;
        }
        steps.refused = Some(format!("{what}: {why}"));
    }
    draft.stays(&what, why);
}

/// Whether a run that has ended goes on.
pub(in crate::task) fn goes_on(draft: &mut Draft<'_>) -> bool {
    let Some(more) = more(draft.task) else {
        return false;
    };
    let (Some(seen), Some(held)) = (draft.seen.run.as_deref(), draft.status.steps.clone()) else {
        return false;
    };
    let spec = draft.task.spec.rerun.clone().unwrap_or_default();
    let steps = match &seen.graph {
        _ if requests::parent(draft.task).is_some() => {
            Err("it is a step of another run: run that one anew, or roll it back".to_owned())
        }
        // With another attempt its budget goes on, and does not begin anew.
        _ if draft.seen.report.is_none() => Err(
            "the gateway's record of it is no longer kept (chart value gateway.retention); create the Task anew"
                .to_owned(),
        ),
        _ if more == More::Rerun && stopped(draft.task) => {
            Err("it was stopped (spec.state); create another Task".to_owned())
        }
        None => Err(
            "its ControllerRevision is gone or cannot be read; create the Task anew".to_owned(),
        ),
        Some(graph) => match more {
            More::Rerun => {
                let failed = draft.status.phase == Some(Phase::Failed);
                run::rerun(graph, &held, &spec, failed)
            }
            More::RollBack => run::roll_back(graph, &held, whole_second(draft.seen.now)),
        },
    };
    let graph = seen.graph.as_deref();
    let steps = steps.and_then(|mut steps| {
        if let Some(graph) = graph {
            steps.slot = slot::enter_again(draft, seen, graph)?;
        }
        Ok(steps)
    });
    match steps {
        Ok(steps) => {
            draft.status.steps = Some(Box::new(steps));
            if more == More::Rerun {
                draft.status.ran_for = None;
            }
            draft.reopen();
            true
        }
        Err(why) => {
            refuse_more(draft, more, &why);
            false
        }
    }
}
