//! `oar cost`.

mod bill;
mod reconcile;

use crate::args::{By, Cost, CostCommand, CostFormat, Format};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::output;
use jiff::{Timestamp, tz::TimeZone};
use oarmaster_crds::Usd;
use oarmaster_protocol::read::CostLine;
use std::cmp::Reverse;

const HEADER: [&str; 7] = [
    "key",
    "calls",
    "inputTokens",
    "outputTokens",
    "cachedTokens",
    "usd",
    "estimated",
];

pub async fn run(cluster: &Cluster, args: Cost) -> Result<(), Error> {
    let Cost {
        command,
        all_namespaces,
        by,
        label,
        from,
        to,
        output,
    } = args;
    if let Some(CostCommand::Reconcile(args)) = command {
        return reconcile::run(cluster, args).await;
    }
    if label.is_some() && by != By::Label {
        return Err(Error::input("--label goes with --by label"));
    }
    let now = Timestamp::now();
    let (from, to) = (from.unwrap_or_else(|| month(now)), to.unwrap_or(now));
    if from >= to {
        return Err(Error::input(format!(
            "--from {from} is not before --to {to}"
        )));
    }
    let namespace = (!all_namespaces).then_some(cluster.namespace.as_str());
    let query = format!(
        "by={}&from={}&to={}{}",
        name(by),
        from.as_millisecond(),
        to.as_millisecond(),
        label_param(label.as_deref())
    );
    let mut lines = get(cluster, namespace, &query).await?;
    if by != By::Day {
        lines.sort_by_key(|line| Reverse(line.usage.cost_pico));
    }
    match output {
        Some(CostFormat::Json) => output::data(&lines, Format::Json),
        Some(CostFormat::Yaml) => output::data(&lines, Format::Yaml),
        Some(CostFormat::Csv) => output::raw(csv(&lines).as_bytes()),
        None if lines.is_empty() => {
            output::line(&format!("Nothing was spent from {from} to {to}."))
        }
        None => table(by, &lines),
    }
}

/// Costs of a namespace or of all.
async fn get(
    cluster: &Cluster,
    namespace: Option<&str>,
    query: &str,
) -> Result<Vec<CostLine>, Error> {
    let place = namespace.map_or_else(String::new, |name| format!("/namespaces/{name}"));
    let path = format!("/read/v1{place}/costs?{query}");
    let bytes = Gateway::new(cluster).await?.get_all(&path).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::cluster("failed to read the gateway's answer").source(error))
}

/// The key of a label has a slash in it at most: the other characters that it may have need no escape.
fn label_param(label: Option<&str>) -> String {
    label.map_or_else(String::new, |key| {
        format!("&label={}", key.replace('/', "%2F"))
    })
}

/// The first of the month, in UTC.
fn month(now: Timestamp) -> Timestamp {
    let first = now.to_zoned(TimeZone::UTC).first_of_month();
    let first = first.and_then(|first| first.start_of_day());
    first.map_or(now, |first| first.timestamp())
}

fn name(by: By) -> &'static str {
    match by {
        By::Namespace => "namespace",
        By::Agent => "agent",
        By::Requester => "requester",
        By::Model => "model",
        By::Day => "day",
        By::Task => "task",
        By::Workflow => "workflow",
        By::Label => "label",
    }
}

fn cells(line: &CostLine) -> [String; 7] {
    let usage = &line.usage;
    [
        line.key.clone(),
        line.calls.to_string(),
        usage.input_tokens.to_string(),
        usage.output_tokens.to_string(),
        usage.cached_tokens.to_string(),
        Usd::from_pico(usage.cost_pico).0,
        usage.estimated.to_string(),
    ]
}

fn table(by: By, lines: &[CostLine]) -> Result<(), Error> {
    let key = name(by).to_uppercase();
    let header = [&key, "CALLS", "INPUT", "OUTPUT", "CACHED", "USD"];
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let [key, calls, input, output, cached, usd, _] = cells(line);
            // Some of it is a reservation that nobody confirmed.
            let about = if line.usage.estimated { "~" } else { "" };
            vec![key, calls, input, output, cached, format!("{about}{usd}")]
        })
        .collect();
    output::table(&header, &rows)
}

fn csv(lines: &[CostLine]) -> String {
    let rows = lines
        .iter()
        .map(|line| cells(line).map(|cell| quoted(&cell)));
    HEADER.join(",") + "\r\n" + &rows.map(|row| csv_row(&row)).collect::<String>()
}

/// A line of CSV, as RFC 4180 has it, of cells that are [`quoted`] or numbers.
pub fn csv_row(cells: &[String]) -> String {
    cells.join(",") + "\r\n"
}

/// A cell of CSV. What a spreadsheet would take for a formula begins with an apostrophe: users choose their names.
pub fn quoted(cell: &str) -> String {
    // Names of models are what providers say that they are, and some end up on a terminal.
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let cell = &*cell.replace(odd, "\u{fffd}");
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if formula {
        format!("'{cell}")
    } else {
        cell.to_owned()
    };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_protocol::journal::CallUsage;

    #[test]
    fn csv_is_what_every_spreadsheet_reads_and_no_formula() {
        let line = |key: &str| CostLine {
            key: key.to_owned(),
            calls: 2,
            usage: CallUsage {
                input_tokens: 10,
                output_tokens: 5,
                cached_tokens: 1,
                cost_pico: 20_000_001,
                estimated: true,
            },
            estimated_pico: 20_000_001,
            overrun_pico: 0,
        };
        let text = csv(&[line("a,\"b\""), line("=HYPERLINK(1)"), line("team")]);
        assert_eq!(
            text,
            "key,calls,inputTokens,outputTokens,cachedTokens,usd,estimated\r\n\
             \"a,\"\"b\"\"\",2,10,5,1,0.000020001,true\r\n\
             '=HYPERLINK(1),2,10,5,1,0.000020001,true\r\n\
             team,2,10,5,1,0.000020001,true\r\n"
        );
    }

    #[test]
    fn a_month_begins_at_its_first_midnight() {
        let at = |text: &str| month(text.parse().unwrap()).to_string();
        assert_eq!(at("2026-11-29T03:00:00Z"), "2026-11-01T00:00:00Z");
        assert_eq!(at("2026-11-01T00:00:00Z"), "2026-11-01T00:00:00Z");
    }
}
