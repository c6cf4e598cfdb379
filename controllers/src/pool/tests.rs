use super::plan::{Namesake, Observed, plan};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use oarmaster_crds::kinds::provider::{ModelStatus, ProviderType};
use oarmaster_crds::{ModelPool, ModelPoolStatus, ModelProvider, conditions};
use serde_json::{Value, json};
use std::sync::Arc;

fn pool(members: Value) -> ModelPool {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelPool",
        "metadata": { "name": "default", "namespace": "team", "generation": 1 },
        "spec": { "members": members },
    }))
    .unwrap()
}

fn provider(ready: &str, pricing: bool) -> Arc<ModelProvider> {
    let mut model = json!({ "name": "m" });
    if pricing {
        model["pricing"] = json!({ "inputPerMillion": "0", "outputPerMillion": "0" });
    }
    let provider = serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelProvider",
        "metadata": { "name": "p", "namespace": "team" },
        "spec": { "type": "Scripted", "models": [model] },
        "status": { "conditions": [{ "type": "Ready", "status": ready, "reason": "X", "message": "so it is", "lastTransitionTime": "2025-01-01T00:00:00Z" }] },
    }));
    Arc::new(provider.unwrap())
}

fn after(pool: &ModelPool, providers: &[(&str, Arc<ModelProvider>)]) -> ModelPoolStatus {
    let seen = Observed {
        now: Timestamp::UNIX_EPOCH,
        labels: Some([("team".to_owned(), "a".to_owned())].into()),
        providers: providers
            .iter()
            .map(|(name, provider)| {
                let (namespace, name) = name.split_once('/').unwrap_or(("team", name));
                (
                    (namespace.to_owned(), name.to_owned()),
                    Arc::clone(provider),
                )
            })
            .collect(),
        namesakes: ["old", "young"]
            .into_iter()
            .map(|name| Namesake {
                created: Some(created(if name == "old" { 1 } else { 3 })),
                name: name.to_owned(),
                aliases: vec!["gpt-4o".to_owned(), format!("of-{name}")],
            })
            .collect(),
    };
    let mut next = pool.clone();
    next.status = plan(pool, &seen).status;
    assert!(plan(&next, &seen).status.is_none(), "settled");
    next.status.unwrap()
}

fn created(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn member(provider: &str, model: &str) -> Value {
    json!({ "provider": { "name": provider }, "model": model })
}

#[test]
fn one_usable_member_is_enough() {
    let pool = pool(json!([member("p", "m"), member("q", "m")]));
    let status = after(&pool, &[("p", provider("True", true))]);
    assert!(conditions::is_true(&status.conditions, conditions::READY));
    assert_eq!(
        (status.member_count, status.usable_count),
        (Some(2), Some(1))
    );
    assert!(status.members[0].usable && status.members[0].message.is_empty());
    assert!(
        status.members[1]
            .message
            .contains("ModelProvider q does not exist in namespace team")
    );
}

#[test]
fn a_member_that_cannot_be_used_says_why() {
    for (model, provider, reason, text) in [
        (
            "other",
            provider("True", true),
            "NoUsableMember",
            "does not list model other",
        ),
        ("m", provider("True", false), "NoUsableMember", "no price"),
        (
            "m",
            provider("False", true),
            "NoUsableMember",
            "not ready: so it is",
        ),
        (
            "m",
            provider("Unknown", true),
            "RefsNotResolved",
            "not ready: so it is",
        ),
    ] {
        let status = after(&pool(json!([member("p", model)])), &[("p", provider)]);
        let ready = conditions::find(&status.conditions, conditions::READY).unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("False", reason)
        );
        assert!(ready.message.contains(text), "{}", ready.message);
    }
}

#[test]
fn of_a_vendors_model_the_gateway_says_whether_it_has_a_price() {
    let provider = |problem: Option<&str>| {
        let mut provider = ModelProvider::clone(&provider("True", false));
        provider.spec.r#type = ProviderType::OpenAI;
        provider.status.as_mut().unwrap().models = problem
            .map(|problem| ModelStatus {
                name: "m".to_owned(),
                problem: problem.to_owned(),
                circuit: "Closed".to_owned(),
                until: None,
            })
            .into_iter()
            .collect();
        Arc::new(provider)
    };
    let pool = pool(json!([member("p", "m")]));
    for (problem, usable) in [(None, 1), (Some(""), 1), (Some("has no price"), 0)] {
        let status = after(&pool, &[("p", provider(problem))]);
        assert_eq!(status.usable_count, Some(usable), "{problem:?}");
        let message = &status.members[0].message;
        assert!(
            usable == 1 || message.contains("p has no price, so no budget"),
            "{message}"
        );
    }
}

