//! What runs and steps have in common with others, and what is not undone since another one did it.

use super::super::{rerun, roll_back, slot_key};
use super::world::{World, agent, failed, with};
use super::*;
use crate::graph::Graph;
use oarmaster_crds::kinds::task::RerunSpec;
use serde_json::json;

fn key(key: &str, params: Value) -> Result<Option<String>, String> {
    let spec = json!({
        "params": {"type": "object", "required": ["of"], "properties": {"of": {"type": "string"}}},
        "concurrency": {"key": key}, "steps": [agent("a", "x")],
    });
    let graph = Graph::compile(&serde_json::from_value(spec).unwrap()).unwrap();
    let Value::Object(params) = params else {
        panic!("no object");
    };
    slot_key(&graph, &params)
}

#[test]
fn the_key_of_a_run_is_a_text_of_its_params() {
    let of = |value: Value| json!({ "of": value });
    let fine = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(key("${params.of}", of(json!("acme"))), fine("acme"));
    assert_eq!(key("deploy", of(json!("acme"))), fine("deploy"));
    assert_eq!(key("a/${params.of}", of(json!(7))), fine("a/7"));
    assert_eq!(key("${params.of}", of(json!(7))), fine("7"));
    for (value, told) in [
        (json!(""), "concurrency.key: gives an empty text"),
        (json!(null), "concurrency.key: gives no text"),
        (json!(["a"]), "concurrency.key: gives no text"),
        (
            json!("x".repeat(513)),
            "concurrency.key: gives more than 512 characters",
        ),
    ] {
        let why = key("${params.of}", of(value.clone())).unwrap_err();
        assert!(why.starts_with(told), "{value}: {why}");
    }
    let why = key("${params.of}", json!({})).unwrap_err();
    assert!(
        why.starts_with("concurrency.key: the expression `params.of`"),
        "{why}"
    );
    let spec = json!({"steps": [agent("a", "x")]});
    let graph = Graph::compile(&serde_json::from_value(spec).unwrap()).unwrap();
    assert_eq!(slot_key(&graph, &Map::new()), Ok(None));
}

fn build(prompt: &str, memo: &str) -> World {
    let memo = json!({"memo": {"key": memo, "ttl": "1h"}, "forEach": ["x", "y"]});
    let mut world = World::new(json!({"steps": [with(agent("build", prompt), memo)]}));
    world.pass();
    world
}

fn keys(world: &World) -> Vec<String> {
    let keys = world
        .tasks("build")
        .into_iter()
        .map(|task| task.memo.unwrap().key);
    keys.collect()
}

#[test]
fn the_key_of_a_step_is_its_words_and_what_the_author_says_it_depends_on() {
    let own = keys(&build("do ${item}", "v-${item}"));
    assert_eq!(own.len(), 2);
    let (words, x) = own[0].split_once('/').unwrap();
    assert!(words.starts_with("sha256:") && x == "v-x", "{own:?}");
    assert_eq!(own[1], format!("{words}/v-y"));
    assert_eq!(keys(&build("do ${item}", "v-${item}")), own);
    // With other words it is another thing, whatever the key says.
    let other = keys(&build("do not ${item}", "v-${item}"));
    assert_ne!(other[0], own[0]);
    assert!(other[0].ends_with("/v-x"));
}

#[test]
fn a_key_without_a_value_fails_its_step() {
    let memo = json!({"memo": {"key": "${steps.a.output.sha}", "ttl": "1h"}});
    let mut world = World::new(json!({"steps": [agent("a", "x"), with(agent("b", "x"), memo)]}));
    world.pass();
    world.end("a", Child::Succeeded(json!({"sha": null})));
    let Some(Over::Failed(failure)) = world.pass() else {
        panic!("it goes on");
    };
    assert!(
        failure
            .message
            .starts_with("step b: InvalidInput: steps[b].memo.key: gives no text"),
        "{}",
        failure.message
    );
}

#[test]
fn what_is_run_anew_is_done_whatever_there_was() {
    let memo = json!({"memo": {"key": "v", "ttl": "1h"}});
    let mut world = World::new(json!({"steps": [with(agent("a", "x"), memo)]}));
    world.pass();
    assert!(world.task("a").memo.is_some());
    world.end("a", failed("ToolFailed", "boom"));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    let spec = RerunSpec {
        count: 1,
        from: Vec::new(),
    };
    world.steps = rerun(&world.graph, &world.steps, &spec, true).unwrap();
    world.pass();
    assert_eq!(world.times("a"), 2);
    assert_eq!(world.task("a").memo, None);
}

#[test]
fn what_another_one_did_is_not_undone() {
    let undo = json!({"undo": {"run": {"command": ["undo"]}}});
    let mut world = World::new(json!({"steps": [
        with(agent("a", "x"), undo.clone()),
        with(with(agent("b", "x"), undo), json!({"forEach": [0, 1, 2], "after": ["a"]})),
    ]}));
    world.pass();
    world.take("a");
    world.pass();
    world.take("b[1]");
    for unit in ["b[0]", "b[2]"] {
        world.end_unit(unit, Child::Succeeded(json!(1)));
    }
    assert!(matches!(world.pass(), Some(Over::Succeeded(_))));
    world.steps = roll_back(&world.graph, &world.steps, world.now()).unwrap();
    world.wanted = DesiredState::RolledBack;
    world.pass();
    assert_eq!(world.units(), ["-b[0]", "-b[2]"]);
    for unit in ["-b[0]", "-b[2]"] {
        world.end_unit(unit, Child::Succeeded(json!(1)));
    }
    assert_eq!(world.pass(), Some(Over::RolledBack));
    assert_eq!(world.times("a"), 1);
}
