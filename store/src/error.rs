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
    /// There is no key for what is there.
    #[error("what the volume has is sealed: {0}")]
    Sealed(String),
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
    /// A Task's budget does not cover the reservation.
    #[error("{0}")]
    BudgetExceeded(Box<Spent>),
    /// There may be no further Task where one is to be.
    #[error(
        "Task {task} may have {}, and this would be one more; raise its spec.budget.{}, and run anew what did not fit (spec.rerun of a workflow)",
        .bound.show(*.limit, *.has), .bound.field()
    )]
    TreeFull {
        /// Name of the Task whose budget says so.
        task: String,
        /// What it bounds.
        bound: Bound,
        /// The most.
        limit: u64,
        /// How many there are.
        has: u64,
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

/// A budget that does not cover a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Name of the Task whose budget it is, where that is one above the Task that asks.
    pub of: Option<String>,
    /// What the numbers count.
    pub unit: Unit,
    /// The budget.
    pub limit: u64,
    /// What of it is kept for undoing and `finally`.
    pub kept: u64,
    /// Settled, over all attempts and all Tasks below.
    pub spent: u64,
    /// Reserved by running hops.
    pub reserved: u64,
    /// The worst case of this hop.
    pub needed: u64,
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            of,
            unit,
            limit,
            kept,
            spent,
            reserved,
            needed,
        } = self;
        let field = unit.field();
        match of {
            None => write!(f, "the Task's budget of {}", unit.show(*limit))?,
            Some(name) => write!(f, "the budget of Task {name}, {}", unit.show(*limit))?,
        }
        if *kept > 0 {
            let (steps, kept) = (unit.show(limit - kept), unit.show(*kept));
            write!(
                f,
                ", of which {steps} are for steps and {kept} are kept for undo and finally,"
            )?;
        }
        write!(
            f,
            " does not cover the next model call: {} spent, {} reserved by running calls, up to {} needed; ",
            unit.show(*spent),
            unit.show(*reserved),
            unit.show(*needed)
        )?;
        match of {
            None => write!(
                f,
                "run it again as a new Task with a larger spec.budget.{field}"
            ),
            Some(name) => write!(
                f,
                "raise spec.budget.{field} of Task {name}, and run anew what failed (spec.rerun of a workflow)"
            ),
        }
    }
}

/// What the Tasks below one are bounded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Their number.
    Tasks,
    /// How many levels of them there are.
    Depth,
}

impl Bound {
    const fn field(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Depth => "depth",
        }
    }

    fn show(self, limit: u64, has: u64) -> String {
        let s = if limit == 1 { "" } else { "s" };
        match self {
            Self::Tasks => format!("{limit} Task{s} below it and has {has}"),
            Self::Depth => format!("{limit} level{s} of Tasks below it"),
        }
    }
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
            Self::BudgetExceeded(_) | Self::TreeFull { .. } => ErrorCode::BudgetExceeded,
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
