//! What the log holds. One frame is a list of entries that are applied together or not at all.

use crate::notes::{Note, NoteOwner};
use crate::scope::CounterId;
use crate::seal::{self, BlobKey};
use crate::state::add;
use oarmaster_protocol::admin::{RunsIn, TaskBudget};
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Artifact, Blob, CallUsage, Record};
use oarmaster_protocol::read::AuditAct;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One fact. The variants' names and fields are the format on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// An attempt was opened. Its record is [`oarmaster_protocol::journal::Body::Opened`].
    Attempt {
        /// The Task.
        task: TaskRef,
        /// Where its pilot runs.
        runs_in: RunsIn,
        /// The agent of the assignment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pinned: Option<String>,
        /// The exact text of the assignment; absent where that of the attempt before is taken over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        assignment: Option<String>,
        /// The Task's budget from here on.
        budget: TaskBudget,
        /// Who created the Task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requested_by: Option<String>,
        /// UID of the Task that asked for this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
        /// Whether a part of its budget is kept for those Tasks right below it that end its run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keeps: bool,
        /// Whether it may spend what its parent keeps.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ends: bool,
        /// The Task's labels.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        /// The journal's record.
        record: Record,
    },
    /// The Task's budget was raised.
    Budget {
        /// Milliseconds since the Unix epoch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_ms: Option<i64>,
        /// UID of the Task.
        task: String,
        /// The budget from here on.
        budget: TaskBudget,
    },
    /// An attempt was claimed. Its record is [`oarmaster_protocol::journal::Body::Claimed`].
    Claim {
        /// UID of the Task.
        task: String,
        /// Nonce of the pilot process.
        nonce: String,
        /// The journal's record.
        record: Record,
    },
    /// A hop was reserved. Its record is [`oarmaster_protocol::journal::Body::Open`].
    Open {
        /// UID of the Task.
        task: String,
        /// The session that asked.
        session: String,
        /// Who created the Task. Here too: a row of the ledger outlives its journal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requested_by: Option<String>,
        /// Reserved input tokens.
        input_tokens: u64,
        /// Reserved output tokens.
        output_tokens: u64,
        /// The counters that it is reserved in, and settled.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<CounterId>,
        /// The journal's record.
        record: Record,
    },
    /// Any other record of a journal.
    Record {
        /// UID of the Task.
        task: String,
        /// The journal's record.
        record: Record,
    },
    /// An artifact was stored.
    Artifact {
        /// UID of the Task.
        task: String,
        /// The artifact.
        artifact: Artifact,
        /// The key of its bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<BlobKey>,
    },
    /// A part of a checkpoint was stored.
    Blob {
        /// UID of the Task.
        task: String,
        /// The bytes.
        blob: Blob,
        /// The key of its bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<BlobKey>,
    },
    /// A Task begins with the workspace that another one kept, and has its parts from then on.
    TakenOver {
        /// UID of the Task.
        task: String,
        /// UID of the other.
        from: String,
        /// The parts, in order.
        blobs: Vec<Blob>,
        /// Their keys.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<Option<BlobKey>>,
    },
    /// Results of items of a step of a run: their Tasks may be deleted then.
    Kept {
        /// UID of the run's Task.
        task: String,
        /// Name of the step.
        step: String,
        /// The items, first and last of each stretch of them.
        items: Vec<(u32, u32)>,
        /// What holds them.
        blob: Blob,
        /// The key of its bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<BlobKey>,
    },
    /// A hop of a caller that is no Task was reserved.
    SdkOpen {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// The hop.
        id: SdkId,
        /// Whose it is, and where it goes.
        row: SdkRow,
        /// Its worst case.
        reserve: Reserve,
        /// The counters that it is reserved in, and settled.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<CounterId>,
    },
    /// A hop of a caller that is no Task ended.
    SdkEnd {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// The hop.
        id: SdkId,
        /// Class of its failure; absent after an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Model id that the provider reported, where it is another one than was asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// Tokens and money.
        usage: CallUsage,
    },
    /// A process has begun, and has booked what the one before left open.
    Start {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// Most money that hops of SDK callers may have reserved while they are not on the disk, from here on, in pico-USD.
        rest_pico: u64,
        /// What the process before may have had out when it ended without a [`Entry::Stop`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rest: Option<Rest>,
    },
    /// A process has ended, and everything of it is in the log.
    Stop {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
    },
    /// Something that no other entry tells of: a refusal, a read.
    Audit {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// What it was.
        audited: Audited,
    },
    /// These Tasks are over, and their artifacts are no longer kept.
    Released {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// UIDs.
        tasks: Vec<String>,
    },
    /// These Tasks are over, and their journals are no longer kept: what is left of them are totals and lines of the audit.
    Expired {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// UIDs.
        tasks: Vec<String>,
    },
    /// Segments are written anew, without what is no longer kept.
    Condensed {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// Their numbers, and the SHA-256 of each file in hexadecimal digits.
        segments: BTreeMap<u32, String>,
    },
    /// An agent keeps a note.
    Note(Box<Note>),
    /// These notes of an owner are no longer kept.
    Forgotten {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// Whose they were.
        owner: NoteOwner,
        /// Their ids.
        notes: Vec<String>,
    },
    /// What is left of the rows of money that were in this segment.
    Totals(Box<Totals>),
}

