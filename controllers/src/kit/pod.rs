//! The pods of sandboxes, those of Tasks and those of probes: what both must have, so that a probe finds what a Task will find. Hardening is
//! written out for every pod and container, never inherited.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, ObjectFieldSelector, PodDNSConfig,
    PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use oarmaster_crds::kinds::class::SandboxClassSpec;
use std::collections::BTreeMap;

/// Environment variable with the address of the pod's node, by the downward API.
pub const NODE_IP: &str = "OARMASTER_NODE_IP";
/// Seconds after which a lost node's pod is given up (300 by default).
const NODE_LOST_SECONDS: i64 = 30;
/// Logs and what the runtime writes for a container; every file system of ours is read-only or in memory.
const EPHEMERAL: &str = "64Mi";

/// A pod of this class with one container, without network names, token or volume.
pub fn hardened(class: &SandboxClassSpec, account: &str, main: Container) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![main],
        dns_policy: Some("None".to_owned()),
        dns_config: Some(no_resolver()),
        enable_service_links: Some(false),
        // Unset means the same as true, and is taken by clusters that do not know the field.
        host_users: (!class.host_users).then_some(false),
        node_selector: (!class.node_selector.is_empty()).then(|| class.node_selector.clone()),
        priority_class_name: named(&class.priority_class_name),
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: named(&class.runtime_class_name),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(runtime_default()),
            ..PodSecurityContext::default()
        }),
        service_account_name: Some(account.to_owned()),
        share_process_namespace: Some(false),
        termination_grace_period_seconds: Some(5),
        tolerations: Some(tolerations(class)),
        ..PodSpec::default()
    }
}

/// Labels of a pod: those of the class, and ours, which no other can take the place of.
pub fn labels(
    class: &SandboxClassSpec,
    ours: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = class.pod_labels.clone();
    labels.extend(ours.clone());
    labels
}

/// What every container has.
pub fn container(name: &str, image: &str, user: i64) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: None,
                drop: Some(vec!["ALL".to_owned()]),
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_group: Some(user),
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            seccomp_profile: Some(runtime_default()),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("File".to_owned()),
        ..Container::default()
    }
}

/// Memory and ephemeral storage are requested in full, so that no other pod's burst can end this one.
pub fn resources(cpu: &str, cpu_limit: &str, memory: &str) -> ResourceRequirements {
    let both = |cpu: &str| {
        BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_owned())),
            ("memory".to_owned(), Quantity(memory.to_owned())),
            (
                "ephemeral-storage".to_owned(),
                Quantity(EPHEMERAL.to_owned()),
            ),
        ])
    };
    ResourceRequirements {
        requests: Some(both(cpu)),
        limits: Some(both(cpu_limit)),
        claims: None,
    }
}

/// The address of the pod's node.
pub fn node_ip() -> EnvVar {
    EnvVar {
        name: NODE_IP.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: "status.hostIP".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// Arguments or a command.
pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// `dnsPolicy: None` needs at least one server: one that nothing answers.
fn no_resolver() -> PodDNSConfig {
    PodDNSConfig {
        nameservers: Some(vec!["127.0.0.1".to_owned()]),
        ..PodDNSConfig::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        localhost_profile: None,
    }
}

fn tolerations(class: &SandboxClassSpec) -> Vec<Toleration> {
    let lost = |key: &str| Toleration {
        key: Some(format!("node.kubernetes.io/{key}")),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(NODE_LOST_SECONDS),
        value: None,
    };
    let mut list = class.tolerations.clone();
    list.extend([lost("not-ready"), lost("unreachable")]);
    list
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}
