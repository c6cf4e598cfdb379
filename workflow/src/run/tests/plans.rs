//! Graphs that a model made: as a step, and one after another that failed.

use super::super::{Over, What, keep};
use super::world::{World, agent, end, failed, with};
use crate::graph::Graph;
use crate::run::Child;
use oarmaster_crds::kinds::steps::StepsStatus;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn planned(from: &str) -> Value {
    json!({"name": "extra", "workflow": {"from": from, "allow": {"agents": ["coder"], "steps": 4}}})
}

#[test]
fn a_graph_that_a_step_made_is_a_run_of_its_own() {
    for output in [
        json!({"graph": {"steps": [agent("work", "x ${params.about}")], "params": {"type": "object", "properties": {"about": {"type": "string", "default": "a"}}}}}),
        json!({"graph": json!({"steps": [agent("work", "x")]}).to_string()}),
    ] {
        let mut world = World::new(
            json!({"steps": [agent("plan", "plan"), planned("${steps.plan.output.graph}")]}),
        );
        world.pass();
        world.end("plan", Child::Succeeded(output));
        world.pass();
        assert_eq!(world.steps.failed, []);
        let What::Task(task) = world.made("extra") else {
            panic!("it is no Task");
        };
        let workflow = task.workflow.unwrap();
        assert_eq!(workflow.name, None);
        assert_eq!(workflow.allow.unwrap().agents, ["coder"]);
        let spec = workflow.spec.unwrap();
        assert_eq!(spec["steps"][0]["name"], "work");
        // What is an expression in it is one of that run, and not of this one.
        assert!(
            spec["steps"][0]["params"]["prompt"]
                .as_str()
                .unwrap()
                .starts_with('x')
        );
    }
}

#[test]
fn what_is_wrong_with_a_graph_is_told_so_that_a_planner_can_mend_it() {
    let mut world = World::new(json!({"steps": [
        agent("plan", "plan"),
        planned("${steps.plan.output.graph}"),
        with(agent("again", "mend: ${steps.extra.failure.message}"), json!({"if": "steps.extra.failed"})),
    ]}));
    world.pass();
    let bad = json!({"name": "a", "agent": {"name": "admin"}, "budget": {"usd": "9"}, "params": {"prompt": "x"}});
    world.end("plan", Child::Succeeded(json!({"graph": {"steps": [bad]}})));
    world.pass();
    assert!(!world.was_made("extra"));
    assert_eq!(world.steps.failed[0].class, "ModelOutputInvalid");
    let told = world.prompt("again");
    for text in [
        "steps[extra].workflow.from",
        "spec.steps[a].agent: name one of coder",
        "spec.steps[a].budget",
    ] {
        assert!(told.contains(text), "{told}");
    }
}

#[test]
fn items_that_only_a_run_knows_count_against_the_cap() {
    for (items, runs) in [(3, true), (4, false)] {
        let list: Vec<usize> = (0..items).collect();
        let mut world = World::new(json!({"steps": [
            agent("list", "x"),
            with(agent("each", "do ${item}"), json!({"forEach": "${steps.list.output}"})),
        ]}));
        world.most_tasks = Some(4);
        world.pass();
        world.end("list", Child::Succeeded(json!(list)));
        world.pass();
        assert_eq!(world.was_made("each"), runs, "{items} items");
        if !runs {
            assert_eq!(world.steps.failed[0].class, "LimitReached");
        }
    }
}

fn compiled(steps: Value) -> Graph {
    Graph::compile(
        &serde_json::from_value(json!({"shared": {"all": {"merge": "Append"}}, "steps": steps}))
            .unwrap(),
    )
    .unwrap()
}

/// Name, the graph before and after, what succeeded there, and what is kept.
type Case = (
    &'static str,
    Value,
    Value,
    &'static [&'static str],
    &'static [&'static str],
);

