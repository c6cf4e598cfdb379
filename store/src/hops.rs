//! The hops of a call: reserve before one leaves, settle after it, exactly once.

use crate::calls::{Call, Inner};
use crate::entry::Entry;
use crate::entry::Reserve;
use crate::log::Urgency;
use crate::scope::{CounterId, Scope};
use crate::state::{By, Task};
use crate::{IN_DOUBT, Refusal};
use oarmaster_protocol::journal::{Body, CallUsage, Record};
use oarmaster_protocol::text::shorten;
use serde_json::Value;
use std::sync::Arc;

/// Longest text of a provider that is kept, in characters.
const MAX_MESSAGE: usize = 2048;

/// One hop: a request to one model of one provider, with its worst case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopRequest {
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// Model id at the provider.
    pub model: String,
    /// Why that one is asked.
    pub reason: String,
    /// Most it can cost, in pico-USD.
    pub reserve_pico: u64,
    /// Most input tokens.
    pub reserve_input_tokens: u64,
    /// Most output tokens.
    pub reserve_output_tokens: u64,
    /// The caps that it must fit under, beside the Task's own budget.
    pub scopes: Vec<Scope>,
}

impl HopRequest {
    pub(crate) const fn reserve(&self) -> Reserve {
        Reserve {
            pico: self.reserve_pico,
            input: self.reserve_input_tokens,
            output: self.reserve_output_tokens,
        }
    }
}

/// A reserved hop, durably open. Dropped without [`HopTicket::settle`], it is booked at its reservation, and its call is in doubt.
#[derive(Debug)]
pub struct HopTicket {
    inner: Arc<Inner>,
    hop: u32,
    scopes: Vec<CounterId>,
    stage: Stage,
}

/// How far a reserved hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The caller has not got the ticket: nothing can have left.
    Reserving,
    /// The provider may have been asked.
    Out,
    /// Booked.
    Settled,
}

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
        /// How often the provider sent what is no character; each stands as U+FFFD.
        replaced: u64,
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
    /// What each of the hop's scopes has spent after it, in pico-USD, in the order of the request's.
    pub spent: Vec<u64>,
}

impl Call {
    /// The sequence number of the Task's next record, as far as the journal is durable: for an error answer to the pilot.
    #[must_use]
    pub fn next(&self) -> u64 {
        let store = &self.inner.store;
        let durable = store.durable_frames();
        let core = store.lock();
        let task = core.state.tasks.get(&self.inner.task);
        task.map_or(0, |task| task.durable(durable))
    }

    /// Reserves the worst case of a hop and writes its `Open`. The provider may be asked once this returns `Ok`. Refused when the
    /// Task's budget does not cover it (over all attempts), a scope does not, or the attempt was fenced or claimed by another session
    /// meanwhile.
    pub async fn reserve(&self, hop: HopRequest) -> Result<HopTicket, Refusal> {
        let inner = &self.inner;
        let store = &inner.store;
        store.room_for_money()?;
        let now = store.now();
        let by = By {
            task: &inner.task,
            attempt: inner.attempt,
            session: &inner.session,
        };
        let ((hop, scopes), end) = store.commit(
            Urgency::Now,
            |state| {
                let (number, entry) =
                    state.decide_reserve(by, inner.call, &inner.digest, &hop, now)?;
                let scopes = match &entry {
                    Entry::Open { scopes, .. } => scopes.clone(),
                    _ => Vec::new(),
                };
                Ok((vec![entry], (number, scopes)))
            },
            |_, reserved| reserved,
        )?;
        // Before the wait: a caller that goes away in it must not leave the reservation behind.
        let mut ticket = HopTicket {
            inner: Arc::clone(inner),
            hop,
            scopes,
            stage: Stage::Reserving,
        };
        if let Err(refused) = store.durable(end).await {
            ticket.stage = Stage::Settled; // the reservation is lost with the log's end
            return Err(refused);
        }
        ticket.stage = Stage::Out;
        Ok(ticket)
    }
}

impl HopTicket {
    /// The hop's number in its call, from 0.
    #[must_use]
    pub const fn hop(&self) -> u32 {
        self.hop
    }

    /// Books the hop and writes its `Answer` or `CallFailed`. A usage above the reservation is booked in full. Works after a fence,
    /// too: what was spent is spent. The pilot may see the end of the answer once this returns `Ok`.
    pub async fn settle(mut self, end: HopEnd) -> Result<Settled, Refusal> {
        let (settled, end) = self.book(end)?;
        self.inner.store.durable(end).await?;
        Ok(settled)
    }

    fn book(&mut self, end: HopEnd) -> Result<(Settled, u64), Refusal> {
        self.stage = Stage::Settled;
        let Inner {
            store, task, call, ..
        } = &*self.inner;
        let (now, hop) = (store.now(), self.hop);
        let end = end.bounded();
        store.commit(
            Urgency::Now,
            |state| {
                let record = state.decide_settle(task, *call, hop, end, now)?;
                let entry = Entry::Record {
                    task: task.clone(),
                    record: record.clone(),
                };
                Ok((vec![entry], record))
            },
            |state, record| Settled {
                usage: match &record.body {
                    Body::Answer { usage, .. } | Body::CallFailed { usage, .. } => *usage,
                    _ => CallUsage::default(),
                },
                record,
                next: state.tasks.get(task).map_or(0, Task::next),
                spent: state.counters.spent(&self.scopes),
            },
        )
    }
}

impl Stage {
    /// How a hop ended whose ticket was dropped; `None` where it is booked already.
    pub fn dropped(self) -> Option<HopEnd> {
        let (class, message, billing) = match self {
            Self::Settled => return None,
            Self::Reserving => ("NotSent", "the request did not leave", Billing::Unbilled),
            Self::Out => (
                IN_DOUBT,
                "the gateway stopped this call before it saw the end",
                Billing::Unknown,
            ),
        };
        Some(HopEnd::Failed {
            class: class.into(),
            message: message.into(),
            billing,
        })
    }
}

impl Drop for HopTicket {
    fn drop(&mut self) {
        let Some(end) = self.stage.dropped() else {
            return;
        };
        if let Err(error) = self.book(end) {
            // The next start books it: it is open in the log.
            tracing::error!(task = self.inner.task, call = self.inner.call, hop = self.hop, %error, "cannot book a call that was dropped");
        }
    }
}

impl HopEnd {
    /// What is booked for it.
    pub(crate) const fn booked(&self, reserve: Reserve) -> CallUsage {
        match self {
            Self::Answer {
                usage: Some(usage), ..
            }
            | Self::Failed {
                billing: Billing::Usage(usage),
                ..
            } => *usage,
            Self::Failed {
                billing: Billing::Unbilled,
                ..
            } => CallUsage {
                input_tokens: 0,
                output_tokens: 0,
                cached_tokens: 0,
                cost_pico: 0,
                estimated: false,
            },
            Self::Answer { usage: None, .. }
            | Self::Failed {
                billing: Billing::Unknown,
                ..
            } => reserve.estimated(),
        }
    }

    fn bounded(self) -> Self {
        match self {
            Self::Failed {
                class,
                message,
                billing,
            } => Self::Failed {
                class,
                message: shorten(&message, MAX_MESSAGE),
                billing,
            },
            answer @ Self::Answer { .. } => answer,
        }
    }
}
