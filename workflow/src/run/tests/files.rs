//! Workspaces and artifacts that go from step to step.

use super::world::{World, end, failed, with};
use super::*;
use serde_json::json;

fn program(name: &str, more: Value) -> Value {
    with(
        json!({"name": name, "run": {"sandbox": {"image": "x"}, "command": ["x"]}}),
        more,
    )
}

#[test]
fn a_step_begins_with_the_workspace_of_another_one_which_keeps_it() {
    let mut world = World::new(json!({"steps": [
        program("build", json!({})),
        program("test", json!({"workspace": {"from": "build"}})),
        program("other", json!({})),
    ]}));
    world.pass();
    assert_eq!(world.live(), ["build", "other"], "it waits for it");
    assert_eq!(
        world
            .task("build")
            .workspace
            .map(|held| (held.keep, held.from)),
        Some((true, None))
    );
    assert_eq!(world.task("other").workspace, None);
    world.end("build", Child::Succeeded(json!(1)));
    world.pass();
    let held = world.task("test").workspace.unwrap();
    assert_eq!(held.from.unwrap().name, world.object("build"));
    assert!(!held.keep);
}

#[test]
fn an_expression_says_whose_workspace_it_is() {
    let spec = json!({"failFast": false, "steps": [
        program("build", json!({})),
        program("check", json!({"workspace": {"from": "build"}})),
        program("mend", json!({"if": "steps.check.failed", "workspace": {"from": "check"}})),
        program("ship", json!({"if": "true", "workspace": {"from": "${steps.mend.succeeded ? 'mend' : 'build'}"}})),
    ]});
    for (fails, source) in [(true, "mend"), (false, "build")] {
        let mut world = World::new(spec.clone());
        world.pass();
        world.end("build", Child::Succeeded(json!(1)));
        world.pass();
        let child = if fails {
            failed("ToolFailed", "no")
        } else {
            Child::Succeeded(json!(1))
        };
        world.end("check", child);
        world.pass();
        if fails {
            world.end("mend", Child::Succeeded(json!(1)));
            world.pass();
        }
        let held = world.task("ship").workspace.unwrap();
        assert_eq!(held.from.unwrap().name, world.object(source));
        assert!(world.task(source).workspace.unwrap().keep);
    }
}

#[test]
fn what_left_no_workspace_fails_the_step_that_wants_it() {
    let mut world = World::new(json!({"steps": [
        program("a", json!({"if": "false"})),
        program("b", json!({"workspace": {"from": "a"}})),
    ]}));
    assert!(
        matches!(world.pass(), Some(Over::Failed(failure)) if failure.message.starts_with("step b: InvalidInput: steps[b].workspace.from: is a, which left no workspace"))
    );
}

#[test]
fn a_repetition_goes_on_in_its_own_workspace() {
    let mut world = World::new(json!({"steps": [
        program("build", json!({})),
        program("fix", json!({
            "repeat": {"until": "self.output.green", "limit": 3},
            "workspace": {"from": "${has(self.output) ? 'self' : 'build'}"},
        })),
    ]}));
    world.pass();
    assert!(world.task("build").workspace.unwrap().keep);
    world.end("build", Child::Succeeded(json!(1)));
    world.pass();
    let first = world.object("fix");
    assert_eq!(
        world.task("fix").workspace.unwrap().from.unwrap().name,
        world.object("build")
    );
    world.end("fix", Child::Succeeded(json!({"green": false})));
    world.pass();
    let held = world.task("fix").workspace.unwrap();
    assert_eq!(held.from.unwrap().name, first);
    assert!(held.keep);
}

#[test]
fn artifacts_of_steps_are_files_of_others() {
    let mut world = World::new(json!({"steps": [
        program("build", json!({"artifacts": [{"name": "app", "path": "app.tar"}]})),
        program("work", json!({"forEach": [1, 2, 3], "tolerate": 1, "artifacts": [{"name": "patch", "path": "*.patch"}]})),
        program("test", json!({"files": [
            {"path": "app.tar", "artifact": {"step": "build", "name": "app"}},
            {"path": "patches", "artifact": {"step": "work", "name": "patch"}},
            {"path": "a.txt", "content": "x"},
        ]})),
    ]}));
    world.pass();
    world.end("build", Child::Succeeded(json!(1)));
    world.end_unit("work[1]", failed("ToolFailed", "no"));
    world.end_unit("work[0]", Child::Succeeded(json!(1)));
    world.end_unit("work[2]", Child::Succeeded(json!(1)));
    world.pass();
    let files = world.task("test").files;
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["app.tar", "patches/0", "patches/2", "a.txt"]);
    let first = files[0].artifact.as_ref().unwrap();
    assert_eq!(
        (first.task.name.as_str(), first.name.as_str()),
        (world.object("build").as_str(), "app")
    );
    assert!(matches!(
        end(&mut world, |_| Child::Succeeded(json!(1))),
        Over::Succeeded(_)
    ));
}
