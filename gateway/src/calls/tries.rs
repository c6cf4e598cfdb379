//! What of a pool is asked for a call, one lane after the other: its members, put in the strategy's order and taken along the [`Course`].

use super::account::{Bound, Unaffordable};
use super::allowed;
use super::attempt::{NamedKey, Told, Try, to_caller};
use super::members::{Member, fit_first, lanes};
use super::route::Routed;
use crate::catalog::{Pool, path};
use crate::clock::since_epoch;
use crate::error::ApiFailure;
use crate::metrics::Hop;
use crate::provider::failure::{Class, Failure};
use crate::provider::wire::Unfit;
use crate::routing::course::{Admission, Bounds, Course, Fault, Over, Step};
use crate::routing::gate::{self, Entry, Whose};
use crate::routing::lanes::{Held, Place, Ticket};
use crate::routing::limits;
use crate::routing::order::{Candidate, Reason, order};
use crate::shared::rates::{Of, Passed};
use crate::state::Gateway;
use http::StatusCode;
use oarmaster_protocol::task::ErrorCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is left to be tried.
pub struct Tries<'a> {
    gateway: &'a Gateway,
    routed: &'a Routed,
    pool: &'a Arc<Pool>,
    /// Those that can be asked, in the written order.
    members: Vec<Member<'a>>,
    /// Which of them the strategy put first.
    first: Option<usize>,
    course: Course,
    bounds: Bounds,
    /// Its entry to the pool, where the pool has limits.
    entry: Option<Arc<Entry<'a>>>,
    /// Why members were passed over.
    passed: Vec<ApiFailure>,
    /// Whether a member's own limits held a call up, as far as this gateway knows, and as far as all do.
    limited: bool,
    /// Whether a quota at a provider did, that it said is used up.
    used_up: bool,
    limited_by_all: bool,
    last: Option<ApiFailure>,
    /// Why the last try failed, if no other one has begun since.
    failed: Option<Class>,
}

impl<'a> Tries<'a> {
    /// All tries of a call.
    ///
    /// # Errors
    /// When the pool takes no calls.
    pub fn new(gateway: &'a Gateway, routed: &'a Routed) -> Result<Self, ApiFailure> {
        let pool = routed.snapshot.pools.get(&routed.pool).ok_or_else(nobody)?;
        let (now, clock) = (Instant::now(), since_epoch());
        let (mut members, mut passed) = (Vec::new(), Vec::new());
        for written in &pool.members {
            match Member::find(gateway, routed, written, (now, clock)) {
                Ok(member) => members.push(member),
                Err(error) => passed.push(error),
            }
        }
        let candidates: Vec<Candidate> = members
            .iter()
            .map(|member| member.candidate(routed.request.stream, now))
            .collect();
        let draw = |below: u64| fastrand::u64(..below.max(1));
        let mut places = order(pool.strategy, &candidates, draw);
        fit_first(&mut places, &members, &routed.request);
        let bounds = Bounds {
            hops: pool.hops,
            deadline: now + pool.deadline,
            patient: routed.assigned.is_some(),
        };
        let course = Course::new(lanes(&members, &places, draw), bounds);
        Ok(Self {
            gateway,
            routed,
            pool,
            members,
            first: places.first().copied(),
            course,
            bounds,
            entry: None,
            passed,
            limited: false,
            used_up: false,
            limited_by_all: false,
            last: None,
            failed: None,
        })
    }

