//! Deciding about a pilot's records and artifacts.

use super::attempts::Records;
use super::{By, RecordAt, State, Task, is_pilot};
use crate::entry::Entry;
use crate::seal::BlobKey;
use crate::{MAX_APPEND_BYTES, MAX_APPEND_RECORDS, Refusal};
use oarmaster_protocol::journal::{
    Artifact, Blob, Body, Checkpoint, MAX_OUTPUT_BYTES, MAX_RECORD_BYTES, Outcome,
};
use oarmaster_protocol::task::Append;

/// Longest failure message in characters.
const MAX_MESSAGE: usize = 1024;
/// Most artifacts of one Task.
const MAX_ARTIFACTS: usize = 256;

/// What an append leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum AppendDecision {
    /// These entries.
    New(Vec<Entry>),
    /// The records may have been written before: they are to be compared with the ones there.
    Repeat(Vec<RecordAt>),
}

impl State {
    /// Appends a pilot's records. `sizes` are their serialised lengths.
    pub fn decide_append(
        &self,
        by: By<'_>,
        append: &Append,
        sizes: &[usize],
        quota: u64,
        now: i64,
    ) -> Result<AppendDecision, Refusal> {
        check_shape(append, sizes)?;
        let (task, found) = self.attempt(by.task, by.attempt)?;
        let own = found.session.as_deref() == Some(by.session) && !found.fenced;
        if own && append.next < task.known {
            let from = usize::try_from(append.next).unwrap_or(usize::MAX);
            let there: Vec<_> = task
                .records
                .iter()
                .skip(from)
                .filter(|record| record.pilot && record.attempt == by.attempt)
                .take(append.records.len())
                .copied()
                .collect();
            if there.len() == append.records.len() && !there.is_empty() {
                return Ok(AppendDecision::Repeat(there));
            }
        }
        self.session(by)?;
        if append.next < task.known || append.next > task.next() {
            return Err(Refusal::Conflict {
                expected: append.next,
                next: task.next(),
            });
        }
        let ends = append
            .records
            .iter()
            .find_map(|body| match body {
                Body::Result { outcome } => Some(check_outcome(outcome, |artifact| {
                    task.artifacts.get(&artifact.name) == Some(artifact)
                })),
                _ => None,
            })
            .transpose()?
            .is_some();
        for body in &append.records {
            if let Some(missing) = missing_blob(task, body) {
                return Err(Refusal::Invalid(format!(
                    "the checkpoint names {missing}, which was not uploaded"
                )));
            }
        }
        task.check_asked(&append.records)?;
        let bytes = sizes.iter().sum::<usize>() as u64;
        // A Task that fills its journal must still be able to say how it ended.
        if !ends && task.journal_bytes.saturating_add(bytes) > quota {
            return Err(journal_full(quota));
        }
        let mut records = Records::new(Some(task), now);
        Ok(AppendDecision::New(
            append
                .records
                .iter()
                .map(|body| Entry::Record {
                    task: by.task.to_owned(),
                    record: records.next(by.attempt, body.clone()),
                })
                .collect(),
        ))
    }

    /// Makes an uploaded artifact visible.
    pub fn decide_artifact(
        &self,
        by: By<'_>,
        artifact: &Artifact,
        key: Option<&BlobKey>,
        quota: u64,
        journal: u64,
    ) -> Result<Vec<Entry>, Refusal> {
        let task = self.session(by)?;
        if task.artifacts.get(&artifact.name) == Some(artifact) {
            return Ok(Vec::new());
        }
        if task.journal_bytes >= journal {
            return Err(journal_full(journal));
        }
        if task.artifacts.len() >= MAX_ARTIFACTS && !task.artifacts.contains_key(&artifact.name) {
            return Err(Refusal::TooLarge(format!(
                "the Task has {MAX_ARTIFACTS} artifacts already; pack several files into one"
            )));
        }
        let what = format!("artifact {}", artifact.name);
        task.fits(&what, &artifact.digest, artifact.size, quota)?;
        Ok(vec![Entry::Artifact {
            task: by.task.to_owned(),
            artifact: artifact.clone(),
            key: key.cloned(),
        }])
    }
}

