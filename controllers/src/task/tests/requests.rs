//! What is made for a Task's requests, what is answered, and how a Task waits for it.

use super::sim::{Sim, assert_end, idle};
use crate::task::plan::plan;
use crate::task::requests::{MAX_DEPTH, handed, parent};
use oarmaster_crds::conditions;
use oarmaster_crds::kinds::approval::{ApprovalPhase, OnTimeout};
use oarmaster_crds::kinds::task::{DesiredState, Phase, RequestKind};
use oarmaster_crds::{Approval, ApprovalStatus, Task, TaskStatus, names};
use oarmaster_protocol::FailureClass;
use oarmaster_protocol::request::{Ask, action};
use serde_json::{Value, json};
use std::sync::Arc;

fn delegate(agent: &str) -> Ask {
    Ask::Delegate {
        agent: agent.to_owned(),
        prompt: "fix the parser".to_owned(),
        workspace: None,
    }
}

fn shell() -> Ask {
    Ask::Approval {
        tool: "Shell".to_owned(),
        arguments: json!({"command": "make"}),
    }
}

/// A Task with a pilot that runs, of an agent that may ask.
fn running() -> Sim {
    let mut sim = Sim::new(json!({"requestedBy": "bob", "priority": 3}));
    let agent = sim.agent.as_mut().unwrap();
    agent.spec.tools = serde_json::from_value(json!([
        {"builtin": "Shell"},
        {"builtin": "Delegate", "agents": [{"name": "coder"}]},
        {"builtin": "AskHuman", "approvers": {"users": ["carol"]}, "timeout": "2h"},
    ]))
    .unwrap();
    let approvals = json!([{"tool": "Shell", "approvers": {"groups": ["leads"]}, "timeout": "1h"}]);
    agent.spec.approvals = serde_json::from_value(approvals).unwrap();
    sim.settle();
    sim.pilot_starts();
    sim.settle();
    sim
}

fn child(sim: &Sim) -> Task {
    let (_, child) = sim.made.tasks.last_key_value().unwrap();
    child.as_ref().clone()
}

fn approval(sim: &Sim) -> Approval {
    let (_, approval) = sim.made.approvals.last_key_value().unwrap();
    approval.as_ref().clone()
}

fn ends(sim: &mut Sim, status: Value) {
    let mut child = child(sim);
    child.status = Some(serde_json::from_value::<TaskStatus>(status).unwrap());
    let name = child.metadata.name.clone().unwrap();
    sim.made.tasks.insert(name, Arc::new(child));
}

