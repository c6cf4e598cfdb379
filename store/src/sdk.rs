//! Model calls of callers that are no Task: reserved like a Task's, without waiting for the disk where that is bounded.
//!
//! A crash takes away what was not on the disk yet. So the money that hops have reserved in rows that are not there is at most
//! [`crate::Options::sdk_rest_pico`], and the first hop in a counter waits until the log says that it is used. After an unclean end that
//! much is booked in each counter that is known to be used. `tests/protocol/` has the model of it.

use crate::entry::{Entry, SdkId, SdkRow, SdkTotal};
use crate::hops::{HopEnd, HopRequest, Stage};
use crate::log::Urgency;
use crate::scope::CounterId;
use crate::{Refusal, Store};
use oarmaster_protocol::journal::CallUsage;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Who calls, and which pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdkCaller {
    /// Kubernetes user name.
    pub caller: String,
    /// Namespace that pays.
    pub namespace: String,
    /// `<namespace>/<pool>`.
    pub pool: String,
}

/// A call, hop by hop.
#[derive(Debug)]
pub struct SdkCall {
    store: Store,
    caller: SdkCaller,
    last: Mutex<Option<SdkId>>,
}

/// A reserved hop. Dropped without [`SdkTicket::settle`], it is booked at its reservation.
#[derive(Debug)]
pub struct SdkTicket {
    store: Store,
    id: SdkId,
    /// Model id that was asked for.
    model: String,
    scopes: Vec<CounterId>,
    reserved: u64,
    stage: Stage,
}

/// A hop is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdkSettled {
    /// What was booked.
    pub usage: CallUsage,
    /// What each of the hop's scopes has spent after it, in pico-USD, in the order of the request's.
    pub spent: Vec<u64>,
}

/// Money in frames that are not on the disk yet.
#[derive(Debug, Default)]
pub struct Exposed {
    frames: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Exposed {
    /// Adds a frame, forgets those below `durable`, and says how much there is.
    pub fn add(&mut self, frame: u64, pico: u64, durable: u64) -> u64 {
        while let Some((first, out)) = self.frames.front().copied()
            && first < durable
        {
            self.frames.pop_front();
            self.sum = self.sum.saturating_sub(out);
        }
        if frame >= durable && pico > 0 {
            // Callers come here in another order than to the log.
            let at = self.frames.partition_point(|(other, _)| *other < frame);
            self.frames.insert(at, (frame, pico));
            self.sum = self.sum.saturating_add(pico);
        }
        self.sum
    }
}

impl Store {
    /// A call of somebody who is no Task. Nothing is written before its first hop.
    #[must_use]
    pub fn sdk_call(&self, caller: SdkCaller) -> SdkCall {
        SdkCall {
            store: self.clone(),
            caller,
            last: Mutex::default(),
        }
    }

    /// The sum of all ended hops of callers that are no Task, and of what was booked after unclean ends.
    #[must_use]
    pub fn sdk_total(&self) -> SdkTotal {
        self.lock().state.sdk.total
    }

    /// What open hops of callers that are no Task have reserved, in pico-USD.
    #[must_use]
    pub fn sdk_reserved(&self) -> u64 {
        self.lock().state.sdk.reserved
    }

    /// Adds money to what is out and not on the disk; whether that is more than may be.
    fn expose(&self, end: u64, pico: u64) -> bool {
        let durable = self.durable_frames();
        let mut exposed = self.exposed();
        exposed.add(end.saturating_sub(1), pico, durable) > self.options().sdk_rest_pico
    }
}

impl SdkCall {
    /// Reserves the worst case of the next hop. The provider may be asked once this returns `Ok`. Refused when a scope does not cover it.
    ///
    /// Waits for the disk only for the first hop in a counter since the process began, and while hops with more than
    /// [`crate::Options::sdk_rest_pico`] wait to be written.
    pub async fn reserve(&self, hop: HopRequest) -> Result<SdkTicket, Refusal> {
        let store = &self.store;
        store.room_for_money()?;
        let now = store.now();
        let row = SdkRow {
            caller: self.caller.caller.clone(),
            namespace: self.caller.namespace.clone(),
            pool: self.caller.pool.clone(),
            provider: hop.provider.clone(),
            model: hop.model.clone(),
        };
        let last = *self.last();
        let ((id, scopes, known), end) = store.commit(
            Urgency::Lazy,
            |state| {
                let (id, entry) = state.decide_sdk_reserve(last, row, &hop, now)?;
                Ok((vec![entry], id))
            },
            |state, id| {
                let durable = store.durable_frames();
                let on_disk = |first: Option<u64>| first.is_some_and(|first| first < durable);
                let open = state.sdk.open.get(&id);
                let scopes = open.map(|hop| hop.scopes.clone()).unwrap_or_default();
                let counted = |scope| on_disk(state.counters.get(scope).sdk);
                let known = on_disk(state.sdk.first) && scopes.iter().all(counted);
                (id, scopes, known)
            },
        )?;
        *self.last() = Some(id);
        // Before the wait: a caller that goes away in it must not leave the reservation behind.
        let mut ticket = SdkTicket {
            store: store.clone(),
            id,
            model: hop.model,
            scopes,
            reserved: hop.reserve_pico,
            stage: Stage::Reserving,
        };
        let exposed = store.expose(end, hop.reserve_pico);
        if exposed || !known {
            store.hurry();
            if let Err(refused) = store.durable(end).await {
                ticket.stage = Stage::Settled; // the reservation is lost with the log's end
                return Err(refused);
            }
        } else {
            store.ease(end).await?;
        }
        ticket.stage = Stage::Out;
        Ok(ticket)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<SdkId>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SdkTicket {
    /// Number of the hop in its call, from 0.
    #[must_use]
    pub const fn hop(&self) -> u32 {
        self.id.hop
    }

    /// Books the hop. A usage above the reservation is booked in full, and waited for where the disk must know of it.
    pub async fn settle(mut self, end: &HopEnd) -> Result<SdkSettled, Refusal> {
        let (settled, frame) = self.book(end)?;
        let over = settled.usage.cost_pico.saturating_sub(self.reserved);
        if over > 0 && self.store.expose(frame, over) {
            self.store.hurry();
            self.store.durable(frame).await?;
        }
        self.store.ease(frame).await?;
        Ok(settled)
    }

    fn book(&mut self, end: &HopEnd) -> Result<(SdkSettled, u64), Refusal> {
        self.stage = Stage::Settled;
        let (now, id) = (self.store.now(), self.id);
        self.store.commit(
            Urgency::Lazy,
            |state| {
                let entry = state.decide_sdk_settle(id, &self.model, end, now)?;
                let usage = match &entry {
                    Entry::SdkEnd { usage, .. } => *usage,
                    _ => CallUsage::default(),
                };
                Ok((vec![entry], usage))
            },
            |state, usage| SdkSettled {
                usage,
                spent: state.counters.spent(&self.scopes),
            },
        )
    }
}

impl Drop for SdkTicket {
    fn drop(&mut self) {
        let Some(end) = self.stage.dropped() else {
            return;
        };
        if let Err(error) = self.book(&end) {
            // The next start books it: it is open in the log, or lost with the log's end.
            tracing::error!(id = ?self.id, %error, "cannot book a call that was dropped");
        }
    }
}
