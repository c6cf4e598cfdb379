//! What is no longer kept leaves the log: journals and artifacts of Tasks that are over, rows of money that sums stand for.
//!
//! First the log says which Tasks leave; then the segments that they are in, and those with rows that are old, are written anew, some at once, the
//! last ones first. Whatever a crash leaves of that is a log that is whole, and the next pass goes on. `condense` decides what stays of them.

mod condense;
mod summary;
#[cfg(test)]
mod tests;

use crate::audit::View;
use crate::entry::{Entry, entries};
use crate::log::{self, Urgency};
use crate::options::Retention;
use crate::rows::{self, Asked, HopKey};
use crate::state::{Due, State, Task};
use crate::window::DAY_MS;
use crate::{Refusal, Store, StoreError};
use condense::{Full, condense};
use oarmaster_protocol::assignment::TaskRef;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use summary::{Rules, Whose};

/// A segment is written to for at most this long, in milliseconds, so that what is in it can leave.
const SEGMENT_MS: i64 = DAY_MS;
/// So many segments are written anew at once, or more of them that are small. Twice as much memory is used meanwhile.
const AT_ONCE: u64 = 4;
/// Most hops of Tasks that leave in one pass, each of which is in memory meanwhile.
const HOPS: usize = 100_000;
/// Where the log has this much of what it may have, in percent, rows are kept for [`PRESSED_MS`] only: money goes on, and what it was spent for is
/// known by its sums.
const PRESSED: u64 = 75;
const PRESSED_MS: i64 = 3_600_000;

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
    /// Bytes that the log has more than before; fewer are negative.
    pub grown: i64,
}

impl Store {
    /// The Tasks that something of has been kept for long enough: whoever knows which of them are over asks [`Store::sweep`] to let it go.
    #[must_use]
    pub fn over_due(&self) -> Vec<TaskRef> {
        let now = self.ripe();
        let Due {
            artifacts,
            journals,
        } = self.lock().state.due(&self.options().retention, now);
        let mut seen = HashSet::new();
        let all = artifacts.into_iter().chain(journals);
        all.filter(|task| seen.insert(task.uid.clone())).collect()
    }

