//! `oar approvals`, `oar approve` and `oar reject`.

use super::{Format, pair};
use clap::Args as ClapArgs;

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar approvals                         questions of the namespace that wait for people
  oar approvals -A --all                of all namespaces, also those that are decided or over
  oar approvals ship-it-ask-4f6k2m7x3a-1")]
pub struct Approvals {
    /// The Approval
    #[arg(conflicts_with_all = ["all_namespaces", "all"])]
    pub approval: Option<String>,
    /// Approvals of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Also those that are decided or over
    #[arg(long)]
    pub all: bool,
    /// Print the objects
    #[arg(short, long, value_enum)]
    pub output: Option<Format>,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar approve ship-it-ask-4f6k2m7x3a-1
  oar approve ship-it-ask-4f6k2m7x3a-1 --set environment=staging --notes 'After six.' --yes

The question is shown first, and you are asked whether you mean it. Without a terminal say --yes. A decision stands. You must be one of those whom the
Approval names, and have the verb approve on Approvals in the namespace: ClusterRole oarmaster-approver.")]
pub struct Approve {
    /// The Approval
    pub approval: String,
    /// Words for whoever asked; the answer to a question
    #[arg(long, visible_alias = "note", value_name = "TEXT")]
    pub notes: Option<String>,
    /// Fill in a field of the form; `oar approvals NAME` shows it
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    pub set: Vec<(String, String)>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(ClapArgs, Debug)]
#[command(after_help = "\
Examples:
  oar reject ship-it-ask-4f6k2m7x3a-1 --notes 'The notes name no fix.'

One rejection rejects, and stands. You must be one of those whom the Approval names, and have the verb approve on Approvals in the namespace:
ClusterRole oarmaster-approver.")]
pub struct Reject {
    /// The Approval
    pub approval: String,
    /// Words for whoever asked: why not
    #[arg(long, visible_alias = "note", value_name = "TEXT")]
    pub notes: Option<String>,
}

fn field(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "write FIELD=VALUE, like environment=staging".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::args::{Args, Command};
    use clap::Parser as _;

    #[test]
    fn one_approval_is_shown_or_all_are_listed() {
        for (words, right) in [
            (&["approvals"][..], true),
            (&["approvals", "-A", "--all", "-o", "json"], true),
            (&["approvals", "ask"], true),
            (&["approvals", "ask", "--all"], false),
            (&["approvals", "ask", "-A"], false),
            (&["approve"], false),
            (&["approve", "ask", "-y", "--note", "fine"], true),
            (&["approve", "ask", "--set", "where"], false),
            (&["reject", "ask", "--notes", "no"], true),
            (&["reject", "ask", "--set", "where=prod"], false),
        ] {
            let read = Args::try_parse_from([&["oar"], words].concat());
            assert_eq!(read.is_ok(), right, "{words:?}: {read:?}");
        }
    }

    #[test]
    fn fields_are_set_one_by_one() {
        let words = ["oar", "approve", "ask", "--set", "a=b=c", "--set", "why="];
        let Command::Approve(args) = Args::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(args.set, [own("a", "b=c"), own("why", "")]);
    }
}
