use super::plan::{Observed, plan};
use jiff::Timestamp;
use oarmaster_crds::{SandboxClass, SandboxClassSpec, conditions};

fn after(spec: SandboxClassSpec, runtime_class: bool) -> [(String, String, String); 2] {
    let mut class = SandboxClass::new("default", spec);
    let seen = Observed {
        now: Timestamp::UNIX_EPOCH,
        runtime_class,
    };
    class.status = plan(&class, &seen).status;
    assert!(plan(&class, &seen).status.is_none(), "settled");
    let status = class.status.unwrap();
    [conditions::READY, conditions::RUNTIME_CLASS_FOUND].map(|kind| {
        let held = conditions::find(&status.conditions, kind).unwrap();
        (
            held.status.clone(),
            held.reason.clone(),
            held.message.clone(),
        )
    })
}

#[test]
fn the_default_runtime_is_always_there() {
    let [ready, found] = after(SandboxClassSpec::default(), false);
    assert_eq!(ready.0, "True");
    assert_eq!(
        (found.0.as_str(), found.1.as_str()),
        ("True", "DefaultRuntime")
    );
}

#[test]
fn a_runtime_class_that_does_not_exist_is_no_silent_fallback() {
    let spec = SandboxClassSpec {
        runtime_class_name: "gvisor".to_owned(),
        ..SandboxClassSpec::default()
    };
    let [ready, found] = after(spec.clone(), false);
    assert_eq!((ready.0.as_str(), ready.1.as_str()), ("False", "NotFound"));
    assert!(found.2.contains("RuntimeClass gvisor does not exist"));
    let [ready, found] = after(spec, true);
    assert_eq!((ready.0.as_str(), found.1.as_str()), ("True", "Found"));
}

#[test]
fn a_broken_spec_names_its_field() {
    let mut spec = SandboxClassSpec::default();
    spec.users.exec = spec.users.pilot;
    let [ready, _] = after(spec, false);
    assert_eq!(ready.1, "InvalidSpec");
    assert!(ready.2.contains("spec.users"));
}
