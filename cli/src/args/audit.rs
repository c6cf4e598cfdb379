//! `oar audit`.

use super::instant;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use jiff::Timestamp;

#[derive(ClapArgs, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  oar audit --from 2026-11-01 --to 2026-11-02
  oar audit -o json | jq 'select(.allowed | not)'
  oar audit verify

It is a view of the gateway's log, without prompts, outputs and keys. You need the verb get on tasks/audit in all namespaces: ClusterRole
oarmaster-audit."
)]
pub struct Audit {
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// First day, or an instant like 2026-11-01T12:00:00Z; default: today
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub from: Option<Timestamp>,
    /// The day, or the instant, before which it ends; default: now
    #[arg(long, value_name = "DAY", value_parser = instant)]
    pub to: Option<Timestamp>,
    /// Print data: CSV, or one JSON object per line
    #[arg(short, long, value_enum)]
    pub output: Option<AuditFormat>,
}

/// How the audit is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    Csv,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// Check that nothing of the log was changed, left out or put in
    #[command(after_help = "\
Examples:
  oar audit verify
  oar audit verify --expect 48211=6f0c...

Each frame of the log carries the SHA-256 of the one before. Whoever can write the gateway's volume could make the whole chain anew: note the
last frame and its hash elsewhere (this command prints them, the gateway logs them when it starts), and give them with --expect later.")]
    Verify(Verify),
}

#[derive(ClapArgs, Debug)]
pub struct Verify {
    /// A frame and its hash, as they were printed before
    #[arg(long, value_name = "FRAME=HASH", value_parser = expected)]
    pub expect: Option<(u64, String)>,
}

fn expected(text: &str) -> Result<(u64, String), String> {
    let parsed = || {
        let (frame, hash) = text.split_once('=')?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then_some((frame.parse().ok()?, hash.to_lowercase()))
    };
    parsed().ok_or_else(|| "write FRAME=HASH, with 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser as _;

    #[test]
    fn a_frame_is_expected_with_its_hash() {
        let hash = "0A".repeat(32);
        assert_eq!(expected(&format!("7={hash}")), Ok((7, hash.to_lowercase())));
        assert!(expected(&hash).is_err() && expected("7=00").is_err());
        assert!(Args::try_parse_from(["oar", "audit", "verify"]).is_ok());
    }
}