#[test]
fn a_step_is_kept_if_it_is_the_same_and_rests_on_kept_ones_alone() {
    let a = || agent("a", "x");
    let b = || agent("b", "${steps.a.output}");
    let with_keep = || with(agent("c", "x"), json!({"workspace": {"from": "a"}}));
    let cases: [Case; 9] = [
        (
            "the same",
            json!([a(), b()]),
            json!([a(), b()]),
            &["a", "b"],
            &["a", "b"],
        ),
        (
            "in another order",
            json!([a(), b()]),
            json!([b(), a()]),
            &["a", "b"],
            &["a", "b"],
        ),
        (
            "one that failed",
            json!([a(), b()]),
            json!([a(), b()]),
            &["a"],
            &["a"],
        ),
        (
            "one that changed, and what reads it",
            json!([a(), b()]),
            json!([agent("a", "y"), b()]),
            &["a", "b"],
            &[],
        ),
        (
            "one that is gone",
            json!([a(), b()]),
            json!([a()]),
            &["a", "b"],
            &["a"],
        ),
        ("a new one", json!([a()]), json!([a(), b()]), &["a"], &["a"]),
        (
            "one after another",
            json!([a(), agent("b", "x")]),
            json!([a(), with(agent("b", "x"), json!({"after": ["a"]}))]),
            &["a", "b"],
            &["a"],
        ),
        (
            "whose workspace was not kept",
            json!([a()]),
            json!([a(), with_keep()]),
            &["a"],
            &[],
        ),
        (
            "what reads what is shared",
            json!([agent("a", "${shared.all}")]),
            json!([agent("a", "${shared.all}")]),
            &["a"],
            &[],
        ),
    ];
    for (name, before, after, succeeded, expected) in cases {
        let held = StepsStatus {
            succeeded: succeeded.iter().map(|name| (*name).to_owned()).collect(),
            ..StepsStatus::default()
        };
        let after = compiled(after);
        let (steps, kept) = keep(&compiled(before), &held, &after, 1);
        assert_eq!(kept, expected, "{name}");
        assert_eq!(steps.succeeded, kept, "{name}");
        let anew: BTreeSet<&String> = steps.rerun.keys().collect();
        let all = after.steps.iter().map(|step| &step.spec.name);
        let others = all.filter(|name| !kept.contains(name)).collect();
        assert_eq!(anew, others, "{name}");
    }
}

#[test]
fn nothing_is_kept_where_it_was_undone_or_parameters_are_others() {
    let graph = compiled(json!([agent("a", "x")]));
    let mut held = StepsStatus {
        succeeded: vec!["a".to_owned()],
        ..StepsStatus::default()
    };
    let mut other = graph.clone();
    other.spec.params = Some(json!({"type": "object"}));
    assert!(keep(&graph, &held, &other, 1).1.is_empty());
    held.ending = serde_json::from_value(
        json!({"phase": "Failed", "since": "2025-01-01T00:00:00Z", "undo": {"done": ["a"]}}),
    )
    .unwrap();
    assert!(keep(&graph, &held, &graph, 1).1.is_empty());
}

/// Steps by what they say, and whom they need of those before them.
fn plan(steps: &[(u8, Vec<usize>)]) -> Value {
    let steps = steps.iter().enumerate().map(|(at, (says, needs))| {
        let after: BTreeSet<String> = needs
            .iter()
            .filter(|need| **need < at)
            .map(|need| format!("s{need}"))
            .collect();
        let step = agent(&format!("s{at}"), &format!("do {says}"));
        with(step, json!({"after": after}))
    });
    json!({ "steps": steps.collect::<Vec<_>>() })
}

