use super::*;
use proptest::prelude::*;

fn found(reached: &[Place], refused: &[Place]) -> NetworkFindings {
    NetworkFindings {
        reached: reached.to_vec(),
        refused: refused.to_vec(),
    }
}

#[test]
fn only_a_refusal_by_the_pods_own_policy_proves_anything() {
    use Place::{ApiServer, Dns, Internet, Kubelet, Metadata, Pod};
    for (reached, refused, enforced) in [
        (
            &[][..],
            &[Internet, Metadata, Dns, ApiServer, Pod, Kubelet][..],
            true,
        ),
        (&[Kubelet], &[Internet, Metadata, Dns, ApiServer, Pod], true),
        (&[], &[ApiServer], true),
        (&[], &[Pod], false),
        (&[], &[Internet, Metadata, Dns, Pod, Kubelet], false),
        (&[Pod], &[Internet, Metadata, Dns, ApiServer], false),
        (&[], &[], false),
        (&[Kubelet], &[], false),
        (&[ApiServer], &[Pod], false),
        (&[Dns], &[ApiServer, Pod], false),
        (&[Internet], &[ApiServer, Pod], false),
    ] {
        let found = found(reached, refused);
        assert_eq!(found.enforced(), enforced, "{found:?}");
    }
}

#[test]
fn findings_read_as_a_sentence() {
    use Place::{ApiServer, Dns, Internet, Pod};
    for (found, words) in [
        (found(&[], &[]), "tried nothing"),
        (found(&[Pod], &[]), "reached another pod"),
        (
            found(&[], &[Dns, Internet, Dns]),
            "did not reach the internet, the cluster's DNS",
        ),
        (
            found(&[ApiServer], &[Pod]),
            "reached the API server and did not reach another pod",
        ),
    ] {
        assert_eq!(found.sentence(), words);
    }
}

#[test]
fn a_place_is_named_as_it_is_serialised() {
    for place in Place::ALL {
        assert_eq!(serde_json::to_value(place).unwrap(), place.as_str());
        assert_eq!(Place::from_name(place.as_str()), Some(place));
    }
    assert_eq!(Place::from_name("moon"), None);
}

#[test]
fn what_the_probe_writes_is_read_and_nothing_else() {
    let whole = NodeFindings {
        landlock: 7,
        processes: Some(500),
        user_namespace: true,
        network: Some(found(&[Place::Kubelet], &[Place::Pod, Place::Dns])),
    };
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(NodeFindings::read(&text), Ok(whole));
    assert_eq!(
        NodeFindings::read(r#"{"landlock":0,"of a newer runner":[1]}"#),
        Ok(NodeFindings::default())
    );
    let many = format!(
        r#"{{"landlock":1,"network":{{"reached":[{}],"refused":[]}}}}"#,
        vec![r#""pod""#; 65].join(",")
    );
    let long = format!(
        r#"{{"landlock":1,"x":"{}"}}"#,
        "a".repeat(MAX_MESSAGE_BYTES)
    );
    for text in [
        "",
        "Killed",
        "{}",
        r#"{"landlock":-1}"#,
        r#"{"landlock":4294967296}"#,
        r#"{"landlock":1,"network":{"reached":["moon"],"refused":[]}}"#,
        many.as_str(),
        long.as_str(),
    ] {
        let problem = NodeFindings::read(text).unwrap_err();
        assert!(
            !problem.contains("moon") && problem.len() < 100,
            "{problem}"
        );
    }
}

proptest! {
    #[test]
    fn no_message_breaks_the_reader(text in "\\PC{0,5000}") {
        if let Err(problem) = NodeFindings::read(&text) {
            prop_assert!(problem.len() < 100);
        }
    }
}