    /// The next try, after a wait where one is due.
    ///
    /// # Errors
    /// The last failure, when nothing is left.
    pub async fn advance(&mut self) -> Result<Try<'a>, ApiFailure> {
        self.enter().await?;
        loop {
            let changed = self.gateway.health.lanes.changed();
            tokio::pin!(changed);
            changed.as_mut().enable(); // what changes from here on is not missed
            if self.routed.task.is_some() {
                allowed::pool(self.gateway, &self.routed.pool, &self.routed.namespace)?;
            }
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
            let Some(member) = self.members.get(lane.member) else {
                return Err(ApiFailure::internal("a lane of no member"));
            };
            let shared = match take_shared(self.gateway, member).await {
                Ok(shared) => shared,
                Err(held) => {
                    drop(ticket); // the lane is free again, and asked later
                    if let Admission::From(until) = held.admission {
                        self.course.held(until);
                    }
                    self.limited_by_all = true;
                    continue;
                }
            };
            let request = &self.routed.request;
            let limit = request.output_limit(self.routed.assigned, member.context);
            // Only a budget needs the limit in the request; other callers' bytes stay as they are.
            let held = self.routed.bounded;
            let backend = &member.provider.backend;
            let asked = (member.name, member.row);
            let say = || backend.say(request, asked, limit, held);
            let mut sent = match request.work(say).await {
                Ok(sent) => sent,
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
            let is_first = self.course.hops() == 1 && self.first == Some(lane.member);
            let reason = if is_first {
                Reason::first(self.pool.strategy, member.free)
            } else {
                Reason::Failover
            };
            let pool = path(&self.routed.pool);
            if let Some(class) = self.failed.take() {
                self.gateway.metrics.failed_over(&pool, class.as_str());
            }
            let by = Hop {
                pool,
                provider: member.provider.path(),
                model: member.name.to_owned(),
            };
            return Ok(Try {
                provider: member.provider.clone(),
                key,
                bound: Bound {
                    input: sent.input_bound(request),
                    output: limit.saturating_mul(request.choices),
                    price: member.price.clone(),
                },
                told: Told {
                    by,
                    reason,
                    hops: self.course.hops(),
                    dropped: std::mem::take(&mut sent.dropped),
                    cache: "",
                },
                sent,
                trace: request.trace.clone(),
                pool: self.pool.clone(),
                begun: Instant::now(),
                ticket,
                entry: self.entry.clone(),
                shared,
            });
        }
    }

    /// Enters the pool, once, within what its owner allows; after a wait where one is due.
    async fn enter(&mut self) -> Result<(), ApiFailure> {
        let Some(limits) = &self.pool.limits else {
            return Ok(());
        };
        let first = self.first.and_then(|first| self.members.get(first));
        let (None, Some(first)) = (&self.entry, first) else {
            return Ok(());
        };
        let caller = if limits.tells_callers() {
            self.routed.caller()
        } else {
            String::new()
        };
        let gates = &self.gateway.health.gates;
        loop {
            let changed = gates.changed();
            tokio::pin!(changed);
            changed.as_mut().enable(); // an end from here on is not missed
            let now = Instant::now();
            let pool = (&self.routed.pool, limits);
            let tokens = first.tokens();
            let mut entered = gates.enter(pool, &caller, tokens, now);
            if let (Ok(entry), Some(redis)) = (&mut entered, &self.gateway.redis) {
                match redis.enter(Of::Pool, pool, &caller, tokens).await {
                    Ok(passed) => entry.passed = passed,
                    Err(held) => entered = Err(held),
                }
            }
            let held = match entered {
                Ok(entry) => {
                    self.entry = Some(Arc::new(entry));
                    return Ok(());
                }
                Err(held) => held,
            };
            let Bounds {
                deadline, patient, ..
            } = self.bounds;
            let from = match held.admission {
                Admission::From(from) => Some(from),
                _ => None,
            };
            if !patient || from.unwrap_or(now) >= deadline {
                return Err(self.held(held, from.map(|from| from.saturating_duration_since(now))));
            }
            let until = from.unwrap_or(deadline).into();
            if from.is_some() {
                tokio::time::sleep_until(until).await;
            } else {
                // Whichever comes first: then it is looked again.
                let _ = tokio::time::timeout_at(until, changed).await;
            }
        }
    }

    /// The error of a call that the pool's own limits keep out.
    fn held(&self, held: gate::Held, wait: Option<Duration>) -> ApiFailure {
        let gate::Held { whose, bound, .. } = held;
        let (pool, whose_name, bound) = (path(&self.routed.pool), whose.as_str(), bound.as_str());
        self.gateway.metrics.held(&pool, whose_name, bound);
        let who = match whose {
            Whose::Pool => "all its callers together are",
            Whose::Caller => "this caller is",
        };
        let text =
            format!("ModelPool {pool} takes no more now: {who} at its spec.{whose_name}.{bound}");
        ApiFailure {
            retry_after: wait.or(Some(Duration::from_secs(1))),
            ..ApiFailure::new(ErrorCode::RateLimited, text)
        }
    }

