mod budget;
mod fans;
mod files;
mod folds;
mod keys;
mod plans;
mod properties;
mod undone;
mod waits;
mod world;

use super::*;
use serde_json::json;
use world::{World, agent, end, failed, with};

#[test]
fn a_step_begins_with_what_the_one_before_it_left() {
    let mut world = World::new(json!({
        "params": {"type": "object", "required": ["repo"], "properties": {"repo": {"type": "string"}}},
        "steps": [agent("build", "build ${steps.plan.output.what} of ${params.repo}"), agent("plan", "plan")],
        "output": {"built": "${steps.build.output}"},
    }));
    world.params.insert("repo".to_owned(), json!("acme/app"));
    world.pass();
    assert_eq!(world.live(), ["plan"]);
    world.end("plan", Child::Succeeded(json!({"what": "the parser"})));
    // One pass: the end of one step is the beginning of the next.
    world.pass();
    assert_eq!(world.live(), ["build"]);
    assert_eq!(world.prompt("build"), "build the parser of acme/app");
    world.end("build", Child::Succeeded(json!({"sha": 1})));
    assert_eq!(
        world.pass(),
        Some(Over::Succeeded(json!({"built": {"sha": 1}})))
    );
    assert_eq!(world.steps.succeeded, ["plan", "build"]);
}

#[test]
fn steps_that_need_nothing_begin_at_once_and_a_join_waits_for_all() {
    let mut world = World::new(json!({
        "steps": [agent("a", "x"), agent("b", "x"), with(agent("c", "x"), json!({"after": ["a", "b"]}))],
    }));
    world.pass();
    assert_eq!(world.live(), ["a", "b"]);
    world.end("a", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.live(), ["b"]);
    world.end("b", Child::Succeeded(json!(2)));
    world.pass();
    assert_eq!(world.live(), ["c"]);
    world.end("c", Child::Succeeded(json!({"text": "done"})));
    assert_eq!(
        world.pass(),
        Some(Over::Succeeded(json!({"c": {"text": "done"}})))
    );
}

#[test]
fn the_default_condition_takes_skipped_steps_and_not_failed_ones() {
    let mut world = World::new(json!({
        "failFast": false,
        "steps": [
            with(agent("skipped", "x"), json!({"if": "false"})),
            with(agent("runs", "x"), json!({"after": ["skipped"]})),
            agent("fails", "x"),
            with(agent("omitted", "x"), json!({"after": ["fails"]})),
            // Not begun either, though the step before it did not fail.
            with(agent("too", "x"), json!({"after": ["omitted"]})),
            agent("other", "x"),
        ],
    }));
    world.pass();
    assert_eq!(world.live(), ["fails", "other", "runs"]);
    world.end("fails", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.steps.skipped, ["skipped"]);
    assert_eq!(world.steps.omitted, ["omitted", "too"]);
    assert_eq!(world.live(), ["other", "runs"]);
    world.end("runs", Child::Succeeded(json!(1)));
    world.end("other", Child::Succeeded(json!(1)));
    let over = world.pass();
    assert_eq!(
        over,
        Some(Over::Failed(FailureStatus {
            class: "StepFailed".to_owned(),
            message: "step fails: ToolFailed: boom".to_owned(),
        }))
    );
}

#[test]
fn fail_fast_stops_the_others_at_once() {
    let mut world = World::new(json!({
        "steps": [agent("a", "x"), agent("b", "x"), with(agent("c", "x"), json!({"after": ["a"]}))],
        "finally": [agent("last", "${run.phase} ${run.?failure.?message.orValue('')}")],
    }));
    world.pass();
    world.end("b", failed("ToolFailed", "boom"));
    assert_eq!(world.pass(), None);
    assert_eq!(world.told("a"), DesiredState::Cancelled);
    assert_eq!(world.steps.omitted, ["c"]);
    // Finally waits until the one that is stopped has ended.
    assert_eq!(world.live(), ["a"]);
    world.end("a", Child::Cancelled);
    assert_eq!(world.pass(), None);
    assert_eq!(world.live(), ["last"]);
    assert_eq!(world.prompt("last"), "Failed step b: ToolFailed: boom");
    world.end("last", Child::Succeeded(json!(1)));
    assert!(matches!(world.pass(), Some(Over::Failed(failure)) if failure.class == "StepFailed"));
}

#[test]
fn a_failure_that_another_step_asks_for_stops_nothing() {
    let mut world = World::new(json!({
        "steps": [
            agent("build", "x"),
            with(agent("repair", "fix: ${steps.build.failure.message}"), json!({"if": "steps.build.failed"})),
            with(agent("ship", "x"), json!({"if": "steps.build.succeeded || steps.repair.succeeded"})),
        ],
    }));
    world.pass();
    world.end("build", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.live(), ["repair"]);
    assert_eq!(world.prompt("repair"), "fix: boom");
    world.end("repair", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.live(), ["ship"]);
    world.end("ship", Child::Succeeded(json!(2)));
    assert_eq!(world.pass(), Some(Over::Succeeded(json!({"ship": 2}))));
}

