//! The order in which the members of a pool are tried: by ascending priority, and within one priority by the pool's strategy.

use oarmaster_crds::kinds::pool::Strategy;
use std::time::Duration;

/// A member, as far as its place depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Lower is tried first.
    pub priority: i64,
    /// Its share under `Weighted`; 0: only after the others.
    pub weight: u32,
    /// What this request is expected to cost there, in pico-USD.
    pub cost: u64,
    /// Whether it costs nothing.
    pub free: Free,
    /// How long it is expected to take; `None` before anything was seen of it.
    pub wait: Option<Duration>,
    /// Requests that are on their way to it.
    pub busy: u32,
}

/// Whether a member costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// It has a price.
    No,
    /// Every price of it is 0.
    Yes,
    /// Every price of it is 0, but what it gives away in this window is used up.
    UsedUp,
}

/// Why a member was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// First in its pool's order.
    Priority,
    /// Drawn by weight.
    Weighted,
    /// The lowest expected cost of this request.
    Cheapest,
    /// The shortest wait of late.
    Fastest,
    /// The fewest requests on their way.
    LeastBusy,
    /// Costs nothing.
    Free,
    /// What was asked before it failed, or could not be asked.
    Failover,
    /// Nobody was: its answer to an equal request was kept.
    Cache,
}

impl Reason {
    /// Its name: in a response header and as a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "Priority",
            Self::Weighted => "Weighted",
            Self::Cheapest => "Cheapest",
            Self::Fastest => "Fastest",
            Self::LeastBusy => "LeastBusy",
            Self::Free => "Free",
            Self::Failover => "Failover",
            Self::Cache => "Cache",
        }
    }

    /// Why the first of an order is the first.
    #[must_use]
    pub const fn first(strategy: Strategy, free: Free) -> Self {
        match strategy {
            Strategy::Priority => Self::Priority,
            Strategy::Weighted => Self::Weighted,
            Strategy::Fastest => Self::Fastest,
            Strategy::LeastBusy => Self::LeastBusy,
            Strategy::FreeFirst if matches!(free, Free::Yes) => Self::Free,
            Strategy::Cheapest | Strategy::FreeFirst => Self::Cheapest,
        }
    }
}

/// The places of the candidates in the order of trying. `draw(n)` is a number below n, at random.
///
/// Equal ones stay in the written order.
pub fn order(
    strategy: Strategy,
    candidates: &[Candidate],
    draw: impl FnMut(u64) -> u64,
) -> Vec<usize> {
    let mut places: Vec<usize> = (0..candidates.len()).collect();
    let mut by = |rank: &dyn Fn(&Candidate) -> (u8, u64)| {
        places.sort_by_key(|place| candidates.get(*place).map(rank));
    };
    match strategy {
        Strategy::Priority => {}
        Strategy::Weighted => {
            places = drawn(candidates.iter().map(|candidate| candidate.weight), draw);
        }
        Strategy::Cheapest => by(&|of| (0, of.cost)),
        Strategy::Fastest => by(&|of| {
            // What nobody has tried is tried: else it would never be known to be fast.
            let nanos = of.wait.map_or(0, |wait| wait.as_nanos());
            (
                u8::from(of.wait.is_some()),
                u64::try_from(nanos).unwrap_or(u64::MAX),
            )
        }),
        Strategy::LeastBusy => by(&|of| (0, u64::from(of.busy))),
        Strategy::FreeFirst => by(&|of| match of.free {
            Free::Yes => (0, 0),
            Free::No => (1, of.cost),
            Free::UsedUp => (2, 0),
        }),
    }
    places.sort_by_key(|place| candidates.get(*place).map(|of| of.priority));
    places
}

/// All places, drawn one after the other with the chances of their weights; those without a weight last, as written.
pub fn drawn(weights: impl Iterator<Item = u32>, mut draw: impl FnMut(u64) -> u64) -> Vec<usize> {
    let (mut left, last): (Vec<_>, Vec<_>) = weights
        .map(u64::from)
        .enumerate()
        .partition(|(_, weight)| *weight > 0);
    let mut places = Vec::with_capacity(left.len() + last.len());
    while !left.is_empty() {
        let total = left.iter().map(|(_, weight)| weight).sum();
        let mut mark = draw(total);
        let at = left
            .iter()
            .position(|(_, weight)| {
                let hit = mark < *weight;
                mark = mark.saturating_sub(*weight);
                hit
            })
            .unwrap_or_default();
        places.push(left.remove(at).0);
    }
    places.extend(last.into_iter().map(|(place, _)| place));
    places
}
