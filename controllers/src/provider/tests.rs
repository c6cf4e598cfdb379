use super::plan::{Observed, plan};
use crate::kit::events::Reason;
use jiff::Timestamp;
use oarmaster_crds::ModelProvider;
use oarmaster_crds::conditions;
use oarmaster_protocol::admin::{
    CircuitHealth, KeyHealth, KeyState, ModelHealth, ProviderHealth, Reachable,
};
use serde_json::{Value, json};

fn provider(spec: Value) -> ModelProvider {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelProvider",
        "metadata": { "name": "p", "namespace": "team", "generation": 2 },
        "spec": spec,
    }))
    .unwrap()
}

fn upstream() -> ModelProvider {
    provider(json!({
        "type": "OpenAICompatible", "endpoint": "https://api.example.com/v1",
        "keys": [{ "name": "main", "secretKeyRef": { "name": "s", "key": "k" } }],
        "models": [{ "name": "m" }],
    }))
}

fn seen(generation: i64, state: KeyState, reachable: Option<bool>) -> Observed {
    Observed {
        now: Timestamp::UNIX_EPOCH,
        health: Some(ProviderHealth {
            namespace: "team".to_owned(),
            name: "p".to_owned(),
            generation,
            keys: vec![KeyHealth {
                name: "main".to_owned(),
                state,
                message: "mend it so".to_owned(),
            }],
            reachable: reachable.map(|ok| Reachable {
                ok,
                message: "connection refused".to_owned(),
            }),
            unusable: None,
            models: vec![ModelHealth {
                name: "m".to_owned(),
                problem: "states no price".to_owned(),
                circuit: CircuitHealth::Open { until_ms: 1 },
            }],
        }),
    }
}

fn nothing() -> Observed {
    Observed {
        now: Timestamp::UNIX_EPOCH,
        health: None,
    }
}

/// Status, reason and message of a condition after one pass; the next pass must have nothing to do.
fn after(provider: &ModelProvider, seen: &Observed, kind: &str) -> (String, String, String) {
    let done = plan(provider, seen);
    let mut next = provider.clone();
    next.status = done.status;
    let again = plan(&next, seen);
    assert!(again.status.is_none() && again.notes.is_empty());
    let status = next.status.unwrap();
    assert_eq!(status.observed_generation, Some(2));
    let held = conditions::find(&status.conditions, kind).unwrap();
    (
        held.status.clone(),
        held.reason.clone(),
        held.message.clone(),
    )
}

fn ready(seen: &Observed) -> (String, String, String) {
    after(&upstream(), seen, conditions::READY)
}

#[test]
fn a_scripted_provider_is_ready_at_once() {
    let scripted = provider(json!({
        "type": "Scripted", "models": [{ "name": "m" }],
        "script": { "rules": [{ "reply": { "text": "x" } }] },
    }));
    assert_eq!(after(&scripted, &nothing(), conditions::READY).0, "True");
    assert_eq!(
        after(&scripted, &nothing(), conditions::SECRET_RESOLVED).1,
        "NoKeys"
    );
    assert_eq!(plan(&scripted, &nothing()).notes[0].reason, Reason::Ready);
}

#[test]
fn a_broken_spec_names_its_field() {
    let broken = provider(json!({ "type": "OpenAICompatible", "models": [{ "name": "m" }] }));
    let (status, why, message) = after(&broken, &nothing(), conditions::READY);
    assert_eq!((status.as_str(), why.as_str()), ("False", "InvalidSpec"));
    assert!(message.contains("spec.endpoint"));
}

#[test]
fn the_gateways_word_is_waited_for() {
    let (status, why, _) = ready(&nothing());
    assert_eq!(
        (status.as_str(), why.as_str()),
        ("Unknown", "GatewayPending")
    );
    // Of an older version of the object: not yet.
    assert_eq!(ready(&seen(1, KeyState::Ok, None)).1, "GatewayPending");
    assert_eq!(ready(&seen(2, KeyState::Ok, None)).0, "True");
}

#[test]
fn an_endpoint_that_providers_may_not_have_is_not_ready_and_says_who_can_allow_it() {
    let mut seen = seen(2, KeyState::Ok, None);
    let text = "10.0.0.1 is a private address; add it";
    seen.health.as_mut().unwrap().unusable = Some(text.to_owned());
    let want = ["False", "Unusable", text].map(str::to_owned);
    assert_eq!(<[String; 3]>::from(ready(&seen)), want);
    let (status, why, _) = after(&upstream(), &seen, conditions::REACHABLE);
    assert_eq!((status.as_str(), why.as_str()), ("Unknown", "NotTried"));
}

#[test]
fn an_edit_keeps_what_is_known_until_the_gateway_has_loaded_it() {
    let mut old = upstream();
    old.status = plan(&old, &seen(2, KeyState::Ok, Some(true))).status;
    old.metadata.generation = Some(3);
    let models = &old.status.as_ref().unwrap().models;
    assert_eq!(models[0].problem, "states no price");
    assert_eq!(models[0].circuit, "Open");
    assert_eq!(models[0].until.as_deref(), Some("1970-01-01T00:00:01Z"));
    // It is not said to be about this version.
    let early = plan(&old, &seen(2, KeyState::Ok, Some(true)));
    assert_eq!(early.status, None);
    let settled = plan(&old, &seen(3, KeyState::Ok, Some(true))).status;
    assert_eq!(settled.unwrap().observed_generation, Some(3));
}

#[test]
fn a_secret_that_cannot_be_read_says_how_to_mend_it() {
    for (state, reason) in [
        (KeyState::SecretMissing, "SecretMissing"),
        (KeyState::SecretInvalid, "SecretInvalid"),
        (KeyState::SecretForbidden, "SecretForbidden"),
    ] {
        let seen = seen(2, state, None);
        let resolved = after(&upstream(), &seen, conditions::SECRET_RESOLVED);
        assert_eq!(
            resolved,
            (
                "False".to_owned(),
                reason.to_owned(),
                "key main: mend it so".to_owned()
            )
        );
        assert_eq!(ready(&seen), resolved);
    }
}

#[test]
fn a_refused_key_is_not_ready_and_a_limited_one_is() {
    let refused = seen(2, KeyState::Invalid, Some(true));
    assert_eq!(ready(&refused).1, "KeyRefused");
    assert_eq!(
        after(&upstream(), &refused, conditions::SECRET_RESOLVED).0,
        "True"
    );
    let (status, reason, _) = ready(&seen(2, KeyState::Exhausted, None));
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "KeyExhausted")
    );
}

#[test]
fn an_endpoint_that_does_not_answer_is_told_but_stays_usable() {
    let seen = seen(2, KeyState::Ok, Some(false));
    let reachable = after(&upstream(), &seen, conditions::REACHABLE);
    assert_eq!(reachable.0, "False");
    assert_eq!(reachable.2, "connection refused");
    assert_eq!(ready(&seen).0, "True");
}
