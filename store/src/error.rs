//! Why the store cannot open, and why it refuses.

use crate::scope::{Exceeded, usd};
use oarmaster_protocol::task::ErrorCode;
use std::path::PathBuf;

/// The store cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("failed to {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the directory.
    #[error("failed to lock {path}: another process has this store open")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The place of the blobs refused.
    #[error("failed to {act}")]
    Blob {
        /// What was tried.
        act: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Bytes that were durable are not what was written. Nothing was changed; restore the volume from a snapshot.
    #[error("log is corrupt in segment {segment} at offset {offset}: {what}")]
    Corrupt {
        /// Number of the segment, as in its file name.
        segment: u32,
        /// Offset of the frame in the segment.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The writer thread cannot be started.
    #[error("failed to start the log's writer thread")]
    Thread(#[source] std::io::Error),
}

/// Why a request was refused. Each has exactly one [`ErrorCode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be acted on; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// No such Task, attempt or artifact.
    #[error("{0}")]
    NotFound(String),
    /// The attempt was fenced, has ended, or belongs to another session.
    #[error("{0}")]
    Fenced(String),
    /// The sequence number is not the next one.
    #[error(
        "record {expected} is not the next one, {next} is: another writer was here; claim the attempt again or exit"
    )]
    Conflict {
        /// What the caller expected.
        expected: u64,
        /// What it is.
        next: u64,
    },
    /// The same call or attempt number with other content.
    #[error("{0}")]
    Diverged(String),
    /// Larger than its bound.
    #[error("{0}")]
    TooLarge(String),
    /// The Task's budget does not cover the reservation.
    #[error(
        "the Task's budget of {} does not cover the next model call: {} spent, {} reserved by running calls, up to {} needed; run it again as a new Task with a larger spec.budget.{}",
        .unit.show(*.limit), .unit.show(*.spent), .unit.show(*.reserved), .unit.show(*.needed), .unit.field()
    )]
    BudgetExceeded {
        /// What the numbers count.
        unit: Unit,
        /// The Task's budget.
        limit: u64,
        /// Settled, over all attempts.
        spent: u64,
        /// Reserved by running hops.
        reserved: u64,
        /// The worst case of this hop.
        needed: u64,
    },
    /// A cap over all callers does not cover the reservation: it may again after the reset, or once it is raised.
    #[error("{0}")]
    WindowExceeded(Box<Exceeded>),
    /// The reservation is too large to be added up.
    #[error("the worst case of this call is too large to be counted; lower max_tokens")]
    Overflow,
    /// The log cannot be written: nothing new is accepted until the gateway is started again with a volume that works.
    #[error("the gateway cannot write its log and accepts no new work: {0}")]
    Unwritable(String),
    /// The log has no room for this. What runs is booked still.
    #[error("{0}")]
    Full(String),
    /// A defect, or a log that cannot be read back.
    #[error("{0}")]
    Internal(String),
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 1e-12 USD.
    PicoUsd,
    /// Input and output tokens together.
    Tokens,
}

impl Unit {
    const fn field(self) -> &'static str {
        match self {
            Self::PicoUsd => "usd",
            Self::Tokens => "tokens",
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Self::Tokens => format!("{value} tokens"),
            Self::PicoUsd => usd(value),
        }
    }
}

impl Refusal {
    /// The code of the answer.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidRequest,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Fenced(_) => ErrorCode::Fenced,
            Self::Conflict { .. } => ErrorCode::Conflict,
            Self::Diverged(_) => ErrorCode::Diverged,
            Self::TooLarge(_) => ErrorCode::TooLarge,
            Self::BudgetExceeded { .. } => ErrorCode::BudgetExceeded,
            Self::WindowExceeded(_) => ErrorCode::WindowExceeded,
            Self::Overflow => ErrorCode::UnboundedCost,
            Self::Unwritable(_) | Self::Full(_) | Self::Internal(_) => ErrorCode::Internal,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        use std::error::Error as _;
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::Internal(text)
    }
}
