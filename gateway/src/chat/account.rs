//! Who pays for a call: a Task, with a reservation before each hop; or anybody else, with a row after it.

use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::price::Price;
use crate::provider::answer::Answer;
use crate::provider::failure::Failure;
use crate::state::Gateway;
use oarmaster_dialect::Usage;
use oarmaster_protocol::journal::CallUsage;
use oarmaster_store::{Billing, Call, HopEnd, HopRequest, HopTicket, SdkRow, Settled};

/// Who pays.
pub enum Account {
    /// A Task, through a call of its journal.
    Task(Box<Call>),
    /// A user of Kubernetes, by name.
    User(String),
}

/// The worst case of a hop.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Most input tokens.
    pub input: u64,
    /// Most output tokens.
    pub output: u64,
    /// The member's price.
    pub price: Price,
}

/// A hop that may be sent.
pub struct Open<'a> {
    gateway: &'a Gateway,
    labels: Hop,
    namespace: String,
    bound: Bound,
    payer: Payer,
}

enum Payer {
    Task(HopTicket),
    User {
        caller: String,
        pool: (String, String),
    },
}

impl Account {
    /// Reserves a hop.
    ///
    /// # Errors
    /// What the ledger refuses: the budget, a fence.
    pub async fn open<'a>(
        &self,
        gateway: &'a Gateway,
        namespace: &str,
        pool: &(String, String),
        labels: &Hop,
        bound: Bound,
    ) -> Result<Open<'a>, ApiFailure> {
        let payer = match self {
            Self::User(caller) => Payer::User {
                caller: caller.clone(),
                pool: pool.clone(),
            },
            Self::Task(call) => {
                let request = HopRequest {
                    provider: labels.provider.clone(),
                    model: labels.model.clone(),
                    reserve_pico: bound.price.worst(bound.input, bound.output),
                    reserve_input_tokens: bound.input,
                    reserve_output_tokens: bound.output,
                };
                Payer::Task(call.reserve(request).await.map_err(|refusal| ApiFailure {
                    next: Some(call.next()),
                    ..ApiFailure::from(refusal)
                })?)
            }
        };
        Ok(Open {
            gateway,
            labels: labels.clone(),
            namespace: namespace.to_owned(),
            bound,
            payer,
        })
    }
}

impl Open<'_> {
    /// Books an answer. For a Task it is durable when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn answered(self, answer: &Answer) -> Result<Option<Settled>, ApiFailure> {
        let usage = answer.usage.as_ref();
        let usage = usage.map(|usage| self.bound.price.usage(usage));
        let end = HopEnd::Answer {
            model: answer.model.clone(),
            message: answer.message.clone(),
            finish_reason: answer.finish_reason.clone(),
            replaced: answer.replaced,
            usage,
        };
        self.book(end, usage.map_or(Billing::Unknown, Billing::Usage))
            .await
    }

    /// Books a stream that was passed on and not kept.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn streamed(self, usage: Option<&Usage>) -> Result<(), ApiFailure> {
        let answer = Answer {
            usage: usage.cloned(),
            ..Answer::default()
        };
        self.answered(&answer).await.map(drop)
    }

    /// Books a failure; `usage` is what the provider reported in spite of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn failed(
        self,
        failure: &Failure,
        usage: Option<&Usage>,
    ) -> Result<Option<Settled>, ApiFailure> {
        let billing = usage.map_or(failure.billing, |usage| {
            Billing::Usage(self.bound.price.usage(usage))
        });
        let end = HopEnd::Failed {
            class: failure.class.as_str().to_owned(),
            message: failure.message.clone(),
            billing,
        };
        self.book(end, billing).await
    }

    async fn book(self, end: HopEnd, billing: Billing) -> Result<Option<Settled>, ApiFailure> {
        let Self {
            gateway,
            labels,
            namespace,
            bound,
            payer,
        } = self;
        match payer {
            Payer::Task(ticket) => {
                let settled = ticket.settle(end).await?;
                gateway.metrics.booked(&labels, &namespace, &settled.usage);
                Ok(Some(settled))
            }
            Payer::User { caller, pool } => {
                let usage = match billing {
                    Billing::Unbilled => return Ok(None),
                    Billing::Usage(usage) => usage,
                    Billing::Unknown => CallUsage {
                        input_tokens: bound.input,
                        output_tokens: bound.output,
                        cached_tokens: 0,
                        cost_pico: bound.price.worst(bound.input, bound.output),
                        estimated: true,
                    },
                };
                gateway.metrics.booked(&labels, &namespace, &usage);
                let row = SdkRow {
                    caller,
                    namespace: pool.0,
                    pool: pool.1,
                    provider: labels.provider,
                    model: labels.model,
                    usage,
                };
                gateway.store.sdk_row(row).await?;
                Ok(None)
            }
        }
    }
}