/// What is left of rows of money.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// By day, and by whose money it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<DayTotal>,
    /// What was settled in counters that may still be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<CounterTotal>,
    /// The sum of the hops of callers that are no Task.
    #[serde(default)]
    pub sdk: SdkTotal,
    /// The newest term with rows of such callers here.
    #[serde(default)]
    pub term: u64,
    /// The counters that such callers used in that term.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<CounterId>,
}

/// What was settled in a counter, in pico-USD.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CounterTotal {
    /// Which one.
    pub id: CounterId,
    /// All of it.
    pub spent: u64,
    /// Of it: billed beyond reservations.
    #[serde(default)]
    pub overrun: u64,
    /// Of it: booked without the provider's word.
    #[serde(default)]
    pub estimated: u64,
}

/// The sum of hops that ended on one day and are alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayTotal {
    /// Which hops.
    #[serde(flatten)]
    pub of: DayKey,
    /// What they came to.
    #[serde(flatten)]
    pub cost: Cost,
}

/// What hops came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// How many were answered.
    pub calls: u64,
    /// Tokens and money.
    pub usage: CallUsage,
    /// Of it in pico-USD: booked without the provider's word.
    #[serde(default)]
    pub estimated_pico: u64,
    /// Of it in pico-USD: billed beyond reservations.
    #[serde(default)]
    pub overrun_pico: u64,
}

impl Cost {
    /// Of one hop.
    pub fn of(answered: bool, usage: &CallUsage, reserved_pico: u64) -> Self {
        Self {
            calls: u64::from(answered),
            usage: *usage,
            estimated_pico: if usage.estimated { usage.cost_pico } else { 0 },
            overrun_pico: usage.cost_pico.saturating_sub(reserved_pico),
        }
    }

    /// Whether nothing was answered, and nothing used.
    pub fn is_nothing(&self) -> bool {
        self.calls == 0 && self.usage == CallUsage::default()
    }

    /// Adds that of others.
    pub fn add(&mut self, more: &Self) {
        self.calls = self.calls.saturating_add(more.calls);
        add(&mut self.usage, &more.usage);
        self.estimated_pico = self.estimated_pico.saturating_add(more.estimated_pico);
        self.overrun_pico = self.overrun_pico.saturating_add(more.overrun_pico);
    }
}

/// What hops have in common that are added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DayKey {
    /// First millisecond of the day, UTC.
    pub day_ms: i64,
    /// Who pays.
    pub namespace: String,
    /// Whether they are of Tasks.
    #[serde(default)]
    pub task: bool,
    /// Name of the Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The Task's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Kubernetes user name of who asked.
    pub requester: String,
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// Model id that was asked for.
    pub model: String,
    /// Model id that the provider reported, where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<String>,
}

/// Something for the audit that no other entry tells of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// What was done.
    pub act: AuditAct,
    /// Whether it was allowed.
    pub allowed: bool,
    /// The Kubernetes user; empty where nobody is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub who: String,
    /// The namespace that is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// UID of the Task that acts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
    /// To what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Why it was refused, in a word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// A hop of a caller that is no Task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdkId {
    /// How many processes have begun on this log: numbers of calls that a crash took away do not come again.
    pub term: u64,
    /// Number of the call in the term.
    pub call: u64,
    /// Number of the hop in the call, from 0.
    pub hop: u32,
}

/// A worst case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reserve {
    /// Money in pico-USD.
    pub pico: u64,
    /// Input tokens.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
}

impl Reserve {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            pico: self.pico.saturating_add(other.pico),
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
        }
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            pico: self.pico.saturating_sub(other.pico),
            input: self.input.saturating_sub(other.input),
            output: self.output.saturating_sub(other.output),
        }
    }

    /// The usage that is booked when nobody says what a hop cost.
    pub(crate) const fn estimated(self) -> CallUsage {
        CallUsage {
            input_tokens: self.input,
            output_tokens: self.output,
            cached_tokens: 0,
            cost_pico: self.pico,
            estimated: true,
        }
    }
}

/// What may have been lost: in each of these counters at most this much, and no more in all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rest {
    /// Money in pico-USD.
    pub pico: u64,
    /// The counters that SDK callers used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<CounterId>,
}

/// Whose a hop is that is no Task's, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdkRow {
    /// Kubernetes user name of the caller.
    pub caller: String,
    /// Namespace that pays: the caller's, or the pool's for a caller that has none.
    pub namespace: String,
    /// `<namespace>/<pool>`.
    pub pool: String,
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// Model id at the provider.
    pub model: String,
}

