//! Model calls of Tasks: reserve before a hop leaves, settle after it, exactly once.
//!
//! ```text
//! begin_call -> New(call) -> call.reserve(hop 0) -> ticket.settle(Failed)      (failover)
//!                            call.reserve(hop 1) -> ticket.settle(Answer)      -> answer the pilot with the new `next`
//! ```

use crate::{Refusal, SdkRow, SdkTotal, Store};
use oarmaster_protocol::journal::{CallUsage, Record};
use serde_json::Value;

/// How a call number stands.
#[derive(Debug)]
pub enum CallState {
    /// Nobody runs it: the caller does now, through the handle.
    New(Call),
    /// It runs already: wait for its end.
    Running(Attach),
    /// It was answered; the record's body is an `Answer`.
    Answered(Record),
    /// It left for a provider and nobody saw its end. It is booked; ask again under a new number.
    InDoubt,
}

/// A call that this caller runs. While it or one of its tickets lives, the same number attaches to it.
#[derive(Debug)]
pub struct Call {}

/// The wait for a call that another caller runs.
#[derive(Debug)]
pub struct Attach {}

/// How a call that another caller ran has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With an answer; the record's body is an `Answer`.
    Answered(Record),
    /// Every hop failed; the record is the last one's `CallFailed`.
    Failed(Record),
    /// No hop was reserved (the budget, a fence).
    NotSent,
}

/// One hop: a request to one model of one provider, with its worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopRequest {
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// Model id at the provider.
    pub model: String,
    /// Most it can cost, in pico-USD.
    pub reserve_pico: u64,
    /// Most input tokens.
    pub reserve_input_tokens: u64,
    /// Most output tokens.
    pub reserve_output_tokens: u64,
}

/// A reserved hop, durably open. Dropped without [`HopTicket::settle`], it is booked at its reservation, and its call is in doubt.
#[derive(Debug)]
pub struct HopTicket {}

/// How a hop ended.
#[derive(Clone, Debug, PartialEq)]
pub enum HopEnd {
    /// The provider answered.
    Answer {
        /// Model id that the provider reported.
        model: String,
        /// The assistant message, in the form of OpenAI's chat completions.
        message: Value,
        /// Why the model stopped, in OpenAI's words.
        finish_reason: String,
        /// Tokens and money; `None` when the provider did not say: then the reservation is booked as estimated.
        usage: Option<CallUsage>,
    },
    /// It ended without an answer.
    Failed {
        /// Class of the provider's error.
        class: String,
        /// What the provider said, without keys.
        message: String,
        /// What it cost.
        billing: Billing,
    },
}

/// What a hop without an answer cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// Known to be nothing: the request did not leave, or the error is one that providers do not bill.
    Unbilled,
    /// The provider said.
    Usage(CallUsage),
    /// Unknown: the reservation is booked as estimated.
    Unknown,
}

/// A hop is settled.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What was booked.
    pub usage: CallUsage,
    /// The `Answer` or `CallFailed` that was written.
    pub record: Record,
    /// The sequence number of the Task's next record, for [`oarmaster_protocol::task::NEXT_HEADER`].
    pub next: u64,
}

impl Store {
    /// Starts or finds the model call with number `call`. `next` is the expected sequence number; it is compared for a number that was
    /// never used, so that a repeat after a lost answer attaches. Another digest under a used number is [`Refusal::Diverged`].
    #[allow(clippy::too_many_arguments)]
    pub async fn begin_call(
        &self,
        task_uid: &str,
        attempt: u32,
        session: &str,
        next: u64,
        call: u64,
        body_digest: &str,
    ) -> Result<CallState, Refusal> {
        let _ = (task_uid, attempt, session, next, call, body_digest);
        Err(Refusal::Internal("".into()))
    }

    /// Books a finished call of a caller that is no Task. Does not wait for the disk: the row is durable about 10 ms later. Only when
    /// more than 8 MiB of the log wait to be written does it wait, so that a slow disk does not fill the memory.
    pub async fn sdk_row(&self, row: SdkRow) -> Result<(), Refusal> {
        let _ = row;
        Err(Refusal::Internal("".into()))
    }

    /// The sum of all rows of [`Store::sdk_row`].
    #[must_use]
    pub fn sdk_total(&self) -> SdkTotal {
        SdkTotal::default()
    }
}

impl Call {
    /// Number of the next hop, from 0.
    #[must_use]
    pub fn next_hop(&self) -> u32 {
        0
    }

    /// The sequence number of the Task's next record, for an error answer to the pilot.
    #[must_use]
    pub fn next(&self) -> u64 {
        0
    }

    /// Reserves the worst case of a hop and writes its `Open`. The provider may be asked once this returns `Ok`. Refused when the
    /// Task's budget does not cover it (over all attempts), or the attempt was fenced or claimed by another session meanwhile.
    pub async fn reserve(&self, hop: HopRequest) -> Result<HopTicket, Refusal> {
        let _ = hop;
        Err(Refusal::Internal("".into()))
    }
}

impl HopTicket {
    /// The hop's number in its call.
    #[must_use]
    pub fn hop(&self) -> u32 {
        0
    }

    /// Books the hop and writes its `Answer` or `CallFailed`. A usage above the reservation is booked in full. Works after a fence,
    /// too: what was spent is spent. The pilot may see the end of the answer once this returns `Ok`.
    pub async fn settle(self, end: HopEnd) -> Result<Settled, Refusal> {
        let _ = end;
        Err(Refusal::Internal("".into()))
    }
}

impl Attach {
    /// Waits until nobody runs the call any more.
    pub async fn ended(self) -> Result<Ended, Refusal> {
        Err(Refusal::Internal("".into()))
    }
}
