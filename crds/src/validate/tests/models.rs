use super::{fields, parse, with};
use crate::validate;
use crate::{ModelPoolSpec, ModelProviderSpec};
use serde_json::{Value, json};

#[test]
fn a_pool_lists_each_member_once() {
    let of = |spec: Value| validate::pool(&parse::<ModelPoolSpec>(spec), "team");
    let pool = |members: Value| of(json!({ "members": members }));
    let member = json!({ "provider": { "name": "p" }, "model": "m" });
    assert_eq!(pool(json!([member])), []);
    assert_eq!(fields(&pool(json!([]))), ["spec.members"]);
    assert_eq!(fields(&pool(json!([member, member]))), ["spec.members[1]"]);
    // With or without its own namespace it is the same provider.
    for (namespace, problems) in [("team", 1), ("other", 0), ("No Name", 1)] {
        let named = json!({ "provider": { "name": "p", "namespace": namespace }, "model": "m" });
        assert_eq!(pool(json!([member, named])).len(), problems, "{namespace}");
    }
    let spec = |more: Value| of(with(json!({ "members": [member] }), more));
    for (field, more) in [
        (
            "spec.aliases[1]",
            json!({"aliases": ["gpt-4o", "openai/gpt-4o"]}),
        ),
        ("spec.failover.maxHops", json!({"failover": {"maxHops": 0}})),
        (
            "spec.failover.deadline",
            json!({"failover": {"deadline": "2h"}}),
        ),
        (
            "spec.breaker.errorPercent",
            json!({"breaker": {"errorPercent": 101}}),
        ),
        (
            "spec.breaker.window",
            json!({"breaker": {"window": "500ms"}}),
        ),
        (
            "spec.breaker.maxCooldown",
            json!({"breaker": {"cooldown": "5m"}}),
        ),
        (
            "spec.allowedNamespaces",
            json!({"allowedNamespaces": {"from": "Selector"}}),
        ),
        (
            "spec.allowedNamespaces",
            json!({"allowedNamespaces": {"from": "All", "selector": {}}}),
        ),
        (
            "spec.allowedNamespaces.selector.matchExpressions[0]",
            json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
        ),
        ("spec.cache.ttl", json!({"cache": {"ttl": "169h"}})),
        ("spec.limits", json!({"limits": {}})),
        (
            "spec.callerLimits.concurrency",
            json!({"callerLimits": {"concurrency": 0}}),
        ),
    ] {
        assert_eq!(fields(&spec(more.clone())), [field], "{more}");
    }
}

