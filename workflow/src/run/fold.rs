//! Tasks of items are let go: of a step with many items only some stay objects. What the others left is kept by the gateway, and read when it is needed.
//!
//! A Task is let go once it is written down how its item ended. First its result is kept, then the last of its Tasks is deleted, then those of the repetitions
//! before, and then that is written down. So a pass that dies in between loses nothing: an item that is through and has no Task is one that was let go.

use super::fan::Fan;
use super::make::{Which, name_of};
use super::values::Wrong;
use super::{Child, Run};
use crate::graph::Step;
use oarmaster_crds::kinds::steps::StepsStatus;
use oarmaster_protocol::FailureClass;
use std::collections::{BTreeMap, BTreeSet};

/// From when on Tasks of items are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folding {
    /// Of steps with more items than this.
    pub above: usize,
    /// How many of those that succeeded stay, the last ones.
    pub stay: usize,
    /// How many of those that failed stay, the first ones.
    pub failed: usize,
    /// How many more there are before some are let go, so that it is not done one by one.
    pub batch: usize,
}

impl Folding {
    /// As it is done.
    pub const USUAL: Self = Self {
        above: 100,
        stay: 100,
        failed: 50,
        batch: 50,
    };
}

/// Tasks of an item that are let go.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Under which name what it left is kept: the step's, and where all of it was run anew by which `rerun.count`.
    pub step: String,
    /// The item.
    pub item: u32,
    /// Its Tasks, by name and UID, in the order in which they are deleted.
    pub tasks: Vec<(String, String)>,
    /// How each repetition ended; of a step that shares nothing only the last. Empty where nothing of it is left.
    pub results: Vec<Child>,
}

/// What of it is to be read before the pass can be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Under which name it is kept.
    pub step: String,
    /// One item of it; all where it says none.
    pub item: Option<u32>,
}

/// What was read of items whose Tasks were let go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    steps: BTreeMap<String, OfStep>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct OfStep {
    /// Whether all of it was read.
    all: bool,
    /// Why all of it, or an item, cannot be.
    refused: BTreeMap<Option<u32>, Wrong>,
    items: BTreeMap<u32, Vec<Child>>,
}

impl Kept {
    /// Takes in what was read for a want.
    pub fn take(&mut self, want: &Want, items: impl IntoIterator<Item = (u32, Vec<Child>)>) {
        let step = self.steps.entry(want.step.clone()).or_default();
        match want.item {
            None => step.all = true,
            // Nothing is left of it, unless it is among them.
            Some(item) => {
                step.items.insert(item, Vec::new());
            }
        }
        step.items.extend(items);
    }

    /// It cannot be read.
    pub fn refuse(&mut self, want: &Want, class: FailureClass, why: String) {
        let step = self.steps.entry(want.step.clone()).or_default();
        step.refused.insert(want.item, (class, why));
    }

    /// More of a step is kept now.
    pub fn forget(&mut self, step: &str) {
        self.steps.remove(step);
    }
}

