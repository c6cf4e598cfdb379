//! `oar cost`.

use crate::args::{By, Cost, CostFormat, Format};
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
        all_namespaces,
        by,
        from,
        to,
        output,
    } = args;
    let now = Timestamp::now();
    let (from, to) = (from.unwrap_or_else(|| month(now)), to.unwrap_or(now));
    if from >= to {
        return Err(Error::input(format!(
            "--from {from} is not before --to {to}"
        )));
    }
    let place = if all_namespaces {
        String::new()
    } else {
        format!("/namespaces/{}", cluster.namespace)
    };
    let path = format!(
        "/read/v1{place}/costs?by={}&from={}&to={}",
        name(by),
        from.as_millisecond(),
        to.as_millisecond()
    );
    let bytes = Gateway::new(cluster).await?.get_all(&path).await?;
    let mut lines: Vec<CostLine> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::cluster("failed to read the gateway's answer").source(error))?;
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

/// As RFC 4180 has it. What a spreadsheet would take for a formula begins with an apostrophe: users choose their names.
fn csv(lines: &[CostLine]) -> String {
    let mut text = HEADER.join(",") + "\r\n";
    for line in lines {
        let cells: Vec<String> = cells(line).iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn quoted(cell: &str) -> String {
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