fn degraded(status: &ModelPoolStatus) -> (String, String, String) {
    let held = conditions::find(&status.conditions, conditions::DEGRADED).unwrap();
    let (reason, message) = (held.reason.clone(), held.message.clone());
    (held.status.clone(), reason, message)
}

#[test]
fn what_does_not_serve_is_told_while_the_rest_does() {
    let two = pool(json!([member("p", "m"), member("q", "m")]));
    let both = |provider: Arc<ModelProvider>| {
        let status = after(&two, &[("p", provider), ("q", provider_ready())]);
        assert!(conditions::is_true(&status.conditions, conditions::READY));
        degraded(&status)
    };
    assert_eq!(both(provider_ready()).0, "False");
    let (status, reason, message) = both(provider("False", true));
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "MemberUnusable")
    );
    assert!(message.contains("p is not ready"), "{message}");
    let mut open = ModelProvider::clone(&provider_ready());
    open.status.as_mut().unwrap().models = vec![ModelStatus {
        name: "m".to_owned(),
        problem: String::new(),
        circuit: "Open".to_owned(),
        until: Some("2025-01-01T00:00:15Z".to_owned()),
    }];
    let (status, _, message) = both(Arc::new(open));
    assert_eq!(status, "True");
    assert!(
        message.contains("left alone until 2025-01-01T00:00:15Z"),
        "{message}"
    );
}

fn provider_ready() -> Arc<ModelProvider> {
    provider("True", true)
}

#[test]
fn an_alias_is_the_older_pools() {
    let mut pool = pool(json!([member("p", "m")]));
    pool.metadata.creation_timestamp = Some(created(2));
    for (alias, reason) in [
        ("gpt-4o", "AliasTaken"),
        ("of-old", "AliasTaken"),
        ("of-young", "AllUsable"),
        ("own", "AllUsable"),
    ] {
        pool.spec.aliases = vec![alias.to_owned()];
        let status = after(&pool, &[("p", provider_ready())]);
        assert_eq!(degraded(&status).1, reason, "{alias}");
        assert!(conditions::is_true(&status.conditions, conditions::READY));
    }
}

#[test]
fn a_suspended_pool_is_not_ready() {
    let mut pool = pool(json!([member("p", "m")]));
    pool.spec.suspend = true;
    let status = after(&pool, &[("p", provider_ready())]);
    let ready = conditions::find(&status.conditions, conditions::READY).unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "Suspended")
    );
}

#[test]
fn a_broken_spec_names_its_field() {
    let status = after(&pool(json!([])), &[]);
    let ready = conditions::find(&status.conditions, conditions::READY).unwrap();
    assert_eq!(ready.reason, "InvalidSpec");
    assert!(ready.message.contains("spec.members"));
}

#[test]
fn a_provider_of_another_namespace_serves_while_it_allows_the_pools() {
    let named = json!({ "provider": { "name": "p", "namespace": "other" }, "model": "m" });
    let pool = pool(json!([named]));
    let allowing = |ready: &str, allowed: Value| {
        let mut provider = ModelProvider::clone(&provider(ready, true));
        provider.spec.allowed_namespaces = serde_json::from_value(allowed).unwrap();
        Arc::new(provider)
    };
    let selector =
        |team: &str| json!({ "from": "Selector", "selector": { "matchLabels": { "team": team } } });
    let absent =
        "ModelProvider p does not exist in namespace other, or does not allow namespace team";
    for (provider, message) in [
        (Some(allowing("True", json!({ "from": "All" }))), ""),
        (Some(allowing("True", selector("a"))), ""),
        (Some(allowing("True", selector("b"))), absent),
        (Some(allowing("True", json!({}))), absent),
        (None, absent),
        // Why it is not ready may name what is in the other namespace.
        (
            Some(allowing("False", json!({ "from": "All" }))),
            "ModelProvider other/p is not ready: its owner finds the reason in its conditions",
        ),
    ] {
        let held = provider.map(|provider| ("other/p", provider));
        let own = ("p", provider_ready()); // the one of the pool's namespace is another one
        let held: Vec<_> = held.into_iter().chain([own]).collect();
        let status = after(&pool, &held);
        let member = &status.members[0];
        assert_eq!(member.provider, "other/p");
        assert_eq!(member.usable, message.is_empty());
        assert!(member.message.starts_with(message), "{}", member.message);
        assert_eq!(degraded(&status).1 == "MemberUnusable", !message.is_empty());
    }
}
