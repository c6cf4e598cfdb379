//! The command line.

mod approvals;
mod audit;
mod commands;
mod cost;
mod erase;
mod memory;
mod run;
mod workflows;

pub use approvals::{Approvals, Approve, Reject};
pub use audit::{Audit, AuditCommand, AuditFormat, Verify};
pub use commands::{Commands, CommandsFormat};
pub use cost::{By, Cost, CostCommand, CostFormat, Reconcile};
pub use erase::Erase;
pub use memory::{Memory, MemoryCommand, MemoryDelete, MemoryList, Whose};
pub use run::Run;
pub use workflows::Workflows;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use std::path::PathBuf;

/// Heading of the options that say where the cluster is, in every help.
const CLUSTER: &str = "Where";

const AFTER: &str = "\
Exit codes:
  0    done; with --watch: the Task is Complete
  1    the Task ended otherwise than Complete (--watch, result); the log is not what was written (audit verify)
  2    it cannot be done as it was asked: a flag, a file, a name, an object that was refused
  3    the cluster or the gateway cannot be reached, or refuses you
  130  stopped with Ctrl-C; a Task that was started goes on

Examples:
  oar run python-fixer --files ./my-program --watch
  oar run --workflow release-notes -p version=1.4 --watch
  oar list -A
  oar logs -f fix-1
  oar result fix-1 > fix.diff";

/// Run AI agents as Kubernetes Tasks, and see what they do.
#[derive(Parser, Debug)]
#[command(name = "oar", version, after_help = AFTER, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and as whom.
#[derive(ClapArgs, Clone, Debug)]
pub struct Global {
    /// Namespace; default: the context's
    #[arg(short, long, global = true, help_heading = CLUSTER, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; default: the current one
    #[arg(long, global = true, help_heading = CLUSTER, value_name = "NAME")]
    pub context: Option<String>,
    /// Path of the kubeconfig; default: $KUBECONFIG, then ~/.kube/config
    #[arg(long, global = true, help_heading = CLUSTER, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace where Oarmaster is installed
    #[arg(
        long,
        global = true,
        help_heading = CLUSTER,
        value_name = "NAME",
        env = "OAR_SYSTEM_NAMESPACE",
        default_value = "oarmaster-system"
    )]
    pub system_namespace: String,
    /// ServiceAccount whose token the gateway is shown, as NAMESPACE/NAME; for kubeconfigs without a token (client certificates)
    #[arg(long, global = true, help_heading = CLUSTER, value_name = "NAMESPACE/NAME", env = "OAR_TOKEN_FROM", value_parser = token_from)]
    pub token_from: Option<TokenFrom>,
}

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFrom {
    pub namespace: String,
    pub name: String,
}

fn token_from(text: &str) -> Result<TokenFrom, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(TokenFrom {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => Err("write NAMESPACE/NAME, like demo/oar".to_owned()),
    }
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create a Task that runs an agent, with --workflow a workflow, or with --goal what an agent plans
    Run(Run),
    /// List Tasks
    #[command(visible_alias = "ls")]
    List(List),
    /// Show one Task: its phase, why, what it used, what came out; of a workflow its steps
    Get(Get),
    /// Show the transcript of a Task: model calls, tool calls, results, checks
    Logs(Logs),
    /// Print what a Task answered, or save what it kept
    Result(ResultArgs),
    /// Stop a Task for good; of a workflow its steps, and then `finally` runs
    Cancel(OneTask),
    /// Run what failed of a workflow that has ended anew, or --from steps; what has succeeded stays
    Rerun(Rerun),
    /// Undo what a workflow did, by the `undo` of its steps; one that runs is stopped first
    Rollback(OneTask),
    /// Stop a Task until it is resumed: its pod goes, and what an agent did stays; a `run` begins anew; a workflow's Tasks are paused with it
    Pause(OneTask),
    /// Let a paused Task go on: an agent where it stopped, a `run` from its beginning, a workflow with its Tasks
    Resume(OneTask),
    /// List the questions that wait for people, or show one: what is asked, and who may decide
    Approvals(Approvals),
    /// Say yes to a question, under your own name
    Approve(Approve),
    /// Say no to a question, under your own name
    Reject(Reject),
    /// List Workflows, or show one: what it takes, its steps, and how it is run
    Workflows(Workflows),
    /// List the commands of Agents, or show one: what it takes, and how it is run
    Commands(Commands),
    /// Stop the model calls of pools, take them again, or forget answers that were kept
    Pools(Pools),
    /// List or delete what agents remember
    Memory(Memory),
    /// Erase what was kept of a person: transcripts, outputs, artifacts and notes
    Erase(Erase),
    /// Sum up what model calls have cost
    Cost(Cost),
    /// Show who called, read, was let in or refused, and whether that record is whole
    Audit(Audit),
}

