use super::*;
use crate::cluster::layout::Ports;
use crate::cluster::net::Addresses;

fn setup(tier: Tier) -> (Layout, State) {
    let layout = Layout {
        tier,
        state: "/state".into(),
        audit: false,
        oldest: false,
    };
    let ports = Ports {
        api: 6443,
        etcd: 1,
        kubelet: 10250,
        proxy_health: 2,
        proxy_metrics: 3,
        policy_health: 4,
    };
    let state = State {
        build: String::new(),
        addresses: Addresses::loopback(),
        ports,
        absent: Vec::new(),
        sysctls: Vec::new(),
        complete: false,
    };
    (layout, state)
}

#[test]
fn every_place_of_the_configuration_has_a_value() {
    let (layout, state) = setup(Tier::Node);
    let mut values = values(&layout, &state);
    values.push(("resolv_conf", "/x".to_owned()));
    values.push(("iptables_backend", "nft".to_owned()));
    for file in [
        "config/kubelet.yaml",
        "config/kube-proxy.yaml",
        "config/felix.cfg",
    ] {
        let text = template::read(file, &values).unwrap();
        assert!(!text.contains("{{"), "{text}");
    }
    let kubelet = template::read("config/kubelet.yaml", &values).unwrap();
    assert!(kubelet.contains("containerRuntimeEndpoint: unix:///state/run/containerd.sock\n"));
    assert!(kubelet.contains("cgroupRoot: /oarmaster\n"));
}

#[test]
fn only_a_node_has_a_kubelet_to_reach() {
    let has = |tier, wanted: &str| {
        let (layout, state) = setup(tier);
        apiserver(&layout, &state)
            .iter()
            .any(|arg| arg.starts_with(wanted))
    };
    assert!(has(Tier::Node, "--kubelet-client-certificate="));
    assert!(!has(Tier::Api, "--kubelet-client-certificate="));
    assert!(has(Tier::Api, "--endpoint-reconciler-type=none"));
}
