//! The hops of a call: members by priority, each key of a member once, until one answers.

use super::account::{Account, Bound, Open, Unaffordable};
use super::route::Routed;
use crate::catalog::Provider;
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::provider::failure::{Class, Failure};
use crate::provider::http::Whole;
use crate::provider::keys::ApiKey;
use crate::provider::wire::Unfit;
use crate::state::Gateway;
use http::StatusCode;
use oarmaster_dialect::Written;
use oarmaster_protocol::journal::MAX_RECORD_BYTES;
use oarmaster_protocol::task::ErrorCode;
use oarmaster_store::Settled;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Room for the rest of a record beside its message.
const RECORD_MARGIN: usize = 16 << 10;

/// A key with its name in the provider.
pub type NamedKey = (String, Arc<ApiKey>);

/// One try.
pub struct Try {
    /// The provider.
    pub provider: Arc<Provider>,
    /// The key.
    pub key: Option<NamedKey>,
    /// Pool, provider and model.
    pub labels: Hop,
    /// The worst case.
    pub bound: Bound,
    /// The body.
    pub body: String,
    /// Fields of the request that the provider has no place for.
    pub dropped: Vec<String>,
}

/// What is left to be tried.
pub struct Tries<'a> {
    gateway: &'a Gateway,
    routed: &'a Routed,
    member: usize,
    /// Keys of the member that are left, the next one last.
    keys: Option<Vec<Option<NamedKey>>>,
    /// A budget lets nothing through any more but what costs nothing.
    free_only: bool,
    last: Option<ApiFailure>,
}

impl<'a> Tries<'a> {
    /// All tries of a call.
    #[must_use]
    pub fn new(gateway: &'a Gateway, routed: &'a Routed) -> Self {
        Self {
            gateway,
            routed,
            member: 0,
            keys: None,
            free_only: false,
            last: None,
        }
    }

    /// The next try.
    ///
    /// # Errors
    /// The last failure, when nothing is left.
    pub fn advance(&mut self) -> Result<Try, ApiFailure> {
        let members = self
            .routed
            .snapshot
            .pools
            .get(&self.routed.pool)
            .map_or(&[][..], Vec::as_slice);
        while let Some(member) = members.get(self.member) {
            let snapshot = &self.routed.snapshot;
            let path = format!("{}/{}", member.provider.0, member.provider.1);
            let Some(provider) = snapshot.providers.get(&member.provider) else {
                self.skip(
                    ErrorCode::ModelUnavailable,
                    format!("ModelProvider {path} does not exist or is malformed"),
                );
                continue;
            };
            let Some(model) = provider.models.get(&member.model) else {
                self.skip(
                    ErrorCode::ModelUnavailable,
                    format!("ModelProvider {path} does not list model {}", member.model),
                );
                continue;
            };
            let price = match &model.price {
                Ok(price) => price.clone(),
                Err(problem) => {
                    self.skip(
                        ErrorCode::UnknownPrice,
                        format!("model {} of ModelProvider {path} has no usable price: {problem}; state pricing (\"0\" for a server of your own)", member.model),
                    );
                    continue;
                }
            };
            if self.free_only && !price.is_free() {
                self.next_member();
                continue;
            }
            let keys = self.keys.get_or_insert_with(|| {
                if provider.keys.is_empty() {
                    return vec![None];
                }
                self.gateway
                    .health
                    .usable_keys(provider)
                    .into_iter()
                    .rev()
                    .map(Some)
                    .collect::<Vec<_>>()
            });
            let Some(key) = keys.pop() else {
                let problem = self.gateway.health.key_problem(provider);
                self.skip(
                    ErrorCode::ModelUnavailable,
                    format!("ModelProvider {path} has no usable key: {problem}"),
                );
                continue;
            };
            let request = &self.routed.request;
            let (limit, write) = request.output_limit(self.routed.assigned, model.context);
            // Only a budget needs the limit in the request; other callers' bytes stay as they are.
            let write = write && self.routed.bounded();
            let written = provider.backend.body(request, &member.model, limit, write);
            let Written { body, dropped } = match written {
                Ok(written) => written,
                Err(Unfit::Invalid(error)) => return Err(error),
                Err(Unfit::Unsupported(lack)) => {
                    let model = &member.model;
                    self.skip(
                        ErrorCode::InvalidRequest,
                        format!(
                            "model {model} of ModelProvider {path} cannot take this request: {lack}"
                        ),
                    );
                    continue;
                }
            };
            return Ok(Try {
                provider: provider.clone(),
                key,
                labels: Hop {
                    pool: format!("{}/{}", self.routed.pool.0, self.routed.pool.1),
                    provider: provider.path(),
                    model: member.model.clone(),
                },
                bound: Bound {
                    input: request
                        .input_bound()
                        .max(u64::try_from(body.len()).unwrap_or(u64::MAX)),
                    output: limit.saturating_mul(request.choices),
                    price,
                },
                body,
                dropped,
            });
        }
        Err(self.last.take().unwrap_or_else(|| {
            ApiFailure::new(
                ErrorCode::ModelUnavailable,
                "the pool has no member that can be asked",
            )
        }))
    }

