//! Attempts that shared pilots run.

use super::sim::{Sim, assert_end};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::task::Phase;
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::RunsIn;
use oarmaster_protocol::assignment::Target;
use serde_json::{Value, json};
use std::time::Duration;

/// A Task of an agent without tools.
fn thinker(spec: Value) -> Sim {
    let mut sim = Sim::new(spec);
    sim.agent.as_mut().unwrap().spec.tools.clear();
    sim
}

#[test]
fn a_task_without_a_sandbox_takes_three_writes_and_no_job() {
    let mut sim = thinker(json!({}));
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    assert_eq!(sim.gateway[&1].runs_in, RunsIn::Shared);
    sim.pilot_starts();
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running);
    sim.later(42);
    sim.hands_in(None);
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    assert_eq!(sim.writes, 3);
    assert!(sim.created.is_empty() && !sim.service_account);
    let status = sim.task.status.clone().unwrap();
    assert_eq!(status.ran_for.unwrap().0, "42s");
    assert!(status.job.is_none());
    assert_eq!(sim.condition(conditions::ISOLATED).1, "NotNeeded");
}

#[test]
fn what_runs_code_or_has_files_has_a_pod_of_its_own_and_so_has_every_task_of_a_class_that_says_so()
{
    let with = |spec: Value, tools: bool, shared_pilots: bool| {
        let mut sim = if tools { Sim::new(spec) } else { thinker(spec) };
        sim.class.as_mut().unwrap().spec.shared_pilots = shared_pilots;
        sim.settle();
        (sim.gateway[&1].runs_in.clone(), sim.created.len())
    };
    assert_eq!(with(json!({}), false, true), (RunsIn::Shared, 0));
    let run = json!({ "agent": null, "params": null, "run": { "command": ["true"] } });
    let file = json!({ "files": [{ "path": "a", "content": "" }] });
    for (spec, tools, shared) in [
        (json!({}), true, true),
        (run, true, true),
        (file, false, true),
        (json!({}), false, false),
    ] {
        let (runs_in, jobs) = with(spec, tools, shared);
        assert!(matches!(runs_in, RunsIn::Job(_)), "{runs_in:?}");
        assert_eq!(jobs, 1);
    }
}

/// What a schema's author chose may take any time to be held against an output: that is the pod's own time.
#[test]
fn whose_output_is_held_against_a_schema_has_a_pod_of_its_own_in_every_attempt() {
    let schema = || serde_json::from_value(json!({ "schema": { "type": "object" } })).unwrap();
    let own = |sim: &Sim, number: u32| matches!(sim.gateway[&number].runs_in, RunsIn::Job(_));
    let mut sim = thinker(json!({ "retry": { "limit": 1 } }));
    sim.agent.as_mut().unwrap().spec.output = Some(schema());
    sim.settle();
    assert!(own(&sim, 1));
    // Later attempts know it from what was pinned, whatever the Agent says by then.
    sim.agent.as_mut().unwrap().spec.output = None;
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.later(60);
    sim.settle();
    assert!(own(&sim, 2));

    // A command's own counts, too.
    let mut sim =
        thinker(json!({ "agent": { "name": "coder", "command": "judge" }, "params": null }));
    let command = json!({ "name": "judge", "prompt": "Judge it.", "output": { "schema": { "type": "object" } } });
    let commands = &mut sim.agent.as_mut().unwrap().spec.commands;
    commands.push(serde_json::from_value(command).unwrap());
    sim.settle();
    assert!(own(&sim, 1));
}

#[test]
fn where_an_attempt_was_opened_to_run_there_it_runs() {
    // The class changes between the open and the next pass.
    let mut sim = thinker(json!({}));
    sim.settle();
    sim.class.as_mut().unwrap().spec.shared_pilots = false;
    sim.settle();
    assert!(sim.created.is_empty());
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");

    // And the other way, where the operator died before it made the Job.
    let mut sim = thinker(json!({}));
    sim.class.as_mut().unwrap().spec.shared_pilots = false;
    sim.settle();
    sim.jobs.clear();
    sim.class.as_mut().unwrap().spec.shared_pilots = true;
    sim.settle();
    assert_eq!(sim.created.len(), 2);
    assert!(matches!(sim.gateway[&1].runs_in, RunsIn::Job(_)));

    // The next attempt is under the class of its day.
    sim.fails(FailureClass::Internal);
    sim.settle();
    sim.later(60);
    sim.settle();
    assert_eq!(sim.gateway[&2].runs_in, RunsIn::Shared);
}

