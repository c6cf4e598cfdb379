//! Who pays for a call, and its reservation before each hop: a Task through its journal, anybody else through rows of the ledger.

use super::attempt::Told;
use super::route::Routed;
use crate::budgets::soonest;
use crate::catalog;
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::price::Price;
use crate::provider::answer::Answer;
use crate::provider::failure::Failure;
use crate::state::{Gateway, Program};
use oarmaster_dialect::Usage;
use oarmaster_protocol::journal::CallUsage;
use oarmaster_store::{
    Billing, Call, HopEnd, HopRequest, HopTicket, ProgramCall, Refusal, STEP, Scope, SdkCall,
    SdkCaller, SdkSettled, SdkTicket, Settled,
};
use serde_json::Value;

/// Who pays.
pub enum Account {
    /// A Task, through a call of its journal.
    Task(Box<Call>),
    /// A Task, for a program in its sandbox: its journal has what the call came to, and not what was said. Decision 0026 has the reasons.
    Program(Box<ProgramCall>),
    /// A user of Kubernetes.
    User(Box<SdkCall>),
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

/// A hop that the ledger has refused.
#[derive(Debug)]
pub struct Unaffordable {
    /// What the caller is told.
    pub error: ApiFailure,
    /// Whether a hop that can cost nothing may follow.
    pub free_only: bool,
}

/// A hop that may be sent.
pub struct Open<'a> {
    gateway: &'a Gateway,
    labels: Hop,
    namespace: String,
    scopes: Vec<Scope>,
    bound: Bound,
    ticket: Ticket,
}

enum Ticket {
    Task(HopTicket),
    Program(HopTicket),
    User(SdkTicket),
}

impl Account {
    /// The account of a user for one call.
    #[must_use]
    pub fn user(gateway: &Gateway, routed: &Routed, name: &str) -> Self {
        Self::User(Box::new(gateway.store.sdk_call(SdkCaller {
            caller: name.to_owned(),
            namespace: routed.namespace.clone(),
            pool: catalog::path(&routed.pool),
        })))
    }

    /// The account of a program's Task for one call.
    #[must_use]
    pub fn program(gateway: &Gateway, program: &Program) -> Self {
        let Program { pod, session, .. } = program;
        let store = &gateway.store;
        let call = store.program_call(&pod.task_uid, pod.attempt, session);
        Self::Program(Box::new(call))
    }

    /// Reserves a hop, in the Task's budget and in every Budget that the call counts for.
    ///
    /// # Errors
    /// What the ledger refuses: a budget, a fence.
    pub async fn open<'a>(
        &self,
        gateway: &'a Gateway,
        routed: &Routed,
        told: &Told,
        bound: Bound,
    ) -> Result<Open<'a>, Unaffordable> {
        let scopes = routed.scopes(&gateway.budgets.load());
        let scopes = scopes.map_err(|error| Unaffordable {
            error,
            free_only: false,
        })?;
        let request = HopRequest {
            provider: told.by.provider.clone(),
            model: told.by.model.clone(),
            reason: told.reason.as_str().to_owned(),
            reserve_pico: bound.price.worst(bound.input, bound.output),
            reserve_input_tokens: bound.input,
            reserve_output_tokens: bound.output,
            scopes: scopes.clone(),
        };
        tracing::trace!(target: STEP, "reserving");
        let (ticket, next) = match self {
            Self::User(call) => (call.reserve(request).await.map(Ticket::User), None),
            Self::Task(call) => {
                let reserved = call.reserve(request).await;
                (reserved.map(Ticket::Task), Some(call.next()))
            }
            Self::Program(call) => (call.reserve(request).await.map(Ticket::Program), None),
        };
        tracing::trace!(target: STEP, "reserved");
        let task = routed.task.as_deref();
        match ticket {
            Ok(ticket) => {
                gateway.refused.fits(&scopes, task);
                Ok(Open {
                    gateway,
                    labels: told.by.clone(),
                    namespace: routed.namespace.clone(),
                    scopes,
                    bound,
                    ticket,
                })
            }
            Err(refusal) => Err(refused(gateway, refusal, task, next)),
        }
    }
}

/// What the ledger refused, noted where a Budget did.
fn refused(
    gateway: &Gateway,
    refusal: Refusal,
    task: Option<&str>,
    next: Option<u64>,
) -> Unaffordable {
    let mut free_only = false;
    let mut retry_after = None;
    if let Refusal::WindowExceeded(exceeded) = &refusal {
        let now = gateway.store.clock();
        gateway.refused.note(exceeded, task, now);
        gateway.metrics.budget_refused(&exceeded.scope.budget);
        free_only = exceeded.scope.free_only;
        retry_after = soonest(exceeded.resets_ms, now);
    }
    let error = ApiFailure::from(refusal);
    Unaffordable {
        error: ApiFailure {
            next: next.or(error.next),
            retry_after: retry_after.or(error.retry_after),
            ..error
        },
        free_only,
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
        let (model, message) = match &self.ticket {
            Ticket::Program(_) if answer.model.is_empty() => (&self.labels.model, Value::Null),
            Ticket::Program(_) => (&answer.model, Value::Null),
            Ticket::Task(_) | Ticket::User(_) => (&answer.model, answer.message.clone()),
        };
        let end = HopEnd::Answer {
            model: model.clone(),
            message,
            finish_reason: answer.finish_reason.clone(),
            replaced: answer.replaced,
            usage,
        };
        self.book(end).await
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
        self.book(end).await
    }

    async fn book(self, end: HopEnd) -> Result<Option<Settled>, ApiFailure> {
        let Self {
            gateway,
            labels,
            namespace,
            scopes,
            bound,
            ticket,
        } = self;
        tracing::trace!(target: STEP, "settling");
        let (usage, spent, settled) = match ticket {
            Ticket::Task(ticket) => {
                let settled = ticket.settle(end).await?;
                (settled.usage, settled.spent.clone(), Some(settled))
            }
            Ticket::Program(ticket) => {
                let settled = ticket.settle(end).await?;
                (settled.usage, settled.spent, None)
            }
            Ticket::User(ticket) => {
                let SdkSettled { usage, spent } = ticket.settle(&end).await?;
                (usage, spent, None)
            }
        };
        tracing::trace!(target: STEP, "settled");
        gateway.metrics.booked(&labels, &namespace, &usage);
        let reserved = bound.price.worst(bound.input, bound.output);
        gateway
            .metrics
            .overrun(&labels, usage.cost_pico.saturating_sub(reserved));
        warn(gateway, &scopes, &spent, &usage);
        Ok(settled)
    }
}

/// Counts the percentages of Budgets that a settlement has crossed.
fn warn(gateway: &Gateway, scopes: &[Scope], spent: &[u64], usage: &CallUsage) {
    let budgets = gateway.budgets.load();
    for (scope, after) in scopes.iter().zip(spent) {
        let Some(rule) = budgets.rule(&scope.budget) else {
            continue; // deleted meanwhile
        };
        let before = after.saturating_sub(usage.cost_pico);
        for percent in rule.crossed(before, *after) {
            gateway.metrics.budget_warned(&scope.budget, percent);
            tracing::warn!(
                budget = scope.budget,
                counter = scope.key,
                percent,
                "a budget has reached a share that it warns at"
            );
        }
    }
}
