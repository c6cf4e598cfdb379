//! What counters have refused: a counter can have no room for the next call long before nothing is left of it.

use oarmaster_store::{CounterId, Exceeded};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Counters that are remembered. Beyond them, a counter counts as exceeded once nothing is left of it.
const MAX: usize = 10_000;

/// The last refusal of each counter. It is in memory alone: a restart forgets it, and the next call finds out anew.
#[derive(Debug, Default)]
pub struct Refused(Mutex<HashMap<(String, String), (CounterId, u64)>>);

impl Refused {
    /// A counter has refused a hop.
    pub fn note(&self, exceeded: &Exceeded, now_ms: i64) {
        let id = exceeded.scope.counter(now_ms);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id.budget.clone(), id.key.clone());
        if held.len() >= MAX && !held.contains_key(&key) {
            let current = |(id, _): &(CounterId, u64)| id.end_ms().is_none_or(|end| end > now_ms);
            held.retain(|_, refused| current(refused));
            if held.len() >= MAX {
                return;
            }
        }
        held.insert(key, (id, exceeded.needed));
    }

    /// What a counter refused last in this window, in pico-USD; 0 where it refused nothing.
    #[must_use]
    pub fn needed(&self, id: &CounterId) -> u64 {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let needed = held.get(&(id.budget.clone(), id.key.clone()));
        needed
            .filter(|(refused, _)| refused == id)
            .map_or(0, |(_, needed)| *needed)
    }

    /// Whether a counter that has spent this much has no room: for anything, or for what it refused last.
    #[must_use]
    pub fn exceeded(&self, id: &CounterId, spent: u64, limit: u64) -> bool {
        spent >= limit || spent.saturating_add(self.needed(id)) > limit
    }
}
