//! `oar cost reconcile`: the ledger beside a provider's bill.

use super::bill::{self, Charge, DECIMALS};
use super::{csv_row, get, quoted};
use crate::args::{CostFormat, Format, Reconcile};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::output;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use oarmaster_protocol::read::CostLine;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

/// From pico-USD to the unit of a bill.
const YOCTO_PER_PICO: i128 = 1_000_000_000_000;

const HEADER: [&str; 7] = [
    "day",
    "model",
    "ledgerUsd",
    "billUsd",
    "differenceUsd",
    "estimatedUsd",
    "overrunUsd",
];

/// A day and a model, or all of them. Amounts in 1e-24 USD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Amounts {
    ledger: i128,
    bill: i128,
    estimated: i128,
    overrun: i128,
}

/// What is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    day: String,
    model: String,
    /// What the ledger has.
    ledger_usd: String,
    /// What the provider billed.
    bill_usd: String,
    /// What it billed beyond the ledger.
    difference_usd: String,
    /// Of the ledger's, what was booked without the provider's word.
    estimated_usd: String,
    /// Of the ledger's, what was billed beyond reservations.
    overrun_usd: String,
}

pub async fn run(cluster: &Cluster, args: Reconcile) -> Result<(), Error> {
    let Reconcile {
        bill,
        providers,
        output,
    } = args;
    let failed = format!("failed to read the bill {}", bill.display());
    let file = File::open(&bill).map_err(|error| Error::input(failed.clone()).source(error))?;
    let charges = bill::read(std::io::BufReader::new(file))
        .map_err(|error| Error::input(failed).source(error))?;
    let (from, to) = span(&charges)?;
    let namespace = cluster.global.namespace.as_deref();
    let lines = get(cluster, namespace, &format!("by=bill&from={from}&to={to}")).await?;
    let rows = reconcile(&lines, &charges, &providers);
    let lines = lines_of(&rows);
    match output {
        Some(CostFormat::Json) => output::data(&lines, Format::Json),
        Some(CostFormat::Yaml) => output::data(&lines, Format::Yaml),
        Some(CostFormat::Csv) => output::raw(csv(&lines).as_bytes()),
        None => {
            let header = HEADER.map(|name| name.trim_end_matches("Usd").to_uppercase());
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let rows: Vec<Vec<String>> = lines.into_iter().map(|line| cells(line).into()).collect();
            output::table(&header, &rows)
        }
    }
}

/// The time of a bill, in milliseconds since the Unix epoch.
fn span(charges: &[Charge]) -> Result<(i64, i64), Error> {
    let days = charges.iter().map(|charge| charge.day);
    let (first, last) = (days.clone().min(), days.max());
    let midnight = |day: Option<Date>| {
        let at = day?.to_zoned(TimeZone::UTC).ok()?;
        Some(at.timestamp().as_millisecond())
    };
    let after = last.and_then(|last| last.tomorrow().ok());
    midnight(first)
        .zip(midnight(after))
        .ok_or_else(|| Error::input("the bill has days that are out of range"))
}

/// Both by day and model. `providers` are those whose bill it is; none means all.
fn reconcile(
    lines: &[CostLine],
    charges: &[Charge],
    providers: &[String],
) -> BTreeMap<(String, String), Amounts> {
    let mut rows: BTreeMap<(String, String), Amounts> = BTreeMap::new();
    for line in lines {
        let mut words = line.key.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (day, provider, model) = (word(), word(), word());
        if !providers.is_empty() && !providers.iter().any(|asked| asked == provider) {
            continue;
        }
        let row = rows.entry((day.to_owned(), model.to_owned())).or_default();
        row.ledger += yocto(line.usage.cost_pico);
        row.estimated += yocto(line.estimated_pico);
        row.overrun += yocto(line.overrun_pico);
    }
    let known: BTreeSet<String> = rows.keys().map(|(_, model)| model.clone()).collect();
    for Charge { day, model, yocto } in charges {
        let model = match model.as_str() {
            "" => "(no model)",
            named => find(&known, named).unwrap_or(named),
        };
        let row = rows.entry((day.to_string(), model.to_owned())).or_default();
        row.bill = row.bill.saturating_add(*yocto);
    }
    rows
}

/// The ledger's name of a model that a bill names: the same id; else the only one that differs in the date behind it, or in how people write
/// it (`Claude Haiku 4.5` is `claude-haiku-4-5-20251001`).
fn find<'a>(known: &'a BTreeSet<String>, named: &str) -> Option<&'a str> {
    if let Some(same) = known.get(named) {
        return Some(same);
    }
    let family = family(named);
    let mut like = known.iter().filter(|model| self::family(model) == family);
    match (like.next(), like.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// An id without its date.
fn family(model: &str) -> String {
    let id = model.to_lowercase().replace([' ', '.'], "-");
    let is_date = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let dashes = text.bytes().filter(|byte| *byte == b'-').count();
        text.starts_with('-') && digits == 8 && digits + dashes == text.len()
    };
    for length in ["-20251001".len(), "-2025-10-01".len()] {
        let at = id.len().saturating_sub(length);
        if let Some((name, date)) = id.split_at_checked(at)
            && is_date(date)
        {
            return name.to_owned();
        }
    }
    id
}

fn yocto(pico: u64) -> i128 {
    i128::from(pico) * YOCTO_PER_PICO
}

/// The rows, and their total.
fn lines_of(rows: &BTreeMap<(String, String), Amounts>) -> Vec<Line> {
    let mut total = Amounts::default();
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for ((day, model), row) in rows {
        total.ledger += row.ledger;
        total.bill = total.bill.saturating_add(row.bill);
        total.estimated += row.estimated;
        total.overrun += row.overrun;
        lines.push(line(day, model, row));
    }
    lines.push(line("total", "", &total));
    lines
}

fn line(day: &str, model: &str, row: &Amounts) -> Line {
    Line {
        day: day.to_owned(),
        model: model.to_owned(),
        ledger_usd: usd(row.ledger),
        bill_usd: usd(row.bill),
        difference_usd: usd(row.bill.saturating_sub(row.ledger)),
        estimated_usd: usd(row.estimated),
        overrun_usd: usd(row.overrun),
    }
}

/// An amount in 1e-24 USD, exactly.
fn usd(yocto: i128) -> String {
    let (sign, one) = (if yocto < 0 { "-" } else { "" }, 10_u128.pow(24));
    let amount = yocto.unsigned_abs();
    let text = format!("{sign}{}.{:0DECIMALS$}", amount / one, amount % one);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn cells(line: Line) -> [String; 7] {
    let Line {
        day,
        model,
        ledger_usd,
        bill_usd,
        difference_usd,
        estimated_usd,
        overrun_usd,
    } = line;
    [
        day,
        model,
        ledger_usd,
        bill_usd,
        difference_usd,
        estimated_usd,
        overrun_usd,
    ]
}

fn csv(lines: &[Line]) -> String {
    let mut text = HEADER.join(",") + "\r\n";
    for line in lines {
        let [day, model, amounts @ ..] = cells(line.clone());
        // An amount below 0 is a number and no formula.
        let row = [vec![quoted(&day), quoted(&model)], amounts.into()].concat();
        text.push_str(&csv_row(&row));
    }
    text
}

#[cfg(test)]
mod tests;
