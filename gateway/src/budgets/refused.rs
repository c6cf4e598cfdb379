//! What was refused: a counter can have no room for the next call long before nothing is left of it.

use oarmaster_store::{CounterId, Exceeded, Scope};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counters, and Tasks, that are remembered. Beyond them, a counter counts as exceeded once nothing is left of it.
const MAX: usize = 10_000;

/// The last refusal of each counter and of each Task, until a call fits. It is in memory alone: a restart forgets it, and the next call
/// finds out anew.
#[derive(Debug, Default)]
pub struct Refused(Mutex<Held>);

/// A counter, and what it had no room for, in pico-USD.
type Refusal = (CounterId, u64);

#[derive(Debug, Default)]
struct Held {
    /// By Budget and key: what is shown.
    counters: HashMap<(String, String), Refusal>,
    /// By UID: what keeps a Task from its next pod. What others were refused does not, or one large call would keep all of them.
    tasks: HashMap<String, Refusal>,
}

impl Refused {
    /// A counter has refused a hop, of a Task if there is one.
    pub fn note(&self, exceeded: &Exceeded, task: Option<&str>, now_ms: i64) {
        let id = exceeded.scope.counter(now_ms);
        let refusal = (id.clone(), exceeded.needed);
        let mut held = self.lock();
        if let Some(task) = task {
            keep(&mut held.tasks, task.to_owned(), refusal.clone(), now_ms);
        }
        keep(&mut held.counters, (id.budget, id.key), refusal, now_ms);
    }

    /// A hop, of a Task if there is one, was reserved in these.
    pub fn fits(&self, scopes: &[Scope], task: Option<&str>) {
        let mut held = self.lock();
        if let Some(task) = task {
            held.tasks.remove(task);
        }
        if held.counters.is_empty() {
            return;
        }
        for scope in scopes {
            let key = (scope.budget.clone(), scope.key.clone());
            held.counters.remove(&key);
        }
    }

    /// What a counter refused a Task last in this window, in pico-USD; 0 where it refused it nothing.
    #[must_use]
    pub fn needed(&self, task: &str, id: &CounterId) -> u64 {
        of(self.lock().tasks.get(task), id)
    }

    /// Whether a counter that has spent this much has no room: for anything, or for what it refused last.
    #[must_use]
    pub fn exceeded(&self, id: &CounterId, spent: u64, limit: u64) -> bool {
        let held = self.lock();
        let key = (id.budget.clone(), id.key.clone());
        let needed = of(held.counters.get(&key), id);
        spent >= limit || spent.saturating_add(needed) > limit
    }

    // Nothing panics while it is held; what it holds are plain values.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<K: Eq + Hash>(held: &mut HashMap<K, Refusal>, key: K, refusal: Refusal, now_ms: i64) {
    if held.len() >= MAX && !held.contains_key(&key) {
        held.retain(|_, (id, _)| id.end_ms().is_none_or(|end| end > now_ms));
        if held.len() >= MAX {
            return;
        }
    }
    held.insert(key, refusal);
}

/// What was refused in this window.
fn of(refusal: Option<&Refusal>, id: &CounterId) -> u64 {
    let refusal = refusal.filter(|(refused, _)| refused == id);
    refusal.map_or(0, |(_, needed)| *needed)
}