#[test]
fn an_expression_without_a_value_fails_its_step_with_its_field() {
    let cases = [
        (
            with(agent("b", "x"), json!({"if": "steps.a.output.sha == 'x'"})),
            "InvalidInput: steps[b].if: the expression `steps.a.output.sha == 'x'` asks for sha",
        ),
        (
            agent("b", "use ${steps.a.output.sha}"),
            "InvalidInput: steps[b].params: the expression `steps.a.output.sha` asks for sha",
        ),
        (
            agent("b", "${steps.a.output.n}"),
            "InvalidParams: with its values: steps[b].params.prompt: write a text",
        ),
        (
            json!({"name": "b", "run": {"command": ["x"], "env": {"N": "${steps.a.output.missing}"}}}),
            "InvalidInput: steps[b].run.env: the expression `steps.a.output.missing` asks for",
        ),
    ];
    for (step, expected) in cases {
        let mut world = World::new(json!({"steps": [agent("a", "x"), step]}));
        world.pass();
        world.end("a", Child::Succeeded(json!({"n": 1})));
        match world.pass() {
            Some(Over::Failed(failure)) => {
                let text = failure.message.strip_prefix("step b: ").unwrap();
                assert!(text.starts_with(expected), "{text}");
            }
            other => panic!("{expected}: {other:?}"),
        }
        assert!(!world.was_made("b"));
    }
}

#[test]
fn env_and_files_take_values_and_code_does_not() {
    let mut world = World::new(json!({
        "steps": [
            agent("a", "x"),
            {
                "name": "b",
                "run": {"language": "shell", "code": "echo ${N} $HOME", "env": {"N": "${steps.a.output.n}", "ALL": "${steps.a.output}"}},
                "files": [{"path": "a.txt", "content": "n is ${steps.a.output.n}"}, {"path": "b.json", "content": "${steps.a.output}"}],
            },
        ],
    }));
    world.pass();
    world.end("a", Child::Succeeded(json!({"n": 1})));
    world.pass();
    let made = world.task("b");
    let run = made.run.as_ref().unwrap();
    assert_eq!(run.code.as_deref(), Some("echo ${N} $HOME"));
    assert_eq!(run.env["N"], "1");
    assert_eq!(run.env["ALL"], r#"{"n":1}"#);
    assert_eq!(made.files[0].content.as_deref(), Some("n is 1"));
    assert_eq!(made.files[1].content.as_deref(), Some(r#"{"n":1}"#));
}

#[test]
fn a_rejected_approval_fails_its_step_and_an_answer_is_its_output() {
    let approval = json!({"name": "ask", "after": ["plan"], "approval": {
        "ask": "Ship ${steps.plan.output.what}\u{202e}?", "show": {"plan": "${steps.plan.output}"},
        "approvers": {"groups": ["leads"]},
    }});
    let spec = json!({"steps": [agent("plan", "x"), approval, agent("ship", "to ${steps.ask.output.values.where}")]});
    let mut world = World::new(spec.clone());
    world.pass();
    world.end("plan", Child::Succeeded(json!({"what": "it"})));
    world.pass();
    let What::Approval { ask, show, .. } = world.made("ask") else {
        panic!("no Approval");
    };
    assert_eq!(ask, r"Ship it\u{202E}?", "what is not seen is written out");
    assert_eq!(show["plan"], r#"{"what":"it"}"#);
    world.end(
        "ask",
        Child::Succeeded(json!({"decision": "Approved", "values": {"where": "prod"}})),
    );
    world.pass();
    assert_eq!(world.prompt("ship"), "to prod");

    let mut world = World::new(spec);
    world.pass();
    world.end("plan", Child::Succeeded(json!({"what": "it"})));
    world.pass();
    world.end("ask", failed("ApprovalRejected", "by alice"));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step ask: ApprovalRejected: by alice")
    );
    assert!(!world.was_made("ship"));
}

#[test]
fn a_deleted_approval_is_asked_anew_and_a_deleted_task_fails_its_step() {
    let mut world = World::new(json!({"steps": [
        {"name": "ask", "approval": {"ask": "Go?", "approvers": {"users": ["alice"]}}},
        agent("a", "x"),
    ]}));
    world.pass();
    world.pass();
    let first = world.object("ask");
    world.delete("ask");
    world.pass();
    assert_ne!(world.object("ask"), first);
    assert_eq!(world.live(), ["a", "ask"]);
    world.pass();
    world.delete("a");
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.starts_with("step a: Cancelled: Task ") && failure.message.ends_with("was deleted"))
    );
}

#[test]
fn an_object_of_somebody_else_is_a_conflict() {
    let mut world = World::new(json!({"steps": [agent("a", "x")]}));
    world.foreign("a");
    world.pass();
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.starts_with("step a: Conflict: Task "))
    );
}

