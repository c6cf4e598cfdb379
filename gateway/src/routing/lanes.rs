//! What is known of lanes from one call to the next: whether they may be asked, and how busy and how fast their models are.

use super::breaker::{Breaker, Circuit, Limits, Outcome, Pass};
use super::course::Admission;
use super::latency::Latency;
use super::limits::Taken;
use super::quota::Used;
use crate::catalog::{Id, Provider};
use crate::provider::failure::{Class, Failure};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Output tokens that are expected of a model of which nothing was seen.
const FIRST_OUTPUT: u64 = 512;

/// All lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    models: HashMap<(Id, String), Model>,
    /// What of the bounds of providers is taken.
    taken: HashMap<Id, Taken>,
}

/// A model of a provider.
#[derive(Debug, Default)]
struct Model {
    /// UID and generation of the provider; of another one nothing is known.
    version: (String, i64),
    /// Whether the provider serves it at all.
    served: Breaker,
    keys: HashMap<String, Lane>,
    /// Until when a quota of any key is used up, so that one look tells that none is.
    used_up: Option<Instant>,
    seen: Seen,
    used: Used,
}

/// A key, asked for a model.
#[derive(Debug, Default)]
struct Lane {
    breaker: Breaker,
    /// Until when the provider says that a quota of it is used up.
    used_up: Option<Instant>,
}

impl Lane {
    fn used_up(&self, now: Instant) -> Option<Instant> {
        self.used_up.filter(|until| *until > now)
    }

    /// A quota that is used up lets nothing pass, as an open breaker.
    fn circuit(&self, now: Instant) -> Circuit {
        match (self.breaker.circuit(now), self.used_up(now)) {
            (Circuit::Open { until }, Some(other)) => Circuit::Open {
                until: until.max(other),
            },
            (_, Some(until)) => Circuit::Open { until },
            (circuit, None) => circuit,
        }
    }
}

/// What was seen of a model.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Requests on their way.
    pub busy: u32,
    /// Until the first content of a stream.
    pub first_token: Latency,
    /// Until the end of an answer that is not streamed.
    pub whole: Latency,
    /// Output tokens of an answer, on average.
    pub output: u64,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            busy: 0,
            first_token: Latency::default(),
            whole: Latency::default(),
            output: FIRST_OUTPUT,
        }
    }
}

/// A lane by its names.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// The model.
    pub model: &'a str,
    /// The name of the key; empty where none is used.
    pub key: &'a str,
}

/// What a breaker is for, by its names: a key of a provider, asked for a model, or the model whatever the key. Of another version of the provider
/// it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// Namespace and name of the provider.
    pub provider: Id,
    /// Its UID and generation.
    pub version: (String, i64),
    /// The model.
    pub model: String,
    /// The key; none for the model whatever the key.
    pub key: Option<String>,
}

impl Spot {
    /// Whether the provider has it.
    #[must_use]
    pub fn is_of(&self, provider: &Provider) -> bool {
        let has = |name: &String| {
            let mut keys = provider.keys.iter().map(|key| &key.name);
            (name.is_empty() && provider.keys.is_empty()) || keys.any(|key| key == name)
        };
        provider.version == self.version
            && provider.models.contains_key(&self.model)
            && self.key.as_ref().is_none_or(has)
    }
}

/// Why a request is not let through now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The lane is left alone, since it failed or the provider asked to wait.
    Circuit(Admission),
    /// The provider's owner allows no more.
    Limit(Admission),
    /// A quota at the provider is used up, as it said.
    UsedUp(Admission),
}

impl Held {
    /// When it may be let through.
    #[must_use]
    pub const fn admission(self) -> Admission {
        match self {
            Self::Circuit(admission) | Self::Limit(admission) | Self::UsedUp(admission) => {
                admission
            }
        }
    }
}

