//! Steps that wait for time.

use super::world::{World, agent, with};
use super::*;
use serde_json::json;

#[test]
fn what_needs_it_goes_on_when_the_time_has_come() {
    let mut world = World::new(json!({"steps": [
        {"name": "soak", "wait": {"for": "60s"}},
        with(agent("ship", "x"), json!({"after": ["soak"]})),
    ]}));
    world.pass();
    assert_eq!(world.steps.active[0].kind, StepKind::Wait);
    assert_eq!(world.next, Some(Duration::from_secs(60)));
    world.later(59);
    // Meanwhile the process dies, and the run is paused: time passes all the same.
    world.wanted = DesiredState::Paused;
    world.disturbed(0, false);
    world.pass();
    assert!(!world.was_made("ship"));
    world.later(1);
    world.wanted = DesiredState::Running;
    world.pass();
    assert_eq!(world.units(), ["ship"]);
}

#[test]
fn a_time_may_be_an_expression_and_what_is_past_is_not_waited_for() {
    for (until, begins) in [
        ("1970-01-02T00:00:00Z", true),
        ("2100-01-01T00:00:00Z", false),
    ] {
        let mut world = World::new(json!({"steps": [
            agent("plan", "x"),
            {"name": "soak", "wait": {"until": "${steps.plan.output.at}"}},
            agent("ship", "${steps.soak.phase}"),
        ]}));
        world.pass();
        world.end("plan", Child::Succeeded(json!({ "at": until })));
        world.pass();
        world.pass();
        assert_eq!(world.was_made("ship"), begins);
    }
    let mut world = World::new(json!({"steps": [{"name": "soak", "wait": {"until": "tomorrow"}}]}));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.contains("steps[soak].wait.until: gives no time like"))
    );
}

#[test]
fn a_run_that_is_cancelled_waits_for_nothing_more() {
    let mut world = World::new(json!({"steps": [{"name": "soak", "wait": {"for": "60s"}}]}));
    world.pass();
    world.wanted = DesiredState::Cancelled;
    assert_eq!(world.pass(), Some(Over::Cancelled));
}
