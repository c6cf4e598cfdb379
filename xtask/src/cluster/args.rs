//! The command lines of the programs.

use std::fs;

use anyhow::Result;

use crate::cluster::layout::{CGROUP, Layout, NODE, OLDEST, State, Tier, write};
use crate::cluster::{iptables, net, template};

pub fn etcd(layout: &Layout, state: &State) -> Vec<String> {
    let client = format!("https://127.0.0.1:{}", state.ports.etcd);
    let pki = layout.pki();
    let pki = pki.display();
    vec![
        format!("--data-dir={}", layout.state.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        // A single member talks to no peer; any free port will do.
        "--listen-peer-urls=https://127.0.0.1:0".to_owned(),
        // The data is gone with the cluster anyway.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--cert-file={pki}/etcd.crt"),
        format!("--key-file={pki}/etcd.key"),
        format!("--trusted-ca-file={pki}/ca.crt"),
        "--client-cert-auth".to_owned(),
        format!("--peer-cert-file={pki}/etcd.crt"),
        format!("--peer-key-file={pki}/etcd.key"),
        format!("--peer-trusted-ca-file={pki}/ca.crt"),
        "--peer-client-cert-auth".to_owned(),
    ]
}

pub fn apiserver(layout: &Layout, state: &State) -> Vec<String> {
    let pki = layout.pki();
    let pki = pki.display();
    let node = state.addresses.node;
    let mut args = vec![
        format!("--bind-address={node}"),
        format!("--advertise-address={node}"),
        format!("--secure-port={}", state.ports.api),
        format!("--etcd-servers=https://127.0.0.1:{}", state.ports.etcd),
        format!("--etcd-cafile={pki}/ca.crt"),
        format!("--etcd-certfile={pki}/etcd.crt"),
        format!("--etcd-keyfile={pki}/etcd.key"),
        format!("--tls-cert-file={pki}/kube-apiserver.crt"),
        format!("--tls-private-key-file={pki}/kube-apiserver.key"),
        format!("--client-ca-file={pki}/ca.crt"),
        format!("--service-account-key-file={pki}/tokens.pub"),
        format!("--service-account-signing-key-file={pki}/tokens.key"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        format!("--service-cluster-ip-range={}", state.addresses.services),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
    ];
    match layout.tier {
        Tier::Node => args.extend([
            format!("--kubelet-certificate-authority={pki}/ca.crt"),
            format!("--kubelet-client-certificate={pki}/kube-apiserver-client.crt"),
            format!("--kubelet-client-key={pki}/kube-apiserver-client.key"),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ]),
        // A loopback address is no valid endpoint.
        Tier::Api => args.push("--endpoint-reconciler-type=none".to_owned()),
    }
    if layout.oldest {
        // APIs, their fields and features are those of that version, and what came later is not there.
        args.push(format!("--emulated-version={OLDEST}"));
    }
    if layout.audit {
        args.extend([
            format!("--audit-policy-file={}", layout.audit_policy().display()),
            format!("--audit-log-path={}", layout.audit_log().display()),
            // In megabytes: whoever follows the file follows one file.
            "--audit-log-maxsize=100000".to_owned(),
        ]);
    }
    args
}

/// What a controller needs to reach the API server as itself. Its own listener
/// is off: nobody reads it, and two clusters would want the same port.
fn client(layout: &Layout, name: &str) -> Vec<String> {
    let kubeconfig = layout.kubeconfigs().join(name);
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        // The default creates nine pods a second.
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ]
}

pub fn controller_manager(layout: &Layout, state: &State) -> Vec<String> {
    let pki = layout.pki();
    let pki = pki.display();
    let mut args = client(layout, "kube-controller-manager");
    args.extend([
        // Each controller under its own name, as on every real cluster.
        "--use-service-account-credentials=true".to_owned(),
        format!("--service-account-private-key-file={pki}/tokens.key"),
        format!("--root-ca-file={pki}/ca.crt"),
        format!("--cluster-signing-cert-file={pki}/ca.crt"),
        format!("--cluster-signing-key-file={pki}/ca.key"),
        format!("--cluster-cidr={}", state.addresses.pods),
        format!("--service-cluster-ip-range={}", state.addresses.services),
        // Else it makes /usr/libexec/kubernetes.
        format!(
            "--flex-volume-plugin-dir={}",
            layout.run().join("volume-plugins").display()
        ),
    ]);
    args
}

pub fn scheduler(layout: &Layout) -> Vec<String> {
    client(layout, "kube-scheduler")
}

pub fn kubelet(layout: &Layout, state: &State) -> Result<Vec<String>> {
    let config = layout.config().join("kubelet.yaml");
    let resolv = resolv_conf(layout)?;
    let values = [values(layout, state).as_slice(), &[("resolv_conf", resolv)]].concat();
    write(
        &config,
        template::read("config/kubelet.yaml", &values)?.as_bytes(),
    )?;
    Ok(vec![
        format!("--config={}", config.display()),
        format!(
            "--kubeconfig={}",
            layout.kubeconfigs().join("kubelet").display()
        ),
        format!("--root-dir={}", layout.state.join("kubelet").display()),
        format!("--hostname-override={NODE}"),
        format!("--node-ip={}", state.addresses.node),
    ])
}

pub fn proxy(layout: &Layout, state: &State) -> Result<Vec<String>> {
    let config = layout.config().join("kube-proxy.yaml");
    let text = template::read("config/kube-proxy.yaml", &values(layout, state))?;
    write(&config, text.as_bytes())?;
    Ok(vec![format!("--config={}", config.display())])
}

pub fn felix(layout: &Layout, state: &State) -> Result<Vec<String>> {
    let config = layout.config().join("felix.cfg");
    let backend = iptables::backend()?.to_owned();
    let values = [
        values(layout, state).as_slice(),
        &[("iptables_backend", backend)],
    ]
    .concat();
    write(
        &config,
        template::read("config/felix.cfg", &values)?.as_bytes(),
    )?;
    Ok(vec![config.display().to_string()])
}

fn values(layout: &Layout, state: &State) -> Vec<(&'static str, String)> {
    vec![
        ("node", NODE.to_owned()),
        ("node_ip", state.addresses.node.to_string()),
        ("dns_ip", state.addresses.dns().to_string()),
        ("pod_cidr", state.addresses.pods.to_string()),
        ("kubelet_port", state.ports.kubelet.to_string()),
        ("proxy_health_port", state.ports.proxy_health.to_string()),
        ("proxy_metrics_port", state.ports.proxy_metrics.to_string()),
        ("policy_health_port", state.ports.policy_health.to_string()),
        ("state", layout.state.display().to_string()),
        ("pki", layout.pki().display().to_string()),
        ("kubeconfigs", layout.kubeconfigs().display().to_string()),
        (
            "containerd_socket",
            layout.containerd_socket().display().to_string(),
        ),
        ("cgroup", CGROUP.to_owned()),
    ]
}

/// The machine's name servers without those on its loopback, which a pod
/// cannot reach.
fn resolv_conf(layout: &Layout) -> Result<String> {
    let reachable = upstream();
    let path = layout.config().join("resolv.conf");
    let lines: Vec<String> = reachable
        .iter()
        .map(|s| format!("nameserver {s}\n"))
        .collect();
    write(&path, lines.concat().as_bytes())?;
    Ok(path.display().to_string())
}

/// Name servers outside this machine.
pub fn upstream() -> Vec<std::net::IpAddr> {
    // systemd-resolved keeps the real ones apart from its own address.
    let files = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
    files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .map(|text| net::nameservers(&text))
        .map(|servers| {
            servers
                .into_iter()
                .filter(|s| !s.is_loopback())
                .collect::<Vec<_>>()
        })
        .find(|servers| !servers.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
