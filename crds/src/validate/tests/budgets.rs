use super::{fields, parse, with};
use crate::kinds::budget::BudgetSpec;
use crate::validate;
use serde_json::{Value, json};

#[test]
fn a_budget_is_checked_beyond_its_schema() {
    let budget = |changes: Value| {
        let base = json!({ "window": "Day", "usd": "10" });
        validate::budget(&parse::<BudgetSpec>(with(base, changes)))
    };
    assert_eq!(budget(json!({})), []);
    assert_eq!(fields(&budget(json!({ "usd": "1e3" }))), ["spec.usd"]);
    assert_eq!(
        fields(&budget(json!({ "warnAt": [0] }))),
        ["spec.warnAt[0]"]
    );
    assert_eq!(
        fields(&budget(json!({ "warnAt": [5, 5] }))),
        ["spec.warnAt[1]"]
    );
    let pool = json!({ "name": "", "namespace": "team" });
    assert_eq!(
        fields(&budget(json!({ "pools": [pool] }))),
        ["spec.pools[0].name"]
    );
    for each in [
        json!({ "key": "a", "operator": "In" }),
        json!({ "key": "a", "operator": "Exists", "values": ["b"] }),
    ] {
        let namespaces = json!({ "matchExpressions": [each] });
        assert_eq!(
            fields(&budget(json!({ "namespaces": namespaces }))),
            ["spec.namespaces.matchExpressions[0]"]
        );
    }
}

#[test]
fn a_selector_chooses_as_those_of_kubernetes_do() {
    let labels = [("team", "a"), ("env", "prod")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let labels = std::collections::BTreeMap::from(labels);
    let each = |key: &str, operator: &str, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
    for (selector, chosen) in [
        (json!({}), true),
        (json!({ "matchLabels": { "team": "a" } }), true),
        (
            json!({ "matchLabels": { "team": "a", "env": "dev" } }),
            false,
        ),
        (json!({ "matchLabels": { "other": "" } }), false),
        (each("team", "In", &["b", "a"]), true),
        (each("other", "In", &["a"]), false),
        (each("team", "NotIn", &["a"]), false),
        (each("other", "NotIn", &["a"]), true),
        (each("team", "Exists", &[]), true),
        (each("other", "Exists", &[]), false),
        (each("team", "DoesNotExist", &[]), false),
        (each("other", "DoesNotExist", &[]), true),
        (
            with(
                each("team", "Exists", &[]),
                json!({ "matchLabels": { "team": "b" } }),
            ),
            false,
        ),
    ] {
        let found = parse::<crate::common::Selector>(selector.clone()).chooses(&labels);
        assert_eq!(found, chosen, "{selector}");
    }
}

#[test]
fn the_bounds_of_a_tree_are_checked_beyond_the_schema() {
    let task = |budget: Value| {
        let base = json!({ "agent": { "name": "coder" }, "params": { "prompt": "x" } });
        let task = with(base, json!({ "budget": budget }));
        validate::task(&parse(task), &Default::default())
    };
    assert_eq!(task(json!({ "usd": "1", "tasks": 1, "depth": 3 })), []);
    for (budget, field) in [
        (json!({ "tasks": 5 }), "spec.budget"),
        (json!({ "usd": "1", "tasks": 0 }), "spec.budget.tasks"),
        (
            json!({ "usd": "1", "tasks": 1_000_001 }),
            "spec.budget.tasks",
        ),
        (json!({ "usd": "1", "depth": 0 }), "spec.budget.depth"),
        (json!({ "usd": "1", "depth": 4 }), "spec.budget.depth"),
    ] {
        assert_eq!(fields(&task(budget.clone())), [field], "{budget}");
    }
}
