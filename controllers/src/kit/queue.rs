//! Which object of a kind is looked at next: pure. Told the time, and which objects are to be looked at; says whose turn it is.
//!
//! Within a namespace it is first come, first served; the namespaces take turns. An object is in one pass at a time, and whatever is told of
//! it meanwhile becomes one more pass. What is held is bounded by the objects, however often they are told of.

use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::time::Instant;

/// Namespace (empty where the kind has none) and name of an object.
pub type Key = (String, String);

/// The passes to come.
#[derive(Debug)]
pub struct Queue {
    /// Most passes at once of one namespace, so that passes which hang leave some to the others.
    share: usize,
    objects: HashMap<Key, State>,
    /// By when, and in the order of their coming.
    later: BTreeMap<Moment, Key>,
    lanes: HashMap<String, Lane>,
    /// The namespaces that have a due object and may begin a pass, each once.
    turns: VecDeque<String>,
    number: u64,
}

/// When, and which of those of that moment.
type Moment = (Instant, u64);

/// How an object stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// It becomes due.
    Later(Moment),
    /// It waits for its turn.
    Due,
    /// It is in a pass, and perhaps is to be looked at again.
    UnderWay(Option<Instant>),
}

/// A namespace.
#[derive(Debug, Default)]
struct Lane {
    due: VecDeque<Key>,
    under_way: usize,
}

impl Queue {
    /// An empty queue for so many passes at once. One namespace may have three quarters of them.
    #[must_use]
    pub fn new(concurrency: usize) -> Self {
        Self {
            share: (concurrency - concurrency / 4).max(1),
            objects: HashMap::new(),
            later: BTreeMap::new(),
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            number: 0,
        }
    }

    /// An object is to be looked at, not before `at`. Of two times the earlier one counts.
    pub fn wants(&mut self, key: Key, at: Instant) {
        match self.objects.get_mut(&key) {
            Some(State::Due) => {}
            Some(State::UnderWay(again)) => {
                *again = Some(again.map_or(at, |held| held.min(at)));
            }
            Some(State::Later((held, _))) if *held <= at => {}
            Some(State::Later(moment)) => {
                let moment = *moment;
                self.later.remove(&moment);
                self.put(key, at);
            }
            None => self.put(key, at),
        }
    }

    /// The object whose turn it is, if there is one. It is not given again before [`Self::done`].
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        self.fall_due(now);
        let namespace = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&namespace)?;
        let key = lane.due.pop_front()?;
        lane.under_way += 1;
        if !lane.due.is_empty() && lane.under_way < self.share {
            self.turns.push_back(namespace);
        }
        self.objects.insert(key.clone(), State::UnderWay(None));
        Some(key)
    }

    /// A pass over an object has ended; with `again` it is looked at once more, at that time or when something happens before.
    pub fn done(&mut self, key: Key, again: Option<Instant>) {
        let Some(State::UnderWay(told)) = self.objects.get(&key) else {
            return; // never taken
        };
        let again = [*told, again].into_iter().flatten().min();
        self.objects.remove(&key);
        if let Some(lane) = self.lanes.get_mut(&key.0) {
            let was_full = lane.under_way == self.share;
            lane.under_way -= 1;
            if lane.due.is_empty() {
                if lane.under_way == 0 {
                    self.lanes.remove(&key.0);
                }
            } else if was_full {
                self.turns.push_back(key.0.clone());
            }
        }
        if let Some(at) = again {
            self.put(key, at);
        }
    }

    /// When the next object becomes due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    fn put(&mut self, key: Key, at: Instant) {
        self.number += 1;
        let moment = (at, self.number);
        self.objects.insert(key.clone(), State::Later(moment));
        self.later.insert(moment, key);
    }

    /// Objects whose time has come wait for their turn, in the order of their times.
    fn fall_due(&mut self, now: Instant) {
        while let Some(first) = self.later.first_entry() {
            if first.key().0 > now {
                return;
            }
            let key = first.remove();
            let lane = self.lanes.entry(key.0.clone()).or_default();
            if lane.due.is_empty() && lane.under_way < self.share {
                self.turns.push_back(key.0.clone());
            }
            self.objects.insert(key.clone(), State::Due);
            lane.due.push_back(key);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
