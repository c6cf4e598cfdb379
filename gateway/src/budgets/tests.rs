use super::*;
use oarmaster_store::{Counter, CounterView, Exceeded};
use serde_json::{Value, json};
use std::time::Duration;

fn budget(spec: Value) -> Budget {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Budget", "metadata": {"name": "b", "generation": 3}, "spec": spec,
    }))
    .unwrap()
}

fn budgets(specs: &[(&str, Value)]) -> Budgets {
    let objects: Vec<_> = specs
        .iter()
        .map(|(name, spec)| ((*name).to_owned(), budget(spec.clone())))
        .collect();
    let labels = [("team", json!({"env": "prod"})), ("other", json!({}))];
    let labels =
        labels.map(|(name, labels)| (name.to_owned(), serde_json::from_value(labels).unwrap()));
    Budgets::new(
        Some(objects.iter().map(|(name, budget)| (name.as_str(), budget))),
        Some(labels.into()),
    )
}

fn keys(spec: Value, payer: &Payer<'_>) -> Vec<String> {
    let scopes = budgets(&[("b", spec)]).scopes(payer).unwrap();
    scopes.into_iter().map(|scope| scope.key).collect()
}

fn pool() -> Id {
    ("house".to_owned(), "default".to_owned())
}

fn payer<'a>(pool: &'a Id, namespace: &'a str) -> Payer<'a> {
    Payer {
        namespace,
        pool,
        agent: Some("coder"),
        requester: "alice@acme",
    }
}

#[test]
fn a_call_counts_where_namespace_and_pool_are_chosen() {
    let pool = pool();
    let chosen = |spec: Value, namespace: &str| {
        let mut spec = spec;
        spec["window"] = json!("Day");
        spec["usd"] = json!("1");
        !keys(spec, &payer(&pool, namespace)).is_empty()
    };
    let prod = json!({"namespaces": {"matchLabels": {"env": "prod"}}});
    for (spec, namespace, expected) in [
        (json!({}), "team", true),
        (prod.clone(), "team", true),
        (prod, "other", false),
        (
            json!({"namespaces": {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}}),
            "other",
            true,
        ),
        (
            json!({"pools": [{"name": "default", "namespace": "house"}]}),
            "team",
            true,
        ),
        (
            json!({"pools": [{"name": "default", "namespace": "team"}]}),
            "team",
            false,
        ),
        // Stored around the API's validation: it says so in its status, and counts for nothing.
        (json!({"warnAt": [0]}), "team", false),
    ] {
        assert_eq!(
            chosen(spec.clone(), namespace),
            expected,
            "{spec} {namespace}"
        );
    }
}

#[test]
fn each_has_a_counter_of_its_own() {
    let pool = pool();
    let per = |per: &str, payer: &Payer<'_>| {
        keys(json!({"per": per, "window": "Total", "usd": "1"}), payer)
    };
    let task = payer(&pool, "team");
    for (name, key) in [
        ("Cluster", "cluster"),
        ("Namespace", "namespace/team"),
        ("Pool", "pool/house/default"),
        ("Agent", "agent/team/coder"),
        ("Requester", "requester/alice@acme"),
    ] {
        assert_eq!(per(name, &task), [key]);
    }
    assert!(
        per(
            "Agent",
            &Payer {
                agent: None,
                ..task
            }
        )
        .is_empty()
    );
}

#[test]
fn what_is_not_known_yet_lets_no_money_through() {
    let pool = pool();
    let none: Option<Vec<(&str, &Budget)>> = None;
    let unlisted = Budgets::new(none, Some(Labels::new()));
    assert_eq!(
        unlisted.scopes(&payer(&pool, "team")).unwrap_err().status,
        503
    );
    assert!(!unlisted.listed());
    let by_label = budgets(&[("b", json!({"namespaces": {}, "window": "Day", "usd": "1"}))]);
    assert_eq!(
        by_label.scopes(&payer(&pool, "new")).unwrap_err().status,
        503
    );
    let everywhere = budgets(&[("b", json!({"window": "Day", "usd": "1"}))]);
    assert_eq!(everywhere.scopes(&payer(&pool, "new")).unwrap().len(), 1);
}

#[test]
fn a_percentage_is_crossed_once() {
    let rule = Rule::new(&budget(
        json!({"window": "Day", "usd": "10", "warnAt": [50, 80]}),
    ));
    let one = 1_000_000_000_000;
    let crossed = |before: u64, after: u64| rule.crossed(before, after).collect::<Vec<_>>();
    assert_eq!(crossed(0, 4 * one), [0_i64; 0]);
    assert_eq!(crossed(4 * one, 5 * one), [50]);
    assert_eq!(crossed(5 * one, 7 * one), [0_i64; 0]);
    assert_eq!(crossed(4 * one, 20 * one), [50, 80]);
    assert_eq!(crossed(20 * one, u64::MAX), [0_i64; 0]);
}

