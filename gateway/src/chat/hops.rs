//! The hops of a call: members by priority, each key of a member once, until one answers.

use super::account::{Account, Bound, Open};
use super::route::Routed;
use crate::catalog::Provider;
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::provider::Asked;
use crate::provider::failure::{Class, Failure};
use crate::provider::keys::ApiKey;
use crate::provider::whole::{Reply, Whole};
use crate::provider::wire::{Sent, Unfit};
use crate::state::Gateway;
use bytes::Bytes;
use http::StatusCode;
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
    /// The request in the provider's words.
    pub sent: Sent,
}

/// What is left to be tried.
pub struct Tries<'a> {
    gateway: &'a Gateway,
    routed: &'a Routed,
    member: usize,
    /// Keys of the member that are left, the next one last.
    keys: Option<Vec<Option<NamedKey>>>,
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
            let write = write && self.routed.assigned.is_some();
            let asked = (member.model.as_str(), model.row);
            let sent = match provider.backend.say(request, asked, limit, write) {
                Ok(sent) => sent,
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
                    input: sent.input_bound(request),
                    output: limit.saturating_mul(request.choices),
                    price,
                },
                sent,
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
    /// The call.
    #[must_use]
    pub fn asked<'a>(&'a self, routed: &'a Routed) -> Asked<'a> {
        Asked {
            request: &routed.request,
            sent: &self.sent,
            model: &self.labels.model,
            key: self.key.as_ref().map(|(_, key)| key),
        }
    }

    /// What metrics and health are told of the try's end.
    pub fn ended(&self, gateway: &Gateway, started: Instant, end: Result<(), &Failure>) {
        let key = self.key.as_ref().map(|(name, key)| (name.as_str(), &**key));
        gateway.health.hop_ended(&self.provider, key, end);
        let outcome = end.map_or_else(|failure| failure.class.as_str(), |()| "ok");
        gateway
            .metrics
            .hop_ended(&self.labels, outcome, started.elapsed());
    }

    /// Opens a hop of the try in the ledger.
    ///
    /// # Errors
    /// What the ledger refuses.
    pub async fn open<'a>(
        &self,
        gateway: &'a Gateway,
        routed: &Routed,
        account: &Account,
    ) -> Result<Open<'a>, ApiFailure> {
        account
            .open(
                gateway,
                &routed.namespace,
                &routed.pool,
                &self.labels,
                self.bound.clone(),
            )
            .await
    }
}

/// A whole answer for the caller.
pub struct Answered {
    /// In the caller's words.
    pub body: Bytes,
    /// Fields of the request that the provider had no place for.
    pub dropped: Vec<String>,
    /// How a Task's call was booked.
    pub settled: Option<Settled>,
}

/// What came of a call so far.
#[derive(Default)]
struct Progress {
    /// Who gave the replies.
    by: Option<Hop>,
    /// The replies to the first bodies.
    replies: Vec<Reply>,
    settled: Option<Settled>,
    /// The sequence number of the Task's next record.
    next: Option<u64>,
}

/// Runs a call that is not streamed to its end.
///
/// # Errors
/// What the caller is told.
pub async fn complete(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
) -> Result<Answered, ApiFailure> {
    let mut progress = Progress::default();
    let end = complete_by(gateway, routed, account, &mut progress).await;
    end.map_err(|error| ApiFailure {
        next: error.next.or(progress.next),
        ..error
    })
}

async fn complete_by(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
    progress: &mut Progress,
) -> Result<Answered, ApiFailure> {
    let mut tries = Tries::new(gateway, routed);
    loop {
        let tried = tries.advance()?;
        // Another model's replies are no part of this one's.
        if progress.by.as_ref() != Some(&tried.labels) {
            progress.by = Some(tried.labels.clone());
            progress.replies.clear();
        }
        let mut failed = None;
        for body in tried.sent.bodies.iter().skip(progress.replies.len()) {
            failed = hop(gateway, routed, account, &tried, body, progress).await?;
            if failed.is_some() {
                break;
            }
        }
        let failure = match failed {
            Some(failure) => failure,
            None => {
                let replies = std::mem::take(&mut progress.replies);
                match Reply::join(replies, &tried.asked(routed)) {
                    Ok(body) => {
                        return Ok(Answered {
                            body,
                            dropped: tried.sent.dropped,
                            settled: progress.settled.take(),
                        });
                    }
                    Err(not) => Failure::unknown(not.message, true),
                }
            }
        };
        tries.failed(&tried, &failure)?;
    }
}

/// One hop: a body goes out, and what comes back is booked. `Some` where no answer did.
async fn hop(
    gateway: &Gateway,
    routed: &Routed,
    account: &Account,
    tried: &Try,
    body: &Bytes,
    progress: &mut Progress,
) -> Result<Option<Failure>, ApiFailure> {
    let open = tried.open(gateway, routed, account).await?;
    let started = Instant::now();
    let backend = &tried.provider.backend;
    let end = backend.complete(&tried.asked(routed), body.clone()).await;
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
        Ok(whole) => {
            tried.ended(gateway, started, Ok(()));
            progress.settled = open.answered(&whole.answer).await?;
            progress.replies.push(whole.reply);
            return Ok(None);
        }
        Err(failure) => (failure, None),
    };
    tried.ended(gateway, started, Err(&failure));
    let settled = open.failed(&failure, usage.as_ref()).await?;
    progress.next = settled.map(|settled| settled.next).or(progress.next);
    Ok(Some(failure))
}

fn too_long(whole: &Whole) -> bool {
    whole.answer.message.to_string().len() > MAX_RECORD_BYTES - RECORD_MARGIN
}
