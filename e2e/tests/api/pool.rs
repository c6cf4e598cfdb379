//! ModelPool: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use anyhow::Result;
use serde_json::{Value, json};

/// What is said of `allowedNamespaces`.
pub const SELECTOR: &str =
    "set selector with from: Selector, like {matchLabels: {team: a}}, and with no other";

pub fn cases() -> Vec<Case> {
    let member = json!({"provider": {"name": "p"}, "model": "m"});
    let pool = object("ModelPool", json!({"members": [member]}));
    let members = |members: Value| with_spec(&pool, json!({ "members": members }));
    let many = vec![member.clone(); 33];
    vec![
        taken("a pool", pool.clone()),
        taken(
            "a priority",
            members(json!([{"provider": {"name": "p"}, "model": "m", "priority": 1000}])),
        ),
        denied(
            "no members",
            members(json!([])),
            &["spec.members", "at least 1"],
        ),
        denied(
            "33 members",
            members(json!(many)),
            &["spec.members", "at most 32"],
        ),
        denied(
            "a provider by its bare name",
            members(json!([{"provider": "p", "model": "m"}])),
            &["spec.members[0].provider", "must be of type object"],
        ),
        denied(
            "a member without model",
            members(json!([{"provider": {"name": "p"}}])),
            &["spec.members[0].model: Required value"],
        ),
        denied(
            "a negative priority",
            members(json!([{"provider": {"name": "p"}, "model": "m", "priority": -1}])),
            &["spec.members[0].priority", "greater than or equal to 0"],
        ),
        taken(
            "a strategy with weights",
            with_spec(
                &pool,
                json!({"strategy": "Weighted", "members": [{"provider": {"name": "p"}, "model": "m", "weight": 0}]}),
            ),
        ),
        denied(
            "an unknown strategy",
            with_spec(&pool, json!({"strategy": "Random"})),
            &["spec.strategy", "supported values", "\"FreeFirst\""],
        ),
        taken(
            "aliases",
            with_spec(&pool, json!({"aliases": ["gpt-4o", "claude-sonnet-4-5"]})),
        ),
        denied(
            "an alias that would name another namespace",
            with_spec(&pool, json!({"aliases": ["openai/gpt-4o"]})),
            &["spec.aliases[0]", "should match"],
        ),
        denied(
            "an alias twice",
            with_spec(&pool, json!({"aliases": ["a", "a"]})),
            &["spec.aliases[1]", "Duplicate value"],
        ),
        denied(
            "no hop at all",
            with_spec(&pool, json!({"failover": {"maxHops": 0}})),
            &["spec.failover.maxHops", "greater than or equal to 1"],
        ),
        denied(
            "a breaker over 100 percent",
            with_spec(&pool, json!({"breaker": {"errorPercent": 101}})),
            &["spec.breaker.errorPercent", "less than or equal to 100"],
        ),
        taken(
            "a provider of another namespace",
            members(json!([{"provider": {"name": "p", "namespace": "other"}, "model": "m"}])),
        ),
        denied(
            "a provider of what is no namespace",
            members(json!([{"provider": {"name": "p", "namespace": "a.b"}, "model": "m"}])),
            &["spec.members[0].provider.namespace", "should match"],
        ),
        taken(
            "a pool for every namespace",
            with_spec(&pool, json!({"allowedNamespaces": {"from": "All"}})),
        ),
        denied(
            "a pool for namespaces without a selector",
            with_spec(&pool, json!({"allowedNamespaces": {"from": "Selector"}})),
            &[SELECTOR],
        ),
        denied(
            "a pool for some and for all",
            with_spec(
                &pool,
                json!({"allowedNamespaces": {"from": "All", "selector": {}}}),
            ),
            &[SELECTOR],
        ),
        denied(
            "a pool for other pools",
            with_spec(&pool, json!({"allowedNamespaces": {"from": "Pool"}})),
            &["spec.allowedNamespaces.from", "\"Selector\""],
        ),
        taken(
            "limits of all and of each",
            with_spec(
                &pool,
                json!({"limits": {"requestsPerMinute": 600, "tokensPerMinute": 1_000_000}, "callerLimits": {"concurrency": 2}}),
            ),
        ),
        denied(
            "limits of no kind",
            with_spec(&pool, json!({"callerLimits": {}})),
            &[
                "spec.callerLimits",
                "set requestsPerMinute, tokensPerMinute or concurrency",
            ],
        ),
        denied(
            "no request at all",
            with_spec(&pool, json!({"limits": {"concurrency": 0}})),
            &["spec.limits.concurrency", "greater than or equal to 1"],
        ),
        taken(
            "a cache",
            with_spec(
                &pool,
                json!({"cache": {"mode": "Exact", "ttl": "24h", "sampled": true, "per": "Requester"}}),
            ),
        ),
        denied(
            "a cache that guesses",
            with_spec(&pool, json!({"cache": {"mode": "Semantic"}})),
            &["spec.cache.mode", "supported values", "\"Exact\""],
        ),
        denied(
            "a time in words",
            with_spec(&pool, json!({"cache": {"ttl": "an hour"}})),
            &["spec.cache.ttl", "should match"],
        ),
        denied(
            "a field of a later version",
            with_spec(&pool, json!({"cache": {"similarity": 95}})),
            &["unknown field \"spec.cache.similarity\""],
        ),
    ]
}

#[tokio::test]
async fn a_pool_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("pool", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