proptest! {
    /// Plan after plan: each ends, no name is used twice for what is made anew, and what is kept is what a fresh look at both graphs would keep.
    #[test]
    fn a_plan_after_another_one_goes_on_where_that_ended(
        plans in prop::collection::vec(prop::collection::vec((0u8..2, prop::collection::vec(0usize..5, 0..3)), 1..6), 2..5),
        fails in prop::collection::vec(prop::bool::weighted(0.4), 24),
    ) {
        let mut world = World::new(plan(&plans[0]));
        for (number, steps) in plans.iter().enumerate() {
            if number > 0 {
                let after = Graph::compile(&serde_json::from_value(plan(steps)).unwrap()).unwrap();
                let before = world.steps.clone();
                let (steps, kept) = keep(&world.graph, &before, &after, i64::try_from(number).unwrap());
                for name in &kept {
                    let of = |graph: &Graph| graph.find(name).map(|at| graph.steps[at].clone()).unwrap();
                    prop_assert_eq!(of(&world.graph).spec, of(&after).spec);
                    prop_assert!(before.succeeded.contains(name));
                    for need in &of(&after).needs {
                        prop_assert!(kept.contains(&after.steps[*need].spec.name));
                    }
                }
                world.graph = after;
                world.steps = steps;
            }
            let before: BTreeSet<String> = world.found.keys().cloned().collect();
            let kept = world.steps.succeeded.clone();
            let over = end(&mut world, |unit| {
                let at: usize = unit[1..].parse().unwrap();
                if fails[(at + number * 5) % 24] { failed("ToolFailed", unit) } else { Child::Succeeded(json!(unit)) }
            });
            let made: BTreeSet<String> = world.found.keys().cloned().collect();
            for name in &kept {
                prop_assert!(world.steps.succeeded.contains(name), "{name} stays");
            }
            // What runs in this plan has objects of this plan alone.
            let ran = world.steps.succeeded.len() + world.steps.failed.iter().filter(|step| step.object.is_some()).count();
            prop_assert_eq!(made.difference(&before).count(), ran - kept.len());
            prop_assert_eq!(matches!(over, Over::Succeeded(_)), world.steps.failed.is_empty());
        }
    }
}

#[test]
fn a_goal_is_a_run_of_its_own_with_its_text() {
    let goal = json!({"text": "Fix ${steps.find.output}.", "planner": {"name": "architect"}, "allow": {"agents": ["coder"]}});
    let mut world = World::new(
        json!({"steps": [agent("find", "x"), {"name": "fix", "goal": goal, "budget": {"usd": "1"}}]}),
    );
    world.pass();
    world.end("find", Child::Succeeded(json!("the parser")));
    world.pass();
    let task = world.task("fix");
    let goal = task.goal.unwrap();
    assert_eq!(goal.text, "Fix the parser.");
    assert_eq!(
        (goal.allow.agents, goal.allow.steps),
        (vec!["coder".to_owned()], 30)
    );
    assert!(task.budget.is_some() && task.workflow.is_none());
}

#[test]
fn what_is_wrong_with_such_a_step_is_told() {
    let allow = json!({"agents": ["coder"]});
    let goal = |planner: &str| json!({"text": "x", "planner": {"name": planner}, "allow": allow});
    let cases = [
        (json!({"workflow": {}}), "workflow: set exactly one of name"),
        (
            json!({"workflow": {"name": "w", "from": "${params}", "allow": allow}}),
            "workflow: set exactly one of name",
        ),
        (
            json!({"workflow": {"from": "${steps.b.output}"}}),
            "workflow: from needs allow",
        ),
        (
            json!({"workflow": {"name": "w", "allow": allow}}),
            "workflow: allow goes with from",
        ),
        (
            json!({"workflow": {"from": "${steps.none.output}", "allow": allow}}),
            "workflow.from: the expression",
        ),
        (
            json!({"workflow": {"from": "${steps.b.output}", "allow": {}}}),
            "workflow.allow: set agents",
        ),
        (
            json!({"goal": goal("a"), "workflow": {"name": "w"}}),
            "set exactly one of agent, run, workflow, goal",
        ),
        (
            json!({"goal": goal("a"), "timeout": "1m"}),
            "timeout and retry are for an agent or a run",
        ),
        (
            json!({"goal": goal("a"), "params": {"a": 1}}),
            "params: are for an agent or a workflow",
        ),
        (
            json!({"goal": goal("${params.who}")}),
            "goal.planner.name: has an expression",
        ),
    ];
    for (step, expected) in cases {
        let step = with(json!({"name": "a"}), step);
        let spec = serde_json::from_value(json!({"steps": [step, agent("b", "x")]})).unwrap();
        let problems = Graph::compile(&spec).unwrap_err();
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}
