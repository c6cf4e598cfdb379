//! Appending to a journal and reading it.

use crate::entry::Entry;
use crate::log;
use crate::room::ends_the_task;
use crate::seal::Read;
use crate::state::{AppendDecision, At, By, RecordAt};
use crate::{Refusal, Store, StoreError};
use oarmaster_protocol::journal::{Body, Record};
use oarmaster_protocol::task::{Append, Appended};
use tokio::sync::watch;

/// About how many bytes one read of records returns at most.
const READ_BYTES: u64 = 8 << 20;

impl Store {
    /// Appends a pilot's records. Repeating an append whose answer was lost is safe: equal records are not written twice.
    pub async fn append(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        append: Append,
    ) -> Result<Appended, Refusal> {
        let sizes = append
            .records
            .iter()
            .map(|body| serde_json::to_vec(body).map(|text| text.len()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                Refusal::Invalid(format!("a record cannot be written as JSON: {error}"))
            })?;
        let by = By {
            task: task_uid,
            attempt,
            session,
        };
        let (now, quota) = (self.now(), self.options().journal_bytes);
        let is_end = |body: &Body| matches!(body, Body::Result { .. });
        let ends = append.records.iter().any(is_end);
        let (repeated, next) = self
            .change(
                |state| {
                    let decided = state.decide_append(by, &append, &sizes, quota, now)?;
                    Ok(match decided {
                        AppendDecision::New(entries) => {
                            if !ends {
                                self.room_for_tasks(state).map_err(ends_the_task)?;
                            }
                            (entries, Vec::new())
                        }
                        AppendDecision::Repeat(there) => (Vec::new(), there),
                    })
                },
                |state, repeated| state.task(task_uid).map(|task| (repeated, task.next())),
            )
            .await??;
        for (there, body) in repeated.into_iter().zip(append.records) {
            if !self.same(task_uid, there, body).await? {
                return Err(Refusal::Conflict {
                    expected: append.next,
                    next,
                });
            }
        }
        Ok(Appended { next })
    }

    /// Whether the record there has this body. Compared as text, since that is what is kept.
    async fn same(&self, uid: &str, there: RecordAt, body: Body) -> Result<bool, Refusal> {
        let line = self.line(there.at).await?;
        let Some(record) = self.opened(&line, there.at)?.into_record() else {
            return Ok(false);
        };
        let repeated = Entry::Record {
            task: uid.to_owned(),
            record: Record { body, ..record },
        };
        let same = self.sealer().is(&line, &repeated);
        Ok(same.map_err(|what| corrupt(there.at, what))?)
    }

    /// At most `limit` durable records from `from` on, and not more than about 8 MiB; ask again from the last one's successor. Empty
    /// when there is none yet.
    pub async fn records(
        &self,
        task_uid: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, Refusal> {
        let durable = self.durable_frames();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let places: Vec<At> = self
            .read(|state| {
                let mut bytes = 0_u64;
                let places = state
                    .task(task_uid)?
                    .records
                    .iter()
                    .skip(from)
                    .take(limit)
                    .map(|record| record.at)
                    .take_while(|at| {
                        let first = bytes == 0;
                        bytes = bytes.saturating_add(u64::from(at.bytes));
                        at.frame < durable && (first || bytes <= READ_BYTES)
                    })
                    .collect();
                Ok((places, 0))
            })
            .await?;
        let entries = self.entries(places).await?;
        let records = entries.into_iter().filter_map(Entry::into_record);
        Ok(records.collect())
    }

    /// The number of the Task's next record, as far as the journal is durable. Changes whenever there is more to read.
    pub async fn watch(&self, task_uid: &str) -> Result<watch::Receiver<u64>, Refusal> {
        self.hub().follow(task_uid, |state| {
            let durable = self.durable_frames();
            Ok(state.task(task_uid)?.durable(durable))
        })
    }

    /// The record with this number.
    pub(crate) async fn record(&self, at: At) -> Result<Record, Refusal> {
        let entry = self.entry(at).await?;
        entry
            .into_record()
            .ok_or_else(|| Refusal::Internal("the entry of a record holds none".into()))
    }

    /// The entry there, from the disk.
    pub(crate) async fn entry(&self, at: At) -> Result<Entry, Refusal> {
        let line = self.line(at).await?;
        Ok(self.opened(&line, at)?)
    }

    /// The entry of a line, with its texts.
    fn opened(&self, line: &[u8], at: At) -> Result<Entry, StoreError> {
        let wrong = |what| corrupt(at, format!("entry {} {what}", at.line));
        match self.sealer().read(line).map_err(wrong)? {
            Read::Whole(entry) => Ok(entry),
            Read::Shut(_) => Err(StoreError::Sealed("its key was dropped".into())),
        }
    }

    async fn line(&self, at: At) -> Result<Vec<u8>, Refusal> {
        self.blocking(move |store| {
            let payload = log::read(&store.options().dir, at.place)?;
            Ok(line(&payload, at)?.to_vec())
        })
        .await
    }

    /// The entries there, each frame read once.
    pub(crate) async fn entries(&self, places: Vec<At>) -> Result<Vec<Entry>, Refusal> {
        self.blocking(move |store| {
            let mut entries = Vec::with_capacity(places.len());
            for frame in places.chunk_by(|a, b| a.frame == b.frame) {
                let Some(first) = frame.first() else { continue };
                let payload = log::read(&store.options().dir, first.place)?;
                for at in frame {
                    entries.push(store.opened(line(&payload, *at)?, *at)?);
                }
            }
            Ok(entries)
        })
        .await
    }

    /// Runs file work off the async threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        let done = done.map_err(|error| Refusal::Internal(format!("failed to read: {error}")))?;
        Ok(done?)
    }
}

fn line(payload: &[u8], at: At) -> Result<&[u8], StoreError> {
    let mut lines = payload.split(|byte| *byte == b'\n');
    lines
        .nth(usize::from(at.line))
        .ok_or_else(|| corrupt(at, "the entry is missing".into()))
}

fn corrupt(at: At, what: String) -> StoreError {
    StoreError::Corrupt {
        segment: at.place.segment,
        offset: u64::from(at.place.offset),
        what,
    }
}
