//! What a run keeps of its budget for its end, and how a raise reaches the gateway.

use super::{World, agent, chain};
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_crds::{Allowance, Usd, names};
use serde_json::{Value, json};

fn undone(name: &str) -> Value {
    let mut step = agent(name, "x");
    step["undo"] = json!({"agent": {"name": "coder"}, "params": {"prompt": "undo"}});
    step
}

/// Whether the Task of a step may spend what is kept.
fn ends(world: &World, step: &str) -> bool {
    let labels = world.of(step).metadata.labels.unwrap();
    labels.contains_key(names::ENDS_LABEL)
}

#[test]
fn a_run_with_an_end_keeps_a_part_of_its_budget_and_another_one_nothing() {
    for (workflow, keeps) in [
        (chain(), false),
        (json!({"steps": [undone("a")]}), true),
        (
            json!({"steps": [agent("a", "x")], "finally": [agent("z", "x")]}),
            true,
        ),
    ] {
        let mut world = World::new(workflow);
        world.settle();
        assert_eq!(world.opened.unwrap().keeps, keeps);
    }
}

#[test]
fn steps_of_finally_may_spend_what_is_kept_and_others_not() {
    let mut world = World::new(json!({"steps": [agent("a", "x")], "finally": [agent("z", "x")]}));
    world.settle();
    assert!(!ends(&world, "a"));
    world.end("a", Phase::Succeeded, json!({"text": "x"}));
    world.settle();
    assert!(ends(&world, "z"));
}

#[test]
fn what_undoes_a_step_may_spend_what_is_kept() {
    let mut world =
        World::new(json!({"steps": [undone("a"), agent("b", "${steps.a.output.text}")]}));
    world.settle();
    world.end("a", Phase::Succeeded, json!({"text": "x"}));
    world.settle();
    world.end("b", Phase::Failed, json!(null));
    world.task.spec.state = DesiredState::RolledBack;
    world.settle();
    let undoes = world.tasks.values().filter(|task| {
        let labels = task.metadata.labels.as_ref().unwrap();
        labels.contains_key(names::ENDS_LABEL)
    });
    let undoes: Vec<_> = undoes
        .map(|task| task.spec.params.as_ref().unwrap()["prompt"].clone())
        .collect();
    assert_eq!(undoes, [json!("undo")]);
}

#[test]
fn the_budget_of_a_run_that_is_raised_while_it_runs_is_told_to_the_gateway() {
    let mut world = World::new(chain());
    world.settle();
    world.task.spec.budget = Some(Allowance {
        usd: Some(Usd("3".to_owned())),
        tasks: Some(9),
        depth: Some(2),
        ..Allowance::default()
    });
    world.task.metadata.generation = Some(2);
    let told = world.pass().budget.unwrap();
    assert_eq!(
        (told.pico_usd, told.tasks, told.depth),
        (Some(3_000_000_000_000), Some(9), Some(2))
    );
    assert_eq!(world.pass().budget, None, "once");
}