#[test]
fn what_the_api_server_does_not_take_fails_its_step() {
    let mut world = World::new(
        json!({"failFast": false, "steps": [agent("a", "x"), agent("b", "x")], "finally": [agent("last", "x")]}),
    );
    world.refused.insert(
        "a".to_owned(),
        "the API server refuses the Task: too long".to_owned(),
    );
    world.pass();
    assert_eq!(world.live(), ["b"]);
    world.end("b", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.live(), ["last"], "it ends as a run does");
    world.end("last", Child::Succeeded(json!(1)));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step a: InvalidInput: the API server refuses the Task: too long")
    );
}

#[test]
fn a_failure_is_dealt_with_only_by_a_step_that_begins() {
    // The one that asks does not begin: the failure is the run's.
    let mut world = World::new(
        json!({"steps": [agent("build", "x"), with(agent("ship", "x"), json!({"if": "steps.build.succeeded"})), agent("other", "x")]}),
    );
    world.pass();
    world.end("build", failed("ToolFailed", "boom"));
    world.pass();
    assert_eq!(world.steps.skipped, ["ship"]);
    assert_eq!(world.told("other"), DesiredState::Cancelled);
    world.end("other", Child::Cancelled);
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step build: ToolFailed: boom")
    );
}

#[test]
fn people_who_were_not_asked_have_not_said_yes() {
    let mut world = World::new(json!({"steps": [
        {"name": "ask", "if": "false", "approval": {"ask": "Go?", "approvers": {"users": ["u"]}}},
        with(agent("ship", "x"), json!({"after": ["ask"]})),
        with(agent("anyway", "x"), json!({"if": "steps.ask.succeeded || steps.ask.skipped"})),
    ]}));
    world.pass();
    assert_eq!(world.live(), ["anyway"]);
    assert_eq!(world.steps.omitted, ["ship"]);
}

#[test]
fn a_task_that_was_made_by_a_pass_that_nobody_remembers_is_stopped_and_waited_for() {
    let mut world = World::new(
        json!({"steps": [agent("a", "x"), with(agent("b", "x"), json!({"after": ["a"]}))]}),
    );
    world.pass();
    world.end("a", Child::Succeeded(json!(1)));
    // One pass makes b and dies; the next one does not see it yet, and the run is cancelled.
    world.disturbed(usize::MAX, false);
    let (name, hidden) = (
        world.object("b"),
        world.found.remove(&world.object("b")).unwrap(),
    );
    world.wanted = DesiredState::Cancelled;
    world.disturbed(usize::MAX, true);
    assert_eq!(world.steps.omitted, ["b"]);
    world.found.insert(name, hidden);
    assert_eq!(world.pass(), None, "it is still under way");
    assert_eq!(world.told("b"), DesiredState::Cancelled);
    world.end("b", Child::Cancelled);
    assert_eq!(world.pass(), Some(Over::Cancelled));
}

#[test]
fn an_approval_that_is_deleted_again_and_again_fails_its_step() {
    let mut world = World::new(
        json!({"steps": [{"name": "ask", "approval": {"ask": "Go?", "approvers": {"users": ["u"]}}}]}),
    );
    for _ in 0..8 {
        assert_eq!(world.pass(), None);
        assert_eq!(world.pass(), None);
        world.delete("ask");
    }
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step ask: Cancelled: its Approval was deleted 8 times")
    );
    assert_eq!(world.times("ask"), 8);
}

#[test]
fn finally_has_its_time_from_when_it_begins_and_not_while_paused() {
    let mut world = World::new(json!({
        "timeouts": {"finally": "60s"},
        "steps": [agent("slow", "x"), agent("bad", "x")],
        "finally": [agent("last", "x")],
    }));
    world.pass();
    world.end("bad", failed("ToolFailed", "boom"));
    world.pass();
    world.later(1000); // so long takes the other one to stop
    world.pass();
    world.end("slow", Child::Cancelled);
    world.pass();
    assert_eq!(world.live(), ["last"]);
    world.wanted = DesiredState::Paused;
    world.pass();
    world.later(1000);
    world.pass();
    world.wanted = DesiredState::Running;
    world.was_paused = true;
    world.pass();
    assert_eq!(world.told("last"), DesiredState::Running);
    world.later(60);
    world.pass();
    assert_eq!(world.told("last"), DesiredState::Cancelled);
}

