//! A call that is not streamed, where its pool keeps answers: the kept one, else that of the pool's members.

use super::account::Account;
use super::allowed;
use super::attempt::Told;
use super::hops::{self, Answered};
use super::route::Routed;
use crate::cache::key::Wanted;
use crate::cache::{Entry, Found, MAX_BODY};
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::routing::order::Reason;
use crate::state::Gateway;
use bytes::Bytes;
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use oarmaster_store::{Call, HopEnd, HopRequest, Settled};
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
    let pool = format!("{}/{}", routed.pool.0, routed.pool.1);
    let mut flight = None;
    if wanted.reads {
        match gateway.cache.find(&wanted.key).await {
            Found::Kept(entry) => {
                // A wait may lie behind it, and what was taken back meanwhile counts from now on.
                if let Some(kept) = Kept::of(gateway, routed, account, &entry)? {
                    gateway.metrics.cached(&pool, HIT);
                    return again(account, &entry, kept, pool).await;
                }
            }
            Found::First(first) => flight = Some(first),
            Found::Missed => {}
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
        None => answered.body.clone(),
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

/// A kept answer, as its caller takes it.
enum Kept {
    /// A body.
    Body(Bytes),
    /// What a Task's journal gets.
    Record(Recorded),
}

impl Kept {
    /// Whether the caller may have it now: the pool and the provider are asked for as before each hop. None where it cannot be read, or is a
    /// provider's that may not be named any more.
    fn of(
        gateway: &Gateway,
        routed: &Routed,
        account: &Account,
        entry: &Entry,
    ) -> Result<Option<Self>, ApiFailure> {
        if routed.task.is_some() {
            allowed::pool(gateway, &routed.pool, &routed.namespace)?;
        }
        let Some((namespace, name)) = entry.provider.split_once('/') else {
            return Ok(None);
        };
        let provider = (namespace.to_owned(), name.to_owned());
        if allowed::provider(gateway, &provider, &routed.pool).is_err() {
            return Ok(None);
        }
        Ok(match account {
            Account::User(_) => Some(Self::Body(entry.body.clone())),
            Account::Task(_) => serde_json::from_slice(&entry.body).ok().map(Self::Record),
        })
    }
}

/// A kept answer for another call. It costs nothing, so nothing is reserved; a Task's journal has it as any other.
async fn again(
    account: &Account,
    entry: &Entry,
    kept: Kept,
    pool: String,
) -> Result<Answered, ApiFailure> {
    let told = Told {
        by: Hop {
            pool,
            provider: entry.provider.clone(),
            model: entry.model.clone(),
        },
        reason: Reason::Cache,
        hops: 0,
        dropped: entry.dropped.clone(),
        cache: HIT,
    };
    let (body, settled) = match (account, kept) {
        (Account::Task(call), Kept::Record(recorded)) => {
            (Bytes::new(), Some(record(call, recorded, &told).await?))
        }
        (_, Kept::Body(body)) => (body, None),
        (Account::User(_), Kept::Record(_)) => {
            return Err(ApiFailure::internal("a Task's answer for a user"));
        }
    };
    Ok(Answered {
        body,
        told,
        settled,
        finished: true,
    })
}

async fn record(call: &Call, recorded: Recorded, told: &Told) -> Result<Settled, ApiFailure> {
    let Recorded {
        model,
        message,
        finish_reason,
        replaced,
    } = recorded;
    let hop = HopRequest {
        provider: told.by.provider.clone(),
        model: told.by.model.clone(),
        reason: told.reason.as_str().to_owned(),
        reserve_pico: 0,
        reserve_input_tokens: 0,
        reserve_output_tokens: 0,
        scopes: Vec::new(),
    };
    let ticket = call.reserve(hop).await.map_err(|refusal| ApiFailure {
        next: Some(call.next()),
        ..ApiFailure::from(refusal)
    })?;
    let end = HopEnd::Answer {
        model,
        message,
        finish_reason,
        replaced,
        usage: Some(CallUsage::default()),
    };
    Ok(ticket.settle(end).await?)
}
