//! What a pod must not reach.

use crate::class::targets::{Places, must_not_reach, servers};

#[test]
fn the_list_is_one_argument() {
    let places = Places {
        internet: "1.1.1.1:443".parse().unwrap(),
        dns: vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()],
    };
    assert_eq!(
        must_not_reach("10.96.7.7", &places),
        "internet=1.1.1.1:443,metadata=169.254.169.254:80,\
         api-server=$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT),\
         pod=10.96.7.7:8444,kubelet=$(OARMASTER_NODE_IP):10250,\
         dns=10.96.0.10:53,dns=fd00::a:53"
    );
}

#[test]
fn dns_servers_are_those_of_the_resolver() {
    let text = "search a.svc b\nnameserver 10.96.0.10\n nameserver\tfd00::a \n# nameserver 1.2.3.4\noptions ndots:5\nnameserver x\n";
    let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.96.0.10", "fd00::a"]);
    assert_eq!(servers(&"nameserver 10.0.0.1\n".repeat(9)).len(), 3);
    assert_eq!(servers("").len(), 0);
}
