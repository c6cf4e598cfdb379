//! What is no longer kept leaves the log: journals and artifacts of Tasks that are over, rows of money that sums stand for.
//!
//! First the log says which Tasks leave; then the segments that they are in, and those with rows that are old, are written anew, the last one
//! first. Whatever a crash leaves of that is a log that is whole, and the next pass goes on. `condense` decides what stays of a segment.

mod condense;
mod summary;
#[cfg(test)]
mod tests;

use crate::audit::View;
use crate::entry::{Entry, entries};
use crate::log::{self, Urgency};
use crate::state::{Due, State};
use crate::{Refusal, Store, StoreError};
use condense::{Condensed, condense};
use oarmaster_protocol::assignment::TaskRef;
use std::cell::RefCell;
use std::collections::HashSet;
use summary::{Asked, Rules, Whose};

/// A segment is written to for at most this long, in milliseconds, so that what is in it can leave.
const SEGMENT_MS: i64 = 24 * 3_600_000;

/// What a pass has let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Journals of Tasks.
    pub journals: usize,
    /// Tasks whose artifacts went.
    pub artifacts: usize,
    /// Files of artifacts that no Task has any more.
    pub blobs: usize,
    /// Segments of the log that were written anew.
    pub segments: usize,
    /// Bytes of the log that are free again.
    pub bytes: u64,
}

impl Store {
    /// The Tasks that something of has been kept for long enough: whoever knows which of them are over asks [`Store::sweep`] to let it go.
    pub fn over_due(&self) -> Vec<TaskRef> {
        let now = self.now();
        let Due {
            artifacts,
            journals,
        } = self.lock().state.due(&self.options().retention, now);
        let mut seen = HashSet::new();
        let all = artifacts.into_iter().chain(journals);
        all.filter(|task| seen.insert(task.uid.clone())).collect()
    }

    /// Lets go what is no longer kept; of Tasks only those in `over`, by UID, that are due.
    ///
    /// # Errors
    /// [`Refusal::Unwritable`], or [`Refusal::Internal`] where a file cannot be read or written. What is done is done, and the next pass goes on.
    pub async fn sweep(&self, over: &HashSet<String>) -> Result<Swept, Refusal> {
        let (now, kept) = (self.now(), self.options().retention);
        let decide = |state: &State| {
            let Due {
                artifacts,
                journals,
            } = state.due(&kept, now);
            let uids = |tasks: Vec<TaskRef>| -> Vec<String> {
                let uids = tasks.into_iter().map(|task| task.uid);
                uids.filter(|uid| over.contains(uid)).collect()
            };
            let (artifacts, journals) = (uids(artifacts), uids(journals));
            let counts = (artifacts.len(), journals.len());
            let mut entries = Vec::new();
            if !artifacts.is_empty() {
                entries.push(Entry::Released {
                    at_ms: now,
                    tasks: artifacts,
                });
            }
            if !journals.is_empty() {
                entries.push(Entry::Expired {
                    at_ms: now,
                    tasks: journals,
                });
            }
            Ok((entries, counts))
        };
        let mut swept = Swept::default();
        (swept.artifacts, swept.journals) = self.change(decide, |_, counts| counts).await?;
        let store = self.clone();
        let condensed = tokio::task::spawn_blocking(move || store.condense(now)).await;
        (swept.segments, swept.bytes) = condensed
            .map_err(|error| Refusal::Internal(format!("the pass was given up: {error}")))??;
        let kept: HashSet<String> = {
            let core = self.lock();
            let tasks = core.state.tasks.values();
            tasks.flat_map(|task| task.blobs.keys().cloned()).collect()
        };
        swept.blobs = self.blobs().sweep(&kept).await?;
        Ok(swept)
    }

