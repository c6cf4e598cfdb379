//! `oar erase`.

use clap::Args as ClapArgs;

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar erase --requester alice@acme --dry-run
  oar erase --requester alice@acme

It is about all namespaces. Transcripts, outputs, artifacts and workspaces of the Tasks that are over cannot be read any more at once, and are gone from
the gateway's volume within some hours; sums of money, digests and the audit stay, and so do the Task objects. Cancel what still runs, and
erase again. You need the verb delete on tasks/erase in all namespaces: ClusterRole oarmaster-erase.")]
pub struct Erase {
    /// The Kubernetes user name of who created the Tasks
    #[arg(long, value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub requester: String,
    /// Say what would be erased, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
