//! Steps with many items: their Tasks are let go, and nothing else changes.

use super::super::{Folding, Moves, Seen};
use super::world::{World, agent, end, failed, with};
use super::*;
use oarmaster_crds::kinds::task::RerunSpec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A step with so many items, and one that reads what came of them.
fn many(items: usize, more: Value) -> World {
    let work = with(
        agent("work", "do ${item}"),
        json!({"forEach": (0..items).collect::<Vec<_>>()}),
    );
    let spec = json!({"steps": [
        with(work, more),
        agent("sum", "${size(steps.work.output)} ${steps.work.output[7]} ${steps.work.items.filter(one, one.failed).size()}"),
    ]});
    let mut world = World::new(spec);
    world.folding = Some(Folding::USUAL);
    world
}

/// Ends all that is under way until the run ends; each item as it is told.
fn run(world: &mut World, outcome: impl Fn(i64) -> Child) -> Over {
    for _ in 0..100_000 {
        if let Some(over) = world.pass() {
            return over;
        }
        for unit in world.steps.active.clone() {
            let child = unit.item.map_or(Child::Succeeded(json!("x")), &outcome);
            world.found.get_mut(&unit.object).unwrap().now = child;
        }
    }
    panic!("it does not end");
}

#[test]
fn of_many_items_few_are_objects_and_the_status_stays_small() {
    let mut world = many(3000, json!({"parallel": 100, "tolerate": "50%"}));
    // The worst for what is written down: every other one fails.
    let over = run(&mut world, |item| match item % 2 {
        0 => failed("ToolFailed", "boom"),
        _ => Child::Succeeded(json!(item)),
    });
    assert!(matches!(over, Over::Succeeded(_)), "{over:?}");
    assert_eq!(world.prompt("sum"), "3000 7 1500");
    assert!(world.most <= 500, "{} objects", world.most);
    assert!(
        world.largest <= 16 << 10,
        "{} bytes of status",
        world.largest
    );
}

#[test]
fn what_was_let_go_is_undone_with_what_it_left() {
    let undo = json!({"undo": {"agent": {"name": "coder"}, "params": {"prompt": "revert ${self.output} of ${item}"}}});
    let mut world = many(8, with(json!({"parallel": 2}), undo));
    world.folding = Some(Folding {
        above: 2,
        stay: 1,
        failed: 0,
        batch: 1,
    });
    run(&mut world, |item| Child::Succeeded(json!(item * 10)));
    assert!(!world.store.is_empty());
    // All of it at once is more than is read at once.
    world.readable = 1;
    world.refuse("work");
    world.steps = roll_back(&world.graph, &world.steps, jiff::Timestamp::UNIX_EPOCH).unwrap();
    world.wanted = DesiredState::RolledBack;
    world.pass();
    assert_eq!(world.units(), ["-work[6]", "-work[7]"], "two at a time");
    assert_eq!(world.unit_prompt("-work[7]"), "revert 70 of 7");
    assert_eq!(world.unit_prompt("-work[6]"), "revert 60 of 6");
    assert_eq!(
        end(&mut world, |_| Child::Succeeded(json!(1))),
        Over::RolledBack
    );
    assert_eq!(world.unit_prompt("-work[0]"), "revert 0 of 0");
}

#[test]
fn what_nobody_keeps_any_more_is_said() {
    let mut world = many(8, json!({"parallel": 8}));
    world.folding = Some(Folding {
        above: 2,
        stay: 0,
        failed: 0,
        batch: 8,
    });
    world.pass();
    for item in 0..7 {
        world.end_unit(&format!("work[{item}]"), Child::Succeeded(json!(item)));
    }
    world.pass();
    world.folding = Some(Folding {
        above: 2,
        stay: 0,
        failed: 0,
        batch: 1,
    });
    world.pass();
    assert_eq!(world.steps.fans[0].folded, "0-6");
    world.store.clear();
    world.end_unit("work[7]", Child::Succeeded(json!(7)));
    let Some(Over::Failed(failure)) = world.pass() else {
        panic!("it has what is gone");
    };
    let text = "StateRegressed: the output of step work, item 0, is gone: it is no longer kept (gateway.retention.artifacts); run the workflow anew";
    assert!(failure.message.contains(text), "{}", failure.message);
}

