//! `oar cancel`, `oar pause`, `oar resume` and `oar rollback`: what a Task should be doing.

use super::{is_run, name, steps};
use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::follow::is_finished;
use crate::output;
use kube::api::{Patch, PatchParams};
use oarmaster_crds::kinds::task::DesiredState;
pub use oarmaster_crds::kinds::task::DesiredState as State;
use serde_json::json;

pub async fn run(cluster: &Cluster, task: &str, state: State) -> Result<(), Error> {
    let task = cluster.task(task).await?;
    let look = format!("oar get {}{}", name(&task), cluster.flags());
    let refuse = |what: &str| Err(Error::input(format!("Task {} {what}", name(&task))).next(look));
    let now = task.spec.state;
    if state == DesiredState::RolledBack {
        if !is_run(&task) {
            return refuse("runs no workflow: only that says how it is undone");
        }
        if now == DesiredState::RolledBack {
            return refuse("is being rolled back, or was");
        }
    } else if is_finished(&task) {
        return refuse("has already ended");
    } else if now == DesiredState::RolledBack {
        return refuse("is being rolled back");
    }
    let stops = matches!(state, DesiredState::Cancelled | DesiredState::RolledBack);
    if now == DesiredState::Cancelled && !stops {
        return refuse("is being cancelled");
    }
    if state == DesiredState::Running && now != DesiredState::Paused {
        return refuse("is not paused");
    }
    let patch = Patch::Merge(json!({"spec": {"state": state}}));
    let (verb, done) = words(state, steps(&task).is_some());
    let act = format!("failed to {verb} Task {}", name(&task));
    call(
        &act,
        cluster
            .tasks()
            .patch(name(&task), &PatchParams::default(), &patch),
    )
    .await?;
    output::line(&format!("Task {} {done}", name(&task)))
}

/// What is done, and what becomes of the Task. `run`: it is a run that has begun.
fn words(state: State, run: bool) -> (&'static str, &'static str) {
    match (state, run) {
        (DesiredState::Cancelled, false) => ("cancel", "is being cancelled"),
        (DesiredState::Cancelled, true) => (
            "cancel",
            "is being cancelled: its steps are stopped, then `finally` runs",
        ),
        (DesiredState::Paused, false) => ("pause", "is being paused"),
        (DesiredState::Paused, true) => (
            "pause",
            "is being paused, and its Tasks with it: no step begins; what people are asked can be decided all the same",
        ),
        (DesiredState::RolledBack, _) => (
            "roll back",
            "is being rolled back: its steps are stopped, and what they did is undone",
        ),
        (DesiredState::Running, false) => ("resume", "goes on"),
        (DesiredState::Running, true) => ("resume", "goes on, and its Tasks with it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_run_is_said_with_its_steps() {
        for (state, task, run) in [
            (State::Cancelled, "is being cancelled", "`finally` runs"),
            (State::Paused, "is being paused", "no step begins"),
            (State::Running, "goes on", "and its Tasks with it"),
        ] {
            let (verb, said) = words(state, true);
            assert!(said.starts_with(task) && said.contains(run), "{said}");
            assert_eq!(words(state, false), (verb, task));
        }
    }
}