#[test]
fn a_paused_run_begins_nothing_and_its_tasks_are_paused() {
    let mut world = World::new(
        json!({"steps": [agent("a", "x"), with(agent("b", "x"), json!({"after": ["a"]}))]}),
    );
    world.pass();
    world.wanted = DesiredState::Paused;
    world.pass();
    assert_eq!(world.told("a"), DesiredState::Paused);
    world.end("a", Child::Succeeded(json!(1)));
    world.pass();
    assert_eq!(world.steps.succeeded, ["a"]);
    assert!(!world.was_made("b"));
    world.wanted = DesiredState::Running;
    world.pass();
    assert_eq!(world.live(), ["b"]);
    // One that somebody has paused by itself stays so.
    let name = world.object("b");
    world.found.get_mut(&name).unwrap().state = DesiredState::Paused;
    world.pass();
    assert_eq!(world.told("b"), DesiredState::Paused);
}

#[test]
fn a_cancelled_run_stops_its_tasks_and_does_finally() {
    let mut world = World::new(json!({
        "steps": [agent("a", "x"), with(agent("b", "x"), json!({"after": ["a"]})),
            {"name": "ask", "approval": {"ask": "Go?", "approvers": {"users": ["alice"]}}}],
        "finally": [agent("last", "${run.phase}")],
    }));
    world.pass();
    world.pass();
    world.wanted = DesiredState::Cancelled;
    assert_eq!(world.pass(), None);
    assert_eq!(world.told("a"), DesiredState::Cancelled);
    world.end("a", Child::Cancelled);
    assert_eq!(world.pass(), None);
    assert_eq!(world.prompt("last"), "Cancelled");
    assert_eq!(world.told("last"), DesiredState::Running);
    world.end("last", Child::Succeeded(json!(1)));
    assert_eq!(world.pass(), Some(Over::Cancelled));
    assert_eq!(world.steps.omitted, ["b"]);
    let failed: Vec<_> = world
        .steps
        .failed
        .iter()
        .map(|step| (step.name.as_str(), step.class.as_str()))
        .collect();
    assert_eq!(failed, [("ask", "Cancelled"), ("a", "Cancelled")]);
}

#[test]
fn the_time_of_a_run_and_of_finally_is_bounded() {
    let mut world = World::new(json!({
        "timeouts": {"run": "10s", "finally": "5s"},
        "steps": [agent("a", "x")],
        "finally": [agent("last", "x"), with(agent("never", "x"), json!({"after": ["last"]}))],
    }));
    world.pass();
    assert_eq!(world.next, Some(Duration::from_secs(10)));
    world.ran = Duration::from_secs(10);
    world.pass();
    assert_eq!(world.told("a"), DesiredState::Cancelled);
    world.end("a", Child::Cancelled);
    world.pass();
    assert_eq!(world.live(), ["last"]);
    assert_eq!(world.next, Some(Duration::from_secs(5)));
    world.later(5);
    world.pass();
    assert_eq!(world.told("last"), DesiredState::Cancelled);
    assert_eq!(world.steps.omitted, ["never"]);
    world.end("last", Child::Cancelled);
    assert!(matches!(world.pass(), Some(Over::Failed(failure)) if failure.class == "Timeout"));
}

#[test]
fn a_step_of_finally_that_fails_fails_the_run() {
    let mut world =
        World::new(json!({"steps": [agent("a", "x")], "finally": [agent("last", "x")]}));
    world.pass();
    world.end("a", Child::Succeeded(json!(1)));
    world.pass();
    world.end("last", failed("ToolFailed", "boom"));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message == "step last: ToolFailed: boom")
    );
}

#[test]
fn the_output_has_a_bound_and_errors_of_its_own() {
    let mut world =
        World::new(json!({"steps": [agent("a", "x")], "output": "${steps.a.output.none}"}));
    let over = end(&mut world, |_| Child::Succeeded(json!({"n": 1})));
    assert!(
        matches!(over, Over::Failed(failure) if failure.class == "InvalidInput" && failure.message.starts_with("output: "))
    );
    let mut world = World::new(json!({"steps": [agent("a", "x"), agent("b", "x")]}));
    let over = end(&mut world, |_| Child::Succeeded(json!("x".repeat(9000))));
    assert!(matches!(over, Over::Failed(failure) if failure.class == "OutputTooLarge"));
}

#[test]
fn no_more_than_the_most_are_under_way() {
    let steps: Vec<_> = (0..150).map(|at| agent(&format!("s{at}"), "x")).collect();
    let mut world = World::new(json!({"steps": steps}));
    world.pass();
    assert_eq!(world.live().len(), MAX_ACTIVE);
    let bytes = serde_json::to_vec(&world.steps).unwrap().len();
    assert!(bytes < 24 << 10, "{bytes}");
    world.end("s0", Child::Succeeded(json!(null)));
    world.pass();
    assert_eq!(world.live().len(), MAX_ACTIVE);
    assert_eq!(world.steps.succeeded, ["s0"]);
}