#[test]
fn artifacts_of_items_that_others_need_keep_their_tasks() {
    let work = with(
        agent("work", "do ${item}"),
        json!({"forEach": [1, 2, 3], "artifacts": [{"name": "out", "path": "out"}]}),
    );
    let sum = with(
        agent("sum", "x"),
        json!({"files": [{"path": "in", "artifact": {"step": "work", "name": "out"}}]}),
    );
    let mut world = World::new(json!({"steps": [work, sum]}));
    world.folding = Some(Folding {
        above: 0,
        stay: 0,
        failed: 0,
        batch: 1,
    });
    run(&mut world, |item| Child::Succeeded(json!(item)));
    assert!(world.store.is_empty());
}

#[test]
fn a_list_is_put_together_once() {
    let mut world = many(5, json!({"parallel": 1}));
    world.pass();
    assert_eq!(world.lists.len(), 1);
    // It is taken as it was then, without another look: what the expression gives now does not count.
    let other = with(agent("work", "do ${item}"), json!({"forEach": [9]}));
    let other = World::new(json!({"steps": [other]})).graph.steps.remove(0);
    world.graph.steps[0].over = other.over;
    for item in 0..4 {
        world.end_unit(&format!("work[{item}]"), Child::Succeeded(json!(item)));
        world.pass();
    }
    assert_eq!(world.unit_prompt("work[4]"), "do 4");
}

#[derive(Clone, Debug)]
struct Case {
    items: usize,
    parallel: usize,
    folding: Folding,
    fails: Vec<bool>,
    repeats: bool,
    /// How many objects each pass makes before the process dies, and whether its status is written.
    passes: Vec<(usize, bool, u8)>,
}

fn case() -> impl Strategy<Value = Case> {
    let folding =
        (0usize..4, 0usize..3, 0usize..3, 1usize..4).prop_map(|(above, stay, failed, batch)| {
            Folding {
                above,
                stay,
                failed,
                batch,
            }
        });
    (
        1usize..14,
        1usize..6,
        folding,
        prop::collection::vec(prop::bool::weighted(0.3), 14),
        any::<bool>(),
        prop::collection::vec((0usize..6, any::<bool>(), any::<u8>()), 0..40),
    )
        .prop_map(|(items, parallel, folding, fails, repeats, passes)| Case {
            items,
            parallel,
            folding,
            fails,
            repeats,
            passes,
        })
}

fn world(case: &Case) -> World {
    let mut work = with(
        agent("work", "do ${item}"),
        json!({"forEach": (0..case.items).collect::<Vec<_>>(), "parallel": case.parallel, "tolerate": case.items,
            "share": {"notes": "${self.output.n}"},
            "undo": {"agent": {"name": "coder"}, "params": {"prompt": "revert ${self.output.n}"}}}),
    );
    if case.repeats {
        work = with(
            work,
            json!({"repeat": {"until": "self.output.n % 3 != 1", "limit": 3}}),
        );
    }
    let sum = with(
        agent(
            "sum",
            "${shared.notes} ${steps.work.output} ${steps.work.items.map(one, one.phase)}",
        ),
        json!({"after": ["work"]}),
    );
    World::new(
        json!({"shared": {"notes": {"merge": "Append"}}, "steps": [work, sum], "output": "${steps.work.output}"}),
    )
}

/// How a unit ends: the same whenever it is asked.
fn outcome(case: &Case, unit: &str, turn: i64) -> Child {
    let Some((_, item)) = unit.split_once('[') else {
        return Child::Succeeded(json!("x"));
    };
    let item: usize = item.trim_end_matches(']').parse().unwrap();
    if case.fails[item] {
        return failed("ToolFailed", "boom");
    }
    let item = i64::try_from(item).unwrap();
    Child::Succeeded(json!({"n": item + if turn > 1 { 2 * turn } else { 0 }}))
}

