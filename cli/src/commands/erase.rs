//! `oar erase`: what was kept of a person goes.

use crate::args::Erase;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::output;
use oarmaster_protocol::read::ErasedLine;
use url::form_urlencoded::Serializer;

/// Tasks that are named of those that stay.
const NAMED: usize = 10;

pub async fn run(cluster: &Cluster, args: Erase) -> Result<(), Error> {
    let gateway = Gateway::new(cluster).await?;
    let bytes = gateway.delete(&path(&args)).await?;
    let erased: ErasedLine = serde_json::from_slice(&bytes)
        .map_err(|error| Error::cluster("failed to read the gateway's answer").source(error))?;
    lines(&erased, args.dry_run)
        .iter()
        .try_for_each(|line| output::line(line))
}

fn path(args: &Erase) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("requester", &args.requester);
    query.append_pair("dryRun", if args.dry_run { "true" } else { "false" });
    format!("/read/v1/people?{}", query.finish())
}

fn lines(erased: &ErasedLine, dry_run: bool) -> Vec<String> {
    let ErasedLine { tasks, notes, stay } = erased;
    let what = format!("{tasks} Tasks and {notes} notes");
    let mut lines = vec![match dry_run {
        true => format!("{what} would be erased"),
        false => format!("{what} erased"),
    }];
    if !stay.is_empty() {
        let named = stay.iter().take(NAMED).map(String::as_str);
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match stay.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!(
            "{} Tasks stay, since they are not over: {named}{more}",
            stay.len()
        ));
        lines.push("Cancel them (`oar cancel`) or wait, and erase again.".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser as _;

    #[test]
    fn a_person_is_named_and_encoded() {
        for wrong in [&["oar", "erase"][..], &["oar", "erase", "--requester", ""]] {
            assert!(Args::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
        let args = ["oar", "erase", "--requester", "a&b@acme", "--dry-run"];
        let Command::Erase(args) = Args::try_parse_from(args).unwrap().command else {
            panic!("it erases");
        };
        assert_eq!(
            path(&args),
            "/read/v1/people?requester=a%26b%40acme&dryRun=true"
        );
    }

    #[test]
    fn what_stays_is_named() {
        let mut erased = ErasedLine {
            tasks: 2,
            notes: 1,
            stay: Vec::new(),
        };
        assert_eq!(lines(&erased, false), ["2 Tasks and 1 notes erased"]);
        erased.stay = (0..12).map(|number| format!("team/t{number}")).collect();
        let shown = lines(&erased, true);
        assert_eq!(shown[0], "2 Tasks and 1 notes would be erased");
        assert!(shown[1].starts_with("12 Tasks stay") && shown[1].ends_with("team/t9 and 2 more"));
    }
}
