//! The Job: a pod like a Task's, without what a probe does not need.

use crate::Settings;
use crate::class::job::build;
use crate::class::plan::Start;
use crate::class::targets::Places;
use k8s_openapi::api::core::v1::PodSpec;
use oarmaster_crds::{SandboxClass, SandboxClassSpec};
use serde_json::{Value, json};

fn built(spec: Value, gateway_ip: &str) -> (Value, PodSpec) {
    let spec: SandboxClassSpec = serde_json::from_value(spec).unwrap();
    let mut class = SandboxClass::new("strict.v1", spec);
    class.metadata.uid = Some("uid-c".to_owned());
    let start = Start {
        job: "probe-strict-v1-abc".to_owned(),
        gateway_ip: gateway_ip.to_owned(),
        user: 2000,
    };
    let settings = Settings {
        namespace: "oarmaster-system".to_owned(),
        gateway_service: "oarmaster-gateway".to_owned(),
        runner_image: "docker.io/oarmaster/runner:1".to_owned(),
        default_pool: None,
        places: Places {
            internet: "1.1.1.1:443".parse().unwrap(),
            dns: vec!["10.96.0.10".parse().unwrap()],
        },
        identity: "operator".to_owned(),
    };
    let job = build(&class, &start, &settings);
    let pod = job.spec.clone().unwrap().template.spec.unwrap();
    (serde_json::to_value(job).unwrap(), pod)
}

#[test]
fn the_pod_is_one_of_the_class_and_a_sandbox_to_policies_and_guards() {
    let toleration = json!({"key": "sandboxes", "operator": "Exists", "effect": "NoSchedule"});
    let (job, pod) = built(
        json!({
            "runtimeClassName": "gvisor",
            "nodeSelector": {"pool": "sandboxes"},
            "tolerations": [toleration],
            "priorityClassName": "low",
            "imagePullSecrets": ["of-the-tasks"],
            "podLabels": {"team": "a", "oarmaster.dev/class-uid": "forged"},
            "hostUsers": false,
            "startupTimeout": "1m",
        }),
        "10.96.7.7",
    );
    let labels = json!({"oarmaster.dev/sandbox": "true", "oarmaster.dev/class-uid": "uid-c"});
    assert_eq!(job["metadata"]["labels"], labels);
    let mut of_pod = labels;
    of_pod["team"] = json!("a");
    let template = &job["spec"]["template"]["metadata"];
    assert_eq!(template["labels"], of_pod, "ours are ours");
    for meta in [&job["metadata"], template] {
        assert_eq!(
            meta["annotations"],
            json!({"oarmaster.dev/class": "strict.v1"})
        );
    }
    assert_eq!(job["metadata"]["namespace"], "oarmaster-system");
    assert_eq!(
        job["metadata"]["ownerReferences"],
        json!([{
            "apiVersion": "oarmaster.dev/v1alpha1", "kind": "SandboxClass", "name": "strict.v1",
            "uid": "uid-c", "controller": true, "blockOwnerDeletion": false,
        }])
    );
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 60 + 300 + 120);
    assert_eq!(pod.runtime_class_name.as_deref(), Some("gvisor"));
    assert_eq!(pod.priority_class_name.as_deref(), Some("low"));
    assert_eq!(pod.host_users, Some(false));
    assert_eq!(pod.node_selector.unwrap()["pool"], "sandboxes");
    assert!(
        pod.tolerations
            .unwrap()
            .iter()
            .any(|held| held.key.as_deref() == Some("sandboxes"))
    );
    assert_eq!(pod.image_pull_secrets, None, "they are in other namespaces");
}

#[test]
fn the_pod_is_hardened_and_holds_nothing() {
    let (_, pod) = built(json!({}), "10.96.7.7");
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.service_account_name.as_deref(), Some("oarmaster-probe"));
    assert_eq!(pod.enable_service_links, Some(false));
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    assert_eq!(pod.dns_policy.as_deref(), Some("None"));
    assert!(pod.volumes.is_none() && pod.init_containers.is_none());
    let [probe] = &pod.containers[..] else {
        panic!("{:?}", pod.containers)
    };
    let context = probe.security_context.as_ref().unwrap();
    assert_eq!(context.run_as_user, Some(2000));
    assert_eq!(pod.host_users, None);
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(
        context.capabilities.as_ref().unwrap().drop,
        Some(vec!["ALL".to_owned()])
    );
    assert!(probe.volume_mounts.is_none() && probe.env_from.is_none());
    assert_eq!(probe.termination_message_policy.as_deref(), Some("File"));
}

#[test]
fn the_gateway_is_tried_beside_what_is_forbidden() {
    for (ip, gateway, pod_target) in [
        ("10.96.7.7", "10.96.7.7:8443", "pod=10.96.7.7:8444"),
        ("fd00::7", "[fd00::7]:8443", "pod=fd00::7:8444"),
    ] {
        let (_, pod) = built(json!({}), ip);
        let args = pod.containers[0].args.clone().unwrap();
        assert_eq!(
            args[..5],
            [
                "probe-node",
                "--gateway",
                gateway,
                "--patience-seconds",
                "300"
            ]
        );
        assert_eq!(args[5], "--must-not-reach");
        assert!(
            args[6].contains(pod_target) && args[6].contains("dns=10.96.0.10:53"),
            "{args:?}"
        );
        let env = pod.containers[0].env.clone().unwrap();
        assert_eq!(env[0].name, "OARMASTER_NODE_IP");
    }
}