/// A request on a lane. Dropped without an end, it says nothing about the lane.
#[derive(Debug)]
pub struct Ticket<'a> {
    lanes: &'a Lanes,
    model: (Id, String),
    key: String,
    limits: super::limits::Limits,
    /// Tokens that were expected.
    tokens: u64,
    /// When it was counted, since the Unix epoch.
    clock: Duration,
    passes: Option<(Pass, Pass)>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// With an answer, or with a failure.
    pub result: Result<(), &'a Failure>,
    /// How long the first content took, of a stream.
    pub first_token: Option<Duration>,
    /// How long the answer took, where it was not streamed.
    pub whole: Option<Duration>,
    /// Its output tokens.
    pub output: Option<u64>,
    /// Its tokens, input and output.
    pub tokens: Option<u64>,
}

impl Lanes {
    /// What was seen of a model, and whether what is free of it is used up: by the quota that its owner states, or with every key by what the provider
    /// said. `clock` is the time since the Unix epoch.
    #[must_use]
    pub fn seen(
        &self,
        provider: &Provider,
        model: &str,
        now: Instant,
        clock: Duration,
    ) -> (Seen, bool) {
        let known = self.lock();
        let known = known
            .models
            .get(&(provider.id.clone(), model.to_owned()))
            .filter(|known| known.version == provider.version);
        let quota = provider.models.get(model).map(|model| model.free_quota);
        known.map_or((Seen::default(), false), |known| {
            let is_up = quota.is_some_and(|quota| known.used.is_up(&quota, clock))
                || known.is_up(provider, now);
            (known.seen, is_up)
        })
    }

