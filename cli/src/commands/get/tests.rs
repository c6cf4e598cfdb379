use super::*;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn task(spec: Value, status: Value) -> Task {
    serde_json::from_value(json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
        "metadata": {"name": "ship-it", "namespace": "team"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

#[test]
fn a_run_is_shown_with_its_steps_and_whom_it_waits_for() {
    let held = task(
        json!({"workflow": {"name": "ship"}, "requestedBy": "bob"}),
        json!({
            "target": "workflow/ship", "phase": "Waiting", "attempt": 1,
            "steps": {
                "revision": "ship@sha256:0", "progress": "1/3", "total": 3,
                "active": [{"name": "ask", "kind": "Approval", "object": "ship-it-ask-1", "phase": "Waiting"}],
                "succeeded": ["build"],
            },
        }),
    );
    let spec = json!({"steps": [
        {"name": "build", "run": {"command": ["make"]}},
        {"name": "ask", "approval": {"ask": "Go?", "approvers": {"users": ["carol"]}}, "after": ["build"]},
        {"name": "ship", "run": {"command": ["make"]}, "after": ["ask"]},
    ]});
    let below = Below {
        spec: serde_json::from_value(spec).unwrap(),
        ..Below::default()
    };
    insta::assert_snapshot!(describe(&held, &below, now(), " -n team"), @"
    Name         ship-it
    Namespace    team
    Target       workflow/ship
    Requester    bob
    Phase        Waiting
    Attempt      1
    Runs         ship@sha256:0
    Steps        1/3 have ended
    Waits        step ask waits for people: oar approvals ship-it-ask-1 -n team
    Next         oar get --watch ship-it -n team
                 oar result ship-it -n team

    STEP    STATE       WHAT          OBJECT          TOOK   WHY
    build   Succeeded   run/command   -               -
    ask     Waiting     approval      ship-it-ask-1   -
    ship    Pending     run/command   -               -      needs ask
    ");
}

#[test]
fn what_an_agent_asks_people_is_named() {
    let held = task(
        json!({"agent": {"name": "releaser"}, "params": {"prompt": "x"}}),
        json!({"phase": "Waiting", "requests": [
            {"id": "1-0", "kind": "Approval", "name": "fix-shell-1", "round": 1},
            {"id": "1-1", "kind": "Task", "name": "fix-coder", "round": 1},
        ]}),
    );
    let page = describe(&held, &Below::default(), now(), "");
    assert!(
        page.contains("Waits        for people: oar approvals fix-shell-1\n"),
        "{page}"
    );
    assert!(
        !page.contains("fix-coder") && !page.contains("STEP"),
        "{page}"
    );
    assert!(
        page.contains("Next         oar logs -f ship-it\n"),
        "{page}"
    );
}
