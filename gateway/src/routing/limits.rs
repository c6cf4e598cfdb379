//! What the owner of a ModelProvider, or of a ModelPool, allows: requests and tokens a minute, and requests at once.

use super::course::Admission;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// The bounds; `None`: no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most requests of a minute.
    pub requests: Option<u64>,
    /// Most tokens of a minute, input and output together.
    pub tokens: Option<u64>,
    /// Most requests at once.
    pub concurrency: Option<u32>,
}

/// A minute's worth of something, which is given out at once or bit by bit and comes back at an even pace.
///
/// It is kept as the time at which it is full again (the theoretical arrival time of the generic cell rate algorithm).
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// When `amount` can be taken of a bucket that holds `limit`; `now` where it can. An amount above the limit waits for the full bucket.
    #[must_use]
    pub fn ready(&self, amount: u64, limit: u64, now: Instant) -> Instant {
        let Some(full_at) = self.full_at else {
            return now;
        };
        let room = MINUTE.saturating_sub(cost(amount.min(limit), limit));
        let at = full_at.checked_sub(room).unwrap_or(now);
        at.max(now)
    }

    /// Whether nothing is taken of it.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }

    /// Takes an amount.
    pub fn take(&mut self, amount: u64, limit: u64, now: Instant) {
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = from.checked_add(cost(amount, limit));
    }

    /// Gives back what was taken too much.
    pub fn give_back(&mut self, amount: u64, limit: u64) {
        self.full_at = self
            .full_at
            .and_then(|full_at| full_at.checked_sub(cost(amount, limit)));
    }
}

/// How long an amount takes to come back. At most a day: what costs more than that is a number that nobody meant.
fn cost(amount: u64, limit: u64) -> Duration {
    let nanos = MINUTE.as_nanos().saturating_mul(u128::from(amount)) / u128::from(limit.max(1));
    let most = Duration::from_secs(24 * 3600);
    u64::try_from(nanos).map_or(most, |nanos| Duration::from_nanos(nanos).min(most))
}

/// What of the bounds is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    requests: Bucket,
    tokens: Bucket,
    busy: u32,
}

/// One of the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Requests of a minute.
    Requests,
    /// Tokens of a minute.
    Tokens,
    /// Requests at once.
    Concurrency,
}

impl Bound {
    /// Its field.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requestsPerMinute",
            Self::Tokens => "tokensPerMinute",
            Self::Concurrency => "concurrency",
        }
    }
}

impl Taken {
    /// Whether a request of so many tokens is within the bounds; `Busy` where too many are on their way.
    #[must_use]
    pub fn room(&self, tokens: u64, limits: &Limits, now: Instant) -> Admission {
        let reached = self.reached(tokens, limits, now);
        reached.map_or(Admission::Yes, |(_, admission)| admission)
    }

    /// The bound that keeps a request of so many tokens out, and for how long.
    #[must_use]
    pub fn reached(
        &self,
        tokens: u64,
        limits: &Limits,
        now: Instant,
    ) -> Option<(Bound, Admission)> {
        let requests = limits
            .requests
            .map_or(now, |limit| self.requests.ready(1, limit, now));
        let tokens = limits
            .tokens
            .map_or(now, |limit| self.tokens.ready(tokens, limit, now));
        if requests.max(tokens) > now {
            let by = if requests > tokens {
                Bound::Requests
            } else {
                Bound::Tokens
            };
            return Some((by, Admission::From(requests.max(tokens))));
        }
        let full = limits.concurrency.is_some_and(|limit| self.busy >= limit);
        full.then_some((Bound::Concurrency, Admission::Busy))
    }

    /// Whether nothing is taken: then it is as good as a new one.
    #[must_use]
    pub fn is_untouched(&self, now: Instant) -> bool {
        self.busy == 0 && self.requests.is_full(now) && self.tokens.is_full(now)
    }

    /// A request begins that is expected to have so many tokens. Until it is known how many it had it takes a minute's worth at most: what is
    /// expected goes by the size of a request, which its caller can make up.
    pub fn begin(&mut self, tokens: u64, limits: &Limits, now: Instant) {
        self.busy = self.busy.saturating_add(1);
        if let Some(limit) = limits.requests {
            self.requests.take(1, limit, now);
        }
        if let Some(limit) = limits.tokens {
            self.tokens.take(tokens.min(limit), limit, now);
        }
    }

    /// A request has ended that was expected to have so many tokens; `None` where it is not known how many it had.
    pub fn end(&mut self, expected: u64, had: Option<u64>, limits: &Limits, now: Instant) {
        self.busy = self.busy.saturating_sub(1);
        if let (Some(limit), Some(had)) = (limits.tokens, had) {
            let expected = expected.min(limit);
            if had > expected {
                self.tokens.take(had - expected, limit, now);
            } else {
                self.tokens.give_back(expected - had, limit);
            }
        }
    }

    /// A request that began was not sent after all.
    pub fn undo(&mut self, tokens: u64, limits: &Limits, now: Instant) {
        self.end(tokens, Some(0), limits, now);
        if let Some(limit) = limits.requests {
            self.requests.give_back(1, limit);
        }
    }
}
