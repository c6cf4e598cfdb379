use super::plan::plan;
use jiff::Timestamp;
use oarmaster_crds::{Workflow, conditions};
use serde_json::json;

#[test]
fn a_workflow_is_ready_or_says_what_is_wrong() {
    let workflow = |steps| -> Workflow {
        serde_json::from_value(json!({
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "Workflow",
            "metadata": {"name": "fix", "namespace": "team", "generation": 3},
            "spec": {"steps": steps},
        }))
        .unwrap()
    };
    let now = Timestamp::from_second(1_000_000).unwrap();
    let step =
        |prompt| json!({"name": "a", "agent": {"name": "coder"}, "params": {"prompt": prompt}});
    let fine = plan(&workflow(json!([step("x")])), now);
    let status = fine.status.unwrap();
    assert!(conditions::is_true(&status.conditions, conditions::READY));
    assert_eq!(
        (status.observed_generation, status.steps),
        (Some(3), Some(1))
    );

    let mut wrong = workflow(json!([step("${oops}")]));
    let todo = plan(&wrong, now);
    let status = todo.status.unwrap();
    let ready = conditions::find(&status.conditions, conditions::READY).unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "InvalidSpec")
    );
    assert!(
        ready
            .message
            .starts_with("spec.steps[a].params: the expression `oops`"),
        "{}",
        ready.message
    );
    // A settled world needs nothing.
    wrong.status = Some(status);
    assert_eq!(plan(&wrong, now).status, None);
}
