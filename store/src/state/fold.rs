//! The fold: what each entry does to the state.

use super::{At, Attempt, BlobAt, CallAt, Hop, RecordAt, Segment, State, Task, is_pilot, view};
use crate::IN_DOUBT;
use crate::blobs;
use crate::entry::{Entry, Reserve};
use crate::rows;
use crate::scope::CounterId;
use oarmaster_protocol::admin::{Isolated, Over, RunsIn};
use oarmaster_protocol::journal::{Body, CallUsage, Checkpoint, Record};
use std::collections::{BTreeMap, BTreeSet, HashSet};

impl State {
    /// Adds one entry. `Err` names what does not fit: the log and this code disagree.
    pub fn apply(&mut self, entry: &Entry, at: At) -> Result<(), String> {
        let segment = at.place.segment;
        self.segment(segment).note(entry);
        match entry {
            Entry::SdkOpen { .. }
            | Entry::SdkEnd { .. }
            | Entry::Start { .. }
            | Entry::Stop { .. } => return self.apply_sdk(entry, at),
            Entry::Audit { .. } | Entry::Condensed { .. } => return Ok(()),
            Entry::Released { tasks, .. } => {
                self.apply_released(tasks);
                return Ok(());
            }
            Entry::Expired { tasks, .. } => {
                self.apply_expired(tasks);
                return Ok(());
            }
            Entry::Totals(totals) => {
                self.apply_totals(totals, at);
                return Ok(());
            }
            Entry::Note(note) => {
                self.apply_note(note, at);
                return Ok(());
            }
            Entry::Forgotten { owner, notes, .. } => {
                self.apply_forgotten(owner, notes);
                return Ok(());
            }
            Entry::Attempt { task, parent, .. } if !self.tasks.contains_key(&task.uid) => {
                let name = (task.namespace.clone(), task.name.clone());
                self.names.insert(name, task.uid.clone());
                self.tasks.insert(task.uid.clone(), Task::new(task.clone()));
                if let Some(parent) = parent {
                    self.one_more_below(parent);
                }
            }
            _ => {}
        }
        let uid = entry.task_uid();
        let Some(task) = self.tasks.get_mut(uid) else {
            return Err(format!("Task {uid} is not known"));
        };
        task.depends = at.frame.saturating_add(1);
        task.last_ms = task.last_ms.max(entry.at_ms().unwrap_or(0));
        task.segments = (task.segments.0.min(segment), task.segments.1.max(segment));
        let bytes = task.journal_bytes;
        let new = match entry {
            Entry::Artifact { artifact, key, .. } => vec![(&artifact.digest, artifact.size, key)],
            Entry::Blob { blob, key, .. } | Entry::Kept { blob, key, .. } => {
                vec![(&blob.digest, blob.size, key)]
            }
            Entry::TakenOver { blobs, keys, .. } => {
                let keys = keys.iter().chain(std::iter::repeat(&None));
                let parts = blobs.iter().zip(keys);
                parts
                    .map(|(blob, key)| (&blob.digest, blob.size, key))
                    .collect()
            }
            _ => Vec::new(),
        };
        for (digest, size, key) in new {
            // The same bytes again are there already, under the key that they came with first.
            if !task.blobs.contains_key(digest) {
                self.held.add(&blobs::name(digest, key.as_ref()), size);
                let key = key.clone();
                task.blobs.insert(digest.clone(), BlobAt { size, key });
            }
        }
        let settled = entry.record().and_then(|record| task.settles(&record.body));
        let before = (task.sum, task.reserved);
        let (calls, models) = (task.answers, task.models.len());
        task.apply(entry, at)?;
        self.shared.follow(task, entry.record());
        if let Some(record) = entry.record() {
            for (digest, blob) in task.keep(&record.body) {
                self.held.give_back(&blob.name(&digest), blob.size);
            }
        }
        let after = (task.sum, task.reserved);
        let parent = if before == after {
            None
        } else {
            task.parent.clone()
        };
        let calls = task.answers.saturating_sub(calls);
        let models = task.models.get(models..).unwrap_or_default().to_vec();
        let caller = task.parent.clone().filter(|_| calls > 0);
        let more = task.journal_bytes.saturating_sub(bytes);
        self.task_bytes = self.task_bytes.saturating_add(more);
        if let Some(parent) = parent {
            self.spent_below(parent, before, after);
        }
        if let Some(parent) = caller {
            self.called_below(parent, calls, &models);
        }
        if let Entry::Record { task, record } = entry {
            self.apply_sent(task, record, at);
        }
        match (entry, settled) {
            (Entry::Open { scopes, record, .. }, _) => {
                if let Body::Open { reserved_pico, .. } = record.body {
                    self.counters.reserve(scopes, reserved_pico, record.at_ms);
                }
            }
            (_, Some((scopes, reserve, usage))) => {
                self.counters.settle(&scopes, reserve.pico, &usage);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn segment(&mut self, segment: u32) -> &mut Segment {
        self.segments.entry(segment).or_default()
    }
}

impl Task {
    fn apply(&mut self, entry: &Entry, at: At) -> Result<(), String> {
        match entry {
            Entry::Attempt {
                runs_in,
                pinned,
                assignment,
                budget,
                requested_by,
                parent,
                keeps,
                ends,
                labels,
                record,
                ..
            } => {
                let own = assignment.is_some();
                self.open(record, at, runs_in, pinned.as_ref(), own)?;
                self.attempt_mut(record)?.labels.clone_from(labels);
                self.budget = *budget;
                self.requested_by.clone_from(requested_by);
                self.parent.clone_from(parent);
                (self.keeps, self.ends) = (*keeps, *ends);
            }
            Entry::Budget { budget, .. } => self.budget = *budget,
            Entry::Claim { nonce, record, .. } => {
                self.push(record, at, false)?;
                self.known = self.next();
                let attempt = self.attempt_mut(record)?;
                let Body::Claimed { session, .. } = &record.body else {
                    return Err("the record of a claim is none".into());
                };
                attempt.session = Some(session.clone());
                attempt.claimed_ms.get_or_insert(record.at_ms);
                attempt.nonces.push(nonce.clone());
            }
            Entry::Open {
                input_tokens,
                output_tokens,
                scopes,
                record,
                ..
            } => {
                self.push(record, at, false)?;
                self.reserve(record, *input_tokens, *output_tokens, scopes)?;
            }
            Entry::Record { record, .. } => self.record(record, at)?,
            Entry::Artifact { artifact, .. } => {
                self.journal_bytes = self.journal_bytes.saturating_add(u64::from(at.bytes));
                let name = artifact.name.clone();
                self.artifacts.insert(name, artifact.clone());
            }
            Entry::Blob { .. } => {
                self.journal_bytes = self.journal_bytes.saturating_add(u64::from(at.bytes));
            }
            Entry::Kept {
                step, items, blob, ..
            } => {
                self.journal_bytes = self.journal_bytes.saturating_add(u64::from(at.bytes));
                self.keep_items(step, items, blob);
            }
            Entry::TakenOver { blobs, .. } => {
                self.journal_bytes = self.journal_bytes.saturating_add(u64::from(at.bytes));
                self.taken.clone_from(blobs);
            }
            Entry::SdkOpen { .. }
            | Entry::SdkEnd { .. }
            | Entry::Start { .. }
            | Entry::Stop { .. }
            | Entry::Audit { .. }
            | Entry::Released { .. }
            | Entry::Expired { .. }
            | Entry::Condensed { .. }
            | Entry::Note(_)
            | Entry::Forgotten { .. }
            | Entry::Totals(_) => {}
        }
        Ok(())
    }

    fn open(
        &mut self,
        record: &Record,
        at: At,
        runs_in: &RunsIn,
        pinned: Option<&String>,
        own: bool,
    ) -> Result<(), String> {
        let Body::Opened { assignment } = &record.body else {
            return Err("the record of an attempt does not open it".into());
        };
        let before = self.attempts.get(&record.attempt.saturating_sub(1));
        let from = match (own, before) {
            (true, _) => at,
            (false, Some(before)) => before.assignment,
            (false, None) => return Err("an attempt without assignment".into()),
        };
        self.push(record, at, false)?;
        self.known = self.next();
        let attempt = Attempt {
            runs_in: runs_in.clone(),
            opened_ms: record.at_ms,
            claimed_ms: None,
            assignment: from,
            digest: assignment.clone(),
            pinned: pinned.cloned(),
            labels: BTreeMap::new(),
            session: None,
            nonces: Vec::new(),
            fenced: false,
            over: None,
            isolated: None,
            outcome: None,
            score: None,
        };
        if self.attempts.insert(record.attempt, attempt).is_some() {
            return Err(format!("attempt {} was open already", record.attempt));
        }
        Ok(())
    }

    fn record(&mut self, record: &Record, at: At) -> Result<(), String> {
        let pilot = is_pilot(&record.body);
        self.push(record, at, pilot)?;
        let newest = self.attempts.last_key_value().map(|(n, _)| *n);
        if pilot && newest == Some(record.attempt) {
            self.known = self.next();
        }
        match &record.body {
            Body::Answer {
                call,
                hop,
                model,
                usage,
                ..
            } => {
                self.settle(*call, *hop, usage)?.answer = Some(record.seq);
                self.answers = self.answers.saturating_add(1);
                if !self.models.contains(model) {
                    self.models.push(model.clone());
                }
            }
            Body::CallFailed {
                call,
                hop,
                class,
                usage,
                ..
            } => {
                let at = self.settle(*call, *hop, usage)?;
                at.failed = Some(record.seq);
                at.in_doubt |= class == IN_DOUBT;
            }
            Body::Isolation { proven, findings } => {
                self.attempt_mut(record)?.isolated = Some(Isolated {
                    proven: *proven,
                    message: view::one_line(findings),
                });
            }
            Body::Judged { score, .. } => {
                let best = &mut self.attempt_mut(record)?.score;
                *best = (*best).max(Some(*score));
            }
            Body::Result { outcome } => {
                self.attempt_mut(record)?.outcome = Some(outcome.clone());
            }
            Body::Fenced { reason, ends } => {
                let found = self.attempt_mut(record)?;
                found.fenced |= found.outcome.is_none();
                if let Some(class) = *ends {
                    let reason = reason.clone();
                    found.over = Some(Over { class, reason });
                }
            }
            Body::ToolIntent { .. } => self.tool_calls = self.tool_calls.saturating_add(1),
            Body::Asked { id, what, .. } => self.asked(id, what, record),
            Body::Answered { id, task, .. } => self.answered(id, record.seq, task.as_ref())?,
            Body::ToolResult { .. }
            | Body::Sent { .. }
            | Body::Tools { .. }
            | Body::Observation { .. }
            | Body::Dropped { .. }
            | Body::Note { .. }
            | Body::Check { .. } => {}
            Body::Opened { .. } | Body::Claimed { .. } | Body::Open { .. } => {
                return Err("a record without its entry".into());
            }
        }
        Ok(())
    }

    /// Lets go of the layers that a checkpoint of everything makes needless, and returns them. What the Task began with stays: it may begin anew.
    fn keep(&mut self, body: &Body) -> Vec<(String, BlobAt)> {
        let Some(Checkpoint::Layer { base, blobs }) = body.checkpoint() else {
            return Vec::new();
        };
        let new = blobs.iter().map(|blob| blob.digest.clone());
        if !base {
            self.layers.extend(new);
            return Vec::new();
        }
        let new: BTreeSet<String> = new.collect();
        let before = std::mem::replace(&mut self.layers, new);
        let artifacts = self.artifacts.values().map(|kept| &kept.digest);
        let taken = self.taken.iter().map(|blob| &blob.digest);
        let named: HashSet<&String> = artifacts.chain(taken).collect();
        let mut gone = Vec::new();
        for digest in before {
            if !self.layers.contains(&digest)
                && !named.contains(&digest)
                && let Some(entry) = self.blobs.remove_entry(&digest)
            {
                gone.push(entry);
            }
        }
        gone
    }

    fn push(&mut self, record: &Record, at: At, pilot: bool) -> Result<(), String> {
        if record.seq != self.next() {
            return Err(format!(
                "record {} of Task {} where {} is next",
                record.seq,
                self.task.uid,
                self.next()
            ));
        }
        self.journal_bytes = self.journal_bytes.saturating_add(u64::from(at.bytes));
        self.records.push(RecordAt {
            at,
            attempt: record.attempt,
            pilot,
        });
        Ok(())
    }

    /// The hop that a record settles: where it is reserved, its worst case, and what it cost.
    fn settles(&mut self, body: &Body) -> Option<(Vec<CounterId>, Reserve, CallUsage)> {
        let ended = rows::ended(body)?;
        let hops = &mut self.calls.get_mut(&ended.call)?.hops;
        let hop = hops.get_mut(ended.hop as usize).filter(|hop| hop.open)?;
        Some((std::mem::take(&mut hop.scopes), hop.reserve, *ended.usage))
    }

    fn reserve(
        &mut self,
        record: &Record,
        input: u64,
        output: u64,
        scopes: &[CounterId],
    ) -> Result<(), String> {
        let Body::Open {
            call,
            hop,
            digest,
            reserved_pico,
            ..
        } = &record.body
        else {
            return Err("the record of a reservation is none".into());
        };
        let reserve = Reserve {
            pico: *reserved_pico,
            input,
            output,
        };
        let at = self.calls.entry(*call).or_insert_with(|| CallAt {
            digest: digest.clone(),
            hops: Vec::new(),
            answer: None,
            failed: None,
            in_doubt: false,
        });
        if at.hops.len() as u64 != u64::from(*hop) {
            return Err(format!("hop {hop} of call {call} is not the next one"));
        }
        at.hops.push(Hop {
            attempt: record.attempt,
            reserve,
            scopes: scopes.to_vec(),
            open: true,
        });
        self.reserved = self.reserved.plus(reserve);
        Ok(())
    }

    fn settle(&mut self, call: u64, hop: u32, usage: &CallUsage) -> Result<&mut CallAt, String> {
        let at = self
            .calls
            .get_mut(&call)
            .ok_or_else(|| format!("call {call} was never open"))?;
        match at.hops.get_mut(hop as usize) {
            Some(hop) if hop.open => {
                hop.open = false;
                self.reserved = self.reserved.minus(hop.reserve);
            }
            _ => return Err(format!("hop {hop} of call {call} is not open")),
        }
        add(&mut self.sum, usage);
        Ok(at)
    }

    fn attempt_mut(&mut self, record: &Record) -> Result<&mut Attempt, String> {
        self.attempts
            .get_mut(&record.attempt)
            .ok_or_else(|| format!("attempt {} was never opened", record.attempt))
    }
}

/// Sums saturate: a usage that a provider makes up must not stop the gateway. Reservations are checked (`Refusal::Overflow`), so a
/// saturated sum refuses every further call.
pub fn add(sum: &mut CallUsage, usage: &CallUsage) {
    let CallUsage {
        input_tokens,
        output_tokens,
        cached_tokens,
        cost_pico,
        estimated,
    } = *usage;
    sum.input_tokens = sum.input_tokens.saturating_add(input_tokens);
    sum.output_tokens = sum.output_tokens.saturating_add(output_tokens);
    sum.cached_tokens = sum.cached_tokens.saturating_add(cached_tokens);
    sum.cost_pico = sum.cost_pico.saturating_add(cost_pico);
    sum.estimated |= estimated;
}
