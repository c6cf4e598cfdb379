//! The status of a ModelProvider: pure.
//!
//! `Ready` says that the gateway can send a request: the spec is valid, the endpoint is one that providers may have, and there is a key that
//! may work, or none is needed. It does not wait for the endpoint's answer: `Reachable` tells what came of that.

use crate::kit::ready::{self, Plan};
use jiff::Timestamp;
use oarmaster_crds::conditions::{self, reason};
use oarmaster_crds::kinds::provider::{KeyStatus, ModelStatus, ProviderType};
use oarmaster_crds::validate::{self, summary};
use oarmaster_crds::{ModelProvider, ModelProviderStatus};
use oarmaster_protocol::admin::{CircuitHealth, KeyHealth, KeyState, ProviderHealth};

/// Everything the planner may look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The clock.
    pub now: Timestamp,
    /// What the gateway last said of it.
    pub health: Option<ProviderHealth>,
}

/// One condition.
type Said<'a> = (&'a str, Option<bool>, &'a str, String);

/// Plans one pass.
#[must_use]
pub fn plan(provider: &ModelProvider, seen: &Observed) -> Plan<ModelProviderStatus> {
    let generation = provider.metadata.generation;
    let mut status = provider.status.clone().unwrap_or_default();
    status.observed_generation = generation;
    let observed = provider.status.as_ref();
    let observed = observed.and_then(|status| status.observed_generation);
    status.model_count = i64::try_from(provider.spec.models.len()).ok();
    let problems = validate::provider(&provider.spec);
    let said: Vec<Said<'_>> = if problems.is_empty() {
        match provider.spec.r#type {
            ProviderType::Scripted => scripted(&mut status),
            _ => upstream(provider, seen, &mut status),
        }
    } else {
        vec![(
            conditions::READY,
            Some(false),
            reason::INVALID_SPEC,
            summary(&problems),
        )]
    };
    if said.is_empty() {
        status.observed_generation = observed; // what stands is not about this version
    }
    for (kind, value, reason, message) in said {
        conditions::set(
            &mut status.conditions,
            kind,
            value,
            reason,
            &message,
            generation,
            seen.now,
        );
    }
    ready::plan(provider.status.as_ref(), status, |status| {
        &status.conditions
    })
}

fn scripted(status: &mut ModelProviderStatus) -> Vec<Said<'static>> {
    status.keys.clear();
    status.models.clear();
    let text = "answers from its script";
    vec![
        (
            conditions::SECRET_RESOLVED,
            Some(true),
            reason::NO_KEYS,
            String::new(),
        ),
        (
            conditions::REACHABLE,
            Some(true),
            reason::ANSWERED,
            text.to_owned(),
        ),
        (
            conditions::READY,
            Some(true),
            reason::READY,
            text.to_owned(),
        ),
    ]
}