/// The sum of all hops of callers that are no Task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdkTotal {
    /// Number of hops that were answered or cost something.
    pub calls: u64,
    /// Tokens and money.
    pub sum: CallUsage,
}

/// The entries of a frame: a line of JSON each, without what is sealed of it.
///
/// # Errors
/// Which line is none.
pub fn entries(payload: &[u8]) -> impl Iterator<Item = Result<Entry, String>> {
    lines(payload).map(|(line, text)| {
        serde_json::from_slice(seal::bare(text))
            .map_err(|error| format!("entry {line} cannot be understood: {error}"))
    })
}

/// The lines of a frame, with their numbers. A frame that only stands for others has none.
pub fn lines(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    (0_u16..)
        .zip(payload.split(|byte| *byte == b'\n'))
        .filter(|(_, text)| !text.is_empty())
}

impl SdkTotal {
    /// Adds other hops.
    pub(crate) fn add(&mut self, more: &Self) {
        self.calls = self.calls.saturating_add(more.calls);
        add(&mut self.sum, &more.sum);
    }
}

impl Entry {
    /// UID of the Task it is about; empty for a row that is about none.
    pub fn task_uid(&self) -> &str {
        match self {
            Self::Attempt { task, .. } => &task.uid,
            Self::Budget { task, .. }
            | Self::Claim { task, .. }
            | Self::Open { task, .. }
            | Self::Record { task, .. }
            | Self::Artifact { task, .. }
            | Self::Blob { task, .. }
            | Self::Kept { task, .. }
            | Self::TakenOver { task, .. } => task,
            Self::SdkOpen { .. }
            | Self::SdkEnd { .. }
            | Self::Start { .. }
            | Self::Stop { .. }
            | Self::Audit { .. }
            | Self::Released { .. }
            | Self::Expired { .. }
            | Self::Condensed { .. }
            | Self::Note(_)
            | Self::Forgotten { .. }
            | Self::Totals(_) => "",
        }
    }

    /// When it happened, in milliseconds since the Unix epoch; `None` where it does not say.
    pub const fn at_ms(&self) -> Option<i64> {
        match self {
            Self::Attempt { record, .. }
            | Self::Claim { record, .. }
            | Self::Open { record, .. }
            | Self::Record { record, .. } => Some(record.at_ms),
            Self::SdkOpen { at_ms, .. }
            | Self::SdkEnd { at_ms, .. }
            | Self::Start { at_ms, .. }
            | Self::Stop { at_ms }
            | Self::Audit { at_ms, .. }
            | Self::Released { at_ms, .. }
            | Self::Expired { at_ms, .. }
            | Self::Forgotten { at_ms, .. }
            | Self::Condensed { at_ms, .. } => Some(*at_ms),
            Self::Note(note) => Some(note.at_ms),
            Self::Budget { at_ms, .. } => *at_ms,
            Self::Artifact { .. }
            | Self::Blob { .. }
            | Self::Kept { .. }
            | Self::TakenOver { .. }
            | Self::Totals(_) => None,
        }
    }

    /// The journal's record, where the entry has one.
    pub const fn record(&self) -> Option<&Record> {
        match self {
            Self::Attempt { record, .. }
            | Self::Claim { record, .. }
            | Self::Open { record, .. }
            | Self::Record { record, .. } => Some(record),
            Self::Budget { .. }
            | Self::Artifact { .. }
            | Self::Blob { .. }
            | Self::Kept { .. }
            | Self::TakenOver { .. }
            | Self::SdkOpen { .. }
            | Self::SdkEnd { .. }
            | Self::Start { .. }
            | Self::Stop { .. }
            | Self::Audit { .. }
            | Self::Released { .. }
            | Self::Expired { .. }
            | Self::Condensed { .. }
            | Self::Note(_)
            | Self::Forgotten { .. }
            | Self::Totals(_) => None,
        }
    }

    /// The journal's record, where the entry has one.
    pub fn into_record(self) -> Option<Record> {
        match self {
            Self::Attempt { record, .. }
            | Self::Claim { record, .. }
            | Self::Open { record, .. }
            | Self::Record { record, .. } => Some(record),
            Self::Budget { .. }
            | Self::Artifact { .. }
            | Self::Blob { .. }
            | Self::Kept { .. }
            | Self::TakenOver { .. }
            | Self::SdkOpen { .. }
            | Self::SdkEnd { .. }
            | Self::Start { .. }
            | Self::Stop { .. }
            | Self::Audit { .. }
            | Self::Released { .. }
            | Self::Expired { .. }
            | Self::Condensed { .. }
            | Self::Note(_)
            | Self::Forgotten { .. }
            | Self::Totals(_) => None,
        }
    }
}
