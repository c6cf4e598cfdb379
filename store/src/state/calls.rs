//! Deciding about model calls: who runs one, whether the budget covers a hop, what a hop cost.

use super::attempts::Records;
use super::journal::journal_full;
use super::{By, State, Task};
use crate::entry::{Entry, Reserve};
use crate::error::{Spent, Unit};
use crate::hops::{HopEnd, HopRequest};
use crate::{IN_DOUBT, Refusal};
use oarmaster_protocol::admin::KEPT_PART;
use oarmaster_protocol::journal::{Body, Record};

/// How a call number stands, apart from who runs it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be run.
    Free,
    /// Answered by the record with this number.
    Answered(u64),
    /// Booked, and nobody saw the end.
    InDoubt,
}

/// A call that a pilot asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub call: u64,
    /// The expected sequence number.
    pub next: u64,
    /// Of the request's body.
    pub digest: &'a str,
}

impl State {
    /// Finds a call. `next_call` is the smallest number above every used or running one.
    pub fn decide_call(
        &self,
        by: By<'_>,
        wanted: Wanted<'_>,
        next_call: u64,
        quota: u64,
    ) -> Result<Standing, Refusal> {
        let Wanted { call, next, digest } = wanted;
        let task = self.session(by)?;
        if let Some(found) = task.calls.get(&call) {
            if found.digest != digest {
                return Err(diverged(call));
            }
            if let Some(seq) = found.answer {
                return Ok(Standing::Answered(seq));
            }
            if found.in_doubt || found.hops.iter().any(|hop| hop.open) {
                return Ok(Standing::InDoubt);
            }
        } else {
            if next < task.known || next > task.next() {
                return Err(Refusal::Conflict {
                    expected: next,
                    next: task.next(),
                });
            }
            if call > next_call {
                return Err(Refusal::Invalid(format!(
                    "call {call} leaves a gap; the next one is {next_call}"
                )));
            }
        }
        if task.journal_bytes >= quota {
            return Err(journal_full(quota));
        }
        Ok(Standing::Free)
    }

    /// Reserves a hop's worst case: fence, session, budget and every scope in one decision.
    pub fn decide_reserve(
        &self,
        by: By<'_>,
        call: u64,
        digest: &str,
        hop: &HopRequest,
        now: i64,
    ) -> Result<(u32, Entry), Refusal> {
        let task = self.session(by)?;
        let number = match task.calls.get(&call) {
            None => 0,
            Some(found) if found.digest != digest => return Err(diverged(call)),
            Some(found) if found.answer.is_some() => {
                return Err(Refusal::Internal(format!(
                    "call {call} is answered already"
                )));
            }
            Some(found) if found.hops.iter().any(|hop| hop.open) => {
                return Err(Refusal::Internal(format!(
                    "call {call} has an open hop that must be settled first"
                )));
            }
            Some(found) => u32::try_from(found.hops.len()).map_err(|_| Refusal::Overflow)?,
        };
        task.check_budget(hop, None)?;
        // Of the Task right below it depends what a run leaves to it.
        let mut ends = task.ends;
        for above in self.above(task) {
            above.check_budget(hop, Some(above.keeps && !ends))?;
            ends = above.ends;
        }
        let scopes = self.counters.check(&hop.scopes, hop.reserve_pico, now)?;
        let body = Body::Open {
            call,
            hop: number,
            provider: hop.provider.clone(),
            model: hop.model.clone(),
            reason: hop.reason.clone(),
            digest: digest.to_owned(),
            reserved_pico: hop.reserve_pico,
        };
        let entry = Entry::Open {
            task: by.task.to_owned(),
            session: by.session.to_owned(),
            requested_by: task.requested_by.clone(),
            input_tokens: hop.reserve_input_tokens,
            output_tokens: hop.reserve_output_tokens,
            scopes,
            record: Records::new(Some(task), now).next(by.attempt, body),
        };
        Ok((number, entry))
    }

    /// Books a hop. Needs no session: what was spent is spent.
    pub fn decide_settle(
        &self,
        uid: &str,
        call: u64,
        hop: u32,
        end: HopEnd,
        now: i64,
    ) -> Result<Record, Refusal> {
        let task = self.task(uid)?;
        let open = task
            .calls
            .get(&call)
            .and_then(|found| found.hops.get(hop as usize))
            .filter(|hop| hop.open)
            .ok_or_else(|| Refusal::Internal(format!("hop {hop} of call {call} is not open")))?;
        let usage = end.booked(open.reserve);
        let body = match end {
            HopEnd::Answer {
                model,
                message,
                finish_reason,
                replaced,
                ..
            } => Body::Answer {
                call,
                hop,
                model,
                message,
                finish_reason,
                replaced,
                usage,
            },
            HopEnd::Failed { class, message, .. } => Body::CallFailed {
                call,
                hop,
                class,
                message,
                usage,
            },
        };
        Ok(Records::new(Some(task), now).next(open.attempt, body))
    }

    /// Books every open hop of a Task at its reservation: nobody is left who could see its end.
    pub fn decide_recover(&self, task: &Task, now: i64) -> Vec<Entry> {
        let mut records = Records::new(Some(task), now);
        let mut entries = Vec::new();
        for (call, found) in &task.calls {
            for (number, hop) in (0_u32..).zip(&found.hops).filter(|(_, hop)| hop.open) {
                let body = Body::CallFailed {
                    call: *call,
                    hop: number,
                    class: IN_DOUBT.into(),
                    message: "the gateway stopped before it saw the end of this call".into(),
                    usage: hop.reserve.estimated(),
                };
                entries.push(Entry::Record {
                    task: task.task.uid.clone(),
                    record: records.next(hop.attempt, body),
                });
            }
        }
        entries
    }
}

impl Task {
    /// Whether its budget covers a hop: its own, or one below it, to which it leaves all or keeps a part.
    fn check_budget(&self, hop: &HopRequest, below: Option<bool>) -> Result<(), Refusal> {
        let Reserve {
            pico,
            input,
            output,
        } = self.reserved.plus(self.below.reserved);
        let spent = [self.sum, self.below.sum];
        let sum = |values: &[u64]| {
            values
                .iter()
                .try_fold(0_u64, |sum, value| sum.checked_add(*value))
                .ok_or(Refusal::Overflow)
        };
        let checks = [
            (
                Unit::PicoUsd,
                self.budget.pico_usd,
                sum(&spent.map(|sum| sum.cost_pico))?,
                pico,
                hop.reserve_pico,
            ),
            (
                Unit::Tokens,
                self.budget.tokens,
                sum(&spent.map(|sum| sum.input_tokens))?
                    .saturating_add(sum(&spent.map(|sum| sum.output_tokens))?),
                sum(&[input, output])?,
                sum(&[hop.reserve_input_tokens, hop.reserve_output_tokens])?,
            ),
        ];
        for (unit, limit, spent, reserved, needed) in checks {
            let total = sum(&[spent, reserved, needed])?;
            let Some(limit) = limit else { continue };
            let kept = match below {
                Some(true) => limit / KEPT_PART,
                _ => 0,
            };
            if total > limit - kept {
                return Err(Refusal::BudgetExceeded(Box::new(Spent {
                    of: below.map(|_| self.task.name.clone()),
                    unit,
                    limit,
                    kept,
                    spent,
                    reserved,
                    needed,
                })));
            }
        }
        Ok(())
    }
}

pub fn diverged(call: u64) -> Refusal {
    Refusal::Diverged(format!(
        "call {call} was asked before with another body; ask under a new number"
    ))
}
