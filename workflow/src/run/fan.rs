//! The items of a step with `forEach`.

use oarmaster_crds::kinds::steps::{FailedStep, FanStatus};
use std::collections::BTreeSet;

/// How the items of a step stand. They begin in their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fan {
    /// How many there are.
    pub items: i64,
    /// What they are.
    pub digest: String,
    /// How many have begun.
    pub begun: i64,
    /// Of those, the ones that begin anew.
    pub again: BTreeSet<i64>,
    /// Those that failed.
    pub failed: BTreeSet<i64>,
    /// The first one that failed.
    pub first_failure: Option<FailedStep>,
}

impl Fan {
    pub fn new(items: usize, digest: String) -> Self {
        Self {
            items: i64::try_from(items).unwrap_or(i64::MAX),
            digest,
            begun: 0,
            again: BTreeSet::new(),
            failed: BTreeSet::new(),
            first_failure: None,
        }
    }

    pub fn read(held: &FanStatus) -> Self {
        Self {
            items: held.items,
            digest: held.digest.clone(),
            begun: held.begun,
            again: read(&held.again),
            failed: read(&held.failed),
            first_failure: held.first_failure.clone(),
        }
    }

    pub fn write(self, name: String) -> FanStatus {
        FanStatus {
            name,
            items: self.items,
            digest: self.digest,
            begun: self.begun,
            again: write(&self.again),
            failed: write(&self.failed),
            first_failure: self.first_failure,
        }
    }

    /// The items that begin next, of which a pass that nobody remembers may have made some.
    pub fn next(&self, most: usize) -> impl Iterator<Item = i64> {
        let later = self.begun..self.items;
        self.again.iter().copied().chain(later).take(most)
    }

    /// An item begins.
    pub fn begins(&mut self, item: i64) {
        if !self.again.remove(&item) {
            self.begun = self.begun.max(item.saturating_add(1));
        }
    }

    /// Whether an item has ended, or is under way.
    pub fn has_begun(&self, item: i64) -> bool {
        item < self.begun && !self.again.contains(&item)
    }

    /// Whether an item has succeeded, of a step that has ended.
    pub fn succeeded(&self, item: i64) -> bool {
        self.has_begun(item) && !self.failed.contains(&item)
    }

    /// Whether all of them have begun.
    pub fn all_begun(&self) -> bool {
        self.begun >= self.items && self.again.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::try_from(self.items).unwrap_or_default()
    }
}

/// Numbers like `3,17-18`.
pub(super) fn write(numbers: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let runs = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// The numbers of such a text. Nobody else writes it.
pub(super) fn read(text: &str) -> BTreeSet<i64> {
    let runs = text.split(',').filter_map(|run| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        Some((first.parse::<i64>().ok()?, last.parse::<i64>().ok()?))
    });
    runs.flat_map(|(first, last)| first..=last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_runs() {
        for (numbers, text) in [
            (vec![], ""),
            (vec![3], "3"),
            (vec![0, 1, 2], "0-2"),
            (vec![3, 17, 18, 20], "3,17-18,20"),
        ] {
            let numbers: BTreeSet<i64> = numbers.into_iter().collect();
            assert_eq!(write(&numbers), text);
            assert_eq!(read(text), numbers);
        }
    }
}
