//! The way of one call along its lanes: which is asked next, and what a failure rules out. The whole of failover is here.

use crate::provider::failure::Class;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// First wait before a lane is asked again, which doubles with each of its failures.
const FIRST_AGAIN: Duration = Duration::from_secs(1);
/// Longest such wait, unless the provider asks for more.
const LAST_AGAIN: Duration = Duration::from_secs(30);

/// A key of a provider, asked for a model. The numbers are those of the caller: equal ones mean the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The pool's member.
    pub member: usize,
    /// The provider.
    pub provider: usize,
    /// The provider's model.
    pub model: usize,
    /// The provider's key.
    pub key: usize,
    /// Most tokens of the model.
    pub context: u64,
}

/// What holds a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most hops.
    pub hops: u32,
    /// No hop starts then or later.
    pub deadline: Instant,
    /// Whether the caller waits for a lane, and for one that failed in passing.
    pub patient: bool,
}

/// Whether a lane may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Now.
    Yes,
    /// Not before that.
    From(Instant),
    /// When a request that is on its way has ended.
    Busy,
    /// Not in this call: its key is gone, say.
    Never,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this lane.
    Ask(Lane),
    /// Wait until then, or until a lane changes if that is sooner.
    Wait(Instant),
    /// End the call.
    Over(Over),
}

/// Why a call ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Nothing is left to be asked.
    Tried,
    /// As many hops as the pool allows.
    Hops,
    /// The pool's deadline has passed.
    Late,
    /// What is left may not be asked now; from that time on, if it is known.
    Out(Option<Instant>),
}

/// How a hop failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The class.
    pub class: Class,
    /// How long the provider asked to wait.
    pub wait: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    lane: Lane,
    from: Option<Instant>,
    failures: u32,
}

/// The lanes of a call that are left.
#[derive(Clone, Debug)]
pub struct Course {
    bounds: Bounds,
    left: VecDeque<Turn>,
    asked: Option<Turn>,
    hops: u32,
}

impl Course {
    /// A call that may go along these lanes, in this order.
    #[must_use]
    pub fn new(lanes: impl IntoIterator<Item = Lane>, bounds: Bounds) -> Self {
        Self {
            bounds,
            left: lanes
                .into_iter()
                .map(|lane| Turn {
                    lane,
                    from: None,
                    failures: 0,
                })
                .collect(),
            asked: None,
            hops: 0,
        }
    }

    /// Hops that were begun.
    #[must_use]
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// What to do now. A lane that is to be asked counts as a hop.
    pub fn next(&mut self, now: Instant, mut admits: impl FnMut(Lane) -> Admission) -> Step {
        if self.left.is_empty() {
            return Step::Over(Over::Tried);
        }
        if self.hops >= self.bounds.hops {
            return Step::Over(Over::Hops);
        }
        if now >= self.bounds.deadline {
            return Step::Over(Over::Late);
        }
        let mut soonest: Option<Instant> = None;
        let mut busy = false;
        let mut at = 0;
        while let Some(turn) = self.left.get(at).copied() {
            let early = turn.from.filter(|from| *from > now);
            match early.map_or_else(|| admits(turn.lane), Admission::From) {
                Admission::Yes => {
                    self.left.remove(at);
                    self.asked = Some(turn);
                    self.hops += 1;
                    return Step::Ask(turn.lane);
                }
                Admission::Never => {
                    self.left.remove(at);
                    continue;
                }
                Admission::From(from) => {
                    soonest = Some(soonest.map_or(from, |soonest| soonest.min(from)));
                }
                Admission::Busy => busy = true,
            }
            at += 1;
        }
        if self.left.is_empty() {
            return Step::Over(Over::Tried);
        }
        let in_time = busy || soonest.is_some_and(|soonest| soonest < self.bounds.deadline);
        if self.bounds.patient && in_time {
            let until = soonest.unwrap_or(self.bounds.deadline);
            return Step::Wait(until.min(self.bounds.deadline));
        }
        Step::Over(Over::Out(soonest))
    }

    /// The member of the lane that was asked last cannot take the request; nothing was sent, so it was no hop.
    pub fn unfit(&mut self) {
        if let Some(turn) = self.asked.take() {
            self.hops = self.hops.saturating_sub(1);
            self.left
                .retain(|left| left.lane.member != turn.lane.member);
        }
    }

    /// The lane that was asked last may not be asked before then after all; nothing was sent, so it was no hop.
    pub fn held(&mut self, until: Instant) {
        if let Some(turn) = self.asked.take() {
            self.hops = self.hops.saturating_sub(1);
            self.left.push_front(Turn {
                from: Some(until),
                ..turn
            });
        }
    }

    /// The hop that was begun last costs more than there is; nothing was sent, so it was none. Only what is affordable is left.
    pub fn unaffordable(&mut self, affordable: impl Fn(Lane) -> bool) {
        self.unfit();
        self.left.retain(|left| affordable(left.lane));
    }

    /// The hop that was begun last failed.
    pub fn failed(&mut self, fault: Fault, now: Instant) {
        let Some(turn) = self.asked.take() else {
            return;
        };
        let lane = turn.lane;
        match fault.class {
            Class::CallerFault => self.left.clear(),
            Class::ContextLength => self.left.retain(|left| left.lane.context > lane.context),
            Class::ModelGone => self.left.retain(|left| left.lane.model != lane.model),
            Class::Credential | Class::Quota => self
                .left
                .retain(|left| (left.lane.provider, left.lane.key) != (lane.provider, lane.key)),
            Class::RateLimit => self.again(turn, fault.wait, now),
            Class::Transient => {
                // What else the provider has comes after the other providers: it may be down as a whole.
                let (last, first): (VecDeque<_>, VecDeque<_>) = self
                    .left
                    .drain(..)
                    .partition(|left| left.lane.provider == lane.provider);
                self.left.extend(first.into_iter().chain(last));
                self.again(turn, fault.wait, now);
            }
        }
    }

    /// Puts a lane that failed in passing behind the others, for a caller who waits.
    fn again(&mut self, turn: Turn, wait: Option<Duration>, now: Instant) {
        if !self.bounds.patient {
            return;
        }
        let doubled = FIRST_AGAIN.saturating_mul(2u32.saturating_pow(turn.failures));
        let wait = doubled.min(LAST_AGAIN).max(wait.unwrap_or_default());
        self.left.push_back(Turn {
            from: Some(now + wait),
            failures: turn.failures.saturating_add(1),
            ..turn
        });
    }
}
