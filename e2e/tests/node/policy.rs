//! What sandbox pods and our own pods can reach and be reached from, in a cluster that enforces NetworkPolicies and in one that does not:
//! what is refused in the first must be open in the second, else the refusal was none.

use crate::support::{beside_others, create, held_at_first_call, ready, serving};
use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyEgressRule};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use oarmaster_crds::names::{PILOT_CONTAINER, SANDBOX_POLICY};
use oarmaster_e2e::command::Run;
use oarmaster_e2e::installed::RELEASE;
use oarmaster_e2e::mock::Reply;
use oarmaster_e2e::network::{Network, dns, enforced, tcp};
use oarmaster_e2e::task::SOON;
use oarmaster_e2e::{Space, wait};
use serde_json::json;
use std::collections::BTreeMap;

/// An address on the internet, of the range that is set aside for documents.
const INTERNET: &str = "198.51.100.1";
/// Where clouds answer with credentials.
const METADATA: &str = "169.254.169.254";
/// Where the plain pod listens.
const PORT: u16 = 8080;
/// A routing table for [`Outside`].
const TABLE: &str = "20480";

/// A pod of nobody's that serves on [`PORT`].
async fn plain(space: &Space) -> Result<Pod> {
    let command = json!([
        "python3",
        "-m",
        "http.server",
        PORT.to_string(),
        "--directory",
        "/tmp"
    ]);
    create(space, &[serving("plain", PORT, &command)]).await?;
    ready(space, "plain").await
}

fn address(pod: &Pod) -> Result<String> {
    let status = pod.status.as_ref().context("the pod has no status")?;
    status.pod_ip.clone().context("the pod has no address")
}

/// Lets a plain pod answer one other pod at [`INTERNET`] and [`METADATA`], by a route for that pod alone: this machine itself keeps
/// reaching what is really there.
struct Outside {
    rules: Vec<Vec<String>>,
}

impl Outside {
    async fn open(plain: &Pod, towards: &str) -> Result<Self> {
        let network = Network::of(plain, "serve")?;
        let found = ip(&["-json", "route", "get", &address(plain)?]).await?;
        let found: serde_json::Value = serde_json::from_str(&found)?;
        let interface = found[0]["dev"].as_str().context("no route to the pod")?;
        let mut outside = Self { rules: Vec::new() };
        for name in [INTERNET, METADATA] {
            let own = format!("{name}/32");
            let add = ["ip", "address", "add", &own, "dev", "lo"];
            network.run(&add).stdout().await?;
            // It goes with the pod's interface.
            ip(&["route", "replace", &own, "dev", interface, "table", TABLE]).await?;
            let rule = ["from", towards, "to", name, "table", TABLE];
            let rule: Vec<String> = rule.iter().map(|&word| word.to_owned()).collect();
            let words: Vec<&str> = rule.iter().map(String::as_str).collect();
            ip(&[["rule", "add"].as_slice(), &words].concat()).await?;
            outside.rules.push(rule);
        }
        Ok(outside)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for rule in &self.rules {
            let mut command = std::process::Command::new("ip");
            let done = command.args(["rule", "del"]).args(rule).status();
            assert!(
                done.is_ok_and(|status| status.success()) || std::thread::panicking(),
                "failed to delete the rule {rule:?}"
            );
        }
    }
}

async fn ip(args: &[&str]) -> Result<String> {
    Run::new("ip").args(args).stdout().await
}

/// The pod of the Task `work`.
async fn sandbox(space: &Space) -> Result<Pod> {
    let sandboxes = ListParams::default().labels("oarmaster.dev/sandbox=true");
    let mut found = space.api::<Pod>().list(&sandboxes).await?.items;
    found.pop().context("the Task has no pod")
}

/// What everybody in a cluster can reach unless a policy says otherwise: name service, API server, kubelet.
async fn services(space: &Space) -> Result<Vec<String>> {
    let client = &space.cluster.client;
    let cluster_ip = async |namespace: &str, name: &str| -> Result<String> {
        let service = Api::<Service>::namespaced(client.clone(), namespace)
            .get(name)
            .await?;
        service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("no cluster IP")
    };
    let names = cluster_ip("kube-system", "kube-dns").await?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let server = slices.get("kubernetes").await?;
    let endpoint = server.endpoints.first().context("no endpoint")?;
    let port = server.ports.iter().flatten().find_map(|port| port.port);
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    let kubelet = nodes.items.first().and_then(|node| {
        let endpoints = node.status.as_ref()?.daemon_endpoints.as_ref()?;
        Some(endpoints.kubelet_endpoint.as_ref()?.port)
    });
    let node = oarmaster_e2e::mock::node_address(&space.cluster).await?;
    Ok(vec![
        dns(&names, 53),
        tcp(&names, 53),
        tcp(cluster_ip("default", "kubernetes").await?, 443),
        tcp(
            endpoint.addresses.first().context("no address")?,
            port.context("no port")?,
        ),
        tcp(node, kubelet.context("the node states no kubelet port")?),
    ])
}

