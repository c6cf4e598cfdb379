//! What is kept of the items of a run's steps: which blob has the result of which.

use super::{State, Task};
use crate::Refusal;
use crate::entry::Entry;
use crate::seal::BlobKey;
use oarmaster_protocol::admin::MAX_KEPT_READ;
use oarmaster_protocol::journal::Blob;
use std::collections::BTreeSet;

/// The newest results of some items of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAt {
    /// The items, first and last of each stretch of them.
    pub items: Vec<(u32, u32)>,
    /// What holds them, and maybe older results of others.
    pub blob: Blob,
}

impl KeptAt {
    /// Whether the newest result of an item is here.
    pub fn has(&self, item: u32) -> bool {
        let mut stretches = self.items.iter();
        stretches.any(|(first, last)| (*first..=*last).contains(&item))
    }
}

impl State {
    /// Keeps results of items. The same bytes again are there already, unless newer results of one of the items came between.
    pub fn decide_kept(
        &self,
        uid: &str,
        step: &str,
        items: &BTreeSet<u32>,
        (blob, key): (&Blob, Option<&BlobKey>),
        quota: u64,
        journal: u64,
    ) -> Result<Vec<Entry>, Refusal> {
        let task = self.task(uid)?;
        let items = stretches(items);
        let same = |kept: &KeptAt| kept.blob == *blob && kept.items == items;
        let kept = task.kept.get(step).map(Vec::as_slice).unwrap_or_default();
        if kept.iter().any(same) && task.blobs.contains_key(&blob.digest) {
            return Ok(Vec::new());
        }
        task.fits_journal(journal)?;
        task.fits("a result", &blob.digest, blob.size, quota)?;
        Ok(vec![Entry::Kept {
            task: uid.to_owned(),
            step: step.to_owned(),
            items,
            blob: blob.clone(),
            key: key.cloned(),
        }])
    }
}

impl Task {
    /// These are the newest results of the items now. The bytes of older ones stay, and count, as those of artifacts that were replaced do.
    pub(super) fn keep_items(&mut self, step: &str, items: &[(u32, u32)], blob: &Blob) {
        let all = self.kept.entry(step.to_owned()).or_default();
        all.retain_mut(|kept| {
            if are_apart(&kept.items, items) {
                return true; // as nearly all are: items are let go in their order
            }
            kept.items = without(&kept.items, items);
            !kept.items.is_empty()
        });
        all.push(KeptAt {
            items: items.to_vec(),
            blob: blob.clone(),
        });
    }

    /// Where the results of a step are, or that of an item of it.
    pub fn kept_of(&self, step: &str, item: Option<u32>) -> Result<Vec<KeptAt>, Refusal> {
        let all = self.kept.get(step).map(Vec::as_slice).unwrap_or_default();
        let wanted = |kept: &&KeptAt| item.is_none_or(|item| kept.has(item));
        let found: Vec<KeptAt> = all.iter().filter(wanted).cloned().collect();
        let size = found.iter().map(|kept| kept.blob.size).sum::<u64>();
        if size > MAX_KEPT_READ {
            return Err(Refusal::TooLarge(format!(
                "the results of step {step} have {size} bytes, at most {MAX_KEPT_READ} are read at once; have its items leave less, and keep what is large as artifacts"
            )));
        }
        let is_there = |kept: &KeptAt| self.blobs.contains_key(&kept.blob.digest);
        if !found.iter().all(is_there) {
            return Err(Refusal::NotFound(format!(
                "the results of step {step} are no longer kept (gateway.retention.artifacts)"
            )));
        }
        Ok(found)
    }
}

/// Whether all of some stretches come before all of others.
fn are_apart(some: &[(u32, u32)], others: &[(u32, u32)]) -> bool {
    let before = |one: &[(u32, u32)], other: &[(u32, u32)]| match (one.last(), other.first()) {
        (Some((_, last)), Some((first, _))) => last < first,
        _ => true,
    };
    before(some, others) || before(others, some)
}

/// Stretches without others; both in their order.
fn without(all: &[(u32, u32)], others: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut left = Vec::new();
    for &(first, last) in all {
        let mut next = Some(first);
        for &(begin, end) in others {
            let Some(from) = next.filter(|from| *from <= end && begin <= last) else {
                continue;
            };
            if from < begin {
                left.push((from, begin.saturating_sub(1)));
            }
            next = end.checked_add(1);
        }
        if let Some(from) = next.filter(|from| *from <= last) {
            left.push((from, last));
        }
    }
    left
}

/// First and last of each stretch of numbers.
fn stretches(items: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> = Vec::new();
    for item in items {
        match all.last_mut() {
            Some((_, last)) if last.saturating_add(1) == *item => *last = *item,
            _ => all.push((*item, *item)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use oarmaster_protocol::assignment::TaskRef;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Each item is in the blob that was kept last of it, and in no other.
        #[test]
        fn the_newest_result_of_an_item_counts(
            writes in proptest::collection::vec(proptest::collection::btree_set(0_u32..12, 1..6), 1..12)
        ) {
            let mut task = Task::new(TaskRef {
                namespace: "team".to_owned(),
                name: "run".to_owned(),
                uid: "u".to_owned(),
            });
            let mut newest = BTreeMap::new();
            for (number, items) in writes.iter().enumerate() {
                let blob = Blob { digest: format!("{number}"), size: 1 };
                task.blobs.insert(blob.digest.clone(), crate::state::BlobAt { size: 1, key: None });
                task.keep_items("work", &stretches(items), &blob);
                newest.extend(items.iter().map(|item| (*item, blob.digest.clone())));
            }
            for item in 0..12 {
                let found = task.kept_of("work", Some(item)).unwrap();
                let found: Vec<String> = found.into_iter().map(|kept| kept.blob.digest).collect();
                let expected: Vec<String> = newest.get(&item).cloned().into_iter().collect();
                prop_assert_eq!(found, expected);
            }
            let all = task.kept_of("work", None).unwrap();
            let all: BTreeSet<String> = all.into_iter().map(|kept| kept.blob.digest).collect();
            prop_assert_eq!(all, newest.into_values().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn stretches_go_up_to_the_last_number() {
        let all = [(0, 9), (20, 20), (30, u32::MAX)];
        for (others, left) in [
            (vec![], all.to_vec()),
            (vec![(3, 4), (6, 20)], vec![(0, 2), (5, 5), (30, u32::MAX)]),
            (vec![(10, 19), (21, 29)], all.to_vec()),
            (vec![(9, 40)], vec![(0, 8), (41, u32::MAX)]),
            (vec![(0, u32::MAX)], vec![]),
        ] {
            assert_eq!(without(&all, &others), left, "{others:?}");
        }
    }
}
