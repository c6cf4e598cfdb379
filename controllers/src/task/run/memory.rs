//! What passes over a run remember from one to the next, so that it is not read and computed each time. All of it can be had anew: another process knows none
//! of it.

use oarmaster_workflow::run::{Folding, Kept, Lists, Want};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Runs whose read items are remembered at once: each may have 8 MiB of them.
const READ: usize = 8;

/// What is remembered of one run.
#[derive(Clone, Debug)]
pub struct Memory {
    /// When Tasks of items are let go; never once the gateway had no room for what they left.
    pub folding: Option<Folding>,
    /// Its lists of items.
    pub lists: Arc<Lists>,
    /// What was read of items whose Tasks were let go.
    pub kept: Arc<Kept>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            folding: Some(Folding::USUAL),
            lists: Arc::default(),
            kept: Arc::default(),
        }
    }
}

/// What is remembered of all runs, by UID.
#[derive(Debug, Default)]
pub struct Memories(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    runs: HashMap<String, Memory>,
    /// Runs of which items were read, the newest last.
    read: Vec<String>,
}

impl Memories {
    /// What is remembered of a run.
    #[must_use]
    pub fn of(&self, uid: &str) -> Memory {
        self.with(|held| held.runs.get(uid).cloned().unwrap_or_default())
    }

    /// The run has ended.
    pub fn forget(&self, uid: &str) {
        self.with(|held| {
            held.runs.remove(uid);
            held.read.retain(|read| read != uid);
        });
    }

    /// Lists that later passes need.
    pub(super) fn lists(&self, uid: &str, lists: Lists) {
        if !lists.is_empty() {
            self.change(uid, |memory| Arc::make_mut(&mut memory.lists).extend(lists));
        }
    }

    /// Items were read, or cannot be.
    pub(super) fn read(
        &self,
        uid: &str,
        want: &Want,
        items: Result<Vec<(u32, Vec<oarmaster_workflow::run::Child>)>, String>,
    ) {
        self.change(uid, |memory| {
            let kept = Arc::make_mut(&mut memory.kept);
            match items {
                Ok(items) => kept.take(want, items),
                Err(why) => kept.refuse(want, why),
            }
        });
        self.with(|held| {
            held.read.retain(|read| read != uid);
            held.read.push(uid.to_owned());
            if held.read.len() > READ {
                let oldest = held.read.remove(0);
                if let Some(memory) = held.runs.get_mut(&oldest) {
                    memory.kept = Arc::default();
                }
            }
        });
    }

    /// More of a step is kept now than was read.
    pub(super) fn more(&self, uid: &str, step: &str) {
        self.change(uid, |memory| {
            if *memory.kept != Kept::default() {
                Arc::make_mut(&mut memory.kept).forget(step);
            }
        });
    }

    /// There is no room for what items leave: their Tasks stay.
    pub(super) fn no_room(&self, uid: &str) {
        self.change(uid, |memory| memory.folding = None);
    }

    fn change(&self, uid: &str, change: impl FnOnce(&mut Memory)) {
        self.with(|held| change(held.runs.entry(uid.to_owned()).or_default()));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
