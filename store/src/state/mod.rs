//! Everything in memory: a pure fold over the log's entries. No clock, no I/O, no lock.
//!
//! `apply` is the only way to change it; `decide_*` say which entries a request leads to, or why it is refused.

mod attempts;
mod calls;
mod fold;
mod handover;
mod held;
mod journal;
mod kept;
mod messages;
mod notes;
mod requests;
mod retention;
mod scopes;
mod sdk;
mod shared;
mod view;

pub use attempts::MAX_CLAIMS;
pub use calls::{Standing, Wanted, diverged};
pub use fold::add;
pub use held::Held;
pub use journal::AppendDecision;
pub use journal::check_artifact_name;
pub use kept::KeptAt;
pub use messages::{SentAs, Trees, Unread};
pub use notes::{NoteAt, Notes};
pub use requests::RequestAt;
pub use retention::Due;
pub use scopes::{Counters, is_kept};
pub use sdk::Sdk;
pub use shared::Shared;

use crate::entry::{Entry, Reserve};
use crate::log::Place;
use crate::scope::CounterId;
use crate::seal::BlobKey;
use crate::{Refusal, Window};
use oarmaster_protocol::admin::{Isolated, Over, RunsIn, TaskBudget};
use oarmaster_protocol::assignment::{Score, TaskRef};
use oarmaster_protocol::journal::{Artifact, Blob, Body, CallUsage, Outcome};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Where an entry is: a line of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Number of the frame.
    pub frame: u64,
    /// The frame.
    pub place: Place,
    /// The line in the frame's payload.
    pub line: u16,
    /// Length of the line in bytes.
    pub bytes: u32,
}

/// Who acts: a session of an attempt of a Task.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// UID of the Task.
    pub task: &'a str,
    pub attempt: u32,
    pub session: &'a str,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub tasks: HashMap<String, Task>,
    /// Namespace and name to the newest UID.
    pub names: HashMap<(String, String), String>,
    /// The open attempts of shared pilots.
    pub shared: Shared,
    /// Counters of budgets over all callers.
    pub counters: Counters,
    pub sdk: Sdk,
    /// What agents remember.
    pub notes: Notes,
    /// What the Tasks of a tree send one another.
    pub trees: Trees,
    /// Tasks whose journals are no longer kept, and still in segments.
    pub leaving: BTreeMap<String, Task>,
    /// The blobs of all Tasks.
    pub held: Held,
    /// Bytes of the journals of all Tasks, and of the notes.
    pub task_bytes: u64,
    /// By number.
    pub segments: BTreeMap<u32, Segment>,
}

/// What is known of a segment of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The first and the last time in it, in milliseconds since the Unix epoch; `None` where nothing in it has one.
    pub times: Option<(i64, i64)>,
    /// When the oldest day ends that it has totals of.
    pub totals_ms: Option<i64>,
    /// How many hops of callers that are no Task ended in it, and have rows.
    pub rows: u32,
    /// The first segment that one of them began in.
    pub since: Option<u32>,
    /// How many entries are for the audit alone, or say that notes are gone.
    pub audit: u32,
}

impl Segment {
    /// A hop of a caller that is no Task ended in it, and began in segment `since`.
    pub fn row(&mut self, since: Option<u32>) {
        self.rows = self.rows.saturating_add(1);
        self.since = match (self.since, since) {
            (Some(known), Some(since)) => Some(known.min(since)),
            (known, since) => known.or(since),
        };
    }

