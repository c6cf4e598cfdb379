use super::*;
use jiff::Timestamp;
use oarmaster_crds::{Approval, Task, WorkflowSpec};
use serde_json::{Value, json};

fn steps(status: Value) -> StepsStatus {
    serde_json::from_value(status).unwrap()
}

fn active(name: &str, kind: &str, phase: &str) -> Value {
    json!({"name": name, "kind": kind, "object": format!("r-{name}"), "phase": phase})
}

/// What is said of one state of the steps after the other.
fn said(states: &[Value]) -> Vec<Vec<String>> {
    let mut changes = Changes::new(" -n team".to_owned());
    let lines = |state: &Value| changes.lines(&steps(state.clone()));
    states.iter().map(lines).collect()
}

#[test]
fn each_change_of_a_step_is_a_line() {
    let task = |phase| json!({"active": [active("a", "Task", phase)]});
    let failed = |message: &str| json!({"failed": [{"name": "a", "object": "r-a", "class": "ToolFailed", "message": message}]});
    for (name, states, expected) in [
        (
            "begins, runs and ends",
            vec![
                json!({}),
                task("Pending"),
                task("Running"),
                json!({"succeeded": ["a"]}),
            ],
            &["step a begins: Task r-a", "step a runs", "step a succeeded"][..],
        ),
        (
            "is seen late",
            vec![json!({"succeeded": ["a"]})],
            &["step a succeeded"],
        ),
        (
            "begins and runs at once",
            vec![task("Running"), task("Running")],
            &["step a begins: Task r-a"],
        ),
        (
            "waits and is paused",
            vec![
                task("Running"),
                task("Waiting"),
                task("Running"),
                task("Paused"),
                task("Pending"),
            ],
            &[
                "step a begins: Task r-a",
                "step a waits; what for: oar get r-a -n team",
                "step a runs",
                "step a is paused",
                "step a is started again",
            ],
        ),
        (
            "fails in two lines",
            vec![failed("exit code 1\nno")],
            &["step a failed: ToolFailed: exit code 1⏎no"],
        ),
        (
            "fails without a word",
            vec![failed("")],
            &["step a failed: ToolFailed"],
        ),
        (
            "does not begin",
            vec![json!({"skipped": ["a"], "omitted": ["b"]})],
            &[
                "step a is skipped: its `if` is false",
                "step b is omitted: one that it needs did not succeed, or the run stopped first",
            ],
        ),
    ] {
        assert_eq!(said(&states).concat(), expected, "{name}");
    }
}

#[test]
fn people_are_asked_once_for_each_approval() {
    let mut again = active("ask", "Approval", "Waiting");
    again["object"] = json!("r-ask-2");
    let mut seen = active("ask", "Approval", "Waiting");
    seen["uid"] = json!("u");
    let states = [
        json!({"active": [active("ask", "Approval", "Waiting")]}),
        json!({"active": [seen]}),
        json!({"active": [again]}),
    ];
    assert_eq!(
        said(&states).concat(),
        [
            "step ask asks people: oar approvals r-ask -n team",
            "step ask asks people: oar approvals r-ask-2 -n team",
        ]
    );
}

#[test]
fn the_end_is_said_once_before_what_is_left_runs() {
    let ending = json!({"phase": "Failed", "since": "2026-11-01T12:00:00Z"});
    let states = [
        json!({"active": [active("a", "Task", "Running")]}),
        json!({"failed": [{"name": "a", "class": "Timeout", "message": ""}], "ending": ending}),
        json!({"failed": [{"name": "a", "class": "Timeout", "message": ""}], "ending": ending, "active": [active("last", "Task", "Pending")]}),
    ];
    assert_eq!(
        said(&states)[1..],
        [
            vec![
                "step a failed: Timeout".to_owned(),
                "the run ends as Failed: what is left are steps to stop, and `finally`".to_owned(),
            ],
            vec!["step last begins: Task r-last".to_owned()],
        ]
    );
}

fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn task(step: &str, status: Value) -> Task {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": format!("r-{step}"), "labels": {"oarmaster.dev/step": step}},
        "spec": {"run": {"command": ["true"]}},
        "status": status,
    }))
    .unwrap()
}

fn approval(step: &str, status: Value) -> Approval {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": format!("r-{step}"), "labels": {"oarmaster.dev/step": step}, "creationTimestamp": "2026-11-01T11:00:00Z"},
        "spec": {
            "task": {"name": "r", "uid": "u"}, "requestedBy": "bob", "ask": "Go?",
            "approvers": {"users": ["carol"], "groups": ["leads"]}, "expiresAt": "2026-11-01T15:00:00Z",
        },
        "status": status,
    }))
    .unwrap()
}