    /// Lets a request of so many tokens through. `clock` is the time since the Unix epoch.
    ///
    /// # Errors
    /// When it may be let through instead.
    pub fn admit(
        &self,
        place: Place<'_>,
        tokens: u64,
        now: Instant,
        clock: Duration,
    ) -> Result<Ticket<'_>, Held> {
        let mut all = self.lock();
        let Known { models, taken } = &mut *all;
        let id = (place.provider.id.clone(), place.model.to_owned());
        let known = models.entry(id.clone()).or_default();
        if known.version != place.provider.version {
            *known = Model {
                version: place.provider.version.clone(),
                ..Model::default()
            };
        }
        let limits = place.provider.limits;
        let taken = taken.entry(place.provider.id.clone()).or_default();
        match taken.room(tokens, &limits, now) {
            Admission::Yes => {}
            held => return Err(Held::Limit(held)),
        }
        let lane = known.keys.entry(place.key.to_owned()).or_default();
        if let Some(until) = lane.used_up(now) {
            return Err(Held::UsedUp(Admission::From(until)));
        }
        let breaker = &mut lane.breaker;
        match (known.served.admits(now), breaker.admits(now)) {
            (Admission::Yes, Admission::Yes) => {}
            (Admission::Yes, other) | (other, _) => return Err(Held::Circuit(other)),
        }
        let passes = known.served.admit(now).zip(breaker.admit(now));
        let passes = passes.ok_or(Held::Circuit(Admission::Busy))?;
        taken.begin(tokens, &limits, now);
        known.seen.busy = known.seen.busy.saturating_add(1);
        known.used.count(clock);
        Ok(Ticket {
            lanes: self,
            model: id,
            key: place.key.to_owned(),
            limits,
            tokens,
            clock,
            passes: Some(passes),
        })
    }

    /// Where a model stands with these keys: as well as the best of its lanes.
    #[must_use]
    pub fn circuit<'a>(
        &self,
        provider: &Provider,
        model: &str,
        keys: impl IntoIterator<Item = &'a str>,
        now: Instant,
    ) -> Circuit {
        let known = self.lock();
        let known = known
            .models
            .get(&(provider.id.clone(), model.to_owned()))
            .filter(|known| known.version == provider.version);
        let Some(known) = known else {
            return Circuit::Closed;
        };
        let mut keys = keys.into_iter().peekable();
        let none = keys.peek().is_none().then_some("");
        let best = none
            .into_iter()
            .chain(keys)
            .map(|key| {
                known
                    .keys
                    .get(key)
                    .map_or(Circuit::Closed, |lane| lane.circuit(now))
            })
            .min();
        best.unwrap_or(Circuit::Closed)
            .max(known.served.circuit(now))
    }

    /// Which circuits of a lane are open, and until when: its own, and that of its model.
    #[must_use]
    pub fn open(
        &self,
        provider: &Provider,
        model: &str,
        key: &str,
        now: Instant,
    ) -> Vec<(Spot, Instant)> {
        let all = self.lock();
        let known = all.models.get(&(provider.id.clone(), model.to_owned()));
        let Some(known) = known.filter(|known| known.version == provider.version) else {
            return Vec::new();
        };
        let lane = known.keys.get(key);
        let lane = lane.map(|lane| (Some(key), lane.circuit(now)));
        let all = lane.into_iter().chain([(None, known.served.circuit(now))]);
        let open = all.filter_map(|(key, circuit)| match circuit {
            Circuit::Open { until } => Some((key, until)),
            Circuit::Closed | Circuit::HalfOpen => None,
        });
        let named = open.map(|(key, until)| {
            let spot = Spot {
                provider: provider.id.clone(),
                version: provider.version.clone(),
                model: model.to_owned(),
                key: key.map(str::to_owned),
            };
            (spot, until)
        });
        named.collect()
    }

    /// Leaves a lane, or a model, alone until then, since another gateway does. Returns whether that is news.
    pub fn leave_alone(&self, spot: &Spot, until: Instant, now: Instant) -> bool {
        let mut all = self.lock();
        let id = (spot.provider.clone(), spot.model.clone());
        let known = all.models.entry(id).or_default();
        if known.version != spot.version {
            *known = Model {
                version: spot.version.clone(),
                ..Model::default()
            };
        }
        let breaker = match &spot.key {
            None => &mut known.served,
            Some(key) => &mut known.keys.entry(key.clone()).or_default().breaker,
        };
        breaker.leave_alone(until, now)
    }

    /// When the first of the lanes that were open at a time may be tried again, and whose it is.
    #[must_use]
    pub fn reopens(&self, since: Instant) -> Option<(Instant, Id)> {
        let known = self.lock();
        let open = known.models.iter().flat_map(|((provider, _), model)| {
            let lanes = model.keys.values().map(move |lane| lane.circuit(since));
            let all = lanes.chain([model.served.circuit(since)]);
            all.filter_map(move |circuit| match circuit {
                Circuit::Open { until } => Some((until, provider)),
                Circuit::Closed | Circuit::HalfOpen => None,
            })
        });
        open.min()
            .map(|(until, provider)| (until, provider.clone()))
    }

    /// A key is another one now: what was known of the one before is forgotten.
    pub fn key_changed(&self, provider: &Id, key: &str) {
        let mut known = self.lock();
        let models = known.models.iter_mut();
        for (_, model) in models.filter(|((id, _), _)| id == provider) {
            model.keys.remove(key);
        }
        drop(known);
        self.changed.notify_waiters();
    }

    /// Forgets providers that there are no more.
    pub fn retain(&self, exists: impl Fn(&Id) -> bool) {
        let mut known = self.lock();
        known.models.retain(|(provider, _), _| exists(provider));
        known.taken.retain(|provider, _| exists(provider));
    }

    /// Resolves when a request has ended. Made before a look at the lanes, it misses no end after the look.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    // A panic while the lock was held leaves plain values, which are whole.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// The request has ended. Returns whether the lane's circuit, or its model's, is another one now.
    pub fn ended(mut self, end: End<'_>, now: Instant, limits: &Limits) -> bool {
        let (served, lane) = outcomes(end.result, self.key.is_empty());
        self.end(served, lane, Some(end), now, limits)
    }

    /// The provider says that a quota of the lane is used up for so long.
    pub fn used_up(&self, wait: Duration, now: Instant) {
        let mut all = self.lanes.lock();
        if let Some(known) = all.models.get_mut(&self.model) {
            known.use_up(&self.key, now.checked_add(wait));
        }
    }

    fn end(
        &mut self,
        served: Outcome,
        lane: Outcome,
        end: Option<End<'_>>,
        now: Instant,
        limits: &Limits,
    ) -> bool {
        let Some((served_pass, lane_pass)) = self.passes.take() else {
            return false;
        };
        let mut all = self.lanes.lock();
        if let Some(taken) = all.taken.get_mut(&self.model.0) {
            match end {
                Some(end) => taken.end(self.tokens, end.tokens, &self.limits, now),
                None => taken.undo(self.tokens, &self.limits, now),
            }
        }
        let Some(known) = all.models.get_mut(&self.model) else {
            return false; // its provider is gone
        };
        known.seen.busy = known.seen.busy.saturating_sub(1);
        match end {
            Some(end) => known.seen.learn(&end, now),
            None => known.used.give_back(self.clock),
        }
        let mut changed = known.served.ended(served_pass, served, now, limits);
        if let Some(held) = known.keys.get_mut(&self.key) {
            changed |= held.breaker.ended(lane_pass, lane, now, limits);
        }
        let failure = end.and_then(|end| end.result.err());
        if let Some(wait) = failure.and_then(|failure| failure.used_up) {
            known.use_up(&self.key, now.checked_add(wait));
            changed = true;
        }
        drop(all);
        self.lanes.changed.notify_waiters();
        changed
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let nothing = Outcome::Nothing;
        self.end(nothing, nothing, None, Instant::now(), &Limits::default());
    }
}