    /// Another entry of it.
    pub fn note(&mut self, entry: &Entry) {
        let mut time = |at_ms: i64| {
            let (first, last) = self.times.unwrap_or((at_ms, at_ms));
            self.times = Some((first.min(at_ms), last.max(at_ms)));
        };
        if let Some(at_ms) = entry.at_ms() {
            time(at_ms);
        }
        match entry {
            Entry::Audit { .. } | Entry::Forgotten { .. } => {
                self.audit = self.audit.saturating_add(1)
            }
            Entry::Totals(totals) => {
                for day in &totals.days {
                    // Found by whoever asks for any part of the day.
                    time(day.of.day_ms);
                    let end = Window::Day.at(day.of.day_ms).end_ms.unwrap_or(i64::MAX);
                    self.totals_ms = Some(self.totals_ms.map_or(end, |oldest| oldest.min(end)));
                }
            }
            _ => {}
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub task: TaskRef,
    pub requested_by: Option<String>,
    /// UID of the Task that asked for this one.
    pub parent: Option<String>,
    pub budget: TaskBudget,
    /// Whether a part of its budget is kept for those right below it that end its run.
    pub keeps: bool,
    /// Whether it is one of those.
    pub ends: bool,
    pub attempts: BTreeMap<u32, Attempt>,
    pub records: Vec<RecordAt>,
    /// After the last record that the newest attempt's pilot wrote or was told of. The gateway's own records behind it may be unknown to
    /// the pilot (a late answer to an attempt before, an answer that was lost on its way), so an expected number from here on is current.
    pub known: u64,
    pub calls: BTreeMap<u64, CallAt>,
    /// Settled.
    pub sum: CallUsage,
    /// Reserved by open hops.
    pub reserved: Reserve,
    /// What the Tasks below this one have settled and reserved.
    pub below: Below,
    /// What is kept of items of its steps whose Tasks are gone, by step; each item is in one of them.
    pub kept: BTreeMap<String, Vec<KeptAt>>,
    /// What it asked for, by id.
    pub requests: BTreeMap<String, RequestAt>,
    /// UID of the Task at the root of its tree, once it has sent a message there.
    pub tree: Option<String>,
    pub answers: u64,
    pub tool_calls: u64,
    pub models: Vec<String>,
    pub artifacts: BTreeMap<String, Artifact>,
    /// Every blob of the Task by digest, replaced artifacts too: they take up disk.
    pub blobs: BTreeMap<String, BlobAt>,
    /// Digests of those that are the last checkpoint of the workspace.
    pub layers: BTreeSet<String>,
    /// The parts of the workspace that it began with, which another Task had kept: it may begin with them again.
    pub taken: Vec<Blob>,
    pub journal_bytes: u64,
    /// One more than the last frame that is about this Task: what a reader has to wait for.
    pub depends: u64,
    /// The newest time in its entries, in milliseconds since the Unix epoch.
    pub last_ms: i64,
    /// The first and the last segment with entries of it.
    pub segments: (u32, u32),
}

/// What Tasks have settled and reserved, and how many they are, that count in the budget of one above them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Below {
    /// Settled.
    pub sum: CallUsage,
    /// Reserved by open hops.
    pub reserved: Reserve,
    /// Calls that were answered.
    pub calls: u64,
    /// Models that answered, in order of first use.
    pub models: Vec<String>,
    /// How many of them there are.
    pub tasks: u64,
}

/// Bytes of a Task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobAt {
    /// How many they are.
    pub size: u64,
    /// What they are sealed with.
    pub key: Option<BlobKey>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub runs_in: RunsIn,
    /// In milliseconds since the Unix epoch.
    pub opened_ms: i64,
    /// When it was claimed first.
    pub claimed_ms: Option<i64>,
    /// The entry that holds the assignment: its own, or that of an attempt before.
    pub assignment: At,
    pub digest: String,
    pub pinned: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub session: Option<String>,
    /// Of every claim, the newest last.
    pub nonces: Vec<String>,
    pub fenced: bool,
    /// The Task ended with it.
    pub over: Option<Over>,
    pub isolated: Option<Isolated>,
    pub outcome: Option<Outcome>,
    /// The best of its judge.
    pub score: Option<Score>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt {
    pub at: At,
    pub attempt: u32,
    /// Whether a pilot wrote it.
    pub pilot: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CallAt {
    pub digest: String,
    pub hops: Vec<Hop>,
    /// Sequence number of the answer.
    pub answer: Option<u64>,
    /// Sequence number of the last failed hop.
    pub failed: Option<u64>,
    pub in_doubt: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    pub attempt: u32,
    pub reserve: Reserve,
    /// Where it is reserved; empty once it is settled.
    pub scopes: Vec<CounterId>,
    pub open: bool,
}

impl Attempt {
    /// Name of its agent.
    pub fn agent(&self) -> Option<&str> {
        self.pinned.as_deref()?.split('@').next()
    }

    /// Whether its session may go on.
    pub fn is_open(&self) -> bool {
        !self.fenced && self.outcome.is_none()
    }
}

impl Task {
    /// Sequence number of the next record.
    pub fn next(&self) -> u64 {
        self.records.len() as u64
    }

    /// Smallest call number above every used one.
    pub fn next_call(&self) -> u64 {
        self.calls
            .last_key_value()
            .map_or(0, |(call, _)| call.saturating_add(1))
    }

    /// How many records are in the frames below this one.
    pub fn durable(&self, frames: u64) -> u64 {
        self.records
            .partition_point(|record| record.at.frame < frames) as u64
    }

    /// Where the record with this number is.
    pub fn record_at(&self, seq: u64) -> Option<At> {
        let index = usize::try_from(seq).ok()?;
        self.records.get(index).map(|record| record.at)
    }

    fn new(task: TaskRef) -> Self {
        Self {
            task,
            requested_by: None,
            parent: None,
            budget: TaskBudget::default(),
            keeps: false,
            ends: false,
            attempts: BTreeMap::new(),
            records: Vec::new(),
            known: 0,
            calls: BTreeMap::new(),
            sum: CallUsage::default(),
            reserved: Reserve::default(),
            below: Below::default(),
            kept: BTreeMap::new(),
            requests: BTreeMap::new(),
            tree: None,
            answers: 0,
            tool_calls: 0,
            models: Vec::new(),
            artifacts: BTreeMap::new(),
            blobs: BTreeMap::new(),
            layers: BTreeSet::new(),
            taken: Vec::new(),
            journal_bytes: 0,
            depends: 0,
            last_ms: 0,
            segments: (u32::MAX, 0),
        }
    }
}

impl State {
    /// The Task, or a refusal.
    pub fn task(&self, uid: &str) -> Result<&Task, Refusal> {
        self.tasks.get(uid).ok_or_else(|| {
            Refusal::NotFound(format!(
                "no attempt of Task {uid} was opened at this gateway"
            ))
        })
    }

    /// The Task, also one whose journal is no longer kept but still in segments.
    pub fn owner(&self, uid: &str) -> Option<&Task> {
        self.tasks.get(uid).or_else(|| self.leaving.get(uid))
    }

    /// The Task and one of its attempts, or a refusal.
    pub fn attempt(&self, uid: &str, attempt: u32) -> Result<(&Task, &Attempt), Refusal> {
        let task = self.task(uid)?;
        match task.attempts.get(&attempt) {
            Some(found) => Ok((task, found)),
            None => Err(Refusal::NotFound(format!(
                "attempt {attempt} of Task {}/{} was not opened at this gateway",
                task.task.namespace, task.task.name
            ))),
        }
    }

    /// The attempt, if this session may act in it.
    pub fn session(&self, by: By<'_>) -> Result<&Task, Refusal> {
        let attempt = by.attempt;
        let (task, found) = self.attempt(by.task, attempt)?;
        let refused = |why: &str| {
            Err(Refusal::Fenced(format!(
                "attempt {attempt} of Task {}/{} {why}; this pilot must exit",
                task.task.namespace, task.task.name
            )))
        };
        if found.fenced {
            return refused("was fenced");
        }
        match &found.session {
            None => refused("is not claimed"),
            Some(current) if current != by.session => refused("belongs to another session"),
            Some(_) if found.outcome.is_some() => refused("has ended"),
            Some(_) => Ok(task),
        }
    }
}

/// Whether a pilot may write such a record.
pub const fn is_pilot(body: &Body) -> bool {
    match body {
        Body::Isolation { .. }
        | Body::Tools { .. }
        | Body::ToolIntent { .. }
        | Body::ToolResult { .. }
        | Body::Asked { .. }
        | Body::Observation { .. }
        | Body::Dropped { .. }
        | Body::Note { .. }
        | Body::Check { .. }
        | Body::Judged { .. }
        | Body::Result { .. } => true,
        Body::Opened { .. }
        | Body::Claimed { .. }
        | Body::Open { .. }
        | Body::Answer { .. }
        | Body::CallFailed { .. }
        | Body::Answered { .. }
        | Body::Sent { .. }
        | Body::Fenced { .. } => false,
    }
}
