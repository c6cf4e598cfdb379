//! What of a pool is asked for a call, one lane after the other: the pool's members with their models, prices and keys, put in the strategy's
//! order and taken along the [`Course`].

use super::account::{Account, Bound, Open};
use super::route::Routed;
use crate::catalog::{Model, Pool, Provider};
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::provider::failure::{Class, Failure};
use crate::provider::keys::ApiKey;
use crate::provider::wire::Unfit;
use crate::routing::course::{Admission, Bounds, Course, Fault, Lane, Over, Step};
use crate::routing::lanes::{End, Held, Place, Seen, Ticket};
use crate::routing::order::{Candidate, Free, Reason, order};
use crate::state::Gateway;
use http::StatusCode;
use oarmaster_dialect::{Usage, Written};
use oarmaster_protocol::task::ErrorCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a request that are expected to be one token. What a request may cost at most is bounded otherwise: this is only for comparing.
const BYTES_PER_TOKEN: u64 = 4;

/// A key with its name in the provider.
pub type NamedKey = (String, Arc<ApiKey>);

/// One try.
pub struct Try<'a> {
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
    /// What the caller is told.
    pub told: Told,
    pool: Arc<Pool>,
    begun: Instant,
    ticket: Ticket<'a>,
}

/// What the caller is told of a try that answered.
#[derive(Clone, Debug)]
pub struct Told {
    /// `<namespace>/<provider>`.
    pub provider: String,
    /// The provider's model.
    pub model: String,
    /// Why it was asked.
    pub reason: Reason,
    /// How many requests to providers it took.
    pub hops: u32,
    /// Fields of the request that the provider has no place for.
    pub dropped: Vec<String>,
}

/// A member that can be asked.
struct Member<'a> {
    provider: &'a Arc<Provider>,
    name: &'a str,
    model: &'a Model,
    seen: Seen,
    free: Free,
    /// Input and output tokens that this request is expected to have.
    expected: (u64, u64),
}

/// What is left to be tried.
pub struct Tries<'a> {
    gateway: &'a Gateway,
    routed: &'a Routed,
    pool: &'a Arc<Pool>,
    /// By place in the pool; `None` for what cannot be asked at all.
    members: Vec<Option<Member<'a>>>,
    first: Option<usize>,
    course: Course,
    /// Why members were passed over.
    passed: Vec<ApiFailure>,
    /// Whether a member's own limits held a call up.
    limited: bool,
    last: Option<ApiFailure>,
}

impl<'a> Tries<'a> {
    /// All tries of a call.
    ///
    /// # Errors
    /// When the pool takes no calls.
    pub fn new(gateway: &'a Gateway, routed: &'a Routed) -> Result<Self, ApiFailure> {
        let pool = routed.snapshot.pools.get(&routed.pool).ok_or_else(nobody)?;
        let now = Instant::now();
        let mut passed = Vec::new();
        let members: Vec<Option<Member<'a>>> = pool
            .members
            .iter()
            .map(|member| {
                find(gateway, routed, member)
                    .map_err(|error| passed.push(error))
                    .ok()
            })
            .collect();
        let candidates: Vec<Candidate> = pool
            .members
            .iter()
            .zip(&members)
            .map(|(written, found)| candidate(routed, written, found.as_ref(), now))
            .collect();
        let places = order(pool.strategy, &candidates, |below| {
            fastrand::u64(..below.max(1))
        });
        let first = places
            .iter()
            .copied()
            .find(|place| matches!(members.get(*place), Some(Some(_))));
        let course = Course::new(
            lanes(&members, &places),
            Bounds {
                hops: pool.hops,
                deadline: now + pool.deadline,
                patient: routed.assigned.is_some(),
            },
        );
        Ok(Self {
            gateway,
            routed,
            pool,
            members,
            first,
            course,
            passed,
            limited: false,
            last: None,
        })
    }