#[test]
fn a_provider_is_checked_beyond_its_schema() {
    let provider = |spec: Value| validate::provider(&parse::<ModelProviderSpec>(spec));
    let model =
        json!({ "name": "m", "pricing": { "inputPerMillion": "1", "outputPerMillion": "2" } });
    let open = |changes: Value| {
        provider(with(
            json!({ "type": "OpenAICompatible", "endpoint": "https://api.example.com/v1", "models": [model] }),
            changes,
        ))
    };
    let scripted = |rule: Value| {
        provider(json!({ "type": "Scripted", "models": [model], "script": { "rules": [rule] } }))
    };
    assert_eq!(open(json!({})), []);
    for endpoint in [
        "",
        "ftp://x",
        "https://",
        "https:///v1",
        "https://u@x/v1",
        "https://x/v1?k=1",
        "https://x /v1",
        "https://x/\n",
    ] {
        assert_eq!(
            fields(&open(json!({ "endpoint": endpoint }))),
            ["spec.endpoint"],
            "{endpoint:?}"
        );
    }
    assert_eq!(
        fields(&open(json!({ "endpoint": null }))),
        ["spec.endpoint"]
    );
    assert_eq!(
        fields(&open(json!({ "models": [model, model] }))),
        ["spec.models[1].name"]
    );
    assert_eq!(fields(&open(json!({ "models": [] }))), ["spec.models"]);
    assert_eq!(
        fields(&open(json!({ "timeouts": { "connect": "0s" } }))),
        ["spec.timeouts.connect"]
    );
    for (field, changes) in [
        ("spec.limits", json!({ "limits": {} })),
        (
            "spec.allowedNamespaces",
            json!({ "allowedNamespaces": { "from": "Selector" } }),
        ),
        (
            "spec.keys[0].weight",
            json!({ "keys": [{ "name": "a", "secretKeyRef": { "name": "s", "key": "k" }, "weight": 1001 }] }),
        ),
        (
            "spec.limits.concurrency",
            json!({ "limits": { "concurrency": 0 } }),
        ),
        (
            "spec.models[0].freeQuota",
            json!({ "models": [{ "name": "m", "freeQuota": {} }] }),
        ),
        (
            "spec.models[0].freeQuota.requestsPerDay",
            json!({ "models": [{ "name": "m", "freeQuota": { "requestsPerDay": 0 } }] }),
        ),
    ] {
        assert_eq!(fields(&open(changes.clone())), [field], "{changes}");
    }
    let dear =
        json!({ "name": "m", "pricing": { "inputPerMillion": "1e9", "outputPerMillion": "2" } });
    assert_eq!(
        fields(&open(json!({ "models": [dear] }))),
        ["spec.models[0].pricing.inputPerMillion"]
    );
    assert_eq!(scripted(json!({ "reply": { "text": "x" } })), []);
    assert_eq!(
        fields(&scripted(json!({ "when": { "last": "(" }, "reply": {} }))),
        ["spec.script.rules[0].when.last"]
    );
    assert_eq!(
        fields(&scripted(
            json!({ "when": { "prompt": "(a{1000}){1000}" }, "reply": {} })
        )),
        ["spec.script.rules[0].when.prompt"]
    );
    assert_eq!(
        fields(&scripted(json!({ "reply": { "delay": "2h" } }))),
        ["spec.script.rules[0].reply.delay"]
    );
    let fault = |fault: Value| scripted(json!({ "reply": { "fault": fault } }));
    for good in [
        json!({}),
        json!({ "status": 429, "retryAfter": "-1", "code": "rate_limit_exceeded" }),
        json!({ "kind": "Empty", "status": 204 }),
        json!({ "kind": "Cut", "after": 0 }),
    ] {
        assert_eq!(fault(good.clone()), [], "{good}");
    }
    for (bad, field) in [
        (json!({ "status": 200 }), "status"),
        (json!({ "kind": "Page", "status": 600 }), "status"),
        (json!({ "kind": "Cut", "status": 500 }), "status"),
        (json!({ "kind": "Page", "retryAfter": "1" }), "retryAfter"),
        (json!({ "after": 1 }), "after"),
        (json!({ "kind": "Stall", "after": 1001 }), "after"),
    ] {
        let field = format!("spec.script.rules[0].reply.fault.{field}");
        assert_eq!(fields(&fault(bad.clone())), [field], "{bad}");
    }
    for bad in [
        json!({ "fault": { "kind": "Cut", "code": "x" } }),
        json!({ "fault": {}, "text": "x" }),
        json!({ "fault": { "kind": "Silent" }, "toolCalls": [{ "name": "X", "rawArguments": "" }] }),
    ] {
        let found = scripted(json!({ "reply": bad }));
        assert_eq!(
            fields(&found),
            ["spec.script.rules[0].reply.fault"],
            "{bad}"
        );
    }
    assert_eq!(
        fields(&provider(json!({ "type": "Scripted", "models": [model] }))),
        ["spec.script"]
    );
}