/// KEY=VALUE; the value may hold equals signs.
fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty())?;
    Some((key.to_owned(), value.to_owned()))
}

#[derive(ClapArgs, Debug)]
pub struct List {
    /// Tasks of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Print the objects
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(ClapArgs, Debug)]
pub struct Get {
    /// The Task
    pub task: String,
    /// Stay and show what happens until the Task ends
    #[arg(short, long, visible_alias = "follow", conflicts_with = "output")]
    pub watch: bool,
    /// Print the object
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar logs fix-1
  oar logs -f fix-1
  oar logs fix-1 -o json | jq 'select(.kind == \"toolIntent\") | .tool'")]
pub struct Logs {
    /// The Task
    pub task: String,
    /// Stay until the Task ends
    #[arg(short, long)]
    pub follow: bool,
    /// Show results and arguments whole
    #[arg(long)]
    pub full: bool,
    /// The records as they are: one JSON object per line, or one YAML document each
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar result fix-1 > fix.diff && patch -p1 < fix.diff
  oar result fix-1 -o json
  oar result build-7 --artifact src --to src.tar")]
pub struct ResultArgs {
    /// The Task
    pub task: String,
    /// An artifact instead of the answer
    #[arg(long, value_name = "NAME", conflicts_with = "output")]
    pub artifact: Option<String>,
    /// File to save the artifact in; default: standard output
    #[arg(long, value_name = "FILE", requires = "artifact")]
    pub to: Option<PathBuf>,
    /// Print the answer as data; default: its text, else JSON
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(ClapArgs, Debug)]
pub struct OneTask {
    /// The Task
    pub task: String,
}

#[derive(ClapArgs, Debug)]
pub struct Pools {
    #[command(subcommand)]
    pub command: PoolsCommand,
}

#[derive(Subcommand, Debug)]
pub enum PoolsCommand {
    /// Take no new calls; those under way end
    #[command(after_help = "\
Examples:
  oar pools suspend default
  oar pools suspend --all            every pool of the cluster
  oar pools suspend --all -n team-a  every pool of a namespace")]
    Suspend(Which),
    /// Take calls again
    Resume(Which),
    /// Give no answer again that was kept before (spec.cache)
    Flush(Which),
}

#[derive(ClapArgs, Debug)]
pub struct Rerun {
    /// The Task
    pub task: String,
    /// A step to begin from; default: what failed
    #[arg(long, value_name = "STEP")]
    pub from: Vec<String>,
}

#[derive(ClapArgs, Debug)]
pub struct Which {
    /// The ModelPools
    #[arg(
        value_name = "POOL",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub names: Vec<String>,
    /// Every ModelPool: of the namespace that -n names, else of the cluster
    #[arg(long)]
    pub all: bool,
}

/// A day in UTC, or an instant.
fn instant(text: &str) -> Result<Timestamp, String> {
    let day = || {
        let day: jiff::civil::Date = text.parse().ok()?;
        let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(midnight.timestamp())
    };
    day().or_else(|| text.parse().ok()).ok_or_else(|| {
        "write a day like 2026-11-01, or an instant like 2026-11-01T12:00:00Z".to_owned()
    })
}

/// How data are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Yaml,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn which_pools_are_meant_is_said() {
        let parse = |words: &[&str]| Args::try_parse_from([&["oar", "pools"], words].concat());
        assert!(parse(&["suspend", "a", "b"]).is_ok());
        assert!(parse(&["resume", "--all", "-n", "team"]).is_ok());
        assert!(parse(&["flush", "a"]).is_ok());
        assert!(parse(&["suspend"]).is_err());
        assert!(parse(&["suspend", "a", "--all"]).is_err());
    }

    #[test]
    fn values_may_hold_equals_signs() {
        assert_eq!(pair("a=b=c"), Some(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("a="), Some(("a".to_owned(), String::new())));
        assert!(pair("=b").is_none() && pair("a").is_none());
    }

    #[test]
    fn a_time_is_a_day_in_utc_or_an_instant() {
        let at = |text: &str| instant(text).map(|time| time.to_string());
        assert_eq!(at("2026-11-01").unwrap(), "2026-11-01T00:00:00Z");
        assert_eq!(
            at("2026-11-01T02:00:00+02:00").unwrap(),
            "2026-11-01T00:00:00Z"
        );
        assert!(at("yesterday").unwrap_err().contains("2026-11-01"));
    }

    #[test]
    fn a_service_account_needs_its_namespace() {
        assert!(token_from("demo/oar").is_ok());
        assert!(
            token_from("oar").is_err() && token_from("a/b/c").is_err() && token_from("/b").is_err()
        );
    }
}