fn upstream(
    provider: &ModelProvider,
    seen: &Observed,
    status: &mut ModelProviderStatus,
) -> Vec<Said<'static>> {
    let loaded = seen
        .health
        .as_ref()
        .filter(|health| health.generation >= provider.metadata.generation.unwrap_or_default());
    let Some(health) = loaded else {
        // Until the gateway speaks of this version, what it said of an earlier one stands, if it said anything.
        if conditions::find(&status.conditions, conditions::READY).is_some() {
            return Vec::new();
        }
        let text = "the gateway has not loaded it yet".to_owned();
        return vec![(conditions::READY, None, reason::GATEWAY_PENDING, text)];
    };
    status.keys = health
        .keys
        .iter()
        .map(|key| KeyStatus {
            name: key.name.clone(),
            state: state(key.state).to_owned(),
        })
        .collect();
    status.models = health
        .models
        .iter()
        .map(|model| ModelStatus {
            name: model.name.clone(),
            problem: model.problem.clone(),
            circuit: circuit(model.circuit).to_owned(),
            until: match model.circuit {
                CircuitHealth::Open { until_ms } => until(until_ms),
                CircuitHealth::Closed | CircuitHealth::HalfOpen => None,
            },
        })
        .collect();
    let secrets = secrets(&health.keys);
    let ready = if let Some(problem) = &health.unusable {
        (
            conditions::READY,
            Some(false),
            reason::UNUSABLE,
            problem.clone(),
        )
    } else if health.keys.is_empty() || health.keys.iter().any(usable) {
        (conditions::READY, Some(true), reason::READY, String::new())
    } else if secrets.1 == Some(false) {
        (conditions::READY, Some(false), secrets.2, secrets.3.clone())
    } else if health
        .keys
        .iter()
        .any(|key| key.state == KeyState::Exhausted)
    {
        let text = messages(&health.keys, |key| !usable(key));
        (conditions::READY, Some(false), reason::KEY_EXHAUSTED, text)
    } else {
        let text = messages(&health.keys, |key| key.state == KeyState::Invalid);
        (conditions::READY, Some(false), reason::KEY_REFUSED, text)
    };
    let reachable = match &health.reachable {
        None => (
            conditions::REACHABLE,
            None,
            reason::NOT_TRIED,
            "nothing was sent there yet".to_owned(),
        ),
        Some(tried) if tried.ok => (
            conditions::REACHABLE,
            Some(true),
            reason::ANSWERED,
            String::new(),
        ),
        Some(tried) => (
            conditions::REACHABLE,
            Some(false),
            reason::NO_ANSWER,
            tried.message.clone(),
        ),
    };
    vec![secrets, reachable, ready]
}

/// Whether every key's Secret could be read.
fn secrets(keys: &[KeyHealth]) -> Said<'static> {
    if keys.is_empty() {
        return (
            conditions::SECRET_RESOLVED,
            Some(true),
            reason::NO_KEYS,
            String::new(),
        );
    }
    for (state, reason) in [
        (KeyState::SecretForbidden, reason::SECRET_FORBIDDEN),
        (KeyState::SecretMissing, reason::SECRET_MISSING),
        (KeyState::SecretInvalid, reason::SECRET_INVALID),
    ] {
        if keys.iter().any(|key| key.state == state) {
            let text = messages(keys, |key| unresolved(key.state));
            return (conditions::SECRET_RESOLVED, Some(false), reason, text);
        }
    }
    (
        conditions::SECRET_RESOLVED,
        Some(true),
        reason::RESOLVED,
        String::new(),
    )
}

fn messages(keys: &[KeyHealth], which: impl Fn(&KeyHealth) -> bool) -> String {
    keys.iter()
        .filter(|key| which(key))
        .map(|key| format!("key {}: {}", key.name, key.message))
        .collect::<Vec<_>>()
        .join("; ")
}

fn usable(key: &KeyHealth) -> bool {
    key.state == KeyState::Ok
}

fn unresolved(state: KeyState) -> bool {
    matches!(
        state,
        KeyState::SecretMissing | KeyState::SecretInvalid | KeyState::SecretForbidden
    )
}

fn circuit(circuit: CircuitHealth) -> &'static str {
    match circuit {
        CircuitHealth::Closed => "Closed",
        CircuitHealth::Open { .. } => "Open",
        CircuitHealth::HalfOpen => "HalfOpen",
    }
}

/// A time for people, whole seconds up.
fn until(ms: i64) -> Option<String> {
    let seconds = ms.checked_add(999)?.div_euclid(1000);
    let at = Timestamp::from_second(seconds).ok()?;
    Some(at.to_string())
}

fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Ok => "Ok",
        KeyState::SecretMissing => "SecretMissing",
        KeyState::SecretInvalid => "SecretInvalid",
        KeyState::SecretForbidden => "SecretForbidden",
        KeyState::Invalid => "Invalid",
        KeyState::Exhausted => "Exhausted",
    }
}
