//! Round trips and forms of the pieces that every component relies on.

use crate::conditions;
use crate::names::{base32, is_dns_label, is_dns_subdomain, job_name, probe_job_name, spec_digest};
use crate::quantity::{Cpu, Size};
use crate::{Agent, Budget, ModelPool, ModelProvider, SandboxClass, Task};
use crate::{GepDuration, Usd};
use jiff::Timestamp;
use kube::core::CustomResourceExt as _;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn money_is_exact_to_the_ninth_decimal() {
    for (text, pico) in [
        ("0", 0),
        ("0.000000001", 1_000),
        ("0.25", 250_000_000_000),
        ("1", 1_000_000_000_000),
        ("999999.999999999", 999_999_999_999_999_000),
    ] {
        let usd = Usd(text.to_owned());
        assert_eq!(usd.pico().unwrap(), pico);
        assert_eq!(Usd::from_pico(pico).0, text);
    }
}

#[test]
fn what_is_not_money_is_refused() {
    for text in [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1,5",
        "0x1",
        "1234567",
        "0.1234567891",
        " 1",
        "1 ",
        "NaN",
        "٣",
    ] {
        assert!(Usd(text.to_owned()).pico().is_err(), "{text:?}");
    }
}

#[test]
fn what_was_spent_is_never_shown_as_less() {
    assert_eq!(Usd::from_pico(1).0, "0.000000001");
    assert_eq!(Usd::from_pico(1_001).0, "0.000000002");
    assert_eq!(
        Usd::from_pico(u64::MAX).pico().is_err(),
        Usd::from_pico(u64::MAX).0.len() > 16
    );
}

#[test]
fn a_place_is_that_of_one_key_of_one_workflow() {
    use crate::names::slot_name;
    let name = slot_name("team", "ci", "acme/app", 0);
    assert!(
        is_dns_subdomain(&name) && name.ends_with("-0") && name.len() == 34,
        "{name}"
    );
    for other in [
        slot_name("team", "ci", "acme/app", 1),
        slot_name("team", "ci", "acme", 0),
        slot_name("team", "cd", "acme/app", 0),
        slot_name("others", "ci", "acme/app", 0),
    ] {
        assert_ne!(name, other);
    }
}

#[test]
fn durations_are_those_of_gep_2257() {
    for (text, millis) in [
        ("0s", 0),
        ("250ms", 250),
        ("90s", 90_000),
        ("2h", 7_200_000),
        ("1h30m", 5_400_000),
        ("1h1m1s1ms", 3_661_001),
    ] {
        assert_eq!(
            GepDuration::new(text).get().unwrap(),
            Duration::from_millis(millis)
        );
    }
    for text in [
        "",
        "1",
        "s",
        "1d",
        "-1s",
        "1.5h",
        "123456s",
        "1s2s3s4s5s",
        "1h ",
        "∞",
        "1H",
    ] {
        assert!(GepDuration::new(text).get().is_err(), "{text:?}");
    }
    assert_eq!(GepDuration::from_duration(Duration::ZERO).0, "0s");
    assert_eq!(
        GepDuration::from_duration(Duration::from_secs(5400)).0,
        "1h30m"
    );
    assert_eq!(
        GepDuration::from_duration(Duration::from_millis(1500)).0,
        "1500ms"
    );
}

#[test]
fn quantities_are_plain() {
    for (text, bytes) in [
        ("1", 1),
        ("1k", 1000),
        ("1Ki", 1024),
        ("512Mi", 512 << 20),
        ("2G", 2_000_000_000),
        ("1Ti", 1 << 40),
    ] {
        assert_eq!(Size::new(text).bytes().unwrap(), bytes);
    }
    for text in [
        "",
        "0",
        "-1",
        "1m",
        "1Mi ",
        "1e3",
        "1.5Gi",
        "99999999999999999999",
        "9223372036854775808",
        "99999999Ti",
    ] {
        assert!(Size::new(text).bytes().is_err(), "{text:?}");
    }
    assert_eq!(Cpu::new("2").millis().unwrap(), 2000);
    assert_eq!(Cpu::new("500m").millis().unwrap(), 500);
    for text in [
        "",
        "0",
        "0m",
        "1.5",
        "m",
        "-1",
        "1k",
        "99999999999999999999",
    ] {
        assert!(Cpu::new(text).millis().is_err(), "{text:?}");
    }
}

#[test]
fn base32_is_rfc_4648_over_sha_256() {
    // printf abc | sha256sum | xxd -r -p | base32 | tr A-Z a-z
    assert_eq!(base32(b"abc", 10), "xj4bnp4pah");
    assert_eq!(base32(b"abc", 0), "");
    assert_eq!(base32(b"abc", 51).len(), 51);
}

