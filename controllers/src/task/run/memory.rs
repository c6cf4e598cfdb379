//! What passes over runs remember from one to the next, so that it is not read and computed each time. All of it can be had anew: another process knows none
//! of it. A pass that is under way holds what it began with.

use oarmaster_protocol::FailureClass;
use oarmaster_workflow::run::{Child, Kept, Lists, Want};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of what is remembered of all runs: lists, and what was read of items, as JSON.
const ALL: usize = 64 << 20;
/// Most bytes of what one run has read of items, and of its lists: both fit, and so nothing of a run needs to go for what it needs itself.
const EACH: usize = 32 << 20;

/// How long nothing is let go after the gateway did not take what was left.
const PAUSE: Duration = Duration::from_secs(10);

/// Why something cannot be read.
pub(super) type Refused = (FailureClass, String);

/// What is remembered of one run.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Whether no Tasks of items are let go: the gateway has no room for what they left, or does not take it now.
    pub holds: bool,
    /// Its lists of items.
    pub lists: Arc<Lists>,
    /// What was read of items whose Tasks were let go.
    pub kept: Arc<Kept>,
}

/// Items of a step as they were read, with their size as JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Items {
    pub bytes: usize,
    pub items: Vec<(u32, Vec<Child>)>,
}

/// What is remembered of all runs, by UID.
#[derive(Debug, Default)]
pub struct Memories(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    runs: HashMap<String, OfRun>,
    /// How often one of them was used.
    uses: u64,
}

#[derive(Debug, Default)]
struct OfRun {
    memory: Memory,
    /// Bytes of its lists.
    lists: usize,
    /// What was read, by step.
    read: BTreeMap<String, OfStep>,
    /// Which use was its last.
    used: u64,
    /// Since when nothing is let go for a while.
    paused: Option<Instant>,
}

#[derive(Debug, Default)]
struct OfStep {
    bytes: usize,
    /// Of them, of what was read before the last pass that had all it needed: the next one may do without.
    old: usize,
    /// Whether it was refused for what else was read then: a later pass may have room for it.
    too_much: bool,
}

impl Memories {
    /// What is remembered of a run.
    #[must_use]
    pub fn of(&self, uid: &str) -> Memory {
        self.with(|held| {
            let known = held.runs.contains_key(uid);
            known.then(|| {
                let run = held.run(uid);
                let mut memory = run.memory.clone();
                let paused = run.paused.is_some_and(|since| since.elapsed() < PAUSE);
                memory.holds |= paused;
                memory
            })
        })
        .unwrap_or_default()
    }

    /// The run has ended.
    pub fn forget(&self, uid: &str) {
        self.with(|held| held.runs.remove(uid));
    }

    /// A pass had all that it needed; later ones need these lists. What the run has no room for, each pass puts together.
    pub(super) fn passed(&self, uid: &str, lists: Lists) {
        let lists: Vec<_> = lists
            .into_iter()
            .map(|(digest, list)| (json_bytes(list.as_ref()), digest, list))
            .collect();
        self.with(|held| {
            if let Some(run) = held.runs.get_mut(uid) {
                run.forget_steps(|of| of.too_much);
                run.read.values_mut().for_each(|of| of.old = of.bytes);
            }
            for (bytes, digest, list) in lists {
                let run = held.run(uid);
                let all = run.lists.saturating_add(bytes);
                if all > EACH || run.memory.lists.contains_key(&digest) {
                    continue;
                }
                held.make_room(uid, bytes);
                let run = held.run(uid);
                Arc::make_mut(&mut run.memory.lists).insert(digest, list);
                run.lists = all;
            }
        });
    }

    /// Items were read, or cannot be.
    pub(super) fn read(&self, uid: &str, want: &Want, items: Result<Items, Refused>) {
        self.with(|held| {
            let items = items.and_then(|items| {
                held.run(uid).let_in(want, items.bytes)?;
                held.make_room(uid, items.bytes);
                Ok(items)
            });
            held.run(uid).take(want, items);
        });
    }

    /// More of a step is kept now than was read.
    pub(super) fn more(&self, uid: &str, step: &str) {
        self.with(|held| held.run(uid).forget(step));
    }