    /// Writes the segments anew that have something that is no longer kept. Returns how many, and the bytes that they lost.
    fn condense(&self, now: i64) -> Result<(usize, u64), Refusal> {
        let full = self.ended(now);
        // What is queued for them is in their files.
        tokio::runtime::Handle::current().block_on(self.flush())?;
        let kept = self.options().retention;
        let (stale, term) = {
            let core = self.lock();
            (core.state.stale(&kept, full, now), core.state.sdk.term)
        };
        let asked = self.asked(&stale)?;
        let view = RefCell::new(View::new(self));
        let rules = Rules {
            now,
            rows_before: now.saturating_sub(kept.rows_ms),
            totals_before: now.saturating_sub(kept.totals_ms),
            term,
            gone: &|uid| !self.lock().state.tasks.contains_key(uid),
            whose: &|uid, attempt| self.whose(uid, attempt),
            asked: &asked,
            told: &|entry| view.borrow_mut().told(entry),
        };
        let (mut count, mut freed) = (0, 0_u64);
        for segment in stale {
            let (written, less) = self.rewrite(segment, &rules)?;
            count += usize::from(written);
            freed = freed.saturating_add(less);
        }
        self.lock().state.left(full);
        Ok((count, freed))
    }

    /// Segments below this one are not written to any more. One that is written to for long is ended.
    fn ended(&self, now: i64) -> u32 {
        let core = self.lock();
        let since = core.state.current_since();
        let last = core.state.segments.last_key_value();
        let last = last.map_or(0, |(segment, _)| *segment);
        if since.is_some_and(|since| now.saturating_sub(since) >= SEGMENT_MS) {
            // Under the lock, which all who write take: nothing is queued behind the end.
            return self.roll();
        }
        last
    }

    /// What the hops of Tasks that leave asked for.
    fn asked(&self, segments: &[u32]) -> Result<Asked, StoreError> {
        let mut asked = Asked::default();
        let before = self.durable_frames();
        for segment in segments {
            log::scan(&self.options().dir, *segment, before, &mut |found| {
                for entry in entries(found.payload) {
                    let entry = entry?;
                    if !self.lock().state.tasks.contains_key(entry.task_uid()) {
                        asked.learn(entry);
                    }
                }
                Ok(())
            })?;
        }
        Ok(asked)
    }

    fn whose(&self, uid: &str, attempt: u32) -> Option<Whose> {
        let core = self.lock();
        let task = core.state.owner(uid)?;
        let attempt = task.attempts.get(&attempt);
        Some(Whose {
            namespace: task.task.namespace.clone(),
            agent: attempt.and_then(|found| found.agent().map(str::to_owned)),
            labels: attempt
                .map(|found| found.labels.clone())
                .unwrap_or_default(),
        })
    }

    /// Whether the segment was written anew, and the bytes that it lost.
    fn rewrite(&self, segment: u32, rules: &Rules<'_>) -> Result<(bool, u64), Refusal> {
        let dir = &self.options().dir;
        let data = log::load(dir, segment)?;
        let condensed = condense(&data, rules);
        let Condensed { bytes, known } =
            condensed.map_err(|what| log::corrupt(segment, 0, what))?;
        let (written, freed) = match bytes {
            Some(bytes) => {
                let digest = log::digest(&bytes);
                let told = || self.tell(segment, digest);
                (true, log::replace(dir, segment, &bytes, told)?)
            }
            None => (false, 0),
        };
        self.lock().state.condensed(segment, known);
        self.freed(freed);
        Ok((written, freed))
    }

    /// The log knows the segment's new bytes before anybody can see them.
    fn tell(&self, segment: u32, digest: String) -> Result<(), StoreError> {
        let entry = Entry::Condensed {
            at_ms: self.now(),
            segment,
            digest,
        };
        let refused = |refused: Refusal| StoreError::Blob {
            act: "say which segment is written anew",
            source: Box::new(refused),
        };
        let queued = self.commit(Urgency::Now, |_| Ok((vec![entry], ())), |_, ()| ());
        let ((), end) = queued.map_err(refused)?;
        let durable = tokio::runtime::Handle::current().block_on(self.durable(end));
        durable.map_err(refused)
    }
}