#[test]
fn what_is_azures_and_bedrocks_own_is_checked() {
    let model = json!({ "name": "m" });
    let base = |kind: &str| match kind {
        "AzureOpenAI" => {
            json!({ "type": kind, "endpoint": "https://x.openai.azure.com", "models": [model] })
        }
        _ => json!({
            "type": kind, "bedrock": { "region": "eu-central-1" }, "models": [model],
            "keys": [{ "name": "main", "secretRef": { "name": "s" } }],
        }),
    };
    let entry = json!({ "name": "main", "secretKeyRef": { "name": "s", "key": "k" } });
    let both = json!({ "name": "main", "secretRef": { "name": "s" }, "secretKeyRef": { "name": "s", "key": "k" } });
    let region = |region: &str| json!({ "bedrock": { "region": region } });
    let azure = |azure: Value| json!({ "azure": azure });
    let a = "AzureOpenAI";
    let b = "Bedrock";
    let none: &[&str] = &[];
    for (kind, changes, expected) in [
        (a, json!({}), none),
        (a, json!({ "keys": [entry] }), none),
        (
            a,
            azure(json!({ "apiVersion": "2024-10-21", "deployments": { "m": "my_m.1" } })),
            none,
        ),
        (
            a,
            azure(json!({ "apiVersion": "2024-09-01-preview" })),
            none,
        ),
        (a, json!({ "endpoint": null }), &["spec.endpoint"]),
        (
            a,
            json!({ "endpoint": "https://x.openai.azure.com/openai/v1" }),
            &["spec.endpoint"],
        ),
        (
            a,
            json!({ "endpoint": "https://x.openai.azure.com/openai/deployments/m" }),
            &["spec.endpoint"],
        ),
        (
            a,
            json!({ "endpoint": "https://gw.example.com/openai" }),
            none,
        ),
        (
            a,
            azure(json!({ "apiVersion": "2024-06-01" })),
            &["spec.azure.apiVersion"],
        ),
        (
            a,
            azure(json!({ "apiVersion": "2024-10-21&x=y" })),
            &["spec.azure.apiVersion"],
        ),
        (
            a,
            azure(json!({ "deployments": { "other": "d" } })),
            &["spec.azure.deployments[other]"],
        ),
        (
            a,
            azure(json!({ "deployments": { "m": "../d" } })),
            &["spec.azure.deployments[m]"],
        ),
        (a, json!({ "keys": [both] }), &["spec.keys[0]"]),
        (a, region("eu-central-1"), &["spec.bedrock"]),
        (b, json!({}), none),
        (b, json!({ "keys": [entry] }), &["spec.keys[0]"]),
        (b, json!({ "keys": [both] }), &["spec.keys[0]"]),
        (b, json!({ "keys": [] }), &["spec.keys"]),
        (
            b,
            json!({ "keys": [], "endpoint": "https://proxy.example.com" }),
            none,
        ),
        (
            b,
            json!({ "keys": [], "bedrock": { "region": "us-gov-west-1", "credentials": "Workload" } }),
            none,
        ),
        (
            b,
            json!({ "bedrock": { "region": "us-east-1", "credentials": "Workload" } }),
            &["spec.keys"],
        ),
        (b, json!({ "bedrock": null }), &["spec.bedrock"]),
        (b, azure(json!({})), &["spec.azure"]),
        (
            b,
            region("us-east-1.evil.com/x-1"),
            &["spec.bedrock.region"],
        ),
        (b, region("eu"), &["spec.bedrock.region"]),
        (b, region("EU-central-1"), &["spec.bedrock.region"]),
        (b, region("eu-central-1\n"), &["spec.bedrock.region"]),
        (b, region("eusc-de-east-1"), none),
    ] {
        let spec: ModelProviderSpec = parse(with(base(kind), changes.clone()));
        assert_eq!(
            fields(&validate::provider(&spec)),
            expected,
            "{kind} with {changes}"
        );
    }
}

#[test]
fn bedrock_is_where_its_region_is() {
    let spec = |endpoint: Value, region: &str| -> ModelProviderSpec {
        parse(
            json!({ "type": "Bedrock", "endpoint": endpoint, "bedrock": { "region": region }, "models": [] }),
        )
    };
    for (region, host) in [
        ("us-east-1", "bedrock-runtime.us-east-1.amazonaws.com"),
        (
            "us-gov-west-1",
            "bedrock-runtime.us-gov-west-1.amazonaws.com",
        ),
        ("cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        (
            "eusc-de-east-1",
            "bedrock-runtime.eusc-de-east-1.amazonaws.eu",
        ),
    ] {
        let endpoint = spec(Value::Null, region);
        assert_eq!(
            endpoint.endpoint().as_deref(),
            Some(format!("https://{host}").as_str())
        );
    }
    let own = spec(json!("https://vpce.example.com"), "us-east-1");
    assert_eq!(own.endpoint().as_deref(), Some("https://vpce.example.com"));
}

#[test]
fn who_may_refer_to_an_object() {
    use crate::access::{AllowedNamespaces, absent};
    let labels = std::collections::BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let selector =
        |team: &str| json!({ "from": "Selector", "selector": { "matchLabels": { "team": team } } });
    let every = json!({ "from": "Selector", "selector": {} });
    for (allowed, from, known, allows) in [
        (json!({}), "own", false, true),
        (json!({}), "other", true, false),
        (json!({ "from": "All" }), "other", false, true),
        (selector("b"), "own", false, true),
        (selector("a"), "other", true, true),
        (selector("a"), "other", false, false),
        (selector("b"), "other", true, false),
        (every.clone(), "other", true, true),
        // Of a namespace that was not seen nobody knows whether it is chosen.
        (every, "other", false, false),
        // Stored around the API's validation.
        (json!({ "from": "Selector" }), "other", true, false),
    ] {
        let of: AllowedNamespaces = parse(allowed.clone());
        let labels = known.then_some(&labels);
        assert_eq!(of.allows("own", from, labels), allows, "{allowed} {from}");
    }
    let text = absent("ModelPool", ("own", "fast"), "other");
    for part in [
        "ModelPool fast does not exist in namespace own, or does not allow namespace other",
        "its owner can create it",
        "spec.allowedNamespaces to {from: All}",
        "{matchLabels: {kubernetes.io/metadata.name: other}}",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!absent("ModelPool", ("own", "fast"), "own").contains("allow"));
}
