use super::*;
use proptest::prelude::*;
use serde_json::json;

/// The text of a review.
fn review(changes: Value) -> String {
    let mut base = json!({
        "uid": "8a3f2b1c-0000-4000-8000-000000000001",
        "kind": {"group": "oarmaster.dev", "version": "v1alpha1", "kind": "Task"},
        "resource": {"group": "oarmaster.dev", "version": "v1alpha1", "resource": "tasks"},
        "name": "fix", "namespace": "team", "operation": "CREATE",
        "userInfo": {"username": "alice@acme", "groups": ["system:authenticated"]},
        "object": {
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
            "metadata": {"name": "fix", "namespace": "team", "creationTimestamp": null},
            "spec": {"run": {"command": ["true"]}},
        },
        "oldObject": null,
    });
    json_patch::merge(&mut base, &changes);
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": base})
        .to_string()
}

fn patch(review: &str) -> Option<Patch> {
    stamp(&Request::read(review.as_bytes()).unwrap())
}

/// The object as the API server has it afterwards.
fn stamped(review: &str) -> Option<Task> {
    let patch = patch(review)?;
    let mut object = serde_json::from_str::<Value>(review).unwrap()["request"]["object"].take();
    json_patch::patch(&mut object, &patch).unwrap();
    Some(serde_json::from_value(object).unwrap())
}

#[test]
fn a_task_gets_the_name_of_its_user() {
    let task = stamped(&review(json!({}))).unwrap();
    assert_eq!(task.spec.requested_by.as_deref(), Some("alice@acme"));
    let account = "system:serviceaccount:argocd:argocd-application-controller";
    let task = stamped(&review(json!({"userInfo": {"username": account}}))).unwrap();
    assert_eq!(task.spec.requested_by.as_deref(), Some(account));
}

#[test]
fn a_null_means_absent() {
    // A merge would take the null for "remove".
    let review = review(json!({"object": {"spec": {"requestedBy": 7}}}));
    let review = review.replace(r#""requestedBy":7"#, r#""requestedBy":null"#);
    assert!(review.contains(r#""requestedBy":null"#));
    let task = stamped(&review).unwrap();
    assert_eq!(task.spec.requested_by.as_deref(), Some("alice@acme"));
}

#[test]
fn everything_else_is_left_as_it_is() {
    for changes in [
        json!({"operation": "UPDATE"}),
        json!({"operation": "DELETE", "object": null}),
        json!({"kind": {"kind": "Agent"}}),
        json!({"kind": {"group": "tekton.dev"}}),
        json!({"object": null}),
        // A list could be read as an object's fields in their order.
        json!({"object": [{"labels": {}}, {"run": {}}]}),
        json!({"object": {"metadata": [{"a": "b"}], "spec": "text"}}),
    ] {
        assert_eq!(patch(&review(changes.clone())), None, "{changes}");
    }
    for changes in [
        json!({"userInfo": {"username": null}}),
        json!({"object": {"spec": null}}),
        json!({"object": {"spec": "text"}}),
        json!({"object": {"spec": ["requestedBy"]}}),
        // The schema has no room for it.
        json!({"userInfo": {"username": "a".repeat(4097)}}),
        // A name that stands there is the policy's to judge, a wrong type the schema's.
        json!({"object": {"spec": {"requestedBy": "alice@acme"}}}),
        json!({"object": {"spec": {"requestedBy": "bob@acme"}}}),
        json!({"object": {"spec": {"requestedBy": ""}}}),
        json!({"object": {"spec": {"requestedBy": 7}}}),
    ] {
        let patch = patch(&review(changes.clone())).unwrap();
        let [PatchOperation::Add(label)] = &patch.0[..] else {
            panic!("{changes}: {patch:?}")
        };
        assert_eq!(label.path.to_string(), "/metadata/labels", "{changes}");
    }
}

#[test]
fn a_task_that_no_other_one_asked_for_is_a_root() {
    for (labels, wanted) in [
        (json!(null), Some(json!({"oarmaster.dev/root": "true"}))),
        (json!({}), Some(json!({"oarmaster.dev/root": "true"}))),
        (
            json!({"team": "red"}),
            Some(json!({"team": "red", "oarmaster.dev/root": "true"})),
        ),
        // As it was written: nothing follows from it.
        (
            json!({"oarmaster.dev/root": "no"}),
            Some(json!({"oarmaster.dev/root": "no"})),
        ),
        (
            json!({"oarmaster.dev/parent-uid": "u"}),
            Some(json!({"oarmaster.dev/parent-uid": "u"})),
        ),
        // No labels: the schema refuses it.
        (json!(["a"]), None),
        (json!("a"), None),
    ] {
        let mut text = review(json!({}));
        text = text.replace(
            r#""creationTimestamp":null"#,
            &format!(r#""labels":{labels}"#),
        );
        assert!(text.contains("labels"));
        let patch = patch(&text).unwrap();
        let mut object = serde_json::from_str::<Value>(&text).unwrap()["request"]["object"].take();
        json_patch::patch(&mut object, &patch).unwrap();
        assert_eq!(object["spec"]["requestedBy"], "alice@acme");
        let wanted = wanted.unwrap_or_else(|| labels.clone());
        assert_eq!(object["metadata"]["labels"], wanted);
    }
}

proptest! {
    /// Whatever a user is called and writes: their own name is put in, or nothing is changed.
    #[test]
    fn no_name_but_the_users_is_put_in(user in ".{1,40}", written in prop::option::of(".{0,40}")) {
        let changes = json!({"userInfo": {"username": user}, "object": {"spec": {"requestedBy": written}}});
        let task = stamped(&review(changes)).unwrap();
        prop_assert_eq!(task.spec.requested_by, Some(written.unwrap_or(user)));
    }
}
