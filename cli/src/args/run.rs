//! `oar run`.

use super::{Format, pair};
use clap::Args as ClapArgs;
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar run python-fixer --files ./my-program --watch
  oar run python-fixer --files . -p prompt='Make the tests pass.' --budget 0.25 --timeout 10m
  oar run writer -p prompt='Explain RBAC in three sentences.' --name rbac-1
  oar run coder --command writeTests -p module=parser
  oar run --workflow release-notes -p version=1.4 --watch
  oar run --goal 'Make the tests pass.' --planner architect --allow coder --budget 1 --watch

--files takes the text files below DIR: at most 128, each at most 128 KiB, together at most 900 KiB. Hidden files, __pycache__ and what
.gitignore or .ignore name are left out. The Task gets copies: nothing in DIR changes. Files, their check and the longest time of a workflow
stand in its steps.")]
pub struct Run {
    /// The Agent
    #[arg(required_unless_present_any = ["workflow", "goal"], conflicts_with_all = ["workflow", "goal"])]
    pub agent: Option<String>,
    /// A Workflow in place of an agent; `oar workflows` lists them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["command", "files", "timeout"])]
    pub workflow: Option<String>,
    /// Something to be reached, in place of an agent: --planner plans how, and its plan runs
    #[arg(long, value_name = "TEXT", requires_all = ["planner", "allow"], conflicts_with_all = ["workflow", "command", "params", "files", "timeout"])]
    pub goal: Option<String>,
    /// The Agent that plans
    #[arg(long, value_name = "NAME", requires = "goal")]
    pub planner: Option<String>,
    /// An Agent that may do steps of the plan; once for each
    #[arg(long, value_name = "AGENT", requires = "goal")]
    pub allow: Vec<String>,
    /// Most steps of the plan; default: 30
    #[arg(long, value_name = "NUMBER", requires = "goal", value_parser = clap::value_parser!(i64).range(1..=200))]
    pub steps: Option<i64>,
    /// Be asked yourself before a plan runs: `oar approve`
    #[arg(long, requires = "goal")]
    pub approve_plan: bool,
    /// One of the agent's commands; `oar commands` lists them
    #[arg(long, value_name = "NAME")]
    pub command: Option<String>,
    /// Parameter; an agent takes `prompt`, what it is to do, a command or a workflow what it says. Where no text is wanted the value is JSON
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = param)]
    pub params: Vec<(String, String)>,
    /// Directory whose files are copied into the workspace
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// Leave binary files out instead of refusing them
    #[arg(long, requires = "files")]
    pub skip_binary: bool,
    /// Name of the Task; default: the agent's, the workflow's or the planner's and some letters
    #[arg(long)]
    pub name: Option<String>,
    /// Most that may be spent, in USD; default: the agent's or the workflow's, else the SandboxClass's
    #[arg(long, value_name = "USD")]
    pub budget: Option<String>,
    /// Longest running time, like 90s or 1h30m; default: 20m
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Who comes first where Tasks wait for a place, -1000 to 1000; default: 0
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1000..=1000))]
    pub priority: Option<i64>,
    /// Kueue's LocalQueue in which the Task's Jobs wait
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Stay and show what happens until the Task ends
    #[arg(short, long, visible_alias = "follow", conflicts_with = "output")]
    pub watch: bool,
    /// Print the object that was created
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

fn param(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "write KEY=VALUE, like prompt='Make the tests pass.'".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::args::Args;
    use clap::Parser as _;

    #[test]
    fn an_agent_is_run_or_a_workflow_or_a_goal() {
        for (words, right) in [
            (&["coder", "-p", "prompt=x"][..], true),
            (&["--workflow", "ship", "-p", "version=2"], true),
            (&["--workflow", "ship", "--budget", "1", "--follow"], true),
            (&[], false),
            (&["coder", "--workflow", "ship"], false),
            (&["--workflow", "ship", "--command", "write"], false),
            (&["--workflow", "ship", "--files", "."], false),
            (&["--workflow", "ship", "--timeout", "1h"], false),
            (
                &[
                    "--workflow",
                    "ship",
                    "--priority",
                    "-5",
                    "--queue",
                    "nightly",
                ],
                true,
            ),
            (&["coder", "--priority", "1001"], false),
            (&["--workflow", "ship", "-p", "version"], false),
            (&["--workflow", "ship", "--follow", "-o", "json"], false),
            (
                &[
                    "--goal",
                    "x",
                    "--planner",
                    "a",
                    "--allow",
                    "c",
                    "--allow",
                    "d",
                ],
                true,
            ),
            (
                &[
                    "--goal",
                    "x",
                    "--planner",
                    "a",
                    "--allow",
                    "c",
                    "--approve-plan",
                    "--steps",
                    "9",
                ],
                true,
            ),
            (&["--goal", "x", "--planner", "a"], false),
            (&["--goal", "x", "--allow", "c"], false),
            (&["coder", "--approve-plan"], false),
            (
                &["coder", "--goal", "x", "--planner", "a", "--allow", "c"],
                false,
            ),
            (
                &["--goal", "x", "--planner", "a", "--allow", "c", "-p", "a=b"],
                false,
            ),
            (
                &[
                    "--goal",
                    "x",
                    "--planner",
                    "a",
                    "--allow",
                    "c",
                    "--steps",
                    "0",
                ],
                false,
            ),
        ] {
            let read = Args::try_parse_from([&["oar", "run"], words].concat());
            assert_eq!(read.is_ok(), right, "{words:?}: {read:?}");
        }
    }
}