    /// There is no room for what items leave: their Tasks stay.
    pub(super) fn no_room(&self, uid: &str) {
        self.with(|held| held.run(uid).memory.holds = true);
    }

    /// The gateway does not take now what items leave: their Tasks stay for a while.
    pub(super) fn not_now(&self, uid: &str) {
        self.with(|held| held.run(uid).paused = Some(Instant::now()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    /// A run, which is used now.
    fn run(&mut self, uid: &str) -> &mut OfRun {
        self.uses = self.uses.saturating_add(1);
        let run = self.runs.entry(uid.to_owned()).or_default();
        run.used = self.uses;
        run
    }

    fn bytes(&self) -> usize {
        sum(self.runs.values().map(OfRun::bytes))
    }

    /// Lets go of what other runs have not used for the longest, until a run may have so many bytes more.
    fn make_room(&mut self, uid: &str, more: usize) {
        while self.bytes().saturating_add(more) > ALL {
            let others = self.runs.iter_mut().filter(|(other, _)| *other != uid);
            let others = others.map(|(_, run)| run).filter(|run| run.bytes() > 0);
            let Some(oldest) = others.min_by_key(|run| run.used) else {
                return;
            };
            oldest.let_go();
        }
    }
}

impl OfRun {
    fn bytes(&self) -> usize {
        self.lists.saturating_add(self.read_bytes())
    }

    fn read_bytes(&self) -> usize {
        sum(self.read.values().map(|of| of.bytes))
    }

    /// How much will have been read with this. All items of a step are instead of those that were read one by one.
    fn with(&self, want: &Want, bytes: usize) -> usize {
        let stays = |step: &String| want.item.is_some() || *step != want.step;
        let others = self.read.iter().filter(|(step, _)| stays(step));
        sum(others.map(|(_, of)| of.bytes)).saturating_add(bytes)
    }

    /// Whether this may be read, too. Steps with something old go first, and are read anew where they are needed still: so a pass fails only for what
    /// it needs itself.
    fn let_in(&mut self, want: &Want, bytes: usize) -> Result<(), Refused> {
        if self.with(want, bytes) > EACH {
            self.forget_steps(|of| of.old > 0);
        }
        let all = self.with(want, bytes);
        if all <= EACH {
            return Ok(());
        }
        self.read.entry(want.step.clone()).or_default().too_much = true;
        let text = format!(
            "what the items of step {} left is too much beside that of other steps: {all} bytes together, at most {EACH} are read for a run at once; have items leave less, and keep what is large as artifacts",
            want.step
        );
        Err((FailureClass::OutputTooLarge, text))
    }

    fn take(&mut self, want: &Want, items: Result<Items, Refused>) {
        let of = self.read.entry(want.step.clone()).or_default();
        let kept = Arc::make_mut(&mut self.memory.kept);
        match items {
            Ok(Items { bytes, items }) => {
                match want.item {
                    None => (of.bytes, of.old) = (bytes, 0),
                    Some(_) => of.bytes = of.bytes.saturating_add(bytes),
                }
                kept.take(want, items);
            }
            Err((class, why)) => kept.refuse(want, class, why),
        }
    }

    fn forget(&mut self, step: &str) {
        if self.read.remove(step).is_some() {
            Arc::make_mut(&mut self.memory.kept).forget(step);
        }
    }

    fn forget_steps(&mut self, which: impl Fn(&OfStep) -> bool) {
        let steps = self.read.iter().filter(|(_, of)| which(of));
        let steps: Vec<String> = steps.map(|(step, _)| step.clone()).collect();
        steps.iter().for_each(|step| self.forget(step));
    }

    /// What can be had anew goes.
    fn let_go(&mut self) {
        self.read.clear();
        self.lists = 0;
        (self.memory.kept, self.memory.lists) = Default::default();
    }
}

fn sum(bytes: impl Iterator<Item = usize>) -> usize {
    bytes.fold(0, usize::saturating_add)
}

/// Size of a value as JSON.
pub(super) fn json_bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |text| text.len())
}

#[cfg(test)]
mod tests;
