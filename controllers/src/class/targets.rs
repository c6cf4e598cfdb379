//! What a sandbox pod must not reach, as an argument of the runner: pure.

use crate::kit::pod::NODE_IP;
use std::net::{IpAddr, SocketAddr};

/// Where AWS, Google Cloud, Azure and others serve the node's identity.
const METADATA: &str = "169.254.169.254:80";

/// Places that differ between installations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// An address outside the cluster that answers.
    pub internet: SocketAddr,
    /// The cluster's DNS servers.
    pub dns: Vec<IpAddr>,
}

/// The list. The gateway's read port stands for another pod: it listens, and is not the port that the sandboxes' policy allows. The chart's
/// policy for the gateway closes it as well, so that an answer counts and silence proves nothing (`protocol::probe`). The kubelet puts the
/// API server's address and the node's own in.
#[must_use]
pub fn must_not_reach(gateway_ip: &str, places: &Places) -> String {
    let Places { internet, dns } = places;
    let mut list = vec![
        format!("internet={internet}"),
        format!("metadata={METADATA}"),
        "api-server=$(KUBERNETES_SERVICE_HOST):$(KUBERNETES_SERVICE_PORT)".to_owned(),
        format!("pod={gateway_ip}:8444"),
        format!("kubelet=$({NODE_IP}):10250"),
    ];
    list.extend(dns.iter().map(|server| format!("dns={server}:53")));
    list.join(",")
}

/// The servers in a resolver's configuration, which in a pod are the cluster's DNS.
#[must_use]
pub fn servers(resolv_conf: &str) -> Vec<IpAddr> {
    /// As many as the C library reads.
    const MOST: usize = 3;
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .take(MOST)
        .collect()
}
