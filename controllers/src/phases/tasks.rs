//! Tasks, in the small worlds of their own tests.

use super::{FAILED, GOES_ON, READY, Recorded, WAITS, recorded};
use crate::task::hire::Busy;
use crate::task::tests::runs::World;
use crate::task::tests::sim::Sim;
use oarmaster_crds::conditions::reason;
use oarmaster_crds::kinds::task::{DesiredState, Phase};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::admin::{Blocked, Isolated};
use oarmaster_protocol::request::Ask;
use serde_json::{Value, json};

/// A Task whose pilot runs.
fn running(spec: Value) -> Sim {
    let mut sim = Sim::new(spec);
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim
}

/// A Task that has asked for something, and has given up its pod.
fn asking(what: Ask) -> Sim {
    let mut sim = Sim::new(json!({"requestedBy": "bob"}));
    let agent = &mut sim.agent.as_mut().unwrap().spec;
    let tools =
        json!([{"builtin": "Shell"}, {"builtin": "Delegate", "agents": [{"name": "coder"}]}]);
    agent.tools = serde_json::from_value(tools).unwrap();
    let approvals = json!([{"tool": "Shell", "approvers": {"groups": ["leads"]}, "timeout": "1h"}]);
    agent.approvals = serde_json::from_value(approvals).unwrap();
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    let id = sim.asks(what);
    sim.settle();
    sim.parks(&id);
    sim.settle();
    sim
}

fn busy(reason: &'static str, message: &str) -> Sim {
    let mut sim = Sim::new(json!({}));
    sim.busy = Some(Busy {
        reason,
        message: message.to_owned(),
    });
    sim.settle();
    sim
}

/// A run of a graph, settled.
fn run(steps: Value) -> World {
    let mut world = World::new(json!({ "steps": steps }));
    world.settle();
    world
}

pub fn all() -> Vec<Recorded> {
    [before_it_begins(), under_way(), ended(), runs()].concat()
}

fn before_it_begins() -> Vec<Recorded> {
    let mut alone = Sim::new(json!({}));
    alone.agent = None;
    alone.settle();
    let mut no_room = Sim::new(json!({}));
    no_room.blocked = Some(Blocked {
        message: "team/day: $10.00 of $10.00, the next call needs up to $0.96".to_owned(),
        resets_ms: None,
    });
    no_room.settle();
    let mut queued = Sim::new(json!({"queue": "batch"}));
    queued.settle();
    let mut starts = Sim::new(json!({}));
    starts.settle();
    let of_agent = busy(reason::AGENT_BUSY, "Agent coder runs 5 Tasks");
    let of_namespace = busy(reason::NAMESPACE_BUSY, "namespace team runs 10 Tasks");
    vec![
        recorded("its agent does not exist", GOES_ON, &alone.task),
        recorded("its agent is busy", GOES_ON, &of_agent.task),
        recorded("its namespace is busy", GOES_ON, &of_namespace.task),
        recorded("it stands in a queue", GOES_ON, &queued.task),
        recorded("a budget has no room", WAITS, &no_room.task),
        recorded("it starts", GOES_ON, &starts.task),
    ]
}

fn under_way() -> Vec<Recorded> {
    let mut proven = running(json!({}));
    proven.gateway.get_mut(&1).unwrap().isolated = Some(Isolated {
        proven: true,
        message: "refused: sockets, tokens, other processes".to_owned(),
    });
    proven.later(6);
    proven.settle();
    let mut again = running(json!({}));
    again.fails(FailureClass::Internal);
    again.settle();
    let person = asking(Ask::Approval {
        tool: "Shell".to_owned(),
        arguments: json!({"command": "make"}),
    });
    let other = asking(Ask::Delegate {
        agent: "coder".to_owned(),
        prompt: "fix the parser".to_owned(),
        workspace: None,
    });
    let mut paused = running(json!({}));
    paused.state(DesiredState::Paused);
    paused.settle();
    vec![
        recorded("it runs", GOES_ON, &proven.task),
        recorded("it is tried again", GOES_ON, &again.task),
        recorded("it waits for a person", WAITS, &person.task),
        recorded("it waits for another Task", GOES_ON, &other.task),
        recorded("it is paused", WAITS, &paused.task),
    ]
}

fn ended() -> Vec<Recorded> {
    let mut done = running(json!({}));
    done.succeeds();
    done.settle();
    let mut failed = running(json!({}));
    failed.fails(FailureClass::NotAccepted);
    failed.settle();
    let mut open = running(json!({}));
    open.gateway.get_mut(&1).unwrap().isolated = Some(Isolated {
        proven: false,
        message: "a socket opened".to_owned(),
    });
    open.fails(FailureClass::IsolationUnproven);
    open.settle();
    let mut invalid = Sim::new(json!({"params": {"prompt": "x", "other": "y"}}));
    invalid.settle();
    let mut large = Sim::new(json!({}));
    large.agent.as_mut().unwrap().spec.sandbox.image = "ghcr.io/acme/x".to_owned();
    large.settle();
    let mut cancelled = running(json!({}));
    cancelled.cancel();
    cancelled.settle();
    vec![
        recorded("it is complete", READY, &done.task),
        recorded("its check said no", FAILED, &failed.task),
        recorded("its sandbox was not proven", FAILED, &open.task),
        recorded("its parameters do not fit", FAILED, &invalid.task),
        recorded("its class does not allow it", FAILED, &large.task),
        recorded("it is cancelled", FAILED, &cancelled.task),
    ]
}

fn runs() -> Vec<Recorded> {
    let step = json!({"name": "plan", "agent": {"name": "coder"}, "params": {"prompt": "x"}});
    let ask =
        json!({"name": "ask", "approval": {"ask": "Go?", "approvers": {"groups": ["leads"]}}});
    let runs = run(json!([step]));
    let asks = run(json!([ask]));
    let mut failed = run(json!([step]));
    failed.end("plan", Phase::Failed, json!(null));
    failed.settle();
    let mut done = run(json!([step]));
    done.end("plan", Phase::Succeeded, json!({"text": "x"}));
    done.settle();
    let mut back = World::new(json!({ "steps": [step] }));
    back.task.spec.state = DesiredState::RolledBack;
    back.settle();
    vec![
        recorded("a run runs", GOES_ON, &runs.task),
        recorded("a run waits for a person", WAITS, &asks.task),
        recorded("a step of a run failed", FAILED, &failed.task),
        recorded("a run is complete", READY, &done.task),
        recorded("a run is rolled back", FAILED, &back.task),
    ]
}