    /// The next step, and what an asked lane is asked with.
    fn step(&mut self) -> (Step, Option<(Option<NamedKey>, Ticket<'a>)>) {
        let (gateway, members, now) = (self.gateway, &self.members, Instant::now());
        let (clock, pool) = (since_epoch(), &self.routed.pool);
        let (mut with, mut limited, mut used_up) = (None, false, false);
        let passed = &mut self.passed;
        let step = self.course.next(now, |lane| {
            let Some(member) = members.get(lane.member) else {
                return Admission::Never;
            };
            if let Err(error) = allowed::provider(gateway, &member.provider.id, pool) {
                passed.push(error);
                return Admission::Never;
            }
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
            match gateway
                .health
                .lanes
                .admit(place, member.tokens(), now, clock)
            {
                Ok(ticket) => {
                    with = Some((key, ticket));
                    Admission::Yes
                }
                Err(held) => {
                    limited |= matches!(held, Held::Limit(_));
                    used_up |= matches!(held, Held::UsedUp(_));
                    held.admission()
                }
            }
        });
        self.limited = limited || std::mem::take(&mut self.limited_by_all);
        self.used_up = used_up;
        (step, with)
    }

    /// A try failed. `Err` when no other one may follow.
    ///
    /// # Errors
    /// The failure, when it lies with the request.
    pub fn failed(&mut self, by: &Hop, failure: &Failure) -> Result<(), ApiFailure> {
        let error = to_caller(by, failure);
        let fault = Fault {
            class: failure.class,
            wait: failure.retry_after,
        };
        self.course.failed(fault, Instant::now());
        self.failed = Some(failure.class);
        if matches!(failure.class, Class::CallerFault) {
            return Err(error);
        }
        self.last = Some(error);
        Ok(())
    }

    /// The ledger has refused the last try. `Err` when no other one may follow.
    ///
    /// # Errors
    /// The refusal, unless members that cost nothing may still be asked.
    pub fn refused(&mut self, refused: Unaffordable) -> Result<(), ApiFailure> {
        if !refused.free_only {
            return Err(refused.error);
        }
        let members = &self.members;
        self.course.unaffordable(|lane| {
            let member = members.get(lane.member);
            member.is_some_and(|member| member.price.is_free())
        });
        self.last = Some(refused.error);
        Ok(())
    }

    /// The error of a call that ends without an answer. What a provider said is worth more than that nothing is left.
    fn over(&self, over: Over) -> ApiFailure {
        let wait = match over {
            Over::Out(until) => until.map(|at| at.saturating_duration_since(Instant::now())),
            Over::Tried | Over::Hops | Over::Late => None,
        };
        if let Some(last) = self.last.clone() {
            return ApiFailure {
                retry_after: last.retry_after.or(wait),
                ..last
            };
        }
        let pool = path(&self.routed.pool);
        let soon = wait.or(Some(Duration::from_secs(1)));
        match over {
            Over::Out(_) if self.limited => ApiFailure {
                retry_after: soon,
                ..ApiFailure::new(
                    ErrorCode::RateLimited,
                    format!(
                        "the members of ModelPool {pool} may not be asked more now: spec.limits of their ModelProviders"
                    ),
                )
            },
            Over::Out(_) if self.used_up => ApiFailure {
                retry_after: soon,
                ..ApiFailure::new(
                    ErrorCode::RateLimited,
                    format!(
                        "a quota of the members of ModelPool {pool} is used up, as their providers say"
                    ),
                )
            },
            Over::Out(_) => ApiFailure {
                status: StatusCode::SERVICE_UNAVAILABLE,
                retry_after: soon,
                ..ApiFailure::new(
                    ErrorCode::ModelUnavailable,
                    format!(
                        "every member of ModelPool {pool} that could take this is left alone for a while, since it failed or asked to wait"
                    ),
                )
            },
            Over::Late => ApiFailure::new(
                ErrorCode::ModelUnavailable,
                format!(
                    "no member of ModelPool {pool} could be asked within its deadline of {:?}",
                    self.pool.deadline
                ),
            ),
            Over::Tried | Over::Hops => self.passed.first().cloned().unwrap_or_else(nobody),
        }
    }
}

/// Takes of the provider's minute that replicas share.
async fn take_shared(gateway: &Gateway, member: &Member<'_>) -> Result<Option<Passed>, gate::Held> {
    let Some(redis) = &gateway.redis else {
        return Ok(None);
    };
    let limits = gate::Limits {
        all: member.provider.limits,
        each: limits::Limits::default(),
    };
    let provider = (&member.provider.id, &limits);
    let entered = redis.enter(Of::Provider, provider, "", member.tokens());
    entered.await
}

fn nobody() -> ApiFailure {
    ApiFailure::new(
        ErrorCode::ModelUnavailable,
        "the pool has no member that can be asked",
    )
}
