//! Undoing, and running anew.

use super::super::{rerun, roll_back};
use super::world::{World, agent, failed, with};
use super::*;
use oarmaster_crds::kinds::task::RerunSpec;
use serde_json::json;

fn undo(step: Value) -> Value {
    with(
        step,
        json!({"undo": {"agent": {"name": "coder"}, "params": {"prompt": "revert ${self.output.sha}"}}}),
    )
}

fn deploy(on_failure: &str) -> World {
    let mut world = World::new(json!({
        "onFailure": on_failure,
        "steps": [
            undo(agent("a", "x")),
            undo(with(agent("b", "x"), json!({"after": ["a"]}))),
            with(agent("c", "x"), json!({"after": ["b"]})),
        ],
        "finally": [agent("last", "${run.phase}")],
    }));
    world.pass();
    for step in ["a", "b"] {
        world.end(step, Child::Succeeded(json!({ "sha": step })));
        world.pass();
    }
    world
}

#[test]
fn a_run_that_fails_is_undone_in_the_reverse_order_and_then_finally_runs() {
    let mut world = deploy("Undo");
    world.end("c", failed("ToolFailed", "boom"));
    assert_eq!(world.pass(), None);
    assert_eq!(world.units(), ["-b"]);
    assert_eq!(world.unit_prompt("-b"), "revert b");
    world.end_unit("-b", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.units(), ["-a"]);
    world.end_unit("-a", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.units(), ["last"]);
    assert_eq!(world.prompt("last"), "Failed");
    world.end("last", Child::Succeeded(json!(1)));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step c: ToolFailed: boom")
    );
}

#[test]
fn a_run_that_keeps_is_not_undone() {
    let mut world = deploy("Keep");
    world.end("c", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.units(), ["last"]);
}

#[test]
fn what_cannot_be_undone_is_told_and_the_rest_is_undone() {
    let mut world = deploy("Undo");
    world.end("c", failed("ToolFailed", "boom"));
    world.pass();
    world.end_unit("-b", failed("ToolFailed", "no"));
    world.pass();
    assert_eq!(world.units(), ["-a"]);
    world.end_unit("-a", Child::Succeeded(json!(1)));
    world.pass();
    world.end("last", Child::Succeeded(json!(1)));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step c: ToolFailed: boom; and step b: ToolFailed: no (when it was to be undone)")
    );
}

#[test]
fn a_rollback_stops_what_runs_and_undoes_what_was_done() {
    let mut world = deploy("Keep");
    world.wanted = DesiredState::RolledBack;
    assert_eq!(world.pass(), None);
    assert_eq!(world.told("c"), DesiredState::Cancelled);
    assert_eq!(
        world.units(),
        ["c"],
        "nothing is undone while something runs"
    );
    world.end("c", Child::Cancelled);
    world.pass();
    // A process that dies here undoes nothing twice.
    let made = world.all_made("b").len();
    world.steps.active.clear();
    if let Some(undo) = world
        .steps
        .ending
        .as_mut()
        .and_then(|ending| ending.undo.as_mut())
    {
        undo.begun = 0;
    }
    world.pass();
    assert_eq!(world.all_made("b").len(), made);
    world.end_unit("-b", Child::Succeeded(json!(1)));
    world.pass();
    world.end_unit("-a", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.prompt("last"), "RolledBack");
    world.end("last", Child::Succeeded(json!(1)));
    assert_eq!(world.pass(), Some(Over::RolledBack));
}

#[test]
fn somebody_who_cancels_a_failed_run_stops_its_undoing() {
    let mut world = deploy("Undo");
    world.end("c", failed("ToolFailed", "boom"));
    world.pass();
    world.wanted = DesiredState::Cancelled;
    world.pass();
    assert_eq!(world.unit_told("-b"), DesiredState::Cancelled);
    world.end_unit("-b", Child::Cancelled);
    world.pass();
    assert_eq!(world.units(), ["last"]);
}

#[test]
fn items_are_undone_each() {
    let mut world = World::new(json!({"onFailure": "Undo", "steps": [
        undo(with(agent("a", "x"), json!({"forEach": [1, 2, 3], "tolerate": 1}))),
        with(agent("b", "x"), json!({"after": ["a"]})),
    ]}));
    world.pass();
    world.end_unit("a[1]", failed("ToolFailed", "x"));
    for item in [0, 2] {
        world.end_unit(
            &format!("a[{item}]"),
            Child::Succeeded(json!({ "sha": item })),
        );
    }
    world.pass();
    world.end("b", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.units(), ["-a[0]", "-a[2]"]);
    assert_eq!(world.unit_prompt("-a[2]"), "revert 2");
    world.end_unit("-a[0]", Child::Succeeded(json!(1)));
    world.end_unit("-a[2]", Child::Succeeded(json!(1)));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
}

