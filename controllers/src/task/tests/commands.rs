//! Tasks that call a command of their agent.

use super::sim::{Sim, assert_end};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::assignment::{AgentTarget, Target};
use serde_json::{Value, json};

fn sim(command: &str, params: Value) -> Sim {
    let mut sim = Sim::new(json!({
        "agent": { "name": "coder", "command": command },
        "params": params,
    }));
    let spec = &mut sim.agent.as_mut().unwrap().spec;
    spec.output = serde_json::from_value(json!({ "schema": { "title": "the agent's" } })).unwrap();
    spec.commands = serde_json::from_value(json!([
        {
            "name": "writeTests",
            "prompt": "Write ${params.framework} tests for ${params.module}.",
            "params": {
                "type": "object", "required": ["module"],
                "properties": {
                    "module": { "type": "string" },
                    "framework": { "type": "string", "default": "pytest" },
                },
            },
            "output": { "schema": { "title": "the command's" } },
        },
        { "name": "explain", "prompt": "Explain it." },
    ]))
    .unwrap();
    sim
}

fn target(sim: &mut Sim) -> AgentTarget {
    let start = sim.pass().start.unwrap();
    match start.resolved.assignment.unwrap().target {
        Target::Agent(target) => *target,
        Target::Run(_) | Target::Workflow(_) => panic!("no agent"),
    }
}

#[test]
fn a_command_makes_the_prompt_and_has_the_form_of_its_answer() {
    let mut one = sim("writeTests", json!({ "module": "parser" }));
    let made = target(&mut one);
    assert_eq!(made.prompt, "Write pytest tests for parser.");
    assert_eq!(made.output_schema.unwrap()["title"], "the command's");
    let status = one.task.status.unwrap();
    assert_eq!(status.target.unwrap(), "agent/coder/writeTests");

    let made = target(&mut sim("explain", Value::Null));
    assert_eq!(made.prompt, "Explain it.");
    assert_eq!(made.output_schema.unwrap()["title"], "the agent's");
}

#[test]
fn params_that_a_command_does_not_take_end_the_task() {
    for (command, params, told) in [
        (
            "writeTests",
            json!({}),
            "command writeTests: spec.params.module: is missing: write a value of type string",
        ),
        (
            "writeTests",
            json!({ "module": 7 }),
            "spec.params.module: the value is not of type \"string\"",
        ),
        (
            "writeTests",
            json!({ "module": "a", "x": 1 }),
            "spec.params.x: the command has no such parameter; it takes framework, module",
        ),
        (
            "explain",
            json!({ "prompt": "x" }),
            "spec.params.prompt: the command takes no parameters",
        ),
        (
            "writeTests",
            json!({ "module": "x".repeat(300_000) }),
            "spec.params: are 300013 bytes of JSON",
        ),
    ] {
        let mut sim = sim(command, params);
        sim.settle();
        assert!(sim.created.is_empty());
        assert_end(&sim, Phase::Failed, "InvalidParams");
        assert_eq!(sim.condition(conditions::ACCEPTED).1, "InvalidParams");
        let text = sim.condition(conditions::READY).2;
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn a_command_that_the_agent_does_not_have_is_waited_for() {
    let mut sim = sim("review", json!({ "depth": 2 }));
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    let (_, why, text) = sim.condition(conditions::READY);
    assert_eq!(why, "RefsNotResolved");
    assert!(
        text.contains(
            "Agent coder has no command review in spec.commands, which has writeTests, explain;"
        ),
        "{text}"
    );
    let commands = &mut sim.agent.as_mut().unwrap().spec.commands;
    commands.push(serde_json::from_value(json!({ "name": "review", "prompt": "Review ${params.depth} deep.",
        "params": { "type": "object", "required": ["depth"], "properties": { "depth": { "type": "integer" } } } })).unwrap());
    assert_eq!(target(&mut sim).prompt, "Review 2 deep.");
}

#[test]
fn a_name_that_no_command_has_ends_the_task() {
    let mut sim = sim("in", json!({}));
    sim.settle();
    assert_end(&sim, Phase::Failed, "InvalidInput");
    assert!(
        sim.condition(conditions::READY)
            .2
            .contains("spec.agent.command")
    );
}

#[test]
fn it_is_told_what_an_attempt_was_made_of() {
    let mut sim = sim("explain", Value::Null);
    sim.settle();
    let made = |sim: &Sim| sim.task.status.clone().unwrap().provenance.unwrap();
    let first = made(&sim);
    // `printf 'Explain it.' | sha256sum`
    assert_eq!(
        first.prompt.as_deref(),
        Some("sha256:14645d9e417730e11860f74033ddfdf5d30ca2cd33dbb388b05cadd5647ff629")
    );
    assert!(first.class.as_ref().unwrap().starts_with("default@sha256:"));
    assert_eq!(first.image, None);
    let writes = sim.writes;
    sim.pilot_starts();
    sim.settle();
    assert_eq!(sim.writes, writes + 1, "with what is written anyway");
    assert_eq!(
        made(&sim).image.as_deref(),
        Some("docker.io/library/python@sha256:1")
    );

    // The next attempt has the same prompt, under the class of its day; its image is not known yet.
    sim.class.as_mut().unwrap().spec.startup_timeout = oarmaster_crds::GepDuration::new("90s");
    sim.fails(oarmaster_protocol::FailureClass::ModelUnavailable);
    sim.settle();
    sim.later(60);
    sim.settle();
    let second = made(&sim);
    assert_eq!(sim.attempt(), 2);
    assert_eq!(second.prompt, first.prompt);
    assert_ne!(second.class, first.class);
    assert_eq!(second.image, None);
}
