use super::canonical::canonical;
use super::{Cache, Entry, Found};
use crate::catalog::Pool;
use bytes::Bytes;
use oarmaster_crds::ModelPool;
use oarmaster_crds::names::CACHE_FLUSHED_ANNOTATION;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn entry(text: &str) -> Arc<Entry> {
    Arc::new(Entry {
        provider: "team/up".to_owned(),
        model: "m".to_owned(),
        dropped: Vec::new(),
        body: Bytes::copy_from_slice(text.as_bytes()),
    })
}

fn same(one: &str, other: &str) -> bool {
    let (one, other) = (canonical(one).unwrap(), canonical(other).unwrap());
    one == other
}

#[test]
fn what_says_the_same_is_equal() {
    for (one, other) in [
        (
            r#"{"a":1,"b":[2,"c"]}"#,
            "{ \"b\" : [2,\n\"\\u0063\"], \"a\":1 }",
        ),
        (
            r#"{"a":{"x":null,"y":0.50}}"#,
            r#"{"a":{"y":5e-1,"x":null}}"#,
        ),
        (r#""/é""#, r#""\/\u00e9""#),
    ] {
        assert!(same(one, other), "{one} {other}");
    }
}

#[test]
fn what_says_something_else_is_not() {
    for (one, other) in [
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":[[1],2]}"#, r#"{"a":[1,[2]]}"#),
        (r#"{"a":"1"}"#, r#"{"a":1}"#),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":"x y"}"#, r#"{"a":"x  y"}"#),
        (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
        (r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"b":1,"c":2}}"#),
    ] {
        assert!(!same(one, other), "{one} {other}");
    }
}

#[test]
fn what_two_readers_could_understand_differently_has_no_form() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for text in [
        r#"{"messages":[{"content":"mine","content":"yours"}]}"#,
        r#"{"messages":[{"content":"mine","\u0063ontent":"yours"}]}"#,
        "[1e400]",
        "[18446744073709551617]",
        r#"["\ud800"]"#,
        "[1] [2]",
        &deep,
    ] {
        assert_eq!(canonical(text), None, "{text}");
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    /// The form depends on the value alone, and two values have two forms.
    #[test]
    fn a_value_has_one_form(one in json(), other in json()) {
        let plain = canonical(&one.to_string());
        prop_assert!(plain.is_some());
        prop_assert_eq!(&plain, &canonical(&serde_json::to_string_pretty(&one).unwrap()));
        prop_assert!(plain != canonical(&other.to_string()) || one == other);
    }
}

#[tokio::test]
async fn an_answer_is_kept_as_long_as_its_pool_says() {
    let cache = Cache::new(1 << 20, None);
    cache.keep([1; 32], entry("a"), HOUR).await;
    cache.keep([2; 32], entry("b"), Duration::ZERO).await;
    assert!(matches!(cache.find(&[1; 32]).await, Found::Kept(kept) if kept == entry("a")));
    assert!(matches!(cache.find(&[2; 32]).await, Found::First(_)));
}

#[tokio::test]
async fn memory_is_bounded() {
    let cache = Cache::new(64 << 10, None);
    let large = "x".repeat(8 << 10);
    for key in 0..100 {
        cache.keep([key; 32], entry(&large), HOUR).await;
    }
    cache.kept.run_pending_tasks().await;
    assert!(cache.kept.weighted_size() <= 64 << 10);
    let none = Cache::new(0, None);
    none.keep([1; 32], entry("a"), HOUR).await;
    none.kept.run_pending_tasks().await;
    assert!(matches!(none.find(&[1; 32]).await, Found::First(_)));
}

/// Lets everybody else on this thread go on until nobody can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn of_equal_requests_at_once_one_is_asked_and_all_get_its_answer() {
    let cache = Arc::new(Cache::new(1 << 20, None));
    let Found::First(flight) = cache.find(&[1; 32]).await else {
        panic!("the first is asked");
    };
    let others: Vec<_> = (0..10)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
                match cache.find(&[1; 32]).await {
                    Found::Kept(entry) => Some(entry),
                    _ => None,
                }
            })
        })
        .collect();
    settle().await;
    assert!(others.iter().all(|other| !other.is_finished()));
    assert!(matches!(cache.find(&[2; 32]).await, Found::First(_)));
    flight.land(entry("a"));
    for other in others {
        assert_eq!(other.await.unwrap(), Some(entry("a")));
    }
    assert!(cache.flights().is_empty());
}

#[tokio::test]
async fn who_waited_for_nothing_asks_by_itself() {
    let cache = Arc::new(Cache::new(1 << 20, None));
    let Found::First(flight) = cache.find(&[1; 32]).await else {
        panic!("the first is asked");
    };
    let waits = {
        let cache = cache.clone();
        tokio::spawn(async move { matches!(cache.find(&[1; 32]).await, Found::Missed) })
    };
    settle().await;
    drop(flight);
    assert!(waits.await.unwrap());
    assert!(matches!(cache.find(&[1; 32]).await, Found::First(_)));
}

#[test]
fn an_edit_and_a_flush_of_a_pool_empty_its_cache() {
    let version = |metadata: Value| {
        let pool: ModelPool = serde_json::from_value(serde_json::json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "ModelPool", "metadata": metadata,
            "spec": {"members": [{"provider": {"name": "up"}, "model": "m"}], "cache": {"mode": "Exact"}},
        }))
        .unwrap();
        let id = ("team".to_owned(), "fast".to_owned());
        Pool::new(&id, &pool).cache.unwrap().version
    };
    let meta = |uid: &str, generation: i64, flushed: &str| {
        serde_json::json!({
            "namespace": "team", "name": "fast", "uid": uid, "generation": generation,
            "annotations": {CACHE_FLUSHED_ANNOTATION: flushed, "other": "x"},
        })
    };
    let base = version(meta("u", 1, "monday"));
    assert_eq!(base, version(meta("u", 1, "monday")));
    for other in [
        meta("v", 1, "monday"),
        meta("u", 2, "monday"),
        meta("u", 1, "tuesday"),
    ] {
        assert_ne!(base, version(other.clone()), "{other}");
    }
}