#[test]
fn a_run_that_has_ended_is_rolled_back_and_finally_does_not_run_again() {
    let mut world = deploy("Keep");
    world.end("c", Child::Succeeded(json!(1)));
    world.pass();
    world.end("last", Child::Succeeded(json!(1)));
    assert!(matches!(world.pass(), Some(Over::Succeeded(_))));
    world.steps = roll_back(&world.graph, &world.steps, Timestamp::UNIX_EPOCH).unwrap();
    world.wanted = DesiredState::RolledBack;
    world.pass();
    assert_eq!(world.units(), ["-b"]);
    world.end_unit("-b", Child::Succeeded(json!(1)));
    world.pass();
    world.end_unit("-a", Child::Succeeded(json!(1)));
    assert_eq!(world.pass(), Some(Over::RolledBack));
    assert_eq!(world.all_made("last").len(), 1);
    let nothing = World::new(json!({"steps": [agent("a", "x")]}));
    assert!(roll_back(&nothing.graph, &nothing.steps, Timestamp::UNIX_EPOCH).is_err());
}

fn count(count: i64, from: &[&str]) -> RerunSpec {
    RerunSpec {
        count,
        from: from.iter().map(|name| (*name).to_owned()).collect(),
    }
}

#[test]
fn what_failed_is_run_anew_with_what_depends_on_it_and_the_rest_stays() {
    let mut world = deploy("Keep");
    world.end("c", failed("ToolFailed", "boom"));
    world.pass();
    world.end("last", Child::Succeeded(json!(1)));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    world.steps = rerun(&world.graph, &world.steps, &count(1, &[]), true).unwrap();
    assert_eq!(world.steps.progress, "2/4");
    world.pass();
    assert_eq!(world.units(), ["c"]);
    assert_eq!(world.all_made("a").len(), 1);
    assert_eq!(world.all_made("c").len(), 2);
    world.end("c", Child::Succeeded(json!({"sha": "c"})));
    world.pass();
    assert_eq!(world.units(), ["last"], "finally belongs to each end");
    world.end("last", Child::Succeeded(json!(1)));
    assert_eq!(
        world.pass(),
        Some(Over::Succeeded(json!({"c": {"sha": "c"}})))
    );
    // And from a step that succeeded.
    world.steps = rerun(&world.graph, &world.steps, &count(2, &["b"]), true).unwrap();
    world.pass();
    assert_eq!(world.units(), ["b"]);
    assert_eq!(world.all_made("b").len(), 2);
    let why = rerun(&world.graph, &world.steps, &count(3, &["nobody"]), true).unwrap_err();
    assert!(why.starts_with("rerun.from names nobody"), "{why}");
}

#[test]
fn nothing_is_run_anew_where_nothing_failed() {
    let mut world = World::new(json!({"steps": [agent("a", "x")]}));
    world.pass();
    world.end("a", Child::Succeeded(json!(1)));
    world.pass();
    let why = rerun(&world.graph, &world.steps, &count(1, &[]), false).unwrap_err();
    assert!(why.starts_with("no step of it failed"), "{why}");
}

#[test]
fn of_items_those_that_failed_are_run_anew() {
    let mut world = World::new(json!({"steps": [
        with(agent("work", "${item}"), json!({"forEach": ["a", "b", "c", "d"], "parallel": 4})),
        agent("sum", "sum ${steps.work.output}"),
    ]}));
    world.pass();
    world.end_unit("work[1]", failed("ToolFailed", "x"));
    world.end_unit("work[3]", failed("ToolFailed", "x"));
    world.end_unit("work[0]", Child::Succeeded(json!(0)));
    world.end_unit("work[2]", Child::Succeeded(json!(2)));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    world.steps = rerun(&world.graph, &world.steps, &count(1, &[]), true).unwrap();
    assert_eq!(world.steps.fans[0].again, "1,3");
    // One pass makes the first of them and dies.
    world.disturbed(1, false);
    world.pass();
    assert_eq!(world.units(), ["work[1]", "work[3]"]);
    assert_eq!(world.unit_prompt("work[3]"), "d");
    world.end_unit("work[1]", Child::Succeeded(json!(1)));
    world.end_unit("work[3]", Child::Succeeded(json!(3)));
    world.pass();
    assert_eq!(world.unit_prompt("sum"), "sum [0,1,2,3]");
    assert_eq!(world.all_made("work").len(), 6);
}