/// Targets, each with whether it is to be reached where policies are enforced; where they are not, every one is.
fn wanted(open: &[String], closed: &[String]) -> BTreeMap<String, bool> {
    let open = open.iter().map(|target| (target.clone(), true));
    let closed = closed.iter().map(|target| (target.clone(), !enforced()));
    open.chain(closed).collect()
}

#[tokio::test]
async fn enforcement_leaves_a_sandbox_the_gateways_data_port_alone() -> Result<()> {
    beside_others("policy", async |space| {
        let (gate, _mock) = held_at_first_call(space, "one", Reply::text("done"), "done").await?;
        let plain = plain(space).await?;
        let sandbox = sandbox(space).await?;
        let outside = Outside::open(&plain, &address(&sandbox)?).await?;
        let pods: Api<Pod> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let services_of: Api<Service> = Api::namespaced(space.cluster.client.clone(), RELEASE);
        let gateway = address(&pods.get("oarmaster-gateway-0").await?)?;
        let service = services_of.get("oarmaster-gateway").await?;
        let service = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("no cluster IP")?;
        let operator = ListParams::default().labels("app.kubernetes.io/component=operator");
        let operator = pods
            .list(&operator)
            .await?
            .items
            .pop()
            .context("no operator")?;

        let data = [tcp(&service, 8443), tcp(&gateway, 8443)];
        let private = [
            tcp(&service, 8444),
            tcp(&gateway, 8444),
            tcp(&service, 8445),
            tcp(&gateway, 8445),
        ];
        let metrics = [tcp(&gateway, 9090), tcp(address(&operator)?, 9090)];
        let other = [tcp(address(&plain)?, PORT)];
        let everyday = services(space).await?;
        let far = [tcp(INTERNET, PORT), tcp(METADATA, PORT)];

        // From the sandbox: nothing but the data port.
        let from_sandbox = Network::of(&sandbox, PILOT_CONTAINER)?;
        let closed = [&private[..], &metrics, &other, &everyday, &far].concat();
        from_sandbox
            .expect(&wanted(&data, &closed))
            .await
            .context("from the sandbox")?;

        // From another pod: what the sandbox does not reach is there, but for the ports that are ours alone, and the sandbox, whose
        // kernel would refuse a connection.
        let from_plain = Network::of(&plain, "serve")?;
        let open = [&data[..], &metrics, &other, &everyday].concat();
        let closed = [&private[..], &[tcp(address(&sandbox)?, 1)]].concat();
        from_plain
            .expect(&wanted(&open, &closed))
            .await
            .context("from another pod")?;

        drop(outside);
        gate.open();
        space.complete("work").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn there_is_no_job_before_the_policy_and_the_policy_is_kept() -> Result<()> {
    beside_others("policy-first", async |space| {
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"},
            "spec": {"hard": {"count/networkpolicies.networking.k8s.io": "0"}},
        });
        create(space, &[quota]).await?;
        let task = async {
            let (gate, mock) =
                held_at_first_call(space, "one", Reply::text("done"), "done").await?;
            anyhow::Ok((gate, mock))
        };
        let refused = async {
            space
                .task_until("work", "a word about the policy", |task| {
                    let conditions = task.status.iter().flat_map(|status| &status.conditions);
                    let mut told = conditions.map(|held| &held.message);
                    told.any(|text| text.contains("NetworkPolicy") && text.contains("quota"))
                })
                .await?;
            let jobs = space.api::<Job>().list(&ListParams::default()).await?;
            assert!(jobs.items.is_empty(), "{jobs:#?}");
            space.kubectl(&["delete", "resourcequota", "none"]).await?;
            anyhow::Ok(())
        };
        let ((gate, _mock), ()) = tokio::try_join!(task, refused)?;

        // Somebody opens it while the Task runs: it is closed again. Somebody deletes it: it comes back.
        let policies = space.api::<NetworkPolicy>();
        let made = policies.get(SANDBOX_POLICY).await?;
        let open = json!({"spec": {"egress": [{}], "ingress": [{}]}}).to_string();
        let patched = space
            .kubectl(&[
                "patch",
                "networkpolicy",
                SANDBOX_POLICY,
                "--type=merge",
                "--patch",
                &open,
                "--output=json",
            ])
            .await?;
        let patched: NetworkPolicy = serde_json::from_str(&patched)?;
        let rules = patched.spec.and_then(|spec| spec.egress);
        assert_eq!(rules, Some(vec![NetworkPolicyEgressRule::default()]));
        wait::until(
            policies.clone(),
            SANDBOX_POLICY,
            "what it was",
            SOON,
            |held| held.spec == made.spec,
        )
        .await?;
        space
            .kubectl(&["delete", "networkpolicy", SANDBOX_POLICY])
            .await?;
        let again = wait::until(policies, SANDBOX_POLICY, "its return", SOON, |held| {
            held.uid() != made.uid()
        })
        .await?;
        assert_eq!(again.spec, made.spec);

        gate.open();
        space.complete("work").await?;
        Ok(())
    })
    .await
}
