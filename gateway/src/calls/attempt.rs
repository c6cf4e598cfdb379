//! One try of a call: a request to a member, and what is told of its end.

use super::account::{Account, Bound, Open, Unaffordable};
use super::route::Routed;
use crate::catalog::{Pool, Provider};
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::provider::Asked;
use crate::provider::failure::{Class, Failure};
use crate::provider::keys::ApiKey;
use crate::provider::wire::Sent;
use crate::routing::gate::Entry;
use crate::routing::lanes::{End, Ticket};
use crate::routing::order::Reason;
use crate::shared::rates::Passed;
use crate::state::Gateway;
use crate::traces::{self, Trace};
use http::StatusCode;
use oarmaster_dialect::Usage;
use oarmaster_protocol::task::ErrorCode;
use oarmaster_store::Billing;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A key with its name in the provider.
pub type NamedKey = (String, Arc<ApiKey>);

/// One try.
pub struct Try<'a> {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The key.
    pub key: Option<NamedKey>,
    /// The worst case.
    pub bound: Bound,
    /// The request in the provider's words.
    pub sent: Sent,
    /// What the caller is told.
    pub told: Told,
    pub(super) trace: Option<Arc<Trace>>,
    pub(super) pool: Arc<Pool>,
    pub(super) begun: Instant,
    pub(super) ticket: Ticket<'a>,
    /// The call's entry to the pool, where the pool has limits.
    pub(super) entry: Option<Arc<Entry<'a>>>,
    /// What it took of the minute of its provider that replicas share.
    pub(super) shared: Option<Passed>,
}

/// What the caller is told of a try that answered.
#[derive(Clone, Debug)]
pub struct Told {
    /// Pool, provider and model.
    pub by: Hop,
    /// Why it was asked.
    pub reason: Reason,
    /// How many requests to providers it took.
    pub hops: u32,
    /// Fields of the request that the provider has no place for.
    pub dropped: Vec<String>,
    /// Whether the answer was kept; empty where the cache has no part in the call.
    pub cache: &'static str,
}

/// How long a try took, as far as it says how fast the model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paced {
    /// The whole answer came at once.
    Whole,
    /// The first content of a stream came after this long.
    FirstToken(Duration),
    /// The stream had no content.
    Not,
    /// Tokens were counted, and none was made.
    Count,
}

impl Try<'_> {
    /// The call.
    #[must_use]
    pub fn asked<'b>(&'b self, routed: &'b Routed) -> Asked<'b> {
        Asked {
            request: &routed.request,
            sent: &self.sent,
            model: &self.told.by.model,
            key: self.key.as_ref().map(|(_, key)| key),
        }
    }

    /// Tells metrics, health and the lane of the try's end.
    pub fn ended(
        self,
        gateway: &Gateway,
        result: Result<(), &Failure>,
        paced: Paced,
        usage: Option<&Usage>,
    ) -> Told {
        let (now, took) = (Instant::now(), self.begun.elapsed());
        let key = self.key.as_ref().map(|(name, key)| (name.as_str(), &**key));
        gateway.health.hop_ended(&self.provider, key, result);
        let end = End {
            result,
            first_token: match paced {
                Paced::FirstToken(after) => Some(after),
                Paced::Whole | Paced::Not | Paced::Count => None,
            },
            whole: (paced == Paced::Whole).then_some(took),
            output: usage.map(|usage| usage.output),
            tokens: match (usage, result) {
                (Some(usage), _) => Some(usage.all_input().saturating_add(usage.output)),
                (None, _) if paced == Paced::Count => Some(0),
                // What costs nothing had no tokens.
                (None, Err(failure)) if failure.billing == Billing::Unbilled => Some(0),
                (None, _) => None,
            },
        };
        if let Some(entry) = &self.entry {
            entry.ended(end.tokens);
        }
        if let Some(shared) = self.shared {
            shared.ended(end.tokens);
        }
        if self.ticket.ended(end, now, &self.pool.breaker) {
            let model = &self.told.by.model;
            circuit_changed(gateway, &self.provider, model, self.key.as_ref(), now);
        }
        if let Some(trace) = &self.trace {
            trace.hop_ended(&traces::Hop {
                kind: self.provider.kind,
                provider: &self.told.by.provider,
                model: &self.told.by.model,
                reason: self.told.reason.as_str(),
                number: self.told.hops,
                took,
                first_token: end.first_token,
                result,
                usage,
            });
        }
        let outcome = result.map_or_else(|failure| failure.class.as_str(), |()| "ok");
        gateway.metrics.hop_ended(&self.told.by, outcome, took);
        self.told
    }

    /// Takes what the provider says with an answer: that a quota is used up for so long.
    pub fn learn(&self, gateway: &Gateway, used_up: Option<Duration>) {
        let Some(wait) = used_up else {
            return;
        };
        let now = Instant::now();
        self.ticket.used_up(wait, now);
        let model = &self.told.by.model;
        circuit_changed(gateway, &self.provider, model, self.key.as_ref(), now);
    }

    /// How long it has been under way.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Opens the try's hop in the ledger.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub async fn open<'b>(
        &self,
        gateway: &'b Gateway,
        routed: &Routed,
        account: &Account,
    ) -> Result<Open<'b>, Unaffordable> {
        let open = account.open(gateway, routed, &self.told, self.bound.clone());
        let hop = open.await?;
        gateway
            .metrics
            .chosen(&self.told.by, self.told.reason.as_str());
        Ok(hop)
    }
}

/// Tells whoever wants to know, other gateways among them, that a lane may be asked no more, or again.
fn circuit_changed(
    gateway: &Gateway,
    provider: &Provider,
    model: &str,
    key: Option<&NamedKey>,
    now: Instant,
) {
    gateway.health.circuit_changed(&provider.id);
    if let Some(redis) = &gateway.redis {
        let (lanes, key) = (&gateway.health.lanes, key.map_or("", |(name, _)| name));
        redis.opened(lanes.open(provider, model, key, now));
    }
}

/// A provider's failure as the caller sees it.
#[must_use]
pub fn to_caller(by: &Hop, failure: &Failure) -> ApiFailure {
    let text = format!(
        "{} of {} ({}): {}",
        by.model,
        by.provider,
        failure.class.as_str(),
        failure.message
    );
    failed_call(failure.class, text, failure.retry_after)
}

/// A failed call as the caller sees it.
#[must_use]
pub fn failed_call(class: Class, text: String, retry_after: Option<Duration>) -> ApiFailure {
    if class == Class::ContextLength {
        return ApiFailure::new(ErrorCode::ContextLength, text);
    }
    if class.is_callers() {
        return ApiFailure::invalid(text);
    }
    let waits = matches!(class, Class::RateLimit);
    ApiFailure {
        status: if waits {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::BAD_GATEWAY
        },
        retry_after,
        ..ApiFailure::new(ErrorCode::ModelUnavailable, text)
    }
}
