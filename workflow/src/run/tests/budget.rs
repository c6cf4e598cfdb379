//! A run that has no budget left.

use super::world::{World, agent, failed, with};
use super::*;
use serde_json::json;

fn class(over: Option<Over>) -> String {
    match over {
        Some(Over::Failed(failure)) => failure.class,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_ran_out_of_its_budget_ends_the_run_as_that() {
    let mut world = World::new(json!({"steps": [agent("a", "x")]}));
    world.pass();
    world.end(
        "a",
        failed("BudgetExceeded", "Task run may have 3 Tasks below it"),
    );
    let over = world.pass();
    let Some(Over::Failed(failure)) = &over else {
        panic!("{over:?}");
    };
    assert_eq!(
        failure.message,
        "step a: BudgetExceeded: Task run may have 3 Tasks below it"
    );
    assert_eq!(class(over), "BudgetExceeded");
}

#[test]
fn so_do_items_and_a_run_below() {
    let mut world = World::new(json!({"steps": [
        with(agent("work", "x"), json!({"forEach": [1, 2]})),
    ]}));
    world.pass();
    world.end_unit("work[1]", failed("BudgetExceeded", "no more"));
    world.pass();
    world.end_unit("work[0]", Child::Cancelled);
    assert_eq!(class(world.pass()), "BudgetExceeded");

    let mut world = World::new(json!({"steps": [{"name": "sub", "workflow": {"name": "other"}}]}));
    world.pass();
    world.end(
        "sub",
        failed("BudgetExceeded", "step a: BudgetExceeded: no more"),
    );
    assert_eq!(class(world.pass()), "BudgetExceeded");
}

#[test]
fn a_step_that_asks_for_it_deals_with_it() {
    let mut world = World::new(json!({"steps": [
        agent("a", "x"),
        with(agent("less", "x"), json!({"if": "steps.a.?failure.?class.orValue('') == 'BudgetExceeded'"})),
    ]}));
    world.pass();
    world.end("a", failed("BudgetExceeded", "no more"));
    world.pass();
    world.end("less", Child::Succeeded(json!(1)));
    assert!(matches!(world.pass(), Some(Over::Succeeded(_))));
}
