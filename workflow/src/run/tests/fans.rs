//! Items, repetitions and what is shared.

use super::world::{World, agent, end, failed, with};
use super::*;
use serde_json::json;

/// A plan, and then work on each of its items.
fn fan(more: Value) -> World {
    let work = with(
        agent("work", "${index}: ${item}"),
        json!({"forEach": "${steps.plan.output.items}"}),
    );
    let mut world = World::new(json!({
        "steps": [agent("plan", "x"), with(work, more), agent("sum", "sum ${steps.work.output.map(one, one.n)}")],
    }));
    world.pass();
    world
}

fn ok(n: i64) -> Child {
    Child::Succeeded(json!({ "n": n }))
}

#[test]
fn each_item_is_done_by_itself_and_the_outputs_keep_their_order() {
    let mut world = fan(json!({"parallel": 2}));
    world.end("plan", Child::Succeeded(json!({"items": ["a", "b", "c"]})));
    world.pass();
    assert_eq!(world.units(), ["work[0]", "work[1]"]);
    assert_eq!(world.unit_prompt("work[1]"), "1: b");
    world.end_unit("work[1]", ok(1));
    world.pass();
    assert_eq!(world.units(), ["work[0]", "work[2]"]);
    world.end_unit("work[2]", ok(2));
    world.pass();
    assert_eq!(world.units(), ["work[0]"], "the join waits for all");
    world.end_unit("work[0]", ok(0));
    world.pass();
    assert_eq!(world.unit_prompt("sum"), "sum [0,1,2]");
    assert_eq!(world.steps.fans[0].items, 3);
}

#[test]
fn no_items_have_succeeded_and_null_is_skipped() {
    for (items, phase) in [(json!([]), "Succeeded"), (json!(null), "Skipped")] {
        let mut world = World::new(json!({"steps": [
            agent("plan", "x"),
            with(agent("work", "x"), json!({"forEach": "${steps.plan.output.items}"})),
            agent("last", "${steps.work.phase}"),
        ]}));
        world.pass();
        world.end("plan", Child::Succeeded(json!({ "items": items })));
        world.pass();
        assert_eq!(world.prompt("last"), phase);
        assert!(!world.was_made("work"));
    }
}

#[test]
fn a_list_that_is_none_or_too_long_fails_the_step() {
    for (items, text) in [
        (json!("abc"), "steps[work].forEach: gives no list"),
        (
            json!(vec![0; 20_001]),
            "steps[work].forEach: gives 20001 items, at most 20000 are possible",
        ),
    ] {
        let mut world = fan(json!({}));
        world.end("plan", Child::Succeeded(json!({ "items": items })));
        assert!(
            matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.contains(text)),
            "{text}"
        );
    }
}

#[test]
fn more_failures_than_may_be_stop_the_other_items() {
    let mut world = fan(json!({"parallel": 3, "tolerate": 1}));
    world.end("plan", Child::Succeeded(json!({"items": [1, 2, 3, 4, 5]})));
    world.pass();
    world.end_unit("work[1]", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.units(), ["work[0]", "work[2]", "work[3]"]);
    world.end_unit("work[0]", failed("ToolFailed", "bang"));
    assert_eq!(world.pass(), None);
    assert_eq!(world.unit_told("work[2]"), DesiredState::Cancelled);
    assert_eq!(world.units(), ["work[2]", "work[3]"], "no other one begins");
    world.end_unit("work[2]", Child::Cancelled);
    world.end_unit("work[3]", Child::Cancelled);
    let Some(Over::Failed(failure)) = world.pass() else {
        panic!("it goes on");
    };
    assert!(
        failure
            .message
            .starts_with("step work: StepFailed: 4 of 5 items failed, and 1 may; the first"),
        "{}",
        failure.message
    );
    assert!(
        failure.message.ends_with("ToolFailed: item 1: boom"),
        "{}",
        failure.message
    );
    assert_eq!(world.steps.fans[0].failed, "0-3");
}

