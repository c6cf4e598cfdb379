//! What the owner of a ModelPool allows its callers: all together, and each by itself. A call enters once, before its first hop, however many hops it takes.
//!
//! What callers have taken is kept while there is any: whoever has taken nothing of late is as good as unknown. So there are as many entries as
//! callers of the last minutes, and of one pool no more than [`MAX_CALLERS`].

use super::course::Admission;
use super::limits::{self, Bound, Taken};
use crate::catalog::Id;
use crate::shared::rates::Passed;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Callers of a pool that are told apart at a time. Those beyond share one measure, so that neither memory nor what passes grows with their number.
pub const MAX_CALLERS: usize = 10_000;
/// How often it is looked for callers that can be forgotten, at most.
const BETWEEN_SWEEPS: Duration = Duration::from_secs(1);
/// The measure that callers beyond the most share. No caller has this name.
const OTHERS: &str = "";

/// The bounds of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// For all callers together.
    pub all: limits::Limits,
    /// For each caller.
    pub each: limits::Limits,
}

impl Limits {
    /// Whether callers are told apart.
    #[must_use]
    pub fn tells_callers(&self) -> bool {
        self.each != limits::Limits::default()
    }
}

/// Whose bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// That of all callers together.
    Pool,
    /// The caller's own.
    Caller,
}

impl Whose {
    /// The field that has the bound.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "limits",
            Self::Caller => "callerLimits",
        }
    }
}

/// A call that may not enter now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose bound it is.
    pub whose: Whose,
    /// Which.
    pub bound: Bound,
    /// When it may enter: from a time on, or when another call has ended.
    pub admission: Admission,
}

/// The gates of all pools that have bounds.
#[derive(Debug, Default)]
pub struct Gates {
    known: Mutex<HashMap<Id, Gate>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Gate {
    all: Taken,
    callers: HashMap<String, Taken>,
    swept: Option<Instant>,
}

/// A call that has entered. Dropped, it has ended; where no hop of it has ended by then, it took nothing.
#[derive(Debug)]
pub struct Entry<'a> {
    gates: &'a Gates,
    pool: Id,
    caller: String,
    limits: Limits,
    /// Tokens that were expected.
    expected: u64,
    /// Tokens that the ended hops had.
    had: AtomicU64,
    /// Whether a hop has ended.
    asked: AtomicBool,
    /// Whether one has ended of which nobody knows how many tokens it had.
    unknown: AtomicBool,
    /// What it took of what replicas share.
    pub passed: Option<Passed>,
}

impl Gates {
    /// Lets a call of so many tokens enter.
    ///
    /// # Errors
    /// What keeps it out.
    pub fn enter(
        &self,
        (pool, limits): (&Id, &Limits),
        caller: &str,
        tokens: u64,
        now: Instant,
    ) -> Result<Entry<'_>, Held> {
        let mut known = self.lock();
        let gate = match known.get_mut(pool) {
            Some(gate) => gate,
            None => known.entry(pool.clone()).or_default(),
        };
        let held = |whose| {
            move |(bound, admission)| Held {
                whose,
                bound,
                admission,
            }
        };
        let reached = gate.all.reached(tokens, &limits.all, now);
        reached.map(held(Whose::Pool)).map_or(Ok(()), Err)?;
        let mut name = "";
        if limits.tells_callers() {
            name = gate.name(caller, now);
            let own = gate.callers.get(name).copied().unwrap_or_default();
            let reached = own.reached(tokens, &limits.each, now);
            reached.map(held(Whose::Caller)).map_or(Ok(()), Err)?;
            let own = gate.callers.entry(name.to_owned()).or_default();
            own.begin(tokens, &limits.each, now);
        }
        gate.all.begin(tokens, &limits.all, now);
        Ok(Entry {
            gates: self,
            pool: pool.clone(),
            caller: name.to_owned(),
            limits: *limits,
            expected: tokens,
            had: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            unknown: AtomicBool::new(false),
            passed: None,
        })
    }

    /// Resolves when a call has ended. Made before a look at the gates, it misses no end after the look.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Forgets pools that there are no more.
    pub fn retain(&self, exists: impl Fn(&Id) -> bool) {
        self.lock().retain(|pool, _| exists(pool));
    }

    // A panic while the lock was held leaves plain values, which are whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Gate>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// The name of the measure that this caller has.
    fn name<'a>(&mut self, caller: &'a str, now: Instant) -> &'a str {
        if self.callers.len() < MAX_CALLERS || self.callers.contains_key(caller) {
            return caller;
        }
        let recent = |swept| now.saturating_duration_since(swept) < BETWEEN_SWEEPS;
        if !self.swept.is_some_and(recent) {
            self.swept = Some(now);
            self.callers.retain(|_, taken| !taken.is_untouched(now));
        }
        if self.callers.len() < MAX_CALLERS {
            caller
        } else {
            OTHERS
        }
    }
}

impl Entry<'_> {
    /// A hop of the call has ended that had so many tokens; `None` where nobody knows.
    pub fn ended(&self, tokens: Option<u64>) {
        self.asked.store(true, Ordering::Relaxed);
        match tokens {
            Some(tokens) => _ = self.had.fetch_add(tokens, Ordering::Relaxed),
            None => self.unknown.store(true, Ordering::Relaxed),
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let asked = self.asked.load(Ordering::Relaxed);
        let unknown = self.unknown.load(Ordering::Relaxed);
        let had = (!unknown).then(|| self.had.load(Ordering::Relaxed));
        if let Some(passed) = self.passed.take()
            && asked
        {
            passed.ended(had);
        }
        let mut known = self.gates.lock();
        let Some(gate) = known.get_mut(&self.pool) else {
            return; // it is gone
        };
        let Limits { all, each } = &self.limits;
        let own = gate.callers.get_mut(&self.caller);
        for (taken, limits) in [(Some(&mut gate.all), all), (own, each)] {
            let Some(taken) = taken else { continue };
            if asked {
                taken.end(self.expected, had, limits, now);
            } else {
                taken.undo(self.expected, limits, now);
            }
        }
        drop(known);
        self.gates.changed.notify_waiters();
    }
}
