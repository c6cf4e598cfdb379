use super::check::{decision, done, is_yes};
use super::refusal::clearer;
use super::*;
use crate::error::Code;
use kube::core::Status;
use serde_json::Value;

fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

/// An Approval that waits, with changes of spec and status.
fn approval(spec: Value, status: Value) -> Approval {
    let mut whole = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": "ask", "namespace": "team"},
        "spec": {
            "task": {"name": "ship", "uid": "u"}, "requestedBy": "bob", "ask": "Go?",
            "approvers": {"groups": ["leads"], "users": ["carol"]}, "expiresAt": "2026-11-01T15:00:00Z",
            "form": {"environment": {"options": ["staging", "prod"]}, "why": {}},
        },
        "status": status,
    });
    for (field, value) in spec.as_object().unwrap() {
        whole["spec"][field] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn waiting(spec: Value) -> Approval {
    approval(spec, json!({"phase": "Waiting"}))
}

fn wanted(verdict: Verdict, set: &[(&str, &str)]) -> Wanted {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Wanted {
        verdict,
        notes: String::new(),
        set: set.iter().map(own).collect(),
    }
}

const WHOLE: [(&str, &str); 2] = [("environment", "staging"), ("why", "a=b")];

#[test]
fn what_is_sent_is_the_own_entry() {
    let asked = waiting(json!({}));
    let yes = decision(&asked, "alice", wanted(Verdict::Approve, &WHOLE), now(), "").unwrap();
    assert_eq!(
        json!(yes),
        json!({"decision": "Approve", "values": {"environment": "staging", "why": "a=b"}})
    );
    let mut no = wanted(Verdict::Reject, &[]);
    no.notes = "not today".to_owned();
    let no = decision(&asked, "alice", no, now(), "").unwrap();
    assert_eq!(
        json!(no),
        json!({"decision": "Reject", "note": "not today"})
    );
}

#[test]
fn a_form_is_checked_before_it_is_sent() {
    let long = "x".repeat(1025);
    for (set, told) in [
        (
            &[][..],
            "environment is missing: --set environment=..., one of staging, prod; why is missing: --set why=..., any text",
        ),
        (&[("why", "x")], "environment is missing"),
        (
            &[("environment", "moon"), ("why", "x")],
            "environment takes one of staging, prod",
        ),
        (
            &[WHOLE[0], WHOLE[1], ("colour", "red")],
            "it has no field colour, but environment, why",
        ),
        (&[WHOLE[0], WHOLE[1], WHOLE[1]], "why is set twice"),
        (
            &[WHOLE[0], ("why", long.as_str())],
            "why has more than 1024 characters",
        ),
    ] {
        let wanted = wanted(Verdict::Approve, set);
        let error = decision(&waiting(json!({})), "alice", wanted, now(), " -n team").unwrap_err();
        assert!(error.line().contains(told), "{told}: {}", error.line());
        assert_eq!(error.code(), Code::Input);
    }
    let plain = waiting(json!({"form": {}}));
    let set = wanted(Verdict::Approve, &[("a", "b")]);
    let line = decision(&plain, "alice", set, now(), "")
        .unwrap_err()
        .line();
    assert!(line.contains("it has no form; leave --set a out"), "{line}");
}

#[test]
fn what_cannot_be_decided_is_not_sent() {
    let decided = json!({"decisions": {"alice": {"decision": "Reject"}}});
    let late = json!({"expiresAt": "2026-11-01T11:50:00Z"});
    for (asked, told) in [
        (
            waiting(decided),
            "alice has rejected Approval ask already, and a decision stands",
        ),
        (
            approval(json!({}), json!({"phase": "Approved", "by": ["carol"]})),
            "Approval ask is Approved by carol: nothing is left to decide",
        ),
        (
            approval(json!({}), json!({"phase": "Expired"})),
            "Approval ask is Expired: nothing is left to decide",
        ),
        (
            approval(json!({}), json!({})),
            "Approval ask does not wait for people yet",
        ),
        (
            waiting(late.clone()),
            "the time to approve Approval ask ended 10m ago",
        ),
    ] {
        let wanted = wanted(Verdict::Approve, &WHOLE);
        let line = decision(&asked, "alice", wanted, now(), "")
            .unwrap_err()
            .line();
        assert!(line.contains(told), "{told}: {line}");
    }
    let no = wanted(Verdict::Reject, &[]);
    assert!(decision(&waiting(late), "alice", no, now(), "").is_ok());
    let mut wordy = wanted(Verdict::Reject, &[]);
    wordy.notes = "x".repeat(4097);
    assert!(decision(&waiting(json!({})), "alice", wordy, now(), "").is_err());
}

#[test]
fn what_has_come_of_it_is_said() {
    let yes = |to: &str| json!({"decision": "Approve", "values": {"environment": to}});
    let decided = |count: i64, decisions: Value| {
        let approvers = json!({"users": ["carol"], "count": count});
        waiting(json!({"approvers": approvers, "decisions": decisions}))
    };
    for (asked, verdict, told) in [
        (
            decided(1, json!({"alice": yes("prod")})),
            Verdict::Approve,
            "Approval ask is approved by alice",
        ),
        (
            decided(2, json!({"alice": yes("prod"), "carol": yes("staging")})),
            Verdict::Approve,
            "alice approves ask: 1 of 2 so far",
        ),
        (
            decided(2, json!({"alice": yes("prod"), "carol": yes("prod")})),
            Verdict::Approve,
            "Approval ask is approved by alice",
        ),
        (
            decided(2, json!({"alice": {"decision": "Reject"}})),
            Verdict::Reject,
            "Approval ask is rejected by alice",
        ),
    ] {
        assert_eq!(done(&asked, "alice", verdict), told);
    }
}

#[test]
fn a_refusal_is_one_line_and_says_what_helps() {
    let policy = "approvals.oarmaster.dev \"ask\" is forbidden: ValidatingAdmissionPolicy 'oarmaster-approvals' with binding 'oarmaster-approvals' denied request: ";
    let rbac = "approvals.oarmaster.dev \"ask\" is forbidden: User \"erin\" cannot patch resource \"approvals\" in API group \"oarmaster.dev\" in the namespace \"team\"";
    let denied = |why: &str| (403, format!("{policy}{why}"));
    for ((code, message), line, next) in [
        (
            (403, rbac.to_owned()),
            "failed to approve it: erin may not change Approvals in namespace team",
            "--clusterrole=oarmaster-approver --user=erin",
        ),
        (
            denied(
                "erin may not approve Approvals in namespace team: a RoleBinding to the ClusterRole oarmaster-approver allows it",
            ),
            "failed to approve it: erin may not approve Approvals in namespace team: a RoleBinding to the ClusterRole oarmaster-approver allows it",
            "kubectl create rolebinding NAME -n team",
        ),
        (
            denied("erin is neither named in spec.approvers nor in a group that is"),
            "failed to approve it: erin is neither named in spec.approvers nor in a group that is",
            "Who may decide: carol, group leads.",
        ),
        (
            denied(
                "erin created the Task, and somebody else has to decide (approvers.allowRequester)",
            ),
            "failed to approve it: erin created the Task, and somebody else has to decide (approvers.allowRequester)",
            "Who may decide: carol, group leads.",
        ),
        (
            denied("people decide; a ServiceAccount does not"),
            "failed to approve it: people decide; a ServiceAccount does not",
            "--context",
        ),
        (
            denied("the Approval waits for no decision (status.phase)"),
            "failed to approve it: the Approval waits for no decision (status.phase)",
            "oar approvals ask -n team",
        ),
        (
            (
                422,
                "Approval.oarmaster.dev \"ask\" is invalid: spec: Invalid value: \"object\": a decision stands: it neither changes nor disappears".to_owned(),
            ),
            "failed to approve it: a decision stands",
            "oar approvals ask -n team",
        ),
        (
            (403, "approvals is forbidden: something else".to_owned()),
            "failed to approve it: approvals is forbidden: something else",
            "Ask an administrator",
        ),
    ] {
        let status = Status::failure(&message, "Reason").with_code(code);
        let error = Error::kube(
            "failed to approve it",
            kube::Error::Api(Box::new(status)),
        );
        let before = error.code();
        let asked = waiting(json!({}));
        let error = clearer(error, "failed to approve it", &asked, "erin", " -n team");
        assert_eq!(error.line(), line);
        assert_eq!(error.code(), before);
        let told = error.hint().unwrap_or_default();
        assert!(told.contains(next), "{line}: {told}");
    }
}

#[test]
fn only_a_yes_is_a_yes() {
    for (answer, yes) in [
        ("y\n", true),
        (" Yes\r\n", true),
        ("", false),
        ("\n", false),
        ("no\n", false),
        ("yesterday\n", false),
    ] {
        assert_eq!(is_yes(answer), yes, "{answer:?}");
    }
}