#[test]
fn the_report_has_the_largest_counters_of_the_current_rule() {
    let budgets = budgets(&[
        (
            "day",
            json!({"per": "Requester", "window": "Day", "usd": "0.000000001"}),
        ),
        ("quiet", json!({"window": "Total", "usd": "1"})),
    ]);
    let scope = |key: String, window| Scope {
        budget: "day".to_owned(),
        key,
        window,
        limit_pico: 1000,
        free_only: false,
    };
    let view = |spent: u64, window| {
        let mut counter = Counter::default();
        counter.spent = spent;
        let id = scope(format!("requester/{spent}"), window).counter(0);
        CounterView { id, counter }
    };
    let mut counters: Vec<_> = (0..60).map(|spent| view(spent, Window::Day)).collect();
    counters.push(view(500, Window::Hour)); // of what the Budget was before
    let refused = Refused::default();
    refused.note(
        &Exceeded {
            scope: scope("requester/59".to_owned(), Window::Day),
            spent: 59,
            reserved: 0,
            needed: 942,
            resets_ms: None,
        },
        None,
        0,
    );
    refused.note(
        &Exceeded {
            scope: scope("requester/58".to_owned(), Window::Day),
            spent: 58,
            reserved: 0,
            needed: 942,
            resets_ms: None,
        },
        None,
        0,
    );
    let report = report(&budgets, &counters, &refused, 0);
    assert_eq!(report.len(), 2);
    let day = &report[0];
    assert_eq!(
        (day.name.as_str(), day.generation, day.limit_pico),
        ("day", 3, 1000)
    );
    assert_eq!(
        (day.counter_count, day.counters.len(), day.exceeded),
        (60, 50, 1)
    );
    assert_eq!(
        (day.counters[0].key.as_str(), day.counters[0].spent_pico),
        ("requester/59", 59)
    );
    assert!(
        day.counters[0].exceeded && !day.counters[1].exceeded,
        "58 and 942 fit"
    );
    assert_eq!(day.resets_ms, Some(86_400_000));
    assert_eq!((report[1].resets_ms, report[1].counter_count), (None, 0));
}

#[test]
fn there_is_room_unless_nothing_is_left_or_not_what_was_refused() {
    let scope = |free_only| Scope {
        budget: "b".to_owned(),
        key: "cluster".to_owned(),
        window: Window::Day,
        limit_pico: 100,
        free_only,
    };
    let stop = scope(false);
    let at = |spent: u64, reserved: u64| {
        let mut counter = Counter::default();
        (counter.spent, counter.reserved) = (spent, reserved);
        CounterView {
            id: stop.counter(0),
            counter,
        }
    };
    let nothing = Refused::default();
    let known = Refused::default();
    let exceeded = Exceeded {
        scope: stop.clone(),
        spent: 50,
        reserved: 0,
        needed: 60,
        resets_ms: None,
    };
    known.note(&exceeded, Some("task"), 0);
    let others = Refused::default();
    others.note(&exceeded, Some("other"), 0);
    others.note(&exceeded, None, 0);
    for (view, refused, full) in [
        (at(99, 0), &nothing, false),
        (at(100, 0), &nothing, true),
        (at(0, 100), &nothing, false),
        (at(40, 0), &known, false),
        (at(41, 0), &known, true),
        (at(0, 41), &known, true),
        (at(41, 0), &others, false),
        (at(100, 0), &others, true),
    ] {
        let found = blocked([(&stop, view.clone())], "task", refused, false);
        assert_eq!(found.is_some(), full, "{view:?}");
    }
    // Until a call fits.
    let id = stop.counter(0);
    assert!(known.exceeded(&id, 41, 100));
    known.fits(std::slice::from_ref(&stop), Some("task"));
    assert!(blocked([(&stop, at(41, 0))], "task", &known, false).is_none());
    assert!(!known.exceeded(&id, 41, 100));
    let free = scope(true);
    assert!(blocked([(&free, at(100, 0))], "task", &nothing, true).is_none());
    let found = blocked([(&free, at(100, 0))], "task", &nothing, false).unwrap();
    assert_eq!(found.resets_ms, Some(86_400_000));
    assert!(
        found.message.ends_with("resets 1970-01-02T00:00Z"),
        "{}",
        found.message
    );
}

#[test]
fn a_reset_is_waited_for_in_whole_seconds() {
    for (resets, wait) in [
        (None, None),
        (Some(10_001), Some(11)),
        (Some(1000), Some(1)),
        (Some(0), None),
    ] {
        let found = soonest(resets, if resets == Some(0) { 1 } else { 0 });
        assert_eq!(found, wait.map(Duration::from_secs), "{resets:?}");
    }
}
