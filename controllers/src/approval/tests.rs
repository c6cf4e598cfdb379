use super::plan::{Observed, Plan, plan};
use jiff::{SignedDuration, Timestamp};
use oarmaster_crds::kinds::approval::ApprovalPhase;
use oarmaster_crds::{Approval, ApprovalStatus, Task, conditions};
use serde_json::{Value, json};
use std::sync::Arc;

fn now() -> Timestamp {
    Timestamp::from_second(1_763_730_000).unwrap()
}

fn approval(patch: Value) -> Approval {
    let mut spec = json!({
        "task": {"name": "fix", "uid": "uid-1"},
        "requestedBy": "bob",
        "ask": "Run Shell for Task fix?",
        "approvers": {"groups": ["leads"], "count": 1},
        "expiresAt": (now() + SignedDuration::from_hours(1)).to_string(),
    });
    for (key, value) in patch.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let object = json!({"metadata": {"name": "fix-shell-1", "namespace": "team", "uid": "ua", "generation": 1}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

fn task(requests: Value, conditions: Value) -> Option<Arc<Task>> {
    let object = json!({
        "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1"},
        "spec": {"agent": {"name": "coder"}},
        "status": {"requests": requests, "conditions": conditions},
    });
    Some(Arc::new(serde_json::from_value(object).unwrap()))
}

fn asks() -> Option<Arc<Task>> {
    let entry =
        json!([{"id": "1-0", "kind": "Approval", "name": "fix-shell-1", "uid": "ua", "round": 1}]);
    task(entry, json!([]))
}

fn at(seconds: i64) -> Observed {
    Observed {
        now: now() + SignedDuration::from_secs(seconds),
        task: asks(),
    }
}

fn status(plan: &Plan) -> &ApprovalStatus {
    plan.status.as_ref().unwrap()
}

fn reason(plan: &Plan) -> String {
    let held = conditions::find(&status(plan).conditions, conditions::READY).unwrap();
    held.reason.clone()
}

fn yes(users: &[&str]) -> Value {
    let all = users
        .iter()
        .map(|user| ((*user).to_owned(), json!({"decision": "Approve"})));
    json!({ "decisions": Value::Object(all.collect()) })
}

fn with(mut spec: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

#[test]
fn it_waits_and_says_how_to_decide_it() {
    let plan = plan(&approval(json!({})), &at(0));
    assert_eq!(status(&plan).phase, Some(ApprovalPhase::Waiting));
    let held = conditions::find(&status(&plan).conditions, conditions::READY).unwrap();
    assert_eq!((&*held.status, &*held.reason), ("False", "Waiting"));
    let command = r#"kubectl patch oappr fix-shell-1 -n team --type=merge -p '{"spec":{"decisions":{"USER":{"decision":"Approve"}}}}'"#;
    assert!(held.message.contains(command), "{}", held.message);
    assert!(held.message.contains("group leads"), "{}", held.message);
    let form = json!({"form": {"where": {"options": ["o'hare", "b"]}, "why": {}}});
    let with_form = super::plan::plan(&approval(form), &at(0));
    let held = conditions::find(&status(&with_form).conditions, conditions::READY).unwrap();
    let values = r#"{"decision":"Approve","values":{"where":"o'\''hare","why":"..."}}"#;
    assert!(held.message.contains(values), "{}", held.message);
    assert_eq!(plan.notes.len(), 1);
    assert!(plan.next.unwrap().as_secs() == 3600);
}

#[test]
fn decisions_decide() {
    let one = json!({"decision": "Reject"});
    let mixed = json!({"decisions": {"alice": {"decision": "Approve"}, "carol": one}});
    let two = json!({"approvers": {"groups": ["leads"], "count": 2}});
    let own = json!({"approvers": {"groups": ["leads"], "allowRequester": true, "count": 1}});
    let lenient = json!({"onTimeout": "Approve"});
    for (name, spec, seconds, phase, wanted) in [
        (
            "one approves",
            yes(&["alice"]),
            0,
            Some(ApprovalPhase::Approved),
            "Approved",
        ),
        (
            "one of two",
            with(yes(&["alice"]), two.clone()),
            0,
            Some(ApprovalPhase::Waiting),
            "Waiting",
        ),
        (
            "two of two",
            with(yes(&["alice", "carol"]), two),
            0,
            Some(ApprovalPhase::Approved),
            "Approved",
        ),
        (
            "two who did not fill in the same",
            json!({"decisions": {
                "alice": {"decision": "Approve", "values": {"where": "a"}}, "carol": {"decision": "Approve", "values": {"where": "b"}},
            }, "approvers": {"groups": ["leads"], "count": 2}, "form": {"where": {"options": ["a", "b"]}}}),
            0,
            Some(ApprovalPhase::Waiting),
            "Waiting",
        ),
        (
            "any rejection rejects",
            mixed.clone(),
            0,
            Some(ApprovalPhase::Rejected),
            "Rejected",
        ),
        (
            "the requester does not count",
            yes(&["bob"]),
            0,
            Some(ApprovalPhase::Waiting),
            "Waiting",
        ),
        (
            "but where that is allowed",
            with(yes(&["bob"]), own),
            0,
            Some(ApprovalPhase::Approved),
            "Approved",
        ),
        (
            "a robot does not count",
            yes(&["system:serviceaccount:a:b"]),
            0,
            Some(ApprovalPhase::Waiting),
            "Waiting",
        ),
        (
            "just in time",
            json!({}),
            3599,
            Some(ApprovalPhase::Waiting),
            "Waiting",
        ),
        (
            "the time is over",
            json!({}),
            3600,
            Some(ApprovalPhase::Expired),
            "TimedOut",
        ),
        (
            "an approval is seen too late",
            yes(&["alice"]),
            3600,
            Some(ApprovalPhase::Expired),
            "TimedOut",
        ),
        (
            "a rejection is never too late",
            mixed.clone(),
            9999,
            Some(ApprovalPhase::Rejected),
            "Rejected",
        ),
        (
            "silence is a yes, where it is to be",
            lenient.clone(),
            3600,
            Some(ApprovalPhase::Approved),
            "TimedOut",
        ),
        (
            "unless somebody said no",
            with(mixed, lenient),
            3600,
            Some(ApprovalPhase::Rejected),
            "Rejected",
        ),
    ] {
        let plan = plan(&approval(spec), &at(seconds));
        assert_eq!(status(&plan).phase, phase, "{name}");
        assert_eq!(reason(&plan), wanted, "{name}");
        let over = phase != Some(ApprovalPhase::Waiting);
        assert_eq!(status(&plan).decided_at.is_some(), over, "{name}");
        assert_eq!(plan.next.is_some(), !over, "{name}");
    }
    let plan = plan(&approval(yes(&["alice"])), &at(0));
    assert_eq!(status(&plan).by, ["alice"]);
    assert_eq!(plan.notes[0].message, "Approved by alice");
}

#[test]
fn what_no_task_asked_for_is_not_judged() {
    let other = json!([{"id": "1-0", "kind": "Approval", "name": "fix-shell-1", "uid": "other", "round": 1}]);
    for requests in [json!([]), other] {
        let seen = Observed {
            now: now(),
            task: task(requests, json!([])),
        };
        let plan = plan(&approval(yes(&["alice"])), &seen);
        assert_eq!(status(&plan).phase, None);
        assert_eq!(reason(&plan), "NotAsked");
        assert!(plan.notes.is_empty());
    }
}

#[test]
fn the_end_of_its_task_is_its_end() {
    let finished = json!([{"type": "Finished", "status": "True", "reason": "Failed", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"}]);
    let mut later = asks().unwrap();
    Arc::make_mut(&mut later).metadata.uid = Some("uid-2".into());
    for task in [None, task(json!([]), finished), Some(later)] {
        let seen = Observed { now: now(), task };
        let plan = plan(&approval(yes(&["alice"])), &seen);
        assert_eq!(status(&plan).phase, Some(ApprovalPhase::Expired));
        assert_eq!(reason(&plan), "TaskEnded");
    }
}

#[test]
fn an_end_is_final_and_a_settled_one_needs_nothing() {
    let mut held = approval(json!({}));
    let first = plan(&held, &at(0));
    held.status = first.status;
    let again = plan(&held, &at(1));
    assert!(again.status.is_none() && again.notes.is_empty());
    held.spec = approval(yes(&["alice"])).spec;
    let done = plan(&held, &at(2));
    held.status = done.status;
    for seconds in [3, 99_999] {
        assert_eq!(plan(&held, &at(seconds)), Plan::default());
    }
}

#[test]
fn however_many_may_decide_the_command_is_whole() {
    let groups: Vec<String> = (0..16).map(|n| format!("{n}{}", "g".repeat(250))).collect();
    let held = approval(json!({"approvers": {"groups": groups, "count": 2}}));
    let plan = plan(&held, &at(0));
    let held = conditions::find(&status(&plan).conditions, conditions::READY).unwrap();
    assert!(held.message.len() < 1024, "{}", held.message);
    assert!(held.message.contains("2 of group 0g") && held.message.contains("and 12 more"));
    assert!(
        held.message
            .contains("kubectl patch oappr fix-shell-1 -n team")
    );
}

/// A run, with how its steps stand.
fn run(steps: Value) -> Observed {
    let object = json!({
        "metadata": {"name": "fix", "namespace": "team", "uid": "uid-1"},
        "spec": {"workflow": {"name": "ci"}},
        "status": {"steps": steps},
    });
    Observed {
        now: now(),
        task: Some(Arc::new(serde_json::from_value(object).unwrap())),
    }
}

#[test]
fn of_a_step_the_approval_counts_whose_uid_the_run_has_written_down() {
    let active = |object: &str, uid: Value| json!({"active": [{"name": "ask", "kind": "Approval", "object": object, "uid": uid, "phase": "Waiting"}]});
    let held = approval(yes(&["alice"]));
    let judged = plan(&held, &run(active("fix-shell-1", json!("ua"))));
    assert_eq!(status(&judged).phase, Some(ApprovalPhase::Approved));
    for (what, steps) in [
        ("before the run has come to it", json!({})),
        (
            "made, and not seen by the run yet",
            active("fix-shell-1", Value::Null),
        ),
        (
            "one that somebody put there under its name",
            active("fix-shell-1", json!("other")),
        ),
        ("another round", active("fix-shell-2", json!("u2"))),
        ("a step that has succeeded", json!({"succeeded": ["ask"]})),
    ] {
        let plan = plan(&held, &run(steps));
        assert_eq!(status(&plan).phase, None, "{what}");
        assert_eq!(reason(&plan), "NotAsked", "{what}");
    }
    let ended = json!({"failed": [{"name": "ask", "object": "fix-shell-1", "class": "Cancelled", "message": ""}]});
    let plan = plan(&held, &run(ended));
    assert_eq!(status(&plan).phase, Some(ApprovalPhase::Expired));
}