fn condition(kind: &str, value: bool) -> Value {
    let status = if value { "True" } else { "False" };
    json!({"type": kind, "status": status, "reason": "Any", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"})
}

fn decided(sim: &mut Sim, phase: ApprovalPhase, by: &[&str]) {
    let mut approval = approval(sim);
    let by: Vec<String> = by.iter().map(|name| (*name).to_owned()).collect();
    for user in &by {
        let decision = json!({"decision": "Approve", "note": format!("so says {user}")});
        let decision = serde_json::from_value(decision).unwrap();
        let held = approval.spec.decisions.entry(user.clone());
        held.or_insert(decision);
    }
    approval.status = Some(ApprovalStatus {
        phase: Some(phase),
        by,
        ..ApprovalStatus::default()
    });
    let name = approval.metadata.name.clone().unwrap();
    sim.made.approvals.insert(name, Arc::new(approval));
}

#[test]
fn a_delegation_becomes_a_child_task_and_its_output_the_answer() {
    let mut sim = running();
    let id = sim.asks(delegate("coder"));
    sim.settle();
    let made = child(&sim);
    let name = names::child_name("fix", "uid-1", "coder", &id);
    assert_eq!(made.metadata.name.as_deref(), Some(name.as_str()));
    assert_eq!(made.spec.requested_by.as_deref(), Some("bob"));
    assert_eq!(
        made.spec.agent.as_ref().unwrap().name.as_deref(),
        Some("coder")
    );
    let prompt = &made.spec.params.as_ref().unwrap()["prompt"];
    assert_eq!(prompt, &json!("fix the parser"));
    assert_eq!(parent(&made).unwrap().uid, "uid-1");
    assert_eq!(made.spec.priority, 3);
    let labels = made.metadata.labels.clone().unwrap();
    assert_eq!(labels[names::ROOT_UID_LABEL], "uid-1");
    assert_eq!(labels[names::DEPTH_LABEL], "1");
    let status = sim.task.status.clone().unwrap();
    assert_eq!(status.requests[0].kind, RequestKind::Task);
    assert_eq!(status.requests[0].uid, made.metadata.uid);
    assert_eq!(sim.phase(), Phase::Running);

    let done = json!({"conditions": [condition("Finished", true), condition("Complete", true)], "output": {"text": "done"}});
    ends(&mut sim, done);
    sim.settle();
    let answer = &sim.answers[&id];
    assert_eq!((answer.ok, &answer.value), (true, &json!({"text": "done"})));
    assert!(sim.task.status.as_ref().unwrap().requests.is_empty());
    assert!(idle(&plan(&sim.task, &sim.observe())));
}

/// The child says whose files it begins with, and the answer whose come back.
#[test]
fn files_go_with_a_delegation_and_come_back() {
    let mut sim = running();
    let Ask::Delegate { agent, prompt, .. } = delegate("coder") else {
        unreachable!()
    };
    let workspace = Some(vec![]);
    let id = sim.asks(Ask::Delegate {
        agent,
        prompt,
        workspace,
    });
    sim.settle();
    let made = child(&sim);
    let labels = made.metadata.labels.clone().unwrap();
    assert_eq!(labels[names::FILES_LABEL], id);
    let whose = handed(&made).unwrap();
    assert_eq!((&*whose.task, whose.request), ("uid-1", id.clone()));

    let done = json!({"conditions": [condition("Finished", true), condition("Complete", true)], "output": {"text": "done"}});
    ends(&mut sim, done);
    sim.settle();
    assert_eq!(sim.answers[&id].task, made.metadata.uid);

    // The label alone, of a Task that nobody owns, hands nothing on.
    let mut own = made;
    own.metadata.owner_references = None;
    assert_eq!(handed(&own), None);
}

#[test]
fn a_child_that_did_not_succeed_is_an_answer_that_says_why() {
    for (status, wanted) in [
        (
            json!({"failure": {"class": "Timeout", "message": "too late"}}),
            "Timeout: too late",
        ),
        (json!({}), "it was cancelled"),
    ] {
        let mut sim = running();
        let id = sim.asks(delegate("coder"));
        sim.settle();
        let mut status = status;
        status["conditions"] = json!([condition("Finished", true)]);
        ends(&mut sim, status);
        sim.settle();
        let answer = &sim.answers[&id];
        assert_eq!((answer.ok, &answer.value), (false, &json!(wanted)));
    }
    let mut sim = running();
    let id = sim.asks(delegate("coder"));
    sim.settle();
    sim.made.tasks.clear();
    sim.settle();
    assert_eq!(sim.answers[&id].value, json!("its Task was deleted"));
}

#[test]
fn what_the_agent_may_not_ask_for_is_refused_and_nothing_is_made() {
    let other = Ask::Approval {
        tool: "RunCode".to_owned(),
        arguments: json!({}),
    };
    for (what, wanted) in [
        (delegate("root"), "the Agent may not give it work"),
        (other, "the Agent has no approvers for this tool"),
    ] {
        let mut sim = running();
        let id = sim.asks(what);
        sim.settle();
        let answer = &sim.answers[&id];
        assert_eq!((answer.ok, &answer.value), (false, &json!(wanted)));
        assert!(sim.made.tasks.is_empty() && sim.made.approvals.is_empty());
    }
    // What the Agent says today does not count.
    let mut sim = running();
    sim.agent.as_mut().unwrap().spec.tools.clear();
    sim.asks(delegate("coder"));
    sim.settle();
    assert_eq!(sim.made.tasks.len(), 1);
}

#[test]
fn a_tree_of_tasks_has_a_bottom() {
    let mut sim = running();
    let depth = (names::DEPTH_LABEL.to_owned(), MAX_DEPTH.to_string());
    sim.task.metadata.labels = Some([depth].into());
    let id = sim.asks(delegate("coder"));
    sim.settle();
    assert!(!sim.answers[&id].ok && sim.made.tasks.is_empty());

    let mut sim = running();
    let labels = [(names::DEPTH_LABEL, "2"), (names::ROOT_UID_LABEL, "root")];
    sim.task.metadata.labels = Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    sim.asks(delegate("coder"));
    sim.settle();
    let labels = child(&sim).metadata.labels.unwrap();
    assert_eq!(labels[names::DEPTH_LABEL], "3");
    assert_eq!(labels[names::ROOT_UID_LABEL], "root");
    assert_eq!(labels[names::PARENT_UID_LABEL], "uid-1");
}

#[test]
fn an_object_of_somebody_else_under_that_name_is_no_answer() {
    let mut sim = running();
    let id = sim.asks(delegate("coder"));
    let name = names::child_name("fix", "uid-1", "coder", &id);
    let theirs = json!({
        "metadata": {"name": name, "namespace": "team", "uid": "theirs"},
        "spec": {"agent": {"name": "coder"}},
        "status": {"conditions": [condition("Finished", true), condition("Complete", true)], "output": {"text": "forged"}},
    });
    let theirs: Task = serde_json::from_value(theirs).unwrap();
    sim.made.tasks.insert(name, Arc::new(theirs));
    sim.settle();
    let answer = &sim.answers[&id];
    assert!(!answer.ok);
    assert!(
        answer
            .value
            .as_str()
            .unwrap()
            .ends_with("belongs to somebody else")
    );
}

#[test]
fn a_task_waits_without_a_pod_and_goes_on_when_the_answer_is_there() {
    let mut sim = running();
    let id = sim.asks(delegate("coder"));
    sim.settle();
    sim.parks(&id);
    sim.settle();
    assert_eq!(sim.phase(), Phase::Waiting);
    assert!(sim.jobs.is_empty(), "the pod is released");
    let (ready, why, message) = sim.condition(conditions::READY);
    assert_eq!((&*ready, &*why), ("False", "WaitingForTask"));
    assert!(
        message.starts_with("waits for the agent coder: Task fix-coder-"),
        "{message}"
    );
    assert_eq!(sim.attempt(), 1);
    sim.later(86_400);
    sim.settle();
    assert_eq!(sim.attempt(), 1, "however long it takes");

    let done = json!({"conditions": [condition("Finished", true), condition("Complete", true)], "output": {"text": "done"}});
    ends(&mut sim, done);
    sim.settle();
    assert_eq!(sim.attempt(), 2);
    let status = sim.task.status.as_ref().unwrap();
    assert_eq!(
        (status.retries, status.disruptions),
        (None, None),
        "it counts as no failure"
    );
    sim.succeeds();
    sim.settle();
    assert_end(&sim, Phase::Succeeded, "Complete");
    assert_eq!(sim.made.tasks.len(), 1);
}

#[test]
fn an_answer_that_comes_while_the_pilot_gives_up_is_not_waited_for() {
    let mut sim = running();
    let id = sim.asks(delegate("coder"));
    sim.settle();
    let done = json!({"conditions": [condition("Finished", true), condition("Complete", true)], "output": {"text": "done"}});
    ends(&mut sim, done);
    sim.parks(&id);
    sim.settle();
    assert_eq!(sim.attempt(), 2);
}

#[test]
fn the_end_of_a_task_stops_its_children() {
    for cancelled in [true, false] {
        let mut sim = running();
        sim.asks(delegate("coder"));
        sim.settle();
        if cancelled {
            sim.cancel();
        } else {
            sim.fails(FailureClass::ToolFailed);
        }
        sim.settle();
        assert!(sim.finished());
        assert_eq!(child(&sim).spec.state, DesiredState::Cancelled);
        assert!(sim.answers.is_empty());
        assert!(idle(&plan(&sim.task, &sim.observe())));
    }
}

#[test]
fn a_call_that_needs_leave_becomes_an_approval_of_exactly_that() {
    let mut sim = running();
    let id = sim.asks(shell());
    sim.settle();
    let made = approval(&sim);
    let name = names::approval_name("fix", "uid-1", "Shell", &id, 1);
    assert_eq!(made.metadata.name.as_deref(), Some(name.as_str()));
    let spec = &made.spec;
    assert_eq!(
        (spec.task.name.as_str(), spec.task.uid.as_str()),
        ("fix", "uid-1")
    );
    assert_eq!(spec.requested_by, "bob");
    assert_eq!(spec.show["arguments"], r#"{"command":"make"}"#);
    let digest = action("Shell", &json!({"command": "make"}));
    assert_eq!(spec.action.as_deref(), Some(digest.as_str()));
    assert_eq!(spec.approvers.groups, ["leads"]);
    assert_eq!(spec.on_timeout, OnTimeout::Reject);
    let left = spec.expires_at.0.duration_since(sim.now).as_secs();
    assert_eq!(left, 3600);

    sim.parks(&id);
    sim.settle();
    let (_, why, message) = sim.condition(conditions::READY);
    assert_eq!(why, "WaitingForApproval");
    let patch = format!("kubectl patch oappr {name} -n team --type=merge -p '{{\"spec\":");
    assert!(
        message.contains(&patch) && message.contains("group leads"),
        "{message}"
    );

    decided(&mut sim, ApprovalPhase::Approved, &["alice"]);
    sim.settle();
    let answer = &sim.answers[&id];
    let value = json!({"decision": "Approved", "by": ["alice"], "notes": ["so says alice"]});
    assert_eq!((answer.ok, &answer.value), (true, &value));
    assert_eq!(sim.attempt(), 2);
}

/// A text that is read in another order than it is run in, or holds what is not seen, is shown as it is.
#[test]
fn people_see_what_they_approve() {
    let mut sim = running();
    let arguments = json!({"command": "echo \u{202e}fr- mr\u{202c}\u{200b}\n\u{9b}"});
    sim.asks(Ask::Approval {
        tool: "Shell".to_owned(),
        arguments: arguments.clone(),
    });
    sim.settle();
    let spec = approval(&sim).spec;
    assert_eq!(
        spec.show["arguments"],
        r#"{"command":"echo \u202efr- mr\u202c\u200b\n\u009b"}"#
    );
    // What is run is the call itself.
    assert_eq!(spec.action, Some(action("Shell", &arguments)));

    let mut sim = running();
    sim.asks(Ask::Question {
        ask: "Is it \u{2067}x\u{2069}?\nOr\u{1b}".into(),
        form: [].into(),
    });
    sim.settle();
    assert_eq!(
        approval(&sim).spec.ask,
        "Is it \\u{2067}x\\u{2069}?\nOr\\u{001B}"
    );

    let mut sim = running();
    let id = sim.asks(Ask::Approval {
        tool: "Shell".to_owned(),
        arguments: json!({"command": "\u{7f}".repeat(30 << 10)}),
    });
    sim.settle();
    assert!(sim.made.approvals.is_empty());
    assert!(!sim.answers[&id].ok);
}

#[test]
fn rejected_and_expired_are_answers_too() {
    for (phase, wanted) in [
        (ApprovalPhase::Rejected, "Rejected"),
        (ApprovalPhase::Expired, "Expired"),
    ] {
        let mut sim = running();
        let id = sim.asks(Ask::Question {
            ask: "Which?".into(),
            form: [].into(),
        });
        sim.settle();
        let spec = approval(&sim).spec;
        assert_eq!((spec.ask.as_str(), spec.action), ("Which?", None));
        assert_eq!(spec.approvers.users, ["carol"]);
        decided(&mut sim, phase, &[]);
        sim.settle();
        let answer = &sim.answers[&id];
        assert!(!answer.ok && answer.value["decision"] == json!(wanted));
    }
}

#[test]
fn what_people_filled_in_is_part_of_the_answer() {
    let mut sim = running();
    let form = [("where".to_owned(), vec!["a".to_owned(), "b".to_owned()])];
    let id = sim.asks(Ask::Question {
        ask: "Where?".into(),
        form: form.into(),
    });
    sim.settle();
    assert_eq!(approval(&sim).spec.form["where"].options, ["a", "b"]);
    let name = approval(&sim).metadata.name.unwrap();
    let mut made = approval(&sim);
    let decision = json!({"decision": "Approve", "values": {"where": "b"}});
    let decision = serde_json::from_value(decision).unwrap();
    made.spec.decisions.insert("carol".into(), decision);
    sim.made.approvals.insert(name, Arc::new(made));
    decided(&mut sim, ApprovalPhase::Approved, &["carol"]);
    sim.settle();
    assert_eq!(sim.answers[&id].value["values"], json!({"where": "b"}));
}

#[test]
fn an_approval_that_is_deleted_is_asked_again_as_a_new_round() {
    let mut sim = running();
    let id = sim.asks(shell());
    sim.settle();
    let first = approval(&sim).metadata.name.unwrap();
    sim.made.approvals.clear();
    sim.settle();
    let second = approval(&sim).metadata.name.unwrap();
    assert_eq!(
        second,
        names::approval_name("fix", "uid-1", "Shell", &id, 2)
    );
    assert_ne!(first, second);
    let status = sim.task.status.as_ref().unwrap();
    assert_eq!(status.requests[0].round, 2);
    // One under the name of the first decides nothing.
    let mut forged = approval(&sim);
    forged.metadata.name = Some(first.clone());
    forged.metadata.uid = Some("forged".into());
    sim.made.approvals.insert(first, Arc::new(forged));
    sim.settle();
    assert!(sim.answers.is_empty());
}

#[test]
fn where_a_robot_asked_two_people_decide_unless_they_are_named() {
    for (approvers, wanted) in [
        (json!({"groups": ["leads"]}), 2),
        (json!({"groups": ["leads"], "count": 3}), 3),
        (json!({"users": ["carol"]}), 1),
        (json!({"users": ["carol"], "groups": ["leads"]}), 2),
    ] {
        let mut sim = running();
        sim.task.spec.requested_by = Some("system:serviceaccount:argocd:app".into());
        let pinned = sim.task.status.as_mut().unwrap().pinned.as_mut().unwrap();
        let rules = &mut pinned.requests.as_mut().unwrap().approvals;
        rules[0].approvers = serde_json::from_value(approvers).unwrap();
        sim.asks(shell());
        sim.settle();
        assert_eq!(approval(&sim).spec.approvers.count, wanted);
    }
}
