//! The audit: what was done, decided and refused, as a view of the log. Calls, claims, fences and what the operator did are in it already;
//! what is written for the audit alone are refusals and reads ([`Audited`]).

use crate::entry::{Audited, Entry, entries};
use crate::log::{self, Chain, Hash, Urgency};
use crate::{Refusal, Store, StoreError};
use oarmaster_protocol::admin::RunsIn;
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Body, Record};
use oarmaster_protocol::read::{AuditAct, AuditCheck, AuditHash, AuditRecord};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// A reader must take a line within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Ends a pass over the log.
const LEFT: &str = "the reader has left";

impl Store {
    /// Writes something for the audit, without waiting for the disk. [`Store::flush`] waits for it.
    ///
    /// # Errors
    /// [`Refusal::Unwritable`].
    pub fn audit(&self, audited: Audited) -> Result<(), Refusal> {
        let at_ms = self.now();
        let entry = Entry::Audit { at_ms, audited };
        self.commit(Urgency::Lazy, |_| Ok((vec![entry], ())), |_, ()| ())
            .map(drop)
    }

    /// Sends the audit of a time, as far as it is durable; whether the reader took all of it.
    ///
    /// # Errors
    /// [`Refusal::Internal`] where the log cannot be read.
    pub async fn audited(
        &self,
        from_ms: i64,
        to_ms: i64,
        sender: mpsc::Sender<AuditRecord>,
    ) -> Result<bool, Refusal> {
        let runtime = tokio::runtime::Handle::current();
        let segments = self.segments(from_ms, to_ms).await;
        let done = self.blocking(move |store| {
            let mut view = View::new(store);
            let before = store.durable_frames();
            for segment in segments {
                let dir = &store.options().dir;
                let read = log::scan(dir, segment, before, &mut |found| {
                    let hash = found.before.map(hex::encode).unwrap_or_default();
                    for entry in entries(found.payload) {
                        let Some(mut record) = view.record(entry?) else {
                            continue;
                        };
                        if !(from_ms..to_ms).contains(&record.at_ms) {
                            continue;
                        }
                        record.frame = found.number;
                        record.before.clone_from(&hash);
                        // A reader who takes nothing for long has left.
                        let send = tokio::time::timeout(PATIENCE, sender.send(record));
                        if !matches!(runtime.block_on(send), Ok(Ok(()))) {
                            return Err(LEFT.into());
                        }
                    }
                    Ok(())
                });
                match read {
                    Err(StoreError::Corrupt { what, .. }) if what == LEFT => return Ok(false),
                    other => other?,
                }
            }
            Ok(true)
        });
        done.await
    }

    /// Whether the log is what was written, as far as it is durable. `asked` is a frame whose hash the caller wants to know.
    ///
    /// # Errors
    /// [`Refusal::Internal`] where a file cannot be read at all.
    pub async fn verify(&self, asked: Option<u64>) -> Result<AuditCheck, Refusal> {
        let chain = self.blocking(move |store| {
            // Of one log: a segment that was just written anew is told of by a frame that counts, too.
            let _files = store.files_read();
            let before = store.durable_frames();
            log::verify(&store.options().dir, before, asked, rewritten)
        });
        let Chain {
            first,
            frames,
            taken,
            last,
            asked: found,
            broken,
        } = chain.await?;
        let shown = |(frame, hash): (u64, Hash)| AuditHash {
            frame,
            hash: hex::encode(hash),
        };
        Ok(AuditCheck {
            frames,
            taken,
            first: first.map(shown),
            last: last.map(shown),
            asked: asked.zip(found).map(shown),
            broken,
        })
    }
}

/// Which segments a frame says are written anew, and with which digest.
fn rewritten(payload: &[u8]) -> Vec<(u32, String)> {
    // Few frames are; the others are not looked into.
    if !payload.starts_with(b"{\"condensed\"") {
        return Vec::new();
    }
    let told = entries(payload).filter_map(|entry| match entry {
        Ok(Entry::Condensed { segments, .. }) => Some(segments),
        _ => None,
    });
    told.flatten().collect()
}

/// A line that stays when its entry goes.
#[derive(Debug)]
pub struct Told {
    /// When it was, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What it was.
    pub audited: Audited,
}

/// What a reader of the log knows.
pub struct View<'a> {
    store: &'a Store,
    tasks: HashMap<String, Option<(TaskRef, String)>>,
    last_ms: i64,
}

