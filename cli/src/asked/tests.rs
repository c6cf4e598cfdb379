use super::*;
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-01T12:00:00Z".parse().unwrap()
}

fn approval(spec: Value, status: Value) -> Approval {
    let mut whole = json!({
        "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": "ship-ask-1", "namespace": "team"},
        "spec": {
            "task": {"name": "ship", "uid": "u"}, "requestedBy": "bob", "ask": "Ship version 1.4?",
            "approvers": {"groups": ["leads"], "users": ["carol"]}, "expiresAt": "2026-11-01T15:00:00Z",
        },
        "status": status,
    });
    for (field, value) in spec.as_object().unwrap() {
        whole["spec"][field] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

#[test]
fn a_page_has_all_that_a_person_needs() {
    let asked = approval(
        json!({
            "show": {"built": "app-1.4.tar\nPhase        Approved", "log": "fine"},
            "form": {"environment": {"options": ["staging", "the moon"]}, "why": {}},
            "approvers": {"groups": ["leads"], "users": ["carol"], "count": 2},
            "decisions": {"alice": {"decision": "Approve", "note": "after six", "values": {"environment": "staging", "why": "late"}}},
        }),
        json!({"phase": "Waiting"}),
    );
    insta::assert_snapshot!(page(&asked, now(), " -n team"), @"
    Approval     ship-ask-1
    Namespace    team
    Task         ship
    Requester    bob
    Phase        Waiting
    Question     Ship version 1.4?
    Shown        built: app-1.4.tar
                 Phase        Approved
    Shown        log: fine
    Fill in      environment: one of staging, the moon
    Fill in      why: any text
    Approvers    2 of carol, group leads; not the requester
    Expires      2026-11-01T15:00:00Z, in 3h; then it counts as rejected
    Decision     alice approves, environment=staging, why=late: after six
    Next         oar approve ship-ask-1 --set environment=staging --set why=... -n team
                 oar reject ship-ask-1 --notes '...' -n team
    ");
}

#[test]
fn a_page_of_one_that_is_over_says_who_decided() {
    let over = approval(
        json!({"decisions": {"carol": {"decision": "Reject"}}, "approvers": {"users": ["carol"], "allowRequester": true}}),
        json!({"phase": "Rejected", "by": ["carol"], "decidedAt": "2026-11-01T11:55:00Z"}),
    );
    let page = page(&over, now(), "");
    for said in [
        "Phase        Rejected by carol\n",
        "Approvers    carol; the requester may be one of them\n",
        "Expires      2026-11-01T15:00:00Z\n",
        "Ended        2026-11-01T11:55:00Z, 5m ago\n",
        "Decision     carol rejects\n",
    ] {
        assert!(page.contains(said), "no `{said}` in {page}");
    }
    assert!(!page.contains("Next"), "{page}");
}

#[test]
fn a_row_says_who_is_waited_for_or_who_decided() {
    for (spec, status, expected) in [
        (
            json!({}),
            json!({"phase": "Waiting"}),
            "ship-ask-1 | ship | Waiting | carol, group leads | in 3h | Ship version 1.4?",
        ),
        (
            json!({"ask": "Is it\nfine?"}),
            json!({"phase": "Approved", "by": ["alice", "carol"], "decidedAt": "2026-11-01T11:55:00Z"}),
            "ship-ask-1 | ship | Approved | by alice, carol | 5m ago | Is it⏎fine?",
        ),
        (
            json!({"expiresAt": "2026-11-01T11:00:00Z"}),
            json!({"phase": "Expired", "decidedAt": "2026-11-01T11:00:00Z"}),
            "ship-ask-1 | ship | Expired | - | 60m ago | Ship version 1.4?",
        ),
        (
            json!({}),
            json!({}),
            "ship-ask-1 | ship | Pending | carol, group leads | in 3h | Ship version 1.4?",
        ),
    ] {
        let row = row(&approval(spec, status), now());
        assert_eq!(row.join(" | "), expected);
    }
}