#[test]
fn a_condition_keeps_its_transition_time_until_its_status_changes() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let mut list = Vec::new();
    conditions::set(
        &mut list,
        conditions::READY,
        Some(false),
        "A",
        "a",
        Some(1),
        at(10),
    );
    conditions::set(
        &mut list,
        conditions::READY,
        Some(false),
        "B",
        "b",
        Some(2),
        at(20),
    );
    let held = conditions::find(&list, conditions::READY).unwrap();
    assert_eq!(
        (
            held.last_transition_time.0,
            held.reason.as_str(),
            held.observed_generation
        ),
        (at(10), "B", Some(2))
    );
    assert!(!conditions::is_true(&list, conditions::READY));
    conditions::set(
        &mut list,
        conditions::READY,
        Some(true),
        "C",
        "c",
        Some(2),
        at(30),
    );
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].last_transition_time.0, at(30));
    assert!(conditions::is_true(&list, conditions::READY));
    conditions::set(
        &mut list,
        conditions::READY,
        None,
        "D",
        "d",
        Some(2),
        at(40),
    );
    assert_eq!(list[0].status, "Unknown");
}

#[test]
fn a_condition_message_is_cut_between_characters() {
    let mut list = Vec::new();
    conditions::set(
        &mut list,
        "X",
        Some(true),
        "A",
        &"€".repeat(20_000),
        None,
        Timestamp::UNIX_EPOCH,
    );
    assert!(list[0].message.len() <= 32_768 && list[0].message.len() > 32_764);
}

#[test]
fn a_digest_does_not_depend_on_the_order_of_keys() {
    let a = serde_json::json!({ "a": 1, "b": { "c": 2, "d": 3 } });
    let b: serde_json::Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
    assert_eq!(spec_digest(&a).unwrap(), spec_digest(&b).unwrap());
    assert!(spec_digest(&a).unwrap().starts_with("sha256:"));
}

#[test]
fn a_dns_name_is_what_kubernetes_takes_for_one() {
    let long = |length: usize| "a".repeat(length);
    for (text, label, subdomain) in [
        ("team", true, true),
        ("0", true, true),
        ("a-1--b", true, true),
        ("fast.v2", false, true),
        (&long(63), true, true),
        (&long(64), false, true),
        (&format!("{}.b", long(251)), false, true),
        (&long(254), false, false),
        ("", false, false),
        ("-a", false, false),
        ("a-", false, false),
        (".", false, false),
        ("..", false, false),
        ("a..b", false, false),
        ("a.-b", false, false),
        (".a", false, false),
        ("a.", false, false),
        ("A", false, false),
        ("a_b", false, false),
        ("a/b", false, false),
        ("a/../b", false, false),
        ("a%2fb", false, false),
        ("a?watch=true", false, false),
        ("a#b", false, false),
        ("a b", false, false),
        ("a\n", false, false),
        ("\u{0}", false, false),
        ("ä", false, false),
    ] {
        assert_eq!(is_dns_label(text), label, "{text:?}");
        assert_eq!(is_dns_subdomain(text), subdomain, "{text:?}");
    }
}

/// Names by which a part of a pod, or a patch of one, would come into a spec.
const OF_PODS: [&str; 24] = [
    "affinity",
    "annotations",
    "capabilities",
    "containers",
    "envFrom",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPath",
    "initContainers",
    "lifecycle",
    "metadata",
    "patch",
    "podSpec",
    "podSpecPatch",
    "podTemplate",
    "privileged",
    "securityContext",
    "serviceAccountName",
    "sysctls",
    "template",
    "valueFrom",
    "volumeMounts",
    "volumes",
];

/// Fields that have such a name and are something else: what an agent can do, in words of its author.
const OF_AGENTS: [&str; 2] = ["Agent.capabilities", "Task.agent.select.capabilities"];

/// Where any JSON may stand. `Task.workflow.spec` is read as the spec of a Workflow, and what is none is refused.
const OPEN: [&str; 7] = [
    "Agent.commands[].examples[]",
    "Agent.commands[].output.schema",
    "Agent.commands[].params",
    "Agent.output.schema",
    "ModelProvider.script.rules[].reply.toolCalls[].arguments",
    "Task.params",
    "Task.workflow.spec",
];

/// Every field of a schema by its path, and whether anything may stand below it.
fn fields(schema: &Value, path: &str, into: &mut Vec<(String, bool)>) {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    into.push((path.to_owned(), open));
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        fields(below, &format!("{path}.{name}"), into);
    }
    for below in [&schema["items"], &schema["additionalProperties"]] {
        if below.is_object() {
            fields(below, &format!("{path}[]"), into);
        }
    }
}

/// A part of a PodSpec in users' hands would undo what the operator writes into each pod. What takes any JSON is data for models, or read as one of our types.
#[test]
fn no_spec_has_a_way_into_a_pod() {
    let kinds = [
        Agent::crd(),
        Budget::crd(),
        ModelPool::crd(),
        ModelProvider::crd(),
        SandboxClass::crd(),
        Task::crd(),
    ];
    let mut open = Vec::new();
    for kind in kinds {
        let crd = serde_json::to_value(kind).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = Vec::new();
        let name = crd["spec"]["names"]["kind"].as_str().unwrap();
        fields(spec, name, &mut found);
        assert!(found.len() > 5, "{name}: {found:?}");
        for (path, _) in &found {
            let last = path.rsplit('.').next().unwrap().trim_end_matches("[]");
            let other = OF_AGENTS.contains(&path.trim_end_matches("[]"));
            assert!(other || !OF_PODS.contains(&last), "{path}");
        }
        let any = found.into_iter().filter(|(_, open)| *open);
        open.extend(any.map(|(path, _)| path));
    }
    assert_eq!(open, OPEN);
}