    /// Whether the log has so much of what it may have that a pass is due.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.log_bytes() / PRESSED >= self.limits().log / 100
    }

    /// Lets go what is no longer kept; of Tasks only those in `over`, by UID, that are due, and not more than a pass can: where some journals went,
    /// ask again.
    ///
    /// # Errors
    /// [`Refusal::Unwritable`], or [`Refusal::Internal`] where a file cannot be read or written. What is done is done, and the next pass goes on.
    pub async fn sweep(&self, over: &HashSet<String>) -> Result<Swept, Refusal> {
        let (now, kept) = (self.ripe(), self.kept());
        let mut swept = Swept::default();
        let decide = |state: &State| Ok(leave(state, over, &kept, now, self.now()));
        (swept.artifacts, swept.journals) = self.change(decide, |_, counts| counts).await?;
        // Before anything is written: they may be what a full disk is full of.
        swept.blobs = self.sweep_blobs().await?;
        self.blocking(|store| store.drop_keys()).await?;
        let store = self.clone();
        let condensed = tokio::task::spawn_blocking(move || store.condense(&kept, now)).await;
        (swept.segments, swept.grown) = condensed
            .map_err(|error| Refusal::Internal(format!("the pass was given up: {error}")))??;
        Ok(swept)
    }

    /// The keys of Tasks that leave go first: what stands of them in segments is no longer readable. Returns how many went.
    pub(crate) fn drop_keys(&self) -> Result<usize, StoreError> {
        // One that is about to begin may have its key already, and is known only a moment later.
        let leaving: HashSet<String> = self.lock().state.leaving.keys().cloned().collect();
        self.sealer().retain(|of| !leaving.contains(of))
    }

    /// Ends the segment that is written to, where there is room for the next.
    pub(crate) fn end_segment(&self) {
        let _core = self.lock();
        if self.full().is_none() {
            self.roll();
        }
    }

    /// How long what is kept, now.
    fn kept(&self) -> Retention {
        let kept = self.options().retention;
        let rows_ms = match self.is_pressed() {
            true => kept.rows_ms.min(PRESSED_MS),
            false => kept.rows_ms,
        };
        Retention { rows_ms, ..kept }
    }

    /// Writes the segments anew that have something that is no longer kept. Returns how many, and the bytes that the log has more.
    fn condense(&self, kept: &Retention, now: i64) -> Result<(usize, i64), Refusal> {
        let full = self.ended(now);
        // What is queued for them is in their files.
        tokio::runtime::Handle::current().block_on(self.flush())?;
        let (stale, dead, term, leaving) = {
            let core = self.lock();
            let stale = core.state.stale(kept, full, now);
            let leaving: HashSet<String> = core.state.leaving.keys().cloned().collect();
            // What is let go of from here on is for the next time.
            let dead = core.state.notes.dead();
            (stale, dead, core.state.sdk.term, leaving)
        };
        let asked = self.asked(&stale, &leaving)?;
        let view = RefCell::new(View::new(self));
        let rules = Rules {
            now,
            rows_before: now.saturating_sub(kept.rows_ms),
            totals_before: now.saturating_sub(kept.totals_ms),
            term,
            gone: &|uid| leaving.contains(uid),
            whose: &|uid, attempt| self.whose(uid, attempt),
            noted: &|owner, id, frame| self.lock().state.notes.is_at(owner, id, frame),
            stands: &|ids| self.lock().state.notes.stands(ids),
            asked: &asked,
            told: &|entry| view.borrow_mut().told(entry),
        };
        let (mut count, mut grown) = (0, 0_i64);
        let mut rest = &stale[..];
        while !rest.is_empty() {
            let group = self.group(&mut rest)?;
            let (written, more) = self.rewrite(&group, &rules)?;
            count += written;
            grown = grown.saturating_add(more);
        }
        // Whoever reads the log now may still want to know whose a row is; many are dropped, behind the lock.
        let left = {
            let _unread = self.files_write();
            self.lock().state.left(full, &dead)
        };
        drop(left);
        Ok((count, grown))
    }

    /// Segments below this one are not written to any more. One that is written to for long is ended, where there is room for the next.
    fn ended(&self, now: i64) -> u32 {
        let core = self.lock();
        let since = core.state.current_since();
        let last = core.state.segments.last_key_value();
        let last = last.map_or(0, |(segment, _)| *segment);
        let old = since.is_some_and(|since| now.saturating_sub(since) >= SEGMENT_MS);
        if old && self.full().is_none() {
            // Under the lock, which all who write take: nothing is queued behind the end.
            return self.roll();
        }
        last
    }

    /// The last segments of the rest that are written anew at once, in their order.
    fn group(&self, rest: &mut &[u32]) -> Result<Vec<Full>, StoreError> {
        let (mut group, mut bytes) = (Vec::new(), 0_u64);
        let most = AT_ONCE.saturating_mul(u64::from(self.options().segment_bytes));
        while let Some((segment, before)) = rest.split_last() {
            let data = log::load(&self.options().dir, *segment)?;
            bytes = bytes.saturating_add(data.len() as u64);
            if bytes > most && !group.is_empty() {
                break;
            }
            let known = self.lock().state.segments.get(segment).copied();
            group.push(Full {
                number: *segment,
                data,
                known: known.unwrap_or_default(),
            });
            *rest = before;
        }
        group.reverse();
        Ok(group)
    }

    /// What the hops of Tasks that leave asked for.
    fn asked(
        &self,
        segments: &[u32],
        leaving: &HashSet<String>,
    ) -> Result<HashMap<HopKey, Asked>, StoreError> {
        let mut asked = HashMap::new();
        if leaving.is_empty() {
            return Ok(asked);
        }
        let before = self.durable_frames();
        for segment in segments {
            log::scan(&self.options().dir, *segment, before, &mut |found| {
                for entry in entries(found.payload) {
                    let entry = entry?;
                    if leaving.contains(entry.task_uid()) {
                        asked.extend(rows::asked(entry));
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

    /// How many segments were written anew, and the bytes that they have more.
    fn rewrite(&self, group: &[Full], rules: &Rules<'_>) -> Result<(usize, i64), Refusal> {
        let dir = &self.options().dir;
        let condensed = condense(group, rules);
        let condensed = condensed.map_err(|(segment, what)| log::corrupt(segment, 0, what))?;
        let mut digests = BTreeMap::new();
        for segment in &condensed {
            if let Some(bytes) = &segment.bytes {
                log::prepare(dir, segment.number, bytes).inspect_err(|_| self.discard())?;
                digests.insert(segment.number, log::digest(bytes));
            }
        }
        let numbers: Vec<u32> = digests.keys().copied().collect();
        let mut grown = 0;
        if !numbers.is_empty() {
            self.tell(digests).inspect_err(|_| self.discard())?;
        }
        #[cfg(test)]
        tests::may_crash(dir);
        let _unread = self.files_write();
        if !numbers.is_empty() {
            grown = log::commit(dir, &numbers).inspect_err(|_| self.discard())?;
        }
        let mut core = self.lock();
        for segment in condensed {
            core.state.condensed(segment.number, segment.known);
        }
        drop(core);
        #[cfg(test)]
        tests::may_crash(dir);
        self.grown(grown);
        Ok((numbers.len(), grown))
    }

    /// What was prepared and not decided takes up no room.
    fn discard(&self) {
        if let Err(error) = log::finish(&self.options().dir) {
            tracing::warn!(%error, "cannot remove what was to be written anew; the next start does");
        }
    }

    /// The log knows the segments' new bytes before anybody can see them.
    fn tell(&self, segments: BTreeMap<u32, String>) -> Result<(), Refusal> {
        for (segment, digest) in &segments {
            // Whoever keeps the process's output has what `oar audit verify` compares.
            tracing::info!(segment, digest, "a segment of the log is written anew");
        }
        let at_ms = self.now();
        let entry = Entry::Condensed { at_ms, segments };
        let queued = self.commit(Urgency::Now, |_| Ok((vec![entry], ())), |_, ()| ());
        let ((), end) = queued?;
        tokio::runtime::Handle::current().block_on(self.durable(end))
    }
}

/// What the log says of the Tasks that leave, and how many they are: artifacts, journals.
fn leave(
    state: &State,
    over: &HashSet<String>,
    kept: &Retention,
    ripe: i64,
    at_ms: i64,
) -> (Vec<Entry>, (usize, usize)) {
    let Due {
        artifacts,
        journals,
    } = state.due(kept, ripe);
    let uids = |tasks: Vec<TaskRef>| {
        let uids = tasks.into_iter().map(|task| task.uid);
        uids.filter(|uid| over.contains(uid)).collect::<Vec<_>>()
    };
    let (artifacts, mut journals) = (uids(artifacts), uids(journals));
    let mut hops = 0_usize;
    let more = journals.iter().skip(1).position(|uid| {
        hops = hops.saturating_add(state.tasks.get(uid).map_or(0, Task::hops));
        hops > HOPS
    });
    journals.truncate(more.map_or(usize::MAX, |more| more + 1));
    let counts = (artifacts.len(), journals.len());
    let mut entries = Vec::new();
    if !artifacts.is_empty() {
        entries.push(Entry::Released {
            at_ms,
            tasks: artifacts,
        });
    }
    if !journals.is_empty() {
        entries.push(Entry::Expired {
            at_ms,
            tasks: journals,
        });
    }
    (entries, counts)
}
