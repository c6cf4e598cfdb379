//! The breaker of a lane: whether a key of a provider may be asked for a model. Pure: it is told the time.
//!
//! Closed, it counts. When of at least `min_requests` of a window too many fail, it opens for a cooldown, which doubles with each opening in a
//! row. After the cooldown it lets a single request through; that one's success closes it, its failure opens it for longer. What a provider
//! asks to wait is a floor of every cooldown.

use super::course::Admission;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Parts of a window that are counted by themselves and forgotten one after the other.
const SLICES: u32 = 10;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Share of failures at which it opens, in percent, 1 to 100.
    pub error_percent: u32,
    /// How far back requests count.
    pub window: Duration,
    /// Fewest requests of a window that say anything.
    pub min_requests: u32,
    /// First cooldown.
    pub cooldown: Duration,
    /// Longest cooldown.
    pub max_cooldown: Duration,
}

impl Default for Limits {
    /// Those of a pool that states none.
    fn default() -> Self {
        Self {
            error_percent: 50,
            window: Duration::from_secs(30),
            min_requests: 5,
            cooldown: Duration::from_secs(15),
            max_cooldown: Duration::from_secs(120),
        }
    }
}

/// Where a breaker stands, the better before the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Circuit {
    /// Requests pass.
    Closed,
    /// One passes, or has passed and is not back.
    HalfOpen,
    /// None passes.
    Open {
        /// Until then.
        until: Instant,
    },
}

/// A request that was let through. Its end is to be told, else a half-open breaker would wait for it for ever.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Pass(u64);

/// How a request ended, as far as the lane is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered; a stream, to its terminal event.
    Worked,
    /// The lane failed; after the wait that the provider asked for, if it did.
    Failed(Option<Duration>),
    /// The lane cannot be used for this long, whatever was before: a rate limit, a model that is gone.
    Out(Option<Duration>),
    /// It says nothing about the lane: the request was at fault, or was not sent.
    Nothing,
}

/// A breaker.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Openings in a row.
    streak: u32,
    /// Counts up with each change of the state: what was let through before says nothing about it.
    epoch: u64,
}

#[derive(Debug)]
enum State {
    Closed(VecDeque<Slice>),
    Open { until: Instant },
    HalfOpen { out: bool },
}

#[derive(Clone, Copy, Debug)]
struct Slice {
    begun: Instant,
    requests: u32,
    failures: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed(VecDeque::new()),
            streak: 0,
            epoch: 0,
        }
    }
}

impl Breaker {
    /// Where it stands.
    #[must_use]
    pub fn circuit(&self, now: Instant) -> Circuit {
        match self.state {
            State::Closed(_) => Circuit::Closed,
            State::Open { until } if now < until => Circuit::Open { until },
            State::Open { .. } | State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Whether a request would be let through.
    #[must_use]
    pub fn admits(&self, now: Instant) -> Admission {
        match self.state {
            State::Open { until } if now < until => Admission::From(until),
            State::HalfOpen { out: true } => Admission::Busy,
            State::Closed(_) | State::Open { .. } | State::HalfOpen { .. } => Admission::Yes,
        }
    }

    /// Lets a request through, or not.
    pub fn admit(&mut self, now: Instant) -> Option<Pass> {
        if self.admits(now) != Admission::Yes {
            return None;
        }
        match &mut self.state {
            State::Closed(_) => {}
            State::Open { .. } => {
                self.epoch += 1;
                self.state = State::HalfOpen { out: true };
            }
            State::HalfOpen { out } => *out = true,
        }
        Some(Pass(self.epoch))
    }

    /// A request that was let through has ended. Returns whether that opened or closed the breaker.
    pub fn ended(&mut self, pass: Pass, outcome: Outcome, now: Instant, limits: &Limits) -> bool {
        if pass.0 != self.epoch {
            return false;
        }
        match (&mut self.state, outcome) {
            (State::HalfOpen { out }, Outcome::Nothing) => *out = false,
            (_, Outcome::Nothing) => {}
            (State::HalfOpen { .. }, Outcome::Worked) => {
                self.streak = 0;
                self.epoch += 1;
                self.state = State::Closed(VecDeque::new());
            }
            (State::HalfOpen { .. }, Outcome::Failed(wait)) | (_, Outcome::Out(wait)) => {
                self.open(wait, now, limits);
            }
            (State::Closed(slices), Outcome::Worked) => {
                count(slices, false, now, limits);
                // A window that is sound ends the row.
                if slices.iter().all(|slice| slice.failures == 0) {
                    self.streak = 0;
                }
            }
            (State::Closed(slices), Outcome::Failed(wait)) => {
                count(slices, true, now, limits);
                if wait.is_some() || too_many(slices, limits) {
                    self.open(wait, now, limits);
                }
            }
            // Nobody is let through while it is open, and the epoch changes when it opens.
            (State::Open { .. }, Outcome::Worked | Outcome::Failed(_)) => {}
        }
        pass.0 != self.epoch
    }

    /// Leaves the lane alone until then, since somebody else found it failing. Returns whether that is news. A row of openings is counted by who saw it.
    pub fn leave_alone(&mut self, until: Instant, now: Instant) -> bool {
        if !matches!(self.state, State::Closed(_)) || until <= now {
            return false; // what is known here is newer
        }
        self.epoch += 1;
        self.state = State::Open { until };
        true
    }

    fn open(&mut self, wait: Option<Duration>, now: Instant, limits: &Limits) {
        let doubled = limits
            .cooldown
            .saturating_mul(2u32.saturating_pow(self.streak));
        let cooldown = doubled.min(limits.max_cooldown);
        self.streak = self.streak.saturating_add(1);
        self.epoch += 1;
        self.state = State::Open {
            until: now + cooldown.max(wait.unwrap_or_default()),
        };
    }
}

fn count(slices: &mut VecDeque<Slice>, failed: bool, now: Instant, limits: &Limits) {
    let length = limits.window / SLICES;
    while slices
        .front()
        .is_some_and(|slice| now.saturating_duration_since(slice.begun) >= limits.window)
    {
        slices.pop_front();
    }
    let fresh = slices
        .back()
        .is_none_or(|slice| now.saturating_duration_since(slice.begun) >= length);
    if fresh {
        slices.push_back(Slice {
            begun: now,
            requests: 0,
            failures: 0,
        });
    }
    if let Some(slice) = slices.back_mut() {
        slice.requests = slice.requests.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
    }
}

fn too_many(slices: &VecDeque<Slice>, limits: &Limits) -> bool {
    let sum = |of: fn(&Slice) -> u32| slices.iter().map(|slice| u64::from(of(slice))).sum::<u64>();
    let (requests, failures) = (sum(|slice| slice.requests), sum(|slice| slice.failures));
    requests >= u64::from(limits.min_requests)
        && failures * 100 >= requests * u64::from(limits.error_percent)
}
