//! Hops of callers that are no Task, and what is booked for those that a crash took away.

use super::fold::add;
use super::{At, State};
use crate::entry::{Entry, Reserve, Rest, SdkId, SdkRow};
use crate::hops::{HopEnd, HopRequest};
use crate::scope::CounterId;
use crate::{IN_DOUBT, Refusal, SdkTotal};
use oarmaster_protocol::journal::CallUsage;
use oarmaster_protocol::text::shorten;
use std::collections::BTreeMap;

/// Longest model id of a provider that is kept, in characters.
const MAX_MODEL: usize = 256;

/// The fold of their rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sdk {
    pub total: SdkTotal,
    /// Reserved by open hops, in pico-USD.
    pub reserved: u64,
    pub open: BTreeMap<SdkId, SdkHop>,
    /// How many processes have begun.
    pub term: u64,
    /// Number of the next call in this term.
    pub next: u64,
    /// A process has begun, and has not said that it ended.
    pub running: bool,
    /// What its hops may have out that is not on the disk, in pico-USD.
    pub rest_pico: u64,
    /// Number of the frame with the first hop since it began.
    pub first: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SdkHop {
    pub reserve: Reserve,
    pub scopes: Vec<CounterId>,
    /// The segment that it began in.
    pub segment: u32,
}

impl State {
    /// Reserves a hop. `call` is `None` for the first hop of a call.
    pub fn decide_sdk_reserve(
        &self,
        call: Option<SdkId>,
        row: SdkRow,
        hop: &HopRequest,
        now: i64,
    ) -> Result<(SdkId, Entry), Refusal> {
        if !self.sdk.running {
            return Err(Refusal::Unwritable("it is being stopped".into()));
        }
        let id = match call {
            Some(last) => SdkId {
                hop: last.hop.checked_add(1).ok_or(Refusal::Overflow)?,
                ..last
            },
            None => SdkId {
                term: self.sdk.term,
                call: self.sdk.next,
                hop: 0,
            },
        };
        let entry = Entry::SdkOpen {
            at_ms: now,
            id,
            row,
            reserve: hop.reserve(),
            scopes: self.counters.check(&hop.scopes, hop.reserve_pico, now)?,
        };
        Ok((id, entry))
    }

    /// Books a hop.
    pub fn decide_sdk_settle(
        &self,
        id: SdkId,
        asked: &str,
        end: &HopEnd,
        now: i64,
    ) -> Result<Entry, Refusal> {
        let open = self
            .sdk
            .open
            .get(&id)
            .ok_or_else(|| Refusal::Internal(format!("{id:?} is not open")))?;
        Ok(Entry::SdkEnd {
            at_ms: now,
            id,
            class: match end {
                HopEnd::Answer { .. } => None,
                HopEnd::Failed { class, .. } => Some(class.clone()),
            },
            model: match end {
                HopEnd::Answer { model, .. } if !model.is_empty() && model != asked => {
                    Some(shorten(model, MAX_MODEL))
                }
                HopEnd::Answer { .. } | HopEnd::Failed { .. } => None,
            },
            usage: end.booked(open.reserve),
        })
    }

    /// Books what the process before left open, and says that a new one has begun: with what that one may have had out beyond the disk,
    /// in one entry, so that it is booked once.
    pub fn decide_start(&self, rest_pico: u64, now: i64) -> Vec<Entry> {
        let ends = self.sdk.open.iter().map(|(id, hop)| Entry::SdkEnd {
            at_ms: now,
            id: *id,
            class: Some(IN_DOUBT.into()),
            model: None,
            usage: hop.reserve.estimated(),
        });
        let lost = self.sdk.running && self.sdk.first.is_some() && self.sdk.rest_pico > 0;
        let start = Entry::Start {
            at_ms: now,
            rest_pico,
            rest: lost.then(|| Rest {
                pico: self.sdk.rest_pico,
                scopes: self.counters.sdk(),
            }),
        };
        ends.chain([start]).collect()
    }

    pub(super) fn apply_sdk(&mut self, entry: &Entry, at: At) -> Result<(), String> {
        let segment = at.place.segment;
        if let Entry::SdkEnd { id, .. } = entry
            && let Some(since) = self.sdk.open.get(id).map(|hop| hop.segment)
        {
            self.segment(segment).row(Some(since));
        }
        let Self { counters, sdk, .. } = self;
        match entry {
            Entry::SdkOpen {
                at_ms,
                id,
                reserve,
                scopes,
                ..
            } => {
                let hop = SdkHop {
                    reserve: *reserve,
                    scopes: scopes.clone(),
                    segment,
                };
                if sdk.open.insert(*id, hop).is_some() {
                    return Err(format!("{id:?} was open already"));
                }
                sdk.next = sdk.next.max(id.call.saturating_add(1));
                sdk.reserved = sdk.reserved.saturating_add(reserve.pico);
                sdk.first = sdk.first.or(Some(at.frame));
                counters.reserve(scopes, reserve.pico, *at_ms);
                counters.used(scopes, at.frame);
            }
            Entry::SdkEnd {
                id, class, usage, ..
            } => {
                let hop = sdk
                    .open
                    .remove(id)
                    .ok_or_else(|| format!("{id:?} is not open"))?;
                sdk.reserved = sdk.reserved.saturating_sub(hop.reserve.pico);
                let counts = class.is_none() || *usage != CallUsage::default();
                sdk.total.add(&SdkTotal {
                    calls: u64::from(counts),
                    sum: *usage,
                });
                counters.settle(&hop.scopes, hop.reserve.pico, usage);
            }
            Entry::Start {
                rest_pico, rest, ..
            } => {
                sdk.term = sdk.term.saturating_add(1);
                sdk.next = 0;
                sdk.running = true;
                sdk.rest_pico = *rest_pico;
                sdk.first = None;
                let (scopes, pico) = rest
                    .as_ref()
                    .map_or((&[][..], 0), |rest| (&rest.scopes[..], rest.pico));
                counters.start(scopes, pico);
                if rest.is_some() {
                    let lost = CallUsage {
                        cost_pico: pico,
                        estimated: true,
                        ..CallUsage::default()
                    };
                    add(&mut sdk.total.sum, &lost);
                }
            }
            Entry::Stop { .. } => sdk.running = false,
            _ => return Err("an entry of a Task without one".into()),
        }
        Ok(())
    }
}
