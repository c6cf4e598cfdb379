//! What the counters of budgets stand at.

use crate::Store;
use crate::scope::{Counter, CounterId, Scope};

/// A counter with its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterView {
    /// Whose money, and in which window.
    pub id: CounterId,
    /// What was counted, in pico-USD.
    pub counter: Counter,
}

impl Store {
    /// The counters of windows that are now, in order. What stands there may be some milliseconds ahead of the disk.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterView> {
        let now = self.now();
        let core = self.lock();
        let current = core.state.counters.iter().filter(|(id, _)| {
            let period = id.window.at(now);
            period.start_ms == id.start_ms
        });
        let mut all: Vec<_> = current
            .map(|(id, counter)| CounterView {
                id: id.clone(),
                counter: *counter,
            })
            .collect();
        drop(core);
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// What the counter of a cap stands at now.
    #[must_use]
    pub fn counter(&self, scope: &Scope) -> CounterView {
        let id = scope.counter(self.now());
        let counter = self.lock().state.counters.get(&id);
        CounterView { id, counter }
    }
}