/// A run in its middle, and what is known of it.
fn run() -> (StepsStatus, Below) {
    let spec: WorkflowSpec = serde_json::from_value(json!({
        "steps": [
            {"name": "build", "run": {"command": ["make"]}},
            {"name": "check", "run": {"command": ["make"]}, "after": ["build"]},
            {"name": "mend", "agent": {"name": "coder"}, "if": "steps.check.failed && params.mend"},
            {"name": "ask", "approval": {"ask": "Go?", "approvers": {"users": ["carol"]}}, "after": ["build"]},
            {"name": "sub", "workflow": {"name": "other"}},
            {"name": "ship", "run": {"command": ["make"], "env": {"BY": "${steps.ask.output.by[0]}"}}, "after": ["build"]},
        ],
        "finally": [{"name": "report", "run": {"command": ["echo"]}}],
    }))
    .unwrap();
    let status = steps(json!({
        "progress": "3/7", "total": 7,
        "active": [active("ask", "Approval", "Waiting"), active("sub", "Task", "Running")],
        "succeeded": ["build"],
        "skipped": ["mend"],
        "failed": [{"name": "check", "object": "r-check", "class": "ToolFailed", "message": "exit code 1"}],
    }));
    let ran = json!({"target": "run/command", "startedAt": "2026-11-01T11:58:00Z", "finishedAt": "2026-11-01T11:58:12Z"});
    let sub = json!({"target": "workflow/other", "startedAt": "2026-11-01T11:59:00Z", "steps": {"progress": "1/2"}});
    let below = Below {
        spec: Some(spec),
        tasks: vec![
            task("build", ran.clone()),
            task("check", ran),
            task("sub", sub),
        ],
        approvals: vec![approval("ask", json!({"phase": "Waiting"}))],
    };
    (status, below)
}

fn lines(status: &StepsStatus, below: &Below) -> Vec<String> {
    let rows = rows(status, below, now()).into_iter();
    rows.map(|row| row.join(" | ")).collect()
}

#[test]
fn the_table_has_every_step_and_what_it_waits_for() {
    let (status, below) = run();
    assert_eq!(
        lines(&status, &below),
        [
            "build | Succeeded | run/command | r-build | 12s | ",
            "check | Failed | run/command | r-check | 12s | ToolFailed: exit code 1",
            "mend | Skipped | agent/coder | - | - | not true: steps.check.failed && params.mend",
            "ask | Waiting | approval | r-ask | 60m | waits for carol, group leads, ends in 3h",
            "sub | Running | workflow/other | r-sub | 60s | 1/2 steps have ended",
            "ship | Pending | run/command | - | - | needs ask",
            "report | Pending | run/command | - | - | begins when all others have ended",
        ]
    );
    assert_eq!(
        waits(&status, &below, now(), " -n team"),
        ["step ask waits for carol, group leads, ends in 3h: oar approvals r-ask -n team"]
    );
}

#[test]
fn the_table_has_what_is_named_where_nothing_else_can_be_read() {
    let (status, _) = run();
    let below = Below::default();
    assert_eq!(
        lines(&status, &below),
        [
            "build | Succeeded | - | - | - | ",
            "check | Failed | - | r-check | - | ToolFailed: exit code 1",
            "mend | Skipped | - | - | - | its `if` is false",
            "ask | Waiting | - | r-ask | - | ",
            "sub | Running | - | r-sub | - | ",
        ]
    );
    assert_eq!(
        waits(&status, &below, now(), ""),
        ["step ask waits for people: oar approvals r-ask"]
    );
}

#[test]
fn who_decided_stands_beside_the_step() {
    let below = Below {
        approvals: vec![approval(
            "ask",
            json!({"phase": "Approved", "by": ["alice", "carol"], "decidedAt": "2026-11-01T11:00:30Z"}),
        )],
        ..Below::default()
    };
    assert_eq!(
        lines(&steps(json!({"succeeded": ["ask"]})), &below),
        ["ask | Succeeded | approval | r-ask | 30s | by alice, carol"]
    );
}

#[test]
fn what_a_task_waits_for_is_said_and_a_cancelled_step_is_no_failure() {
    let waiting = json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "AgentBusy", "message": "agent coder runs 2 Tasks",
        "lastTransitionTime": "2026-11-01T11:00:00Z",
    }]});
    let below = Below {
        tasks: vec![task("a", waiting)],
        ..Below::default()
    };
    let status = steps(json!({
        "active": [active("a", "Task", "Pending")],
        "failed": [{"name": "b", "class": "Cancelled", "message": "its Task was cancelled"}],
    }));
    assert_eq!(
        lines(&status, &below),
        [
            "b | Cancelled | - | - | - | Cancelled: its Task was cancelled",
            "a | Pending | - | r-a | - | agent coder runs 2 Tasks",
        ]
    );
}

#[test]
fn what_people_are_asked_by_the_task_of_a_step_is_named() {
    let agent =
        json!({"requests": [{"id": "1-0", "kind": "Approval", "name": "fix-shell-1", "round": 1}]});
    let sub =
        json!({"steps": {"progress": "0/1", "active": [active("ask", "Approval", "Waiting")]}});
    let below = Below {
        tasks: vec![task("fix", agent), task("sub", sub)],
        ..Below::default()
    };
    let status = steps(
        json!({"active": [active("fix", "Task", "Waiting"), active("sub", "Task", "Waiting")]}),
    );
    assert_eq!(
        waits(&status, &below, now(), ""),
        [
            "step fix waits for people: oar approvals fix-shell-1",
            "step sub waits for people: oar approvals r-ask",
        ]
    );
    assert_eq!(
        lines(&status, &below),
        [
            "fix | Waiting | - | r-fix | - | waits for people: Approval fix-shell-1",
            "sub | Waiting | - | r-sub | - | waits for people: Approval r-ask",
        ]
    );
}
