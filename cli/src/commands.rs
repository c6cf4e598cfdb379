//! The commands, one file each.

mod agent_commands;
mod approvals;
mod audit;
mod below;
mod cost;
mod decide;
mod erase;
mod get;
mod list;
mod logs;
mod memory;
mod params;
mod pools;
mod rerun;
mod result;
mod run;
mod state;
mod watch;
mod workflows;

use crate::args::{Args, Command};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::steps::word;
use oarmaster_crds::Task;
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::memo::MemoSource;
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_crds::kinds::task::Phase;
use state::State;

/// Carries a command out.
pub async fn run(args: Args) -> Result<(), Error> {
    let Args { global, command } = args;
    let cluster = Cluster::connect(&global).await?;
    match command {
        Command::Run(args) => run::run(&cluster, args).await,
        Command::List(args) => list::run(&cluster, args).await,
        Command::Get(args) => get::run(&cluster, args).await,
        Command::Logs(args) => logs::run(&cluster, args).await,
        Command::Result(args) => result::run(&cluster, args).await,
        Command::Cancel(args) => state::run(&cluster, &args.task, State::Cancelled).await,
        Command::Rollback(args) => state::run(&cluster, &args.task, State::RolledBack).await,
        Command::Rerun(args) => rerun::run(&cluster, &args).await,
        Command::Pause(args) => state::run(&cluster, &args.task, State::Paused).await,
        Command::Resume(args) => state::run(&cluster, &args.task, State::Running).await,
        Command::Approvals(args) => approvals::run(&cluster, args).await,
        Command::Approve(args) => decide::approve(&cluster, args).await,
        Command::Reject(args) => decide::reject(&cluster, args).await,
        Command::Workflows(args) => workflows::run(&cluster, args).await,
        Command::Commands(args) => agent_commands::run(&cluster, args).await,
        Command::Pools(args) => pools::run(&cluster, args).await,
        Command::Memory(args) => memory::run(&cluster, args).await,
        Command::Erase(args) => erase::run(&cluster, args).await,
        Command::Cost(args) => cost::run(&cluster, args).await,
        Command::Audit(args) => audit::run(&cluster, args).await,
    }
}

/// The phase of a Task in a word.
fn phase(task: &Task) -> &'static str {
    let phase = task.status.as_ref().and_then(|status| status.phase);
    word(phase.unwrap_or(Phase::Pending))
}

/// Whether a Task runs a workflow, or a plan: then it has steps, and no transcript of its own.
fn is_run(task: &Task) -> bool {
    task.spec.is_run()
}

/// Whether the Task did what it was asked.
fn is_complete(task: &Task) -> bool {
    task.status
        .as_ref()
        .is_some_and(|status| conditions::is_true(&status.conditions, conditions::COMPLETE))
}

/// Why a Task is as it is: its failure, else what its conditions say is missing.
fn why(task: &Task) -> Option<String> {
    let status = task.status.as_ref()?;
    if let Some(failure) = &status.failure {
        return Some(format!("{}: {}", failure.class, failure.message));
    }
    [conditions::ACCEPTED, conditions::READY]
        .into_iter()
        .filter_map(|kind| conditions::find(&status.conditions, kind))
        .find(|held| held.status == "False" && !held.message.is_empty())
        .map(|held| {
            if held.reason == phase(task) {
                held.message.clone()
            } else {
                format!("{}: {}", held.reason, held.message)
            }
        })
}

/// How the steps of a run stand, once it has begun.
fn steps(task: &Task) -> Option<&StepsStatus> {
    task.status.as_ref()?.steps.as_deref()
}

/// The Task whose outcome a Task took, if it did.
fn source(task: &Task) -> Option<&MemoSource> {
    task.status.as_ref()?.memo.as_ref()?.from.as_ref()
}

/// The command that shows what happened to a Task.
fn what_happened(task: &Task, full: bool) -> &'static str {
    match (is_run(task), full) {
        (true, _) => "oar get",
        (false, true) => "oar logs --full",
        (false, false) => "oar logs",
    }
}

fn name(task: &Task) -> &str {
    task.metadata.name.as_deref().unwrap_or_default()
}