/// What is known of an item whose Tasks were let go.
pub(super) enum Left<'a> {
    /// It is to be read.
    Unread,
    /// It cannot be read.
    Refused(&'a Wrong),
    /// How each repetition ended.
    Known(&'a [Child]),
}

impl Run<'_> {
    /// What is known of an item, if its Tasks were let go.
    pub(super) fn gone_item(&self, at: usize, item: Option<i64>) -> Option<Left<'_>> {
        let item = item?;
        let fan = self.standing.fans.get(&at)?;
        let step = self.graph.steps.get(at)?;
        if !fan.folded.contains(item) && !self.is_missing(at, step, fan, item) {
            return None;
        }
        let number = u32::try_from(item).unwrap_or(u32::MAX);
        let name = self.kept_as(at, step);
        let held = self.seen.kept.steps.get(&name);
        let of_step = held.filter(|held| held.all || held.items.contains_key(&number));
        let refused = held.and_then(|held| held.refused.get(&Some(number)));
        Some(match (refused, of_step) {
            (_, Some(held)) => Left::Known(held.items.get(&number).map_or(&[], Vec::as_slice)),
            (Some(why), None) => Left::Refused(why),
            (None, None) => {
                self.want(&name, number);
                Left::Unread
            }
        })
    }

    /// Under which name results of a step's items are kept. Those of a step that is run anew as a whole are others.
    fn kept_as(&self, at: usize, step: &Step) -> String {
        match self.standing.which(at, None).rerun {
            0 => step.spec.name.clone(),
            rerun => format!("{}-{rerun}", step.spec.name),
        }
    }

    /// Whether an item is through and has no Task: a pass that was not written down may have let it go.
    fn is_missing(&self, at: usize, step: &Step, fan: &Fan, item: i64) -> bool {
        let live = || {
            self.standing
                .units(at)
                .iter()
                .any(|unit| unit.item == Some(item))
        };
        if !self.folds(fan) || !fan.has_begun(item) || live() {
            return false;
        }
        let last = self.standing.last(at, Some(item));
        let (_, name) = name_of(self.seen, &step.spec, last);
        !self.seen.found.contains_key(&name)
    }

    /// Whether Tasks of a step's items are let go, or were.
    fn folds(&self, fan: &Fan) -> bool {
        let many = |folding: Folding| fan.len() > folding.above;
        self.seen.folding.is_some_and(many) || !fan.folded.is_empty()
    }

    /// All items of a step are needed: those whose Tasks were let go are read together.
    ///
    /// # Errors
    /// They cannot be.
    pub(super) fn need_all(&self, at: usize) -> Result<(), Wrong> {
        let fan = self.standing.fans.get(&at);
        let folds = fan.is_some_and(|fan| self.folds(fan));
        let step = self.graph.steps.get(at).filter(|_| folds);
        let Some(name) = step.map(|step| self.kept_as(at, step)) else {
            return Ok(());
        };
        let held = self.seen.kept.steps.get(&name);
        if let Some(wrong) = held.and_then(|held| held.refused.get(&None)) {
            return Err(wrong.clone());
        }
        if held.is_none_or(|held| !held.all) {
            self.wants.borrow_mut().insert(name, None);
        }
        Ok(())
    }

    /// Something is to be read. Several items of a step are read together.
    fn want(&self, step: &str, item: u32) {
        let mut wants = self.wants.borrow_mut();
        wants
            .entry(step.to_owned())
            .and_modify(|held| *held = held.filter(|held| *held == item))
            .or_insert(Some(item));
    }

    /// Lets Tasks of items go. Before anything is decided: what was written down counts, and nothing else.
    pub(super) fn fold(&mut self, held: &StepsStatus) {
        let Some(folding) = self.seen.folding.filter(|_| !self.seen.holds) else {
            return;
        };
        for (at, step) in self.graph.steps.iter().enumerate() {
            // What was taken from others is not undone, which their Tasks say.
            let undoes =
                step.undo.is_some() && (self.standing.ending.is_some() || step.memo.is_some());
            let many = self.standing.fans.get(&at).map(Fan::len);
            if many.is_none_or(|many| many <= folding.above)
                || self.graph.is_placed(&step.spec.name)
                || undoes
            {
                continue;
            }
            for item in self.through_and_written(at, step, held, folding) {
                self.let_go(at, step, item);
            }
        }
    }

    /// The items of a step whose Tasks are let go now.
    fn through_and_written(
        &self,
        at: usize,
        step: &Step,
        held: &StepsStatus,
        folding: Folding,
    ) -> Vec<i64> {
        let written = held.fans.iter().find(|fan| fan.name == step.spec.name);
        let (Some(fan), Some(written)) = (self.standing.fans.get(&at), written) else {
            return Vec::new();
        };
        let live: BTreeSet<Option<i64>> = self
            .standing
            .units(at)
            .iter()
            .map(|unit| unit.item)
            .collect();
        let through = |item: &i64| {
            fan.has_begun(*item) && !fan.folded.contains(*item) && !live.contains(&Some(*item))
        };
        let open = (fan.first_unfolded()..written.begun).filter(through);
        let (failed, succeeded): (Vec<i64>, Vec<i64>) =
            open.partition(|item| fan.failed.contains(*item));
        let mut go = Vec::new();
        if succeeded.len() >= folding.stay + folding.batch {
            let many = succeeded.len() - folding.stay;
            go.extend(succeeded.into_iter().take(many));
        }
        if failed.len() >= folding.failed + folding.batch {
            go.extend(failed.into_iter().skip(folding.failed));
        }
        go
    }

    fn let_go(&mut self, at: usize, step: &Step, item: i64) {
        let Ok(number) = u32::try_from(item) else {
            return;
        };
        let last = self.standing.last(at, Some(item));
        let all = (1..=last.turn).rev().map(|turn| {
            let (_, name) = name_of(self.seen, &step.spec, Which { turn, ..last });
            let found = self.seen.found.get(&name);
            (name, found.filter(|found| found.ours && found.task))
        });
        let all: Vec<_> = all.collect();
        let tasks = all
            .iter()
            .filter_map(|(name, found)| Some((name.clone(), found.as_ref()?.uid.clone())));
        let results = all
            .iter()
            .map(|(_, found)| found.map_or(Child::Cancelled, |found| found.now.clone()));
        let results: Vec<Child> = match all.first() {
            Some((_, Some(_))) if step.share.is_some() => results.rev().collect(),
            Some((_, Some(_))) => results.take(1).collect(),
            _ => Vec::new(),
        };
        if results.iter().any(|child| matches!(child, Child::Live(_))) {
            return;
        }
        let fold = Fold {
            step: self.kept_as(at, step),
            item: number,
            tasks: tasks.collect(),
            results,
        };
        self.fold.push((at, fold));
    }
}