#[test]
fn failures_that_may_be_leave_a_null_in_the_output() {
    let mut world = World::new(json!({"steps": [
        with(agent("work", "x"), json!({"forEach": [1, 2, 3, 4, 5], "tolerate": "20%"})),
        agent("last", "${steps.work.output} ${steps.work.items.map(one, one.phase)}"),
    ]}));
    world.pass();
    world.end_unit("work[3]", failed("ToolFailed", "boom"));
    for item in [0, 1, 2, 4] {
        world.end_unit(&format!("work[{item}]"), Child::Succeeded(json!(item)));
    }
    world.pass();
    assert_eq!(
        world.unit_prompt("last"),
        r#"[0,1,2,null,4] ["Succeeded","Succeeded","Succeeded","Failed","Succeeded"]"#
    );
}

#[test]
fn a_process_that_dies_between_items_makes_none_twice() {
    let mut world = World::new(json!({"steps": [
        with(agent("work", "do ${item}"), json!({"forEach": [1, 2, 3, 4, 5], "parallel": 3})),
    ]}));
    world.pass();
    // The items are written down before any of them begins.
    assert_eq!(world.steps.fans.len(), 1);
    let mut world = World::new(json!({"steps": [
        with(agent("work", "do ${item}"), json!({"forEach": [1, 2, 3, 4, 5], "parallel": 3})),
    ]}));
    world.disturbed(usize::MAX, true);
    world.disturbed(2, false);
    assert_eq!(world.units(), ["work[0]", "work[1]"]);
    world.end_unit("work[0]", ok(0));
    world.end_unit("work[1]", ok(1));
    world.pass();
    assert_eq!(world.units(), ["work[2]", "work[3]", "work[4]"]);
    assert!(matches!(end(&mut world, |_| ok(1)), Over::Succeeded(_)));
    assert_eq!(world.all_made("work").len(), 5);
}

#[test]
fn a_list_that_is_another_one_later_stops_the_step() {
    let mut world = fan(json!({"parallel": 1}));
    world.end("plan", Child::Succeeded(json!({"items": ["a", "b"]})));
    world.pass();
    world.end("plan", Child::Succeeded(json!({"items": ["a", "c"]})));
    world.end_unit("work[0]", ok(0));
    world.lists.clear(); // another process looks
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.contains("StateRegressed") && failure.message.contains("gives another list"))
    );
}

fn loops(limit: i64) -> World {
    let mut world = World::new(json!({"steps": [
        with(
            agent("fix", "sha ${self.?output.?sha.orValue('none')}"),
            json!({"repeat": {"until": "self.output.green", "limit": limit}}),
        ),
        agent("ship", "${steps.fix.output.sha}"),
    ]}));
    world.pass();
    world
}

#[test]
fn a_step_is_done_again_until_its_expression_is_true() {
    let mut world = loops(3);
    assert_eq!(world.unit_prompt("fix"), "sha none");
    world.end("fix", Child::Succeeded(json!({"green": false, "sha": "a"})));
    world.pass();
    assert_eq!(world.unit_prompt("fix"), "sha a");
    assert_eq!(world.all_made("fix").len(), 2);
    world.end("fix", Child::Succeeded(json!({"green": true, "sha": "b"})));
    world.pass();
    assert_eq!(world.unit_prompt("ship"), "b");
    assert_eq!(world.steps.repeated["fix"], "2");
}

#[test]
fn a_step_that_is_never_through_fails() {
    let mut world = loops(2);
    for sha in ["a", "b"] {
        world.end("fix", Child::Succeeded(json!({"green": false, "sha": sha})));
        if let Some(over) = world.pass() {
            assert!(
                matches!(&over, Over::Failed(failure) if failure.message.starts_with("step fix: LimitReached: steps[fix].repeat.until is not true after 2 times")),
                "{over:?}"
            );
            return;
        }
    }
    panic!("it goes on");
}

