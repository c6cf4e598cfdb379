//! `limits.parallelTasks`: how many Tasks of an agent have a live attempt at once.
//!
//! The caches know who runs, a moment late. So what this process gave away counts, too, until a cache shows it; there is one leader, so
//! nobody else gives. A Task that gets no place is remembered, and woken when one is free: the oldest first.

use super::census::Census;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many of the Tasks that wait for an agent, and of those that take any, are woken for one place: the first one may wait for something else, too.
const WOKEN: usize = 4;

/// A Task that wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// When it was created.
    pub created: jiff::Timestamp,
    /// The attempt that would begin.
    pub attempt: u32,
    /// The agent.
    pub agent: &'a str,
    /// Whether another agent would do: then it is woken by any.
    pub any: bool,
    /// Most Tasks of the agent.
    pub limit: Option<u32>,
}

/// The places that were given, and who waits for one.
#[derive(Debug, Default)]
pub struct Places(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By UID: the agent's namespace and name, and the attempt that it was given for.
    given: HashMap<String, (String, String, u32)>,
    /// By namespace.
    waiting: HashMap<String, Waiting>,
}

/// When each one was created, its name, and the agent that it waits for, if there is but one.
type Waiting = BTreeMap<(jiff::Timestamp, String), Option<String>>;

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many other Tasks than this one run, as far as is known.
    #[must_use]
    pub fn running(&self, census: &Census, namespace: &str, agent: &str, uid: &str) -> u32 {
        running(&self.state(), census, (namespace, agent), uid)
    }

    /// Takes a place for a Task, or says how many have one. Taking one again is taking the same.
    ///
    /// # Errors
    /// How many Tasks have a place, where that is as many as may.
    pub fn take(&self, wish: &Wish<'_>, census: impl FnOnce() -> Census) -> Result<(), u32> {
        let mut state = self.state();
        // Counted under the lock: an older count could miss a Task whose place was just forgotten because the cache shows it.
        let census = census();
        state.given.retain(|uid, (namespace, _, attempt)| {
            namespace != wish.namespace || census.attempt(uid).is_some_and(|held| held < *attempt)
        });
        let place = (wish.namespace, wish.agent);
        let others = running(&state, &census, place, wish.uid);
        if wish.limit.is_some_and(|limit| others >= limit) {
            state.given.remove(wish.uid);
            let waiting = state.waiting.entry(wish.namespace.to_owned()).or_default();
            let agent = (!wish.any).then(|| wish.agent.to_owned());
            waiting.insert((wish.created, wish.name.to_owned()), agent);
            return Err(others);
        }
        if let Some(waiting) = state.waiting.get_mut(wish.namespace) {
            waiting.remove(&(wish.created, wish.name.to_owned()));
        }
        let given = (
            wish.namespace.to_owned(),
            wish.agent.to_owned(),
            wish.attempt,
        );
        state.given.insert(wish.uid.to_owned(), given);
        Ok(())
    }

    /// A Task begins nothing after all.
    pub fn give_back(&self, uid: &str) {
        self.state().given.remove(uid);
    }

    /// The Tasks to look at when an agent has a place: the oldest that wait for it. They are forgotten; one that still waits says so again.
    #[must_use]
    pub fn next(&self, namespace: &str, agent: &str) -> Vec<String> {
        let mut state = self.state();
        let Some(waiting) = state.waiting.get_mut(namespace) else {
            return Vec::new();
        };
        // Those that take any agent must not hide those that take this one alone.
        let keys: BTreeSet<_> = [Some(agent), None]
            .into_iter()
            .flat_map(|wanted| those(waiting, wanted))
            .collect();
        for key in &keys {
            waiting.remove(key);
        }
        if waiting.is_empty() {
            state.waiting.remove(namespace);
        }
        keys.into_iter().map(|(_, name)| name).collect()
    }
}

/// The oldest that wait for this agent, or for any.
fn those(waiting: &Waiting, agent: Option<&str>) -> Vec<(jiff::Timestamp, String)> {
    waiting
        .iter()
        .filter(|(_, held)| held.as_deref() == agent)
        .map(|(key, _)| key.clone())
        .take(WOKEN)
        .collect()
}

fn running(state: &State, census: &Census, (namespace, agent): (&str, &str), uid: &str) -> u32 {
    let given = state
        .given
        .iter()
        .filter(|(_, (held, of, _))| held == namespace && of == agent)
        .filter(|(uid, (_, _, attempt))| census.attempt(uid).is_some_and(|held| held < *attempt))
        .map(|(uid, _)| uid.as_str());
    let others: BTreeSet<&str> = census
        .running(agent)
        .chain(given)
        .filter(|held| *held != uid)
        .collect();
    u32::try_from(others.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