fn step(world: &mut World, case: &Case, which: u8) {
    for (nth, unit) in world.steps.active.clone().into_iter().enumerate() {
        let Some(found) = world.found.get_mut(&unit.object) else {
            continue;
        };
        if which >> (nth % 8) & 1 == 1 && matches!(found.now, Child::Live(_)) {
            found.now = outcome(case, &unit.label(), unit.turn);
        }
    }
}

fn finish(world: &mut World, case: &Case) -> Over {
    for _ in 0..1000 {
        if let Some(over) = world.pass() {
            return over;
        }
        step(world, case, u8::MAX);
    }
    panic!("it does not end: {:?}", world.steps);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever is let go, and wherever the process dies meanwhile, what the others see of it is the same.
    #[test]
    fn what_is_let_go_changes_nothing(case in case()) {
        let mut calm = world(&case);
        let expected = finish(&mut calm, &case);
        let mut world = world(&case);
        world.folding = Some(case.folding);
        for (objects, written, which) in &case.passes {
            world.holds = which % 3 == 0;
            if world.disturbed(*objects, *written).is_some() {
                break;
            }
            step(&mut world, &case, *which);
        }
        world.holds = case.passes.len() % 2 == 0;
        let over = finish(&mut world, &case);
        prop_assert_eq!(over, expected);
        prop_assert_eq!(world.prompt("sum"), calm.prompt("sum"));
        let first = |world: &World| world.steps.fans[0].failed.clone();
        prop_assert_eq!(first(&world), first(&calm));

        // Run anew, all of it or what failed, it is the same again; and then it is undone.
        for (count, from) in [(1, vec!["work".to_owned()]), (2, Vec::new())] {
            let mut ends = Vec::new();
            for world in [&mut calm, &mut world] {
                let spec = RerunSpec { count, from: from.clone() };
                let Ok(steps) = rerun(&world.graph, &world.steps, &spec, false) else {
                    continue;
                };
                world.steps = steps;
                ends.push((finish(world, &case), world.prompt("sum")));
            }
            prop_assert_eq!(ends.first(), ends.last());
        }
        for world in [&mut calm, &mut world] {
            world.wanted = DesiredState::RolledBack;
            let now = jiff::Timestamp::UNIX_EPOCH;
            world.steps = roll_back(&world.graph, &world.steps, now).unwrap();
            prop_assert_eq!(end(world, |_| Child::Succeeded(json!(1))), Over::RolledBack);
        }
        for item in 0..case.items {
            let unit = format!("-work[{item}]");
            prop_assert_eq!(world.made_of(&unit), calm.made_of(&unit), "{} was undone", unit);
        }
    }
}

#[test]
fn a_pass_that_has_to_read_first_does_nothing_else() {
    let mut world = many(3, json!({"parallel": 3}));
    world.folding = Some(Folding {
        above: 0,
        stay: 0,
        failed: 0,
        batch: 1,
    });
    world.pass();
    for item in 0..3 {
        world.end_unit(&format!("work[{item}]"), Child::Succeeded(json!(item)));
    }
    // All of them are through, and let go by the next pass.
    let steps = world.steps.clone();
    let seen = |world: &World| -> Moves {
        let (params, refused, kept, lists) = Default::default();
        super::super::advance(
            &world.graph,
            &world.steps,
            &Seen {
                now: jiff::Timestamp::UNIX_EPOCH,
                task: "run",
                uid: "uid",
                wanted: DesiredState::Running,
                params: &params,
                found: &world.found,
                ran: Duration::ZERO,
                most: MAX_ACTIVE,
                refused: &refused,
                was_paused: false,
                most_tasks: None,
                folding: None,
                holds: false,
                kept: &kept,
                lists: &lists,
            },
        )
    };
    assert!(seen(&world).wants.is_empty());
    world.steps.fans[0].begun = 3;
    world.steps.fans[0].folded = "0-2".to_owned();
    world.steps.active.clear();
    let moves = seen(&world);
    let all = Want {
        step: "work".to_owned(),
        item: None,
    };
    assert_eq!(
        (moves.wants, moves.make.len(), moves.over),
        (vec![all], 0, None)
    );
    assert_ne!(steps, moves.steps);
    assert_eq!(world.steps, moves.steps);
}