#[test]
fn an_attempt_that_nobody_takes_ends_with_a_word_of_the_deployment() {
    let mut sim = thinker(json!({}));
    sim.settle();
    assert_eq!(sim.pass().next, Some(Duration::from_secs(300)));
    sim.later(299);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Pending);
    sim.later(1);
    let plan = sim.pass();
    assert_eq!(plan.fence.as_ref().map(|fence| fence.0), Some(1));
    sim.settle();
    assert_end(&sim, Phase::Failed, "StartFailed");
    let (_, _, message) = sim.condition(conditions::FAILED);
    assert!(message.contains("oarmaster-pilots"), "{message}");
}

#[test]
fn the_running_time_counts_from_the_first_claim() {
    let mut sim = thinker(json!({ "timeout": "10m" }));
    sim.settle();
    sim.later(100);
    sim.pilot_starts();
    sim.settle();
    sim.later(599);
    sim.pilot_starts(); // another pilot, after the claim was over
    sim.settle();
    assert_eq!(sim.phase(), Phase::Running);
    sim.later(1);
    let plan = sim.pass();
    assert!(plan.fence.is_some());
    sim.settle();
    assert_end(&sim, Phase::Failed, "Timeout");
}

#[test]
fn a_result_counts_however_late_it_is_seen_and_a_failure_is_tried_again() {
    let mut sim = thinker(json!({ "timeout": "10m" }));
    sim.settle();
    sim.succeeds();
    sim.later(10_000);
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");

    let mut sim = thinker(json!({ "retry": { "limit": 1 } }));
    sim.settle();
    sim.fails(FailureClass::Internal);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Waiting);
    sim.later(60);
    sim.settle();
    assert_eq!((sim.attempt(), sim.phase()), (2, Phase::Pending));
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
}

#[test]
fn one_that_was_stopped_at_the_gateway_is_begun_anew_unless_it_was_cancelled() {
    let mut sim = thinker(json!({}));
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim.gateway.get_mut(&1).unwrap().fenced = true;
    sim.settle();
    assert_eq!((sim.attempt(), sim.phase()), (2, Phase::Pending));
    sim.pilot_starts();
    sim.settle();
    sim.cancel();
    assert!(sim.pass().fence.is_some());
    sim.settle();
    assert_end(&sim, Phase::Cancelled, "Cancelled");
}

#[test]
fn tools_of_the_gateway_need_no_sandbox_and_their_keys_are_of_the_agents_namespace() {
    let mut sim = thinker(json!({}));
    let agent = sim.agent.as_mut().unwrap();
    agent.spec.tools = serde_json::from_value(json!([
        { "builtin": "Remember" },
        { "mcp": {
            "name": "hub", "url": "https://mcp.example.com/mcp", "secretKeyRef": { "name": "hub", "key": "token" },
            "allow": ["search"], "timeout": "90s",
        } },
        { "mcp": { "name": "docs", "url": "https://docs.example.com", "allow": ["find"] } },
    ]))
    .unwrap();
    let namespace = agent.metadata.namespace.clone().unwrap();
    let start = sim.pass().start.unwrap();
    let Target::Agent(target) = start.resolved.assignment.unwrap().target else {
        panic!("a run")
    };
    assert_eq!(target.tools, ["Remember"]);
    let [hub, docs] = &target.mcp[..] else {
        panic!("{:?}", target.mcp)
    };
    let key = hub.key.as_ref().unwrap();
    assert_eq!(
        (&key.namespace, &*key.name, &*key.key),
        (&namespace, "hub", "token")
    );
    assert_eq!(
        (&*hub.url, hub.timeout_ms),
        ("https://mcp.example.com/mcp", 90_000)
    );
    assert_eq!((&docs.key, docs.timeout_ms), (&None, 60_000));

    sim.settle();
    assert_eq!(sim.gateway[&1].runs_in, RunsIn::Shared);
    assert!(sim.created.is_empty());
}
