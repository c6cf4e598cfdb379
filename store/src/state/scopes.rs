//! The counters of budgets over all callers: checked together, reserved together, settled in the windows that they were reserved in.

use crate::entry::CounterTotal;
use crate::scope::{Counter, CounterId, Exceeded, Scope};
use crate::{Refusal, Window};
use oarmaster_protocol::journal::CallUsage;
use std::collections::HashMap;

/// A window's counter is kept for this long after its end: a clock that is set back by less finds what was counted.
const KEPT_MS: i64 = 24 * 3_600_000;

/// Every counter of a window that is not long past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    held: HashMap<CounterId, Counter>,
    /// The hour in which past windows were last dropped.
    swept: i64,
}

impl Counters {
    /// The counters of a hop, when it fits under each of them.
    pub fn check(
        &self,
        scopes: &[Scope],
        needed: u64,
        now: i64,
    ) -> Result<Vec<CounterId>, Refusal> {
        let mut ids = Vec::with_capacity(scopes.len());
        let mut refused: Option<Exceeded> = None;
        for scope in scopes {
            let id = scope.counter(now);
            let Counter {
                spent, reserved, ..
            } = self.get(&id);
            let total = spent
                .checked_add(reserved)
                .and_then(|sum| sum.checked_add(needed));
            let free = scope.free_only && needed == 0;
            if !free && total.is_none_or(|total| total > scope.limit_pico) {
                let exceeded = Exceeded {
                    scope: scope.clone(),
                    spent,
                    reserved,
                    needed,
                    resets_ms: id.end_ms(),
                };
                if refused
                    .as_ref()
                    .is_none_or(|before| exceeded.rank() > before.rank())
                {
                    refused = Some(exceeded);
                }
            }
            ids.push(id);
        }
        match refused {
            Some(exceeded) => Err(Refusal::WindowExceeded(Box::new(exceeded))),
            None => Ok(ids),
        }
    }

    pub fn get(&self, id: &CounterId) -> Counter {
        self.held.get(id).copied().unwrap_or_default()
    }

    /// What each of these has spent.
    pub fn spent(&self, scopes: &[CounterId]) -> Vec<u64> {
        scopes.iter().map(|id| self.get(id).spent).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&CounterId, &Counter)> {
        self.held.iter()
    }

    pub fn reserve(&mut self, scopes: &[CounterId], pico: u64, now: i64) {
        self.sweep(now);
        for id in scopes {
            let counter = self.held.entry(id.clone()).or_default();
            counter.reserved = counter.reserved.saturating_add(pico);
        }
    }

    pub fn settle(&mut self, scopes: &[CounterId], reserved: u64, usage: &CallUsage) {
        for id in scopes {
            let counter = self.held.entry(id.clone()).or_default();
            counter.reserved = counter.reserved.saturating_sub(reserved);
            let over = usage.cost_pico.saturating_sub(reserved);
            counter.overrun = counter.overrun.saturating_add(over);
            counter.spend(usage.cost_pico, usage.estimated);
        }
    }

    /// Adds what was settled by rows that are no longer there.
    pub fn add(&mut self, total: &CounterTotal) {
        let counter = self.held.entry(total.id.clone()).or_default();
        counter.spent = counter.spent.saturating_add(total.spent);
        counter.overrun = counter.overrun.saturating_add(total.overrun);
        counter.estimated = counter.estimated.saturating_add(total.estimated);
    }

    /// Gives back what is reserved, without a settlement.
    pub fn give_back(&mut self, scopes: &[CounterId], pico: u64) {
        for id in scopes {
            if let Some(counter) = self.held.get_mut(id) {
                counter.reserved = counter.reserved.saturating_sub(pico);
            }
        }
    }

    /// SDK callers use these counters, since this frame at the latest.
    pub fn used(&mut self, scopes: &[CounterId], frame: u64) {
        for id in scopes {
            let counter = self.held.entry(id.clone()).or_default();
            counter.sdk = counter.sdk.or(Some(frame));
        }
    }

    /// The counters that SDK callers used since the process began, in order.
    pub fn sdk(&self) -> Vec<CounterId> {
        let used = self
            .held
            .iter()
            .filter(|(_, counter)| counter.sdk.is_some());
        let mut ids: Vec<_> = used.map(|(id, _)| id.clone()).collect();
        ids.sort();
        ids
    }

    /// A process begins: what may have been lost is booked, and nobody is known to use any counter.
    pub fn start(&mut self, rest: &[CounterId], pico: u64) {
        for counter in self.held.values_mut() {
            counter.sdk = None;
        }
        for id in rest {
            self.held.entry(id.clone()).or_default().spend(pico, true);
        }
    }

    /// Drops the counters of past windows, once an hour of the log's own time.
    fn sweep(&mut self, now: i64) {
        let hour = Window::Hour.at(now).start_ms;
        if hour <= self.swept {
            return;
        }
        self.swept = hour;
        self.held
            .retain(|id, counter| counter.reserved > 0 || is_kept(id, now));
    }
}

/// Whether a counter may still be asked for.
pub fn is_kept(id: &CounterId, now: i64) -> bool {
    id.end_ms()
        .is_none_or(|end| end.saturating_add(KEPT_MS) > now)
}

impl Counter {
    const fn spend(&mut self, pico: u64, estimated: bool) {
        self.spent = self.spent.saturating_add(pico);
        if estimated {
            self.estimated = self.estimated.saturating_add(pico);
        }
    }
}