    /// The next try, after a wait where one is due.
    ///
    /// # Errors
    /// The last failure, when nothing is left.
    pub async fn advance(&mut self) -> Result<Try<'a>, ApiFailure> {
        loop {
            let changed = self.gateway.health.lanes.changed();
            tokio::pin!(changed);
            changed.as_mut().enable(); // what changes from here on is not missed
            let (lane, key, ticket) = match self.step() {
                (Step::Ask(lane), Some((key, ticket))) => (lane, key, ticket),
                (Step::Ask(_), None) => {
                    return Err(ApiFailure::internal("a lane without a ticket"));
                }
                (Step::Wait(until), _) => {
                    // Whichever comes first: then it is looked again.
                    let _ = tokio::time::timeout_at(until.into(), changed).await;
                    continue;
                }
                (Step::Over(over), _) => return Err(self.over(over)),
            };
            let Some(Some(member)) = self.members.get(lane.member) else {
                return Err(ApiFailure::internal("a lane of no member"));
            };
            let request = &self.routed.request;
            let (limit, write) = request.output_limit(self.routed.assigned, member.model.context);
            // Only a budget needs the limit in the request; other callers' bytes stay as they are.
            let write = write && self.routed.assigned.is_some();
            let backend = &member.provider.backend;
            let Written { body, dropped } = match backend.body(request, member.name, limit, write) {
                Ok(written) => written,
                Err(Unfit::Invalid(error)) => return Err(error),
                Err(Unfit::Unsupported(lack)) => {
                    self.passed.push(ApiFailure::invalid(format!(
                        "model {} of ModelProvider {} cannot take this request: {lack}",
                        member.name,
                        member.provider.path()
                    )));
                    self.course.unfit();
                    continue;
                }
            };
            let price = member.model.price.clone();
            let price = price.map_err(|_| ApiFailure::internal("a lane without a price"))?;
            let is_first = self.course.hops() == 1 && self.first == Some(lane.member);
            let reason = if is_first {
                Reason::first(self.pool.strategy, member.free)
            } else {
                Reason::Failover
            };
            let labels = Hop {
                pool: format!("{}/{}", self.routed.pool.0, self.routed.pool.1),
                provider: member.provider.path(),
                model: member.name.to_owned(),
            };
            self.gateway.metrics.chosen(&labels, reason.as_str());
            return Ok(Try {
                provider: member.provider.clone(),
                key,
                bound: Bound {
                    input: request
                        .input_bound()
                        .max(u64::try_from(body.len()).unwrap_or(u64::MAX)),
                    output: limit.saturating_mul(request.choices),
                    price,
                },
                body,
                told: Told {
                    provider: labels.provider.clone(),
                    model: labels.model.clone(),
                    reason,
                    hops: self.course.hops(),
                    dropped,
                },
                labels,
                pool: self.pool.clone(),
                begun: Instant::now(),
                ticket,
            });
        }
    }

    /// The next step, and what an asked lane is asked with.
    fn step(&mut self) -> (Step, Option<(Option<NamedKey>, Ticket<'a>)>) {
        let (gateway, members, now) = (self.gateway, &self.members, Instant::now());
        let clock = since_epoch();
        let (mut with, mut limited) = (None, false);
        let step = self.course.next(now, |lane| {
            let Some(Some(member)) = members.get(lane.member) else {
                return Admission::Never;
            };
            let key = match member.provider.keys.get(lane.key) {
                None => None,
                Some(key) => match gateway.health.usable_key(member.provider, key) {
                    Some(usable) => Some((key.name.clone(), usable)),
                    None => return Admission::Never,
                },
            };
            let place = Place {
                provider: member.provider,
                model: member.name,
                key: key.as_ref().map_or("", |(name, _)| name),
            };
            let tokens = member.expected.0.saturating_add(member.expected.1);
            match gateway.health.lanes.admit(place, tokens, now, clock) {
                Ok(ticket) => {
                    with = Some((key, ticket));
                    Admission::Yes
                }
                Err(held) => {
                    limited |= matches!(held, Held::Limit(_));
                    held.admission()
                }
            }
        });
        self.limited = limited;
        (step, with)
    }

    /// A try failed. `Err` when no other one may follow.
    ///
    /// # Errors
    /// The failure, when it lies with the request.
    pub fn failed(&mut self, labels: &Hop, failure: &Failure) -> Result<(), ApiFailure> {
        let error = to_caller(labels, failure);
        let fault = Fault {
            class: failure.class,
            wait: failure.retry_after,
        };
        self.course.failed(fault, Instant::now());
        if matches!(failure.class, Class::CallerFault) {
            return Err(error);
        }
        self.last = Some(error);
        Ok(())
    }

    /// The error of a call that ends without an answer. What a provider said is worth more than that nothing is left.
    fn over(&self, over: Over) -> ApiFailure {
        let (out, until) = match over {
            Over::Out(until) => (true, until),
            Over::Tried | Over::Hops | Over::Late => (false, None),
        };
        let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(last) = self.last.clone() {
            return ApiFailure {
                retry_after: last.retry_after.or(wait),
                ..last
            };
        }
        if out && self.limited {
            return ApiFailure {
                retry_after: wait.or(Some(Duration::from_secs(1))),
                ..ApiFailure::new(
                    ErrorCode::RateLimited,
                    format!(
                        "the members of ModelPool {}/{} may not be asked more now: spec.limits of their ModelProviders",
                        self.routed.pool.0, self.routed.pool.1
                    ),
                )
            };
        }
        if out {
            return ApiFailure {
                status: StatusCode::SERVICE_UNAVAILABLE,
                retry_after: wait.or(Some(Duration::from_secs(1))),
                ..ApiFailure::new(
                    ErrorCode::ModelUnavailable,
                    format!(
                        "every member of ModelPool {}/{} that could take this is left alone for a while, since it failed or asked to wait",
                        self.routed.pool.0, self.routed.pool.1
                    ),
                )
            };
        }
        if matches!(over, Over::Late) {
            return ApiFailure::new(
                ErrorCode::ModelUnavailable,
                format!(
                    "no member of ModelPool {}/{} could be asked within its deadline of {:?}",
                    self.routed.pool.0, self.routed.pool.1, self.pool.deadline
                ),
            );
        }
        self.passed.first().cloned().unwrap_or_else(nobody)
    }
}

