//! What the log holds. One frame is a list of entries that are applied together or not at all.

use oarmaster_protocol::admin::TaskBudget;
use oarmaster_protocol::assignment::TaskRef;
use oarmaster_protocol::journal::{Artifact, CallUsage, Record};
use serde::{Deserialize, Serialize};

/// One fact. The variants' names and fields are the format on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// An attempt was opened. Its record is [`oarmaster_protocol::journal::Body::Opened`].
    Attempt {
        /// The Task.
        task: TaskRef,
        /// The Job that may claim it.
        job: String,
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
        /// The journal's record.
        record: Record,
    },
    /// The Task's budget was raised.
    Budget {
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
    },
    /// A model call of a caller that is no Task.
    Sdk {
        /// Milliseconds since the Unix epoch.
        at_ms: i64,
        /// The row.
        row: SdkRow,
    },
}

/// A finished model call of a caller that is no Task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdkRow {
    /// Kubernetes user name of the caller.
    pub caller: String,
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub pool: String,
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// Model id at the provider.
    pub model: String,
    /// Tokens and money.
    pub usage: CallUsage,
}

/// The sum of all [`SdkRow`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SdkTotal {
    /// Number of rows.
    pub calls: u64,
    /// Tokens and money.
    pub sum: CallUsage,
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
            | Self::Artifact { task, .. } => task,
            Self::Sdk { .. } => "",
        }
    }

    /// The journal's record, where the entry has one.
    pub const fn record(&self) -> Option<&Record> {
        match self {
            Self::Attempt { record, .. }
            | Self::Claim { record, .. }
            | Self::Open { record, .. }
            | Self::Record { record, .. } => Some(record),
            Self::Budget { .. } | Self::Artifact { .. } | Self::Sdk { .. } => None,
        }
    }

    /// The journal's record, where the entry has one.
    pub fn into_record(self) -> Option<Record> {
        match self {
            Self::Attempt { record, .. }
            | Self::Claim { record, .. }
            | Self::Open { record, .. }
            | Self::Record { record, .. } => Some(record),
            Self::Budget { .. } | Self::Artifact { .. } | Self::Sdk { .. } => None,
        }
    }
}
