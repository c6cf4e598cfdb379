//! The gateway's durable state: journals, the ledger of reservations and their settlement, assignments and artifacts.
//!
//! One append-only log is the truth (`log`); everything in memory is a fold over it (`state`). A change is decided by a pure
//! function on the state, appended as one frame of the log, applied, and answered once the frame is on disk. What leaves this crate with
//! `Ok` is durable; the one exception are hops of callers that are no Task (`sdk`).
//!
//! No Kubernetes, no HTTP and no prices here: the caller brings an authenticated Task, an upper bound and a usage.

mod artifacts;
mod attempts;
mod audit;
mod blobs;
mod budgets;
mod calls;
mod changes;
mod costs;
mod entry;
mod erase;
mod error;
mod handover;
mod hops;
mod hub;
mod journal;
mod kept;
mod log;
mod messages;
mod notes;
mod options;
mod programs;
mod requests;
mod retention;
mod room;
mod rows;
mod scope;
mod sdk;
mod seal;
mod shared;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod window;

pub use artifacts::ArtifactWriter;
pub use attempts::NewestAttempt;
pub use budgets::CounterView;
pub use calls::{Attach, Call, CallState, Ended};
pub use changes::{Changes, Event};
pub use costs::CostQuery;
pub use entry::{Audited, SdkTotal};
pub use erase::Erased;
pub use error::{Bound, Refusal, Spent, StoreError, Unit};
pub use hops::{Billing, HopEnd, HopRequest, HopTicket, Settled};
pub use messages::{Inbox, Received};
pub use notes::{
    MAX_NAMESPACE_BYTES, MAX_NOTE_BYTES, MAX_NOTES, MAX_OWNER_BYTES, Note, NoteOwner, NoteQuery,
};
pub use options::{Clock, Limits, Options, Retention};
pub use programs::ProgramCall;
pub use retention::Swept;
pub use room::Usage;
pub use scope::{Counter, CounterId, Exceeded, Scope};
pub use sdk::{SdkCall, SdkCaller, SdkSettled, SdkTicket};
pub use seal::{KeyError, Keys};
pub use shared::SharedAttempt;
pub use state::SentAs;
pub use store::Store;
pub use window::{Period, Window};

/// The [`oarmaster_protocol::journal::Body::CallFailed`] class of a hop whose end nobody saw: the gateway stopped, or the task that
/// ran it was dropped. It is booked at its reservation, and its call number answers [`CallState::InDoubt`] from then on.
pub const IN_DOUBT: &str = "InDoubt";

/// The target of the trace events that say how far a write or a model call is, one name each and nothing else. A test kills the process
/// at each of them; without a subscriber that wants them they are one comparison.
pub const STEP: &str = "oarmaster::step";

/// Most records in one append.
pub const MAX_APPEND_RECORDS: usize = 256;

/// Most bytes of records in one append.
pub const MAX_APPEND_BYTES: usize = 16 << 20;
