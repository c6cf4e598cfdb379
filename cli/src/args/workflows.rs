//! `oar workflows`.

use super::CommandsFormat;
use clap::Args as ClapArgs;

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar workflows                         every Workflow of the namespace
  oar workflows -A --search release     of the cluster, where release stands in the name or the description
  oar workflows release-notes           one of them: what it takes, its steps, and a line that runs it")]
pub struct Workflows {
    /// The Workflow
    #[arg(conflicts_with_all = ["all_namespaces", "search"])]
    pub workflow: Option<String>,
    /// Only Workflows with this text in their name or their description
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Workflows of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Print the objects, or their names line by line
    #[arg(short, long, value_enum)]
    pub output: Option<CommandsFormat>,
}