impl<'a> View<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            tasks: HashMap::new(),
            last_ms: 0,
        }
    }

    /// What stays of an entry that goes.
    pub fn told(&mut self, entry: Entry) -> Option<Told> {
        let record = self.record(entry)?;
        Some(Told {
            at_ms: record.at_ms,
            audited: Audited {
                act: record.act,
                allowed: record.allowed,
                who: record.who,
                namespace: record.namespace,
                task: record.task,
                object: record.object,
                reason: record.reason,
                count: record.count,
            },
        })
    }

    /// The line of an entry that is for the audit, but for its place.
    fn record(&mut self, entry: Entry) -> Option<AuditRecord> {
        self.last_ms = entry.at_ms().unwrap_or(self.last_ms);
        let line = |act| AuditRecord {
            frame: 0,
            before: String::new(),
            at_ms: self.last_ms,
            act,
            allowed: true,
            who: String::new(),
            namespace: String::new(),
            task: String::new(),
            object: String::new(),
            reason: String::new(),
            count: 1,
            pico: 0,
        };
        let record = match entry {
            Entry::Start { rest, .. } => AuditRecord {
                pico: rest.map_or(0, |rest| rest.pico),
                ..line(AuditAct::Start)
            },
            Entry::Stop { .. } => line(AuditAct::Stop),
            Entry::Audit { audited, .. } => {
                let Audited {
                    act,
                    allowed,
                    who,
                    namespace,
                    task,
                    object,
                    reason,
                    count,
                } = audited;
                AuditRecord {
                    allowed,
                    who,
                    namespace,
                    task,
                    object,
                    reason,
                    count,
                    ..line(act)
                }
            }
            Entry::SdkOpen { row, reserve, .. } => AuditRecord {
                who: row.caller,
                namespace: row.namespace,
                object: format!("{}: {} {}", row.pool, row.provider, row.model),
                pico: reserve.pico,
                ..line(AuditAct::Call)
            },
            Entry::SdkEnd {
                id, class, usage, ..
            } => AuditRecord {
                object: format!("call {}.{}.{}", id.term, id.call, id.hop),
                reason: class.unwrap_or_default(),
                pico: usage.cost_pico,
                ..line(AuditAct::CallEnd)
            },
            Entry::Attempt {
                task,
                runs_in,
                record,
                ..
            } => {
                let place = match runs_in {
                    RunsIn::Job(job) => format!("Job {job}"),
                    RunsIn::Shared => "shared pilots".to_owned(),
                    RunsIn::Operator => "operator".to_owned(),
                };
                AuditRecord {
                    object: format!("attempt {} of {}, {place}", record.attempt, task.name),
                    task: task.uid,
                    ..line(AuditAct::OpenAttempt)
                }
            }
            Entry::Budget { task, .. } => AuditRecord {
                task,
                ..line(AuditAct::RaiseBudget)
            },
            Entry::Claim { task, record, .. } => AuditRecord {
                task,
                object: match record.body {
                    Body::Claimed { pod, .. } => format!("attempt {}, pod {pod}", record.attempt),
                    _ => format!("attempt {}", record.attempt),
                },
                ..line(AuditAct::Claim)
            },
            Entry::Open { task, record, .. } => match record.body {
                Body::Open {
                    provider,
                    model,
                    reserved_pico,
                    ..
                } => AuditRecord {
                    task,
                    object: format!("{provider} {model}"),
                    pico: reserved_pico,
                    ..line(AuditAct::Call)
                },
                _ => return None,
            },
            Entry::Record { task, record } => {
                let (act, object, reason, pico) = told(record)?;
                AuditRecord {
                    task,
                    object,
                    reason,
                    pico,
                    ..line(act)
                }
            }
            Entry::Expired { tasks, .. } => AuditRecord {
                object: "journals of Tasks that are over".into(),
                count: tasks.len() as u64,
                ..line(AuditAct::Retain)
            },
            Entry::Released { tasks, .. } => AuditRecord {
                object: "artifacts of Tasks that are over".into(),
                count: tasks.len() as u64,
                ..line(AuditAct::Retain)
            },
            Entry::Note(note) => AuditRecord {
                who: note.owner.requester,
                namespace: note.owner.namespace,
                task: note.task,
                object: format!("note {} of agent {}", note.id, note.owner.agent),
                ..line(AuditAct::Remember)
            },
            // Who wanted it stands in a line of its own.
            Entry::Forgotten { owner, notes, .. } => AuditRecord {
                namespace: owner.namespace,
                object: format!("notes of agent {} for {}", owner.agent, owner.requester),
                count: notes.len() as u64,
                ..line(AuditAct::Forget)
            },
            Entry::Artifact { .. }
            | Entry::Blob { .. }
            | Entry::Kept { .. }
            | Entry::TakenOver { .. }
            | Entry::Condensed { .. }
            | Entry::Totals(_) => return None,
        };
        Some(self.of_task(record))
    }

    /// Who and where, of a line about a Task.
    fn of_task(&mut self, mut record: AuditRecord) -> AuditRecord {
        if record.task.is_empty() || !record.namespace.is_empty() {
            return record;
        }
        let store = self.store;
        let known = self.tasks.entry(record.task.clone());
        let known = known.or_insert_with_key(|uid| {
            let core = store.lock();
            let task = core.state.owner(uid)?;
            let requester = task.requested_by.clone();
            Some((task.task.clone(), requester.unwrap_or_default()))
        });
        if let Some((task, requester)) = known {
            record.namespace.clone_from(&task.namespace);
            record.who.clone_from(requester);
        }
        record
    }
}

/// What the audit takes of a journal's record: act, object, reason and money. Nothing that a model or a program said.
fn told(record: Record) -> Option<(AuditAct, String, String, u64)> {
    let call = |call: u64, hop: u32| format!("call {call}.{hop}");
    Some(match record.body {
        Body::Answer {
            call: number,
            hop,
            usage,
            ..
        } => (
            AuditAct::CallEnd,
            call(number, hop),
            String::new(),
            usage.cost_pico,
        ),
        Body::CallFailed {
            call: number,
            hop,
            class,
            usage,
            ..
        } => (AuditAct::CallEnd, call(number, hop), class, usage.cost_pico),
        Body::Fenced { reason, .. } => {
            let object = format!("attempt {}", record.attempt);
            (AuditAct::Fence, object, reason, 0)
        }
        _ => return None,
    })
}
