//! Items of a step, as a set. Written down it is like `3,17-18`, or its bits where those are shorter: a status has a bound, whichever items failed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bit_set::BitSet;
use oarmaster_crds::kinds::workflow::MAX_ITEMS;

/// With what bits begin.
const BITS: &str = "base64:";

/// Numbers of items, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Items(BitSet);

impl Items {
    /// Reads what was written. Nobody else writes it; what is none of ours is left out.
    pub fn read(text: &str) -> Self {
        if let Some(bits) = text.strip_prefix(BITS) {
            let bytes = STANDARD_NO_PAD.decode(bits).unwrap_or_default();
            return Self(BitSet::from_bytes(&bytes));
        }
        let runs = text.split(',').filter_map(|run| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        let runs = runs.filter(|(_, last)| *last < MAX_ITEMS);
        Self(runs.flat_map(|(first, last)| first..=last).collect())
    }

    /// As it is written down.
    pub fn write(&self) -> String {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for number in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if last.saturating_add(1) == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let runs = runs.into_iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        });
        let runs = runs.collect::<Vec<_>>().join(",");
        let bits = STANDARD_NO_PAD.encode(self.0.get_ref().to_bytes());
        match runs.len() > BITS.len() + bits.len() {
            true => format!("{BITS}{bits}"),
            false => runs,
        }
    }

    pub fn insert(&mut self, item: i64) {
        if let Ok(item) = usize::try_from(item) {
            self.0.insert(item);
        }
    }

    /// Takes an item out; whether it was in.
    pub fn remove(&mut self, item: i64) -> bool {
        usize::try_from(item).is_ok_and(|item| self.0.remove(item))
    }

    pub fn contains(&self, item: i64) -> bool {
        usize::try_from(item).is_ok_and(|item| self.0.contains(item))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.count()
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().filter_map(|item| i64::try_from(item).ok())
    }

    /// Takes out what another one has.
    pub fn without(&mut self, other: &Self) {
        self.0.difference_with(&other.0);
    }
}

impl FromIterator<i64> for Items {
    fn from_iter<I: IntoIterator<Item = i64>>(items: I) -> Self {
        let items = items.into_iter();
        Self(
            items
                .filter_map(|item| usize::try_from(item).ok())
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_as_stretches() {
        for (numbers, text) in [
            (vec![], ""),
            (vec![3], "3"),
            (vec![0, 1, 2], "0-2"),
            (vec![3, 17, 18, 20], "3,17-18,20"),
        ] {
            let numbers: Items = numbers.into_iter().collect();
            assert_eq!(numbers.write(), text);
            assert_eq!(Items::read(text), numbers);
        }
        assert!(Items::read("x,99999999-99999999999").is_empty());
    }

    #[test]
    fn whatever_the_numbers_are_they_have_a_bound() {
        let every_other: Items = (0..20_000).step_by(2).collect();
        let text = every_other.write();
        assert!(text.len() < 3500, "{}", text.len());
        assert_eq!(Items::read(&text).iter().count(), 10_000);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in prop::collection::btree_set(0_i64..20_000, 0..3000)) {
            let items: Items = numbers.iter().copied().collect();
            let read = Items::read(&items.write());
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), numbers.into_iter().collect::<Vec<_>>());
        }
    }
}
