//! The commands, one file each.

mod agent_commands;
mod audit;
mod cost;
mod get;
mod list;
mod logs;
mod memory;
mod params;
mod pools;
mod result;
mod run;
mod state;
mod watch;

use crate::args::{Args, Command};
use crate::cluster::Cluster;
use crate::error::Error;
use oarmaster_crds::Task;
use oarmaster_crds::conditions;
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
        Command::Pause(args) => state::run(&cluster, &args.task, State::Paused).await,
        Command::Resume(args) => state::run(&cluster, &args.task, State::Running).await,
        Command::Commands(args) => agent_commands::run(&cluster, args).await,
        Command::Pools(args) => pools::run(&cluster, args).await,
        Command::Memory(args) => memory::run(&cluster, args).await,
        Command::Cost(args) => cost::run(&cluster, args).await,
        Command::Audit(args) => audit::run(&cluster, args).await,
    }
}

/// The phase of a Task in a word.
fn phase(task: &Task) -> &'static str {
    match task.status.as_ref().and_then(|status| status.phase) {
        None | Some(Phase::Pending) => "Pending",
        Some(Phase::Running) => "Running",
        Some(Phase::Waiting) => "Waiting",
        Some(Phase::Paused) => "Paused",
        Some(Phase::Succeeded) => "Succeeded",
        Some(Phase::Failed) => "Failed",
        Some(Phase::Cancelled) => "Cancelled",
    }
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

fn name(task: &Task) -> &str {
    task.metadata.name.as_deref().unwrap_or_default()
}