proptest! {
    #[test]
    fn money_round_trips(nano in 0u64..999_999_999_999_999) {
        let usd = Usd::from_pico(nano * 1000);
        prop_assert_eq!(usd.pico().unwrap(), nano * 1000);
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = Usd(text.clone()).pico();
        let _ = GepDuration(text.clone()).get();
        let _ = Size(text.clone()).bytes();
        let _ = Cpu(text.clone()).millis();
        let _ = crate::validate::image::Image::parse(&text);
        let _ = crate::validate::image::pattern_problem(&text);
    }

    #[test]
    fn durations_round_trip_to_what_is_shown(millis in 0u64..300_000_000) {
        let duration = Duration::from_millis(millis);
        let back = GepDuration::from_duration(duration).get().unwrap();
        let lost = duration - back;
        let most = if millis < 10_000 { 1 } else { 1000 };
        prop_assert!(lost < Duration::from_millis(most));
    }

    #[test]
    fn a_job_name_is_a_dns_label_of_its_attempt_alone(
        task in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?",
        uid in "[0-9a-f-]{36}",
        attempt in 1u32..1_000_000,
    ) {
        let name = job_name(&task, &uid, attempt);
        prop_assert!(name.len() <= 63, "{name}");
        prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        prop_assert!(name.as_bytes()[0] != b'-' && !name.ends_with('-'));
        prop_assert_eq!(&name, &job_name(&task, &uid, attempt));
        prop_assert_ne!(&name, &job_name(&task, &uid, attempt + 1));
        prop_assert_ne!(&name, &job_name(&task, &format!("{uid}x"), attempt));
    }

    #[test]
    fn a_probe_job_name_is_a_dns_label_of_everything_that_is_to_be_probed_anew(
        class in "[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?",
        uid in "[0-9a-f-]{36}",
        generation in 1i64..1_000_000,
        asked in ".{0,20}",
        runner in "[a-z0-9./:@]{1,80}",
    ) {
        let name = probe_job_name(&class, &uid, generation, &asked, &runner);
        prop_assert!(name.len() <= 63, "{name}");
        prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        prop_assert!(name.starts_with("probe-") && !name.ends_with('-'));
        prop_assert_eq!(&name, &probe_job_name(&class, &uid, generation, &asked, &runner));
        for other in [
            probe_job_name(&class, &format!("{uid}x"), generation, &asked, &runner),
            probe_job_name(&class, &uid, generation + 1, &asked, &runner),
            probe_job_name(&class, &uid, generation, &format!("{asked}x"), &runner),
            probe_job_name(&class, &uid, generation, &asked, &format!("{runner}x")),
        ] {
            prop_assert_ne!(&name, &other);
        }
    }

    #[test]
    fn base32_has_the_length_and_the_alphabet(input in prop::collection::vec(any::<u8>(), 0..64), length in 0usize..52) {
        let text = base32(&input, length);
        prop_assert_eq!(text.len(), length);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte)));
    }
}

/// Text constants of `names.rs` below `oarmaster.dev/`, by who may set what they name.
mod who_sets {
    use crate::names::*;

    /// On Jobs and pods, held by policies that follow from the first one.
    pub const OF_SANDBOXES: [&str; 6] = [
        SANDBOX_LABEL,
        TASK_UID_LABEL,
        ATTEMPT_LABEL,
        TASK_ANNOTATION,
        CLASS_UID_LABEL,
        CLASS_ANNOTATION,
    ];
    /// Whoever may write the object.
    pub const PEOPLE: [&str; 3] = [PROBE_ANNOTATION, WORKFLOW_LABEL, CACHE_FLUSHED_ANNOTATION];
}

#[test]
fn of_each_label_and_annotation_it_is_said_who_sets_it() {
    let quoted = include_str!("names.rs").split('"');
    let named: BTreeSet<&str> = quoted
        .filter(|text| text.starts_with("oarmaster.dev/"))
        .collect();
    let said = crate::names::RESERVED_LABELS.into_iter();
    let said = said.chain(who_sets::OF_SANDBOXES).chain(who_sets::PEOPLE);
    assert_eq!(named, said.collect());
}

/// The chart cannot be made of the list: it is read without a build.
#[test]
fn the_policy_reserves_what_the_list_has() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/oarmaster/templates/guards/reserved.yaml"
    );
    let policy = std::fs::read_to_string(path).unwrap();
    let (_, list) = policy.split_once("- name: reserved\n").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let held: BTreeSet<&str> = list.split('\'').skip(1).step_by(2).collect();
    assert_eq!(held, crate::names::RESERVED_LABELS.into_iter().collect());
}