impl Try<'_> {
    /// What metrics, health and the lane are told of the try's end.
    pub fn ended(
        self,
        gateway: &Gateway,
        result: Result<(), &Failure>,
        first_token: Option<Duration>,
        usage: Option<&Usage>,
    ) {
        let (now, took) = (Instant::now(), self.begun.elapsed());
        let key = self.key.as_ref().map(|(name, key)| (name.as_str(), &**key));
        gateway.health.hop_ended(&self.provider, key, result);
        let end = End {
            result,
            first_token,
            whole: first_token.is_none().then_some(took),
            output: usage.map(|usage| usage.output),
            tokens: usage.map(|usage| usage.all_input().saturating_add(usage.output)),
        };
        if self.ticket.ended(end, now, &self.pool.breaker) {
            gateway.health.circuit_changed(&self.provider.id);
        }
        let outcome = result.map_or_else(|failure| failure.class.as_str(), |()| "ok");
        gateway.metrics.hop_ended(&self.labels, outcome, took);
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
    ) -> Result<Open<'b>, ApiFailure> {
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

/// A member with its provider and model.
fn find<'a>(
    gateway: &'a Gateway,
    routed: &'a Routed,
    member: &'a crate::catalog::Member,
) -> Result<Member<'a>, ApiFailure> {
    let gone = |text: String| ApiFailure::new(ErrorCode::ModelUnavailable, text);
    let (path, name) = (
        format!("{}/{}", member.provider.0, member.provider.1),
        member.model.as_str(),
    );
    let provider = routed.snapshot.providers.get(&member.provider);
    let provider = provider.ok_or_else(|| {
        gone(format!(
            "ModelProvider {path} does not exist or is malformed"
        ))
    })?;
    let model = provider.models.get(name);
    let model =
        model.ok_or_else(|| gone(format!("ModelProvider {path} does not list model {name}")))?;
    let price = model.price.as_ref().map_err(|problem| {
        ApiFailure::new(
            ErrorCode::UnknownPrice,
            format!("model {name} of ModelProvider {path} has no usable price: {problem}; state pricing (\"0\" for a server of your own)"),
        )
    })?;
    if !provider.keys.is_empty() && gateway.health.usable_keys(provider).is_empty() {
        let problem = gateway.health.key_problem(provider);
        return Err(gone(format!(
            "ModelProvider {path} has no usable key: {problem}"
        )));
    }
    let (seen, used_up) = gateway.health.lanes.seen(provider, name, since_epoch());
    let request = &routed.request;
    let (limit, _) = request.output_limit(routed.assigned, model.context);
    let input = u64::try_from(request.len()).unwrap_or(u64::MAX) / BYTES_PER_TOKEN;
    let free = match (price.is_free(), used_up) {
        (true, false) => Free::Yes,
        (true, true) => Free::UsedUp,
        (false, _) => Free::No,
    };
    Ok(Member {
        provider,
        name,
        model,
        seen,
        free,
        expected: (input, seen.output.min(limit)),
    })
}

fn candidate(
    routed: &Routed,
    written: &crate::catalog::Member,
    found: Option<&Member<'_>>,
    now: Instant,
) -> Candidate {
    let place = Candidate {
        priority: written.priority,
        weight: written.weight,
        cost: None,
        free: Free::No,
        wait: None,
        busy: 0,
    };
    let Some(member) = found else {
        return place;
    };
    let (seen, (input, output)) = (&member.seen, member.expected);
    let price = member.model.price.as_ref().ok();
    Candidate {
        cost: price.map(|price| price.expected(input, output)),
        free: member.free,
        wait: if routed.request.stream {
            seen.first_token.expected(now)
        } else {
            seen.whole.expected(now)
        },
        busy: seen.busy,
        ..place
    }
}

/// The lanes of the members in this order: each with its keys, in order.
fn lanes(members: &[Option<Member<'_>>], places: &[usize]) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for place in places {
        let Some(Some(member)) = members.get(*place) else {
            continue;
        };
        let same = |other: &Option<Member<'_>>| {
            other
                .as_ref()
                .is_some_and(|other| other.provider.id == member.provider.id)
        };
        let provider = members.iter().position(same).unwrap_or(*place);
        lanes.extend((0..member.provider.keys.len().max(1)).map(|key| Lane {
            member: *place,
            provider,
            model: *place, // a pool has no member twice
            key,
            context: member.model.context,
        }));
    }
    lanes
}

fn nobody() -> ApiFailure {
    ApiFailure::new(
        ErrorCode::ModelUnavailable,
        "the pool has no member that can be asked",
    )
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
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