impl Model {
    /// Takes that a quota of a key is used up until then.
    fn use_up(&mut self, key: &str, until: Option<Instant>) {
        if let Some(lane) = self.keys.get_mut(key) {
            lane.used_up = lane.used_up.max(until);
            self.used_up = self.used_up.max(until);
        }
    }

    /// Whether a quota is used up with each key of the provider.
    fn is_up(&self, provider: &Provider, now: Instant) -> bool {
        if self.used_up.is_none_or(|until| until <= now) {
            return false;
        }
        let is_up = |key: &str| {
            let lane = self.keys.get(key);
            lane.is_some_and(|lane| lane.used_up(now).is_some())
        };
        match provider.keys.as_slice() {
            [] => is_up(""),
            keys => keys.iter().all(|key| is_up(&key.name)),
        }
    }
}

impl Seen {
    fn learn(&mut self, end: &End<'_>, now: Instant) {
        if let Some(took) = end.first_token {
            self.first_token.observe(took, now);
        }
        if end.result.is_err() {
            return;
        }
        if let Some(took) = end.whole {
            self.whole.observe(took, now);
        }
        if let Some(tokens) = end.output {
            self.output = (self.output.saturating_mul(7).saturating_add(tokens)) / 8;
        }
    }
}

/// What an end says about the model, whatever the key, and about the lane. `bare` is one without a key.
const fn outcomes(result: Result<(), &Failure>, bare: bool) -> (Outcome, Outcome) {
    let Err(failure) = result else {
        return (Outcome::Worked, Outcome::Worked);
    };
    match failure.class {
        Class::ModelGone => (Outcome::Out(failure.retry_after), Outcome::Nothing),
        // How long a quota is used up is known to the second: that is no reason to try with a single request, later and later.
        Class::RateLimit if failure.used_up.is_some() => (Outcome::Nothing, Outcome::Nothing),
        Class::RateLimit => (Outcome::Nothing, Outcome::Out(failure.retry_after)),
        Class::Transient => (Outcome::Nothing, Outcome::Failed(failure.retry_after)),
        // Where no key is sent the keyring has nothing to mark: without this every call would be refused there first.
        Class::Credential | Class::Quota if bare => {
            (Outcome::Nothing, Outcome::Failed(failure.retry_after))
        }
        // The key is the keyring's business, the request the caller's.
        Class::Credential | Class::Quota | Class::ContextLength | Class::CallerFault => {
            (Outcome::Nothing, Outcome::Nothing)
        }
    }
}
