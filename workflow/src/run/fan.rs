//! The items of a step with `forEach`.

use super::items::Items;
use oarmaster_crds::kinds::steps::{FailedStep, FanStatus};

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
    pub again: Items,
    /// Those that failed.
    pub failed: Items,
    /// Those whose Tasks are gone: what they left is kept elsewhere.
    pub folded: Items,
    /// The first one that failed.
    pub first_failure: Option<FailedStep>,
}

impl Fan {
    pub fn new(items: usize, digest: String) -> Self {
        Self {
            items: i64::try_from(items).unwrap_or(i64::MAX),
            digest,
            begun: 0,
            again: Items::default(),
            failed: Items::default(),
            folded: Items::default(),
            first_failure: None,
        }
    }

    pub fn read(held: &FanStatus) -> Self {
        Self {
            items: held.items,
            digest: held.digest.clone(),
            begun: held.begun,
            again: Items::read(&held.again),
            failed: Items::read(&held.failed),
            folded: Items::read(&held.folded),
            first_failure: held.first_failure.clone(),
        }
    }

    pub fn write(self, name: String) -> FanStatus {
        FanStatus {
            name,
            items: self.items,
            digest: self.digest,
            begun: self.begun,
            again: self.again.write(),
            failed: self.failed.write(),
            folded: self.folded.write(),
            first_failure: self.first_failure,
        }
    }

    /// The items that begin next, of which a pass that nobody remembers may have made some.
    pub fn next(&self, most: usize) -> impl Iterator<Item = i64> {
        let later = self.begun..self.items;
        self.again.iter().chain(later).take(most)
    }

    /// An item begins.
    pub fn begins(&mut self, item: i64) {
        self.folded.remove(item);
        if !self.again.remove(item) {
            self.begun = self.begun.max(item.saturating_add(1));
        }
    }

    /// Whether an item has ended, or is under way.
    pub fn has_begun(&self, item: i64) -> bool {
        item < self.begun && !self.again.contains(item)
    }

    /// Whether an item has succeeded, of a step that has ended.
    pub fn succeeded(&self, item: i64) -> bool {
        self.has_begun(item) && !self.failed.contains(item)
    }

    /// Whether all of them have begun.
    pub fn all_begun(&self) -> bool {
        self.begun >= self.items && self.again.is_empty()
    }

    /// Every item before this one was let go.
    pub fn first_unfolded(&self) -> i64 {
        let mut items = 0..self.items;
        items
            .find(|item| !self.folded.contains(*item))
            .unwrap_or(self.items)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::try_from(self.items).unwrap_or_default()
    }
}
