//! `oar memory`.

use super::Format;
use clap::{Args as ClapArgs, Subcommand};

#[derive(ClapArgs, Debug)]
pub struct Memory {
    #[command(subcommand)]
    pub command: MemoryCommand,
}

#[derive(Subcommand, Debug)]
pub enum MemoryCommand {
    /// List the notes that agents kept, the newest first
    #[command(after_help = "\
Examples:
  oar memory list
  oar memory list --agent writer --requester alice@acme -o json

An agent recalls the notes of a Task's requester only. You need the verb get on agents/memory in the namespace: ClusterRole oarmaster-memory.")]
    List(MemoryList),
    /// Delete notes for good
    #[command(after_help = "\
Examples:
  oar memory delete 3f9a0c1d2e4b5a697788
  oar memory delete --requester alice@acme
  oar memory delete --agent writer --all

What is deleted is gone from the gateway's log within some hours. You need the verb delete on agents/memory in the namespace: ClusterRole
oarmaster-memory.")]
    Delete(MemoryDelete),
}

/// Whose notes.
#[derive(ClapArgs, Clone, Debug, Default)]
pub struct Whose {
    /// Of this Agent only
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Of this requester only: the Kubernetes user name of who created the Tasks
    #[arg(long, value_name = "USER")]
    pub requester: Option<String>,
}

#[derive(ClapArgs, Debug)]
pub struct MemoryList {
    #[command(flatten)]
    pub whose: Whose,
    /// Print data instead of a table
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(ClapArgs, Debug)]
pub struct MemoryDelete {
    /// Ids of notes, as `oar memory list` shows them
    #[arg(value_name = "ID", required_unless_present_any = ["requester", "all"], conflicts_with = "all")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub whose: Whose,
    /// All notes of the namespace, or of the Agent with --agent
    #[arg(long)]
    pub all: bool,
}
