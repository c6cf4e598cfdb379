//! `oar commands`.

use clap::{Args as ClapArgs, ValueEnum};

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar commands                          every command of the namespace's Agents
  oar commands -A --search test         of the cluster's, where test stands in a name, a category or a description
  oar commands coder                    those of one Agent
  oar commands coder writeTests         one of them: what it takes, and a line that runs it")]
pub struct Commands {
    /// The Agent
    #[arg(conflicts_with = "all_namespaces")]
    pub agent: Option<String>,
    /// One of its commands
    #[arg(conflicts_with = "search")]
    pub command: Option<String>,
    /// Only commands with this text in the Agent's name, their own, their category or their description
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Commands of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Print data, or AGENT/COMMAND line by line
    #[arg(short, long, value_enum)]
    pub output: Option<CommandsFormat>,
}

/// How commands are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CommandsFormat {
    Json,
    Yaml,
    Name,
}
