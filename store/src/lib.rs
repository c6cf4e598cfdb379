//! The gateway's durable state: journals, the ledger of reservations and their settlement, assignments and artifacts.
//!
//! One append-only log is the truth (`log`); everything in memory is a fold over it (`state`). A change is decided by a pure
//! function on the state, appended as one frame of the log, applied, and answered once the frame is on disk. What leaves this crate with
//! `Ok` is durable; the one exception is [`Store::sdk_row`].
//!
//! No Kubernetes, no HTTP and no prices here: the caller brings an authenticated Task, an upper bound and a usage.

mod artifacts;
mod attempts;
mod blobs;
mod calls;
mod changes;
mod entry;
mod error;
mod hops;
mod hub;
mod journal;
mod log;
mod options;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use artifacts::ArtifactWriter;
pub use attempts::NewestAttempt;
pub use calls::{Attach, Call, CallState, Ended};
pub use changes::{Changes, Event};
pub use entry::{SdkRow, SdkTotal};
pub use error::{Refusal, StoreError, Unit};
pub use hops::{Billing, HopEnd, HopRequest, HopTicket, Settled};
pub use options::{Clock, Options};
pub use store::Store;

/// The [`oarmaster_protocol::journal::Body::CallFailed`] class of a hop whose end nobody saw: the gateway stopped, or the task that
/// ran it was dropped. It is booked at its reservation, and its call number answers [`CallState::InDoubt`] from then on.
pub const IN_DOUBT: &str = "InDoubt";

/// Most records in one append.
pub const MAX_APPEND_RECORDS: usize = 256;

/// Most bytes of records in one append.
pub const MAX_APPEND_BYTES: usize = 16 << 20;
