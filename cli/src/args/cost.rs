//! `oar cost`.

use super::instant;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use jiff::Timestamp;
use std::path::PathBuf;

#[derive(ClapArgs, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  oar cost -n demo
  oar cost -A --by requester --from 2026-11-01 --to 2026-12-01
  oar cost -A --by day -o csv > november.csv
  oar cost -A --by label --label team
  oar cost reconcile openai-november.csv --provider oarmaster-system/openai

A call counts on the day on which it ended, in UTC. You need the verb get on tasks/usage: in the namespace, or with -A in all of them."
)]
pub struct Cost {
    #[command(subcommand)]
    pub command: Option<CostCommand>,
    /// What all namespaces pay
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// What has a line of its own
    #[arg(long, value_enum, default_value_t = By::Namespace)]
    pub by: By,
    /// Key of the label, with --by label
    #[arg(long, value_name = "KEY", value_parser = label_key, required_if_eq("by", "label"))]
    pub label: Option<String>,
    /// First day, or an instant like 2026-11-01T12:00:00Z; default: the first of this month
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// The day, or the instant, before which it ends; default: now
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub to: Option<Timestamp>,
    /// Print data; default: a table
    #[arg(short, long, value_enum)]
    pub output: Option<CostFormat>,
}

/// What has a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    Namespace,
    Agent,
    Requester,
    Model,
    Day,
    Task,
    /// The label oarmaster.dev/workflow of Tasks
    Workflow,
    /// A label of Tasks: --label KEY
    Label,
}

#[derive(Subcommand, Debug)]
pub enum CostCommand {
    /// Show the ledger beside a provider's bill, and the difference
    #[command(after_help = "\
Examples:
  oar cost reconcile openai-november.csv --provider oarmaster-system/openai
  oar cost reconcile bill.csv -o csv > difference.csv

The bill is CSV with a header, as OpenAI and Anthropic export costs. These columns are read, whatever their order; others are not:
  day     usage_date_utc, date, day, start_time_iso or start_time: in UTC, like 2026-11-01, or an instant
  model   model, line_item or model_version: the id that is billed; of 'gpt-5-nano, input_tokens' what is before the comma
  amount  cost_usd, amount_usd, usd, amount_value, amount or cost: in USD, with at most 24 decimals
  amount_currency or currency, where there is one: USD
The difference is what was billed beyond the ledger. You need the verb get on tasks/usage in all namespaces, or in the one of -n.")]
    Reconcile(Reconcile),
}

#[derive(ClapArgs, Debug)]
pub struct Reconcile {
    /// The bill
    #[arg(value_name = "BILL.csv")]
    pub bill: PathBuf,
    /// ModelProvider that the bill is of; can be given several times; default: all
    #[arg(long = "provider", value_name = "NAMESPACE/NAME")]
    pub providers: Vec<String>,
    /// Print data; default: a table
    #[arg(short, long, value_enum)]
    pub output: Option<CostFormat>,
}

/// The key of a label, as Kubernetes bounds it.
fn label_key(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    if (1..=317).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("write the key of a label, like team or example.com/cost-center".to_owned())
}

/// How costs are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CostFormat {
    Csv,
    Json,
    Yaml,
}

#[cfg(test)]
mod tests {
    use crate::args::Args;
    use clap::Parser as _;

    #[test]
    fn costs_are_summed_up_or_compared() {
        let parse = |words: &[&str]| Args::try_parse_from([&["oar", "cost"], words].concat());
        assert!(parse(&[]).is_ok());
        assert!(parse(&["--by", "label", "--label", "example.com/team"]).is_ok());
        assert!(parse(&["--by", "label"]).is_err(), "a label has a key");
        assert!(parse(&["--by", "label", "--label", "a&b"]).is_err());
        assert!(parse(&["reconcile", "bill.csv", "--provider", "a/b"]).is_ok());
        assert!(parse(&["--by", "day", "reconcile", "bill.csv"]).is_err());
        assert!(parse(&["reconcile"]).is_err());
    }
}
