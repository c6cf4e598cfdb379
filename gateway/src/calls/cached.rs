//! A call that is not streamed, where its pool keeps answers: the kept one, else that of the pool's members.

use super::account::Account;
use super::allowed;
use super::attempt::Told;
use super::hops::{self, Answered};
use super::route::Routed;
use crate::cache::key::Wanted;
use crate::cache::{Entry, Found, MAX_BODY};
use crate::catalog;
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::routing::order::Reason;
use crate::state::Gateway;
use bytes::Bytes;
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use oarmaster_store::{HopEnd, HopRequest, HopTicket, Settled};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What the header says of an answer that was kept.
const HIT: &str = "hit";
/// And of one that was asked for.
const MISS: &str = "miss";

/// A Task's answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Recorded {
    model: String,
    message: Value,
    finish_reason: String,
    replaced: u64,
}

/// Runs a call that is not streamed to its end.
///
/// # Errors
/// What the caller is told.
pub async fn complete(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
) -> Result<Answered, ApiFailure> {
    let Some(wanted) = Wanted::of(routed) else {
        return hops::complete(gateway, routed, account).await;
    };
    let pool = catalog::path(&routed.pool);
    let mut flight = None;
    if wanted.reads {
        match gateway.cache.find(&wanted.key).await {
            // A wait may lie behind it, and what was taken back meanwhile counts from now on.
            Found::Kept(entry) if allows(gateway, routed, &entry)? => {
                if let Some(answered) = again(account, &entry, &pool).await? {
                    gateway.metrics.cached(&pool, HIT);
                    return Ok(answered);
                }
            }
            Found::First(first) => flight = Some(first),
            Found::Kept(_) | Found::Missed => {}
        }
    }
    gateway.metrics.cached(&pool, MISS);
    let mut answered = hops::complete(gateway, routed, account).await?;
    if answered.finished
        && let Some(entry) = entry(&answered)
    {
        let entry = Arc::new(entry);
        let kept = gateway.cache.keep(wanted.key, entry.clone(), wanted.ttl);
        kept.await;
        if let Some(flight) = flight {
            flight.land(entry);
        }
    }
    answered.told.cache = MISS;
    Ok(answered)
}

/// An answer as it is kept, if it is not too large.
fn entry(answered: &Answered) -> Option<Entry> {
    let body = match &answered.settled {
        // A copy: the memory of answers under way is not the cache's.
        None if answered.body.len() <= MAX_BODY => Bytes::copy_from_slice(&answered.body),
        None => return None,
        Some(settled) => recorded(&settled.record)?,
    };
    let told = &answered.told;
    (body.len() <= MAX_BODY).then(|| Entry {
        provider: told.by.provider.clone(),
        model: told.by.model.clone(),
        dropped: told.dropped.clone(),
        body,
    })
}

fn recorded(record: &Record) -> Option<Bytes> {
    let Body::Answer {
        model,
        message,
        finish_reason,
        replaced,
        ..
    } = &record.body
    else {
        return None;
    };
    let recorded = Recorded {
        model: model.clone(),
        message: message.clone(),
        finish_reason: finish_reason.clone(),
        replaced: *replaced,
    };
    serde_json::to_vec(&recorded).ok().map(Bytes::from)
}

/// Whether the caller may have a kept answer now: pool and provider are asked for as before each hop.
fn allows(gateway: &Gateway, routed: &Routed, entry: &Entry) -> Result<bool, ApiFailure> {
    if routed.task.is_some() {
        allowed::pool(gateway, &routed.pool, &routed.namespace)?;
    }
    let Some((namespace, name)) = entry.provider.split_once('/') else {
        return Ok(false);
    };
    let provider = (namespace.to_owned(), name.to_owned());
    Ok(allowed::provider(gateway, &provider, &routed.pool).is_ok())
}

/// A kept answer for another call. It costs nothing, so nothing is reserved; a Task's journal has it as any other. None where it cannot be read.
async fn again(
    account: &Account,
    entry: &Entry,
    pool: &str,
) -> Result<Option<Answered>, ApiFailure> {
    let told = Told {
        by: Hop {
            pool: pool.to_owned(),
            provider: entry.provider.clone(),
            model: entry.model.clone(),
        },
        reason: Reason::Cache,
        hops: 0,
        dropped: entry.dropped.clone(),
        cache: HIT,
    };
    let settled = match account {
        Account::User(_) => None,
        Account::Program(call) => {
            let recorded = Recorded {
                model: entry.model.clone(),
                message: Value::Null,
                finish_reason: String::new(),
                replaced: 0,
            };
            record(call.reserve(free(&told)).await?, recorded).await?;
            None
        }
        Account::Task(call) => match serde_json::from_slice(&entry.body) {
            Ok(recorded) => {
                let ticket = call.reserve(free(&told)).await;
                let ticket = ticket.map_err(|refusal| ApiFailure {
                    next: Some(call.next()),
                    ..ApiFailure::from(refusal)
                })?;
                Some(record(ticket, recorded).await?)
            }
            Err(_) => return Ok(None),
        },
    };
    Ok(Some(Answered {
        body: entry.body.clone(),
        told,
        settled,
        finished: true,
    }))
}

/// A hop that costs nothing.
fn free(told: &Told) -> HopRequest {
    HopRequest {
        provider: told.by.provider.clone(),
        model: told.by.model.clone(),
        reason: told.reason.as_str().to_owned(),
        reserve_pico: 0,
        reserve_input_tokens: 0,
        reserve_output_tokens: 0,
        scopes: Vec::new(),
    }
}

async fn record(ticket: HopTicket, recorded: Recorded) -> Result<Settled, ApiFailure> {
    let Recorded {
        model,
        message,
        finish_reason,
        replaced,
    } = recorded;
    let end = HopEnd::Answer {
        model,
        message,
        finish_reason,
        replaced,
        usage: Some(CallUsage::default()),
    };
    Ok(ticket.settle(end).await?)
}
