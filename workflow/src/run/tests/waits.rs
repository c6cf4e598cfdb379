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

/// Ten items give to what is shared, and the report begins with the first three.
fn reviewers() -> World {
    World::new(json!({
        "shared": {"notes": {"merge": "Append"}},
        "failFast": false,
        "steps": [
            with(agent("review", "${item}"), json!({"forEach": ["a", "b", "c", "d"], "share": {"notes": "${self.output}"}})),
            {"name": "enough", "wait": {"condition": "size(shared.notes) >= 2", "for": "1h"}},
            with(agent("report", "Notes: ${shared.notes}"), json!({"after": ["enough"]})),
        ],
    }))
}

#[test]
fn a_condition_is_waited_for_while_others_share() {
    let mut world = reviewers();
    world.pass();
    assert_eq!(world.next, Some(Duration::from_secs(3600)));
    world.pass();
    world.end_unit("review[1]", Child::Succeeded(json!("second")));
    world.pass();
    assert!(!world.was_made("report"));
    world.disturbed(0, false); // the process dies: what was shared is the same
    world.end_unit("review[0]", Child::Succeeded(json!("first")));
    // One pass: what made it true is the beginning of what waited for it.
    world.pass();
    assert_eq!(world.steps.succeeded, ["enough"]);
    assert!(world.was_made("report"));
    let prompt = world.prompt("report");
    assert!(
        prompt.contains("first") && prompt.contains("second"),
        "{prompt}"
    );
}

#[test]
fn a_condition_that_is_true_at_once_is_not_waited_for() {
    let mut world = World::new(json!({
        "shared": {"notes": {"merge": "Append"}},
        "steps": [
            {"name": "enough", "wait": {"condition": "size(shared.notes) == 0", "until": "2100-01-01T00:00:00Z"}},
            with(agent("report", "x"), json!({"after": ["enough"]})),
        ],
    }));
    world.pass();
    assert_eq!(world.units(), ["report"]);
}

#[test]
fn a_condition_that_does_not_become_true_fails_the_step_when_its_time_is_over() {
    let mut world = reviewers();
    world.pass();
    world.pass();
    world.later(3599);
    world.pass();
    assert!(world.steps.failed.is_empty());
    world.later(1);
    world.pass();
    let failed = &world.steps.failed[0];
    assert_eq!(
        (failed.name.as_str(), failed.class.as_str()),
        ("enough", "Timeout")
    );
    assert!(
        failed
            .message
            .starts_with("steps[enough].wait.condition did not become true until 1970-01-12T"),
        "{}",
        failed.message
    );
    assert!(!world.was_made("report"));
}

#[test]
fn a_condition_without_a_value_fails_its_step_and_says_where() {
    let mut world = World::new(json!({
        "shared": {"best": {"merge": "Max"}},
        "steps": [{"name": "enough", "wait": {"condition": "shared.best.score > 3", "for": "1h"}}],
    }));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.contains("steps[enough].wait.condition: the expression"))
    );
}