#[test]
fn an_approval_is_asked_anew() {
    let mut world = World::new(json!({"steps": [
        {"name": "ask", "approval": {"ask": "Go?", "approvers": {"users": ["u"]}}},
        with(agent("ship", "x"), json!({"after": ["ask"]})),
    ]}));
    world.pass();
    world.end("ask", failed("ApprovalRejected", "by u"));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    world.steps = rerun(&world.graph, &world.steps, &count(1, &[]), true).unwrap();
    world.pass();
    assert_eq!(world.units(), ["ask"]);
    assert_eq!(world.all_made("ask").len(), 2);
    world.end("ask", Child::Succeeded(json!({"decision": "Approved"})));
    world.pass();
    assert_eq!(world.units(), ["ship"]);
}

#[test]
fn a_sibling_that_was_stopped_is_run_anew_with_what_is_named() {
    let mut world = World::new(json!({"steps": [agent("a", "x"), agent("b", "x")]}));
    world.pass();
    world.end("a", failed("ToolFailed", "boom"));
    world.pass();
    world.end("b", Child::Cancelled);
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    world.steps = rerun(&world.graph, &world.steps, &count(1, &["a"]), true).unwrap();
    world.pass();
    assert_eq!(world.units(), ["a", "b"]);
}

#[test]
fn a_failure_that_was_dealt_with_stays() {
    let mut world = World::new(json!({"failFast": false, "steps": [
        agent("check", "x"),
        with(agent("mend", "x"), json!({"if": "steps.check.failed"})),
        with(agent("ship", "x"), json!({"after": ["mend"]})),
    ]}));
    world.pass();
    world.end("check", failed("ToolFailed", "x"));
    world.pass();
    world.end("mend", Child::Succeeded(json!(1)));
    world.pass();
    world.end("ship", failed("ToolFailed", "boom"));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    world.steps = rerun(&world.graph, &world.steps, &count(1, &[]), true).unwrap();
    world.pass();
    assert_eq!(world.units(), ["ship"]);
}

#[test]
fn what_failed_in_finally_alone_is_done_again_alone() {
    let mut world =
        World::new(json!({"steps": [agent("a", "x")], "finally": [agent("last", "x")]}));
    world.pass();
    world.end("a", Child::Succeeded(json!(1)));
    world.pass();
    world.end("last", failed("ToolFailed", "x"));
    assert!(matches!(world.pass(), Some(Over::Failed(_))));
    world.steps = rerun(&world.graph, &world.steps, &count(1, &[]), true).unwrap();
    world.pass();
    assert_eq!(world.units(), ["last"]);
    assert_eq!(world.all_made("a").len(), 1);
}

#[test]
fn items_that_succeeded_are_undone_also_where_their_step_failed() {
    let mut world = World::new(json!({"onFailure": "Undo", "steps": [
        undo(with(agent("a", "x"), json!({"forEach": [1, 2]}))),
    ]}));
    world.pass();
    world.end_unit("a[0]", Child::Succeeded(json!({"sha": "s"})));
    world.pass();
    world.end_unit("a[1]", failed("ToolFailed", "x"));
    world.pass();
    assert_eq!(world.units(), ["-a[0]"]);
}

#[test]
fn undoing_has_its_time() {
    let mut world = deploy("Undo");
    world.end("c", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.next, Some(Duration::from_secs(7200)));
    world.later(7200);
    world.pass();
    assert_eq!(world.unit_told("-b"), DesiredState::Cancelled);
    world.end_unit("-b", Child::Cancelled);
    world.pass();
    assert_eq!(world.units(), ["last"]);
    world.end("last", Child::Succeeded(json!(1)));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.contains("Timeout"))
    );
}

#[test]
fn an_undo_that_nobody_remembers_is_stopped_before_the_run_is_over() {
    let mut world = deploy("Undo");
    world.end("c", failed("ToolFailed", "boom"));
    world.disturbed(usize::MAX, true);
    world.disturbed(usize::MAX, false); // makes an undo and dies
    assert_eq!(world.units(), ["-b"]);
    world.wanted = DesiredState::Cancelled;
    assert_eq!(world.pass(), None);
    assert_eq!(world.unit_told("-b"), DesiredState::Cancelled);
}