#[test]
fn a_repetition_that_nobody_remembers_is_taken_on_and_a_paused_run_begins_none() {
    let mut world = loops(3);
    world.end("fix", Child::Succeeded(json!({"green": false, "sha": "a"})));
    world.disturbed(usize::MAX, false);
    world.wanted = DesiredState::Cancelled;
    assert_eq!(world.pass(), None);
    assert_eq!(world.unit_told("fix"), DesiredState::Cancelled);
    world.end("fix", Child::Cancelled);
    assert_eq!(world.pass(), Some(Over::Cancelled));

    let mut world = loops(3);
    world.wanted = DesiredState::Paused;
    world.end("fix", Child::Succeeded(json!({"green": false, "sha": "a"})));
    world.pass();
    assert_eq!(world.all_made("fix").len(), 1);
    world.wanted = DesiredState::Running;
    world.pass();
    assert_eq!(world.all_made("fix").len(), 2);
}

#[test]
fn what_is_shared_is_the_sum_of_what_was_done_in_the_order_of_the_steps() {
    let mut world = World::new(json!({
        "shared": {"notes": {"merge": "Append", "maxItems": 3}, "best": {"merge": "Max"}, "last": {"merge": "Replace"}},
        "steps": [
            with(agent("late", "x"), json!({"share": {"notes": "${self.output.note}", "last": "late"}})),
            with(
                agent("work", "see ${shared.notes}"),
                json!({"forEach": [1, 2], "share": {"notes": ["${self.output.note}"], "best": "${self.output.n}", "last": "${index}"}}),
            ),
            with(agent("sum", "${shared.notes} ${shared.best} ${shared.last}"), json!({"after": ["late", "work"]})),
        ],
    }));
    world.pass();
    assert_eq!(world.unit_prompt("work[0]"), "see []");
    // They end in another order than they stand.
    world.end_unit("work[1]", Child::Succeeded(json!({"note": "w1", "n": 7})));
    world.pass();
    world.end_unit("work[0]", Child::Succeeded(json!({"note": "w0", "n": 3})));
    world.pass();
    world.end("late", Child::Succeeded(json!({"note": ["l0", "l1"]})));
    world.pass();
    // Of four notes the oldest is left out.
    assert_eq!(world.unit_prompt("sum"), r#"["l1","w0","w1"] 7 1"#);
}

#[test]
fn what_gives_nothing_that_has_a_value_fails() {
    let mut world = World::new(json!({
        "shared": {"notes": {"merge": "Append"}},
        "steps": [with(agent("a", "x"), json!({"share": {"notes": "${self.output.none}"}}))],
    }));
    world.pass();
    world.end("a", ok(1));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.starts_with("step a: InvalidInput: steps[a].share: "))
    );
}

#[test]
fn the_places_of_a_run_hold_for_items_too() {
    let mut world = World::new(json!({"steps": [
        with(agent("a", "x"), json!({"forEach": vec![0; 80], "parallel": 80})),
        with(agent("b", "x"), json!({"forEach": vec![0; 80], "parallel": 80})),
    ]}));
    world.pass();
    assert_eq!(world.units().len(), MAX_ACTIVE);
    assert!(matches!(end(&mut world, |_| ok(1)), Over::Succeeded(_)));
    assert_eq!(world.all_made("a").len() + world.all_made("b").len(), 160);
}

#[test]
fn what_has_no_value_to_give_fails_itself_and_nobody_else() {
    let mut world = World::new(json!({
        "shared": {"notes": {"merge": "Append"}},
        "steps": [
            with(agent("a", "x"), json!({"forEach": [1, 2], "tolerate": 1, "share": {"notes": "${self.output.note}"}})),
            with(agent("b", "see ${shared.notes}"), json!({"after": ["a"]})),
        ],
    }));
    world.pass();
    world.end_unit("a[0]", ok(1));
    world.end_unit("a[1]", Child::Succeeded(json!({"note": "n"})));
    world.pass();
    assert_eq!(world.unit_prompt("b"), r#"see ["n"]"#);
}
