//! What is no longer kept: what it does to the state, and deciding what is due.

use super::{At, Segment, State, Task};
use crate::Erased;
use crate::entry::{Entry, Totals};
use crate::options::Retention;
use oarmaster_protocol::assignment::TaskRef;
use std::collections::{BTreeSet, HashSet};

/// What has been kept for long enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Tasks whose artifacts may go, if they are over.
    pub artifacts: Vec<TaskRef>,
    /// Tasks whose journals may go, if they are over.
    pub journals: Vec<TaskRef>,
}

impl State {
    /// The Tasks that nothing has happened to for long enough. A Task may wait for longer than that, for an approval or for money: only
    /// whoever knows that it is over may let it go.
    pub fn due(&self, kept: &Retention, now: i64) -> Due {
        let mut due = Due::default();
        for task in self.tasks.values() {
            let older = |than: i64| now.saturating_sub(task.last_ms) >= than;
            let journal = older(kept.journals_ms);
            let artifacts = older(kept.artifacts_ms) && !task.blobs.is_empty();
            if !(journal || artifacts) || !task.is_idle() {
                continue; // the times first: few are old, and calls are many
            }
            // What it spent counts in the budget of the Task above it, which is read back from its rows.
            let counts = |parent: &String| self.tasks.contains_key(parent);
            if journal && !task.parent.as_ref().is_some_and(counts) {
                due.journals.push(task.task.clone());
            }
            // What it left of files that it was handed may not be taken over yet.
            let left = task.attempts.values().any(|attempt| {
                attempt
                    .outcome
                    .as_ref()
                    .is_some_and(|outcome| outcome.workspace.is_some())
            });
            // So they go after those of the Task above it, which does not go while it waits.
            let stands = |parent: &String| {
                let above = self.tasks.get(parent);
                above.is_some_and(|above| !above.blobs.is_empty())
            };
            if artifacts && !(left && task.parent.as_ref().is_some_and(stands)) {
                due.artifacts.push(task.task.clone());
            }
        }
        due
    }

    /// The full segments with something that is no longer kept, and those between that are written anew with them, in order.
    pub fn stale(&self, kept: &Retention, full: u32, now: i64) -> Vec<u32> {
        let mut stale = BTreeSet::new();
        for task in self.leaving.values() {
            let (first, last) = task.segments;
            stale.extend(first..=last);
        }
        stale.extend(self.notes.stale());
        for (segment, known) in &self.segments {
            let older = |at_ms: Option<i64>, than: i64| {
                at_ms.is_some_and(|at_ms| now.saturating_sub(at_ms) >= than)
            };
            let last = known.times.map(|(_, last)| last);
            if known.rows > 0 && older(last, kept.rows_ms) {
                stale.extend(known.since.unwrap_or(*segment)..=*segment);
            }
            if (known.audit > 0 && older(last, kept.totals_ms))
                || older(known.totals_ms, kept.totals_ms)
            {
                stale.insert(*segment);
            }
        }
        stale.range(..full).copied().collect()
    }

    /// The Tasks that a person asked for.
    pub fn asked_for_by(&self, requester: &str) -> impl Iterator<Item = &Task> {
        let tasks = self.tasks.values();
        tasks.filter(move |task| task.requested_by.as_deref() == Some(requester))
    }

    /// What lets go of a person's Tasks that are `over`, and of the notes for that person.
    pub fn decide_erase(
        &self,
        requester: &str,
        over: &HashSet<String>,
        at_ms: i64,
    ) -> (Vec<Entry>, Erased) {
        let mine: Vec<&Task> = self.asked_for_by(requester).collect();
        let gone = mine.iter().filter(|task| task.is_idle());
        let gone = gone.map(|task| task.task.uid.as_str());
        let mut gone: BTreeSet<&str> = gone.filter(|uid| over.contains(*uid)).collect();
        // What a Task spent counts in the budget of the one above it, which is read back from its rows.
        let counts = |gone: &BTreeSet<&str>, task: &Task| {
            let above = task.parent.as_deref();
            above.is_some_and(|above| self.tasks.contains_key(above) && !gone.contains(above))
        };
        loop {
            let before = gone.len();
            let kept: Vec<&str> = mine
                .iter()
                .filter(|task| counts(&gone, task))
                .map(|task| task.task.uid.as_str())
                .collect();
            for uid in kept {
                gone.remove(uid);
            }
            if gone.len() == before {
                break;
            }
        }
        let stays = |task: &&&Task| !gone.contains(task.task.uid.as_str());
        let mut stay: Vec<TaskRef> = mine
            .iter()
            .filter(stays)
            .map(|task| task.task.clone())
            .collect();
        stay.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let notes = self.notes.for_person(requester);
        let erased = Erased {
            tasks: gone.len() as u64,
            notes: notes.iter().map(|(_, ids)| ids.len() as u64).sum(),
            stay,
        };
        let tasks: Vec<String> = gone.into_iter().map(str::to_owned).collect();
        let mut entries = Vec::new();
        if !tasks.is_empty() {
            entries.push(Entry::Expired { at_ms, tasks });
        }
        let forgotten = notes.into_iter().map(|(owner, notes)| Entry::Forgotten {
            at_ms,
            owner,
            notes,
        });
        entries.extend(forgotten);
        (entries, erased)
    }

