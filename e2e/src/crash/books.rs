//! How a run ended, in a form that two runs can be compared in, and whether its money adds up.

use crate::mock::Call;
use anyhow::{Context as _, Result, ensure};
use oarmaster_crds::Task;
use oarmaster_protocol::admin::TaskUsage;
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use serde_json::Value;
use std::collections::BTreeMap;

/// Price of the model: pico-USD per input and per output token.
pub const PRICES: (u64, u64) = (1_000_000, 2_000_000);
/// Fields of a status that differ between two equal runs.
const TIMES: [&str; 7] = [
    "lastTransitionTime",
    "startedAt",
    "finishedAt",
    "attemptStartedAt",
    "nextAttemptAt",
    "ranFor",
    "uid",
];

/// The end of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// The Task's status without times and identifiers; null when the Task is gone.
    pub status: Value,
    /// How many Jobs each attempt had.
    pub jobs: BTreeMap<String, usize>,
    /// How many requests the provider got.
    pub calls: usize,
    /// Records that were booked at their reservation.
    pub estimated: usize,
    /// The kinds of the journal's records, in order.
    pub journal: Vec<String>,
}

/// A status without what differs between two equal runs.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn comparable(task: &Task) -> Result<Value> {
    let meta = &task.metadata;
    let mut text = serde_json::to_string(&task.status)?;
    let names = [
        ("UID", &meta.uid),
        ("NAMESPACE", &meta.namespace),
        ("TASK", &meta.name),
    ];
    let hash = meta
        .uid
        .as_deref()
        .map(|uid| oarmaster_crds::names::base32(uid.as_bytes(), 10));
    for (name, value) in names.into_iter().chain([("HASH", &hash)]) {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            text = text.replace(value, name);
        }
    }
    let mut status = serde_json::from_str(&text)?;
    without(&mut status, &TIMES);
    // Tasks of these runs are asked for their own names.
    without(&mut status, &["prompt"]);
    Ok(status)
}

/// Takes fields away, wherever they are.
pub fn without(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !names.contains(&name.as_str()));
            fields.values_mut().for_each(|value| without(value, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| without(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The kinds of a journal's records.
///
/// # Errors
/// When a record cannot be written as JSON.
pub fn kinds(journal: &[Record]) -> Result<Vec<String>> {
    let kind = |record: &Record| -> Result<String> {
        let body = serde_json::to_value(&record.body)?;
        let kind = body.get("kind").and_then(Value::as_str);
        Ok(kind.context("a record without kind")?.to_owned())
    };
    journal.iter().map(kind).collect()
}

/// Holds the ledger to the provider's bill: what was booked as known is what was billed, token for token, everything else is booked at
/// its reservation, the sum is the sum, and nothing stays reserved. Returns how many rows were estimated.
///
/// # Errors
/// When the books do not agree.
pub fn audit(journal: &[Record], usage: &TaskUsage, bill: &[Call]) -> Result<usize> {
    let (mut known, mut estimated): (Vec<CallUsage>, Vec<u64>) = Default::default();
    let mut reserved = BTreeMap::new();
    for record in journal {
        match &record.body {
            Body::Open {
                call,
                hop,
                reserved_pico,
                ..
            } => {
                reserved.insert((*call, *hop), *reserved_pico);
            }
            Body::Answer {
                call, hop, usage, ..
            }
            | Body::CallFailed {
                call, hop, usage, ..
            } => {
                let open = reserved.remove(&(*call, *hop));
                let open = open.context("an end without an open")?;
                if usage.estimated {
                    ensure!(
                        usage.cost_pico == open,
                        "estimated at {} instead of {open}",
                        usage.cost_pico
                    );
                    estimated.push(open);
                } else {
                    known.push(*usage);
                }
            }
            _ => {}
        }
    }
    ensure!(reserved.is_empty(), "calls without an end: {reserved:?}");
    ensure!(
        usage.reserved_pico == 0,
        "{} pico-USD stay reserved",
        usage.reserved_pico
    );
    let booked = known.iter().filter(|usage| usage.input_tokens > 0);
    let mut booked: Vec<(u64, u64)> = booked
        .map(|usage| (usage.input_tokens, usage.output_tokens))
        .collect();
    let mut billed: Vec<(u64, u64)> = bill.iter().filter_map(|call| call.billed).collect();
    booked.sort_unstable();
    billed.sort_unstable();
    ensure!(booked == billed, "booked {booked:?}, billed {billed:?}");
    let cost = |(input, output): &(u64, u64)| input * PRICES.0 + output * PRICES.1;
    let sum = billed.iter().map(cost).sum::<u64>() + estimated.iter().sum::<u64>();
    ensure!(
        usage.sum.cost_pico == sum,
        "the ledger says {}, the bill {sum}",
        usage.sum.cost_pico
    );
    Ok(estimated.len())
}
