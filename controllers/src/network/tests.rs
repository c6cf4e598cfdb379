use super::plan::{Observed, Plan, plan};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{NetworkPolicyIngressRule, NetworkPolicySpec};
use serde_json::{Value, json};

fn gateway(spec: Value) -> Option<Service> {
    let service = json!({
        "metadata": {"name": "oarmaster-gateway", "namespace": "oarmaster-system"},
        "spec": spec,
    });
    serde_json::from_value(service).unwrap()
}

fn usual() -> Option<Service> {
    gateway(json!({
        "selector": {"app": "gateway"},
        "ports": [
            {"name": "read", "port": 8444, "targetPort": 8444},
            {"name": "data", "port": 443, "targetPort": 8443},
        ],
    }))
}

fn applied(gateway: Option<Service>, held: Option<NetworkPolicySpec>) -> NetworkPolicySpec {
    match plan(&Observed { gateway, held }) {
        Plan::Apply(spec) => *spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sandboxes_reach_the_gateways_target_port_and_are_reached_by_nobody() {
    let spec = serde_json::to_value(applied(usual(), None)).unwrap();
    let wanted = json!({
        "podSelector": {"matchExpressions": [{"key": "oarmaster.dev/sandbox", "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [{
            "to": [{
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "oarmaster-system"}},
                "podSelector": {"matchLabels": {"app": "gateway"}},
            }],
            "ports": [{"protocol": "TCP", "port": 8443}],
        }],
    });
    assert_eq!(spec, wanted);
}

#[test]
fn what_was_applied_is_settled_as_the_api_server_keeps_it() {
    let spec = applied(usual(), None);
    let kept = NetworkPolicySpec {
        ingress: None, // an empty list is not stored
        ..spec.clone()
    };
    for held in [spec, kept] {
        let seen = Observed {
            gateway: usual(),
            held: Some(held),
        };
        assert_eq!(plan(&seen), Plan::Settled);
    }
}

#[test]
fn every_change_is_taken_back() {
    let wanted = applied(usual(), None);
    let mut open = wanted.clone();
    open.ingress = Some(vec![NetworkPolicyIngressRule::default()]);
    let mut all = wanted.clone();
    all.egress.as_mut().unwrap()[0].to = None;
    let mut half = wanted.clone();
    half.policy_types = Some(vec!["Ingress".to_owned()]);
    let mut nobody = wanted.clone();
    nobody.pod_selector = None;
    for held in [open, all, half, nobody, NetworkPolicySpec::default()] {
        assert_eq!(applied(usual(), Some(held)), wanted);
    }
}

#[test]
fn the_policy_follows_the_gateways_service() {
    let before = applied(usual(), None);
    let moved = gateway(json!({
        "selector": {"app": "other"},
        "ports": [{"name": "data", "port": 8443, "targetPort": "tls"}],
    }));
    let after = applied(moved, Some(before.clone()));
    assert_ne!(after, before);
    let after = serde_json::to_value(after).unwrap();
    assert_eq!(after["egress"][0]["ports"][0]["port"], "tls");
}

#[test]
fn a_gateway_that_cannot_be_told_from_other_pods_is_waited_for() {
    let data = json!([{"name": "data", "port": 8443, "targetPort": 8443}]);
    for service in [
        None,
        gateway(json!({"ports": data})),
        gateway(json!({"selector": {}, "ports": data})),
        gateway(json!({"selector": {"app": "gateway"}, "ports": [{"name": "read", "port": 8444}]})),
    ] {
        let seen = Observed {
            gateway: service,
            held: None,
        };
        assert_eq!(plan(&seen), Plan::Wait);
    }
}