    /// A try failed. `Err` when no other one may follow.
    ///
    /// # Errors
    /// The failure, when it lies with the request.
    pub fn failed(&mut self, tried: &Try, failure: &Failure) -> Result<(), ApiFailure> {
        let error = to_caller(&tried.labels, failure);
        if failure.class.is_callers() {
            return Err(error);
        }
        if !failure.class.is_keys() || tried.key.is_none() {
            self.next_member();
        }
        self.last = Some(error);
        Ok(())
    }

    /// The ledger has refused a try. `Err` when no other one may follow.
    ///
    /// # Errors
    /// The refusal, unless members that cost nothing may still be asked.
    pub fn refused(&mut self, refused: Unaffordable) -> Result<(), ApiFailure> {
        if !refused.free_only {
            return Err(refused.error);
        }
        self.free_only = true;
        self.next_member();
        self.last = Some(refused.error);
        Ok(())
    }

    fn skip(&mut self, code: ErrorCode, message: String) {
        self.next_member();
        // What a provider said is worth more than that nothing is left.
        self.last
            .get_or_insert_with(|| ApiFailure::new(code, message));
    }

    fn next_member(&mut self) {
        self.member += 1;
        self.keys = None;
    }
}

/// A provider's failure as the caller sees it.
#[must_use]
pub fn to_caller(labels: &Hop, failure: &Failure) -> ApiFailure {
    let text = format!(
        "{} of {} ({}): {}",
        labels.model,
        labels.provider,
        failure.class.as_str(),
        failure.message
    );
    failed_call(failure.class, text, failure.retry_after)
}

/// A failed call as the caller sees it.
#[must_use]
pub fn failed_call(class: Class, text: String, retry_after: Option<Duration>) -> ApiFailure {
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

impl Try {
    /// What metrics and health are told of the try's end.
    pub fn ended(&self, gateway: &Gateway, started: Instant, end: Result<(), &Failure>) {
        let key = self.key.as_ref().map(|(name, key)| (name.as_str(), &**key));
        gateway.health.hop_ended(&self.provider, key, end);
        let outcome = end.map_or_else(|failure| failure.class.as_str(), |()| "ok");
        gateway
            .metrics
            .hop_ended(&self.labels, outcome, started.elapsed());
    }

    /// Opens the try's hop in the ledger.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub async fn open<'a>(
        &self,
        gateway: &'a Gateway,
        routed: &Routed,
        account: &Account,
    ) -> Result<Open<'a>, Unaffordable> {
        account
            .open(gateway, routed, &self.labels, self.bound.clone())
            .await
    }
}

/// Runs a call that is not streamed to its end.
///
/// # Errors
/// What the caller is told.
pub async fn complete(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
) -> Result<(Whole, Option<Settled>), ApiFailure> {
    let mut tries = Tries::new(gateway, routed);
    let mut next = None;
    let told = |error: ApiFailure, next: Option<u64>| ApiFailure {
        next: error.next.or(next),
        ..error
    };
    loop {
        let tried = tries.advance().map_err(|error| told(error, next))?;
        let hop = match tried.open(gateway, routed, account).await {
            Ok(hop) => hop,
            Err(refused) => {
                tries.refused(refused).map_err(|error| told(error, next))?;
                continue;
            }
        };
        let started = Instant::now();
        let key = tried.key.as_ref().map(|(_, key)| &**key);
        let end = tried
            .provider
            .backend
            .complete(
                key,
                &tried.labels.model,
                &routed.request,
                tried.body.clone(),
            )
            .await;
        let (failure, usage) = match end {
            Ok(whole) if matches!(account, Account::Task(_)) && too_long(&whole) => (
                Failure {
                    class: Class::CallerFault,
                    ..Failure::unknown(
                        "the answer is larger than a record of the journal; lower max_tokens",
                        true,
                    )
                },
                whole.answer.usage,
            ),
            Ok(mut whole) => {
                whole.dropped.clone_from(&tried.dropped);
                tried.ended(gateway, started, Ok(()));
                let settled = hop.answered(&whole.answer).await?;
                return Ok((whole, settled));
            }
            Err(failure) => (failure, None),
        };
        tried.ended(gateway, started, Err(&failure));
        next = hop
            .failed(&failure, usage.as_ref())
            .await?
            .map(|settled| settled.next)
            .or(next);
        tries
            .failed(&tried, &failure)
            .map_err(|error| told(error, next))?;
    }
}

fn too_long(whole: &Whole) -> bool {
    whole.answer.message.to_string().len() > MAX_RECORD_BYTES - RECORD_MARGIN
}
