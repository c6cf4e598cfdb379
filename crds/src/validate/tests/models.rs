use super::{fields, parse, with};
use crate::validate;
use crate::{ModelPoolSpec, ModelProviderSpec};
use serde_json::{Value, json};

#[test]
fn a_pool_lists_each_member_once() {
    let pool =
        |members: Value| validate::pool(&parse::<ModelPoolSpec>(json!({ "members": members })));
    let member = json!({ "provider": { "name": "p" }, "model": "m" });
    assert_eq!(pool(json!([member])), []);
    assert_eq!(fields(&pool(json!([]))), ["spec.members"]);
    assert_eq!(fields(&pool(json!([member, member]))), ["spec.members[1]"]);
    let spec = |more: Value| {
        let spec = with(json!({ "members": [member] }), more);
        validate::pool(&parse::<ModelPoolSpec>(spec))
    };
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
    assert_eq!(
        fields(&provider(json!({ "type": "Scripted", "models": [model] }))),
        ["spec.script"]
    );
}
