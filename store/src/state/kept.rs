//! What is kept of the items of a run's steps: which blob has the result of which.

use super::{State, Task};
use crate::Refusal;
use crate::entry::Entry;
use oarmaster_protocol::admin::MAX_KEPT_READ;
use oarmaster_protocol::journal::Blob;
use std::collections::BTreeSet;

/// Results of some items of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAt {
    /// The items, first and last of each stretch of them.
    pub items: Vec<(u32, u32)>,
    /// What holds them.
    pub blob: Blob,
}

impl KeptAt {
    fn has(&self, item: u32) -> bool {
        let mut stretches = self.items.iter();
        stretches.any(|(first, last)| (*first..=*last).contains(&item))
    }
}

impl State {
    /// Keeps results of items. The same bytes again are there already, unless other results of the step came between.
    pub fn decide_kept(
        &self,
        uid: &str,
        step: &str,
        items: &BTreeSet<u32>,
        blob: &Blob,
        quota: u64,
        journal: u64,
    ) -> Result<Vec<Entry>, Refusal> {
        let task = self.task(uid)?;
        let newest = task.kept.get(step).and_then(|kept| kept.last());
        if newest.is_some_and(|kept| kept.blob == *blob) && task.blobs.contains_key(&blob.digest) {
            return Ok(Vec::new());
        }
        task.fits_journal(journal)?;
        task.fits("a result", &blob.digest, blob.size, quota)?;
        Ok(vec![Entry::Kept {
            task: uid.to_owned(),
            step: step.to_owned(),
            items: stretches(items),
            blob: blob.clone(),
        }])
    }
}

impl Task {
    pub(super) fn keep_items(&mut self, step: &str, items: &[(u32, u32)], blob: &Blob) {
        self.kept.entry(step.to_owned()).or_default().push(KeptAt {
            items: items.to_vec(),
            blob: blob.clone(),
        });
    }

    /// Digests of the blobs that have the results of a step, or of an item of it; the newest last.
    pub fn kept_of(&self, step: &str, item: Option<u32>) -> Result<Vec<String>, Refusal> {
        let all = self.kept.get(step).map(Vec::as_slice).unwrap_or_default();
        let found: Vec<&KeptAt> = match item {
            None => all.iter().collect(),
            Some(item) => all
                .iter()
                .rfind(|kept| kept.has(item))
                .into_iter()
                .collect(),
        };
        let size = found.iter().map(|kept| kept.blob.size).sum::<u64>();
        if size > MAX_KEPT_READ {
            return Err(Refusal::TooLarge(format!(
                "the results of step {step} have {size} bytes, at most {MAX_KEPT_READ} are read at once"
            )));
        }
        if found
            .iter()
            .any(|kept| !self.blobs.contains_key(&kept.blob.digest))
        {
            return Err(Refusal::NotFound(format!(
                "the results of step {step} are no longer kept (gateway.retention.artifacts)"
            )));
        }
        Ok(found
            .into_iter()
            .map(|kept| kept.blob.digest.clone())
            .collect())
    }
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