    /// Whether a Task has the blob of this name.
    pub fn names_blob(&self, name: &str) -> bool {
        self.held.has(name)
    }

    /// Since when the segment that is written to is written to.
    pub fn current_since(&self) -> Option<i64> {
        let (first, _) = self.segments.last_key_value()?.1.times?;
        Some(first)
    }

    /// A segment was written anew: this is what is known of it now.
    pub fn condensed(&mut self, segment: u32, now: Segment) {
        self.segments.insert(segment, now);
    }

    /// Every segment before this one was written anew as far as it had to be, without these notes: these Tasks have left.
    pub fn left(&mut self, full: u32, notes: &BTreeSet<(u32, String)>) -> Vec<Task> {
        self.notes.left(full, notes);
        let gone = self
            .leaving
            .extract_if(.., |_, task| task.segments.1 < full);
        gone.map(|(_, task)| task).collect()
    }

    pub(super) fn apply_released(&mut self, tasks: &[String]) {
        for uid in tasks {
            if let Some(task) = self.tasks.get_mut(uid) {
                for (digest, blob) in std::mem::take(&mut task.blobs) {
                    self.held.give_back(&blob.name(&digest), blob.size);
                }
            }
        }
    }

    /// A Task may be unknown: it has left already.
    pub(super) fn apply_expired(&mut self, tasks: &[String]) {
        for uid in tasks {
            let Some(mut task) = self.tasks.remove(uid) else {
                continue;
            };
            self.shared.leave(&task);
            self.trees.leave(&task);
            // After a crash the settlements may have left already.
            for hop in task.calls.values().flat_map(|call| &call.hops) {
                if hop.open {
                    self.counters.give_back(&hop.scopes, hop.reserve.pico);
                }
            }
            for (digest, blob) in std::mem::take(&mut task.blobs) {
                self.held.give_back(&blob.name(&digest), blob.size);
            }
            self.task_bytes = self.task_bytes.saturating_sub(task.journal_bytes);
            let name = (task.task.namespace.clone(), task.task.name.clone());
            if self.names.get(&name) == Some(uid) {
                self.names.remove(&name);
            }
            // Their texts may be sealed for ever now: whoever reads the log again knows none of these.
            for attempt in task.attempts.values_mut() {
                (attempt.outcome, attempt.isolated) = (None, None);
            }
            task.requests.clear();
            self.leaving.insert(uid.clone(), task);
        }
    }

    pub(super) fn apply_totals(&mut self, totals: &Totals, at: At) {
        let Totals {
            counters,
            sdk,
            term,
            used,
            ..
        } = totals;
        for counter in counters {
            self.counters.add(counter);
        }
        self.sdk.total.add(sdk);
        if *term == self.sdk.term && self.sdk.running {
            self.sdk.first = self.sdk.first.or(Some(at.frame));
            self.counters.used(used, at.frame);
        }
    }
}

impl Task {
    /// How many hops its calls have.
    pub fn hops(&self) -> usize {
        self.calls.values().map(|call| call.hops.len()).sum()
    }

    /// Whether nobody works on it now.
    fn is_idle(&self) -> bool {
        let open = self.attempts.values().any(super::Attempt::is_open);
        let mut hops = self.calls.values().flat_map(|call| &call.hops);
        !open && !hops.any(|hop| hop.open)
    }

    /// Bytes of the blobs that it brought itself.
    pub(super) fn blob_bytes(&self) -> u64 {
        let taken: HashSet<&String> = self.taken.iter().map(|blob| &blob.digest).collect();
        let own = self.blobs.iter();
        let own = own.filter(|(digest, _)| !taken.contains(digest));
        own.fold(0, |sum, (_, blob)| sum.saturating_add(blob.size))
    }
}