impl State {
    /// Makes an uploaded part of a checkpoint known.
    pub fn decide_blob(
        &self,
        by: By<'_>,
        blob: &Blob,
        key: Option<&BlobKey>,
        quota: u64,
        journal: u64,
    ) -> Result<Vec<Entry>, Refusal> {
        let task = self.session(by)?;
        if task.blobs.contains_key(&blob.digest) {
            return Ok(Vec::new());
        }
        task.fits_journal(journal)?;
        task.fits("the checkpoint", &blob.digest, blob.size, quota)?;
        Ok(vec![Entry::Blob {
            task: by.task.to_owned(),
            blob: blob.clone(),
            key: key.cloned(),
        }])
    }
}

impl Task {
    /// Whether its journal may grow.
    pub(super) fn fits_journal(&self, most: u64) -> Result<(), Refusal> {
        match self.journal_bytes >= most {
            true => Err(journal_full(most)),
            false => Ok(()),
        }
    }

    /// Whether it may have another blob.
    pub(super) fn fits(
        &self,
        what: &str,
        digest: &str,
        size: u64,
        quota: u64,
    ) -> Result<(), Refusal> {
        let used = self.blob_bytes();
        let more = if self.blobs.contains_key(digest) {
            0
        } else {
            size
        };
        if used.saturating_add(more) > quota {
            return Err(Refusal::TooLarge(format!(
                "{what} of {size} bytes does not fit: the Task's artifacts and checkpoints have {used} of {quota} bytes"
            )));
        }
        Ok(())
    }
}

fn missing_blob<'b>(task: &Task, body: &'b Body) -> Option<&'b str> {
    let Some(Checkpoint::Layer { blobs, .. }) = body.checkpoint() else {
        return None;
    };
    missing(task, blobs)
}

/// The first of these that the Task does not have.
pub(super) fn missing<'b>(task: &Task, blobs: &'b [Blob]) -> Option<&'b str> {
    let missing =
        |blob: &&Blob| task.blobs.get(&blob.digest).map(|known| known.size) != Some(blob.size);
    blobs.iter().find(missing).map(|blob| blob.digest.as_str())
}

/// The refusal of a Task whose journal is full.
pub fn journal_full(quota: u64) -> Refusal {
    Refusal::TooLarge(format!(
        "the Task's journal has reached its {quota} bytes; end the attempt"
    ))
}

/// Whether a name can be an artifact's.
pub fn check_artifact_name(name: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty() || name.len() > 63 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Refusal::Invalid(
            "an artifact's name must be 1 to 63 of A-Z a-z 0-9 . _ - and not begin with a dot"
                .into(),
        ));
    }
    Ok(())
}

fn check_shape(append: &Append, sizes: &[usize]) -> Result<(), Refusal> {
    if append.records.is_empty() {
        return Err(Refusal::Invalid("records is empty".into()));
    }
    if append.records.len() > MAX_APPEND_RECORDS || sizes.iter().sum::<usize>() > MAX_APPEND_BYTES {
        return Err(Refusal::TooLarge(format!(
            "an append may have {MAX_APPEND_RECORDS} records and {MAX_APPEND_BYTES} bytes; send several"
        )));
    }
    for (index, (body, size)) in append.records.iter().zip(sizes).enumerate() {
        if !is_pilot(body) {
            return Err(Refusal::Invalid(format!(
                "records[{index}] is of a kind that only the gateway writes"
            )));
        }
        if *size > MAX_RECORD_BYTES {
            return Err(Refusal::TooLarge(format!(
                "records[{index}] has {size} bytes, at most {MAX_RECORD_BYTES} are possible; cut its text"
            )));
        }
        if matches!(body, Body::Result { .. }) && index + 1 != append.records.len() {
            return Err(Refusal::Invalid(format!(
                "records[{index}] is a result, and nothing may follow it"
            )));
        }
    }
    Ok(())
}

fn check_outcome(outcome: &Outcome, stored: impl Fn(&Artifact) -> bool) -> Result<(), Refusal> {
    if let Some(failure) = &outcome.failure
        && failure.message.chars().count() > MAX_MESSAGE
    {
        return Err(Refusal::TooLarge(format!(
            "outcome.failure.message has more than {MAX_MESSAGE} characters"
        )));
    }
    if let Some(output) = &outcome.output
        && output.to_string().len() > MAX_OUTPUT_BYTES
    {
        return Err(Refusal::TooLarge(format!(
            "outcome.output has more than {MAX_OUTPUT_BYTES} bytes; put it into an artifact"
        )));
    }
    match outcome.artifacts.iter().find(|artifact| !stored(artifact)) {
        Some(missing) => Err(Refusal::Invalid(format!(
            "outcome.artifacts names {}, which was not uploaded with that size and digest",
            missing.name
        ))),
        None => Ok(()),
    }
}
