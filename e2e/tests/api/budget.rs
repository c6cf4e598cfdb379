//! Budget: what may be created.

use crate::support::{Case, check, denied, in_space, object, taken, with_spec};
use anyhow::Result;
use serde_json::{Value, json};

/// The least that a budget says.
pub fn budget() -> Value {
    object("Budget", json!({"window": "Day", "usd": "10"}))
}

pub fn cases() -> Vec<Case> {
    let c = |spec: Value| with_spec(&budget(), spec);
    let expression = |each: Value| c(json!({"namespaces": {"matchExpressions": [each]}}));
    let pools: Vec<Value> = (0..33)
        .map(|n| json!({"name": format!("p{n}"), "namespace": "team"}))
        .collect();
    let rule = &["In and NotIn need values, Exists and DoesNotExist have none"];
    vec![
        taken("a budget", budget()),
        taken(
            "all of it",
            c(json!({
                "namespaces": {
                    "matchLabels": {"team": "a"},
                    "matchExpressions": [
                        {"key": "env", "operator": "NotIn", "values": ["dev", ""]},
                        {"key": "x.example.com/y", "operator": "Exists"},
                    ],
                },
                "pools": [{"name": "default", "namespace": "oarmaster-system"}],
                "per": "Requester", "window": "Total", "usd": "0.000000001", "warnAt": [50, 80], "onExceeded": "FreeOnly",
            })),
        ),
        denied(
            "no window",
            c(json!({"window": null})),
            &["spec.window", "Required"],
        ),
        denied(
            "no amount",
            c(json!({"usd": null})),
            &["spec.usd", "Required"],
        ),
        denied(
            "an amount in words",
            c(json!({"usd": "ten"})),
            &["spec.usd", "should match"],
        ),
        denied(
            "another window",
            c(json!({"window": "Week"})),
            &["spec.window", "\"Month\""],
        ),
        denied(
            "another counter",
            c(json!({"per": "Model"})),
            &["spec.per", "\"Requester\""],
        ),
        denied(
            "another end",
            c(json!({"onExceeded": "Ask"})),
            &["spec.onExceeded", "\"FreeOnly\""],
        ),
        denied(
            "a warning at 0",
            c(json!({"warnAt": [0]})),
            &["spec.warnAt[0]", "greater than or equal to 1"],
        ),
        denied(
            "a warning twice",
            c(json!({"warnAt": [50, 50]})),
            &["spec.warnAt[1]", "Duplicate value"],
        ),
        denied(
            "33 pools",
            c(json!({ "pools": pools })),
            &["spec.pools", "at most 32"],
        ),
        denied(
            "In without values",
            expression(json!({"key": "team", "operator": "In"})),
            rule,
        ),
        denied(
            "Exists with values",
            expression(json!({"key": "team", "operator": "Exists", "values": ["a"]})),
            rule,
        ),
        denied(
            "a value that no label has",
            c(json!({"namespaces": {"matchLabels": {"team": "a b"}}})),
            &["spec.namespaces.matchLabels", "should match"],
        ),
    ]
}

#[tokio::test]
async fn a_budget_is_taken_or_refused_with_a_reason() -> Result<()> {
    in_space("budget", async |space| {
        check(&space.cluster.client, &space.name, &cases()).await
    })
    .await
}
