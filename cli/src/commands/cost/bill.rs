//! A provider's bill: CSV with a header, as vendors export it.
//!
//! OpenAI's export of costs has `start_time`, `start_time_iso`, `amount_value`, `amount_currency` and, where it is grouped, `line_item` like
//! `gpt-5-nano, input_tokens`. Anthropic's has `usage_date_utc`, `model` (a name like `Claude Haiku 4.5`), `token_type` and `cost_usd`.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::io::Read;

/// Decimals of an amount: [`Charge::yocto`] counts in 1e-24 USD, so that nothing is rounded.
pub const DECIMALS: usize = 24;

const DAYS: [&str; 5] = [
    "usage_date_utc",
    "date",
    "day",
    "start_time_iso",
    "start_time",
];
const MODELS: [&str; 3] = ["model", "line_item", "model_version"];
const AMOUNTS: [&str; 6] = [
    "cost_usd",
    "amount_usd",
    "usd",
    "amount_value",
    "amount",
    "cost",
];
const CURRENCIES: [&str; 2] = ["amount_currency", "currency"];

/// A line of a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The day in UTC.
    pub day: Date,
    /// The model as the bill names it; empty where it names none.
    pub model: String,
    /// What it costs, in 1e-24 USD; a credit is below 0.
    pub yocto: i128,
}

/// Why a bill cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    #[error("it is no CSV")]
    Csv(#[from] csv::Error),
    #[error("its header has no column for the {what}: one of {names} is needed, there are {found}")]
    Column {
        what: &'static str,
        names: String,
        found: String,
    },
    #[error("line {line}: {what}")]
    Line {
        line: u64,
        #[source]
        what: LineError,
    },
    #[error("it has no line with an amount")]
    Empty,
}

/// What is wrong with a line of a bill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("'{0}' is no day; write it like 2026-11-01, or as seconds since 1970")]
    Day(String),
    #[error("'{0}' is no amount; write it like 0.25")]
    Amount(String),
    #[error("'{0}' has more than 24 decimals, or is too large")]
    Exact(String),
    #[error("the amount is in '{0}'; the ledger is in USD")]
    Currency(String),
}

/// Reads a bill. Lines without an amount say that nothing was spent, and are left out.
pub fn read(bill: impl Read) -> Result<Vec<Charge>, BillError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bill);
    let header: Vec<String> = reader
        .headers()?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_lowercase())
        .collect();
    let find = |names: &[&str]| {
        let place = |name: &&str| header.iter().position(|found| found == name);
        names.iter().find_map(place)
    };
    let need = |what, names: &[&str]| {
        find(names).ok_or_else(|| BillError::Column {
            what,
            names: names.join(", "),
            found: header.join(", "),
        })
    };
    let (day, amount) = (need("day", &DAYS)?, need("amount", &AMOUNTS)?);
    let (model, currency) = (need("model", &MODELS)?, find(&CURRENCIES));
    let mut charges = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let text = |at: usize| record.get(at).unwrap_or_default();
        if text(amount).is_empty() {
            continue;
        }
        let charge = charge(
            text(day),
            text(model),
            text(amount),
            currency.map(text).unwrap_or("usd"),
        );
        let line = record.position().map_or(0, csv::Position::line);
        charges.push(charge.map_err(|what| BillError::Line { line, what })?);
    }
    if charges.is_empty() {
        return Err(BillError::Empty);
    }
    Ok(charges)
}

fn charge(day: &str, model: &str, amount: &str, currency: &str) -> Result<Charge, LineError> {
    if !currency.eq_ignore_ascii_case("usd") {
        return Err(LineError::Currency(short(currency)));
    }
    // OpenAI's items name what was counted after the model.
    let model = model.split(", ").next().unwrap_or_default();
    Ok(Charge {
        day: parse_day(day).ok_or_else(|| LineError::Day(short(day)))?,
        model: model.to_owned(),
        yocto: parse_amount(amount)?,
    })
}

/// A day, or the day of an instant in UTC.
fn parse_day(text: &str) -> Option<Date> {
    let seconds = || match text.len() {
        10 => Timestamp::from_second(text.parse().ok()?).ok(),
        _ => None,
    };
    let instant = || text.parse::<Timestamp>().ok().or_else(seconds);
    let of = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    instant().map(of).or_else(|| text.parse().ok())
}

/// An amount in USD, exactly: digits, a point, an exponent.
fn parse_amount(text: &str) -> Result<i128, LineError> {
    let bad = || LineError::Amount(short(text));
    let inexact = || LineError::Exact(short(text));
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (-1, plain),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, exponent) = match plain.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| bad())?),
        None => (plain, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let significant = all.trim_end_matches('0');
    let zeros = all.len() - significant.len();
    if significant.is_empty() {
        return Ok(0);
    }
    let value: i128 = significant.parse().map_err(|_| inexact())?;
    let size = |length: usize| i64::try_from(length).map_err(|_| inexact());
    let power = i64::from(exponent) + size(zeros)? - size(part.len())? + size(DECIMALS)?;
    let power = u32::try_from(power).map_err(|_| inexact())?;
    10_i128
        .checked_pow(power)
        .and_then(|factor| value.checked_mul(factor))
        .map(|value| sign * value)
        .ok_or_else(inexact)
}

/// The beginning of a text of the bill, for an error.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests;
